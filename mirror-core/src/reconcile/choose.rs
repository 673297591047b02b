//! What the policy says about each path.
//!
//! A path is decided by itself, but for what a decision on a directory means for all that is in
//! it: below a path that is left as it is nothing is done, and where one side's version of a path
//! wins, it wins with everything below.

use std::collections::{BTreeMap, BTreeSet};

use super::Rules;
use super::compare::{Content, Diff, Item, is_known, meets};
use crate::entry::{Entry, Side};
use crate::error::Error;
use crate::manifest::Record;
use crate::path::RelPath;
use crate::plan::ConflictKind;
use crate::policy::{Direction, Extraneous, OnConflict};
use crate::spool::Spool;

/// What the policy says about one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Both are equal.
    Agreed,
    /// This side becomes what the other is.
    Onto(Side),
    /// This side has lost a conflict and becomes what the other is; its own version may be kept
    /// elsewhere. Only the topmost path says what the conflict was.
    Loses(Side, Option<ConflictKind>),
    /// Both stay as they are.
    Conflict(ConflictKind),
    /// The target cannot have such an entry.
    Refused(&'static str),
    /// It is not touched.
    Keep,
    /// It is gone on both sides.
    Forget,
}

impl Choice {
    /// Whether `side` becomes what the other side is.
    pub(crate) fn changes(self, side: Side) -> bool {
        matches!(self, Choice::Onto(target) | Choice::Loses(target, _) if target == side)
    }
}

/// What was decided on a path and holds for everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Below {
    Left,
    Loses(Side),
}

/// Directories that one side replaced by something else while the other side changed what is in
/// them: a conflict that shows only when all of it has been seen.
#[derive(Debug, Default)]
pub(crate) struct Contested(BTreeSet<RelPath>);

impl Contested {
    /// Looks through all items once, in the one direction that can have any.
    pub(crate) fn find(items: &Spool<Item>, rules: &Rules<'_>) -> Result<Contested, Error> {
        let mut contested = Contested::default();
        if rules.policy.direction == Direction::Mirror {
            return Ok(contested);
        }
        let none = Contested::default();
        let mut chooser = Chooser::new(rules, &none);
        // Directories to be replaced, and the side that still has them.
        let mut replaced: BTreeMap<RelPath, Side> = BTreeMap::new();
        for item in items.iter() {
            let item = item.map_err(Error::Spool)?;
            let goes = match &item {
                Item::Diff(diff) => {
                    let choice = chooser.choose(diff);
                    if let Choice::Onto(side) = choice {
                        let kind = |side| diff.on(side).map(|entry| entry.kind.is_directory());
                        if (kind(side), kind(side.other())) == (Some(true), Some(false)) {
                            replaced.insert(diff.path.clone(), side);
                            continue;
                        }
                    }
                    [Side::A, Side::B].map(|side| {
                        diff.on(side).is_none()
                            || (choice == Choice::Onto(side) && diff.on(side.other()).is_none())
                    })
                }
                Item::Holds { side, .. } => [*side != Side::A, *side != Side::B],
                _ => continue,
            };
            if replaced.is_empty() {
                continue;
            }
            // What a listing says of its own directory is said of what is in it.
            let mut above = item.listed_in();
            while !above.is_root() {
                match replaced.get(&above) {
                    Some(&side) if !goes[side as usize] => {
                        contested.0.insert(above);
                        break;
                    }
                    Some(_) => break,
                    None => above = above.parent(),
                }
            }
        }
        Ok(contested)
    }
}

/// Decides path after path, in the order of listings.
pub(crate) struct Chooser<'a, 'r> {
    rules: &'a Rules<'r>,
    contested: &'a Contested,
    regions: BTreeMap<RelPath, Below>,
}

impl<'a, 'r> Chooser<'a, 'r> {
    pub(crate) fn new(rules: &'a Rules<'r>, contested: &'a Contested) -> Chooser<'a, 'r> {
        Chooser { rules, contested, regions: BTreeMap::new() }
    }

    /// Whether a decision further up already decides about `path`.
    pub(crate) fn is_decided_above(&self, path: &RelPath) -> bool {
        self.above(path).is_some()
    }

    fn above(&self, path: &RelPath) -> Option<Below> {
        if self.regions.is_empty() {
            return None;
        }
        let mut above = path.clone();
        while !above.is_root() {
            above = above.parent();
            if let Some(&below) = self.regions.get(&above) {
                return Some(below);
            }
        }
        None
    }

