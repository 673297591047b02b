//! Every call on a disk that a spool makes.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A folder of plain files: what a spool asks of a disk.
///
/// Names are single components. A new file or another name lasts through a power cut once
/// [`sync`](Vfs::sync) has returned, what was written once [`VfsFile::sync`] has.
#[expect(
    clippy::missing_errors_doc,
    reason = "each fails with what the disk said, and so no other way"
)]
pub trait Vfs: fmt::Debug + Send + Sync {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Makes a file that must not be there yet, mode 0600.
    fn create(&self, name: &str) -> io::Result<Arc<dyn VfsFile>>;
    /// Opens a file that is there, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn VfsFile>>;
    /// Gives a file another name, in place of what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync(&self) -> io::Result<()>;
    /// Keeps others out until this is dropped; false when another has it.
    fn lock(&self) -> io::Result<bool>;
    /// How many bytes there is room for.
    fn free(&self) -> io::Result<u64>;
}

/// An open file. Calls say where they read and write, so that several threads may.
#[expect(
    clippy::missing_errors_doc,
    reason = "each fails with what the disk said, and so no other way"
)]
pub trait VfsFile: fmt::Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes; fewer only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes what was written durable. After an error, nobody knows what is.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file off.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// How long it is.
    fn length(&self) -> io::Result<u64>;
}
