//! The numbered invariants of delivery, as properties of the queue alone: no clock, no thread, no
//! disk, and whatever can happen happens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mail_dual::{
    BouncePolicy, Cause, Envelope, ForwardPath, Head, LegName, Outcome, Phase, Presence, Queue,
    Reply, RetryPolicy, ReversePath, Scope, Share, SpoolId, State, Timestamp, Transition, Trouble,
    Work,
};
use proptest::prelude::*;

/// What a leg does with one recipient of a message.
#[derive(Debug, Clone, Copy)]
enum Act {
    Take,
    PutOff,
    Refuse,
    Away,
    Break,
    /// Takes it, and the answer is lost.
    TakeSilently,
    LoseSilently,
}

#[derive(Debug, Clone)]
enum Step {
    /// A message for so many recipients.
    Accept(u8),
    /// A leg is offered work and does this.
    Work(bool, Act, bool),
    /// Time passes, in minutes.
    Pass(u16),
    Expire,
    Flush,
    Hold(u8),
    Release(u8),
    /// The process dies and starts again with what was recorded.
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Take),
        2 => Just(Act::PutOff),
        1 => Just(Act::Refuse),
        1 => Just(Act::Away),
        1 => Just(Act::Break),
        1 => Just(Act::TakeSilently),
        1 => Just(Act::LoseSilently),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u8..4).prop_map(Step::Accept),
        12 => (any::<bool>(), act(), any::<bool>()).prop_map(|(leg, act, can_tell)| Step::Work(leg, act, can_tell)),
        4 => (0u16..90).prop_map(Step::Pass),
        1 => Just(Step::Pass(60 * 24 * 3)),
        1 => Just(Step::Expire),
        1 => Just(Step::Flush),
        1 => any::<u8>().prop_map(Step::Hold),
        1 => any::<u8>().prop_map(Step::Release),
        1 => Just(Step::Restart),
    ]
}

fn legs() -> [LegName; 2] {
    ["uk", "us"].map(|name| name.parse().unwrap())
}

fn policy() -> RetryPolicy {
    RetryPolicy::default()
}

type Copy = (SpoolId, LegName, u32);

struct World {
    queue: Queue,
    now: Timestamp,
    heads: Vec<Head>,
    recorded: Vec<Transition>,
    /// How often each copy arrived.
    mailboxes: BTreeMap<Copy, u32>,
    /// Copies that were sent again although nobody could tell.
    sent_again: BTreeMap<Copy, u32>,
    reported: BTreeSet<(SpoolId, u32)>,
    /// Before these times nothing may be tried, unless it is flushed.
    not_before: BTreeMap<(SpoolId, LegName), Timestamp>,
    leg_not_before: BTreeMap<LegName, Timestamp>,
    leg_failures: BTreeMap<LegName, u32>,
    done: BTreeSet<SpoolId>,
}

fn reply(code: u16) -> Reply {
    Reply::new(code, "said").unwrap()
}

impl World {
    fn new() -> World {
        World {
            queue: Queue::new(policy(), BouncePolicy::AllLegsFailed, legs()),
            now: Timestamp::from_millis(1_795_392_000_000),
            heads: Vec::new(),
            recorded: Vec::new(),
            mailboxes: BTreeMap::new(),
            sent_again: BTreeMap::new(),
            reported: BTreeSet::new(),
            not_before: BTreeMap::new(),
            leg_not_before: BTreeMap::new(),
            leg_failures: BTreeMap::new(),
            done: BTreeSet::new(),
        }
    }

    fn accept(&mut self, count: u8) {
        let id = SpoolId::new(self.now, self.heads.len() as u128);
        let paths = (0..count).map(|at| ForwardPath::new(format!("u{at}@example.org")).unwrap());
        let recipients: Vec<u32> = (0..u32::from(count)).collect();
        let plan = legs().map(|leg| Share { leg, recipients: recipients.clone() });
        let sender = ReversePath::new("ann@example.com").unwrap();
        let head = Head {
            id,
            accepted: self.now,
            origin: None,
            envelope: Envelope::new(sender, paths).unwrap(),
            plan: plan.to_vec(),
            reports_on: None,
        };
        self.queue.insert(&head, 100);
        self.queue.enqueue(id);
        self.heads.push(head);
    }

