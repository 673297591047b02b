//! Keys, fingerprints and digests that say who somebody is: SSHFP, TLSA, CAA, ZONEMD.

use std::collections::BTreeSet;

use super::{View, rules};
use crate::rdata::{Data, Rdata, RecordType};
use crate::rrset::RRset;

const SHA1: usize = 20;
const SHA256: usize = 32;
const SHA512: usize = 64;

pub(super) fn check(view: &mut View<'_>) {
    for set in view.own(RecordType::SSHFP) {
        sshfp(view, set);
    }
    for rtype in [RecordType::TLSA, RecordType::SMIMEA] {
        for set in view.own(rtype) {
            tlsa(view, set);
        }
    }
    let caas = view.own(RecordType::CAA);
    if caas.is_empty() {
        let origin = view.zone.origin();
        view.found_at(rules::NO_CAA, origin, None, format!("{origin} has no CAA record"));
    }
    for set in caas {
        for rdata in set.rdatas() {
            if let Data::Caa { flags, tag, value } = rdata.data() {
                caa(view, set, flags, tag, value);
            }
        }
    }
    zonemd(view);
}

fn sshfp(view: &mut View<'_>, set: &RRset) {
    let owner = set.owner();
    let parts = |rdata: &Rdata| match rdata.data() {
        Data::Sshfp { algorithm, fingerprint_type, fingerprint } => {
            Some((algorithm, fingerprint_type, fingerprint.len()))
        }
        _ => None,
    };
    let all: Vec<(u8, u8, usize)> = set.rdatas().iter().filter_map(parts).collect();
    let with_sha256 = all.iter().filter(|(_, kind, _)| *kind == 2);
    let with_sha256: BTreeSet<u8> = with_sha256.map(|(algorithm, ..)| *algorithm).collect();
    for &(algorithm, kind, len) in &all {
        if !matches!(algorithm, 1..=4 | 6) || !matches!(kind, 1 | 2) {
            let message =
                format!("{owner} SSHFP has algorithm {algorithm} and fingerprint type {kind}");
            view.found(rules::SSHFP_NUMBER, set, message);
        }
        if (kind == 1 && len != SHA1) || (kind == 2 && len != SHA256) {
            let message =
                format!("{owner} SSHFP has a fingerprint of type {kind} with {len} octets");
            view.found(rules::SSHFP_LENGTH, set, message);
        }
        if kind == 1 && !with_sha256.contains(&algorithm) {
            let message = format!("{owner} SSHFP has only SHA-1 for algorithm {algorithm}");
            view.found(rules::SSHFP_SHA1, set, message);
        }
    }
}

fn tlsa(view: &mut View<'_>, set: &RRset) {
    let (owner, rtype) = (set.owner(), set.rtype());
    for rdata in set.rdatas() {
        // SMIMEA has the same fields (RFC 8162 section 2).
        let [usage, selector, matching, association @ ..] = rdata.as_wire() else { continue };
        if *usage > 3 || *selector > 1 || *matching > 2 {
            let message = format!("{owner} {rtype} begins with {usage} {selector} {matching}");
            view.found(rules::TLSA_NUMBER, set, message);
        }
        let len = association.len();
        if (*matching == 1 && len != SHA256) || (*matching == 2 && len != SHA512) || len == 0 {
            let message = format!("{owner} {rtype} of matching type {matching} has {len} octets");
            view.found(rules::TLSA_LENGTH, set, message);
        }
    }
    if rtype == RecordType::TLSA && !is_port_and_protocol(set) {
        view.found(
            rules::TLSA_OWNER,
            set,
            format!("{owner} TLSA does not begin with _port._protocol"),
        );
    }
}

fn is_port_and_protocol(set: &RRset) -> bool {
    let mut labels = set.owner().labels();
    let port = labels.next().and_then(|label| match label {
        b"*" | b"_*" => Some(0),
        label => std::str::from_utf8(label.strip_prefix(b"_")?).ok()?.parse::<u16>().ok(),
    });
    let protocol = labels.next().unwrap_or_default().to_ascii_lowercase();
    port.is_some() && [&b"_tcp"[..], b"_udp", b"_sctp"].contains(&protocol.as_slice())
}

