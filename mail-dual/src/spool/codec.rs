//! How a spool's files are written.
//!
//! ```text
//! file    magic 16 bytes, version u32, number u32, salt 8 bytes, check u32
//! then    frames
//! frame   mark 4 bytes, kind u8, head length u32, body length u32, check u32, head, body
//! ```
//!
//! Numbers are little-endian. A head is JSON: of a [`Head`] with the message's octets as the body,
//! or of a [`Transition`] without one. A mark is the first half of the file's salt, and a check a
//! CRC-32 over the salt and everything else in the frame. Who sends a message does not know the
//! salt, and so cannot write a message that looks like frames of ours, or that makes looking for
//! them slow, where a damaged file is searched for the next whole one.

use serde::de::DeserializeOwned;

use super::{Head, Stored};
use crate::core::transition::Transition;
use crate::message::RawMessage;

const MAGIC: &[u8; 16] = b"mail-dual spool\n";
const VERSION: u32 = 1;
/// The length of a file's beginning.
pub(super) const PREAMBLE: usize = 16 + 4 + 4 + 8 + 4;

/// The length of what stands before a frame's head.
pub(super) const PREFIX: usize = 4 + 1 + 4 + 4 + 4;

/// No head is near this; a longer one is not read.
const HEAD_LIMIT: u32 = 16 << 20;
/// The longest message that is kept.
pub(super) const BODY_LIMIT: u32 = 1 << 30;

/// How a file begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preamble {
    /// Its place among the others.
    pub(super) number: u32,
    /// What its checks begin with.
    pub(super) salt: [u8; 8],
}

/// Why a file's beginning is no good.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadPreamble {
    /// It is not all there or not what was written.
    Damaged,
    /// Another version of the crate wrote it.
    Version(u32),
}

impl Preamble {
    pub(super) fn encode(self) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..20].copy_from_slice(&VERSION.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.salt);
        let check = crc32fast::hash(&bytes[..32]);
        bytes[32..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Preamble, BadPreamble> {
        let bytes: &[u8; PREAMBLE] = bytes.try_into().map_err(|_| BadPreamble::Damaged)?;
        if !bytes.starts_with(MAGIC) {
            return Err(BadPreamble::Damaged);
        }
        // Another version may have its check elsewhere.
        match number(&bytes[16..]) {
            VERSION => {}
            version => return Err(BadPreamble::Version(version)),
        }
        if number(&bytes[32..]) != crc32fast::hash(&bytes[..32]) {
            return Err(BadPreamble::Damaged);
        }
        let mut salt = [0; 8];
        salt.copy_from_slice(&bytes[24..32]);
        Ok(Preamble { number: number(&bytes[20..]), salt })
    }

    /// Adds a message's frame to `to`; its head's length.
    pub(super) fn write_message(self, stored: &Stored, to: &mut Vec<u8>) -> u32 {
        let head = serde_json::to_vec(&stored.head).expect("a head has no map with odd keys");
        self.write(Kind::Message, &head, stored.message.as_bytes(), to);
        head.len() as u32
    }

    /// Adds a transition's frame to `to`.
    pub(super) fn write_transition(self, transition: &Transition, to: &mut Vec<u8>) {
        let head = serde_json::to_vec(transition).expect("a transition has no map with odd keys");
        self.write(Kind::Transition, &head, &[], to);
    }

    fn write(self, kind: Kind, head: &[u8], body: &[u8], to: &mut Vec<u8>) {
        to.reserve(PREFIX + head.len() + body.len());
        let mut prefix = [0; PREFIX - 4];
        prefix[..4].copy_from_slice(self.mark());
        prefix[4] = kind as u8;
        prefix[5..9].copy_from_slice(&(head.len() as u32).to_le_bytes());
        prefix[9..13].copy_from_slice(&(body.len() as u32).to_le_bytes());
        let check = self.check(&prefix, head, body);
        to.extend_from_slice(&prefix);
        to.extend_from_slice(&check.to_le_bytes());
        to.extend_from_slice(head);
        to.extend_from_slice(body);
    }

    fn mark(&self) -> &[u8] {
        &self.salt[..4]
    }

    /// Where the next frame may begin in `bytes`, after the first.
    pub(super) fn next_mark(&self, bytes: &[u8]) -> Option<usize> {
        memchr::memmem::find(bytes.get(1..)?, self.mark()).map(|at| at + 1)
    }

    fn check(self, prefix: &[u8], head: &[u8], body: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for part in [&self.salt, prefix, head, body] {
            hasher.update(part);
        }
        hasher.finalize()
    }

    /// How long the frame is that `bytes` may begin with.
    pub(super) fn frame_len(self, bytes: &[u8]) -> Result<usize, BadFrame> {
        Prefix::read(self.mark(), bytes).map(|prefix| prefix.total())
    }

    /// The frame that `bytes` begin with.
    pub(super) fn read(self, bytes: &[u8]) -> Result<Frame<'_>, BadFrame> {
        let prefix = Prefix::read(self.mark(), bytes)?;
        let Some(rest) = bytes.get(PREFIX..prefix.total()) else {
            return Err(BadFrame::Short(prefix.total()));
        };
        let (head, body) = rest.split_at(prefix.head as usize);
        if self.check(&bytes[..PREFIX - 4], head, body) != prefix.check {
            return Err(BadFrame::Damaged);
        }
        Ok(Frame { prefix, head, body })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message = 1,
    Transition = 2,
}

