//! Replies as they come in, with a cap on everything (RFC 5321 §4.2).

use crate::reply::Reply;
use crate::text::MOST_WORDS;

/// The longest line of a reply that is read; RFC 5321 §4.5.3.1.5 allows 512.
const LONGEST_LINE: usize = 4096;
/// The most lines of one reply.
const MOST_LINES: usize = 200;

/// Bytes that are no reply. Nothing that this server says can be relied on any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReply {
    /// Not three digits and a blank or dash.
    #[error("the server sent a line that is no reply: {0:?}")]
    NoReply(String),
    /// The lines of one reply disagree.
    #[error("the server changed the code of a reply from {0} to {1}")]
    Changed(u16, u16),
    /// Longer than any reply has to be.
    #[error("the server's reply is longer than {LONGEST_LINE} bytes a line or {MOST_LINES} lines")]
    TooLong,
}

/// One reply with all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lines {
    /// The code.
    pub code: u16,
    /// The text of each line, without the code.
    pub lines: Vec<Vec<u8>>,
}

impl Lines {
    /// The reply on one line, fit to be logged.
    pub fn to_reply(&self) -> Reply {
        // An enhanced code stands on every line (RFC 2034 §4); once is enough.
        let first = self.lines.first().map_or(&b""[..], |line| line);
        let code = first.split(|&byte| byte == b' ').next().unwrap_or_default();
        let mut text = first.to_vec();
        for line in self.lines.iter().skip(1) {
            if text.len() > MOST_WORDS {
                break;
            }
            let line = match line.strip_prefix(code) {
                Some(rest) if code.contains(&b'.') => rest.trim_ascii_start(),
                _ => line,
            };
            text.push(b' ');
            text.extend_from_slice(line);
        }
        Reply::new(self.code, text).expect("the reader takes codes between 200 and 599 only")
    }
}

/// Puts replies together from the bytes that arrive.
#[derive(Debug, Default)]
pub struct ReplyReader {
    line: Vec<u8>,
    begun: Option<Lines>,
}

impl ReplyReader {
    /// Takes bytes until one reply is whole; the number of bytes taken, and the reply.
    ///
    /// # Errors
    /// [`BadReply`] when the bytes are none.
    pub fn receive(&mut self, input: &[u8]) -> Result<(usize, Option<Lines>), BadReply> {
        let mut taken = 0;
        while taken < input.len() {
            let rest = &input[taken..];
            let end = memchr::memchr(b'\n', rest);
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + part.len() > LONGEST_LINE {
                return Err(BadReply::TooLong);
            }
            self.line.extend_from_slice(part);
            taken += part.len() + usize::from(end.is_some());
            if end.is_some()
                && let Some(reply) = self.end_line()?
            {
                return Ok((taken, Some(reply)));
            }
        }
        Ok((taken, None))
    }

    /// Whether part of a reply has come.
    pub fn is_within(&self) -> bool {
        !self.line.is_empty() || self.begun.is_some()
    }

    fn end_line(&mut self) -> Result<Option<Lines>, BadReply> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let bad = || BadReply::NoReply(crate::text::printable_within(line, 80));
        let (code, last, text) = match line {
            [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
                let code =
                    [a, b, c].iter().fold(0, |code, digit| code * 10 + u16::from(*digit - b'0'));
                match rest {
                    [] => (code, true, rest),
                    [b' ', text @ ..] => (code, true, text),
                    [b'-', text @ ..] => (code, false, text),
                    _ => return Err(bad()),
                }
            }
            _ => return Err(bad()),
        };
        let reply = self.begun.get_or_insert(Lines { code, lines: Vec::new() });
        if reply.code != code {
            return Err(BadReply::Changed(reply.code, code));
        }
        if reply.lines.len() >= MOST_LINES {
            return Err(BadReply::TooLong);
        }
        reply.lines.push(text.to_vec());
        Ok(if last { self.begun.take() } else { None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8]) -> Result<(usize, Option<Lines>), BadReply> {
        ReplyReader::default().receive(input)
    }

    #[test]
    fn s7_lines_become_one_reply() {
        let (taken, reply) = read(b"250-2.1.0 one\r\n250-2.1.0 two\r\n250 2.1.0\r\n220 x").unwrap();
        assert_eq!(taken, 41);
        assert_eq!(reply.unwrap().to_reply().to_string(), "250 2.1.0 one two ");
        assert_eq!(read(b"250\n").unwrap().1.unwrap().to_reply().to_string(), "250");
        assert_eq!(read(b"250-a\r\n").unwrap(), (7, None));
    }

    #[test]
    fn what_is_no_reply_is_an_error_and_capped() {
        for bad in
            [&b"HTTP/1.1 200\r\n"[..], b"\r\n", b"25\r\n", b"250x\r\n", b"199 x\r\n", b"600 x\r\n"]
        {
            assert!(matches!(read(bad), Err(BadReply::NoReply(_))), "{bad:?}");
        }
        assert_eq!(read(b"250-a\r\n251 b\r\n"), Err(BadReply::Changed(250, 251)));
        assert_eq!(read(&[b'2'; 5000]), Err(BadReply::TooLong));
        assert_eq!(read(&b"250-\r\n".repeat(201)), Err(BadReply::TooLong));
    }

    proptest! {
        #[test]
        fn replies_do_not_depend_on_how_they_are_split(text in "(25[01][ -][a-c.]{0,3}\r?\n|[0-9\r\n -]{1,4}){0,4}", split in 0usize..30) {
            let all = |pieces: &[&[u8]]| -> Result<Vec<Lines>, BadReply> {
                let mut reader = ReplyReader::default();
                let mut replies = Vec::new();
                for piece in pieces {
                    let mut rest = *piece;
                    while !rest.is_empty() {
                        let (taken, reply) = reader.receive(rest)?;
                        rest = &rest[taken..];
                        replies.extend(reply);
                    }
                }
                Ok(replies)
            };
            let bytes = text.as_bytes();
            let split = split.min(bytes.len());
            prop_assert_eq!(all(&[bytes]), all(&[&bytes[..split], &bytes[split..]]));
        }
    }
}
