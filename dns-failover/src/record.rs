//! One record: class, TTL, text and wire.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::name::Name;
use crate::rdata::{Rdata, RecordType, WireError, print};

/// The class of records (RFC 1035 section 3.2.4); of zones it is nearly always [`Class::IN`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u16);

impl Class {
    /// The Internet.
    pub const IN: Class = Class(1);
    /// Chaosnet, used for questions about servers.
    pub const CH: Class = Class(3);
    /// Hesiod.
    pub const HS: Class = Class(4);
    /// In UPDATE: does not exist, or is to be deleted (RFC 2136 section 2.4).
    pub const NONE: Class = Class(254);
    /// In UPDATE: any, or all (RFC 2136 section 2.4).
    pub const ANY: Class = Class(255);

    /// The class of this number.
    pub const fn new(number: u16) -> Class {
        Class(number)
    }

    /// Its number.
    pub const fn get(self) -> u16 {
        self.0
    }

    fn mnemonic(self) -> Option<&'static str> {
        Some(match self {
            Class::IN => "IN",
            Class::CH => "CH",
            Class::HS => "HS",
            Class::NONE => "NONE",
            Class::ANY => "ANY",
            _ => return None,
        })
    }

    /// Reads the mnemonic of a class that zones have, or `CLASS123`, in any case.
    #[inline]
    pub(crate) fn from_text(text: &[u8]) -> Option<Class> {
        match text.len() {
            2 => [Class::IN, Class::CH, Class::HS].into_iter().find(|class| {
                class.mnemonic().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(text))
            }),
            6..=10 => {
                let mut capitals = [0; 10];
                let capitals = &mut capitals[..text.len()];
                capitals.copy_from_slice(text);
                capitals.make_ascii_uppercase();
                crate::rdata::number_after(b"CLASS", capitals).map(Class)
            }
            _ => None,
        }
    }

    pub(crate) fn write_text(self, out: &mut Vec<u8>) {
        match self.mnemonic() {
            Some(mnemonic) => out.extend_from_slice(mnemonic.as_bytes()),
            None => {
                out.extend_from_slice(b"CLASS");
                print::number(self.0.into(), out);
            }
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(mnemonic) => f.pad(mnemonic),
            None => f.pad(&format!("CLASS{}", self.0)),
        }
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// How long a record may be kept: seconds, at most 2³¹ − 1 (RFC 2181 section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Ttl(u32);

/// More seconds than a TTL can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a TTL of {0} seconds is more than the 2147483647 there can be")]
pub struct BadTtl(u32);

impl Ttl {
    /// The longest.
    pub const MAX: Ttl = Ttl(i32::MAX as u32);
    /// An hour.
    pub const HOUR: Ttl = Ttl(3600);
    /// A day.
    pub const DAY: Ttl = Ttl(86_400);

    /// A TTL of this many seconds; [`Ttl::MAX`] for more than that.
    pub const fn saturating(seconds: u32) -> Ttl {
        if seconds > Ttl::MAX.0 { Ttl::MAX } else { Ttl(seconds) }
    }

    /// Its seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }

    /// A TTL from a message, where one with its highest bit set means 0 (RFC 2181 section 8).
    pub const fn from_message(seconds: u32) -> Ttl {
        if seconds > Ttl::MAX.0 { Ttl(0) } else { Ttl(seconds) }
    }
}

impl TryFrom<u32> for Ttl {
    type Error = BadTtl;

    fn try_from(seconds: u32) -> Result<Ttl, BadTtl> {
        if seconds > Ttl::MAX.0 { Err(BadTtl(seconds)) } else { Ok(Ttl(seconds)) }
    }
}

impl From<Ttl> for u32 {
    fn from(ttl: Ttl) -> u32 {
        ttl.0
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One record. Its text is a line of a zone file; JSON holds that text.
///
/// ```
/// use dns_failover::{Class, Record, Ttl};
///
/// let record: Record = "www.example. 30 IN A 192.0.2.1".parse()?;
/// assert_eq!((record.class, record.ttl.seconds()), (Class::IN, 30));
/// let mut message = Vec::new();
/// record.encode(&mut message);
/// assert_eq!(Record::decode(&message, &mut 0)?, record);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    /// Whose record it is.
    pub owner: Name,
    /// Of which class.
    pub class: Class,
    /// How long it may be kept.
    pub ttl: Ttl,
    /// Its type, and what it says.
    pub rdata: Rdata,
}

impl Record {
    /// A record of class IN.
    pub fn new(owner: Name, ttl: Ttl, rdata: Rdata) -> Record {
        Record { owner, class: Class::IN, ttl, rdata }
    }

    /// Its type.
    pub fn rtype(&self) -> RecordType {
        self.rdata.rtype()
    }

    /// Appends the record as it goes over the wire (RFC 1035 section 3.2.1), nothing compressed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let rdata = self.rdata.as_wire();
        out.extend_from_slice(self.owner.as_wire());
        out.extend_from_slice(&self.rtype().get().to_be_bytes());
        out.extend_from_slice(&self.class.get().to_be_bytes());
        out.extend_from_slice(&self.ttl.seconds().to_be_bytes());
        // RDATA of more than 65,535 octets is not taken.
        out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
        out.extend_from_slice(rdata);
    }

    /// Takes the record at `at` in a message, whose names may be compressed, and moves `at` behind it.
    ///
    /// # Errors
    /// [`WireError`] names what is wrong.
    pub fn decode(message: &[u8], at: &mut usize) -> Result<Record, WireError> {
        let owner = Name::from_message(message, at)?;
        let rest = message.get(*at..).unwrap_or_default();
        let (&head, _) = rest.split_first_chunk::<10>().ok_or(WireError::CutOff)?;
        let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let ttl = u32::from(number(4)) << 16 | u32::from(number(6));
        let (start, len) = (*at + head.len(), usize::from(number(8)));
        let rdata = Rdata::from_message(RecordType::new(number(0)), message, start, len)?;
        *at = start + len;
        Ok(Record { owner, class: Class(number(2)), ttl: Ttl::from_message(ttl), rdata })
    }

    /// Appends the record as a line of a zone file, without the line's end.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        self.owner.write_text(out);
        write_head(self.ttl, self.class, self.rtype(), out);
        self.rdata.write_portable(out);
    }
}

/// What stands between owner and RDATA.
#[inline]
pub(crate) fn write_head(ttl: Ttl, class: Class, rtype: RecordType, out: &mut Vec<u8>) {
    out.push(b' ');
    print::number(ttl.seconds(), out);
    out.push(b' ');
    class.write_text(out);
    out.push(b' ');
    rtype.write_text(out);
    out.push(b' ');
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_text(&mut text);
        // What is written is ASCII.
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
