//! Words for numbers that older types allow.

/// DNSSEC algorithms (RFC 4034 appendix A.1 and IANA's registry).
const ALGORITHMS: [(&str, u8); 16] = [
    ("RSAMD5", 1),
    ("DH", 2),
    ("DSA", 3),
    ("RSASHA1", 5),
    ("DSA-NSEC3-SHA1", 6),
    ("RSASHA1-NSEC3-SHA1", 7),
    ("RSASHA256", 8),
    ("RSASHA512", 10),
    ("ECC-GOST", 12),
    ("ECDSAP256SHA256", 13),
    ("ECDSAP384SHA384", 14),
    ("ED25519", 15),
    ("ED448", 16),
    ("INDIRECT", 252),
    ("PRIVATEDNS", 253),
    ("PRIVATEOID", 254),
];

/// Kinds of certificates (RFC 4398 section 2.1).
const CERTIFICATES: [(&str, u16); 10] = [
    ("PKIX", 1),
    ("SPKI", 2),
    ("PGP", 3),
    ("IPKIX", 4),
    ("ISPKI", 5),
    ("IPGP", 6),
    ("ACPKIX", 7),
    ("IACPKIX", 8),
    ("URI", 253),
    ("OID", 254),
];

fn find<T: Copy + std::str::FromStr>(words: &[(&str, T)], text: &[u8]) -> Option<T> {
    if text.first()?.is_ascii_digit() {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let found = words.iter().find(|(word, _)| word.as_bytes().eq_ignore_ascii_case(text));
    found.map(|(_, number)| *number)
}

pub(crate) fn algorithm(text: &[u8]) -> Option<u8> {
    find(&ALGORITHMS, text)
}

pub(crate) fn certificate(text: &[u8]) -> Option<u16> {
    find(&CERTIFICATES, text)
}
