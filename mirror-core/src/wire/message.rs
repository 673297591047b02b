//! What is said, encoded with postcard: integers as varints, sequences with their length before
//! them, the variants of an enumeration by their number from 0 in the order given here.
//!
//! Fields and variants may only ever be added behind the last, and only with a new version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::LinkError;
use super::gist::Gist;
use crate::capacity::Capacity;
use crate::entry::{Bytes, Digest, Entry, Identity, Problem};
use crate::filter::Filter;
use crate::manifest::RootId;
use crate::path::{Name, RelPath};
use crate::plan::{Counts, Op};
use crate::policy::{Capabilities, Fidelity, Ownership};
use crate::whereabouts::Whereabouts;

/// How many bytes of a file one message carries at most.
pub(crate) const PIECE: usize = 128 << 10;

/// How much a message that lists several things should hold before it is sent.
pub(crate) const LIST: usize = 48 << 10;

/// The first message of both ends, on stream 0. Its form never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The oldest and the newest version that the sender speaks.
    pub(crate) versions: (u16, u16),
    /// What the sender is, for messages to people.
    pub(crate) program: String,
}

/// What a site is up to: the caller's and the agent's need not agree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The site that the tree belongs to; empty where there are no sites.
    pub site: String,
    /// Which failover the sender knows of last: the number, and who became primary by it.
    pub epoch: Option<(u64, String)>,
    /// What the sender remembers of both trees being level: generation and root digest.
    pub base: Option<(u64, Digest)>,
}

/// The caller's second message on stream 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enter {
    /// The tree: an absolute path on the agent's host, or nothing for the agent's root.
    pub(crate) path: Bytes,
    /// Whether the tree may be missing, to be made when something is written.
    pub(crate) may_be_missing: bool,
    pub(crate) standing: Standing,
}

/// The agent's second message on stream 0.
#[expect(clippy::large_enum_variant, reason = "there is one in a session")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Welcome {
    /// The tree can be worked on.
    Entered {
        root: RootId,
        capabilities: Capabilities,
        read_only: bool,
        standing: Standing,
        whereabouts: Whereabouts,
    },
    /// It cannot, and why.
    Refused(String),
}

/// The first message of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// List the tree: [`Scanned`] messages come back.
    Scan(ScanOrder),
    /// Digest files: [`Wanted`] go, [`Digests`] come back.
    Digest,
    /// Send files: [`Wanted`] go, [`Part`] come back.
    Fetch,
    /// What the file system has left: one [`Answer`].
    Capacity,
    /// Make sure that the tree can be written to, by nobody else: one [`Answer`].
    Lock,
    /// Carry out steps: [`Work`] goes, [`Progress`] comes back.
    Apply(ApplyOrder),
    /// Wait for further connections: one [`Answer`].
    Meet,
    /// Bring a file that was [asked for](Progress::Wanted): [`Part`] go.
    Supply(RelPath),
}

/// What an encoded [`Request::Scan`] begins with.
pub(crate) const SCAN: u8 = 0;

/// The longest [`Request::Scan`] that is taken: what its filter becomes is many times as large.
pub(crate) const SCAN_MAX: usize = 64 << 10;

/// How to list a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScanOrder {
    pub(crate) fidelity: Fidelity,
    pub(crate) one_file_system: bool,
    pub(crate) filter: Filter,
    /// Whether what the filter excludes is left out.
    pub(crate) hide_excluded: bool,
    /// What stands for all that the caller remembers of the listing
    /// ([`Whole`](super::gist::Whole)).
    pub(crate) known: Option<Digest>,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scanned {
    /// The root directory itself; always the first.
    Root(Box<Entry>),
    /// A directory, or a part of one.
    Directory(DirectoryPart),
    /// All of it has been listed.
    End,
    /// It cannot be listed.
    Failed(Setback),
    /// The tree is not as the caller remembers it: the caller sends [`Gists`].
    Differs,
    /// Directories that come next are as the caller remembers them.
    Known(Known),
}

/// Directories that come next and are as the caller remembers them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// How many.
    pub(crate) directories: u32,
    /// The flags of each.
    pub(crate) flags: u8,
    /// The files with holes, which only a single directory has, and what each takes.
    pub(crate) holes: Vec<(Name, u64)>,
}

/// What stands for directories that the caller remembers, in any order; none when all were told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gists(pub(crate) Vec<Gist>);

