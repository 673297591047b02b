use std::{
    fs::{self, FileType},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::{rng::Rng, text::Text};
use crate::Error;

/// When the first release was made, in seconds since 1970: 2023-01-01.
const RELEASE: i64 = 1_672_531_200;
/// Seconds to the release after it.
const NEXT: i64 = 70 * 86_400;

/// What a workload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Made {
    /// Regular files.
    pub files: u64,
    /// Directories, the root among them.
    pub directories: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

impl Made {
    /// Everything but the root, as `find -mindepth 1` counts it.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.files + self.directories + self.symlinks - 1
    }
}

/// What [`release_update`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Update {
    /// Files whose content changed.
    pub edited: u64,
    /// Files that are new.
    pub added: u64,
    /// Files that went away.
    pub deleted: u64,
    /// Files that kept their content under another name in the same directory.
    pub renamed: u64,
}

/// Makes `count` files of mostly 1–4 KiB, a hundred to a directory, two levels deep.
///
/// Sizes are heavy-tailed (median about 1.7 KiB, mean about 3 KiB, largest
/// below 512 KiB); each file has an mtime of its own within a year, with
/// nanoseconds.
///
/// # Errors
/// [`Error::Io`] when something cannot be created; `root` must not exist.
pub fn small_files(root: &Path, seed: u64, count: u64) -> Result<Made, Error> {
    let mut maker = Maker::new(root, seed)?;
    for number in 0..count {
        if number.is_multiple_of(100) {
            if number.is_multiple_of(10_000) {
                maker.directory(&top(number))?;
            }
            maker.directory(&top(number).join(format!("d{:02}", number / 100 % 100)))?;
        }
        let word = maker.text.word(&mut maker.rng).to_owned();
        let ending = ["php", "html", "js", "css", "txt"][maker.rng.index(5)];
        let folder = top(number).join(format!("d{:02}", number / 100 % 100));
        let size = maker.rng.heavy_tailed(1024, 400, 8);
        maker.file(&folder.join(format!("{word}-{:02}.{ending}", number % 100)), size, 0o644)?;
    }
    maker.stamp(|rng| Timespec {
        tv_sec: RELEASE + rng.below(31_536_000) as i64,
        tv_nsec: rng.below(1_000_000_000) as _,
    })
}

/// The first-level directory of small file `number`.
fn top(number: u64) -> PathBuf {
    PathBuf::from(format!("site-{:03}", number / 10_000))
}

/// Makes something like an unpacked kernel release with `files` files.
///
/// One directory to fifteen files, up to nine levels deep and unevenly filled;
/// sizes with a median of about 4 KiB, a mean of about 12 KiB and a tail to
/// 1 MiB; one file in 200 is executable, one entry in 1000 is a symlink; all
/// mtimes are equal, as an archive of a release has them.
///
/// # Errors
/// [`Error::Io`] when something cannot be created; `root` must not exist.
pub fn kernel_like(root: &Path, seed: u64, files: u64) -> Result<Made, Error> {
    let mut maker = Maker::new(root, seed)?;
    // Depth is kept beside each directory, so that no chain grows without end.
    let mut directories = vec![(PathBuf::new(), 0)];
    for number in 0..files / 15 {
        let (parent, depth) = if number < 20 {
            &directories[0]
        } else {
            // The smaller of two draws favours early directories: few large subtrees, many small.
            &directories[1 + maker.rng.index(number as usize).min(maker.rng.index(number as usize))]
        };
        if *depth >= 8 {
            continue;
        }
        let name = format!("{}{number:x}", maker.text.word(&mut maker.rng));
        let directory = (parent.join(name), depth + 1);
        maker.directory(&directory.0)?;
        directories.push(directory);
    }
    for number in 0..files {
        let (parent, _) = &directories[maker.rng.index(directories.len())];
        let first = maker.text.word(&mut maker.rng).to_owned();
        let second = maker.text.word(&mut maker.rng).to_owned();
        let ending = ["c", "c", "c", "h", "h", "rst", "yaml", "dts", "S"][maker.rng.index(9)];
        let name = format!("{first}_{second}{number:x}.{ending}");
        let mode = if maker.rng.chance(5) { 0o755 } else { 0o644 };
        let size = maker.rng.heavy_tailed(2048, 500, 8);
        maker.file(&parent.join(&name), size, mode)?;
        if maker.rng.chance(1) {
            maker.symlink(&parent.join(format!("link{number:x}")), &name)?;
        }
    }
    maker.stamp(|_| Timespec { tv_sec: RELEASE, tv_nsec: 0 })
}

