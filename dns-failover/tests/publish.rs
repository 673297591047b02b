//! Publishing to six name servers in memory: what is brought where, what troubles are called, and what is
//! left when controllers die or disagree.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use dns_failover::testing::{Behaviour, MemoryNetwork, draft};
use dns_failover::{
    Active, ApprovedPlan, Name, Network, Outcome, Patience, Plan, PlanGuards, Publisher, RRset,
    Rcode, RecordType, Report, Serial, SiteId, Topology, Trouble,
};

const NOW: u64 = 1_800_000_000;

const UK: Active = Active::One(SiteId::Uk);
const US: Active = Active::One(SiteId::Us);

fn topology(domains: usize) -> Topology {
    Topology::new(draft(domains)).unwrap()
}

/// Every domain to one state, whatever it is in.
fn everywhere(topology: &Topology, active: Active) -> ApprovedPlan {
    let moves = topology.domains().keys().map(|name| (name, None, active));
    Plan::failover(topology, moves).approve(&PlanGuards::default()).unwrap()
}

fn publish(topology: &Topology, network: &dyn Network, by: SiteId, active: Active) -> Report {
    let patience = Patience { rounds: 6, ..Patience::default() };
    Publisher::new(topology, network, by, patience).publish(&everywhere(topology, active))
}

/// All six serve the same of every domain; yields where they point.
fn one_state(topology: &Topology, network: &MemoryNetwork) -> BTreeMap<Name, Active> {
    let mut states = BTreeMap::new();
    for domain in topology.domains().values() {
        let first = network.server(0).zone(&domain.name).unwrap().clone();
        assert_eq!(first.verify_digest(), Some(true), "{}", domain.name);
        for index in 1..6 {
            let other = network.server(index).zone(&domain.name).unwrap().clone();
            assert_eq!(first, other, "server {index} serves something else");
        }
        let found = Active::REACHABLE.into_iter().find(|active| {
            let sets = topology.managed_rrsets(domain, *active);
            sets.iter().all(|set| first.get(set.owner(), set.rtype()) == Some(set))
        });
        states.insert(domain.name.clone(), found.expect("a state that a failover can reach"));
    }
    states
}

fn assert_serials_only_grow(topology: &Topology, network: &MemoryNetwork) {
    for name in topology.domains().keys() {
        for index in 0..6 {
            let server = network.server(index);
            let serials = server.serials(name);
            let grows = |pair: &[Serial]| pair[0] < pair[1];
            assert!(serials.windows(2).all(grows), "{name} on server {index}: {serials:?}");
        }
    }
}

#[test]
fn a_change_of_site_reaches_all_six() {
    let topology = topology(5);
    let network = MemoryNetwork::serving(&topology, NOW);
    let report = publish(&topology, &network, SiteId::Us, US);
    assert!(report.is_done(), "{report}");
    assert!(one_state(&topology, &network).values().all(|active| *active == US));
    assert_serials_only_grow(&topology, &network);
    let name = topology.domains().keys().next().unwrap();
    let serial = network.server(0).zone(name).unwrap().serial();
    assert_eq!(serial.unwrap().get() % 2, 1, "the US writes odd serials");
}

#[test]
fn publishing_again_changes_nothing() {
    let topology = topology(2);
    let name = topology.domains().keys().next().unwrap();
    let network = MemoryNetwork::serving(&topology, NOW);
    assert!(publish(&topology, &network, SiteId::Us, US).is_done());
    let before = network.server(3).zone(name).cloned();
    let again = publish(&topology, &network, SiteId::Uk, US);
    assert!(again.is_done(), "{again}");
    let mut outcomes = again.zones.values().flat_map(|zone| zone.servers.values());
    assert!(outcomes.all(|outcome| *outcome == Outcome::AlreadyThere), "{again}");
    assert_eq!(network.server(3).zone(name).cloned(), before);
}

