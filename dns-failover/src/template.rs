//! A domain's zone, made from the topology and the state of the failover.
//!
//! Everything that says who one is (mail exchangers, keys, fingerprints, policies) is the same in every
//! state, and covers both sites. Only the addresses of the managed names differ.

use crate::check::{KnownHosts, check_states};
use crate::diagnostic::Diagnostic;
use crate::epoch::{Active, Epoch, EpochRecord, SiteId};
use crate::name::Name;
use crate::rdata::{Rdata, RecordType, Soa};
use crate::record::{Record, Ttl};
use crate::rrset::RRset;
use crate::serial::Serial;
use crate::topology::{Addresses, Domain, Mail, Topology};
use crate::zone::Zone;

/// Why the rules of a topology let this name pass.
const FITS: &str = "the rules of the topology saw to it that every name fits below the domain";

impl Topology {
    /// The zone of a domain at an epoch, complete with its digest.
    pub fn zone(&self, domain: &Domain, record: EpochRecord) -> Zone {
        let mut zone = self.undigested(domain, record);
        zone.seal(Ttl::saturating(self.authority().ttl));
        zone
    }

    /// The same without its digest, which costs as much as all the rest.
    pub(crate) fn undigested(&self, domain: &Domain, record: EpochRecord) -> Zone {
        let mut zone = self.unsealed(domain, record.epoch.serial());
        let mut put = |rrset: RRset| zone.put(rrset).is_ok();
        for rrset in self.managed_rrsets(domain, record.active) {
            put(rrset);
        }
        put(epoch_rrset(&domain.name, record));
        zone
    }

    /// A zone as it is served, moved to another epoch: its managed sets point to where that one says, and
    /// everything else stays.
    pub fn moved_zone(&self, domain: &Domain, zone: &Zone, record: EpochRecord) -> Zone {
        let mut moved = zone.clone();
        for rrset in self.managed_rrsets(domain, Active::Both) {
            moved.remove(rrset.owner(), rrset.rtype());
        }
        for rrset in self.managed_rrsets(domain, record.active) {
            let _ = moved.put(rrset);
        }
        let _ = moved.put(epoch_rrset(&domain.name, record));
        moved.set_serial(record.epoch.serial());
        moved.seal(Ttl::saturating(self.authority().ttl));
        moved
    }

    /// The same domain in every state that a failover can bring it into: what the checks run on.
    pub fn reachable_zones(&self, domain: &Domain, epoch: Epoch) -> Vec<(Active, Zone)> {
        let zone = |active| (active, self.zone(domain, EpochRecord { epoch, active }));
        Active::REACHABLE.into_iter().map(zone).collect()
    }

    /// What the checks need to know of hosts outside of a domain: the name servers and the mail servers.
    pub fn known_hosts(&self) -> KnownHosts {
        let mut known = KnownHosts::new();
        for server in self.name_servers() {
            known.add(server.name.clone(), server.addresses.iter());
            if let Some(asn) = server.asn {
                known.autonomous_system(server.name.clone(), asn);
            }
        }
        for site in self.sites() {
            known.add(site.mail_host.clone(), site.mail.iter());
        }
        known
    }

    /// Everything that is wrong with a domain in any state that a failover can bring it into.
    pub fn check(&self, domain: &Domain) -> Vec<Diagnostic> {
        let zones = self.reachable_zones(domain, Epoch::new(1, SiteId::Uk));
        let states = zones.iter().map(|(active, zone)| (active.as_str(), zone));
        check_states(states, &self.known_hosts())
    }

    /// The RRsets that differ between states: the addresses of the managed names, as they are when
    /// visitors are sent to `active`.
    pub fn managed_rrsets(&self, domain: &Domain, active: Active) -> Vec<RRset> {
        let addresses = match active {
            Active::One(site) => self.site(site).web.clone(),
            Active::Both => self.site(SiteId::Uk).web.union(&self.site(SiteId::Us).web),
        };
        let ttl = Ttl::saturating(domain.ttl);
        let sets = domain.managed.iter().map(|owner| address_rrsets(owner, ttl, &addresses));
        sets.flatten().collect()
    }

