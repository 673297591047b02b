//! The `compare` program from end to end, on trees of a few files.
//!
//! A shell script that copies with `cp` stands in for `mirror`: it copies
//! rightly, and is no good at doing nothing.

use std::process::{Command, Output};

const STAND_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/copies-always.sh");

fn compare(arguments: &[&str]) -> Output {
    let work = tempfile::tempdir().expect("a work folder");
    let output = Command::new(env!("CARGO_BIN_EXE_compare"))
        .args(arguments)
        .arg("--work")
        .arg(work.path())
        .args(["--kernel-files", "60", "--small-files", "60", "--rounds", "1"])
        .args(["--mirror", STAND_IN])
        .output()
        .expect("compare starts");
    let left = work.path().read_dir().expect("the work folder is there").count();
    assert_eq!(left, 0, "the work folder is removed");
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints UTF-8")
}

#[test]
fn a_first_copy_is_timed_and_checked() {
    let output = compare(&["--only", "copy-small"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.contains("| mirror --durability none | 0."), "{table}");
    assert!(table.contains("| cp -a | 0."), "{table}");
    assert!(table.contains("62 entries"), "{table}");
}

#[test]
fn an_update_and_a_rename_end_with_equal_trees() {
    let output = compare(&["--only", "update", "--only", "rename"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    assert!(table.contains("its generated next release") && table.contains("Rename of"), "{table}");
}

#[test]
fn a_program_that_writes_when_nothing_changed_gets_no_figure() {
    let output = compare(&["--only", "noop-small"]);
    assert!(!output.status.success());
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    assert!(said.contains("mirror did not do the work"), "{said}");
}

#[test]
fn an_unknown_scenario_is_refused_before_anything_is_made() {
    let output = compare(&["--only", "nothing"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("choose from: zones-one, "), "{output:?}");
}

#[test]
fn the_list_names_every_scenario() {
    let output = compare(&["--list"]);
    for name in [
        "noop-kernel",
        "copy-durable",
        "update",
        "rename",
        "million-noop",
        "keys-ed25519",
        "authorized-keys",
    ] {
        assert!(text(&output.stdout).contains(name), "{name}");
    }
}
