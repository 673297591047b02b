//! A lock on a folder, kept by whoever of us works in it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::error::FileError;
use super::folder::Folder;

/// Held until dropped. It is on the folder itself, so that a killed run leaves nothing: a lock's file
/// of root's in the home of a user would keep that user out for ever.
#[derive(Debug)]
pub(super) struct Lock<'a> {
    // Closing it gives the lock back.
    _held: OwnedFd,
    /// Where a file system does not lock folders, a file is locked, and removed at the end. One that
    /// a killed run left is taken over.
    file: Option<(&'a Folder, Vec<u8>)>,
}

impl<'a> Lock<'a> {
    /// Locks the folder for work on `of`, without waiting.
    pub(super) fn take(folder: &'a Folder, of: &[u8]) -> Result<Lock<'a>, FileError> {
        let path = folder.shown(of);
        let failed = |source| FileError::Write { path: path.clone(), source };
        // Opened once more, since the lock lasts as long as what it was taken through.
        let held = folder.disk.open_directory(folder.descriptor()).map_err(failed)?;
        match folder.disk.lock(held.as_fd()) {
            Ok(()) => return Ok(Lock { _held: held, file: None }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(FileError::Busy { path });
            }
            // NFS locks only what is open for writing, which no folder is.
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::BADF | Errno::NOLCK | Errno::INVAL | Errno::OPNOTSUPP) => {}
                _ => return Err(failed(error)),
            },
        }
        Lock::with_file(folder, of)
    }

    fn with_file(folder: &'a Folder, of: &[u8]) -> Result<Lock<'a>, FileError> {
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
                return Ok(Lock { _held: file, file: Some((folder, name)) });
            }
        }
        Err(FileError::Busy { path })
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if let Some((folder, name)) = &self.file {
            // What cannot be removed now is taken over by the next run.
            let _ = folder.unlink_if_there(name);
        }
    }
}

/// The name of a file of ours beside `name`.
pub(super) fn hidden(name: &[u8], what: &[u8]) -> Vec<u8> {
    [b".", name, b".keygen-", what].concat()
}
