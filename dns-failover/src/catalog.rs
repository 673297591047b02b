//! The list of all zones, as a zone (RFC 9432).

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::epoch::EpochRecord;
use crate::name::Name;
use crate::rdata::{Rdata, Soa};
use crate::record::{Record, Ttl};
use crate::template::epoch_rrset;
use crate::topology::Topology;
use crate::zone::Zone;

impl Topology {
    /// The catalog of all domains: what servers that transfer their zones learn them from. It is a zone
    /// like any other, with an epoch and a digest, which consumers pass over.
    pub fn catalog_zone(&self, record: EpochRecord) -> Zone {
        let authority = self.authority();
        let apex = &authority.catalog;
        let mut zone = Zone::new(apex.clone());
        let invalid: Name = "invalid.".parse().unwrap_or_else(|_| Name::root());
        let soa = Soa {
            mname: invalid.clone(),
            rname: invalid.clone(),
            serial: record.epoch.serial(),
            refresh: authority.refresh,
            retry: authority.retry,
            expire: authority.expire,
            minimum: 0,
        };
        // Nobody caches a catalog (RFC 9432 section 4.1).
        let ttl = Ttl::saturating(0);
        let mut add = |owner: Option<Name>, rdata: Option<Rdata>| {
            if let Some((owner, rdata)) = owner.zip(rdata) {
                let _ = zone.insert(Record::new(owner, ttl, rdata));
            }
        };
        add(Some(apex.clone()), Some(Rdata::soa_of(&soa)));
        add(Some(apex.clone()), Some(Rdata::ns(&invalid)));
        add(apex.child("version").ok(), Rdata::txt("2").ok());
        if let Ok(zones) = apex.child("zones") {
            for name in self.domains().keys() {
                add(zones.child(member_id(name)).ok(), Some(Rdata::ptr(name)));
            }
        }
        let _ = zone.put(epoch_rrset(apex, record));
        zone.seal(ttl);
        zone
    }
}

/// The label of a zone in the catalog. It depends on the zone's name alone, because a consumer takes
/// another label for another zone and starts it from nothing (RFC 9432 section 5.4).
fn member_id(zone: &Name) -> String {
    let digest = Sha256::digest(zone.to_lowercase().as_wire());
    digest[..16].iter().fold(String::with_capacity(32), |mut id, octet| {
        let _ = write!(id, "{octet:02x}");
        id
    })
}
