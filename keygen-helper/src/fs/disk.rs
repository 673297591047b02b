//! Every call that is made on a disk, as one trait over held descriptors and single names.
//!
//! Nothing here follows a symlink: whoever goes the way of one reads it and holds what comes next. The
//! trait is what the tests fail, stop and race, call by call.

use std::fmt::Debug;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    self as sys, AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid,
};
use rustix::io::Errno;

/// What `fstat` says of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) file_type: FileType,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) links: u64,
    pub(super) inode: (u64, u64),
}

pub(super) trait Disk: Debug + Send + Sync {
    /// Holds `/`, or the working directory.
    fn start(&self, absolute: bool) -> io::Result<OwnedFd>;
    /// Holds what has a name, whatever it is.
    fn hold(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd>;
    /// Opens a held directory for working in it.
    fn open_directory(&self, held: BorrowedFd<'_>) -> io::Result<OwnedFd>;
    /// Opens a held file for reading.
    fn open_held(&self, held: BorrowedFd<'_>) -> io::Result<OwnedFd>;
    /// The names in an opened directory; nothing when there are more than `most`.
    fn names(&self, dir: BorrowedFd<'_>, most: usize) -> io::Result<Option<Vec<Vec<u8>>>>;
    fn read_link(&self, held: BorrowedFd<'_>) -> io::Result<Vec<u8>>;
    fn status(&self, file: BorrowedFd<'_>) -> io::Result<Status>;
    /// Nothing when there is nothing of that name.
    fn status_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Status>>;
    fn open(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd>;
    /// Makes a file that must not exist, with mode 0600.
    fn create(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd>;
    /// Opens a file, made with mode 0600 where none is.
    fn open_or_create(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd>;
    /// Makes a directory with mode 0700.
    fn make_directory(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()>;
    fn read(&self, file: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize>;
    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()>;
    /// The same of what is held without being opened.
    fn set_held_mode(&self, held: BorrowedFd<'_>, mode: u32) -> io::Result<()>;
    fn set_owner(&self, file: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()>;
    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()>;
    /// Gives an inode a second name; `EEXIST` when it is taken.
    fn link(&self, dir: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> io::Result<()>;
    fn rename(&self, dir: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> io::Result<()>;
    /// Lets two names change places.
    fn exchange(&self, dir: BorrowedFd<'_>, one: &[u8], other: &[u8]) -> io::Result<()>;
    fn unlink(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()>;
    /// Locks without waiting; `EWOULDBLOCK` when somebody else has the lock.
    fn lock(&self, file: BorrowedFd<'_>) -> io::Result<()>;
}

/// The kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel;

const HOLD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

impl Disk for Kernel {
    fn start(&self, absolute: bool) -> io::Result<OwnedFd> {
        Ok(sys::openat(CWD, if absolute { c"/" } else { c"." }, HOLD, Mode::empty())?)
    }

    fn hold(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        Ok(sys::openat(dir, name, HOLD, Mode::empty())?)
    }

    fn open_directory(&self, held: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(sys::openat(held, c".", flags, Mode::empty())?)
    }

    fn open_held(&self, held: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(sys::open(link_to(held), flags, Mode::empty())?)
    }

    fn names(&self, dir: BorrowedFd<'_>, most: usize) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut names = Vec::new();
        for entry in sys::Dir::read_from(dir)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            if names.len() == most {
                return Ok(None);
            }
            names.push(name);
        }
        Ok(Some(names))
    }

    fn read_link(&self, held: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        Ok(sys::readlinkat(held, c"", Vec::new())?.into_bytes())
    }

    fn status(&self, file: BorrowedFd<'_>) -> io::Result<Status> {
        Ok(status_of(&sys::statat(file, c"", AtFlags::EMPTY_PATH)?))
    }

    fn status_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Status>> {
        match sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(status_of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        Ok(sys::openat(dir, name, OFlags::RDONLY | FILE, Mode::empty())?)
    }

    fn create(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | FILE;
        Ok(sys::openat(dir, name, flags, PRIVATE)?)
    }

    fn open_or_create(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
        Ok(sys::openat(dir, name, OFlags::RDWR | OFlags::CREATE | FILE, PRIVATE)?)
    }

    fn make_directory(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        Ok(sys::mkdirat(dir, name, Mode::RWXU)?)
    }

    fn read(&self, file: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        retry(|| rustix::io::read(file, &mut *buffer))
    }

    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        retry(|| rustix::io::write(file, bytes))
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        Ok(sys::fchmod(file, Mode::from_raw_mode(mode))?)
    }

    fn set_held_mode(&self, held: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        Ok(sys::chmod(link_to(held), Mode::from_raw_mode(mode))?)
    }

    fn set_owner(&self, file: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
        Ok(sys::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        // Not repeated on any error: after a failed fsync the kernel holds lost pages for clean.
        Ok(sys::fsync(file)?)
    }

    fn link(&self, dir: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(sys::linkat(dir, from, dir, to, AtFlags::empty())?)
    }

    fn rename(&self, dir: BorrowedFd<'_>, from: &[u8], to: &[u8]) -> io::Result<()> {
        Ok(sys::renameat(dir, from, dir, to)?)
    }

    fn exchange(&self, dir: BorrowedFd<'_>, one: &[u8], other: &[u8]) -> io::Result<()> {
        Ok(sys::renameat_with(dir, one, dir, other, RenameFlags::EXCHANGE)?)
    }

    fn unlink(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        Ok(sys::unlinkat(dir, name, AtFlags::empty())?)
    }

    fn lock(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        retry(|| sys::flock(file, FlockOperation::NonBlockingLockExclusive))
    }
}

/// A held inode is reached through /proc, since `fchmod` wants it opened, and it may be closed even
/// to its owner.
fn link_to(held: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", held.as_raw_fd())
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

#[expect(
    clippy::useless_conversion,
    reason = "the number of links has 32 bits on some architectures and 64 on others"
)]
fn status_of(stat: &sys::Stat) -> Status {
    Status {
        file_type: FileType::from_raw_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        links: stat.st_nlink.into(),
        inode: (stat.st_dev, stat.st_ino),
    }
}
