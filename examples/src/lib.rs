//! What the example programs share: exit codes, the progress bar, and how results are told.

pub mod outcome;
pub mod progress;
