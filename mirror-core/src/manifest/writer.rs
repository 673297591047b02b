//! Writing a manifest: blocks in order, then the index, then the name.

use std::collections::VecDeque;
use std::fmt;
use std::io;

use crate::entry::{Digest, Side};
use crate::fs::Folder;
use crate::manifest::codec::{self, Prelude};
use crate::manifest::{
    Block, HEADER_LIMIT, Header, MAGIC, Place, VERSION, path_key, place_key, places,
};
use crate::path::{Name, RelPath};
use crate::spool::Appending;
use crate::staged::Staged;

const BUFFER: usize = 256 * 1024;

/// A manifest in the making, under a temporary name that is removed unless it is finished.
pub(crate) struct ManifestWriter {
    file: Staged,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    /// How many bytes of the file come before `buffer`.
    stored: u64,
    hasher: blake3::Hasher,
    tree: blake3::Hasher,
    index: Vec<(u64, u64)>,
    records: u64,
    generation: u64,
    /// The directory of the last block.
    last: Option<RelPath>,
    root: [Option<Place>; 2],
    /// For each directory above and including the last block's: those in it whose block is still
    /// to come. They are few, since the order of paths goes into the depth first.
    pending: Vec<Pending>,
}

/// A directory, and what lies in it and is a directory too: name and place on each side.
struct Pending {
    directory: RelPath,
    below: VecDeque<(Name, [Option<Place>; 2])>,
}

impl fmt::Debug for ManifestWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManifestWriter")
            .field("generation", &self.generation)
            .field("records", &self.records)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl ManifestWriter {
    /// Starts a manifest in the folder `dir`.
    #[cfg(test)]
    pub(crate) fn create(
        dir: &std::os::fd::OwnedFd,
        header: &Header,
    ) -> io::Result<ManifestWriter> {
        ManifestWriter::create_in(Folder::of(dir)?, header)
    }

    /// Starts a manifest in `folder`.
    pub(crate) fn create_in(folder: Folder, header: &Header) -> io::Result<ManifestWriter> {
        let mut encoded = Vec::new();
        postcard::serialize_with_flavor(header, Appending(&mut encoded))
            .map_err(io::Error::other)?;
        let length = u32::try_from(encoded.len())
            .ok()
            .filter(|_| encoded.len() <= HEADER_LIMIT)
            .ok_or_else(|| io::Error::other("the xattrs of the root are too long to remember"))?;
        let mut buffer = MAGIC.to_vec();
        buffer.extend_from_slice(&VERSION.to_le_bytes());
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.append(&mut encoded);

        // The root's own metadata is agreed on like that of all other directories.
        let mut scratch = Vec::new();
        codec::agreed_part(&header.root, &mut scratch);
        let mut tree = blake3::Hasher::new();
        tree.update(&scratch);

        Ok(ManifestWriter {
            file: Staged::create(folder)?,
            buffer,
            scratch,
            stored: 0,
            hasher: blake3::Hasher::new(),
            tree,
            index: Vec::new(),
            records: 0,
            generation: header.generation,
            last: None,
            root: places(&header.root),
            pending: Vec::new(),
        })
    }

    /// Which generation this will be.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Appends the block of one directory. Blocks come in the order of their paths, records in
    /// that of their names; a block whose directory has no record in the block above it is kept
    /// all the same, but is not found by its inode.
    ///
    /// # Errors
    /// `InvalidInput` for a block or record that is out of order or there twice, otherwise what
    /// the kernel says. After an error the manifest can only be dropped.
    pub(crate) fn push(&mut self, block: &Block) -> io::Result<()> {
        let disorder = |what: String| {
            let message = format!("{what} is out of order or there twice");
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        };
        let directory = &block.directory;
        if self.last.as_ref().is_some_and(|last| last >= directory) {
            return disorder(format!("the directory {directory}"));
        }
        for pair in block.records.windows(2) {
            if pair[0].name >= pair[1].name {
                return disorder(format!("{} in {directory}", pair[1].name));
            }
        }
        let prelude = Prelude {
            digest: codec::agreed_digest(block, &mut self.scratch),
            places: self.places_of(directory),
        };
        self.tree.update(&(directory.as_bytes().len() as u64).to_le_bytes());
        self.tree.update(directory.as_bytes());
        self.tree.update(&prelude.digest);

        let start = self.buffer.len();
        let offset = self.stored + start as u64;
        self.buffer.extend_from_slice(&[0; 4]);
        codec::encode(block, &prelude, &mut self.buffer);
        let length = u32::try_from(self.buffer.len() - start - 4).map_err(|_| {
            io::Error::other(format!("{directory} holds more than a manifest takes"))
        })?;
        self.buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());

        self.index.push((path_key(directory), offset));
        for side in [Side::A, Side::B] {
            if let Some(place) = prelude.places[side as usize] {
                self.index.push((place_key(side, place), offset));
            }
        }
        let below = block.records.iter().filter(|r| r.kind.is_directory());
        let below = below.map(|record| (record.name.clone(), places(record)));
        self.pending.push(Pending { directory: directory.clone(), below: below.collect() });
        self.records += block.records.len() as u64;
        self.last = Some(directory.clone());
        if self.buffer.len() >= BUFFER {
            self.store()?;
        }
        Ok(())
    }

    /// Where `directory` itself was, which the block above it said.
    fn places_of(&mut self, directory: &RelPath) -> [Option<Place>; 2] {
        let Some((parent, name)) = directory.split() else {
            return self.root;
        };
        // A directory that is not above this one is above none that is still to come.
        let is_behind = |above: &Pending| !parent.is_within(&above.directory);
        while self.pending.last().is_some_and(is_behind) {
            self.pending.pop();
        }
        let Some(above) = self.pending.last_mut() else {
            return [None; 2];
        };
        if above.directory != parent {
            return [None; 2];
        }
        while above.below.front().is_some_and(|(next, _)| *next < name) {
            above.below.pop_front();
        }
        match above.below.front() {
            Some((next, places)) if *next == name => *places,
            _ => [None; 2],
        }
    }

    fn store(&mut self) -> io::Result<()> {
        self.hasher.update(&self.buffer);
        self.file.write_at(&self.buffer, self.stored)?;
        self.stored += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends the manifest and gives it its name, in place of any other file of that name.
    ///
    /// When `durable`, it is on the disk when this returns; when not, a crash may leave a file
    /// that is rejected.
    pub(crate) fn finish(mut self, durable: bool, final_name: &str) -> io::Result<()> {
        let index_at = self.stored + self.buffer.len() as u64;
        self.index.sort_unstable();
        for at in 0..self.index.len() {
            let (key, offset) = self.index[at];
            self.buffer.extend_from_slice(&key.to_le_bytes());
            self.buffer.extend_from_slice(&offset.to_le_bytes());
            if self.buffer.len() >= BUFFER {
                self.store()?;
            }
        }
        for number in [index_at, self.index.len() as u64, self.records] {
            self.buffer.extend_from_slice(&number.to_le_bytes());
        }
        let root_digest = Digest(*self.tree.finalize().as_bytes());
        self.buffer.extend_from_slice(&root_digest.0);
        self.store()?;
        let whole = *self.hasher.finalize().as_bytes();
        self.file.write_at(&whole, self.stored)?;
        self.file.give_name(durable, final_name.as_bytes())
    }
}
