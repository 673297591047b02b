//! Real trees over every way to reach the other side: parts of Debian packages that are installed
//! wherever these tests run, or what `MIRROR_TREES` names, such as two releases of a kernel.
#![cfg(feature = "ssh")]
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::env;
use std::path::PathBuf;

use support::{Ground, Server, assert_rsync_agrees, peer};

/// Folders of packages with symlinks, hard links and thousands of small files in them.
const INSTALLED: [&str; 3] = ["/usr/share/zoneinfo", "/usr/share/perl5", "/usr/share/perl"];

/// The trees, each of which takes the place of the one before it.
fn trees() -> Vec<PathBuf> {
    let named = env::var_os("MIRROR_TREES");
    let named = named.map(|trees| env::split_paths(&trees).collect());
    named.unwrap_or_else(|| {
        let installed = INSTALLED.map(PathBuf::from).into_iter();
        installed.filter(|tree| tree.is_dir() && !tree.is_symlink()).collect()
    })
}

#[test]
fn real_trees_become_level_over_every_way() {
    let trees = trees();
    let (Some(rsync), ground) = (peer("rsync"), Ground::new()) else { return };
    let Some(server) = Server::start(&ground.path("")) else { return };
    if trees.is_empty() {
        println!("skipped: none of the packages is installed");
    }
    for (number, source) in trees.iter().enumerate() {
        for (way, program, from_there, to_there) in [
            ("push", false, false, true),
            ("pull", false, true, false),
            ("both", false, true, true),
            ("push-by-ssh", true, false, true),
            ("pull-by-ssh", true, true, false),
        ] {
            let target = ground.path(way);
            let mirror = ground.mirror().args(["--max-delete", "100%"]);
            let mut mirror =
                if program { server.reach_by_program(mirror) } else { server.reach(mirror) };
            mirror = mirror.from(if from_there { server.address(source) } else { source.clone() });
            mirror = mirror.to(if to_there { server.address(&target) } else { target.clone() });
            let run = mirror.done();
            assert!(run.count("entries") > 0, "{way}: {}", run.shown());
            assert_rsync_agrees(&rsync, source, &target, &[]);
            let again = mirror.done();
            again.assert_idle();
            println!(
                "tree {number}, {way}: {} entries, {} bytes on the wire, {} when nothing changed",
                run.count("entries"),
                run.count("wire_sent") + run.count("wire_received"),
                again.count("wire_sent") + again.count("wire_received"),
            );
        }
    }
}
