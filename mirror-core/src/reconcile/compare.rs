//! Two trees and their base, directory by directory: which paths are worth a decision.
//!
//! What is equal on both sides and remembered as such costs a comparison and leaves no trace, so
//! that memory goes with the changes and not with the trees.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Rules;
use crate::entry::{Digest, Entry, Kind, Problem, Side};
use crate::error::Error;
use crate::filter::Verdict;
use crate::guard::Refused;
use crate::listing::{InOrder, Listing, Listings};
use crate::manifest::{Block, Record};
use crate::path::{Name, RelPath};
use crate::policy::{Compare, Projection};

/// Whether two files hold the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// They do; with the digest, where it is known. Also said of what has no content.
    Same(Option<Digest>),
    /// They do not, or are of different kinds.
    Different,
    /// Only reading them tells.
    Unknown,
}

/// One path on which the sides differ, or that is not remembered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Diff {
    pub(crate) path: RelPath,
    pub(crate) a: Option<Entry>,
    pub(crate) b: Option<Entry>,
    pub(crate) base: Option<Record>,
    pub(crate) content: Content,
    /// Whether B's entry is never deleted: by a protect rule, or since it is on another mount.
    pub(crate) protected: bool,
    /// Where one side's entry is until the directory it is in moves here.
    pub(crate) relocated: Option<Relocated>,
}

/// The old place of an entry that a directory takes along when it is renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Relocated {
    pub(crate) from: RelPath,
    /// The tree in which the directory is still to be renamed.
    pub(crate) target: Side,
    /// Whether this is the renamed directory itself.
    pub(crate) is_top: bool,
}

impl Diff {
    /// Whether both sides are the very versions that the base remembers.
    pub(crate) fn is_known(&self) -> bool {
        [Side::A, Side::B].iter().all(|&side| is_known(self.on(side), self.base.as_ref(), side))
    }

    pub(crate) fn on(&self, side: Side) -> Option<&Entry> {
        match side {
            Side::A => self.a.as_ref(),
            Side::B => self.b.as_ref(),
        }
    }

    /// Where a side's entry can be read before anything moves.
    pub(crate) fn found_at(&self, side: Side) -> &RelPath {
        match &self.relocated {
            Some(relocated) if side == relocated.target => &relocated.from,
            _ => &self.path,
        }
    }
}

/// What comparing yields, in the order of directories and names in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Item {
    /// The directory that the following items are in, where both sides have it alike. Changing
    /// something in it changes its mtime, which then has to be set again.
    Inside { path: RelPath, entries: Box<(Entry, Entry)> },
    /// A path to decide on.
    Diff(Box<Diff>),
    /// A directory on one side that holds something which stays, so that it has to stay too.
    Holds { path: RelPath, side: Side },
    /// A path whose entry on `target` moves away with the directory it is in.
    MovedAway { path: RelPath, target: Side, is_top: bool },
    /// Something an interrupted run left.
    Litter { path: RelPath, side: Side },
}

impl Item {
    pub(crate) fn path(&self) -> &RelPath {
        match self {
            Item::Inside { path, .. }
            | Item::Holds { path, .. }
            | Item::MovedAway { path, .. }
            | Item::Litter { path, .. } => path,
            Item::Diff(diff) => &diff.path,
        }
    }

    /// The directory whose listing the item came from: its own for what is said of a directory's
    /// inside.
    pub(crate) fn listed_in(&self) -> RelPath {
        match self {
            Item::Inside { path, .. } | Item::Holds { path, .. } => path.clone(),
            other => other.path().parent(),
        }
    }
}

/// What was seen on the way.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) entries: [u64; 2],
    pub(crate) unchanged: u64,
    pub(crate) skipped: u64,
    pub(crate) problems: Vec<Problem>,
}

