//! A tree held in memory with its inodes, and made again on a disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{
    self as sys, AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags,
};

use crate::entry::{Identity, Timestamp};
use crate::fs::Status;

/// An inode of an image.
pub(super) type Id = u64;

/// Which inode of a disk, by device and number, is which of an image.
pub(super) type Ids = BTreeMap<(u64, u64), Id>;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: Timestamp,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What the inode is to pass for. Its number of links is that of the disk.
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) ctime: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Body {
    File(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Id>),
    Symlink(Vec<u8>),
    Special { mode: u32, device_number: u64 },
}

/// A tree as it is, or might be, on a disk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Image {
    pub(super) nodes: BTreeMap<Id, Node>,
    pub(super) root: Id,
}

/// What inodes pass for: those that an image was made of, instead of those it was made as.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    known: BTreeMap<(u64, u64), Presented>,
    /// How much longer ago every inode seems to have been changed.
    pub(super) age: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Presented {
    device: u64,
    inode: u64,
    ctime: Timestamp,
    /// Its own ctime as long as nobody has changed it.
    untouched: Timestamp,
}

impl Identities {
    /// The status that an inode passes for.
    pub(crate) fn present(&self, mut status: Status) -> Status {
        let Identity { device, inode, ctime, .. } = status.identity;
        if let Some(presented) = self.known.get(&(device, inode)) {
            status.identity.device = presented.device;
            status.identity.inode = presented.inode;
            if ctime == presented.untouched {
                status.identity.ctime = presented.ctime;
            }
        }
        status.identity.ctime.seconds -= i64::try_from(self.age.as_secs()).unwrap_or(i64::MAX);
        status
    }
}

fn ctime(meta: &fs::Metadata) -> Timestamp {
    Timestamp { seconds: meta.ctime(), nanos: u32::try_from(meta.ctime_nsec()).unwrap_or_default() }
}

/// Reads an inode without what is in it, if it is a directory.
pub(super) fn read_node(path: &Path, identities: &Identities) -> io::Result<Node> {
    let meta = path.symlink_metadata()?;
    let file_type = meta.file_type();
    let body = if file_type.is_dir() {
        Body::Directory(BTreeMap::new())
    } else if file_type.is_file() {
        Body::File(fs::read(path)?)
    } else if file_type.is_symlink() {
        Body::Symlink(fs::read_link(path)?.into_os_string().into_vec())
    } else {
        Body::Special { mode: meta.mode(), device_number: meta.rdev() }
    };
    let (mut device, mut inode, mut stamp) = (meta.dev(), meta.ino(), ctime(&meta));
    if let Some(presented) = identities.known.get(&(device, inode)) {
        (device, inode) = (presented.device, presented.inode);
        if stamp == presented.untouched {
            stamp = presented.ctime;
        }
    }
    Ok(Node {
        body,
        mode: meta.mode() & 0o7777,
        owner: (meta.uid(), meta.gid()),
        mtime: Timestamp {
            seconds: meta.mtime(),
            nanos: u32::try_from(meta.mtime_nsec()).unwrap_or_default(),
        },
        xattrs: xattrs(path)?,
        device,
        inode,
        ctime: stamp,
    })
}

fn xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; 65_536];
    let length = match sys::llistxattr(path, &mut names[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = vec![0; 65_536];
            let length = sys::lgetxattr(path, name, &mut value[..])?;
            Ok((name.to_vec(), value[..length].to_vec()))
        })
        .collect()
}

