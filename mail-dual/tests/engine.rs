//! What the engine promises, with legs in memory that fail in every way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mail_dual::testing::{Behaviour, Fault, ManualClock, MemoryDisk, MemoryLeg};
use mail_dual::{
    Accept, AckPolicy, Arrival, Clock, Engine, Envelope, Event, ForwardPath, Handle, LegSetting,
    LogOptions, LogSpool, Notify, Observer, Phase, Port, Presence, RawMessage, Receipt,
    ReversePath, Route, RoutingTable, Settings, SpoolId, Submission, Timestamp,
};

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Event>>);

impl Observer for Log {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Log {
    fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| wanted(event)).count()
    }
}

struct Relay {
    engine: Engine,
    handle: Handle,
    uk: Arc<MemoryLeg>,
    us: Arc<MemoryLeg>,
    reports: Arc<MemoryLeg>,
    clock: Arc<ManualClock>,
    log: Arc<Log>,
    disk: MemoryDisk,
}

const SENDER: &str = "ann@example.com";

fn path(text: &str) -> ForwardPath {
    ForwardPath::new(text).unwrap()
}

fn settings() -> Settings {
    let route = Route {
        recipients: vec!["*@example.org".parse().unwrap()],
        legs: vec!["uk".parse().unwrap(), "us".parse().unwrap()],
    };
    let mut settings =
        Settings::new("relay.example.net", RoutingTable::new(vec![route], ["us".parse().unwrap()]));
    settings.reports = Some("reports".parse().unwrap());
    settings
}

fn relay_on(disk: MemoryDisk, settings: Settings, legs: [Arc<MemoryLeg>; 3], now: u64) -> Relay {
    let spool =
        LogSpool::open(Arc::new(disk.clone()), LogOptions { segment_bytes: 20_000, salt: now });
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(now)));
    let log = Arc::new(Log::default());
    let names = ["uk", "us", "reports"];
    let settings_of = names.iter().zip(&legs).map(|(name, leg)| LegSetting {
        name: name.parse().unwrap(),
        leg: Arc::clone(leg) as _,
        connections: 2,
    });
    let (engine, _) = Engine::open(
        settings,
        settings_of.collect(),
        Arc::new(spool.unwrap()),
        Arc::clone(&clock) as _,
        Arc::clone(&log) as _,
    )
    .unwrap();
    let handle = engine.handle();
    let [uk, us, reports] = legs;
    Relay { engine, handle, uk, us, reports, clock, log, disk }
}

const START: u64 = 1_795_392_000_000;

fn relay(settings: Settings) -> Relay {
    let legs = [(); 3].map(|()| Arc::new(MemoryLeg::new()));
    relay_on(MemoryDisk::new(), settings, legs, START)
}

fn submission(sender: &str, recipients: &[&str], number: u32) -> Submission {
    let reverse_path =
        if sender.is_empty() { ReversePath::null() } else { ReversePath::new(sender).unwrap() };
    Submission {
        envelope: Envelope::new(reverse_path, recipients.iter().map(|to| path(to))).unwrap(),
        message: RawMessage::new(format!("Subject: {number}\r\n\r\nMessage {number}\r\n")).unwrap(),
        arrival: Arrival::local(Port::Fanout),
    }
}

impl Relay {
    fn send(&self, recipients: &[&str]) -> Receipt {
        self.handle.accept(submission(SENDER, recipients, 1)).unwrap()
    }

