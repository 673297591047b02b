//! Carrying out a plan on a local tree.
//!
//! Everything new is made under a temporary name beside its place, completed there, and renamed
//! over; every path holds its whole old or its whole new state at every moment. What an
//! interrupted run left under such names goes before anything else. Directories are made first, then
//! what moves, then contents, links, deletions, and last the metadata of directories. Contents are
//! written by several threads.

mod batch;
mod confined;
mod delete;
mod exchange;
mod metadata;
mod place;
mod structure;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use self::delete::Replacements;
use crate::endpoint::{Durability, Job, Outcome, Outcomes};
use crate::entry::{Identity, Problem};
use crate::error::{Error, explain};
use crate::fs::{Fs, Opening, Status};
use crate::path::{Name, RelPath, TEMPORARY_PREFIX};
use crate::plan::{Counts, Expected, Op, Stage, Step};
use crate::policy::{Capabilities, Direction, Projection};
use crate::progress::{Event, Phase};
use crate::root::Root;

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What stands there is not what the plan knew.
    Changed(&'static str),
    /// A call failed.
    Io(&'static str, io::Error),
    /// A call on the source failed.
    Source(&'static str, io::Error),
}

impl Failure {
    fn io(doing: &'static str) -> impl Fn(io::Error) -> Failure {
        move |error| Failure::Io(doing, error)
    }

    /// Whether every further write would meet the same.
    fn ends_the_run(&self) -> bool {
        let Failure::Io(_, error) = self else {
            return false;
        };
        let ends = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS, Errno::IO, Errno::MFILE, Errno::NFILE];
        Errno::from_io_error(error).is_some_and(|errno| ends.contains(&errno))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Changed(how) => {
                write!(f, "{how}; skipped, it will be looked at anew in the next run")
            }
            Failure::Io(doing, error) => {
                write!(f, "cannot {doing}: {}; what was there is intact", explain(error))
            }
            Failure::Source(doing, error) => {
                write!(f, "cannot {doing}: {}; the target keeps what it has", explain(error))
            }
        }
    }
}

/// A directory that was made writable, and how to know it again.
#[derive(Debug, Clone, Copy)]
struct Unlocked {
    mode: u32,
    identity: Identity,
}

/// A plan being carried out.
pub(crate) struct Applier<'a> {
    job: &'a Job<'a>,
    root: &'a Root,
    onto: Projection,
    temporary: AtomicU64,
    /// How many entries are done and on the disk.
    synced: AtomicU64,
    outcomes: Mutex<Outcomes>,
    /// What ends the run, once it has been met.
    fatal: Mutex<Option<Error>>,
    stopped: AtomicBool,
    /// Whether something new could not be brought over, so that nothing old may go.
    holds_deletions: AtomicBool,
    /// Directories that had to be made writable for their owner, and their modes before.
    unlocked: Mutex<BTreeMap<RelPath, Unlocked>>,
    /// One directory on each file system that was written to.
    written: Mutex<BTreeMap<u64, OwnedFd>>,
}

