//! What the catalogue of attacks must not break: ordinary layouts with symlinks, mounts and files of
//! many owners keep working.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use support::ground::{ORDINARY, put};
use support::{Ground, Mirror, Mounts, am_root, assert_level, edit, peer, settle, stamps};

fn site(root: &Path) {
    put(&root.join("releases/41/index.html"), "forty-one");
    put(&root.join("releases/42/index.html"), "forty-two");
    put(&root.join("shared/uploads/cat"), "a cat");
    put(&root.join("README"), "read me");
}

fn link(to: impl AsRef<Path>, at: &Path) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(to, at).unwrap();
}

/// Level after one run, and nothing to do in the next.
#[track_caller]
fn settles(mirror: &Mirror, src: &Path, dst: &Path) {
    mirror.done();
    assert_level(src, dst);
    mirror.done().assert_idle();
}

/// `/var/www -> /srv/www`, and a site in it that is a link as well.
#[test]
fn roots_are_found_through_links_of_root() {
    let ground = Ground::new();
    fs::remove_dir(ground.src()).unwrap();
    let site_1 = ground.path("srv/www/site-1");
    site(&site_1);
    link("../srv/www", &ground.path("var/www"));
    link(ground.path("var/www/site-1"), &ground.path("site"));
    link("site", &ground.src());
    link("backup-disk/copies", &ground.path("copies"));
    fs::create_dir_all(ground.path("backup-disk/copies")).unwrap();
    let dst = ground.path("copies/site-1");
    for from in [ground.src(), ground.path("var/www/site-1"), ground.path("site/")] {
        settles(&ground.mirror().from(from).to(&dst), &site_1, &dst);
    }
    // However they were named, they were the same trees.
    assert_eq!(fs::read_dir(ground.path("state")).unwrap().count(), 1);
}

/// A customer's own run through a customer's own links.
#[test]
fn roots_are_found_through_links_of_the_user_who_runs() {
    let ground = Ground::ordinary();
    site(&ground.src());
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    for (to, name) in [("src", "my-source"), ("dst", "my-copy")] {
        link(to, &ground.path(name));
        if am_root() {
            lchown(ground.path(name), Some(ORDINARY), Some(ORDINARY)).unwrap();
        }
    }
    let mirror = ground.mirror().from(ground.path("my-source")).to(ground.path("my-copy"));
    settles(&mirror.unprivileged(), &ground.src(), &ground.dst());
}

#[test]
fn links_inside_are_copied_as_they_are() {
    let ground = Ground::new();
    site(&ground.src());
    put(&ground.path("outside/file"), "outside");
    let at = |name: &str| ground.src().join(name);
    link("README", &at("relative"));
    link("../README", &at("shared/upwards"));
    link("shared/uploads", &at("to-a-directory"));
    link("../../shared/uploads", &at("releases/42/uploads"));
    link(ground.path("outside"), &at("absolute-out"));
    link("../outside/file", &at("relative-out"));
    link("nowhere/at/all", &at("dangling"));
    link("self", &at("self"));
    link(".", &at("here"));
    link("a".repeat(4000), &at("long"));
    settles(&ground.mirror(), &ground.src(), &ground.dst());
    // And again where the target holds them already, and nothing is remembered.
    ground.mirror().no_state().done().assert_idle();
}

