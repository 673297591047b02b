//! The calling end of a link: a tree behind an agent.

mod apply;
mod known;
mod scan;
mod transfer;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::agent::{Limits, common_version};
use crate::capacity::Capacity;
use crate::endpoint::sealed::Sealed;
use crate::endpoint::{Endpoint, Job, Opened, Outcomes, ScanRequest, Source};
use crate::entry::{Bytes, Digest, Entry, Identity};
use crate::error::{Error, explain};
use crate::guard::Refused;
use crate::listing::Listings;
use crate::manifest::RootId;
use crate::path::RelPath;
use crate::policy::Capabilities;
use crate::progress::Cancel;
use crate::transport::{LastWords, Traffic, Transport};
use crate::whereabouts::Whereabouts;
use crate::wire::contents::Told;
use crate::wire::link::{Link, Patience, Role, Stream, not_an_agent};
use crate::wire::message::{
    Answer, Digests, Enter, Hello, Request, Setback, Standing, Wanted, Welcome, decode, encode,
};
use crate::wire::{AGENT_MAGIC, JOINER_MAGIC, LinkError, MEETING, VERSIONS, valid};
use transfer::Transfer;

/// How a tree behind an agent is entered.
#[derive(Debug, Clone, Default)]
pub struct RemoteOptions {
    path: Bytes,
    may_be_missing: bool,
    standing: Standing,
    patience: Patience,
    limits: Limits,
}

impl RemoteOptions {
    /// Which tree: an absolute path on the agent's host. Without one it is the agent's own root.
    #[must_use]
    pub fn path(mut self, path: impl AsRef<Path>) -> RemoteOptions {
        self.path = Bytes(path.as_ref().as_os_str().as_bytes().into());
        self
    }

    /// Whether the tree may be missing, to be made when something is written: right for a target,
    /// and never for a source.
    #[must_use]
    pub fn may_be_missing(mut self, may_be_missing: bool) -> RemoteOptions {
        self.may_be_missing = may_be_missing;
        self
    }

    /// What to tell the agent about the site.
    #[must_use]
    pub fn standing(mut self, standing: Standing) -> RemoteOptions {
        self.standing = standing;
        self
    }

    /// How long to wait for the agent.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> RemoteOptions {
        self.patience = patience;
        self
    }

    /// How much the agent may tell.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> RemoteOptions {
        self.limits = limits;
        self
    }
}

/// A tree behind an agent, over any connection to it.
///
/// ```
/// use mirror_core::{
///     AgentConfig, Guards, LocalTree, Mirror, RemoteOptions, RemoteTree, memory_pair, serve,
/// };
///
/// # let folder = tempfile::tempdir()?;
/// # let (site, copy) = (folder.path().join("site"), folder.path().join("copy"));
/// # std::fs::create_dir(&site)?;
/// # std::fs::create_dir(&copy)?;
/// # std::fs::write(site.join("index.html"), "hello")?;
/// let (ours, theirs) = memory_pair()?;
/// let config = AgentConfig::new(&copy);
/// let agent = std::thread::spawn(move || serve(theirs, &config));
///
/// let source = LocalTree::open(&site)?;
/// let target = RemoteTree::connect(ours, "the mirror", &RemoteOptions::default())?;
/// let report = Mirror::new(&source, &target).plan()?.approve(&Guards::default())?.apply()?;
/// assert!(report.is_clean());
/// assert_eq!(std::fs::read_to_string(copy.join("index.html"))?, "hello");
/// drop(target);
/// agent.join().expect("an agent never panics")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RemoteTree {
    link: Link,
    /// What the other end is called in messages, and what tells it from other hosts.
    peer: String,
    root: Mutex<RootId>,
    capabilities: Capabilities,
    standing: Standing,
    whereabouts: Whereabouts,
    read_only: bool,
    limits: Limits,
    patience: Patience,
    transfer: Mutex<Option<Arc<Transfer>>>,
    literal: Arc<AtomicU64>,
    /// What the agent has told of changed files.
    told: Told,
}