/// A poisoned lock means that a thread panicked between two whole statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries out the steps of one side.
pub(crate) fn carry_out(
    root: &Root,
    capabilities: &Capabilities,
    job: &Job<'_>,
) -> Result<Outcomes, Error> {
    let outcomes = Outcomes { steps: vec![None; job.plan.numbers()], ..Outcomes::default() };
    let applier = Applier {
        job,
        root,
        onto: Projection::new(job.policy, capabilities),
        temporary: AtomicU64::new(0),
        synced: AtomicU64::new(0),
        outcomes: Mutex::new(outcomes),
        fatal: Mutex::new(None),
        stopped: AtomicBool::new(false),
        holds_deletions: AtomicBool::new(false),
        unlocked: Mutex::new(BTreeMap::new()),
        written: Mutex::new(BTreeMap::new()),
    };
    let ended = applier.run();
    applier.lock_again();
    ended?;
    Ok(applier.outcomes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Applier<'_> {
    fn run(&self) -> Result<(), Error> {
        // First of all: it takes up the room that the rest may need.
        self.phase(Phase::Sweeping, Stage::Sweeping, |step| self.sweep(&step))?;
        self.phase(Phase::Structure, Stage::Structure, |step| self.structure(&step))?;
        if self.begins(Phase::Moving, Stage::Moves)? {
            self.move_files()?;
        }
        if self.begins(Phase::Copying, Stage::Contents)? {
            self.contents()?;
        }
        self.phase(Phase::Linking, Stage::Links, |step| self.link(&step))?;
        self.deletions()?;
        self.phase(Phase::Settling, Stage::Settling, |step| self.settle(&step))?;
        self.sync()?;
        if self.job.policy.direction == Direction::Both {
            self.sync_root()?;
        }
        Ok(())
    }

    /// Where both sides are changed the base makes deletions of what one of them lost. What it
    /// remembers must be on the disk of both, also what somebody else has just written.
    fn sync_root(&self) -> Result<(), Error> {
        let root = self.root.descriptor();
        let failed = |source| Error::Target { path: RelPath::root(), source };
        self.fs().sync_filesystem(root).map_err(failed)
    }

    /// Deletes, when everything else is done and on the disk, and so is what takes the place of
    /// emptied directories.
    fn deletions(&self) -> Result<(), Error> {
        if self.steps(Stage::Deletions).next().is_none() {
            return Ok(());
        }
        let mut replacements = Replacements::default();
        let deleted = self.stage_replacements(&mut replacements).and_then(|()| {
            self.sync()?;
            let deletes_nothing = self.deletes_nothing();
            self.phase(Phase::Deleting, Stage::Deletions, |step| {
                if deletes_nothing {
                    lock(&self.outcomes).skipped += 1;
                } else {
                    self.delete(&step, &mut replacements);
                }
            })
        });
        self.discard_replacements(replacements);
        deleted
    }

    fn steps(&self, stage: Stage) -> impl Iterator<Item = io::Result<Step>> {
        self.job.plan.stage(stage, self.job.side)
    }

    /// Announces a phase that has something to do.
    fn begins(&self, phase: Phase, stage: Stage) -> Result<bool, Error> {
        self.job.cancel.check()?;
        let begins = self.steps(stage).next().is_some();
        if begins {
            self.job.observer.event(&Event::Phase(phase));
        }
        Ok(begins)
    }

    fn phase(&self, phase: Phase, stage: Stage, mut each: impl FnMut(Step)) -> Result<(), Error> {
        if self.begins(phase, stage)? {
            for step in self.steps(stage) {
                self.job.cancel.check()?;
                each(step.map_err(Error::Spool)?);
                self.go_on()?;
            }
        }
        Ok(())
    }

    /// Stops where something was met that every further step would meet.
    fn go_on(&self) -> Result<(), Error> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(lock(&self.fatal).take().unwrap_or(Error::Cancelled));
        }
        Ok(())
    }

    /// A name that no other step of this run uses.
    fn temporary_name(&self) -> Name {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.temporary_name_of("n", number)
    }

    fn temporary_name_of(&self, series: &str, number: u64) -> Name {
        let mut name = TEMPORARY_PREFIX.to_vec();
        name.extend_from_slice(format!("{}-{series}{number}", self.job.run).as_bytes());
        Name::new(&name).expect("a prefix, a run's name and a number make a plain name")
    }

    fn fs(&self) -> &dyn Fs {
        &*self.root.fs
    }

    /// Notes what became of a step.
    fn done(&self, id: u32, op: &Op, identity: Identity) {
        let outcome = Outcome { identity, digest: None, fresh: None };
        self.done_with(id, &op.counts(), outcome, 0);
    }

    fn done_with(&self, id: u32, counts: &Counts, outcome: Outcome, bytes: u64) {
        let mut outcomes = lock(&self.outcomes);
        outcomes.counts.add(counts);
        outcomes.bytes_copied += bytes;
        if let Some(slot) = outcomes.steps.get_mut(id as usize) {
            *slot = Some(outcome);
        }
        drop(outcomes);
        self.job.observer.event(&Event::Advanced { entries: counts.total(), bytes });
    }

    /// Notes that something that the target does not have could not be brought to it. It may be
    /// what is to be deleted under another name.
    fn failed_to_create(&self, path: &RelPath, failure: &Failure) {
        let vanished =
            matches!(failure, Failure::Source(_, error) if error.kind() == io::ErrorKind::NotFound);
        if !vanished {
            self.holds_deletions.store(true, Ordering::Relaxed);
        }
        self.failed(path, failure);
    }

    /// Whether deletions are held back, which is told once.
    fn deletes_nothing(&self) -> bool {
        let holds = self.holds_deletions.load(Ordering::Relaxed);
        let deletes = |step: io::Result<Step>| step.is_ok_and(|s| s.op.counts().deleted > 0);
        if holds && self.steps(Stage::Deletions).any(deletes) {
            let why = "nothing was deleted, since something new could not be copied, which may be \
                       the same under another name; mend that and run again";
            self.problem(&RelPath::root(), why.to_owned());
        }
        holds
    }

    /// Notes that a step could not be done. Some failures end the run.
    fn failed(&self, path: &RelPath, failure: &Failure) {
        if let Failure::Io(_, error) = failure
            && failure.ends_the_run()
        {
            let source = error
                .raw_os_error()
                .map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
            lock(&self.fatal).get_or_insert(Error::Target { path: path.clone(), source });
            self.stopped.store(true, Ordering::Relaxed);
            return;
        }
        if let Failure::Source(..) = failure
            && let Some(lost) = self.job.source.lost()
        {
            lock(&self.fatal).get_or_insert(lost);
            self.stopped.store(true, Ordering::Relaxed);
            return;
        }
        self.problem(path, failure.to_string());
        lock(&self.outcomes).skipped += 1;
    }

    fn problem(&self, path: &RelPath, error: String) {
        let problem = Problem { path: path.clone(), error };
        self.job.observer.event(&Event::Problem(&problem));
        lock(&self.outcomes).problems.push(problem);
    }

    /// Opens a directory of the target and runs `each` in it. Where its own mode forbids its
    /// owner what is to be done, the mode is widened for the owner until the end of the run.
    fn within<T>(
        &self,
        directory: &RelPath,
        each: impl Fn(BorrowedFd<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let attempt = || {
            let dir = self.root.directory(directory).map_err(Failure::io("open the directory"))?;
            each(dir.as_fd())
        };
        match attempt() {
            Err(Failure::Io(doing, error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                if self.unlock(directory) {
                    attempt()
                } else {
                    Err(Failure::Io(doing, error))
                }
            }
            result => result,
        }
    }

    /// Gives the owner full access to a directory and those above it. Says whether that changed
    /// anything.
    fn unlock(&self, directory: &RelPath) -> bool {
        let mut chain = vec![directory.clone()];
        while let Some(last) = chain.last().filter(|last| !last.is_root()) {
            chain.push(last.parent());
        }
        let us = rustix::process::geteuid().as_raw();
        let mut changed = false;
        for path in chain.into_iter().rev() {
            let Ok(handle) = self.root.handle(&path) else {
                return changed;
            };
            let Ok(status) = self.fs().status(handle.as_fd()) else {
                return changed;
            };
            if status.uid == us
                && status.mode & 0o700 != 0o700
                && self.fs().set_mode(handle.as_fd(), status.mode | 0o700).is_ok()
            {
                let unlocked = Unlocked { mode: status.mode, identity: status.identity };
                lock(&self.unlocked).entry(path).or_insert(unlocked);
                changed = true;
            }
        }
        changed
    }

    /// Gives directories back the modes they had, deepest first, but for those whose metadata has
    /// been set since.
    fn lock_again(&self) {
        for (path, was) in std::mem::take(&mut *lock(&self.unlocked)).into_iter().rev() {
            let again = self.root.handle(&path).and_then(|handle| {
                let status = self.fs().status(handle.as_fd())?;
                // Something else may have its name by now.
                match status.identity.is_same_inode(&was.identity) {
                    true => self.fs().set_mode(handle.as_fd(), was.mode),
                    false => Ok(()),
                }
            });
            // What was removed since has no mode to be set back.
            if let Err(error) = again.or_else(unless_gone) {
                let error =
                    format!("cannot set its mode back to {:o}: {}", was.mode, explain(&error));
                self.problem(&path, error);
            }
        }
    }

    /// Brings everything written so far to the disk.
    fn sync(&self) -> Result<(), Error> {
        if self.job.durability == Durability::None {
            return Ok(());
        }
        let done = lock(&self.outcomes).counts.total();
        let written = std::mem::take(&mut *lock(&self.written));
        if !written.is_empty() {
            self.job.observer.event(&Event::Phase(Phase::Syncing));
        }
        for directory in written.into_values() {
            self.fs()
                .sync_filesystem(directory.as_fd())
                .map_err(|source| Error::Target { path: RelPath::root(), source })?;
        }
        let entries = done - self.synced.swap(done, Ordering::Relaxed).min(done);
        if entries > 0 {
            self.job.observer.event(&Event::Synced { entries });
        }
        Ok(())
    }

    /// Notes that something was written to the file system of `dir`.
    fn wrote_in(&self, dir: BorrowedFd<'_>) {
        if self.job.durability == Durability::None {
            return;
        }
        let noted = self.fs().status(dir).and_then(|status| {
            let mut written = lock(&self.written);
            if let Entry::Vacant(slot) = written.entry(status.identity.device) {
                // A handle cannot be synced; what it stands for can.
                slot.insert(self.fs().open_at(dir, b".", Opening::Directory)?);
            }
            Ok(())
        });
        match noted {
            // A directory that its owner may not open is on the file system of one that was
            // written to before.
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                let doing = "hold what was written until it is on the disk";
                self.failed(&RelPath::root(), &Failure::Io(doing, error));
            }
            _ => {}
        }
    }
}