/// A directory and what is in it, or as much as goes into one message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DirectoryPart {
    pub(crate) directory: RelPath,
    pub(crate) entries: Vec<Entry>,
    pub(crate) litter: Vec<Name>,
    pub(crate) problems: Vec<Problem>,
    /// `INCOMPLETE` and the like.
    pub(crate) flags: u8,
}

/// Whether there may be more in the directory than is listed.
pub(crate) const INCOMPLETE: u8 = 1;
/// Whether a filter kept something in it from being listed.
pub(crate) const HIDES_EXCLUDED: u8 = 1 << 1;
/// Whether it is on another mount than the root.
pub(crate) const OTHER_MOUNT: u8 = 1 << 2;
/// Whether more of the same directory follows.
pub(crate) const MORE: u8 = 1 << 3;

/// A file that is to be sent or digested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// This file in this version; a newer one is sent with its metadata, and not digested.
    File { path: RelPath, identity: Identity, size: u64 },
    /// That was all.
    NoMore,
}

/// Digests in the order in which they were asked for; none for a file that is another version or
/// cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digests(pub(crate) Vec<Option<Digest>>);

/// A part of the contents of files, one file after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// A whole file without holes.
    Whole { head: Head, bytes: Bytes },
    /// The beginning of a file.
    Begin(Head),
    /// Bytes that follow on those before.
    Data(Bytes),
    /// So many zero bytes that take no room.
    Hole(u64),
    /// The end of the file, and whether it is still the version that it was at its beginning.
    End { unchanged: bool },
    /// A file that could not be opened, or the end of one that could not be read further.
    Failed { path: RelPath, trouble: Trouble },
}

/// Which file follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) path: RelPath,
    /// Its length, and what it takes on its file system.
    pub(crate) size: u64,
    pub(crate) allocated: u64,
    /// What it is now, if that is not the version that was asked for.
    pub(crate) fresh: Option<Box<Entry>>,
}

/// Why a call on a file system failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// The number that Linux gives it on x86-64; 0 where there is none.
    pub(crate) errno: u16,
    /// What the other end says of it, where there is no number.
    pub(crate) text: String,
}

/// Why a request as a whole was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Setback {
    /// Another run works on the tree.
    Busy,
    /// The tree is on a file system that is mounted read-only.
    ReadOnlyMount,
    /// Something that every further write would meet as well.
    Target { path: RelPath, trouble: Trouble },
    /// The root cannot be used.
    Root(Trouble),
    /// The request was cancelled.
    Cancelled,
    /// The agent does not do this.
    Refused(String),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Nobody else writes to the tree now, which exists if it did not.
    Locked(RootId),
    Capacity(Capacity),
    Failed(Setback),
    /// What further connections have to say to join this one.
    Meeting(Bytes),
}

/// How to carry out steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ApplyOrder {
    /// What temporary names hold: two hexadecimal numbers with `-` between.
    pub(crate) run: String,
    /// 0 none, 1 a batch at a time, 2 each file.
    pub(crate) durability: u8,
    pub(crate) fidelity: Fidelity,
    pub(crate) ownership: Ownership,
}

/// What a caller sends while steps are carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// The next steps, in the order of stages. They are numbered from 0; a step that follows
    /// another names that one's number.
    Steps(Vec<Op>),
    /// Those were all: begin.
    Go,
    /// A part of the contents of files, in the order of the steps that copy them.
    Content(Part),
}

/// What an agent sends while it carries out steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Progress {
    /// The part of the run that begins, by its number.
    Phase(u8),
    /// So much more is done.
    Advanced { entries: u64, bytes: u64 },
    /// A path that could not be dealt with.
    Problem(Problem),
    /// This file is wanted once more, or was not expected to be wanted.
    Wanted { path: RelPath, identity: Identity },
    /// What steps left at their place, by the steps' numbers; all of them when the end is near.
    Outcomes(Vec<(u32, Identity)>),
    /// All is done.
    Finished {
        counts: Counts,
        skipped: u64,
        bytes_copied: u64,
        /// BLAKE3 over number (u32, little-endian) and digest of each step that copied a content,
        /// by growing numbers.
        contents: Digest,
    },
    /// The run stopped.
    Failed(Setback),
    /// So many entries more are as durable as was asked for.
    Synced { entries: u64 },
}

/// The bytes of a message.
pub(crate) fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    // Only a sequence of unknown length cannot be encoded, and there is none.
    postcard::to_allocvec(message).expect("plain data in memory can be encoded")
}

/// Reads a message; every byte of it must be a part of it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, LinkError> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(LinkError::Protocol("a message that does not say anything known")),
    }
}