impl fmt::Debug for RemoteTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTree").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl RemoteTree {
    /// Greets the agent at the other end and enters a tree. `peer` is what messages call that end;
    /// a remembered base belongs to it.
    ///
    /// # Errors
    /// [`Error::Link`]: something else than an agent answered, it speaks another version, it
    /// refuses, or the connection failed.
    pub fn connect(
        transport: Transport,
        peer: impl Into<String>,
        options: &RemoteOptions,
    ) -> Result<RemoteTree, Error> {
        let peer = peer.into();
        let link = match Link::start(transport, Role::Caller, options.patience) {
            Ok(link) => link,
            Err(source) => return Err(Error::Link { peer, source }),
        };
        let (root, capabilities, read_only, standing, whereabouts) = match enter(&link, options) {
            Ok(entered) => entered,
            Err(error) => {
                let source = explained(error, &link.last_words());
                link.fail(source.clone());
                return Err(Error::Link { peer, source });
            }
        };
        Ok(RemoteTree {
            link,
            peer,
            root: Mutex::new(root),
            capabilities,
            standing,
            whereabouts,
            read_only,
            limits: options.limits,
            patience: options.patience,
            transfer: Mutex::new(None),
            literal: Arc::default(),
            told: Told::default(),
        })
    }

    /// Takes a further connection to the same agent's command for what goes over the link from
    /// now on: at most three besides the first. Worth it where the way is so long that the windows
    /// of one connection are what limits it. The agent that is started by it leads to the first.
    ///
    /// # Errors
    /// [`Error::Link`] when something else answers or the agent takes no more. The tree can be used
    /// as before.
    pub fn join(&self, mut transport: Transport) -> Result<(), Error> {
        let Answer::Meeting(place) = self.ask(&Request::Meet)? else {
            return Err(self.failed(LinkError::Protocol("an answer to another question")));
        };
        let failed = |error: io::Error| LinkError::Io(explain(&error));
        let may_begin = |heard: &[u8]| AGENT_MAGIC.starts_with(heard);
        let join = || {
            if place.0.len() != MEETING {
                return Err(LinkError::Protocol("a meeting of an odd length"));
            }
            let opening = [&JOINER_MAGIC[..], &place.0].concat();
            transport.writer.write_all(&opening).map_err(failed)?;
            transport.writer.flush().map_err(failed)?;
            let last_words = transport.ending.clone();
            let (first, transport) = transport.first(16, self.patience.silence, &may_begin)?;
            if first.is_empty() {
                return Err(explained(LinkError::Ended, &last_words.last_words()));
            }
            if first != AGENT_MAGIC {
                return Err(not_an_agent(&first));
            }
            self.link.add_lane(transport.preceded_by(first))
        };
        join().map_err(|error| self.failed(error))
    }

    /// What went over the connection so far, or over all of them.
    pub fn traffic(&self) -> Arc<Traffic> {
        self.link.traffic().clone()
    }

    /// Bytes of file contents that went over the connection as they are, before compression.
    pub fn bytes_literal(&self) -> u64 {
        self.literal.load(Ordering::Relaxed)
    }

    /// What the agent says of its site.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether the agent lets nothing be changed.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    #[cfg(test)]
    pub(crate) fn link_failure(&self) -> Option<LinkError> {
        self.link.failure()
    }

    fn failed(&self, source: LinkError) -> Error {
        Error::Link { peer: self.peer.clone(), source }
    }

    fn open_stream(&self, request: &Request) -> Result<Stream, LinkError> {
        self.link.open(&encode(request))
    }

    fn ask(&self, request: &Request) -> Result<Answer, Error> {
        let asked = || {
            let stream = self.open_stream(request)?;
            match stream.receive()? {
                Some(answer) => decode(&answer).inspect_err(|_| {
                    stream.accuse("an answer that does not say anything known");
                }),
                None => Err(stream.accuse("a question was not answered")),
            }
        };
        match asked().map_err(|error| self.failed(error))? {
            Answer::Failed(setback) => Err(self.set_back(setback)),
            answer => Ok(answer),
        }
    }

    /// What the agent met, as an error of ours.
    fn set_back(&self, setback: Setback) -> Error {
        let root = || {
            let root = self.root.lock().unwrap_or_else(PoisonError::into_inner);
            // As one names it: `ssh://host/srv/www`.
            let path = [self.peer.as_bytes(), &root.path.0].concat();
            std::path::PathBuf::from(std::ffi::OsString::from_vec(path))
        };
        match setback {
            Setback::Busy => Refused::Busy { what: "the target" }.into(),
            Setback::ReadOnlyMount => Error::ReadOnlyTarget { path: root() },
            Setback::Target { path, trouble } => {
                let (peer, source) = (self.peer.clone(), valid::trouble(&trouble));
                Error::FarTarget { peer, path, source }
            }
            Setback::Root(trouble) => {
                Error::OpenRoot { path: root(), source: valid::trouble(&trouble) }
            }
            Setback::Cancelled => Error::Cancelled,
            Setback::Refused(why) => self.failed(LinkError::Declined(valid::text(&why))),
        }
    }
}

