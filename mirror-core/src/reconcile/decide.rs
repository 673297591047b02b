//! What becomes of each path, in an order that can be carried out.
//!
//! Directories are settled when everything in them is through: one that is to be deleted may turn
//! out to hold something that stays, and one in which something changes gets its mtime back last.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::choose::{Choice, Chooser, Contested};
use super::compare::{Content, Diff, Item, Tally};
use super::ledger::{Ledger, LedgerItem};
use super::links::{self, Links, Role};
use super::moves::{self, Moves, Reader};
use super::{Rules, problem};
use crate::entry::{Entry, Meta, Side};
use crate::error::Error;
use crate::listing::Pair;
use crate::manifest::Record;
use crate::path::RelPath;
use crate::plan::{Conflict, ConflictKind, Expected, Op, Plan};
use crate::spool::Spool;

/// A directory whose listing may still come.
#[derive(Debug, Default)]
struct Pending {
    entries: Pair<Option<Entry>>,
    /// What removes or replaces it when it has become empty.
    removal: Option<(u32, Side, Op)>,
    /// The inode of which what replaces it becomes a name.
    group: Option<usize>,
    /// Whether something in it stays.
    kept: bool,
    /// What sets its metadata when everything in it is done.
    settle: Pair<Option<(u32, Meta, bool)>>,
}

/// Turns the compared items into a plan and what the base learns from it.
pub(crate) fn decide(
    items: &Spool<Item>,
    tally: Tally,
    rules: &Rules<'_>,
    read: &mut Reader<'_>,
    folder: Option<Arc<OwnedFd>>,
) -> Result<(Plan, Ledger), Error> {
    let mut plan = Plan::new(folder.clone());
    plan.summary.entries = tally.entries;
    plan.summary.unchanged = tally.unchanged;
    plan.summary.skipped = tally.skipped;
    plan.problems = tally.problems;
    let contested = Contested::find(items, rules)?;
    let mut moves = Pair::default();
    for &side in rules.targets() {
        *moves.on_mut(side) = moves::find(items, rules, &contested, side, read)?;
    }
    let links = links::find(items, rules, &contested)?;
    let ledger = Ledger {
        items: Spool::new(folder),
        touched: BTreeMap::new(),
        root: None,
    };
    let mut decider = Decider {
        rules,
        plan,
        ledger,
        moves,
        links,
        pending: BTreeMap::new(),
        inside: None,
        chooser: Chooser::new(rules, &contested),
        moving: BTreeMap::new(),
        moved_directories: BTreeMap::new(),
        replaced_bytes: [0, 0],
    };
    for item in items.iter() {
        decider.item(item.map_err(Error::Spool)?)?;
    }
    decider.flush(None)?;
    decider.estimate_replacements();
    Ok((decider.plan, decider.ledger))
}

struct Decider<'a, 'r> {
    rules: &'a Rules<'r>,
    plan: Plan,
    ledger: Ledger,
    moves: Pair<Moves>,
    links: Pair<Links>,
    pending: BTreeMap<RelPath, Pending>,
    /// The directory that the current items are in, where both sides have it alike.
    inside: Option<(RelPath, Entry, Entry)>,
    chooser: Chooser<'a, 'r>,
    /// The steps that move directories, by where they are and where they will be.
    moving: BTreeMap<RelPath, u32>,
    moved_directories: BTreeMap<RelPath, u32>,
    replaced_bytes: [u64; 2],
}

/// Bytes that may stand beside what they replace at one time.
pub(crate) const BATCH_BYTES: u64 = 1 << 30;

impl Decider<'_, '_> {
    fn item(&mut self, item: Item) -> Result<(), Error> {
        self.flush(Some(&item.listed_in()))?;
        match item {
            Item::Inside { path, entries } => {
                let (a, b) = *entries;
                self.inside = Some((path, a, b));
            }
            Item::Holds { path, side } => self.keep(&path, side),
            Item::Litter { path, side } => {
                if self.rules.targets().contains(&side) {
                    self.touch(side, &path);
                    self.step(side, Op::Sweep { path })?;
                }
            }
            Item::MovedAway {
                path,
                target,
                is_top,
            } => {
                if is_top {
                    self.touch(target, &path);
                }
                let id = self.move_with(&path, is_top);
                self.forget(path, id)?;
            }
            Item::Diff(diff) => self.diff(*diff)?,
        }
        Ok(())
    }

