//! The power goes: whatever was synced is there, and any part of the rest.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use mirror_core::Durability;
use mirror_core::testing::{Crash, Fault, Image, Recording, Survival};
use proptest::prelude::*;

use crate::ground::Ground;
use crate::scenario::{Scenario, noise, write};
use crate::tree::{assert_same, snapshot};
use crate::whole::Versions;

/// Numbers that look random and are the same every time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Dice {
        Dice(1)
    }

    fn throw(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Some changes are lost, some are torn, some survive.
    pub(crate) fn some(&mut self, crash: &Crash) -> Image {
        let lost = self.throw(4);
        crash.image(|_| match self.throw(4) {
            side if side < lost => Survival::Lost,
            3 => Survival::Torn(usize::try_from(self.throw(12)).unwrap()),
            _ => Survival::Whole,
        })
    }
}

/// Carries the run of a scenario out to its end, and returns what it changed.
fn record(scenario: &Scenario) -> Recording {
    let identities = scenario.ground.lay(&scenario.start);
    let disk = scenario.ground.disk(&identities).recording_in(&scenario.ground.path()).unwrap();
    let report = scenario.ground.mirror(&disk).unwrap();
    assert!(report.is_clean(), "{report:?}");
    disk.recording().unwrap()
}

/// Goes on from what the disk held after a power cut.
#[track_caller]
fn survive(scenario: &Scenario, image: &Image, what: &str) {
    let identities = scenario.ground.lay(image);
    scenario.assert_whole(what);
    match &scenario.source {
        None => scenario.ground.assert_recovers(&identities, what),
        Some(_) => scenario.ground.assert_meets(&scenario.target.new, &identities, what),
    }
}

/// Every moment of a run with every kind of step: with all that was not synced lost, with none of
/// it lost, and with parts of it lost.
fn cut_anywhere(make: fn() -> Scenario, durability: Durability) {
    let mut scenario = make();
    scenario.ground.durability = durability;
    let (mut dice, mut seen) = (Dice::new(), HashSet::new());
    for (moment, crash) in record(&scenario).crashes().enumerate() {
        let mut images = vec![crash.image(|_| Survival::Lost), crash.image(|_| Survival::Whole)];
        if crash.pending() > 1 {
            images.push(dice.some(&crash));
        }
        for image in images.into_iter().filter(|image| seen.insert(image.clone())) {
            survive(&scenario, &image, &format!("{durability:?}, moment {moment}"));
        }
    }
    assert!(seen.len() > 50, "{} states only", seen.len());
}

#[test]
fn a_mirror_with_every_kind_of_step() {
    cut_anywhere(Scenario::mirrored, Durability::Batch);
}

#[test]
fn a_mirror_file_by_file() {
    cut_anywhere(Scenario::mirrored, Durability::EachFile);
}

#[test]
fn a_first_copy() {
    cut_anywhere(Scenario::first_copy, Durability::Batch);
}

#[test]
fn both_ways() {
    cut_anywhere(Scenario::both_ways, Durability::Batch);
}

#[test]
fn both_ways_without_conflicts() {
    cut_anywhere(Scenario::both_ways_apart, Durability::Batch);
}

