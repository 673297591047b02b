//! The rules: given what is known of each site, where should a service be?

use super::id::SiteId;
use super::outcome::{Cause, Stay};
use super::policy::{AllDown, FailBack, Mode, Policy};
use super::quorum::Verdict;
use super::state::{Answer, ServiceState, State};
use super::time::{Millis, Timestamp};

pub(super) const HOUR: Millis = Millis::from_mins(60);

/// What the rules say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Stay(Stay),
    Move(Answer, Cause),
}

/// A service with what is known of its sites.
struct Case<'a> {
    policy: &'a Policy,
    state: &'a State,
    index: usize,
    service: &'a ServiceState,
    now: Timestamp,
}

impl Policy {
    pub(super) fn choose(&self, state: &State, index: usize, now: Timestamp) -> Choice {
        let service = &state.services[index];
        Case { policy: self, state, index, service, now }.choose()
    }

    /// What is known of a target and all that it needs, and since when.
    pub(super) fn known(&self, state: &State, target: usize) -> (Verdict, Timestamp) {
        let own = &state.targets[target];
        let mut known = (own.verdict, own.since);
        for need in &self.targets[target].needs[1..] {
            let (verdict, since) = (state.targets[*need].verdict, state.targets[*need].since);
            known = match (known.0, verdict) {
                (Verdict::Down, Verdict::Down) => (Verdict::Down, known.1.min(since)),
                (Verdict::Down, _) => known,
                (_, Verdict::Down) => (Verdict::Down, since),
                (Verdict::Up, Verdict::Up) => (Verdict::Up, known.1.max(since)),
                (Verdict::Up, Verdict::Unclear) => (verdict, since),
                (Verdict::Unclear, _) => known,
            };
        }
        known
    }
}

