//! What is to be done next: which message, for which leg, and when.
//!
//! A [`Queue`] is a value. It is told what happened and when, hands out [`Work`], and says what
//! must be noted. Nothing in it waits, so a test can let years pass.

mod by_hand;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::core::leg::Progress;
use crate::core::leg_name::LegName;
use crate::core::retry::{Breaker, RetryPolicy};
use crate::core::route::BouncePolicy;
use crate::core::transition::{State, Transition};
use crate::envelope::Recipient;
use crate::id::SpoolId;
use crate::leg::{Outcome, Presence, Scope, Trouble};
use crate::reply::Phase;
use crate::spool::Head;
use crate::text::printable_within;
use crate::time::Timestamp;

/// The longest remark that is kept about a failure.
const LONGEST_REMARK: usize = 400;

/// How long a leg's oldest message may have waited before the newest are tried in turn with it.
const BACKLOG: Duration = Duration::from_secs(300);

/// Clocks are set by less than this all the time. When one goes back by more, what is due was
/// reckoned with a time that was wrong.
const SET_BACK: Duration = Duration::from_secs(60);

/// How long to wait before asking once more about a message in doubt.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// Everything that is not done, and when it is due.
#[derive(Debug)]
pub struct Queue {
    policy: RetryPolicy,
    bounce: BouncePolicy,
    messages: BTreeMap<SpoolId, Entry>,
    legs: BTreeMap<LegName, LegQueue>,
    /// The latest time that anybody has told.
    latest: Timestamp,
}

#[derive(Debug)]
struct Entry {
    progress: Progress,
    /// What was said about recipients that were not delivered to. Most messages have none.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in every queued message")]
    remarks: Option<Box<Vec<Remark>>>,
    size: u32,
    /// Whether the sender wants to know that recipients were reached.
    wants_success: bool,
}

/// The last that was said about one recipient on one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The leg.
    pub leg: LegName,
    /// The recipient, by its place in the envelope.
    pub recipient: u32,
    /// The other end's reply, or what happened.
    pub words: String,
}

#[derive(Debug, Default)]
struct LegQueue {
    /// Whether there is such a leg. Otherwise only what was accepted before it went waits for it.
    exists: bool,
    breaker: Breaker,
    /// What is due, oldest first but for what comes back. May hold what is done by now.
    ready: VecDeque<SpoolId>,
    /// What is due later, by time and by name. What is in one of the two alone counts for nothing.
    later: BTreeSet<(Timestamp, SpoolId)>,
    due: BTreeMap<SpoolId, Timestamp>,
    /// Since when messages are in doubt.
    doubts: BTreeMap<SpoolId, Timestamp>,
    newest_next: bool,
    /// What happened last to the leg as a whole, and when.
    trouble: Option<(Timestamp, Trouble)>,
}

/// Something for a leg to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The message.
    pub id: SpoolId,
    /// The recipients, by their place in the envelope.
    pub recipients: Vec<u32>,
    /// How often this leg has tried before.
    pub attempt: u32,
    /// Whether it has to be found out first if they have it already.
    pub in_doubt: bool,
}

/// What follows from what has happened to a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// These recipients were not reached, and whoever has to know must be told.
    pub report: Vec<u32>,
    /// Nothing more is to be done, but for telling of success.
    pub done: bool,
    /// The sender wants to know who was reached: these.
    pub success: Vec<u32>,
}

/// How a leg is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LegState {
    /// Which.
    pub name: LegName,
    /// How many messages wait for it.
    pub waiting: usize,
    /// When it is tried again; none while it is there.
    pub away_until: Option<Timestamp>,
    /// What happened last, and when.
    pub trouble: Option<(Timestamp, String)>,
}

impl Queue {
    /// An empty queue.
    pub fn new(
        policy: RetryPolicy,
        bounce: BouncePolicy,
        legs: impl IntoIterator<Item = LegName>,
    ) -> Queue {
        let exists = |leg| (leg, LegQueue { exists: true, ..LegQueue::default() });
        let legs = legs.into_iter().map(exists).collect();
        Queue { policy, bounce, messages: BTreeMap::new(), legs, latest: Timestamp::default() }
    }

