//! What is to be done, as data.
use crate::capacity::Need;
use crate::entry::Side;
use serde::{Deserialize, Serialize};

/// placeholder
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {}
/// placeholder
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// d
    pub deleted: u64,
    /// n
    pub need: Need,
}
impl Summary {
    /// x
    pub fn on(&self, _s: Side) -> Change {
        Change::default()
    }
    /// x
    pub fn entries_of(&self, _s: Side) -> u64 {
        0
    }
}
