//! What is refused or reported before it can do harm: exit code, one sentence, nothing deleted.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use support::every_kind::noise;
use support::ground::{ORDINARY, put};
use support::run::mirror_with;
use support::{
    Ground, Mirror, Mounts, am_root, assert_level, assert_untouched, edit, names_in, snapshot,
    stamps,
};

/// The run must end so, say why in one sentence, and leave the target as it was.
#[track_caller]
fn stops(mirror: &Mirror, code: i32, dst: &Path) {
    let before = stamps(dst);
    let run = mirror.run().ends(code);
    run.assert_one_sentence();
    assert_untouched(dst, &before);
    // Without `--json` the sentence is there as well.
    let run = mirror.clone().text().run();
    assert_eq!(run.code(), code, "{}", run.shown());
    run.assert_one_sentence();
    assert_untouched(dst, &before);
}

fn twenty_files() -> Ground {
    let ground = Ground::new();
    for number in 0..20 {
        ground.source(&format!("{number}"), noise(number, 100));
    }
    ground.mirror().done();
    ground
}

#[test]
fn wrong_usage_has_its_own_code() {
    let ground = twenty_files();
    let before = stamps(&ground.dst());
    for words in [
        &[][..],
        &["src"],
        &["src", "dst", "more"],
        &["--no-such-option", "src", "dst"],
        &["--max-delete", "many", "src", "dst"],
        &["--max-delete", "-1", "src", "dst"],
        &["--fidelity", "some", "src", "dst"],
        &["--durability", "some", "src", "dst"],
        &["--jobs", "none", "src", "dst"],
        &["--verify=some", "src", "dst"],
    ] {
        let run = mirror_with(&ground.path(""), words);
        assert_eq!(run.code(), 2, "{}", run.shown());
        assert!(!run.err.is_empty());
    }
    assert_untouched(&ground.dst(), &before);
}

#[test]
fn an_empty_source_deletes_nothing() {
    let ground = twenty_files();
    fs::remove_dir_all(ground.src()).unwrap();
    fs::create_dir(ground.src()).unwrap();
    stops(&ground.mirror(), 4, &ground.dst());
    stops(&ground.mirror().no_state(), 4, &ground.dst());
    // A generous limit is no permission to empty everything.
    stops(&ground.mirror().args(["--max-delete", "100%"]), 4, &ground.dst());

    ground.mirror().args(["--allow-empty-source", "--max-delete", "100%"]).done();
    assert_eq!(names_in(&ground.dst()), Vec::<String>::new());
}

#[test]
fn a_missing_source_deletes_nothing() {
    let ground = twenty_files();
    fs::remove_dir_all(ground.src()).unwrap();
    stops(&ground.mirror(), 1, &ground.dst());
    stops(&ground.mirror().arg("--allow-empty-source"), 1, &ground.dst());
    symlink("nowhere", ground.src()).unwrap();
    stops(&ground.mirror(), 1, &ground.dst());
}

#[test]
fn a_missing_source_makes_no_target() {
    let ground = Ground::new();
    fs::remove_dir(ground.src()).unwrap();
    fs::remove_dir(ground.dst()).unwrap();
    ground.mirror().run().ends(1).assert_one_sentence();
    assert!(!ground.dst().exists());
}

#[test]
fn a_source_that_is_a_file_deletes_nothing() {
    let ground = twenty_files();
    let file = put(&ground.path("file"), "not a folder");
    stops(&ground.mirror().from(&file), 1, &ground.dst());
    symlink(&file, ground.path("link")).unwrap();
    stops(&ground.mirror().from(ground.path("link")), 1, &ground.dst());
}

#[test]
fn a_target_that_is_a_file_stays() {
    let ground = twenty_files();
    let file = put(&ground.path("file"), "not a folder");
    let run = ground.mirror().to(&file).run();
    assert!([1, 4].contains(&run.code()), "{}", run.shown());
    run.assert_one_sentence();
    assert_eq!(fs::read_to_string(file).unwrap(), "not a folder");
}