    fn diff(&mut self, diff: Diff) -> Result<(), Error> {
        let choice = self.chooser.choose(&diff);
        let entries = [&diff.a, &diff.b].into_iter().flatten();
        if entries.into_iter().any(|entry| entry.kind.is_directory()) {
            let entries = Pair {
                a: diff.a.clone(),
                b: diff.b.clone(),
            };
            self.pending.insert(
                diff.path.clone(),
                Pending {
                    entries,
                    ..Pending::default()
                },
            );
        }
        self.move_directory(&diff)?;
        match choice {
            Choice::Forget => self.forget(diff.path, None),
            Choice::Agreed => self.agree(&diff),
            Choice::Keep => self.leave(&diff),
            Choice::Onto(side) => self.follow(side, &diff, false),
            Choice::Loses(side, kind) => {
                if let Some(kind) = kind {
                    self.conflict(&diff, kind, Some(side.other()));
                }
                self.follow(side, &diff, self.rules.policy.keep_losers)
            }
            Choice::Conflict(kind) => {
                self.conflict(&diff, kind, None);
                self.leave(&diff)
            }
            Choice::Refused(why) => {
                self.plan.problems.push(problem(&diff.path, why));
                self.leave(&diff)
            }
        }
    }

    fn conflict(&mut self, diff: &Diff, kind: ConflictKind, winner: Option<Side>) {
        let path = diff.path.clone();
        self.plan.conflicts.push(Conflict { path, kind, winner });
    }

    /// Renames a directory that the other side has under this path by now.
    fn move_directory(&mut self, diff: &Diff) -> Result<(), Error> {
        let Some(relocated) = diff.relocated.as_ref().filter(|relocated| relocated.is_top) else {
            return Ok(());
        };
        let side = relocated.target;
        let (Some(entry), Some(_)) = (diff.on(side), diff.on(side.other())) else {
            return Ok(());
        };
        self.make_parents(side, &diff.path)?;
        let op = Op::MoveDirectory {
            from: relocated.from.clone(),
            to: diff.path.clone(),
            expected: Expected::of(entry),
        };
        let id = self.move_with(&relocated.from, true);
        if let Some(id) = id {
            self.plan.push(id, side, op).map_err(Error::Spool)?;
            self.moved_directories.insert(diff.path.clone(), id);
        }
        self.touch(side, &diff.path);
        Ok(())
    }

    /// Leaves a path as it is on both sides.
    fn leave(&mut self, diff: &Diff) -> Result<(), Error> {
        self.plan.summary.skipped += 1;
        for side in [Side::A, Side::B] {
            if diff.on(side).is_some() {
                self.keep(&diff.path, side);
            }
        }
        match &diff.base {
            // Its ancestor goes with the directory it is in, or it would be one of nothing.
            Some(record) if diff.relocated.is_some() && self.rules.remember => {
                let item = LedgerItem {
                    path: diff.path.clone(),
                    record: Some(Box::new(record.clone())),
                    target: Side::B,
                    done: None,
                    content: None,
                    requires: self.moved_with(&diff.path),
                };
                self.note(&item)
            }
            _ => Ok(()),
        }
    }

    /// Both sides are equal: there is nothing to do but to remember it, and perhaps to link it.
    fn agree(&mut self, diff: &Diff) -> Result<(), Error> {
        let (mut changed, mut done) = (Side::B, None);
        for &side in self.rules.targets() {
            let Some(role) = self.links.on(side).roles.get(&diff.path).copied() else {
                continue;
            };
            if matches!(role, Role::Leader { must_put: true, .. }) {
                return self.follow(side, diff, false);
            }
            if let Some(step) = self.link(side, diff, role, None)? {
                (changed, done) = (side, Some(step));
            }
        }
        if done.is_none() && diff.relocated.is_none() {
            self.plan.summary.unchanged += u64::from(!diff.path.is_root());
        }
        if done.is_none() && diff.relocated.is_none() && diff.is_known() {
            return Ok(());
        }
        self.count_match(diff);
        self.remember(diff, changed, done, None)
    }

    fn count_match(&mut self, diff: &Diff) {
        if let (Content::Same(Some(_)), Some(entry)) = (diff.content, &diff.a) {
            self.plan.summary.bytes_matched += entry.kind.size();
        }
    }