    /// Decides one path.
    pub(crate) fn choose(&mut self, diff: &Diff) -> Choice {
        match self.above(&diff.path) {
            Some(Below::Left) => return Choice::Keep,
            Some(Below::Loses(side)) => {
                return match (diff.on(side), diff.on(side.other())) {
                    (None, None) => Choice::Forget,
                    (Some(_), None) if side == Side::B && diff.protected => Choice::Keep,
                    (_, Some(wanted)) => {
                        self.refused(diff, side, wanted).unwrap_or(Choice::Loses(side, None))
                    }
                    _ => Choice::Loses(side, None),
                };
            }
            None => {}
        }
        let choice = if self.contested.0.contains(&diff.path) {
            conflict(diff, ConflictKind::BothChanged, self.rules)
        } else {
            by_itself(diff, self.rules)
        };
        let choice = match choice {
            Choice::Onto(side) | Choice::Loses(side, _) => diff
                .on(side.other())
                .and_then(|wanted| self.refused(diff, side, wanted))
                .unwrap_or(choice),
            other => other,
        };
        let is_directory = |side| diff.on(side).is_some_and(|entry| entry.kind.is_directory());
        let (a, b) = (is_directory(Side::A), is_directory(Side::B));
        let below = match choice {
            Choice::Conflict(_) | Choice::Refused(_) if a || b => Some(Below::Left),
            // Two directories meet entry by entry.
            Choice::Loses(side, _) if a != b => Some(Below::Loses(side)),
            _ => None,
        };
        if let Some(below) = below {
            self.regions.insert(diff.path.clone(), below);
        }
        choice
    }

    fn refused(&self, diff: &Diff, side: Side, wanted: &Entry) -> Option<Choice> {
        let refuses = self.rules.onto(side).refuses(&diff.path, &wanted.kind);
        refuses.map(Choice::Refused)
    }
}

fn by_itself(diff: &Diff, rules: &Rules<'_>) -> Choice {
    match (&diff.a, &diff.b) {
        (None, None) => return Choice::Forget,
        (Some(a), Some(b))
            if matches!(diff.content, Content::Same(_)) && meets(&rules.onto_b, a, b) =>
        {
            return Choice::Agreed;
        }
        _ => {}
    }
    match rules.policy.direction {
        Direction::Mirror => match &diff.a {
            None if diff.protected || rules.policy.extraneous == Extraneous::Keep => Choice::Keep,
            _ => Choice::Onto(Side::B),
        },
        Direction::Both => both_ways(diff, rules),
    }
}

fn both_ways(diff: &Diff, rules: &Rules<'_>) -> Choice {
    if let (Some(a), Some(b)) = (&diff.a, &diff.b)
        && differ_in_mtime_alone(diff, a, b, rules)
    {
        return later_mtime(diff, a, b, rules);
    }
    let Some(record) = &diff.base else {
        // Without an ancestor nothing is deleted and nothing is overwritten.
        return match (&diff.a, &diff.b) {
            (Some(_), None) => Choice::Onto(Side::B),
            (None, _) => Choice::Onto(Side::A),
            (Some(a), Some(b)) if a.kind.is_directory() && b.kind.is_directory() => {
                Choice::Onto(Side::B)
            }
            _ => conflict(diff, ConflictKind::NoAncestor, rules),
        };
    };
    let changed = |side: Side| diff.on(side).is_some_and(|e| has_changed(e, record, side, rules));
    let is_version = |entry, side| is_known(Some(entry), Some(record), side);
    match (&diff.a, &diff.b) {
        (Some(_), None) if changed(Side::A) => conflict(diff, ConflictKind::DeletedOnB, rules),
        (None, Some(_)) if changed(Side::B) => conflict(diff, ConflictKind::DeletedOnA, rules),
        (None, Some(_)) if diff.protected => Choice::Keep,
        (Some(_), None) => Choice::Onto(Side::A),
        (None, _) => Choice::Onto(Side::B),
        (Some(a), Some(b)) => match (changed(Side::A), changed(Side::B)) {
            (true, false) => Choice::Onto(Side::B),
            (false, true) => Choice::Onto(Side::A),
            // Two directories differ in metadata alone, where the primary may well win. The time
            // that nobody changed gives way to the one that somebody did.
            _ if a.kind.is_directory() && b.kind.is_directory() => {
                let is_old = |entry: &Entry, side| entry.meta.mtime == record.meta(side).mtime;
                match (is_old(a, Side::A), is_old(b, Side::B)) {
                    (true, false) => Choice::Onto(Side::A),
                    _ => Choice::Onto(Side::B),
                }
            }
            // They differ, and what a side's entry is says nothing: the one that is another
            // version than the base remembers has changed.
            (false, false) if is_version(b, Side::B) && !is_version(a, Side::A) => {
                Choice::Onto(Side::B)
            }
            (false, false) if is_version(a, Side::A) && !is_version(b, Side::B) => {
                Choice::Onto(Side::A)
            }
            _ if is_half_way(diff, record, Side::B, rules) => Choice::Onto(Side::B),
            _ if is_half_way(diff, record, Side::A, rules) => Choice::Onto(Side::A),
            _ => conflict(diff, ConflictKind::BothChanged, rules),
        },
    }
}

