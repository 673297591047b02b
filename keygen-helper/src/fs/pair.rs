//! The two files of a key pair, written so that one never stands beside a stranger.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Kernel};
use super::error::FileError;
use super::folder::{Folder, Place, locate};
use super::lock::{Lock, hidden};

/// What becomes of files that have the names already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// They stay, and nothing is written.
    #[default]
    Refuse,
    /// They are replaced.
    Replace,
}

/// Where a key pair is kept: `FILE`, and `FILE.pub` beside it.
///
/// ```
/// use keygen_helper::fs::{Existing, KeyFiles};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("id_ed25519");
/// let files = KeyFiles::new(&path);
/// files.write(b"the private key", b"the public key", Existing::Refuse)?;
/// assert!(files.check(Existing::Refuse).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct KeyFiles {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl fmt::Debug for KeyFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFiles").field("path", &self.path).finish_non_exhaustive()
    }
}

impl KeyFiles {
    /// Those of the private key `path`.
    pub fn new(path: &Path) -> KeyFiles {
        KeyFiles::on(Arc::new(Kernel), path)
    }

    pub(super) fn on(disk: Arc<dyn Disk>, path: &Path) -> KeyFiles {
        KeyFiles { disk, path: path.to_owned() }
    }

    /// Says beforehand whether the files may be written, so that no key is made for nothing. Gives
    /// the names that would be replaced.
    ///
    /// # Errors
    /// [`FileError::Exists`]; others as they are.
    pub fn check(&self, existing: Existing) -> Result<Vec<PathBuf>, FileError> {
        let Place::In(folder, name) = locate(self.disk.clone(), &self.path)? else {
            return Ok(Vec::new());
        };
        let names = Names::of(&name);
        let failed = |source| FileError::Read { path: self.path.clone(), source };
        let mut taken = Vec::new();
        for name in [&names.private, &names.public] {
            if folder.inode(name).map_err(failed)?.is_some() {
                taken.push(name);
            }
        }
        // What an interrupted run left of a new pair is no key.
        let left = folder.inode(&names.new_public).map_err(failed)?;
        taken.retain(|name| {
            **name != names.public || left.is_none() || folder.inode(name).ok().flatten() != left
        });
        match (taken.first(), existing) {
            (Some(name), Existing::Refuse) => Err(FileError::Exists { path: folder.shown(name) }),
            _ => Ok(taken.into_iter().map(|name| folder.shown(name)).collect()),
        }
    }

    /// Writes both with mode 0600, the private one last, both on the disk when this returns. The
    /// folder, where it is missing, is made with mode 0700.
    ///
    /// A run that is stopped anywhere leaves the old pair or the new one, maybe for a moment
    /// without its `.pub` file, and the next one that writes there clears up.
    ///
    /// # Errors
    /// [`FileError::Exists`], [`FileError::Busy`] while another of us writes the same key; others
    /// as they are.
    pub fn write(
        &self,
        private: &[u8],
        public: &[u8],
        existing: Existing,
    ) -> Result<(), FileError> {
        let (folder, name) = match locate(self.disk.clone(), &self.path)? {
            Place::In(folder, name) => (folder, name),
            Place::Below(above, missing, name) => (above.make(&missing)?, name),
        };
        let names = Names::of(&name);
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        let _lock = Lock::take(&folder, &name)?;
        names.clear_up(&folder).map_err(failed)?;
        for name in [&names.private, &names.public] {
            if existing == Existing::Refuse && folder.inode(name).map_err(failed)?.is_some() {
                return Err(FileError::Exists { path: folder.shown(name) });
            }
        }
        let written = names.stage(&folder, private, public).and_then(|()| match existing {
            Existing::Refuse => names.publish(&folder),
            Existing::Replace => names.replace(&folder),
        });
        // Removes the temporary names, and after a failure makes whole what was begun.
        let cleared = names.clear_up(&folder);
        match written {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(FileError::Exists { path: self.path.clone() })
            }
            written => written.and(cleared).and_then(|()| folder.sync()).map_err(failed),
        }
    }
}

/// The names that are used, all in one folder, all under the lock of the first.
struct Names {
    private: Vec<u8>,
    public: Vec<u8>,
    new_private: Vec<u8>,
    new_public: Vec<u8>,
    old_public: Vec<u8>,
}

impl Names {
    fn of(private: &[u8]) -> Names {
        let public = [private, b".pub"].concat();
        Names {
            private: private.to_vec(),
            new_private: hidden(private, b"new"),
            new_public: hidden(&public, b"new"),
            old_public: hidden(&public, b"old"),
            public,
        }
    }

    /// The private one first: where only the public one is left, the private one has been given
    /// its name.
    fn stage(&self, folder: &Folder, private: &[u8], public: &[u8]) -> io::Result<()> {
        folder.stage(&self.new_private, private, 0o600, None)?;
        folder.stage(&self.new_public, public, 0o600, None)?;
        folder.sync()
    }

    /// Gives both their names if these are free. Until they lose their temporary ones, their inodes
    /// tell that they are ours.
    fn publish(&self, folder: &Folder) -> io::Result<()> {
        folder.link(&self.new_public, &self.public)?;
        folder.sync()?;
        folder.link(&self.new_private, &self.private)?;
        folder.sync()
    }

    /// Puts both in the place of others. The old public key goes first: beside the wrong private
    /// key it would do harm, while without one ssh does as well.
    fn replace(&self, folder: &Folder) -> io::Result<()> {
        match folder.rename(&self.public, &self.old_public) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        folder.sync()?;
        folder.rename(&self.new_private, &self.private)?;
        folder.sync()?;
        folder.rename(&self.new_public, &self.public)
    }

    /// Ends what an earlier run began: forwards if the private key has its name, else backwards.
    fn clear_up(&self, folder: &Folder) -> io::Result<()> {
        let new_private = folder.inode(&self.new_private)?;
        let new_public = folder.inode(&self.new_public)?;
        let private_done = match new_private {
            // It was renamed, or there was nothing to do.
            None => new_public.is_some(),
            some => folder.inode(&self.private)? == some,
        };
        let public_done = new_public.is_some() && folder.inode(&self.public)? == new_public;
        if private_done {
            if new_public.is_some() && !public_done {
                folder.rename(&self.new_public, &self.public)?;
            }
            folder.unlink_if_there(&self.old_public)?;
        } else {
            if public_done {
                folder.unlink_if_there(&self.public)?;
            }
            if folder.inode(&self.old_public)?.is_some() {
                match folder.inode(&self.public)? {
                    None => folder.rename(&self.old_public, &self.public)?,
                    Some(_) => folder.unlink_if_there(&self.old_public)?,
                }
            }
        }
        // In this order: see `stage`.
        folder.unlink_if_there(&self.new_public)?;
        folder.unlink_if_there(&self.new_private)
    }
}
