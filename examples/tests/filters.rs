//! Include, exclude, protect: what is left alone on either side.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::path::PathBuf;

use support::ground::put;
use support::{Ground, assert_rsync_agrees, names_in, peer};

/// Source files of these names, their content being the name.
fn source_of(names: &[&str]) -> Ground {
    let ground = Ground::new();
    for name in names {
        ground.source(name, name);
    }
    ground
}

/// The files of the target after a run with these options into an empty one.
#[track_caller]
fn mirrored(names: &[&str], options: &[&str]) -> Vec<String> {
    let ground = source_of(names);
    ground.mirror().args(options).done();
    files_in_target(&ground)
}

fn files_in_target(ground: &Ground) -> Vec<String> {
    let dst = ground.dst();
    names_in(&dst).into_iter().filter(|name| dst.join(name).is_file()).collect()
}

fn filter_file(ground: &Ground, text: &str) -> PathBuf {
    put(&ground.path("filters"), text)
}

#[test]
fn patterns_mean_what_gitignore_says() {
    let names = ["a.log", "b.txt", "logs/a.log", "logs/b.txt", "logs/deep/c.log", "x/logs/d.txt"];
    let without = |gone: &[&str]| -> Vec<String> {
        let left = names.iter().filter(|name| !gone.contains(name));
        left.map(|name| (*name).to_owned()).collect()
    };
    for (pattern, gone) in [
        ("*.log", &["a.log", "logs/a.log", "logs/deep/c.log"][..]),
        ("/*.log", &["a.log"]),
        ("/logs", &["logs/a.log", "logs/b.txt", "logs/deep/c.log"]),
        ("logs/", &["logs/a.log", "logs/b.txt", "logs/deep/c.log", "x/logs/d.txt"]),
        ("a.log/", &[]),
        ("logs/*.log", &["logs/a.log"]),
        ("logs/**/*.log", &["logs/a.log", "logs/deep/c.log"]),
        ("**/logs/*.txt", &["logs/b.txt", "x/logs/d.txt"]),
        ("logs/**", &["logs/a.log", "logs/b.txt", "logs/deep/c.log"]),
        ("?.txt", &["b.txt", "logs/b.txt", "x/logs/d.txt"]),
        ("[ab].*", &["a.log", "b.txt", "logs/a.log", "logs/b.txt"]),
        ("[!ab].*", &["logs/deep/c.log", "x/logs/d.txt"]),
        ("deep", &["logs/deep/c.log"]),
        ("*.LOG", &[]),
    ] {
        assert_eq!(mirrored(&names, &["--exclude", pattern]), without(gone), "{pattern}");
    }
}

#[test]
fn the_last_matching_rule_wins() {
    let names = ["a.txt", "keep.txt", "folder/keep.txt", "folder/z.txt", "other"];
    let found = mirrored(&names, &["--exclude", "*.txt", "--include", "keep.txt"]);
    assert_eq!(found, ["folder/keep.txt", "keep.txt", "other"]);
    let found = mirrored(&names, &["--include", "keep.txt", "--exclude", "*.txt"]);
    assert_eq!(found, ["other"]);
    let rules = ["--exclude", "*.txt", "--include", "keep.txt", "--exclude", "/folder/keep.txt"];
    assert_eq!(mirrored(&names, &rules), ["keep.txt", "other"]);
}

#[test]
fn a_filter_file_takes_its_place_in_the_order() {
    let names = ["a.txt", "keep.txt", "#odd", "!odd", "blank ", "other"];
    let ground = source_of(&names);
    let file = filter_file(&ground, "# a comment\n\n*.txt\n!keep.txt\n\\#odd\n\\!odd\n");
    let file = file.to_str().unwrap();
    ground.mirror().args(["--filter-file", file]).done();
    assert_eq!(files_in_target(&ground), ["blank ", "keep.txt", "other"]);

    let ground = source_of(&names);
    ground.mirror().args(["--filter-file", file, "--exclude", "keep.txt"]).done();
    assert!(!ground.has("keep.txt") && !ground.has("a.txt") && ground.has("other"));
    let ground = source_of(&names);
    ground.mirror().args(["--exclude", "keep.txt", "--filter-file", file]).done();
    assert!(ground.has("keep.txt") && !ground.has("a.txt"));
    let ground = source_of(&names);
    ground.mirror().args(["--filter-file", file, "--include", "a.txt"]).done();
    assert!(ground.has("a.txt") && ground.has("keep.txt"));
}

