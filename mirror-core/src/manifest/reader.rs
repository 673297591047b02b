//! Reading a manifest: nothing in it is believed before the digest over all of it agrees.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::entry::{Digest, Side};
use crate::fs::{Folder, Fs, Opening, read_full_at};
use crate::manifest::codec::{self, Prelude};
use crate::manifest::{
    Block, HEADER_LIMIT, Header, INDEX_ENTRY, MAGIC, PREAMBLE, Place, TRAILER, VERSION, path_key,
    place_key,
};
use crate::path::RelPath;
use crate::staged::check_ours;

/// How much is read at a time when all of it is.
const BUFFER: usize = 1024 * 1024;

/// How much is read to get at one block; most are shorter.
const GUESS: usize = 4 * 1024;

/// The length in front of a block.
const PREFIX: usize = 4;

/// Why a manifest was not believed. It stays where it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    /// There is none.
    #[error("it does not exist")]
    NotFound,
    /// It could not be read.
    #[error("it cannot be read: {}", crate::error::explain(.0))]
    Io(#[source] io::Error),
    /// It is something else, or somebody else's.
    #[error("{0}")]
    NotOurs(&'static str),
    /// Another version of this crate wrote it.
    #[error("it has format {found} and this program knows format {VERSION}")]
    Version {
        /// The format that it says it has.
        found: u32,
    },
    /// Its end is missing.
    #[error("its end is missing")]
    Truncated,
    /// Something in it is not as it was written.
    #[error("it is damaged")]
    Corrupt,
}

impl From<io::Error> for Rejected {
    fn from(error: io::Error) -> Rejected {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Rejected::NotFound,
            // What opening says of a symlink, and of a socket.
            Some(Errno::LOOP | Errno::NXIO) => Rejected::NotOurs("it is not a regular file"),
            _ => Rejected::Io(error),
        }
    }
}

/// How many records of decoded blocks wait for another reader at most. Some wait in vain, since
/// that reader came first; they go with the rest when there are too many.
const SHARED_LIMIT: usize = 50_000;

/// What both sides of a mirror agreed on at one time, in a file that never changes.
///
/// It is read as it is needed, so that the manifest of a million entries takes little memory.
/// Several threads may read at once.
pub struct Manifest {
    fs: Arc<dyn Fs>,
    file: OwnedFd,
    header: Header,
    /// Where the first block begins, and where the last one ends.
    blocks: (u64, u64),
    index: Vec<(u64, u64)>,
    records: u64,
    root_digest: Digest,
    /// Blocks that one reader has decoded and another is about to ask for, by their offset.
    shared: Mutex<HashMap<u64, Arc<Block>>>,
}

impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("header", &self.header)
            .field("records", &self.records)
            .field("root_digest", &self.root_digest)
            .finish_non_exhaustive()
    }
}

impl Manifest {
    /// Opens the manifest `name` in the folder `dir` and checks all of it.
    #[cfg(test)]
    pub(crate) fn open(dir: &OwnedFd, name: &str) -> Result<Manifest, Rejected> {
        Manifest::open_in(&Folder::of(dir)?, name)
    }

