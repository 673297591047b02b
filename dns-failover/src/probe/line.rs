//! Reading with a deadline and a cap.

use std::io::{ErrorKind, Read};
use std::net::TcpStream;

use super::{Deadline, Failure, broken};

/// What has come over a connection so far; never more than its cap.
pub(super) struct Incoming<'a> {
    stream: &'a TcpStream,
    deadline: Deadline,
    cap: usize,
    bytes: Vec<u8>,
    /// Up to where lines were taken.
    taken: usize,
}

impl<'a> Incoming<'a> {
    pub(super) fn new(stream: &'a TcpStream, deadline: Deadline, cap: usize) -> Incoming<'a> {
        Incoming { stream, deadline, cap, bytes: Vec::new(), taken: 0 }
    }

    /// Reads some more. False at the end, and when the cap is reached.
    pub(super) fn more(&mut self, what: &'static str) -> Result<bool, Failure> {
        let mut buffer = [0; 4096];
        let room = buffer.len().min(self.cap - self.bytes.len());
        if room == 0 {
            return Ok(false);
        }
        loop {
            let left = self.deadline.left(what)?;
            self.stream.set_read_timeout(Some(left)).map_err(broken(what))?;
            match self.stream.read(&mut buffer[..room]) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.bytes.extend_from_slice(&buffer[..count]);
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(what)(error)),
            }
        }
    }

    /// The next line without its end, as far as it came when the connection ended or the cap was
    /// reached. None when there is nothing more.
    pub(super) fn line(&mut self, what: &'static str) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let rest = &self.bytes[self.taken..];
            if let Some(end) = memchr::memchr(b'\n', rest) {
                let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]).to_vec();
                self.taken += end + 1;
                return Ok(Some(line));
            }
            if !self.more(what)? {
                let rest = self.bytes[self.taken..].to_vec();
                self.taken = self.bytes.len();
                return Ok(Some(rest).filter(|rest| !rest.is_empty()));
            }
        }
    }

    /// What has come and was not taken as lines.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }
}

/// What came, fit to be shown: cut, and with everything that is not printable replaced.
pub(super) fn shown(bytes: &[u8]) -> String {
    let printable = |byte: &u8| if (32..127).contains(byte) { char::from(*byte) } else { '?' };
    let text: String = bytes.iter().take(60).map(printable).collect();
    if text.is_empty() { "nothing".to_owned() } else { format!("{text:?}") }
}
