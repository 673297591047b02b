//! The message itself on its way: dots doubled, and an end that is exactly CRLF, dot, CRLF.

use crate::message::{BadMessage, RawMessage};

/// Why a message that was sent to us is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataFault {
    /// A byte that must not be there.
    #[error(transparent)]
    Bad(#[from] BadMessage),
    /// Larger than we take.
    #[error("more than {0} bytes")]
    TooLarge(usize),
}

/// Where in a line the last byte was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the start of a line, where a dot is special.
    Start,
    /// Inside a line.
    Text,
    /// After a CR that no other CR was before.
    Cr,
    /// After a CR that followed another. A LF now is no line end that an end of data may follow:
    /// the next server could read these bytes differently.
    CrCr,
    /// After a dot at the start of a line.
    Dot,
    /// After a dot at the start of a line and a CR.
    DotCr,
}

/// Takes a message after 354 (RFC 5321 §4.1.1.4, §4.5.2).
///
/// Only CRLF, dot, CRLF ends it, or dot, CRLF as the very first line. What other servers were seen
/// to take for an end (a bare LF or CR around the dot, a NUL, a doubled CR) does not; the message
/// is read to its real end and refused then.
///
/// ```
/// use mail_dual::proto::DataReceiver;
/// let mut data = DataReceiver::new(1000);
/// assert_eq!(data.receive(b"hello\r\n..\r\n.\r\nQUIT\r\n"), Some(14));
/// assert_eq!(data.finish()?.as_bytes(), b"hello\r\n.\r\n");
/// # Ok::<(), mail_dual::proto::DataFault>(())
/// ```
#[derive(Debug)]
pub struct DataReceiver {
    at: At,
    bytes: Vec<u8>,
    /// How many bytes there were, kept or not.
    size: usize,
    limit: usize,
    bad: Option<BadMessage>,
    ended: bool,
}

impl DataReceiver {
    /// Takes at most `limit` bytes. More are read and forgotten.
    pub fn new(limit: usize) -> DataReceiver {
        DataReceiver { at: At::Start, bytes: Vec::new(), size: 0, limit, bad: None, ended: false }
    }

    /// Takes the next bytes that arrived. With the end of data among them, how many bytes belong
    /// to the message; those after them are commands.
    pub fn receive(&mut self, input: &[u8]) -> Option<usize> {
        let mut rest = input;
        while let Some(&byte) = rest.first() {
            if let Some(line) = self.whole_line(rest) {
                self.keep(line);
                self.at = At::Start;
                rest = &rest[line.len()..];
                continue;
            }
            if self.at == At::Text {
                // Nearly all bytes are inside a line.
                let run = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                if run > 0 {
                    self.keep(&rest[..run]);
                    rest = &rest[run..];
                    continue;
                }
            }
            rest = &rest[1..];
            if self.step(byte) {
                self.ended = true;
                return Some(input.len() - rest.len());
            }
        }
        None
    }

    /// The rest of the line that `input` goes on with, where nothing in it needs a closer look;
    /// nearly all lines are like that.
    fn whole_line<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        let begins = match self.at {
            At::Start => input.first() != Some(&b'.'),
            At::Text => true,
            At::Cr | At::CrCr | At::Dot | At::DotCr => false,
        };
        // What is refused anyway is not looked at twice: it may be made to take long.
        if !begins || self.bad.is_some() {
            return None;
        }
        let line = &input[..=memchr::memchr(b'\n', input)?];
        let text = line.strip_suffix(b"\r\n")?;
        memchr::memchr2(b'\r', 0, text).is_none().then_some(line)
    }

    /// Takes one byte; true at the end of data.
    fn step(&mut self, byte: u8) -> bool {
        self.at = match (self.at, byte) {
            (At::Start, b'.') => {
                // Either the end or a doubled dot: not part of the message in both cases.
                At::Dot
            }
            (At::DotCr, b'\n') => return true,
            (At::Dot, b'\r') => At::DotCr,
            (At::DotCr, _) => {
                // A dot and a bare CR: no end.
                self.blame(BadMessage::BareCr(self.size));
                self.keep(b"\r");
                self.at = if byte == b'\r' { At::CrCr } else { At::Text };
                return self.plain(byte);
            }
            _ => return self.plain(byte),
        };
        false
    }

    /// A byte that is no part of an end of data.
    fn plain(&mut self, byte: u8) -> bool {
        let after_cr = matches!(self.at, At::Cr | At::CrCr);
        let next = match byte {
            b'\n' if self.at == At::Cr => At::Start,
            b'\n' if self.at == At::CrCr => At::Text,
            b'\n' => {
                self.blame(BadMessage::BareLf(self.size));
                At::Text
            }
            b'\r' if after_cr => At::CrCr,
            b'\r' => At::Cr,
            _ => At::Text,
        };
        if after_cr && byte != b'\n' {
            self.blame(BadMessage::BareCr(self.size - 1));
        }
        if byte == 0 {
            self.blame(BadMessage::Nul(self.size));
        }
        self.keep(&[byte]);
        self.at = next;
        false
    }

    /// Keeps nothing of this message any more; it is read to its end.
    pub(crate) fn forget(&mut self) {
        self.limit = 0;
        self.bytes = Vec::new();
    }

    /// How many bytes are kept.
    pub(crate) fn held(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many bytes came so far, kept or not.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len());
        if self.size <= self.limit && self.bad.is_none() {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.bytes = Vec::new();
        }
    }

    fn blame(&mut self, bad: BadMessage) {
        self.bad.get_or_insert(bad);
    }

    /// The message, after its end.
    ///
    /// # Errors
    /// [`DataFault`] says why it is not taken.
    pub fn finish(self) -> Result<RawMessage, DataFault> {
        if let Some(bad) = self.bad {
            return Err(bad.into());
        }
        if self.size > self.limit {
            return Err(DataFault::TooLarge(self.limit));
        }
        if self.ended {
            return Ok(RawMessage::of_checked(self.bytes));
        }
        Ok(RawMessage::new(self.bytes)?)
    }
}

