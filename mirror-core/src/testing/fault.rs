//! The calls, counted, and one of them spoilt.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::image::Identities;
use super::recording::{Change, Recorder, Recording};
use crate::agent::AgentConfig;
use crate::entry::Timestamp;
use crate::error::Error;
use crate::fs::{Fs, Opening, RealFs, Renaming, Room, Status};
use crate::local::LocalTree;
use crate::mirror::Mirror;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is named after what it does")]
pub enum CallKind {
    Open,
    Create,
    List,
    Status,
    ReadLink,
    ReadXattr,
    WriteXattr,
    Read,
    Write,
    Seek,
    Truncate,
    MakeDirectory,
    MakeSymlink,
    MakeNode,
    Link,
    Rename,
    /// A rename that exchanges, or that keeps what has the name.
    SpecialRename,
    Unlink,
    RemoveDirectory,
    SetMode,
    SetOwner,
    SetTime,
    Sync,
    SyncFilesystem,
    Room,
    Lock,
}

/// A call that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which of all calls it is, counted from 0.
    pub number: u64,
    /// What it is for.
    pub kind: CallKind,
    /// What it names, as it can be reached from outside; None for one on a held inode.
    pub path: Option<PathBuf>,
    /// The other place that it names, where something is to come.
    pub to: Option<PathBuf>,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// `EIO`.
    Io,
    /// `ENOSPC`.
    NoSpace,
    /// `EDQUOT`.
    Quota,
    /// `EMFILE`.
    TooManyFiles,
    /// `EINTR`, as if it had been met too often to be tried again.
    Interrupted,
    /// Only a part is written.
    ShortWrite,
    /// `EINVAL`, as file systems answer that know no such rename.
    Unsupported,
    /// Neither this call nor any later one has an effect: for the disk the process ended here.
    Stop,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 8] = [
        Fault::Io,
        Fault::NoSpace,
        Fault::Quota,
        Fault::TooManyFiles,
        Fault::Interrupted,
        Fault::ShortWrite,
        Fault::Unsupported,
        Fault::Stop,
    ];

    /// Whether the kernel may answer such a call so.
    pub fn fits(self, kind: CallKind) -> bool {
        use CallKind::*;
        match self {
            Fault::Io => !matches!(kind, Lock),
            Fault::Quota if kind == SetOwner => true,
            // Some file systems need room even to take something away.
            Fault::NoSpace if matches!(kind, Unlink | RemoveDirectory) => true,
            Fault::NoSpace | Fault::Quota => matches!(
                kind,
                Create
                    | Write
                    | WriteXattr
                    | Truncate
                    | MakeDirectory
                    | MakeSymlink
                    | MakeNode
                    | Link
                    | Rename
                    | SpecialRename
                    | Sync
                    | SyncFilesystem
            ),
            Fault::TooManyFiles => matches!(kind, Open | Create),
            Fault::Interrupted => {
                matches!(kind, Open | Create | Read | Write | Truncate | Sync | SyncFilesystem)
            }
            Fault::ShortWrite => matches!(kind, Write),
            Fault::Unsupported => matches!(kind, SpecialRename),
            Fault::Stop => true,
        }
    }

    fn error(self) -> io::Error {
        match self {
            Fault::Io => Errno::IO.into(),
            Fault::NoSpace => Errno::NOSPC.into(),
            Fault::Quota => Errno::DQUOT.into(),
            Fault::TooManyFiles => Errno::MFILE.into(),
            Fault::Interrupted => Errno::INTR.into(),
            Fault::Unsupported => Errno::INVAL.into(),
            Fault::ShortWrite | Fault::Stop => io::Error::other("the process ended here"),
        }
    }
}

/// A held directory and a name in it.
type Place<'a> = (BorrowedFd<'a>, &'a [u8]);

type Action = Box<dyn FnOnce(&Call) + Send>;

/// What is to happen at which call.
#[derive(Default)]
struct Script {
    /// At this call, or from this call on.
    faults: Vec<(u64, Fault, bool)>,
    action: Option<(u64, Action)>,
    trace: Option<Vec<Call>>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicU64,
    stopped: AtomicBool,
    /// How many calls went wrong.
    spoilt: AtomicU64,
    script: Mutex<Script>,
    recorder: Mutex<Option<Recorder>>,
    identities: Mutex<Identities>,
}