    /// Waits until a fact holds, moving the clock so that everything comes due.
    fn until(&self, fact: impl Fn(&Relay) -> bool) {
        for _ in 0..2000 {
            if fact(self) {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
            // Wakes the workers, which look at the clock; nothing comes earlier for it.
            self.wake();
            std::thread::sleep(Duration::from_millis(2));
        }
        panic!("{:?}\n{:?}", self.handle.list(None, 10), self.log);
    }

    fn wake(&self) {
        self.handle.flush(None);
    }

    fn until_empty(&self) {
        self.until(|relay| relay.handle.queue_len() == 0);
    }
}

fn recipients_of(leg: &MemoryLeg) -> Vec<String> {
    let mut all: Vec<String> = leg.taken().iter().map(|(_, to, _)| to.to_string()).collect();
    all.sort();
    all
}

#[test]
fn i3_each_leg_gets_the_same_octets_with_one_field_more() {
    let mut relay = relay(settings());
    relay.engine.start().unwrap();
    let sent = submission(SENDER, &["bob@example.org"], 7);
    let receipt = relay.handle.accept(sent.clone()).unwrap();
    relay.until_empty();
    for leg in [&relay.uk, &relay.us] {
        let [(id, _, message)] = &leg.taken()[..] else { panic!("{leg:?}") };
        assert_eq!(*id, receipt.id);
        let bytes = message.as_bytes();
        assert!(bytes.ends_with(sent.message.as_bytes()));
        assert_eq!(message.received_count(), 1);
        assert_eq!(message.spool_id(), Some(receipt.id));
    }
    assert_eq!(relay.uk.taken()[0].2, relay.us.taken()[0].2);
    relay.engine.shutdown().unwrap();
}

#[test]
fn i4_the_sender_is_told_only_when_nobody_was_reached() {
    let mut relay = relay(settings());
    relay.us.refuse(path("half@example.org"));
    relay.uk.refuse(path("none@example.org"));
    relay.us.refuse(path("none@example.org"));
    relay.engine.start().unwrap();
    relay.send(&["both@example.org", "half@example.org", "none@example.org"]);
    relay.until_empty();
    assert_eq!(recipients_of(&relay.uk), ["both@example.org", "half@example.org"]);
    assert_eq!(recipients_of(&relay.us), ["both@example.org"]);
    let [(_, to, report)] = &relay.reports.taken()[..] else { panic!("{:?}", relay.reports) };
    assert_eq!(to.as_str(), SENDER);
    let text = String::from_utf8_lossy(report.as_bytes());
    assert!(text.contains("Final-Recipient: rfc822; none@example.org"), "{text}");
    assert!(!text.contains("half@example.org"), "{text}");
    assert_eq!(relay.log.count(|event| matches!(event, Event::Failed { .. })), 3);
}

#[test]
fn s25_two_legs_tell_of_success_once_and_only_where_it_was_asked() {
    let mut relay = relay(settings());
    relay.engine.start().unwrap();
    relay.send(&["bob@example.org"]);
    let mut asked = submission(SENDER, &["bob@example.org"], 2);
    let mut recipient = asked.envelope.recipients()[0].clone();
    recipient.dsn.notify = Some(Notify { success: true, failure: true, delay: false });
    asked.envelope = asked.envelope.for_recipients([recipient]).unwrap();
    relay.handle.accept(asked).unwrap();
    relay.until_empty();
    let [(_, to, report)] = &relay.reports.taken()[..] else { panic!("{:?}", relay.reports) };
    assert_eq!(to.as_str(), SENDER);
    assert!(String::from_utf8_lossy(report.as_bytes()).contains("Action: relayed"));
}

#[test]
fn s21_nobody_is_told_about_a_message_without_a_sender() {
    let mut relay = relay(settings());
    for leg in [&relay.uk, &relay.us] {
        leg.behave(Behaviour::RefuseRecipient(550));
    }
    relay.engine.start().unwrap();
    relay.handle.accept(submission("", &["bob@example.org"], 1)).unwrap();
    relay.until_empty();
    assert!(relay.reports.taken().is_empty());
    assert_eq!(relay.log.count(|event| matches!(event, Event::NotReported { .. })), 1);
}

#[test]
fn a_leg_that_turns_us_away_loses_nobody_their_mail() {
    let mut relay = relay(settings());
    relay.us.behave(Behaviour::TurnAway);
    relay.engine.start().unwrap();
    for _ in 0..50 {
        relay.send(&["bob@example.org"]);
    }
    relay.until(|relay| relay.uk.taken().len() == 50);
    assert!(relay.us.taken().is_empty() && relay.reports.taken().is_empty());
    relay.us.behave(Behaviour::Take);
    relay.until_empty();
    assert_eq!(relay.us.taken().len(), 50);
    assert_eq!(relay.log.count(|event| matches!(event, Event::LegAway { .. })), 1);
    assert_eq!(relay.log.count(|event| matches!(event, Event::LegBack { .. })), 1);
}

/// No time passes at all while one leg takes its mail, so it cannot have waited for the other.
#[test]
fn the_other_leg_is_not_delayed() {
    for behaviour in [
        Behaviour::Away,
        Behaviour::TurnAway,
        Behaviour::Break(Phase::Mail),
        Behaviour::Break(Phase::Data),
        Behaviour::LoseSilently,
        Behaviour::RefuseRecipient(450),
        Behaviour::RefuseRecipient(550),
        Behaviour::RefuseMessage(452),
    ] {
        let mut relay = relay(settings());
        relay.us.behave(behaviour);
        relay.us.set_can_tell(false);
        relay.engine.start().unwrap();
        for _ in 0..20 {
            relay.send(&["bob@example.org"]);
        }
        for _ in 0..5000 {
            if relay.uk.taken().len() == 20 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(relay.uk.taken().len(), 20, "{behaviour:?}");
        assert_eq!(relay.clock.now(), Timestamp::from_millis(START));
    }
}

#[test]
fn i2_what_is_in_doubt_is_asked_about_and_not_doubled() {
    let mut relay = relay(settings());
    for behaviour in [Behaviour::TakeSilently, Behaviour::LoseSilently, Behaviour::TakeSilently] {
        relay.uk.then(behaviour);
    }
    relay.engine.start().unwrap();
    for _ in 0..10 {
        relay.send(&["bob@example.org"]);
    }
    relay.until_empty();
    let mut ids: Vec<SpoolId> = relay.uk.taken().iter().map(|(id, ..)| *id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), relay.uk.taken().len()), (10, 10));
    let found =
        |event: &Event| matches!(event, Event::Resolved { presence: Presence::Present, .. });
    assert_eq!(relay.log.count(found), 2);
}

