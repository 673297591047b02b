//! Observations that are forged, replayed, stale, from the future or from a stranger change nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use dns_failover::decision::{
    Event, Millis, ObserverId, Policy, PolicyConfig, Report, State, Timestamp,
};
use dns_failover::observe::{Body, ExchangeKey, Guard, Message, Refused, View};
use proptest::prelude::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn key() -> ExchangeKey {
    ExchangeKey::new(SECRET).unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_374_000_000 + seconds * 1000)
}

fn guard() -> Guard {
    let known = ["london", "newyork", "zurich"].map(|name| name.parse::<ObserverId>().unwrap());
    Guard::new(key(), known, Millis::from_secs(5), Millis::from_secs(2))
}

fn message(sender: &str, sequence: u64, sent: Timestamp) -> Message {
    let report = Report::new(sender.parse().unwrap(), sent)
        .saw("web", "uk", false)
        .unwrap()
        .saw("web", "us", true)
        .unwrap()
        .controls(true);
    Message { sender: sender.parse().unwrap(), sequence, sent, body: Body::Report(report) }
}

/// A controller behind a guard.
struct Controller {
    policy: Policy,
    state: State,
    guard: Guard,
}

impl Controller {
    fn new() -> Controller {
        let policy = Policy::new(PolicyConfig::example()).unwrap();
        Controller { state: policy.start(at(0)), policy, guard: guard() }
    }

    fn take(&mut self, datagram: &[u8], now: Timestamp) -> Option<Refused> {
        match self.guard.open(datagram, now) {
            Ok(Message { body: Body::Report(report), .. }) => {
                self.state = self.policy.step(self.state.clone(), &Event::Observed(report), now).0;
                None
            }
            Ok(_) => None,
            Err(refused) => Some(refused),
        }
    }
}

#[test]
fn what_an_observer_says_is_taken_once() {
    let mut controller = Controller::new();
    let datagram = key().seal(&message("zurich", 1, at(0))).unwrap();
    assert_eq!(controller.take(&datagram, at(0)), None);
    let before = controller.state.clone();
    assert_eq!(controller.take(&datagram, at(1)), Some(Refused::Replayed));
    assert_eq!(controller.state, before);
}

#[test]
fn what_was_changed_on_the_way_changes_nothing() {
    let datagram = key().seal(&message("zurich", 1, at(0))).unwrap();
    let mut controller = Controller::new();
    let before = controller.state.clone();
    for octet in 0..datagram.len() {
        for bit in 0..8 {
            let mut forged = datagram.clone();
            forged[octet] ^= 1 << bit;
            assert_eq!(controller.take(&forged, at(0)), Some(Refused::Forged), "octet {octet}");
        }
        assert_eq!(controller.take(&datagram[..octet], at(0)), Some(Refused::Forged));
    }
    let longer = [datagram.as_slice(), &[0]].concat();
    assert_eq!(controller.take(&longer, at(0)), Some(Refused::Forged));
    assert_eq!(controller.state, before);
    // And the true one is taken all the same.
    assert_eq!(controller.take(&datagram, at(0)), None);
}

#[test]
fn stale_future_strange_and_foreign_ones_change_nothing() {
    let other = ExchangeKey::new(b"another secret of thirty-two octets").unwrap();
    let mut impostor = message("london", 9, at(100));
    impostor.sender = "zurich".parse().unwrap();
    let mut controller = Controller::new();
    controller.take(&key().seal(&message("zurich", 5, at(99))).unwrap(), at(99));
    let before = controller.state.clone();
    for (datagram, refused) in [
        (key().seal(&message("zurich", 6, at(92))), Refused::Stale),
        (key().seal(&message("zurich", 7, at(103))), Refused::Future),
        (key().seal(&message("zurich", 4, at(100))), Refused::Replayed),
        (key().seal(&message("mars", 1, at(100))), Refused::Stranger),
        (key().seal(&impostor), Refused::Stranger),
        (other.seal(&message("zurich", 8, at(100))), Refused::Forged),
    ] {
        assert_eq!(controller.take(&datagram.unwrap(), at(100)), Some(refused));
        assert_eq!(controller.state, before);
    }
}

