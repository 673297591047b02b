//! Why something could not be done, for the person who has to act on it.

/// All errors of this crate in one, for callers that pass them on with `?`. Each function returns
/// its own, which says no more than what can happen there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A public key cannot be read.
    #[error(transparent)]
    PublicKey(#[from] crate::PublicKeyError),
    /// A file is too long to be a list of keys.
    #[error(transparent)]
    TooLarge(#[from] crate::TooLarge),
    /// Options that sshd would not take.
    #[error(transparent)]
    Options(#[from] crate::OptionError),
    /// A line for authorized_keys that sshd would not take.
    #[error(transparent)]
    Grant(#[from] crate::GrantError),
    /// A key is in authorized_keys already, with other options.
    #[error(transparent)]
    Conflict(#[from] crate::Conflict),
    /// What was given is no host.
    #[error(transparent)]
    Host(#[from] crate::BadHost),
    /// This is no SSHFP record.
    #[error(transparent)]
    Sshfp(#[from] crate::BadSshfp),
    /// A host was not added to known_hosts.
    #[error(transparent)]
    AddHost(#[from] crate::AddHostError),
    /// Edits that do not fit the file.
    #[error(transparent)]
    Edit(#[from] crate::EditError),
    /// A private key cannot be made or read.
    #[error(transparent)]
    Key(#[from] crate::KeyError),
    /// A certificate was not issued or cannot be read.
    #[error(transparent)]
    Certificate(#[from] crate::CertificateError),
    /// A file cannot be read or written.
    #[cfg(feature = "fs")]
    #[error(transparent)]
    File(#[from] crate::fs::FileError),
}
