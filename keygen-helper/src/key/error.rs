//! Why a key could not be made or read.

use super::private_file::MAX_KEY_FILE;
use crate::public_key::PublicKeyError;
use crate::randomness::RandomnessError;

/// Why a key could not be made, read, locked or used. No message holds any part of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing that looks like a private key.
    #[error(
        "this is no private key; one begins with a line such as \"-----BEGIN OPENSSH PRIVATE KEY-----\""
    )]
    NotAKey,
    /// The public half was given.
    #[error("this is a public key; give the private one, the file without .pub")]
    PublicGiven,
    /// More bytes than any private key has.
    #[error("a private key of more than {MAX_KEY_FILE} bytes is none")]
    TooLarge,
    /// The bytes are not as they have to be.
    #[error(
        "the private key is damaged: {0}; fetch it again from where it was copied, or from a backup"
    )]
    Damaged(&'static str),
    /// It is locked and nobody gave a passphrase.
    #[error("the private key is locked with a passphrase, and none was given")]
    PassphraseRequired,
    /// It does not open with the passphrase that was given.
    #[error("the passphrase is wrong: the private key does not open with it")]
    WrongPassphrase,
    /// Opening it would take too long, or too much memory.
    #[error(
        "opening this private key takes {asked} rounds of {kdf}, and more than {most} are not tried; lock it anew: ssh-keygen -p -a 100 -f FILE"
    )]
    TooManyRounds {
        /// The key derivation function.
        kdf: &'static str,
        /// What the file asks for.
        asked: u64,
        /// What is tried at most.
        most: u64,
    },
    /// A kind of key or container that is not read here.
    #[error("{what} is not read here; {remedy}")]
    Unsupported {
        /// What it is.
        what: String,
        /// How to come by one that is.
        remedy: &'static str,
    },
    /// A passphrase without a character.
    #[error("the passphrase is empty; leave it out to keep the key unlocked")]
    EmptyPassphrase,
    /// A comment that would break the line it stands in.
    #[error("a comment is one line, without NUL")]
    Comment,
    /// No random bytes could be had.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// Built without OpenSSL.
    #[error("RSA needs OpenSSL, which this program was built without; make an ed25519 key")]
    NoRsa,
    /// OpenSSL could not do it.
    #[error("OpenSSL could not {0}; nothing was written")]
    OpenSsl(&'static str),
    /// The public part is none.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
}
