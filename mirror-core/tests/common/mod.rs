//! What the tests share: a notation for trees and a model that carries plans out; folders to work
//! in, and agents to work with.

#![allow(dead_code, reason = "each test uses its part of this")]
#![allow(unreachable_pub, reason = "a module of several test crates")]

pub mod broken;
pub mod disk;
pub mod link;
pub mod model;
pub mod notation;
