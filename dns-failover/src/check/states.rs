//! A zone in every state that failover can bring it into.

use std::collections::{BTreeMap, BTreeSet};

use super::{KnownHosts, check, rules};
use crate::diagnostic::{Diagnostic, Rule};
use crate::rdata::{Data, RecordType};
use crate::record::Ttl;
use crate::rrset::RRset;
use crate::zone::{Key, Zone};

/// The longest TTL of what changes with the site.
const MOST: Ttl = Ttl::saturating(300);

/// The longest that is still as quick as resolvers allow.
const BEST: Ttl = Ttl::saturating(60);

/// Checks every reachable state, and holds them against one another: what says who somebody is must
/// be the same in all of them, and what changes must be quick and never be absent. A finding that is
/// in every state is told once, any other with the name of its state.
///
/// ```
/// use dns_failover::{Zone, check_states};
///
/// let zone = |site: &str| {
///     let text = format!("@ 3600 SOA ns admin 2 4h 1h 1w 5m\n@ 86400 NS ns\nwww 3600 A {site}\n");
///     Zone::parse(&"example.".parse().unwrap(), text).unwrap()
/// };
/// let states = [("uk", &zone("192.0.2.1")), ("us", &zone("198.51.100.1"))];
/// let findings = check_states(states, &Default::default());
/// assert!(findings.iter().any(|finding| finding.rule.id == "STATE02"));
/// ```
pub fn check_states<'z>(
    states: impl IntoIterator<Item = (&'z str, &'z Zone)>,
    known: &KnownHosts,
) -> Vec<Diagnostic> {
    let states: Vec<(&str, &Zone)> = states.into_iter().collect();
    let mut findings = Vec::new();
    let mut by_state: Vec<(&str, Vec<Diagnostic>)> =
        states.iter().map(|(name, zone)| (*name, check(zone, known))).collect();
    if let Some((_, first)) = by_state.first() {
        let everywhere =
            |one: &Diagnostic| by_state.iter().all(|(_, findings)| findings.contains(one));
        findings = first.iter().filter(|one| everywhere(one)).cloned().collect();
    }
    for (name, of_state) in &mut by_state {
        of_state.retain(|one| !findings.contains(one));
        for one in of_state {
            one.state = Some((*name).to_owned());
        }
    }
    findings.extend(by_state.into_iter().flat_map(|(_, of_state)| of_state));
    compare(&states, &mut findings);
    findings
}

fn compare(states: &[(&str, &Zone)], findings: &mut Vec<Diagnostic>) {
    let keys: BTreeSet<Key> =
        states.iter().flat_map(|(_, zone)| zone.iter()).map(Key::of).collect();
    for key in &keys {
        let mut found = |rule: &'static Rule, state: Option<&str>, message: String| {
            let finding = Diagnostic::new(rule, message);
            let (owner, rtype) = (Some(key.owner.clone()), Some(key.rtype));
            findings.push(Diagnostic { owner, rtype, state: state.map(str::to_owned), ..finding });
        };
        let sets: BTreeMap<&str, Option<&RRset>> =
            states.iter().map(|(name, zone)| (*name, zone.find(key))).collect();
        let Some(one) = sets.values().flatten().next() else { continue };
        let (owner, rtype) = (&key.owner, key.rtype);
        for (name, _) in sets.iter().filter(|(_, set)| set.is_none()) {
            let message = format!("{owner} {rtype} is not there, but is in another state");
            found(rules::STATE_ABSENT, Some(name), message);
        }
        let there: Vec<&RRset> = sets.values().flatten().copied().collect();
        if there.iter().any(|set| set.ttl() != one.ttl()) {
            found(
                rules::STATE_TTL_DIFFERS,
                None,
                format!("{owner} {rtype} has another TTL in another state"),
            );
        }
        if there.iter().all(|set| same(set, one)) {
            continue;
        }
        if !moves_with_the_site(owner, rtype) {
            let message = format!("{owner} {rtype} changes with the state of failover");
            found(rules::STATE_IDENTITY, None, message);
            continue;
        }
        let highest = there.iter().map(|set| set.ttl()).max().unwrap_or(one.ttl());
        if highest > MOST {
            let message = format!(
                "{owner} {rtype} changes with the state and has a TTL of {highest} seconds"
            );
            found(rules::STATE_TTL, None, message);
        } else if highest > BEST {
            let message = format!(
                "{owner} {rtype} changes with the state and has a TTL of {highest} seconds"
            );
            found(rules::STATE_TTL_HIGH, None, message);
        }
    }
}

/// Whether two sets say the same; serials and digests of versions do not count.
fn same(a: &RRset, b: &RRset) -> bool {
    if a.rtype() == RecordType::ZONEMD {
        return true;
    }
    let soa = |set: &RRset| match set.rdatas()[0].data() {
        Data::Soa(soa) => Some(soa),
        _ => None,
    };
    match (soa(a), soa(b)) {
        (Some(a), Some(b)) => crate::rdata::Soa { serial: b.serial, ..a } == b,
        _ => a.rdatas() == b.rdatas(),
    }
}

/// Addresses and what hints at them; and names that begin with an underscore and `epoch`, by which
/// publishers fence one another.
fn moves_with_the_site(owner: &crate::name::Name, rtype: RecordType) -> bool {
    matches!(
        rtype,
        RecordType::A | RecordType::AAAA | RecordType::HTTPS | RecordType::SVCB | RecordType::CNAME
    ) || owner.labels().next().is_some_and(|label| label.eq_ignore_ascii_case(b"_epoch"))
}
