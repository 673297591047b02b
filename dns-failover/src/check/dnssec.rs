//! DNSSEC data that the zone passes through.

use super::{View, rules};
use crate::rdata::{Data, RecordType};

pub(super) fn check(view: &mut View<'_>) {
    for set in view.zone.iter() {
        let owner = set.owner();
        let rtype = set.rtype();
        let at_apex = owner == view.zone.origin();
        for rdata in set.rdatas() {
            match (rtype, rdata.data()) {
                (
                    RecordType::DS | RecordType::CDS,
                    Data::Ds { algorithm, digest_type, digest, .. },
                ) => {
                    // Algorithm 0 asks for the DS to go (RFC 8078 section 4).
                    if algorithm == 0 && rtype == RecordType::CDS {
                        continue;
                    }
                    let len = digest.len();
                    let wanted = match digest_type {
                        1 => 20,
                        2 => 32,
                        4 => 48,
                        _ => len,
                    };
                    if len != wanted || len == 0 {
                        let message = format!(
                            "{owner} {rtype} of digest type {digest_type} has {len} octets"
                        );
                        view.found(rules::DS_LENGTH, set, message);
                    }
                    if digest_type == 1 {
                        view.found(
                            rules::DS_SHA1,
                            set,
                            format!("{owner} {rtype} has a SHA-1 digest"),
                        );
                    }
                }
                (RecordType::DNSKEY | RecordType::CDNSKEY, Data::Other([_, _, protocol, ..]))
                    if *protocol != 3 =>
                {
                    let message = format!("{owner} {rtype} has the protocol {protocol}");
                    view.found(rules::DNSKEY_PROTOCOL, set, message);
                }
                (RecordType::NSEC3PARAM, Data::Other([_, _, high, low, salt, ..])) => {
                    let iterations = u16::from_be_bytes([*high, *low]);
                    if iterations > 0 || *salt > 0 {
                        let message = format!(
                            "{owner} NSEC3PARAM has {iterations} iterations and a salt of {salt} octets"
                        );
                        view.found(rules::NSEC3_ITERATIONS, set, message);
                    }
                }
                _ => {}
            }
        }
        if matches!(rtype, RecordType::CDS | RecordType::CDNSKEY) && !at_apex {
            view.found(rules::CDS_PLACE, set, format!("{owner} has {rtype} records"));
        }
    }
}
