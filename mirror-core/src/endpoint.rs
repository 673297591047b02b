//! A tree that can be mirrored from or to, wherever it is.

use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::capacity::Capacity;
use crate::entry::{Digest, Entry, Identity, Problem, Side};
use crate::error::Error;
use crate::filter::Filter;
use crate::listing::Listings;
use crate::local::LocalTree;
use crate::manifest::{Manifest, RootId};
use crate::path::RelPath;
use crate::plan::{Counts, Plan};
use crate::policy::{Capabilities, Policy};
use crate::progress::{Cancel, Observer};
use crate::whereabouts::Whereabouts;

/// How sure a run is that what it wrote survives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// The kernel writes when it likes. Renames stay atomic for processes, not for power cuts.
    /// Where both sides are changed everything reaches the disk at the end all the same, before it
    /// is remembered.
    None,
    /// Contents reach the disk a batch at a time before any of the batch is renamed, and
    /// everything before anything is deleted.
    #[default]
    Batch,
    /// Each file and its directory reach the disk before the next file is renamed.
    EachFile,
}

/// What a scan needs to know.
#[derive(Debug)]
pub struct ScanRequest<'a> {
    pub(crate) side: Side,
    pub(crate) policy: &'a Policy,
    pub(crate) filter: &'a Filter,
    /// Whether what the filter excludes is left out; a target whose excluded entries are to be
    /// deleted lists them.
    pub(crate) hide_excluded: bool,
    /// Device and inode of the other tree's root on the same machine: a bind mount can bring it
    /// into this tree under any name.
    pub(crate) other_root: Option<(u64, u64)>,
    pub(crate) base: Option<Arc<Manifest>>,
    /// Threads beside the caller's.
    pub(crate) threads: usize,
    pub(crate) cancel: &'a Cancel,
}

/// An open file of a source.
pub trait Content: Debug + Send {
    /// Reads into `buffer` from `offset`; 0 at the end.
    ///
    /// # Errors
    /// Those of reading.
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The next run of bytes at or after `offset` that is not a hole, as start and end; None when
    /// only a hole is left.
    ///
    /// # Errors
    /// Those of seeking.
    fn next_data(&mut self, offset: u64) -> io::Result<Option<(u64, u64)>>;

    /// Whether the file is still the version it was when it was opened.
    ///
    /// # Errors
    /// Those of asking.
    fn is_unchanged(&self) -> io::Result<bool>;
}

/// A file as it was when it was opened.
#[derive(Debug)]
pub struct Opened {
    /// What it is now, with all metadata if it is not the version that was expected.
    pub entry: Entry,
    /// Its content.
    pub content: Box<dyn Content>,
}

/// Where the contents of files come from.
pub trait Source: sealed::Sealed + Debug + Send + Sync {
    /// Opens a regular file.
    ///
    /// # Errors
    /// Those of opening; [`io::ErrorKind::InvalidInput`] when it is no regular file any more.
    fn open(&self, path: &RelPath, expected: &Identity) -> io::Result<Opened>;

    /// Lets go of a file that a job was to open, whether it has been opened or not. Nobody opens
    /// it again, so that what was read ahead of it can go.
    fn done_with(&self, path: &RelPath) {
        let _ = path;
    }

    /// Why nothing can be opened any more, if that is so.
    fn lost(&self) -> Option<Error> {
        None
    }
}

/// What carrying out a plan needs to know.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) side: Side,
    pub(crate) source: &'a dyn Source,
    pub(crate) policy: &'a Policy,
    pub(crate) durability: Durability,
    pub(crate) threads: usize,
    /// What temporary names of this run hold.
    pub(crate) run: &'a str,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) cancel: &'a Cancel,
}

impl Debug for Job<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("side", &self.side)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// What became of one step that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) identity: Identity,
    /// The digest of the content that was copied.
    pub(crate) digest: Option<Digest>,
    /// The source's entry, where it was newer than planned.
    pub(crate) fresh: Option<Box<Entry>>,
}

/// What became of a plan on one side.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// By the number of the step; None for what was not done.
    pub(crate) steps: Vec<Option<Outcome>>,
    pub(crate) counts: Counts,
    pub(crate) skipped: u64,
    pub(crate) bytes_copied: u64,
    pub(crate) problems: Vec<Problem>,
}

/// A tree that can be mirrored from or to.
///
/// Sealed: [`LocalTree`](crate::LocalTree) and [`RemoteTree`](crate::RemoteTree) are what there
/// is; a tree without an agent comes next.
pub trait Endpoint: Source {
    /// The tree itself, if it is on this machine.
    fn as_local(&self) -> Option<&LocalTree> {
        None
    }

    /// What tells this tree from every other.
    ///
    /// # Errors
    /// Those of asking.
    fn id(&self) -> Result<RootId, Error>;

    /// Where it is, for telling whether one tree lies in the other.
    ///
    /// # Errors
    /// Those of walking upwards.
    fn whereabouts(&self) -> Result<Whereabouts, Error>;

    /// What its host can do.
    ///
    /// # Errors
    /// Those of asking.
    fn capabilities(&self) -> Result<Capabilities, Error>;

    /// Lists the tree in order.
    ///
    /// # Errors
    /// What keeps the walk from beginning; later problems are in the listings.
    fn scan(&self, request: &ScanRequest<'_>) -> Result<Box<dyn Listings + Send>, Error>;

    /// Reads a file and digests it; None if it is not the version that `expected` describes or
    /// changes meanwhile.
    ///
    /// # Errors
    /// Those of reading.
    fn digest(&self, path: &RelPath, expected: &Entry) -> io::Result<Option<Digest>>;

    /// Digests many files as [`digest`](Self::digest) does each, on as many threads. What cannot
    /// be read has none.
    ///
    /// # Errors
    /// What makes every further digest impossible.
    fn digests(
        &self,
        wanted: &[(&RelPath, &Entry)],
        threads: usize,
        cancel: &Cancel,
    ) -> Result<Vec<Option<Digest>>, Error> {
        let next = AtomicUsize::new(0);
        let digests = Mutex::new(vec![None; wanted.len()]);
        let work = || {
            while !cancel.is_cancelled() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((path, entry)) = wanted.get(index) else { return };
                let digest = self.digest(path, entry).ok().flatten();
                digests.lock().unwrap_or_else(PoisonError::into_inner)[index] = digest;
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads.min(wanted.len()) {
                scope.spawn(work);
            }
            work();
        });
        cancel.check()?;
        Ok(digests.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs `work`, which carries `job` out on another tree, while what it will open of this one
    /// is brought ahead of it where that takes time.
    ///
    /// # Errors
    /// Those of `work`.
    fn serving(
        &self,
        job: &Job<'_>,
        work: &mut dyn FnMut() -> Result<Outcomes, Error>,
    ) -> Result<Outcomes, Error> {
        let _ = job;
        work()
    }

    /// What its file system has left.
    ///
    /// # Errors
    /// Those of asking.
    fn capacity(&self) -> Result<Capacity, Error>;

    /// Makes sure that it can be written to and that nobody else does until this is dropped.
    ///
    /// # Errors
    /// [`Refused::Busy`](crate::Refused::Busy), or why it cannot be written to.
    fn lock(&self) -> Result<(), Error>;

    /// Carries out the steps of one side of a plan.
    ///
    /// # Errors
    /// What every further step would meet as well; what concerns single paths is in the outcomes.
    fn carry_out(&self, job: &Job<'_>) -> Result<Outcomes, Error>;
}

pub(crate) mod sealed {
    /// Keeps the trait closed until all kinds of trees exist and its shape has settled.
    pub trait Sealed {}
}
