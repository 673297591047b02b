//! The serving end of a link: a root, and what a caller may do to it.
//!
//! An agent believes nothing that a caller says. The root is held from the beginning, every path
//! is resolved below it by the kernel, and steps are checked as those of a saved plan are. Reading
//! and writing is done by the same code as on a local tree.

mod apply;
mod asked;
mod fetch;
mod meeting;
mod scan;
mod tree;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use crate::error::Error;
use crate::fs::{Fs, RealFs};
use crate::policy::Fidelity;
use crate::root::Root;
use crate::transport::Transport;
use crate::wire::link::{Link, Patience, Role, Stream};
use crate::wire::message::{
    Answer, Enter, Hello, Request, SCAN, SCAN_MAX, Scanned, Setback, Standing, Welcome, decode,
    encode,
};
use crate::wire::{JOINER_MAGIC, LinkError, VERSIONS};
use meeting::MeetingPoint;
use tree::Tree;

pub(crate) use apply::phase_of;

/// What an agent keeps to, whatever its caller asks for.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// What the root is reached by.
    fs: Arc<dyn Fs>,
    root: PathBuf,
    read_only: bool,
    fidelity: Fidelity,
    limits: Limits,
    patience: Patience,
    standing: Standing,
}

impl AgentConfig {
    /// Everything in `root` may be read and written, with all metadata.
    pub fn new(root: impl AsRef<Path>) -> AgentConfig {
        AgentConfig {
            fs: Arc::new(RealFs),
            root: root.as_ref().to_path_buf(),
            read_only: false,
            fidelity: Fidelity::Archive,
            limits: Limits::default(),
            patience: Patience::default(),
            standing: Standing::default(),
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn reaching_by(mut self, fs: Arc<dyn Fs>) -> AgentConfig {
        self.fs = fs;
        self
    }

    /// Whether nothing may be changed.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> AgentConfig {
        self.read_only = read_only;
        self
    }

    /// How faithful copies may be: with [`Fidelity::Hosted`] no caller brings setuid bits, devices,
    /// owners other than the root's, or links out of the tree.
    #[must_use]
    pub fn fidelity(mut self, fidelity: Fidelity) -> AgentConfig {
        self.fidelity = fidelity;
        self
    }

    /// How much a caller may ask for at once.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> AgentConfig {
        self.limits = limits;
        self
    }

    /// How long to wait for the caller.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> AgentConfig {
        self.patience = patience;
        self
    }

    /// What to tell callers about the site.
    #[must_use]
    pub fn standing(mut self, standing: Standing) -> AgentConfig {
        self.standing = standing;
        self
    }
}

/// How much a peer may ask for or tell at once, so that keeping it has an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps that are carried out in one go.
    pub steps: u32,
    /// Entries of one directory.
    pub directory_entries: u32,
    /// Entries of a tree.
    pub entries: u64,
    /// Problems of a tree or a run.
    pub problems: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            steps: 1_250_000,
            directory_entries: 400_000,
            entries: 50_000_000,
            problems: 50_000,
        }
    }
}

/// Serves one caller until it takes its leave.
///
/// Standard input and output are a transport like any other, so that a program of ten lines is an
/// agent; `mirror-agent` in this workspace is one.
///
/// ```
/// use mirror_core::{AgentConfig, RemoteOptions, RemoteTree, memory_pair, serve};
///
/// # let folder = tempfile::tempdir()?;
/// let (ours, theirs) = memory_pair()?;
/// let config = AgentConfig::new(folder.path()).read_only(true);
/// let agent = std::thread::spawn(move || serve(theirs, &config));
/// drop(RemoteTree::connect(ours, "a thread", &RemoteOptions::default())?);
/// agent.join().expect("an agent never panics")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Link`] when the connection failed or the caller broke the protocol. Whatever was under
/// way has stopped between two steps, and what it had not finished has been removed.
pub fn serve(transport: Transport, config: &AgentConfig) -> Result<(), Error> {
    let failed = |source| Error::Link { peer: "the caller".to_owned(), source };
    let silence = config.patience.silence;
    let (first, transport) = transport.first(16, silence, &meeting::may_begin).map_err(failed)?;
    if first == JOINER_MAGIC {
        return meeting::relay(transport, silence).map_err(failed);
    }
    let transport = transport.preceded_by(first);
    let link = Link::start(transport, Role::Agent, config.patience).map_err(failed)?;
    let served = greet(&link, config).and_then(|tree| match tree {
        Some(tree) => attend(&link, &Arc::new(tree)),
        None => Ok(()),
    });
    // What was said last tells the other end why.
    link.leave();
    match &served {
        Ok(()) => link.part(),
        Err(error) => link.fail(error.clone()),
    }
    served.map_err(failed)
}