/// The kernel's calls, one of which goes as a test wants it to.
///
/// Handles to the same disk are clones of each other: they share the count.
#[derive(Clone, Default)]
pub struct FaultFs {
    shared: Arc<Shared>,
}

impl fmt::Debug for FaultFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultFs").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FaultFs {
    /// A disk on which nothing goes wrong yet.
    pub fn new() -> FaultFs {
        FaultFs::default()
    }

    /// Call `number` goes wrong, if such a call can: see [`Fault::fits`].
    #[must_use]
    pub fn failing_at(self, number: u64, fault: Fault) -> FaultFs {
        lock(&self.shared.script).faults.push((number, fault, false));
        self
    }

    /// Every call from `number` on that can go wrong so does.
    #[must_use]
    pub fn failing_from(self, number: u64, fault: Fault) -> FaultFs {
        lock(&self.shared.script).faults.push((number, fault, true));
        self
    }

    /// Immediately before call `number`, `action` is carried out.
    #[must_use]
    pub fn racing_at(self, number: u64, action: impl FnOnce(&Call) + Send + 'static) -> FaultFs {
        lock(&self.shared.script).action = Some((number, Box::new(action)));
        self
    }

    /// Every call is noted, for [`trace`](Self::trace).
    #[must_use]
    pub fn tracing(self) -> FaultFs {
        lock(&self.shared.script).trace = Some(Vec::new());
        self
    }

    /// What was made by [`Image::put`](super::Image::put) passes for what it is an image of: the same inodes, changed
    /// at the same times.
    #[must_use]
    pub fn presenting(self, identities: Identities) -> FaultFs {
        let mut presented = lock(&self.shared.identities);
        let age = presented.age;
        *presented = identities;
        presented.age = age;
        drop(presented);
        self
    }

    /// Every inode passes for having been changed by so much earlier, so that no run has to wait
    /// until what was just made has been left alone.
    #[must_use]
    pub fn aging(self, by: Duration) -> FaultFs {
        lock(&self.shared.identities).age = by;
        self
    }

    /// Records what is changed in the tree at `path`, for [`recording`](Self::recording).
    ///
    /// # Errors
    /// Those of reading the tree as it is now.
    pub fn recording_in(self, path: &Path) -> io::Result<FaultFs> {
        let recorder = Recorder::start(path, &lock(&self.shared.identities))?;
        *lock(&self.shared.recorder) = Some(recorder);
        Ok(self)
    }

    /// How many calls were made so far.
    pub fn calls(&self) -> u64 {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// How many calls went wrong so far.
    pub fn spoilt(&self) -> u64 {
        self.shared.spoilt.load(Ordering::SeqCst)
    }

    /// All calls so far, if they are noted.
    pub fn trace(&self) -> Vec<Call> {
        lock(&self.shared.script).trace.clone().unwrap_or_default()
    }

    /// What was changed so far; None if it is not recorded. Nothing more is recorded.
    pub fn recording(&self) -> Option<Recording> {
        lock(&self.shared.recorder).take().map(Recorder::finish)
    }

    /// [`LocalTree::open_or_create`], reached by this disk's calls.
    ///
    /// # Errors
    /// Those of [`LocalTree::open_or_create`].
    pub fn tree(&self, path: impl AsRef<Path>) -> Result<LocalTree, Error> {
        LocalTree::open_or_create_on(Arc::new(self.clone()), path.as_ref())
    }

    /// An agent that serves `root`, reached by this disk's calls.
    #[must_use]
    pub fn agent(&self, root: impl AsRef<Path>) -> AgentConfig {
        AgentConfig::new(root).reaching_by(Arc::new(self.clone()))
    }

    /// `mirror`, with its state folder reached by this disk's calls.
    #[must_use]
    pub fn keeping_state_of<'a>(&self, mirror: Mirror<'a>) -> Mirror<'a> {
        mirror.reaching_state_by(Arc::new(self.clone()))
    }

    /// Counts a call and lets the script have its way with it. `Ok(true)` asks for a short write.
    fn begin(&self, kind: CallKind, place: Option<Place<'_>>) -> io::Result<bool> {
        self.begin_between(kind, place, None)
    }

    /// [`begin`](Self::begin) for a call with two places.
    fn begin_between(
        &self,
        kind: CallKind,
        place: Option<Place<'_>>,
        to: Option<Place<'_>>,
    ) -> io::Result<bool> {
        let number = self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.stopped.load(Ordering::SeqCst) {
            return Err(Fault::Stop.error());
        }
        let mut script = lock(&self.shared.script);
        let acts = script.action.as_ref().is_some_and(|(at, _)| *at == number);
        if acts || script.trace.is_some() {
            let path = |(dir, name): Place<'_>| {
                let above = std::fs::read_link(format!("/proc/self/fd/{}", dir.as_raw_fd()));
                above.unwrap_or_default().join(std::ffi::OsStr::from_bytes(name))
            };
            let call = Call { number, kind, path: place.map(path), to: to.map(path) };
            if let Some((_, action)) = script.action.take_if(|(at, _)| *at == number) {
                action(&call);
            }
            script.trace.as_mut().into_iter().for_each(|trace| trace.push(call.clone()));
        }
        let mut met = script.faults.iter().filter(|(at, fault, lasts)| {
            (number == *at || *lasts && number > *at) && fault.fits(kind)
        });
        let fault = met.next().copied();
        drop(script);
        let Some((_, fault, _)) = fault else {
            return Ok(false);
        };
        self.shared.spoilt.fetch_add(1, Ordering::SeqCst);
        match fault {
            Fault::ShortWrite => return Ok(true),
            Fault::Stop => self.shared.stopped.store(true, Ordering::SeqCst),
            _ => {}
        }
        Err(fault.error())
    }

    /// Makes a call that changes something, and records what it changed.
    fn change<'c, T>(
        &self,
        call: impl FnOnce() -> io::Result<T>,
        changed: impl FnOnce(&T) -> Change<'c>,
    ) -> io::Result<T> {
        let mut recorder = lock(&self.shared.recorder);
        if let Some(recorder) = &mut *recorder {
            return recorder.around(call, changed);
        }
        drop(recorder);
        call()
    }

    fn presented(&self, status: Status) -> Status {
        lock(&self.shared.identities).present(status)
    }
}

