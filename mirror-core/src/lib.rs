//! Makes one file tree equal to another.

mod capacity;
mod delta;
mod entry;
mod error;
mod filter;
mod fs;
mod guard;
mod listing;
mod manifest;
mod path;
mod plan;
mod progress;
mod root;
mod verify;

pub use capacity::{Capacity, Need};
pub use delta::{Chunk, ChunkSize, Chunker};
pub use entry::{Bytes, Digest, Entry, Identity, Kind, Meta, Problem, Side, Timestamp, Xattrs};
pub use error::Error;
pub use filter::{Filter, FilterBuilder, Verdict};
pub use guard::{BadDeleteLimit, DeleteLimit, Guards, Refused};
pub use listing::{Listing, Listings, Tree};
pub use manifest::{Block, Record};
pub use path::{HISTORY_DIRECTORY, Name, PathError, RelPath, TEMPORARY_PREFIX, escape};
pub use progress::{Cancel, Event, Observer, Phase};
pub use verify::{BadLevel, Difference, Independent, Level, verify_independently};
