//! The one clock that everything in a drill is timed by.

use std::time::{SystemTime, UNIX_EPOCH};

use dns_failover::decision::Timestamp;

/// Now, in milliseconds.
#[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Seconds from one instant to a later one.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).to_std().as_secs_f64()
}
