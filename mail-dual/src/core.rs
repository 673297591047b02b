//! Deciding, without clock, randomness, disk or network.

pub(crate) mod dsn;
pub(crate) mod leg;
pub(crate) mod leg_name;
pub(crate) mod retry;
pub(crate) mod route;
pub(crate) mod scheduler;
pub(crate) mod transition;
