//! Probes that are lost for no lasting cause, drawn by how many come through in between.

use std::collections::VecDeque;

use super::rng::Rng;

/// One observer's probes of one place, counted by round.
#[derive(Debug)]
pub(super) struct Losses {
    rng: Rng,
    share: f64,
    /// Those that have been drawn and are not past, in order.
    ahead: VecDeque<i64>,
    last: i64,
}

impl Losses {
    pub(super) fn new(seed: u64, stream: u64, share: f64) -> Losses {
        Losses { rng: Rng::new(seed, 1000 + stream), share, ahead: VecDeque::new(), last: -1 }
    }

    fn draw_until(&mut self, round: i64) {
        while self.share > 0.0 && self.last <= round {
            // How many independent probes come through until one does not (geometric).
            let through = self.rng.unit().ln() / (1.0 - self.share).ln();
            self.last = self.last.saturating_add(1).saturating_add(through as i64);
            self.ahead.push_back(self.last);
        }
    }

    fn forget_before(&mut self, round: i64) {
        while self.ahead.front().is_some_and(|loss| *loss < round) {
            self.ahead.pop_front();
        }
    }

    /// Whether the probe of this round is lost. Rounds must not go back.
    pub(super) fn is_lost(&mut self, round: i64) -> bool {
        self.draw_until(round);
        self.forget_before(round);
        self.ahead.front() == Some(&round)
    }

    /// Evenly in 0..1, for what fails now and then.
    pub(super) fn chance(&mut self) -> f64 {
        self.rng.unit()
    }

    /// The first round from `from` on, and before `until`, whose loss is followed by another within
    /// `window` rounds; `until` when there is none.
    pub(super) fn cluster(&mut self, from: i64, until: i64, window: i64) -> i64 {
        self.draw_until(until.saturating_add(window));
        self.forget_before(from);
        let pairs = self.ahead.iter().zip(self.ahead.iter().skip(1));
        let mut close = pairs.filter(|(first, second)| *second - *first <= window);
        close.next().map_or(until, |(first, _)| (*first).min(until))
    }

    /// The first loss from `from` on, and before `until`; `until` when there is none.
    pub(super) fn next(&mut self, from: i64, until: i64) -> i64 {
        self.draw_until(until);
        self.forget_before(from);
        self.ahead.front().map_or(until, |first| (*first).min(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_lost_as_were_asked_for_however_they_are_looked_for() {
        let mut losses = Losses::new(7, 0, 0.01);
        let lost = (0..100_000).filter(|round| losses.is_lost(*round)).count();
        assert!((800..1200).contains(&lost), "{lost}");
        let (mut by_next, mut round, mut found) = (Losses::new(7, 0, 0.01), 0, 0);
        loop {
            round = by_next.next(round, 100_000);
            if round >= 100_000 {
                break;
            }
            assert!(by_next.is_lost(round));
            found += 1;
            round += 1;
        }
        assert_eq!(found, lost);
    }
}
