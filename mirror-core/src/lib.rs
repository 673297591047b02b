//! Makes one file tree equal to another.

mod apply;
mod capacity;
mod delta;
mod endpoint;
mod entry;
mod error;
mod filter;
mod fs;
mod guard;
mod journal;
mod json;
mod listing;
mod local;
mod manifest;
mod mirror;
mod path;
mod plan;
mod policy;
mod progress;
mod read;
mod reconcile;
mod remember;
mod root;
mod scan;
mod spool;
mod staged;
mod state;
mod verify;

pub use capacity::{Capacity, Need};
pub use delta::{Chunk, ChunkSize, Chunker};
pub use endpoint::{Content, Durability, Endpoint, Job, Opened, Outcome, Outcomes, ScanRequest};
pub use entry::{Bytes, Digest, Entry, Identity, Kind, Meta, Problem, Side, Timestamp, Xattrs};
pub use error::Error;
pub use filter::{Filter, FilterBuilder, Verdict};
pub use guard::{BadDeleteLimit, DeleteLimit, Guards, Refused};
pub use json::write_json_line;
pub use listing::{Listing, Listings, Tree};
pub use local::LocalTree;
pub use manifest::{Block, Manifest, Record, RootId};
pub use mirror::{Approved, Mirror, Planned, Report};
pub use path::{HISTORY_DIRECTORY, Name, PathError, RelPath, TEMPORARY_PREFIX, escape};
pub use plan::{Conflict, ConflictKind, Counts, Expected, Op, Plan, Step, Summary};
pub use policy::{
    Capabilities, Compare, Direction, Extraneous, Fidelity, OnConflict, Ownership, Policy,
};
pub use progress::{Cancel, Event, Observer, Phase};
pub use reconcile::reconcile;
pub use verify::{BadLevel, Difference, Independent, Level, verify_independently};
