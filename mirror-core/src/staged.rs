//! Files in a state folder that have a temporary name until they are whole.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FileType;

use crate::fs::{Folder, Fs, Opening, Renaming, Status, write_all_at};
use crate::path::TEMPORARY_PREFIX;

/// A file in the making. Its temporary name goes when this does, unless it was given its own.
pub(crate) struct Staged {
    folder: Folder,
    file: OwnedFd,
    /// None once it has its own name.
    temporary: Option<Vec<u8>>,
}

impl fmt::Debug for Staged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("temporary", &self.temporary).finish_non_exhaustive()
    }
}

impl Staged {
    pub(crate) fn create(folder: Folder) -> io::Result<Staged> {
        let (file, name) = uniquely_named_file(&*folder.fs, folder.dir.as_fd(), TEMPORARY_PREFIX)?;
        Ok(Staged { folder, file, temporary: Some(name) })
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        write_all_at(&*self.folder.fs, self.file.as_fd(), bytes, offset)
    }

    /// Gives the file its name, in place of any other that has it; when `durable`, the file and
    /// its name are on the disk when this returns.
    pub(crate) fn give_name(&mut self, durable: bool, name: &[u8]) -> io::Result<()> {
        if durable {
            self.sync()?;
        }
        if let Some(temporary) = &self.temporary {
            let dir = self.folder.dir.as_fd();
            self.folder.fs.rename_at(dir, temporary, dir, name, Renaming::Replace)?;
            self.temporary = None;
        }
        if durable {
            self.sync_name()?;
        }
        Ok(())
    }

    /// Brings the content to the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.folder.fs.sync(self.file.as_fd())
    }

    /// Brings the names in the folder to the disk.
    pub(crate) fn sync_name(&self) -> io::Result<()> {
        self.folder.fs.sync(self.folder.dir.as_fd())
    }

    /// Removes a name in the folder.
    pub(crate) fn unlink(&self, name: &[u8]) -> io::Result<()> {
        self.folder.fs.unlink_at(self.folder.dir.as_fd(), name)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(name) = self.temporary.take() {
            // What cannot be removed now is swept when the state is opened next.
            let _ = self.unlink(&name);
        }
    }
}

/// Creates a file under a name that nothing else in `dir` has: `prefix`, the process's number and
/// a count. Returns it, open for writing, and the name.
pub(crate) fn uniquely_named_file(
    fs: &dyn Fs,
    dir: BorrowedFd<'_>,
    prefix: &[u8],
) -> io::Result<(OwnedFd, Vec<u8>)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let process = std::process::id();
    // A process that had the same number may have died and left some of these names.
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = [prefix, format!("{process}-{count}").as_bytes()].concat();
        match fs.open_at(dir, &name, Opening::Create) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|file| (file, name)),
        }
    }
}

/// Refuses a kept file that this user or root did not write.
pub(crate) fn check_ours(status: &Status) -> Result<(), &'static str> {
    if status.file_type != FileType::RegularFile {
        return Err("it is not a regular file");
    }
    if status.uid != 0 && status.uid != rustix::process::geteuid().as_raw() {
        return Err("it belongs to another user");
    }
    Ok(())
}
