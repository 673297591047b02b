//! Reading files where only their contents tell whether they are equal.

use std::thread;

use crate::endpoint::Endpoint;
use crate::entry::{Digest, Entry, Side};
use crate::error::Error;
use crate::fs::Folder;
use crate::listing::Pair;
use crate::path::RelPath;
use crate::progress::Cancel;
use crate::reconcile::moves::{Doubt, Reading};
use crate::reconcile::{Content, Item};
use crate::spool::Spool;

/// Items that are looked at together.
const BATCH: usize = 2048;

/// Reads the files of doubts from both trees on several threads.
#[derive(Debug)]
pub(crate) struct ContentReader<'a> {
    pub(crate) trees: Pair<&'a dyn Endpoint>,
    pub(crate) threads: usize,
    pub(crate) cancel: &'a Cancel,
}

impl ContentReader<'_> {
    /// The digests of both files of each doubt. A file that changes or cannot be read has none.
    pub(crate) fn read(&self, doubts: &[Doubt]) -> Result<Vec<Reading>, Error> {
        let all: Vec<usize> = (0..doubts.len()).collect();
        if self.trees.a.as_local().is_none() || self.trees.b.as_local().is_none() {
            // Machines that work at the same time.
            let [a, b] = thread::scope(|scope| {
                let a = scope.spawn(|| self.read_on(Side::A, doubts, &all));
                let b = self.read_on(Side::B, doubts, &all);
                [a.join().unwrap_or(Err(Error::Cancelled)), b]
            });
            return Ok(a?.into_iter().zip(b?).map(|(a, b)| [a, b]).collect());
        }
        let mut readings: Vec<Reading> =
            self.read_on(Side::A, doubts, &all)?.into_iter().map(|a| [a, None]).collect();
        // What A does not have B need not be read for.
        let found: Vec<usize> = all.into_iter().filter(|&at| readings[at][0].is_some()).collect();
        let b = self.read_on(Side::B, doubts, &found)?;
        for (at, digest) in found.into_iter().zip(b) {
            readings[at][1] = digest;
        }
        Ok(readings)
    }

    /// The digests of one side's files of those doubts that `at` names.
    fn read_on(
        &self,
        side: Side,
        doubts: &[Doubt],
        at: &[usize],
    ) -> Result<Vec<Option<Digest>>, Error> {
        let of =
            |&at: &usize| (&doubts[at].paths[side as usize], &doubts[at].entries[side as usize]);
        let unknown: Vec<(&RelPath, &Entry)> =
            at.iter().map(of).filter(|(_, entry)| entry.digest.is_none()).collect();
        let tree = self.trees.on(side);
        let mut read = tree.digests(&unknown, self.threads, self.cancel)?.into_iter();
        let known = |at: &usize| of(at).1.digest;
        Ok(at.iter().map(|at| known(at).or_else(|| read.next().flatten())).collect())
    }

    /// Settles every doubt among `items`.
    pub(crate) fn settle(
        &self,
        items: Spool<Item>,
        folder: Option<Folder>,
    ) -> Result<Spool<Item>, Error> {
        let mut settled = Spool::new(folder);
        let mut batch = Vec::with_capacity(BATCH);
        for item in items.iter() {
            batch.push(item.map_err(Error::Spool)?);
            if batch.len() == BATCH {
                self.settle_batch(&mut batch, &mut settled)?;
            }
        }
        self.settle_batch(&mut batch, &mut settled)?;
        Ok(settled)
    }

    fn settle_batch(&self, batch: &mut Vec<Item>, settled: &mut Spool<Item>) -> Result<(), Error> {
        let doubts: Vec<Doubt> = batch.iter().filter_map(doubt).collect();
        let mut readings = self.read(&doubts)?.into_iter();
        for mut item in batch.drain(..) {
            if doubt(&item).is_some()
                && let (Item::Diff(diff), Some(reading)) = (&mut item, readings.next())
            {
                diff.content = match reading {
                    [Some(a), Some(b)] if a == b => Content::Same(Some(a)),
                    // What cannot be read is copied, which says why it cannot.
                    _ => Content::Different,
                };
                for (entry, digest) in [&mut diff.a, &mut diff.b].into_iter().zip(reading) {
                    if let Some(entry) = entry {
                        entry.digest = digest;
                    }
                }
            }
            settled.push(&item).map_err(Error::Spool)?;
        }
        Ok(())
    }
}

fn doubt(item: &Item) -> Option<Doubt> {
    let Item::Diff(diff) = item else { return None };
    match (&diff.a, &diff.b, diff.content) {
        (Some(a), Some(b), Content::Unknown) => Some(Doubt {
            paths: [diff.found_at(Side::A).clone(), diff.found_at(Side::B).clone()],
            entries: [a.clone(), b.clone()],
        }),
        _ => None,
    }
}
