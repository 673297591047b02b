//! What counts as a change, and what does not have to be copied.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use support::every_kind::{acl, noise, set_time, set_xattr};
use support::ground::put;
use support::{Ground, assert_level, settle};

/// Writes other content of the same size and puts the time back.
fn change_behind_the_back(path: &Path, seed: u64) {
    let before = path.metadata().unwrap();
    fs::write(path, noise(seed, usize::try_from(before.size()).unwrap())).unwrap();
    set_time(path, before.mtime(), before.mtime_nsec());
    let after = path.metadata().unwrap();
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
}

#[test]
fn a_checksum_run_sees_other_content_of_the_same_size_and_time() {
    let ground = Ground::new();
    let file = ground.source("folder/file", noise(1, 5000));
    ground.source("folder/same", noise(2, 5000));
    ground.mirror().no_state().done();
    change_behind_the_back(&file, 3);
    let run = ground.mirror().no_state().arg("--checksum").done();
    run.assert_counts(&[("updated", 1), ("created", 0), ("deleted", 0), ("metadata_only", 0)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_checksum_run_sees_it_on_the_target_too() {
    let ground = Ground::new();
    ground.source("file", noise(1, 5000));
    ground.mirror().no_state().done();
    change_behind_the_back(&ground.dst().join("file"), 3);
    ground.mirror().no_state().arg("--checksum").done().assert_counts(&[("updated", 1)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn the_change_time_gives_it_away_when_there_is_a_state() {
    let ground = Ground::new();
    let file = ground.source("folder/file", noise(1, 5000));
    ground.source("folder/same", noise(2, 5000));
    settle();
    ground.mirror().done();
    settle();
    change_behind_the_back(&file, 3);
    let run = ground.mirror().done();
    run.assert_counts(&[("updated", 1), ("created", 0), ("deleted", 0), ("metadata_only", 0)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn the_change_time_gives_it_away_on_the_target_too() {
    let ground = Ground::new();
    ground.source("file", noise(1, 5000));
    settle();
    ground.mirror().done();
    settle();
    change_behind_the_back(&ground.dst().join("file"), 3);
    ground.mirror().done().assert_counts(&[("updated", 1)]);
    assert_level(&ground.src(), &ground.dst());
}

/// The clock of inodes ticks slowly: a change right after the scan may bear the same times
/// as what was scanned. Such entries have to be read again.
#[test]
fn a_change_in_the_same_instant_as_the_run_is_seen_by_the_next() {
    let ground = Ground::new();
    let file = ground.source("file", noise(0, 500));
    for round in 1..40 {
        change_behind_the_back(&file, round * 2);
        ground.mirror().done();
        change_behind_the_back(&file, round * 2 + 1);
        ground.mirror().done();
        let found = fs::read(ground.dst().join("file")).unwrap();
        assert!(found == noise(round * 2 + 1, 500), "not seen in round {round}");
    }
}

#[test]
fn a_new_time_alone_copies_no_bytes() {
    for options in [&[][..], &["--checksum"][..]] {
        let ground = Ground::new();
        let file = ground.source("file", noise(1, 50_000));
        ground.source("other", noise(2, 50_000));
        ground.mirror().done();
        let inode = ground.inode("file");
        set_time(&file, 1_234_567_890, 123_456_789);
        let run = ground.mirror().args(options).done();
        run.assert_counts(&[
            ("metadata_only", 1),
            ("updated", 0),
            ("created", 0),
            ("deleted", 0),
            ("moved", 0),
            ("bytes_copied", 0),
        ]);
        assert_eq!(ground.inode("file"), inode);
        assert_level(&ground.src(), &ground.dst());
    }
}

#[test]
fn a_time_that_differs_by_a_nanosecond_differs() {
    let ground = Ground::new();
    let file = ground.source("file", "content");
    set_time(&file, 1_234_567_890, 5);
    ground.mirror().no_state().done();
    set_time(&file, 1_234_567_890, 6);
    ground.mirror().no_state().done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn changed_metadata_is_no_new_content() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("mode", |path| fs::set_permissions(path, Permissions::from_mode(0o4711)).unwrap()),
        ("attribute", |path| set_xattr(path, "user.new", b"value")),
        ("access list", |path| set_xattr(path, "system.posix_acl_access", &acl(6, 77, 4, 4, 0))),
        ("time", |path| set_time(path, -5, 5)),
    ];
    for (what, change) in changes {
        for on_target in [false, true] {
            let ground = Ground::new();
            let file = ground.source("file", noise(1, 50_000));
            ground.source("folder/file", noise(2, 50_000));
            settle();
            ground.mirror().done();
            let changed = if on_target { ground.dst().join("file") } else { file };
            change(&changed);
            let run = ground.mirror().done();
            assert_eq!(run.count("metadata_only"), 1, "{what}: {}", run.shown());
            run.assert_counts(&[("updated", 0), ("created", 0), ("bytes_copied", 0)]);
            assert_level(&ground.src(), &ground.dst());
        }
    }
}

#[test]
fn the_same_content_written_anew_is_not_copied() {
    let ground = Ground::new();
    let file = ground.source("file", noise(1, 50_000));
    ground.source("other", "other");
    settle();
    ground.mirror().done();
    settle();
    fs::remove_file(&file).unwrap();
    fs::write(&file, noise(1, 50_000)).unwrap();
    let run = ground.mirror().done();
    run.assert_counts(&[("created", 0), ("updated", 0), ("deleted", 0), ("bytes_copied", 0)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn what_others_did_to_the_target_is_undone() {
    let ground = Ground::new();
    for name in ["a", "b/c", "b/d", "e/f/g", "h", "i", "j"] {
        ground.source(name, name);
    }
    ground.mirror().done();
    fs::remove_file(ground.dst().join("a")).unwrap();
    fs::remove_dir_all(ground.dst().join("e")).unwrap();
    ground.target("b/c", "scribbled over");
    ground.target("b/more", "not ours");
    ground.target("extra/folder/file", "not ours");
    fs::rename(ground.dst().join("h"), ground.dst().join("k")).unwrap();
    ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
}

/// A state that was damaged, or that belongs to other trees, must never lead astray.
#[test]
fn a_damaged_state_is_noticed() {
    type Damage = fn(Vec<u8>) -> Vec<u8>;
    let damages: [(&str, Damage); 5] = [
        ("emptied", |_| Vec::new()),
        ("cut", |bytes| bytes[..bytes.len() / 2].to_vec()),
        ("garbage", |bytes| noise(9, bytes.len().max(100))),
        ("one bit", |mut bytes| {
            let middle = bytes.len() / 2;
            if let Some(byte) = bytes.get_mut(middle) {
                *byte ^= 4;
            }
            bytes
        }),
        ("longer", |mut bytes| {
            bytes.extend(noise(9, 1000));
            bytes
        }),
    ];
    for (what, damage) in damages {
        let ground = Ground::new();
        for number in 0..20 {
            ground.source(&format!("folder/{number}"), noise(number, 200));
        }
        ground.mirror().done();
        let mut damaged = 0;
        support::tree::walk(&ground.path("state"), &mut |_, path, meta| {
            if meta.is_file() {
                fs::write(path, damage(fs::read(path).unwrap())).unwrap();
                damaged += 1;
            }
        });
        assert!(damaged > 0, "there is no state");
        change_behind_the_back(&ground.src().join("folder/7"), 100);
        let before = support::snapshot(&ground.dst());
        // Either it goes on without that state, or it says why it does not.
        let run = ground.mirror().arg("--checksum").run();
        match run.code() {
            0 => assert_level(&ground.src(), &ground.dst()),
            _ => {
                run.assert_one_sentence();
                support::tree::assert_same(&before, &support::snapshot(&ground.dst()));
            }
        }
        assert!(ground.has("folder/7"), "{what}");
    }
}

#[test]
fn a_state_belongs_to_its_two_trees() {
    let ground = Ground::new();
    for number in 0..10 {
        ground.source(&format!("folder/{number}"), noise(number, 200));
    }
    ground.mirror().done();
    // Another source under the same state folder, then another target, then a new tree
    // in the place of the old source.
    put(&ground.path("second/only here"), "content");
    put(&ground.path("second/folder/1"), noise(50, 200));
    ground.mirror().from(ground.path("second")).to(ground.path("third")).done();
    assert_level(&ground.path("second"), &ground.path("third"));
    ground.mirror().to(ground.path("fourth")).done();
    assert_level(&ground.src(), &ground.path("fourth"));
    fs::rename(ground.src(), ground.path("old")).unwrap();
    fs::rename(ground.path("second"), ground.src()).unwrap();
    ground.mirror().args(["--max-delete", "100%"]).done();
    assert_level(&ground.src(), &ground.dst());
}