    /// How many messages are not done.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether everything is done.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Takes a message, new or found again. One that is known already only was moved.
    pub fn insert(&mut self, head: &Head, size: u64) {
        if let Some(on) = &head.reports_on
            && let Some(entry) = self.messages.get_mut(&on.id)
        {
            entry.progress.reported(&on.recipients);
            if on.recipients.is_empty() {
                entry.wants_success = false;
            }
        }
        if self.messages.contains_key(&head.id) {
            return;
        }
        let names = |leg: &LegName| match self.legs.get_key_value(leg) {
            Some((name, _)) => name.clone(),
            None => leg.clone(),
        };
        let progress = Progress::with_names(&head.plan, names);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let wants = |recipient: &Recipient| recipient.dsn.notify.is_some_and(|one| one.success);
        let wants_success =
            !head.envelope.reverse_path.is_null() && head.envelope.recipients().iter().any(wants);
        self.messages.insert(head.id, Entry { progress, remarks: None, size, wants_success });
    }

    /// Lets a new message be worked on.
    pub fn enqueue(&mut self, id: SpoolId) {
        let Some(entry) = self.messages.get(&id) else { return };
        for share in entry.progress.shares() {
            self.legs.entry(share.leg.clone()).or_default().ready.push_back(id);
        }
    }

    /// Adds up what a recovery finds.
    pub fn apply(&mut self, transition: &Transition) {
        let id = transition.id();
        if let Transition::Done { .. } | Transition::Void { .. } = transition {
            self.messages.remove(&id);
            return;
        }
        let Some(entry) = self.messages.get_mut(&id) else { return };
        entry.progress.apply(transition);
        if let Transition::Outcome { leg, recipient, words, .. } = transition {
            entry.remark(leg, *recipient, words);
        }
    }

    /// Lets everything that was recovered be worked on, in doubt or not.
    pub fn enqueue_all(&mut self, now: Timestamp) {
        let ids: Vec<SpoolId> = self.messages.keys().copied().collect();
        for id in ids {
            let Some(entry) = self.messages.get(&id) else { continue };
            for share in entry.progress.shares().iter().filter(|share| !share.is_final()) {
                let queue = self.legs.entry(share.leg.clone()).or_default();
                queue.ready.push_back(id);
                if share.any(State::InDoubt) {
                    queue.doubts.insert(id, now);
                }
            }
        }
    }

    /// Takes note of the time. Where the clock was set back, nothing waits for a time that was
    /// reckoned before: it may be years away.
    fn note_time(&mut self, now: Timestamp) {
        if now.saturating_add(SET_BACK) < self.latest {
            self.flush(None, now);
            for since in self.legs.values_mut().flat_map(|queue| queue.doubts.values_mut()) {
                *since = now.min(*since);
            }
            self.latest = now;
        }
        self.latest = self.latest.max(now);
    }

    /// The next for a leg, taken until it is [given back](Self::give_back).
    pub fn next(&mut self, leg: &LegName, now: Timestamp) -> Option<Work> {
        self.note_time(now);
        let queue = self.legs.get_mut(leg)?;
        while let Some(&(due, id)) = queue.later.first() {
            if due > now {
                break;
            }
            queue.later.pop_first();
            if queue.due.get(&id) == Some(&due) {
                queue.due.remove(&id);
                queue.ready.push_back(id);
            }
        }
        if queue.ready.is_empty() || !queue.breaker.admits(now) {
            return None;
        }
        loop {
            let oldest = queue.ready.front()?.time();
            let backlog = now.saturating_since(oldest) > BACKLOG;
            queue.newest_next = backlog && !queue.newest_next;
            let popped =
                if queue.newest_next { queue.ready.pop_back() } else { queue.ready.pop_front() };
            if let Some(id) = popped
                && !queue.due.contains_key(&id)
                && let Some(entry) = self.messages.get_mut(&id)
                && let Some(work) = entry.take(id, leg)
            {
                return Some(work);
            }
            if queue.ready.is_empty() {
                queue.breaker.unused();
                return None;
            }
        }
    }

