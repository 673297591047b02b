//! The disk behind an agent fails or stops: what holds for a local target holds for one that is
//! somewhere else.

use std::collections::HashSet;
use std::thread;

use mirror_core::testing::{Fault, FaultFs, Identities, Survival};
use mirror_core::{
    DeleteLimit, Error, Guards, Mirror, RemoteOptions, RemoteTree, Report, memory_pair, serve,
};

use crate::crash::Dice;
use crate::ground::Ground;
use crate::scenario::Scenario;
use crate::tree::{assert_same, names_in, snapshot};

impl Ground {
    /// Mirrors once to an agent whose disk is `there`.
    fn push(&self, identities: &Identities, there: &FaultFs) -> Result<Report, Error> {
        let (ours, theirs) = memory_pair().unwrap();
        let config = there.agent(self.dst());
        let agent = thread::spawn(move || serve(theirs, &config));
        let ran =
            RemoteTree::connect(ours, "there", &RemoteOptions::default()).and_then(|target| {
                let here = self.disk(identities);
                let source = here.tree(self.src())?;
                let mirror = Mirror::new(&source, &target)
                    .policy(self.policy.clone())
                    .durability(self.durability)
                    .state(self.state());
                let guards = Guards { max_delete: DeleteLimit::Percent(100), ..Guards::default() };
                here.keeping_state_of(mirror).plan()?.approve(&guards)?.apply()
            });
        agent.join().expect("an agent never panics").unwrap();
        ran
    }
}

impl Ground {
    /// One more run brings everything level, leaves nothing behind, and leaves nothing to do.
    #[track_caller]
    fn assert_push_recovers(&self, identities: &Identities, what: &str) {
        let push = || self.push(identities, &self.disk(identities)).unwrap();
        let report = push();
        assert!(report.is_clean(), "{what}: {report:?}");
        assert_same(&snapshot(&self.src()), &snapshot(&self.dst()));
        assert!(names_in(&self.state()).iter().all(|name| !name.ends_with("journal")), "{what}");
        let again = push();
        assert_eq!(again.counts.total(), 0, "{what}: {again:?}");
    }
}

/// Lets every call in turn go wrong, with a step between that has no part in common with the order
/// in which calls come.
fn spoil(make: fn() -> Scenario, fault: Fault, lasts: bool, step: usize) {
    let scenario = make();
    let calls = {
        let identities = scenario.ground.lay(&scenario.start);
        let disk = scenario.ground.disk(&identities);
        scenario.ground.push(&identities, &disk).unwrap();
        assert_eq!(snapshot(&scenario.ground.src()), snapshot(&scenario.ground.dst()));
        disk.calls()
    };
    let mut met = 0;
    for number in (0..calls).step_by(step) {
        let what = format!("{fault:?} at call {number} of the agent");
        let identities = scenario.ground.lay(&scenario.start);
        let disk = scenario.ground.disk(&identities);
        let disk = match lasts {
            true => disk.failing_from(number, fault),
            false => disk.failing_at(number, fault),
        };
        let result = scenario.ground.push(&identities, &disk);
        scenario.assert_whole(&what);
        met += u64::from(disk.spoilt() > 0);
        match result {
            Ok(report) if report.is_clean() && disk.spoilt() > 0 => {
                let (src, dst) =
                    (snapshot(&scenario.ground.src()), snapshot(&scenario.ground.dst()));
                assert!(src == dst, "{what}: {report:?}");
            }
            Ok(report) => assert!(report.problems.iter().all(|p| !p.error.is_empty())),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        scenario.ground.assert_push_recovers(&identities, &what);
    }
    assert!(met > 5, "{fault:?} was met {met} times only");
}

/// The power goes behind an agent: of what was not synced there, any part may be lost. The caller's
/// disk keeps what it remembered before the run.
fn cut(make: fn() -> Scenario, step: usize) {
    let scenario = make();
    let recording = {
        let identities = scenario.ground.lay(&scenario.start);
        let disk = scenario.ground.disk(&identities);
        let disk = disk.recording_in(&scenario.ground.path()).unwrap();
        assert!(scenario.ground.push(&identities, &disk).unwrap().is_clean());
        disk.recording().unwrap()
    };
    let (mut dice, mut seen) = (Dice::new(), HashSet::new());
    for (moment, crash) in recording.crashes().enumerate().step_by(step) {
        for image in [crash.image(|_| Survival::Lost), dice.some(&crash)] {
            if !seen.insert(image.clone()) {
                continue;
            }
            let what = format!("the power goes behind the agent at moment {moment}");
            let identities = scenario.ground.lay(&image);
            scenario.assert_whole(&what);
            scenario.ground.assert_push_recovers(&identities, &what);
        }
    }
    assert!(seen.len() > 20, "{} states only", seen.len());
}

#[test]
fn a_power_cut_behind_an_agent() {
    thread::scope(|scope| {
        scope.spawn(|| cut(Scenario::mirrored, 3));
        scope.spawn(|| cut(Scenario::first_copy, 3));
    });
}

fn spoil_all(fault: Fault, lasts: bool, step: usize) {
    thread::scope(|scope| {
        scope.spawn(|| spoil(Scenario::mirrored, fault, lasts, step));
        scope.spawn(|| spoil(Scenario::first_copy, fault, lasts, step));
    });
}

#[test]
fn an_input_output_error_behind_an_agent() {
    spoil_all(Fault::Io, false, 5);
}

#[test]
fn no_space_behind_an_agent() {
    spoil_all(Fault::NoSpace, true, 11);
}

#[test]
fn a_stop_behind_an_agent() {
    spoil_all(Fault::Stop, false, 5);
}
