//! Somebody is quicker: what a call names is a symlink to somewhere else when the call is made.

use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use mirror_core::testing::Call;

use crate::scenario::{Scenario, as_root, write};
use crate::tree::{Tree, assert_same, snapshot};

/// What must never come into a target, nor be changed.
const SECRET: &str = "a secret that lies outside of all trees";

/// Which part of a path is swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swapped {
    /// What the call names.
    Leaf,
    /// The directory that it is in.
    Parent,
    /// The directory above that.
    Above,
}

/// A folder outside of both trees that holds what an attacker would like to be reached: under each
/// name that may be asked for there is something, a directory with the same in it.
fn lay_out_victims(outside: &Path, names: &[PathBuf]) {
    let _ = fs::remove_dir_all(outside);
    for name in names {
        let path = outside.join("directory").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.symlink_metadata().is_err() {
            write(&path, SECRET);
        }
    }
    write(&outside.join("file"), SECRET);
}

/// Puts a symlink in the place of a part of `path`; returns where the original went.
fn swap(ground: &Path, outside: &Path, path: &Path, part: Swapped) -> Option<(PathBuf, PathBuf)> {
    let victim = match part {
        Swapped::Leaf => Some(path),
        Swapped::Parent => path.parent(),
        Swapped::Above => path.parent().and_then(Path::parent),
    }?;
    // What is above both trees belongs to nobody who could be an attacker.
    let inside = victim.strip_prefix(ground).ok()?;
    if inside.components().count() == 0 {
        return None;
    }
    let aside = outside.join("aside");
    let is_directory = match victim.symlink_metadata() {
        Ok(meta) => {
            fs::rename(victim, &aside).ok()?;
            meta.is_dir()
        }
        // A name that is about to be made.
        Err(_) => part != Swapped::Leaf,
    };
    let kind = if is_directory { "directory" } else { "file" };
    symlink(outside.join(kind), victim).ok()?;
    // A customer's, not one that root made.
    lchown(victim, Some(65534), Some(65534)).unwrap();
    Some((victim.to_path_buf(), aside))
}

/// What is outside, but for what was moved there by the swap.
fn outside_now(outside: &Path) -> Tree {
    let mut tree = snapshot(outside);
    tree.retain(|path, _| !path.is_empty() && !path.starts_with(b"aside"));
    tree
}

fn assert_no_secret(scenario: &Scenario, what: &str) {
    let outside = snapshot(&scenario.ground.outside());
    let secret = outside[&b"file"[..]].content;
    for side in [scenario.ground.src(), scenario.ground.dst()] {
        for (path, entry) in snapshot(&side) {
            assert!(
                entry.content != secret,
                "{what}: the secret is in {side:?} as {:?}",
                String::from_utf8_lossy(&path)
            );
        }
    }
}

/// Swaps a part of what each call names immediately before that call.
fn race(make: fn() -> Scenario, part: Swapped) -> usize {
    let scenario = make();
    let (ground, outside) = (scenario.ground.path(), scenario.ground.outside());
    let identities = scenario.ground.lay(&scenario.start);
    let calls: Vec<Call> = {
        let disk = scenario.ground.disk(&identities).tracing();
        scenario.ground.mirror(&disk).unwrap();
        disk.trace()
    };
    let leaves: Vec<PathBuf> = {
        let names = calls.iter().filter_map(|call| call.path.as_ref()?.file_name());
        names.map(PathBuf::from).collect()
    };
    let mut swaps = 0;
    for call in calls.iter().filter(|call| call.path.is_some()) {
        let number = call.number;
        let what = format!("{part:?} at call {number}, {:?} {:?}", call.kind, call.path);
        let identities = scenario.ground.lay(&scenario.start);
        lay_out_victims(&outside, &leaves);
        let before = outside_now(&outside);
        let swapped = Arc::new(Mutex::new(None));
        let disk = scenario.ground.disk(&identities).racing_at(number, {
            let (ground, outside, swapped) = (ground.clone(), outside.clone(), swapped.clone());
            move |call| {
                let path = call.path.clone().unwrap_or_default();
                *swapped.lock().unwrap() = swap(&ground, &outside, &path, part);
            }
        });
        // Whatever it comes to: an error, a problem, or a link that is mirrored as a link.
        let _ = scenario.ground.mirror(&disk);
        assert_same(&before, &outside_now(&outside));
        let Some((victim, aside)) = swapped.lock().unwrap().take() else { continue };
        swaps += 1;
        // The attacker leaves, and gives back what was there.
        if aside.symlink_metadata().is_ok() {
            let ours = victim.symlink_metadata().is_ok_and(|meta| meta.is_symlink())
                && fs::read_link(&victim).is_ok_and(|target| target.starts_with(&outside));
            if ours {
                fs::remove_file(&victim).unwrap();
                fs::rename(&aside, &victim).unwrap();
            } else {
                let _ = fs::remove_dir_all(&aside).or_else(|_| fs::remove_file(&aside));
            }
        } else if fs::read_link(&victim).is_ok_and(|target| target.starts_with(&outside)) {
            fs::remove_file(&victim).unwrap();
        }
        assert_no_secret(&scenario, &what);
        scenario.ground.assert_recovers(&identities, &what);
    }
    swaps
}

fn race_all(part: Swapped) {
    if !as_root() {
        println!("skipped: an attack on a run as root needs one");
        return;
    }
    thread::scope(|scope| {
        let runs = [Scenario::mirrored, Scenario::first_copy]
            .map(|make| scope.spawn(move || race(make, part)));
        for run in runs {
            let swaps = run.join().unwrap();
            assert!(swaps > 100, "{part:?} was swapped {swaps} times only");
        }
    });
}

#[test]
fn the_leaf_of_every_call() {
    race_all(Swapped::Leaf);
}

#[test]
fn the_directory_of_every_call() {
    race_all(Swapped::Parent);
}

#[test]
fn the_directory_above_that_of_every_call() {
    race_all(Swapped::Above);
}
