//! What the failure domains together say.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::health::Health;
use super::policy::Policy;
use super::state::State;
use super::time::Timestamp;

/// What is known of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// Too few domains agree, or too few were heard of. Nothing is done on it.
    #[default]
    Unclear,
    /// A quorum of domains reaches it.
    Up,
    /// A quorum of domains does not.
    Down,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Unclear => "unclear",
            Verdict::Up => "up",
            Verdict::Down => "down",
        })
    }
}

/// How one domain votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Vote {
    /// Most of its observers reach the place.
    Up,
    /// Most of them do not.
    Down,
    /// They see the world and differ, or have not probed often enough.
    Undecided,
    /// None of them sees anything at all.
    Blind,
    /// Nothing was heard of them lately.
    Silent,
}

/// The votes on one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Domains that say up.
    pub up: u8,
    /// Domains that say down.
    pub down: u8,
    /// All domains that are configured.
    pub of: u8,
    /// How many must agree.
    pub quorum: u8,
}

impl Tally {
    /// What follows from it.
    pub fn verdict(self) -> Verdict {
        if self.down >= self.quorum {
            Verdict::Down
        } else if self.up >= self.quorum {
            Verdict::Up
        } else {
            Verdict::Unclear
        }
    }
}

/// The balance of one domain: one up for each observer that reaches the place, one down for each that
/// does not. More domains than this are refused with the policy.
pub(super) const MAX_DOMAINS: usize = 32;

impl Policy {
    /// Counts the votes on a place, by its place in the list of targets.
    pub(super) fn tally(&self, state: &State, target: usize, now: Timestamp) -> Tally {
        let mut balance = [0_i8; MAX_DOMAINS];
        let views = &state.targets[target].views;
        for ((observer, place), view) in state.observers.iter().zip(&self.places).zip(views) {
            // What is as old as its observer's last word; a place that it left out is not fresh.
            if observer.blind || !self.is_fresh(view.seen(), now) {
                continue;
            }
            match view.health() {
                Health::Up => balance[place.domain] += 1,
                Health::Down => balance[place.domain] -= 1,
                Health::Unknown => {}
            }
        }
        let mut tally = Tally { up: 0, down: 0, of: self.domains.len() as u8, quorum: self.quorum };
        for vote in &balance[..self.domains.len()] {
            tally.up += u8::from(*vote > 0);
            tally.down += u8::from(*vote < 0);
        }
        tally
    }

    /// The same, domain by domain and with the reasons.
    pub(super) fn vote(&self, state: &State, target: usize, domain: usize, now: Timestamp) -> Vote {
        let (mut balance, mut fresh, mut sees) = (0, false, false);
        let views = &state.targets[target].views;
        for ((observer, place), view) in state.observers.iter().zip(&self.places).zip(views) {
            if place.domain != domain {
                continue;
            }
            fresh |= self.is_fresh(observer.seen, now);
            if observer.blind || !self.is_fresh(view.seen(), now) {
                continue;
            }
            sees = true;
            balance += match view.health() {
                Health::Up => 1,
                Health::Down => -1,
                Health::Unknown => 0,
            };
        }
        match (fresh, sees) {
            (false, _) => Vote::Silent,
            (true, false) => Vote::Blind,
            (true, true) if balance > 0 => Vote::Up,
            (true, true) if balance < 0 => Vote::Down,
            (true, true) => Vote::Undecided,
        }
    }

    /// Whether something seen then still counts.
    pub(super) fn is_fresh(&self, seen: Option<Timestamp>, now: Timestamp) -> bool {
        seen.is_some_and(|seen| now.since(seen) <= self.config.fresh)
    }
}
