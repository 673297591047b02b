//! What takes messages to a leg.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{Event, Shared, lock};
use crate::core::leg_name::LegName;
use crate::core::scheduler::Work;
use crate::core::transition::Transition;
use crate::dsn_parameters::{Notify, RecipientDsn};
use crate::envelope::Recipient;
use crate::id::SpoolId;
use crate::leg::{Cause, Feed, Job, Leg, Outcome, Presence, Scope, Trouble};
use crate::reply::Phase;
use crate::spool::Stored;

/// After so long without work, connections are closed.
const IDLE: Duration = Duration::from_secs(20);

/// Works for one leg until the engine stops.
pub(super) fn run(shared: &Shared, name: &LegName) {
    let Some(slot) = shared.legs.get(name) else { return };
    let leg = &slot.setting.leg;
    let mut idle = false;
    loop {
        let mut queue = lock(&shared.queue);
        loop {
            if shared.is_stopping() {
                return;
            }
            let now = shared.now();
            let wait = match queue.due(name, now) {
                Some(due) if due <= now => break,
                Some(due) => due.saturating_since(now).min(IDLE),
                None => IDLE,
            };
            let (again, timeout) =
                slot.work.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner);
            queue = again;
            if timeout.timed_out() && !idle && wait == IDLE {
                idle = true;
                drop(queue);
                leg.close_idle();
                queue = lock(&shared.queue);
            }
        }
        let Some(first) = queue.next(name, shared.now()) else { continue };
        drop(queue);
        idle = false;
        let mut feed = LegFeed {
            shared,
            name,
            first: None,
            flights: BTreeMap::new(),
            stop: false,
            spoke: false,
        };
        let worked = catch_unwind(AssertUnwindSafe(|| {
            if first.in_doubt {
                feed.resolve(&**leg, first);
            } else {
                feed.first = Some(first);
                leg.deliver(&mut feed);
            }
        }));
        if worked.is_err() {
            shared.tell(&Event::LegPanicked { leg: name.clone() });
        }
        feed.end();
    }
}

struct LegFeed<'a> {
    shared: &'a Shared,
    name: &'a LegName,
    first: Option<Work>,
    /// By the name that the leg knows a message by.
    flights: BTreeMap<SpoolId, Flight>,
    /// Whether the leg takes no more.
    stop: bool,
    /// Whether anything was learnt about the leg.
    spoke: bool,
}

/// A message that the leg has now.
struct Flight {
    work: Work,
    /// Which of the work's recipients were reported.
    reported: Vec<bool>,
    committing: bool,
}

fn job(stored: &Stored, work: &Work) -> Option<Job> {
    let recipients = stored.head.envelope.recipients();
    let chosen = work.recipients.iter().map(|&at| {
        let recipient = recipients.get(at as usize)?;
        // We tell the sender ourselves: two legs would tell twice.
        let dsn = RecipientDsn { notify: Some(Notify::NEVER), orcpt: recipient.dsn.orcpt.clone() };
        Some(Recipient { path: recipient.path.clone(), dsn })
    });
    let chosen: Vec<Recipient> = chosen.collect::<Option<_>>()?;
    Some(Job {
        // The peer knows a message by the name that stands in its trace field.
        id: stored.head.origin.unwrap_or(stored.head.id),
        envelope: stored.head.envelope.for_recipients(chosen).ok()?,
        message: stored.message.clone(),
        attempt: work.attempt,
    })
}

