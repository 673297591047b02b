//! What the example programs share: where trees are and how they are reached, exit codes, the
//! progress bar, and how results are told.

#[cfg(feature = "ssh")]
pub mod host_keys;
pub mod outcome;
pub mod place;
pub mod progress;
