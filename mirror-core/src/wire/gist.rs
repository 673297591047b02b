//! Listings in sixteen bytes, by which a caller says what it remembers and an agent whether that
//! is what it would list. A directory that is still the same is not listed once more.

use serde::Serialize;

use crate::entry::{Digest, Entry, Identity, Kind, Meta, Side};
use crate::manifest::Record;
use crate::path::{Name, RelPath};
use crate::spool::Appending;

/// Stands for a directory's path and the entries that it is listed with.
pub(crate) type Gist = [u8; 16];

/// How many directories a caller tells of at most, for what an agent keeps of them.
pub(crate) const GISTS_MAX: usize = 500_000;

/// What an entry of a listing says, apart from how much room its content takes.
#[derive(Serialize)]
struct Said<'a> {
    name: &'a Name,
    kind: &'a Kind,
    meta: &'a Meta,
    identity: &'a Identity,
    racy: bool,
}

/// The gist of what a scan found.
pub(crate) fn of_listing(directory: &RelPath, entries: &[Entry]) -> Gist {
    let mut hasher = Hasher::new(directory);
    for entry in entries {
        hasher.add(&said(entry));
    }
    hasher.finish()
}

/// The gist of what is remembered of one side; None where that is not enough to know an entry by.
pub(crate) fn of_records(directory: &RelPath, records: &[Record], side: Side) -> Option<Gist> {
    let mut hasher = Hasher::new(directory);
    for record in records {
        hasher.add(&Said {
            name: &record.name,
            kind: &record.kind,
            meta: record.meta(side),
            identity: record.identity(side)?,
            racy: false,
        });
    }
    Some(hasher.finish())
}

/// The entry that is listed where a record's gist is that of the listing and the file has no
/// holes.
pub(crate) fn entry_of(record: &Record, side: Side) -> Option<Entry> {
    /// What nearly every file system gives out at a time.
    const BLOCK: u64 = 4096;
    Some(Entry {
        name: record.name.clone(),
        allocated: record.kind.size().checked_next_multiple_of(BLOCK).unwrap_or(u64::MAX),
        kind: record.kind.clone(),
        meta: record.meta(side).clone(),
        identity: *record.identity(side)?,
        digest: None,
        racy: false,
    })
}

/// The digest of a whole tree's listings: its root's own entry, and the gist of each directory in
/// the order in which they are listed.
#[derive(Debug)]
pub(crate) struct Whole(blake3::Hasher);

impl Whole {
    pub(crate) fn of_entry(root: &Entry) -> Whole {
        let mut hasher = Hasher::new(&RelPath::root());
        hasher.add(&said(root));
        Whole::of(hasher.finish())
    }

    pub(crate) fn of_record(root: &Record, side: Side) -> Option<Whole> {
        let root = std::slice::from_ref(root);
        of_records(&RelPath::root(), root, side).map(Whole::of)
    }

    fn of(root: Gist) -> Whole {
        let mut whole = Whole(blake3::Hasher::new());
        whole.add(&root);
        whole
    }

    pub(crate) fn add(&mut self, gist: &Gist) {
        self.0.update(gist);
    }

    pub(crate) fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

fn said(entry: &Entry) -> Said<'_> {
    let Entry { name, kind, meta, identity, racy, .. } = entry;
    Said { name, kind, meta, identity, racy: *racy }
}

struct Hasher {
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Hasher {
    fn new(directory: &RelPath) -> Hasher {
        let mut hasher = Hasher { hasher: blake3::Hasher::new(), buffer: Vec::new() };
        hasher.add(directory);
        hasher
    }

    fn add(&mut self, said: &impl Serialize) {
        self.buffer.clear();
        // Only a sequence of unknown length cannot be encoded, and there is none.
        let encoded = postcard::serialize_with_flavor(said, Appending(&mut self.buffer));
        encoded.expect("plain data in memory can be encoded");
        self.hasher.update(&self.buffer);
    }

    fn finish(&self) -> Gist {
        let mut gist = Gist::default();
        gist.copy_from_slice(&self.hasher.finalize().as_bytes()[..16]);
        gist
    }
}
