//! What is among the items at all, counted in one go, so that nobody looks for what there is none
//! of.

use super::compare::{Content, Diff, Item};
use crate::entry::Side;
use crate::error::Error;
use crate::spool::Spool;

/// What is among the items.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Whether there are files that only reading tells apart.
    pub(crate) holds_doubt: bool,
    /// Whether any entry has several names.
    pub(crate) holds_links: bool,
    /// Whether sides A and B have files whose content may not be wanted under its name any more.
    pub(crate) holds_spare_files: [bool; 2],
}

impl Census {
    pub(crate) fn of(items: &Spool<Item>) -> Result<Census, Error> {
        let mut census = Census::default();
        for item in items.iter() {
            if let Item::Diff(diff) = item.map_err(Error::Spool)? {
                census.count(&diff);
            }
        }
        Ok(census)
    }

    fn count(&mut self, diff: &Diff) {
        self.holds_doubt |= diff.content == Content::Unknown;
        for side in [Side::A, Side::B] {
            let Some(entry) = diff.on(side) else { continue };
            self.holds_links |= !entry.kind.is_directory() && entry.identity.links > 1;
            self.holds_spare_files[side as usize] |=
                entry.kind.is_file() && !matches!(diff.content, Content::Same(_));
        }
    }
}
