//! What the example programs share: exit codes, the progress bar, how results are told, and the
//! commands of `keys`.

pub mod dates;
pub mod keys;
pub mod outcome;
pub mod progress;
