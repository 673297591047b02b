//! The loop that a controller lives in, and the one that an observer does.
//!
//! [`Watch`] probes every place once an interval and makes a report of it. [`Controller`] takes reports, orders
//! and what became of publishing, steps the rules, writes down what happened and what came of it, and
//! only then has name servers told. It can be stopped at any instant: what was decided is in the
//! journal, what the name servers hold says the rest, and publishing twice is publishing once.
//!
//! Threads: the loop itself; one that publishes, so that a name server which hangs holds up nothing; and
//! what the caller brings, who feeds [`Input`]s from wherever they come.

mod controller;
mod orders;
mod publish;
mod watch;

use crate::decision::Timestamp;

pub use controller::{Controller, DaemonError, Heard, Input, Pace};
pub use orders::{Order, OrderError, Orders, Views};
pub use publish::{Held, MemoryPublish, Publish, Told, ZonePublish, service_of};
pub use watch::{Place, Watch};

/// The time, from the system's clock.
pub fn now() -> Timestamp {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the edge: a daemon may look at the clock"
    )]
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
