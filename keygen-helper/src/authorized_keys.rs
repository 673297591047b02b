//! authorized_keys: who may log in to an account, and for what (sshd(8)).
//!
//! The file is kept as it is, byte for byte. Reading it, judging it and planning changes to it
//! never touch a disk.

mod edit;
mod entry;
mod options;
mod scan;
mod verdict;

use std::fmt;

pub use edit::{Conflict, Grant, GrantError, OnConflict, Revocation};
pub use entry::{Content, Entry, Fault};
pub use options::{OptionError, Options};
pub use verdict::{Credential, Login, Refusal, Verdict};

use crate::lines::Lines;

/// The largest file that is taken, in bytes: some 100,000 keys.
pub const MAX_DOCUMENT: usize = 32 * 1024 * 1024;

/// A file is too long to be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a file of {0} bytes is no list of keys ({MAX_DOCUMENT} bytes at most)")]
pub struct TooLarge(pub usize);

/// An authorized_keys file, every byte of it.
///
/// Its encoding is nobody's business: lines end at a line feed, and sshd reads each up to its first
/// NUL. Lines that make no sense lose only themselves.
///
/// ```
/// use keygen_helper::{AuthorizedKeys, Login, PublicKey, Timestamp};
///
/// # let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
/// let key: PublicKey = text.parse()?;
/// let file = format!("# staff\nno-such-option {text}\nfrom=\"192.0.2.*\" {text} anna\n");
/// let file = AuthorizedKeys::parse(file.into())?;
///
/// let login = Login::with_key(&key, "192.0.2.7".parse()?, Timestamp(1_800_000_000));
/// assert_eq!(file.accepts(&login).map(|(line, _)| line), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AuthorizedKeys {
    lines: Lines,
}

impl AuthorizedKeys {
    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// Only [`TooLarge`].
    pub fn parse(bytes: Vec<u8>) -> Result<AuthorizedKeys, TooLarge> {
        match bytes.len() {
            len if len > MAX_DOCUMENT => Err(TooLarge(len)),
            _ => Ok(AuthorizedKeys { lines: Lines::new(bytes) }),
        }
    }

    /// The bytes of the file.
    pub fn as_bytes(&self) -> &[u8] {
        self.lines.as_bytes()
    }

    /// The bytes of the file.
    pub fn into_bytes(self) -> Vec<u8> {
        self.lines.into_bytes()
    }

    /// What each line says, from the first to the last.
    pub fn contents(&self) -> impl Iterator<Item = Content<'_>> {
        self.lines.bodies().map(Content::of)
    }

    /// How many lines sshd could let anybody in by. When an edit leaves none, the account can no
    /// longer be reached with a key.
    pub fn usable(&self) -> usize {
        let usable = |content: &Content<'_>| match content {
            Content::Entry(entry) => entry.options.is_ok() && !entry.key.is_certificate(),
            _ => false,
        };
        self.contents().filter(usable).count()
    }
}

impl fmt::Debug for AuthorizedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthorizedKeys").field(&self.lines).finish()
    }
}
