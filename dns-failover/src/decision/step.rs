//! One step: an event is taken in, verdicts are drawn, services are moved.

use std::mem::discriminant;

use super::choose::{Choice, HOUR};
use super::event::{BadReport, Command, Event, MAX_RESULTS, Report};
use super::id::ServiceId;
use super::outcome::{Cause, Decision, Effect, Evidence, Note};
use super::policy::Policy;
use super::quorum::Verdict;
use super::state::{Answer, Epoch, State};
use super::time::Timestamp;
use super::window::{Override, Window};

/// The most windows, and the most overrides, that are kept at a time.
const MOST_ORDERS: usize = 64;
/// The longest text that comes with an order, in characters.
const MOST_TEXT: usize = 200;

impl Policy {
    /// Takes one event in, and decides.
    ///
    /// Pure: what comes out depends on the rules, the state, the event and `now` alone. A state that
    /// was made under other rules is fitted to these first.
    pub fn step(&self, state: State, event: &Event, now: Timestamp) -> (State, Vec<Effect>) {
        let mut state = if self.fits(&state) { state } else { self.fit(state) };
        let mut effects = Vec::new();
        let now = self.set_clock(&mut state, now, &mut effects);
        let mut step = Step { policy: self, state, now, effects, moved: false };
        step.take(event);
        step.look();
        step.expire();
        step.decide();
        (step.state, step.effects)
    }

    /// A clock that went back by more than clocks do makes all that was seen worthless, for it may be
    /// any age: nothing is done until fresh reports are in.
    fn set_clock(&self, state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) -> Timestamp {
        let back = state.clock.since(now);
        if back <= self.config.skew {
            state.clock = state.clock.max(now);
            return state.clock;
        }
        for observer in &mut state.observers {
            observer.seen = None;
            observer.at = None;
        }
        for target in &mut state.targets {
            target.views.iter_mut().for_each(|view| view.forget_when());
            target.since = target.since.min(now);
            target.penalty.rebase(now);
        }
        for service in &mut state.services {
            service.since = service.since.min(now);
            service.moves.iter_mut().for_each(|time| *time = (*time).min(now));
            let hold = now + self.config.hold;
            service.held_until = service.held_until.map(|until| until.min(hold));
        }
        state.clock = now;
        effects.push(Effect::Noted(Note::ClockSetBack { by: back }));
        now
    }
}

struct Step<'a> {
    policy: &'a Policy,
    state: State,
    now: Timestamp,
    effects: Vec<Effect>,
    moved: bool,
}