    fn work(&mut self, leg: &LegName, act: Act, can_tell: bool) {
        let Some(work) = self.queue.next(leg, self.now) else { return };
        let key = (work.id, leg.clone());
        // I5.
        let early = self.not_before.get(&key).is_some_and(|&at| self.now < at);
        assert!(!early, "{work:?} came too early");
        let early = self.leg_not_before.get(leg).is_some_and(|&at| self.now < at);
        assert!(!early, "leg {leg} was tried too early");
        assert!(!self.done.contains(&work.id), "{work:?} is done");
        if work.in_doubt {
            self.resolve(leg, &work, can_tell);
        } else {
            self.deliver(leg, &work, act);
        }
        self.settle(work.id);
    }

    fn resolve(&mut self, leg: &LegName, work: &Work, can_tell: bool) {
        for &recipient in &work.recipients {
            let copy = (work.id, leg.clone(), recipient);
            let presence = match (can_tell, self.mailboxes.contains_key(&copy)) {
                (false, _) => Presence::Unknown,
                (true, true) => Presence::Present,
                (true, false) => Presence::Absent,
            };
            let noted = self.queue.resolved(leg, work, recipient, presence, self.now);
            if noted.is_some() && presence == Presence::Unknown {
                *self.sent_again.entry(copy).or_insert(0) += 1;
            }
            self.recorded.extend(noted);
        }
        self.queue.leg_unused(leg);
        self.queue.give_back(leg, work.id, self.now, 0);
    }

    fn deliver(&mut self, leg: &LegName, work: &Work, act: Act) {
        let sent = !matches!(act, Act::Away | Act::Break | Act::Refuse);
        if sent {
            let intent = self.queue.intend(leg, work, work.recipients.clone());
            self.recorded.push(intent);
        }
        for &recipient in &work.recipients {
            let copy = (work.id, leg.clone(), recipient);
            if matches!(act, Act::Take | Act::TakeSilently) {
                *self.mailboxes.entry(copy).or_insert(0) += 1;
            }
            let outcome = match act {
                Act::Take => Outcome::Delivered(reply(250)),
                Act::PutOff => Outcome::of_reply(Phase::Dot, reply(451)),
                Act::Refuse => Outcome::of_reply(Phase::Rcpt, reply(550)),
                Act::Away => Outcome::Deferred(Trouble::io(Phase::Connect, "refused")),
                Act::Break => Outcome::Deferred(Trouble::io(Phase::Mail, "broken")),
                Act::TakeSilently | Act::LoseSilently => {
                    Outcome::InDoubt(Trouble::io(Phase::Dot, "silence"))
                }
            };
            let noted = self.queue.outcome(leg, work, recipient, &outcome, self.now);
            assert_eq!(noted.is_none(), matches!(act, Act::Away), "{outcome:?}");
            self.recorded.extend(noted);
        }
        match act {
            Act::Away => {
                let trouble = Trouble {
                    phase: Phase::Connect,
                    scope: Scope::Leg,
                    cause: Cause::Io("refused".to_owned()),
                };
                self.queue.leg_failed(leg, &trouble, self.now, 0);
                let failures = self.leg_failures.entry(leg.clone()).or_insert(0);
                let wait = policy().leg_wait(*failures, 0);
                *failures += 1;
                self.leg_not_before.insert(leg.clone(), self.now.saturating_add(wait));
            }
            Act::Take | Act::PutOff | Act::Refuse => {
                self.queue.leg_succeeded(leg);
                self.leg_failures.remove(leg);
                self.leg_not_before.remove(leg);
            }
            Act::Break | Act::TakeSilently | Act::LoseSilently => self.queue.leg_unused(leg),
        }
        if matches!(act, Act::PutOff | Act::Break) {
            let wait = policy().wait(work.attempt, 0);
            let until = self.now.saturating_add(wait);
            self.not_before.insert((work.id, leg.clone()), until);
        }
        self.queue.give_back(leg, work.id, self.now, 0);
    }