    fn unsealed(&self, domain: &Domain, serial: Serial) -> Zone {
        let authority = self.authority();
        let apex = &domain.name;
        let mut build = Build { zone: Zone::new(apex.clone()) };
        let soa = Soa {
            mname: self.name_servers()[0].name.clone(),
            rname: authority.hostmaster.clone(),
            serial,
            refresh: authority.refresh,
            retry: authority.retry,
            expire: authority.expire,
            minimum: authority.minimum,
        };
        let (ttl, ns_ttl) = (Ttl::saturating(authority.ttl), Ttl::saturating(authority.ns_ttl));
        build.add(apex, ttl, Rdata::soa_of(&soa));
        for server in self.name_servers() {
            build.add(apex, ns_ttl, Rdata::ns(&server.name));
            build.host(&server.name, ns_ttl, &server.addresses);
        }
        for site in self.sites() {
            let own = apex.child(site.id.as_str()).expect(FITS);
            build.host(&own, ttl, &site.web);
            for fingerprint in &site.sshfp {
                build.add(&own, ttl, fingerprint.clone());
            }
            for tlsa in &site.tlsa {
                let hosts = domain.managed.iter().chain([&own]);
                for host in hosts {
                    let owner = host.prepend(&tlsa.service).expect(FITS);
                    build.add(&owner, ttl, tlsa.rdata.clone());
                }
            }
            build.host(&site.mail_host, ttl, &site.mail);
        }
        self.mail(domain, &mut build);
        for rdata in &domain.caa {
            build.add(apex, ttl, rdata.clone());
        }
        for rrset in &domain.extra {
            build.replace(rrset.clone());
        }
        build.zone
    }

    fn mail(&self, domain: &Domain, build: &mut Build) {
        let authority = self.authority();
        let apex = &domain.name;
        let (ttl, mx_ttl) = (Ttl::saturating(authority.ttl), Ttl::saturating(authority.mx_ttl));
        let dmarc_owner = apex.child("_dmarc").expect(FITS);
        let Mail::Dual { spf, dmarc } = &domain.mail else {
            build.add(apex, mx_ttl, Rdata::mx(0, &Name::root()));
            build.text(apex, ttl, b"v=spf1 -all");
            build.text(&dmarc_owner, ttl, b"v=DMARC1; p=reject");
            return;
        };
        for (preference, id) in [(10, domain.primary), (20, domain.primary.other())] {
            build.add(apex, mx_ttl, Rdata::mx(preference, &self.site(id).mail_host));
        }
        build.text(apex, ttl, self.spf(spf).as_bytes());
        let dmarc = dmarc.as_deref().unwrap_or("v=DMARC1; p=none");
        build.text(&dmarc_owner, ttl, dmarc.as_bytes());
        let keys = apex.child("_domainkey").expect(FITS);
        for dkim in self.sites().iter().flat_map(|site| &site.dkim) {
            build.text(&keys.prepend(&dkim.selector).expect(FITS), ttl, &dkim.text);
        }
    }

    /// Both sites send, whichever is active: mail that waits in the queue of one may leave when the
    /// domain has long moved to the other.
    fn spf(&self, more: &[String]) -> String {
        let mut words = vec!["v=spf1".to_owned()];
        for site in self.sites() {
            words.extend(site.mail.v4().iter().map(|address| format!("ip4:{address}")));
            words.extend(site.mail.v6().iter().map(|address| format!("ip6:{address}")));
        }
        words.extend(more.iter().cloned());
        words.push("-all".to_owned());
        words.join(" ")
    }
}

/// The record that says which epoch a zone is at.
pub(crate) fn epoch_rrset(apex: &Name, record: EpochRecord) -> RRset {
    let owner = apex.child(EpochRecord::LABEL).expect(FITS);
    let text = Rdata::txt(record.to_string()).expect("the text of an epoch is short");
    // Nobody but ourselves asks for it, and never through a cache.
    RRset::of(Record::new(owner, Ttl::saturating(0), text))
}

/// The addresses of a host, one RRset for each version that there is.
fn address_rrsets(owner: &Name, ttl: Ttl, addresses: &Addresses) -> Vec<RRset> {
    let v4 = addresses.v4().iter().copied().map(Rdata::a);
    let v6 = addresses.v6().iter().copied().map(Rdata::aaaa);
    let sets = [RRset::new(owner.clone(), ttl, v4), RRset::new(owner.clone(), ttl, v6)];
    sets.into_iter().flatten().collect()
}

struct Build {
    zone: Zone,
}

impl Build {
    fn add(&mut self, owner: &Name, ttl: Ttl, rdata: Rdata) {
        let added = self.zone.insert(Record::new(owner.clone(), ttl, rdata));
        debug_assert!(added.is_ok(), "{owner} is not in the zone");
    }

    fn text(&mut self, owner: &Name, ttl: Ttl, text: &[u8]) {
        if let Ok(rdata) = Rdata::txt(text) {
            self.add(owner, ttl, rdata);
        }
    }

    /// The addresses of a host, where its name lies in this zone.
    fn host(&mut self, name: &Name, ttl: Ttl, addresses: &Addresses) {
        if name.is_within(self.zone.origin()) {
            for address in addresses.iter() {
                self.add(name, ttl, Rdata::address(address));
            }
        }
    }

