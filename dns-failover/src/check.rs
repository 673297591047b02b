//! What is wrong with a zone, by every rule that can be decided without the network.

mod address;
mod alias;
mod apex;
mod catalog;
mod delegation;
mod dnssec;
mod identity;
mod mail;
mod names;
mod naptr;
pub(crate) mod rules;
mod service;
mod size;
mod spf;
mod states;
mod targets;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use size::Referral;
pub use states::check_states;

use crate::diagnostic::{Diagnostic, Rule};
use crate::master::Places;
use crate::name::Name;
use crate::rdata::{Rdata, RecordType};
use crate::rrset::RRset;
use crate::zone::Zone;

/// What is known of hosts outside of a zone: the name servers' addresses and where they stand.
///
/// Names that are not here and lie outside of the zone are taken to be in order.
#[derive(Debug, Clone, Default)]
pub struct KnownHosts {
    hosts: BTreeMap<Name, Host>,
}

#[derive(Debug, Clone, Default)]
struct Host {
    addresses: Vec<IpAddr>,
    autonomous_system: Option<u32>,
}

impl KnownHosts {
    /// Nothing.
    pub fn new() -> KnownHosts {
        KnownHosts::default()
    }

    /// A host with its addresses.
    pub fn add(&mut self, name: Name, addresses: impl IntoIterator<Item = IpAddr>) -> &mut Self {
        self.hosts.entry(name).or_default().addresses.extend(addresses);
        self
    }

    /// The number of the autonomous system that a host is in.
    pub fn autonomous_system(&mut self, name: Name, number: u32) -> &mut Self {
        self.hosts.entry(name).or_default().autonomous_system = Some(number);
        self
    }
}

/// Finds what is wrong with a zone, errors first, then in canonical order.
///
/// ```
/// use dns_failover::{Zone, check};
///
/// let zone = Zone::parse(&"example.".parse()?, "@ 3600 SOA ns1 admin 1 4h 1h 1w 5m\n@ NS ns1\n").unwrap();
/// let findings = check(&zone, &Default::default());
/// assert_eq!(findings[0].to_string(), "error[DELEGATION01]: example. has 1 name server");
/// assert_eq!(findings[1].rule.id, "NS02");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check(zone: &Zone, known: &KnownHosts) -> Vec<Diagnostic> {
    let mut view = View::new(zone, known);
    if catalog::is_catalog(zone) {
        // A catalog is no zone that anybody asks for names (RFC 9432 section 4).
        catalog::check(&mut view);
    } else {
        apex::check(&mut view);
        delegation::check(&mut view);
        size::check(&mut view);
        address::check(&mut view);
        targets::check(&mut view);
        mail::check(&mut view);
        service::check(&mut view);
        naptr::check(&mut view);
        identity::check(&mut view);
    }
    names::check(&mut view);
    alias::check(&mut view);
    dnssec::check(&mut view);
    let mut findings = view.findings;
    findings.sort_by(|a, b| {
        let key =
            |one: &Diagnostic| (std::cmp::Reverse(one.rule.severity), one.owner.clone(), one.rtype);
        key(a).cmp(&key(b))
    });
    findings.dedup();
    findings
}

/// Gives findings the places of their RRsets, where these are known.
pub fn locate(findings: &mut [Diagnostic], zone: &Zone, places: &Places) {
    for finding in findings.iter_mut().filter(|finding| finding.place.is_none()) {
        let owner = finding.owner.as_ref().unwrap_or(zone.origin());
        let own = finding.rtype.and_then(|rtype| places.of(owner, rtype));
        // What is missing has no place; that of the SOA record stands for the zone.
        let place = own.or_else(|| places.of(zone.origin(), RecordType::SOA));
        finding.place = place.or_else(|| places.beginning());
    }
}

/// A zone under examination, with what several rules want to know.
struct View<'a> {
    zone: &'a Zone,
    known: &'a KnownHosts,
    /// Names below the apex that are delegated, in canonical order, none below another.
    cuts: Vec<&'a Name>,
    findings: Vec<Diagnostic>,
}

