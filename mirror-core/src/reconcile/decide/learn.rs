//! What the base learns from each decision, and the step after which it is true.

use super::Decider;
use crate::entry::{Entry, Side};
use crate::error::Error;
use crate::manifest::Record;
use crate::path::RelPath;
use crate::reconcile::compare::{Content, Diff};
use crate::reconcile::ledger::LedgerItem;

impl Decider<'_, '_> {
    pub(super) fn forget(&mut self, path: RelPath, done: Option<u32>) -> Result<(), Error> {
        if !self.rules.remember {
            return Ok(());
        }
        let item =
            LedgerItem { path, record: None, target: Side::B, done, content: None, requires: None };
        self.note(&item)
    }

    pub(super) fn note(&mut self, item: &LedgerItem) -> Result<(), Error> {
        self.ledger.items.push(item).map(drop).map_err(Error::Spool)
    }

    pub(super) fn remember(
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
    pub(super) fn move_with(&mut self, from: &RelPath, is_top: bool) -> Option<u32> {
        if is_top && !self.moving.contains_key(from) {
            let id = self.plan.reserve();
            self.moving.insert(from.clone(), id);
        }
        let before = self.moving.range(..=from.clone()).next_back();
        before.filter(|(top, _)| from.is_within(top)).map(|(_, id)| *id)
    }

    pub(super) fn moved_with(&self, path: &RelPath) -> Option<u32> {
        let before = self.moved_directories.range(..=path.clone()).next_back();
        before.filter(|(top, _)| path.is_within(top)).map(|(_, id)| *id)
    }

    /// What to remember of a path: the source's entry, and the target's as it is or as the step
    /// `done` leaves it.
    pub(super) fn ledger_item(
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
        LedgerItem { path: diff.path.clone(), record, target, done, content, requires: None }
    }
}