#[test]
fn a_tree_is_not_mirrored_into_itself() {
    let ground = twenty_files();
    let (inside, dst) = (ground.src().join("folder/inside"), ground.dst().join("folder/inside"));
    put(&inside.join("file"), "content");
    put(&dst.join("file"), "content");
    symlink(ground.src(), ground.path("alias")).unwrap();
    let before = stamps(&ground.src());
    for (from, to) in [
        (ground.src(), inside.clone()),
        (inside.clone(), ground.src()),
        (ground.path("alias"), inside.clone()),
        (inside.clone(), ground.path("alias")),
        (ground.src(), ground.path("alias/folder/../folder/inside")),
        (ground.src(), ground.src().join("not there yet")),
        (ground.src(), ground.src()),
        (ground.src(), ground.path("alias")),
    ] {
        stops(&ground.mirror().from(from).to(to), 4, &ground.src());
    }
    assert_untouched(&ground.src(), &before);
    // A common beginning of two names is no nesting.
    ground.mirror().to(ground.path("src-copy")).done();
    assert_level(&ground.src(), &ground.path("src-copy"));
}

#[test]
fn more_than_half_deleted_is_refused_before_the_first() {
    let ground = twenty_files();
    for number in 0..15 {
        fs::remove_file(ground.src().join(number.to_string())).unwrap();
    }
    ground.source("new", "new");
    stops(&ground.mirror(), 4, &ground.dst());
    stops(&ground.mirror().no_state(), 4, &ground.dst());
    stops(&ground.mirror().args(["--max-delete", "60%"]), 4, &ground.dst());
    stops(&ground.mirror().args(["--max-delete", "14"]), 4, &ground.dst());
    ground.mirror().args(["--max-delete", "15"]).done().assert_counts(&[("deleted", 15)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn less_than_half_deleted_is_done() {
    let ground = twenty_files();
    for number in 0..5 {
        fs::remove_file(ground.src().join(number.to_string())).unwrap();
    }
    stops(&ground.mirror().args(["--max-delete", "4"]), 4, &ground.dst());
    stops(&ground.mirror().args(["--max-delete", "10%"]), 4, &ground.dst());
    ground.mirror().done().assert_counts(&[("deleted", 5), ("created", 0), ("updated", 0)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_limit_counts_what_lies_in_a_directory() {
    let ground = Ground::new();
    for number in 0..15 {
        ground.source(&format!("folder/inner/{number}"), noise(number, 100));
    }
    for number in 0..5 {
        ground.source(&format!("{number}"), noise(100 + number, 100));
    }
    ground.mirror().done();
    fs::remove_dir_all(ground.src().join("folder")).unwrap();
    stops(&ground.mirror(), 4, &ground.dst());
    ground.mirror().args(["--max-delete", "100%"]).done().assert_counts(&[("deleted", 17)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn an_unreadable_directory_holds_deletions_back_below_it_only() {
    let ground = Ground::ordinary();
    for name in ["open/a", "open/b", "open/c", "shut/a", "shut/inner/b", "d", "e", "f"] {
        ground.source(name, name);
    }
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    ground.mirror().unprivileged().done();
    fs::remove_file(ground.src().join("open/a")).unwrap();
    fs::remove_file(ground.src().join("shut/a")).unwrap();
    ground.source("open/b", "changed");
    ground.source("new", "new");
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    let mode = |mode| {
        fs::set_permissions(ground.src().join("shut"), Permissions::from_mode(mode)).unwrap();
    };
    mode(0o000);
    for _ in 0..2 {
        let run = ground.mirror().unprivileged().run().ends(3);
        assert!(run.has_problem_at("shut"), "{}", run.shown());
        assert_eq!(run.problems().len(), 1, "{}", run.shown());
        assert!(!ground.has("open/a"));
        assert_eq!(ground.read("open/b"), "changed");
        assert_eq!(ground.read("new"), "new");
    }
    mode(0o755);
    // As seen from below: nothing there was deleted or changed.
    fs::set_permissions(ground.dst().join("shut"), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(names_in(&ground.dst().join("shut")), ["a", "inner", "inner/b"]);
    ground.mirror().unprivileged().done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn an_unreadable_source_root_deletes_nothing() {
    let ground = Ground::ordinary();
    for name in ["a", "b/c", "d"] {
        ground.source(name, name);
    }
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    ground.mirror().unprivileged().done();
    let before = names_in(&ground.dst());
    fs::set_permissions(ground.src(), Permissions::from_mode(0o000)).unwrap();
    let run = ground.mirror().unprivileged().run();
    assert!([1, 3, 4].contains(&run.code()), "{}", run.shown());
    assert!(!run.err.is_empty());
    fs::set_permissions(ground.src(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(ground.dst(), Permissions::from_mode(0o755)).unwrap();
    assert_eq!(names_in(&ground.dst()), before);
}

#[test]
fn an_unreadable_file_keeps_its_old_copy() {
    let ground = Ground::ordinary();
    for name in ["a", "b", "folder/c"] {
        ground.source(name, name);
    }
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    ground.mirror().unprivileged().done();
    let shut = ground.source("folder/c", "changed, but secret");
    let new = ground.source("new and secret", "secret");
    ground.source("a", "changed");
    for path in [&shut, &new] {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    let run = ground.mirror().unprivileged().run().ends(3);
    assert!(run.has_problem_at("folder/c"), "{}", run.shown());
    assert!(run.has_problem_at("new and secret"), "{}", run.shown());
    assert_eq!(ground.read("folder/c"), "folder/c");
    assert_eq!(ground.read("a"), "changed");
    assert!(!ground.has("new and secret"));
}

#[test]
fn the_names_of_an_unreadable_file_keep_what_they_have() {
    let ground = Ground::ordinary();
    let shut = ground.source("x", "new");
    fs::hard_link(&shut, ground.src().join("y")).unwrap();
    fs::hard_link(&shut, ground.src().join("z")).unwrap();
    fs::set_permissions(&shut, Permissions::from_mode(0o000)).unwrap();
    ground.target("x", "oldX");
    ground.target("y", "precious");
    fs::create_dir(ground.dst().join("z")).unwrap();
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
        edit::give_away(&ground.dst(), ORDINARY);
    }
    let run = ground.mirror().unprivileged().run().ends(3);
    for name in ["x", "y", "z"] {
        assert!(run.has_problem_at(name), "{}", run.shown());
    }
    assert_eq!(ground.read("x"), "oldX");
    assert_eq!(ground.read("y"), "precious");
    assert!(ground.dst().join("z").is_dir());
    fs::set_permissions(&shut, Permissions::from_mode(0o644)).unwrap();
    ground.mirror().unprivileged().done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_file_system_without_room_is_refused() {
    let ground = Ground::new();
    let Some(mounts) = Mounts::tmpfs(&ground.dst(), "size=1m") else {
        return;
    };
    let inside = mounts.inside(&ground.dst());
    put(&inside.join("old"), noise(1, 100_000));
    for number in 0..30 {
        ground.source(&format!("new/{number}"), noise(number, 100_000));
    }
    let mirror = ground.mirror().under(mounts.enter()).args(["--max-delete", "100%"]);
    stops(&mirror, 4, &inside);

    for number in 5..30 {
        fs::remove_file(ground.src().join(format!("new/{number}"))).unwrap();
    }
    mirror.done();
    assert_level(&ground.src(), &inside);
}

#[test]
fn a_file_system_without_inodes_is_refused() {
    let ground = Ground::new();
    let Some(mounts) = Mounts::tmpfs(&ground.dst(), "size=8m,nr_inodes=30") else {
        return;
    };
    let inside = mounts.inside(&ground.dst());
    put(&inside.join("old"), "old");
    for number in 0..100 {
        ground.source(&format!("new/{number}"), "small");
    }
    let mirror = ground.mirror().under(mounts.enter()).args(["--max-delete", "100%"]);
    stops(&mirror, 4, &inside);

    for number in 10..100 {
        fs::remove_file(ground.src().join(format!("new/{number}"))).unwrap();
    }
    mirror.done();
    assert_level(&ground.src(), &inside);
}

/// The new content needs room beside the old: both do not fit at once.
#[test]
fn a_replacement_without_room_leaves_the_old_file_whole() {
    let ground = Ground::new();
    let Some(mounts) = Mounts::tmpfs(&ground.dst(), "size=1m") else {
        return;
    };
    let inside = mounts.inside(&ground.dst());
    ground.source("large", noise(1, 700_000));
    ground.source("small", "small");
    let mirror = ground.mirror().under(mounts.enter());
    mirror.done();
    ground.source("large", noise(2, 700_001));
    let run = mirror.run();
    assert!([1, 3, 4].contains(&run.code()), "{}", run.shown());
    assert!(!run.err.is_empty(), "{}", run.shown());
    assert_eq!(names_in(&inside), ["large", "small"]);
    assert!(fs::read(inside.join("large")).unwrap() == noise(1, 700_000), "large changed");
}

#[test]
fn a_read_only_target_fails_when_there_is_something_to_do() {
    let ground = Ground::new();
    let Some(mounts) = Mounts::tmpfs(&ground.dst(), "size=8m") else {
        return;
    };
    let inside = mounts.inside(&ground.dst());
    for name in ["a", "b", "folder/c"] {
        ground.source(name, name);
    }
    let mirror = ground.mirror().under(mounts.enter());
    mirror.done();
    mounts.freeze();
    // Level already: there is nothing to write.
    mirror.done().assert_idle();

    ground.source("a", "changed");
    fs::remove_file(ground.src().join("b")).unwrap();
    stops(&mirror, 1, &inside);
    assert_eq!(names_in(&inside), ["a", "b", "folder", "folder/c"]);
}

#[test]
fn one_file_system_means_one() {
    let ground = Ground::new();
    let mounted = ground.src().join("mounted");
    fs::create_dir(&mounted).unwrap();
    ground.source("file", "content");
    let Some(mounts) = Mounts::tmpfs(&mounted, "size=8m") else {
        return;
    };
    put(&mounts.inside(&mounted).join("beyond"), "beyond");
    ground.mirror().under(mounts.enter()).arg("--one-file-system").done();
    assert!(!ground.has("mounted/beyond"));
    assert_eq!(ground.read("file"), "content");
    ground.mirror().under(mounts.enter()).done();
    assert_eq!(ground.read("mounted/beyond"), "beyond");
    // What is not looked at is not deleted either.
    ground.mirror().under(mounts.enter()).arg("--one-file-system").done();
    assert_eq!(ground.read("mounted/beyond"), "beyond");
}

#[test]
fn a_second_run_at_the_same_time_is_refused() {
    let mut files = 500;
    loop {
        let ground = Ground::new();
        for number in 0..files {
            ground.source(&format!("{}/{number}", number % 20), noise(number, 2000));
        }
        let mut first = ground.mirror().spawn();
        // Once it writes it is in the middle of its run; there it is held.
        while names_in_while_changing(&ground.dst()) == 0 && !first.has_ended() {
            thread::sleep(Duration::from_micros(200));
        }
        if first.has_ended() || kill_process(first.id(), Signal::STOP).is_err() {
            first.wait().ends(0);
            files *= 4;
            assert!(files < 200_000, "the first run is never caught at work");
            continue;
        }
        wait_until_stopped(first.id().as_raw_nonzero().get());
        if first.has_ended() {
            files *= 4;
            continue;
        }
        put(&ground.path("other/file"), "of another source");
        let other_state = ground.path("other-state");
        let seconds = [
            ground.mirror(),
            ground.mirror().no_state(),
            ground.mirror().state(&other_state),
            ground.mirror().from(ground.path("other")),
        ];
        for second in seconds {
            stops(&second, 4, &ground.dst());
        }
        kill_process(first.id(), Signal::CONT).unwrap();
        first.wait().ends(0);
        assert_level(&ground.src(), &ground.dst());
        // The lock went with its holder.
        ground.mirror().done().assert_idle();
        return;
    }
}

fn names_in_while_changing(dir: &Path) -> usize {
    fs::read_dir(dir).map_or(0, Iterator::count)
}

/// Until the process is stopped, or gone.
fn wait_until_stopped(id: i32) {
    loop {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The state follows the name, which is in brackets.
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        if matches!(state, Some("T" | "Z") | None) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn extraneous_entries_may_be_kept() {
    let ground = twenty_files();
    ground.target("extra/file", "only here");
    fs::remove_file(ground.src().join("3")).unwrap();
    ground.source("4", "changed");
    ground.source("new", "new");
    let run = ground.mirror().arg("--keep-extraneous").done();
    run.assert_counts(&[("deleted", 0), ("updated", 1), ("created", 1)]);
    assert_eq!(ground.read("extra/file"), "only here");
    assert!(ground.has("3"));
    assert_eq!(ground.read("4"), "changed");
    // Without the option they go.
    ground.mirror().done().assert_counts(&[("deleted", 3)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_quiet_run_that_goes_well_says_nothing() {
    let ground = twenty_files();
    ground.source("new", "new");
    let before = snapshot(&ground.src());
    let run = ground.mirror().text().arg("--quiet").run();
    assert_eq!(run.code(), 0, "{}", run.shown());
    assert!(run.out.is_empty() && run.err.is_empty(), "{}", run.shown());
    support::tree::assert_same(&before, &snapshot(&ground.dst()));
}
