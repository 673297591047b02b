//! The folder a test stands on: `src`, `dst` and `state` of its own, gone at its end.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::run::Mirror;

/// The user and the group that stand for "an ordinary user" when the tests run as root.
pub(crate) const ORDINARY: u32 = 65534;

/// Whether the tests run as root.
pub(crate) fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Lets the clock that stamps inodes move on, so that what was just written is not
/// "as new as the scan itself" for the run that follows: it ticks every 10 ms at the slowest.
///
/// A lower bound only: waiting longer changes no result.
pub(crate) fn settle() {
    thread::sleep(Duration::from_millis(100));
}

/// A temporary folder holding `src` and `dst`, both empty, and room for more.
#[derive(Debug)]
pub(crate) struct Ground {
    dir: TempDir,
}

impl Ground {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("mirror-")
            // An ordinary user has to get in.
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .unwrap();
        let ground = Self { dir };
        fs::create_dir(ground.src()).unwrap();
        fs::create_dir(ground.dst()).unwrap();
        ground
    }

    /// A ground whose folders belong to the ordinary user.
    pub(crate) fn ordinary() -> Self {
        let ground = Self::new();
        fs::create_dir(ground.path("state")).unwrap();
        if am_root() {
            for name in ["src", "dst", "state", ""] {
                lchown(ground.path(name), Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
        }
        ground
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn src(&self) -> PathBuf {
        self.path("src")
    }

    pub(crate) fn dst(&self) -> PathBuf {
        self.path("dst")
    }

    /// `mirror --json --state STATE SRC DST` on this ground.
    pub(crate) fn mirror(&self) -> Mirror {
        Mirror::new(self.dir.path())
    }

    /// Writes `src/NAME`, making its parents.
    pub(crate) fn source(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        put(&self.src().join(name), content)
    }

    /// Writes `dst/NAME`, making its parents.
    pub(crate) fn target(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        put(&self.dst().join(name), content)
    }

    /// `dst/NAME` as text, or what it is instead.
    pub(crate) fn read(&self, name: &str) -> String {
        match fs::read(self.dst().join(name)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => format!("<{error}>"),
        }
    }

    /// Whether `dst/NAME` is there, whatever it is.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.dst().join(name).symlink_metadata().is_ok()
    }

    /// The inode number of `dst/NAME`.
    #[track_caller]
    pub(crate) fn inode(&self, name: &str) -> u64 {
        self.dst().join(name).symlink_metadata().unwrap().ino()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // An ordinary user cannot remove what lies in a read-only directory.
        open_up(self.dir.path());
    }
}

fn open_up(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Writes a file, making its parents.
pub(crate) fn put(path: &Path, content: impl AsRef<[u8]>) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    path.to_owned()
}
