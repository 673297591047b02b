//! Rendered files put into a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Keeper, Rendered, RenderedFile};

/// A rendered file could not be put in place; the one that was there still is.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", .path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// What became of rendered files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Files that are new or were replaced.
    pub changed: usize,
    /// Files that were right already, or that the server keeps itself.
    pub kept: usize,
}

impl Rendered {
    /// Puts the files into `folder`, each whole or not at all. One with a secret has mode 0600 from its
    /// first instant; a zone that the server keeps itself is only written where there is none.
    ///
    /// # Errors
    /// [`WriteError`] for the first file that cannot be written; those before it are in place.
    pub fn write(&self, folder: &Path) -> Result<Written, WriteError> {
        let mut written = Written::default();
        for file in &self.files {
            let path = folder.join(&file.path);
            match put(file, &path) {
                Ok(true) => written.changed += 1,
                Ok(false) => written.kept += 1,
                Err(source) => return Err(WriteError { path, source }),
            }
        }
        Ok(written)
    }
}

fn put(file: &RenderedFile, path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(_) if file.keeper == Keeper::Servers => return Ok(false),
        Ok(mut found) if !file.secret => {
            if same(&mut found, &file.contents)? {
                return Ok(false);
            }
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let staged = folder.join(name);
    // What a run that was killed left behind may have another mode.
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = if file.secret { 0o600 } else { 0o644 };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(mode).open(&staged)?;
    let done = out.write_all(&file.contents).and_then(|()| out.sync_all());
    done.and_then(|()| fs::rename(&staged, path)).inspect_err(|_| {
        // The one that was there is still in place; what is half written helps nobody.
        let _ = fs::remove_file(&staged);
    })?;
    File::open(folder)?.sync_all()?;
    Ok(true)
}

fn same(found: &mut File, contents: &[u8]) -> io::Result<bool> {
    use std::io::Read;
    if found.metadata()?.len() != contents.len() as u64 {
        return Ok(false);
    }
    let mut octets = Vec::with_capacity(contents.len());
    found.take(contents.len() as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets == contents)
}
