//! The bare stat walk: the least that any program must do to know that nothing changed.
//!
//! Directories are held open, their entries sorted by inode and each asked for
//! its status once; nothing is compared, remembered or printed. It also says
//! when a tree last changed, by which a run that should write nothing is held
//! to it.

use std::{ffi::CStr, path::Path, thread};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, openat, statat},
    io,
};

use crate::Error;

/// What a walk saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Walked {
    /// Entries below the root.
    pub entries: u64,
    /// Bytes in regular files.
    pub bytes: u64,
    /// The newest ctime of all, the root's too, as seconds and nanoseconds since 1970.
    ///
    /// Every write, rename, deletion, chmod and utime moves some ctime forward,
    /// a file's or its directory's; reading moves none.
    pub newest_change: (i64, i64),
}

impl Walked {
    fn see(&mut self, stat: &Stat) {
        if is(stat, FileType::RegularFile) {
            self.bytes += stat.st_size as u64;
        }
        let change = (stat.st_ctime, stat.st_ctime_nsec as i64);
        self.newest_change = self.newest_change.max(change);
    }
}

/// Walks one tree on one thread.
///
/// # Errors
/// [`Error::Io`] when a directory cannot be opened or an entry asked for its status.
pub fn stat_tree(root: &Path) -> Result<Walked, Error> {
    let walk = || {
        let mut walked = Walked::default();
        let directory = open(rustix::fs::CWD, root)?;
        walked.see(&fstat(&directory)?);
        stat_directory(directory, &mut walked)?;
        Ok(walked)
    };
    walk().map_err(|error: io::Errno| Error::io("walk", root)(error))
}

/// Walks two trees at the same time, a thread for each.
///
/// # Errors
/// As [`stat_tree`].
pub fn stat_both(source: &Path, target: &Path) -> Result<(Walked, Walked), Error> {
    thread::scope(|scope| {
        let other = scope.spawn(|| stat_tree(target));
        let source = stat_tree(source)?;
        Ok((source, other.join().expect("the walk does not panic")?))
    })
}

fn open(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn stat_directory(directory: OwnedFd, walked: &mut Walked) -> Result<(), io::Errno> {
    let listing = Listing::read(&directory)?;
    let mut below = Vec::new();
    for &(_, at) in &listing.order {
        let stat = statat(&directory, listing.name(at), AtFlags::SYMLINK_NOFOLLOW)?;
        walked.entries += 1;
        walked.see(&stat);
        if is(&stat, FileType::Directory) {
            below.push(at);
        }
    }
    for at in below {
        stat_directory(open(&directory, listing.name(at))?, walked)?;
    }
    Ok(())
}

/// The names in a directory, in the order of their inodes.
struct Listing {
    /// The names one after the other, each ended by NUL.
    names: Vec<u8>,
    /// Inode, and where its name starts.
    order: Vec<(u64, usize)>,
}

impl Listing {
    fn read(directory: &OwnedFd) -> Result<Self, io::Errno> {
        let mut listing = Self { names: Vec::new(), order: Vec::new() };
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                listing.order.push((entry.ino(), listing.names.len()));
                listing.names.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        listing.order.sort_unstable();
        Ok(listing)
    }

    fn name(&self, at: usize) -> &CStr {
        CStr::from_bytes_until_nul(&self.names[at..]).expect("each name is stored with its NUL")
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn reading_leaves_the_newest_change_and_writing_moves_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/f"), "four").unwrap();
        let before = stat_tree(folder.path()).unwrap();
        assert_eq!((before.entries, before.bytes), (2, 4));
        fs::read(folder.path().join("d/f")).unwrap();
        assert_eq!(stat_tree(folder.path()).unwrap(), before);
        // Beyond the coarsest clock tick that a file system stamps with.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::remove_file(folder.path().join("d/f")).unwrap();
        assert!(stat_tree(folder.path()).unwrap().newest_change > before.newest_change);
    }

    #[test]
    fn a_missing_tree_is_named() {
        let error = stat_tree(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "cannot walk \"/nowhere/at/all\"");
    }
}