    /// Opens the manifest `name` in `folder` and checks all of it.
    pub(crate) fn open_in(folder: &Folder, name: &str) -> Result<Manifest, Rejected> {
        let fs = folder.fs.clone();
        let file = fs.open_at(folder.dir.as_fd(), name.as_bytes(), Opening::Read)?;
        let status = fs.status(file.as_fd())?;
        check_ours(&status).map_err(Rejected::NotOurs)?;
        let exact = |offset: u64, length: usize| -> Result<Vec<u8>, Rejected> {
            let mut bytes = vec![0; length];
            let read = read_full_at(&*fs, file.as_fd(), &mut bytes, offset)?;
            if read < length {
                return Err(Rejected::Truncated);
            }
            Ok(bytes)
        };

        // What and which version it is comes first: a newer format may end in another way.
        let known = usize::try_from(status.size).unwrap_or(PREAMBLE);
        let preamble = exact(0, known.min(PREAMBLE))?;
        let magic = preamble.len().min(MAGIC.len());
        if preamble[..magic] != MAGIC[..magic] {
            return Err(Rejected::NotOurs("it is not a manifest"));
        }
        if preamble.len() < PREAMBLE {
            return Err(Rejected::Truncated);
        }
        let mut numbers = Numbers(&preamble[MAGIC.len()..]);
        let (found, header_length) = (numbers.u32(), numbers.u32());
        if found != VERSION {
            return Err(Rejected::Version { found });
        }
        let Some(trailer_at) =
            status.size.checked_sub(TRAILER as u64).filter(|&at| at >= PREAMBLE as u64)
        else {
            return Err(Rejected::Truncated);
        };
        let trailer = exact(trailer_at, TRAILER)?;
        let mut numbers = Numbers(&trailer);
        let (index_at, count, records) = (numbers.u64(), numbers.u64(), numbers.u64());
        let (root_digest, whole) = (numbers.digest(), numbers.digest());
        let index_length = count.checked_mul(INDEX_ENTRY as u64);
        let fits = index_length.and_then(|length| index_at.checked_add(length)) == Some(trailer_at);
        if digest_of(&*fs, &file, status.size - 32)? != whole {
            // Numbers that do not fit the length are not a trailer but what comes before one.
            return Err(if fits { Rejected::Corrupt } else { Rejected::Truncated });
        }

        let header_length = usize::try_from(header_length).unwrap_or(usize::MAX);
        let blocks_at = (PREAMBLE as u64).saturating_add(header_length as u64);
        if !fits || header_length > HEADER_LIMIT || blocks_at > index_at {
            return Err(Rejected::Corrupt);
        }
        let header = exact(PREAMBLE as u64, header_length)?;
        let header = postcard::from_bytes(&header).map_err(|_| Rejected::Corrupt)?;
        let index_length = usize::try_from(trailer_at - index_at).unwrap_or(usize::MAX);
        let index = exact(index_at, index_length)?
            .chunks_exact(INDEX_ENTRY)
            .map(|entry| {
                let mut numbers = Numbers(entry);
                (numbers.u64(), numbers.u64())
            })
            .collect();
        Ok(Manifest {
            fs,
            file,
            header,
            blocks: (blocks_at, index_at),
            index,
            records,
            root_digest,
            shared: Mutex::default(),
        })
    }

    /// What this is about.
    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// How many entries are remembered, the root not among them.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The digest of the whole tree, inode numbers apart: equal on two servers that agreed on the
    /// same tree.
    pub fn root_digest(&self) -> Digest {
        self.root_digest
    }

