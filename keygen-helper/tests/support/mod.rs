//! What the tests of this crate share: real peers, each private to one test.

#![allow(dead_code, reason = "no test needs all of it")]

pub(crate) mod keys;
#[path = "../../../examples/tests/support/peer.rs"]
pub(crate) mod peer;
pub(crate) mod sshd;
pub(crate) mod table;