impl Step<'_> {
    fn note(&mut self, note: Note) {
        self.effects.push(Effect::Noted(note));
    }

    fn refuse(&mut self, why: impl Into<String>) {
        self.note(Note::Refused { why: why.into() });
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Tick => {}
            Event::Observed(report) => {
                if let Err(why) = self.observe(report) {
                    self.note(Note::Ignored { observer: report.observer, why });
                }
            }
            Event::Commanded(command) => self.obey(command),
            Event::Published { epoch, have, of } => {
                let all = have >= of && *epoch == self.state.epoch;
                if all && self.state.everywhere != Some(*epoch) {
                    self.state.everywhere = Some(*epoch);
                    self.note(Note::Everywhere { epoch: *epoch });
                }
            }
            Event::Learned { epoch, answers } => self.learn(*epoch, answers),
        }
    }

    fn observe(&mut self, report: &Report) -> Result<(), BadReport> {
        let (policy, now) = (self.policy, self.now);
        let place = self.state.observers.iter().position(|of| of.id == report.observer);
        let place = place.ok_or(BadReport::Stranger)?;
        let observer = &mut self.state.observers[place];
        if report.at > now + policy.config.skew {
            return Err(BadReport::Future);
        }
        if now.since(report.at).get() > policy.config.fresh.get() + policy.config.skew.get() {
            return Err(BadReport::Stale);
        }
        if observer.at.is_some_and(|last| report.at <= last) {
            return Err(BadReport::Replayed);
        }
        observer.at = Some(report.at);
        observer.seen = Some(now);
        let blind = report.is_blind();
        if std::mem::replace(&mut observer.blind, blind) != blind {
            self.note(Note::Sight { observer: report.observer, sees: !blind });
        }
        if blind {
            // What a blind observer does not see says nothing about the places.
            return Ok(());
        }
        for seen in report.results.iter().take(MAX_RESULTS) {
            if let Some(target) = policy.target(seen.service, seen.site) {
                let view = &mut self.state.targets[target].views[place];
                view.record(policy.config.thresholds, seen.up, now);
            }
        }
        Ok(())
    }

    /// Draws the verdicts.
    fn look(&mut self) {
        let (policy, now) = (self.policy, self.now);
        for observer in &mut self.state.observers {
            let silent = !policy.is_fresh(observer.seen, now);
            if observer.silent != silent {
                observer.silent = silent;
                let note = Note::Voice { observer: observer.id, heard: !silent };
                self.effects.push(Effect::Noted(note));
            }
        }
        for index in 0..self.state.targets.len() {
            let tally = policy.tally(&self.state, index, now);
            let target = &mut self.state.targets[index];
            target.penalty.refresh(&policy.config.damping, now);
            target.tally = tally;
            let verdict = tally.verdict();
            if verdict == target.verdict {
                continue;
            }
            target.verdict = verdict;
            target.since = now;
            if verdict == Verdict::Down && !target.was_down {
                target.penalty.add(&policy.config.damping, now);
            }
            if verdict != Verdict::Unclear {
                target.was_down = verdict == Verdict::Down;
            }
            let (service, site) = (target.service, target.site);
            let note = Note::Place { service, site, verdict, tally };
            self.effects.push(Effect::Noted(note));
        }
    }

    /// Lets go what has had its time.
    fn expire(&mut self) {
        let now = self.now;
        if self.state.overrides.iter().any(|order| order.until <= now) {
            let (kept, ended) =
                self.state.overrides.drain(..).partition(|order: &Override| order.until > now);
            self.state.overrides = kept;
            for order in ended {
                self.note(Note::OverrideEnded { service: order.service });
            }
        }
        if self.state.windows.iter().any(|window| window.ends <= now) {
            let (kept, ended) =
                self.state.windows.drain(..).partition(|window: &Window| window.ends > now);
            self.state.windows = kept;
            for window in ended {
                self.note(Note::WindowClosed { window: window.id });
            }
        }
        for service in &mut self.state.services {
            if service.held_until.is_some_and(|until| until <= now) {
                service.held_until = None;
            }
            service.moves.retain(|time| now.since(*time) < HOUR);
        }
    }

    fn decide(&mut self) {
        for index in 0..self.state.services.len() {
            // A move can be followed by another reason to stay, never by another move.
            if let Choice::Move(answer, cause) = self.policy.choose(&self.state, index, self.now) {
                self.go(index, answer, cause);
            }
            let stay = match self.policy.choose(&self.state, index, self.now) {
                Choice::Stay(stay) => stay,
                Choice::Move(..) => continue,
            };
            let service = &mut self.state.services[index];
            let same = discriminant(&service.stay) == discriminant(&stay);
            service.stay = stay;
            if !same {
                let note = Note::Stays { service: service.id, stay };
                self.effects.push(Effect::Noted(note));
            }
        }
        if self.moved {
            self.effects.push(Effect::Publish(self.state.publication()));
        }
    }

    fn go(&mut self, index: usize, to: Answer, cause: Cause) {
        let why = match cause {
            Cause::Override => {
                let id = self.state.services[index].id;
                let order = self.state.overrides.iter().rev().find(|order| order.covers(id));
                order.map(|order| format!("{}: {}", order.who, order.why))
            }
            _ => None,
        };
        self.go_because(index, to, cause, why);
    }

    fn go_because(&mut self, index: usize, to: Answer, cause: Cause, why: Option<String>) {
        let now = self.now;
        if !self.moved {
            let number = self.state.epoch.number.saturating_add(1);
            self.state.epoch = Epoch { number, controller: self.policy.config.controller };
            self.moved = true;
        }
        let evidence = self.policy.evidence(&self.state, index, now);
        let epoch = self.state.epoch;
        let service = &mut self.state.services[index];
        let from = std::mem::replace(&mut service.answer, to);
        service.since = now;
        service.cause = cause;
        service.held_until = Some(now + self.policy.config.hold);
        if !matches!(cause, Cause::Override | Cause::Ordered | Cause::Maintenance) {
            service.moves.push(now);
        }
        let service = service.id;
        let decision = Decision { at: now, service, from, to, cause, epoch, evidence, why };
        self.effects.push(Effect::Decided(decision));
    }

    fn learn(&mut self, epoch: Epoch, answers: &[(ServiceId, Answer)]) {
        if epoch <= self.state.epoch {
            return;
        }
        self.state.epoch = epoch;
        self.state.everywhere = None;
        self.note(Note::Adopted { epoch });
        for (id, answer) in answers.iter().take(MOST_ORDERS) {
            let Some(index) = self.policy.service(*id) else { continue };
            let known = match answer {
                Answer::Site(site) => self.policy.target(*id, *site).is_some(),
                Answer::All => true,
            };
            let service = &mut self.state.services[index];
            if !known || service.answer == *answer {
                continue;
            }
            service.answer = *answer;
            service.since = self.now;
            service.cause = Cause::Adopted;
            service.held_until = Some(self.now + self.policy.config.hold);
        }
    }

    fn obey(&mut self, command: &Command) {
        match command {
            Command::Force(order) => self.force(order),
            Command::Release { service } => {
                self.state.overrides.retain(|order| service.is_some() && order.service != *service);
                self.note(Note::OverrideEnded { service: *service });
            }
            Command::Move { service, site, who, why } => {
                let Some(target) = self.policy.target(*service, *site) else {
                    return self.refuse(format!("{service} has no site {site}"));
                };
                if who.chars().count() + why.chars().count() > MOST_TEXT {
                    return self.refuse("the reason is too long");
                }
                if self.policy.known(&self.state, target).0 == Verdict::Down {
                    return self.refuse(format!(
                        "{service} is down at {site}; use force to move it there all the same"
                    ));
                }
                let (Some(index), answer) = (self.policy.service(*service), Answer::Site(*site))
                else {
                    return;
                };
                if self.state.services[index].answer != answer {
                    let why = Some(format!("{who}: {why}"));
                    self.go_because(index, answer, Cause::Ordered, why);
                }
            }
            Command::Schedule(window) => self.schedule(window),
            Command::Cancel(id) => {
                let before = self.state.windows.len();
                self.state.windows.retain(|window| window.id != *id);
                if self.state.windows.len() == before {
                    return self.refuse(format!("there is no maintenance {id}"));
                }
                self.note(Note::WindowClosed { window: *id });
            }
        }
    }

    fn force(&mut self, order: &Override) {
        let services = self.policy.config.services.iter();
        let at_site = |id| self.policy.target(id, order.site).is_some();
        let known = match order.service {
            Some(id) => at_site(id),
            None => services.map(|service| service.id).all(at_site),
        };
        if !known {
            self.refuse(format!("not every service meant has a site {}", order.site));
        } else if order.until <= self.now {
            self.refuse(format!("an override until {} would be over already", order.until));
        } else if self.state.overrides.len() >= MOST_ORDERS {
            self.refuse(format!("there are {MOST_ORDERS} overrides already; release some"));
        } else if order.who.chars().count() + order.why.chars().count() > MOST_TEXT {
            self.refuse("the reason is too long");
        } else {
            self.state.overrides.retain(|old| old.service != order.service);
            self.state.overrides.push(order.clone());
        }
    }

    fn schedule(&mut self, window: &Window) {
        if window.starts >= window.ends || window.ends <= self.now {
            return self.refuse(format!("maintenance {} ends before it can begin", window.id));
        }
        if !self.policy.targets.iter().any(|target| target.site == window.site) {
            return self.refuse(format!("no service has a site {}", window.site));
        }
        if window.title.chars().count() > MOST_TEXT {
            return self.refuse("the title is too long");
        }
        let lead = self.policy.config.drain_lead;
        let others = self.state.windows.iter().filter(|other| other.id != window.id);
        if let Some(other) = others.clone().find(|other| window.collides(other, lead)) {
            return self.refuse(format!(
                "maintenance {} of {} is too near that of {} ({}): one of them must be there",
                window.id, window.site, other.site, other.id
            ));
        }
        if others.count() >= MOST_ORDERS {
            return self.refuse(format!("there are {MOST_ORDERS} windows already"));
        }
        self.state.windows.retain(|other| other.id != window.id);
        self.state.windows.push(window.clone());
        self.state.windows.sort_by_key(|window| (window.starts, window.id));
        self.note(Note::Scheduled { window: window.id });
    }
}

