//! Fresh places on the disk, and room for them.
//!
//! Nothing is removed between runs as long as there is room. ext4 will not give
//! out again an inode freed within the last five minutes; every creation steps
//! over those in its block group one by one. Removing a kernel tree made the
//! next copy of it take 17 s of processor time in the kernel instead of 4, for
//! every program alike, which hides what the programs differ in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use super::Bench;
use crate::{Error, measure, walk};

/// Longer than ext4 remembers a freed inode (`RECENTCY_DIRTY` in fs/ext4/ialloc.c is 300 s).
const REST: Duration = Duration::from_secs(310);

impl Bench<'_> {
    /// Returns a path that nobody used, to be kept until it is [spent](Bench::spend).
    pub(super) fn kept(&mut self, name: &str) -> PathBuf {
        self.places += 1;
        self.work.join(format!("{name}-{}", self.places))
    }

    /// Returns a path that nobody used; the next [`Bench::make_room`] may remove what is there.
    pub(super) fn fresh(&mut self, name: &str) -> PathBuf {
        let path = self.kept(name);
        self.spend(path.clone());
        path
    }

    /// Leaves what is at `path` to [`Bench::make_room`].
    pub(super) fn spend(&mut self, path: PathBuf) {
        self.spent.push(path);
    }

    /// Makes sure that a copy of `tree` fits thrice.
    ///
    /// When it does not, everything spent is removed, and the disk gets a rest.
    pub(super) fn make_room(&mut self, tree: &Path) -> Result<(), Error> {
        let walked = walk::stat_tree(tree)?;
        let disk = rustix::fs::statvfs(&self.work).map_err(Error::io("stat", &self.work))?;
        // A small file takes a block, too.
        let bytes = walked.bytes + walked.entries * disk.f_frsize;
        // Some file systems make inodes as they need them, and report none.
        let inodes = if disk.f_files == 0 { u64::MAX } else { disk.f_favail };
        let there_is_room =
            disk.f_bavail * disk.f_frsize > 3 * bytes && inodes > 3 * walked.entries;
        if there_is_room || self.spent.is_empty() {
            return Ok(());
        }
        (self.say)("the disk fills up: removing old targets");
        for path in std::mem::take(&mut self.spent) {
            remove(&path)?;
        }
        self.freed_inodes = true;
        self.rest();
        Ok(())
    }

    /// Waits until ext4 has forgotten the inodes that were freed, if any were.
    pub(super) fn rest(&mut self) {
        if self.freed_inodes && self.settings.rest {
            (self.say)("many inodes were freed: resting five minutes");
            rustix::fs::sync();
            thread::sleep(REST);
        }
        self.freed_inodes = false;
    }
}

/// Copies a tree with everything that belongs to it, outside the timed part.
pub(super) fn copy(source: &Path, target: &Path) -> Result<(), Error> {
    measure::run("cp", Command::new("cp").args(["-a", "-T"]).arg(source).arg(target)).map(drop)
}

/// Gives a tree another path.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