    /// All blocks, in the order of their directories' paths. After an error it ends.
    ///
    /// # Errors
    /// An item is an error when the file cannot be read any more.
    pub fn blocks(&self) -> impl Iterator<Item = io::Result<Block>> + '_ {
        let mut blocks = Blocks::new(self);
        std::iter::from_fn(move || blocks.next_with(|_, bytes| codec::decode(bytes)))
    }

    /// All blocks in order, taking over those that [`block`](Self::block) has decoded meanwhile.
    pub(crate) fn shared_blocks(&self) -> impl Iterator<Item = io::Result<Arc<Block>>> + '_ {
        let mut blocks = Blocks::new(self);
        std::iter::from_fn(move || {
            blocks.next_with(|offset, bytes| match self.shared().remove(&offset) {
                Some(block) => Ok(block),
                None => codec::decode(bytes).map(Arc::new),
            })
        })
    }

    fn shared(&self) -> MutexGuard<'_, HashMap<u64, Arc<Block>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The block of `directory`, if there is one.
    ///
    /// # Errors
    /// What the kernel says when the file cannot be read.
    pub fn block(&self, directory: &RelPath) -> io::Result<Option<Arc<Block>>> {
        self.find(path_key(directory), |_, found| found == directory, Some(directory))
    }

    /// The block of the directory that had this inode on `side`, wherever it was then.
    ///
    /// # Errors
    /// What the kernel says when the file cannot be read.
    pub fn block_of_directory(
        &self,
        side: Side,
        device: u64,
        inode: u64,
    ) -> io::Result<Option<Arc<Block>>> {
        let place: Place = (device, inode);
        self.find(
            place_key(side, place),
            |prelude, _| prelude.places[side as usize] == Some(place),
            None,
        )
    }

    /// The first block under `key` that `is_sought`; others have the same key by chance.
    fn find(
        &self,
        key: u64,
        is_sought: impl Fn(&Prelude, &RelPath) -> bool,
        by_path: Option<&RelPath>,
    ) -> io::Result<Option<Arc<Block>>> {
        let first = self.index.partition_point(|&(other, _)| other < key);
        for &(other, offset) in &self.index[first..] {
            if other != key {
                break;
            }
            // Only a path tells of a decoded block whether it is the one.
            if let Some(path) = by_path {
                let shared = self.shared().get(&offset).cloned();
                if let Some(block) = shared.filter(|block| block.directory == *path) {
                    return Ok(Some(block));
                }
            }
            let bytes = self.block_at(offset)?;
            let (prelude, directory) = codec::decode_prelude(&bytes[PREFIX..]).map_err(damaged)?;
            if is_sought(&prelude, &directory) {
                let block = codec::decode(&bytes[PREFIX..]).map(Arc::new).map_err(damaged)?;
                let mut shared = self.shared();
                // Blocks of one tree are of like size, so that this comes near enough.
                if shared.len() * block.records.len().max(16) > SHARED_LIMIT {
                    shared.clear();
                }
                shared.insert(offset, block.clone());
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// The bytes of the block at `offset`, with the length in front of it.
    fn block_at(&self, offset: u64) -> io::Result<Vec<u8>> {
        let left = self.blocks.1.checked_sub(offset);
        let left = left.and_then(|left| usize::try_from(left).ok());
        let left = left.ok_or_else(|| damaged(codec::Malformed))?;
        let mut bytes = vec![0; GUESS.min(left)];
        self.read(&mut bytes, offset)?;
        let whole = whole_length(&bytes, left)?;
        let read = bytes.len();
        bytes.resize(whole, 0);
        if whole > read {
            self.read(&mut bytes[read..], offset + read as u64)?;
        }
        Ok(bytes)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = read_full_at(&*self.fs, self.file.as_fd(), buffer, offset)?;
        if read < buffer.len() {
            return Err(damaged(codec::Malformed));
        }
        Ok(())
    }
}

/// How long the block at the start of `bytes` is with its length in front, of which `left` bytes
/// at most are there.
fn whole_length(bytes: &[u8], left: usize) -> io::Result<usize> {
    let length = bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    length
        .and_then(|length| usize::try_from(length).ok()?.checked_add(PREFIX))
        .filter(|&whole| whole <= left)
        .ok_or_else(|| damaged(codec::Malformed))
}

fn damaged(_: codec::Malformed) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the remembered state changed while it was read; check the disk",
    )
}

/// The BLAKE3 of the first `length` bytes of `file`.
fn digest_of(fs: &dyn Fs, file: &OwnedFd, length: u64) -> Result<Digest, Rejected> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; BUFFER.min(usize::try_from(length).unwrap_or(BUFFER))];
    let mut offset = 0;
    while offset < length {
        let want = usize::try_from(length - offset).map_or(buffer.len(), |n| n.min(buffer.len()));
        let read = read_full_at(fs, file.as_fd(), &mut buffer[..want], offset)?;
        if read < want {
            return Err(Rejected::Truncated);
        }
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Fixed numbers one after the other, in bytes whose length was checked: zero when it was not.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let Some((first, rest)) = self.0.split_first_chunk() else {
            return [0; N];
        };
        self.0 = rest;
        *first
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn digest(&mut self) -> Digest {
        Digest(self.array())
    }
}

/// Streams the blocks of a [`Manifest`].
struct Blocks<'a> {
    manifest: &'a Manifest,
    /// Where in the file the buffer ends.
    position: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next block begins.
    at: usize,
}

