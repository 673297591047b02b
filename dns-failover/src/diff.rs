//! What changes from one version of a zone to the next.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::name::Name;
use crate::rdata::RecordType;
use crate::record::Record;
use crate::rrset::RRset;
use crate::serial::Serial;
use crate::zone::{Key, KeyRef, Zone, ZoneError};

/// The difference of two versions of a zone, RRset by RRset: a set goes from its old state to its new
/// one at once, so that none passes through empty on the way. [`Diff::removed`] and [`Diff::added`]
/// give the records, as IXFR has them (RFC 1995 section 4).
///
/// ```
/// use dns_failover::{Diff, Zone};
///
/// let origin = "example.".parse()?;
/// let old = Zone::parse(&origin, "@ 60 SOA ns1 admin 1 4h 1h 1w 5m\nwww 30 A 192.0.2.1\n").unwrap();
/// let new = Zone::parse(&origin, "@ 60 SOA ns1 admin 2 4h 1h 1w 5m\nwww 30 A 198.51.100.1\n").unwrap();
/// let diff = Diff::between(&old, &new)?;
/// assert_eq!(diff.apply(&old)?, new);
/// assert_eq!(diff.clone().inverse().apply(&new)?, old);
/// assert!(diff.to_string().ends_with("\n+www.example. 30 IN A 198.51.100.1\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Diff {
    /// The version of this form: 1.
    format: Format,
    origin: Name,
    /// In canonical order.
    changes: Vec<Change>,
}

/// What becomes of one RRset. At least one of the two is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// The set as it is now, if it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RRset>,
    /// The set as it is to be, if it is to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RRset>,
}

/// Why a difference does not fit a zone, or another difference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The two are of different zones.
    #[error("{0} and {1} are different zones")]
    OtherZone(Name, Name),
    /// An RRset is not in the state that the difference starts from; nothing was changed.
    #[error(
        "{owner} {rtype} is not as the difference expects it; make a new one from the zone as it is"
    )]
    NotAsExpected {
        /// Whose set.
        owner: Name,
        /// Of which type.
        rtype: RecordType,
    },
    /// What the difference adds does not belong into the zone.
    #[error(transparent)]
    Zone(#[from] ZoneError),
    /// What was loaded is no difference.
    #[error("a change says neither what was nor what is to be")]
    Empty,
}

impl Change {
    /// One of the two sets, which have owner and type in common.
    fn either(&self) -> Option<&RRset> {
        self.before.as_ref().or(self.after.as_ref())
    }

    /// Whose set it is.
    pub fn owner(&self) -> Option<&Name> {
        self.either().map(RRset::owner)
    }

    /// Of which type it is.
    pub fn rtype(&self) -> Option<RecordType> {
        self.either().map(RRset::rtype)
    }

    /// The key of both sets; an error for a change that was loaded and holds none, or two kinds.
    fn key(&self) -> Result<Key, DiffError> {
        let key = Key::of(self.either().ok_or(DiffError::Empty)?);
        match &self.after {
            Some(after) if Key::of(after) != key => {
                Err(DiffError::NotAsExpected { owner: key.owner, rtype: key.rtype })
            }
            _ => Ok(key),
        }
    }

    fn not_as_expected(key: Key) -> DiffError {
        DiffError::NotAsExpected { owner: key.owner, rtype: key.rtype }
    }
}

