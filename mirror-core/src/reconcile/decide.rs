//! What becomes of each path, in an order that can be carried out.
//!
//! Directories are settled when everything in them is through: one that is to be deleted may turn
//! out to hold something that stays, and one in which something changes gets its mtime back last.

mod directories;
mod learn;

use std::collections::BTreeMap;

use directories::Pending;

use super::census::Census;
use super::choose::{Choice, Chooser, Contested};
use super::compare::{Content, Diff, Item, Tally};
use super::ledger::{Ledger, LedgerItem};
use super::links::{self, Links, Role};
use super::moves::{self, Moves, Reader};
use super::{Rules, problem};
use crate::entry::{Entry, Side};
use crate::error::Error;
use crate::fs::Folder;
use crate::listing::Pair;
use crate::path::RelPath;
use crate::plan::{Conflict, ConflictKind, Expected, Op, Plan};
use crate::policy::Direction;
use crate::spool::Spool;

/// Turns the compared items into a plan and what the base learns from it.
pub(crate) fn decide(
    items: &Spool<Item>,
    census: &Census,
    tally: Tally,
    rules: &Rules<'_>,
    read: &mut Reader<'_>,
    folder: Option<Folder>,
) -> Result<(Plan, Ledger), Error> {
    let mut plan = Plan::new(folder.clone());
    plan.summary.entries = tally.entries;
    plan.summary.unchanged = tally.unchanged;
    plan.summary.skipped = tally.skipped;
    plan.problems = tally.problems;
    let contested = Contested::find(items, rules)?;
    let mut moves = Pair::default();
    for &side in rules.targets() {
        if census.holds_spare_files[side as usize] {
            *moves.on_mut(side) = moves::find(items, rules, &contested, side, read)?;
        }
    }
    let links = match census.holds_links {
        true => links::find(items, rules, &contested)?,
        false => Pair::default(),
    };
    let ledger = Ledger { items: Spool::new(folder), touched: BTreeMap::new(), root: None };
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
            Item::MovedAway { path, target, is_top } => {
                if is_top {
                    self.touch(target, &path);
                }
                let id = self.move_with(&path, is_top);
                // What cannot be moved, to another mount for one, is not tried for ever: without
                // its record the next run does not know the directory again and goes by files.
                let whatever = is_top && self.rules.policy.direction == Direction::Mirror;
                self.forget(path, id.filter(|_| !whatever))?;
            }
            Item::Diff(diff) => self.diff(*diff)?,
        }
        Ok(())
    }

    fn diff(&mut self, diff: Diff) -> Result<(), Error> {
        let choice = self.chooser.choose(&diff);
        let entries = [&diff.a, &diff.b].into_iter().flatten();
        if entries.into_iter().any(|entry| entry.kind.is_directory()) {
            let entries = Pair { a: diff.a.clone(), b: diff.b.clone() };
            self.pending.insert(diff.path.clone(), Pending { entries, ..Pending::default() });
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
        let is_top = diff.relocated.as_ref().is_some_and(|relocated| relocated.is_top);
        if done.is_none() && !is_top {
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
        if is_leader && step.is_some() {
            group.leader_step = step;
            group.leader_expected = None;
        }
        let link = group.last_link(|| self.plan.reserve());
        let leader_step = group.leader_step;
        // One that goes again is no member: then the first of them speaks for it.
        if is_leader || group.leader_goes {
            let members = std::mem::take(&mut group.to_link);
            let (mut after, mut leader_expected) = (leader_step, group.leader_expected);
            for (&id, members) in group.links.iter().zip(members.chunks(links::NAMES_AT_ONCE)) {
                let Some(leader) = group.leader.clone() else {
                    break;
                };
                let (members, keep_old) = (members.to_vec(), group.keep_old);
                let op = Op::Link { leader, after, leader_expected, members, keep_old };
                self.plan.push(id, side, op).map_err(Error::Spool)?;
                // The leader stands as it stood for this one, and all are done when the last is.
                (after, leader_expected) = (Some(id), None);
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
            let op = Op::MakeDirectory { path: diff.path.clone(), meta: meta.clone() };
            self.step(side, op)?;
            self.need(side, 4096, 1);
            let done = self.settle_later(side, &diff.path, meta, false);
            return self.remember(diff, side, Some(done), None);
        }
        self.bring(side, diff, wanted, Expected::Absent, false)
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
                    Op::ReplaceWithDirectory { path, meta: meta.clone(), expected, keep_old },
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
                    after: None,
                    leader_expected: None,
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
                    let op = Op::SetMeta { path, meta, expected };
                    done = Some(self.leader_step(side, role, op)?);
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
            let id = self.moving_away(side, &moved.from);
            let op = Op::MoveFile {
                from: moved.from,
                to: diff.path.clone(),
                expected: Expected::of(&moved.entry),
                replaces: expected,
                keeps_old_name: moved.keeps_old_name,
                meta: moved.meta,
            };
            let id = match id {
                Some(id) => {
                    self.plan.push(id, side, op).map_err(Error::Spool)?;
                    id
                }
                None => self.leader_step(side, role, op)?,
            };
            let done = match role {
                Some(role) => self.link(side, diff, role, Some(id))?,
                None => Some(id),
            };
            return self.remember(&remembered, side, done, None);
        }
        let op = Op::Put {
            path: diff.path.clone(),
            kind: wanted.kind.clone(),
            meta: self.rules.onto(side).meta(&wanted.meta),
            source: wanted.identity,
            expected,
            keep_old,
        };
        let id = self.leader_step(side, role, op)?;
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
        // The old name of what could not be moved is still there, and no news to the base.
        if let Some(id) = self.moving_away(side, &diff.path) {
            return self.forget(diff.path.clone(), Some(id));
        }
        let id = self.plan.reserve();
        let (path, expected) = (diff.path.clone(), Expected::of(here));
        let op = Op::Remove { path, expected, keep_old: keep_old && !here.kind.is_directory() };
        match self.pending.get_mut(&diff.path) {
            Some(pending) if here.kind.is_directory() => pending.removal = Some((id, side, op)),
            _ => self.plan.push(id, side, op).map_err(Error::Spool)?,
        }
        self.forget(diff.path.clone(), Some(id))
    }

    /// The number of the step that moves a file away from a name that it does not keep. Old and new
    /// names come in any order.
    fn moving_away(&mut self, side: Side, from: &RelPath) -> Option<u32> {
        let id = self.moves.on_mut(side).vacated.get_mut(from)?;
        Some(*id.get_or_insert_with(|| self.plan.reserve()))
    }

    /// Adds a step that may bring a leader to its content or metadata; others may have spoken of it
    /// already.
    fn leader_step(&mut self, side: Side, role: Option<Role>, op: Op) -> Result<u32, Error> {
        let reserved = match role {
            Some(Role::Leader { group, .. }) => self.links.on(side).groups[group].leader_step,
            _ => None,
        };
        let id = reserved.unwrap_or_else(|| self.plan.reserve());
        self.plan.push(id, side, op).map_err(Error::Spool)?;
        Ok(id)
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
}
