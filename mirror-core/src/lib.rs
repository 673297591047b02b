//! Makes one file tree equal to another.
//!
//! Scan both sides, plan the difference, hold the plan against the guards, apply it. Only scanning
//! and applying touch a disk; a [`Plan`] is data that can be printed, stored and refused. What both
//! sides agreed on is remembered as a base, so that the next run reads no unchanged file,
//! recognises renames, and can tell a deletion on one side from a creation on the other.
//!
//! Two folders on a disk:
//!
//! ```
//! use mirror_core::{Guards, LocalTree, Mirror};
//!
//! # let folder = tempfile::tempdir()?;
//! # let (site, copy, state) = {
//! #     let at = |name| folder.path().join(name);
//! #     (at("site"), at("copy"), at("state"))
//! # };
//! # std::fs::create_dir(&site)?;
//! # std::fs::write(site.join("index.html"), "hello")?;
//! let source = LocalTree::open(&site)?;
//! let target = LocalTree::open_or_create(&copy)?;
//! let planned = Mirror::new(&source, &target).state(&state).plan()?;
//! println!("{}", planned.plan());
//! let report = planned.approve(&Guards::default())?.apply()?;
//! assert!(report.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Planning alone, without a disk:
//!
//! ```
//! use mirror_core::{Filter, Policy, Tree, reconcile};
//!
//! let source = Tree::from_files([("a.txt", "hello")])?;
//! let plan = reconcile(None, &source, &Tree::default(), &Policy::mirror(), &Filter::default())?;
//! assert_eq!(plan.to_string(), "copy a.txt\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: scheduling, logging set-up, reading `$HOME` or the environment, prompts.

mod agent;
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
mod remote;
mod root;
mod scan;
mod spool;
mod staged;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod transport;
mod verify;
mod whereabouts;
mod wire;

pub use agent::{AgentConfig, Limits, serve};
pub use capacity::{Capacity, Need};
pub use delta::{Chunk, ChunkSize, Chunker};
pub use endpoint::{
    Content, Durability, Endpoint, Job, Opened, Outcome, Outcomes, ScanRequest, Source,
};
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
pub use remote::{RemoteOptions, RemoteTree};
pub use transport::{
    AGENT_COMMAND, Destination, Ending, LastWords, Traffic, Transport, child, memory_pair,
    memory_pair_in_pieces, ssh_program,
};
#[cfg(feature = "ssh")]
pub use transport::{BadPin, HostKeyCheck, HostKeys, Login, Pin, Secret, SshOptions, ssh};
pub use verify::{BadLevel, Difference, Independent, Level, verify_independently};
pub use whereabouts::Whereabouts;
pub use wire::{LinkError, Patience, Standing};
