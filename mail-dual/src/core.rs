//! Deciding, without clock, randomness, disk or network.

pub(crate) mod leg;
pub(crate) mod retry;
