//! Writing down what both sides agree on now: the old base, less what is gone, with what came.
//!
//! A path enters only when its step was done; everything that failed, was filtered or could not be
//! read keeps the ancestor it had, so that it never looks deleted later.

use std::collections::BTreeMap;

use crate::endpoint::{Outcome, Outcomes};
use crate::entry::Side;
use crate::error::Error;
use crate::listing::Pair;
use crate::manifest::{Block, Manifest, ManifestWriter, Record};
use crate::path::{Name, RelPath};
use crate::reconcile::{Ledger, LedgerItem};

/// What became of the steps on both sides.
pub(crate) struct Learned<'a> {
    pub(crate) outcomes: Pair<&'a Outcomes>,
}

impl Learned<'_> {
    fn outcome(&self, side: Side, id: u32) -> Option<&Outcome> {
        self.outcomes.on(side).steps.get(id as usize)?.as_ref()
    }

    /// What an item comes to: None when its steps were not all done, else what to remember.
    pub(crate) fn resolve(&self, item: LedgerItem) -> Option<Option<Record>> {
        let on_either = |id| [Side::B, Side::A].iter().any(|&s| self.outcome(s, id).is_some());
        if item.requires.is_some_and(|id| !on_either(id)) {
            return None;
        }
        let Some(mut record) = item.record else {
            return item.done.is_none_or(on_either).then_some(None);
        };
        if let Some(done) = item.done {
            let outcome = self.outcome(item.target, done)?;
            record.identity[item.target as usize] = Some(outcome.identity);
        }
        if let Some(outcome) = item.content.and_then(|id| self.outcome(item.target, id)) {
            record.digest = outcome.digest;
            if let Some(fresh) = &outcome.fresh {
                record.kind = fresh.kind.clone();
                record.meta = fresh.meta.clone();
                record.meta_on_b = None;
                let source = item.target.other() as usize;
                record.identity[source] = Some(fresh.lasting_identity());
            }
        }
        Some(Some(*record))
    }

    /// Writes the blocks of the new base.
    pub(crate) fn write(
        &self,
        base: Option<&Manifest>,
        ledger: Ledger,
        writer: &mut ManifestWriter,
    ) -> Result<(), Error> {
        let items = ledger.items;
        let mut items = items.iter().map(|item| item.map_err(Error::Spool)).peekable();
        let mut touched = ledger.touched.into_iter().peekable();
        let old = base.map(Manifest::blocks).into_iter().flatten();
        let mut old = old.map(|block| block.map_err(Error::Spool)).peekable();
        loop {
            let mut next: Option<RelPath> = None;
            let mut consider = |directory: RelPath| {
                if next.as_ref().is_none_or(|least| directory < *least) {
                    next = Some(directory);
                }
            };
            match items.peek() {
                Some(Ok(item)) => consider(item.path.parent()),
                Some(Err(_)) => return items.next().map_or(Ok(()), |item| item.map(drop)),
                None => {}
            }
            match old.peek() {
                Some(Ok(block)) => consider(block.directory.clone()),
                Some(Err(_)) => return old.next().map_or(Ok(()), |block| block.map(drop)),
                None => {}
            }
            if let Some(((directory, _), _)) = touched.peek() {
                consider(directory.clone());
            }
            let Some(directory) = next else { return Ok(()) };
            let mut records: BTreeMap<Name, Record> = BTreeMap::new();
            let is_here = |block: &Result<Block, Error>| {
                block.as_ref().is_ok_and(|block| block.directory == directory)
            };
            if let Some(Ok(block)) = old.next_if(is_here) {
                records.extend(block.records.into_iter().map(|r| (r.name.clone(), r)));
            }
            let mut learn = |item: LedgerItem| {
                let name = item.path.name();
                match self.resolve(item) {
                    Some(Some(record)) => drop(records.insert(name, record)),
                    Some(None) => drop(records.remove(&name)),
                    None => {}
                }
            };
            while let Some(item) = items
                .next_if(|item| item.as_ref().is_ok_and(|item| item.path.parent() == directory))
            {
                learn(item?);
            }
            while let Some((_, item)) = touched.next_if(|((of, _), _)| *of == directory) {
                learn(item);
            }
            if !records.is_empty() {
                let block = Block { directory, records: records.into_values().collect() };
                writer.push(&block).map_err(Error::Spool)?;
            }
        }
    }
}
