//! Two things at once: what is still being written when the next comes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use mail_dual::testing::{Behaviour, ManualClock, MemoryDisk, MemoryLeg};
use mail_dual::{
    Accept, AckPolicy, Arrival, BouncePolicy, Clock, CompactReport, Engine, Envelope, Event, Feed,
    ForwardPath, Handle, Job, Leg, LegSetting, LogOptions, LogSpool, MemSpool, Observer, Outcome,
    Port, Presence, RawMessage, Recovered, RecoveryReport, ReversePath, Route, RoutingTable,
    Settings, Silent, Spool, SpoolError, SpoolId, Stored, Submission, Timestamp, Transition,
};

/// A spool on a disk that is as slow as the test likes.
#[derive(Debug, Default)]
struct Slow {
    spool: MemSpool,
    /// Whether it is closed, and how many wait for it to open.
    gate: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Slow {
    fn close(&self) {
        self.gate.lock().unwrap().0 = true;
    }

    fn open(&self) {
        self.gate.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    /// Waits until somebody waits.
    fn until_waited_for(&self) {
        let gate = self.gate.lock().unwrap();
        let wait = Duration::from_secs(60);
        let (_gate, late) =
            self.changed.wait_timeout_while(gate, wait, |gate| gate.1 == 0).unwrap();
        assert!(!late.timed_out());
    }
}

impl Spool for Slow {
    fn append(&self, messages: &[Stored]) -> Result<(), SpoolError> {
        let mut gate = self.gate.lock().unwrap();
        gate.1 += 1;
        self.changed.notify_all();
        gate = self.changed.wait_while(gate, |gate| gate.0).unwrap();
        gate.1 -= 1;
        drop(gate);
        self.spool.append(messages)
    }

    fn record(&self, transitions: &[Transition]) -> Result<(), SpoolError> {
        self.spool.record(transitions)
    }

    fn sync(&self) -> Result<(), SpoolError> {
        self.spool.sync()
    }

    fn load(&self, id: SpoolId) -> Result<Stored, SpoolError> {
        self.spool.load(id)
    }

    fn recover(&self, visit: &mut dyn FnMut(Recovered<'_>)) -> Result<RecoveryReport, SpoolError> {
        self.spool.recover(visit)
    }

    fn compact(
        &self,
        keep_since: Timestamp,
        restate: &dyn Fn(SpoolId) -> Result<(), SpoolError>,
    ) -> Result<CompactReport, SpoolError> {
        self.spool.compact(keep_since, restate)
    }

    fn kept(&self) -> Vec<(SpoolId, Timestamp)> {
        self.spool.kept()
    }

    fn free(&self) -> Option<u64> {
        None
    }
}

/// Counts what has failed.
#[derive(Debug, Default)]
struct Failures(Mutex<usize>, Condvar);

impl Observer for Failures {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Failed { .. }) {
            *self.0.lock().unwrap() += 1;
            self.1.notify_all();
        }
    }
}

struct Relay {
    engine: Engine,
    handle: Handle,
    spool: Arc<Slow>,
    clock: Arc<ManualClock>,
    failures: Arc<Failures>,
    uk: Arc<MemoryLeg>,
    us: Arc<MemoryLeg>,
    reports: Arc<MemoryLeg>,
}

const START: u64 = 1_795_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

fn path(text: &str) -> ForwardPath {
    ForwardPath::new(text).unwrap()
}

fn relay(change: impl Fn(&mut Settings)) -> Relay {
    let route = Route {
        recipients: vec!["*@example.org".parse().unwrap()],
        legs: vec!["uk".parse().unwrap(), "us".parse().unwrap()],
    };
    let routes = RoutingTable::new(vec![route], ["us".parse().unwrap()]);
    let mut settings = Settings::new("relay.example.net", routes);
    settings.reports = Some("reports".parse().unwrap());
    change(&mut settings);
    let legs = [(); 3].map(|()| Arc::new(MemoryLeg::new()));
    let setting = |(name, leg): (&str, &Arc<MemoryLeg>)| LegSetting {
        name: name.parse().unwrap(),
        leg: leg.clone(),
        connections: 1,
    };
    let [uk, us, reports] = legs;
    let legs = [("uk", &uk), ("us", &us), ("reports", &reports)].map(setting);
    let spool = Arc::new(Slow::default());
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(START)));
    let failures = Arc::new(Failures::default());
    let (engine, _) =
        Engine::open(settings, legs.to_vec(), spool.clone(), clock.clone(), failures.clone())
            .unwrap();
    let handle = engine.handle();
    Relay { engine, handle, spool, clock, failures, uk, us, reports }
}

