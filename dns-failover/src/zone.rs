//! Zones: every record at and below an apex.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::collections::btree_set::Range;
use std::fmt;
use std::ops::Bound;

use crate::name::Name;
use crate::rdata::{Rdata, RecordType, Soa};
use crate::record::{Class, Record};
use crate::rrset::RRset;
use crate::serial::Serial;

/// A zone: its RRsets in canonical order (RFC 4034 section 6.1), by type within an owner. Every owner
/// lies at or below the apex and every record has the zone's class. Whether it makes sense as a zone,
/// with a start of authority and name servers, is for [`check`](crate::check) to say.
///
/// ```
/// use dns_failover::{RecordType, Zone};
///
/// let mut zone = Zone::new("example.".parse()?);
/// zone.insert("www.example. 30 IN A 192.0.2.1".parse()?)?;
/// zone.insert("WWW.example. 60 IN A 192.0.2.2".parse()?)?;
/// let www = zone.get(&"www.example.".parse()?, RecordType::A).unwrap();
/// assert_eq!((www.rdatas().len(), www.ttl().seconds()), (2, 30));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Zone {
    origin: Name,
    class: Class,
    sets: BTreeSet<Keyed>,
}

/// An RRset that is ordered by its key. A map would hold each key twice, and large zones are mostly keys.
#[derive(Clone)]
struct Keyed(RRset);

/// Whatever has a key, for looking RRsets up by one.
trait HasKey {
    fn key(&self) -> KeyRef<'_>;
}

/// What tells RRsets apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) owner: Name,
    pub(crate) rtype: RecordType,
    /// The type that signatures cover; 0 for any other record.
    pub(crate) covers: u16,
}

/// A key that is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyRef<'a> {
    owner: &'a Name,
    rtype: RecordType,
    covers: u16,
}

impl<'a> KeyRef<'a> {
    #[inline]
    pub(crate) fn of(set: &'a RRset) -> KeyRef<'a> {
        KeyRef { owner: set.owner(), rtype: set.rtype(), covers: set.covers() }
    }
}

impl Key {
    pub(crate) fn of(set: &RRset) -> Key {
        Key { owner: set.owner().clone(), rtype: set.rtype(), covers: set.covers() }
    }

    fn of_record(record: &Record) -> Key {
        let Record { owner, rdata, .. } = record;
        Key { owner: owner.clone(), rtype: rdata.rtype(), covers: rdata.covers() }
    }

    fn first(owner: &Name, rtype: RecordType) -> Key {
        Key { owner: owner.clone(), rtype, covers: 0 }
    }
}

impl HasKey for Key {
    fn key(&self) -> KeyRef<'_> {
        KeyRef { owner: &self.owner, rtype: self.rtype, covers: self.covers }
    }
}

impl HasKey for Keyed {
    #[inline]
    fn key(&self) -> KeyRef<'_> {
        KeyRef::of(&self.0)
    }
}

impl<'a> Borrow<dyn HasKey + 'a> for Keyed {
    fn borrow(&self) -> &(dyn HasKey + 'a) {
        self
    }
}

/// Order and equality by key alone.
macro_rules! by_key {
    ($type:ty) => {
        impl PartialEq for $type {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.key() == other.key()
            }
        }

        impl Eq for $type {}

        impl PartialOrd for $type {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $type {
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                self.key().cmp(&other.key())
            }
        }
    };
}
by_key!(Keyed);
by_key!(dyn HasKey + '_);

/// Why a zone does not take a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// Its owner is neither the apex nor below it.
    #[error("{owner} does not lie within the zone {origin}")]
    OutOfZone {
        /// The record's.
        owner: Name,
        /// The zone's.
        origin: Name,
    },
    /// Its class is another one.
    #[error("a record of class {class} does not belong into a zone of class {zone}")]
    OtherClass {
        /// The record's.
        class: Class,
        /// The zone's.
        zone: Class,
    },
    /// Its type is one of questions and messages.
    #[error("{0} is a type of questions and messages, which no zone holds")]
    MetaType(RecordType),
}

