//! CNAME and DNAME.

use super::{View, rules};
use crate::name::Name;
use crate::rdata::RecordType;

/// Longer chains are given up; resolvers do so earlier.
const LONGEST: usize = 16;

pub(super) fn check(view: &mut View<'_>) {
    for set in view.own(RecordType::CNAME) {
        let owner = set.owner();
        if set.rdatas().len() > 1 {
            let message = format!("{owner} has {} CNAME records", set.rdatas().len());
            view.found(rules::CNAMES, set, message);
        }
        // Beside an alias only DNSSEC's own records may stand (RFC 4034 section 3, RFC 2535).
        let beside = [RecordType::CNAME, RecordType::RRSIG, RecordType::NSEC, RecordType::KEY];
        let other = view.zone.at(owner).find(|other| !beside.contains(&other.rtype()));
        if let Some(other) = other {
            let message = format!("{owner} is an alias and has {} records", other.rtype());
            view.found(rules::CNAME_AND_OTHER, set, message);
        }
        if let Some(target) = set.rdatas()[0].target() {
            follow(view, owner, target);
        }
    }
    dnames(view);
}

fn follow(view: &mut View<'_>, owner: &Name, target: Name) {
    let cname = Some(RecordType::CNAME);
    let mut steps = 1;
    let mut at = target;
    loop {
        if at == *owner || steps > LONGEST {
            let message = format!("the aliases from {owner} on lead back to where they came from");
            return view.found_at(rules::CNAME_LOOP, owner, cname, message);
        }
        if !at.is_within(view.zone.origin())
            || view.cut_above(&at).is_some()
            || below_dname(view, &at)
        {
            break;
        }
        let answering = view.answering(&at);
        if !view.zone.contains(&answering) {
            let message = format!("{owner} is an alias of {at}, which does not exist");
            return view.found_at(rules::CNAME_NOWHERE, owner, cname, message);
        }
        let next = view.zone.get(&answering, RecordType::CNAME);
        let Some(next) = next.and_then(|set| set.rdatas()[0].target()) else { break };
        steps += 1;
        at = next;
    }
    if steps > 2 {
        let message = format!("{owner} is the first of {steps} aliases in a row");
        view.found_at(rules::CNAME_CHAIN, owner, cname, message);
    }
}

fn below_dname(view: &View<'_>, name: &Name) -> bool {
    let above = std::iter::successors(name.parent(), Name::parent);
    above
        .take_while(|name| name.is_within(view.zone.origin()))
        .any(|name| view.zone.get(&name, RecordType::DNAME).is_some())
}

fn dnames(view: &mut View<'_>) {
    for set in view.own(RecordType::DNAME) {
        let owner = set.owner();
        if set.rdatas().len() > 1 {
            let message = format!("{owner} has {} DNAME records", set.rdatas().len());
            view.found(rules::DNAMES, set, message);
        }
        if owner.is_wildcard() {
            view.found(
                rules::WILDCARD_DNAME,
                set,
                format!("the wildcard {owner} has a DNAME record"),
            );
        }
        let below = view.zone.within(owner).find(|other| other.owner() != owner);
        if let Some(below) = below {
            let message = format!("{} lies below the DNAME of {owner}", below.owner());
            view.found(rules::BELOW_DNAME, below, message);
        }
    }
}
