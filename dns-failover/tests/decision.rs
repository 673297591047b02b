//! What must hold for any sequence of events whatever.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use dns_failover::decision::{
    AllDown, Answer, Cause, Command, Effect, Epoch, Event, FailBack, Millis, Observer, Override,
    Policy, PolicyConfig, Report, Seen, State, Timestamp, Verdict, Vote, Window,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Something that happens, small enough to shrink well.
#[derive(Debug, Clone)]
enum Op {
    /// Rounds of two seconds: for each observer whether it is silent, blind, and sees the UK, the US.
    Rounds {
        count: u16,
        sight: [u8; 5],
    },
    Wait(u32),
    ClockBack(u32),
    Force(bool, u32),
    Release,
    Move(bool),
    Window(bool, u32, u32),
    Cancel(bool),
    Learn(u64, bool, u8),
    Published,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => (1..40_u16, any::<[u8; 5]>()).prop_map(|(count, sight)| Op::Rounds { count, sight }),
        4 => (1..400_u16).prop_map(|count| Op::Rounds { count, sight: [3; 5] }),
        4 => (1..400_u16).prop_map(|count| Op::Rounds { count, sight: [2; 5] }),
        1 => (0..4000_u32).prop_map(Op::Wait),
        1 => (0..100_000_u32).prop_map(Op::ClockBack),
        1 => (any::<bool>(), 1..2000_u32).prop_map(|(uk, long)| Op::Force(uk, long)),
        1 => Just(Op::Release),
        1 => any::<bool>().prop_map(Op::Move),
        1 => (any::<bool>(), 0..1000_u32, 1..1000_u32).prop_map(|(uk, from, long)| Op::Window(uk, from, long)),
        1 => any::<bool>().prop_map(Op::Cancel),
        1 => (0..50_u64, any::<bool>(), 0..3_u8).prop_map(|(number, uk, answer)| Op::Learn(number, uk, answer)),
        1 => Just(Op::Published),
        1 => Just(Op::Restart),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let fail_back = prop_oneof![
        Just(FailBack::Manual),
        Just(FailBack::After { stable: Millis::from_secs(60) }),
        Just(FailBack::Gradual { stable: Millis::from_secs(60), both: Millis::from_secs(30) }),
    ];
    let all_down =
        prop_oneof![Just(AllDown::KeepLast), Just(AllDown::Preferred), Just(AllDown::All)];
    (2..6_usize, fail_back, all_down, 1..5_u8, 0..20_u64, 0..60_u64).prop_map(
        |(observers, fail_back, all_down, moves_per_hour, confirm, hold)| {
            let mut config = PolicyConfig::example();
            for (id, domain) in [("tokyo", "asia"), ("sydney", "oceania")] {
                let (id, domain) = (id.parse().unwrap(), domain.parse().unwrap());
                config.observers.push(Observer { id, domain, site: None });
            }
            config.observers.truncate(observers);
            config.services[0].fail_back = fail_back;
            config.services[0].all_down = all_down;
            config.moves_per_hour = moves_per_hour;
            config.confirm = Millis::from_secs(confirm);
            config.hold = Millis::from_secs(hold);
            Policy::new(config).unwrap()
        },
    )
}

fn site(uk: bool) -> &'static str {
    if uk { "uk" } else { "us" }
}

