//! A text file that is read, edited and put back whole: `authorized_keys`, `known_hosts`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;
use zeroize::Zeroizing;

use super::disk::{Disk, Kernel, Status};
use super::error::FileError;
use super::folder::{Folder, Place, locate};
use super::lock::{Lock, hidden};
use crate::authorized_keys::MAX_DOCUMENT;

/// A file as it was read, to be put back edited.
///
/// ```
/// use keygen_helper::fs::Document;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join(".ssh/authorized_keys");
/// let document = Document::read(&path)?;
/// assert!(!document.exists());
/// let mut edited = document.content().to_vec();
/// edited.extend_from_slice(b"# nobody yet\n");
/// document.replace(&edited)?;
/// assert_eq!(std::fs::read(&path)?, edited);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Document {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    found: Option<Status>,
    content: Vec<u8>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Document {
    /// Reads a file; one that does not exist is empty, also when its folder does not exist.
    ///
    /// # Errors
    /// [`FileError`] says what stands in the way; links are not followed, and content of others is
    /// not taken.
    pub fn read(path: &Path) -> Result<Document, FileError> {
        Document::read_on(Arc::new(Kernel), path)
    }

    pub(super) fn read_on(disk: Arc<dyn Disk>, path: &Path) -> Result<Document, FileError> {
        let (found, content) = match locate(disk.clone(), path)? {
            Place::In(folder, name) => match read_in(&folder, &name, MAX_DOCUMENT)? {
                Some((status, mut content)) => (Some(status), std::mem::take(&mut *content)),
                None => (None, Vec::new()),
            },
            Place::Below(..) => (None, Vec::new()),
        };
        Ok(Document { disk, path: path.to_owned(), found, content })
    }

    /// What was read.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Whether there was a file.
    pub fn exists(&self) -> bool {
        self.found.is_some()
    }

    /// Puts new content in the file's place, in one step, on the disk when this returns. Owner and
    /// mode stay, but nobody else may write to it any more; a new file gets 0600, and its folder,
    /// where that is missing, 0700.
    ///
    /// # Errors
    /// [`FileError::Changed`] when somebody wrote the file since it was read, whose version stays;
    /// [`FileError::Busy`] while another of us writes it; others as they are.
    pub fn replace(self, content: &[u8]) -> Result<(), FileError> {
        let (folder, name) = match locate(self.disk.clone(), &self.path)? {
            Place::In(folder, name) => (folder, name),
            Place::Below(above, missing, name) => (above.make(&missing)?, name),
        };
        let _lock = Lock::take(&folder, &name)?;
        if !self.is_unchanged(&folder, &name)? {
            return Err(FileError::Changed { path: self.path });
        }
        let staged = hidden(&name, b"new");
        let mode = self.found.map_or(0o600, |found| found.mode & 0o755);
        let owner = self.found.map(|found| (found.uid, found.gid));
        let put = match folder.stage(&staged, content, mode, owner) {
            Ok(ours) => self.put(&folder, &name, &staged, &ours),
            Err(source) => Err(Undone::Nothing(self.failed(source))),
        };
        match put {
            Ok(()) => {
                folder.unlink_if_there(&staged).map_err(|source| self.failed(source))?;
                folder.sync().map_err(|source| self.failed(source))
            }
            Err(Undone::Nothing(error)) => {
                // What cannot be removed now is removed by the next run.
                let _ = folder.unlink_if_there(&staged);
                Err(error)
            }
            Err(Undone::Exchanged(error)) => Err(error),
        }
    }

    fn failed(&self, source: io::Error) -> FileError {
        FileError::Write { path: self.path.clone(), source }
    }

    /// Gives what was staged the name.
    fn put(
        &self,
        folder: &Folder,
        name: &[u8],
        staged: &[u8],
        ours: &Status,
    ) -> Result<(), Undone> {
        let failed = |source| Undone::Nothing(self.failed(source));
        let changed = || FileError::Changed { path: self.path.clone() };
        if self.found.is_none() {
            match folder.link(staged, name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(Undone::Nothing(changed()));
                }
                linked => linked.map_err(failed)?,
            }
        } else {
            match folder.exchange(staged, name) {
                Ok(()) => {
                    // What was there until now has the other name: nobody's version is lost.
                    let unchanged = self.is_unchanged(folder, staged);
                    if !matches!(unchanged, Ok(true)) {
                        let back = folder.exchange(staged, name);
                        back.map_err(|source| Undone::Exchanged(self.failed(source)))?;
                        return Err(Undone::Nothing(unchanged.err().unwrap_or_else(changed)));
                    }
                }
                // The file system cannot do it; it was compared a moment ago.
                Err(error) if is_unsupported(&error) => {
                    folder.rename(staged, name).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        match folder.inode(name).map_err(failed)? == Some(ours.inode) {
            true => Ok(()),
            false => Err(Undone::Nothing(changed())),
        }
    }

    fn is_unchanged(&self, folder: &Folder, name: &[u8]) -> Result<bool, FileError> {
        let now = read_in(folder, name, MAX_DOCUMENT)?;
        Ok(match (&self.found, now) {
            (None, None) => true,
            (Some(then), Some((now, content))) => {
                then.inode == now.inode && *content == self.content
            }
            _ => false,
        })
    }
}

/// How far a replacement got that failed.
enum Undone {
    /// What was staged is of no use any more.
    Nothing(FileError),
    /// Somebody else's version has the temporary name, and could not be put back.
    Exchanged(FileError),
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Reads a file that holds a secret, of at most `most` bytes, into memory that is wiped later.
///
/// # Errors
/// As for [`Document::read`]; a file that does not exist is [`FileError::Open`].
pub fn read_secret(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let missing =
        || FileError::Open { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
    match locate(Arc::new(Kernel), path)? {
        Place::In(folder, name) => {
            let read = read_in(&folder, &name, most)?;
            read.map(|(_, content)| content).ok_or_else(missing)
        }
        Place::Below(..) => Err(missing()),
    }
}

/// Reads a secret from a stream that is open already, such as standard input, as
/// [`read_secret`] does. No buffer keeps any of it. `name` is what an error calls the stream.
///
/// # Errors
/// [`FileError::Read`], [`FileError::TooLarge`].
pub fn read_secret_stream(
    stream: BorrowedFd<'_>,
    name: &Path,
    most: usize,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read { path: name.to_owned(), source };
    let content = read_all(&Kernel, stream, 0, most).map_err(failed)?;
    content.ok_or_else(|| FileError::TooLarge { path: name.to_owned(), most })
}

/// What a file was when it was read, and what was in it.
type Found = (Status, Zeroizing<Vec<u8>>);

/// Reads a file of which nobody else has a name.
fn read_in(folder: &Folder, name: &[u8], most: usize) -> Result<Option<Found>, FileError> {
    let Some((file, status)) = folder.open(name)? else { return Ok(None) };
    let path = folder.shown(name);
    let failed = |source| FileError::Read { path: path.clone(), source };
    // While we give a file its name, and after a run that was stopped there, it has two.
    let both_ours = |inode| folder.inode(&hidden(name, b"new")).map(|other| other == Some(inode));
    if status.links > 1 && !(status.links == 2 && both_ours(status.inode).map_err(failed)?) {
        return Err(FileError::HardLinked { path });
    }
    let content = read_all(&*folder.disk, file.as_fd(), status.size, most).map_err(failed)?;
    match content {
        Some(content) => Ok(Some((status, content))),
        None => Err(FileError::TooLarge { path, most }),
    }
}

/// Nothing when there is more than `most`.
pub(super) fn read_all(
    disk: &dyn Disk,
    file: BorrowedFd<'_>,
    size: u64,
    most: usize,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let expected = usize::try_from(size).unwrap_or(usize::MAX);
    if expected > most {
        return Ok(None);
    }
    // One more than there should be shows the end at once, and nothing is copied while it grows.
    let mut content = Zeroizing::new(vec![0; expected + 1]);
    let mut length = 0;
    loop {
        match disk.read(file, &mut content[length..])? {
            0 => break,
            read => length += read,
        }
        if length > most {
            return Ok(None);
        }
        if length == content.len() {
            let mut longer = Zeroizing::new(vec![0; 2 * length]);
            longer[..length].copy_from_slice(&content);
            content = longer;
        }
    }
    content.truncate(length);
    Ok(Some(content))
}
