//! known_hosts: which keys hosts have (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

mod check;
mod edit;
mod entry;
mod host;

use std::fmt;

pub use check::{Expected, HostCheck};
pub use edit::AddHostError;
pub use entry::{HostEntry, HostFault, HostLine, Marker};
pub use host::{BadHost, Host};

use crate::authorized_keys::{MAX_DOCUMENT, TooLarge};
use crate::lines::Lines;

/// A known_hosts file, every byte of it.
///
/// A bad line loses only itself. Whatever else a file says, a key that it revokes for a host is not
/// that host's.
///
/// ```
/// use keygen_helper::{Host, HostCheck, KnownHosts, PublicKey};
///
/// # let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
/// let key: PublicKey = text.parse()?;
/// let host: Host = "uk.example.net:2222".parse()?;
///
/// let file = KnownHosts::default();
/// assert_eq!(file.check(&host, &key), HostCheck::Unknown);
/// let written = file.add(&host, &key, None)?.apply(file.as_bytes())?;
/// assert_eq!(written, format!("[uk.example.net]:2222 {text}\n").into_bytes());
/// assert!(KnownHosts::parse(written)?.check(&host, &key).is_trusted());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KnownHosts {
    lines: Lines,
}

impl KnownHosts {
    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// Only [`TooLarge`].
    pub fn parse(bytes: Vec<u8>) -> Result<KnownHosts, TooLarge> {
        match bytes.len() {
            len if len > MAX_DOCUMENT => Err(TooLarge(len)),
            _ => Ok(KnownHosts { lines: Lines::new(bytes) }),
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
    pub fn host_lines(&self) -> impl Iterator<Item = HostLine<'_>> {
        self.lines.bodies().map(HostLine::of)
    }

    /// The lines about a name as [`Host`] prints it, with their numbers counted from 1.
    fn entries_for<'a>(&'a self, name: &str) -> impl Iterator<Item = (usize, HostEntry<'a>)> {
        self.host_lines().enumerate().filter_map(move |(index, line)| match line {
            HostLine::Entry(entry) if entry.is_for(name) => Some((index + 1, entry)),
            _ => None,
        })
    }
}

impl fmt::Debug for KnownHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KnownHosts").field(&self.lines).finish()
    }
}
