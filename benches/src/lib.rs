//! Deterministic workloads for the benchmarks, and what tells two trees apart.
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

pub mod digest;
mod error;
pub mod walk;
pub mod workload;

pub use error::Error;
