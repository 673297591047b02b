//! How `dual-mail queue` talks to a relay that runs: one line of JSON each way, over a socket in
//! the spool folder that only its owner can reach.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mail_dual::{Handle, LegName, QueuedMessage, SpoolId, Stats, Timestamp};
use serde::{Deserialize, Serialize};

use super::Failure;

/// What `queue` asks for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Messages that are not done, after one.
    List {
        /// The last that was listed before.
        after: Option<SpoolId>,
    },
    /// Messages that are done and kept.
    Kept,
    /// How the legs are, and how often things happened.
    Status,
    /// One message.
    Show {
        /// Which.
        id: SpoolId,
    },
    /// Keep messages from being delivered.
    Hold {
        /// Which.
        ids: Vec<SpoolId>,
    },
    /// Let messages go on.
    Release {
        /// Which.
        ids: Vec<SpoolId>,
    },
    /// Try everything now.
    Flush {
        /// Only what is for this leg.
        leg: Option<LegName>,
    },
    /// Deliver messages once more.
    Resubmit {
        /// Which.
        ids: Vec<SpoolId>,
        /// Through these legs; through all when there is none.
        legs: Vec<LegName>,
    },
}

/// What it is answered.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// Some messages; more follow after the last if it is not empty.
    Queue {
        /// Oldest first.
        messages: Vec<QueuedMessage>,
    },
    /// Messages that are done.
    Kept {
        /// With the time they were done, oldest first.
        messages: Vec<(SpoolId, Timestamp)>,
    },
    /// How it is.
    Status {
        /// How many messages are not done.
        queued: usize,
        /// The legs.
        legs: Vec<LegStatus>,
        /// How often things happened, as a JSON object.
        stats: serde_json::Value,
    },
    /// One message.
    Message {
        /// How far it is; none when it is done.
        progress: Option<QueuedMessage>,
        /// From whom.
        sender: String,
        /// For whom.
        recipients: Vec<String>,
        /// Its header, as far as 8 KiB go.
        header: String,
    },
    /// It was done to so many messages.
    Count {
        /// How many.
        count: usize,
    },
    /// It cannot be done.
    Sorry {
        /// One sentence.
        why: String,
    },
}

/// How a leg is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LegStatus {
    /// What it is called.
    pub name: LegName,
    /// How many messages wait for it.
    pub waiting: usize,
    /// When it is tried again; none while it is there.
    pub away_until: Option<Timestamp>,
    /// What happened last.
    pub trouble: Option<String>,
}

/// So many messages go into one answer.
const PAGE: usize = 1000;

/// The longest request that is read.
const LONGEST: u64 = 1 << 20;

/// Answers a request. The same code answers for a relay that runs and for a spool that rests.
pub fn answer(handle: &Handle, request: Request) -> Answer {
    match request {
        Request::List { after } => Answer::Queue { messages: handle.list(after, PAGE) },
        Request::Kept => Answer::Kept { messages: handle.kept() },
        Request::Status => status(handle),
        Request::Show { id } => show(handle, id),
        Request::Hold { ids } => count(ids, |id| handle.hold(id)),
        Request::Release { ids } => count(ids, |id| handle.release(id)),
        Request::Flush { leg } => {
            if let Some(leg) = &leg
                && !handle.legs().iter().any(|known| known.name == *leg)
            {
                return Answer::Sorry { why: format!("there is no leg {leg}") };
            }
            Answer::Count { count: handle.flush(leg.as_ref()) }
        }
        Request::Resubmit { ids, legs } => {
            for id in &ids {
                if let Err(error) = handle.resubmit(*id, &legs) {
                    return Answer::Sorry { why: error.to_string() };
                }
            }
            Answer::Count { count: ids.len() }
        }
    }
}

fn count(ids: Vec<SpoolId>, change: impl Fn(SpoolId) -> bool) -> Answer {
    Answer::Count { count: ids.into_iter().filter(|&id| change(id)).count() }
}

fn status(handle: &Handle) -> Answer {
    let stats: Stats = handle.stats();
    let legs = handle.legs().into_iter().map(|leg| LegStatus {
        name: leg.name,
        waiting: leg.waiting,
        away_until: leg.away_until,
        trouble: leg.trouble.map(|(at, words)| format!("{at}: {words}")),
    });
    Answer::Status {
        queued: handle.queue_len(),
        legs: legs.collect(),
        stats: serde_json::to_value(stats).unwrap_or_default(),
    }
}

fn show(handle: &Handle, id: SpoolId) -> Answer {
    let stored = match handle.message(id) {
        Ok(stored) => stored,
        Err(error) => return Answer::Sorry { why: error.to_string() },
    };
    let bytes = stored.message.as_bytes();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(bytes.len());
    let envelope = &stored.head.envelope;
    Answer::Message {
        progress: handle.progress(id),
        sender: envelope.reverse_path.to_string(),
        recipients: envelope.recipients().iter().map(|one| one.path.to_string()).collect(),
        header: String::from_utf8_lossy(&bytes[..end.min(8192)]).into_owned(),
    }
}

/// A socket that is bound and not served yet.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

/// A socket that is served. Dropping it stops that.
#[derive(Debug)]
pub struct Controlled {
    path: PathBuf,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Makes the socket, in place of one that a relay left behind which was killed.
    ///
    /// # Errors
    ///
    /// One sentence on what to do.
    pub fn bind(path: &Path) -> Result<Control, Failure> {
        // The spool's lock is ours, so whatever is there is nobody's.
        let _ = fs::remove_file(path);
        let listener = UnixListener::bind(path).and_then(|listener| {
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
            Ok(listener)
        });
        let listener = listener.map_err(|error| {
            let path = path.display();
            let advice = match error.kind() {
                io::ErrorKind::InvalidInput => {
                    "its path is too long for a socket; choose a shorter spool folder".to_owned()
                }
                _ => error.to_string(),
            };
            Failure::failed(format!("cannot make the control socket {path}: {advice}"))
        })?;
        Ok(Control { listener, path: path.to_owned() })
    }

    /// Answers, one after the other.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn serve(self, handle: Handle) -> io::Result<Controlled> {
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(move || {
            for stream in self.listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever asks is the owner; who goes away meanwhile needs no answer.
                if let Ok(stream) = stream {
                    let _ = serve_one(stream, &handle);
                }
            }
        })?;
        Ok(Controlled { path: self.path, stopping, thread: Some(thread) })
    }
}

fn serve_one(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    let mut line = String::new();
    BufReader::new((&stream).take(LONGEST)).read_line(&mut line)?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => answer(handle, request),
        Err(error) => Answer::Sorry { why: format!("not understood: {error}") },
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    (&stream).write_all(&bytes)
}

impl Drop for Controlled {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread, which looks whether it is to stop.
        let woken = UnixStream::connect(&self.path).is_ok();
        let _ = fs::remove_file(&self.path);
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            let _ = thread.join();
        }
    }
}

/// Asks a relay that runs; none when no relay does.
///
/// # Errors
///
/// One sentence on what to do.
pub fn ask(path: &Path, request: &Request) -> Result<Option<Answer>, Failure> {
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => {
            let path = path.display();
            return Err(Failure::failed(format!("cannot reach the relay at {path}: {error}")));
        }
    };
    let exchange = || -> io::Result<Answer> {
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let mut bytes = serde_json::to_vec(request)?;
        bytes.push(b'\n');
        (&stream).write_all(&bytes)?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    };
    exchange().map(Some).map_err(|error| {
        Failure::temporary(format!("the relay did not answer: {error}; try again"))
    })
}
