//! Hosts that MX and SRV name.

use super::{Target, View, rules};
use crate::name::Name;
use crate::rdata::{Data, RecordType};

pub(super) fn check(view: &mut View<'_>) {
    let zone = view.zone;
    for set in view.own(RecordType::MX) {
        let owner = set.owner();
        let exchanges: Vec<(u16, Name)> = set
            .rdatas()
            .iter()
            .filter_map(|rdata| match rdata.data() {
                Data::Mx { preference, exchange } => Some((preference, exchange)),
                _ => None,
            })
            .collect();
        if let Some((preference, _)) = exchanges.iter().find(|(_, exchange)| exchange.is_root())
            && (exchanges.len() > 1 || *preference != 0)
        {
            let message =
                format!("{owner} has MX {preference} . and {} MX in all", exchanges.len());
            view.found(rules::NULL_MX, set, message);
        }
        for (_, exchange) in exchanges.iter().filter(|(_, exchange)| !exchange.is_root()) {
            let numeric = exchange.labels().all(|label| label.iter().all(u8::is_ascii_digit));
            if numeric || !exchange.is_host_name() {
                let message =
                    format!("the mail server {exchange} of {owner} has no name of a host");
                view.found(rules::MX_HOST_NAME, set, message);
            }
            match view.target(exchange) {
                Target::Alias => {
                    let message = format!("the mail server {exchange} of {owner} is an alias");
                    view.found(rules::MX_ALIAS, set, message);
                }
                Target::Missing => {
                    let message = format!("the mail server {exchange} of {owner} has no address");
                    view.found(rules::MX_WITHOUT_ADDRESS, set, message);
                }
                Target::Addressed | Target::Elsewhere => {}
            }
        }
    }
    let origin = zone.origin();
    let reverse = ["in-addr.arpa.", "ip6.arpa."].map(|name| name.parse::<Name>());
    let is_reverse = reverse.iter().flatten().any(|arpa| origin.is_within(arpa));
    if zone.get(origin, RecordType::MX).is_none() && !is_reverse && !origin.is_root() {
        view.found_at(rules::NO_MX, origin, None, format!("{origin} has no MX record"));
    }
    for set in view.own(RecordType::SRV) {
        let owner = set.owner();
        let mut labels = owner.labels();
        let underscored = |label: Option<&[u8]>| label.is_some_and(|label| label.starts_with(b"_"));
        if !(underscored(labels.next()) && underscored(labels.next())) {
            let message = format!("{owner} SRV does not begin with _service._protocol");
            view.found(rules::SRV_OWNER, set, message);
        }
        for target in set.rdatas().iter().filter_map(|rdata| rdata.target()) {
            if target.is_root() {
                continue;
            }
            match view.target(&target) {
                Target::Alias => {
                    let message = format!("the host {target} of {owner} is an alias");
                    view.found(rules::SRV_ALIAS, set, message);
                }
                Target::Missing => {
                    let message = format!("the host {target} of {owner} has no address");
                    view.found(rules::SRV_WITHOUT_ADDRESS, set, message);
                }
                Target::Addressed | Target::Elsewhere => {}
            }
        }
    }
}
