//! What both sides of a mirror agreed on, as an immutable file.

use serde::{Deserialize, Serialize};

use crate::entry::{Digest, Identity, Kind, Meta, Side};
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
    /// Which inode version it was on sides A and B. None where the scan could not be sure that a
    /// later change would show.
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