    /// When something may be due for a leg: now, later, or not until something happens.
    pub fn due(&mut self, leg: &LegName, now: Timestamp) -> Option<Timestamp> {
        self.note_time(now);
        let queue = self.legs.get(leg)?;
        let due = match (queue.ready.is_empty(), queue.later.first()) {
            (false, _) => now,
            (true, Some(&(due, _))) => due.max(now),
            (true, None) => return None,
        };
        if queue.breaker.would_admit(due) {
            return Some(due);
        }
        // With one attempt under way nothing is due until that ends.
        queue.breaker.retry_at().filter(|&at| at > now).map(|at| at.max(due))
    }

    /// Notes that a message's end is about to be sent; the transition to record.
    pub fn intend(&mut self, leg: &LegName, work: &Work, recipients: Vec<u32>) -> Transition {
        let transition =
            Transition::Intent { id: work.id, leg: leg.clone(), recipients, attempt: work.attempt };
        self.apply(&transition);
        transition
    }

    /// Takes how it ended for one recipient; the transition to record, if there is one.
    pub fn outcome(
        &mut self,
        leg: &LegName,
        work: &Work,
        recipient: u32,
        outcome: &Outcome,
        now: Timestamp,
    ) -> Option<Transition> {
        let (state, words) = match outcome {
            Outcome::Delivered(reply) => (State::Delivered, reply.to_string()),
            // Nothing was tried of this message: there is nothing to note about it.
            Outcome::Deferred(trouble)
                if trouble.scope == Scope::Leg && !trouble.phase.concerns_the_message() =>
            {
                return None;
            }
            Outcome::Deferred(trouble) => (State::Pending, remark_of(trouble)),
            Outcome::Failed(trouble) => (State::Failed, remark_of(trouble)),
            Outcome::InDoubt(trouble) => (State::InDoubt, remark_of(trouble)),
        };
        Some(self.set(leg, work, recipient, state, words, now))
    }

    /// Takes an answer about a recipient in doubt; the transition to record, if it decides.
    pub fn resolved(
        &mut self,
        leg: &LegName,
        work: &Work,
        recipient: u32,
        presence: Presence,
        now: Timestamp,
    ) -> Option<Transition> {
        let since = *self.legs.get_mut(leg)?.doubts.entry(work.id).or_insert(now);
        let (state, words) = match presence {
            Presence::Present => (State::Delivered, "found there".to_owned()),
            Presence::Absent => (State::Pending, "not found there".to_owned()),
            Presence::Unknown if now.saturating_since(since) >= self.policy.doubt => {
                (State::Pending, "nobody can tell whether it is there".to_owned())
            }
            Presence::Unknown => return None,
        };
        Some(self.set(leg, work, recipient, state, words, now))
    }

    fn set(
        &mut self,
        leg: &LegName,
        work: &Work,
        recipient: u32,
        state: State,
        words: String,
        at: Timestamp,
    ) -> Transition {
        let (id, leg, attempt) = (work.id, leg.clone(), work.attempt);
        let transition = Transition::Outcome { id, leg, recipient, state, attempt, at, words };
        self.apply(&transition);
        transition
    }

    /// Takes a message back from a leg and says when it is due there again.
    pub fn give_back(&mut self, leg: &LegName, id: SpoolId, now: Timestamp, seed: u64) {
        let Some(entry) = self.messages.get_mut(&id) else { return };
        let Some(share) = entry.progress.share_mut(leg) else { return };
        let tried = share.was_tried();
        share.taken = false;
        let (final_, doubt) = (share.is_final(), share.any(State::InDoubt));
        let attempts = u32::from(share.attempts);
        let queue = self.legs.entry(leg.clone()).or_default();
        if final_ {
            queue.doubts.remove(&id);
        } else if doubt {
            let since = *queue.doubts.entry(id).or_insert(now);
            // The first answer may be had at once: the connection is gone, the mailbox is not.
            let wait = if since == now { Duration::from_secs(1) } else { ASK_AGAIN };
            queue.put_off(id, now.saturating_add(wait.min(self.policy.doubt)));
        } else if queue.doubts.remove(&id).is_some() {
            queue.ready.push_front(id);
        } else if tried {
            let wait = self.policy.wait(attempts.saturating_sub(1), seed);
            queue.put_off(id, now.saturating_add(wait));
        } else {
            queue.ready.push_front(id);
        }
    }

