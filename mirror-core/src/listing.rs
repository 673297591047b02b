//! Trees as streams of directories: what a scan yields and a reconciliation reads.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::sync::Arc;
use std::vec;

use crate::entry::{Digest, Entry, Identity, Kind, Meta, Problem, Side, Timestamp, Xattrs};
use crate::error::Error;
use crate::filter::{Filter, Verdict};
use crate::manifest::{Block, Record};
use crate::path::{Name, PathError, RelPath};

/// One directory of a tree and everything directly in it.
///
/// Listings of a tree come in the order of their paths, so that each directory is followed by
/// those below it.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// The directory.
    pub directory: RelPath,
    /// What it holds, sorted by name.
    pub entries: Vec<Entry>,
    /// Whether that is not all: what is missing here may exist all the same.
    pub incomplete: bool,
    /// Whether a filter kept something in here from being listed.
    pub hides_excluded: bool,
    /// Whether this directory is on another mount than the root: nothing in it is deleted.
    pub other_mount: bool,
    /// Whether the other tree's root is in here, under whatever name.
    pub holds_other_root: bool,
    /// Names that an interrupted run left behind; to be swept.
    pub litter: Vec<Name>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// A tree as its root's own entry and the listings of its directories in order of their paths.
pub trait Listings: Iterator<Item = Result<Listing, Error>> {
    /// The root directory itself; its name is empty.
    fn root(&self) -> &Entry;
}

/// A tree in memory, for planning without a disk and for tests.
///
/// ```
/// use mirror_core::Tree;
///
/// let tree = Tree::from_files([("a.txt", "hello"), ("sub/b.txt", "there")])?;
/// assert_eq!(tree.len(), 3, "two files and the directory that one of them is in");
/// # Ok::<(), mirror_core::PathError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: Entry,
    entries: BTreeMap<RelPath, Entry>,
    /// Directories that could not be listed whole.
    incomplete: BTreeSet<RelPath>,
    /// Directories that are on another mount than the root.
    mounts: BTreeSet<RelPath>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree {
            root: Tree::entry(Name::of_root(), Kind::Directory, 0),
            entries: BTreeMap::new(),
            incomplete: BTreeSet::new(),
            mounts: BTreeSet::new(),
        }
    }
}

impl Tree {
    /// A tree of regular files, given as path and content, and the directories they need.
    ///
    /// Every entry gets the inode number that its place in the order of insertion gives it,
    /// mode 0644 or 0755, owner 0 and an mtime of 0.
    ///
    /// # Errors
    /// [`PathError`] for a path that is not plain.
    pub fn from_files<P: AsRef<[u8]>, C: AsRef<[u8]>>(
        files: impl IntoIterator<Item = (P, C)>,
    ) -> Result<Tree, PathError> {
        let mut tree = Tree::default();
        for (path, content) in files {
            let path = RelPath::new(path.as_ref())?;
            let content = content.as_ref();
            let inode = tree.entries.len() as u64 + 1_000;
            let kind = Kind::File { size: content.len() as u64 };
            let mut entry = Tree::entry(path.name(), kind, inode);
            entry.digest = Some(Digest::of(content));
            tree.insert(path, entry);
        }
        Ok(tree)
    }

    /// A plain entry: mode 0644, or 0755 for a directory, owner 0, mtime 0.
    pub fn entry(name: Name, kind: Kind, inode: u64) -> Entry {
        let mode = match kind {
            Kind::Directory => 0o755,
            Kind::Symlink { .. } => 0o777,
            _ => 0o644,
        };
        Entry {
            name,
            allocated: kind.size(),
            kind,
            meta: Meta {
                mode,
                uid: 0,
                gid: 0,
                mtime: Timestamp::default(),
                xattrs: Xattrs::default(),
            },
            identity: Identity { device: 1, inode, ctime: Timestamp::default(), links: 1 },
            digest: None,
            racy: false,
        }
    }

    /// Puts an entry at `path`, with plain directories above it where there are none. Its name
    /// becomes the last of the path.
    pub fn insert(&mut self, path: RelPath, mut entry: Entry) {
        entry.name = path.name();
        if path.is_root() {
            self.root = entry;
            return;
        }
        let parent = path.parent();
        if !parent.is_root() && !self.entries.contains_key(&parent) {
            let inode = self.entries.len() as u64 + 1_000_000;
            self.insert(parent.clone(), Tree::entry(parent.name(), Kind::Directory, inode));
        }
        self.entries.insert(path, entry);
    }

    /// Takes out `path` and everything below it.
    pub fn remove(&mut self, path: &RelPath) {
        self.entries.retain(|candidate, _| !candidate.is_within(path));
    }

