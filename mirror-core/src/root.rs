//! A tree's root, opened once and held; every path is resolved below it by the kernel.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self as sys, AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;
use crate::fs::{Fs, Opening, RealFs};
use crate::path::RelPath;

/// A held root directory.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) fs: Arc<dyn Fs>,
    descriptor: Arc<OwnedFd>,
    /// Where it was found; for messages and for telling roots apart, never for opening again.
    path: Arc<PathBuf>,
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.path).finish()
    }
}

impl Root {
    /// Opens the directory at `path`. A symlink on the way is followed only when it belongs to
    /// root or to the running user, since its owner chooses where it leads.
    pub(crate) fn open(path: &Path) -> Result<Root, Error> {
        let descriptor = open_trusted(path)?;
        let found = path_of(descriptor.as_fd())
            .map_err(|source| Error::OpenRoot { path: path.to_path_buf(), source })?;
        Ok(Root { fs: Arc::new(RealFs), descriptor: Arc::new(descriptor), path: Arc::new(found) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Opens a directory below the root for listing it or working in it.
    pub(crate) fn directory(&self, path: &RelPath) -> io::Result<OwnedFd> {
        self.fs.open_beneath(self.descriptor(), path.as_bytes(), Opening::Directory, false)
    }

    /// Holds the inode at `path` without reading it.
    pub(crate) fn handle(&self, path: &RelPath) -> io::Result<OwnedFd> {
        self.fs.open_beneath(self.descriptor(), path.as_bytes(), Opening::Handle, false)
    }
}

/// Where the kernel says that a directory is. Held inodes are reached through /proc for what has
/// no call of its own, so that nothing can be done, or even looked at, without it.
fn path_of(directory: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let through = sys::stat(&*link).map(|stat| (stat.st_dev, stat.st_ino));
    if through.ok() != Some(device_and_inode(directory)?) {
        return Err(io::Error::other(
            "/proc is not mounted, through which held files are reached; mount it",
        ));
    }
    fs::read_link(link)
}

/// Walks `path` component by component, so that the owner of each symlink is seen before it is
/// followed.
fn open_trusted(path: &Path) -> Result<OwnedFd, Error> {
    let failed =
        |source: Errno| Error::OpenRoot { path: path.to_path_buf(), source: source.into() };
    let walk = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let start = |absolute: bool| {
        sys::openat(CWD, if absolute { c"/" } else { c"." }, walk, Mode::empty()).map_err(failed)
    };
    let mut held = start(path.is_absolute())?;
    let mut pending: Vec<Vec<u8>> = components_reversed(path.as_os_str().as_bytes());
    let mut links = 0;
    while let Some(name) = pending.pop() {
        let next = sys::openat(&held, &*name, walk, Mode::empty()).map_err(failed)?;
        let stat = sys::fstat(&next).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            held = next;
            continue;
        }
        let us = rustix::process::geteuid().as_raw();
        if stat.st_uid != 0 && stat.st_uid != us {
            return Err(Error::UntrustedSymlink { path: path.to_path_buf(), owner: stat.st_uid });
        }
        links += 1;
        if links > 40 {
            return Err(failed(Errno::LOOP));
        }
        let target = sys::readlinkat(&next, c"", Vec::new()).map_err(failed)?.into_bytes();
        if target.first() == Some(&b'/') {
            held = start(true)?;
        }
        pending.extend(components_reversed(&target));
    }
    let stat = sys::fstat(&held).map_err(failed)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(Error::NotADirectory { path: path.to_path_buf() });
    }
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    sys::openat(&held, c".", directory, Mode::empty()).map_err(failed)
}

fn components_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}

/// Makes the directory `path` and what is missing above it, each with mode 0755 less the umask,
/// but never closed to its owner.
pub(crate) fn create_directories(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_directories(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        result => result?,
    }
    let handle = sys::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let status = RealFs.status(handle.as_fd())?;
    match status.mode & 0o700 {
        0o700 => Ok(()),
        _ => RealFs.set_mode(handle.as_fd(), status.mode | 0o700),
    }
}

/// Whether `inner` is `outer` or lies below it, told by inode and not by name, so that bind mounts
/// and symlinks do not hide it.
pub(crate) fn lies_within(inner: &Root, outer: &Root) -> io::Result<bool> {
    let sought = sys::fstat(outer.descriptor())?;
    let up = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut held = sys::openat(inner.descriptor(), c".", up, Mode::empty())?;
    loop {
        let here = sys::fstat(&held)?;
        if (here.st_dev, here.st_ino) == (sought.st_dev, sought.st_ino) {
            return Ok(true);
        }
        let above = sys::openat(&held, c"..", up, Mode::empty())?;
        let stat = sys::fstat(&above)?;
        if (here.st_dev, here.st_ino) == (stat.st_dev, stat.st_ino) {
            return Ok(false);
        }
        held = above;
    }
}

/// A path as the bytes that a root was found under, for naming a pair of roots.
pub(crate) fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().to_os_string().into_vec()
}

/// Where a file that must not exist outside of the kernel's sight can be kept: no name at all.
pub(crate) fn unnamed_file(dir: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(sys::openat(dir, c".", flags, Mode::RUSR | Mode::WUSR)?)
}

/// Which file system and inode a descriptor stands for.
pub(crate) fn device_and_inode(file: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let stat = sys::statat(file, c"", AtFlags::EMPTY_PATH)?;
    Ok((stat.st_dev, stat.st_ino))
}
