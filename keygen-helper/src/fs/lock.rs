//! A lock on one name in a folder, kept by whoever of us works on it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::error::FileError;
use super::folder::Folder;

/// Held until dropped; then the lock's file is removed. One that a killed run left is taken over.
#[derive(Debug)]
pub(super) struct Lock<'a> {
    folder: &'a Folder,
    name: Vec<u8>,
    // Closing it gives the lock back.
    _file: OwnedFd,
}

impl<'a> Lock<'a> {
    /// Locks `of` in the folder, without waiting.
    pub(super) fn take(folder: &'a Folder, of: &[u8]) -> Result<Lock<'a>, FileError> {
        let path = folder.shown(of);
        let failed = |source| FileError::Write { path: path.clone(), source };
        let name = hidden(of, b"lock");
        // Whoever gives a lock back removes its file, which we may have opened just before.
        for _ in 0..16 {
            let opened = folder.disk.open_or_create(folder.descriptor(), &name);
            let file = opened.map_err(|source| match Errno::from_io_error(&source) {
                Some(Errno::LOOP) => FileError::Link { path: folder.shown(&name) },
                _ => failed(source),
            })?;
            match folder.disk.lock(file.as_fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(FileError::Busy { path });
                }
                result => result.map_err(failed)?,
            }
            let status = folder.disk.status(file.as_fd()).map_err(failed)?;
            if status.file_type != FileType::RegularFile {
                return Err(FileError::NotAFile { path: folder.shown(&name) });
            }
            if folder.inode(&name).map_err(failed)? == Some(status.inode) {
                return Ok(Lock { folder, name, _file: file });
            }
        }
        Err(FileError::Busy { path })
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is taken over by the next run.
        let _ = self.folder.unlink_if_there(&self.name);
    }
}

/// The name of a file of ours beside `name`.
pub(super) fn hidden(name: &[u8], what: &[u8]) -> Vec<u8> {
    [b".", name, b".keygen-", what].concat()
}
