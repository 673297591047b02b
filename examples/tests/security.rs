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

use support::{Ground, settle};

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
