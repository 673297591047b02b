//! Local files, reached through held descriptors.
//!
//! A path is walked component by component, and everything after that happens in the folder that
//! was reached: whoever swaps a directory for a link meanwhile gains nothing. What is new is made
//! with mode 0600 or 0700 under a temporary name beside its place, synced, and then given its name.
//!
//! Where root works in somebody else's home, everything on the way below it must belong to that
//! user or to root, no link is followed, and new files are given to that user.

mod disk;
mod document;
mod error;
mod facts;
#[cfg(test)]
mod faults;
mod folder;
mod lock;
mod pair;

pub use document::{Document, read_secret, read_secret_stream};
pub use error::FileError;
pub use facts::Inspection;
pub use pair::{Existing, KeyFiles};