    /// Puts an RRset of the customer's in place of ours. An alias takes the place of everything.
    fn replace(&mut self, rrset: RRset) {
        if rrset.rtype() == RecordType::CNAME {
            let owner = rrset.owner();
            let types: Vec<RecordType> = self.zone.at(owner).map(RRset::rtype).collect();
            for rtype in types {
                self.zone.remove(owner, rtype);
            }
        }
        let put = self.zone.put(rrset);
        debug_assert!(put.is_ok(), "the rules let only records of the zone pass");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;
    use crate::testing::draft;

    const UK: Active = Active::One(SiteId::Uk);
    const US: Active = Active::One(SiteId::Us);

    fn zone_at(topology: &Topology, active: Active) -> Zone {
        let domain = topology.domains().values().next().unwrap();
        topology.zone(domain, EpochRecord { epoch: Epoch::new(7, SiteId::Uk), active })
    }

    #[test]
    fn only_managed_addresses_and_the_bookkeeping_differ_between_states() {
        let topology = Topology::new(draft(1)).unwrap();
        let diff = crate::diff::Diff::between(&zone_at(&topology, UK), &zone_at(&topology, US));
        let changed: Vec<String> = diff
            .unwrap()
            .changes()
            .iter()
            .map(|change| format!("{} {}", change.owner().unwrap(), change.rtype().unwrap()))
            .collect();
        assert_eq!(
            changed,
            [
                "customer0.example. A",
                "customer0.example. AAAA",
                "customer0.example. ZONEMD",
                "_epoch.customer0.example. TXT",
                "www.customer0.example. A",
                "www.customer0.example. AAAA",
            ]
        );
    }

    #[test]
    fn every_state_passes_every_check() {
        let topology = Topology::new(draft(2)).unwrap();
        for domain in topology.domains().values() {
            let findings = topology.check(domain);
            let bad: Vec<String> = findings
                .iter()
                .filter(|finding| finding.rule.severity == Severity::Error)
                .map(ToString::to_string)
                .collect();
            assert_eq!(bad, [""; 0]);
        }
    }

    #[test]
    fn a_domain_without_mail_says_so() {
        let mut draft = draft(1);
        draft.domains[0].mail = Mail::None;
        let zone = zone_at(&Topology::new(draft).unwrap(), UK);
        let mx = zone.get(zone.origin(), RecordType::MX).unwrap();
        assert_eq!(mx.rdatas(), [Rdata::mx(0, &Name::root())]);
    }

    #[test]
    fn a_zone_with_the_name_servers_in_it_has_their_addresses() {
        let mut draft = draft(0);
        let host = Domain::new("host.uk.".parse().unwrap(), SiteId::Uk).unwrap();
        draft.domains = vec![host];
        let topology = Topology::new(draft).unwrap();
        let zone = zone_at(&topology, US);
        for name in ["ns1.host.uk.", "ns5.host.uk.", "mail.host.uk."] {
            assert!(zone.get(&name.parse().unwrap(), RecordType::AAAA).is_some(), "{name}");
        }
        assert!(zone.get(&"ns2.host.us.".parse().unwrap(), RecordType::A).is_none());
    }

    #[test]
    fn what_the_customer_gives_takes_the_place_of_ours() {
        let mut draft = draft(1);
        let line = |text: &str| RRset::of(text.parse::<Record>().unwrap());
        draft.domains[0].extra = vec![
            line("customer0.example. 60 IN MX 5 mail.elsewhere.example."),
            line("uk.customer0.example. 60 IN CNAME elsewhere.example."),
        ];
        let zone = zone_at(&Topology::new(draft).unwrap(), UK);
        assert_eq!(zone.get(zone.origin(), RecordType::MX).unwrap().rdatas().len(), 1);
        let uk = zone.origin().child("uk").unwrap();
        let types: Vec<_> = zone.at(&uk).map(RRset::rtype).collect();
        assert_eq!(types, [RecordType::CNAME]);
    }

    #[test]
    fn a_zone_that_was_moved_keeps_what_is_not_managed() {
        let topology = Topology::new(draft(1)).unwrap();
        let domain = topology.domains().values().next().unwrap();
        let mut zone = zone_at(&topology, UK);
        let stray: Record = "stray.customer0.example. 60 IN A 203.0.113.9".parse().unwrap();
        zone.insert(stray.clone()).unwrap();
        let record = EpochRecord { epoch: Epoch::new(9, SiteId::Us), active: US };
        let moved = topology.moved_zone(domain, &zone, record);
        assert_eq!(moved.verify_digest(), Some(true));
        assert!(moved.get(&stray.owner, RecordType::A).is_some());
        let mut without = moved.clone();
        without.remove(&stray.owner, RecordType::A);
        without.seal(Ttl::HOUR);
        assert_eq!(without, topology.zone(domain, record));
    }
}