    /// Deals with one of several names of an inode; `step` brings it to its content or metadata.
    /// Returns the step after which it is as it stays.
    fn link(
        &mut self,
        side: Side,
        diff: &Diff,
        role: Role,
        step: Option<u32>,
    ) -> Result<Option<u32>, Error> {
        let group = &mut self.links.on_mut(side).groups[role.group()];
        let is_leader = matches!(role, Role::Leader { .. });
        if is_leader {
            group.leader_step = step;
        }
        if group.link.is_none() && !group.to_link.is_empty() {
            group.link = Some(self.plan.reserve());
        }
        // One that goes again is no member: then the first of them speaks for it.
        let (link, leader_step) = (group.link, group.leader_step);
        if let (true, Some(id), Some(leader)) =
            (is_leader || group.leader_goes, link, group.leader.clone())
        {
            let members = std::mem::take(&mut group.to_link);
            if !members.is_empty() {
                let op = Op::Link {
                    leader,
                    members,
                    keep_old: group.keep_old,
                };
                self.plan.push(id, side, op).map_err(Error::Spool)?;
            }
        }
        if matches!(role, Role::Member { linked: false, .. }) {
            self.touch(side, &diff.path);
        }
        Ok(match role {
            Role::Member { linked: true, .. } => link.or(leader_step),
            Role::Member { .. } => link,
            Role::Leader { .. } => link.or(step),
        })
    }

    /// `side` becomes what the other side is at this path.
    fn follow(&mut self, side: Side, diff: &Diff, keep_old: bool) -> Result<(), Error> {
        match (diff.on(side.other()), diff.on(side)) {
            (Some(wanted), None) => self.create(side, diff, wanted),
            (Some(wanted), Some(here)) => self.update(side, diff, wanted, here, keep_old),
            (None, Some(here)) => self.remove(side, diff, here, keep_old),
            (None, None) => Ok(()),
        }
    }

    fn create(&mut self, side: Side, diff: &Diff, wanted: &Entry) -> Result<(), Error> {
        self.make_parents(side, &diff.path)?;
        self.touch(side, &diff.path);
        if wanted.kind.is_directory() {
            let meta = self.rules.onto(side).meta(&wanted.meta);
            let op = Op::MakeDirectory {
                path: diff.path.clone(),
                meta: meta.clone(),
            };
            self.step(side, op)?;
            self.need(side, 4096, 1);
            let done = self.settle_later(side, &diff.path, meta, false);
            return self.remember(diff, side, Some(done), None);
        }
        self.bring(side, diff, wanted, Expected::Absent, false)
    }

    /// Makes directories that `side` lacks above `path` because the other side's were to be
    /// deleted, or to stay alone: now they stay on both.
    fn make_parents(&mut self, side: Side, path: &RelPath) -> Result<(), Error> {
        let mut missing = Vec::new();
        let mut parent = path.parent();
        while let Some(pending) = self.pending.get(&parent) {
            let lacking = pending.entries.on(side).is_none() && pending.settle.on(side).is_none();
            match pending.entries.on(side.other()) {
                Some(entry) if lacking => missing.push((parent.clone(), entry.clone())),
                _ => break,
            }
            parent = parent.parent();
        }
        for (path, entry) in missing.into_iter().rev() {
            self.keep(&path, side.other());
            self.touch(side, &path);
            let meta = self.rules.onto(side).meta(&entry.meta);
            let op = Op::MakeDirectory {
                path: path.clone(),
                meta: meta.clone(),
            };
            self.step(side, op)?;
            self.need(side, 4096, 1);
            self.settle_later(side, &path, meta, false);
            // Something in it may have been deleted before it turned out to stay.
            self.settle_later(side.other(), &path, entry.meta, false);
            if let Some(pending) = self.pending.get_mut(&path) {
                pending.removal = None;
            }
        }
        Ok(())
    }

