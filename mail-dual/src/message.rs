//! A message's bytes, exactly as they are passed on.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::SpoolId;
use crate::received::Received;
use crate::text::{from_hex, printable_within, to_hex};

/// The longest line that DATA may carry, without its CRLF (RFC 5321 §4.5.3.1.6).
pub const LONGEST_LINE: usize = 998;

/// Why bytes are no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMessage {
    /// A line feed without a carriage return before it.
    #[error("a bare <LF> at byte {0}")]
    BareLf(usize),
    /// A carriage return without a line feed after it.
    #[error("a bare <CR> at byte {0}")]
    BareCr(usize),
    /// A NUL byte.
    #[error("a NUL at byte {0}")]
    Nul(usize),
}

/// A message whose lines all end in CRLF, the last one included, without NUL, bare CR or bare LF
/// anywhere: written to a server with its leading dots doubled, nothing in it can end it early.
///
/// Cloning shares the bytes.
///
/// ```
/// use mail_dual::RawMessage;
/// let message = RawMessage::new("Message-ID: <1@x>\r\n\r\nhello\r\n")?;
/// assert_eq!(message.key().message_id.as_deref(), Some("<1@x>"));
/// assert!(RawMessage::new("hello\n.\r\nMAIL FROM:<>").is_err());
/// # Ok::<(), mail_dual::BadMessage>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RawMessage(Arc<[u8]>);

impl RawMessage {
    /// Checks `bytes` and keeps them. A last line without its CRLF gets it, which changes no DKIM
    /// signature (RFC 6376 §3.4.3); that is all that is ever added.
    ///
    /// # Errors
    /// [`BadMessage`] names the first byte that must not be there.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<RawMessage, BadMessage> {
        let bytes = bytes.as_ref();
        check(bytes)?;
        if bytes.is_empty() || bytes.ends_with(b"\r\n") {
            return Ok(RawMessage(bytes.into()));
        }
        Ok(RawMessage([bytes, b"\r\n"].concat().into()))
    }

    /// Lines that were checked while they came in, each with its CRLF.
    pub(crate) fn of_checked(bytes: Vec<u8>) -> RawMessage {
        debug_assert!(check(&bytes).is_ok() && (bytes.is_empty() || bytes.ends_with(b"\r\n")));
        RawMessage(bytes.into())
    }

    /// A message written on this machine, where lines end in LF as a rule: each LF without a CR
    /// becomes CRLF.
    ///
    /// # Errors
    /// [`BadMessage`] for a CR inside a line, or NUL.
    pub fn from_local(bytes: &[u8]) -> Result<RawMessage, BadMessage> {
        let mut canonical = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 2);
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let line = &rest[..end];
            canonical.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            canonical.extend_from_slice(b"\r\n");
            rest = &rest[end + 1..];
        }
        canonical.extend_from_slice(rest);
        RawMessage::new(canonical)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing at all, not even a header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a byte above 127 occurs.
    pub fn is_8bit(&self) -> bool {
        !self.0.is_ascii()
    }

    /// Whether a byte above 127 occurs in the header, so that a server must offer SMTPUTF8.
    pub fn has_8bit_header(&self) -> bool {
        !self.0[..self.header_len()].is_ascii()
    }

    /// The longest line, without its CRLF.
    pub fn longest_line(&self) -> usize {
        let mut start = 0;
        let mut longest = 0;
        for end in memchr::memchr_iter(b'\n', &self.0) {
            longest = longest.max(end - start - 1);
            start = end + 1;
        }
        longest
    }

    /// The fields of the header, in order. What follows a line that is no field is body.
    pub fn header(&self) -> Fields<'_> {
        Fields { rest: &self.0 }
    }

    /// The first field of this name, in any case.
    pub fn field(&self, name: &str) -> Option<Field<'_>> {
        self.header().find(|field| field.is(name))
    }

    fn header_len(&self) -> usize {
        self.header().map(|field| field.raw.len()).sum()
    }

    /// How many Received fields it has: one for each server that it passed (RFC 5321 §6.3).
    pub fn received_count(&self) -> usize {
        self.header().filter(|field| field.is("Received")).count()
    }

    /// The same message with a Received field before everything else, and no other change
    /// (RFC 5321 §4.4): signatures stay good, because they cover nothing that comes later.
    pub fn with_received(&self, received: &Received<'_>) -> RawMessage {
        RawMessage([received.to_string().as_bytes(), &self.0].concat().into())
    }

    /// Whether a Received field says that a host of this name had it before and gave it an id of
    /// ours. Such a message goes in a circle.
    pub fn has_been_at(&self, host: &str) -> bool {
        self.header().filter(|field| field.is("Received")).any(|field| {
            let value = field.value();
            let mut words = value.split_ascii_whitespace();
            let by = words.by_ref().find(|word| *word == "by").and_then(|_| words.next());
            let id = words.by_ref().find(|word| *word == "id").and_then(|_| words.next());
            by.is_some_and(|by| by.eq_ignore_ascii_case(host))
                && id.is_some_and(|id| id.trim_end_matches(';').parse::<SpoolId>().is_ok())
        })
    }

    /// The id that the topmost Received field with one of ours gives.
    pub fn spool_id(&self) -> Option<SpoolId> {
        self.header().filter(|field| field.is("Received")).find_map(|field| {
            let value = field.value();
            let mut words = value.split_ascii_whitespace();
            words.by_ref().find(|word| *word == "id")?;
            words.next()?.trim_end_matches(';').parse().ok()
        })
    }

    /// What two copies of one message have in common, whichever way each came.
    pub fn key(&self) -> MessageKey {
        MessageKey {
            message_id: self
                .field("Message-ID")
                .map(|field| printable_within(field.value().trim().as_bytes(), 998))
                .filter(|id| !id.is_empty()),
            content: self.content_hash(),
        }
    }

    /// SHA-256 of the message without what servers put on top of it on its way, and without
    /// empty lines at its end.
    pub fn content_hash(&self) -> ContentHash {
        let traced: usize = self
            .header()
            .take_while(|field| is_trace(field.name))
            .map(|field| field.raw.len())
            .sum();
        let mut content = &self.0[traced..];
        while content.ends_with(b"\r\n\r\n") {
            content = &content[..content.len() - 2];
        }
        ContentHash(Sha256::digest(content).into())
    }
}