    fn settle(&mut self, id: SpoolId) {
        let settled = self.queue.settle(id);
        for &recipient in &settled.report {
            // I4.
            assert!(self.reported.insert((id, recipient)), "{id} was reported twice");
            let reached = legs().map(|leg| {
                let progress = self.queue.progress(id).unwrap();
                progress.share(&leg).unwrap().state(recipient) == Some(State::Delivered)
            });
            assert_eq!(reached, [false, false], "{id} was delivered and is reported");
        }
        if !settled.report.is_empty() {
            let told = self.queue.reported(id, &settled.report);
            assert!(!told.is_empty());
            self.recorded.extend(told);
        }
        if self.queue.settle(id).done {
            let done = self.queue.finish(id, self.now);
            self.recorded.push(done);
            self.done.insert(id);
        }
    }

    fn restart(&mut self) {
        let mut again = Queue::new(policy(), BouncePolicy::AllLegsFailed, legs());
        for head in &self.heads {
            again.insert(head, 100);
        }
        for transition in &self.recorded {
            again.apply(transition);
        }
        for (id, _, progress) in self.queue.list(None) {
            let found = again.progress(id).unwrap_or_else(|| panic!("{id} is gone"));
            for share in progress.shares() {
                let states = |of: &mail_dual::Progress| -> Vec<(u32, State)> {
                    of.share(&share.leg).unwrap().recipients().collect()
                };
                assert_eq!(states(found), states(progress));
            }
            assert_eq!(found.held, progress.held);
        }
        assert_eq!(again.len(), self.queue.len());
        again.enqueue_all(self.now);
        self.queue = again;
        // A relay that starts tries everything at once.
        self.not_before.clear();
        self.leg_not_before.clear();
        self.leg_failures.clear();
    }