impl LegFeed<'_> {
    fn load(&self, work: &Work) -> Option<Job> {
        let error = match self.shared.load(work.id) {
            Ok(stored) => match job(&stored, work) {
                Some(job) => return Some(job),
                None => return self.set_aside(work, "its envelope is damaged".to_owned()),
            },
            Err(error) => error,
        };
        self.set_aside(work, error.to_string())
    }

    /// Keeps what cannot be read from being tried over and over.
    fn set_aside(&self, work: &Work, damage: String) -> Option<Job> {
        self.shared.tell(&Event::SpoolDamaged { damage });
        let held = {
            let mut queue = lock(&self.shared.queue);
            let held = queue.hold(work.id);
            queue.give_back(self.name, work.id, self.shared.now(), self.shared.seed());
            held
        };
        if let Some(held) = held {
            self.shared.record(&[held]);
        }
        None
    }

    /// Finds out whether recipients in doubt have a message.
    fn resolve(&mut self, leg: &dyn Leg, work: Work) {
        let Some(job) = self.load(&work) else { return };
        for (index, &recipient) in work.recipients.iter().enumerate() {
            let presence = leg.contains(&job, index);
            let now = self.shared.now();
            let transition = {
                let mut queue = lock(&self.shared.queue);
                if presence != Presence::Unknown && queue.leg_succeeded(self.name) {
                    self.shared.tell(&Event::LegBack { leg: self.name.clone() });
                }
                let transition = queue.resolved(self.name, &work, recipient, presence, now);
                if let Some(transition) = &transition {
                    self.shared.record(std::slice::from_ref(transition));
                }
                transition
            };
            if transition.is_some() {
                let (id, leg) = (work.id, self.name.clone());
                self.shared.tell(&Event::Resolved { id, leg, recipient, presence });
            }
        }
        {
            let mut queue = lock(&self.shared.queue);
            queue.leg_unused(self.name);
            queue.give_back(self.name, work.id, self.shared.now(), self.shared.seed());
        }
        self.spoke = true;
        self.shared.wake_leg(self.name);
        self.shared.settle(work.id);
    }

    fn take(&mut self) -> Option<Work> {
        if let Some(work) = self.first.take() {
            return Some(work);
        }
        if self.stop || self.shared.is_stopping() {
            return None;
        }
        let mut queue = lock(&self.shared.queue);
        let now = self.shared.now();
        let work = queue.next(self.name, now)?;
        if work.in_doubt {
            // Asking takes a connection of its own; it is asked when this one is through.
            queue.put_back(self.name, work.id);
            return None;
        }
        Some(work)
    }

    /// Everything that was taken is back in the queue.
    fn end(mut self) {
        if let Some(work) = self.first.take() {
            let mut queue = lock(&self.shared.queue);
            queue.give_back(self.name, work.id, self.shared.now(), self.shared.seed());
        }
        let left: Vec<(SpoolId, Vec<usize>, bool)> = self
            .flights
            .iter()
            .map(|(&id, flight)| {
                let open = (0..flight.reported.len()).filter(|&at| !flight.reported[at]);
                (id, open.collect(), flight.committing)
            })
            .collect();
        for (id, recipients, committing) in left {
            let phase = if committing { Phase::Dot } else { Phase::Data };
            let trouble = Trouble::io(phase, "the leg stopped without saying how it went");
            for recipient in recipients {
                let outcome = if committing {
                    Outcome::InDoubt(trouble.clone())
                } else {
                    Outcome::Deferred(trouble.clone())
                };
                self.report_one(id, recipient, outcome);
            }
        }
        if !self.spoke {
            // Whoever was let through to find out whether the leg is back has not found out.
            lock(&self.shared.queue).leg_unused(self.name);
        }
    }

    fn tell(&self, work: &Work, recipient: u32, outcome: &Outcome) {
        let (id, leg) = (work.id, self.name.clone());
        let event = match outcome {
            Outcome::Delivered(_) => Event::Delivered { id, leg, recipient },
            Outcome::Deferred(trouble) => {
                Event::Deferred { id, leg, recipient, words: trouble.to_string() }
            }
            Outcome::Failed(trouble) => {
                Event::Failed { id, leg, recipient, words: trouble.to_string() }
            }
            Outcome::InDoubt(trouble) => {
                Event::InDoubt { id, leg, recipient, words: trouble.to_string() }
            }
        };
        self.shared.tell(&event);
    }

    fn report_one(&mut self, job: SpoolId, index: usize, outcome: Outcome) {
        let Some(flight) = self.flights.get_mut(&job) else { return };
        let Some(reported) = flight.reported.get_mut(index) else { return };
        if std::mem::replace(reported, true) {
            return;
        }
        self.spoke = true;
        let through = flight.reported.iter().all(|reported| *reported);
        let work = flight.work.clone();
        let (id, recipient) = (work.id, work.recipients[index]);
        let trouble = match &outcome {
            Outcome::Deferred(trouble) | Outcome::InDoubt(trouble)
                if trouble.scope == Scope::Leg =>
            {
                Some(trouble.clone())
            }
            _ => None,
        };
        let committed = flight.committing;
        let mut changed = None;
        {
            let mut queue = lock(&self.shared.queue);
            let now = self.shared.now();
            let mut transition = queue.outcome(self.name, &work, recipient, &outcome, now);
            if transition.is_none() && committed {
                // What was intended did not happen.
                let phase = Phase::Data;
                let words = Trouble::io(phase, "the connection failed before the end was sent");
                let deferred = Outcome::Deferred(words);
                transition = queue.outcome(self.name, &work, recipient, &deferred, now);
            }
            match &trouble {
                Some(trouble) if !self.stop => {
                    if queue.leg_failed(self.name, trouble, now, self.shared.seed()) {
                        changed = Some(Event::LegAway {
                            leg: self.name.clone(),
                            words: trouble.to_string(),
                        });
                    }
                }
                Some(_) => {}
                None => {
                    if queue.leg_succeeded(self.name) {
                        changed = Some(Event::LegBack { leg: self.name.clone() });
                        // All its workers may go on.
                        if let Some(slot) = self.shared.legs.get(self.name) {
                            slot.work.notify_all();
                        }
                    }
                }
            }
            // Under the queue's lock, so that a compaction restates all of it or nothing.
            if let Some(transition) = &transition {
                self.shared.record(std::slice::from_ref(transition));
            }
            if through {
                queue.give_back(self.name, id, now, self.shared.seed());
            }
        }
        if trouble.as_ref().is_some_and(|trouble| !matches!(trouble.cause, Cause::Unsuitable(_))) {
            self.stop = true;
        }
        self.tell(&work, recipient, &outcome);
        let away = matches!(changed, Some(Event::LegAway { .. }));
        if let Some(changed) = changed {
            self.shared.tell(&changed);
        }
        if through {
            self.flights.remove(&job);
            self.shared.settle(id);
        }
        if away {
            self.shared.leg_is_away();
        }
    }
}

