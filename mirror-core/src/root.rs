//! A tree's root, opened once and held; every path is resolved below it by the kernel.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self as sys, FileType};
use rustix::io::Errno;

use crate::error::Error;
use crate::fs::{Fs, Opening};
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
    pub(crate) fn open(fs: Arc<dyn Fs>, path: &Path) -> Result<Root, Error> {
        match Root::nearest(fs, path)? {
            (root, missing) if missing.is_empty() => Ok(root),
            _ => Err(Error::OpenRoot { path: path.to_path_buf(), source: Errno::NOENT.into() }),
        }
    }

    /// Opens the directory at `path`, or else the nearest one above it that exists; the names
    /// that are missing below that come with it.
    pub(crate) fn nearest(fs: Arc<dyn Fs>, path: &Path) -> Result<(Root, Vec<Vec<u8>>), Error> {
        let place = Place::find(&*fs, path)?;
        let failed = |source| Error::OpenRoot { path: path.to_path_buf(), source };
        let root = Root::hold(fs, place.held.as_fd()).map_err(failed)?;
        Ok((root, place.missing))
    }

    /// Opens the directory at `path`, made with what is missing above it. Each gets mode 0755 less
    /// the umask, but is never closed to its owner.
    pub(crate) fn create(fs: Arc<dyn Fs>, path: &Path) -> Result<Root, Error> {
        let mut place = Place::find(&*fs, path)?;
        let failed = |source| Error::OpenRoot { path: path.to_path_buf(), source };
        for name in std::mem::take(&mut place.missing) {
            place.held = make_directory(&*fs, place.held.as_fd(), &name).map_err(failed)?;
        }
        Root::hold(fs, place.held.as_fd()).map_err(failed)
    }

    /// Holds the directory at `path` below this root as a root of its own.
    pub(crate) fn below(&self, path: &RelPath) -> io::Result<Root> {
        Root::hold(self.fs.clone(), self.directory(path)?.as_fd())
    }

    /// [`below`](Self::below), made with what is missing above it.
    pub(crate) fn make_below(&self, path: &RelPath) -> io::Result<Root> {
        let mut held = self.directory(&RelPath::root())?;
        for name in path.as_bytes().split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            held = match self.fs.open_at(held.as_fd(), name, Opening::Directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_directory(&*self.fs, held.as_fd(), name)?
                }
                result => result?,
            };
        }
        Root::hold(self.fs.clone(), held.as_fd())
    }

    fn hold(fs: Arc<dyn Fs>, handle: BorrowedFd<'_>) -> io::Result<Root> {
        let descriptor = fs.open_at(handle, b".", Opening::Directory)?;
        let path = path_of(descriptor.as_fd())?;
        Ok(Root { fs, descriptor: Arc::new(descriptor), path: Arc::new(path) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Device and inode, which tell this directory from every other.
    pub(crate) fn device_and_inode(&self) -> io::Result<(u64, u64)> {
        device_and_inode(&*self.fs, self.descriptor())
    }

    /// Opens a directory below the root for listing it or working in it.
    pub(crate) fn directory(&self, path: &RelPath) -> io::Result<OwnedFd> {
        self.fs.open_beneath(self.descriptor(), path.as_bytes(), Opening::Directory, false)
    }

    /// Holds the inode at `path` without reading it.
    pub(crate) fn handle(&self, path: &RelPath) -> io::Result<OwnedFd> {
        self.fs.open_beneath(self.descriptor(), path.as_bytes(), Opening::Handle, false)
    }

    /// Device and inode of this directory and of each above it, up to the topmost.
    pub(crate) fn chain(&self) -> io::Result<Vec<(u64, u64)>> {
        let fs = &*self.fs;
        let mut held = fs.open_at(self.descriptor(), b".", Opening::Handle)?;
        let mut chain = vec![device_and_inode(fs, held.as_fd())?];
        loop {
            held = fs.open_at(held.as_fd(), b"..", Opening::Handle)?;
            let here = device_and_inode(fs, held.as_fd())?;
            if chain.last() == Some(&here) {
                return Ok(chain);
            }
            chain.push(here);
        }
    }
}

/// How far a path leads today.
struct Place {
    /// The last directory that exists, held without being opened.
    held: OwnedFd,
    /// What is not there, each below the one before.
    missing: Vec<Vec<u8>>,
}

impl Place {
    /// Walks `path` component by component, so that the owner of each symlink is seen before it
    /// is followed.
    fn find(fs: &dyn Fs, path: &Path) -> Result<Place, Error> {
        let failed = |source| Error::OpenRoot { path: path.to_path_buf(), source };
        let mut held = fs.open_start(path.is_absolute()).map_err(failed)?;
        let mut pending = components_reversed(path.as_os_str().as_bytes());
        // How many of the pending names are the path's own, and not from a symlink on the way.
        let mut own = pending.len();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let next = match fs.open_at(held.as_fd(), &name, Opening::Handle) {
                // What a symlink says is there has to be there: it is not made.
                Err(error) if error.kind() == io::ErrorKind::NotFound && pending.len() < own => {
                    pending.push(name);
                    pending.reverse();
                    return Ok(Place { held, missing: pending });
                }
                next => next.map_err(failed)?,
            };
            own = own.min(pending.len());
            let status = fs.status(next.as_fd()).map_err(failed)?;
            if status.file_type == FileType::Directory {
                held = next;
                continue;
            }
            if status.file_type != FileType::Symlink {
                return Err(Error::NotADirectory { path: path.to_path_buf() });
            }
            let us = rustix::process::geteuid().as_raw();
            if status.uid != 0 && status.uid != us {
                let (path, owner) = (path.to_path_buf(), status.uid);
                return Err(Error::UntrustedSymlink { path, owner });
            }
            links += 1;
            if links > 40 {
                return Err(failed(Errno::LOOP.into()));
            }
            // The held link itself, whatever has its name by now.
            let target = fs.read_link_at(next.as_fd(), b"").map_err(failed)?;
            if target.first() == Some(&b'/') {
                held = fs.open_start(true).map_err(failed)?;
            }
            pending.extend(components_reversed(&target));
        }
        Ok(Place { held, missing: Vec::new() })
    }
}

fn components_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}

/// Makes the directory `name`, or takes the one that somebody else has just made.
fn make_directory(fs: &dyn Fs, above: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    match fs.make_directory_at(above, name, 0o755) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result?,
    }
    let handle = fs.open_at(above, name, Opening::Handle)?;
    let status = fs.status(handle.as_fd())?;
    // Where others may write as well, what has this name now need not be what was made.
    if status.file_type != FileType::Directory || status.uid != rustix::process::geteuid().as_raw()
    {
        return Err(io::Error::other("somebody put something else in its place"));
    }
    if status.mode & 0o700 != 0o700 {
        fs.set_mode(handle.as_fd(), status.mode | 0o700)?;
    }
    Ok(handle)
}

/// Where the kernel says that a directory is. Held inodes are reached through /proc for what has
/// no call of its own, so that nothing can be done, or even looked at, without it.
fn path_of(directory: BorrowedFd<'_>) -> io::Result<PathBuf> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let through = sys::stat(&*link).map(|stat| (stat.st_dev, stat.st_ino));
    let held = sys::fstat(directory)?;
    if through.ok() != Some((held.st_dev, held.st_ino)) {
        return Err(io::Error::other(
            "/proc is not mounted, through which held files are reached; mount it",
        ));
    }
    fs::read_link(link)
}

fn device_and_inode(fs: &dyn Fs, file: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let identity = fs.status(file)?.identity;
    Ok((identity.device, identity.inode))
}