impl Blocks<'_> {
    /// Makes sure that at least `length` bytes, or all that are left, are in the buffer.
    fn fill(&mut self, length: usize) -> io::Result<()> {
        let held = self.buffer.len() - self.at;
        let left = usize::try_from(self.manifest.blocks.1 - self.position).unwrap_or(usize::MAX);
        if held >= length || left == 0 {
            return Ok(());
        }
        self.buffer.drain(..self.at);
        self.at = 0;
        let more = left.min(BUFFER.max(length - held));
        self.buffer.resize(held + more, 0);
        self.manifest.read(&mut self.buffer[held..], self.position)?;
        self.position += more as u64;
        Ok(())
    }

    fn new(manifest: &Manifest) -> Blocks<'_> {
        Blocks { manifest, position: manifest.blocks.0, buffer: Vec::new(), at: 0 }
    }

    fn read<T>(
        &mut self,
        decode: impl FnOnce(u64, &[u8]) -> Result<T, codec::Malformed>,
    ) -> io::Result<T> {
        self.fill(PREFIX)?;
        let left = self.manifest.blocks.1 - self.position;
        let held = self.buffer.len() - self.at;
        let left = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(held);
        let whole = whole_length(&self.buffer[self.at..], left)?;
        self.fill(whole)?;
        let offset = self.position - (self.buffer.len() - self.at) as u64;
        let block = decode(offset, &self.buffer[self.at + PREFIX..self.at + whole]);
        self.at += whole;
        block.map_err(damaged)
    }
}

