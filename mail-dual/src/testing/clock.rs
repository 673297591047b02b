//! A clock that goes when it is told to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::Clock;
use crate::time::Timestamp;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicU64,
    numbers: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> ManualClock {
        ManualClock { now: AtomicU64::new(now.as_millis()), numbers: AtomicU64::new(1) }
    }

    /// Lets time pass. Workers notice when they look at the queue next; flush it to make them.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.now.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    fn random(&self) -> u128 {
        u128::from(self.numbers.fetch_add(1, Ordering::SeqCst))
    }
}
