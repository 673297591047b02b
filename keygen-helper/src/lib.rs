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

mod authorized_keys;
mod bytes;
mod certificate;
mod edits;
mod error;
#[cfg(feature = "fs")]
pub mod fs;
mod key;
mod known_hosts;
mod lines;
mod pattern;
pub mod permissions;
mod public_key;
mod randomness;
mod sshfp;
mod time;
mod wire;

pub use authorized_keys::{
    AuthorizedKeys, Conflict, Content, Credential, Entry, Fault, Grant, GrantError, Login,
    MAX_DOCUMENT, OnConflict, OptionError, Options, Refusal, Revocation, TooLarge, Verdict,
};
pub use bytes::Bytes;
pub use certificate::{
    Certificate, CertificateError, CertificateKind, Claim, MAX_PRINCIPALS, Objection, Validity,
    Warrant,
};
pub use edits::{Change, EditError, Edits};
pub use error::Error;
pub use key::{
    BadKind, Cipher, Container, Curve, KeyError, KeyKind, KeyPair, Lock, MAX_KEY_FILE, MAX_ROUNDS,
    Passphrase, PrivateKeyFile, Rounds, RsaBits, Strength,
};
pub use known_hosts::{
    AddHostError, BadHost, Expected, Host, HostCheck, HostEntry, HostFault, HostLine, KnownHosts,
    Marker,
};
pub use public_key::{Fingerprint, MAX_BLOB, PublicKey, PublicKeyError};
pub use randomness::{Randomness, RandomnessError, SystemRandomness};
pub use sshfp::{BadSshfp, Sshfp, SshfpCheck};
pub use time::{Timestamp, WallTime};
