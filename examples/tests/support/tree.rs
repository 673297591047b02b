//! Reads a tree whole, with its own eyes, and says where two trees differ.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fmt::Write as _;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};

/// What a mirror has to keep of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Files only.
    pub(crate) size: u64,
    pub(crate) mtime: (i64, i64),
    /// Symlinks only.
    pub(crate) link: Vec<u8>,
    /// Devices only.
    pub(crate) device: u64,
    /// A hash of a file's content; `None` when the test itself may not read it.
    pub(crate) content: Option<blake3::Hash>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the hard-link group inside the tree.
    pub(crate) group: Vec<u8>,
}

impl Entry {
    fn fields(&self) -> [(&'static str, String); 10] {
        [
            ("kind", self.kind.to_owned()),
            ("mode", format!("{:04o}", self.mode)),
            ("owner", format!("{:?}", self.owner)),
            ("size", self.size.to_string()),
            ("time", format!("{:?}", self.mtime)),
            ("link", shown(&self.link)),
            ("device", self.device.to_string()),
            ("content", format!("{:?}", self.content)),
            ("attributes", format!("{:?}", self.xattrs)),
            ("first of its hard links", shown(&self.group)),
        ]
    }
}

/// Paths relative to the root, which is the empty one.
pub(crate) type Tree = BTreeMap<Vec<u8>, Entry>;

/// Reads everything a mirror has to keep.
pub(crate) fn snapshot(root: &Path) -> Tree {
    let mut groups: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    let mut tree = Tree::new();
    walk(root, &mut |name, path, meta| {
        let inode = (meta.dev(), meta.ino());
        let group = match meta.is_dir() {
            true => name.to_vec(),
            false => groups.entry(inode).or_insert_with(|| name.to_vec()).clone(),
        };
        tree.insert(name.to_vec(), entry(path, meta, group));
    });
    tree
}

fn entry(path: &Path, meta: &Metadata, group: Vec<u8>) -> Entry {
    let kind = kind(meta);
    Entry {
        kind,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        size: if meta.is_file() { meta.size() } else { 0 },
        mtime: (meta.mtime(), meta.mtime_nsec()),
        link: match meta.is_symlink() {
            true => fs::read_link(path).unwrap().into_os_string().into_vec(),
            false => Vec::new(),
        },
        device: if kind.ends_with("device") { meta.rdev() } else { 0 },
        content: if meta.is_file() { content(path).ok() } else { None },
        xattrs: xattrs(path),
        group,
    }
}

pub(crate) fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    match () {
        () if kind.is_dir() => "directory",
        () if kind.is_file() => "file",
        () if kind.is_symlink() => "symlink",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () if kind.is_char_device() => "character device",
        () => "block device",
    }
}

/// Hashes the blocks that are not all zeros, with their offsets: the same for a file
/// with holes and for its copy without.
fn content(path: &Path) -> io::Result<blake3::Hash> {
    let file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut block = [0; 4096];
    for (start, end) in data_map_of(&file)? {
        let mut at = start;
        while at < end {
            let read = file.read_at(&mut block, at)?;
            if read == 0 {
                break;
            }
            if block[..read].iter().any(|byte| *byte != 0) {
                hasher.update(&at.to_le_bytes()).update(&block[..read]);
            }
            at += read as u64;
        }
    }
    Ok(hasher.finalize())
}

/// Where a file holds data: everything else is a hole.
pub(crate) fn data_map(path: &Path) -> Vec<(u64, u64)> {
    data_map_of(&File::open(path).unwrap()).unwrap()
}

fn data_map_of(file: &File) -> io::Result<Vec<(u64, u64)>> {
    let mut map = Vec::new();
    let mut end = 0;
    loop {
        let start = match seek(file, SeekFrom::Data(end)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(map),
            Err(error) => return Err(error.into()),
        };
        end = seek(file, SeekFrom::Hole(start))?;
        map.push((start, end));
    }
}

