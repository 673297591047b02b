//! The digest of a zone (RFC 8976): the same content on six servers has the same one.

use sha2::{Digest, Sha384};

use crate::rdata::{Rdata, RecordType};
use crate::record::{Record, Ttl};
use crate::rrset::RRset;
use crate::zone::Zone;

/// Records gathered in canonical order (section 3.3.1).
const SIMPLE: u8 = 1;

/// SHA-384 (section 5.3).
const SHA384: u8 = 1;

impl Zone {
    /// SHA-384 over all records in canonical form and order, but for ZONEMD at the apex and the
    /// signatures over it (RFC 8976 section 3.3.1).
    pub fn digest(&self) -> [u8; 48] {
        let mut hash = Sha384::new();
        let mut wire = Vec::new();
        for set in self.iter().filter(|set| !self.is_zonemd(set)) {
            let owner = set.owner().to_lowercase();
            for rdata in set.rdatas() {
                let rdata = Rdata::trusted(rdata.rtype(), &rdata.canonical_wire());
                let (class, ttl) = (set.class(), set.ttl());
                wire.clear();
                Record { owner: owner.clone(), class, ttl, rdata }.encode(&mut wire);
                hash.update(&wire);
            }
        }
        hash.finalize().into()
    }

    fn is_zonemd(&self, set: &RRset) -> bool {
        let zonemd = RecordType::ZONEMD;
        set.owner() == self.origin() && (set.rtype() == zonemd || set.covers() == zonemd.get())
    }

    /// The ZONEMD record that the zone should have; None without a start of authority.
    pub fn zonemd(&self) -> Option<Rdata> {
        let serial = self.serial()?.get().to_be_bytes();
        let wire = [&serial[..], &[SIMPLE, SHA384], &self.digest()].concat();
        Some(Rdata::trusted(RecordType::ZONEMD, &wire))
    }

    /// Puts the right ZONEMD record at the apex, in place of any that is there; says whether there is a
    /// start of authority to make it from. It must be the last change.
    pub fn seal(&mut self, ttl: Ttl) -> bool {
        let Some(zonemd) = self.zonemd() else { return false };
        let set = RRset::new(self.origin().clone(), ttl, [zonemd]);
        set.is_some_and(|set| self.put(set.with_class(self.class())).is_ok())
    }

    /// Whether a ZONEMD record at the apex holds; None where there is none that we can verify (section
    /// 4: one of an unknown scheme or algorithm says nothing).
    pub fn verify_digest(&self) -> Option<bool> {
        use crate::rdata::Data;
        let serial = self.serial()?;
        let set = self.get(self.origin(), RecordType::ZONEMD)?;
        let mut known = set.rdatas().iter().filter_map(|rdata| match rdata.data() {
            Data::Zonemd { serial: its, scheme: SIMPLE, algorithm: SHA384, digest } => {
                Some((its, digest))
            }
            _ => None,
        });
        let (its, digest) = known.next()?;
        Some(known.next().is_none() && its == serial && digest == self.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8976 appendix A.1.
    #[test]
    fn the_simple_zone_of_the_rfc_holds() {
        let text = "example. 86400 IN SOA ns1 admin 2018031900 1800 900 604800 86400
 86400 IN NS ns1
 86400 IN NS ns2
 86400 IN ZONEMD 2018031900 1 1 ( c68090d90a7aed71 6bc459f9340e3d7c 1370d4d24b7e2fc3 a1ddc0b9a87153b9 a9713b3c9ae5cc27 777f98b8e730044c )
ns1 3600 IN A 203.0.113.63
ns2 3600 IN AAAA 2001:db8::63
";
        let mut zone = Zone::parse(&"example.".parse().unwrap(), text).unwrap();
        assert_eq!(zone.verify_digest(), Some(true));
        let sealed = zone.clone();
        assert!(zone.seal(Ttl::DAY));
        assert_eq!(zone, sealed);
        zone.set_serial(crate::Serial::new(2018031901));
        assert_eq!(zone.verify_digest(), Some(false));
    }
}