/// What the zone says about a name that something points at.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// It has addresses here or is known to.
    Addressed,
    /// It is an alias.
    Alias,
    /// It lies in the zone and has no address.
    Missing,
    /// It lies elsewhere, and nothing is known of it.
    Elsewhere,
}

impl<'a> View<'a> {
    fn new(zone: &'a Zone, known: &'a KnownHosts) -> View<'a> {
        let mut cuts: Vec<&Name> = Vec::new();
        for set in zone.iter().filter(|set| set.rtype() == RecordType::NS) {
            let below = cuts.last().is_some_and(|cut| set.owner().is_within(cut));
            if set.owner() != zone.origin() && !below {
                cuts.push(set.owner());
            }
        }
        View { zone, known, cuts, findings: Vec::new() }
    }

    fn found(&mut self, rule: &'static Rule, set: &RRset, message: impl Into<String>) {
        self.found_at(rule, set.owner(), Some(set.rtype()), message);
    }

    fn found_at(
        &mut self,
        rule: &'static Rule,
        owner: &Name,
        rtype: Option<RecordType>,
        message: impl Into<String>,
    ) {
        let finding = Diagnostic::new(rule, message);
        self.findings.push(Diagnostic { owner: Some(owner.clone()), rtype, ..finding });
    }

    /// The delegated name that a name is or lies below.
    fn cut_above(&self, name: &Name) -> Option<&'a Name> {
        // The last cut that does not come after the name is the only one it can lie below.
        let at = self.cuts.partition_point(|cut| *cut <= name);
        let cut = *self.cuts.get(at.checked_sub(1)?)?;
        name.is_within(cut).then_some(cut)
    }

    /// The RRsets of a type that are the zone's own to say, and no glue.
    fn own(&self, rtype: RecordType) -> Vec<&'a RRset> {
        let of_type = self.zone.iter().filter(|set| set.rtype() == rtype);
        of_type.filter(|set| self.cut_above(set.owner()).is_none()).collect()
    }

    /// Addresses of a name, from the zone and from what is known besides. None where nothing can be
    /// known: the name lies elsewhere.
    fn addresses(&self, name: &Name) -> Option<Vec<IpAddr>> {
        if let Some(host) = self.known.hosts.get(name) {
            return Some(host.addresses.clone());
        }
        if !name.is_within(self.zone.origin()) {
            return None;
        }
        let name = self.answering(name);
        let types = [RecordType::A, RecordType::AAAA];
        let sets = types.into_iter().filter_map(|rtype| self.zone.get(&name, rtype));
        let addresses: Vec<IpAddr> =
            sets.flat_map(RRset::rdatas).filter_map(Rdata::ip_address).collect();
        let delegated = addresses.is_empty() && self.cut_above(&name).is_some();
        if delegated { None } else { Some(addresses) }
    }

    /// The name whose records answer for `name`: itself, or the wildcard that covers it
    /// (RFC 4592 section 3.3.1).
    fn answering(&self, name: &Name) -> Name {
        let mut encloser = name.clone();
        while !self.zone.contains(&encloser) {
            match encloser.parent() {
                Some(parent) if parent.is_within(self.zone.origin()) => encloser = parent,
                _ => return name.clone(),
            }
        }
        if encloser == *name {
            return encloser;
        }
        match encloser.child("*") {
            Ok(wildcard) if self.zone.contains(&wildcard) => wildcard,
            _ => name.clone(),
        }
    }

    fn target(&self, name: &Name) -> Target {
        if name.is_within(self.zone.origin()) {
            let answering = self.answering(name);
            if self.zone.get(&answering, RecordType::CNAME).is_some() {
                return Target::Alias;
            }
        }
        match self.addresses(name) {
            None => Target::Elsewhere,
            Some(addresses) if addresses.is_empty() => Target::Missing,
            Some(_) => Target::Addressed,
        }
    }
}