    /// Takes back what was looked at and not worked on: it is next again.
    pub fn put_back(&mut self, leg: &LegName, id: SpoolId) {
        let Some(entry) = self.messages.get_mut(&id) else { return };
        let Some(share) = entry.progress.share_mut(leg) else { return };
        share.taken = false;
        self.legs.entry(leg.clone()).or_default().ready.push_front(id);
    }

    /// The leg as a whole is in trouble. True when it was believed to be there until now.
    pub fn leg_failed(
        &mut self,
        leg: &LegName,
        trouble: &Trouble,
        now: Timestamp,
        seed: u64,
    ) -> bool {
        let queue = self.legs.entry(leg.clone()).or_default();
        queue.trouble = Some((now, trouble.clone()));
        queue.breaker.failed(trouble.phase, now, &self.policy, seed)
    }

    /// The leg answered. True when it was away.
    pub fn leg_succeeded(&mut self, leg: &LegName) -> bool {
        self.legs.get_mut(leg).is_some_and(|queue| {
            let was_away = queue.breaker.succeeded();
            if was_away {
                queue.trouble = None;
            }
            was_away
        })
    }

    /// Nothing was tried of what the leg was let through for.
    pub fn leg_unused(&mut self, leg: &LegName) {
        if let Some(queue) = self.legs.get_mut(leg) {
            queue.breaker.unused();
        }
    }

    /// Whether a leg is believed to be there.
    pub fn is_there(&self, leg: &LegName) -> bool {
        self.legs.get(leg).is_some_and(|queue| queue.breaker.retry_at().is_none())
    }

    /// What follows for a message from all that has happened to it.
    pub fn settle(&self, id: SpoolId) -> Settled {
        let Some(entry) = self.messages.get(&id) else { return Settled::default() };
        let progress = &entry.progress;
        let report = match self.bounce {
            BouncePolicy::AllLegsFailed => progress.lost(),
            BouncePolicy::AnyLegFailed => progress.missed(),
            BouncePolicy::Never => Vec::new(),
        };
        let done = report.is_empty()
            && progress.is_final()
            && progress.shares().iter().all(|share| !share.taken);
        let mut success = Vec::new();
        if done && entry.wants_success {
            let all = progress.shares().iter().flat_map(|share| share.recipients());
            success = all.map(|(at, _)| at).filter(|&at| progress.is_delivered(at)).collect();
            success.sort_unstable();
            success.dedup();
        }
        Settled { report, done, success }
    }

    /// These recipients' failure has been told; the transitions to record.
    pub fn reported(&mut self, id: SpoolId, recipients: &[u32]) -> Vec<Transition> {
        let Some(entry) = self.messages.get_mut(&id) else { return Vec::new() };
        entry.progress.reported(recipients);
        let snapshot = entry.progress.snapshot(id);
        let told = |transition: &Transition| {
            matches!(transition, Transition::Outcome { state: State::Reported, .. })
        };
        snapshot.into_iter().filter(told).collect()
    }

