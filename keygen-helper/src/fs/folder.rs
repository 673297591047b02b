//! A folder that was reached by a walk in which nobody could mislead us.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::disk::{Disk, Status};
use super::error::FileError;

/// As many links as the kernel follows.
pub(super) const MAX_LINKS: usize = 40;

/// A held folder, and who may own what is in it.
#[derive(Clone)]
pub(super) struct Folder {
    pub(super) disk: Arc<dyn Disk>,
    descriptor: Arc<OwnedFd>,
    path: PathBuf,
    domain: Domain,
}

/// Whose content is taken. Root and we ourselves always are; whoever owns a directory on the way
/// owns everything below it, and then nobody else does.
#[derive(Debug, Clone, Copy)]
struct Domain {
    us: u32,
    /// The user and group that new files are given to, where that is not us.
    other: Option<(u32, u32)>,
}

impl Domain {
    fn takes(self, status: &Status) -> bool {
        match self.other {
            None => status.uid == 0 || status.uid == self.us,
            Some((other, _)) => status.uid == 0 || status.uid == other,
        }
    }

    fn check(self, path: &Path, status: &Status) -> Result<(), FileError> {
        if self.takes(status) {
            return Ok(());
        }
        let owner = self.other.map_or(self.us, |(other, _)| other);
        let trusted = if owner == 0 { "root".into() } else { format!("root and user {owner}") };
        Err(FileError::OtherOwner { path: path.to_owned(), owner: status.uid, trusted })
    }
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Place {
    /// Into a folder that exists, to a name in it.
    In(Folder, Vec<u8>),
    /// Into a folder that does not exist, in one that does.
    Below(Folder, Vec<u8>, Vec<u8>),
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Walks to the folder that `path` lies in. Nothing is made.
pub(super) fn locate(disk: Arc<dyn Disk>, path: &Path) -> Result<Place, FileError> {
    let name = match path.file_name() {
        Some(name) if !path.as_os_str().as_bytes().ends_with(b"/") => name.as_bytes().to_vec(),
        _ => return Err(FileError::NoName { path: path.to_owned() }),
    };
    let mut walk = Walk::start(disk, path)?;
    let above = path.parent().unwrap_or(Path::new(""));
    let mut pending = components_reversed(above.as_os_str().as_bytes());
    while let Some(component) = pending.pop() {
        match walk.step(&component, &mut pending) {
            Err(FileError::Open { source, .. })
                if pending.is_empty() && source.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(Place::Below(walk.folder()?, component, name));
            }
            stepped => stepped?,
        }
    }
    Ok(Place::In(walk.folder()?, name))
}

struct Walk {
    disk: Arc<dyn Disk>,
    held: OwnedFd,
    status: Status,
    path: PathBuf,
    domain: Domain,
    links: usize,
}

impl Walk {
    fn start(disk: Arc<dyn Disk>, path: &Path) -> Result<Walk, FileError> {
        let shown = if path.is_absolute() { "/" } else { "." };
        let us = rustix::process::geteuid().as_raw();
        let failed = |source| FileError::Open { path: shown.into(), source };
        let held = disk.start(path.is_absolute()).map_err(failed)?;
        let status = disk.status(held.as_fd()).map_err(failed)?;
        let mut domain = Domain { us, other: None };
        // In some containers / belongs to a user that nobody is.
        if !path.is_absolute() {
            domain = entered(domain, Path::new("."), &status)?;
        }
        let path = if path.is_absolute() { PathBuf::from("/") } else { PathBuf::new() };
        Ok(Walk { disk, held, status, path, domain, links: 0 })
    }

    fn step(&mut self, name: &[u8], pending: &mut Vec<Vec<u8>>) -> Result<(), FileError> {
        let path = self.path.join(OsStr::from_bytes(name));
        let failed = |source| FileError::Open { path: path.clone(), source };
        let next = self.disk.hold(self.held.as_fd(), name).map_err(failed)?;
        let status = self.disk.status(next.as_fd()).map_err(failed)?;
        match status.file_type {
            FileType::Directory => {
                self.domain = entered(self.domain, &path, &status)?;
                (self.held, self.status, self.path) = (next, status, path);
                Ok(())
            }
            FileType::Symlink => {
                // Root's links may be hard-linked, and ours be moved, by whoever may write in the
                // folder: who made a link is not who put it there.
                let ours = |status: &Status| status.uid == 0 || status.uid == self.domain.us;
                let quiet = ours(&self.status) && self.status.mode & 0o022 == 0;
                if !quiet || !ours(&status) || self.domain.other.is_some() {
                    return Err(FileError::Link { path });
                }
                self.links += 1;
                if self.links > MAX_LINKS {
                    return Err(failed(Errno::LOOP.into()));
                }
                let target = self.disk.read_link(next.as_fd()).map_err(failed)?;
                if target.first() == Some(&b'/') {
                    self.held = self.disk.start(true).map_err(failed)?;
                    self.status = self.disk.status(self.held.as_fd()).map_err(failed)?;
                    self.path = PathBuf::from("/");
                }
                pending.extend(components_reversed(&target));
                Ok(())
            }
            _ => Err(FileError::NotADirectory { path }),
        }
    }

