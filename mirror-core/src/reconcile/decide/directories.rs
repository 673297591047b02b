//! Directories that are not through yet: one that is to be deleted may turn out to hold something
//! that stays, and one in which something changes gets its mtime back last.

use super::Decider;
use crate::entry::{Entry, Meta, Side};
use crate::error::Error;
use crate::listing::Pair;
use crate::path::RelPath;
use crate::plan::Op;
use crate::reconcile::compare::{Content, Diff};
use crate::reconcile::problem;

/// A directory whose listing may still come.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) entries: Pair<Option<Entry>>,
    /// What removes or replaces it when it has become empty.
    pub(super) removal: Option<(u32, Side, Op)>,
    /// The inode of which what replaces it becomes a name.
    pub(super) group: Option<usize>,
    /// Whether something in it stays.
    pub(super) kept: bool,
    /// What sets its metadata when everything in it is done.
    pub(super) settle: Pair<Option<(u32, Meta, bool)>>,
}

impl Decider<'_, '_> {
    /// Makes directories that `side` lacks above `path` because the other side's were to be
    /// deleted, or to stay alone: now they stay on both.
    pub(super) fn make_parents(&mut self, side: Side, path: &RelPath) -> Result<(), Error> {
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
            let op = Op::MakeDirectory { path: path.clone(), meta: meta.clone() };
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

    /// Marks a path and all above it as holding something that stays on `side`.
    pub(super) fn keep(&mut self, path: &RelPath, side: Side) {
        let mut path = path.clone();
        loop {
            if let Some(pending) = self.pending.get_mut(&path)
                && pending.removal.as_ref().is_some_and(|(_, from, _)| *from == side)
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
    pub(super) fn hold(&mut self, directory: &RelPath) {
        if self.pending.contains_key(directory) {
            return;
        }
        if let Some((inside, a, b)) = self.inside.as_ref().filter(|(p, ..)| p == directory) {
            let entries = Pair { a: Some(a.clone()), b: Some(b.clone()) };
            let pending = Pending { entries, ..Pending::default() };
            self.pending.insert(inside.clone(), pending);
        }
    }

    /// Notes that something changes in the directory that holds `path`.
    pub(super) fn touch(&mut self, side: Side, path: &RelPath) {
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
    pub(super) fn settle_later(
        &mut self,
        side: Side,
        path: &RelPath,
        meta: Meta,
        differs: bool,
    ) -> u32 {
        let pending = self.pending.entry(path.clone()).or_default();
        if let Some((id, _, already)) = pending.settle.on_mut(side) {
            *already |= differs;
            return *id;
        }
        let id = self.plan.reserve();
        *pending.settle.on_mut(side) = Some((id, meta, differs));
        id
    }

    /// Finishes the directories that no item after `next` can be in, each after those in it and else
    /// in order, so that the plan is the same whatever items there were between them.
    pub(super) fn flush(&mut self, next: Option<&RelPath>) -> Result<(), Error> {
        let through: Vec<RelPath> = match next {
            Some(next) => {
                let before = self.pending.range(..next.clone());
                before.map(|(path, _)| path).filter(|path| !next.is_within(path)).cloned().collect()
            }
            None => self.pending.keys().cloned().collect(),
        };
        for path in innermost_first(through) {
            let Some(pending) = self.pending.remove(&path) else {
                continue;
            };
            if let Some((id, side, mut op)) = pending.removal {
                if !pending.kept {
                    self.link_in_place(id, side, pending.group, &mut op);
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
                    let op = Op::Settle { path: path.clone(), meta, differs };
                    self.plan.push(id, side, op).map_err(Error::Spool)?;
                }
            }
        }
        Ok(())
    }

    /// Makes what replaces a directory another name of its inode, or else the name that others are
    /// linked to from here on.
    pub(super) fn link_in_place(&mut self, id: u32, side: Side, group: Option<usize>, op: &mut Op) {
        let (Some(group), Op::ReplaceDirectory { path, leader, after, leader_expected, .. }) =
            (group, op)
        else {
            return;
        };
        let group = &mut self.links.on_mut(side).groups[group];
        leader.clone_from(&group.stands);
        if group.stands.is_none() {
            group.stands = Some(path.clone());
            group.leader_step = Some(id);
        } else if group.leader_goes {
            // What stands is the first of those that are linked to the leader before it goes.
            *after = group.last_link(|| self.plan.reserve());
        } else {
            *leader_expected = group.leader_expected;
            if leader_expected.is_none() {
                // The leader may come later than this; then its step gets its number here.
                *after = Some(*group.leader_step.get_or_insert_with(|| self.plan.reserve()));
            }
        }
    }
}

/// Brings sorted paths into an order in which each comes after those below it.
fn innermost_first(sorted: Vec<RelPath>) -> Vec<RelPath> {
    let mut ordered = Vec::with_capacity(sorted.len());
    let mut open: Vec<RelPath> = Vec::new();
    for path in sorted {
        while let Some(above) = open.pop_if(|above| !path.is_within(above)) {
            ordered.push(above);
        }
        open.push(path);
    }
    ordered.extend(open.into_iter().rev());
    ordered
}