/// Turns operations into events and the times at which they come.
fn events(policy: &Policy, ops: &[Op]) -> Vec<(Event, Timestamp, bool)> {
    let mut events = Vec::new();
    let mut now = Timestamp::from_millis(1_000_000_000);
    let person = || ("anna".to_owned(), "a test".to_owned());
    for op in ops {
        let mut push = |event| events.push((event, now, false));
        let later = |seconds: u32| now + Millis::from_secs(seconds.into());
        match op {
            Op::Rounds { count, sight } => {
                for _ in 0..*count {
                    for (observer, bits) in policy.config().observers.iter().zip(sight) {
                        if bits & 0b1111_0000 == 0b1111_0000 {
                            continue;
                        }
                        events.push((
                            Event::Observed(report(policy, observer, *bits, now)),
                            now,
                            false,
                        ));
                    }
                    events.push((Event::Tick, now, false));
                    now = now + Millis::from_secs(2);
                }
            }
            Op::Wait(seconds) => now = later(*seconds),
            Op::ClockBack(seconds) => now = now - Millis::from_secs((*seconds).into()),
            Op::Force(uk, long) => {
                let (who, why) = person();
                let site = site(*uk).parse().unwrap();
                let order = Override { service: None, site, until: later(*long), who, why };
                push(Event::Commanded(Command::Force(order)));
            }
            Op::Release => push(Event::Commanded(Command::Release { service: None })),
            Op::Move(uk) => {
                let (who, why) = person();
                let (service, site) = ("web".parse().unwrap(), site(*uk).parse().unwrap());
                push(Event::Commanded(Command::Move { service, site, who, why }));
            }
            Op::Window(uk, from, long) => push(Event::Commanded(Command::Schedule(Window {
                id: site(*uk).parse().unwrap(),
                site: site(*uk).parse().unwrap(),
                starts: later(*from),
                ends: later(*from + *long),
                title: String::new(),
            }))),
            Op::Cancel(uk) => push(Event::Commanded(Command::Cancel(site(*uk).parse().unwrap()))),
            Op::Learn(number, uk, answer) => push(Event::Learned {
                epoch: Epoch { number: *number, controller: site(*uk).parse().unwrap() },
                answers: vec![(
                    "web".parse().unwrap(),
                    match answer {
                        0 => Answer::All,
                        1 => Answer::Site("uk".parse().unwrap()),
                        _ => Answer::Site("us".parse().unwrap()),
                    },
                )],
            }),
            Op::Published => push(Event::Published {
                epoch: Epoch { number: 3, controller: "us".parse().unwrap() },
                have: 6,
                of: 6,
            }),
            Op::Restart => events.push((Event::Tick, now, true)),
        }
    }
    events
}

fn report(policy: &Policy, observer: &Observer, bits: u8, at: Timestamp) -> Report {
    let results = policy.places().enumerate().map(|(place, (service, site))| Seen {
        service,
        site,
        up: bits & 1 << place != 0,
    });
    let controls = Some(bits & 0b1111 != 0);
    Report { observer: observer.id, at, controls, results: results.collect() }
}