/// Streams all three and hands on what is worth a decision.
pub(crate) fn compare(
    base: impl Iterator<Item = io::Result<Arc<Block>>>,
    base_root: Option<&Record>,
    a: &mut dyn Listings,
    b: &mut dyn Listings,
    rules: &Rules<'_>,
    sink: &mut dyn FnMut(Item) -> Result<(), Error>,
) -> Result<Tally, Error> {
    let mut comparison = Comparison {
        rules,
        tally: Tally::default(),
        doubtful: [Vec::new(), Vec::new()],
        directories: HashMap::new(),
        sink,
    };
    let roots = (a.root().clone(), b.root().clone());
    comparison.meet(RelPath::root(), Some(roots.0), Some(roots.1), base_root.cloned())?;
    comparison.tally.entries = [0, 0];
    comparison.tally.unchanged = 0;

    let mut base = InOrder::new(base.map(|block| block.map_err(Error::Spool)));
    let (mut a, mut b) = (InOrder::new(a), InOrder::new(b));
    loop {
        let heads = [base.next_directory()?, a.next_directory()?, b.next_directory()?];
        let Some(directory) = heads.into_iter().flatten().min().cloned() else {
            break;
        };
        let block = base.take(&directory)?;
        let listings = [a.take(&directory)?, b.take(&directory)?];
        comparison.directory(directory, block, listings)?;
    }
    Ok(comparison.tally)
}

struct Comparison<'a, 'b> {
    rules: &'a Rules<'b>,
    tally: Tally,
    /// Directories on each side that could not be listed whole and that the current one is in.
    doubtful: [Vec<RelPath>; 2],
    /// Directories that both sides have and whose listings are still to come.
    directories: HashMap<RelPath, (Entry, Entry)>,
    sink: &'a mut dyn FnMut(Item) -> Result<(), Error>,
}

impl Comparison<'_, '_> {
    fn directory(
        &mut self,
        directory: RelPath,
        block: Option<Arc<Block>>,
        listings: [Option<Listing>; 2],
    ) -> Result<(), Error> {
        let mut doubted = [false; 2];
        let mut other_mount = false;
        let mut inside = self.directories.remove(&directory);
        for (side, listing) in [Side::A, Side::B].into_iter().zip(&listings) {
            let doubtful = &mut self.doubtful[side as usize];
            doubtful.retain(|ancestor| directory.is_within(ancestor));
            doubted[side as usize] = match listing {
                Some(listing) => listing.incomplete,
                None => !doubtful.is_empty(),
            };
            let Some(listing) = listing else { continue };
            if listing.holds_other_root {
                let trees = ["target", "source"];
                let (inner, outer) = (trees[side as usize], trees[side.other() as usize]);
                return Err(Refused::Overlap { inner, outer }.into());
            }
            if listing.incomplete {
                doubtful.push(directory.clone());
            }
            if listing.incomplete || listing.hides_excluded || listing.other_mount {
                (self.sink)(Item::Holds { path: directory.clone(), side })?;
            }
            other_mount |= side == Side::B && listing.other_mount;
            self.tally.entries[side as usize] += listing.entries.len() as u64;
            for problem in &listing.problems {
                // What both sides cannot read is one thing to mend.
                if self.tally.problems.last() != Some(problem) {
                    self.tally.problems.push(problem.clone());
                }
            }
            for name in &listing.litter {
                self.enter(&directory, &mut inside)?;
                let path = directory.join_unchecked(name);
                (self.sink)(Item::Litter { path, side })?;
            }
        }

        let [a, b] = listings.map(|listing| listing.map(|l| l.entries).unwrap_or_default());
        let mut a = a.into_iter().peekable();
        let mut b = b.into_iter().peekable();
        let records = block.as_ref().map_or(&[][..], |block| &block.records);
        let mut records = records.iter().peekable();
        loop {
            while self.is_settled(a.peek(), b.peek(), records.peek().copied()) {
                a.next();
                b.next();
                records.next();
                self.tally.unchanged += 1;
            }
            let heads = [
                a.peek().map(|entry| &entry.name),
                b.peek().map(|entry| &entry.name),
                records.peek().map(|record| &record.name),
            ];
            let Some(name) = heads.into_iter().flatten().min().cloned() else {
                return Ok(());
            };
            let a = a.next_if(|entry| entry.name == name);
            let b = b.next_if(|entry| entry.name == name);
            let record = records.next_if(|record| record.name == name).cloned();
            let missing = [a.is_none(), b.is_none()];
            if (0..2).any(|side| missing[side] && doubted[side]) {
                self.stand_off(&directory, &name, a.or(b).as_ref(), doubted, missing)?;
                continue;
            }
            let path = directory.join_unchecked(&name);
            if missing == [true, true] && self.rules.excludes_record(&path, record.as_ref()) {
                continue;
            }
            if let Some(item) = self.judge(path, a, b, record, other_mount) {
                self.enter(&directory, &mut inside)?;
                (self.sink)(item)?;
            }
        }
    }

