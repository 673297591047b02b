//! Edges in memory, and edges that fail, for the tests of whoever embeds this crate.

mod clock;
mod disk;
mod leg;

pub use clock::ManualClock;
pub use disk::{Fault, MemoryDisk};
pub use leg::{Behaviour, MemoryLeg};
