//! The end that wants the files.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::endpoint::{Content, Opened};
use crate::entry::{Bytes, Entry, Identity, Kind, Meta};
use crate::path::RelPath;
use crate::wire::LinkError;
use crate::wire::link::{Came, Stream};
use crate::wire::message::{Head, Part, Trouble};
use crate::wire::valid;

/// What a message cost its sender, who gets it back when what it brought has been consumed.
type Cost = u64;

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    Hole(u64),
}

#[derive(Debug, Clone)]
enum End {
    Unchanged,
    Changed,
    Failed(Trouble),
}

/// A file that is arriving or has arrived.
#[derive(Debug)]
struct Arriving {
    /// None when it could not be opened at all.
    head: Option<Head>,
    pieces: VecDeque<(Piece, Cost)>,
    /// Where in the file the first piece begins.
    start: u64,
    /// How much of it came so far.
    length: u64,
    end: Option<End>,
    /// What its head cost.
    cost: Cost,
}

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<u64, Arriving>,
    next: u64,
    /// Files that nobody has opened yet.
    waiting: HashMap<RelPath, u64>,
    /// The file whose parts come now.
    current: Option<u64>,
    /// Opened, and not done with.
    taken: HashSet<RelPath>,
    /// Given up before they came.
    unwanted: HashSet<RelPath>,
    /// What was asked for and has not begun to come, where everything is asked for.
    asked: Option<HashMap<RelPath, u32>>,
    over: Option<LinkError>,
}

/// Files that arrive on a stream, by their paths.
pub(crate) struct Arrivals {
    inner: Mutex<Inner>,
    came: Condvar,
    stream: Arc<Stream>,
    patience: Duration,
    told: Told,
}

/// How much a peer has told of what files are now, on all streams of one run. Unlike contents it is
/// kept to the run's end, to be remembered.
pub(crate) type Told = Arc<AtomicU64>;