    /// Says what a directory is on both sides, before the first item in it.
    fn enter(
        &mut self,
        directory: &RelPath,
        inside: &mut Option<(Entry, Entry)>,
    ) -> Result<(), Error> {
        match inside.take() {
            Some(entries) => {
                let (path, entries) = (directory.clone(), Box::new(entries));
                (self.sink)(Item::Inside { path, entries })
            }
            None => Ok(()),
        }
    }

    /// Whether three entries of one name are what both sides agreed on, so that nothing more has to
    /// be asked. Nearly all are.
    fn is_settled(&self, a: Option<&Entry>, b: Option<&Entry>, record: Option<&Record>) -> bool {
        let (Some(a), Some(b), Some(record)) = (a, b, record) else {
            return false;
        };
        self.rules.policy.compare == Compare::Quick
            && a.name == b.name
            && a.name == record.name
            && a.identity.links == 1
            && b.identity.links == 1
            && !a.kind.is_directory()
            && is_known(Some(a), Some(record), Side::A)
            && is_known(Some(b), Some(record), Side::B)
    }

    /// A path that may exist on a side which could not be read: it is left as it is, and so is
    /// every directory above it.
    fn stand_off(
        &mut self,
        directory: &RelPath,
        name: &Name,
        seen: Option<&Entry>,
        doubted: [bool; 2],
        missing: [bool; 2],
    ) -> Result<(), Error> {
        if seen.is_none() {
            return Ok(());
        }
        self.tally.skipped += 1;
        for side in [Side::A, Side::B] {
            if !missing[side as usize] {
                (self.sink)(Item::Holds { path: directory.clone(), side })?;
            }
        }
        if seen.is_some_and(|entry| entry.kind.is_directory()) {
            // What is in it can be told no better.
            for side in 0..2 {
                if missing[side] && doubted[side] {
                    self.doubtful[side].push(directory.join_unchecked(name));
                }
            }
        }
        Ok(())
    }

    fn judge(
        &mut self,
        path: RelPath,
        a: Option<Entry>,
        b: Option<Entry>,
        record: Option<Record>,
        other_mount: bool,
    ) -> Option<Item> {
        if let (Some(a), Some(b)) = (&a, &b) {
            let known = is_known(Some(a), record.as_ref(), Side::A)
                && is_known(Some(b), record.as_ref(), Side::B)
                && a.kind.is_like(&b.kind);
            let same = match content(a, b, record.as_ref(), self.rules.policy.compare) {
                Content::Same(_) => known || meets(&self.rules.onto_b, a, b),
                _ => false,
            };
            // Its other names may have changed, by directories that were renamed above them.
            let linked = !a.kind.is_directory() && (a.identity.links > 1 || b.identity.links > 1);
            if a.kind.is_directory() && b.kind.is_directory() && same {
                self.directories.insert(path.clone(), (a.clone(), b.clone()));
            }
            if same && !linked && (known || !self.rules.remember) {
                self.tally.unchanged += 1;
                return None;
            }
        } else if a.is_none() && b.is_none() && record.is_none() {
            return None;
        }
        let kind = a.as_ref().or(b.as_ref()).map(|entry| &entry.kind);
        let protected = other_mount
            || kind.is_some_and(|kind| self.rules.filter.is_protected(&path, kind.is_directory()));
        let content = match (&a, &b) {
            (Some(a), Some(b)) => content(a, b, record.as_ref(), self.rules.policy.compare),
            _ => Content::Different,
        };
        let diff = Diff { path, a, b, base: record, content, protected, relocated: None };
        Some(Item::Diff(Box::new(diff)))
    }

