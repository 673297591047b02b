//! When nothing can happen: what a simulation may skip, and why.

use super::outcome::Stay;
use super::policy::{FailBack, Policy};
use super::state::State;
use super::time::{Millis, Timestamp};

impl Policy {
    /// The instant until which nothing happens, as long as every observer that is heard goes on seeing
    /// what it saw last and nobody gives an order. None when the next report may change something.
    ///
    /// [`Policy::step`] is then a fixed point but for the times at which things were seen, which
    /// [`Policy::skip`] sets. A property of the tests holds it to that.
    pub fn quiet_until(&self, state: &State, now: Timestamp) -> Option<Timestamp> {
        if !self.fits(state) || now < state.clock {
            return None;
        }
        let saturated = |index: usize| {
            let mut observers = state.observers.iter().zip(&state.targets[index].views);
            observers.all(|(observer, view)| {
                observer.silent != self.is_fresh(observer.seen, now)
                    && match observer.silent || observer.blind {
                        // It says nothing, so all that is left is that its last word gets old.
                        true => !self.is_fresh(view.seen(), now),
                        false => {
                            view.seen() == observer.seen
                                && view.is_saturated(self.config.thresholds)
                        }
                    }
            })
        };
        if !(0..state.targets.len()).all(saturated) {
            return None;
        }
        let mut until = Timestamp::from_millis(i64::MAX);
        let mut wait = |time: Timestamp| until = until.min(time);
        let damping = &self.config.damping;
        for target in &state.targets {
            if target.penalty.is_suppressed() {
                wait(target.penalty.reused_at(damping));
            } else if !target.penalty.is_clear() {
                wait(target.penalty.forgotten_at(damping));
            }
        }
        for order in &state.overrides {
            wait(order.until);
        }
        for window in &state.windows {
            wait(window.ends);
            if !window.drains(now, self.config.drain_lead) {
                wait(window.starts - self.config.drain_lead);
            }
        }
        for (service, rules) in state.services.iter().zip(&self.config.services) {
            service.held_until.into_iter().for_each(&mut wait);
            if let FailBack::After { stable } | FailBack::Gradual { stable, .. } = rules.fail_back {
                // From then on the window is too near to return before it.
                let near = state
                    .windows
                    .iter()
                    .map(|window| window.starts - self.config.drain_lead - stable + Millis::new(1));
                near.filter(|near| *near > now).for_each(&mut wait);
            }
            service.moves.iter().for_each(|time| wait(*time + super::choose::HOUR));
            match service.stay {
                Stay::Confirming { until }
                | Stay::Held { until }
                | Stay::Limited { until }
                | Stay::Proving { until }
                | Stay::Sharing { until } => wait(until),
                _ => {}
            }
        }
        (until > now).then_some(until)
    }

    /// Makes of a state what reports like the last ones make of it until `now`, which must not be
    /// later than [`Policy::quiet_until`] says.
    #[must_use]
    pub fn skip(&self, mut state: State, now: Timestamp) -> State {
        for (place, observer) in state.observers.iter_mut().enumerate() {
            if observer.silent {
                continue;
            }
            observer.seen = Some(now);
            observer.at = Some(now);
            if !observer.blind {
                for target in &mut state.targets {
                    target.views[place].set_seen(now);
                }
            }
        }
        state.clock = now;
        state
    }
}
