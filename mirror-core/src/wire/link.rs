//! Streams of messages over one connection or several, with credit for each and a deadline on every wait.
//!
//! ```text
//! message  stream u32, kind u8, length u32, then as many bytes; all little-endian
//! ```
//!
//! A frame's body is one message after the other. The caller opens streams under growing numbers;
//! each end may send on a stream until its credit is used up, and gets it back as the other end
//! consumes. So nobody makes the other end keep more than [`STREAMS_MAX`] times [`WINDOW`] bytes,
//! and a stream that nobody reads holds up no other. Two threads serve each connection ([`lane`]): one
//! reads, one writes; one more watches whether anything comes or goes at all.

mod lane;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::frame::BODY_MAX;
use super::{AGENT_MAGIC, CALLER_MAGIC, LinkError};
use crate::transport::{Ending, LastWords, Traffic, Transport};

pub(crate) use lane::{LANES_MAX, not_an_agent};

/// What one end may send on a stream before the other has consumed any of it, in bytes of
/// messages and [`MESSAGE_COST`] for each.
pub(crate) const WINDOW: u64 = 12 << 20;

/// What a message costs besides its bytes: keeping it takes more than they do.
pub(crate) const MESSAGE_COST: u64 = 96;

/// How many streams may be open at once, besides number 0.
pub(crate) const STREAMS_MAX: usize = 8;

/// Number, kind and length.
pub(crate) const MESSAGE_HEADER: usize = 4 + 1 + 4;

/// The longest message.
pub(crate) const MESSAGE_MAX: usize = BODY_MAX - MESSAGE_HEADER;

/// How many bytes may wait to be written for each connection.
const QUEUE: usize = 1 << 20;

/// How long the end of a connection may take to follow the farewell.
const LAST: Duration = Duration::from_secs(1);

/// How long the last messages may take to get away when a link is left.
const FAREWELL: Duration = Duration::from_secs(10);

pub(crate) const OPEN: u8 = 1;
pub(crate) const MESSAGE: u8 = 2;
pub(crate) const CREDIT: u8 = 3;
pub(crate) const CLOSE: u8 = 4;
pub(crate) const ALIVE: u8 = 5;
pub(crate) const BYE: u8 = 6;

/// How long to wait for a peer. Nothing that the peer says changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For any byte at all. Each end shows a sign of life four times in this, and at least every
    /// ten seconds, so both ends should have about the same.
    pub silence: Duration,
    /// For whatever is awaited, as long as there are signs of life: bringing a large tree to the
    /// disk and digesting a large file take their time.
    pub stuck: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { silence: Duration::from_secs(60), stuck: Duration::from_secs(3600) }
    }
}

impl Patience {
    fn signs_of_life(&self) -> Duration {
        (self.silence / 4).min(Duration::from_secs(10))
    }
}

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Caller,
    Agent,
}

impl Role {
    fn magic(self) -> &'static [u8; 16] {
        match self {
            Role::Caller => CALLER_MAGIC,
            Role::Agent => AGENT_MAGIC,
        }
    }

    fn other(self) -> Role {
        match self {
            Role::Caller => Role::Agent,
            Role::Agent => Role::Caller,
        }
    }
}

#[derive(Default)]
struct StreamState {
    inbox: VecDeque<Vec<u8>>,
    /// What this end may still send.
    credit: u64,
    /// What the other end may still send.
    allowance: u64,
    /// What was consumed and not given back yet.
    owed: u64,
    closed_here: bool,
    closed_there: bool,
}

impl StreamState {
    fn new() -> StreamState {
        StreamState { credit: WINDOW, allowance: WINDOW, ..StreamState::default() }
    }

    /// Whether either end has closed it.
    fn is_closed(&self) -> bool {
        self.closed_here || self.closed_there
    }
}

#[derive(Default)]
struct State {
    failed: Option<LinkError>,
    streams: BTreeMap<u32, StreamState>,
    /// The highest number that a stream was opened under.
    last: u32,
    /// Streams that the caller opened and nobody has taken up yet.
    opened: VecDeque<u32>,
    outgoing: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// This end says nothing more.
    leaving: bool,
    /// All that this end had to say has been written.
    left: bool,
    /// The other end says nothing more.
    left_there: bool,
    /// The farewell of this end has its place in a frame.
    said_all: bool,
    /// How many frames are being written.
    writing: usize,
    /// The number of the next frame that is written, and of the next that is taken in.
    next_out: u64,
    next_in: u64,
    /// What ends each of the connections, the first one first.
    lanes: Vec<Arc<dyn Ending>>,
    /// How many of them the other end has ended.
    ended: usize,
}