impl Blocks<'_> {
    /// The next block as `decode` reads it from its offset and bytes.
    fn next_with<T>(
        &mut self,
        decode: impl FnOnce(u64, &[u8]) -> Result<T, codec::Malformed>,
    ) -> Option<io::Result<T>> {
        if self.at == self.buffer.len() && self.position >= self.manifest.blocks.1 {
            return None;
        }
        let block = self.read(decode);
        if block.is_err() {
            self.position = self.manifest.blocks.1;
            self.buffer.clear();
            self.at = 0;
        }
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Identity, Kind};
    use crate::manifest::{ManifestWriter, arbitrary};
    use proptest::prelude::*;
    use std::fs::{self, File};
    use std::os::unix::fs::symlink;
    use std::path::Path;

    struct Folder(tempfile::TempDir, OwnedFd);

    impl Folder {
        fn new() -> Folder {
            let folder = tempfile::tempdir().unwrap();
            let held = File::open(folder.path()).unwrap().into();
            Folder(folder, held)
        }

        fn path(&self) -> std::path::PathBuf {
            self.0.path().join("base")
        }

        fn write(&self, blocks: &[Block]) {
            let header = arbitrary::example_header();
            let mut writer = ManifestWriter::create(&self.1, &header).unwrap();
            for block in blocks {
                writer.push(block).unwrap();
            }
            writer.finish(false, "base").unwrap();
        }

        fn open(&self) -> Result<Manifest, Rejected> {
            Manifest::open(&self.1, "base")
        }

        fn put(&self, bytes: &[u8]) -> Rejected {
            fs::write(self.path(), bytes).unwrap();
            self.open().unwrap_err()
        }
    }

    fn all(manifest: &Manifest) -> Vec<Block> {
        manifest.blocks().map(Result::unwrap).collect()
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = Folder::new();
        let tree = arbitrary::example_tree();
        folder.write(&tree);
        let manifest = folder.open().unwrap();
        assert_eq!(*manifest.header(), arbitrary::example_header());
        assert_eq!(manifest.records(), 9);
        assert_eq!(all(&manifest), tree);
        assert_eq!(folder.0.path().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn an_empty_manifest_is_one_too() {
        let folder = Folder::new();
        folder.write(&[]);
        let manifest = folder.open().unwrap();
        assert_eq!(all(&manifest), []);
        assert_eq!(manifest.block(&RelPath::root()).unwrap(), None);
    }

    #[test]
    fn a_directory_is_found_by_its_inode_on_either_side() {
        let folder = Folder::new();
        let tree = arbitrary::example_tree();
        folder.write(&tree);
        let manifest = folder.open().unwrap();
        let find = |side, device, inode| manifest.block_of_directory(side, device, inode).unwrap();
        // The root, which the header knows, and `a`, which the root's block knows.
        assert_eq!(find(Side::A, 64769, 1001).as_deref(), Some(&tree[0]));
        assert_eq!(find(Side::B, 64770, 5002).as_deref(), Some(&tree[1]));
        assert_eq!(find(Side::B, 64769, 1001), None);
        assert_eq!(find(Side::A, 64769, 1003), None);
    }

    #[test]
    fn an_unfinished_manifest_leaves_nothing() {
        let folder = Folder::new();
        let mut writer = ManifestWriter::create(&folder.1, &arbitrary::example_header()).unwrap();
        writer.push(&arbitrary::example_tree()[0]).unwrap();
        drop(writer);
        assert_eq!(folder.0.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn disorder_is_refused() {
        let folder = Folder::new();
        let tree = arbitrary::example_tree();
        let mut twice = tree[0].clone();
        twice.records.push(twice.records.last().unwrap().clone());
        for blocks in [
            vec![tree[0].clone(), tree[0].clone()],
            vec![tree[1].clone(), tree[0].clone()],
            vec![twice],
        ] {
            let mut writer =
                ManifestWriter::create(&folder.1, &arbitrary::example_header()).unwrap();
            let pushed: io::Result<()> = blocks.iter().try_for_each(|block| writer.push(block));
            assert_eq!(pushed.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn a_directory_without_a_record_has_a_block_but_no_place() {
        let folder = Folder::new();
        let mut tree = arbitrary::example_tree();
        tree[0].records.retain(|record| !record.kind.is_directory());
        folder.write(&tree);
        let manifest = folder.open().unwrap();
        assert_eq!(manifest.block(&tree[1].directory).unwrap().as_deref(), Some(&tree[1]));
        assert_eq!(manifest.block_of_directory(Side::A, 64769, 1002).unwrap(), None);
    }

    #[test]
    fn every_truncation_is_detected() {
        let folder = Folder::new();
        folder.write(&arbitrary::example_tree());
        let whole = fs::read(folder.path()).unwrap();
        for length in 0..whole.len() {
            let rejected = folder.put(&whole[..length]);
            assert!(matches!(rejected, Rejected::Truncated), "{length}: {rejected:?}");
        }
        let longer = [&*whole, b"\n"].concat();
        assert!(matches!(folder.put(&longer), Rejected::Truncated | Rejected::Corrupt));
    }

    #[test]
    fn every_changed_byte_is_detected() {
        let folder = Folder::new();
        folder.write(&arbitrary::example_tree());
        let whole = fs::read(folder.path()).unwrap();
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                let rejected = folder.put(&bytes);
                let expected = match at {
                    0..16 => matches!(rejected, Rejected::NotOurs(_)),
                    16..20 => matches!(rejected, Rejected::Version { .. }),
                    _ => matches!(rejected, Rejected::Corrupt | Rejected::Truncated),
                };
                assert!(expected, "byte {at}: {rejected:?}");
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_explained() {
        let folder = Folder::new();
        let said = |rejected: Rejected| rejected.to_string();
        assert_eq!(said(folder.open().unwrap_err()), "it does not exist");
        assert_eq!(said(folder.put(b"PK\x03\x04 and so on")), "it is not a manifest");
        let newer = [&MAGIC[..], &2u32.to_le_bytes(), b"another format"].concat();
        assert_eq!(said(folder.put(&newer)), "it has format 2 and this program knows format 1");
        fs::remove_file(folder.path()).unwrap();
        fs::create_dir(folder.path()).unwrap();
        assert_eq!(said(folder.open().unwrap_err()), "it is not a regular file");
        fs::remove_dir(folder.path()).unwrap();
        symlink("elsewhere", folder.path()).unwrap();
        assert_eq!(said(folder.open().unwrap_err()), "it is not a regular file");
    }

    #[test]
    fn another_users_manifest_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give files away");
            return;
        }
        let folder = Folder::new();
        folder.write(&arbitrary::example_tree());
        std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
        let rejected = folder.open().unwrap_err();
        assert_eq!(rejected.to_string(), "it belongs to another user");
    }

    #[test]
    fn an_enormous_length_allocates_nothing() {
        let folder = Folder::new();
        folder.write(&arbitrary::example_tree());
        let whole = fs::read(folder.path()).unwrap();
        let sealed = |mut bytes: Vec<u8>| {
            let end = bytes.len() - 32;
            let digest = blake3::hash(&bytes[..end]);
            bytes[end..].copy_from_slice(digest.as_bytes());
            folder.put(&bytes)
        };
        // The header's length; then the index's offset and count.
        for at in [20, whole.len() - TRAILER, whole.len() - TRAILER + 8] {
            let mut bytes = whole.clone();
            bytes[at..at + 4].fill(0xff);
            assert!(matches!(sealed(bytes), Rejected::Corrupt));
        }
    }

    #[test]
    fn a_large_directory_is_read_whole() {
        let folder = Folder::new();
        let mut tree = arbitrary::example_tree();
        tree[1].records = (0..30_000u64)
            .map(|number| {
                let name = format!("{number:08}");
                arbitrary::example_record(name.as_bytes(), Kind::File { size: number }, number)
            })
            .collect();
        folder.write(&tree);
        assert!(folder.path().metadata().unwrap().len() > BUFFER as u64);
        let manifest = folder.open().unwrap();
        assert_eq!(all(&manifest), tree);
        assert!(manifest.block(&tree[1].directory).unwrap().as_deref() == Some(&tree[1]));
    }

    #[test]
    fn the_golden_file_is_read_and_written() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/manifest.v1");
        let folder = Folder::new();
        let tree = arbitrary::example_tree();
        folder.write(&tree);
        let written = fs::read(folder.path()).unwrap();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &written).unwrap();
        }
        let kept = fs::read(&golden).unwrap();
        assert!(written == kept, "the format changed: raise VERSION, then UPDATE_GOLDEN=1");
        fs::write(folder.path(), kept).unwrap();
        assert_eq!(all(&folder.open().unwrap()), tree);
    }

    #[test]
    fn a_manifest_can_be_read_by_several_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Manifest>();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn random_access_gives_what_streaming_gives(tree in arbitrary::tree()) {
            let folder = Folder::new();
            folder.write(&tree);
            let manifest = folder.open().unwrap();
            prop_assert_eq!(&all(&manifest), &tree);
            for block in &tree {
                let found = manifest.block(&block.directory).unwrap();
                prop_assert_eq!(found.as_deref(), Some(block));
                for record in block.records.iter().filter(|record| record.kind.is_directory()) {
                    let path = block.directory.join(&record.name).unwrap();
                    let expected = tree.iter().find(|block| block.directory == path);
                    let Identity { device, inode, .. } = record.identity[0].unwrap();
                    let found = manifest.block_of_directory(Side::A, device, inode).unwrap();
                    prop_assert_eq!(found.as_deref(), expected);
                }
            }
            let nowhere = RelPath::new(b"no/such/directory").unwrap();
            prop_assert_eq!(manifest.block(&nowhere).unwrap(), None);
        }

        #[test]
        fn the_root_digest_tells_trees_apart_and_not_servers(
            tree in arbitrary::tree(),
            other in arbitrary::tree(),
        ) {
            let without_inodes = |tree: &[Block]| {
                let mut tree = tree.to_vec();
                for record in tree.iter_mut().flat_map(|block| &mut block.records) {
                    record.identity = [None; 2];
                }
                tree
            };
            let digest = |tree: &[Block]| {
                let folder = Folder::new();
                folder.write(tree);
                folder.open().unwrap().root_digest()
            };
            let bare = without_inodes(&tree);
            prop_assert_eq!(digest(&bare), digest(&tree));
            prop_assert_eq!(digest(&other) == digest(&tree), without_inodes(&other) == bare);
        }
    }
}
