//! SSH keys made, installed, proved and locked down without locking anybody out.
//!
//! This crate is being built; nothing is exported from it so far. What it will hold:
//!
//! - key pairs read and written in OpenSSH's format;
//! - lossless `authorized_keys` and `known_hosts` documents with OpenSSH's exact rules;
//! - StrictModes as data: facts, findings and fixes;
//! - provisioning over SSH, rotation, and a lock-down of passwords that undoes itself on failure.
//!
//! Not here, ever: prompts, an agent, a DNS resolver, a CA service, PAM, creating users.

mod error;
#[cfg(feature = "fs")]
pub mod fs;
mod key;
mod public_key;
mod randomness;
mod wire;

pub use error::Error;
pub use key::{
    BadKind, Cipher, Container, Curve, KeyError, KeyKind, KeyPair, Lock, MAX_FILE, MAX_ROUNDS,
    Passphrase, PrivateKeyFile, Rounds, RsaBits, Strength,
};
pub use public_key::{Fingerprint, MAX_BLOB, PublicKey, PublicKeyError};
pub use randomness::{Randomness, RandomnessError, SystemRandomness};