struct Shared {
    state: Mutex<State>,
    /// Something came, or there is an end.
    came: Condvar,
    /// There is credit, or room in the queue, or an end.
    room: Condvar,
    /// There is something to write, or an end.
    work: Condvar,
    patience: Patience,
    traffic: Arc<Traffic>,
    role: Role,
}

/// A poisoned lock means that a thread panicked between two whole statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Ends the link, once: everybody who waits is told, and the transport lets go.
    fn fail(&self, error: LinkError) {
        let mut state = lock(&self.state);
        if state.failed.is_none() {
            state.failed = Some(error);
        }
        let lanes = state.lanes.clone();
        drop(state);
        self.notify();
        lanes.iter().for_each(|lane| lane.close());
    }

    fn notify(&self) {
        self.came.notify_all();
        self.room.notify_all();
        self.work.notify_all();
    }

    fn queue(&self, state: &mut State, stream: u32, kind: u8, body: &[u8]) {
        let mut message = Vec::with_capacity(MESSAGE_HEADER + body.len());
        put_message(&mut message, stream, kind, body);
        state.waiting_bytes += message.len();
        state.outgoing.push_back(message);
        self.work.notify_one();
    }

    fn dispatch(&self, state: &mut State, id: u32, kind: u8, body: &[u8]) -> Result<(), LinkError> {
        let protocol = |why| Err(LinkError::Protocol(why));
        if state.left_there {
            return protocol("it went on after its farewell");
        }
        let cost = body.len() as u64 + MESSAGE_COST;
        match kind {
            OPEN => {
                if self.role == Role::Caller {
                    return protocol("only a caller opens streams");
                }
                if id <= state.last {
                    return protocol("a stream was opened twice");
                }
                if state.streams.len() > STREAMS_MAX {
                    return protocol("too many streams are open");
                }
                state.last = id;
                let mut stream = StreamState::new();
                stream.allowance -= cost;
                stream.inbox.push_back(body.to_vec());
                state.streams.insert(id, stream);
                state.opened.push_back(id);
            }
            MESSAGE => {
                let Some(stream) = Shared::stream(state, id)? else { return Ok(()) };
                if stream.closed_there {
                    return protocol("a message came on a stream after its end");
                }
                let Some(allowance) = stream.allowance.checked_sub(cost) else {
                    return protocol("more was sent than there was credit for");
                };
                stream.allowance = allowance;
                if !stream.closed_here {
                    stream.inbox.push_back(body.to_vec());
                }
            }
            CREDIT => {
                let Ok(credit) = <[u8; 4]>::try_from(body) else {
                    return protocol("a credit of an odd length");
                };
                let credit = u64::from(u32::from_le_bytes(credit));
                let Some(stream) = Shared::stream(state, id)? else { return Ok(()) };
                stream.credit += credit;
                if stream.credit > WINDOW {
                    return protocol("more credit was given than was used");
                }
                self.room.notify_all();
            }
            CLOSE if body.is_empty() && id > 0 => {
                let Some(stream) = Shared::stream(state, id)? else { return Ok(()) };
                stream.closed_there = true;
                if stream.closed_here {
                    state.streams.remove(&id);
                }
                self.room.notify_all();
            }
            ALIVE if id == 0 && body.is_empty() => {}
            BYE if id == 0 && body.is_empty() => state.left_there = true,
            _ => return protocol("a message of an unknown kind"),
        }
        Ok(())
    }

    /// The stream of that number; None when it has been left here meanwhile.
    fn stream(state: &mut State, id: u32) -> Result<Option<&mut StreamState>, LinkError> {
        if id > state.last {
            return Err(LinkError::Protocol("a stream was used that nobody opened"));
        }
        Ok(state.streams.get_mut(&id))
    }

    /// Ends the link when for a while nothing came, or nothing got away.
    fn watch(&self) {
        /// How often that is looked at in this while: so much more it may take.
        const LOOKS: u32 = 16;
        let (mut silent, mut stuck) = (0, 0);
        let (mut heard, mut written) = (0, 0);
        let mut state = lock(&self.state);
        loop {
            let (next, _) = self
                .came
                .wait_timeout_while(state, self.patience.silence / LOOKS, |state| {
                    state.failed.is_none() && !(state.left && state.left_there)
                })
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if state.failed.is_some() || (state.left && state.left_there) {
                return;
            }
            let (now_heard, now_written) = (self.traffic.received(), self.traffic.sent());
            silent = if now_heard == heard && !state.left_there { silent + 1 } else { 0 };
            stuck = if now_written == written && state.writing > 0 { stuck + 1 } else { 0 };
            (heard, written) = (now_heard, now_written);
            // The first part of it may have begun anywhere.
            if silent > LOOKS || stuck > LOOKS {
                let error = LinkError::Silent(self.patience.silence.as_secs());
                drop(state);
                self.fail(error);
                return;
            }
        }
    }
}