/// One thing that may happen in a source: what was there, and what becomes of it.
type Change = (&'static str, fn(&Path), fn(&Path));

const CHANGES: [Change; 13] = [
    ("new file", |_| {}, |at| write(&at.join("a"), "new")),
    ("new content", |at| write(&at.join("b"), "old"), |at| write(&at.join("b"), noise(1, 1500))),
    ("deleted", |at| write(&at.join("c"), "old"), |at| fs::remove_file(at.join("c")).unwrap()),
    (
        "renamed",
        |at| write(&at.join("d"), "renamed"),
        |at| fs::rename(at.join("d"), at.join("e")).unwrap(),
    ),
    (
        "renamed and made again",
        |at| write(&at.join("f"), "renamed too"),
        |at| {
            fs::rename(at.join("f"), at.join("g")).unwrap();
            write(&at.join("f"), "another f");
        },
    ),
    (
        "swapped",
        |at| {
            write(&at.join("h"), "once h");
            write(&at.join("i"), "this was i");
        },
        |at| {
            fs::rename(at.join("h"), at.join("aside")).unwrap();
            fs::rename(at.join("i"), at.join("h")).unwrap();
            fs::rename(at.join("aside"), at.join("i")).unwrap();
        },
    ),
    (
        "file to directory",
        |at| write(&at.join("j"), "file"),
        |at| {
            fs::remove_file(at.join("j")).unwrap();
            write(&at.join("j/in"), "in a directory");
        },
    ),
    (
        "directory to file",
        |at| write(&at.join("k/in"), "in it"),
        |at| {
            fs::remove_dir_all(at.join("k")).unwrap();
            write(&at.join("k"), "a file now");
        },
    ),
    ("new directory", |_| {}, |at| write(&at.join("l/m/in"), "new in new")),
    (
        "renamed directory",
        |at| write(&at.join("n/in"), "moves along"),
        |at| fs::rename(at.join("n"), at.join("o")).unwrap(),
    ),
    (
        "linked",
        |at| write(&at.join("p"), "two names"),
        |at| fs::hard_link(at.join("p"), at.join("q")).unwrap(),
    ),
    (
        "symlink",
        |at| symlink("one", at.join("r")).unwrap(),
        |at| {
            fs::remove_file(at.join("r")).unwrap();
            symlink("two", at.join("r")).unwrap();
        },
    ),
    (
        "deleted directory",
        |at| write(&at.join("s/t/in"), "goes"),
        |at| fs::remove_dir_all(at.join("s")).unwrap(),
    ),
];

/// A run for these changes and no others, all in one directory.
fn small(changes: &[&Change]) -> Scenario {
    let ground = Ground::new();
    write(&ground.src().join("stays"), "stays");
    changes.iter().for_each(|(_, before, _)| before(&ground.src()));
    ground.mirror(&ground.plain_disk()).unwrap();
    changes.iter().for_each(|(.., after)| after(&ground.src()));
    let (old, new) = (snapshot(&ground.dst()), snapshot(&ground.src()));
    let start = ground.image();
    let moved = vec![("n", "o")];
    let target = Versions { old, new, moved };
    Scenario { ground, start, target, source: None, lasting: BTreeSet::new() }
}

/// The states that a crash can leave of such a run: with all that was not synced lost, with none of
/// it, with each change alone lost, surviving or torn, and with every combination of the last three.
fn exhaust(changes: &[&Change]) -> usize {
    let scenario = small(changes);
    let names: Vec<&str> = changes.iter().map(|(name, ..)| *name).collect();
    let mut seen = HashSet::new();
    for (moment, crash) in record(&scenario).crashes().enumerate() {
        let pending = crash.pending();
        let mut images = vec![crash.image(|_| Survival::Lost), crash.image(|_| Survival::Whole)];
        for one in 0..pending {
            let alone = |this: Survival, others: Survival| {
                crash.image(|index| if index == one { this } else { others })
            };
            images.push(alone(Survival::Lost, Survival::Whole));
            images.push(alone(Survival::Whole, Survival::Lost));
            images.push(alone(Survival::Torn(1), Survival::Whole));
        }
        let free = pending.min(3);
        for kept in 0..1_u32 << free {
            for earlier in [Survival::Lost, Survival::Whole] {
                let bit = |index: usize| index.checked_sub(pending - free);
                images.push(crash.image(|index| match bit(index) {
                    None => earlier,
                    Some(bit) if kept & (1 << bit) == 0 => Survival::Lost,
                    Some(_) => Survival::Whole,
                }));
            }
        }
        for image in images {
            if seen.insert(image.clone()) {
                survive(&scenario, &image, &format!("{names:?}, moment {moment}"));
            }
        }
    }
    seen.len()
}

/// Small plans show nearly all that can go wrong; so all of them are tried.
#[test]
fn every_plan_of_up_to_three_changes() {
    let all: Vec<&Change> = CHANGES.iter().collect();
    let mut plans: Vec<Vec<&Change>> = Vec::new();
    for (i, one) in all.iter().enumerate() {
        plans.push(vec![one]);
        for (j, two) in all.iter().enumerate().skip(i + 1) {
            plans.push(vec![one, two]);
            plans.extend(all.iter().skip(j + 1).map(|three| vec![*one, *two, *three]));
        }
    }
    assert_eq!(plans.len(), 13 + 78 + 286);
    let (next, states) = (Mutex::new(plans.iter()), Mutex::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(plan) = next.lock().unwrap().next() else { return };
                    let seen = exhaust(plan);
                    *states.lock().unwrap() += seen;
                }
            });
        }
    });
    let states = states.into_inner().unwrap();
    println!("{states} states");
    assert!(states > 5_000, "{states} states only");
}