/// Agrees on what is served; None when the caller had to be refused.
fn greet(link: &Link, config: &AgentConfig) -> Result<Option<Tree>, LinkError> {
    let stream = link.greeting();
    let program = concat!("mirror-agent ", env!("CARGO_PKG_VERSION")).to_owned();
    stream.send(&encode(&Hello { versions: VERSIONS, program }))?;
    let ended = LinkError::Ended;
    let hello: Hello = decode(&stream.receive()?.ok_or(ended.clone())?)?;
    common_version(hello.versions)?;
    let enter: Enter = decode(&stream.receive()?.ok_or(ended)?)?;
    let sentence = |error: Error| match error {
        Error::OpenRoot { path, source } => {
            let path = crate::path::escape(path.as_os_str().as_bytes()).into_owned();
            format!("cannot open {path}: {}", crate::error::explain(&source))
        }
        other => other.to_string(),
    };
    let entered = Root::open(config.fs.clone(), &config.root)
        .map_err(sentence)
        .and_then(|root| Tree::enter(root, config, &enter))
        .and_then(|tree| Ok((welcome(&tree, config).map_err(sentence)?, tree)));
    let (welcome, tree) = match entered {
        Ok((welcome, tree)) => (welcome, Some(tree)),
        Err(why) => (Welcome::Refused(why), None),
    };
    stream.send(&encode(&welcome))?;
    Ok(tree)
}

fn welcome(tree: &Tree, config: &AgentConfig) -> Result<Welcome, Error> {
    Ok(Welcome::Entered {
        root: tree.id()?,
        capabilities: tree.capabilities()?,
        read_only: config.read_only,
        standing: config.standing.clone(),
        whereabouts: tree.whereabouts()?,
    })
}

/// The newest version that both ends speak.
pub(crate) fn common_version(theirs: (u16, u16)) -> Result<u16, LinkError> {
    let version = VERSIONS.1.min(theirs.1);
    if version < VERSIONS.0 || version < theirs.0 {
        return Err(LinkError::Version { ours: VERSIONS, theirs });
    }
    Ok(version)
}

