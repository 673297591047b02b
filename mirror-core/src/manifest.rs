//! What both sides of a mirror agreed on, as an immutable file.
//!
//! The file is a header, one [`Block`] for each directory in the order of their paths, an index
//! and a trailer. [`ManifestWriter`] writes it in one go and renames it into place; [`Manifest`]
//! checks the digest over all of it before it believes anything, and then streams the blocks or
//! fetches single ones through the index.
//!
//! ```text
//! magic            16 bytes
//! version          u32, little-endian like all fixed numbers
//! header           u32 length, then postcard
//! blocks           each a u32 length, then what `codec` says
//! index            key u64, offset u64; sorted
//! trailer          index offset u64, index count u64, records u64,
//!                  root digest 32 bytes, BLAKE3 of all bytes before it 32 bytes
//! ```

mod codec;
mod reader;
mod writer;

#[cfg(test)]
pub(crate) mod arbitrary;

pub use reader::Manifest;
pub(crate) use reader::Rejected;
pub(crate) use writer::ManifestWriter;

use serde::{Deserialize, Serialize};

use crate::entry::{Bytes, Digest, Identity, Kind, Meta, Side};
use crate::path::{Name, RelPath};

/// One path that both trees held alike and durably, and how to know it again on either side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name in its directory; empty for the root.
    pub name: Name,
    /// What it is on both sides.
    pub kind: Kind,
    /// Its metadata on side A.
    pub meta: Meta,
    /// Its metadata on side B where a policy makes that another, such as fixed owners.
    pub meta_on_b: Option<Box<Meta>>,
    /// The digest of a file's content, if it was ever read.
    pub digest: Option<Digest>,
    /// Which inode version it was on sides A and B. Without a version
    /// where the scan could not be sure that a later change would show.
    pub identity: [Option<Identity>; 2],
}

impl Record {
    /// The metadata on one side.
    pub fn meta(&self, side: Side) -> &Meta {
        match (side, &self.meta_on_b) {
            (Side::B, Some(meta)) => meta,
            _ => &self.meta,
        }
    }

    /// The remembered inode version on one side.
    pub fn identity(&self, side: Side) -> Option<&Identity> {
        self.identity[side as usize].as_ref()
    }
}

/// The records of one directory, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Block {
    /// The directory.
    pub directory: RelPath,
    /// What it held.
    pub records: Vec<Record>,
}

/// What a manifest is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// What it belongs to: the two roots, the filter and the policy.
    pub(crate) key: Digest,
    /// Which agreement this is; each is one more than the last.
    pub(crate) generation: u64,
    /// The roots on sides A and B.
    pub(crate) roots: [RootId; 2],
    /// The root directory itself, which is in no block.
    pub(crate) root: Record,
}

/// Which directory a root was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootId {
    /// Where it was found.
    pub path: Bytes,
    /// Its file system, `st_dev`; 0 for a tree that does not exist yet.
    pub device: u64,
    /// Its inode number; 0 for a tree that does not exist yet.
    pub inode: u64,
}

/// A file system and an inode on it.
type Place = (u64, u64);

/// Where the directory of `record` was on each side, as far as that is known.
fn places(record: &Record) -> [Option<Place>; 2] {
    let of = |identity: &Option<Identity>| identity.map(|found| (found.device, found.inode));
    [of(&record.identity[0]), of(&record.identity[1])]
}

const MAGIC: &[u8; 16] = b"mirror manifest\n";
const VERSION: u32 = 1;
/// Magic, version and the length of the header.
const PREAMBLE: usize = 16 + 4 + 4;
/// A header holds two paths and one record with its xattrs, which the kernel keeps below this.
const HEADER_LIMIT: usize = 1024 * 1024;
/// A key and an offset.
const INDEX_ENTRY: usize = 16;
/// Three numbers and two digests.
const TRAILER: usize = 3 * 8 + 2 * 32;

/// The key of a directory's block by its path.
fn path_key(directory: &RelPath) -> u64 {
    key(b'p', &[directory.as_bytes()])
}

/// The key of a directory's block by its inode on one side.
fn place_key(side: Side, place: Place) -> u64 {
    let tag = [b'a', b'b'][side as usize];
    key(tag, &[&place.0.to_le_bytes(), &place.1.to_le_bytes()])
}

fn key(tag: u8, parts: &[&[u8]]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[tag]);
    for part in parts {
        hasher.update(part);
    }
    let mut key = [0; 8];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(key)
}
