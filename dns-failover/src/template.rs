//! A domain's zone, made from the topology and the state of the failover.
//!
//! Everything that says who one is (mail exchangers, keys, fingerprints, policies) is the same in every
//! state, and covers both sites. Only the addresses of the managed names differ.

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
        let mut zone = self.unsealed(domain, record.epoch.serial());
        let mut put = |rrset: RRset| zone.put(rrset).is_ok();
        for rrset in self.managed_rrsets(domain, record.active) {
            put(rrset);
        }
        put(epoch_rrset(&domain.name, record));
        zone.seal(Ttl::saturating(self.authority().ttl));
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
