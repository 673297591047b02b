//! Names: characters, hyphens, asterisks, and origins that were appended twice.

use super::{View, rules};
use crate::name::Name;
use crate::rdata::RecordType;

pub(super) fn check(view: &mut View<'_>) {
    let zone = view.zone;
    let origin = zone.origin();
    // A zone of one label, such as `host.`, has a good reason to hold `host.host.`.
    let doubled = origin.prepend(origin).ok().filter(|_| origin.labels().count() > 1);
    let mut last: Option<&Name> = None;
    for set in zone.iter() {
        let (owner, rtype) = (set.owner(), set.rtype());
        if matches!(rtype, RecordType::A | RecordType::AAAA | RecordType::MX) {
            host_name(view, owner, rtype);
        }
        if last.replace(owner) == Some(owner) {
            continue;
        }
        if owner.labels().skip(1).any(|label| label == b"*") {
            let message = format!("{owner} has an asterisk in its midst");
            view.found(rules::WILDCARD_WITHIN, set, message);
        }
        if doubled.as_ref().is_some_and(|doubled| owner.is_within(doubled)) {
            let message = format!("{owner} holds the name of the zone twice");
            view.found(rules::APEX_TWICE, set, message);
        }
    }
}

fn host_name(view: &mut View<'_>, owner: &Name, rtype: RecordType) {
    // The asterisk of a wildcard stands for any label.
    let labels: Vec<&[u8]> = owner.labels().skip(usize::from(owner.is_wildcard())).collect();
    let odd =
        |label: &&[u8]| !label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-');
    if labels.iter().any(odd) {
        let message = format!(
            "{owner} {rtype}: the name holds other characters than letters, digits and hyphens"
        );
        view.found_at(rules::ODD_CHARACTER, owner, Some(rtype), message);
    }
    if labels.iter().any(|label| label.starts_with(b"-") || label.ends_with(b"-")) {
        let message = format!("{owner} {rtype}: a label begins or ends with a hyphen");
        view.found_at(rules::EDGE_HYPHEN, owner, Some(rtype), message);
    }
    let reserved =
        |label: &&[u8]| label.get(2..4) == Some(b"--") && !label[..2].eq_ignore_ascii_case(b"xn");
    if labels.iter().any(reserved) {
        let message = format!("{owner} {rtype}: a label has hyphens at its third and fourth place");
        view.found_at(rules::DOUBLE_HYPHEN, owner, Some(rtype), message);
    }
}
