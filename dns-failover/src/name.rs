//! Domain names: any octets in labels, compared without regard to ASCII case.

mod order;
mod serde;
mod text;

pub(crate) use text::{unescape, write_decimal_escape, write_wire};

use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use crate::octets::Octets;

/// The longest name on the wire, the root's zero octet included (RFC 1035 section 3.1).
pub(crate) const MAX_NAME: usize = 255;

/// The longest label.
pub(crate) const MAX_LABEL: usize = 63;

/// Why something is no domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Two dots in a row, or a dot at the start.
    #[error("a label is empty; two dots stand together, or one stands at the start")]
    EmptyLabel,
    /// No character at all.
    #[error("the name is empty; the root is written \".\"")]
    Empty,
    /// More than 63 octets between two dots.
    #[error("a label has more than 63 octets")]
    LongLabel,
    /// More than 255 octets on the wire.
    #[error("the name has more than 255 octets on the wire")]
    LongName,
    /// A backslash with nothing or half a number after it.
    #[error("a backslash must be followed by one character or by three decimal digits up to 255")]
    BadEscape,
    /// The wire ends within the name.
    #[error("the name goes on beyond the end of the message")]
    CutOff,
    /// A length octet of a kind that nobody defines (RFC 6891 section 5 withdrew the last one).
    #[error("a length octet starts with the reserved bits 01 or 10")]
    BadLength,
    /// A compression pointer where there must be none, or one that does not point backwards.
    #[error("a compression pointer is not allowed here, or does not point backwards")]
    BadPointer,
    /// A relative name where nothing says relative to what.
    #[error("the name is relative, and no origin is known; end it with a dot")]
    NoOrigin,
}

/// An absolute domain name (RFC 1034 section 3.1, RFC 2181 section 11): up to 127 labels of 1 to 63
/// octets, any octets. Case is kept and never matters: `==`, order and hash fold ASCII letters
/// (RFC 4343). The order is the canonical one of RFC 4034 section 6.1, in which a name comes directly
/// before everything below it.
///
/// ```
/// use dns_failover::Name;
///
/// let www: Name = "WWW.example.com".parse()?;
/// assert_eq!(www.to_string(), "WWW.example.com.");
/// assert_eq!(www, "www.example.com.".parse()?);
/// assert!(www.is_within(&"example.com.".parse()?));
/// let odd = Name::from_labels([b"a.b".as_slice(), b"\0\xff", b"com"])?;
/// assert_eq!(odd.to_string(), r"a\.b.\000\255.com.");
/// # Ok::<(), dns_failover::NameError>(())
/// ```
#[derive(Clone)]
pub struct Name(Octets<30>);

impl Name {
    /// The root, `.`.
    pub fn root() -> Name {
        Name(Octets::new(&[0]))
    }

    /// Puts a name together from its labels, leftmost first, as they are: nothing is unescaped, and a
    /// dot is a character like any other.
    ///
    /// # Errors
    /// [`NameError`] for an empty or too long label and for too long a name.
    pub fn from_labels<L: AsRef<[u8]>>(
        labels: impl IntoIterator<Item = L>,
    ) -> Result<Name, NameError> {
        let mut builder = Builder::new();
        for label in labels {
            let label = label.as_ref();
            if label.len() > MAX_LABEL {
                return Err(NameError::LongLabel);
            }
            for &octet in label {
                builder.push(octet)?;
            }
            builder.end_label()?;
        }
        builder.finish()
    }