    /// Says that a directory could not be listed whole: what is missing in it may exist all the
    /// same, so that nothing is concluded from its absence.
    pub fn mark_incomplete(&mut self, directory: RelPath) {
        self.incomplete.insert(directory);
    }

    /// Says that a directory is on another mount than the root: nothing in it is deleted.
    pub fn mark_other_mount(&mut self, directory: RelPath) {
        self.mounts.insert(directory);
    }

    /// The entry at `path`.
    pub fn get(&self, path: &RelPath) -> Option<&Entry> {
        if path.is_root() { Some(&self.root) } else { self.entries.get(path) }
    }

    /// All entries but the root, in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&RelPath, &Entry)> {
        self.entries.iter()
    }

    /// How many entries there are, the root not counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in the root.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tree as a scan would list it.
    pub fn listings(&self) -> TreeListings<'_> {
        self.listings_through(&Filter::default())
    }

    /// The tree as a scan would list it that passes over what `filter` excludes.
    pub fn listings_through(&self, filter: &Filter) -> TreeListings<'_> {
        let mut directories: BTreeMap<RelPath, Listing> = BTreeMap::new();
        let open = |directory: RelPath| Listing {
            incomplete: self.incomplete.contains(&directory),
            other_mount: self.mounts.iter().any(|mount| directory.is_within(mount)),
            directory,
            ..Listing::default()
        };
        directories.insert(RelPath::root(), open(RelPath::root()));
        for (path, entry) in &self.entries {
            // What is in a directory that is passed over finds no listing and is passed over too.
            let Some(listing) = directories.get_mut(&path.parent()) else {
                continue;
            };
            if filter.verdict(path, entry.kind.is_directory()) == Verdict::Excluded {
                listing.hides_excluded = true;
                continue;
            }
            listing.entries.push(entry.clone());
            if entry.kind.is_directory() {
                directories.insert(path.clone(), open(path.clone()));
            }
        }
        // The order of paths is that of their components, so that each listing is sorted by name.
        let listings: Vec<Listing> = directories.into_values().collect();
        TreeListings { root: &self.root, listings: listings.into_iter() }
    }

    /// The tree as a base that both sides agreed on, each with the inodes that this tree has.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let listings = self.listings().listings;
        let blocks = listings.map(|listing| Block {
            directory: listing.directory,
            records: listing.entries.iter().map(record_of).collect(),
        });
        blocks.filter(|block: &Block| !block.records.is_empty()).collect()
    }
}

pub(crate) fn record_of(entry: &Entry) -> Record {
    Record {
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        meta: entry.meta.clone(),
        meta_on_b: None,
        digest: entry.digest,
        identity: [Some(entry.identity), Some(entry.identity)],
    }
}

/// A [`Tree`] as a stream of its directories.
#[derive(Debug)]
pub struct TreeListings<'a> {
    root: &'a Entry,
    listings: vec::IntoIter<Listing>,
}

impl Iterator for TreeListings<'_> {
    type Item = Result<Listing, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.listings.next().map(Ok)
    }
}

impl Listings for TreeListings<'_> {
    fn root(&self) -> &Entry {
        self.root
    }
}

/// A stream of directories that can be asked for one directory after the other.
pub(crate) struct InOrder<I: Iterator> {
    items: Peekable<I>,
}

/// Something that belongs to one directory.
pub(crate) trait OfDirectory {
    fn directory(&self) -> &RelPath;
}

impl OfDirectory for Listing {
    fn directory(&self) -> &RelPath {
        &self.directory
    }
}

impl OfDirectory for Arc<Block> {
    fn directory(&self) -> &RelPath {
        &self.directory
    }
}

impl<T: OfDirectory + 'static, E: 'static, I: Iterator<Item = Result<T, E>>> InOrder<I> {
    pub(crate) fn new(items: I) -> InOrder<I> {
        InOrder { items: items.peekable() }
    }

    /// The directory that comes next, if any.
    pub(crate) fn next_directory(&mut self) -> Result<Option<&RelPath>, E> {
        if matches!(self.items.peek(), Some(Err(_)))
            && let Some(Err(error)) = self.items.next()
        {
            return Err(error);
        }
        Ok(match self.items.peek() {
            Some(Ok(item)) => Some(item.directory()),
            _ => None,
        })
    }

    /// What comes next, if it belongs to `directory`.
    pub(crate) fn take(&mut self, directory: &RelPath) -> Result<Option<T>, E> {
        if self.next_directory()? == Some(directory) {
            return self.items.next().transpose();
        }
        Ok(None)
    }
}

/// Which of two sides a value is kept for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pair<T> {
    pub(crate) a: T,
    pub(crate) b: T,
}

impl<T> Pair<T> {
    pub(crate) fn on(&self, side: Side) -> &T {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub(crate) fn on_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::A => &mut self.a,
            Side::B => &mut self.b,
        }
    }
}
