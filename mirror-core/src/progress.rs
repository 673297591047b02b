//! What a long run tells its caller while it works, and how the caller stops it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::entry::{Problem, Side};
use crate::error::Error;

/// Someone who is told how a run goes.
///
/// Several threads may report at once, so an observer must be quick and keep its own locks short.
/// Any closure is one, and `()` is the one who does not listen.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use mirror_core::{Event, Observer};
///
/// fn copy_two_files(observer: &dyn Observer) {
///     observer.event(&Event::Advanced { entries: 1, bytes: 4096 });
///     observer.event(&Event::Advanced { entries: 1, bytes: 10 });
/// }
///
/// let copied = AtomicU64::new(0);
/// copy_two_files(&|event: &Event<'_>| {
///     if let Event::Advanced { bytes, .. } = event {
///         copied.fetch_add(*bytes, Ordering::Relaxed);
///     }
/// });
/// assert_eq!(copied.into_inner(), 4106);
/// copy_two_files(&());
/// ```
pub trait Observer: Sync {
    /// Takes note of one event.
    fn event(&self, event: &Event<'_>);
}

impl Observer for () {
    fn event(&self, _: &Event<'_>) {}
}

impl<F: Fn(&Event<'_>) + Sync> Observer for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

/// One thing that happened in a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run has come to this part of its work.
    Phase(Phase),
    /// This many entries of one tree have been seen so far.
    Scanned {
        /// Which tree.
        side: Side,
        /// Entries since the scan began.
        entries: u64,
    },
    /// What is to be done is known: the sum that [`Advanced`](Event::Advanced) grows to when all
    /// goes well.
    Planned {
        /// Entries to create, change, move or delete.
        entries: u64,
        /// Bytes of content to copy.
        bytes: u64,
    },
    /// This much more has been done since the last such event.
    Advanced {
        /// Entries that are done.
        entries: u64,
        /// Bytes of content that are written.
        bytes: u64,
    },
    /// This many more of them have reached the disk, and no power cut takes them back.
    Synced {
        /// Entries since the last such event.
        entries: u64,
    },
    /// One path could not be dealt with; the run goes on without it, and its report will say so
    /// again.
    Problem(&'a Problem),
    /// A sentence worth showing to people, without a full stop.
    Note(&'a str),
}

/// A part of a run. Those that have nothing to do are passed over, and copying, linking and
/// moving may come more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Both trees are being listed.
    Scanning,
    /// The listings are being compared and the plan is being made.
    Comparing,
    /// What an interrupted run left is being removed.
    Sweeping,
    /// Directories are being made, and what stands in the way is set aside.
    Structure,
    /// What was renamed in the source is being renamed in the target.
    Moving,
    /// Content is being copied.
    Copying,
    /// Further names of the same files are being made.
    Linking,
    /// What is only in the target is being deleted.
    Deleting,
    /// Directories get their times and modes, now that nothing changes in them any more.
    Settling,
    /// All is being brought to the disk.
    Syncing,
    /// What both sides agree on is being remembered for the next run.
    Remembering,
    /// The result is being checked.
    Verifying,
}

/// Words for people, such as `copying files`.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Scanning => "scanning",
            Phase::Comparing => "comparing",
            Phase::Sweeping => "removing what an interrupted run left",
            Phase::Structure => "making directories",
            Phase::Moving => "moving what was renamed",
            Phase::Copying => "copying files",
            Phase::Linking => "making hard links",
            Phase::Deleting => "deleting",
            Phase::Settling => "setting times of directories",
            Phase::Syncing => "writing to disk",
            Phase::Remembering => "remembering the result",
            Phase::Verifying => "verifying",
        })
    }
}

/// A flag that stops a run from outside, say from a signal handler or another thread.
///
/// Its clones are the same flag, and it stays raised. A run looks at it between steps, never in
/// the middle of replacing an entry.
///
/// ```
/// use mirror_core::{Cancel, Error};
///
/// let cancel = Cancel::default();
/// let held_by_the_run = cancel.clone();
/// assert!(held_by_the_run.check().is_ok());
///
/// cancel.cancel();
/// assert!(held_by_the_run.is_cancelled());
/// assert!(matches!(held_by_the_run.check(), Err(Error::Cancelled)));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Raises the flag. Doing so again changes nothing.
    pub fn cancel(&self) {
        // The flag guards no other memory, so no order is needed; the same holds below.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag is raised.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Goes on or stops, for use with `?`.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the flag is raised.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn closures_and_nobody_observe() {
        let seen = Mutex::new(Vec::new());
        let watch = |event: &Event<'_>| seen.lock().unwrap().push(format!("{event:?}"));
        let observers: [&dyn Observer; 2] = [&(), &watch];
        for observer in observers {
            observer.event(&Event::Phase(Phase::Copying));
            observer.event(&Event::Note("a note"));
        }
        assert_eq!(*seen.lock().unwrap(), ["Phase(Copying)", "Note(\"a note\")"]);
    }

    #[test]
    fn a_raised_flag_is_seen_by_other_threads_and_stays_raised() {
        let cancel = Cancel::default();
        let other = cancel.clone();
        std::thread::spawn(move || other.cancel()).join().unwrap();
        assert!(cancel.is_cancelled());
        assert!(cancel.clone().check().is_err());
        assert!(!Cancel::default().is_cancelled());
    }
}