fn kind_of(opening: Opening) -> CallKind {
    match opening {
        Opening::Create | Opening::Update | Opening::Unnamed => CallKind::Create,
        Opening::Directory | Opening::Read | Opening::Handle => CallKind::Open,
    }
}

impl Fs for FaultFs {
    fn open_start(&self, absolute: bool) -> io::Result<OwnedFd> {
        self.begin(CallKind::Open, None)?;
        RealFs.open_start(absolute)
    }

    fn open_beneath(
        &self,
        root: BorrowedFd<'_>,
        path: &[u8],
        opening: Opening,
        stay_on_mount: bool,
    ) -> io::Result<OwnedFd> {
        self.begin(kind_of(opening), Some((root, path)))?;
        RealFs.open_beneath(root, path, opening, stay_on_mount)
    }

    fn open_at(&self, dir: BorrowedFd<'_>, name: &[u8], opening: Opening) -> io::Result<OwnedFd> {
        self.begin(kind_of(opening), Some((dir, name)))?;
        let open = || RealFs.open_at(dir, name, opening);
        match opening {
            Opening::Create | Opening::Update => self.change(open, |_| Change::Made { dir, name }),
            _ => open(),
        }
    }

    fn list(
        &self,
        dir: BorrowedFd<'_>,
        each: &mut dyn FnMut(&[u8], u64, FileType),
    ) -> io::Result<()> {
        self.begin(CallKind::List, None)?;
        RealFs.list(dir, each)
    }

    fn status_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Status> {
        self.begin(CallKind::Status, Some((dir, name)))?;
        RealFs.status_at(dir, name).map(|status| self.presented(status))
    }

    fn status(&self, file: BorrowedFd<'_>) -> io::Result<Status> {
        self.begin(CallKind::Status, None)?;
        RealFs.status(file).map(|status| self.presented(status))
    }

