//! RRsets: records of one owner and type, which are only ever answered together.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::name::Name;
use crate::rdata::{Rdata, RecordType};
use crate::record::{Class, Record, Ttl, write_head};

/// The records of one owner, class and type, with one TTL (RFC 2181 section 5). Never empty; no two
/// alike; in canonical order (RFC 4034 section 6.3).
///
/// Signatures are the exception that RFC 4034 section 3 makes: those over one type are a set.
///
/// ```
/// use dns_failover::{RRset, Rdata, Ttl};
///
/// let owner = "www.example.".parse()?;
/// let addresses = ["192.0.2.9", "192.0.2.1", "192.0.2.9"];
/// let addresses = addresses.map(|address| Rdata::a(address.parse().unwrap()));
/// let set = RRset::new(owner, Ttl::HOUR, addresses).unwrap();
/// assert_eq!(set.to_string(), "www.example. 3600 IN A 192.0.2.1\nwww.example. 3600 IN A 192.0.2.9\n");
/// # Ok::<(), dns_failover::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RRset {
    owner: Name,
    class: Class,
    ttl: Ttl,
    rdatas: Rdatas,
}

/// Most sets have one record; it needs no vector.
#[derive(Clone)]
enum Rdatas {
    One(Rdata),
    Many(Vec<Rdata>),
}

impl Rdatas {
    #[inline]
    fn as_slice(&self) -> &[Rdata] {
        match self {
            Rdatas::One(rdata) => std::slice::from_ref(rdata),
            Rdatas::Many(rdatas) => rdatas,
        }
    }
}

impl PartialEq for Rdatas {
    fn eq(&self, other: &Rdatas) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Rdatas {}

impl RRset {
    /// A set of class IN. None when there is no RDATA, or when not all are of one type.
    pub fn new(owner: Name, ttl: Ttl, rdatas: impl IntoIterator<Item = Rdata>) -> Option<RRset> {
        let mut rdatas = rdatas.into_iter();
        let mut set = RRset::of(Record::new(owner, ttl, rdatas.next()?));
        for rdata in rdatas {
            if !set.takes(&rdata) {
                return None;
            }
            set.insert(rdata);
        }
        Some(set)
    }

    /// The set of one record.
    pub fn of(record: Record) -> RRset {
        let Record { owner, class, ttl, rdata } = record;
        RRset { owner, class, ttl, rdatas: Rdatas::One(rdata) }
    }

    /// Whose records they are.
    pub fn owner(&self) -> &Name {
        &self.owner
    }

    /// Of which class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Their TTL.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Their type.
    #[inline]
    pub fn rtype(&self) -> RecordType {
        self.rdatas()[0].rtype()
    }

    /// What they say, in canonical order; at least one.
    #[inline]
    pub fn rdatas(&self) -> &[Rdata] {
        self.rdatas.as_slice()
    }

    /// The records one by one.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.rdatas().iter().map(|rdata| Record {
            owner: self.owner.clone(),
            class: self.class,
            ttl: self.ttl,
            rdata: rdata.clone(),
        })
    }

    /// Gives all of them another TTL.
    pub fn set_ttl(&mut self, ttl: Ttl) {
        self.ttl = ttl;
    }

    /// The same set of another class.
    #[must_use]
    pub fn with_class(self, class: Class) -> RRset {
        RRset { class, ..self }
    }

    pub(crate) fn covers(&self) -> u16 {
        self.rdatas()[0].covers()
    }

    /// Whether RDATA of this kind belongs into the set.
    fn takes(&self, rdata: &Rdata) -> bool {
        self.rtype() == rdata.rtype() && self.covers() == rdata.covers()
    }

    /// Adds RDATA that belongs into the set; says whether it is new.
    pub(crate) fn insert(&mut self, rdata: Rdata) -> bool {
        match self.rdatas().binary_search(&rdata) {
            Ok(_) => false,
            Err(place) => {
                match &mut self.rdatas {
                    Rdatas::One(first) => {
                        let mut rdatas = vec![first.clone()];
                        rdatas.insert(place, rdata);
                        self.rdatas = Rdatas::Many(rdatas);
                    }
                    Rdatas::Many(rdatas) => rdatas.insert(place, rdata),
                }
                true
            }
        }
    }

    /// Adds RDATA that belongs into the set. One insertion after the other would take quadratic time
    /// for a set that somebody made very large. Says how many of them were not new.
    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = Rdata>) -> usize {
        let mut rdatas = match &mut self.rdatas {
            Rdatas::One(first) => vec![first.clone()],
            Rdatas::Many(rdatas) => std::mem::take(rdatas),
        };
        rdatas.extend(more);
        let all = rdatas.len();
        rdatas.sort();
        rdatas.dedup();
        let doubles = all - rdatas.len();
        self.rdatas = match rdatas.len() {
            1 => Rdatas::One(rdatas.swap_remove(0)),
            _ => Rdatas::Many(rdatas),
        };
        doubles
    }

    /// The set without one of its records; None when nothing is left.
    #[must_use]
    pub fn without(&self, rdata: &Rdata) -> Option<RRset> {
        let rest: Vec<Rdata> = self.rdatas().iter().filter(|one| *one != rdata).cloned().collect();
        let rdatas = match rest.as_slice() {
            [] => return None,
            [one] => Rdatas::One(one.clone()),
            _ => Rdatas::Many(rest),
        };
        Some(RRset { owner: self.owner.clone(), rdatas, ..*self })
    }

    /// Appends the records as lines of a zone file.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        for rdata in self.rdatas() {
            self.owner.write_text(out);
            write_head(self.ttl, self.class, rdata.rtype(), out);
            rdata.write_portable(out);
            out.push(b'\n');
        }
    }
}

/// The records one by one.
impl Serialize for RRset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.records())
    }
}

impl<'de> Deserialize<'de> for RRset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RRset, D::Error> {
        let mut records = Vec::<Record>::deserialize(deserializer)?.into_iter();
        let first = records.next().ok_or_else(|| D::Error::custom("an RRset is never empty"))?;
        let mut set = RRset::of(first);
        for record in records {
            let same =
                (&record.owner, record.class, record.ttl) == (&set.owner, set.class, set.ttl);
            if !same || !set.takes(&record.rdata) {
                return Err(D::Error::custom(
                    "the records of an RRset have their owner, class, type and TTL in common",
                ));
            }
            set.insert(record.rdata);
        }
        Ok(set)
    }
}

impl fmt::Display for RRset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_text(&mut text);
        // What is written is ASCII.
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for RRset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.records()).finish()
    }
}
