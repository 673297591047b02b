//! One call goes wrong, for each call and each way in which it can.

use std::thread;

use mirror_core::testing::{CallKind, Fault};

use crate::scenario::Scenario;
use crate::tree::snapshot;

/// Makes one call after the other go wrong, in a run that begins anew each time.
fn spoil(make: fn() -> Scenario, fault: Fault, lasts: bool) -> u64 {
    let scenario = make();
    let kinds: Vec<CallKind> = {
        let identities = scenario.ground.lay(&scenario.start);
        let disk = scenario.ground.disk(&identities).tracing();
        scenario.ground.mirror(&disk).unwrap();
        disk.trace().into_iter().map(|call| call.kind).collect()
    };
    let mut spoilt = 0;
    for (number, kind) in (0..).zip(kinds).filter(|(_, kind)| fault.fits(*kind)) {
        let what = format!("{fault:?} at call {number}, {kind:?}");
        let identities = scenario.ground.lay(&scenario.start);
        let disk = scenario.ground.disk(&identities);
        let disk = match lasts {
            true => disk.failing_from(number, fault),
            false => disk.failing_at(number, fault),
        };
        let result = scenario.ground.mirror(&disk);
        scenario.assert_whole(&what);
        assert!(disk.spoilt() > 0, "{what}: not met");
        match result {
            // What a run claims is so.
            Ok(report) if report.is_clean() => {
                let (src, dst) =
                    (snapshot(&scenario.ground.src()), snapshot(&scenario.ground.dst()));
                assert!(src == dst || scenario.source.is_some(), "{what}: {report:?}");
            }
            Ok(report) => assert!(report.problems.iter().all(|p| !p.error.is_empty())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        match &scenario.source {
            None => scenario.ground.assert_recovers(&identities, &what),
            Some(_) => scenario.ground.assert_meets(&scenario.target.new, &identities, &what),
        }
        spoilt += 1;
    }
    spoilt
}

/// For each scenario on a thread of its own.
fn spoil_all(fault: Fault, lasts: bool) {
    let scenarios =
        [Scenario::mirrored, Scenario::first_copy, Scenario::both_ways, Scenario::both_ways_apart];
    thread::scope(|scope| {
        let runs: Vec<_> =
            scenarios.map(|make| scope.spawn(move || spoil(make, fault, lasts))).into();
        for run in runs {
            let spoilt = run.join().unwrap();
            assert!(spoilt > 3, "{fault:?} was tried at {spoilt} calls only");
        }
    });
}

#[test]
fn an_input_output_error() {
    spoil_all(Fault::Io, false);
}

#[test]
fn no_space_once() {
    spoil_all(Fault::NoSpace, false);
}

#[test]
fn no_space_from_then_on() {
    spoil_all(Fault::NoSpace, true);
}

#[test]
fn a_quota() {
    spoil_all(Fault::Quota, false);
}

#[test]
fn too_many_open_files() {
    spoil_all(Fault::TooManyFiles, false);
}

#[test]
fn an_interruption() {
    spoil_all(Fault::Interrupted, false);
}

#[test]
fn a_short_write() {
    spoil_all(Fault::ShortWrite, false);
}

#[test]
fn a_stop() {
    spoil_all(Fault::Stop, false);
}
