//! What happened and what came of it, line by line, so that every decision can be made again.
//!
//! A journal begins with a state; then come events, each followed by the effects that it had, if any.
//! [`replay`] steps through it and arrives at the same effects, byte for byte, or says where not. After a
//! crash, whatever was cut off is left out: an event is on the disk before its effects are acted on.
//!
//! ```text
//! dns-failover journal 1
//! 3f0c…16 hex digits… {"at":1795374000000,"state":{…}}
//! 9a41…               {"at":1795374002000,"event":{"observed":{…}}}
//! 77d2…               {"at":1795374002000,"effects":[…]}
//! ```
//!
//! The digits are a BLAKE3, cut to 8 bytes, of the digits before and the line's JSON: a line is valid only
//! where it was written.

mod file;

use serde::{Deserialize, Serialize};

use crate::decision::{Effect, Event, Policy, State, Timestamp};

pub use file::{History, JournalDir, JournalError};

/// The first line.
const HEADER: &str = "dns-failover journal 1\n";
/// A longer line is not read.
const LONGEST: usize = 4 * 1024 * 1024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: Record,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Record {
    /// All that is known; the first line, and the only one of its kind.
    State(Box<State>),
    /// Something happened.
    Event(Event),
    /// What came of the event before.
    Effects(Vec<Effect>),
}

/// Writes lines.
#[derive(Debug, Clone)]
pub struct Writer {
    check: [u8; 8],
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The lines that are whole.
    pub entries: Vec<Entry>,
    /// How many octets they take, with the header.
    pub whole: usize,
    /// How many octets after them cannot be believed: a write that was cut off, or damage.
    pub lost: usize,
    check: [u8; 8],
}

/// Why a journal is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Something else, or of another version.
    #[error(
        "it does not begin with \"dns-failover journal 1\"; it is something else, or of another version"
    )]
    Header,
}

/// Why a journal does not lead where it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Its first line holds no state.
    #[error("the journal does not begin with a state")]
    NoState,
    /// A line that has no business there.
    #[error("line {line} of the journal stands where it cannot stand")]
    OutOfPlace {
        /// Counted from 1.
        line: usize,
    },
    /// The event had other effects then; it was made by other rules or another version.
    #[error(
        "line {line} of the journal tells of other effects than its event has under these rules"
    )]
    Diverged {
        /// Counted from 1.
        line: usize,
    },
}

fn chain(check: [u8; 8], json: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&check).update(json);
    let mut next = [0; 8];
    next.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    next
}

impl Default for Writer {
    fn default() -> Writer {
        Writer { check: chain([0; 8], HEADER.as_bytes()) }
    }
}

impl Writer {
    /// The header that a new journal begins with.
    pub fn header(&self) -> &'static str {
        HEADER
    }

    /// Goes on behind what was read.
    pub fn after(reading: &Reading) -> Writer {
        Writer { check: reading.check }
    }

    /// One line.
    pub fn line(&mut self, entry: &Entry) -> String {
        let json = serde_json::to_string(entry).expect("entries hold nothing that fails to encode");
        self.check = chain(self.check, json.as_bytes());
        format!("{:016x} {json}\n", u64::from_be_bytes(self.check))
    }
}

/// Reads a journal as far as it can be believed.
///
/// # Errors
/// [`ReadError::Header`]. An empty one is no error.
pub fn read(text: &[u8]) -> Result<Reading, ReadError> {
    let mut reading = Reading { check: Writer::default().check, ..Reading::default() };
    let Some(mut rest) = text.strip_prefix(HEADER.as_bytes()) else {
        // Cut off within its first line, so that there was nothing yet.
        return match HEADER.as_bytes().starts_with(text) {
            true => Ok(Reading { lost: text.len(), ..reading }),
            false => Err(ReadError::Header),
        };
    };
    reading.whole = HEADER.len();
    while let Some(end) = rest.iter().take(LONGEST).position(|byte| *byte == b'\n') {
        let Some((entry, check)) = line(&rest[..end], reading.check) else { break };
        reading.entries.push(entry);
        reading.check = check;
        reading.whole += end + 1;
        rest = &rest[end + 1..];
    }
    reading.lost = rest.len();
    Ok(reading)
}

fn line(line: &[u8], before: [u8; 8]) -> Option<(Entry, [u8; 8])> {
    let (digits, json) = line.split_at_checked(16)?;
    let json = json.strip_prefix(b" ")?;
    let told = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?.to_be_bytes();
    let check = chain(before, json);
    if check != told {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, check))
}

/// Makes every decision of a journal again. Gives the state at its end.
///
/// # Errors
/// [`ReplayError`] with the line.
pub fn replay(policy: &Policy, entries: &[Entry]) -> Result<State, ReplayError> {
    let mut entries = entries.iter().zip(2..).peekable();
    let Some((Entry { what: Record::State(state), .. }, _)) = entries.next() else {
        return Err(ReplayError::NoState);
    };
    let mut state = (**state).clone();
    while let Some((entry, line)) = entries.next() {
        let Record::Event(event) = &entry.what else {
            return Err(ReplayError::OutOfPlace { line });
        };
        let (next, effects) = policy.step(state, event, entry.at);
        state = next;
        let told = entries.next_if(|(entry, _)| matches!(entry.what, Record::Effects(_)));
        // Cut off between an event and its effects: they are made now.
        let last = entries.peek().is_none();
        match told {
            Some((Entry { what: Record::Effects(told), .. }, line)) if *told != effects => {
                return Err(ReplayError::Diverged { line });
            }
            None if !effects.is_empty() && !last => return Err(ReplayError::Diverged { line }),
            _ => {}
        }
    }
    Ok(state)
}