    fn update(
        &mut self,
        side: Side,
        diff: &Diff,
        wanted: &Entry,
        here: &Entry,
        keep_old: bool,
    ) -> Result<(), Error> {
        let onto = self.rules.onto(side);
        let meta = onto.meta(&wanted.meta);
        let meets = onto.is_met(&wanted.kind, &meta, &here.meta);
        let expected = Expected::of(here);
        match (wanted.kind.is_directory(), here.kind.is_directory()) {
            (true, true) => {
                let done = self.settle_later(side, &diff.path, meta, !meets);
                self.remember(diff, side, Some(done), None)
            }
            (true, false) => {
                self.touch(side, &diff.path);
                let path = diff.path.clone();
                self.step(
                    side,
                    Op::ReplaceWithDirectory {
                        path,
                        meta: meta.clone(),
                        expected,
                        keep_old,
                    },
                )?;
                self.need(side, 4096, 1);
                let done = self.settle_later(side, &diff.path, meta, false);
                self.remember(diff, side, Some(done), None)
            }
            (false, true) => {
                self.hold(&diff.path.parent());
                let (path, kind, source) =
                    (diff.path.clone(), wanted.kind.clone(), wanted.identity);
                let op = Op::ReplaceDirectory {
                    path,
                    kind,
                    meta,
                    source,
                    expected,
                    leader: None,
                };
                let id = self.plan.reserve();
                let links = &self.links.on(side);
                let group = links.roles.get(&diff.path).map(|role| role.group());
                if group.is_none_or(|group| links.groups[group].stands.is_none()) {
                    self.copies(side, wanted, false);
                }
                if let Some(pending) = self.pending.get_mut(&diff.path) {
                    pending.removal = Some((id, side, op));
                    pending.group = group;
                }
                self.remember(diff, side, Some(id), Some(id))
            }
            (false, false) => {
                let role = self.links.on(side).roles.get(&diff.path).copied();
                let must_put = matches!(role, Some(Role::Leader { must_put: true, .. }));
                let same = matches!(diff.content, Content::Same(_));
                if !same || must_put {
                    self.touch(side, &diff.path);
                    return self.bring(side, diff, wanted, expected, keep_old);
                }
                let mut done = None;
                if !meets && !matches!(role, Some(Role::Member { .. })) {
                    let path = diff.path.clone();
                    done = Some(self.step(
                        side,
                        Op::SetMeta {
                            path,
                            meta,
                            expected,
                        },
                    )?);
                }
                if let Some(role) = role {
                    done = self.link(side, diff, role, done)?;
                }
                self.count_match(diff);
                self.remember(diff, side, done, None)
            }
        }
    }

    /// Brings something that is no directory to `side`: by a link, a move or a copy.
    fn bring(
        &mut self,
        side: Side,
        diff: &Diff,
        wanted: &Entry,
        expected: Expected,
        keep_old: bool,
    ) -> Result<(), Error> {
        let role = self.links.on(side).roles.get(&diff.path).copied();
        if let Some(role @ Role::Member { .. }) = role {
            let done = self.link(side, diff, role, None)?;
            let content = match role {
                Role::Member { group, .. } => self.links.on(side).groups[group].leader_step,
                Role::Leader { .. } => None,
            };
            return self.remember(diff, side, done, content);
        }
        if let Some(moved) = self.moves.on_mut(side).by_destination.remove(&diff.path) {
            let mut remembered = diff.clone();
            remembered.content = Content::Same(Some(moved.digest));
            self.plan.summary.bytes_matched += wanted.kind.size();
            self.touch(side, &moved.from);
            let op = Op::MoveFile {
                from: moved.from,
                to: diff.path.clone(),
                expected: Expected::of(&moved.entry),
                replaces: expected,
                keeps_old_name: moved.keeps_old_name,
                meta: moved.meta,
            };
            let id = self.step(side, op)?;
            return self.remember(&remembered, side, Some(id), None);
        }
        let op = Op::Put {
            path: diff.path.clone(),
            kind: wanted.kind.clone(),
            meta: self.rules.onto(side).meta(&wanted.meta),
            source: wanted.identity,
            expected,
            keep_old,
        };
        let id = self.step(side, op)?;
        self.copies(side, wanted, expected != Expected::Absent);
        let done = match role {
            Some(role) => self.link(side, diff, role, Some(id))?,
            None => Some(id),
        };
        self.remember(diff, side, done, Some(id))
    }

    fn remove(
        &mut self,
        side: Side,
        diff: &Diff,
        here: &Entry,
        keep_old: bool,
    ) -> Result<(), Error> {
        if here.kind.is_directory() {
            self.hold(&diff.path.parent());
        } else {
            self.touch(side, &diff.path);
        }
        if self.moves.on(side).vacated.contains(&diff.path) {
            return self.forget(diff.path.clone(), None);
        }
        let id = self.plan.reserve();
        let (path, expected) = (diff.path.clone(), Expected::of(here));
        let op = Op::Remove {
            path,
            expected,
            keep_old: keep_old && !here.kind.is_directory(),
        };
        match self.pending.get_mut(&diff.path) {
            Some(pending) if here.kind.is_directory() => pending.removal = Some((id, side, op)),
            _ => self.plan.push(id, side, op).map_err(Error::Spool)?,
        }
        self.forget(diff.path.clone(), Some(id))
    }

