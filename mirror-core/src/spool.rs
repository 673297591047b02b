//! A sequence of records that is written once and read often, and that need not fit in memory.
//!
//! Up to a limit the records are kept in memory; beyond it they move to a file without a name,
//! which the kernel frees when it is closed, whatever ends the process. Nobody else can open that
//! file and no later run reads it, so it carries neither magic nor checksums.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::fs::{Folder, Opening, read_full_at, write_all_at};
use crate::staged::uniquely_named_file;

/// How many bytes of records stay in memory.
const MEMORY_LIMIT: usize = 32 * 1024 * 1024;

/// How many bytes a read or a write of the file takes at a time.
const BUFFER: usize = 256 * 1024;

/// How the name of a file starts where the file system has no files without one. It is removed
/// at once; a crash in between leaves it in the state folder, which sweeps it.
pub(crate) const SPOOL_PREFIX: &[u8] = b".mirror-spool-";

/// The length in front of each record, as a little-endian `u32`.
const PREFIX: usize = size_of::<u32>();

/// An append-only sequence of records.
///
/// Several readers may go over it at once, each from its own position; while there is one, the
/// borrow keeps anything more from being pushed.
pub(crate) struct Spool<T> {
    /// Where the file goes; without one, everything stays in memory.
    folder: Option<Folder>,
    limit: usize,
    file: Option<OwnedFd>,
    /// How many bytes are in the file. They come before those in `tail`.
    stored: u64,
    tail: Vec<u8>,
    records: u64,
    holds: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Spool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spool")
            .field("records", &self.records)
            .field("in_file", &self.stored)
            .field("in_memory", &self.tail.len())
            .finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Spool<T> {
    /// An empty sequence that goes to a file in `folder` when it grows large.
    pub(crate) fn new(folder: Option<Folder>) -> Spool<T> {
        Spool::with_limit(folder, MEMORY_LIMIT)
    }

    /// [`new`](Self::new) with another limit on the bytes in memory.
    pub(crate) fn with_limit(folder: Option<Folder>, limit: usize) -> Spool<T> {
        Spool {
            folder,
            limit,
            file: None,
            stored: 0,
            tail: Vec::new(),
            records: 0,
            holds: PhantomData,
        }
    }

    /// Appends `record` and returns its position, for [`iter_from`](Self::iter_from).
    ///
    /// # Errors
    /// What the kernel says when the file cannot be made or written. The record is in
    /// the sequence all the same, in memory.
    pub(crate) fn push(&mut self, record: &T) -> io::Result<u64> {
        let start = self.tail.len();
        let position = self.stored + start as u64;
        self.tail.extend_from_slice(&[0; PREFIX]);
        let written = postcard::serialize_with_flavor(record, Appending(&mut self.tail))
            .map_err(io::Error::other)
            .and_then(|()| {
                u32::try_from(self.tail.len() - start - PREFIX)
                    .map_err(|_| io::Error::other("a record of 4 GiB or more"))
            });
        match written {
            Ok(length) => {
                self.tail[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
                self.records += 1;
            }
            Err(error) => {
                self.tail.truncate(start);
                return Err(error);
            }
        }
        let room = if self.file.is_some() { BUFFER.min(self.limit) } else { self.limit };
        if self.tail.len() > room {
            self.store()?;
        }
        Ok(position)
    }

    /// Moves what is in memory to the file.
    fn store(&mut self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        if self.file.is_none() {
            self.file = Some(match folder.fs.open_at(folder.dir.as_fd(), b".", Opening::Unnamed) {
                // What kernels and file systems answer that do not know such files.
                Err(error)
                    if matches!(
                        Errno::from_io_error(&error),
                        Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT)
                    ) =>
                {
                    file_without_its_name(folder)?
                }
                result => result?,
            });
        }
        if let Some(file) = &self.file {
            write_all_at(&*folder.fs, file.as_fd(), &self.tail, self.stored)?;
            self.stored += self.tail.len() as u64;
            if self.tail.capacity() > 2 * BUFFER {
                self.tail = Vec::new();
            }
            self.tail.clear();
        }
        Ok(())
    }

    /// How many records there are.
    pub(crate) fn len(&self) -> u64 {
        self.records
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// All records, in the order in which they were pushed.
    pub(crate) fn iter(&self) -> Records<'_, T> {
        self.iter_from(0)
    }

    /// The record at `position`, which [`push`](Self::push) returned, and all that came after it.
    pub(crate) fn iter_from(&self, position: u64) -> Records<'_, T> {
        Records { spool: self, position, buffer: Vec::new(), buffered_at: 0 }
    }