#[derive(Debug, Clone, Copy)]
struct Prefix {
    kind: Kind,
    head: u32,
    body: u32,
    check: u32,
}

/// Why there is no frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadFrame {
    /// There would be one if there were so many bytes.
    Short(usize),
    /// There is something else.
    Damaged,
}

impl Prefix {
    fn read(mark: &[u8], bytes: &[u8]) -> Result<Prefix, BadFrame> {
        let Some(bytes) = bytes.get(..PREFIX) else {
            let begun = mark.starts_with(&bytes[..bytes.len().min(4)]) || bytes.starts_with(mark);
            return Err(if begun { BadFrame::Short(PREFIX) } else { BadFrame::Damaged });
        };
        let kind = match bytes[4] {
            1 => Kind::Message,
            2 => Kind::Transition,
            _ => return Err(BadFrame::Damaged),
        };
        let (head, body) = (number(&bytes[5..]), number(&bytes[9..]));
        if !bytes.starts_with(mark) || head > HEAD_LIMIT || body > BODY_LIMIT {
            return Err(BadFrame::Damaged);
        }
        Ok(Prefix { kind, head, body, check: number(&bytes[13..]) })
    }

    fn total(&self) -> usize {
        PREFIX + self.head as usize + self.body as usize
    }
}

/// A whole frame.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    prefix: Prefix,
    head: &'a [u8],
    body: &'a [u8],
}

/// What is in a frame.
#[derive(Debug)]
pub(super) enum Content {
    /// A message's head; the octets are left where they are.
    Message(Box<Head>),
    /// What became of one.
    Transition(Transition),
}

impl Frame<'_> {
    pub(super) fn total(&self) -> usize {
        self.prefix.total()
    }

    pub(super) fn body_len(&self) -> u32 {
        self.prefix.body
    }

    /// None for a head that is not what this version writes.
    pub(super) fn content(&self) -> Option<Content> {
        match self.prefix.kind {
            Kind::Message => parse(self.head).map(Content::Message),
            Kind::Transition => parse(self.head).map(Content::Transition),
        }
    }

    pub(super) fn stored(&self) -> Option<Stored> {
        let head = parse(self.head)?;
        Some(Stored { head, message: RawMessage::new(self.body).ok()? })
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PREAMBLE_1: Preamble = Preamble { number: 1, salt: *b"saltsalt" };

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes: Vec<u8>) {
            let _ = PREAMBLE_1.read(&bytes).map(|frame| frame.stored());
            let _ = Preamble::decode(&bytes);
            let marked = [PREAMBLE_1.mark(), &bytes].concat();
            let _ = PREAMBLE_1.read(&marked).map(|frame| frame.content().is_some());
        }
    }

    #[test]
    fn a_bit_that_changed_is_noticed() {
        let mut bytes = Vec::new();
        let id = crate::SpoolId::from_bytes([1; 16]);
        PREAMBLE_1.write_transition(&Transition::Held { id }, &mut bytes);
        assert!(matches!(
            PREAMBLE_1.read(&bytes).unwrap().content(),
            Some(Content::Transition(Transition::Held { .. }))
        ));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(PREAMBLE_1.read(&changed).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(matches!(PREAMBLE_1.read(&bytes[..end]), Err(BadFrame::Short(_))), "{end}");
        }
        let other = Preamble { salt: *b"SALTsalt", ..PREAMBLE_1 };
        assert_eq!(other.read(&bytes).unwrap_err(), BadFrame::Damaged);
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        let mut bytes = PREAMBLE_1.encode();
        assert_eq!(Preamble::decode(&bytes), Ok(PREAMBLE_1));
        bytes[16] = 2;
        assert_eq!(Preamble::decode(&bytes), Err(BadPreamble::Version(2)));
        bytes[16] = 1;
        bytes[25] ^= 1;
        assert_eq!(Preamble::decode(&bytes), Err(BadPreamble::Damaged));
    }
}
