//! `kill -9` at any moment, again and again: every path is whole, and the next run goes on.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use support::every_kind::noise;
use support::{Ground, assert_level, names_in};

const ROUNDS: u64 = 500;
/// A run is let through to its end this often.
const WHOLE: u64 = 10;

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Every content that a path had since the last run that came to its end; None for what is no
/// file.
#[derive(Default)]
struct Versions(BTreeMap<String, BTreeSet<Option<[u8; 32]>>>);

impl Versions {
    fn note(&mut self, root: &Path) {
        for name in names_in(root) {
            let content = content(&root.join(&name));
            self.0.entry(name).or_default().insert(content);
        }
    }

    #[track_caller]
    fn assert_whole(&self, root: &Path, round: u64) {
        for name in names_in(root) {
            if name.contains(".mirror-tmp-") {
                continue;
            }
            let content = content(&root.join(&name));
            let known = self.0.get(&name).is_some_and(|versions| versions.contains(&content));
            assert!(known, "round {round}: {name} is torn");
        }
    }
}

fn content(path: &Path) -> Option<[u8; 32]> {
    let is_file = path.symlink_metadata().unwrap().is_file();
    is_file.then(|| *blake3::hash(&fs::read(path).unwrap()).as_bytes())
}

/// Changes some of everything.
fn change(root: &Path, round: u64, dice: &mut Dice) {
    for _ in 0..12 {
        let name = format!("small/{}/{}", dice.throw(6), dice.throw(12));
        support::ground::put(&root.join(name), noise(dice.throw(1 << 40), 200 + 50 * 40));
    }
    let large = root.join(format!("large-{}", dice.throw(3)));
    fs::write(large, noise(round, 1_500_000 + usize::try_from(round).unwrap())).unwrap();
    // A folder that wanders, and a file that does.
    let place = |number: u64| root.join(format!("wanders-{number}"));
    let (from, to) = (place(round % 7), place((round + 1) % 7));
    if fs::rename(&from, &to).is_err() && !to.exists() {
        support::ground::put(&to.join("in/it"), "wanders along");
    }
    drop(fs::rename(root.join("small/0/1"), root.join("small/1/0")));
    // An entry that is a file, a folder and a link in turn.
    let entry = root.join("entry");
    drop(fs::remove_file(&entry).or_else(|_| fs::remove_dir_all(&entry)));
    match round % 3 {
        0 => fs::write(&entry, format!("a file in round {round}")).unwrap(),
        1 => _ = support::ground::put(&entry.join("in/it"), "in a folder"),
        _ => std::os::unix::fs::symlink("small", &entry).unwrap(),
    }
}

#[test]
fn five_hundred_kills() {
    let ground = Ground::new();
    let (mut dice, mut versions) = (Dice(9), Versions::default());
    change(&ground.src(), 0, &mut dice);
    ground.mirror().done();
    versions.note(&ground.src());
    let mut killed = 0;
    for round in 1..=ROUNDS {
        change(&ground.src(), round, &mut dice);
        versions.note(&ground.src());
        if round % WHOLE == 0 {
            ground.mirror().args(["--max-delete", "100%"]).done();
            assert_level(&ground.src(), &ground.dst());
            let state = names_in(&ground.path("state"));
            let litter = |name: &&String| name.contains(".mirror-") || name.ends_with("journal");
            assert_eq!(state.iter().find(litter), None, "round {round}");
            versions = Versions::default();
            versions.note(&ground.src());
            continue;
        }
        // Files are read when they have been left alone for a moment; the rest is quick.
        let durability = ["none", "batch", "each-file"][usize::try_from(round % 3).unwrap()];
        let options = ["--max-delete", "100%", "--durability", durability];
        let mut run = ground.mirror().args(options).spawn();
        thread::sleep(Duration::from_micros(1000 * dice.throw(20) + 3000 * dice.throw(35)));
        killed += u64::from(!run.has_ended());
        run.kill();
        versions.assert_whole(&ground.dst(), round);
    }
    println!("{killed} of {ROUNDS} runs were killed");
    assert!(killed > ROUNDS / 10, "{killed} of {ROUNDS} runs were killed: the others had ended");
}
