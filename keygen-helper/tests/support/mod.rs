//! What the tests of this crate share: real peers, each private to one test.

#![allow(dead_code, reason = "every test file uses its own part of this folder")]
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

pub(crate) mod homes;
pub(crate) mod keys;
#[path = "../../../examples/tests/support/peer.rs"]
pub(crate) mod peer;
pub(crate) mod sshd;
pub(crate) mod table;
