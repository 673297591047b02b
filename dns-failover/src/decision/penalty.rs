//! Flap damping in the shape of RFC 2439: what went down too often has to prove itself.

use serde::{Deserialize, Serialize};

use super::time::{Millis, Timestamp};

/// When a site that keeps going down is not moved back to.
///
/// Other than in RFC 2439, nothing is ever withdrawn: the service stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Damping {
    /// Added each time a site goes down.
    pub penalty: u32,
    /// At this much or more the site is suppressed.
    pub suppress: u32,
    /// At this much or less it is not any more.
    pub reuse: u32,
    /// In this time the penalty halves.
    pub half_life: Millis,
    /// So long after the last time the site went down, all is forgotten.
    pub forget: Millis,
}

impl Default for Damping {
    /// Cisco's well-known defaults.
    fn default() -> Damping {
        Damping {
            penalty: 1000,
            suppress: 2000,
            reuse: 750,
            half_life: Millis::from_mins(15),
            forget: Millis::from_mins(60),
        }
    }
}

/// How often a site went down of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Penalty {
    value: u32,
    at: Timestamp,
    suppressed: bool,
}

impl Penalty {
    /// Whether the site is not moved back to at present.
    pub fn is_suppressed(&self) -> bool {
        self.suppressed
    }

    /// What is left of it. In whole halvings, and in between along a straight line: no float, so that
    /// every machine decides alike.
    pub fn at(&self, damping: &Damping, now: Timestamp) -> u32 {
        let age = now.since(self.at);
        if age >= damping.forget {
            return 0;
        }
        let half_life = damping.half_life.get().max(1);
        let halvings = age.get() / half_life;
        if halvings >= 32 {
            return 0;
        }
        let whole = u64::from(self.value >> halvings);
        let within = age.get() % half_life;
        (whole - (whole / 2).saturating_mul(within) / half_life) as u32
    }

    pub(super) fn add(&mut self, damping: &Damping, now: Timestamp) {
        let value = self.at(damping, now).saturating_add(damping.penalty);
        // As much as can decay within the time after which all is forgotten.
        self.value = value.min(damping.suppress.saturating_mul(4));
        self.at = now;
        self.suppressed |= self.value >= damping.suppress;
    }

    /// Lets go what time has healed.
    pub(super) fn refresh(&mut self, damping: &Damping, now: Timestamp) {
        if self.value == 0 {
            return;
        }
        let value = self.at(damping, now);
        if value <= damping.reuse {
            self.suppressed = false;
        }
        if value == 0 {
            *self = Penalty::default();
        }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.value == 0
    }

    /// For a clock that was set back: nothing lies in the future.
    pub(super) fn rebase(&mut self, now: Timestamp) {
        self.at = self.at.min(now);
    }

    /// When all is forgotten.
    pub(super) fn forgotten_at(&self, damping: &Damping) -> Timestamp {
        self.at + damping.forget
    }

    /// The first instant at which what is left is small enough for the site to be used again.
    pub(super) fn reused_at(&self, damping: &Damping) -> Timestamp {
        let half_life = damping.half_life.get().max(1);
        let reuse = u64::from(damping.reuse);
        for halvings in 0..32 {
            let whole = u64::from(self.value >> halvings);
            let (over, falls) = (whole.saturating_sub(reuse), whole / 2);
            // Within this half-life, `falls * within / half_life` must come to `over`.
            let within = if over == 0 { 0 } else { (over * half_life).div_ceil(falls.max(1)) };
            if within < half_life {
                let age = Millis::new(halvings * half_life + within);
                return (self.at + age).min(self.forgotten_at(damping));
            }
        }
        self.forgotten_at(damping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn penalties_halve_suppress_and_are_forgotten() {
        let damping = Damping::default();
        let at = |minutes: i64| Timestamp::from_millis(minutes * 60_000);
        let mut penalty = Penalty::default();
        penalty.add(&damping, at(0));
        assert_eq!(penalty.at(&damping, at(15)), 500);
        assert!(!penalty.is_suppressed());
        penalty.add(&damping, at(15));
        penalty.add(&damping, at(16));
        assert!(penalty.is_suppressed());
        penalty.refresh(&damping, at(30));
        assert!(penalty.is_suppressed());
        let reused = penalty.reused_at(&damping);
        penalty.refresh(&damping, reused - Millis::new(1));
        assert!(penalty.is_suppressed());
        penalty.refresh(&damping, reused);
        assert!(!penalty.is_suppressed());
        penalty.refresh(&damping, at(76));
        assert!(penalty.is_clear());
    }
}
