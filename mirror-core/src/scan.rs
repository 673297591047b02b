//! Walking a tree through held descriptors, on several threads, in the order of its paths.
//!
//! Directories are listed with `getdents` and their entries asked for in the order of their
//! inodes. What the base remembers under the same inode and ctime is not looked at more closely:
//! its symlink target, attributes and digest are taken from there.

mod ahead;
mod directory;

use std::sync::Arc;

use rustix::time::ClockId;

use crate::endpoint::ScanRequest;
use crate::entry::{Entry, Problem, Side, Timestamp};
use crate::error::Error;
use crate::filter::Filter;
use crate::listing::{Listing, Listings};
use crate::manifest::Manifest;
use crate::path::RelPath;
use crate::progress::Cancel;
use crate::root::Root;

pub(crate) use directory::{entry_of, xattrs};

/// What every directory of one scan is read with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) root: Root,
    pub(crate) side: Side,
    pub(crate) filter: Filter,
    pub(crate) hide_excluded: bool,
    /// Device and inode of the other tree's root, which must not be met here.
    pub(crate) other_root: Option<(u64, u64)>,
    pub(crate) one_file_system: bool,
    /// Whether `security.*` and `trusted.*` attributes are listed as well.
    pub(crate) all_xattrs: bool,
    pub(crate) trust_digests: bool,
    pub(crate) base: Option<Arc<Manifest>>,
}

/// A running scan.
#[derive(Debug)]
pub(crate) struct Scan {
    root: Entry,
    listings: ahead::Ahead,
    cancel: Cancel,
}

impl Scan {
    /// Starts to walk the tree below `root`.
    pub(crate) fn start(root: &Root, request: &ScanRequest<'_>) -> Result<Scan, Error> {
        let privileged = rustix::process::geteuid().is_root();
        let context = Context {
            root: root.clone(),
            side: request.side,
            filter: request.filter.clone(),
            hide_excluded: request.hide_excluded,
            other_root: request.other_root,
            one_file_system: request.policy.one_file_system,
            all_xattrs: privileged && request.policy.fidelity == crate::Fidelity::Archive,
            trust_digests: request.policy.compare == crate::Compare::Quick,
            base: request.base.clone(),
        };
        let root = directory::root_entry(&context)?;
        let listings = ahead::Ahead::start(context, request.threads);
        Ok(Scan { root, listings, cancel: request.cancel.clone() })
    }
}

impl Iterator for Scan {
    type Item = Result<Listing, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(cancelled) = self.cancel.check() {
            return Some(Err(cancelled));
        }
        self.listings.next().map(Ok)
    }
}

impl Listings for Scan {
    fn root(&self) -> &Entry {
        &self.root
    }
}

/// The clock that the kernel stamps inodes with. Its steps are those of the timer, so that an
/// inode stamped with the present step can be changed again without its stamp showing it.
pub(crate) fn stamping_clock() -> Timestamp {
    clock(ClockId::RealtimeCoarse)
}

pub(crate) fn clock(which: ClockId) -> Timestamp {
    let now = rustix::time::clock_gettime(which);
    Timestamp { seconds: now.tv_sec, nanos: u32::try_from(now.tv_nsec).unwrap_or_default() }
}

fn problem(path: &RelPath, error: String) -> Problem {
    Problem { path: path.clone(), error }
}