    /// Takes an uncompressed name that fills `wire` wholly.
    ///
    /// # Errors
    /// [`NameError`] names what is wrong.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        match uncompressed_len(wire)? {
            len if len == wire.len() => Ok(Name(Octets::new(wire))),
            _ => Err(NameError::BadLength),
        }
    }

    /// Takes the name at `at` in a message, which may be compressed (RFC 1035 section 4.1.4), and moves
    /// `at` behind it. Work is bounded: pointers only ever go backwards.
    ///
    /// # Errors
    /// [`NameError`] names what is wrong.
    pub fn from_message(message: &[u8], at: &mut usize) -> Result<Name, NameError> {
        let mut wire = [0; MAX_NAME];
        let len = copy_from_message(message, at, &mut wire)?;
        Ok(Name(Octets::new(&wire[..len])))
    }

    /// Octets that were checked before.
    pub(crate) fn trusted(wire: &[u8]) -> Name {
        Name(Octets::new(wire))
    }

    /// The uncompressed wire form, 1 to 255 octets, with its case kept.
    #[inline]
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The labels, leftmost first, without the root's.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: self.as_wire() }
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.as_wire() == [0]
    }

    /// Whether the leftmost label is `*` and nothing else (RFC 4592 section 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.as_wire().starts_with(b"\x01*")
    }

    /// Whether this name is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        self.tail_at(ancestor).is_some()
    }

    /// Where in the wire form the ancestor begins; None when the name does not lie within it.
    fn tail_at(&self, ancestor: &Name) -> Option<usize> {
        let (wire, tail) = (self.as_wire(), ancestor.as_wire());
        let start = wire.len().checked_sub(tail.len())?;
        // Octets that look like the ancestor's may as well stand within a longer label.
        (wire[start..].eq_ignore_ascii_case(tail) && label_starts_at(wire, start)).then_some(start)
    }

    /// The name without its leftmost label; None for the root.
    pub fn parent(&self) -> Option<Name> {
        (!self.is_root()).then(|| Name::trusted(self.above()))
    }

    /// The wire form of the parent; nothing for the root.
    #[inline]
    pub(crate) fn above(&self) -> &[u8] {
        let wire = self.as_wire();
        &wire[1 + usize::from(wire[0])..]
    }

    /// This name with one more label to its left.
    ///
    /// # Errors
    /// [`NameError`] for an empty or too long label and for too long a name.
    pub fn child(&self, label: impl AsRef<[u8]>) -> Result<Name, NameError> {
        let label = label.as_ref();
        Name::from_labels(std::iter::once(label).chain(self.labels()))
    }

    /// `prefix` to the left of this name; the prefix loses its root.
    ///
    /// # Errors
    /// [`NameError::LongName`].
    pub fn prepend(&self, prefix: &Name) -> Result<Name, NameError> {
        let (head, tail) = (prefix.as_wire(), self.as_wire());
        let mut wire = [0; 2 * MAX_NAME];
        let len = head.len() - 1 + tail.len();
        if len > MAX_NAME {
            return Err(NameError::LongName);
        }
        wire[..head.len() - 1].copy_from_slice(&head[..head.len() - 1]);
        wire[head.len() - 1..len].copy_from_slice(tail);
        Ok(Name::trusted(&wire[..len]))
    }

    /// The same name in lower case, as canonical forms want it (RFC 4034 section 6.2).
    pub fn to_lowercase(&self) -> Name {
        // A length octet is at most 63 and so never a letter.
        let mut wire = [0; MAX_NAME];
        let wire = &mut wire[..self.as_wire().len()];
        wire.copy_from_slice(self.as_wire());
        wire.make_ascii_lowercase();
        Name::trusted(wire)
    }

    /// Whether every label consists of letters, digits and hyphens with no hyphen at its ends, as
    /// names of hosts must (RFC 952, RFC 1123 section 2.1).
    pub fn is_host_name(&self) -> bool {
        !self.is_root()
            && self.labels().all(|label| {
                label.iter().all(|octet| octet.is_ascii_alphanumeric() || *octet == b'-')
                    && !label.starts_with(b"-")
                    && !label.ends_with(b"-")
            })
    }

    /// The name that an address has in `in-addr.arpa` or `ip6.arpa` (RFC 1035 section 3.5,
    /// RFC 3596 section 2.5).
    pub fn reverse(address: IpAddr) -> Name {
        let text = match address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
            }
            IpAddr::V6(address) => {
                let octets = address.octets();
                let nibbles = octets.iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
                nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa."
            }
        };
        text.parse().expect("32 labels of one digit and two more make a short name")
    }
}

/// The labels of a name.
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&len, rest) = self.rest.split_first()?;
        if len == 0 {
            return None;
        }
        let (label, rest) = rest.split_at(len.into());
        self.rest = rest;
        Some(label)
    }
}

/// Whether a label, and not the middle of one, begins at `start`.
fn label_starts_at(wire: &[u8], start: usize) -> bool {
    let mut at = 0;
    while at < start {
        at += 1 + usize::from(wire[at]);
    }
    at == start
}