/// Every extended attribute the caller may see, ACLs among them.
pub(crate) fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return BTreeMap::new();
    };
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65536];
            let key = CString::new(name).unwrap();
            let length = rustix::fs::lgetxattr(path, key.as_c_str(), &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect()
}

/// Calls `see` with each entry: relative name, path, metadata. Parents come first, names in order.
pub(crate) fn walk(root: &Path, see: &mut dyn FnMut(&[u8], &Path, &Metadata)) {
    fn below(name: &[u8], path: &Path, see: &mut dyn FnMut(&[u8], &Path, &Metadata)) {
        let meta = path.symlink_metadata().unwrap_or_else(|error| panic!("{path:?}: {error}"));
        see(name, path, &meta);
        if !meta.is_dir() {
            return;
        }
        let Ok(entries) = fs::read_dir(path) else {
            return;
        };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for leaf in names {
            let mut full = name.to_vec();
            if !full.is_empty() {
                full.push(b'/');
            }
            full.extend_from_slice(leaf.as_bytes());
            below(&full, &path.join(&leaf), see);
        }
    }
    below(b"", root, see);
}

/// The relative names of everything below `root`.
pub(crate) fn names_in(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    walk(root, &mut |name, _, _| {
        if !name.is_empty() {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    });
    names
}

/// The two trees must be the same in everything a mirror keeps.
#[track_caller]
pub(crate) fn assert_level(src: &Path, dst: &Path) {
    assert_same(&snapshot(src), &snapshot(dst));
}

/// The two snapshots must be the same.
#[track_caller]
pub(crate) fn assert_same(expected: &Tree, found: &Tree) {
    let differences = differences(expected, found);
    assert!(differences.is_empty(), "the trees differ:\n{differences}");
}

fn differences(expected: &Tree, found: &Tree) -> String {
    let mut text = String::new();
    for (name, wanted) in expected {
        match found.get(name) {
            None => _ = writeln!(text, "missing: {} ({})", shown(name), wanted.kind),
            Some(entry) if entry != wanted => {
                for ((field, wanted), (_, found)) in wanted.fields().iter().zip(&entry.fields()) {
                    if wanted != found {
                        let name = shown(name);
                        _ = writeln!(text, "{name}: {field} {found}, should be {wanted}");
                    }
                }
            }
            Some(_) => {}
        }
    }
    for (name, entry) in found.iter().filter(|(name, _)| !expected.contains_key(*name)) {
        _ = writeln!(text, "extraneous: {} ({})", shown(name), entry.kind);
    }
    // A wrong assumption can make everything differ: the first few say it all.
    text.lines().take(60).fold(String::new(), |all, line| all + line + "\n")
}

fn shown(name: &[u8]) -> String {
    format!("{:?}", OsStr::from_bytes(name))
}

/// What any write, rename, link or change of metadata moves. Reading moves none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    mode: u32,
    links: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

/// The stamps of every entry, the root included.
pub(crate) fn stamps(root: &Path) -> BTreeMap<Vec<u8>, Stamp> {
    let mut stamps = BTreeMap::new();
    walk(root, &mut |name, _, meta| {
        let stamp = Stamp {
            inode: meta.ino(),
            mode: meta.mode(),
            links: meta.nlink(),
            size: meta.size(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        };
        stamps.insert(name.to_vec(), stamp);
    });
    stamps
}

/// Nothing under `root` was written, renamed or touched since `before` was taken.
#[track_caller]
pub(crate) fn assert_untouched(root: &Path, before: &BTreeMap<Vec<u8>, Stamp>) {
    let now = stamps(root);
    let names: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let changed: Vec<_> = names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name))
        .map(|name| format!("{}: {:?} -> {:?}", shown(name), before.get(name), now.get(name)))
        .take(20)
        .collect();
    assert!(changed.is_empty(), "{root:?} was touched:\n{}", changed.join("\n"));
}

/// Seconds and nanoseconds of the last modification.
pub(crate) fn mtime(path: &Path) -> (i64, i64) {
    let meta = path.symlink_metadata().unwrap();
    (meta.mtime(), meta.mtime_nsec())
}
