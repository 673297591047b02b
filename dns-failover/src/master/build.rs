//! A zone from its records, and places from offsets.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::entry::Run;
use super::scan::Fault;
use super::{Reading, ZoneReader, rules};
use crate::diagnostic::{Diagnostic, Place, Rule};
use crate::name::Name;
use crate::rdata::RecordType;
use crate::record::{Class, Record};
use crate::rrset::RRset;
use crate::zone::Zone;

/// A file that was read.
pub(super) struct Source<'a> {
    pub(super) path: Arc<Path>,
    pub(super) text: Text<'a>,
}

pub(super) enum Text<'a> {
    Borrowed(&'a [u8]),
    Shared(Arc<[u8]>),
}

/// A record and where it stands.
pub(super) struct Parsed {
    pub(super) record: Record,
    pub(super) file: u32,
    pub(super) at: u32,
}

/// A fault and where it stands.
pub(super) struct Noted {
    file: u32,
    at: usize,
    rule: &'static Rule,
    message: String,
    owner: Option<Name>,
    rtype: Option<RecordType>,
}

impl Noted {
    pub(super) fn new(file: u32, fault: Fault) -> Noted {
        let Fault { rule, at, message } = fault;
        Noted { file, at, rule, message, owner: None, rtype: None }
    }

    fn of(parsed: &Parsed, rule: &'static Rule, message: String) -> Noted {
        let Record { owner, rdata, .. } = &parsed.record;
        let noted = Noted::new(parsed.file, Fault::new(rule, parsed.at as usize, message));
        Noted { owner: Some(owner.clone()), rtype: Some(rdata.rtype()), ..noted }
    }
}

/// Where RRsets begin in the files that a zone was read from.
#[derive(Debug, Clone, Default)]
pub struct Places {
    files: Vec<(Arc<Path>, Lines)>,
    /// In canonical order.
    sets: Vec<(Name, RecordType, u32, u32)>,
}

impl Places {
    /// Where the file that was asked for begins.
    pub(crate) fn beginning(&self) -> Option<Place> {
        let (path, lines) = self.files.first()?;
        Some(lines.place(path, 0))
    }

    /// Where the records of an owner and type begin.
    pub fn of(&self, owner: &Name, rtype: RecordType) -> Option<Place> {
        let key = (owner, rtype);
        let found = self.sets.partition_point(|(owner, rtype, ..)| (owner, *rtype) < key);
        let (its_owner, its_type, file, at) = self.sets.get(found)?;
        if (its_owner, *its_type) != key {
            return None;
        }
        let (path, lines) = self.files.get(*file as usize)?;
        Some(lines.place(path, *at as usize))
    }
}

/// Where the lines of a file begin.
#[derive(Debug, Clone, Default)]
struct Lines(Vec<u32>);

impl Lines {
    fn of(text: &[u8]) -> Lines {
        Lines(memchr::memchr_iter(b'\n', text).map(|at| at as u32 + 1).collect())
    }

    fn place(&self, path: &Arc<Path>, at: usize) -> Place {
        let line = self.0.partition_point(|start| *start as usize <= at);
        let start = line.checked_sub(1).map_or(0, |line| self.0[line] as usize);
        // Files of 4 GiB are not read.
        Place { file: path.clone(), line: line as u32 + 1, column: (at - start) as u32 + 1 }
    }
}

impl ZoneReader<'_> {
    /// Reads a zone file.
    pub fn read(self, text: &[u8]) -> Reading {
        let ZoneReader { origin, .. } = self;
        let mut run = Run::new(self);
        run.main(text);
        let Run { sources, mut records, mut noted, .. } = run;
        let apex = origin.cloned().or_else(|| {
            let soa = records.iter().find(|parsed| parsed.record.rtype() == RecordType::SOA);
            soa.map(|parsed| parsed.record.owner.clone())
        });
        if apex.is_none() {
            let message = "nothing says which zone this is";
            noted.push(Noted::new(0, Fault::new(rules::NO_APEX, 0, message)));
        }
        let apex = apex.unwrap_or_else(Name::root);
        let class = records.first().map_or(Class::IN, |parsed| parsed.record.class);
        let mut siblings = None;
        records.retain(|parsed| belongs(parsed, &apex, class, &mut siblings, &mut noted));
        // What is in order already, as sorted zones are, takes one comparison a record.
        records.sort_by(by_set);
        let mut places = Places::default();
        if self.with_places {
            places.sets = records
                .chunk_by(same_set)
                .map(|set| {
                    let Parsed { record, file, at } = &set[0];
                    (record.owner.clone(), record.rtype(), *file, *at)
                })
                .collect();
        }
        let zone = Zone::from_sets(
            apex,
            class,
            Sets { records: records.into_iter().peekable(), noted: &mut noted },
        );
        let lines = sources.iter().map(|source| match &source.text {
            _ if noted.is_empty() && !self.with_places => Lines::default(),
            Text::Borrowed(text) => Lines::of(text),
            Text::Shared(text) => Lines::of(text),
        });
        places.files = sources.iter().map(|source| source.path.clone()).zip(lines).collect();
        Reading { zone, diagnostics: diagnostics(noted, self.most_faults, &places.files), places }
    }
}

