//! What must not be believed: trees that overlap in secret, calls that fail for other reasons,
//! files that change hands, plans and names that others made.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use support::every_kind::{acl, set_xattr};
use support::ground::{ORDINARY, am_root, put};
use support::{Ground, assert_level, edit, settle};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Runs the words of a shell in a mount namespace of its own before the program.
fn in_private_mounts(script: &str) -> [String; 5] {
    let script = format!("{script} && exec \"$@\"");
    ["unshare", "-m", "sh", "-c", &script].map(str::to_owned)
}

fn can_mount() -> bool {
    let can = am_root()
        && std::process::Command::new("unshare")
            .args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"])
            .status()
            .is_ok_and(|status| status.success());
    if !can {
        println!("skipped: no private mounts");
    }
    can
}

#[test]
fn nothing_counts_as_gone_because_it_could_not_be_looked_at() {
    if !can_mount() {
        return;
    }
    let ground = Ground::new();
    for name in ["1", "2", "3"] {
        ground.source(&format!("d/{name}"), name);
    }
    settle();
    ground.mirror().done();
    ground.source("d/3", "changed");
    let words = in_private_mounts("mount -t tmpfs none /proc");
    let run = ground.mirror().under(words).under(["sh"]).run().ends(1);
    run.assert_one_sentence();
    assert_eq!(ground.read("d/3"), "3");
}

#[test]
fn a_bind_mount_does_not_hide_that_the_trees_overlap() {
    if !can_mount() {
        return;
    }
    for mount in ["dst/in src", "src/sub dst"] {
        let ground = Ground::new();
        ground.source("sub/a", "a");
        ground.target("in/b", "b");
        ground.target("c", "c");
        let (from, to) = mount.split_once(' ').unwrap();
        let (from, to) = (ground.path(from), ground.path(to));
        let words = in_private_mounts(&format!("mount --bind {} {}", from.display(), to.display()));
        let mirror = ground.mirror().args(["--max-delete", "100%"]);
        mirror.under(words).under(["sh"]).run().ends(4).assert_one_sentence();
        assert!(ground.has("in/b") && ground.has("c") && ground.src().join("sub/a").exists());
    }
}

#[test]
fn what_moves_into_another_mount_is_copied() {
    if !can_mount() {
        return;
    }
    let ground = Ground::new();
    for name in ["f1", "swap", "dir/a", "dir/b", "mnt/swap", "stays/1", "stays/2"] {
        ground.source(name, format!("content of {name}").repeat(10));
    }
    fs::create_dir_all(ground.dst().join("mnt")).unwrap();
    // The mount has to outlive the first run: all of them are in one shell.
    let program = env!("CARGO_BIN_EXE_mirror");
    let (src, dst) = (ground.src(), ground.dst());
    let script = format!(
        "set -e; cd {root}; mount -t tmpfs none dst/mnt; m() {{ {program} --quiet --state state src dst; }}
         m; mv src/f1 src/mnt/f1; mv src/dir src/mnt/dir; mv src/swap src/keep
         mv src/mnt/swap src/swap; mv src/keep src/mnt/swap
         m || test $? = 3; m; m; diff -r src dst",
        root = src.parent().unwrap().display(),
    );
    let output =
        std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
    assert!(!dst.join("f1").exists() && !dst.join("dir").exists());
}

