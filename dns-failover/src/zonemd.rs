//! Digests of whole zones (RFC 8976): two servers with one digest serve the same.

use sha2::{Digest, Sha384};

use crate::rdata::{Rdata, RecordType};
use crate::record::{Class, Ttl};
use crate::rrset::RRset;
use crate::serial::Serial;
use crate::zone::Zone;

/// Scheme SIMPLE and hash algorithm SHA-384 (RFC 8976 section 5).
const SIMPLE_SHA384: [u8; 2] = [1, 1];

/// The digest of a zone with scheme SIMPLE and SHA-384 (RFC 8976 section 3): over all its records in
/// canonical form and order, but those of type ZONEMD at the apex and signatures over them.
pub fn zone_digest(zone: &Zone) -> [u8; 48] {
    let mut digest = Sha384::new();
    let mut wire = Vec::with_capacity(512);
    for rrset in zone.iter().filter(|rrset| !is_excluded(zone, rrset)) {
        wire.clear();
        let owner = rrset.owner().to_lowercase();
        for rdata in rrset.rdatas() {
            let data = rdata.canonical_wire();
            wire.extend_from_slice(owner.as_wire());
            wire.extend_from_slice(&rrset.rtype().get().to_be_bytes());
            wire.extend_from_slice(&rrset.class().get().to_be_bytes());
            wire.extend_from_slice(&rrset.ttl().seconds().to_be_bytes());
            // RDATA has 65,535 octets at most, in canonical form as well.
            wire.extend_from_slice(&u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
            wire.extend_from_slice(&data);
        }
        digest.update(&wire);
    }
    digest.finalize().into()
}

/// Puts the digest of a zone into the zone, as its one ZONEMD record. Without a start of authority
/// there is nothing to seal, and false is returned.
pub fn seal(zone: &mut Zone) -> bool {
    let apex = zone.origin().clone();
    let Some((ttl, serial)) = zone.get(&apex, RecordType::SOA).map(RRset::ttl).zip(zone.serial())
    else {
        return false;
    };
    let rdata = zonemd(serial, &zone_digest(zone));
    RRset::new(apex, ttl, [rdata]).is_some_and(|rrset| zone.put(rrset).is_ok())
}

/// Whether a zone's ZONEMD record of our kind, if there is one, is right; None without one.
pub fn is_sealed(zone: &Zone) -> Option<bool> {
    let rrset = zone.get(zone.origin(), RecordType::ZONEMD)?;
    let wanted = zonemd(zone.serial()?, &zone_digest(zone));
    let ours = |rdata: &&Rdata| rdata.as_wire().get(4..6) == Some(&SIMPLE_SHA384);
    let mut found = rrset.rdatas().iter().filter(ours).peekable();
    found.peek()?;
    Some(found.all(|rdata| *rdata == wanted))
}

fn zonemd(serial: Serial, digest: &[u8; 48]) -> Rdata {
    let wire = [&serial.get().to_be_bytes()[..], &SIMPLE_SHA384, digest].concat();
    Rdata::trusted(RecordType::ZONEMD, &wire)
}

fn is_excluded(zone: &Zone, rrset: &RRset) -> bool {
    let digest = RecordType::ZONEMD;
    rrset.owner() == zone.origin() && (rrset.rtype() == digest || rrset.covers() == digest.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Zone {
        let mut zone = Zone::new("example.".parse().unwrap());
        for line in text.lines() {
            zone.insert(line.parse().unwrap()).unwrap();
        }
        zone
    }

    /// RFC 8976 appendix A.1.
    const SIMPLE: &str = "\
        example. 86400 IN SOA ns1.example. admin.example. 2018031900 1800 900 604800 86400\n\
        example. 86400 IN NS ns1.example.\n\
        example. 86400 IN NS ns2.example.\n\
        ns1.example. 3600 IN A 203.0.113.63\n\
        ns2.example. 3600 IN AAAA 2001:db8::63";

    #[test]
    fn the_example_of_the_rfc_has_its_digest() {
        let mut zone = zone(SIMPLE);
        assert_eq!(is_sealed(&zone), None);
        assert!(seal(&mut zone));
        assert_eq!(is_sealed(&zone), Some(true));
        let sealed = zone.get(zone.origin(), RecordType::ZONEMD).unwrap();
        let text = sealed.rdatas()[0].to_string().to_ascii_lowercase().replace(' ', "");
        assert_eq!(
            text,
            "201803190011c68090d90a7aed716bc459f9340e3d7c1370d4d24b7e2fc3a1ddc0b9a87153b9\
             a9713b3c9ae5cc27777f98b8e730044c"
        );
    }

    #[test]
    fn a_changed_zone_is_not_sealed_any_more() {
        let mut zone = zone(SIMPLE);
        seal(&mut zone);
        let mut ns = zone.get(&"ns1.example.".parse().unwrap(), RecordType::A).unwrap().clone();
        ns.set_ttl(Ttl::HOUR);
        zone.put(ns.clone()).unwrap();
        assert_eq!(is_sealed(&zone), Some(true));
        ns.set_ttl(Ttl::DAY);
        zone.put(ns).unwrap();
        assert_eq!(is_sealed(&zone), Some(false));
        assert_eq!(zone.class(), Class::IN);
    }
}
