//! Does a certificate hold, for this name and at this time?

use serde::{Deserialize, Serialize};

use super::{Certificate, CertificateKind};
use crate::bytes::Bytes;
use crate::key::verify;
use crate::public_key::PublicKey;
use crate::time::Timestamp;

/// What somebody who shows a certificate claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// To be a user or a host.
    pub kind: CertificateKind,
    /// Of this name.
    pub name: &'a str,
    /// At this time.
    pub now: Timestamp,
}

/// Why a certificate does not hold. The first that sshd would find comes first.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Objection {
    /// Nobody who is trusted signed it.
    #[error("it was signed by an authority that is not among the trusted ones")]
    UnknownAuthority,
    /// The signature does not fit.
    #[error("its signature is wrong: it was changed, or somebody else made it")]
    BadSignature,
    /// The signature cannot be checked here.
    #[error("its signature cannot be checked by this program")]
    Unchecked,
    /// For users instead of hosts, or the reverse.
    #[error("it is for users where one for hosts is wanted, or the reverse")]
    WrongKind,
    /// Its time has not come.
    #[error("it holds only from {0} on")]
    NotYet(Timestamp),
    /// Its time is over.
    #[error("it ran out at {0}")]
    Expired(Timestamp),
    /// It is for other names.
    #[error("it is not for this name")]
    WrongName,
    /// It demands something that is not known.
    #[error("it demands {0}, which is not known here")]
    UnknownOption(Bytes),
}

/// The critical options that OpenSSH knows, all of them for users.
const KNOWN: [&str; 3] = ["force-command", "source-address", "verify-required"];

impl Certificate {
    /// Judges the certificate as sshd and ssh do, but for what depends on the connection: a
    /// `source-address` is for the server to compare, and a list of revoked keys is not asked.
    ///
    /// # Errors
    /// The first [`Objection`].
    pub fn judge(&self, claim: &Claim<'_>, trusted: &[PublicKey]) -> Result<(), Objection> {
        if !trusted.iter().any(|authority| authority.same_key(&self.authority)) {
            return Err(Objection::UnknownAuthority);
        }
        match verify(&self.authority, self.signed(), &self.signature) {
            Some(true) => {}
            Some(false) => return Err(Objection::BadSignature),
            None => return Err(Objection::Unchecked),
        }
        if self.kind != claim.kind {
            return Err(Objection::WrongKind);
        }
        if claim.now < self.validity.after {
            return Err(Objection::NotYet(self.validity.after));
        }
        if claim.now >= self.validity.before {
            return Err(Objection::Expired(self.validity.before));
        }
        // ssh takes a host certificate without names for any host. We do not.
        if !self.principals.iter().any(|name| name.as_bytes() == claim.name.as_bytes()) {
            return Err(Objection::WrongName);
        }
        // Hosts have none (`sshkey_cert_check_host`).
        let known = |name: &Bytes| {
            self.kind == CertificateKind::User
                && KNOWN.iter().any(|known| known.as_bytes() == name.as_bytes())
        };
        let unknown = self.critical_options.keys().find(|name| !known(name));
        unknown.map_or(Ok(()), |name| Err(Objection::UnknownOption(name.clone())))
    }
}