#[test]
fn a_filter_file_may_protect() {
    let ground = source_of(&["a", "b", "c"]);
    ground.target("kept.db", "precious");
    ground.target("gone.txt", "not precious");
    let file = filter_file(&ground, "protect: *.db\n");
    let run = ground.mirror().arg("--filter-file").arg(file).args(["--max-delete", "100%"]).done();
    run.assert_counts(&[("deleted", 1)]);
    assert_eq!(files_in_target(&ground), ["a", "b", "c", "kept.db"]);
}

#[test]
fn a_missing_filter_file_stops_the_run() {
    let ground = source_of(&["a"]);
    ground.target("secret.db", "would be deleted without the filter");
    let run = ground.mirror().arg("--filter-file").arg(ground.path("no such file")).run();
    assert!([1, 2].contains(&run.code()), "{}", run.shown());
    assert_eq!(files_in_target(&ground), ["secret.db"]);
}

#[test]
fn excluded_entries_of_the_target_survive() {
    let ground = source_of(&["a", "b", "both.log", "folder/c"]);
    ground.target("both.log", "the target's own");
    ground.target("only here.log", "the target's own");
    ground.target("folder/deep/also.log", "the target's own");
    ground.target("folder/gone", "extraneous");
    let run = ground.mirror().args(["--exclude", "*.log", "--max-delete", "100%"]).done();
    assert_eq!(ground.read("both.log"), "the target's own");
    assert_eq!(ground.read("only here.log"), "the target's own");
    assert_eq!(ground.read("folder/deep/also.log"), "the target's own");
    assert!(!ground.has("folder/gone"), "{}", run.shown());
    assert_eq!(ground.read("folder/c"), "folder/c");
}

#[test]
fn an_excluded_directory_of_the_target_survives_whole() {
    let ground = source_of(&["a", "b", "c"]);
    ground.target("cache/deep/file", "the target's own");
    ground.target("cache/other", "the target's own");
    ground.mirror().args(["--exclude", "/cache/"]).done().assert_counts(&[("deleted", 0)]);
    assert_eq!(files_in_target(&ground), ["a", "b", "c", "cache/deep/file", "cache/other"]);
    ground.mirror().args(["--exclude", "/cache/"]).done().assert_idle();
}

#[test]
fn a_directory_to_be_deleted_stays_for_its_excluded_entries() {
    for rule in ["--exclude", "--protect"] {
        let ground = source_of(&["a", "b", "c", "old/x", "old/inner/y", "old/inner/z"]);
        ground.mirror().done();
        ground.target("old/inner/keep.db", "the target's own");
        fs::remove_dir_all(ground.src().join("old")).unwrap();
        let run = ground.mirror().args([rule, "*.db", "--max-delete", "100%"]).run();
        assert!([0, 3].contains(&run.code()), "{}", run.shown());
        assert_eq!(files_in_target(&ground), ["a", "b", "c", "old/inner/keep.db"]);
        run.assert_counts(&[("deleted", 3)]);
        // It is settled with that.
        let run = ground.mirror().args([rule, "*.db", "--max-delete", "100%"]).run();
        run.assert_idle();
        assert_eq!(ground.read("old/inner/keep.db"), "the target's own");
    }
}

#[test]
fn a_renamed_directory_does_not_lose_its_excluded_entries() {
    for rule in ["--exclude", "--protect"] {
        let ground = source_of(&["a", "folder/x", "folder/y", "folder/inner/z"]);
        ground.mirror().done();
        ground.target("folder/inner/keep.db", "the target's own");
        fs::rename(ground.src().join("folder"), ground.src().join("renamed")).unwrap();
        let run = ground.mirror().args([rule, "*.db", "--max-delete", "100%"]).run();
        assert!([0, 3].contains(&run.code()), "{}", run.shown());
        assert_eq!(ground.read("folder/inner/keep.db"), "the target's own", "{}", run.shown());
        assert_eq!(ground.read("renamed/inner/z"), "folder/inner/z");
    }
}

