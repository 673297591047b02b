//! What is to be sent, in order, and how much of it has been.

use std::collections::VecDeque;
use std::fmt;

use crate::message::RawMessage;

/// Messages up to this size are copied behind the commands, so that many leave with one write.
const SMALL: usize = 32 * 1024;

enum Piece {
    Bytes(Vec<u8>),
    Message(RawMessage),
}

/// A queue of bytes. Large messages are shared rather than copied.
#[derive(Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    /// How many bytes of the first piece have been sent.
    begun: usize,
    queued: u64,
    sent: u64,
}

impl Outbox {
    /// The bytes to be sent next; empty when there are none.
    pub fn next(&self) -> &[u8] {
        match self.pieces.front() {
            Some(Piece::Bytes(bytes)) => &bytes[self.begun..],
            Some(Piece::Message(message)) => &message.as_bytes()[self.begun..],
            None => &[],
        }
    }

    /// Says that this many of [`next`](Self::next) were sent.
    pub fn advance(&mut self, count: usize) {
        self.sent += count as u64;
        self.begun += count;
        if self.next().is_empty() {
            self.begun = 0;
            match self.pieces.pop_front() {
                // The last buffer is used again.
                Some(Piece::Bytes(mut bytes))
                    if self.pieces.is_empty() && bytes.capacity() <= 8 * SMALL =>
                {
                    bytes.clear();
                    self.pieces.push_back(Piece::Bytes(bytes));
                }
                _ => {}
            }
        }
    }

    /// Whether all was sent.
    pub fn is_empty(&self) -> bool {
        self.queued == self.sent
    }

    /// How many bytes were ever queued: the place of the next one.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    /// How many bytes were ever sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Appends bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.write(|buffer| buffer.extend_from_slice(bytes));
    }

    /// Appends what `write` appends to the buffer that it is given.
    pub(crate) fn write<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if !matches!(self.pieces.back(), Some(Piece::Bytes(_))) {
            self.pieces.push_back(Piece::Bytes(Vec::new()));
        }
        let Some(Piece::Bytes(buffer)) = self.pieces.back_mut() else {
            unreachable!("the last piece was made one of bytes above")
        };
        let before = buffer.len();
        let result = write(buffer);
        self.queued += (buffer.len() - before) as u64;
        result
    }

    /// Appends a message as it is.
    pub(crate) fn push_message(&mut self, message: &RawMessage) {
        if message.len() <= SMALL {
            return self.push(message.as_bytes());
        }
        // A buffer without anything in it would look like the end of the queue.
        if matches!(self.pieces.back(), Some(Piece::Bytes(bytes)) if bytes.is_empty()) {
            self.pieces.pop_back();
        }
        self.queued += message.len() as u64;
        self.pieces.push_back(Piece::Message(message.clone()));
    }
}

/// Only the counts: passwords pass through here, and what people write to one another.
impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbox({} of {} bytes sent)", self.sent, self.queued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_they_came(sizes in proptest::collection::vec(0usize..70_000, 0..8), step in 1usize..50_000) {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            let mut sent = Vec::new();
            let mut take = |outbox: &mut Outbox| {
                let count = outbox.next().len().min(step);
                sent.extend_from_slice(&outbox.next()[..count]);
                outbox.advance(count);
            };
            for (number, size) in sizes.into_iter().enumerate() {
                let message = RawMessage::new(vec![b'a' + number as u8; size]).unwrap();
                expected.extend_from_slice(message.as_bytes());
                outbox.push_message(&message);
                outbox.push(b"x");
                expected.push(b'x');
                if number % 2 == 0 {
                    take(&mut outbox);
                }
            }
            while !outbox.is_empty() {
                prop_assert!(!outbox.next().is_empty());
                take(&mut outbox);
            }
            prop_assert_eq!(outbox.next(), b"");
            prop_assert_eq!(sent, expected);
        }
    }
}