fn submission() -> Submission {
    Submission {
        envelope: Envelope::new(
            ReversePath::new("ann@example.com").unwrap(),
            [path("bob@example.org")],
        )
        .unwrap(),
        message: RawMessage::new("Subject: 1\r\n\r\nhello\r\n").unwrap(),
        arrival: Arrival::local(Port::Fanout),
    }
}

fn from_peer(origin: SpoolId) -> Submission {
    let mut submission = submission();
    submission.arrival.port = Port::Peer;
    submission.arrival.origin = Some(origin);
    submission
}

impl Relay {
    fn until_empty(&self) {
        for _ in 0..6000 {
            if self.handle.queue_len() == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{:?}", self.handle.list(None, 10));
    }

    fn until_failed(&self, times: usize) {
        let failed = self.failures.0.lock().unwrap();
        let wait = Duration::from_secs(60);
        let (_failed, late) =
            self.failures.1.wait_timeout_while(failed, wait, |failed| *failed < times).unwrap();
        assert!(!late.timed_out());
    }
}

#[test]
fn i4_what_is_being_reported_is_not_reported_again() {
    for bounce in [BouncePolicy::AnyLegFailed, BouncePolicy::AllLegsFailed] {
        let mut relay = relay(|settings| settings.bounce = bounce);
        for leg in [&relay.uk, &relay.us] {
            leg.behave(Behaviour::RefuseRecipient(550));
        }
        let sent = relay.handle.accept(submission());
        assert!(sent.is_ok());
        relay.spool.close();
        relay.engine.start().unwrap();
        // The report is being written now. What the other leg says, and whoever looks after the
        // queue, would each begin another.
        relay.spool.until_waited_for();
        relay.until_failed(2);
        thread::scope(|scope| {
            let looking = scope.spawn(|| relay.handle.housekeep());
            thread::sleep(Duration::from_millis(100));
            relay.spool.open();
            looking.join().unwrap().unwrap();
        });
        relay.until_empty();
        assert_eq!(relay.reports.taken().len(), 1, "{bounce:?}");
        relay.engine.shutdown().unwrap();
    }
}

#[test]
fn i2_what_the_peer_is_still_handing_over_is_neither_absent_nor_taken_twice() {
    let mut relay = relay(|_| {});
    relay.engine.start().unwrap();
    let origin = SpoolId::new(Timestamp::from_millis(START - 5), 99);
    relay.spool.close();
    thread::scope(|scope| {
        let first = scope.spawn(|| relay.handle.accept(from_peer(origin)));
        relay.spool.until_waited_for();
        // The peer has lost the connection meanwhile, and asks, and sends it again.
        let presence = relay.handle.knows(origin, &path("bob@example.org"));
        let again = scope.spawn(|| relay.handle.accept(from_peer(origin)));
        thread::sleep(Duration::from_millis(100));
        relay.spool.open();
        assert_eq!(presence, Presence::Unknown);
        first.join().unwrap().unwrap();
        assert_eq!(again.join().unwrap().unwrap_err().code(), 451);
    });
    assert_eq!(relay.handle.knows(origin, &path("bob@example.org")), Presence::Present);
    relay.handle.accept(from_peer(origin)).unwrap();
    relay.until_empty();
    assert_eq!(relay.uk.taken().len(), 1);
}

#[test]
fn i2_what_was_long_under_way_to_us_is_remembered_from_its_arrival_on() {
    let mut relay = relay(|_| {});
    relay.engine.start().unwrap();
    // We were away for four days, in which the peer has kept it.
    let origin = SpoolId::new(Timestamp::from_millis(START - 4 * 86_400_000), 99);
    relay.handle.accept(from_peer(origin)).unwrap();
    relay.handle.housekeep().unwrap();
    assert_eq!(relay.handle.knows(origin, &path("bob@example.org")), Presence::Present);
    relay.handle.accept(from_peer(origin)).unwrap();
    relay.until_empty();
    assert_eq!(relay.uk.taken().len(), 1);
    relay.clock.advance(DAY * 3);
    relay.handle.housekeep().unwrap();
    assert_eq!(relay.handle.knows(origin, &path("bob@example.org")), Presence::Unknown);
    assert!(relay.clock.now() > Timestamp::from_millis(START));
}

#[test]
fn a_peer_that_has_refused_a_message_is_not_said_to_have_it() {
    let mut relay = relay(|settings| settings.ack = AckPolicy::SpooledAndPeer);
    relay.us.behave(Behaviour::RefuseRecipient(550));
    relay.engine.start().unwrap();
    for _ in 0..50 {
        assert!(!relay.handle.accept(submission()).unwrap().at_peer);
    }
    relay.until_empty();
}

/// A leg that keeps what is on the disk when its server has stored a message and the answer has
/// not been noted yet.
#[derive(Debug)]
struct Witness {
    leg: Arc<MemoryLeg>,
    disk: MemoryDisk,
    seen: Mutex<Option<MemoryDisk>>,
}

struct Noted<'a>(&'a mut dyn Feed, &'a Witness);

impl Feed for Noted<'_> {
    fn next(&mut self) -> Option<Arc<Job>> {
        self.0.next()
    }

