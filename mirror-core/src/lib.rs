//! Makes one file tree equal to another.

mod capacity;
mod entry;
mod error;
mod filter;
mod fs;
mod guard;
mod journal;
mod listing;
mod manifest;
mod path;
mod plan;
mod policy;
mod progress;
mod reconcile;
mod root;
mod spool;
mod staged;
mod state;

pub use capacity::{Capacity, Need};
pub use entry::{Bytes, Digest, Entry, Identity, Kind, Meta, Problem, Side, Timestamp, Xattrs};
pub use error::Error;
pub use filter::{Filter, FilterBuilder, Verdict};
pub use guard::{BadDeleteLimit, DeleteLimit, Guards, Refused};
pub use listing::{Listing, Listings, Tree};
pub use manifest::{Block, Manifest, Record};
pub use path::{HISTORY_DIRECTORY, Name, PathError, RelPath, TEMPORARY_PREFIX, escape};
pub use plan::{Conflict, ConflictKind, Counts, Expected, Op, Plan, Step, Summary};
pub use policy::{
    Capabilities, Compare, Direction, Extraneous, Fidelity, OnConflict, Ownership, Policy,
};
pub use progress::{Cancel, Event, Observer, Phase};
pub use reconcile::reconcile;