    fn end(&self) -> u64 {
        self.stored + self.tail.len() as u64
    }
}

/// Makes a file and takes its name away, for file systems that know no [`Opening::Unnamed`].
fn file_without_its_name(folder: &Folder) -> io::Result<OwnedFd> {
    let (fs, dir) = (&*folder.fs, &*folder.dir);
    let (_, name) = uniquely_named_file(fs, dir.as_fd(), SPOOL_PREFIX)?;
    let file = fs.open_at(dir.as_fd(), &name, Opening::Update);
    fs.unlink_at(dir.as_fd(), &name)?;
    file
}

/// Goes over the records of a [`Spool`]. After an error it ends.
pub(crate) struct Records<'a, T> {
    spool: &'a Spool<T>,
    position: u64,
    /// A stretch of the file, and where in it that begins.
    buffer: Vec<u8>,
    buffered_at: u64,
}

impl<T> fmt::Debug for Records<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("position", &self.position).finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Records<'_, T> {
    /// The position of the record that comes next.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// At least `length` bytes at the current position.
    fn bytes(&mut self, length: usize) -> io::Result<&[u8]> {
        let spool = self.spool;
        if spool.end() - self.position < length as u64 {
            return Err(damaged());
        }
        // A record is never in the file in part: what is stored is stored up to its end.
        if let Some(at) = self.position.checked_sub(spool.stored) {
            let at = usize::try_from(at).map_err(|_| damaged())?;
            return spool.tail.get(at..).ok_or_else(damaged);
        }
        let at = self.position.checked_sub(self.buffered_at);
        let held = at.map_or(0, |at| (self.buffer.len() as u64).saturating_sub(at));
        if held < length as u64 {
            let left = usize::try_from(spool.stored - self.position).unwrap_or(usize::MAX);
            let (Some(file), Some(folder)) = (&spool.file, &spool.folder) else {
                return Err(damaged());
            };
            self.buffer.resize(left.min(BUFFER.max(length)), 0);
            let file = file.as_fd();
            let read = read_full_at(&*folder.fs, file, &mut self.buffer, self.position)?;
            self.buffer.truncate(read);
            self.buffered_at = self.position;
        }
        let at = usize::try_from(self.position - self.buffered_at).map_err(|_| damaged())?;
        let bytes = self.buffer.get(at..).unwrap_or_default();
        if bytes.len() < length {
            return Err(damaged());
        }
        Ok(bytes)
    }

    fn read(&mut self) -> io::Result<T> {
        let bytes = self.bytes(PREFIX)?;
        let mut length = [0; PREFIX];
        length.copy_from_slice(&bytes[..PREFIX]);
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let whole = length.saturating_add(PREFIX);
        let bytes = match bytes.get(PREFIX..whole) {
            Some(bytes) => bytes,
            None => &self.bytes(whole)?[PREFIX..whole],
        };
        let record = postcard::from_bytes(bytes).map_err(|_| damaged())?;
        self.position += whole as u64;
        Ok(record)
    }
}

impl<T: Serialize + DeserializeOwned> Iterator for Records<'_, T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        if self.position >= self.spool.end() {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.position = self.spool.end();
        }
        Some(record)
    }
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a temporary record of this run reads back otherwise than it was written; check the disk",
    )
}

