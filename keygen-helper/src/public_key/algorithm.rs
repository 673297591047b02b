//! The algorithms whose keys are known, and the fields that such a key has.

use crate::wire::Reader;

/// The longest name of an algorithm (RFC 4251 section 6).
const MAX_NAME: usize = 64;

/// The most bytes of one number (OpenSSH's `SSHBUF_MAX_BIGNUM`).
const MAX_NUMBER: usize = 16384 / 8;

/// What one field of a public key is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    /// A number that is not negative.
    Number,
    /// A string of exactly so many bytes.
    Exact(usize),
    /// The name of the curve.
    Curve(&'static str),
    /// An uncompressed point of so many bytes: 4, x, y (SEC 1 section 2.3.3).
    Point(usize),
    /// Any string.
    Text,
}

/// An algorithm whose fields are known.
pub(super) struct Known {
    /// Its name without the suffix of a certificate.
    pub(super) name: &'static str,
    /// Other names that OpenSSH takes for the type of the same key: those of signatures.
    also: &'static [&'static str],
    pub(super) short: &'static str,
    pub(super) cert: &'static str,
    pub(super) fields: &'static [Field],
}

const fn algorithm(
    name: &'static str,
    short: &'static str,
    cert: &'static str,
    fields: &'static [Field],
) -> Known {
    Known { name, also: &[], short, cert, fields }
}

use Field::{Curve, Exact, Number, Point, Text};

/// RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4, OpenSSH's PROTOCOL.u2f.
static KNOWN: [Known; 8] = [
    algorithm("ssh-ed25519", "ED25519", "ED25519-CERT", &[Exact(32)]),
    Known {
        name: "ssh-rsa",
        also: &["rsa-sha2-256", "rsa-sha2-512"],
        short: "RSA",
        cert: "RSA-CERT",
        fields: &[Number, Number],
    },
    algorithm("ecdsa-sha2-nistp256", "ECDSA", "ECDSA-CERT", &[Curve("nistp256"), Point(65)]),
    algorithm("ecdsa-sha2-nistp384", "ECDSA", "ECDSA-CERT", &[Curve("nistp384"), Point(97)]),
    algorithm("ecdsa-sha2-nistp521", "ECDSA", "ECDSA-CERT", &[Curve("nistp521"), Point(133)]),
    algorithm("sk-ssh-ed25519@openssh.com", "ED25519-SK", "ED25519-SK-CERT", &[Exact(32), Text]),
    Known {
        name: "sk-ecdsa-sha2-nistp256@openssh.com",
        also: &["webauthn-sk-ecdsa-sha2-nistp256@openssh.com"],
        short: "ECDSA-SK",
        cert: "ECDSA-SK-CERT",
        fields: &[Curve("nistp256"), Point(65), Text],
    },
    algorithm("ssh-dss", "DSA", "DSA-CERT", &[Number, Number, Number, Number]),
];

/// Whether OpenSSH takes two names for the same type of key: `rsa-sha2-512` for `ssh-rsa`.
pub(super) fn same_type(a: &str, b: &str) -> bool {
    let (Some(known_a), Some(known_b)) = (known(a), known(b)) else { return false };
    known_a.name == known_b.name && is_certificate(a) == is_certificate(b)
}

/// Certificates' algorithms are named after the key's: `ssh-ed25519-cert-v01@openssh.com`, and
/// `sk-ssh-ed25519-cert-v01@openssh.com` for `sk-ssh-ed25519@openssh.com`.
pub(super) const CERT_SUFFIX: &str = "-cert-v01@openssh.com";

pub(super) fn is_certificate(name: &str) -> bool {
    name.ends_with(CERT_SUFFIX) && known(name).is_some()
}

/// Whether OpenSSH takes this for the name of a type at the front of a text line, where it has to
/// be exact.
pub(crate) fn is_known_name(name: &str) -> bool {
    known(name).is_some_and(|known| !known.short.eq_ignore_ascii_case(name))
}

pub(super) fn known(name: &str) -> Option<&'static Known> {
    let base = name.strip_suffix(CERT_SUFFIX);
    KNOWN.iter().find(|known| match base {
        // Inside a blob OpenSSH takes the short names too, in any case, where no curve is needed.
        None => {
            known.name == name
                || known.also.contains(&name)
                || (!matches!(known.fields, [Curve(_), ..])
                    && known.short.eq_ignore_ascii_case(name))
        }
        Some(base) => {
            known.name.strip_suffix("@openssh.com").unwrap_or(known.name) == base
                || known.also.contains(&base)
        }
    })
}

/// Nothing when the fields after the name are not those of the algorithm.
pub(super) fn check_fields(name: &str, mut reader: Reader<'_>) -> Option<()> {
    let Some(known) = known(name) else { return Some(()) };
    if is_certificate(name) {
        let _nonce = reader.string()?;
    }
    for field in known.fields {
        let right = match field {
            Number => reader.positive()?.len() <= MAX_NUMBER,
            Exact(len) => reader.string()?.len() == *len,
            Curve(curve) => reader.string()? == curve.as_bytes(),
            Point(len) => {
                let point = reader.string()?;
                point.len() == *len && point.first() == Some(&4)
            }
            Text => reader.string().is_some(),
        };
        right.then_some(())?;
    }
    // What a certificate says beyond the key is read where certificates are.
    (is_certificate(name) || reader.rest().is_empty()).then_some(())
}

/// A name is 1 to 64 printable characters without comma (RFC 4251 section 6).
pub(super) fn algorithm_name(name: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.iter().all(plain);
    fits.then(|| str::from_utf8(name).ok()).flatten()
}
