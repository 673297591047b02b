//! SVCB and HTTPS.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Target, View, rules};
use crate::name::Name;
use crate::rdata::{Data, RecordType, SvcParam, SvcParams};
use crate::rrset::RRset;

pub(super) fn check(view: &mut View<'_>) {
    let sets = [RecordType::SVCB, RecordType::HTTPS].map(|rtype| view.own(rtype));
    for set in sets.into_iter().flatten() {
        let mut aliases = 0;
        for rdata in set.rdatas() {
            let Data::Svcb { priority, target, params } = rdata.data() else { continue };
            let effective = if target.is_root() { set.owner().clone() } else { target.clone() };
            if priority == 0 {
                aliases += 1;
                alias(view, set, &target, params);
            } else {
                service(view, set, &effective, params);
            }
        }
        if aliases > 1 || (aliases == 1 && set.rdatas().len() > 1) {
            let (owner, rtype) = (set.owner(), set.rtype());
            let message = format!(
                "{owner} {rtype} has {aliases} of priority 0 and {} in all",
                set.rdatas().len()
            );
            view.found(rules::SVCB_MIXED, set, message);
        }
        if set.rtype() == RecordType::HTTPS {
            ttls(view, set);
        }
    }
}

fn alias(view: &mut View<'_>, set: &RRset, target: &Name, params: SvcParams<'_>) {
    let (owner, rtype) = (set.owner(), set.rtype());
    if !params.is_empty() {
        view.found(
            rules::SVCB_ALIAS_PARAMS,
            set,
            format!("the alias {owner} {rtype} has parameters"),
        );
    }
    if target == owner {
        view.found(rules::SVCB_ALIAS_SELF, set, format!("{owner} {rtype} is an alias of itself"));
    }
}

fn service(view: &mut View<'_>, set: &RRset, target: &Name, params: SvcParams<'_>) {
    let (owner, rtype) = (set.owner(), set.rtype());
    if view.target(target) == Target::Missing {
        let message = format!("the target {target} of {owner} {rtype} has no address");
        return view.found(rules::SVCB_TARGET, set, message);
    }
    let Some(addresses) = view.addresses(target) else { return };
    let addresses: BTreeSet<IpAddr> = addresses.into_iter().collect();
    for param in params.iter() {
        let hints: Vec<IpAddr> = match param {
            SvcParam::Ipv4Hint(hints) => hints.into_iter().map(IpAddr::from).collect(),
            SvcParam::Ipv6Hint(hints) => hints.into_iter().map(IpAddr::from).collect(),
            _ => continue,
        };
        for hint in hints.iter().filter(|hint| !addresses.contains(hint)) {
            let message =
                format!("{owner} {rtype} hints at {hint}, which is no address of {target}");
            view.found(rules::SVCB_HINTS, set, message);
        }
    }
}

/// A client may hold either longer than the other, and meet half of a failover.
fn ttls(view: &mut View<'_>, set: &RRset) {
    for rtype in [RecordType::A, RecordType::AAAA] {
        let Some(addresses) = view.zone.get(set.owner(), rtype) else { continue };
        if addresses.ttl() != set.ttl() {
            let (owner, ttl, other) = (set.owner(), set.ttl(), addresses.ttl());
            let message =
                format!("{owner} HTTPS has a TTL of {ttl} seconds, its {rtype} of {other}");
            view.found(rules::SVCB_TTL, set, message);
        }
    }
}
