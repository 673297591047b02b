//! A disk that fills up while a run writes to it, and a table of inodes that does.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use support::every_kind::noise;
use support::ground::put;
use support::{Ground, Mounts, Run, assert_level, names_in};

/// What fills up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    Bytes,
    Inodes,
}

/// Takes all that is left, under `folder`.
fn fill(folder: &Path, filled: Filled) {
    fs::create_dir(folder).unwrap();
    match filled {
        Filled::Bytes => {
            let mut file = File::create(folder.join("bytes")).unwrap();
            while file.write_all(&[1; 65_536]).is_ok() {}
            while file.write_all(&[1; 512]).is_ok() {}
        }
        Filled::Inodes => {
            for number in 0.. {
                if File::create(folder.join(number.to_string())).is_err() {
                    return;
                }
            }
        }
    }
}

fn contents(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let names = names_in(root).into_iter().filter(|name| !name.contains(".mirror-tmp-"));
    names.map(|name| (name.clone(), fs::read(root.join(&name)).ok())).collect()
}

fn change(ground: &Ground, turn: u64) {
    for number in 0..300 {
        let name = format!("{}/{number}", number % 10);
        ground.source(&name, noise(turn * 1000 + number, 20_000));
    }
    ground.source(&format!("new-{turn}/file"), noise(turn, 9000));
}

/// Starts a run and fills the disk when the run has begun to write. None if it was quicker.
fn run_into(mirror: &support::Mirror, state: &Path, filler: &Path, filled: Filled) -> Option<Run> {
    let mut run = mirror.spawn();
    let begun = || names_in(state).iter().any(|name| name.ends_with("/journal"));
    while !begun() {
        if run.has_ended() {
            return None;
        }
        thread::sleep(Duration::from_micros(200));
    }
    kill_process(run.id(), Signal::STOP).unwrap();
    fill(filler, filled);
    kill_process(run.id(), Signal::CONT).unwrap();
    Some(run.wait())
}

/// The target fills up, with the state on it or elsewhere.
fn fills_up(options: &str, filled: Filled, state_too: bool) {
    let ground = Ground::new();
    let volume = ground.path("volume");
    fs::create_dir(&volume).unwrap();
    let Some(mounts) = Mounts::tmpfs(&volume, options) else { return };
    let inside = |name: &str| mounts.inside(&volume.join(name));
    let state: PathBuf = if state_too { volume.join("state") } else { ground.path("state") };
    let seen_state = if state_too { inside("state") } else { state.clone() };
    let mirror = ground
        .mirror()
        .under(mounts.enter())
        .to(volume.join("dst"))
        .state(&state)
        .args(["--max-delete", "100%"]);
    change(&ground, 0);
    mirror.done();
    assert_level(&ground.src(), &inside("dst"));

    let mut failed = 0;
    for turn in 1..=12 {
        let old = contents(&inside("dst"));
        change(&ground, turn);
        let new = contents(&ground.src());
        if let Some(run) = run_into(&mirror, &seen_state, &inside("filler"), filled)
            && run.code() != 0
        {
            failed += 1;
            let run = run.ends(1);
            run.assert_one_sentence();
            assert!(run.stderr().contains("no space or no inodes left"), "{}", run.shown());
            for (name, content) in contents(&inside("dst")) {
                let versions = [old.get(&name), new.get(&name)];
                let whole = versions.into_iter().flatten().any(|version| *version == content);
                assert!(whole, "{name} is torn");
            }
            for name in old.keys().filter(|name| new.contains_key(*name)) {
                assert!(inside("dst").join(name).exists(), "{name} is gone");
            }
        }
        drop(fs::remove_dir_all(inside("filler")));
        mirror.done();
        assert_level(&ground.src(), &inside("dst"));
        if failed == 2 {
            return;
        }
    }
    panic!("the disk was full {failed} times only");
}

#[test]
fn the_disk_of_the_target_fills_up() {
    fills_up("size=40m", Filled::Bytes, false);
}

#[test]
fn the_disk_of_target_and_state_fills_up() {
    fills_up("size=40m", Filled::Bytes, true);
}

#[test]
fn the_inodes_of_the_target_run_out() {
    fills_up("size=40m,nr_inodes=1500", Filled::Inodes, false);
}

#[test]
fn the_inodes_of_target_and_state_run_out() {
    fills_up("size=40m,nr_inodes=1500", Filled::Inodes, true);
}

/// A disk that is full from the beginning, and a run that has room only for its state.
#[test]
fn a_full_disk_loses_nothing_that_is_there() {
    let ground = Ground::new();
    let volume = ground.path("volume");
    fs::create_dir(&volume).unwrap();
    let Some(mounts) = Mounts::tmpfs(&volume, "size=4m") else { return };
    let inside = |name: &str| mounts.inside(&volume.join(name));
    let mirror = ground.mirror().under(mounts.enter()).to(volume.join("dst"));
    put(&ground.src().join("file"), "old");
    mirror.done();
    fill(&inside("filler"), Filled::Bytes);
    ground.source("file", noise(1, 30_000));
    let run = mirror.run();
    assert!([1, 4].contains(&run.code()), "{}", run.shown());
    assert_eq!(fs::read_to_string(inside("dst/file")).unwrap(), "old");
    fs::remove_dir_all(inside("filler")).unwrap();
    mirror.done();
    assert_level(&ground.src(), &inside("dst"));
}
