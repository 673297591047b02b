//! Connections on which something goes wrong after so many bytes.

use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use mirror_core::{Ending, Transport};

/// What happens to a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It ends after so many bytes.
    Cut(u64),
    /// The bit of the byte with this number is another one.
    Flip(u64, u8),
    /// Nothing comes after so many bytes, and nothing ends.
    Stall(u64),
}

/// Two ends of a connection with something wrong in what each hears.
pub fn pair(caller_hears: Option<Mishap>, agent_hears: Option<Mishap>) -> (Transport, Transport) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (end(ours, caller_hears), end(theirs, agent_hears))
}

fn end(stream: UnixStream, mishap: Option<Mishap>) -> Transport {
    let ending = Socket(stream.try_clone().unwrap());
    let reader = Broken { inner: stream.try_clone().unwrap(), mishap, read: 0 };
    Transport::new(reader, stream, ending)
}

struct Socket(UnixStream);

impl Ending for Socket {
    fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

struct Broken {
    inner: UnixStream,
    mishap: Option<Mishap>,
    read: u64,
}

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = match self.mishap {
            Some(Mishap::Cut(after) | Mishap::Stall(after)) => after - self.read,
            _ => u64::MAX,
        };
        if most == 0 {
            if matches!(self.mishap, Some(Mishap::Stall(_))) {
                // Until somebody shuts it down: what comes is taken and never told.
                let mut rest = [0; 4096];
                while self.inner.read(&mut rest)? > 0 {}
            }
            let _ = self.inner.shutdown(Shutdown::Both);
            return Ok(0);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        if let Some(Mishap::Flip(at, bit)) = self.mishap
            && let Some(at) = at.checked_sub(self.read)
            && at < read as u64
        {
            buffer[at as usize] ^= 1 << (bit % 8);
        }
        self.read += read as u64;
        Ok(read)
    }
}
