//! Deterministic workloads, and what is needed to run the same work through
//! `mirror` and its peers and print the ratios.
//!
//! The story in the order data flows: [`workload`] makes trees, [`peers`] knows
//! how each program is asked to mirror one, [`measure`] runs it and reads what
//! it cost, [`walk`] and [`digest`] say whether it did the work, [`scenario`]
//! alternates the programs round by round, over a server of its own ([`sshd`]) and a distance
//! ([`wan`]) where the target is far, [`table`] prints the medians, and
//! [`results`] puts them between their markers in `RESULTS.md`.
//!
//! ```
//! use benches::{digest, workload};
//!
//! let folder = tempfile::tempdir()?;
//! let made = workload::small_files(&folder.path().join("a"), 7, 50)?;
//! workload::small_files(&folder.path().join("b"), 7, 50)?;
//! assert_eq!(made.files, 50);
//! assert_eq!(digest::tree(&folder.path().join("a"))?, digest::tree(&folder.path().join("b"))?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: reading arguments and choosing what to run, which is the `compare`
//! program's; the libraries themselves.

pub mod digest;
pub mod environment;
mod error;
pub mod measure;
pub mod peers;
pub mod results;
pub mod scenario;
pub mod slow_link;
pub mod sshd;
pub mod table;
pub mod walk;
pub mod wan;
pub mod workload;

pub use error::Error;