/// Appends the message with the dots at the start of its lines doubled, and the end of data.
/// Returns how long that end is: what comes before it does not complete the message.
pub fn append_stuffed(message: &RawMessage, out: &mut Vec<u8>) -> usize {
    const END: &[u8] = b".\r\n";
    let bytes = message.as_bytes();
    out.reserve(bytes.len() + bytes.len() / 64 + END.len());
    if bytes.first() == Some(&b'.') {
        out.push(b'.');
    }
    let mut start = 0;
    for dot in memchr::memmem::find_iter(bytes, b"\n.") {
        out.extend_from_slice(&bytes[start..=dot]);
        out.push(b'.');
        start = dot + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.extend_from_slice(END);
    END.len()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What servers were seen to take for the end of data, beside the real one.
    pub(crate) const SMUGGLED_ENDS: [&[u8]; 14] = [
        b"\n.\n",
        b"\n.\r",
        b"\r.\n",
        b"\r.\r",
        b"\n.\r\n",
        b"\r.\r\n",
        b"\r\n.\n",
        b"\r\n.\r",
        b"\r\n\0.\r\n",
        b"\r\n.\0\r\n",
        b"\r\n.\r\r\n",
        b"\r\r\n.\r\r\n",
        b"\r\r\n.\r\n",
        b"\n.\r\r\n",
    ];

    fn received(pieces: &[&[u8]]) -> (Option<usize>, Result<RawMessage, DataFault>) {
        let mut data = DataReceiver::new(10_000);
        let mut before = 0;
        for piece in pieces {
            if let Some(end) = data.receive(piece) {
                return (Some(before + end), data.finish());
            }
            before += piece.len();
        }
        (None, data.finish())
    }

    #[test]
    fn s15_smuggled_ends_end_nothing_and_are_refused_wherever_they_are_split() {
        for end in SMUGGLED_ENDS {
            let stream = [b"a\r\nb", end, b"MAIL FROM:<x@y>\r\nDATA\r\nc\r\n.\r\n"].concat();
            for first in 0..=stream.len() {
                for second in first..=stream.len() {
                    let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
                    let (ended, message) = received(&pieces);
                    assert_eq!(ended, Some(stream.len()), "{end:?} at {first}, {second}");
                    assert!(matches!(message, Err(DataFault::Bad(_))), "{end:?}: {message:?}");
                }
            }
        }
    }

    #[test]
    fn s15_the_first_line_may_be_the_end() {
        let (ended, message) = received(&[b".\r\nQUIT"]);
        assert_eq!((ended, message.unwrap().len()), (Some(3), 0));
        let (ended, message) = received(&[b"..\r\n.\r\n"]);
        assert_eq!((ended, message.unwrap().as_bytes()), (Some(7), &b".\r\n"[..]));
    }

    #[test]
    fn s16_too_much_is_read_to_its_end() {
        let mut data = DataReceiver::new(5);
        assert_eq!(data.receive(b"12345"), None);
        assert_eq!(data.receive(b"6789\r\n.\r\n"), Some(9));
        assert_eq!(data.finish(), Err(DataFault::TooLarge(5)));
    }

    /// Bytes that the state machine distinguishes, more often than others.
    pub(crate) fn telling_bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            3 => Just(b'\r'), 3 => Just(b'\n'), 3 => Just(b'.'), 1 => Just(0u8), 1 => any::<u8>()
        ];
        proptest::collection::vec(byte, 0..most)
    }

    proptest! {
        #[test]
        fn s12_doubling_dots_and_taking_them_away_is_nothing(lines in proptest::collection::vec("[.a]{0,4}", 0..12), split in 0usize..60) {
            let message = RawMessage::new(lines.iter().map(|line| format!("{line}\r\n")).collect::<String>()).unwrap();
            let mut wire = Vec::new();
            append_stuffed(&message, &mut wire);
            let end = memchr::memmem::find_iter(&wire, b"\r\n.\r\n").next();
            prop_assert_eq!(end.map_or(0, |at| at + 2) + 3, wire.len());
            let split = split.min(wire.len());
            let (ended, back) = received(&[&wire[..split], &wire[split..]]);
            prop_assert_eq!((ended, back.unwrap()), (Some(wire.len()), message));
        }

        #[test]
        fn whatever_arrives_ends_at_the_same_byte_however_it_is_split(bytes in telling_bytes(40), split in 0usize..40) {
            let whole = received(&[&bytes]);
            let split = split.min(bytes.len());
            prop_assert_eq!(&received(&[&bytes[..split], &bytes[split..]]), &whole);
            if let (Some(end), Ok(message)) = whole {
                prop_assert!(bytes[..end].ends_with(b".\r\n") && message.len() <= end);
            }
        }
    }
}