#[test]
fn what_nobody_can_tell_is_sent_again_after_a_while_and_counted() {
    let mut relay = relay(settings());
    relay.uk.set_can_tell(false);
    relay.uk.then(Behaviour::LoseSilently);
    relay.engine.start().unwrap();
    relay.send(&["bob@example.org"]);
    relay.until_empty();
    assert_eq!(relay.uk.taken().len(), 1);
    assert_eq!(relay.handle.stats().sent_again, 1);
    assert!(relay.clock.now().as_millis() >= START + 600_000);
}

#[test]
fn s4_two_lifetimes() {
    let mut relay = relay(settings());
    for leg in [&relay.uk, &relay.us] {
        leg.behave(Behaviour::Away);
    }
    relay.engine.start().unwrap();
    relay.send(&["bob@example.org"]);
    let hour = Duration::from_secs(3600);
    // Tried at all times for just less than five days.
    for _ in 0..119 {
        relay.clock.advance(hour);
        let before = relay.uk.attempts();
        relay.until(|relay| relay.uk.attempts() > before);
        relay.handle.housekeep().unwrap();
        assert!(relay.reports.taken().is_empty());
    }
    relay.clock.advance(hour * 2);
    let before = (relay.uk.attempts(), relay.us.attempts());
    relay.until(|relay| relay.uk.attempts() > before.0 && relay.us.attempts() > before.1);
    relay.handle.housekeep().unwrap();
    relay.until(|relay| !relay.reports.taken().is_empty());
    relay.until_empty();
    assert_eq!(relay.reports.taken().len(), 1);
    // With one leg reached, the sender is never told, and the other is tried for a month.
    relay.uk.behave(Behaviour::Take);
    relay.send(&["eve@example.org"]);
    relay.until(|relay| relay.uk.taken().len() == 1);
    for _ in 0..29 {
        relay.clock.advance(hour * 24);
        relay.until(|relay| relay.uk.taken().len() == 1);
        relay.handle.housekeep().unwrap();
        assert_eq!(relay.handle.queue_len(), 1);
    }
    relay.clock.advance(hour * 25);
    let before = relay.us.attempts();
    relay.until(|relay| relay.us.attempts() > before);
    relay.handle.housekeep().unwrap();
    relay.until_empty();
    assert_eq!(relay.reports.taken().len(), 1);
    assert_eq!(relay.log.count(|event| matches!(event, Event::Expired { .. })), 3);
}

#[test]
fn a_peer_that_is_there_has_it_before_it_is_acknowledged() {
    let mut with_peer = settings();
    with_peer.ack = AckPolicy::SpooledAndPeer;
    let mut relay = relay(with_peer);
    relay.engine.start().unwrap();
    for count in 1..=20 {
        assert!(relay.send(&["bob@example.org"]).at_peer);
        assert_eq!(relay.us.taken().len(), count);
    }
    // Away: said at once, and told.
    relay.us.behave(Behaviour::Away);
    assert!(!relay.send(&["bob@example.org"]).at_peer);
    assert!(!relay.send(&["bob@example.org"]).at_peer);
    assert_eq!(relay.handle.stats().acknowledged_alone, 2);
    relay.us.behave(Behaviour::Take);
    relay.until_empty();
    assert!(relay.send(&["bob@example.org"]).at_peer);
}

