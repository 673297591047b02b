//! RDATA of every type: checked once, kept as it goes over the wire.

mod apl;
mod data;
mod field;
mod gateway;
mod loc;
mod make;
mod mnemonic;
pub(crate) mod print;
#[cfg(test)]
mod properties;
pub(crate) mod read;
mod record_type;
mod svcb;
mod svcb_text;
mod time;
mod wks;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

pub use data::{Data, Soa, Strings, SvcParam, SvcParams};
pub use field::WireError;
pub use make::RdataError;
pub(crate) use record_type::number_after;
pub use record_type::{BadRecordType, RecordType};

use crate::octets::Octets;
use field::{Source, has_folded_names};
use record_type::Shape;

/// What a record says: a type and the octets that the type allows.
///
/// The octets are checked when they come in, from text, from a message or from a constructor, and
/// kept in their uncompressed wire form; [`Rdata::data`] looks into them. Types that this crate does not
/// know are kept as they are (RFC 3597). Two are equal when their canonical forms are (RFC 4034
/// section 6.2), so case in names of the old types does not matter; the order is that of section 6.3
/// within a type, and types are ordered by number.
///
/// ```
/// use dns_failover::{Data, Name, Rdata};
///
/// let mail: Name = "mail.uk.example.".parse()?;
/// let mx = Rdata::mx(10, &mail);
/// assert_eq!(mx.to_string(), "10 mail.uk.example.");
/// assert!(matches!(mx.data(), Data::Mx { preference: 10, exchange } if exchange == mail));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Rdata {
    rtype: RecordType,
    wire: Octets<22>,
}

impl Rdata {
    /// Takes uncompressed RDATA, such as that of RFC 3597's `\#`.
    ///
    /// # Errors
    /// [`WireError`] when the octets are not what the type allows.
    pub fn from_wire(rtype: RecordType, wire: &[u8]) -> Result<Rdata, WireError> {
        Rdata::take(rtype, Source::rdata(wire), wire.len())
    }

    /// Takes RDATA out of a message, where its names may be compressed: `len` octets at `at`.
    ///
    /// # Errors
    /// [`WireError`] when the octets are not what the type allows.
    pub fn from_message(
        rtype: RecordType,
        message: &[u8],
        at: usize,
        len: usize,
    ) -> Result<Rdata, WireError> {
        let end = at.checked_add(len).filter(|end| *end <= message.len());
        let end = end.ok_or(WireError::CutOff)?;
        Rdata::take(rtype, Source::message(message, at, end), len)
    }

    fn take(rtype: RecordType, mut source: Source<'_>, len: usize) -> Result<Rdata, WireError> {
        let mut wire = Vec::with_capacity(len.min(usize::from(u16::MAX)));
        let fields: &[_] = match rtype.shape() {
            Shape::Fields(fields) => fields,
            Shape::Opaque | Shape::Meta => &[field::Field::Opaque],
        };
        field::copy(fields, &mut source, &mut wire)?;
        if wire.len() > usize::from(u16::MAX) {
            return Err(WireError::TooLong(wire.len()));
        }
        Ok(Rdata::trusted(rtype, &wire))
    }

    /// Octets that were checked before.
    pub(crate) fn trusted(rtype: RecordType, wire: &[u8]) -> Rdata {
        Rdata { rtype, wire: Octets::new(wire) }
    }

    /// The type of the record.
    #[inline]
    pub fn rtype(&self) -> RecordType {
        self.rtype
    }

    /// The uncompressed wire form, with case kept.
    #[inline]
    pub fn as_wire(&self) -> &[u8] {
        &self.wire
    }

    /// The canonical form (RFC 4034 section 6.2).
    pub fn canonical_wire(&self) -> Cow<'_, [u8]> {
        match self.rtype.shape() {
            Shape::Fields(fields) if has_folded_names(fields) => {
                let mut wire = self.as_wire().to_vec();
                field::fold_names(fields, &mut wire);
                Cow::Owned(wire)
            }
            _ => Cow::Borrowed(self.as_wire()),
        }
    }

    /// Which RRset of its owner a record belongs to besides its type: the type that a signature
    /// covers, 0 for anything else (RFC 4034 section 3: signatures form no RRset).
    pub(crate) fn covers(&self) -> u16 {
        match (self.rtype, self.as_wire()) {
            (RecordType::RRSIG, [high, low, ..]) => u16::from_be_bytes([*high, *low]),
            _ => 0,
        }
    }

    /// Appends the text of the RDATA in the form that its type has. In a zone file that must load
    /// everywhere, rare types are written as [`Rdata::write_generic`] does; a [`Record`](crate::Record)
    /// and everything above it choose so.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        print::rdata(self.rtype, self.as_wire(), out);
    }

    /// Appends the text of the RDATA as a zone file has it that every server is to load.
    #[inline]
    pub(crate) fn write_portable(&self, out: &mut Vec<u8>) {
        print::portable(self.rtype, self.as_wire(), out);
    }

    /// Appends the RDATA in the form for any type, `\# 4 C0000201` (RFC 3597 section 5).
    pub fn write_generic(&self, out: &mut Vec<u8>) {
        print::generic(self.as_wire(), out);
    }
}

impl PartialEq for Rdata {
    fn eq(&self, other: &Rdata) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Rdata {}

impl PartialOrd for Rdata {
    fn partial_cmp(&self, other: &Rdata) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rdata {
    fn cmp(&self, other: &Rdata) -> Ordering {
        let by_type = self.rtype.cmp(&other.rtype);
        if by_type != Ordering::Equal || self.as_wire() == other.as_wire() {
            return by_type;
        }
        self.canonical_wire().cmp(&other.canonical_wire())
    }
}

impl Hash for Rdata {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rtype.hash(state);
        self.canonical_wire().hash(state);
    }
}

impl fmt::Display for Rdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_text(&mut text);
        // What is written is ASCII.
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for Rdata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.rtype)
    }
}