fn by_set(a: &Parsed, b: &Parsed) -> Ordering {
    let (a, b) = (&a.record, &b.record);
    let by_rdata = || {
        let by_type = a.rtype().cmp(&b.rtype());
        by_type.then_with(|| a.rdata.covers().cmp(&b.rdata.covers()))
    };
    a.owner.cmp(&b.owner).then_with(by_rdata)
}

/// Whether two records belong into one set; quicker to say than which comes first.
#[inline]
fn same_set(a: &Parsed, b: &Parsed) -> bool {
    let (a, b) = (&a.record, &b.record);
    a.rtype() == b.rtype() && a.owner == b.owner && a.rdata.covers() == b.rdata.covers()
}

/// Whether a record belongs into the zone. `siblings` is the name above the last owner below the apex:
/// what has the same one lies there as well, and zones are full of siblings.
fn belongs(
    parsed: &Parsed,
    apex: &Name,
    class: Class,
    siblings: &mut Option<Vec<u8>>,
    noted: &mut Vec<Noted>,
) -> bool {
    let Record { owner, class: its_class, .. } = &parsed.record;
    let is_sibling = siblings.as_deref() == Some(owner.above());
    if !is_sibling && owner.is_within(apex) {
        *siblings = (owner != apex).then(|| owner.above().to_vec());
    } else if !is_sibling {
        let message = format!("{owner} does not lie within the zone {apex}");
        noted.push(Noted::of(parsed, rules::OUT_OF_ZONE, message));
        return false;
    }
    if *its_class != class {
        let message = format!("this record has the class {its_class}, the first one has {class}");
        noted.push(Noted::of(parsed, rules::WRONG_CLASS, message));
        return false;
    }
    true
}

/// RRsets from sorted records.
struct Sets<'n, I: Iterator<Item = Parsed>> {
    records: std::iter::Peekable<I>,
    noted: &'n mut Vec<Noted>,
}

impl<I: Iterator<Item = Parsed>> Iterator for Sets<'_, I> {
    type Item = RRset;

    fn next(&mut self) -> Option<RRset> {
        let first = self.records.next()?;
        let same = |other: &Parsed| same_set(&first, other);
        let mut more = Vec::new();
        while let Some(parsed) = self.records.next_if(same) {
            more.push(parsed);
        }
        if more.is_empty() {
            return Some(RRset::of(first.record));
        }
        let mut set = RRset::of(first.record.clone());
        for parsed in &more {
            let (ttl, other) = (set.ttl(), parsed.record.ttl);
            if ttl != other {
                let (owner, rtype) = (&parsed.record.owner, parsed.record.rtype());
                let message = format!("{owner} {rtype} has the TTLs {ttl} and {other}");
                self.noted.push(Noted::of(parsed, rules::UNEQUAL_TTLS, message));
                set.set_ttl(ttl.min(other));
            }
        }
        if set.extend(more.iter().map(|parsed| parsed.record.rdata.clone())) > 0 {
            let mut seen = BTreeSet::from([&first.record.rdata]);
            for parsed in more.iter().filter(|parsed| !seen.insert(&parsed.record.rdata)) {
                let message = format!("{} is there already", parsed.record);
                self.noted.push(Noted::of(parsed, rules::DOUBLE, message));
            }
        }
        Some(set)
    }
}

fn diagnostics(
    mut noted: Vec<Noted>,
    most: usize,
    files: &[(Arc<Path>, Lines)],
) -> Vec<Diagnostic> {
    noted.sort_by_key(|noted| (noted.file, noted.at));
    if noted.len() > most {
        noted.truncate(most + 1);
        if let Some(last) = noted.last_mut() {
            let message = format!("there are more than {most} findings");
            *last = Noted::new(last.file, Fault::new(rules::TOO_MANY, last.at, message));
        }
    }
    let told = noted.into_iter().map(|noted| {
        let (path, lines) = &files[noted.file as usize];
        Diagnostic {
            place: Some(lines.place(path, noted.at)),
            owner: noted.owner,
            rtype: noted.rtype,
            ..Diagnostic::new(noted.rule, noted.message)
        }
    });
    told.collect()
}