/// A controller that was restarted has forgotten the sequence, not when it last heard of whom.
#[test]
fn a_restart_is_no_chance_to_replay() {
    let mut controller = Controller::new();
    let first = key().seal(&message("zurich", 1, at(0))).unwrap();
    let second = key().seal(&message("zurich", 2, at(2))).unwrap();
    controller.take(&first, at(0));
    controller.take(&second, at(2));
    controller.guard = guard();
    let views =
        |state: &State| state.targets().iter().map(|of| of.views.clone()).collect::<Vec<_>>();
    let before = views(&controller.state);
    controller.take(&first, at(3));
    controller.take(&second, at(3));
    assert_eq!(views(&controller.state), before);
}

#[test]
fn a_view_goes_over_whole() {
    let policy = Policy::new(PolicyConfig::example()).unwrap();
    let view = View::of(&policy, &policy.start(at(0)));
    let body = Body::View(view);
    let message = Message { sender: "london".parse().unwrap(), sequence: 1, sent: at(0), body };
    assert_eq!(guard().open(&key().seal(&message).unwrap(), at(0)), Ok(message));
}

/// Most observers have no control probes, and an empty round is a round.
#[test]
fn a_report_goes_over_whole_with_and_without_controls() {
    let bare = Report::new("zurich".parse().unwrap(), at(0));
    let full = bare.clone().saw("web", "uk", true).unwrap().saw("mail", "us", false).unwrap();
    for report in [bare, full] {
        for controls in [None, Some(true), Some(false)] {
            let report = Report { controls, ..report.clone() };
            let sender = report.observer;
            let message = Message { sender, sequence: 1, sent: at(0), body: Body::Report(report) };
            let datagram = key().seal(&message).unwrap();
            assert_eq!(guard().open(&datagram, at(0)), Ok(message));
        }
    }
}

#[test]
fn what_is_too_long_is_not_sent() {
    let mut report = Report::new("zurich".parse().unwrap(), at(0));
    for _ in 0..2000 {
        report = report.saw("a-service-with-long-na", "a-site-with-a-long-nam", true).unwrap();
    }
    let body = Body::Report(report);
    let message = Message { sender: "zurich".parse().unwrap(), sequence: 1, sent: at(0), body };
    assert!(key().seal(&message).unwrap_err().to_string().contains("8192"));
}

#[test]
fn secrets_must_be_long_and_are_not_shown() {
    for secret in [&b""[..], b"short", &[b'a'; 31], &[b'a'; 5000]] {
        assert!(ExchangeKey::new(secret).is_err());
    }
    assert_eq!(format!("{:?}", key()), "ExchangeKey(..)");
    let newline = [SECRET, b"\n"].concat();
    let datagram = ExchangeKey::new(&newline).unwrap().seal(&message("zurich", 1, at(0))).unwrap();
    assert!(guard().open(&datagram, at(0)).is_ok(), "a line feed at the end is not part of it");
}

proptest! {
    #[test]
    fn arbitrary_datagrams_are_refused(datagram in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(guard().open(&datagram, at(0)), Err(Refused::Forged));
    }

    /// Whoever has the key and sends rubbish is refused as well, and nothing panics.
    #[test]
    fn signed_rubbish_is_refused(rubbish in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut datagram = b"dfo1".to_vec();
        datagram.extend_from_slice(&(rubbish.len() as u16).to_be_bytes());
        datagram.extend_from_slice(&rubbish);
        let key = blake3::derive_key("dns-failover exchange between observers, version 1", SECRET);
        let check = blake3::keyed_hash(&key, &datagram);
        datagram.extend_from_slice(check.as_bytes());
        prop_assert!(guard().open(&datagram, at(0)).is_err());
    }
}
