//! Why something could not be done, for the person who has to act on it.

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A public key cannot be read.
    #[error(transparent)]
    PublicKey(#[from] crate::PublicKeyError),
}