#[test]
fn a_server_that_is_down_is_named_and_catches_up() {
    let topology = topology(1);
    let network = MemoryNetwork::serving(&topology, NOW);
    network.server(4).behaviour = Behaviour::Down;
    let report = publish(&topology, &network, SiteId::Us, US);
    assert!(!report.is_level());
    let down = &topology.name_servers()[4].name;
    for zone in report.zones.values() {
        for (server, outcome) in &zone.servers {
            match server == down {
                true => assert!(matches!(outcome, Outcome::Unreachable { .. }), "{outcome:?}"),
                false => assert_eq!(*outcome, Outcome::Applied),
            }
        }
    }
    let epoch = |report: &Report| {
        report.zones.values().map(|zone| zone.epoch.unwrap()).max_by_key(|record| record.epoch)
    };
    let reached = epoch(&report);
    network.server(4).behaviour = Behaviour::Well;
    let report = publish(&topology, &network, SiteId::Us, US);
    assert!(report.is_done(), "{report}");
    assert_eq!(epoch(&report), reached, "no new epoch for catching up");
    assert!(one_state(&topology, &network).values().all(|active| *active == US));
}

#[test]
fn the_loss_of_the_first_primary_does_not_keep_secondaries_behind() {
    let topology = topology(1);
    let network = MemoryNetwork::serving(&topology, NOW);
    network.server(0).behaviour = Behaviour::Down;
    let report = publish(&topology, &network, SiteId::Us, US);
    for zone in report.zones.values() {
        let applied = zone.servers.values().filter(|outcome| **outcome == Outcome::Applied);
        assert_eq!(applied.count(), 5, "{report}");
    }
}

