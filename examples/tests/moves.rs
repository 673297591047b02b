//! What was renamed is renamed on the target, and nothing of it is copied.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use support::every_kind::{noise, set_time};
use support::{Ground, Run, assert_level, settle};

/// A mirrored ground with these files, each of its own content, and some that stay as they are.
fn mirrored(names: &[&str]) -> Ground {
    let ground = Ground::new();
    for (seed, name) in (1..).zip(names) {
        ground.source(name, content(seed));
    }
    for number in 0..5 {
        ground.source(&format!("stays/{number}"), content(100 + number));
    }
    settle();
    ground.mirror().done();
    ground
}

fn content(seed: u64) -> Vec<u8> {
    noise(seed, 20_000 + usize::try_from(seed).unwrap())
}

fn rename(ground: &Ground, from: &str, to: &str) {
    fs::rename(ground.src().join(from), ground.src().join(to)).unwrap();
}

/// The next run must bring both level with renames alone.
#[track_caller]
fn moved_only(ground: &Ground, moved: u64) -> Run {
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    run.assert_counts(&[
        ("moved", moved),
        ("bytes_copied", 0),
        ("created", 0),
        ("updated", 0),
        ("deleted", 0),
    ]);
    run
}

#[test]
fn a_renamed_file_is_moved() {
    let ground = mirrored(&["a", "folder/b"]);
    let inode = ground.inode("a");
    rename(&ground, "a", "z");
    moved_only(&ground, 1);
    assert_eq!(ground.inode("z"), inode);
}

#[test]
fn a_file_renamed_into_another_folder_is_moved() {
    let ground = mirrored(&["a", "folder/b"]);
    let inode = ground.inode("a");
    rename(&ground, "a", "folder/a");
    moved_only(&ground, 1);
    assert_eq!(ground.inode("folder/a"), inode);
}

#[test]
fn a_renamed_directory_is_one_move() {
    let ground = mirrored(&["folder/a", "folder/b", "folder/inner/c", "folder/inner/deep/d"]);
    let inodes = |folder: &str| {
        ["", "/a", "/inner", "/inner/deep/d"].map(|name| ground.inode(&format!("{folder}{name}")))
    };
    let before = inodes("folder");
    rename(&ground, "folder", "renamed");
    moved_only(&ground, 1);
    assert_eq!(inodes("renamed"), before);
}

#[test]
fn a_directory_renamed_into_another_is_one_move() {
    let ground = mirrored(&["folder/a", "folder/inner/c", "other/x"]);
    let before = [ground.inode("folder"), ground.inode("folder/inner/c")];
    rename(&ground, "folder", "other/below");
    moved_only(&ground, 1);
    assert_eq!([ground.inode("other/below"), ground.inode("other/below/inner/c")], before);
}

#[test]
fn most_of_the_tree_may_be_renamed_without_looking_deleted() {
    let ground = Ground::new();
    for number in 0..50 {
        ground.source(&format!("folder/{number}"), content(number));
    }
    ground.source("stays", "stays");
    settle();
    ground.mirror().done();
    rename(&ground, "folder", "renamed");
    moved_only(&ground, 1);
}

#[test]
fn a_rename_into_a_new_directory_is_a_move() {
    let ground = mirrored(&["a", "folder/b"]);
    let before = [ground.inode("a"), ground.inode("folder")];
    fs::create_dir_all(ground.src().join("new/newer")).unwrap();
    rename(&ground, "a", "new/newer/a");
    rename(&ground, "folder", "new/folder");
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    run.assert_counts(&[("moved", 2), ("created", 2), ("deleted", 0), ("bytes_copied", 0)]);
    assert_eq!([ground.inode("new/newer/a"), ground.inode("new/folder")], before);
}

#[test]
fn a_directory_renamed_with_edits_inside_copies_the_edits_only() {
    let ground =
        mirrored(&["folder/a", "folder/b", "folder/gone", "folder/inner/c", "folder/inner/d"]);
    let kept = |folder: &str| {
        ["/a", "/inner/c", "/inner/other-d"].map(|name| ground.inode(&format!("{folder}{name}")))
    };
    rename(&ground, "folder/inner/d", "folder/inner/other-d");
    ground.mirror().done();
    let before = kept("folder");
    rename(&ground, "folder", "renamed");
    ground.source("renamed/b", noise(50, 3000));
    ground.source("renamed/inner/new", noise(51, 500));
    fs::remove_file(ground.src().join("renamed/gone")).unwrap();
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(kept("renamed"), before);
    assert!(run.count("moved") >= 1, "{}", run.shown());
    assert!(run.count("bytes_copied") <= 3500, "{}", run.shown());
}

