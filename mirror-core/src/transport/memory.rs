//! Two ends in one process, for embedders' tests and our own.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::{Ending, Transport};

/// Two ends of one connection.
///
/// # Errors
/// When the kernel has no more descriptors.
pub fn memory_pair() -> io::Result<(Transport, Transport)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((Transport::over(ours)?, Transport::over(theirs)?))
}

/// Two ends whose every read and write takes as many bytes as `pieces` says, over and over. What
/// comes of a link must not depend on how its bytes are cut.
///
/// # Errors
/// When the kernel has no more descriptors.
pub fn memory_pair_in_pieces(pieces: &[usize]) -> io::Result<(Transport, Transport)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((in_pieces(ours, pieces)?, in_pieces(theirs, pieces)?))
}

fn in_pieces(stream: UnixStream, pieces: &[usize]) -> io::Result<Transport> {
    let (reader, writer) = (stream.try_clone()?, stream.try_clone()?);
    let (reader, writer) = (Pieces::of(reader, pieces), Pieces::of(writer, pieces));
    Ok(Transport::new(reader, writer, Socket(stream)))
}

/// A socket that both directions of a connection share.
pub(super) struct Socket(pub(super) UnixStream);

impl Ending for Socket {
    fn close(&self) {
        // It may have been closed by the other end.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

struct Pieces<T> {
    inner: T,
    pieces: Vec<usize>,
    at: usize,
}

impl<T> Pieces<T> {
    fn of(inner: T, pieces: &[usize]) -> Pieces<T> {
        Pieces { inner, pieces: pieces.to_vec(), at: 0 }
    }

    fn next(&mut self, most: usize) -> usize {
        self.at += 1;
        let piece = self.pieces.get(self.at % self.pieces.len().max(1)).copied();
        piece.unwrap_or(most).clamp(1, most.max(1)).min(most)
    }
}

impl<T: Read> Read for Pieces<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.next(buffer.len());
        self.inner.read(&mut buffer[..most])
    }
}

impl<T: Write> Write for Pieces<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.next(bytes.len());
        self.inner.write(&bytes[..most])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
