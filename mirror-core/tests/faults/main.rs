//! The disk fails, the process dies, the power goes, somebody is quicker: at every single call.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod crash;
mod each_call;
mod ground;
mod race;
mod remote;
mod scenario;
#[path = "../../../examples/tests/support/tree.rs"]
#[allow(dead_code, reason = "shared with the tests of the programs")]
mod tree;
mod whole;