    /// Marks a path and all above it as holding something that stays on `side`.
    fn keep(&mut self, path: &RelPath, side: Side) {
        let mut path = path.clone();
        loop {
            if let Some(pending) = self.pending.get_mut(&path)
                && pending
                    .removal
                    .as_ref()
                    .is_some_and(|(_, from, _)| *from == side)
            {
                pending.kept = true;
            }
            if path.is_root() {
                return;
            }
            path = path.parent();
        }
    }

    /// Keeps the directory that the current items are in until all that is in it is through.
    fn hold(&mut self, directory: &RelPath) {
        if self.pending.contains_key(directory) {
            return;
        }
        if let Some((inside, a, b)) = self.inside.as_ref().filter(|(p, ..)| p == directory) {
            let entries = Pair {
                a: Some(a.clone()),
                b: Some(b.clone()),
            };
            let pending = Pending {
                entries,
                ..Pending::default()
            };
            self.pending.insert(inside.clone(), pending);
        }
    }

    /// Notes that something changes in the directory that holds `path`.
    fn touch(&mut self, side: Side, path: &RelPath) {
        let parent = path.parent();
        self.hold(&parent);
        let Some(pending) = self.pending.get(&parent) else {
            return;
        };
        if pending.settle.on(side).is_some() || pending.removal.is_some() {
            return;
        }
        let (Some(here), wanted) = (pending.entries.on(side), pending.entries.on(side.other()))
        else {
            return;
        };
        // Were it to become what the other side is, that would have been noted by now.
        let meta = here.meta.clone();
        let diff = Diff {
            path: parent.clone(),
            a: pending.entries.a.clone(),
            b: pending.entries.b.clone(),
            base: None,
            content: Content::Same(None),
            protected: false,
            relocated: None,
        };
        let both = wanted.is_some();
        let done = self.settle_later(side, &parent, meta, false);
        if both && self.rules.remember {
            let item = self.ledger_item(&diff, side, Some(done), None);
            if parent.is_root() {
                self.ledger.root = Some(item);
            } else if let Some(key) = parent.split() {
                self.ledger.touched.insert(key, item);
            }
        }
    }

    /// Sets a directory's metadata when everything in it is done.
    fn settle_later(&mut self, side: Side, path: &RelPath, meta: Meta, differs: bool) -> u32 {
        let pending = self.pending.entry(path.clone()).or_default();
        if let Some((id, _, already)) = pending.settle.on_mut(side) {
            *already |= differs;
            return *id;
        }
        let id = self.plan.reserve();
        *pending.settle.on_mut(side) = Some((id, meta, differs));
        id
    }

    /// Finishes the directories that no item after `next` can be in.
    fn flush(&mut self, next: Option<&RelPath>) -> Result<(), Error> {
        let through: Vec<RelPath> = match next {
            Some(next) => {
                let before = self.pending.range(..next.clone());
                before
                    .map(|(path, _)| path)
                    .filter(|path| !next.is_within(path))
                    .cloned()
                    .collect()
            }
            None => self.pending.keys().cloned().collect(),
        };
        for path in through.into_iter().rev() {
            let Some(pending) = self.pending.remove(&path) else {
                continue;
            };
            if let Some((id, side, mut op)) = pending.removal {
                if !pending.kept {
                    self.link_in_place(side, pending.group, &mut op);
                    self.touch(side, &path);
                    self.plan.push(id, side, op).map_err(Error::Spool)?;
                } else if matches!(op, Op::ReplaceDirectory { .. }) {
                    let why = "the directory holds entries that are kept, so that it cannot be replaced; skipped";
                    self.plan.problems.push(problem(&path, why));
                } else {
                    self.plan.summary.skipped += 1;
                }
            }
            for side in [Side::A, Side::B] {
                if let Some((id, meta, differs)) = pending.settle.on(side).clone() {
                    let op = Op::Settle {
                        path: path.clone(),
                        meta,
                        differs,
                    };
                    self.plan.push(id, side, op).map_err(Error::Spool)?;
                }
            }
        }
        Ok(())
    }

