//! The simulation on a few years: no invariant is broken, and what it is measured by can be trusted.

use dns_failover::sim::{Contestant, Faults, Rate, Tally, table, year};

fn years(faults: &Faults, contestant: Contestant, seeds: std::ops::Range<u64>) -> Tally {
    let mut tally = Tally::default();
    seeds.for_each(|seed| tally.add(&year(faults, contestant, seed)));
    tally
}

/// No faults at all.
fn none() -> Faults {
    let mut faults = Faults::default();
    for rate in rates(&mut faults) {
        rate.per_year = 0.0;
    }
    faults.probe_loss.share = 0.0;
    faults
}

fn rates(faults: &mut Faults) -> [&mut Rate; 12] {
    [
        &mut faults.site_down,
        &mut faults.service_down,
        &mut faults.brown_out,
        &mut faults.flapping,
        &mut faults.uplink_cut,
        &mut faults.blip,
        &mut faults.transit_cut,
        &mut faults.path_fault,
        &mut faults.blind,
        &mut faults.controller_stop,
        &mut faults.clock_jump,
        &mut faults.server_unreachable,
    ]
}

#[test]
fn the_same_seed_makes_the_same_year() {
    let faults = Faults::default();
    let of = |seed| serde_json::to_string(&year(&faults, Contestant::FiveDomains, seed)).unwrap();
    assert_eq!(of(4), of(4));
    assert_ne!(of(4), of(5));
}

#[test]
fn without_faults_nothing_moves_and_nobody_waits() {
    for contestant in Contestant::ALL {
        let tally = years(&none(), contestant, 0..2);
        assert_eq!(tally.unavailable_minutes(), 0.0, "{contestant:?}");
        assert_eq!(tally.moves(), 0.0, "{contestant:?}");
        assert_eq!(tally.violations(), 0, "{contestant:?}");
    }
}

#[test]
fn every_contestant_does_what_its_rule_says_when_a_server_stops() {
    let mut faults = none();
    faults.service_down = Rate { per_year: 5.0, sigma: 0.1, ..Faults::default().service_down };
    for (contestant, least, most) in [
        (Contestant::ThreeDomains, 5.0, 8.0),
        (Contestant::FiveDomains, 5.0, 8.0),
        (Contestant::Simplefo, 94.0, 105.5),
        (Contestant::Route53, 23.5, 34.5),
        (Contestant::PowerDns, 1.5, 7.5),
    ] {
        let tally = years(&faults, contestant, 0..10);
        let (first, last) = (tally.recovery(0.0).unwrap(), tally.recovery(1.0).unwrap());
        assert!(least <= first && last <= most, "{contestant:?}: {first}–{last} s");
        assert_eq!(tally.false_moves(), 0.0, "{contestant:?}");
        assert_eq!(tally.missed_share(), 0.0, "{contestant:?}");
    }
}

#[test]
fn no_invariant_is_broken_under_ten_times_the_faults() {
    let mut faults = Faults::default();
    for rate in rates(&mut faults) {
        rate.per_year *= 10.0;
    }
    let tally = years(&faults, Contestant::ThreeDomains, 100..102);
    assert_eq!(tally.violations(), 0);
    assert!(tally.moves() > 50.0);
}

#[test]
fn ours_is_better_than_each_of_the_others_on_these_years_too() {
    let faults = Faults::default();
    let seeds = 2_000_000..2_000_006;
    let ours = years(&faults, Contestant::ThreeDomains, seeds.clone());
    assert_eq!(ours.violations(), 0);
    for other in
        [Contestant::Simplefo, Contestant::Route53, Contestant::PowerDns, Contestant::Never]
    {
        let theirs = years(&faults, other, seeds.clone());
        assert!(ours.unavailable_minutes() < theirs.unavailable_minutes(), "{other:?}");
    }
}

#[test]
fn the_table_has_a_row_for_each() {
    let rows = Contestant::ALL.map(|contestant| (contestant, Tally::default()));
    let table = table(&rows);
    assert_eq!(table.lines().count(), 2 + Contestant::ALL.len());
    assert!(table.contains("| gdnsd simplefo | 0.0 | 0.000 |"));
}

#[test]
fn fault_parameters_with_unknown_keys_are_refused() {
    let text = include_str!("../src/sim/faults.json").replacen("\"per_year\"", "\"per_yaer\"", 1);
    let error = Faults::parse(&text).unwrap_err().to_string();
    assert!(error.contains("per_yaer") && error.contains("line 4"), "{error}");
}