/// Makes sure that a message fits into a frame. What the kernel keeps of one entry does.
fn fits(message: &[u8]) -> Result<(), LinkError> {
    if message.len() > MESSAGE_MAX {
        let why = "the link carries no filter and no entry of more than 1 MiB".to_owned();
        return Err(LinkError::TooMuch(why));
    }
    Ok(())
}

/// Appends a message to a frame's body.
pub(crate) fn put_message(body: &mut Vec<u8>, stream: u32, kind: u8, message: &[u8]) {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    body.extend_from_slice(&stream.to_le_bytes());
    body.push(kind);
    body.extend_from_slice(&length.to_le_bytes());
    body.extend_from_slice(message);
}

/// Takes the next message from a frame's body.
pub(crate) fn take_message<'a>(body: &mut &'a [u8]) -> Result<(u32, u8, &'a [u8]), LinkError> {
    let cut = LinkError::Damaged("a message that is longer than its frame");
    let (header, rest) = body.split_first_chunk::<MESSAGE_HEADER>().ok_or(cut.clone())?;
    let [a, b, c, d, kind, e, f, g, h] = *header;
    let length = usize::try_from(u32::from_le_bytes([e, f, g, h])).unwrap_or(usize::MAX);
    let (message, rest) = rest.split_at_checked(length).ok_or(cut)?;
    *body = rest;
    Ok((u32::from_le_bytes([a, b, c, d]), kind, message))
}

/// One end of a link that works.
#[derive(Clone)]
pub(crate) struct Link(Arc<Shared>);

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("role", &self.0.role).finish_non_exhaustive()
    }
}

