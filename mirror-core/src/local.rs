//! A tree on this machine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::time::ClockId;

use crate::apply;
use crate::capacity::Capacity;
use crate::endpoint::sealed::Sealed;
use crate::endpoint::{Content, Endpoint, Job, Opened, Outcomes, ScanRequest, Source};
use crate::entry::{Bytes, Digest, Entry, Identity, Kind};
use crate::error::Error;
use crate::fs::{Fs, Opening, RealFs, Status};
use crate::guard::Refused;
use crate::listing::{Listing, Listings, Tree};
use crate::manifest::RootId;
use crate::path::{Name, RelPath};
use crate::policy::Capabilities;
use crate::root::Root;
use crate::scan::{self, Scan};
use crate::whereabouts::Whereabouts;

/// A directory on this machine and all that is in it.
#[derive(Debug)]
pub struct LocalTree {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    root: OnceLock<Root>,
}

impl Sealed for LocalTree {}

impl LocalTree {
    /// Opens the directory at `path` and holds it: whatever is put in its place later, this tree
    /// stays the one that was opened.
    ///
    /// # Errors
    /// [`Error::OpenRoot`], [`Error::NotADirectory`], or [`Error::UntrustedSymlink`] when `path`
    /// leads through a symlink that belongs to neither root nor the running user.
    pub fn open(path: impl AsRef<Path>) -> Result<LocalTree, Error> {
        LocalTree::open_on(Arc::new(RealFs), path.as_ref())
    }

    pub(crate) fn open_on(fs: Arc<dyn Fs>, path: &Path) -> Result<LocalTree, Error> {
        let root = OnceLock::from(Root::open(fs.clone(), path)?);
        Ok(LocalTree { fs, path: path.to_path_buf(), root })
    }

    /// Opens the directory at `path`, or plans to make it: as long as nothing is carried out, a
    /// missing directory stays missing and counts as an empty tree.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), but for a missing directory.
    pub fn open_or_create(path: impl AsRef<Path>) -> Result<LocalTree, Error> {
        LocalTree::open_or_create_on(Arc::new(RealFs), path.as_ref())
    }

    pub(crate) fn open_or_create_on(fs: Arc<dyn Fs>, path: &Path) -> Result<LocalTree, Error> {
        let (nearest, missing) = Root::nearest(fs.clone(), path)?;
        let root = if missing.is_empty() { OnceLock::from(nearest) } else { OnceLock::new() };
        Ok(LocalTree { fs, path: path.to_path_buf(), root })
    }

    /// The tree below a root that is held already.
    pub(crate) fn of_root(root: Root) -> LocalTree {
        let (fs, path) = (root.fs.clone(), root.path().to_path_buf());
        LocalTree { fs, path, root: OnceLock::from(root) }
    }

    /// The held root, if the tree exists.
    pub(crate) fn root(&self) -> Option<&Root> {
        self.root.get()
    }

    /// Where the tree is.
    pub fn path(&self) -> &Path {
        self.root.get().map_or(&self.path, Root::path)
    }

    fn existing(&self) -> Result<&Root, Error> {
        self.root.get().ok_or_else(|| self.failed(Errno::NOENT.into()))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::OpenRoot { path: self.path.clone(), source }
    }

    /// The tree's root, or the nearest directory above it that exists and the names below that
    /// which are missing.
    fn nearest(&self) -> Result<(Root, Vec<Vec<u8>>), Error> {
        match self.root.get() {
            Some(root) => Ok((root.clone(), Vec::new())),
            None => Root::nearest(self.fs.clone(), &self.path),
        }
    }
}

impl Source for LocalTree {
    fn open(&self, path: &RelPath, expected: &Identity) -> io::Result<Opened> {
        let root = self.root.get().ok_or(Errno::NOENT)?;
        let fs = root.fs.clone();
        let file = fs.open_beneath(root.descriptor(), path.as_bytes(), Opening::Read, false)?;
        let status = quiet_status(&*fs, file.as_fd())?;
        if status.file_type != FileType::RegularFile {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is no regular file any more",
            ));
        }
        let mut entry = scan::entry_of(path.name(), &status, scan::stamping_clock())?;
        if entry.identity != *expected {
            let all = rustix::process::geteuid().is_root();
            entry.meta.xattrs = scan::xattrs(&*fs, file.as_fd(), all)?;
        }
        let identity = entry.identity;
        Ok(Opened { entry, content: Box::new(OpenFile { fs, file, identity, size: status.size }) })
    }
}

impl Endpoint for LocalTree {
    fn as_local(&self) -> Option<&LocalTree> {
        Some(self)
    }

    fn id(&self) -> Result<RootId, Error> {
        let (root, missing) = self.nearest()?;
        let mut path = root.path().as_os_str().as_bytes().to_vec();
        // Of a tree that does not exist yet only the path is known that it will have.
        let (device, inode) = match missing.is_empty() {
            true => root.device_and_inode().map_err(|error| self.failed(error))?,
            false => (0, 0),
        };
        for name in missing {
            path.extend_from_slice(if path.ends_with(b"/") { b"" } else { b"/" });
            path.extend_from_slice(&name);
        }
        Ok(RootId { path: Bytes(path.into()), device, inode })
    }