impl Diff {
    /// What turns `old` into `new`. Nothing changes just when both are equal.
    ///
    /// # Errors
    /// [`DiffError::OtherZone`] when they have different apexes or classes.
    pub fn between(old: &Zone, new: &Zone) -> Result<Diff, DiffError> {
        if old.origin() != new.origin() || old.class() != new.class() {
            return Err(DiffError::OtherZone(old.origin().clone(), new.origin().clone()));
        }
        let (mut olds, mut news) = (old.iter().peekable(), new.iter().peekable());
        let mut changes = Vec::new();
        loop {
            let order = match (olds.peek(), news.peek()) {
                (None, None) => break,
                (Some(a), Some(b)) => KeyRef::of(a).cmp(&KeyRef::of(b)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let before = if order.is_le() { olds.next() } else { None };
            let after = if order.is_ge() { news.next() } else { None };
            if before != after {
                changes.push(Change { before: before.cloned(), after: after.cloned() });
            }
        }
        Ok(Diff { format: Format, origin: old.origin().clone(), changes })
    }

    /// The apex of the zone.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The RRsets that change, in canonical order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The records that go, in canonical order but for the SOA record, which comes first.
    pub fn removed(&self) -> Vec<Record> {
        self.records(|change| (change.before.as_ref(), change.after.as_ref()))
    }

    /// The records that come, in canonical order but for the SOA record, which comes first.
    pub fn added(&self) -> Vec<Record> {
        self.records(|change| (change.after.as_ref(), change.before.as_ref()))
    }

    /// The records of one side that are not in the other with the same TTL.
    fn records<'a>(
        &'a self,
        sides: impl Fn(&'a Change) -> (Option<&'a RRset>, Option<&'a RRset>),
    ) -> Vec<Record> {
        let mut records = Vec::new();
        for change in &self.changes {
            let (these, those) = sides(change);
            let those = those.filter(|those| these.is_some_and(|set| set.ttl() == those.ttl()));
            let only = these.into_iter().flat_map(RRset::records).filter(|record| {
                those.is_none_or(|set| set.rdatas().binary_search(&record.rdata).is_err())
            });
            records.extend(only);
        }
        records.sort_by_key(|record| record.rtype() != RecordType::SOA);
        records
    }

    /// The serials before and after, where the SOA record is there and changes.
    pub fn serials(&self) -> (Option<Serial>, Option<Serial>) {
        let serial = |set: Option<&RRset>| set?.rdatas().first()?.soa().map(|soa| soa.serial);
        let soa = |change: &&Change| change.rtype() == Some(RecordType::SOA);
        let change = self.changes.iter().find(soa);
        let sides = change.map(|change| (change.before.as_ref(), change.after.as_ref()));
        sides.map_or((None, None), |(before, after)| (serial(before), serial(after)))
    }

    /// Carries the changes out on a copy of the zone.
    ///
    /// # Errors
    /// [`DiffError`] when a set is not as it was when the difference was made.
    pub fn apply(&self, zone: &Zone) -> Result<Zone, DiffError> {
        if *zone.origin() != self.origin {
            return Err(DiffError::OtherZone(self.origin.clone(), zone.origin().clone()));
        }
        let mut new = zone.clone();
        for change in &self.changes {
            let key = change.key()?;
            if zone.find(&key) != change.before.as_ref() {
                return Err(Change::not_as_expected(key));
            }
            match &change.after {
                Some(after) => drop(new.put(after.clone())?),
                None => new.remove_key(&key),
            }
        }
        Ok(new)
    }

    /// What leads back.
    pub fn inverse(self) -> Diff {
        let changes = self.changes.into_iter();
        let changes =
            changes.map(|Change { before, after }| Change { before: after, after: before });
        Diff { changes: changes.collect(), ..self }
    }

    /// This difference and then another one, as one.
    ///
    /// # Errors
    /// [`DiffError`] when the other one does not start where this one ends.
    pub fn then(self, next: Diff) -> Result<Diff, DiffError> {
        if self.origin != next.origin {
            return Err(DiffError::OtherZone(self.origin, next.origin));
        }
        let mut changes = BTreeMap::new();
        for change in self.changes {
            changes.insert(change.key()?, change);
        }
        for change in next.changes {
            let key = change.key()?;
            match changes.get_mut(&key) {
                None => drop(changes.insert(key, change)),
                Some(earlier) if earlier.after != change.before => {
                    return Err(Change::not_as_expected(key));
                }
                Some(earlier) => earlier.after = change.after,
            }
        }
        let changes = changes.into_values().filter(|change| change.before != change.after);
        Ok(Diff { format: Format, origin: self.origin, changes: changes.collect() })
    }

    /// Whether secondaries would take the change for a newer version: something changes, and the
    /// serial grows (RFC 1982).
    pub fn is_newer(&self) -> bool {
        matches!(self.serials(), (Some(before), Some(after)) if before < after)
    }

    /// Whether the apex would lose its last name server, which servers refuse (RFC 2136 section 3.4.2.4).
    pub fn removes_all_name_servers(&self) -> bool {
        self.changes.iter().any(|change| {
            change.after.is_none()
                && change.rtype() == Some(RecordType::NS)
                && change.owner() == Some(&self.origin)
        })
    }
}

/// One line a record, `-` for what goes and `+` for what comes.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (sign, records) in [('-', self.removed()), ('+', self.added())] {
            for record in records {
                writeln!(f, "{sign}{record}")?;
            }
        }
        Ok(())
    }
}

/// The version of a stored form; only 1 is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Format;

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(1)
    }
}

impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Format, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Format),
            other => Err(D::Error::custom(format_args!("format {other} is not known; 1 is"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Zone {
        Zone::parse(&"example.".parse().unwrap(), text).unwrap()
    }

    #[test]
    fn a_new_ttl_is_a_change_of_every_record() {
        let diff = Diff::between(&zone("a 1 A 192.0.2.1\n"), &zone("a 2 A 192.0.2.1\n")).unwrap();
        assert_eq!(
            diff.to_string(),
            "-a.example. 1 IN A 192.0.2.1\n+a.example. 2 IN A 192.0.2.1\n"
        );
        let both = zone("a 1 A 192.0.2.1\na 1 A 192.0.2.2\n");
        let diff = Diff::between(&both, &zone("a 1 A 192.0.2.2\n")).unwrap();
        assert_eq!(diff.to_string(), "-a.example. 1 IN A 192.0.2.1\n");
    }

    #[test]
    fn what_changed_meanwhile_is_not_overwritten() {
        let (old, new) = (zone("a 1 A 192.0.2.1\n"), zone("a 1 A 192.0.2.2\n"));
        let diff = Diff::between(&old, &new).unwrap();
        let error = diff.apply(&zone("a 1 A 192.0.2.3\n")).unwrap_err();
        assert!(error.to_string().starts_with("a.example. A is not as"), "{error}");
        assert!(diff.clone().then(diff).is_err());
    }

    #[test]
    fn json_brings_a_difference_back() {
        let (old, new) = (zone("a 1 A 192.0.2.1\n"), zone(r#"a\000 1 TXT "\255\"""#));
        let diff = Diff::between(&old, &new).unwrap();
        let json = serde_json::to_string(&diff).unwrap();
        assert!(
            json.starts_with(r#"{"format":1,"origin":"example.","changes":[{"before":["#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Diff>(&json).unwrap(), diff);
        assert!(
            serde_json::from_str::<Diff>(&json.replace("\"format\":1", "\"format\":2")).is_err()
        );
    }
}