impl Image {
    /// The tree at `path` as it is now.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn take(path: &Path) -> io::Result<Image> {
        let (image, _) = Image::take_as(path, &Identities::default())?;
        Ok(image)
    }

    /// [`take`](Self::take) of a tree that passes for another, and which inode became which.
    pub(super) fn take_as(path: &Path, identities: &Identities) -> io::Result<(Image, Ids)> {
        let mut image = Image { nodes: BTreeMap::new(), root: 0 };
        let mut ids = BTreeMap::new();
        image.root = image.add(path, identities, &mut ids)?;
        Ok((image, ids))
    }

    fn add(&mut self, path: &Path, identities: &Identities, ids: &mut Ids) -> io::Result<Id> {
        let meta = path.symlink_metadata()?;
        let key = (meta.dev(), meta.ino());
        if let Some(&id) = ids.get(&key) {
            return Ok(id);
        }
        let id = ids.len() as Id;
        ids.insert(key, id);
        let mut node = read_node(path, identities)?;
        if let Body::Directory(entries) = &mut node.body {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let below = self.add(&entry.path(), identities, ids)?;
                entries.insert(entry.file_name().into_vec(), below);
            }
        }
        self.nodes.insert(id, node);
        Ok(id)
    }

    /// Leaves out what no name leads to any more.
    pub(super) fn prune(&mut self) {
        let mut reached = BTreeSet::new();
        let mut left = vec![self.root];
        while let Some(id) = left.pop() {
            if reached.insert(id)
                && let Some(Node { body: Body::Directory(entries), .. }) = self.nodes.get(&id)
            {
                left.extend(entries.values());
            }
        }
        self.nodes.retain(|id, _| reached.contains(id));
    }

    /// Makes the tree at `path`, where nothing is or an empty directory, and says what its inodes
    /// pass for.
    ///
    /// # Errors
    /// Those of making it.
    pub fn put(&self, path: &Path) -> io::Result<Identities> {
        let mut made = BTreeMap::new();
        self.make(self.root, path, &mut made)?;
        let mut identities = Identities::default();
        for (id, path) in &made {
            let (node, meta) = (&self.nodes[id], path.symlink_metadata()?);
            let presented = Presented {
                device: node.device,
                inode: node.inode,
                ctime: node.ctime,
                untouched: ctime(&meta),
            };
            identities.known.insert((meta.dev(), meta.ino()), presented);
        }
        Ok(identities)
    }

    fn make(&self, id: Id, path: &Path, made: &mut BTreeMap<Id, PathBuf>) -> io::Result<()> {
        if let Some(first) = made.get(&id) {
            return fs::hard_link(first, path);
        }
        made.insert(id, path.to_path_buf());
        let node = &self.nodes[&id];
        match &node.body {
            Body::File(bytes) => {
                let file = fs::File::create_new(path)?;
                file.set_len(bytes.len() as u64)?;
                for (block, offset) in bytes.chunks(4096).zip((0_u64..).step_by(4096)) {
                    // What is all zeros becomes a hole.
                    if block.iter().any(|&byte| byte != 0) {
                        file.write_all_at(block, offset)?;
                    }
                }
            }
            Body::Symlink(target) => symlink(OsStr::from_bytes(target), path)?,
            Body::Special { mode, device_number } => {
                let mode = Mode::from_raw_mode(*mode);
                let file_type = FileType::from_raw_mode(mode.as_raw_mode() | raw_type(node));
                sys::mknodat(CWD, path, file_type, mode, *device_number)?;
            }
            Body::Directory(entries) => {
                if !path.is_dir() {
                    fs::create_dir(path)?;
                }
                for (name, below) in entries {
                    self.make(*below, &path.join(OsStr::from_bytes(name)), made)?;
                }
            }
        }
        lchown(path, Some(node.owner.0), Some(node.owner.1))?;
        for (name, value) in &node.xattrs {
            sys::lsetxattr(path, &**name, value, XattrFlags::empty())?;
        }
        if !matches!(node.body, Body::Symlink(_)) {
            fs::set_permissions(path, fs::Permissions::from_mode(node.mode))?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec {
                tv_sec: node.mtime.seconds,
                tv_nsec: node.mtime.nanos.into(),
            },
        };
        sys::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

/// The type bits of a special file, which its mode holds.
fn raw_type(node: &Node) -> u32 {
    match node.body {
        Body::Special { mode, .. } => mode & 0o170_000,
        _ => 0,
    }
}