/// What became of a record that a zone took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inserted {
    /// It is new.
    New,
    /// The same was there already.
    Double,
    /// It is new, and its RRset had another TTL: now all have the lower one (RFC 2181 section 5.2).
    TtlLowered,
}

impl Zone {
    /// A zone of class IN without records.
    pub fn new(origin: Name) -> Zone {
        Zone { origin, class: Class::IN, sets: BTreeSet::new() }
    }

    /// The same zone of another class, records and all.
    #[must_use]
    pub fn with_class(self, class: Class) -> Zone {
        let sets = self.sets.into_iter().map(|Keyed(set)| Keyed(set.with_class(class))).collect();
        Zone { origin: self.origin, class, sets }
    }

    /// A zone of sets in any order that belong into it and have unequal keys.
    pub(crate) fn from_sets(
        origin: Name,
        class: Class,
        sets: impl IntoIterator<Item = RRset>,
    ) -> Zone {
        // What is in order already is put together in one go.
        let sets = sets.into_iter().map(Keyed).collect();
        Zone { origin, class, sets }
    }

    /// The apex.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The class of all its records.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The number of RRsets.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// All RRsets in canonical order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &RRset> + Clone {
        self.sets.iter().map(|Keyed(set)| set)
    }

    /// All records, one by one, in canonical order.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.iter().flat_map(RRset::records)
    }

    /// The RRset of a key.
    pub(crate) fn find(&self, key: &Key) -> Option<&RRset> {
        self.sets.get(key as &dyn HasKey).map(|Keyed(set)| set)
    }

    /// The RRsets from a key on.
    fn from(&self, key: &Key) -> Range<'_, Keyed> {
        let from = Bound::Included(key as &dyn HasKey);
        self.sets.range::<dyn HasKey, _>((from, Bound::Unbounded))
    }

    /// The RRset of an owner and type. Of signatures, that over the type with the lowest number.
    pub fn get(&self, owner: &Name, rtype: RecordType) -> Option<&RRset> {
        let Keyed(set) = self.from(&Key::first(owner, rtype)).next()?;
        (set.rtype() == rtype && set.owner() == owner).then_some(set)
    }

    /// The RRsets of one owner, by type.
    pub fn at(&self, owner: &Name) -> impl Iterator<Item = &RRset> {
        let from = self.from(&Key::first(owner, RecordType::new(0)));
        from.map(|Keyed(set)| set).take_while(move |set| set.owner() == owner)
    }

    /// The RRsets at and below a name, in canonical order.
    pub fn within(&self, name: &Name) -> impl Iterator<Item = &RRset> {
        let from = self.from(&Key::first(name, RecordType::new(0)));
        from.map(|Keyed(set)| set).take_while(move |set| set.owner().is_within(name))
    }

    /// Whether a name exists: it has records, or something below it has (RFC 8020).
    pub fn contains(&self, name: &Name) -> bool {
        self.within(name).next().is_some()
    }

    /// The start of authority, if there is exactly one record of it.
    pub fn soa(&self) -> Option<Soa> {
        match self.get(&self.origin, RecordType::SOA)?.rdatas() {
            [one] => one.soa(),
            _ => None,
        }
    }

    /// The serial, where there is a start of authority.
    pub fn serial(&self) -> Option<Serial> {
        self.soa().map(|soa| soa.serial)
    }

    /// Gives the zone another serial; says whether there is a start of authority to hold it.
    pub fn set_serial(&mut self, serial: Serial) -> bool {
        let Some(set) = self.get(&self.origin, RecordType::SOA) else { return false };
        let Some(rdata) = set.rdatas()[0].with_serial(serial) else { return false };
        let record =
            Record { owner: set.owner().clone(), class: set.class(), ttl: set.ttl(), rdata };
        self.sets.replace(Keyed(RRset::of(record)));
        true
    }

    /// Adds a record.
    ///
    /// # Errors
    /// [`ZoneError`] when it does not belong into the zone; the zone is as it was.
    pub fn insert(&mut self, record: Record) -> Result<Inserted, ZoneError> {
        self.admits(&record.owner, record.class, record.rtype())?;
        let Some(Keyed(mut set)) = self.sets.take(&Key::of_record(&record) as &dyn HasKey) else {
            self.sets.insert(Keyed(RRset::of(record)));
            return Ok(Inserted::New);
        };
        let (ttl, record_ttl) = (set.ttl(), record.ttl);
        set.set_ttl(ttl.min(record_ttl));
        let is_new = set.insert(record.rdata);
        self.sets.insert(Keyed(set));
        Ok(match is_new {
            false => Inserted::Double,
            true if ttl != record_ttl => Inserted::TtlLowered,
            true => Inserted::New,
        })
    }

    /// Puts a whole RRset in, in place of the one that may be there, which is handed back.
    ///
    /// # Errors
    /// [`ZoneError`] when it does not belong into the zone; the zone is as it was.
    pub fn put(&mut self, set: RRset) -> Result<Option<RRset>, ZoneError> {
        self.admits(set.owner(), set.class(), set.rtype())?;
        Ok(self.sets.replace(Keyed(set)).map(|Keyed(set)| set))
    }

    /// Takes an RRset out. Of signatures, that over the type with the lowest number.
    pub fn remove(&mut self, owner: &Name, rtype: RecordType) -> Option<RRset> {
        let key = Key::of(self.get(owner, rtype)?);
        self.sets.take(&key as &dyn HasKey).map(|Keyed(set)| set)
    }

    pub(crate) fn remove_key(&mut self, key: &Key) {
        self.sets.remove(key as &dyn HasKey);
    }

    /// Takes one record out, whatever its TTL; says whether it was there.
    pub fn remove_record(&mut self, owner: &Name, rdata: &Rdata) -> bool {
        let key = Key { owner: owner.clone(), rtype: rdata.rtype(), covers: rdata.covers() };
        let there = |set: &&RRset| set.rdatas().binary_search(rdata).is_ok();
        let Some(set) = self.find(&key).filter(there) else { return false };
        match set.without(rdata) {
            Some(rest) => drop(self.sets.replace(Keyed(rest))),
            None => self.remove_key(&key),
        }
        true
    }

    pub(crate) fn admits(
        &self,
        owner: &Name,
        class: Class,
        rtype: RecordType,
    ) -> Result<(), ZoneError> {
        if !owner.is_within(&self.origin) {
            let origin = self.origin.clone();
            return Err(ZoneError::OutOfZone { owner: owner.clone(), origin });
        }
        if class != self.class {
            return Err(ZoneError::OtherClass { class, zone: self.class });
        }
        if rtype.is_meta() {
            return Err(ZoneError::MetaType(rtype));
        }
        Ok(())
    }

    /// Appends the zone as a zone file: the start of authority first, as RFC 1035 section 5.2 wants
    /// it, then everything in canonical order, one absolute line a record and no directive. The same
    /// zone always prints the same octets.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        let soa = self.get(&self.origin, RecordType::SOA);
        if let Some(soa) = soa {
            soa.write_text(out);
        }
        for set in self.iter().filter(|set| soa.is_none_or(|soa| !std::ptr::eq(*set, soa))) {
            set.write_text(out);
        }
    }

    /// The zone as a zone file; see [`write_text`](Zone::write_text).
    pub fn to_text(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 * self.len());
        self.write_text(&mut out);
        out
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        (&self.origin, self.class) == (&other.origin, other.class) && self.iter().eq(other.iter())
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is written is ASCII.
        f.write_str(&String::from_utf8_lossy(&self.to_text()))
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("origin", &self.origin)
            .field("class", &self.class)
            .field("records", &self.records().collect::<Vec<_>>())
            .finish()
    }
}