#[test]
fn what_the_peer_sends_twice_is_delivered_once_and_never_back() {
    let mut relay = relay(settings());
    relay.engine.start().unwrap();
    let origin = SpoolId::new(Timestamp::from_millis(START - 5), 99);
    let from_peer = |recipients: &[&str]| {
        let mut submission = submission(SENDER, recipients, 3);
        submission.arrival.port = Port::Peer;
        submission.arrival.origin = Some(origin);
        submission
    };
    assert_eq!(relay.handle.knows(origin, &path("bob@example.org")), Presence::Absent);
    let message = from_peer(&["bob@example.org"]).message;
    relay.handle.accept(from_peer(&["bob@example.org"])).unwrap();
    relay.handle.accept(from_peer(&["bob@example.org"])).unwrap();
    relay.handle.accept(from_peer(&["bob@example.org", "eve@example.org"])).unwrap();
    relay.until_empty();
    assert_eq!(recipients_of(&relay.uk), ["bob@example.org", "eve@example.org"]);
    assert!(relay.us.taken().is_empty());
    assert!(relay.uk.taken().iter().all(|(id, _, octets)| *id == origin && *octets == message));
    assert_eq!(relay.handle.knows(origin, &path("eve@example.org")), Presence::Present);
    let long_ago = SpoolId::new(Timestamp::from_millis(1000), 1);
    assert_eq!(relay.handle.knows(long_ago, &path("bob@example.org")), Presence::Unknown);
}

#[test]
fn what_is_nobodys_or_loops_is_refused() {
    let relay = relay(settings());
    let reply = relay.handle.accept(submission(SENDER, &["bob@example.com"], 1)).unwrap_err();
    assert_eq!(reply.to_string(), "550 5.1.1 nobody here has one of these addresses");
    assert!(relay.handle.recipient(Port::Fanout, &path("bob@example.com")).is_err());
    let receipt = relay.send(&["bob@example.org"]);
    let again = Submission {
        message: relay.handle.message(receipt.id).unwrap().message,
        ..submission(SENDER, &["bob@example.org"], 1)
    };
    assert_eq!(relay.handle.accept(again).unwrap_err().code(), 554);
    let hops = "Received: by x; y\r\n".repeat(100);
    let looped = Submission {
        message: RawMessage::new(format!("{hops}\r\nbody\r\n")).unwrap(),
        ..submission(SENDER, &["bob@example.org"], 1)
    };
    assert_eq!(relay.handle.accept(looped).unwrap_err().code(), 554);
}

#[test]
fn s5_a_full_disk_is_told_before_anything_is_taken() {
    let relay = relay(settings());
    relay.disk.set_room(Some(1000));
    relay.handle.accept(submission(SENDER, &["bob@example.org"], 1)).unwrap();
    let mut large = submission(SENDER, &["bob@example.org"], 1);
    large.message = RawMessage::new("x\r\n".repeat(1000)).unwrap();
    assert_eq!(relay.handle.accept(large).unwrap_err().code(), 452);
    let sender = ReversePath::new(SENDER).unwrap();
    assert_eq!(relay.handle.begin(Port::Fanout, &sender, None).unwrap_err().code(), 452);
}

#[test]
fn holding_releasing_and_resubmitting() {
    let mut relay = relay(settings());
    let receipt = relay.send(&["bob@example.org"]);
    assert!(relay.handle.hold(receipt.id) && !relay.handle.hold(receipt.id));
    relay.engine.start().unwrap();
    relay.send(&["eve@example.org"]);
    relay.until(|relay| relay.handle.queue_len() == 1);
    assert!(relay.handle.list(None, 10)[0].held);
    assert_eq!(recipients_of(&relay.uk), ["eve@example.org"]);
    assert!(relay.handle.release(receipt.id));
    relay.until_empty();
    assert_eq!(recipients_of(&relay.us), ["bob@example.org", "eve@example.org"]);
    // The American account was restored from an old copy.
    let kept = relay.handle.kept();
    assert_eq!(kept.len(), 2);
    relay.handle.resubmit(receipt.id, &["us".parse().unwrap()]).unwrap();
    relay.until_empty();
    assert_eq!((relay.uk.taken().len(), relay.us.taken().len()), (2, 3));
    assert!(relay.handle.resubmit(SpoolId::from_bytes([1; 16]), &[]).is_err());
    // What was resubmitted is not forgotten by a relay that starts again before it is delivered.
    for leg in [&relay.uk, &relay.us] {
        leg.behave(Behaviour::Away);
    }
    relay.handle.resubmit(receipt.id, &["us".parse().unwrap()]).unwrap();
    let legs = [&relay.uk, &relay.us, &relay.reports].map(Arc::clone);
    let mut again = relay_on(relay.disk.after_kill(), settings(), legs, START + 1);
    assert_eq!(again.handle.queue_len(), 1);
    again.uk.behave(Behaviour::Take);
    again.us.behave(Behaviour::Take);
    drop(relay);
    again.engine.start().unwrap();
    again.until_empty();
    assert_eq!((again.uk.taken().len(), again.us.taken().len()), (2, 4));
}

