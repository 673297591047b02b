//! A customer swaps what a run as root works on for links to elsewhere, as fast as the machine can.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use support::ground::ORDINARY;
use support::{Ground, am_root, assert_level, names_in, snapshot};

/// How long each attack lasts.
const LASTS: Duration = Duration::from_secs(5);

/// How often the attacker must have struck for the test to say anything.
const MANY: u64 = 2_000;

/// The same for temporary names, of which a run has only so many.
const MANY_NAMES: u64 = 300;

/// What must neither come into a target nor be changed.
const SECRET: &str = "a secret that lies outside of all trees";

/// Files of the folder that is under attack.
const FILES: u64 = 60;

/// Changes what is in a folder with every turn: a file is new, one goes, the others change. The
/// folder is held, since its name may be under attack.
fn change(shop: &File, turn: u64) {
    let shop = PathBuf::from(format!("/proc/self/fd/{}", shop.as_raw_fd()));
    for number in 0..FILES {
        fs::write(shop.join(number.to_string()), format!("version {turn} of {number}")).unwrap();
    }
    fs::write(shop.join(format!("new-{turn}")), "new").unwrap();
    fs::create_dir(shop.join(format!("folder-{turn}"))).unwrap();
    if let Some(before) = turn.checked_sub(1) {
        fs::remove_file(shop.join(format!("new-{before}"))).unwrap();
        fs::remove_dir(shop.join(format!("folder-{before}"))).unwrap();
    }
}

/// A folder with everything that a run may be asked for in `shop`, and secrets as contents.
fn outside(ground: &Ground) -> PathBuf {
    let outside = ground.path("outside");
    let names = (0..FILES).map(|number| number.to_string());
    for name in names.chain(["new-0".to_owned(), "new-1".to_owned()]) {
        support::ground::put(&outside.join(&name), SECRET);
        support::ground::put(&outside.join("shop").join(&name), SECRET);
    }
    outside
}

/// A link of the customer's.
fn link(to: &Path, at: &Path) {
    symlink(to, at).unwrap();
    lchown(at, Some(ORDINARY), Some(ORDINARY)).unwrap();
}

fn exchange(one: &Path, other: &Path) -> bool {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

/// Runs the program again and again while `strike` is called without a pause; each call says how
/// often it swapped something. `peace` puts back what the last one left.
fn attack(victim: &Victim, many: u64, strike: impl Fn() -> u64 + Sync, peace: impl Fn()) {
    let ground = &victim.ground;
    let outside = ground.path("outside");
    let before = snapshot(&outside);
    let (stop, swaps) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut runs = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(LASTS);
            stop.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                swaps.fetch_add(strike(), Ordering::Relaxed);
            }
        });
        while !stop.load(Ordering::Relaxed) {
            runs += 1;
            change(&victim.shop, runs);
            // Whatever it comes to; that it ends in order is looked at on the way.
            let _ = ground.mirror().args(["--max-delete", "100%"]).run();
        }
    });
    peace();
    let swaps = swaps.into_inner();
    println!("{swaps} swaps during {runs} runs");
    assert!(swaps > many && runs > 5, "{swaps} swaps during {runs} runs are no attack");

    support::tree::assert_same(&before, &snapshot(&outside));
    // Links to outside may have come along as links; nothing that they lead to may have.
    ground.mirror().args(["--max-delete", "100%"]).run().ends(0);
    assert_level(&ground.src(), &ground.dst());
    for name in names_in(&ground.dst()) {
        let path = ground.dst().join(&name);
        if path.symlink_metadata().unwrap().is_file() {
            assert!(!fs::read_to_string(&path).unwrap().contains(SECRET), "{name}");
        }
    }
}

/// A ground at rest, mirrored once, and the folder of its source that changes.
struct Victim {
    ground: Ground,
    shop: File,
}

fn under_attack() -> Option<Victim> {
    if !am_root() {
        println!("skipped: an attack on a run as root needs one");
        return None;
    }
    let ground = Ground::new();
    fs::create_dir(ground.src().join("shop")).unwrap();
    let shop = File::open(ground.src().join("shop")).unwrap();
    change(&shop, 0);
    ground.mirror().done();
    outside(&ground);
    Some(Victim { ground, shop })
}

/// Exchanges a folder with a link to a folder outside, back and forth.
fn swap(folder: &str, target: &str) {
    let Some(victim) = under_attack() else { return };
    let ground = &victim.ground;
    let (folder, beside) = (ground.path(folder), ground.path("beside"));
    link(&ground.path(target), &beside);
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    attack(
        &victim,
        MANY,
        || u64::from(exchange(&folder, &beside)),
        || {
            // Unless the link was mirrored away.
            if !is_link(&beside) {
                assert!(exchange(&folder, &beside));
            }
        },
    );
}

#[test]
fn the_folder_that_is_written_to() {
    swap("dst/shop", "outside/shop");
}

#[test]
fn the_folder_that_is_read() {
    swap("src/shop", "outside/shop");
}

#[test]
fn the_target_itself() {
    swap("dst", "outside");
}

#[test]
fn the_state_folder() {
    swap("state", "outside");
}

#[test]
fn the_file_that_is_written_to() {
    let Some(victim) = under_attack() else { return };
    let (file, target) = (victim.ground.dst().join("shop/1"), victim.ground.path("outside/1"));
    let beside = victim.ground.path("beside");
    attack(
        &victim,
        MANY,
        || {
            // Each run puts a file there again.
            drop(fs::remove_file(&beside));
            link(&target, &beside);
            u64::from(fs::rename(&beside, &file).is_ok())
        },
        || {},
    );
}

#[test]
fn the_names_that_are_written_under() {
    let Some(victim) = under_attack() else { return };
    let (shop, beside) = (victim.ground.dst().join("shop"), victim.ground.path("beside"));
    let target = victim.ground.path("outside/1");
    attack(
        &victim,
        MANY_NAMES,
        || {
            let mut swaps = 0;
            for entry in fs::read_dir(&shop).into_iter().flatten().flatten() {
                if entry.file_name().as_encoded_bytes().starts_with(b".mirror-tmp-") {
                    link(&target, &beside);
                    swaps += u64::from(exchange(&beside, &entry.path()));
                    fs::remove_file(&beside).or_else(|_| fs::remove_dir_all(&beside)).unwrap();
                }
            }
            swaps
        },
        || {},
    );
}
