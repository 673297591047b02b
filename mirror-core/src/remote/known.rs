//! What this end remembers of a tree, as it is told to the agent so that it need not list what is
//! still the same.

use std::sync::Arc;

use super::scan::Pending;
use crate::entry::{Digest, Entry, Side};
use crate::manifest::Manifest;
use crate::path::RelPath;
use crate::wire::LinkError;
use crate::wire::gist::{self, GISTS_MAX, Gist, Whole};
use crate::wire::message::{DirectoryPart, HIDES_EXCLUDED, Known, OTHER_MOUNT};

/// A remembered tree by its gists.
#[derive(Debug)]
pub(super) struct Memory {
    base: Arc<Manifest>,
    side: Side,
    /// What stands for all of it; without that, or when nothing is left to be told, None.
    pub(super) whole: Option<Digest>,
    /// Each directory that is known well enough.
    pub(super) gists: Vec<Gist>,
}

impl Memory {
    pub(super) fn of(base: Arc<Manifest>, side: Side) -> Memory {
        let mut whole = Whole::of_record(&base.header().root, side);
        let mut gists = Vec::new();
        let mut blocks = base.blocks().map_while(Result::ok).peekable();
        let mut pending = vec![RelPath::root()];
        while let Some(directory) = pending.pop() {
            // What is in no remembered directory is not known.
            while blocks.next_if(|block| block.directory < directory).is_some() {}
            let block = blocks.next_if(|block| block.directory == directory);
            let records = block.map(|block| block.records).unwrap_or_default();
            match gist::of_records(&directory, &records, side) {
                Some(gist) => {
                    if let Some(whole) = &mut whole {
                        whole.add(&gist);
                    }
                    gists.push(gist);
                }
                None => whole = None,
            }
            let below = records.iter().rev().filter(|record| record.kind.is_directory());
            pending.extend(below.map(|record| directory.join_unchecked(&record.name)));
        }
        drop(blocks);
        gists.truncate(GISTS_MAX);
        Memory { base, side, whole: whole.map(|whole| whole.finish()), gists }
    }

    /// The directory that comes next, as it is remembered. An agent that says so of one that has
    /// changed might as well have listed it so.
    pub(super) fn part(&self, due: &Pending, said: &Known) -> Result<DirectoryPart, LinkError> {
        let unknown = LinkError::Protocol("a directory is called known that is not");
        let Known { flags, holes, .. } = said;
        if flags & !(HIDES_EXCLUDED | OTHER_MOUNT) != 0 {
            return Err(LinkError::Protocol("S22: a known directory with unknown flags"));
        }
        let block = self.base.block(&due.path).map_err(|_| unknown.clone())?;
        let records = block.as_ref().map_or(&[][..], |block| &block.records);
        let entries = records.iter().map(|record| gist::entry_of(record, self.side));
        let entries: Option<Vec<Entry>> = entries.collect();
        let mut entries = entries.ok_or(unknown)?;
        for (name, allocated) in holes {
            let at = entries.binary_search_by(|entry| entry.name.cmp(name));
            let at = at.map_err(|_| LinkError::Protocol("a file with holes that is not known"))?;
            entries[at].allocated = *allocated;
        }
        let (directory, flags) = (due.path.clone(), *flags);
        Ok(DirectoryPart { directory, entries, flags, ..DirectoryPart::default() })
    }
}