/// Whether each attribute of a side's entry is what it was or what the other side's is: as a run
/// leaves an inode that is interrupted between two of them. Going on loses nobody's change.
fn is_half_way(diff: &Diff, record: &Record, side: Side, rules: &Rules<'_>) -> bool {
    let (Some(here), Some(there)) = (diff.on(side), diff.on(side.other())) else {
        return false;
    };
    let (here, was, wanted) = (&here.meta, record.meta(side), rules.onto(side).meta(&there.meta));
    // A new owner takes setuid and setgid away until the mode is set.
    let lasting = |mode: u32| mode & 0o1777;
    let mut names = was.xattrs.iter().chain(wanted.xattrs.iter()).chain(here.xattrs.iter());
    matches!(diff.content, Content::Same(_))
        && (here.mode == wanted.mode || lasting(here.mode) == lasting(was.mode))
        && (here.uid == wanted.uid || here.uid == was.uid)
        && (here.gid == wanted.gid || here.gid == was.gid)
        && (here.mtime == wanted.mtime || here.mtime == was.mtime)
        && names.all(|(name, _)| {
            let value = here.xattrs.get(name);
            value == wanted.xattrs.get(name) || value == was.xattrs.get(name)
        })
}

/// Whether two entries hold the same under the same permissions, so that whichever mtime is taken
/// nobody loses anything.
fn differ_in_mtime_alone(diff: &Diff, a: &Entry, b: &Entry, rules: &Rules<'_>) -> bool {
    let onto = &rules.onto_b;
    let mut wanted = onto.meta(&a.meta);
    wanted.mtime = b.meta.mtime;
    matches!(diff.content, Content::Same(_))
        && !a.kind.is_directory()
        && onto.is_met(&a.kind, &wanted, &b.meta)
}

/// The side that set another mtime than the base's goes on to the other; A's if both did.
fn later_mtime(diff: &Diff, a: &Entry, b: &Entry, rules: &Rules<'_>) -> Choice {
    let changed = |entry, side| {
        diff.base.as_ref().is_none_or(|record| has_changed(entry, record, side, rules))
    };
    match (changed(a, Side::A), changed(b, Side::B)) {
        (false, true) => Choice::Onto(Side::A),
        _ => Choice::Onto(Side::B),
    }
}

/// Whether an entry is not what the base remembers of its side. The mtime of a directory changes
/// with what is in it and says nothing of itself.
fn has_changed(entry: &Entry, record: &Record, side: Side, rules: &Rules<'_>) -> bool {
    if is_known(Some(entry), Some(record), side) {
        return false;
    }
    let mut remembered = record.meta(side).clone();
    if entry.kind.is_directory() {
        remembered.mtime = entry.meta.mtime;
    }
    let content = match (entry.digest, record.digest) {
        (Some(now), Some(then)) => now == then,
        _ => entry.kind.size() == 0 || remembered.mtime == entry.meta.mtime,
    };
    entry.kind != record.kind
        || !content
        || !rules.onto(side).is_met(&entry.kind, &remembered, &entry.meta)
}

fn conflict(diff: &Diff, kind: ConflictKind, rules: &Rules<'_>) -> Choice {
    let winner = match (rules.policy.on_conflict, &diff.a, &diff.b) {
        (OnConflict::Report, ..) => return Choice::Conflict(kind),
        (OnConflict::PreferA, ..) => Side::A,
        (OnConflict::PreferB, ..) => Side::B,
        (OnConflict::Newest, Some(a), Some(b)) if b.meta.mtime > a.meta.mtime => Side::B,
        (OnConflict::Newest, Some(_), _) => Side::A,
        (OnConflict::Newest, None, _) => Side::B,
    };
    Choice::Loses(winner.other(), Some(kind))
}