/// Everything is killed at moments of all kinds, and starts again from what is on the disk.
#[test]
fn i1_i8_kill_after_kill_nothing_is_lost_or_doubled() {
    let legs = [(); 3].map(|()| Arc::new(MemoryLeg::new()));
    let mut disk = MemoryDisk::new();
    let mut sent = Vec::new();
    for generation in 0..25u64 {
        let now = START + generation * 3_600_000;
        let mut relay = relay_on(disk.clone(), settings(), legs.clone(), now);
        for (at, behaviour) in [
            Behaviour::Take,
            Behaviour::TakeSilently,
            Behaviour::LoseSilently,
            Behaviour::Break(Phase::Data),
            Behaviour::RefuseMessage(451),
        ]
        .into_iter()
        .cycle()
        .skip(generation as usize % 5)
        .take(6)
        .enumerate()
        {
            [&relay.uk, &relay.us][at % 2].then(behaviour);
        }
        relay.engine.start().unwrap();
        for _ in 0..10 {
            sent.push(relay.send(&["bob@example.org"]).id);
        }
        // Whatever has been done by now, the process is gone, its threads with it.
        std::thread::sleep(Duration::from_micros(300 * generation));
        disk = relay.disk.after_kill();
        drop(relay);
    }
    // What the threads did after the picture was taken is in the legs and not on the disk: the
    // outcomes are missing, the intents may be. Only where an intent is missing may be doubled,
    // and a leg that can be asked tells even then.
    let mut relay = relay_on(disk, settings(), legs.clone(), START + 100 * 3_600_000);
    relay.engine.start().unwrap();
    relay.until_empty();
    sent.sort();
    for leg in &legs[..2] {
        let mut ids: Vec<SpoolId> = leg.taken().iter().map(|(id, ..)| *id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids, sent);
    }
    assert!(legs[2].taken().is_empty());
}

/// I1 and I8 at every call on the disk: whatever call is the last, what was acknowledged reaches
/// both legs after the power is back.
#[test]
fn i1_i8_no_call_on_the_disk_can_be_the_last_for_a_message() {
    let mut numbers = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        numbers.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    };
    let mut acknowledged_in_all = 0;
    for call in (3..160).step_by(3) {
        let fault = [Fault::Stop, Fault::Torn, Fault::Error(5)][call as usize / 3 % 3];
        let legs = [(); 3].map(|()| Arc::new(MemoryLeg::new()));
        let disk = MemoryDisk::new();
        disk.fail_at(call, fault);
        let mut acknowledged = Vec::new();
        let mut relay = relay_on(disk, settings(), legs.clone(), START);
        relay.engine.start().unwrap();
        for at in 0..12 {
            if at == 6 {
                let _ = relay.handle.housekeep();
            }
            match relay.handle.accept(submission(SENDER, &["bob@example.org"], at)) {
                Ok(receipt) => acknowledged.push(receipt.id),
                Err(reply) => assert!(reply.is_transient(), "{reply}"),
            }
        }
        // The threads stop with the machine; what they do after the cut cannot be.
        let disk = relay.disk.clone();
        drop(relay);
        let cut = disk.after_power_cut(&mut next);
        let mut relay = relay_on(cut, settings(), legs.clone(), START + 60_000);
        relay.engine.start().unwrap();
        relay.until_empty();
        for leg in &legs[..2] {
            let mut ids: Vec<SpoolId> = leg.taken().iter().map(|(id, ..)| *id).collect();
            ids.sort();
            for id in &acknowledged {
                assert!(ids.contains(id), "call {call}, {fault:?}: {id} is lost");
            }
        }
        acknowledged_in_all += acknowledged.len();
    }
    assert!(acknowledged_in_all > 100, "{acknowledged_in_all}");
}