/// Answers requests, several at once, until the caller leaves.
fn attend(link: &Link, tree: &Arc<Tree>) -> Result<(), LinkError> {
    let mut under_way: Vec<thread::JoinHandle<()>> = Vec::new();
    let meeting = Arc::new(MeetingPoint::of(link));
    let begin = |name: &str, work: Box<dyn FnOnce() + Send>| {
        let begun = thread::Builder::new().name(name.to_owned()).spawn(work);
        begun.map_err(|error| LinkError::Io(crate::error::explain(&error)))
    };
    let (listings, wanted) = mpsc::channel::<(Arc<Stream>, Vec<u8>)>();
    let lister = begin("listing", {
        let tree = tree.clone();
        Box::new(move || {
            for (stream, first) in wanted {
                end(&stream, list(&stream, &tree, &first));
            }
        })
    })?;
    let ended = loop {
        let stream = match link.accept() {
            Ok(Some(stream)) => Arc::new(stream),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        let (tree, listings, meeting) = (tree.clone(), listings.clone(), meeting.clone());
        let answering = move || match stream.receive() {
            // Who lists has gone only with the link.
            Ok(Some(first)) if may_be_scan(&first) => drop(listings.send((stream, first))),
            Ok(Some(first)) => end(&stream, answer(&stream, &tree, &meeting, &first)),
            Ok(None) => stream.close(),
            Err(error) => end(&stream, Err(error)),
        };
        match begin("request", Box::new(answering)) {
            Ok(thread) => under_way.push(thread),
            Err(error) => break Err(error),
        }
        under_way.retain(|thread| !thread.is_finished());
    };
    if let Err(error) = &ended {
        link.fail(error.clone());
    }
    drop(listings);
    for thread in under_way.into_iter().chain([lister]) {
        // What it was asked for has failed, and the caller sees its stream end.
        let _ = thread.join();
    }
    ended
}

/// Closes the stream of a request that was answered, or could not be.
fn end(stream: &Stream, answered: Result<(), LinkError>) {
    // A link that failed has told everybody; a request that cannot be read ends it.
    if let Err(LinkError::Protocol(why)) = answered {
        stream.accuse(why);
    }
    stream.close();
}

/// Lists the tree. One thread does this for all requests: the rules of a filter become many times
/// as large when they are read, and what one thread has freed it uses again.
fn list(stream: &Stream, tree: &Tree, first: &[u8]) -> Result<(), LinkError> {
    if first.len() > SCAN_MAX {
        let why = "the filter takes more than 64 KiB, which is more than is listed by".to_owned();
        let failed = Scanned::Failed(Setback::Refused(why));
        return stream.send(&encode(&failed)).map(drop);
    }
    match decode::<Request>(first)? {
        Request::Scan(order) => scan::list(stream, tree, &order),
        _ => Err(LinkError::Protocol(LONG_NUMBER)),
    }
}

/// Whether a request may turn out to be a scan: a varint has longer spellings than its shortest,
/// which begin with a byte from 0x80 on and which nobody who keeps to the protocol uses.
fn may_be_scan(first: &[u8]) -> bool {
    first.first().is_some_and(|&byte| byte == SCAN || byte >= 0x80)
}

const LONG_NUMBER: &str = "a request whose number takes more bytes than it needs";

fn answer(
    stream: &Arc<Stream>,
    tree: &Arc<Tree>,
    meeting: &MeetingPoint,
    first: &[u8],
) -> Result<(), LinkError> {
    let reply = match decode::<Request>(first)? {
        Request::Scan(_) => return Err(LinkError::Protocol(LONG_NUMBER)),
        Request::Digest => return fetch::digest(stream, tree),
        Request::Fetch => return fetch::send(stream, tree),
        Request::Apply(order) => return apply::carry_out(stream, tree, &order),
        Request::Supply(path) => return apply::take_supply(stream, tree, &path),
        Request::Capacity => match tree.capacity() {
            Ok(capacity) => Answer::Capacity(capacity),
            Err(error) => Answer::Failed(setback(&error)),
        },
        Request::Lock => match tree.lock() {
            Ok(root) => Answer::Locked(root),
            Err(error) => Answer::Failed(setback(&error)),
        },
        Request::Meet => meeting.answer(),
    };
    stream.send(&encode(&reply)).map(drop)
}

/// An error of ours in the words of the protocol.
fn setback(error: &Error) -> Setback {
    use crate::guard::Refused;
    use crate::wire::valid::telling;
    match error {
        Error::Refused(Refused::Busy { .. }) => Setback::Busy,
        Error::ReadOnlyTarget { .. } => Setback::ReadOnlyMount,
        Error::Target { path, source } => {
            Setback::Target { path: path.clone(), trouble: telling(source) }
        }
        Error::OpenRoot { source, .. } => Setback::Root(telling(source)),
        Error::Cancelled => Setback::Cancelled,
        Error::Link { source: LinkError::Declined(why), .. } => Setback::Refused(why.clone()),
        other => Setback::Refused(other.to_string()),
    }
}