fn unless_gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// What has a name now; None for nothing.
pub(crate) fn standing(
    fs: &dyn Fs,
    dir: BorrowedFd<'_>,
    name: &Name,
) -> Result<Option<Status>, Failure> {
    match fs.status_at(dir, name.as_bytes()) {
        Ok(status) => Ok(Some(status)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Io("look at what is there", error)),
    }
}

/// Makes sure that what has a name is what the plan expects to replace or remove.
pub(crate) fn check(expected: &Expected, standing: Option<&Status>) -> Result<(), Failure> {
    let Some(status) = standing else {
        return match expected {
            Expected::Absent => Ok(()),
            _ => Err(Failure::Changed("it vanished from the target since the scan")),
        };
    };
    let is_directory = status.file_type == rustix::fs::FileType::Directory;
    let same = match expected {
        Expected::Absent => {
            return Err(Failure::Changed("something appeared in the target since the scan"));
        }
        Expected::Directory { device, inode } => {
            is_directory && (*device, *inode) == (status.identity.device, status.identity.inode)
        }
        Expected::Version { identity, size, mtime } => {
            let regular = status.file_type == rustix::fs::FileType::RegularFile;
            // An inode with several names is stamped anew when one of them goes, which may well
            // be our own doing.
            let stamp = identity.links > 1
                || status.identity.links > 1
                || identity.ctime == status.identity.ctime;
            !is_directory
                && identity.is_same_inode(&status.identity)
                && stamp
                && (!regular || *size == status.size)
                && *mtime == status.mtime
        }
    };
    if same { Ok(()) } else { Err(Failure::Changed("it changed in the target since the scan")) }
}

/// An expectation on something that this very run may have given another name, which stamps it.
pub(crate) fn without_stamp(expected: &Expected) -> Expected {
    match expected {
        Expected::Version { identity, size, mtime } => Expected::Version {
            identity: Identity { links: u32::MAX, ..*identity },
            size: *size,
            mtime: *mtime,
        },
        other => *other,
    }
}
