//! When to try again: a message that was put off, and a leg that is away.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::reply::Phase;
use crate::time::Timestamp;

/// How long to wait between attempts, and for how long to try (RFC 5321 §4.5.4.1).
///
/// The legs are the operator's own hosts, so the waits start shorter than the 30 minutes that
/// are asked of strangers.
///
/// ```
/// use mail_dual::RetryPolicy;
/// use std::time::Duration;
///
/// let policy = RetryPolicy::default();
/// let first = policy.wait(0, 0);
/// assert!(first >= policy.first * 3 / 4 && first <= policy.first);
/// assert!(policy.wait(40, u64::MAX) <= policy.longest);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The wait after the first attempt that was put off; doubled after each other.
    pub first: Duration,
    /// The longest wait between two attempts.
    pub longest: Duration,
    /// The wait before a leg that is away is tried again; doubled after each failure.
    pub leg_first: Duration,
    /// The longest wait for a leg.
    pub leg_longest: Duration,
    /// How long to wait for an answer about a message in doubt before it is sent again.
    pub doubt: Duration,
    /// How long to try when no leg has delivered; then the sender is told.
    pub nobody_reached: Duration,
    /// How long a leg is tried when another has delivered.
    pub other_reached: Duration,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            first: Duration::from_secs(60),
            longest: Duration::from_secs(3600),
            leg_first: Duration::from_secs(2),
            leg_longest: Duration::from_secs(120),
            doubt: Duration::from_secs(600),
            nobody_reached: DAY * 5,
            other_reached: DAY * 30,
        }
    }
}

impl RetryPolicy {
    /// The wait after attempt number `attempt`, counted from 0: doubled each time, and up to a
    /// quarter shorter by `seed`, so that what failed together is not tried together.
    pub fn wait(&self, attempt: u32, seed: u64) -> Duration {
        spread(self.first, self.longest, attempt, seed)
    }

    /// The wait after the leg has failed so many times in a row, counted from 0.
    pub fn leg_wait(&self, failures: u32, seed: u64) -> Duration {
        spread(self.leg_first, self.leg_longest, failures, seed)
    }
}

fn spread(first: Duration, longest: Duration, doublings: u32, seed: u64) -> Duration {
    let wait = first.saturating_mul(1 << doublings.min(30)).min(longest);
    let quarter = u64::try_from((wait / 4).as_millis()).unwrap_or(u64::MAX - 1);
    wait - Duration::from_millis(seed % (quarter + 1))
}

/// Keeps work from a leg that is away, but for one attempt at a time that finds out whether it
/// still is: ten thousand messages for a dead host make as many connections as one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Breaker {
    failures: u32,
    /// Failures in the middle of a session, which one message can cause, since the last success.
    sessions: u32,
    /// When the leg may be tried again; none while it is believed to be there.
    until: Option<Timestamp>,
    probing: bool,
}

/// So many sessions in a row have to break before the leg is blamed and not the messages.
const SESSIONS: u32 = 3;

impl Breaker {
    /// Whether work may go to the leg. While it is away, one caller gets true when it is due, and
    /// must say how it went.
    pub fn admits(&mut self, now: Timestamp) -> bool {
        match self.until {
            None => true,
            Some(until) if now >= until && !self.probing => {
                self.probing = true;
                true
            }
            Some(_) => false,
        }
    }

    /// Whether [`admits`](Self::admits) would say yes; changes nothing.
    pub fn would_admit(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now >= until && !self.probing)
    }

    /// When the leg is to be tried again; none while it is believed to be there.
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.until
    }

    /// The leg answered. True when it was away before.
    pub fn succeeded(&mut self) -> bool {
        let was_open = self.until.is_some();
        *self = Breaker::default();
        was_open
    }

    /// The caller that was let through had nothing to try after all.
    pub fn unused(&mut self) {
        self.probing = false;
    }

    /// The leg failed in `phase`. True when it was believed to be there before and is not now.
    pub fn failed(
        &mut self,
        phase: Phase,
        now: Timestamp,
        policy: &RetryPolicy,
        seed: u64,
    ) -> bool {
        let was_open = self.until.is_some();
        if phase.concerns_the_message() && !was_open {
            self.sessions += 1;
            if self.sessions < SESSIONS {
                return false;
            }
        }
        self.until = Some(now.saturating_add(policy.leg_wait(self.failures, seed)));
        self.failures = self.failures.saturating_add(1);
        self.probing = false;
        !was_open
    }

    /// Tries at once, whatever the waiting time.
    pub fn flush(&mut self, now: Timestamp) {
        if self.until.is_some() {
            self.until = Some(now);
        }
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_secs(60),
        longest: Duration::from_secs(3600),
        leg_first: Duration::from_secs(2),
        leg_longest: Duration::from_secs(120),
        doubt: Duration::from_secs(600),
        nobody_reached: Duration::from_secs(432_000),
        other_reached: Duration::from_secs(2_592_000),
    };

    #[test]
    fn s3_a_leg_that_is_away_gets_one_attempt_an_interval() {
        let mut breaker = Breaker::default();
        let start = Timestamp::from_millis(1_000_000);
        assert!(breaker.failed(Phase::Connect, start, &POLICY, 0));
        let mut attempts = 0;
        for second in 0..3600 {
            let now = start.saturating_add(Duration::from_secs(second));
            for _ in 0..10_000 {
                if breaker.admits(now) {
                    attempts += 1;
                    assert!(!breaker.failed(Phase::Connect, now, &POLICY, 0));
                }
            }
        }
        assert!((30..=36).contains(&attempts), "{attempts}");
        assert!(breaker.succeeded() && breaker.admits(start));
    }

    #[test]
    fn one_message_that_breaks_sessions_does_not_close_a_leg() {
        let mut breaker = Breaker::default();
        let now = Timestamp::default();
        for _ in 0..10 {
            assert!(!breaker.failed(Phase::Data, now, &POLICY, 0));
            assert!(!breaker.failed(Phase::Dot, now, &POLICY, 0));
            assert!(!breaker.succeeded());
        }
        assert!(!breaker.failed(Phase::Data, now, &POLICY, 0));
        assert!(!breaker.failed(Phase::Data, now, &POLICY, 0));
        assert!(breaker.failed(Phase::Data, now, &POLICY, 0));
    }

    #[test]
    fn s2_waits_grow_and_are_spread() {
        let waits: Vec<u64> = (0..8).map(|attempt| POLICY.wait(attempt, 0).as_secs()).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(POLICY.wait(0, 15_000), Duration::from_secs(45));
        assert!((2700..=3600).contains(&POLICY.wait(u32::MAX, u64::MAX).as_secs()));
    }
}
