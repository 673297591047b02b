//! What the base learns from a plan that is carried out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::entry::Side;
use crate::manifest::Record;
use crate::path::RelPath;
use crate::spool::Spool;

/// What the base has to learn when the plan is carried out, in the order of listings.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LedgerItem {
    pub(crate) path: RelPath,
    /// What to remember; None to forget the path.
    pub(crate) record: Option<Box<Record>>,
    /// The side whose entry the step makes; its identity is known only afterwards.
    pub(crate) target: Side,
    /// The step after which the target's entry is as it stays.
    pub(crate) done: Option<u32>,
    /// The step that reads the content.
    pub(crate) content: Option<u32>,
    /// A step without which the path is not where it is said to be.
    pub(crate) requires: Option<u32>,
}

/// Everything for the base to learn.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) items: Spool<LedgerItem>,
    /// Directories that change only through what is in them; they come out of order.
    pub(crate) touched: BTreeMap<(RelPath, crate::path::Name), LedgerItem>,
    /// The root itself.
    pub(crate) root: Option<LedgerItem>,
}

impl Ledger {
    /// Whether there is nothing new to remember.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.touched.is_empty() && self.root.is_none()
    }
}
