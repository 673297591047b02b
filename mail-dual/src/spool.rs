//! Where messages are kept until every leg has them, and for a while after.
//!
//! A [`Spool`] keeps two kinds of things: messages, and [`Transition`]s that say what became of
//! them. A message is durable when [`append`](Spool::append) returns. A transition survives the
//! death of the process when [`record`](Spool::record) returns, and a power cut after the next
//! `append` or [`sync`](Spool::sync): losing one can mean that a message is asked about or sent
//! again, never that it is lost.

mod codec;
mod directory;
#[cfg(feature = "disk")]
mod disk;
mod log;
mod memory;
mod vfs;

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

pub use self::directory::DirSpool;
#[cfg(feature = "disk")]
pub use self::disk::DiskFolder;
pub use self::log::{LogOptions, LogSpool};
pub use self::memory::MemSpool;
pub use self::vfs::{Vfs, VfsFile};
use crate::core::transition::{Share, Transition};
use crate::envelope::Envelope;
use crate::id::SpoolId;
use crate::message::RawMessage;
use crate::time::Timestamp;

/// All about a message but its octets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// What it is called.
    pub id: SpoolId,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// What the peer relay calls it, when it came from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<SpoolId>,
    /// From whom, for whom.
    pub envelope: Envelope,
    /// Which leg has to deliver it to which recipients. Decided once, when it was accepted.
    pub plan: Vec<Share>,
    /// What it reports on, when it is a delivery status notification of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reports_on: Option<ReportsOn>,
}

/// What a delivery status notification of ours is about. It is kept in the same write, so that
/// nobody is told twice or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportsOn {
    /// The message.
    pub id: SpoolId,
    /// Its recipients that were not reached, by their place in the envelope; none when it tells
    /// of those who were.
    pub recipients: Vec<u32>,
}

/// A message as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// What is known about it.
    pub head: Head,
    /// Its octets.
    pub message: RawMessage,
}

/// What a recovery finds, in the order in which it was written.
#[derive(Debug)]
#[non_exhaustive]
pub enum Recovered<'a> {
    /// A message.
    Message {
        /// All about it but its octets.
        head: &'a Head,
        /// How many octets those are.
        size: u64,
    },
    /// Something that became of one.
    Transition(&'a Transition),
}

/// What a recovery has to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// How many messages there are, those that are done included.
    pub messages: u64,
    /// Bytes at the end that were being written when everything stopped. They were never
    /// acknowledged, and are cut off.
    pub torn: u64,
    /// What cannot be read although later things can: the disk, or somebody, has changed it. It is
    /// kept aside for a look.
    pub damaged: Vec<Damage>,
}

/// A part of a spool that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
    /// The file that a copy was put into, when there was room.
    pub kept_in: Option<String>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, offset, length, kept_in } = self;
        write!(f, "{length} bytes at {offset} of {file} are damaged; check the disk")?;
        match kept_in {
            Some(name) => write!(f, "; they are kept in {name}"),
            None => Ok(()),
        }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// How many messages were forgotten, done and kept for as long as they had to be.
    pub removed: u64,
    /// How many were moved, so that a file could go.
    pub moved: u64,
    /// How many bytes that freed.
    pub freed: u64,
}

/// Keeps messages and what becomes of them.
pub trait Spool: fmt::Debug + Send + Sync {
    /// Keeps messages, all or none; durable when this returns. So is what was recorded before.
    ///
    /// # Errors
    ///
    /// Why nothing was kept; none of them may be acknowledged.
    fn append(&self, messages: &[Stored]) -> Result<(), SpoolError>;

    /// Notes transitions so that they survive this process. Does not wait for the disk.
    ///
    /// # Errors
    ///
    /// Why they do not. They are kept in memory and written with the next call that succeeds.
    fn record(&self, transitions: &[Transition]) -> Result<(), SpoolError>;

    /// Makes everything that was recorded durable.
    ///
    /// # Errors
    ///
    /// Why it is not.
    fn sync(&self) -> Result<(), SpoolError>;

    /// Reads a message back.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unknown`] when it is not or no longer here.
    fn load(&self, id: SpoolId) -> Result<Stored, SpoolError>;

    /// Tells everything that is kept. To be called once, before anything else.
    ///
    /// # Errors
    ///
    /// Why the spool cannot be used. Damage to single messages is in the report.
    fn recover(&self, visit: &mut dyn FnMut(Recovered<'_>)) -> Result<RecoveryReport, SpoolError>;

    /// Frees what nobody needs: messages that were done before `keep_since`. `restate` is asked to
    /// record again where a message is that has to be moved.
    ///
    /// # Errors
    ///
    /// Why it could not go on; nothing is lost.
    fn compact(
        &self,
        keep_since: Timestamp,
        restate: &dyn Fn(SpoolId) -> Result<(), SpoolError>,
    ) -> Result<CompactReport, SpoolError>;

    /// The messages that are done and still kept, oldest first, with the time they were done.
    fn kept(&self) -> Vec<(SpoolId, Timestamp)>;

    /// How many bytes there is room for; none when nobody knows.
    fn free(&self) -> Option<u64>;
}

/// Why a spool could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SpoolError {
    /// The disk did not do it.
    #[error("cannot {doing} {file} in the spool: {}", explain(*.kind, .said))]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        file: String,
        /// The kind of error.
        kind: io::ErrorKind,
        /// What the kernel said.
        said: String,
    },
    /// Another process uses the spool.
    #[error(
        "the spool is in use by another process; stop it first, or talk to it with `dual-mail queue`"
    )]
    Busy,
    /// A file was written by a version of this crate that this one does not know.
    #[error(
        "{file} in the spool has version {version}, which this program does not know; use the one that wrote it until the queue is empty"
    )]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// There is no such message.
    #[error("there is no message {0} in the spool")]
    Unknown(SpoolId),
    /// A message cannot be read back.
    #[error("message {id} in {file} is damaged; check the disk")]
    Damaged {
        /// The message.
        id: SpoolId,
        /// The file.
        file: String,
    },
    /// A message is larger than what a spool keeps.
    #[error("a message of {0} bytes is more than a spool keeps")]
    TooLarge(u64),
}

impl SpoolError {
    pub(crate) fn disk<'a>(
        doing: &'static str,
        file: &'a str,
    ) -> impl FnOnce(io::Error) -> SpoolError + 'a {
        move |source| SpoolError::Disk {
            doing,
            file: file.to_owned(),
            kind: source.kind(),
            said: source.to_string(),
        }
    }

    /// Whether there was no room: freeing some helps.
    pub fn is_full(&self) -> bool {
        let full =
            [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        matches!(self, SpoolError::Disk { kind, .. } if full.contains(kind))
    }
}

/// What an I/O error means for the one who has to act on it.
pub(crate) fn explain(kind: io::ErrorKind, said: &str) -> String {
    match kind {
        io::ErrorKind::NotFound => "it does not exist".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied; run as its owner".to_owned(),
        io::ErrorKind::StorageFull => "no space left on the file system; free some".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up; raise it".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => {
            "the file system is mounted read-only; remount it writable".to_owned()
        }
        io::ErrorKind::NotADirectory => "it is not a folder".to_owned(),
        _ => said.to_owned(),
    }
}