/// The most that is kept of it, in bytes.
const TOLD_MAX: u64 = 64 << 20;

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Arrivals {
    /// Files that the other end sends by itself.
    pub(crate) fn new(stream: Arc<Stream>, patience: Duration, told: &Told) -> Arrivals {
        let inner = Mutex::new(Inner::default());
        Arrivals { inner, came: Condvar::new(), stream, patience, told: told.clone() }
    }

    /// Files of which each has to be [`asked`](Self::asked) for.
    pub(crate) fn asking(stream: Arc<Stream>, patience: Duration, told: &Told) -> Arrivals {
        let arrivals = Arrivals::new(stream, patience, told);
        arrivals.lock().asked = Some(HashMap::new());
        arrivals
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a file is going to be asked for.
    pub(crate) fn asked(&self, path: &RelPath) {
        if let Some(asked) = &mut self.lock().asked {
            *asked.entry(path.clone()).or_default() += 1;
        }
    }

    /// Ends all waiting.
    pub(crate) fn end(&self, error: LinkError) {
        self.lock().over.get_or_insert(error);
        self.came.notify_all();
    }

    /// Why nothing comes any more.
    pub(crate) fn lost(&self) -> Option<LinkError> {
        self.lock().over.clone()
    }

    /// Takes in what comes until the stream ends, and says why it did. `part` reads a message.
    pub(crate) fn take_in(&self, part: impl Fn(&[u8]) -> Result<Part, LinkError>) {
        let ended = loop {
            match self.stream.receive_within(self.patience) {
                Ok(Came::Message(owed)) => {
                    let taken = part(&owed.body).and_then(|part| self.deliver(part, owed.cost));
                    if let Err(error) = taken {
                        // Who breaks the protocol is told.
                        self.stream.fail(error.clone());
                        break error;
                    }
                }
                Ok(Came::Nothing) => {}
                Ok(Came::Closed) => break LinkError::Ended,
                Err(error) => break error,
            }
        };
        self.end(ended);
    }

    /// Takes in what came.
    fn deliver(&self, part: Part, cost: Cost) -> Result<(), LinkError> {
        if let Part::Whole { head, .. } | Part::Begin(head) = &part
            && let Some(fresh) = &head.fresh
        {
            let size: usize =
                fresh.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
            let size = (size + size_of::<Entry>()) as u64;
            if self.told.fetch_add(size, Ordering::Relaxed) + size > TOLD_MAX {
                return Err(LinkError::Protocol("S17: more about changed files than is kept"));
            }
        }
        let mut inner = self.lock();
        let delivered = inner.deliver(part, cost);
        drop(inner);
        self.came.notify_all();
        let unused = delivered?;
        if unused > 0 {
            self.stream.pay(unused);
        }
        Ok(())
    }

    /// Whether the file at `path` comes here by itself. One that was opened before does not come
    /// again, and one of no particular version never does: such files have to be asked for, and to
    /// come some other way. Behind those that come by themselves they would wait for ever once
    /// these have used up all credit.
    pub(crate) fn brings(&self, path: &RelPath, expected: &Identity) -> bool {
        expected.inode != 0 && !self.lock().taken.contains(path)
    }

    /// Opens the file at `path` when it has come.
    pub(crate) fn open(
        self: &Arc<Self>,
        path: &RelPath,
        expected: &Identity,
    ) -> io::Result<Opened> {
        let (mut inner, waited) = self
            .came
            .wait_timeout_while(self.lock(), self.patience, |inner| {
                inner.over.is_none() && !inner.waiting.contains_key(path)
            })
            .unwrap_or_else(PoisonError::into_inner);
        let Some(number) = inner.waiting.remove(path) else {
            let stuck = LinkError::Stuck(self.patience.as_secs());
            let over = if waited.timed_out() { Some(stuck) } else { inner.over.clone() };
            return Err(over.unwrap_or(LinkError::Ended).into_io());
        };
        inner.taken.insert(path.clone());
        let Some(file) = inner.files.get_mut(&number) else {
            return Err(LinkError::Ended.into_io());
        };
        let cost = std::mem::take(&mut file.cost);
        let head = file.head.clone();
        let opened = Arrival { arrivals: self.clone(), number };
        let end = file.end.clone();
        drop(inner);
        self.stream.pay(cost);
        match (head, end) {
            (Some(head), _) => Ok(head.opened(expected, Box::new(opened))),
            (None, Some(End::Failed(trouble))) => Err(valid::trouble(&trouble)),
            (None, _) => Err(LinkError::Ended.into_io()),
        }
    }

    /// Lets go of a file, whether it was opened, has come, or is still to come.
    pub(crate) fn done_with(&self, path: &RelPath) {
        let mut inner = self.lock();
        if inner.taken.remove(path) {
            return;
        }
        let Some(number) = inner.waiting.remove(path) else {
            inner.unwanted.insert(path.clone());
            return;
        };
        let cost = inner.forget(number);
        drop(inner);
        self.stream.pay(cost);
    }

    fn forget(&self, number: u64) {
        let cost = self.lock().forget(number);
        self.stream.pay(cost);
    }
}

impl Head {
    /// The file as it was opened at the other end.
    fn opened(self, expected: &Identity, content: Box<dyn Content>) -> Opened {
        let entry = match self.fresh {
            Some(entry) => Entry { allocated: self.allocated, ..*entry },
            // Its metadata are those that were planned; only what is read is told again.
            None => Entry {
                name: self.path.name(),
                kind: Kind::File { size: self.size },
                meta: Meta {
                    mode: 0,
                    uid: 0,
                    gid: 0,
                    mtime: Default::default(),
                    xattrs: Default::default(),
                },
                identity: *expected,
                digest: None,
                allocated: self.allocated,
                racy: false,
            },
        };
        Opened { entry, content }
    }
}

impl Inner {
    /// Takes in what came; returns the cost of what nobody wants.
    fn deliver(&mut self, part: Part, cost: Cost) -> Result<Cost, LinkError> {
        let protocol = |why| Err(LinkError::Protocol(why));
        match part {
            Part::Whole { head, bytes } => {
                if head.size != bytes.0.len() as u64 {
                    return protocol("a file that is not as long as it is said to be");
                }
                let begun = self.begin(head, cost)?;
                self.current = None;
                let Some(file) = begun.and_then(|number| self.files.get_mut(&number)) else {
                    return Ok(cost);
                };
                file.length = bytes.0.len() as u64;
                file.pieces.push_back((Piece::Data(bytes), 0));
                file.end = Some(End::Unchanged);
                Ok(0)
            }
            Part::Begin(head) => Ok(if self.begin(head, cost)?.is_some() { 0 } else { cost }),
            Part::Data(bytes) => {
                let length = bytes.0.len() as u64;
                self.piece(Piece::Data(bytes), length, cost)
            }
            Part::Hole(length) => self.piece(Piece::Hole(length), length, cost),
            Part::End { unchanged } => {
                let Some(number) = self.current.take() else {
                    return protocol("the end of a file that never began");
                };
                if let Some(file) = self.files.get_mut(&number) {
                    let size = file.head.as_ref().map(|head| head.size);
                    if unchanged && size != Some(file.length) {
                        return protocol("a file that is not as long as it is said to be");
                    }
                    file.end = Some(if unchanged { End::Unchanged } else { End::Changed });
                }
                Ok(cost)
            }
            Part::Failed { path, trouble } => {
                if let Some(number) = self.current.take() {
                    if let Some(file) = self.files.get_mut(&number) {
                        file.end = Some(End::Failed(trouble));
                    }
                    return Ok(cost);
                }
                let Some(number) = self.add(path, None, cost)? else { return Ok(cost) };
                if let Some(file) = self.files.get_mut(&number) {
                    file.end = Some(End::Failed(trouble));
                }
                Ok(0)
            }
        }
    }

    fn begin(&mut self, head: Head, cost: Cost) -> Result<Option<u64>, LinkError> {
        if self.current.is_some() {
            return Err(LinkError::Protocol("a file began before another one had ended"));
        }
        valid::kind(&Kind::File { size: head.size })?;
        if let Some(fresh) = &head.fresh {
            valid::entry(fresh)?;
            if fresh.kind != (Kind::File { size: head.size }) || fresh.name != head.path.name() {
                return Err(LinkError::Protocol("a file that is not what it is said to be"));
            }
        }
        let path = head.path.clone();
        let number = self.add(path, Some(head), cost)?;
        // Parts of a file that nobody wants go by.
        self.current = Some(number.unwrap_or(u64::MAX));
        Ok(number)
    }

    /// Keeps a file; None when nobody wants it.
    fn add(
        &mut self,
        path: RelPath,
        head: Option<Head>,
        cost: Cost,
    ) -> Result<Option<u64>, LinkError> {
        if let Some(asked) = &mut self.asked {
            let Some(times) = asked.get_mut(&path) else {
                return Err(LinkError::Protocol("a file that nobody asked for"));
            };
            *times -= 1;
            if *times == 0 {
                asked.remove(&path);
            }
        }
        if self.unwanted.remove(&path) {
            return Ok(None);
        }
        let number = self.next;
        self.next += 1;
        if self.waiting.insert(path, number).is_some() {
            return Err(LinkError::Protocol("a file that came twice"));
        }
        let file = Arriving { head, pieces: VecDeque::new(), start: 0, length: 0, end: None, cost };
        self.files.insert(number, file);
        Ok(Some(number))
    }

    fn piece(&mut self, piece: Piece, length: u64, cost: Cost) -> Result<Cost, LinkError> {
        let Some(number) = self.current else {
            return Err(LinkError::Protocol("a part of a file that never began"));
        };
        let Some(file) = self.files.get_mut(&number) else { return Ok(cost) };
        let size = file.head.as_ref().map_or(0, |head| head.size);
        match file.length.checked_add(length) {
            Some(total) if length > 0 && total <= size => file.length = total,
            _ => return Err(LinkError::Protocol("more of a file than it is long")),
        }
        file.pieces.push_back((piece, cost));
        Ok(0)
    }

    /// Drops a file; returns what is owed for it.
    fn forget(&mut self, number: u64) -> Cost {
        let Some(file) = self.files.remove(&number) else { return 0 };
        file.cost + file.pieces.iter().map(|(_, cost)| cost).sum::<Cost>()
    }
}

/// An open file whose content comes over a link. It is read from its beginning to its end.
#[derive(Debug)]
struct Arrival {
    arrivals: Arc<Arrivals>,
    number: u64,
}

impl Arrival {
    /// Calls `take` with the file as soon as it has a piece or an end.
    fn with<T>(&self, take: impl FnOnce(&mut Arriving) -> T) -> io::Result<T> {
        let (arrivals, number) = (&self.arrivals, self.number);
        let waits = |inner: &mut Inner| {
            let file = inner.files.get(&number);
            inner.over.is_none()
                && file.is_some_and(|file| file.pieces.is_empty() && file.end.is_none())
        };
        let (mut inner, waited) = arrivals
            .came
            .wait_timeout_while(arrivals.lock(), arrivals.patience, waits)
            .unwrap_or_else(PoisonError::into_inner);
        match inner.files.get_mut(&number) {
            Some(file) if !file.pieces.is_empty() || file.end.is_some() => return Ok(take(file)),
            _ => {}
        }
        let stuck = waited.timed_out().then(|| LinkError::Stuck(arrivals.patience.as_secs()));
        Err(stuck.or_else(|| inner.over.clone()).unwrap_or(LinkError::Ended).into_io())
    }

    /// Passes over what lies before `offset`, and looks at what comes then: where it begins, and
    /// the piece or the end.
    fn seek<T>(
        &self,
        offset: u64,
        skips_holes: bool,
        mut look: impl FnMut(u64, Option<&Piece>, Option<&End>) -> T,
    ) -> io::Result<T> {
        loop {
            let mut paid = 0;
            let found = self.with(|file| {
                let Some((piece, cost)) = file.pieces.front() else {
                    return Some(look(file.start, None, file.end.as_ref()));
                };
                let length = match piece {
                    Piece::Data(bytes) => bytes.0.len() as u64,
                    Piece::Hole(length) => *length,
                };
                let passes = skips_holes && matches!(piece, Piece::Hole(_));
                if !passes && offset < file.start + length {
                    return Some(look(file.start, Some(piece), None));
                }
                paid = *cost;
                file.start += length;
                file.pieces.pop_front();
                None
            })?;
            if paid > 0 {
                self.arrivals.stream.pay(paid);
            }
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }
}

impl Content for Arrival {
    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.seek(offset, false, |start, piece, end| {
            let Some(at) = offset.checked_sub(start) else {
                return Err(io::Error::other("it was read in another order than it came in"));
            };
            let at = usize::try_from(at).unwrap_or(usize::MAX);
            match (piece, end) {
                (Some(Piece::Data(bytes)), _) => {
                    let rest = bytes.0.get(at..).unwrap_or_default();
                    let length = rest.len().min(buffer.len());
                    buffer[..length].copy_from_slice(&rest[..length]);
                    Ok(length)
                }
                (Some(Piece::Hole(length)), _) => {
                    let rest = usize::try_from(length - at as u64).unwrap_or(usize::MAX);
                    let length = rest.min(buffer.len());
                    buffer[..length].fill(0);
                    Ok(length)
                }
                (None, Some(End::Failed(trouble))) => Err(valid::trouble(trouble)),
                (None, _) => Ok(0),
            }
        })?
    }

    fn next_data(&mut self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.seek(offset, true, |start, piece, end| match (piece, end) {
            (Some(Piece::Data(bytes)), _) => {
                Ok(Some((start.max(offset), start + bytes.0.len() as u64)))
            }
            (_, Some(End::Failed(trouble))) => Err(valid::trouble(trouble)),
            _ => Ok(None),
        })?
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        self.seek(u64::MAX, true, |_, _, end| match end {
            Some(End::Unchanged) => Ok(true),
            Some(End::Failed(trouble)) => Err(valid::trouble(trouble)),
            _ => Ok(false),
        })?
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.arrivals.forget(self.number);
    }
}