/// What a decision must be able to say for itself.
fn check(
    policy: &Policy,
    before: &State,
    effects: &[Effect],
    after: &State,
) -> Result<(), TestCaseError> {
    let sites = &policy.config().services[0].sites;
    let allowed = |answer: Answer| match answer {
        Answer::Site(site) => sites.contains(&site),
        Answer::All => true,
    };
    prop_assert!(allowed(after.services()[0].answer));
    prop_assert!(after.epoch() >= before.epoch());
    prop_assert!(after.services()[0].moves.len() <= usize::from(policy.config().moves_per_hour));
    let mut automatic = 0;
    let mut published = None;
    let mut decided = false;
    for effect in effects {
        match effect {
            Effect::Publish(publication) => {
                prop_assert!(published.replace(publication).is_none(), "published twice");
            }
            Effect::Decided(decision) => {
                decided = true;
                prop_assert!(published.is_none(), "decided after publishing");
                prop_assert_ne!(decision.from, decision.to);
                prop_assert!(decision.epoch > before.epoch());
                prop_assert_eq!(decision.epoch.controller, policy.config().controller);
                let quorum = usize::from(policy.quorum());
                let votes = |of: Answer, vote| match of {
                    Answer::All => 0,
                    Answer::Site(site) => {
                        let evidence = decision
                            .evidence
                            .iter()
                            .find(|evidence| evidence.site == site)
                            .unwrap();
                        evidence.votes.iter().filter(|(_, of)| *of == vote).count()
                    }
                };
                match decision.cause {
                    Cause::Override | Cause::Ordered => continue,
                    Cause::Maintenance => {
                        prop_assert!(votes(decision.to, Vote::Up) >= quorum);
                        continue;
                    }
                    Cause::Failover => {
                        prop_assert!(votes(decision.from, Vote::Down) >= quorum);
                        prop_assert!(votes(decision.to, Vote::Up) >= quorum);
                    }
                    Cause::FailBack => {
                        prop_assert!(
                            decision
                                .evidence
                                .iter()
                                .all(|evidence| Answer::Site(evidence.site) != decision.to
                                    || evidence.verdict == Verdict::Up)
                        );
                    }
                    Cause::Recovery => prop_assert!(votes(decision.to, Vote::Up) >= quorum),
                    Cause::AllDown => {
                        prop_assert!(
                            decision
                                .evidence
                                .iter()
                                .all(|evidence| evidence.verdict == Verdict::Down)
                        );
                    }
                    cause => prop_assert!(false, "{cause:?} is never decided"),
                }
                automatic += 1;
                prop_assert!(policy.config().observers.len() >= 3, "too few domains, and moved");
                let held = before.services()[0].held_until;
                if decision.cause != Cause::Recovery && decision.from != Answer::All {
                    prop_assert!(held.is_none_or(|until| until <= decision.at), "moved while held");
                }
            }
            _ => {}
        }
    }
    prop_assert!(automatic <= 1);
    prop_assert_eq!(published.is_some(), decided);
    if let Some(publication) = published {
        prop_assert_eq!(publication, &after.publication());
        prop_assert!(!publication.answers.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_decision_can_be_defended_and_every_restart_is_unseen(
        policy in policy(),
        ops in vec(op(), 0..40),
    ) {
        let mut state = policy.start(Timestamp::from_millis(1_000_000_000));
        let mut restarted = state.clone();
        let mut moves: Vec<Timestamp> = Vec::new();
        let mut latest = state.clock();
        for (event, now, restart) in events(&policy, &ops) {
            // Across a clock that was set back, an hour is not what it seems.
            if now < latest {
                moves.clear();
            }
            latest = now;
            let before = state.clone();
            let (next, effects) = policy.step(state, &event, now);
            state = next;
            check(&policy, &before, &effects, &state)?;
            for effect in &effects {
                if let Effect::Decided(decision) = effect
                    && !matches!(decision.cause, Cause::Override | Cause::Ordered | Cause::Maintenance)
                {
                    moves.push(decision.at);
                }
            }
            let hour = moves.iter().filter(|time| state.clock().since(**time) < Millis::from_mins(60));
            prop_assert!(hour.count() <= usize::from(policy.config().moves_per_hour));
            // One that stops, is stored and goes on elsewhere decides alike, to the byte.
            if restart {
                restarted = serde_json::from_str(&serde_json::to_string(&restarted).unwrap()).unwrap();
            }
            let (next, same) = policy.step(restarted, &event, now);
            restarted = next;
            prop_assert_eq!(serde_json::to_string(&effects).unwrap(), serde_json::to_string(&same).unwrap());
        }
        prop_assert_eq!(serde_json::to_string(&state).unwrap(), serde_json::to_string(&restarted).unwrap());
    }

    #[test]
    fn while_it_is_quiet_a_step_changes_nothing_but_when_things_were_seen(
        policy in policy(),
        ops in vec(op(), 0..20),
        sight in prop_oneof![
            4 => (0..4_u8).prop_map(|bits| [bits; 5]),
            2 => vec(0..4_u8, 5).prop_map(|bits| bits.try_into().unwrap()),
            1 => any::<[u8; 5]>(),
        ],
        offset in 1..2000_u64,
    ) {
        let mut ops = ops;
        // Long enough for detectors to fill up with what is seen from now on.
        ops.push(Op::Rounds { count: 40, sight });
        let events = events(&policy, &ops);
        let Some((_, mut now, _)) = events.last().cloned() else { return Ok(()) };
        let mut state = policy.start(Timestamp::from_millis(1_000_000_000));
        for (event, now, _) in &events {
            state = policy.step(state, event, *now).0;
        }
        let Some(until) = policy.quiet_until(&state, now) else { return Ok(()) };
        let mut skipped = state.clone();
        for round in 1..=600 {
            now = now + Millis::new(if round == 1 { offset } else { 2000 });
            if now >= until {
                break;
            }
            skipped = policy.skip(skipped, now);
            for (observer, bits) in policy.config().observers.iter().zip(sight) {
                if bits & 0b1111_0000 == 0b1111_0000 {
                    continue;
                }
                let event = Event::Observed(report(&policy, observer, bits, now));
                let (next, effects) = policy.step(state, &event, now);
                state = next;
                prop_assert!(effects.is_empty(), "{effects:?} at {now}, quiet until {until}");
            }
            let (next, effects) = policy.step(state, &Event::Tick, now);
            state = next;
            prop_assert!(effects.is_empty(), "{effects:?} at {now}, quiet until {until}");
            prop_assert_eq!(&state, &skipped);
        }
    }

    #[test]
    fn lost_probes_leave_no_trace_when_none_follows_in_the_same_view(
        policy in policy(),
        ops in vec(op(), 0..20),
        lost in vec((0..5_usize, 0..2_usize, 0..10_u8), 0..10),
    ) {
        let mut ops = ops;
        ops.push(Op::Release);
        ops.push(Op::Rounds { count: 40, sight: [3; 5] });
        let events = events(&policy, &ops);
        let mut now = events.last().unwrap().1;
        let mut state = policy.start(Timestamp::from_millis(1_000_000_000));
        for (event, now, _) in &events {
            state = policy.step(state, event, *now).0;
        }
        let rounds = policy.config().thresholds.ok + 11;
        let Some(until) = policy.quiet_until(&state, now) else { return Ok(()) };
        if now + Millis::from_secs(2 * u64::from(rounds)) >= until {
            return Ok(());
        }
        // One loss a view, whenever that is, and a clean run after it.
        let lost: BTreeMap<_, _> =
            lost.into_iter().map(|(observer, place, round)| ((observer, place), round)).collect();
        let before = state.clone();
        for round in 0..rounds {
            now = now + Millis::from_secs(2);
            for (index, of) in policy.config().observers.iter().enumerate() {
                let lost = lost.iter().filter(|((observer, _), at)| *observer == index && **at == round);
                let bits = lost.fold(3, |bits, ((_, place), _)| bits ^ 1 << place);
                let mut report = report(&policy, of, bits, now);
                report.controls = Some(true);
                let (next, effects) = policy.step(state, &Event::Observed(report), now);
                state = next;
                prop_assert!(effects.is_empty(), "{effects:?}");
            }
        }
        prop_assert_eq!(state, policy.skip(before, now));
    }

    /// So that a journal need not hold every second.
    #[test]
    fn ticks_without_effects_can_be_left_out(policy in policy(), ops in vec(op(), 0..30)) {
        let ops: Vec<_> = ops.into_iter().filter(|op| !matches!(op, Op::ClockBack(_))).collect();
        let mut state = policy.start(Timestamp::from_millis(1_000_000_000));
        let mut sparse = state.clone();
        let (mut all, mut some) = (Vec::new(), Vec::new());
        for (event, now, _) in events(&policy, &ops) {
            let (next, effects) = policy.step(state, &event, now);
            state = next;
            if event != Event::Tick || !effects.is_empty() {
                let (next, effects) = policy.step(sparse, &event, now);
                sparse = next;
                some.extend(effects);
                prop_assert_eq!(&state, &sparse);
            }
            all.extend(effects);
        }
        prop_assert_eq!(all, some);
    }

    #[test]
    fn any_state_that_parses_can_be_stepped(
        policy in policy(),
        other in policy(),
        ops in vec(op(), 0..6),
        now in any::<i64>(),
    ) {
        let mut state = other.start(Timestamp::from_millis(now));
        for (event, now, _) in events(&other, &ops) {
            state = other.step(state, &event, now).0;
        }
        let before = state.answer("web".parse().unwrap());
        let (after, _) = policy.step(state, &Event::Tick, Timestamp::from_millis(now));
        // Fitting a state to other rules is no reason to forget where things are.
        prop_assert!(after.answer("web".parse().unwrap()).is_some() && before.is_some());
    }
}