    /// Makes what replaces a directory another name of its inode, or else the name that others are
    /// linked to from here on.
    fn link_in_place(&mut self, side: Side, group: Option<usize>, op: &mut Op) {
        let (Some(group), Op::ReplaceDirectory { path, leader, .. }) = (group, op) else {
            return;
        };
        let group = &mut self.links.on_mut(side).groups[group];
        leader.clone_from(&group.stands);
        group.stands.get_or_insert_with(|| path.clone());
    }

    fn step(&mut self, side: Side, op: Op) -> Result<u32, Error> {
        let id = self.plan.reserve();
        self.plan.push(id, side, op).map_err(Error::Spool)?;
        Ok(id)
    }

    fn need(&mut self, side: Side, bytes: u64, inodes: u64) {
        let need = &mut self.plan.summary.need[side as usize];
        need.bytes += bytes;
        need.inodes += inodes;
    }

    /// Counts what copying an entry takes.
    fn copies(&mut self, side: Side, wanted: &Entry, replaces: bool) {
        self.plan.summary.bytes_to_copy += wanted.kind.size();
        if replaces {
            self.replaced_bytes[side as usize] += wanted.allocated;
            self.need(side, 0, 0);
        } else {
            self.need(side, wanted.allocated, 1);
        }
    }

    /// Replacements stand beside what they replace for one batch at a time.
    fn estimate_replacements(&mut self) {
        for side in [Side::A, Side::B] {
            let bytes = self.replaced_bytes[side as usize];
            self.need(side, bytes.min(BATCH_BYTES), 0);
        }
    }

    fn forget(&mut self, path: RelPath, done: Option<u32>) -> Result<(), Error> {
        if !self.rules.remember {
            return Ok(());
        }
        let item = LedgerItem {
            path,
            record: None,
            target: Side::B,
            done,
            content: None,
            requires: None,
        };
        self.note(&item)
    }

    fn note(&mut self, item: &LedgerItem) -> Result<(), Error> {
        self.ledger.items.push(item).map(drop).map_err(Error::Spool)
    }

    fn remember(
        &mut self,
        diff: &Diff,
        target: Side,
        done: Option<u32>,
        content: Option<u32>,
    ) -> Result<(), Error> {
        if !self.rules.remember {
            return Ok(());
        }
        let mut item = self.ledger_item(diff, target, done, content);
        if diff.path.is_root() {
            self.ledger.root = Some(item);
            return Ok(());
        }
        if diff.relocated.is_some() {
            item.requires = self.moved_with(&diff.path);
        }
        self.note(&item)
    }

    /// The number of the step that moves what is at the old path `from`; the directory itself or
    /// something in it. Old and new places come in any order.
    fn move_with(&mut self, from: &RelPath, is_top: bool) -> Option<u32> {
        if is_top && !self.moving.contains_key(from) {
            let id = self.plan.reserve();
            self.moving.insert(from.clone(), id);
        }
        let before = self.moving.range(..=from.clone()).next_back();
        before
            .filter(|(top, _)| from.is_within(top))
            .map(|(_, id)| *id)
    }

    fn moved_with(&self, path: &RelPath) -> Option<u32> {
        let before = self.moved_directories.range(..=path.clone()).next_back();
        before
            .filter(|(top, _)| path.is_within(top))
            .map(|(_, id)| *id)
    }

    /// What to remember of a path: the source's entry, and the target's as it is or as the step
    /// `done` leaves it.
    fn ledger_item(
        &self,
        diff: &Diff,
        target: Side,
        done: Option<u32>,
        content: Option<u32>,
    ) -> LedgerItem {
        let source = target.other();
        let record = diff.on(source).map(|wanted| {
            let here = diff.on(target);
            let there = self.rules.onto(target).meta(&wanted.meta);
            let (meta, on_b) = match target {
                Side::B => (wanted.meta.clone(), there),
                Side::A => (there, wanted.meta.clone()),
            };
            let mut identity = [None, None];
            identity[source as usize] = Some(wanted.lasting_identity());
            identity[target as usize] =
                here.filter(|_| done.is_none()).map(Entry::lasting_identity);
            let digest = match diff.content {
                Content::Same(digest) => digest,
                _ => wanted.digest,
            };
            Box::new(Record {
                name: diff.path.name(),
                kind: wanted.kind.clone(),
                meta_on_b: (on_b != meta).then(|| Box::new(on_b)),
                meta,
                digest: digest.filter(|_| wanted.kind.is_file()),
                identity,
            })
        });
        LedgerItem {
            path: diff.path.clone(),
            record,
            target,
            done,
            content,
            requires: None,
        }
    }
}