impl Drop for RemoteTree {
    fn drop(&mut self) {
        self.link.leave();
        self.link.part();
    }
}

type Entered = (RootId, Capabilities, bool, Standing, Whereabouts);

/// Greets the agent, in one flight with the wish to enter.
fn enter(link: &Link, options: &RemoteOptions) -> Result<Entered, LinkError> {
    let stream = link.greeting();
    let program = concat!("mirror ", env!("CARGO_PKG_VERSION")).to_owned();
    stream.send(&encode(&Hello { versions: VERSIONS, program }))?;
    stream.send(&encode(&Enter {
        path: options.path.clone(),
        may_be_missing: options.may_be_missing,
        standing: options.standing.clone(),
    }))?;
    let hello: Hello = decode(&stream.receive()?.ok_or(LinkError::Ended)?)?;
    common_version(hello.versions)?;
    match decode(&stream.receive()?.ok_or(LinkError::Ended)?)? {
        Welcome::Refused(why) => Err(LinkError::Refused(valid::text(&why))),
        Welcome::Entered { root, mut capabilities, read_only, standing, mut whereabouts } => {
            if root.inode == 0 && !options.may_be_missing {
                return Err(LinkError::Protocol("a tree that must exist does not"));
            }
            if root.path.0.len() > 4096 || capabilities.groups.len() > 65_536 {
                return Err(LinkError::Protocol("a root or groups that no host has"));
            }
            capabilities.groups.sort_unstable();
            if whereabouts.machine.is_none() {
                // It may be any machine, also this one that cannot tell either.
                whereabouts = Whereabouts { root: None, ..Whereabouts::default() };
            }
            Ok((root, capabilities, read_only, standing, whereabouts))
        }
    }
}

/// Says why there was no greeting, as far as the way in which the other program ended tells.
fn explained(error: LinkError, last_words: &LastWords) -> LinkError {
    let said = String::from_utf8_lossy(&last_words.said);
    let said = said.trim();
    // Programs that explain their use do so behind what was wrong.
    let complaint = said.lines().find(|line| line.to_ascii_lowercase().starts_with("error:"));
    let quoted = match complaint.or(said.lines().last()) {
        Some(line) => format!(", saying \"{}\"", valid::text(line)),
        None => String::new(),
    };
    let only_sftp = |text: &str| text.to_ascii_lowercase().contains("sftp connections only");
    match &error {
        LinkError::NotAnAgent(line) if only_sftp(line) => LinkError::SftpOnly,
        LinkError::Ended | LinkError::Io(_) if only_sftp(said) => LinkError::SftpOnly,
        LinkError::Ended | LinkError::Io(_) => match last_words.status {
            Some(127) => LinkError::NoAgent(quoted),
            Some(status) => LinkError::Exited(format!(" with status {status}{quoted}")),
            None if last_words.signal.is_some() => {
                let signal = valid::text(last_words.signal.as_deref().unwrap_or_default());
                LinkError::Exited(format!(" by signal {signal}{quoted}"))
            }
            None if !said.is_empty() || error == LinkError::Ended => LinkError::Exited(quoted),
            None => error,
        },
        LinkError::Silent(seconds) => LinkError::Unanswered(*seconds),
        _ => error,
    }
}

impl Sealed for RemoteTree {}

