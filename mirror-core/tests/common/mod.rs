//! What the tests of planning share: a notation for trees, and a model that carries plans out.

#![allow(dead_code, reason = "each test uses its part of this")]
#![allow(unreachable_pub, reason = "a module of several test crates")]

pub mod model;
pub mod notation;