#[test]
fn links_within_the_tree_are_copied_with_hosted_fidelity_too() {
    let ground = Ground::new();
    site(&ground.src());
    let at = |name: &str| ground.src().join(name);
    link("releases/42", &at("current"));
    link("../../shared/uploads", &at("releases/42/uploads"));
    link("nowhere", &at("dangling"));
    link("./../README", &at("shared/readme"));
    settles(&ground.mirror().args(["--fidelity", "hosted"]), &ground.src(), &ground.dst());
    // A renamed directory takes along what leads nowhere else by that.
    settle();
    fs::rename(at("releases/42"), at("releases/43")).unwrap();
    fs::remove_file(at("current")).unwrap();
    link("releases/43", &at("current"));
    let run = ground.mirror().args(["--fidelity", "hosted"]).done();
    run.assert_counts(&[("moved", 1), ("created", 0)]);
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_deployment_switches_its_current_release() {
    let ground = Ground::new();
    site(&ground.src());
    let current = ground.src().join("current");
    for release in ["releases/41", "releases/42", "releases/41"] {
        let new = ground.src().join("current.new");
        link(release, &new);
        fs::rename(new, &current).unwrap();
        settles(&ground.mirror(), &ground.src(), &ground.dst());
        assert_eq!(fs::read_link(ground.dst().join("current")).unwrap(), Path::new(release));
    }
    // The old release goes, the link becomes a directory, and back.
    fs::remove_dir_all(ground.src().join("releases/42")).unwrap();
    fs::remove_file(&current).unwrap();
    put(&current.join("index.html"), "by hand");
    settles(&ground.mirror(), &ground.src(), &ground.dst());
    fs::remove_dir_all(&current).unwrap();
    link("releases/41", &current);
    settles(&ground.mirror(), &ground.src(), &ground.dst());
}

/// What a link in the tree leads to is mirrored where it is, and the link stays a link.
#[test]
fn a_linked_directory_inside_is_not_entered() {
    let ground = Ground::new();
    put(&ground.path("big/disk/file"), "elsewhere");
    site(&ground.src());
    link(ground.path("big/disk"), &ground.src().join("media"));
    link("shared", &ground.src().join("also-shared"));
    settles(&ground.mirror(), &ground.src(), &ground.dst());
    put(&ground.path("big/disk/other"), "more elsewhere");
    ground.mirror().done().assert_idle();
}

#[test]
fn hard_links_inside_stay_together() {
    let ground = Ground::new();
    site(&ground.src());
    let at = |name: &str| ground.src().join(name);
    fs::hard_link(at("README"), at("shared/README")).unwrap();
    fs::hard_link(at("README"), at("releases/README")).unwrap();
    // And with a name that is in no tree, as a backup by hard links has.
    fs::hard_link(at("shared/uploads/cat"), ground.path("backup of a cat")).unwrap();
    settles(&ground.mirror(), &ground.src(), &ground.dst());
    assert_eq!(ground.inode("README"), ground.inode("releases/README"));
    fs::remove_file(at("shared/README")).unwrap();
    settles(&ground.mirror(), &ground.src(), &ground.dst());
}

#[test]
fn a_mount_below_the_source_is_part_of_it() {
    let ground = Ground::new();
    site(&ground.src());
    let mounted = ground.src().join("shared/disk");
    fs::create_dir(&mounted).unwrap();
    let Some(mounts) = Mounts::tmpfs(&mounted, "size=8m") else {
        return;
    };
    let inside = mounts.inside(&mounted);
    put(&inside.join("folder/file"), "on another disk");
    link("folder/file", &inside.join("link"));
    let mirror = ground.mirror().under(mounts.enter());
    mirror.done();
    assert_eq!(ground.read("shared/disk/folder/file"), "on another disk");
    assert_eq!(ground.read("README"), "read me");
    mirror.done().assert_idle();
    fs::remove_file(inside.join("link")).unwrap();
    mirror.done().assert_counts(&[("deleted", 1)]);
}

#[test]
fn a_source_that_is_mounted_read_only_is_mirrored() {
    let ground = Ground::new();
    let Some(mounts) = Mounts::tmpfs(&ground.src(), "size=8m") else {
        return;
    };
    site(&mounts.inside(&ground.src()));
    mounts.freeze();
    let mirror = ground.mirror().under(mounts.enter());
    mirror.done();
    assert_level(&mounts.inside(&ground.src()), &ground.dst());
    mirror.done().assert_idle();
}

#[test]
fn paths_may_be_relative_and_odd() {
    let ground = Ground::new();
    site(&ground.src());
    fs::create_dir_all(ground.path("a/b")).unwrap();
    let ways: [(&str, &str); 6] = [
        ("src", "copies/1"),
        ("src/", "copies/2/"),
        ("./src//", "copies//3//."),
        ("a/b/../../src", "a/../copies/4"),
        ("src/.", "./copies/5/../6"),
        ("src/releases/../../src", "copies/7"),
    ];
    fs::create_dir_all(ground.path("copies/5")).unwrap();
    for (from, to) in ways {
        let mirror = ground.mirror().from(from).to(to).state(Path::new("kept/state"));
        settles(&mirror, &ground.src(), &ground.path(to));
    }
}

#[test]
fn missing_parents_of_the_target_and_the_state_are_made() {
    let ground = Ground::new();
    site(&ground.src());
    let (dst, state) = (ground.path("not/yet/there"), ground.path("nor/this/state"));
    link("var", &ground.path("short"));
    fs::create_dir(ground.path("var")).unwrap();
    settles(&ground.mirror().to(&dst).state(&state), &ground.src(), &dst);
    // Below a link of our own as well.
    let (dst, state) = (ground.path("short/copies/site"), ground.path("short/lib/state"));
    settles(&ground.mirror().to(&dst).state(&state), &ground.src(), &dst);
    assert!(ground.path("var/copies/site/README").exists());
    assert!(ground.path("var/lib/state").is_dir());
}

/// As from a shell that stands there: `cd site && mirror . /copy`.
#[test]
fn a_run_may_start_inside_its_source() {
    let ground = Ground::new();
    site(&ground.src());
    let (state, below) = (ground.path("state"), ground.src().join("releases"));
    let program = env!("CARGO_BIN_EXE_mirror");
    for (folder, from, to) in [
        (ground.src(), ".", "../dst"),
        (below.clone(), "..", "../../other"),
        (below, "..", "../../dst"),
    ] {
        let output = std::process::Command::new(program)
            .current_dir(folder)
            .args(["--quiet", "--state"])
            .args([state.as_os_str()])
            .args([from, to])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_level(&ground.src(), &ground.dst());
    assert_level(&ground.src(), &ground.path("other"));
}

#[test]
fn a_target_that_is_a_link_of_our_own_stays_one() {
    let ground = Ground::new();
    site(&ground.src());
    fs::remove_dir(ground.dst()).unwrap();
    fs::create_dir_all(ground.path("disk/copy")).unwrap();
    link("disk/copy", &ground.dst());
    settles(&ground.mirror(), &ground.src(), &ground.path("disk/copy"));
    assert!(ground.dst().is_symlink());
}

#[test]
fn customers_own_their_files_on_both_sides() {
    if !am_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let ground = Ground::new();
    for customer in [2001, 2002, ORDINARY] {
        let root = ground.src().join(customer.to_string());
        site(&root);
        link("releases/42", &root.join("current"));
        edit::give_away(&root, customer);
        fs::set_permissions(&root, Permissions::from_mode(0o710)).unwrap();
        fs::set_permissions(root.join("shared/uploads"), Permissions::from_mode(0o2770)).unwrap();
    }
    settles(&ground.mirror(), &ground.src(), &ground.dst());
    // And one customer's tree by itself, whose target is that customer's too: hosted fidelity
    // gives everything in it to whom the target belongs to.
    let copy = ground.path("copy");
    fs::create_dir(&copy).unwrap();
    lchown(&copy, Some(3000), Some(3000)).unwrap();
    let from = ground.src().join("2001");
    let hosted = ground.mirror().args(["--fidelity", "hosted"]).from(&from).to(&copy);
    hosted.done();
    support::tree::walk(&copy, &mut |_, path, meta| {
        assert_eq!((meta.uid(), meta.gid()), (3000, 3000), "{path:?}");
    });
    hosted.done().assert_idle();
}

#[test]
fn verifying_agrees_about_all_of_it() {
    let ground = Ground::new();
    site(&ground.src());
    link("releases/42", &ground.src().join("current"));
    link("nowhere", &ground.src().join("dangling"));
    fs::hard_link(ground.src().join("README"), ground.src().join("shared/R")).unwrap();
    let before = stamps(&ground.src());
    for level in ["quick", "digest", "independent"] {
        ground.mirror().arg(format!("--verify={level}")).done();
    }
    support::assert_untouched(&ground.src(), &before);
    if let Some(rsync) = peer("rsync") {
        support::assert_rsync_agrees(&rsync, &ground.src(), &ground.dst(), &[]);
    }
}
