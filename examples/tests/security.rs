//! The catalogue of attacks on local runs: each test bears the number of its property.
//!
//! The attacker is somebody who may write in the source or in the target (a hosted customer), or
//! who made the tree that is being restored; the run is root's where the tests are.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use support::ground::put;
use support::{Ground, Mirror, Run, settle};

/// What must come to light nowhere.
const SECRET: &str = "hunter2-correct-horse";

/// Neither stream holds the secret, nor what orders a terminal about.
#[track_caller]
fn assert_discreet(run: &Run) {
    for bytes in [&run.out, &run.err] {
        let text = String::from_utf8_lossy(bytes);
        assert!(!text.contains(SECRET), "the secret came to light: {}", run.shown());
        let order = text.chars().find(|char| char.is_control() && *char != '\n');
        assert_eq!(order, None, "{}", run.shown());
    }
}

/// Under a shell that sends what the program prints to a device without room.
fn into_a_full_disk(mirror: &Mirror) -> Mirror {
    mirror.clone().under(["sh", "-c", "exec \"$0\" \"$@\" >/dev/full"])
}

/// A link whose text leads nowhere outside is made to lead outside by renaming the directory it
/// is in, since each `..` of it climbs from another place then.
#[test]
fn s09_a_renamed_directory_takes_no_link_out_of_the_tree() {
    let ground = Ground::new();
    ground.source("x", "inside");
    ground.source("p/q/file", "content");
    symlink("../../x", ground.src().join("p/q/link")).unwrap();
    settle();
    let mirror = ground.mirror().args(["--fidelity", "hosted", "--max-delete", "100%"]);
    mirror.done();
    assert!(ground.has("p/q/link"), "it leads to x");
    fs::rename(ground.src().join("p/q"), ground.src().join("q")).unwrap();
    for _ in 0..2 {
        let run = mirror.run().ends(3);
        assert!(run.has_problem_at("q/link"), "{}", run.shown());
        assert!(!ground.has("q/link") && !ground.has("p/q"), "{}", run.shown());
        assert_eq!(ground.read("q/file"), "content");
    }
}

#[test]
fn s09_a_link_that_leads_out_is_told_also_where_both_sides_have_it() {
    let ground = Ground::new();
    for root in [ground.src(), ground.dst()] {
        symlink("/etc/passwd", root.join("link")).unwrap();
    }
    let mirror = ground.mirror().args(["--fidelity", "hosted"]);
    for mirror in [mirror.clone(), mirror.clone(), mirror.no_state()] {
        let run = mirror.run().ends(3);
        assert!(run.has_problem_at("link"), "{}", run.shown());
    }
}

/// A run as root may be given any file as a list of rules or as a plan.
#[test]
fn s29_what_cannot_be_understood_is_not_repeated() {
    let ground = Ground::new();
    ground.source("a", "a");
    let odd = format!("\u{1b}[31m{SECRET}");
    let texts = [
        format!("[{SECRET}\n"),
        format!("{SECRET}\n[{odd}\n"),
        format!("\"{SECRET}\"\n"),
        format!("{{\"{SECRET}\": 1}}\n"),
        format!("{{\"line\": \"{odd}\"}}\n"),
        format!("{{\"line\": \"{}\"}}\n", odd.replace('\u{1b}', "\\u001b")),
        format!("{{\"line\": \"plan\", \"format\": \"{SECRET}\"}}\n"),
        format!("{{\"line\": \"plan\", \"format\": 1, \"{SECRET}\": 1}}\n"),
        format!("root:{SECRET}:0:0\n"),
    ];
    for text in texts {
        let file = put(&ground.path("file"), &text);
        let mirror = ground.mirror().arg("--apply-plan").arg(&file);
        for mirror in [mirror.clone(), mirror.text()] {
            let run = mirror.run();
            assert_eq!(run.code(), 1, "{}", run.shown());
            run.assert_one_sentence();
            assert_discreet(&run);
        }
        if text.contains('[') && !text.starts_with('{') {
            let mirror = ground.mirror().arg("--filter-file").arg(&file);
            let run = mirror.run().ends(1);
            run.assert_one_sentence();
            assert_discreet(&run);
        }
    }
    let run = ground.mirror().arg("--exclude").arg(format!("[{SECRET}")).run().ends(1);
    assert_discreet(&run);
    assert!(!ground.has("a"));
}

#[test]
fn s37_a_result_that_cannot_be_printed_is_told_and_is_no_success() {
    let ground = Ground::new();
    ground.source("a", "a");
    for mirror in [ground.mirror(), ground.mirror().text(), ground.mirror().arg("--plan")] {
        let run = into_a_full_disk(&mirror).run();
        assert_eq!(run.code(), 1, "{}", run.shown());
        assert!(run.stderr().contains("No space") || run.stderr().contains("no space"));
        run.assert_one_sentence();
    }
    // What was done is done and remembered all the same.
    ground.mirror().done().assert_idle();
}
