//! The kinds of keys that are made here.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A kind of key, written as `ed25519`, `rsa:3072`, `rsa:4096`, `ecdsa:256`, `ecdsa:384` or
/// `ecdsa:521`.
///
/// ```
/// use keygen_helper::KeyKind;
///
/// let kind: KeyKind = "rsa:4096".parse()?;
/// assert_eq!(kind.to_string(), "rsa:4096");
/// assert!("dsa".parse::<KeyKind>().is_err());
/// # Ok::<(), keygen_helper::BadKind>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum KeyKind {
    /// Ed25519 (RFC 8032): small, fast, and what to take unless something old must be logged in to.
    #[default]
    Ed25519,
    /// RSA (RFC 8017).
    Rsa(RsaBits),
    /// ECDSA on one of the NIST curves (RFC 5656).
    Ecdsa(Curve),
}

/// How long an RSA key is. NIST SP 800-57 asks for 3072 bits where it is to last beyond 2030.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RsaBits {
    /// 3072 bits.
    Bits3072,
    /// 4096 bits.
    Bits4096,
}

impl RsaBits {
    /// As a number.
    pub fn bits(self) -> u32 {
        match self {
            RsaBits::Bits3072 => 3072,
            RsaBits::Bits4096 => 4096,
        }
    }
}

/// A NIST curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

impl Curve {
    /// All of them.
    pub(crate) const ALL: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

    /// The size that ssh-keygen shows.
    pub fn bits(self) -> u32 {
        match self {
            Curve::P256 => 256,
            Curve::P384 => 384,
            Curve::P521 => 521,
        }
    }

    /// The name inside a blob (RFC 5656 section 6.1).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Curve::P256 => "nistp256",
            Curve::P384 => "nistp384",
            Curve::P521 => "nistp521",
        }
    }

    /// The algorithm of keys and signatures on it.
    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Curve::P256 => "ecdsa-sha2-nistp256",
            Curve::P384 => "ecdsa-sha2-nistp384",
            Curve::P521 => "ecdsa-sha2-nistp521",
        }
    }

    /// How many bytes a coordinate or a private number has.
    pub(crate) fn width(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyKind::Ed25519 => f.write_str("ed25519"),
            KeyKind::Rsa(bits) => write!(f, "rsa:{}", bits.bits()),
            KeyKind::Ecdsa(curve) => write!(f, "ecdsa:{}", curve.bits()),
        }
    }
}

/// Not a kind of key that is made here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no kind of key that is made here; there are ed25519, rsa:3072, rsa:4096, ecdsa:256, ecdsa:384 and ecdsa:521"
)]
pub struct BadKind(String);

impl FromStr for KeyKind {
    type Err = BadKind;

    fn from_str(text: &str) -> Result<KeyKind, BadKind> {
        Ok(match text {
            "ed25519" => KeyKind::Ed25519,
            "rsa" | "rsa:3072" => KeyKind::Rsa(RsaBits::Bits3072),
            "rsa:4096" => KeyKind::Rsa(RsaBits::Bits4096),
            "ecdsa" | "ecdsa:256" => KeyKind::Ecdsa(Curve::P256),
            "ecdsa:384" => KeyKind::Ecdsa(Curve::P384),
            "ecdsa:521" => KeyKind::Ecdsa(Curve::P521),
            _ => return Err(BadKind(text.to_owned())),
        })
    }
}

impl Serialize for KeyKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
