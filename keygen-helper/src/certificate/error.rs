//! Why a certificate was not issued, or cannot be read.

use super::MAX_PRINCIPALS;
use crate::key::KeyError;
use crate::public_key::PublicKeyError;
use crate::randomness::RandomnessError;

/// Why a certificate was not issued, or cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A plain key was given.
    #[error(
        "this is a plain key, no certificate; a certificate is in the file that ends in -cert.pub"
    )]
    NotACertificate,
    /// The fields are not as they have to be.
    #[error("the certificate is damaged: {0}; have it issued anew")]
    Damaged(&'static str),
    /// Without a name sshd lets nobody in, and ssh lets any host pass.
    #[error("a certificate needs a name: the account it logs in to, or the host it is for")]
    NoPrincipal,
    /// A name that cannot stand in a certificate.
    #[error(
        "{0:?} is no name for a certificate: it is empty, or has a comma, a blank or a control character in it"
    )]
    BadPrincipal(String),
    /// More names than OpenSSH takes.
    #[error("a certificate has at most {MAX_PRINCIPALS} names; issue several")]
    TooManyPrincipals,
    /// A key id, option or value that cannot stand in a certificate.
    #[error("the {0} of a certificate is one line, without NUL")]
    BadText(&'static str),
    /// The time is over before it begins.
    #[error(
        "the certificate would not hold for a moment: it ends at {before} and begins at {after}"
    )]
    NoTime {
        /// When it would end.
        before: crate::time::Timestamp,
        /// When it would begin.
        after: crate::time::Timestamp,
    },
    /// sshd refuses a certificate that forces nothing.
    #[error("a forced command cannot be empty; leave it out, or name the command")]
    EmptyCommand,
    /// Hosts have no such thing.
    #[error("{0:?} means nothing for a host; host certificates have no options")]
    HostOption(String),
    /// The list of addresses cannot be read.
    #[error("{0:?} is no list of addresses; it is like 192.0.2.1,2001:db8::/32")]
    BadAddresses(String),
    /// A key that is no longer to be let in.
    #[error("the key is too weak for a certificate: {0}")]
    Weak(&'static str),
    /// A key for which there are no certificates.
    #[error("there are no certificates for keys of the type {0}")]
    NoSuchKind(String),
    /// The authority's key does not sign.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No random bytes could be had.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// A key in it cannot be read.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
}
