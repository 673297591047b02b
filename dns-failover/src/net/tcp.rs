//! Messages over TCP (RFC 7766).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Link, Network};

/// Name servers over TCP.
///
/// ```no_run
/// use std::time::Duration;
///
/// use dns_failover::{Publisher, Patience, SiteId, Tcp, Topology};
///
/// # let draft = dns_failover::testing::draft(1);
/// let topology = Topology::new(draft).map_err(|faults| faults[0].to_string())?;
/// let network = Tcp { timeout: Duration::from_secs(3) };
/// let publisher = Publisher::new(&topology, &network, SiteId::Uk, Patience::default());
/// println!("{}", publisher.verify(topology.domains().keys().cloned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Tcp {
    /// How long a connection, and then each message, may take.
    pub timeout: Duration,
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp { timeout: Duration::from_secs(5) }
    }
}

impl Network for Tcp {
    fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Link + '_>> {
        let stream = TcpStream::connect_timeout(&to, self.timeout)?;
        stream.set_write_timeout(Some(self.timeout))?;
        stream.set_nodelay(true)?;
        Ok(Box::new(Framed { stream, timeout: self.timeout }))
    }

    fn unix_time(&self) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "the edge is where clocks are read")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// Each message goes with its length before it (RFC 1035 section 4.2.2).
struct Framed {
    stream: TcpStream,
    timeout: Duration,
}

impl Framed {
    /// Reads until `octets` is full. Whoever sends an octet now and then must not keep us for ever, so
    /// the time counts for all of them together.
    fn fill(&mut self, octets: &mut [u8], until: Instant) -> io::Result<()> {
        let mut taken = 0;
        while taken < octets.len() {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                return Err(in_words(ErrorKind::TimedOut.into()));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut octets[taken..]) {
                Ok(0) => return Err(in_words(ErrorKind::UnexpectedEof.into())),
                Ok(len) => taken += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(in_words(error)),
            }
        }
        Ok(())
    }
}

impl Link for Framed {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let len = u16::try_from(message.len()).map_err(|_| ErrorKind::InvalidInput)?;
        // One segment: some servers do not wait for the second half of a length.
        self.stream.write_all(&[&len.to_be_bytes(), message].concat())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let until = now() + self.timeout;
        let mut len = [0; 2];
        self.stream.set_read_timeout(Some(self.timeout))?;
        match self.stream.read(&mut len).map_err(in_words)? {
            0 => {
                return Err(io::Error::new(
                    ErrorKind::ConnectionAborted,
                    "the server closed the connection",
                ));
            }
            1 => self.fill(&mut len[1..], until)?,
            _ => {}
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        self.fill(&mut message, until)?;
        Ok(message)
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge is where clocks are read")]
fn now() -> Instant {
    Instant::now()
}

/// The kernel's word for "no answer in time" is "resource temporarily unavailable".
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            io::Error::new(ErrorKind::TimedOut, "no reply in time")
        }
        ErrorKind::UnexpectedEof => {
            io::Error::new(ErrorKind::UnexpectedEof, "the connection ends within it")
        }
        _ => error,
    }
}
