//! Makes one file tree equal to another.

mod capacity;
mod entry;
mod error;
mod fs;
mod guard;
mod journal;
mod listing;
mod manifest;
mod path;
mod plan;
mod root;
mod spool;
mod staged;
mod state;

pub use capacity::{Capacity, Need};
pub use entry::{Bytes, Digest, Entry, Identity, Kind, Meta, Problem, Side, Timestamp, Xattrs};
pub use error::Error;
pub use guard::{BadDeleteLimit, DeleteLimit, Guards, Refused};
pub use listing::{Listing, Listings, Tree};
pub use manifest::{Block, Manifest, Record};
pub use path::{HISTORY_DIRECTORY, Name, PathError, RelPath, TEMPORARY_PREFIX, escape};
