//! Files that got another name: the target gives its own inode that name instead of copying.
//!
//! A name, a size and an mtime never prove a content. A file counts as moved only when its digest
//! is that of the file to be moved; the caller reads what no digest is known of. Each candidate is
//! tried once, so that a hundred thousand equal files cost no more than as many different ones.

use std::collections::{HashMap, VecDeque};

use super::Rules;
use super::choose::{Choice, Chooser, Contested};
use super::compare::{Content, Diff, Item};
use crate::entry::{Digest, Entry, Kind, Meta, Side, Timestamp};
use crate::error::Error;
use crate::path::{Name, RelPath};
use crate::spool::Spool;

/// Two files that may hold the same.
#[derive(Debug, Clone)]
pub(crate) struct Doubt {
    /// Where each side's file is now.
    pub(crate) paths: [RelPath; 2],
    /// What a scan said of each.
    pub(crate) entries: [Entry; 2],
}

/// The digests of both files of a [`Doubt`]; None where a file could not be read whole.
pub(crate) type Reading = [Option<Digest>; 2];

/// Reads the files of each doubt.
pub(crate) type Reader<'r> = dyn FnMut(&[Doubt]) -> Result<Vec<Reading>, Error> + 'r;

/// A file of the target that becomes what is wanted at another path.
#[derive(Debug)]
pub(crate) struct Move {
    pub(crate) from: RelPath,
    pub(crate) entry: Entry,
    pub(crate) digest: Digest,
    /// Whether the old name gets other content; else it just goes.
    pub(crate) keeps_old_name: bool,
    /// What it has to become, where its metadata is not what is wanted.
    pub(crate) meta: Option<Meta>,
}

/// The moves on one side: where to, and which old names go with them.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    pub(crate) by_destination: HashMap<RelPath, Move>,
    /// The old names, and the number of the step that takes each away once it has one.
    pub(crate) vacated: HashMap<RelPath, Option<u32>>,
}

struct Origin {
    diff: Diff,
    used: bool,
}

struct Pairing {
    origin: usize,
    destination: Diff,
}

/// Finds the files on `target` that only need another name.
pub(crate) fn find(
    items: &Spool<Item>,
    rules: &Rules<'_>,
    contested: &Contested,
    target: Side,
    read: &mut Reader<'_>,
) -> Result<Moves, Error> {
    let mut origins = Origins::default();
    let mut chooser = Chooser::new(rules, contested);
    for item in items.iter() {
        if let Item::Diff(diff) = item.map_err(Error::Spool)?
            && is_origin(&diff, chooser.choose(&diff), target)
        {
            origins.add(*diff, target);
        }
    }
    let mut moves = Moves::default();
    if origins.list.is_empty() {
        return Ok(moves);
    }
    let mut batch = Vec::new();
    let mut chooser = Chooser::new(rules, contested);
    for item in items.iter() {
        let Item::Diff(diff) = item.map_err(Error::Spool)? else {
            continue;
        };
        if !is_destination(&diff, chooser.choose(&diff), target) {
            continue;
        }
        if let Some(origin) = origins.take(&diff, target, rules) {
            batch.push(Pairing { origin, destination: *diff });
        }
        if batch.len() >= 1024 {
            settle(&mut batch, &origins, target, rules, &mut moves, read)?;
        }
    }
    settle(&mut batch, &origins, target, rules, &mut moves, read)?;
    Ok(moves)
}

fn is_movable(entry: &Entry) -> bool {
    entry.kind.size() > 0 && entry.identity.links == 1
}

/// Whether the target's content at this path is not wanted there any more.
fn is_origin(diff: &Diff, choice: Choice, target: Side) -> bool {
    let goes = match (diff.on(target), diff.on(target.other())) {
        (Some(entry), None) => is_movable(entry),
        (Some(entry), Some(Entry { kind: Kind::File { .. }, .. })) => {
            is_movable(entry) && diff.content != Content::Unknown && !is_same(diff)
        }
        _ => false,
    };
    goes && choice == Choice::Onto(target)
}

/// Whether a file is wanted at this path that the target does not have there.
fn is_destination(diff: &Diff, choice: Choice, target: Side) -> bool {
    let wanted = diff.on(target.other()).is_some_and(is_movable);
    let differs = match diff.on(target) {
        None => true,
        Some(entry) => !entry.kind.is_directory() && !is_same(diff),
    };
    // The loser of a conflict is kept, which a copy does and a move does not.
    let nothing_lost =
        choice == Choice::Onto(target) || (choice.changes(target) && diff.on(target).is_none());
    wanted && differs && nothing_lost
}

fn is_same(diff: &Diff) -> bool {
    matches!(diff.content, Content::Same(_))
}

type Inode = (u64, u64);

/// Files on the target that could be given another name, by everything they can be known by.
#[derive(Default)]
struct Origins {
    list: Vec<Origin>,
    by_source_inode: HashMap<Inode, usize>,
    by_target_inode: HashMap<Inode, usize>,
    by_name: HashMap<(u64, Timestamp, Name), VecDeque<usize>>,
    by_times: HashMap<(u64, Timestamp), VecDeque<usize>>,
}