#[test]
fn excluded_entries_are_deleted_when_asked() {
    let ground = source_of(&["a", "b", "both.log", "source.log", "folder/c"]);
    ground.target("both.log", "the target's own");
    ground.target("folder/only here.log", "the target's own");
    ground.target("keep.db", "precious");
    let options = ["--exclude", "*.log", "--protect", "*.db", "--delete-excluded"];
    ground.mirror().args(options).args(["--max-delete", "100%"]).done();
    assert_eq!(files_in_target(&ground), ["a", "b", "folder/c", "keep.db"]);
}

#[test]
fn protected_entries_are_mirrored_but_never_deleted() {
    let ground = source_of(&["a", "both.db", "folder/c"]);
    ground.target("both.db", "old");
    ground.target("only here.db", "precious");
    ground.target("folder/deep/also.db", "precious");
    ground.target("gone", "extraneous");
    ground.mirror().args(["--protect", "*.db", "--max-delete", "100%"]).done();
    let names = ["a", "both.db", "folder/c", "folder/deep/also.db", "only here.db"];
    assert_eq!(files_in_target(&ground), names);
    assert_eq!(ground.read("both.db"), "both.db");
    assert_eq!(ground.read("only here.db"), "precious");
}

#[test]
fn what_was_excluded_for_a_while_comes_back_level() {
    let ground = source_of(&["a", "b", "x.log", "y.log", "folder/z.log"]);
    ground.mirror().done();
    ground.source("x.log", "changed while excluded");
    fs::remove_file(ground.src().join("y.log")).unwrap();
    ground
        .mirror()
        .args(["--exclude", "*.log"])
        .done()
        // That a name went changed the folder's own time, which is mirrored.
        .assert_counts(&[("created", 0), ("updated", 0), ("deleted", 0), ("metadata_only", 1)]);
    assert_eq!([ground.read("x.log"), ground.read("y.log")], ["x.log", "y.log"]);
    let run = ground.mirror().done();
    run.assert_counts(&[("updated", 1), ("deleted", 1), ("created", 0)]);
    support::assert_level(&ground.src(), &ground.dst());
}

#[test]
fn filters_hold_for_names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let ground = source_of(&["a"]);
    for name in [&b"caf\xe9.log"[..], b"caf\xe9.txt", b"two\nlines.log"] {
        fs::write(ground.src().join(OsStr::from_bytes(name)), "content").unwrap();
    }
    ground.mirror().args(["--exclude", "*.log"]).done();
    let mut names: Vec<_> =
        fs::read_dir(ground.dst()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [OsStr::new("a"), OsStr::from_bytes(b"caf\xe9.txt")]);
}

#[test]
fn a_plan_holds_nothing_that_is_excluded() {
    let ground = source_of(&["a", "secret.log"]);
    ground.target("only here.log", "the target's own");
    let run = ground.mirror().text().args(["--exclude", "*.log", "--plan"]).run().ends(0);
    let text = String::from_utf8(run.out).unwrap();
    assert!(text.contains('a') && !text.contains(".log"), "{text}");
}

#[test]
fn rsync_agrees_about_simple_patterns() {
    let Some(rsync) = peer("rsync") else { return };
    for pattern in ["*.log", "/top", "cache/", "/deep/*.txt", "?.md", "[ab]*"] {
        let ground = source_of(&[
            "x.log",
            "top",
            "folder/top",
            "cache/c",
            "folder/cache/d",
            "deep/e.txt",
            "deep/deeper/f.txt",
            "g.md",
            "long.md",
            "a",
            "folder/b",
            "z",
        ]);
        for name in ["y.log", "cache/own", "deep/own.txt", "gone"] {
            ground.target(name, "the target's own");
        }
        let run = ground.mirror().args(["--exclude", pattern, "--max-delete", "100%"]).run();
        assert!([0, 3].contains(&run.code()), "{}", run.shown());
        let exclude = format!("--exclude={pattern}");
        assert_rsync_agrees(&rsync, &ground.src(), &ground.dst(), &[&exclude]);
    }
}