impl Shared {
    /// Those who wait for a leg that is away need not wait any longer.
    fn leg_is_away(&self) {
        let waiters: Vec<_> =
            lock(&self.waiters).iter().map(|(&id, waiter)| (id, Arc::clone(waiter))).collect();
        let queue = lock(&self.queue);
        for (id, waiter) in waiters {
            waiter.look(&queue, id);
        }
    }
}

impl Feed for LegFeed<'_> {
    fn next(&mut self) -> Option<Arc<Job>> {
        loop {
            let work = self.take()?;
            let Some(job) = self.load(&work) else { continue };
            if self.flights.contains_key(&job.id) {
                // Two parts of what the peer has sent under one name: one after the other.
                let now = self.shared.now();
                lock(&self.shared.queue).give_back(self.name, work.id, now, 0);
                return None;
            }
            let reported = vec![false; work.recipients.len()];
            self.flights.insert(job.id, Flight { work, reported, committing: false });
            return Some(Arc::new(job));
        }
    }

    fn committing(&mut self, job: &Job, recipients: &[usize]) -> bool {
        let Some(flight) = self.flights.get_mut(&job.id) else { return false };
        flight.committing = true;
        let work = flight.work.clone();
        let chosen: Vec<u32> =
            recipients.iter().filter_map(|&index| work.recipients.get(index).copied()).collect();
        let mut queue = lock(&self.shared.queue);
        if queue.progress(work.id).is_none_or(|progress| progress.held) {
            return false;
        }
        let intent: Transition = queue.intend(self.name, &work, chosen);
        self.shared.record(std::slice::from_ref(&intent))
    }

    fn report(&mut self, job: &Job, recipient: usize, outcome: Outcome) {
        self.report_one(job.id, recipient, outcome);
    }
}
