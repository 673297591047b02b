//! Edges in memory, and edges that fail, for the tests of whoever embeds this crate.

mod disk;

pub use disk::{Fault, MemoryDisk};