#[test]
fn troubles_are_called_by_their_names() {
    let topology = topology(1);
    let name = topology.name_servers()[1].name.clone();
    let refused = Trouble::Refused { rcode: Rcode::REFUSED };
    let not_auth = Trouble::Refused { rcode: Rcode::NOTAUTH };
    type Expected<'a> = &'a dyn Fn(&Trouble) -> bool;
    let cases: [(Behaviour, Expected<'_>); 11] = [
        (Behaviour::Down, &|t| matches!(t, Trouble::Unreachable { .. })),
        (Behaviour::Silent, &|t| matches!(t, Trouble::Unreachable { .. })),
        (Behaviour::Answers(Rcode::REFUSED), &|t| *t == refused),
        (Behaviour::Answers(Rcode::NOTAUTH), &|t| *t == not_auth),
        (Behaviour::SaysTruncated, &|t| matches!(t, Trouble::Truncated { .. })),
        (Behaviour::CutShort, &|t| matches!(t, Trouble::Truncated { .. })),
        (Behaviour::Rubbish, &|t| matches!(t, Trouble::Rubbish { .. })),
        (Behaviour::Unsigned, &|t| matches!(t, Trouble::Unsigned { .. })),
        (Behaviour::Forged, &|t| matches!(t, Trouble::Forged { .. })),
        (Behaviour::BadKey, &|t| matches!(t, Trouble::BadKey { .. })),
        (Behaviour::BadSig, &|t| matches!(t, Trouble::BadSig { .. })),
    ];
    for (behaviour, expected) in cases {
        let network = MemoryNetwork::serving(&topology, NOW);
        network.server(1).behaviour = behaviour;
        let report = publish(&topology, &network, SiteId::Us, US);
        let zone = report.zones.values().next().unwrap();
        let (Outcome::Refused { trouble } | Outcome::Unreachable { trouble }) =
            &zone.servers[&name]
        else {
            panic!("{behaviour:?}: {report}");
        };
        assert!(expected(trouble), "{behaviour:?} is called {trouble:?}");
        for (server, outcome) in zone.servers.iter().filter(|(server, _)| **server != name) {
            assert_eq!(*outcome, Outcome::Applied, "{server} while another is {behaviour:?}");
        }
    }
}

#[test]
fn a_clock_that_is_wrong_is_named_with_both_times() {
    let topology = topology(1);
    let network = MemoryNetwork::serving(&topology, NOW);
    network.server(1).behaviour = Behaviour::ClockAhead(4000);
    let report = publish(&topology, &network, SiteId::Us, US);
    let outcome = &report.zones.values().next().unwrap().servers[&topology.name_servers()[1].name];
    let Outcome::Refused { trouble: Trouble::BadTime { theirs, ours } } = outcome else {
        panic!("{report}");
    };
    assert_eq!(theirs - ours, 4000);
}

#[test]
fn what_somebody_else_put_into_a_zone_is_found_and_taken_back() {
    let topology = topology(1);
    let network = MemoryNetwork::serving(&topology, NOW);
    let domain = topology.domains().values().next().unwrap();
    let mut zone = network.server(1).zone(&domain.name).unwrap().clone();
    zone.insert("stray.customer0.example. 60 IN A 203.0.113.99".parse().unwrap()).unwrap();
    zone.remove(&domain.name.child("www").unwrap(), RecordType::A);
    // As a server does it that takes an update.
    zone.set_serial(zone.serial().unwrap().next());
    network.server(1).put(zone);
    let publisher = Publisher::new(&topology, &network, SiteId::Uk, Patience::default());
    let report = publisher.verify([domain.name.clone()]);
    let stray = &report.zones[&domain.name].servers[&topology.name_servers()[1].name];
    assert!(matches!(stray, Outcome::Diverged { .. }), "{report}");
    let report = publish(&topology, &network, SiteId::Us, US);
    assert!(report.is_done(), "{report}");
    one_state(&topology, &network);
    assert_serials_only_grow(&topology, &network);
}

#[test]
fn nobody_reachable_is_no_empty_zone() {
    let topology = topology(1);
    let network = MemoryNetwork::serving(&topology, NOW);
    for index in 0..6 {
        network.server(index).behaviour = Behaviour::Down;
    }
    let report = publish(&topology, &network, SiteId::Us, US);
    let zone = report.zones.values().next().unwrap();
    assert_eq!(zone.epoch, None);
    assert!(zone.servers.values().all(|outcome| matches!(outcome, Outcome::Unreachable { .. })));
}

/// Everything that a topology says, to servers that have something else.
fn publish_everything(topology: &Topology, network: &dyn Network) -> Report {
    let publisher = Publisher::new(topology, network, SiteId::Uk, Patience::default());
    let current = publisher.current(topology.domains().keys().cloned());
    let plan = Plan::everything(topology, &current, &|_| None);
    publisher.publish(&plan.approve(&PlanGuards::default().confirmed(true)).unwrap())
}

fn with_extra(records: impl IntoIterator<Item = String>) -> Topology {
    let mut draft = draft(1);
    draft.domains[0].extra =
        records.into_iter().map(|record| RRset::of(record.parse().unwrap())).collect();
    Topology::new(draft).unwrap()
}

#[test]
fn a_change_that_fits_no_message_is_refused_as_a_whole() {
    let before = topology(1);
    let network = MemoryNetwork::serving(&before, NOW);
    let name = before.domains().keys().next().unwrap();
    let zones =
        || (0..6).map(|index| network.server(index).zone(name).cloned()).collect::<Vec<_>>();
    let untouched = zones();
    let long = "x".repeat(250);
    let after = with_extra(
        (0..300).map(|number| format!("t{number}.customer0.example. 60 IN TXT \"{long}\"")),
    );
    let report = publish_everything(&after, &network);
    let servers = &report.zones[name].servers;
    for server in [0, 1, 3, 4].map(|index| &before.name_servers()[index].name) {
        let Outcome::Refused { trouble: Trouble::TooLarge { octets } } = &servers[server] else {
            panic!("{report}");
        };
        assert!(*octets > 65_535, "{octets}");
    }
    assert_eq!(zones(), untouched);
}

/// A server that has lost what it was told is brought level from a transfer, whatever is in the zone.
#[test]
fn records_without_data_are_transferred_like_any_other() {
    let records = ["a.customer0.example. 60 IN APL", "b.customer0.example. 60 IN TYPE65280 \\# 0"];
    let topology = with_extra(records.map(str::to_owned));
    let network = MemoryNetwork::serving(&topology, NOW);
    let name = topology.domains().keys().next().unwrap();
    let publisher = Publisher::new(&topology, &network, SiteId::Uk, Patience::default());
    let zone = network.server(0).zone(name).unwrap().clone();
    assert_eq!(publisher.transfer(name, 0), Ok(zone.clone()));
    let mut stray = zone;
    stray.insert("stray.customer0.example. 60 IN A 203.0.113.99".parse().unwrap()).unwrap();
    stray.set_serial(stray.serial().unwrap().next());
    network.server(1).put(stray);
    let report = publish(&topology, &network, SiteId::Us, US);
    assert!(report.is_done(), "{report}");
    one_state(&topology, &network);
}

/// Both controllers publish opposite states at once, one of them dies after its every message, with the
/// last one arriving or not. Whoever goes on, one state is left.
#[test]
fn two_controllers_leave_one_state_whenever_one_dies() {
    let topology = topology(2);
    let mut deaths = 0;
    for delivers in [true, false] {
        for messages in 1.. {
            let network = MemoryNetwork::serving(&topology, NOW);
            let dying = network.dying_after(messages, delivers);
            let (by, other) = match messages % 2 {
                0 => (SiteId::Uk, SiteId::Us),
                _ => (SiteId::Us, SiteId::Uk),
            };
            thread::scope(|scope| {
                scope.spawn(|| publish(&topology, &dying, by, Active::One(by)));
                scope.spawn(|| publish(&topology, &network, other, Active::One(other)));
            });
            let died = dying.is_dead();
            deaths += usize::from(died);
            // The one that lives looks again, as it does all the time; then the dead one comes back.
            for by in [other, by] {
                let report = publish(&topology, &network, by, Active::One(by));
                assert!(report.is_level(), "{messages} messages: {report}");
                let states = one_state(&topology, &network);
                assert!(states.values().all(|active| *active == Active::One(by)), "{report}");
            }
            assert_serials_only_grow(&topology, &network);
            if !died {
                break;
            }
        }
    }
    assert!(deaths > 100, "only {deaths} deaths");
}

/// The same, and the survivor only helps: it wants what it finds.
#[test]
fn what_a_dead_controller_began_is_brought_to_an_end_by_the_other() {
    let topology = topology(1);
    let name = topology.domains().keys().next().unwrap();
    for messages in 1.. {
        let network = MemoryNetwork::serving(&topology, NOW);
        let dying = network.dying_after(messages, true);
        let _ = publish(&topology, &dying, SiteId::Us, US);
        if !dying.is_dead() {
            break;
        }
        let publisher = Publisher::new(&topology, &network, SiteId::Uk, Patience::default());
        let seen = publisher.views([name.clone()]);
        let records = seen[name].iter().flatten().flatten().filter_map(|view| view.record);
        let highest = records.max_by_key(|record| record.epoch).unwrap();
        let report = publisher.publish(&everywhere(&topology, highest.active));
        assert!(report.is_done(), "{messages} messages: {report}");
        assert_eq!(report.zones[name].epoch, Some(highest), "it is the same epoch");
        assert_eq!(one_state(&topology, &network)[name], highest.active);
    }
}

/// Two controllers that want opposite things and both live: one gives way.
#[test]
fn of_two_controllers_at_once_one_gives_way() {
    let topology = topology(3);
    for _ in 0..20 {
        let network = MemoryNetwork::serving(&topology, NOW);
        thread::scope(|scope| {
            scope.spawn(|| publish(&topology, &network, SiteId::Uk, UK));
            scope.spawn(|| publish(&topology, &network, SiteId::Us, US));
        });
        network.pause(Duration::from_secs(1));
        one_state(&topology, &network);
        assert_serials_only_grow(&topology, &network);
    }
}
