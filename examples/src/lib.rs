//! What the example programs share: where trees are and how they are reached, exit codes, the
//! progress bar, how results are told, the commands of `keys`, `zones`, `site` and
//! `failover`, and `network.toml`.

pub mod agent;
pub mod capped;
pub mod dates;
#[cfg(feature = "drill")]
pub mod drill;
pub mod failover;
#[cfg(feature = "ssh")]
pub mod host_keys;
pub mod keys;
pub mod mail;
pub mod network;
pub mod outcome;
pub mod place;
pub mod progress;
pub mod sites;
pub mod zones;