/// Turns the tree at `root` into its next release, in place.
///
/// Of 1000 files about 50 are edited (one to three lines replaced, put in or
/// taken out), 2 added, 1 deleted and 1 renamed within its directory; then
/// every mtime becomes that of the new release. Works on any tree, a real
/// source release as well; the same tree and seed give the same result.
///
/// # Errors
/// [`Error::Io`] when something cannot be read or changed.
pub fn release_update(root: &Path, seed: u64) -> Result<Update, Error> {
    let mut rng = Rng::new(seed);
    let text = Text::new(seed);
    let mut update = Update::default();
    each_entry(root, &mut |path, kind| {
        if !kind.is_file() {
            return Ok(());
        }
        let beside = |prefix: &str| {
            let mut name = std::ffi::OsString::from(prefix);
            name.push(path.file_name().unwrap_or_default());
            path.with_file_name(name)
        };
        match rng.below(1000) {
            0 => {
                fs::remove_file(path).map_err(Error::io("delete", path))?;
                update.deleted += 1;
            }
            1 => {
                fs::rename(path, beside("renamed-")).map_err(Error::io("rename", path))?;
                update.renamed += 1;
            }
            2..=3 => {
                let mut content = Vec::new();
                text.fill(&mut rng, 6000, &mut content);
                let new = beside("added-");
                fs::write(&new, content).map_err(Error::io("write", &new))?;
                update.added += 1;
            }
            4..=53 => {
                let mut content = fs::read(path).map_err(Error::io("read", path))?;
                edit_lines(&mut content, &text, &mut rng);
                fs::write(path, content).map_err(Error::io("write", path))?;
                update.edited += 1;
            }
            _ => {}
        }
        Ok(())
    })?;
    let next = Timespec { tv_sec: RELEASE + NEXT, tv_nsec: 0 };
    each_entry(root, &mut |path, _| set_mtime(path, next))?;
    set_mtime(root, next)?;
    Ok(update)
}

/// Changes one to three lines: replaced, put in or taken out.
fn edit_lines(content: &mut Vec<u8>, text: &Text, rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let mut line = Vec::new();
        let length = 20 + rng.index(60);
        text.fill(rng, length, &mut line);
        line.push(b'\n');
        let at = rng.index(content.len() + 1);
        let end = (at + length).min(content.len());
        match rng.below(3) {
            0 => drop(content.splice(at..end, line)),
            1 => drop(content.splice(at..at, line)),
            _ => drop(content.drain(at..end)),
        }
    }
    // Taking out could have been all that happened, of nothing; an edit must show.
    content.push(b'\n');
}

/// Gives the directory `from` inside `root` the name `to`; nothing below it is touched.
///
/// # Errors
/// [`Error::Io`] when it cannot be renamed.
pub fn rename_directory(root: &Path, from: &str, to: &str) -> Result<(), Error> {
    let from = root.join(from);
    fs::rename(&from, root.join(to)).map_err(Error::io("rename", &from))
}

/// Makes `directories` directories of `per_directory` files each: 1000 × 1000 for a million.
///
/// Every sixteenth file holds its own number, the others are empty; mtimes run
/// upwards, a nanosecond part in each. About a minute for a million.
///
/// # Errors
/// [`Error::Io`] when something cannot be created; `root` must not exist.
pub fn empty_files(root: &Path, directories: u64, per_directory: u64) -> Result<Made, Error> {
    let mut made = Made { directories: 1 + directories, ..Made::default() };
    fs::create_dir_all(root).map_err(Error::io("create", root))?;
    let at = |number: u64| Timespec {
        tv_sec: RELEASE + number as i64,
        tv_nsec: (number % 1_000_000_000) as _,
    };
    for directory in 0..directories {
        let folder = root.join(format!("d{directory:04}"));
        fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
        for file in 0..per_directory {
            let number = directory * per_directory + file;
            let content =
                if number.is_multiple_of(16) { number.to_string() } else { String::new() };
            let path = folder.join(format!("f{file:04}"));
            fs::write(&path, &content).map_err(Error::io("write", &path))?;
            set_mtime(&path, at(number))?;
            made.files += 1;
            made.bytes += content.len() as u64;
        }
        set_mtime(&folder, at(directory))?;
    }
    set_mtime(root, at(0))?;
    Ok(made)
}

/// Creates entries under a root and counts them.
struct Maker<'a> {
    root: &'a Path,
    rng: Rng,
    text: Text,
    made: Made,
    content: Vec<u8>,
}

impl<'a> Maker<'a> {
    fn new(root: &'a Path, seed: u64) -> Result<Self, Error> {
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        Ok(Self {
            root,
            rng: Rng::new(seed),
            text: Text::new(seed),
            made: Made { directories: 1, ..Made::default() },
            content: Vec::new(),
        })
    }

    fn directory(&mut self, path: &Path) -> Result<(), Error> {
        let full = self.root.join(path);
        fs::create_dir(&full).map_err(Error::io("create", &full))?;
        fs::set_permissions(&full, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("chmod", &full))?;
        self.made.directories += 1;
        Ok(())
    }