impl Origins {
    fn add(&mut self, diff: Diff, target: Side) {
        let Some(entry) = diff.on(target) else { return };
        let index = self.list.len();
        let times = (entry.kind.size(), entry.meta.mtime);
        self.by_target_inode.insert((entry.identity.device, entry.identity.inode), index);
        if let Some(identity) = diff.base.as_ref().and_then(|r| r.identity(target.other())) {
            self.by_source_inode.insert((identity.device, identity.inode), index);
        }
        self.by_name.entry((times.0, times.1, entry.name.clone())).or_default().push_back(index);
        self.by_times.entry(times).or_default().push_back(index);
        self.list.push(Origin { diff, used: false });
    }

    /// The likeliest origin of what is wanted at `destination`: the inode that the base knows,
    /// then the same name, size and mtime, then size and mtime alone.
    fn take(&mut self, destination: &Diff, target: Side, rules: &Rules<'_>) -> Option<usize> {
        let wanted = destination.on(target.other())?;
        let here = (wanted.identity.device, wanted.identity.inode);
        let there = destination.base.as_ref().and_then(|record| record.identity(target));
        let there = there.map(|identity| (identity.device, identity.inode));
        let (size, mtime) = (wanted.kind.size(), wanted.meta.mtime);
        let by_inode = [
            self.by_source_inode.get(&here).copied(),
            there.and_then(|inode| self.by_target_inode.get(&inode).copied()),
        ];
        let list = &mut self.list;
        let mut fits = |index: usize| {
            let origin = &mut list[index];
            let entry = origin.diff.on(target).expect("origins have an entry on the target");
            // What keeps its old name for a while has to keep its metadata there too.
            let free = origin.diff.on(target.other()).is_none();
            let fits = !origin.used
                && origin.diff.path != destination.path
                && entry.kind.size() == size
                && (free || other_meta(wanted, entry, target, rules).is_none());
            origin.used |= fits;
            fits
        };
        if let Some(index) = by_inode.into_iter().flatten().find(|&index| fits(index)) {
            return Some(index);
        }
        let named = self.by_name.get_mut(&(size, mtime, wanted.name.clone()));
        let queues = named.into_iter().chain(self.by_times.get_mut(&(size, mtime)));
        for queue in queues {
            // Each is looked at once in each queue, whether it fits or not.
            while let Some(index) = queue.pop_front() {
                if fits(index) {
                    return Some(index);
                }
            }
        }
        None
    }
}

/// The metadata that an entry has to get to become what is wanted, if it has other.
fn other_meta(wanted: &Entry, entry: &Entry, target: Side, rules: &Rules<'_>) -> Option<Meta> {
    let onto = rules.onto(target);
    let meta = onto.meta(&wanted.meta);
    (!onto.is_met(&wanted.kind, &meta, &entry.meta)).then_some(meta)
}

/// Reads what has to be read for a batch of pairings and keeps those that hold.
fn settle(
    batch: &mut Vec<Pairing>,
    origins: &Origins,
    target: Side,
    rules: &Rules<'_>,
    moves: &mut Moves,
    read: &mut Reader<'_>,
) -> Result<(), Error> {
    let pairings = std::mem::take(batch);
    let (mut known, mut doubts) = (Vec::new(), Vec::new());
    for pairing in pairings {
        let origin = &origins.list[pairing.origin].diff;
        let (Some(entry), Some(wanted)) =
            (origin.on(target), pairing.destination.on(target.other()))
        else {
            continue;
        };
        match (entry.digest, wanted.digest) {
            (Some(x), Some(y)) if x == y => known.push((pairing, x)),
            (Some(_), Some(_)) => {}
            _ => {
                let here = pairing.destination.found_at(target.other()).clone();
                let there = origin.found_at(target).clone();
                let (wanted, entry) = (wanted.clone(), entry.clone());
                let doubt = match target {
                    Side::B => Doubt { paths: [here, there], entries: [wanted, entry] },
                    Side::A => Doubt { paths: [there, here], entries: [entry, wanted] },
                };
                doubts.push((pairing, doubt));
            }
        }
    }
    if !doubts.is_empty() {
        let (pairings, doubts): (Vec<_>, Vec<_>) = doubts.into_iter().unzip();
        for (pairing, reading) in pairings.into_iter().zip(read(&doubts)?) {
            if let [Some(x), Some(y)] = reading
                && x == y
            {
                known.push((pairing, x));
            }
        }
    }
    for (Pairing { origin, destination }, digest) in known {
        let origin = &origins.list[origin].diff;
        let (Some(entry), Some(wanted)) = (origin.on(target), destination.on(target.other()))
        else {
            continue;
        };
        let keeps_old_name = origin.on(target.other()).is_some();
        if !keeps_old_name {
            moves.vacated.insert(origin.path.clone(), None);
        }
        let from = origin.path.clone();
        let moved = Move {
            from,
            entry: entry.clone(),
            digest,
            keeps_old_name,
            meta: other_meta(wanted, entry, target, rules),
        };
        moves.by_destination.insert(destination.path, moved);
    }
    Ok(())
}
