//! One number for a whole tree: are these two the same?

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use crate::Error;

/// Digests names, kinds, permissions, mtimes, symlink targets and contents below `root`.
///
/// The root's own metadata, owners and xattrs do not count: two trees are equal
/// here when a reader would find the same files in both.
///
/// # Errors
/// [`Error::Io`] when something cannot be read.
pub fn tree(root: &Path) -> Result<blake3::Hash, Error> {
    let mut hasher = blake3::Hasher::new();
    directory(root, &mut hasher)?;
    Ok(hasher.finalize())
}

fn directory(path: &Path, hasher: &mut blake3::Hasher) -> Result<(), Error> {
    let mut entries = fs::read_dir(path)
        .and_then(Iterator::collect::<Result<Vec<_>, io::Error>>)
        .map_err(Error::io("read", path))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    hasher.update(&(entries.len() as u64).to_le_bytes());
    for entry in entries {
        let path = entry.path();
        let metadata = entry.metadata().map_err(Error::io("stat", &path))?;
        field(hasher, entry.file_name().as_bytes());
        hasher.update(&metadata.mode().to_le_bytes());
        hasher.update(&metadata.mtime().to_le_bytes());
        hasher.update(&metadata.mtime_nsec().to_le_bytes());
        content(&path, &metadata, hasher)?;
    }
    Ok(())
}

fn content(path: &Path, metadata: &Metadata, hasher: &mut blake3::Hasher) -> Result<(), Error> {
    if metadata.is_dir() {
        return directory(path, hasher);
    }
    if metadata.is_symlink() {
        let target = fs::read_link(path).map_err(Error::io("read", path))?;
        field(hasher, target.as_os_str().as_bytes());
    } else if metadata.is_file() {
        hasher.update(&metadata.len().to_le_bytes());
        let file = File::open(path).map_err(Error::io("open", path))?;
        hasher.update_reader(file).map_err(Error::io("read", path))?;
    }
    Ok(())
}

/// Length first, so that no two lists of fields run together to the same bytes.
fn field(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}