    fn id(&self, at: u8) -> Option<SpoolId> {
        let count = self.heads.len();
        (count > 0).then(|| self.heads[usize::from(at) % count].id)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Accept(count) => self.accept(*count),
            Step::Work(first, act, can_tell) => {
                self.work(&legs()[usize::from(!first)], *act, *can_tell);
            }
            Step::Pass(minutes) => {
                self.now = self.now.saturating_add(Duration::from_secs(u64::from(*minutes) * 60));
            }
            Step::Expire => {
                let expired = self.queue.expire(self.now);
                let ids: BTreeSet<SpoolId> = expired.iter().map(Transition::id).collect();
                for id in &ids {
                    let limit = policy().nobody_reached;
                    assert!(self.now.saturating_since(id.time()) >= limit, "{id} expired early");
                }
                self.recorded.extend(expired);
                for id in ids {
                    self.settle(id);
                }
            }
            Step::Flush => {
                self.queue.flush(None, self.now);
                self.not_before.clear();
                self.leg_not_before.clear();
                self.leg_failures.clear();
            }
            Step::Hold(at) => {
                let noted = self.id(*at).and_then(|id| self.queue.hold(id));
                self.recorded.extend(noted);
            }
            Step::Release(at) => {
                let Some(id) = self.id(*at) else { return };
                if let Some(noted) = self.queue.release(id) {
                    self.recorded.push(noted);
                    // Somebody wants it to go now.
                    self.not_before.retain(|(held, _), _| *held != id);
                }
            }
            Step::Restart => self.restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn i1_i2_i4_i5_i8_whatever_happens(steps in proptest::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        // In the end all is well: everything is released and both legs take what they get.
        for at in 0..world.heads.len() as u8 {
            world.take(&Step::Release(at));
        }
        for _ in 0..400 {
            if world.queue.is_empty() {
                break;
            }
            world.take(&Step::Pass(70));
            for leg in legs() {
                for _ in 0..world.heads.len() * 2 {
                    world.work(&leg, Act::Take, true);
                }
            }
        }
        prop_assert!(world.queue.is_empty(), "{:?}", world.queue);
        for head in &world.heads {
            prop_assert!(world.done.contains(&head.id));
            for recipient in 0..head.envelope.recipients().len() as u32 {
                let mut reached = false;
                for leg in legs() {
                    let copy = (head.id, leg.clone(), recipient);
                    let count = world.mailboxes.get(&copy).copied().unwrap_or(0);
                    let again = world.sent_again.get(&copy).copied().unwrap_or(0);
                    // I2: more than once only as often as nobody could tell.
                    prop_assert!(count <= 1 + again, "{copy:?}: {count}");
                    reached |= count > 0;
                }
                // I1.
                prop_assert!(reached || world.reported.contains(&(head.id, recipient)));
            }
        }
    }
}

#[test]
fn after_an_outage_new_mail_does_not_wait_for_the_backlog() {
    let mut world = World::new();
    let us = &legs()[1];
    for _ in 0..1000 {
        world.accept(1);
    }
    world.work(us, Act::Away, true);
    world.take(&Step::Pass(60));
    world.accept(1);
    let newest = world.heads.last().unwrap().id;
    let first: Vec<SpoolId> =
        (0..4).filter_map(|_| world.queue.next(us, world.now)).map(|work| work.id).collect();
    // One attempt finds out whether the leg is there.
    assert_eq!(first.len(), 1);
    world.queue.leg_succeeded(us);
    let next: Vec<SpoolId> =
        (0..4).filter_map(|_| world.queue.next(us, world.now)).map(|work| work.id).collect();
    assert!(first.contains(&newest) || next.contains(&newest));
    assert!(next.contains(&world.heads[0].id) || next.contains(&world.heads[1].id));
}

#[test]
fn s2_a_clock_that_is_set_back_keeps_nothing_waiting_for_years() {
    for (act, wait) in [(Act::PutOff, 1), (Act::Away, 1), (Act::LoseSilently, 601)] {
        let mut world = World::new();
        let us = &legs()[1];
        let before = world.now;
        // The clock of a machine that has just started is wrong.
        world.now = before.saturating_add(Duration::from_secs(10 * 365 * 86_400));
        world.accept(1);
        world.work(us, act, false);
        world.now = before;
        world.not_before.clear();
        world.leg_not_before.clear();
        for _ in 0..3 {
            world.queue.due(us, world.now);
            world.now = world.now.saturating_add(Duration::from_secs(wait));
            world.work(us, Act::Take, false);
        }
        let id = world.heads[0].id;
        let share = world.queue.progress(id).unwrap().share(us).unwrap().clone();
        assert!(share.is_final(), "{act:?}: {share:?}");
    }
    // Steps as a clock makes them all the time bring nothing forward.
    let mut world = World::new();
    let us = &legs()[1];
    world.accept(1);
    world.work(us, Act::PutOff, false);
    let due = world.queue.due(us, world.now).unwrap();
    let earlier = Timestamp::from_millis(world.now.as_millis() - 5_000);
    assert_eq!(world.queue.due(us, earlier), Some(due));
}

#[test]
fn what_waits_for_a_leg_that_is_gone_is_told_and_given_up_in_time() {
    let mut world = World::new();
    world.accept(1);
    let [uk, us] = legs();
    world.work(&uk, Act::Take, true);
    let (head, now) = (world.heads[0].clone(), world.now);
    let mut queue = Queue::new(policy(), BouncePolicy::default(), [uk.clone()]);
    queue.insert(&head, 1);
    for transition in world.queue.progress(head.id).unwrap().snapshot(head.id) {
        queue.apply(&transition);
    }
    queue.enqueue_all(now);
    assert_eq!(queue.stranded(), [(us, 1)]);
    assert_eq!(world.queue.stranded(), []);
    let month = policy().other_reached;
    assert!(queue.expire(now.saturating_add(month / 2)).is_empty());
    assert_eq!(queue.expire(now.saturating_add(month * 2)).len(), 1);
    assert!(queue.settle(head.id).done);
}
