//! What one observer makes of one place, probe by probe.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// How many probes make a change. All at least 1.
///
/// `rise` and `fall` are HAProxy's, in a row. `lapses` and `ok` are gdnsd's idea: failures that are
/// not in a row count as well until a clean run clears them, which catches a brown-out that loses
/// a third of all requests and never three in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// Successes in a row that make it up.
    pub rise: u8,
    /// Failures in a row that make it down.
    pub fall: u8,
    /// Failures that make it down though successes lie between them.
    pub lapses: u8,
    /// Successes in a row after which earlier failures are forgotten.
    pub ok: u8,
}

impl Default for Thresholds {
    /// With a probe every two seconds: down after 6 s without an answer, up after 10 s of them.
    fn default() -> Thresholds {
        Thresholds { rise: 5, fall: 3, lapses: 6, ok: 10 }
    }
}

impl Thresholds {
    /// Runs are not counted further than this: beyond it nothing changes any more.
    fn most(self) -> u8 {
        self.rise.max(self.fall).max(self.ok)
    }
}

/// What a detector believes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Health {
    /// Too few probes so far.
    #[default]
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

/// One observer's view of one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Detector {
    health: Health,
    /// Whether the last probe succeeded.
    last: bool,
    /// How many probes in a row ended as the last one did.
    run: u8,
    /// Failures that no clean run has cleared.
    failures: u8,
    /// When the controller got the last result; none before the first.
    seen: Option<Timestamp>,
}

impl Detector {
    /// What it believes.
    pub fn health(&self) -> Health {
        self.health
    }

    /// When the controller got the last result.
    pub fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// Takes one result that arrived at `now`.
    pub fn record(&mut self, thresholds: Thresholds, up: bool, now: Timestamp) {
        let most = thresholds.most();
        self.run = if self.last == up { self.run.saturating_add(1).min(most) } else { 1 };
        self.last = up;
        self.seen = Some(now);
        if up {
            if self.run >= thresholds.ok {
                self.failures = 0;
            }
            if self.health != Health::Up && self.run >= thresholds.rise {
                self.health = Health::Up;
                self.failures = 0;
            }
        } else {
            self.failures = self.failures.saturating_add(1).min(thresholds.lapses);
            if self.run >= thresholds.fall || self.failures >= thresholds.lapses {
                self.health = Health::Down;
            }
        }
    }

    /// Whether more results like the last one change nothing but when it was seen.
    pub(super) fn is_saturated(&self, thresholds: Thresholds) -> bool {
        let mut next = *self;
        next.record(thresholds, self.last, Timestamp::default());
        next.seen = self.seen;
        next == *self
    }

    pub(super) fn forget_when(&mut self) {
        self.seen = None;
    }

    pub(super) fn set_seen(&mut self, now: Timestamp) {
        self.seen = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(results: &str) -> Health {
        let mut detector = Detector::default();
        for result in results.chars() {
            detector.record(Thresholds::default(), result == '+', Timestamp::default());
        }
        detector.health
    }

    #[test]
    fn a_detector_rises_falls_and_wears_out() {
        for (results, health) in [
            ("", Health::Unknown),
            ("++++", Health::Unknown),
            ("+++++", Health::Up),
            ("--", Health::Unknown),
            ("---", Health::Down),
            ("+++++--", Health::Up),
            ("+++++---", Health::Down),
            ("+++++--+--+", Health::Up),
            ("+++++--+--+-+-", Health::Down),
            ("+++++--+--+-++++++++++-", Health::Up),
            ("---++++", Health::Down),
            ("---++++-+++++", Health::Up),
        ] {
            assert_eq!(after(results), health, "{results}");
        }
    }
}