#[test]
fn two_files_swap() {
    let ground = mirrored(&["a", "folder/b"]);
    let before = [ground.inode("a"), ground.inode("folder/b")];
    rename(&ground, "a", "keep");
    rename(&ground, "folder/b", "a");
    rename(&ground, "keep", "folder/b");
    moved_only(&ground, 2);
    assert_eq!([ground.inode("folder/b"), ground.inode("a")], before);
}

#[test]
fn three_files_rotate() {
    let ground = mirrored(&["a", "b", "folder/c"]);
    let before = ["a", "b", "folder/c"].map(|name| ground.inode(name));
    rename(&ground, "a", "keep");
    rename(&ground, "folder/c", "a");
    rename(&ground, "b", "folder/c");
    rename(&ground, "keep", "b");
    moved_only(&ground, 3);
    assert_eq!(["b", "folder/c", "a"].map(|name| ground.inode(name)), before);
}

/// The directories stay and what is in them changes places: nothing is copied.
#[test]
fn two_directories_swap() {
    let ground = mirrored(&["one/a", "one/b", "two/c", "two/inner/d"]);
    let before = ["one/a", "two/c", "two/inner/d"].map(|name| ground.inode(name));
    rename(&ground, "one", "keep");
    rename(&ground, "two", "one");
    rename(&ground, "keep", "two");
    let run = ground.mirror().done();
    run.assert_counts(&[("bytes_copied", 0), ("created", 0), ("updated", 0), ("deleted", 0)]);
    assert_eq!(["two/a", "one/c", "one/inner/d"].map(|name| ground.inode(name)), before);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_directory_and_its_parent_trade_places() {
    let ground = mirrored(&["outer/a", "outer/inner/b"]);
    let before = ["outer/a", "outer/inner/b"].map(|name| ground.inode(name));
    rename(&ground, "outer/inner", "inner");
    rename(&ground, "outer", "inner/outer");
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    run.assert_counts(&[("bytes_copied", 0)]);
    assert_eq!(["inner/outer/a", "inner/b"].map(|name| ground.inode(name)), before);
}

#[test]
fn a_chain_of_renames_moves_each_link() {
    let ground = mirrored(&["log", "log.1", "log.2", "log.3"]);
    let before = ["log", "log.1", "log.2"].map(|name| ground.inode(name));
    fs::remove_file(ground.src().join("log.3")).unwrap();
    for (from, to) in [("log.2", "log.3"), ("log.1", "log.2"), ("log", "log.1")] {
        rename(&ground, from, to);
    }
    ground.source("log", "a fresh log");
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(["log.1", "log.2", "log.3"].map(|name| ground.inode(name)), before);
    assert_eq!(run.count("bytes_copied"), "a fresh log".len() as u64);
}

#[test]
fn a_moved_file_takes_its_new_mode_and_time_along() {
    let ground = mirrored(&["a", "folder/b"]);
    let inode = ground.inode("a");
    rename(&ground, "a", "folder/z");
    let moved = ground.src().join("folder/z");
    fs::set_permissions(&moved, Permissions::from_mode(0o4700)).unwrap();
    set_time(&moved, 1_111_111_111, 111);
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    run.assert_counts(&[("bytes_copied", 0), ("created", 0), ("deleted", 0)]);
    assert_eq!(ground.inode("folder/z"), inode);
}

#[test]
fn a_hard_link_group_moves_as_one_inode() {
    let ground = Ground::new();
    let first = ground.source("one/a", content(1));
    ground.source("two/x", "x");
    fs::hard_link(&first, ground.src().join("two/b")).unwrap();
    fs::hard_link(&first, ground.src().join("c")).unwrap();
    settle();
    ground.mirror().done();
    let inode = ground.inode("c");
    rename(&ground, "one/a", "two/a");
    rename(&ground, "c", "one/c");
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(run.count("bytes_copied"), 0, "{}", run.shown());
    assert_eq!(["two/a", "two/b", "one/c"].map(|name| ground.inode(name)), [inode; 3]);
}

#[test]
fn a_renamed_directory_that_others_added_to_is_level_afterwards() {
    let ground = mirrored(&["folder/a", "folder/inner/b"]);
    ground.target("folder/inner/not ours", "extraneous");
    ground.target("renamed", "in the way");
    rename(&ground, "folder", "renamed");
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(run.count("bytes_copied"), 0, "{}", run.shown());
}

#[test]
fn files_with_the_same_content_find_a_place_each() {
    let ground = Ground::new();
    for number in 0..60 {
        ground.source(&format!("empty/{number}"), "");
        ground.source(&format!("same/{number}"), "the same everywhere");
    }
    settle();
    ground.mirror().done();
    for number in 0..60 {
        let odd = number % 2 == 1;
        let to = if odd { format!("empty/moved-{number}") } else { format!("moved-{number}") };
        rename(&ground, &format!("empty/{number}"), &to);
        rename(&ground, &format!("same/{number}"), &format!("same/other-{number}"));
    }
    let run = ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(run.count("bytes_copied"), 0, "{}", run.shown());
}

/// Size and time say nothing about content: both runs are told to remember nothing, or
/// remember the old file only.
#[test]
fn a_new_file_with_the_size_and_time_of_a_deleted_one_is_no_rename() {
    for state in [true, false] {
        let ground = Ground::new();
        let mirror = || {
            if state { ground.mirror() } else { ground.mirror().no_state() }
        };
        ground.source("stays", "stays");
        let old = ground.source("folder/old", noise(1, 5000));
        set_time(&old, 1_234_567_890, 5);
        settle();
        mirror().done();
        fs::remove_file(&old).unwrap();
        let new = ground.source("folder/new", noise(2, 5000));
        set_time(&new, 1_234_567_890, 5);
        mirror().done();
        let found = fs::read(ground.dst().join("folder/new")).unwrap();
        assert!(found == noise(2, 5000), "taken for the deleted file");
        assert_level(&ground.src(), &ground.dst());
    }
}

#[test]
fn a_whole_directory_of_such_files_is_no_rename() {
    for state in [true, false] {
        let ground = Ground::new();
        let mirror = || {
            if state { ground.mirror() } else { ground.mirror().no_state() }
        };
        let write = |folder: &str, seeds: u64| {
            for number in 0..10 {
                let file =
                    ground.source(&format!("{folder}/{number}"), noise(seeds + number, 3000));
                set_time(&file, 1_234_567_890, 5);
            }
            set_time(&ground.src().join(folder), 1_234_567_890, 5);
        };
        write("old", 1);
        ground.source("stays/file", "stays");
        settle();
        mirror().done();
        fs::remove_dir_all(ground.src().join("old")).unwrap();
        write("new", 1000);
        mirror().args(["--max-delete", "100%"]).done();
        for number in 0..10 {
            let content = fs::read(ground.dst().join(format!("new/{number}"))).unwrap();
            assert!(content == noise(1000 + number, 3000), "new/{number} has other content");
        }
        assert_level(&ground.src(), &ground.dst());
    }
}

/// The target's file lost its content behind our back: moving it would spread the damage.
#[test]
fn a_file_that_was_changed_on_the_target_is_not_moved_blindly() {
    let ground = mirrored(&["a", "folder/b"]);
    let target = ground.dst().join("a");
    let time = support::tree::mtime(&target);
    fs::write(&target, noise(99, content(1).len())).unwrap();
    set_time(&target, time.0, time.1);
    rename(&ground, "a", "z");
    ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_rename_without_state_ends_level() {
    let ground = Ground::new();
    for (seed, name) in (1..).zip(["a", "folder/b", "folder/inner/c", "other/d"]) {
        ground.source(name, content(seed));
    }
    ground.mirror().no_state().done();
    rename(&ground, "a", "z");
    rename(&ground, "folder", "other/renamed");
    ground.mirror().no_state().args(["--max-delete", "100%"]).done();
    assert_level(&ground.src(), &ground.dst());
}