/// Lets postcard write behind what a vector holds already.
pub(crate) struct Appending<'a>(pub(crate) &'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{Fs, RealFs};
    use proptest::prelude::*;
    use std::fs::File;
    use std::sync::Arc;

    type Sample = (u64, String, Option<Vec<u8>>);

    fn folder() -> (tempfile::TempDir, Folder) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Arc::new(File::open(folder.path()).unwrap().into());
        (folder, Folder { fs: Arc::new(RealFs), dir })
    }

    fn spool<T: Serialize + DeserializeOwned>(folder: &Folder, limit: usize) -> Spool<T> {
        Spool::with_limit(Some(folder.clone()), limit)
    }

    #[test]
    fn an_empty_spool_has_no_records() {
        let empty: Spool<Sample> = Spool::new(None);
        assert!(empty.is_empty());
        assert_eq!(empty.iter().count(), 0);
    }

    #[test]
    fn a_large_spool_leaves_no_name_in_its_folder() {
        let (folder, held) = folder();
        let mut spool: Spool<u64> = spool(&held, 100);
        for number in 0..1000 {
            spool.push(&number).unwrap();
        }
        assert!(spool.file.is_some());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn a_file_system_without_unnamed_files_does_as_well() {
        let (folder, held) = folder();
        let mut spool: Spool<u64> = spool(&held, 100);
        spool.file = Some(file_without_its_name(&held).unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        for number in 0..1000 {
            spool.push(&number).unwrap();
        }
        let read: Vec<u64> = spool.iter().map(Result::unwrap).collect();
        assert_eq!(read, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_folder_everything_stays_in_memory() {
        let mut spool: Spool<u64> = Spool::with_limit(None, 10);
        for number in 0..100 {
            spool.push(&number).unwrap();
        }
        assert!(spool.file.is_none());
        assert_eq!(spool.iter().map(Result::unwrap).sum::<u64>(), 4950);
    }

    #[test]
    fn a_record_longer_than_a_read_comes_back_whole() {
        let (_folder, held) = folder();
        let mut spool: Spool<String> = spool(&held, 100);
        let long = "x".repeat(3 * BUFFER);
        for text in ["a", &long, "b"] {
            spool.push(&text.to_owned()).unwrap();
        }
        let read: Vec<String> = spool.iter().map(Result::unwrap).collect();
        assert_eq!(read, ["a", &long, "b"]);
    }

    #[test]
    fn a_file_that_was_cut_is_an_error_and_then_the_end() {
        let (_folder, held) = folder();
        let mut spool: Spool<u64> = spool(&held, 4);
        for number in 0..10 {
            spool.push(&number).unwrap();
        }
        let file = spool.file.as_ref().unwrap();
        RealFs.set_length(file.as_fd(), 7).unwrap();
        let read: Vec<_> = spool.iter().collect();
        assert_eq!(read.len(), 2);
        assert_eq!(*read[0].as_ref().unwrap(), 0);
        assert_eq!(read[1].as_ref().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn on_disk_is_as_in_memory_for_any_reader(
            records in prop::collection::vec(any::<Sample>(), 0..60),
            limit in 0usize..2000,
        ) {
            let (_folder, held) = folder();
            let mut disk: Spool<Sample> = spool(&held, limit);
            let mut memory: Spool<Sample> = Spool::new(None);
            let mut positions = Vec::new();
            for record in &records {
                let position = disk.push(record).unwrap();
                prop_assert_eq!(position, memory.push(record).unwrap());
                positions.push(position);
            }
            prop_assert_eq!(disk.len(), records.len() as u64);
            // Every reader starts elsewhere, and all take turns.
            let mut readers: Vec<_> = positions
                .iter()
                .enumerate()
                .flat_map(|(first, &position)| {
                    [(first, disk.iter_from(position)), (first, memory.iter_from(position))]
                })
                .collect();
            for step in 0..=records.len() {
                for (first, reader) in &mut readers {
                    let read = reader.next().map(Result::unwrap);
                    prop_assert_eq!(read.as_ref(), records.get(*first + step));
                }
            }
        }
    }
}
