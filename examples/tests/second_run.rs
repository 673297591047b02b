//! A run that finds nothing to do does nothing: not a write, and no look into unchanged files.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::process::Command;

use support::trace::{Trace, traced};
use support::{
    EveryKind, Ground, Run, assert_level, assert_untouched, names_in, peer, settle, stamps,
};

/// A ground that was mirrored once, a little while ago.
fn mirrored() -> Ground {
    let ground = Ground::new();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::full().build(&ground.src(), &ground.path("outside"));
    settle();
    ground.mirror().done();
    settle();
    ground
}

/// All entries are there and unchanged. Whether the root counts as one is left open.
#[track_caller]
fn assert_all_unchanged(ground: &Ground, run: &Run) {
    run.assert_idle();
    let below_root = names_in(&ground.src()).len() as u64;
    let unchanged = run.count("unchanged");
    assert!((below_root..=below_root + 1).contains(&unchanged), "{}", run.shown());
    assert_eq!(run.count("entries"), unchanged, "{}", run.shown());
    run.assert_counts(&[("skipped", 0), ("conflicts", 0)]);
    assert_eq!(run.problems(), []);
}

#[track_caller]
fn assert_no_changes(trace: &Trace, ground: &Ground) {
    for root in [ground.src(), ground.dst()] {
        let changes = trace.changes(&root);
        assert!(changes.is_empty(), "system calls that change {root:?}:\n{}", changes.join("\n"));
    }
}

#[test]
fn it_says_that_all_is_unchanged_and_touches_nothing() {
    let ground = mirrored();
    let (src, dst) = (stamps(&ground.src()), stamps(&ground.dst()));
    for _ in 0..2 {
        assert_all_unchanged(&ground, &ground.mirror().done());
        assert_untouched(&ground.dst(), &dst);
        assert_untouched(&ground.src(), &src);
    }
}

#[test]
fn it_asks_the_kernel_for_no_change() {
    let ground = mirrored();
    let Some((run, trace)) = traced(&ground.mirror(), &ground.path("trace")) else {
        return;
    };
    run.ends(0).assert_idle();
    assert_no_changes(&trace, &ground);
}

#[test]
fn it_opens_no_unchanged_file_and_asks_for_no_link_or_attribute() {
    let ground = mirrored();
    let Some((run, trace)) = traced(&ground.mirror(), &ground.path("trace")) else {
        return;
    };
    run.ends(0).assert_idle();
    for root in [ground.src(), ground.dst()] {
        assert_eq!(trace.opened_files(&root), Vec::<std::path::PathBuf>::new());
        let reads = trace.reads_of_links_and_xattrs(&root);
        assert!(reads.is_empty(), "unchanged, but read:\n{}", reads.join("\n"));
    }
}

#[test]
fn it_opens_the_one_changed_file_and_no_other() {
    let ground = mirrored();
    let changed = ground.source("plain/text", "changed since");
    let Some((run, trace)) = traced(&ground.mirror(), &ground.path("trace")) else {
        return;
    };
    run.ends(0).assert_counts(&[("updated", 1), ("created", 0), ("deleted", 0)]);
    let mut opened = trace.opened_files(&ground.src());
    opened.dedup();
    // This is also the proof that the trace sees opened files at all.
    assert!(!opened.is_empty() && opened.iter().all(|path| *path == changed), "{opened:?}");
    assert!(!trace.changes(&ground.dst()).is_empty(), "and that it sees changes");
}

#[test]
fn the_same_holds_without_state() {
    let ground = Ground::new();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::full().build(&ground.src(), &ground.path("outside"));
    ground.mirror().no_state().done();
    let dst = stamps(&ground.dst());
    assert_all_unchanged(&ground, &ground.mirror().no_state().done());
    assert_untouched(&ground.dst(), &dst);
    // The first run that keeps a state finds the trees level too.
    assert_all_unchanged(&ground, &ground.mirror().done());
    assert_untouched(&ground.dst(), &dst);

    let quiet = ground.mirror().no_state();
    let Some((run, trace)) = traced(&quiet, &ground.path("trace")) else {
        return;
    };
    run.ends(0).assert_idle();
    assert_no_changes(&trace, &ground);
}

#[test]
fn a_run_with_checksums_changes_nothing_either() {
    let ground = mirrored();
    let dst = stamps(&ground.dst());
    assert_all_unchanged(&ground, &ground.mirror().arg("--checksum").done());
    assert_untouched(&ground.dst(), &dst);
}

#[test]
fn a_target_that_rsync_brought_level_is_left_alone() {
    let Some(rsync) = peer("rsync") else { return };
    let ground = Ground::new();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::full().build(&ground.src(), &ground.path("outside"));
    let mut from = ground.src().into_os_string();
    from.push("/");
    let copied = Command::new(rsync).arg("-aHAXS").args([from]).arg(ground.dst()).status().unwrap();
    assert!(copied.success());
    assert_level(&ground.src(), &ground.dst());
    let dst = stamps(&ground.dst());
    assert_all_unchanged(&ground, &ground.mirror().done());
    assert_untouched(&ground.dst(), &dst);
}

#[test]
fn the_state_lies_where_the_user_keeps_state() {
    let ground = Ground::new();
    ground.source("file", "content");
    let dst = ground.dst();
    ground.mirror().default_state().done();
    assert!(!names_in(&ground.path("xdg-state/mirror")).is_empty());
    assert!(!ground.path("state").exists());
    assert_eq!(names_in(&dst), ["file"]);
    assert_eq!(names_in(&ground.src()), ["file"]);

    // Without the variable: below the home folder.
    let without = ["env", "-u", "XDG_STATE_HOME"];
    ground.mirror().default_state().under(without).done();
    assert!(!names_in(&ground.path("home/.local/state/mirror")).is_empty());
}

#[test]
fn no_state_means_that_none_is_written() {
    let ground = Ground::new();
    ground.source("file", "content");
    ground.mirror().no_state().done();
    assert_eq!(names_in(&ground.dst()), ["file"]);
    for place in ["state", "xdg-state", "home"] {
        assert!(!ground.path(place).exists(), "{place}");
    }
}
