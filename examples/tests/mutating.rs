//! A source that four threads never leave alone, and one quiet run afterwards.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use support::every_kind::noise;
use support::{Ground, assert_level, assert_rsync_agrees, names_in, peer};

const LASTS: Duration = Duration::from_secs(30);

/// One change of a random kind at a random place; whether it could be made.
fn disturb(root: &Path, number: u64) -> std::io::Result<()> {
    let place = |number: u64| -> PathBuf {
        root.join(format!("{}/{}/{}", number % 5, (number / 5) % 4, (number / 20) % 8))
    };
    let (path, other) = (place(number >> 8), place(number >> 24));
    match number % 12 {
        0 | 1 => {
            fs::create_dir_all(path.parent().unwrap())?;
            fs::write(&path, noise(number, usize::try_from(number % 20_000).unwrap()))
        }
        2 => {
            let mut file = OpenOptions::new().append(true).open(&path)?;
            std::io::Write::write_all(&mut file, &noise(number, 3000))
        }
        3 => OpenOptions::new().write(true).open(&path)?.set_len(number % 3000),
        4 => fs::remove_file(&path),
        5 => {
            fs::remove_file(&path)?;
            fs::create_dir(&path)?;
            fs::write(path.join("inside"), "inside")
        }
        6 => {
            fs::remove_dir_all(&path)?;
            symlink("somewhere", &path)
        }
        7 => {
            fs::remove_file(&path)?;
            symlink("elsewhere", &path)
        }
        8 => {
            fs::set_permissions(&path, Permissions::from_mode(0o600 | (number as u32 >> 4) & 0o77))
        }
        9 => fs::rename(&path, &other),
        10 => fs::rename(path.parent().unwrap(), other.parent().unwrap().with_extension("moved")),
        _ => fs::hard_link(&path, &other),
    }
}

#[test]
fn one_quiet_run_makes_level_what_never_rested() {
    let ground = Ground::new();
    for number in 0..200 {
        let _ = disturb(&ground.src(), number << 8);
    }
    ground.source("quiet/file", "never touched");
    ground.mirror().done();
    let (stop, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut runs = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(LASTS);
            stop.store(true, Ordering::Relaxed);
        });
        for thread in 0..4_u64 {
            let (ground, stop, changes) = (&ground, &stop, &changes);
            scope.spawn(move || {
                let mut dice = thread + 1;
                while !stop.load(Ordering::Relaxed) {
                    dice = dice
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let done = disturb(&ground.src(), dice >> 20).is_ok();
                    changes.fetch_add(u64::from(done), Ordering::Relaxed);
                    // A busy site, not a denial of service.
                    thread::sleep(Duration::from_micros(300));
                }
            });
        }
        while !stop.load(Ordering::Relaxed) {
            runs += 1;
            let run = ground.mirror().args(["--max-delete", "100%"]).run();
            assert!([0, 3].contains(&run.code()), "{}", run.shown());
            assert_eq!(ground.read("quiet/file"), "never touched");
            let names = names_in(&ground.dst());
            assert!(!names.iter().any(|name| name.contains(".mirror-tmp-")), "{names:?}");
        }
    });
    let changes = changes.into_inner();
    println!("{changes} changes during {runs} runs");
    assert!(changes > 1_000 && runs > 2, "{changes} changes during {runs} runs");
    let options = ["--max-delete", "100%", "--verify=independent"];
    ground.mirror().args(options).done();
    assert_level(&ground.src(), &ground.dst());
    if let Some(rsync) = peer("rsync") {
        assert_rsync_agrees(&rsync, &ground.src(), &ground.dst(), &[]);
    }
}
