//! Trees as streams of directories: what a scan yields and a reconciliation reads.

use std::collections::BTreeMap;

use crate::entry::{Entry, Problem};
use crate::error::Error;
use crate::path::RelPath;

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
    /// Whether that is all: if not, what is missing here may exist all the same.
    pub complete: bool,
    /// Whether a filter kept something in here from being listed.
    pub hides_excluded: bool,
    /// Whether this directory is on another mount than the root: nothing in it is deleted.
    pub other_mount: bool,
    /// Names that an interrupted run left behind; to be swept.
    pub litter: Vec<crate::path::Name>,
    /// What could not be read.
    pub problems: Vec<Problem>,
}

/// A tree as its root's own entry and the listings of its directories in order of their paths.
pub trait Listings: Iterator<Item = Result<Listing, Error>> {
    /// The root directory itself; its name is empty.
    fn root(&self) -> &Entry;
}

/// A tree in memory, for planning without a disk and for tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    pub(crate) entries: BTreeMap<RelPath, Entry>,
}
