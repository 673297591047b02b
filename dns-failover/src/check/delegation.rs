//! Name servers of this zone and of delegated ones: glue, aliases, cycles, and what delegations hide.

use super::{Target, View, rules};
use crate::name::Name;
use crate::rdata::RecordType;

/// Every server of one zone is held against every one of another. No zone has more of them for a reason.
const MOST_IN_CYCLE: usize = 32;

pub(super) fn check(view: &mut View<'_>) {
    let zone = view.zone;
    for set in zone.iter().filter(|set| set.rtype() == RecordType::NS) {
        let owner = set.owner();
        if owner.is_wildcard() {
            view.found(rules::WILDCARD_NS, set, format!("the wildcard {owner} has NS records"));
            continue;
        }
        // Below another delegation they are nobody's business here.
        if owner != zone.origin() && view.cut_above(owner) != Some(owner) {
            continue;
        }
        let servers: Vec<Name> = set.rdatas().iter().filter_map(|rdata| rdata.target()).collect();
        for server in &servers {
            if !server.is_host_name() {
                let message = format!("the name server {server} of {owner} has no name of a host");
                view.found(rules::NS_HOST_NAME, set, message);
            }
            match view.target(server) {
                Target::Alias => {
                    let message = format!("the name server {server} of {owner} is an alias");
                    view.found(rules::NS_ALIAS, set, message);
                }
                Target::Missing => {
                    let message = format!("the name server {server} of {owner} has no address");
                    view.found(rules::NS_WITHOUT_ADDRESS, set, message);
                }
                Target::Elsewhere if server.is_within(owner) && owner != zone.origin() => {
                    let message = format!("the name server {server} of {owner} has no glue");
                    view.found(rules::NS_WITHOUT_ADDRESS, set, message);
                }
                Target::Addressed | Target::Elsewhere => {}
            }
        }
        cycle(view, set.owner(), &servers);
    }
    occluded(view);
}

/// A delegated zone all of whose name servers lie in zones that are delegated back to names in it.
fn cycle(view: &mut View<'_>, owner: &Name, servers: &[Name]) {
    if owner == view.zone.origin() || servers.len() > MOST_IN_CYCLE {
        return;
    }
    let leads_back = |server: &Name| {
        let Some(cut) = view.cut_above(server).filter(|cut| *cut != owner) else { return false };
        if view.addresses(server).is_some_and(|addresses| !addresses.is_empty()) {
            return false;
        }
        let set = view.zone.get(cut, RecordType::NS);
        set.filter(|set| set.rdatas().len() <= MOST_IN_CYCLE).is_some_and(|set| {
            set.rdatas().iter().filter_map(|rdata| rdata.target()).all(|name| {
                let unknown = view.addresses(&name).is_none_or(|addresses| addresses.is_empty());
                name.is_within(owner) && unknown
            })
        })
    };
    if !servers.is_empty() && servers.iter().all(leads_back) {
        let message = format!("the name servers of {owner} lie in zones whose own lie in {owner}");
        view.found_at(rules::NS_CYCLE, owner, Some(RecordType::NS), message);
    }
}

/// What lies at or below a delegation and is neither its NS, its DS, its NSEC nor glue.
fn occluded(view: &mut View<'_>) {
    let zone = view.zone;
    for set in zone.iter() {
        let (owner, rtype) = (set.owner(), set.rtype());
        let Some(cut) = view.cut_above(owner) else {
            if rtype == RecordType::DS && owner != zone.origin() {
                view.found(rules::DS_WITHOUT_NS, set, format!("{owner} has DS records and no NS"));
            }
            continue;
        };
        let is_seen = match rtype {
            RecordType::NS | RecordType::DS | RecordType::NSEC | RecordType::RRSIG => owner == cut,
            RecordType::A | RecordType::AAAA => true,
            _ => false,
        };
        if !is_seen {
            let message = format!("{owner} {rtype} is hidden by the delegation of {cut}");
            view.found(rules::OCCLUDED, set, message);
        }
    }
    if let Some(set) = zone.get(zone.origin(), RecordType::DS) {
        let message =
            format!("the apex {} has DS records, which belong into its parent", zone.origin());
        view.found(rules::DS_WITHOUT_NS, set, message);
    }
}
