//! What a tree holds: entries, their metadata, and what tells one version from the next.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::path::{self, Name};

/// A point in time: seconds since 1970 and nanoseconds, as the kernel keeps them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 00:00 UTC; negative before it.
    pub seconds: i64,
    /// Nanoseconds into that second, below 1,000,000,000.
    pub nanos: u32,
}

impl Timestamp {
    /// How long this is after `earlier`; None when it is before it.
    pub fn since(self, earlier: Timestamp) -> Option<Duration> {
        let nanos =
            |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        let passed = u64::try_from(nanos(self) - nanos(earlier)).ok()?;
        Some(Duration::from_nanos(passed))
    }
}

/// The BLAKE3 digest of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Digests `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&path::to_hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", path::to_hex(&self.0[..4]))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_string())
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let readable = deserializer.is_human_readable();
        let bytes = path::deserialize_bytes(deserializer)?;
        let bytes = if readable {
            let text = std::str::from_utf8(&bytes).map_err(de::Error::custom)?;
            path::from_hex(text)
                .ok_or_else(|| de::Error::custom("a digest is 64 hex digits"))?
                .into()
        } else {
            bytes
        };
        <[u8; 32]>::try_from(&*bytes)
            .map(Digest)
            .map_err(|_| de::Error::custom("a digest is 32 bytes"))
    }
}

/// A byte string that is shown like a path: a symlink's target, an xattr's name or value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub Box<[u8]>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", path::escape(&self.0))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&path::escape(&self.0))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        path::serialize_bytes(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        Ok(Bytes(path::deserialize_bytes(deserializer)?.into()))
    }
}

/// What an entry is, with what belongs to that kind alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// What it points to, byte for byte; it need not exist.
        target: Bytes,
    },
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device.
    CharacterDevice {
        /// Its number, as `st_rdev` has it.
        number: u64,
    },
    /// A block device.
    BlockDevice {
        /// Its number, as `st_rdev` has it.
        number: u64,
    },
}

impl Kind {
    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Kind::Directory)
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self, Kind::File { .. })
    }

    /// The length of a regular file; 0 for all else.
    pub fn size(&self) -> u64 {
        if let Kind::File { size } = self { *size } else { 0 }
    }

    /// Whether both are the same kind of thing, whatever they hold.
    pub fn is_like(&self, other: &Kind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Extended attributes by name, in order; POSIX ACLs are among them as the kernel encodes them
/// (`system.posix_acl_access`, `system.posix_acl_default`).
///
/// Most entries have none, which costs one word.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Xattrs(Option<Arc<Vec<(Bytes, Bytes)>>>);

impl Xattrs {
    /// Sorts `pairs` of name and value by name.
    pub fn new(mut pairs: Vec<(Bytes, Bytes)>) -> Xattrs {
        if pairs.is_empty() {
            return Xattrs(None);
        }
        pairs.sort();
        Xattrs(Some(Arc::new(pairs)))
    }

    /// Name and value of each, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().flat_map(|pairs| pairs.iter()).map(|(name, value)| (&*name.0, &*value.0))
    }

    /// The value of `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Those that `keep` says yes to.
    pub(crate) fn filtered(&self, keep: impl Fn(&[u8]) -> bool) -> Xattrs {
        if self.iter().all(|(name, _)| keep(name)) {
            return self.clone();
        }
        let kept = self.0.iter().flat_map(|pairs| pairs.iter()).filter(|(name, _)| keep(&name.0));
        Xattrs::new(kept.cloned().collect())
    }
}

/// What can be changed about an entry without changing its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: 0 to 0o7777. Of a symlink always 0o777.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When the content last changed.
    pub mtime: Timestamp,
    /// Extended attributes and ACLs.
    #[serde(default)]
    pub xattrs: Xattrs,
}

/// What tells this version of an inode from every other: the kernel changes `ctime` whenever
/// content or metadata change, and nobody can set it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The file system, `st_dev`.
    pub device: u64,
    /// The inode number.
    pub inode: u64,
    /// When anything about the inode last changed.
    pub ctime: Timestamp,
    /// How many names the inode has.
    pub links: u32,
}

impl Identity {
    /// The same inode in a version that is none of those it has had or will have.
    pub(crate) fn without_version(self) -> Identity {
        let never = Timestamp { seconds: i64::MIN, nanos: 0 };
        Identity { ctime: never, ..self }
    }

    /// Whether both are the same inode, in whatever version.
    pub fn is_same_inode(&self, other: &Identity) -> bool {
        self.device == other.device && self.inode == other.inode
    }
}

/// One entry of a tree, as a scan saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in its directory; empty for a root.
    pub name: Name,
    /// What it is.
    pub kind: Kind,
    /// Its metadata.
    pub meta: Meta,
    /// Which version of which inode this is.
    pub identity: Identity,
    /// The digest of a regular file's content, where it is known without reading the file.
    pub digest: Option<Digest>,
    /// Bytes that the content takes on its file system; less than its size when it has holes.
    pub allocated: u64,
    /// Whether a change made just after the scan could carry the same `ctime`. Such an identity
    /// proves nothing later, so it is not remembered.
    pub racy: bool,
}

impl Entry {
    /// The identity to remember: one that a racy scan saw stands for no version.
    pub(crate) fn lasting_identity(&self) -> Identity {
        if self.racy { self.identity.without_version() } else { self.identity }
    }
}

/// Which of the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first tree; the source of a one-way mirror.
    A,
    /// The second tree; the target of a one-way mirror.
    B,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// One path that could not be dealt with, and why. The run went on without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, relative to the roots.
    pub path: path::RelPath,
    /// What happened and what was left as it was, as a sentence without a full stop.
    pub error: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.error)
    }
}