#[test]
fn what_changes_hands_before_it_has_its_place_is_not_remembered() {
    let ground = Ground::new();
    for number in 0..2000 {
        ground.source(&format!("{number}"), vec![b'x'; 20_000]);
    }
    let mut run = ground.mirror().spawn();
    while !run.has_ended() {
        for entry in fs::read_dir(ground.dst()).unwrap().flatten() {
            let path = entry.path();
            if fs::metadata(&path).is_ok_and(|meta| meta.mode() & 0o777 == 0o644) {
                let _ = fs::set_permissions(path, Permissions::from_mode(0o604));
            }
        }
    }
    let run = run.wait();
    assert!([0, 3].contains(&run.code()), "{}", run.shown());
    ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn nothing_is_deleted_while_something_new_could_not_be_read() {
    let ground = Ground::ordinary();
    for name in ["1", "2", "3"] {
        ground.source(&format!("old/{name}"), name);
        ground.source(&format!("stays/{name}"), name);
    }
    let owned = || {
        if am_root() {
            edit::give_away(&ground.src(), ORDINARY);
        }
    };
    owned();
    ground.mirror().unprivileged().done();
    fs::rename(ground.src().join("old"), ground.src().join("new")).unwrap();
    for name in ["1", "2", "3"] {
        chmod(&ground.source(&format!("new/{name}"), "edited as well"), 0o000);
    }
    // A directory of its own, so that it is no rename.
    fs::rename(ground.src().join("new"), ground.src().join("keep")).unwrap();
    fs::create_dir(ground.src().join("new")).unwrap();
    for name in ["1", "2", "3"] {
        let to = ground.src().join("new").join(name);
        fs::rename(ground.src().join("keep").join(name), to).unwrap();
    }
    fs::remove_dir(ground.src().join("keep")).unwrap();
    owned();
    let run = ground.mirror().unprivileged().run().ends(3);
    run.assert_counts(&[("deleted", 0)]);
    assert_eq!(ground.read("old/1"), "1");
    for name in ["1", "2", "3"] {
        chmod(&ground.src().join("new").join(name), 0o644);
    }
    ground.mirror().unprivileged().done();
    assert!(!ground.has("old"));
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn an_ordinary_user_meets_no_permission_that_is_theirs_to_give() {
    let ground = Ground::ordinary();
    let file = ground.source("with both", "content");
    set_xattr(&file, "user.a", b"b");
    set_xattr(&file, "system.posix_acl_access", &acl(4, 1234, 4, 4, 4));
    ground.source("parent/moves/file", "content");
    ground.source("becomes a file/inside", "content");
    chmod(&file, 0o444);
    for name in ["parent/moves", "becomes a file"] {
        chmod(&ground.src().join(name), 0o500);
    }
    let owned = || {
        if am_root() {
            edit::give_away(&ground.src(), ORDINARY);
        }
    };
    owned();
    settle();
    ground.mirror().unprivileged().done();
    assert_level(&ground.src(), &ground.dst());

    for name in ["parent/moves", "becomes a file"] {
        chmod(&ground.src().join(name), 0o700);
    }
    fs::rename(ground.src().join("parent/moves"), ground.src().join("moved")).unwrap();
    chmod(&ground.src().join("moved"), 0o500);
    fs::remove_dir_all(ground.src().join("becomes a file")).unwrap();
    chmod(&ground.source("becomes a file", "now"), 0o644);
    owned();
    ground.mirror().args(["--max-delete", "100%"]).unprivileged().done();
    assert_level(&ground.src(), &ground.dst());
}

/// Whoever can edit the saved plan can leave steps out of it and nothing more.
#[test]
fn a_saved_plan_does_nothing_that_is_not_to_be_done() {
    let ground = Ground::new();
    ground.source("a", "a");
    ground.source("b", "b");
    let plan = ground.mirror().arg("--plan").run().ends(0);
    let lines: Vec<_> = plan.objects();
    let mut id = 90;
    let mut step = |side: &str, op: serde_json::Value| {
        id += 1;
        serde_json::json!({"line": "step", "id": id, "side": side, "op": op})
    };
    let meta = serde_json::json!({"mode": 0o6755, "uid": 0, "gid": 0,
        "mtime": {"seconds": 0, "nanos": 0}, "xattrs": null});
    let source = serde_json::json!({"device": 1, "inode": 1,
        "ctime": {"seconds": 0, "nanos": 0}, "links": 1});
    let forged = [
        step(
            "a",
            serde_json::json!({"Remove": {"path": "a", "keep_old": false,
            "expected": "absent"}}),
        ),
        step(
            "b",
            serde_json::json!({"Put": {"path": "esc", "meta": meta, "source": source,
            "kind": {"symlink": {"target": "/etc/shadow"}}, "expected": "absent",
            "keep_old": false}}),
        ),
        step(
            "b",
            serde_json::json!({"Put": {"path": "null", "meta": meta, "source": source,
            "kind": {"character-device": {"number": 259}}, "expected": "absent",
            "keep_old": false}}),
        ),
    ];
    let mut text = String::new();
    let end = lines.len() - 1;
    for line in lines[..end].iter().chain(&forged) {
        text.push_str(&format!("{line}\n"));
    }
    let steps = lines[..end].iter().filter(|line| line["line"] == "step").count() + forged.len();
    text.push_str(&format!("{}\n", serde_json::json!({"line": "end", "steps": steps})));
    let file = put(&ground.path("plan"), text);
    let run = ground.mirror().arg("--apply-plan").arg(file).run().ends(3);
    assert_eq!(run.problems().len(), 3, "{}", run.shown());
    assert!(ground.src().join("a").exists());
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_reserved_name_deletes_nothing_that_was_not_ours() {
    let ground = Ground::new();
    ground.source("a", "a");
    ground.mirror().done();
    ground.target(".mirror-tmp-logs/precious", "precious");
    ground.target(".mirror-tmp-1a-2b-n3/precious", "precious");
    ground.target(".mirror-tmp-1a-2b-n4", "left by a killed run");
    ground.source("a", "changed");
    let run = ground.mirror().run().ends(3);
    assert!(run.has_problem_at(".mirror-tmp-1a-2b-n3"), "{}", run.shown());
    assert_eq!(ground.read(".mirror-tmp-logs/precious"), "precious");
    assert_eq!(ground.read(".mirror-tmp-1a-2b-n3/precious"), "precious");
    assert!(!ground.has(".mirror-tmp-1a-2b-n4"));
}

#[test]
fn hosted_fidelity_follows_no_link_that_climbs_after_a_name() {
    let ground = Ground::new();
    ground.source("s/t/file", "file");
    symlink("../..", ground.src().join("s/t/up")).unwrap();
    symlink("up/../../../etc/passwd", ground.src().join("s/t/esc")).unwrap();
    let run = ground.mirror().args(["--fidelity", "hosted"]).run().ends(3);
    assert!(run.has_problem_at("s/t/esc"), "{}", run.shown());
    assert!(ground.has("s/t/file") && fs::symlink_metadata(ground.dst().join("s/t/esc")).is_err());
}