    fn meet(
        &mut self,
        path: RelPath,
        a: Option<Entry>,
        b: Option<Entry>,
        record: Option<Record>,
    ) -> Result<(), Error> {
        match self.judge(path, a, b, record, false) {
            Some(item) => (self.sink)(item),
            None => Ok(()),
        }
    }
}

impl Rules<'_> {
    /// Whether a path that only the base has is missing because a filter hides it.
    fn excludes_record(&self, path: &RelPath, record: Option<&Record>) -> bool {
        record.is_some_and(|record| {
            self.filter.verdict(path, record.kind.is_directory()) == Verdict::Excluded
        })
    }
}

/// Whether this is the very version that the base remembers.
pub(crate) fn is_known(entry: Option<&Entry>, record: Option<&Record>, side: Side) -> bool {
    match (entry, record) {
        (Some(entry), Some(record)) => {
            record.identity(side).is_some_and(|identity| {
                identity.is_same_inode(&entry.identity)
                    && identity.ctime == entry.identity.ctime
                    && identity.links == entry.identity.links
            }) && record.kind.size() == entry.kind.size()
                && record.kind.is_like(&entry.kind)
                && record.meta(side).mtime == entry.meta.mtime
        }
        _ => false,
    }
}

/// Whether two entries hold the same, as far as can be told without reading.
pub(crate) fn content(a: &Entry, b: &Entry, record: Option<&Record>, how: Compare) -> Content {
    match (&a.kind, &b.kind) {
        (Kind::File { size }, Kind::File { size: other }) if size == other => {}
        (Kind::File { .. }, Kind::File { .. }) => return Content::Different,
        (kind, other) if kind == other => return Content::Same(None),
        _ => return Content::Different,
    }
    if a.kind.size() == 0 {
        return Content::Same(Some(Digest::of(b"")));
    }
    if how == Compare::Checksum {
        return by_digest(a, b);
    }
    let known = is_known(Some(a), record, Side::A) && is_known(Some(b), record, Side::B);
    match record {
        Some(record) if known => Content::Same(record.digest),
        // A ctime that moved while size and mtime stayed: somebody may have hidden a change.
        Some(_) => by_digest(a, b),
        None if a.meta.mtime == b.meta.mtime => {
            Content::Same(a.digest.or(b.digest)).unless_told_otherwise(a, b)
        }
        None => by_digest(a, b),
    }
}

impl Content {
    /// Digests that are known and differ outweigh equal sizes and times.
    fn unless_told_otherwise(self, a: &Entry, b: &Entry) -> Content {
        match (a.digest, b.digest) {
            (Some(x), Some(y)) if x != y => Content::Different,
            _ => self,
        }
    }
}

fn by_digest(a: &Entry, b: &Entry) -> Content {
    match (a.digest, b.digest) {
        (Some(x), Some(y)) if x == y => Content::Same(Some(x)),
        (Some(_), Some(_)) => Content::Different,
        _ => Content::Unknown,
    }
}

/// Whether B's metadata is what A's comes to there.
pub(crate) fn meets(onto: &Projection, source: &Entry, target: &Entry) -> bool {
    onto.is_met(&source.kind, &onto.meta(&source.meta), &target.meta)
}