    fn read_link_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
        let place = (!name.is_empty()).then_some((dir, name));
        self.begin(CallKind::ReadLink, place)?;
        RealFs.read_link_at(dir, name)
    }

    fn list_xattrs(&self, file: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
        self.begin(CallKind::ReadXattr, None)?;
        RealFs.list_xattrs(file)
    }

    fn get_xattr(&self, file: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
        self.begin(CallKind::ReadXattr, None)?;
        RealFs.get_xattr(file, name)
    }

    fn set_xattr(&self, file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
        self.begin(CallKind::WriteXattr, None)?;
        self.change(|| RealFs.set_xattr(file, name, value), |()| Change::Metadata { file })
    }

    fn remove_xattr(&self, file: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.begin(CallKind::WriteXattr, None)?;
        self.change(|| RealFs.remove_xattr(file, name), |()| Change::Metadata { file })
    }

    fn read_at(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.begin(CallKind::Read, None)?;
        RealFs.read_at(file, buffer, offset)
    }

    fn write_at(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let short = self.begin(CallKind::Write, None)?;
        let bytes = if short { &bytes[..bytes.len().div_ceil(3)] } else { bytes };
        self.change(
            || RealFs.write_at(file, bytes, offset),
            |written| Change::Written { file, bytes: &bytes[..*written], offset },
        )
    }

    fn next_data(&self, file: BorrowedFd<'_>, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.begin(CallKind::Seek, None)?;
        RealFs.next_data(file, offset)
    }

    fn await_writer(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.begin(CallKind::Seek, None)?;
        RealFs.await_writer(file)
    }

    fn set_length(&self, file: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        self.begin(CallKind::Truncate, None)?;
        self.change(|| RealFs.set_length(file, length), |()| Change::Length { file, length })
    }

    fn make_directory_at(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
        self.begin(CallKind::MakeDirectory, Some((dir, name)))?;
        self.change(|| RealFs.make_directory_at(dir, name, mode), |()| Change::Made { dir, name })
    }

    fn make_symlink_at(&self, dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> io::Result<()> {
        self.begin(CallKind::MakeSymlink, Some((dir, name)))?;
        self.change(|| RealFs.make_symlink_at(dir, name, target), |()| Change::Made { dir, name })
    }

    fn make_node_at(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        file_type: FileType,
        device_number: u64,
    ) -> io::Result<()> {
        self.begin(CallKind::MakeNode, Some((dir, name)))?;
        self.change(
            || RealFs.make_node_at(dir, name, file_type, device_number),
            |()| Change::Made { dir, name },
        )
    }

    fn link_at(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
    ) -> io::Result<()> {
        self.begin_between(CallKind::Link, Some((from_dir, from)), Some((to_dir, to)))?;
        self.change(
            || RealFs.link_at(from_dir, from, to_dir, to),
            |()| Change::Made { dir: to_dir, name: to },
        )
    }

    fn rename_at(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
        renaming: Renaming,
    ) -> io::Result<()> {
        let kind = match renaming {
            Renaming::Replace => CallKind::Rename,
            Renaming::KeepExisting | Renaming::Exchange => CallKind::SpecialRename,
        };
        self.begin_between(kind, Some((from_dir, from)), Some((to_dir, to)))?;
        self.change(
            || RealFs.rename_at(from_dir, from, to_dir, to, renaming),
            |()| Change::Renamed {
                from: (from_dir, from),
                to: (to_dir, to),
                exchange: renaming == Renaming::Exchange,
            },
        )
    }

    fn unlink_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.begin(CallKind::Unlink, Some((dir, name)))?;
        self.change(|| RealFs.unlink_at(dir, name), |()| Change::Unlinked { dir, name })
    }

    fn remove_directory_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.begin(CallKind::RemoveDirectory, Some((dir, name)))?;
        self.change(|| RealFs.remove_directory_at(dir, name), |()| Change::Unlinked { dir, name })
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        self.begin(CallKind::SetMode, None)?;
        self.change(|| RealFs.set_mode(file, mode), |()| Change::Metadata { file })
    }

    fn set_owner(
        &self,
        file: BorrowedFd<'_>,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> io::Result<()> {
        self.begin(CallKind::SetOwner, None)?;
        self.change(|| RealFs.set_owner(file, uid, gid), |()| Change::Metadata { file })
    }

    fn set_mtime(&self, file: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
        self.begin(CallKind::SetTime, None)?;
        self.change(|| RealFs.set_mtime(file, mtime), |()| Change::Metadata { file })
    }

    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.begin(CallKind::Sync, None)?;
        self.change(|| RealFs.sync(file), |()| Change::Synced { file })
    }

    fn sync_filesystem(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.begin(CallKind::SyncFilesystem, None)?;
        // The tests' own disks are no one's concern: nothing is gained by waiting for them.
        self.change(|| Ok(()), |()| Change::AllSynced { file })
    }

    fn room(&self, file: BorrowedFd<'_>) -> io::Result<Room> {
        self.begin(CallKind::Room, None)?;
        RealFs.room(file)
    }

    fn lock(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.begin(CallKind::Lock, None)?;
        RealFs.lock(file)
    }
}