    fn whereabouts(&self) -> Result<Whereabouts, Error> {
        let (nearest, missing) = self.nearest()?;
        Whereabouts::of(&nearest, !missing.is_empty()).map_err(|error| self.failed(error))
    }

    fn capabilities(&self) -> Result<Capabilities, Error> {
        let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
        let groups = rustix::process::getgroups().unwrap_or_default();
        let mut groups: Vec<u32> = groups.iter().map(|group| group.as_raw()).collect();
        groups.push(group.as_raw());
        groups.sort_unstable();
        groups.dedup();
        let root_owner = match self.root.get() {
            Some(root) => {
                let status =
                    root.fs.status(root.descriptor()).map_err(|error| self.failed(error))?;
                (status.uid, status.gid)
            }
            None => (user.as_raw(), group.as_raw()),
        };
        Ok(Capabilities { privileged: user.is_root(), groups, root_owner, hosted: false })
    }

    fn scan(&self, request: &ScanRequest<'_>) -> Result<Box<dyn Listings + Send>, Error> {
        match self.root.get() {
            Some(root) => Ok(Box::new(Scan::start(root, request)?)),
            None => Ok(Box::new(Nothing(Tree::entry(Name::of_root(), Kind::Directory, 0)))),
        }
    }

    fn digest(&self, path: &RelPath, expected: &Entry) -> io::Result<Option<Digest>> {
        let mut opened = self.open(path, &expected.identity)?;
        let same = opened.entry.identity == expected.identity
            && opened.entry.kind.size() == expected.kind.size();
        if !same {
            return Ok(None);
        }
        let size = expected.kind.size();
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(usize::MAX).clamp(1, 1 << 20)];
        let mut offset = 0;
        while offset < size {
            match opened.content.read_at(&mut buffer, offset)? {
                0 => return Ok(None),
                read => {
                    hasher.update(&buffer[..read]);
                    offset += read as u64;
                }
            }
        }
        let whole = offset == size && opened.content.is_unchanged()?;
        Ok(whole.then(|| Digest(*hasher.finalize().as_bytes())))
    }

    fn capacity(&self) -> Result<Capacity, Error> {
        let (root, _) = self.nearest()?;
        let room = root.fs.room(root.descriptor()).map_err(|error| self.failed(error))?;
        Ok(Capacity { bytes: room.bytes, inodes: room.inodes })
    }

    fn lock(&self) -> Result<(), Error> {
        if self.root.get().is_none() {
            // Lost only to ourselves: then the other thread's is as good.
            let _ = self.root.set(Root::create(self.fs.clone(), &self.path)?);
        }
        let root = self.existing()?;
        let room = root.fs.room(root.descriptor()).map_err(|error| self.failed(error))?;
        if room.read_only {
            return Err(Error::ReadOnlyTarget { path: root.path().to_path_buf() });
        }
        root.fs.lock(root.descriptor()).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Refused::Busy { what: "the target" }.into(),
            _ => self.failed(error),
        })
    }

    fn carry_out(&self, job: &Job<'_>) -> Result<Outcomes, Error> {
        apply::carry_out(self.existing()?, &self.capabilities()?, job)
    }
}

/// How long ago a write that is still under way may have stamped its file: a call to the kernel
/// stamps it when it begins.
const LONGEST_WRITE: Duration = Duration::from_secs(60);

/// How long a file has to have been left alone to be read. Who rewrites a file does so call after
/// call, each of which leaves it in a state that nobody wants.
const QUIET: Duration = Duration::from_millis(50);

/// What a file is, at a moment when nobody is in the middle of writing to it and when whatever
/// comes later gives it another stamp.
fn quiet_status(fs: &dyn Fs, file: BorrowedFd<'_>) -> io::Result<Status> {
    for _ in 0..5 {
        let status = fs.status(file)?;
        // Not by the clock that stamps: it goes in steps, and could stand still while this waits.
        // A stamp that lies ahead was made by a clock that has been set since: it tells nothing.
        let age = scan::clock(ClockId::Realtime).since(status.identity.ctime);
        let age = age.filter(|_| status.file_type == FileType::RegularFile);
        match age {
            None => return Ok(status),
            Some(age) if age > LONGEST_WRITE => return Ok(status),
            // In this order: a write that began before the status was asked for has ended when
            // this returns, and one that began later has changed the stamp.
            Some(age) if age > QUIET => return fs.await_writer(file).map(|()| status),
            Some(age) => thread::sleep(QUIET - age + Duration::from_millis(1)),
        }
    }
    Err(io::Error::other("it is being written to all the time"))
}

/// A tree that does not exist yet.
#[derive(Debug)]
struct Nothing(Entry);

impl Iterator for Nothing {
    type Item = Result<Listing, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

impl Listings for Nothing {
    fn root(&self) -> &Entry {
        &self.0
    }
}

/// A regular file of a local tree, held while it is read.
#[derive(Debug)]
struct OpenFile {
    fs: Arc<dyn Fs>,
    file: OwnedFd,
    identity: Identity,
    size: u64,
}

impl Content for OpenFile {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.read_at(self.file.as_fd(), buffer, offset)
    }

    fn next_data(&mut self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.fs.next_data(self.file.as_fd(), offset)
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        let status = self.fs.status(self.file.as_fd())?;
        Ok(status.identity == self.identity && status.size == self.size)
    }
}
