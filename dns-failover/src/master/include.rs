//! What `$INCLUDE` may read.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Where included files come from.
pub trait Includes {
    /// Reads a file as `$INCLUDE` names it, of at most `most` octets.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read; the reader puts it into a diagnostic.
    fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, String>;
}

/// Refuses every `$INCLUDE`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoIncludes;

impl Includes for NoIncludes {
    fn read(&self, _: &Path, _: u64) -> Result<Vec<u8>, String> {
        Err("included files are not allowed here".to_owned())
    }
}

/// Reads included files that lie in a folder or below it. The names in `$INCLUDE` are relative to the
/// folder, in included files as well; no symlink and no `..` leads out of it.
#[derive(Debug)]
pub struct IncludeFolder {
    folder: OwnedFd,
    path: PathBuf,
}

impl IncludeFolder {
    /// Holds a folder open.
    ///
    /// # Errors
    /// When it is no directory, or cannot be opened.
    pub fn open(path: &Path) -> io::Result<IncludeFolder> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty())?;
        Ok(IncludeFolder { folder, path: path.to_owned() })
    }

    fn open_below(&self, path: &Path) -> Result<OwnedFd, Errno> {
        // A fifo must not hold us up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.folder, path, flags, Mode::empty(), beneath) {
            // Kernels before 5.6, and containers that forbid the call.
            Err(Errno::NOSYS | Errno::PERM) => self.walk(path, flags),
            opened => opened,
        }
    }

    /// One component after the other, through no symlink at all.
    fn walk(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => names.push(name),
                Component::CurDir => {}
                _ => return Err(Errno::XDEV),
            }
        }
        let (last, folders) = names.split_last().ok_or(Errno::ISDIR)?;
        let mut at = None;
        for name in folders {
            let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let next = openat(at.as_ref().unwrap_or(&self.folder), *name, folder, Mode::empty())?;
            at = Some(next);
        }
        let from = at.as_ref().unwrap_or(&self.folder);
        openat(from, *last, flags | OFlags::NOFOLLOW, Mode::empty())
    }
}

impl Includes for IncludeFolder {
    fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>, String> {
        let opened = self.open_below(path).map_err(|errno| match errno {
            Errno::XDEV | Errno::LOOP => {
                format!(
                    "it does not lie below {}; write its path relative to there",
                    self.path.display()
                )
            }
            Errno::NOENT => format!("there is no such file below {}", self.path.display()),
            errno => io::Error::from(errno).to_string(),
        })?;
        let file = File::from(opened);
        let metadata = file.metadata().map_err(|error| error.to_string())?;
        if !metadata.is_file() {
            return Err("it is no regular file".to_owned());
        }
        let mut text = Vec::new();
        let read = file.take(most.saturating_add(1)).read_to_end(&mut text);
        read.map_err(|error| error.to_string())?;
        if text.len() as u64 > most {
            return Err(format!(
                "it has more than the {most} octets that included files may still have"
            ));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_of_the_folder_is_read() {
        let ground = tempfile::tempdir().unwrap();
        let zones = ground.path().join("zones");
        fs::create_dir_all(zones.join("sub")).unwrap();
        fs::write(ground.path().join("secret"), "secret").unwrap();
        fs::write(zones.join("sub/inside"), "inside").unwrap();
        symlink("../secret", zones.join("link")).unwrap();
        symlink("..", zones.join("up")).unwrap();
        let folder = IncludeFolder::open(&zones).unwrap();
        assert_eq!(folder.read("sub/inside".as_ref(), 6), Ok(b"inside".to_vec()));
        assert!(folder.read("sub/inside".as_ref(), 5).unwrap_err().contains("more than"));
        let absolute = ground.path().join("secret");
        let outside = ["../secret", "link", "up/secret", "sub/../../secret"].map(Path::new);
        for path in outside.into_iter().chain([absolute.as_path()]) {
            assert!(folder.read(path, 100).is_err(), "{path:?}");
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            assert!(folder.walk(path, flags).is_err(), "{path:?}");
        }
        assert!(folder.read("sub".as_ref(), 100).unwrap_err().contains("regular"));
        assert!(folder.walk("sub/inside".as_ref(), OFlags::RDONLY).is_ok());
    }
}
