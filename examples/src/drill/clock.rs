//! The one clock that everything in a drill is timed by.

pub(super) use dns_failover::daemon::now;
use dns_failover::decision::Timestamp;

/// Seconds from one instant to a later one.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).to_std().as_secs_f64()
}