    /// Gives up on what was tried for long enough; the transitions to record.
    ///
    /// A leg must have been tried after the time was up: a relay that was off for a week, or whose
    /// clock has jumped, tries everything once more first. For a leg that is no longer there,
    /// nobody can.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Transition> {
        let mut transitions = Vec::new();
        let lost = self.policy.nobody_reached.min(self.policy.other_reached);
        let Some(latest) = now.as_millis().checked_sub(lost.as_millis() as u64) else {
            return transitions;
        };
        let latest = SpoolId::new(Timestamp::from_millis(latest), u128::MAX);
        for (&id, entry) in self.messages.range(..=latest) {
            if entry.progress.held {
                continue;
            }
            for share in entry.progress.shares().iter().filter(|share| !share.taken) {
                for (recipient, state) in share.recipients() {
                    let limit = if entry.progress.is_delivered(recipient) {
                        self.policy.other_reached
                    } else {
                        self.policy.nobody_reached
                    };
                    let until = id.time().saturating_add(limit);
                    let queue = self.legs.get(&share.leg);
                    let tried = queue.is_none_or(|queue| !queue.exists)
                        || share.last_attempt() >= until
                        || queue
                            .and_then(|queue| queue.trouble.as_ref())
                            .is_some_and(|(at, _)| *at >= until);
                    if state == State::Pending && now >= until && tried {
                        let words = queue.and_then(|queue| queue.trouble.as_ref());
                        let words = words.map(|(_, trouble)| remark_of(trouble));
                        let known = entry.remark_about(&share.leg, recipient);
                        transitions.push(Transition::Outcome {
                            id,
                            leg: share.leg.clone(),
                            recipient,
                            state: State::Expired,
                            attempt: u32::from(share.attempts),
                            at: now,
                            words: known.map(str::to_owned).or(words).unwrap_or_default(),
                        });
                    }
                }
            }
        }
        for transition in &transitions {
            self.apply(transition);
        }
        transitions
    }

    /// Nobody needs to be told any more of who was reached.
    pub fn told_success(&mut self, id: SpoolId) {
        if let Some(entry) = self.messages.get_mut(&id) {
            entry.wants_success = false;
        }
    }

    /// Nothing more is to be done about a message: it goes; the transition to record.
    pub fn finish(&mut self, id: SpoolId, at: Timestamp) -> Transition {
        self.messages.remove(&id);
        Transition::Done { id, at }
    }

    /// Forgets a message that was not kept after all.
    pub fn forget(&mut self, id: SpoolId) {
        self.messages.remove(&id);
    }
}

impl LegQueue {
    fn put_off(&mut self, id: SpoolId, until: Timestamp) {
        self.later.insert((until, id));
        self.due.insert(id, until);
    }
}

impl Entry {
    fn take(&mut self, id: SpoolId, leg: &LegName) -> Option<Work> {
        if self.progress.held {
            return None;
        }
        let share = self.progress.share_mut(leg).filter(|share| !share.taken)?;
        let in_doubt = share.any(State::InDoubt);
        let wanted = if in_doubt { State::InDoubt } else { State::Pending };
        let recipients: Vec<u32> = share
            .recipients()
            .filter(|&(_, state)| state == wanted)
            .map(|(recipient, _)| recipient)
            .collect();
        if recipients.is_empty() {
            return None;
        }
        share.take();
        Some(Work { id, recipients, attempt: u32::from(share.attempts), in_doubt })
    }

    fn remark(&mut self, leg: &LegName, recipient: u32, words: &str) {
        if words.is_empty() && self.remarks.is_none() {
            return;
        }
        let known = self.progress.share(leg).and_then(|share| share.state(recipient));
        let remarks = self.remarks.get_or_insert_default();
        remarks.retain(|remark| remark.leg != *leg || remark.recipient != recipient);
        if known.is_some_and(|state| state != State::Delivered) && !words.is_empty() {
            let words = printable_within(words.as_bytes(), LONGEST_REMARK);
            remarks.push(Remark { leg: leg.clone(), recipient, words });
        }
        if remarks.is_empty() {
            self.remarks = None;
        }
    }

    fn remark_about(&self, leg: &LegName, recipient: u32) -> Option<&str> {
        let about = |remark: &&Remark| remark.leg == *leg && remark.recipient == recipient;
        self.remarks.as_ref()?.iter().find(about).map(|remark| remark.words.as_str())
    }
}

/// The reply alone where there is one, as a report quotes it; else what happened.
fn remark_of(trouble: &Trouble) -> String {
    match trouble.reply() {
        Some(reply) if trouble.phase != Phase::Connect => reply.to_string(),
        _ => trouble.to_string(),
    }
}