impl Source for RemoteTree {
    fn open(&self, path: &RelPath, expected: &Identity) -> io::Result<Opened> {
        let transfer = self.transfer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match transfer {
            Some(transfer) if transfer.brings(path, expected) => transfer.open(path, expected),
            _ => self.open_alone(path, expected),
        }
    }

    fn done_with(&self, path: &RelPath) {
        let transfer = self.transfer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(transfer) = transfer {
            transfer.done_with(path);
        }
    }

    fn lost(&self) -> Option<Error> {
        self.link.failure().map(|error| self.failed(error))
    }
}

impl Endpoint for RemoteTree {
    fn id(&self) -> Result<RootId, Error> {
        let root = self.root.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Paths of different hosts are different paths.
        let path = [self.peer.as_bytes(), b":", &root.path.0].concat();
        Ok(RootId { path: Bytes(path.into()), ..root })
    }

    fn whereabouts(&self) -> Result<Whereabouts, Error> {
        Ok(self.whereabouts.clone())
    }

    fn capabilities(&self) -> Result<Capabilities, Error> {
        Ok(self.capabilities.clone())
    }

    fn scan(&self, request: &ScanRequest<'_>) -> Result<Box<dyn Listings + Send>, Error> {
        self.list(request)
    }

    fn digest(&self, path: &RelPath, expected: &Entry) -> io::Result<Option<Digest>> {
        let digests = self.digests(&[(path, expected)], 1, &Cancel::default());
        digests.map(|digests| digests.first().copied().flatten()).map_err(io::Error::other)
    }

    fn digests(
        &self,
        wanted: &[(&RelPath, &Entry)],
        _: usize,
        cancel: &Cancel,
    ) -> Result<Vec<Option<Digest>>, Error> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let digested = || -> Result<Vec<Option<Digest>>, LinkError> {
            let stream = self.open_stream(&Request::Digest)?;
            std::thread::scope(|scope| {
                let stream = &stream;
                // What is asked for and what is answered overtake one another.
                let asking = scope.spawn(move || {
                    for (path, entry) in wanted {
                        let wanted = Wanted::File {
                            path: (*path).clone(),
                            identity: entry.identity,
                            size: entry.kind.size(),
                        };
                        if !stream.send(&encode(&wanted))? {
                            return Ok(());
                        }
                    }
                    stream.send(&encode(&Wanted::NoMore)).map(drop)
                });
                let mut all = Vec::new();
                while all.len() < wanted.len() {
                    let Some(message) = stream.receive()? else { break };
                    let Digests(digests) = decode(&message)?;
                    all.extend(digests);
                    if cancel.is_cancelled() {
                        stream.close();
                        break;
                    }
                }
                asking.join().unwrap_or(Ok(()))?;
                Ok(all)
            })
        };
        let all = digested().map_err(|error| {
            if matches!(error, LinkError::Protocol(_)) {
                self.link.fail(error.clone());
            }
            self.failed(error)
        })?;
        cancel.check()?;
        if all.len() != wanted.len() {
            let error = LinkError::Protocol("another number of digests than was asked for");
            self.link.fail(error.clone());
            return Err(self.failed(error));
        }
        Ok(all)
    }

    fn serving(
        &self,
        job: &Job<'_>,
        work: &mut dyn FnMut() -> Result<Outcomes, Error>,
    ) -> Result<Outcomes, Error> {
        self.bring_ahead(job, work)
    }

    fn capacity(&self) -> Result<Capacity, Error> {
        match self.ask(&Request::Capacity)? {
            Answer::Capacity(capacity) => Ok(capacity),
            _ => Err(self.failed(LinkError::Protocol("an answer to another question"))),
        }
    }

    fn lock(&self) -> Result<(), Error> {
        match self.ask(&Request::Lock)? {
            Answer::Locked(root) if root.path.0.len() <= 4096 => {
                *self.root.lock().unwrap_or_else(PoisonError::into_inner) = root;
                Ok(())
            }
            _ => Err(self.failed(LinkError::Protocol("an answer to another question"))),
        }
    }

    fn carry_out(&self, job: &Job<'_>) -> Result<Outcomes, Error> {
        self.carry_out_there(job)
    }
}