/// A tree as a list of what is to be at which of a few names.
#[derive(Debug, Clone)]
enum Planted {
    File(u64, usize),
    Link(u8),
    Symlink(u8),
}

fn name(number: u8) -> String {
    ["a", "b", "c", "d/a", "d/b", "d/c", "e/f/a", "e/f/b", "g", "d", "e"][number as usize % 11]
        .to_owned()
}

fn plant(root: &Path, entries: &[(u8, Planted)]) {
    for (at, entry) in entries {
        let path = root.join(name(*at));
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        if fs::create_dir_all(path.parent().unwrap()).is_err() {
            continue;
        }
        match entry {
            Planted::File(seed, length) => write(&path, noise(*seed, *length)),
            Planted::Link(to) => drop(fs::hard_link(root.join(name(*to)), &path)),
            Planted::Symlink(to) => symlink(name(*to), &path).unwrap(),
        }
    }
}

fn planted() -> impl Strategy<Value = Vec<(u8, Planted)>> {
    let entry = prop_oneof![
        5 => (0_u64..6, 0_usize..3000).prop_map(|(seed, length)| Planted::File(seed, length)),
        1 => any::<u8>().prop_map(Planted::Link),
        1 => any::<u8>().prop_map(Planted::Symlink),
    ];
    prop::collection::vec((any::<u8>(), entry), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn long_plans_at_random(
        before in planted(),
        after in planted(),
        renames in prop::collection::vec((any::<u8>(), any::<u8>()), 0..4),
        seed in any::<u64>(),
    ) {
        let ground = Ground::new();
        write(&ground.src().join("stays"), "stays");
        plant(&ground.src(), &before);
        ground.mirror(&ground.plain_disk()).unwrap();
        for (from, to) in renames {
            // Some cannot be: one is gone, or would be in itself.
            drop(fs::rename(ground.src().join(name(from)), ground.src().join(name(to))));
        }
        plant(&ground.src(), &after);
        let (old, new) = (snapshot(&ground.dst()), snapshot(&ground.src()));
        let start = ground.image();
        // What was renamed with the directory it is in can have the content of any old name.
        let target = Versions { old, new, moved: Vec::new() };
        let scenario = Scenario { ground, start, target, source: None, lasting: BTreeSet::new() };
        let crashes: Vec<Crash> = record(&scenario).crashes().collect();
        let mut dice = Dice(seed);
        for turn in 0..8 {
            let crash = &crashes[usize::try_from(dice.throw(crashes.len() as u64)).unwrap()];
            let image = dice.some(crash);
            let identities = scenario.ground.lay(&image);
            scenario.assert_no_content_of_nowhere(&format!("seed {seed}, turn {turn}"));
            scenario.ground.assert_recovers(&identities, &format!("seed {seed}, turn {turn}"));
        }
    }
}

/// One call fails and the power goes afterwards: where the run said that all is well, all is on the
/// disk.
#[test]
fn what_a_run_claims_after_a_fault_survives() {
    let chosen: Vec<&Change> = CHANGES.iter().collect();
    let scenario = small(&chosen);
    let mut clean = 0;
    for fault in [Fault::Io, Fault::TooManyFiles, Fault::Interrupted] {
        for number in 0.. {
            let identities = scenario.ground.lay(&scenario.start);
            let disk = scenario.ground.disk(&identities).failing_at(number, fault);
            let disk = disk.recording_in(&scenario.ground.path()).unwrap();
            let result = scenario.ground.mirror(&disk);
            if disk.calls() <= number {
                break;
            }
            let is_clean = result.is_ok_and(|report| report.is_clean());
            if disk.spoilt() == 0 || !is_clean {
                continue;
            }
            clean += 1;
            let crash = disk.recording().unwrap().crashes().last().unwrap();
            scenario.ground.lay(&crash.image(|_| Survival::Lost));
            let (src, dst) = (snapshot(&scenario.ground.src()), snapshot(&scenario.ground.dst()));
            assert_same(&src, &dst);
        }
    }
    assert!(clean > 0, "no fault was got over");
}