    fn file(&mut self, path: &Path, size: u64, mode: u32) -> Result<(), Error> {
        let full = self.root.join(path);
        self.text.fill(&mut self.rng, size as usize, &mut self.content);
        fs::write(&full, &self.content).map_err(Error::io("write", &full))?;
        // Explicit, so that the tree does not depend on the umask.
        fs::set_permissions(&full, fs::Permissions::from_mode(mode))
            .map_err(Error::io("chmod", &full))?;
        self.made.files += 1;
        self.made.bytes += size;
        Ok(())
    }

    fn symlink(&mut self, path: &Path, target: &str) -> Result<(), Error> {
        let full = self.root.join(path);
        symlink(target, &full).map_err(Error::io("create", &full))?;
        self.made.symlinks += 1;
        Ok(())
    }

    /// Sets every mtime, last of all, and says what was made.
    fn stamp(mut self, mut at: impl FnMut(&mut Rng) -> Timespec) -> Result<Made, Error> {
        each_entry(self.root, &mut |path, _| set_mtime(path, at(&mut self.rng)))?;
        set_mtime(self.root, at(&mut self.rng))?;
        Ok(self.made)
    }
}

fn set_mtime(path: &Path, time: Timespec) -> Result<(), Error> {
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(Error::io("set times of", path))
}

/// Visits everything below `directory`: names in byte order, a directory after what it holds.
///
/// One directory's names are in memory at a time: the peak memory of a program
/// that is measured cannot be read below that of this process.
fn each_entry(
    directory: &Path,
    visit: &mut dyn FnMut(&Path, FileType) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut entries = fs::read_dir(directory)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(Error::io("read", directory))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(Error::io("stat", &path))?;
        if kind.is_dir() {
            each_entry(&path, visit)?;
        }
        visit(&path, kind)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest, walk};

    /// Makes the tree twice in different places and hands the first to `check`.
    fn made_twice<T: PartialEq + std::fmt::Debug>(
        make: impl Fn(&Path) -> Result<T, Error>,
        check: impl FnOnce(&Path, T),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let made = make(&one).unwrap();
        assert_eq!(make(&two).unwrap(), made);
        assert_eq!(digest::tree(&one).unwrap(), digest::tree(&two).unwrap());
        check(&one, made);
    }

    #[test]
    fn small_files_are_the_same_every_time() {
        made_twice(
            |root| small_files(root, 5, 250),
            |root, made| {
                assert_eq!((made.files, made.directories), (250, 5));
                let walked = walk::stat_tree(root).unwrap();
                assert_eq!((walked.entries, walked.bytes), (made.entries(), made.bytes));
            },
        );
    }

    #[test]
    fn another_seed_gives_another_tree() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let _ = small_files(&one, 5, 20).unwrap();
        let _ = small_files(&two, 6, 20).unwrap();
        assert_ne!(digest::tree(&one).unwrap(), digest::tree(&two).unwrap());
    }

    #[test]
    fn a_kernel_like_tree_is_the_same_every_time() {
        made_twice(
            |root| kernel_like(root, 5, 1500),
            |root, made| {
                assert_eq!(made.files, 1500);
                assert!(made.directories > 80, "{made:?}");
                assert_eq!(walk::stat_tree(root).unwrap().entries, made.entries());
            },
        );
    }

    #[test]
    fn an_update_changes_every_mtime_and_one_file_in_twenty() {
        made_twice(
            |root| {
                let made = kernel_like(root, 5, 1500)?;
                Ok((made, release_update(root, 8)?))
            },
            |root, (made, update)| {
                assert!((40..120).contains(&update.edited), "{update:?}");
                assert!(update.added > 0 && update.deleted + update.renamed > 0, "{update:?}");
                let mut left = made.entries() + update.added - update.deleted;
                each_entry(root, &mut |path, _| {
                    use std::os::unix::fs::MetadataExt;
                    assert_eq!(fs::symlink_metadata(path).unwrap().mtime(), RELEASE + NEXT);
                    left -= 1;
                    Ok(())
                })
                .unwrap();
                assert_eq!(left, 0);
            },
        );
    }

    #[test]
    fn a_rename_moves_everything_below() {
        made_twice(
            |root| {
                fs::create_dir(root).unwrap();
                let made = small_files(&root.join("old"), 5, 20)?;
                rename_directory(root, "old", "new")?;
                set_mtime(root, Timespec { tv_sec: 0, tv_nsec: 0 })?;
                Ok(made)
            },
            |root, made| {
                assert!(!root.join("old").exists());
                assert_eq!(walk::stat_tree(&root.join("new")).unwrap().entries, made.entries());
            },
        );
    }

    #[test]
    fn a_million_entries_in_little() {
        made_twice(
            |root| empty_files(root, 10, 20),
            |root, made| {
                assert_eq!(made.entries(), 210);
                assert_eq!(walk::stat_tree(root).unwrap().entries, 210);
            },
        );
    }
}