/// Fields that a server may put before a message while it passes.
fn is_trace(name: &[u8]) -> bool {
    const TRACE: [&str; 6] = [
        "Received",
        "Return-Path",
        "Delivered-To",
        "X-Original-To",
        "Authentication-Results",
        "Received-SPF",
    ];
    const FAMILIES: [&str; 2] = ["ARC-", "X-Spam-"];
    TRACE.iter().any(|trace| name.eq_ignore_ascii_case(trace.as_bytes()))
        || FAMILIES.iter().any(|family| {
            name.get(..family.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes()))
        })
}

fn check(bytes: &[u8]) -> Result<(), BadMessage> {
    let mut start = 0;
    while start < bytes.len() {
        let end = memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at);
        let line = &bytes[start..end];
        let text = if end < bytes.len() { line.strip_suffix(b"\r") } else { Some(line) };
        let inside = memchr::memchr2(b'\r', 0, text.unwrap_or(line));
        match (inside.map(|at| start + at), text) {
            (Some(at), _) if bytes[at] == 0 => return Err(BadMessage::Nul(at)),
            (Some(at), _) => return Err(BadMessage::BareCr(at)),
            (None, None) => return Err(BadMessage::BareLf(end)),
            (None, Some(_)) => start = end + 1,
        }
    }
    Ok(())
}

impl AsRef<[u8]> for RawMessage {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Only the length: what people write to one another belongs in no log.
impl fmt::Debug for RawMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawMessage({} bytes)", self.0.len())
    }
}

/// One field of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    name: &'a [u8],
    raw: &'a [u8],
}

impl<'a> Field<'a> {
    /// Whether this is its name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// The name.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// All of it, with its line ends.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What follows the colon, on one line, with its blanks (RFC 5322 §2.2.3).
    pub fn value(&self) -> String {
        let colon = memchr::memchr(b':', self.raw).map_or(0, |at| at + 1);
        let mut value = String::from_utf8_lossy(&self.raw[colon..]).into_owned();
        value.retain(|character| !matches!(character, '\r' | '\n'));
        value
    }
}

/// The fields of a header in their order.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let first = memchr::memchr(b'\n', self.rest)?;
        let colon = memchr::memchr(b':', &self.rest[..first])?;
        // Blanks may stand before the colon (RFC 5322 §4.5.8); they belong to no name.
        let name = self.rest[..colon].trim_ascii_end();
        if name.is_empty() || !name.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
            return None;
        }
        let mut end = first + 1;
        while matches!(self.rest.get(end), Some(b' ' | b'\t')) {
            end += memchr::memchr(b'\n', &self.rest[end..])? + 1;
        }
        let (raw, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(Field { name, raw })
    }
}

