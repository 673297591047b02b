//! Certificates of OpenSSH's own kind (PROTOCOL.certkeys): issued, read and judged.
//!
//! The time comes in as an argument, so that a certificate can be judged for any moment.

mod error;
mod issue;
mod judge;
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::bytes::Bytes;
use crate::public_key::PublicKey;
use crate::time::Timestamp;

pub use error::CertificateError;
pub use issue::Warrant;
pub use judge::{Claim, Objection};

/// The most names in one certificate (`SSHKEY_CERT_MAX_PRINCIPALS`).
pub const MAX_PRINCIPALS: usize = 256;

/// Whom a certificate speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateKind {
    /// Someone who logs in.
    User,
    /// A host that is logged in to.
    Host,
}

impl CertificateKind {
    /// `SSH2_CERT_TYPE_USER`, `SSH2_CERT_TYPE_HOST`.
    fn number(self) -> u32 {
        match self {
            CertificateKind::User => 1,
            CertificateKind::Host => 2,
        }
    }
}

/// From when, and until when a certificate holds: `after` ≤ now < `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Validity {
    /// The first second.
    pub after: Timestamp,
    /// The first second no more; 2⁶⁴ − 1 for one that holds for ever.
    pub before: Timestamp,
}

impl Validity {
    /// A certificate that never runs out. Nothing can take it back but a list of revoked keys.
    pub const FOREVER: Validity = Validity { after: Timestamp(0), before: Timestamp(u64::MAX) };
}

/// A certificate, as it was read or issued.
///
/// ```
/// use keygen_helper::{
///     Certificate, CertificateKind, Claim, KeyKind, KeyPair, SystemRandomness, Timestamp, Validity,
///     Warrant,
/// };
///
/// let mut randomness = SystemRandomness;
/// let authority = KeyPair::generate(KeyKind::Ed25519, "authority", &mut randomness)?;
/// let anna = KeyPair::generate(KeyKind::Ed25519, "anna", &mut randomness)?.public_key();
///
/// let day = Validity { after: Timestamp(1_000_000), before: Timestamp(1_086_400) };
/// let warrant = Warrant::user("anna's laptop", day).principal("anna");
/// let certificate = warrant.issue(&anna, &authority, &mut randomness)?;
///
/// let claim = Claim { kind: CertificateKind::User, name: "anna", now: Timestamp(1_000_000) };
/// assert_eq!(certificate.judge(&claim, &[authority.public_key()]), Ok(()));
/// let late = Claim { now: Timestamp(1_086_400), ..claim };
/// assert!(certificate.judge(&late, &[authority.public_key()]).is_err());
///
/// let again = Certificate::read(&certificate.public_key())?;
/// assert_eq!(again, certificate);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    /// Users or hosts.
    pub kind: CertificateKind,
    /// The key that it is for.
    pub subject: PublicKey,
    /// A number by which the authority can name it; 0 where it does not count.
    pub serial: u64,
    /// What sshd writes into its log when it is used.
    pub key_id: Bytes,
    /// The names that it is good for: accounts, or hosts.
    pub principals: Vec<Bytes>,
    /// When it is good.
    pub validity: Validity,
    /// What whoever does not understand it must refuse: `force-command`, `source-address`,
    /// `verify-required`. The value is empty for those without one.
    #[serde(serialize_with = "pairs")]
    pub critical_options: BTreeMap<Bytes, Bytes>,
    /// What it allows, and whoever does not understand it lets pass: `permit-pty` and others.
    #[serde(serialize_with = "pairs")]
    pub extensions: BTreeMap<Bytes, Bytes>,
    /// Who signed it.
    pub authority: PublicKey,
    #[serde(skip)]
    nonce: Vec<u8>,
    #[serde(skip)]
    signature: Vec<u8>,
    #[serde(skip)]
    blob: PublicKey,
}

impl Certificate {
    /// The certificate in the form in which public keys are kept: what goes into a `-cert.pub`
    /// file and over the wire.
    pub fn public_key(&self) -> PublicKey {
        self.blob.clone()
    }
}

/// A list, since the keys of a JSON object must be text, and these may be any bytes.
fn pairs<S: Serializer>(
    options: &BTreeMap<Bytes, Bytes>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(options)
}