/// The length of the uncompressed name at the front of `wire`.
pub(crate) fn uncompressed_len(wire: &[u8]) -> Result<usize, NameError> {
    let mut at = 0;
    loop {
        let len = usize::from(*wire.get(at).ok_or(NameError::CutOff)?);
        match len {
            0 if at >= MAX_NAME => return Err(NameError::LongName),
            0 => return Ok(at + 1),
            1..=MAX_LABEL => at += 1 + len,
            192.. => return Err(NameError::BadPointer),
            _ => return Err(NameError::BadLength),
        }
    }
}

/// Copies a name out of a message and follows its pointers; yields its length.
pub(crate) fn copy_from_message(
    message: &[u8],
    at: &mut usize,
    wire: &mut [u8; MAX_NAME],
) -> Result<usize, NameError> {
    let (mut from, mut len) = (*at, 0);
    // Each pointer must go before the place where the last run of labels began, so that there are
    // fewer of them than octets in the message; a name cannot be longer than 255 octets anyway.
    let mut before = *at;
    let mut behind = None;
    loop {
        let first = usize::from(*message.get(from).ok_or(NameError::CutOff)?);
        match first {
            0 => {
                *wire.get_mut(len).ok_or(NameError::LongName)? = 0;
                *at = behind.unwrap_or(from + 1);
                return Ok(len + 1);
            }
            1..=MAX_LABEL => {
                let label = message.get(from..from + 1 + first).ok_or(NameError::CutOff)?;
                let place = wire.get_mut(len..len + label.len()).ok_or(NameError::LongName)?;
                place.copy_from_slice(label);
                len += label.len();
                from += label.len();
            }
            192.. => {
                let second = usize::from(*message.get(from + 1).ok_or(NameError::CutOff)?);
                behind.get_or_insert(from + 2);
                from = (first & 63) << 8 | second;
                if from >= before {
                    return Err(NameError::BadPointer);
                }
                before = from;
            }
            _ => return Err(NameError::BadLength),
        }
    }
}

/// A name that is being put together, octet by octet.
pub(crate) struct Builder {
    wire: [u8; MAX_NAME + 1],
    /// Where the length of the current label goes.
    start: usize,
    /// Where the next octet goes.
    end: usize,
}

impl Builder {
    #[inline]
    pub(crate) fn new() -> Builder {
        Builder { wire: [0; MAX_NAME + 1], start: 0, end: 1 }
    }

    #[inline]
    pub(crate) fn push(&mut self, octet: u8) -> Result<(), NameError> {
        if self.end >= MAX_NAME {
            return Err(NameError::LongName);
        }
        self.wire[self.end] = octet;
        self.end += 1;
        Ok(())
    }

    #[inline]
    pub(crate) fn end_label(&mut self) -> Result<(), NameError> {
        match self.end - self.start - 1 {
            0 => return Err(NameError::EmptyLabel),
            len @ 1..=MAX_LABEL => self.wire[self.start] = len as u8,
            _ => return Err(NameError::LongLabel),
        }
        self.start = self.end;
        self.end += 1;
        Ok(())
    }

    /// Whether the current label has no octet yet.
    pub(crate) fn at_label_start(&self) -> bool {
        self.end == self.start + 1
    }

    /// Ends the name with the root.
    pub(crate) fn finish(self) -> Result<Name, NameError> {
        // The root's zero stands where the next label's length would go.
        match self.start {
            start if start < MAX_NAME => Ok(Name::trusted(&self.wire[..start + 1])),
            _ => Err(NameError::LongName),
        }
    }

    /// Ends the name with another one.
    pub(crate) fn finish_with(mut self, origin: &Name) -> Result<Name, NameError> {
        let tail = origin.as_wire();
        let end = self.start + tail.len();
        if end > MAX_NAME {
            return Err(NameError::LongName);
        }
        self.wire[self.start..end].copy_from_slice(tail);
        Ok(Name::trusted(&self.wire[..end]))
    }
}

impl PartialEq for Name {
    #[inline]
    fn eq(&self, other: &Name) -> bool {
        self.as_wire().eq_ignore_ascii_case(other.as_wire())
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.to_lowercase().as_wire());
    }
}