/// What is the same in two copies of one message.
///
/// A Message-ID alone is a hint and no proof: lists and providers reuse them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageKey {
    /// The Message-ID with its brackets, where there is one.
    pub message_id: Option<String>,
    /// The hash of the content.
    pub content: ContentHash,
}

/// SHA-256 of what the sender wrote; shown and stored in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for ContentHash {
    fn from(bytes: [u8; 32]) -> ContentHash {
        ContentHash(bytes)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for ContentHash {
    type Error = BadHash;
    fn try_from(text: String) -> Result<ContentHash, BadHash> {
        from_hex(&text).map(ContentHash).ok_or(BadHash)
    }
}

impl From<ContentHash> for String {
    fn from(hash: ContentHash) -> String {
        hash.to_string()
    }
}

/// A text that is no hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a content hash is 64 hexadecimal digits")]
pub struct BadHash;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(text: &str) -> RawMessage {
        RawMessage::new(text).unwrap()
    }

    #[test]
    fn the_first_byte_that_must_not_be_there_is_named() {
        for (bad, why) in [
            ("a\nb", BadMessage::BareLf(1)),
            ("a\r\n\nb", BadMessage::BareLf(3)),
            ("a\rb\r\n", BadMessage::BareCr(1)),
            ("a\r", BadMessage::BareCr(1)),
            ("a\r\r\n", BadMessage::BareCr(1)),
            ("a\0b", BadMessage::Nul(1)),
            ("\r\n\0", BadMessage::Nul(2)),
        ] {
            assert_eq!(RawMessage::new(bad), Err(why), "{bad:?}");
        }
        assert_eq!(message("a").as_bytes(), b"a\r\n");
        assert_eq!(message("").as_bytes(), b"");
        assert_eq!(RawMessage::from_local(b"a\nb\r\nc").unwrap().as_bytes(), b"a\r\nb\r\nc\r\n");
        assert_eq!(RawMessage::from_local(b"a\rb\n"), Err(BadMessage::BareCr(1)));
    }

    #[test]
    fn fields_are_found_across_folded_lines_and_odd_spelling() {
        let text = "Received: a\r\n\tb\r\nmessage-id :\r\n <1@x>\r\nBcc:\r\n\r\nReceived: body\r\n";
        let message = message(text);
        let names: Vec<&[u8]> = message.header().map(|field| field.name()).collect();
        assert_eq!(names, [&b"Received"[..], b"message-id", b"Bcc"]);
        assert_eq!(message.key().message_id.as_deref(), Some("<1@x>"));
        assert_eq!(message.received_count(), 1);
        assert_eq!(RawMessage::new("no header: at all\r\n").unwrap().header().count(), 0);
        assert_eq!(RawMessage::new("").unwrap().header().count(), 0);
    }

    #[test]
    fn the_hash_forgets_the_way_and_nothing_else() {
        let plain = message("DKIM-Signature: x\r\nSubject: a\r\n\r\nb\r\n");
        let travelled = message(
            "Return-Path: <a@b>\r\nReceived: by x\r\n\tid y\r\narc-seal: 1\r\nX-Spam-Status: no\r\n\
             DKIM-Signature: x\r\nSubject: a\r\n\r\nb\r\n\r\n\r\n",
        );
        assert_eq!(plain.content_hash(), travelled.content_hash());
        let other = message("DKIM-Signature: x\r\nReceived: by x\r\nSubject: a\r\n\r\nb\r\n");
        assert_ne!(plain.content_hash(), other.content_hash());
    }

    #[test]
    fn what_people_write_shows_in_no_debug() {
        assert_eq!(format!("{:?}", message("secret")), "RawMessage(8 bytes)");
    }

    proptest! {
        #[test]
        fn bytes_are_taken_whole_or_not_at_all(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), Just(b'.'), any::<u8>()], 0..60)) {
            let canonical = {
                let text = bytes.iter().map(|&byte| char::from(byte)).collect::<String>();
                let bare = text.replace("\r\n", "");
                !bare.contains(['\r', '\n', '\0'])
            };
            match RawMessage::new(bytes.clone()) {
                Ok(message) => {
                    prop_assert!(canonical);
                    prop_assert!(message.as_bytes().starts_with(&bytes));
                    prop_assert!(message.len() <= bytes.len() + 2);
                    message.key();
                    message.longest_line();
                }
                Err(_) => prop_assert!(!canonical),
            }
        }
    }
}
