//! Folders with trees in them, and what they hold.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use mirror_core::LocalTree;
use tempfile::TempDir;

/// A temporary folder with an empty `src` in it.
#[derive(Debug)]
pub struct Ground(TempDir);

impl Ground {
    pub fn new() -> Ground {
        let ground = Ground(tempfile::tempdir().unwrap());
        fs::create_dir(ground.path("src")).unwrap();
        ground
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn tree(&self, name: &str) -> LocalTree {
        LocalTree::open(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Puts everything into `src` that a link has to bring over.
    pub fn fill_source(&self) {
        let at = |name: &str| self.path("src").join(name);
        self.write("src/empty", "");
        self.write("src/a/small", "small");
        self.write("src/a/b/c/deep", "deep");
        self.write("src/large", noise(3_000_000, 7));
        self.write("src/text", "the same line again and again\n".repeat(40_000));
        for number in 0..300 {
            self.write(&format!("src/many/file-{number:03}"), noise(number * 37, 1 + number));
        }
        fs::create_dir(at("hollow")).unwrap();
        let sparse = File::create(at("sparse")).unwrap();
        sparse.write_all_at(b"begin", 0).unwrap();
        sparse.write_all_at(&noise(200_000, 3), 5 << 20).unwrap();
        sparse.set_len(9 << 20).unwrap();
        symlink("a/small", at("link")).unwrap();
        symlink("/nowhere", at("a/dangling")).unwrap();
        fs::hard_link(at("a/small"), at("a/b/other-name")).unwrap();
        fs::set_permissions(at("text"), Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(at("a/b"), Permissions::from_mode(0o750)).unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"odd \n\xff name");
        fs::write(self.path("src").join(odd), "odd").unwrap();
        for name in ["a/small", "large", "a/b", "hollow"] {
            let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
            File::open(at(name)).unwrap().set_modified(time).unwrap();
        }
    }
}

/// Bytes that nothing can compress, the same for the same seed.
pub fn noise(length: usize, seed: usize) -> Vec<u8> {
    let mut state = seed as u64 | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// What stands at a path, as far as a copy has to have it too.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    pub content: Vec<u8>,
    /// The first path of the same inode.
    first_name: PathBuf,
}

impl Standing {
    /// The bits of its mode that say what it is.
    pub fn kind(&self) -> u32 {
        self.mode & 0o170_000
    }
}

/// Everything below `root`.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Standing> {
    let mut all = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    walk(root, Path::new(""), &mut first_names, &mut all);
    all
}

fn walk(
    root: &Path,
    below: &Path,
    first_names: &mut BTreeMap<u64, PathBuf>,
    all: &mut BTreeMap<PathBuf, Standing>,
) {
    let mut names: Vec<_> =
        fs::read_dir(root.join(below)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = below.join(name);
        let at = root.join(&path);
        let meta = at.symlink_metadata().unwrap();
        let content = if meta.is_file() {
            fs::read(&at).unwrap()
        } else if meta.is_symlink() {
            fs::read_link(&at).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            Vec::new()
        };
        let first_name = first_names.entry(meta.ino()).or_insert(path.clone()).clone();
        let standing = Standing {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            content,
            first_name,
        };
        let is_directory = meta.is_dir();
        all.insert(path.clone(), standing);
        if is_directory {
            walk(root, &path, first_names, all);
        }
    }
}

/// Both folders hold the same, with nothing of ours left.
#[track_caller]
pub fn assert_level(a: &Path, b: &Path) {
    let (a, b) = (snapshot(a), snapshot(b));
    let mut names: Vec<_> = a.keys().chain(b.keys()).collect();
    names.sort();
    names.dedup();
    let differs: Vec<_> = names.into_iter().filter(|name| a.get(*name) != b.get(*name)).collect();
    assert!(differs.is_empty(), "differences at {differs:?}");
}
