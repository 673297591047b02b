//! What the tests of `mirror` share: a ground to work on, trees to mirror, a runner, and peers to ask.
#![allow(dead_code, unused_imports, reason = "every test file uses its own part of this folder")]
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

pub(crate) mod edit;
pub(crate) mod every_kind;
pub(crate) mod ground;
pub(crate) mod mounts;
pub(crate) mod peer;
pub(crate) mod relay;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod trace;
pub(crate) mod tree;

pub(crate) use every_kind::EveryKind;
pub(crate) use ground::{Ground, am_root, settle};
pub(crate) use mounts::Mounts;
pub(crate) use peer::{assert_rsync_agrees, peer};
pub(crate) use run::{Mirror, Run};
pub(crate) use server::Server;
pub(crate) use tree::{assert_level, assert_untouched, data_map, names_in, snapshot, stamps};