impl Link {
    /// Starts to serve a connection. Stream 0 is open from the beginning.
    pub(crate) fn start(
        transport: Transport,
        role: Role,
        patience: Patience,
    ) -> Result<Link, LinkError> {
        let Transport { reader, writer, ending, traffic } = transport;
        let state = State { lanes: vec![ending], ..State::default() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            came: Condvar::new(),
            room: Condvar::new(),
            work: Condvar::new(),
            patience,
            traffic,
            role,
        });
        lock(&shared.state).streams.insert(0, StreamState::new());
        let link = Link(shared.clone());
        lane::start(&shared, reader, writer)?;
        lane::spawn("link-watch", move || shared.watch())?;
        Ok(link)
    }

    /// Lets a further connection carry what is said, from now on. Both ends do so, the caller
    /// first.
    pub(crate) fn add_lane(&self, transport: Transport) -> Result<(), LinkError> {
        let Transport { reader, writer, ending, .. } = transport.counted_in(&self.0.traffic);
        let mut state = lock(&self.0.state);
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if state.lanes.len() == LANES_MAX || state.leaving {
            return Err(LinkError::Refused("the link takes no further connection".to_owned()));
        }
        state.lanes.push(ending);
        drop(state);
        lane::start(&self.0, reader, writer).inspect_err(|error| self.fail(error.clone()))
    }

    /// Why the link cannot be used any more.
    pub(crate) fn failure(&self) -> Option<LinkError> {
        lock(&self.0.state).failed.clone()
    }

    /// Ends the link for a reason that the layer above found.
    pub(crate) fn fail(&self, error: LinkError) {
        self.0.fail(error);
    }

    /// What the program at the other end left behind.
    pub(crate) fn last_words(&self) -> LastWords {
        let first = lock(&self.0.state).lanes.first().cloned();
        first.map(|lane| lane.last_words()).unwrap_or_default()
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.0.traffic
    }

    /// The stream that is open from the beginning.
    pub(crate) fn greeting(&self) -> Stream {
        Stream { shared: self.0.clone(), id: 0 }
    }

    /// Opens a stream with its first message. Waits while too many are open.
    pub(crate) fn open(&self, first: &[u8]) -> Result<Stream, LinkError> {
        let shared = &self.0;
        fits(first)?;
        let state = lock(&shared.state);
        let (mut state, waited) = shared
            .came
            .wait_timeout_while(state, shared.patience.stuck, |state| {
                state.failed.is_none() && state.streams.len() > STREAMS_MAX
            })
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if waited.timed_out() {
            return Err(LinkError::Stuck(shared.patience.stuck.as_secs()));
        }
        state.last += 1;
        let id = state.last;
        let mut stream = StreamState::new();
        stream.credit -= first.len() as u64 + MESSAGE_COST;
        state.streams.insert(id, stream);
        shared.queue(&mut state, id, OPEN, first);
        Ok(Stream { shared: shared.clone(), id })
    }

    /// The next stream that the caller opened; None when it has taken its leave.
    pub(crate) fn accept(&self) -> Result<Option<Stream>, LinkError> {
        let shared = &self.0;
        let state = lock(&shared.state);
        let mut state = shared
            .came
            .wait_while(state, |state| {
                state.failed.is_none() && state.opened.is_empty() && !state.left_there
            })
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        let opened = state.opened.pop_front();
        Ok(opened.map(|id| Stream { shared: shared.clone(), id }))
    }

    /// Takes leave: what was sent is still delivered, within a while.
    pub(crate) fn leave(&self) {
        let shared = &self.0;
        let mut state = lock(&shared.state);
        state.leaving = true;
        shared.work.notify_all();
        drop(
            shared
                .room
                .wait_timeout_while(state, FAREWELL, |state| state.failed.is_none() && !state.left)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Waits until the other end has taken its leave as well, and lets go.
    pub(crate) fn part(&self) {
        let shared = &self.0;
        let state = lock(&shared.state);
        let waited = shared.came.wait_timeout_while(state, FAREWELL, |state| {
            state.failed.is_none() && !state.left_there
        });
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if shared.role == Role::Caller && state.left_there {
            // Its end comes right behind the farewell, and says that the agent has ended well. Who
            // lets go before leaves it to be ended by its server.
            let waits =
                |state: &mut State| state.failed.is_none() && state.ended < state.lanes.len();
            let waited = shared.came.wait_timeout_while(state, LAST, waits);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let lanes = state.lanes.clone();
        drop(state);
        lanes.iter().for_each(|lane| lane.close());
    }
}

/// What a wait for a message came to.
#[derive(Debug)]
pub(crate) enum Came {
    /// A message, which is still owed for.
    Message(Owed),
    /// Nothing in that time.
    Nothing,
    /// The other end has closed the stream, and all of it has been taken.
    Closed,
}

/// A message, and the credit that the sender gets back for it.
#[derive(Debug)]
pub(crate) struct Owed {
    pub(crate) body: Vec<u8>,
    pub(crate) cost: u64,
}

/// One stream of messages each way. Dropping it closes it.
pub(crate) struct Stream {
    shared: Arc<Shared>,
    id: u32,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stream").field(&self.id).finish()
    }
}

impl Stream {
    /// Sends a message as soon as there is credit and room for it. False when the other end has
    /// closed the stream.
    pub(crate) fn send(&self, body: &[u8]) -> Result<bool, LinkError> {
        fits(body)?;
        let cost = body.len() as u64 + MESSAGE_COST;
        let shared = &*self.shared;
        let state = lock(&shared.state);
        let waits = |state: &mut State| {
            let full = state.waiting_bytes > QUEUE * (1 + state.lanes.len());
            state.failed.is_none()
                && state
                    .streams
                    .get(&self.id)
                    .is_some_and(|stream| !stream.is_closed() && (stream.credit < cost || full))
        };
        let (mut state, waited) = shared
            .room
            .wait_timeout_while(state, shared.patience.stuck, waits)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &state.failed {
            return Err(error.clone());
        }
        if waited.timed_out() {
            let error = LinkError::Stuck(shared.patience.stuck.as_secs());
            drop(state);
            shared.fail(error.clone());
            return Err(error);
        }
        match state.streams.get_mut(&self.id) {
            Some(stream) if !stream.is_closed() => stream.credit -= cost,
            _ => return Ok(false),
        }
        shared.queue(&mut state, self.id, MESSAGE, body);
        Ok(true)
    }

    /// Waits for the next message, for as long as the link's patience lasts. None when the other
    /// end has closed the stream. The sender gets its credit back at once.
    pub(crate) fn receive(&self) -> Result<Option<Vec<u8>>, LinkError> {
        let patience = self.shared.patience.stuck;
        match self.receive_within(patience)? {
            Came::Message(owed) => {
                self.pay(owed.cost);
                Ok(Some(owed.body))
            }
            Came::Closed => Ok(None),
            Came::Nothing => {
                let error = LinkError::Stuck(patience.as_secs());
                self.shared.fail(error.clone());
                Err(error)
            }
        }
    }

    /// Waits this long for the next message.
    pub(crate) fn receive_within(&self, patience: Duration) -> Result<Came, LinkError> {
        let shared = &*self.shared;
        let state = lock(&shared.state);
        let waits = |state: &mut State| {
            state.failed.is_none()
                && state.streams.get(&self.id).is_some_and(|stream| {
                    let ended = stream.is_closed() || (self.id == 0 && state.left_there);
                    stream.inbox.is_empty() && !ended
                })
        };
        let (mut state, _) = shared
            .came
            .wait_timeout_while(state, patience, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let gone = self.id == 0 && state.left_there;
        if let Some(stream) = state.streams.get_mut(&self.id) {
            // What came before an end still counts.
            if let Some(body) = stream.inbox.pop_front() {
                let cost = body.len() as u64 + MESSAGE_COST;
                return Ok(Came::Message(Owed { body, cost }));
            }
            if !(stream.is_closed() || gone || state.failed.is_some()) {
                return Ok(Came::Nothing);
            }
        }
        match &state.failed {
            Some(error) => Err(error.clone()),
            None => Ok(Came::Closed),
        }
    }

    /// Gives credit back for what has been consumed.
    pub(crate) fn pay(&self, cost: u64) {
        let mut state = lock(&self.shared.state);
        let Some(stream) = state.streams.get_mut(&self.id) else { return };
        stream.owed += cost;
        if stream.owed < WINDOW / 8 || stream.is_closed() {
            return;
        }
        let credit = std::mem::take(&mut stream.owed);
        stream.allowance += credit;
        let credit = u32::try_from(credit).unwrap_or(u32::MAX).to_le_bytes();
        self.shared.queue(&mut state, self.id, CREDIT, &credit);
    }

    /// Ends it: nothing more comes of it here, and the other end is told. Stream 0 lasts as long
    /// as the link.
    pub(crate) fn close(&self) {
        if self.id == 0 {
            return;
        }
        let mut state = lock(&self.shared.state);
        let agent = self.shared.role == Role::Agent;
        let tells = state.failed.is_none();
        let Some(stream) = state.streams.get_mut(&self.id).filter(|stream| !stream.closed_here)
        else {
            return;
        };
        stream.closed_here = true;
        stream.inbox.clear();
        let closed_there = stream.closed_there;
        // The agent is the one who ends streams: until it has, the caller keeps the number.
        if agent || closed_there {
            state.streams.remove(&self.id);
        }
        if tells && (agent || !closed_there) {
            self.shared.queue(&mut state, self.id, CLOSE, &[]);
        }
        drop(state);
        self.shared.notify();
    }

    /// Ends the whole link.
    pub(crate) fn fail(&self, error: LinkError) {
        self.shared.fail(error);
    }

    /// Ends the whole link: the other end said what it must not.
    pub(crate) fn accuse(&self, why: &'static str) -> LinkError {
        let error = LinkError::Protocol(why);
        self.fail(error.clone());
        error
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}
