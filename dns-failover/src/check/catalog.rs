//! Catalog zones (RFC 9432): lists of zones for secondaries.

use std::collections::BTreeMap;

use super::{View, rules};
use crate::name::Name;
use crate::rdata::{Data, RecordType};
use crate::zone::Zone;

fn version_name(zone: &Zone) -> Option<Name> {
    zone.origin().child("version").ok()
}

/// Whether the zone says which version of catalog it is, and names no server that could be asked.
pub(super) fn is_catalog(zone: &Zone) -> bool {
    let text = version_name(zone).and_then(|name| zone.get(&name, RecordType::TXT));
    let servers = zone.get(zone.origin(), RecordType::NS);
    let invalid = "invalid.".parse::<Name>().ok();
    text.is_some()
        && servers.is_some_and(|set| set.rdatas().iter().any(|rdata| rdata.target() == invalid))
}

pub(super) fn check(view: &mut View<'_>) {
    let zone = view.zone;
    if let Some(set) = version_name(zone).and_then(|name| zone.get(&name, RecordType::TXT)) {
        let is_two = |data: Data<'_>| matches!(data, Data::Txt(text) if text.joined() == b"2");
        if set.rdatas().len() != 1 || !is_two(set.rdatas()[0].data()) {
            view.found(
                rules::CATALOG_VERSION,
                set,
                format!("{} is not the one text \"2\"", set.owner()),
            );
        }
    }
    if let Some(set) = zone.get(zone.origin(), RecordType::NS)
        && set.rdatas().len() > 1
    {
        view.found(
            rules::CATALOG_NS,
            set,
            format!("{} names other servers than invalid.", zone.origin()),
        );
    }
    let Ok(zones) = zone.origin().child("zones") else { return };
    let mut members: BTreeMap<Name, &Name> = BTreeMap::new();
    for set in zone.within(&zones).filter(|set| set.rtype() == RecordType::PTR) {
        let owner = set.owner();
        if owner.parent().as_ref() != Some(&zones) {
            continue;
        }
        if set.rdatas().len() > 1 {
            let message = format!("the member {owner} has {} PTR records", set.rdatas().len());
            view.found(rules::CATALOG_MEMBER, set, message);
        }
        for member in set.rdatas().iter().filter_map(|rdata| rdata.target()) {
            if let Some(other) = members.insert(member.clone(), owner) {
                let message = format!("{member} is the zone of both {other} and {owner}");
                view.found(rules::CATALOG_MEMBER, set, message);
            }
        }
    }
}
