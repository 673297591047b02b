//! The connections of a link. Most links have one; over a long way several carry more at once than
//! the windows of one let through. Frames are numbered: whichever connection is free takes the
//! next one, and at the other end each waits for its turn. So nothing above knows how many
//! connections there are, and no end keeps more than a frame of each.

use std::io::{self, Read};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::{ALIVE, BYE, Shared, State, lock, put_message, take_message};
use crate::error::explain;
use crate::path::escape;
use crate::wire::LinkError;
use crate::wire::frame::{Decoder, Encoder};

/// How many connections a link may have.
pub(crate) const LANES_MAX: usize = 4;

/// A frame takes no further message when it holds this much.
const BATCH: usize = 768 << 10;

/// How hard the first frames are compressed.
const LEVEL: i32 = 3;

/// Frames from this size on tell whether the link or compressing for it is what takes time.
const TELLING: usize = 64 << 10;

/// How long a farewell may be on its way over one connection when another has ended.
const LAST: Duration = Duration::from_secs(3);

#[expect(clippy::disallowed_methods, reason = "the edge sees how fast the link is")]
fn now() -> Instant {
    Instant::now()
}

/// Starts to serve a connection. None of its threads is waited for: a read can last as long as the
/// other end likes.
pub(super) fn start(
    shared: &Arc<Shared>,
    mut reader: Box<dyn Read + Send>,
    mut writer: Box<dyn io::Write + Send>,
) -> Result<(), LinkError> {
    let reading = shared.clone();
    spawn("link-read", move || {
        let read = reading.read(&mut *reader);
        reading.ended(read);
    })?;
    let writing = shared.clone();
    spawn("link-write", move || {
        if let Err(error) = writing.write(&mut *writer) {
            // What the other end said before it went tells more than that it went.
            if error == LinkError::Ended {
                thread::sleep(Duration::from_millis(200));
            }
            writing.fail(error);
        }
    })
}

pub(super) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), LinkError> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| LinkError::Io(explain(&error)))
}

impl Shared {
    /// Writes frames until this end has said all it has to say.
    fn write(&self, writer: &mut dyn io::Write) -> Result<(), LinkError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LinkError::Ended,
            _ => LinkError::Io(explain(&error)),
        };
        writer.write_all(self.role.magic()).map_err(failed)?;
        writer.flush().map_err(failed)?;
        let mut encoder = Encoder::new(self.role.magic(), LEVEL).map_err(failed)?;
        let mut body = Vec::new();
        while let Some(number) = self.collect(&mut body) {
            let started = now();
            let frame = encoder.encode_as(number, &body);
            let encoded = now();
            writer.write_all(frame).map_err(failed)?;
            writer.flush().map_err(failed)?;
            if body.len() >= TELLING {
                let compressing = encoded.duration_since(started);
                encoder.adapt(compressing, now().duration_since(encoded)).map_err(failed)?;
            }
            self.wrote();
        }
        Ok(())
    }

    /// Takes what the next frame is to hold, and its number; None when the link has failed or all
    /// has been said.
    fn collect(&self, body: &mut Vec<u8>) -> Option<u64> {
        body.clear();
        let mut state = lock(&self.state);
        while state.outgoing.is_empty() && state.failed.is_none() && !state.leaving {
            let (next, timeout) = self
                .work
                .wait_timeout(state, self.patience.signs_of_life())
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() && state.outgoing.is_empty() && !state.leaving {
                self.queue(&mut state, 0, ALIVE, &[]);
            }
        }
        if state.failed.is_some() || state.said_all {
            return None;
        }
        while let Some(message) = state.outgoing.front() {
            if !body.is_empty() && body.len() + message.len() > BATCH {
                break;
            }
            body.extend_from_slice(message);
            state.waiting_bytes -= message.len();
            state.outgoing.pop_front();
        }
        if state.leaving && state.outgoing.is_empty() {
            put_message(body, 0, BYE, &[]);
            state.said_all = true;
            // The writers of other connections have nothing more to wait for.
            self.work.notify_all();
        }
        state.writing += 1;
        state.next_out += 1;
        self.room.notify_all();
        Some(state.next_out - 1)
    }

    /// Notes that a frame has been written.
    fn wrote(&self) {
        let mut state = lock(&self.state);
        state.writing -= 1;
        state.left = state.said_all && state.writing == 0;
        let left = state.left;
        drop(state);
        if left {
            self.notify();
        }
    }

    /// Reads frames until the connection ends, and takes in each in its turn.
    fn read(&self, reader: &mut dyn Read) -> Result<(), LinkError> {
        self.greet(reader)?;
        let there = self.role.other().magic();
        let mut decoder = Decoder::new(there).map_err(|error| LinkError::Io(explain(&error)))?;
        let mut body = Vec::new();
        while decoder.read(reader, &mut body)? {
            let mut state = self.turn(decoder.number())?;
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (stream, kind, message) = take_message(&mut rest)?;
                self.dispatch(&mut state, stream, kind, message)?;
            }
            state.next_in += 1;
            drop(state);
            self.came.notify_all();
        }
        Ok(())
    }

    /// Waits until all frames before this one have been taken in.
    fn turn(&self, number: u64) -> Result<MutexGuard<'_, State>, LinkError> {
        let waits = |state: &mut State| state.failed.is_none() && state.next_in < number;
        let state = self.came.wait_while(lock(&self.state), waits);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(error) => Err(error.clone()),
            None if state.next_in == number => Ok(state),
            None => Err(LinkError::Damaged("a frame whose turn is over")),
        }
    }

    /// Notes that a connection has ended, which is the end of the link unless the other end has
    /// taken its leave.
    fn ended(&self, read: Result<(), LinkError>) {
        if let Err(error) = read {
            self.fail(error);
            return;
        }
        let state = lock(&self.state);
        // The farewell comes by any connection.
        let patience = if state.lanes.len() > 1 { LAST } else { Duration::ZERO };
        let waits = |state: &mut State| state.failed.is_none() && !state.left_there;
        let (mut state, _) = self
            .came
            .wait_timeout_while(state, patience, waits)
            .unwrap_or_else(PoisonError::into_inner);
        let left_there = state.left_there;
        state.ended += 1;
        drop(state);
        if left_there {
            self.notify();
        } else {
            self.fail(LinkError::Ended);
        }
    }

    /// Makes sure that the other end is what it should be.
    fn greet(&self, reader: &mut dyn Read) -> Result<(), LinkError> {
        let magic = self.role.other().magic();
        let mut heard = Vec::new();
        let mut buffer = [0; 16];
        while heard.len() < magic.len() {
            let room = magic.len() - heard.len();
            match reader.read(&mut buffer[..room]) {
                Ok(0) if heard.is_empty() => return Err(LinkError::Ended),
                Ok(0) => break,
                Ok(read) => heard.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LinkError::Io(explain(&error))),
            }
            if !magic.starts_with(&heard) {
                break;
            }
        }
        if heard == magic {
            return Ok(());
        }
        // The rest of the line tells better what it is; it may never come.
        let mut more = [0; 200];
        if !heard.contains(&b'\n')
            && let Ok(read) = reader.read(&mut more)
        {
            heard.extend_from_slice(&more[..read]);
        }
        Err(not_an_agent(&heard))
    }
}

/// Says what something else than an agent said first.
pub(crate) fn not_an_agent(heard: &[u8]) -> LinkError {
    let line = heard.split(|&byte| byte == b'\n').find(|line| !line.is_empty());
    LinkError::NotAnAgent(escape(line.unwrap_or_default().trim_ascii()).into_owned())
}
