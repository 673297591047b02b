//! SSH keys made, installed, proved and locked down without locking anybody out.
//!
//! Keys, certificates and the files that say who may log in and which host is which, read and changed
//! with OpenSSH's exact rules. Deciding is pure: a document, a login or the facts about a home go in,
//! and a verdict, [`Edits`] or a [fix](permissions::Fix) comes out, to be printed, stored or refused
//! before anything happens. Only the module `fs` touches a disk.
//!
//! A key installed for one command, from one network:
//!
//! ```
//! use keygen_helper::{AuthorizedKeys, Grant, Login, OnConflict, Options, PublicKey, Timestamp};
//!
//! # let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
//! let key: PublicKey = text.parse()?;
//! let file = AuthorizedKeys::parse("# the mirror\n".into())?;
//!
//! let options = Options::restricted().with_command(b"mirror-agent")?.with_from(b"192.0.2.0/24")?;
//! let grant = Grant::new(key.clone(), options, b"uk")?;
//! let edits = file.install(&[grant], OnConflict::Refuse)?;
//! print!("{edits}");
//!
//! let file = AuthorizedKeys::parse(edits.apply(file.as_bytes())?)?;
//! let now = Timestamp(1_800_000_000);
//! assert!(file.accepts(&Login::with_key(&key, "192.0.2.7".parse()?, now)).is_some());
//! assert!(file.accepts(&Login::with_key(&key, "198.51.100.7".parse()?, now)).is_none());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
