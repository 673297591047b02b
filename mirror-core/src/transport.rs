//! Ways to reach the other end of a link: a pair of byte streams, and what ends them.

mod child;
#[cfg(feature = "ssh")]
mod deadline;
mod host;
#[cfg(feature = "ssh")]
mod host_key;
mod memory;
#[cfg(feature = "ssh")]
mod ssh;

pub use child::{child, ssh_program};
pub use host::{AGENT_COMMAND, Destination};
#[cfg(feature = "ssh")]
pub use host_key::{BadPin, HostKeyCheck, HostKeys, Pin, Secret};
pub use memory::{memory_pair, memory_pair_in_pieces};
#[cfg(feature = "ssh")]
pub use ssh::{Login, SshOptions, ssh};

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use crate::error::explain;
use crate::wire::LinkError;

/// What ends a connection from outside, and knows what became of it.
pub trait Ending: Send + Sync {
    /// Ends it: a read or write that waits on it fails. Doing so again changes nothing.
    fn close(&self);

    /// What the other end's program left behind when it ended, where that can be known.
    fn last_words(&self) -> LastWords {
        LastWords::default()
    }
}

impl Ending for () {
    fn close(&self) {}
}

/// How the program at the other end ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LastWords {
    /// Its exit status, once it has one.
    pub status: Option<i32>,
    /// The signal that ended it, if one did: `KILL`, or a number where it has no name.
    pub signal: Option<String>,
    /// The end of what it printed on its standard error.
    pub said: Vec<u8>,
}

/// How many bytes went over a link so far.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    /// Bytes that were written to it.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes that were read from it.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// A connection to the other end: something to read, something to write, and what ends both.
///
/// Reading and writing may happen at the same time on two threads.
///
/// ```
/// use mirror_core::{Transport, memory_pair};
///
/// let (ours, theirs) = memory_pair()?;
/// // Any other pair does as well: a socket's halves, a child's pipes, standard input and output.
/// let by_hand = Transport::new(std::io::empty(), std::io::sink(), ());
/// # drop((ours, theirs, by_hand));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Transport {
    pub(crate) reader: Box<dyn Read + Send>,
    pub(crate) writer: Box<dyn Write + Send>,
    pub(crate) ending: Arc<dyn Ending>,
    pub(crate) traffic: Arc<Traffic>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("traffic", &self.traffic).finish_non_exhaustive()
    }
}

impl Transport {
    /// A connection over any two streams.
    pub fn new(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
        ending: impl Ending + 'static,
    ) -> Transport {
        let traffic = Arc::new(Traffic::default());
        Transport {
            reader: Box::new(CountedReader { inner: reader, traffic: traffic.clone() }),
            writer: Box::new(CountedWriter { inner: writer, traffic: traffic.clone() }),
            ending: Arc::new(ending),
            traffic,
        }
    }

    /// The same connection with at most this many bytes a second each way.
    #[must_use]
    pub fn limited(self, bytes_per_second: u64) -> Transport {
        let rate = bytes_per_second.max(1);
        Transport {
            reader: Box::new(Paced { inner: self.reader, rate }),
            writer: Box::new(Paced { inner: self.writer, rate }),
            ..self
        }
    }

    /// A connection over both directions of a socket.
    pub(crate) fn over(stream: UnixStream) -> io::Result<Transport> {
        let (reader, writer) = (stream.try_clone()?, stream.try_clone()?);
        Ok(Transport::new(reader, writer, memory::Socket(stream)))
    }

    /// The same connection, counted in `traffic` as well.
    pub(crate) fn counted_in(self, traffic: &Arc<Traffic>) -> Transport {
        Transport {
            reader: Box::new(CountedReader { inner: self.reader, traffic: traffic.clone() }),
            writer: Box::new(CountedWriter { inner: self.writer, traffic: traffic.clone() }),
            ..self
        }
    }

    /// Takes the first `count` bytes, or fewer where the connection ends or they stop to be what
    /// `may_begin` says.
    pub(crate) fn first(
        self,
        count: usize,
        patience: Duration,
        may_begin: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(Vec<u8>, Transport), LinkError> {
        let Transport { mut reader, writer, ending, traffic } = self;
        let mut first = Vec::new();
        while first.len() < count && may_begin(&first) {
            let room = count - first.len();
            let (tell, told) = mpsc::channel();
            // A read can last as long as the other end likes.
            let reading = move || {
                let mut bytes = vec![0; room];
                let read = reader.read(&mut bytes).map(|read| {
                    bytes.truncate(read);
                    bytes
                });
                // Whoever waited may have given up.
                let _ = tell.send((read, reader));
            };
            let spawned = thread::Builder::new().name("link-first".to_owned()).spawn(reading);
            spawned.map_err(|error| LinkError::Io(explain(&error)))?;
            let Ok((read, back)) = told.recv_timeout(patience) else {
                ending.close();
                return Err(LinkError::Silent(patience.as_secs()));
            };
            reader = back;
            match read {
                Ok(bytes) if bytes.is_empty() => break,
                Ok(bytes) => first.extend(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LinkError::Io(explain(&error))),
            }
        }
        Ok((first, Transport { reader, writer, ending, traffic }))
    }

    /// The same connection with these bytes before all that comes.
    pub(crate) fn preceded_by(self, bytes: Vec<u8>) -> Transport {
        Transport { reader: Box::new(io::Cursor::new(bytes).chain(self.reader)), ..self }
    }

    /// How much goes over it.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.traffic.clone()
    }
}

struct CountedReader<R> {
    inner: R,
    traffic: Arc<Traffic>,
}

impl<R: Read> Read for CountedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.traffic.received.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

struct CountedWriter<W> {
    inner: W,
    traffic: Arc<Traffic>,
}

impl<W: Write> Write for CountedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.traffic.sent.fetch_add(written as u64, Ordering::Relaxed);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Takes small pieces and rests after each as long as the rate asks for.
struct Paced<T> {
    inner: T,
    rate: u64,
}

impl<T> Paced<T> {
    /// A twentieth of a second's worth, so that a limit is smooth.
    fn piece(&self, most: usize) -> usize {
        most.min(usize::try_from(self.rate / 20).unwrap_or(usize::MAX).max(512))
    }

    fn rest(&self, bytes: usize) {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.rate);
        std::thread::sleep(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
    }
}

impl<T: Read> Read for Paced<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = self.piece(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.rest(read);
        Ok(read)
    }
}

impl<T: Write> Write for Paced<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.piece(bytes.len());
        let written = self.inner.write(&bytes[..most])?;
        self.rest(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