    fn folder(self) -> Result<Folder, FileError> {
        let failed = |source| FileError::Open { path: self.path.clone(), source };
        let descriptor = self.disk.open_directory(self.held.as_fd()).map_err(failed)?;
        let (disk, path, domain) = (self.disk, self.path, self.domain);
        Ok(Folder { disk, descriptor: Arc::new(descriptor), path, domain })
    }
}

/// Who owns what lies below a directory. Only root may work in somebody else's.
fn entered(domain: Domain, path: &Path, status: &Status) -> Result<Domain, FileError> {
    let first = domain.us == 0 && domain.other.is_none() && status.uid != 0;
    let domain = match first {
        true => Domain { other: Some((status.uid, status.gid)), ..domain },
        false => domain,
    };
    domain.check(path, status).map(|()| domain)
}

/// The names in a path, the first one last.
pub(super) fn components_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}

impl Folder {
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// A name in the folder, for messages.
    pub(super) fn shown(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    /// Makes a folder in this one, closed to everybody but its owner.
    pub(super) fn make(&self, name: &[u8]) -> Result<Folder, FileError> {
        let path = self.shown(name);
        let failed = |source| FileError::Write { path: path.clone(), source };
        let ours = match self.disk.make_directory(self.descriptor(), name) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed(error)),
        };
        let held = self.disk.hold(self.descriptor(), name).map_err(failed)?;
        let status = self.disk.status(held.as_fd()).map_err(failed)?;
        match status.file_type {
            FileType::Directory => {}
            FileType::Symlink => return Err(FileError::Link { path }),
            _ => return Err(FileError::NotADirectory { path }),
        }
        self.domain.check(&path, &status)?;
        let descriptor = self.disk.open_directory(held.as_fd()).map_err(failed)?;
        if let Some((uid, gid)) = self.domain.other
            && ours
            && status.uid == self.domain.us
        {
            // The owner of the folder above may have put another directory of root's in the place
            // of ours. While it is root's and closed, nobody else can take out what is in it.
            let fresh = status.mode & 0o077 == 0
                && status.links <= 2
                && self.disk.names(descriptor.as_fd(), 0).map_err(failed)?.is_some();
            if !fresh {
                return Err(FileError::Changed { path });
            }
            self.disk.set_owner(descriptor.as_fd(), uid, gid).map_err(failed)?;
        }
        self.sync().map_err(failed)?;
        let (disk, domain) = (self.disk.clone(), self.domain);
        Ok(Folder { disk, descriptor: Arc::new(descriptor), path, domain })
    }

    /// Makes a file, writes and syncs it, and gives it to whom the folder belongs. What has the
    /// name from an interrupted run is removed. `mode` is set at the end; until then it is 0600.
    pub(super) fn stage(
        &self,
        name: &[u8],
        content: &[u8],
        mode: u32,
        owner: Option<(u32, u32)>,
    ) -> io::Result<Status> {
        let dir = self.descriptor();
        self.unlink_if_there(name)?;
        let file = self.disk.create(dir, name)?;
        let mut rest = content;
        while !rest.is_empty() {
            match self.disk.write(file.as_fd(), rest)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => rest = &rest[written..],
            }
        }
        let made = self.disk.status(file.as_fd())?;
        if let Some((uid, gid)) = owner.or(self.domain.other)
            && (uid, gid) != (made.uid, made.gid)
        {
            match self.disk.set_owner(file.as_fd(), uid, gid) {
                // Of the group we may not be a member; it decides nothing, since nobody but the
                // owner writes.
                Err(error)
                    if uid == made.uid && error.kind() == io::ErrorKind::PermissionDenied => {}
                set => set?,
            }
        }
        // Also where the umask left less than 0600.
        self.disk.set_mode(file.as_fd(), mode)?;
        self.disk.sync(file.as_fd())?;
        self.disk.status(file.as_fd())
    }

    /// Opens a regular file of somebody we take content from.
    pub(super) fn open(&self, name: &[u8]) -> Result<Option<(OwnedFd, Status)>, FileError> {
        let path = self.shown(name);
        let file = match self.disk.open(self.descriptor(), name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(match Errno::from_io_error(&error) {
                    Some(Errno::LOOP) => FileError::LinkedFile { path },
                    _ => FileError::Read { path, source: error },
                });
            }
        };
        let failed = |source| FileError::Read { path: path.clone(), source };
        let status = self.disk.status(file.as_fd()).map_err(failed)?;
        if status.file_type != FileType::RegularFile {
            return Err(FileError::NotAFile { path });
        }
        self.domain.check(&path, &status)?;
        Ok(Some((file, status)))
    }

    /// The inode of a name.
    pub(super) fn inode(&self, name: &[u8]) -> io::Result<Option<(u64, u64)>> {
        let status = self.disk.status_at(self.descriptor(), name)?;
        Ok(status.map(|status| status.inode))
    }

    pub(super) fn link(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        self.disk.link(self.descriptor(), from, to)
    }

    pub(super) fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        self.disk.rename(self.descriptor(), from, to)
    }

    pub(super) fn exchange(&self, one: &[u8], other: &[u8]) -> io::Result<()> {
        self.disk.exchange(self.descriptor(), one, other)
    }

    pub(super) fn unlink_if_there(&self, name: &[u8]) -> io::Result<()> {
        match self.disk.unlink(self.descriptor(), name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Brings the names in the folder to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.sync(self.descriptor())
    }
}