impl Policy {
    /// What is known of each site of a service, domain by domain.
    pub(super) fn evidence(&self, state: &State, index: usize, now: Timestamp) -> Vec<Evidence> {
        let evidence = |target: usize| {
            let (verdict, since) = self.known(state, target);
            // Where a need decided it, the votes are those on the need.
            let needs = self.targets[target].needs.iter().copied();
            let telling = needs.clone().find(|need| state.targets[*need].verdict == verdict);
            let telling = telling.unwrap_or(target);
            let votes = self.domains.iter().enumerate();
            let votes =
                votes.map(|(place, domain)| (*domain, self.vote(state, telling, place, now)));
            Evidence { site: self.targets[target].site, verdict, since, votes: votes.collect() }
        };
        self.ranges[index].clone().map(evidence).collect()
    }

    /// Why a service is where it is, as a sentence.
    pub fn explain(&self, state: &State, service: ServiceId) -> Option<String> {
        let index = self.service(service)?;
        let known = state.services.get(index)?;
        let evidence = self.evidence(state, index, state.clock);
        let evidence: Vec<_> = evidence.iter().map(ToString::to_string).collect();
        Some(format!(
            "{service} is at {} since {} ({}) and stays: {}; {}",
            known.answer,
            known.since,
            known.cause,
            known.stay,
            evidence.join("; ")
        ))
    }
}