fn caa(view: &mut View<'_>, set: &RRset, flags: u8, tag: &[u8], value: &[u8]) {
    let owner = set.owner();
    let shown = String::from_utf8_lossy(tag);
    if flags & 127 != 0 {
        view.found(rules::CAA_FLAGS, set, format!("{owner} CAA has the flags {flags}"));
    }
    const KNOWN: [&[u8]; 7] = [
        b"issue",
        b"issuewild",
        b"iodef",
        b"issuemail",
        b"issuevmc",
        b"contactemail",
        b"contactphone",
    ];
    let small = tag.to_ascii_lowercase();
    let known = KNOWN.contains(&small.as_slice());
    if !known && flags & 128 != 0 {
        let message = format!("{owner} CAA makes the unknown tag {shown:?} critical");
        view.found(rules::CAA_CRITICAL, set, message);
    } else if !known || small != tag {
        view.found(rules::CAA_TAG, set, format!("{owner} CAA has the tag {shown:?}"));
    }
    let value_shown = String::from_utf8_lossy(value);
    match small.as_slice() {
        b"issue" | b"issuewild" | b"issuemail" | b"issuevmc" if !is_issue_value(value) => {
            let message = format!("{owner} CAA {shown} has the value {value_shown:?}");
            view.found(rules::CAA_ISSUE, set, message);
        }
        b"iodef" => {
            let schemes = ["mailto:", "http://", "https://"];
            if !schemes.iter().any(|scheme| value.starts_with(scheme.as_bytes())) {
                let message = format!("{owner} CAA iodef has the value {value_shown:?}");
                view.found(rules::CAA_IODEF, set, message);
            }
        }
        _ => {}
    }
}

/// A domain or none, and parameters `tag=value` behind semicolons (RFC 8659 section 4.2).
fn is_issue_value(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let mut parts = value.split(';').map(|part| part.trim_matches([' ', '\t']));
    let issuer = parts.next().unwrap_or_default();
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let parameter = |part: &str| {
        part.is_empty()
            || part.split_once('=').is_some_and(|(tag, value)| {
                let (tag, value) = (tag.trim_end(), value.trim_start());
                !tag.is_empty()
                    && tag.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
                    && value.bytes().all(|octet| matches!(octet, 0x21..=0x7e))
            })
    };
    (issuer.is_empty() || issuer.split('.').all(label)) && parts.all(parameter)
}

fn zonemd(view: &mut View<'_>) {
    let zone = view.zone;
    for set in zone.iter().filter(|set| set.rtype() == RecordType::ZONEMD) {
        let owner = set.owner();
        if owner != zone.origin() {
            view.found(rules::ZONEMD_PLACE, set, format!("{owner} has a ZONEMD record"));
            continue;
        }
        let mut seen = BTreeSet::new();
        let mut serials_agree = true;
        for rdata in set.rdatas() {
            let Data::Zonemd { serial, scheme, algorithm, .. } = rdata.data() else { continue };
            if zone.serial().is_some_and(|zone_serial| zone_serial != serial) {
                serials_agree = false;
                let message =
                    format!("{owner} ZONEMD is of the serial {serial}, the zone has another");
                view.found(rules::ZONEMD_SERIAL, set, message);
            }
            if !seen.insert((scheme, algorithm)) {
                let message =
                    format!("{owner} has two ZONEMD of scheme {scheme} and algorithm {algorithm}");
                view.found(rules::ZONEMD_DOUBLE, set, message);
            }
        }
        if serials_agree && zone.verify_digest() == Some(false) {
            view.found(
                rules::ZONEMD_DIGEST,
                set,
                format!("the digest of {owner} ZONEMD is not the zone's"),
            );
        }
    }
}