    fn committing(&mut self, job: &Job, recipients: &[usize]) -> bool {
        self.0.committing(job, recipients)
    }

    fn report(&mut self, job: &Job, recipient: usize, outcome: Outcome) {
        self.1.seen.lock().unwrap().get_or_insert_with(|| self.1.disk.after_kill());
        self.0.report(job, recipient, outcome);
    }
}

impl Leg for Witness {
    fn deliver(&self, feed: &mut dyn Feed) {
        self.leg.deliver(&mut Noted(feed, self));
    }

    fn contains(&self, job: &Job, recipient: usize) -> Presence {
        self.leg.contains(job, recipient)
    }
}

#[test]
fn i2_i8_killed_between_storing_and_noting_it_asks_before_it_sends() {
    let run = |disk: &MemoryDisk, leg: &Arc<MemoryLeg>, now: u64| {
        let witness =
            Arc::new(Witness { leg: leg.clone(), disk: disk.clone(), seen: Mutex::default() });
        let route =
            Route { recipients: vec!["*".parse().unwrap()], legs: vec!["uk".parse().unwrap()] };
        let mut settings = Settings::new("relay.example.net", RoutingTable::new(vec![route], []));
        settings.reserve = 0;
        let spool = LogSpool::open(Arc::new(disk.clone()), LogOptions::new(now)).unwrap();
        let legs =
            vec![LegSetting { name: "uk".parse().unwrap(), leg: witness.clone(), connections: 1 }];
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(now)));
        let (engine, _) =
            Engine::open(settings, legs, Arc::new(spool), clock, Arc::new(Silent)).unwrap();
        (engine, witness)
    };
    let through = |engine: &mut Engine| {
        engine.start().unwrap();
        for _ in 0..6000 {
            if engine.handle().queue_len() == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{:?}", engine.handle().list(None, 10));
    };
    let leg = Arc::new(MemoryLeg::new());
    let (mut engine, witness) = run(&MemoryDisk::new(), &leg, START);
    engine.handle().accept(submission()).unwrap();
    through(&mut engine);
    let found = witness.seen.lock().unwrap().take().unwrap();
    // A process that starts with that disk has a message that may be there, and is.
    let (mut again, _) = run(&found, &leg, START + 1);
    assert_eq!(again.handle().queue_len(), 1);
    through(&mut again);
    assert_eq!(leg.taken().len(), 1);
}
