//! What the example programs share: where trees are and how they are reached, exit codes, the
//! progress bar, how results are told, and the commands of `keys`.

pub mod dates;
#[cfg(feature = "ssh")]
pub mod host_keys;
pub mod keys;
pub mod mail;
pub mod outcome;
pub mod place;
pub mod progress;
