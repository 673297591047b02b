//! Reading files where only their contents tell whether they are equal.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
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
        let next = AtomicUsize::new(0);
        let readings = Mutex::new(vec![[None, None]; doubts.len()]);
        let work = || {
            while !self.cancel.is_cancelled() {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(doubt) = doubts.get(index) else {
                    return;
                };
                let a = self.digest(Side::A, &doubt.paths[0], &doubt.entries[0]);
                // What A does not have B need not be read for.
                let b = a.and_then(|_| self.digest(Side::B, &doubt.paths[1], &doubt.entries[1]));
                readings.lock().unwrap_or_else(PoisonError::into_inner)[index] = [a, b];
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.threads.min(doubts.len()) {
                scope.spawn(work);
            }
            work();
        });
        self.cancel.check()?;
        Ok(readings.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn digest(&self, side: Side, path: &RelPath, entry: &Entry) -> Option<Digest> {
        let known = entry.digest;
        known.or_else(|| self.trees.on(side).digest(path, entry).ok().flatten())
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