impl Case<'_> {
    fn choose(&self) -> Choice {
        if let Some(order) =
            self.state.overrides.iter().rev().find(|order| order.covers(self.service.id))
        {
            let answer = Answer::Site(order.site);
            return match answer == self.service.answer {
                true => Choice::Stay(Stay::Overridden { until: order.until }),
                false => Choice::Move(answer, Cause::Override),
            };
        }
        match self.service.answer {
            Answer::Site(site) => self.at_one(site),
            Answer::All => self.at_all(),
        }
    }

    fn sites(&self) -> &[SiteId] {
        &self.policy.config.services[self.index].sites
    }

    fn known(&self, site: SiteId) -> (Verdict, Timestamp) {
        let range = &self.policy.ranges[self.index];
        let place = self.sites().iter().position(|of| *of == site).unwrap_or(0);
        self.policy.known(self.state, range.start + place)
    }

    fn is_up(&self, site: SiteId) -> bool {
        self.known(site).0 == Verdict::Up
    }

    fn drains(&self, site: SiteId) -> bool {
        let lead = self.policy.config.drain_lead;
        self.state.windows.iter().any(|window| window.site == site && window.drains(self.now, lead))
    }

    fn at_one(&self, active: SiteId) -> Choice {
        let (verdict, since) = self.known(active);
        let mut others = self.sites().iter().copied().filter(|site| *site != active);
        if self.drains(active) && verdict != Verdict::Down {
            return match others.find(|site| self.is_up(*site) && !self.drains(*site)) {
                Some(site) => Choice::Move(Answer::Site(site), Cause::Maintenance),
                None => Choice::Stay(Stay::Undrainable),
            };
        }
        match verdict {
            Verdict::Unclear => Choice::Stay(Stay::BelowQuorum),
            Verdict::Down => self.leave(active, since),
            Verdict::Up if active == self.sites()[0] => Choice::Stay(Stay::Settled),
            Verdict::Up => self.fail_back(active),
        }
    }

    /// The active site is down.
    fn leave(&self, active: SiteId, since: Timestamp) -> Choice {
        if self.policy.mode != Mode::Automatic {
            return Choice::Stay(Stay::NotAutomatic);
        }
        let up = |site: &&SiteId| **site != active && self.is_up(**site);
        let open = self.sites().iter().filter(up).find(|site| !self.drains(**site));
        // A site under maintenance that answers is still better than one that is down.
        let Some(site) = open.or_else(|| self.sites().iter().find(up)) else {
            return self.nowhere();
        };
        self.guarded(since, Answer::Site(*site), Cause::Failover)
    }

    fn nowhere(&self) -> Choice {
        let down = |site: &SiteId| self.known(*site).0 == Verdict::Down;
        if !self.sites().iter().all(down) {
            return Choice::Stay(Stay::NowhereToGo);
        }
        let answer = match self.policy.config.services[self.index].all_down {
            AllDown::KeepLast => self.service.answer,
            AllDown::Preferred => Answer::Site(self.sites()[0]),
            AllDown::All => Answer::All,
        };
        match answer == self.service.answer {
            true => Choice::Stay(Stay::AllDown),
            false => self.guarded(self.now - self.policy.config.confirm, answer, Cause::AllDown),
        }
    }

    /// Moves away from what has been down since then, unless that has to wait.
    fn guarded(&self, since: Timestamp, answer: Answer, cause: Cause) -> Choice {
        let confirmed = since + self.policy.config.confirm;
        if self.now < confirmed {
            return Choice::Stay(Stay::Confirming { until: confirmed });
        }
        if let Some(until) = self.service.held_until.filter(|until| self.now < *until) {
            return Choice::Stay(Stay::Held { until });
        }
        match self.limited() {
            Some(until) => Choice::Stay(Stay::Limited { until }),
            None => Choice::Move(answer, cause),
        }
    }

    fn limited(&self) -> Option<Timestamp> {
        let most = usize::from(self.policy.config.moves_per_hour);
        let over = self.service.moves.len().checked_sub(most)?;
        Some(self.service.moves[over] + HOUR)
    }

    /// The active site is up, and not the best one.
    fn fail_back(&self, active: SiteId) -> Choice {
        let rules = &self.policy.config.services[self.index];
        let better = self.sites().iter().copied().take_while(|site| *site != active);
        let better: Vec<_> = better.filter(|site| !self.drains(*site)).collect();
        if better.is_empty() {
            return Choice::Stay(Stay::Drained);
        }
        let Some(best) = better.iter().copied().find(|site| self.is_up(*site)) else {
            return Choice::Stay(Stay::Away);
        };
        if self.policy.mode != Mode::Automatic || self.service.cause == Cause::Ordered {
            return Choice::Stay(Stay::FailBackIsManual);
        }
        let (stable, answer) = match rules.fail_back {
            FailBack::Manual => return Choice::Stay(Stay::FailBackIsManual),
            FailBack::After { stable } => (stable, Answer::Site(best)),
            FailBack::Gradual { stable, .. } => (stable, Answer::All),
        };
        let target = self.policy.ranges[self.index].start
            + self.sites().iter().position(|site| *site == best).unwrap_or(0);
        if self.state.targets[target].penalty.is_suppressed() {
            return Choice::Stay(Stay::Damped);
        }
        let proved = self.known(best).1.max(self.service.since) + stable;
        let proved = proved.max(self.service.held_until.unwrap_or(proved));
        if self.now < proved {
            return Choice::Stay(Stay::Proving { until: proved });
        }
        // To go there and be drained away again at once helps nobody.
        let soon = self.now + stable + self.policy.config.drain_lead;
        if self.state.windows.iter().any(|window| window.site == best && window.starts < soon) {
            return Choice::Stay(Stay::Drained);
        }
        match self.limited() {
            Some(until) => Choice::Stay(Stay::Limited { until }),
            None => Choice::Move(answer, Cause::FailBack),
        }
    }

    /// All sites are answered: on the way back, or because all were down.
    fn at_all(&self) -> Choice {
        let sites = self.sites();
        let up = sites.iter().copied().find(|site| self.is_up(*site) && !self.drains(*site));
        let Some(up) = up.or_else(|| sites.iter().copied().find(|site| self.is_up(*site))) else {
            let down = |site: &SiteId| self.known(*site).0 == Verdict::Down;
            return Choice::Stay(match sites.iter().all(down) {
                true => Stay::AllDown,
                false => Stay::BelowQuorum,
            });
        };
        if self.policy.mode != Mode::Automatic {
            return Choice::Stay(Stay::NotAutomatic);
        }
        let gone = |site: &SiteId| self.known(*site).0 == Verdict::Down || self.drains(*site);
        if sites.iter().any(gone) {
            return match self.limited() {
                Some(until) => Choice::Stay(Stay::Limited { until }),
                None => Choice::Move(Answer::Site(up), Cause::Recovery),
            };
        }
        if !sites.iter().all(|site| self.is_up(*site)) {
            return Choice::Stay(Stay::BelowQuorum);
        }
        let both = match self.policy.config.services[self.index].fail_back {
            FailBack::Gradual { both, .. } => both,
            FailBack::Manual | FailBack::After { .. } => Millis::ZERO,
        };
        let until = self.service.since + both;
        if self.now < until {
            return Choice::Stay(Stay::Sharing { until });
        }
        match self.limited() {
            Some(until) => Choice::Stay(Stay::Limited { until }),
            None => Choice::Move(Answer::Site(sites[0]), Cause::FailBack),
        }
    }
}
