//! rsync finds nothing left to do after `mirror`, and neither does our own reading of both trees.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use support::ground::{ORDINARY, put};
use support::{
    EveryKind, Ground, am_root, assert_level, assert_rsync_agrees, data_map, edit, peer,
};

/// A ground whose source holds every kind of entry.
fn every_kind() -> Ground {
    let ground = Ground::new();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::full().build(&ground.src(), &ground.path("outside"));
    ground
}

/// The same for an ordinary user, who owns all of it.
fn ordinary_kinds() -> Ground {
    let ground = Ground::ordinary();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::ordinary().build(&ground.src(), &ground.path("outside"));
    ground
}

#[track_caller]
fn assert_agreed(ground: &Ground) {
    assert_level(&ground.src(), &ground.dst());
    assert_no_litter(&ground.dst());
    if let Some(rsync) = peer("rsync") {
        assert_rsync_agrees(&rsync, &ground.src(), &ground.dst(), &[]);
    }
}

#[track_caller]
fn assert_no_litter(root: &Path) {
    let litter: Vec<_> =
        support::names_in(root).into_iter().filter(|name| name.contains(".mirror-tmp-")).collect();
    assert_eq!(litter, Vec::<String>::new());
}

#[test]
fn every_kind_of_entry_is_mirrored() {
    let ground = every_kind();
    ground.mirror().done();
    assert_agreed(&ground);
}

#[test]
fn every_kind_of_entry_is_mirrored_again_after_many_edits() {
    let ground = every_kind();
    ground.mirror().done();
    edit::everything(&ground.src(), am_root());
    ground.mirror().done();
    assert_agreed(&ground);
    ground.mirror().done().assert_idle();
}

#[test]
fn many_edits_are_found_without_state_too() {
    let ground = every_kind();
    ground.mirror().no_state().done();
    edit::everything(&ground.src(), am_root());
    ground.mirror().no_state().arg("--checksum").done();
    assert_agreed(&ground);
}

#[test]
fn an_edited_target_is_brought_back() {
    let ground = every_kind();
    ground.mirror().done();
    edit::everything(&ground.dst(), am_root());
    ground.mirror().done();
    assert_agreed(&ground);
}

#[test]
fn an_ordinary_user_mirrors_what_is_theirs() {
    let ground = ordinary_kinds();
    ground.mirror().unprivileged().done();
    assert_agreed(&ground);

    edit::everything(&ground.src(), false);
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    ground.mirror().unprivileged().done();
    assert_agreed(&ground);
}

#[test]
fn an_ordinary_user_changes_what_lies_in_read_only_directories() {
    let ground = Ground::ordinary();
    let mode = |name: &str, mode| {
        fs::set_permissions(ground.src().join(name), Permissions::from_mode(mode)).unwrap();
    };
    for name in ["ro/kept", "ro/edited", "ro/gone", "ro/inner/gone", "ro/deep/er/file", "rw/file"] {
        ground.source(name, name);
    }
    let shut = ["ro/inner", "ro/deep/er", "ro/deep", "ro", ""];
    shut.iter().for_each(|name| mode(name, 0o555));
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    ground.mirror().unprivileged().done();
    assert_agreed(&ground);

    shut.iter().rev().for_each(|name| mode(name, 0o755));
    ground.source("ro/edited", "edited, and longer");
    ground.source("ro/new/file", "new");
    fs::remove_file(ground.src().join("ro/gone")).unwrap();
    fs::remove_dir_all(ground.src().join("ro/inner")).unwrap();
    fs::rename(ground.src().join("ro/deep/er/file"), ground.src().join("ro/moved")).unwrap();
    ["ro/new", "ro/deep/er", "ro/deep", "ro", ""].iter().for_each(|name| mode(name, 0o500));
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    ground.mirror().unprivileged().done();
    assert_agreed(&ground);
}

#[test]
fn a_umask_leaves_no_mark() {
    let ground = ordinary_kinds();
    let shut = ["sh", "-c", "umask 0777; exec \"$@\"", "sh"];
    ground.mirror().unprivileged().under(shut).done();
    assert_agreed(&ground);
}

#[test]
fn holes_stay_holes() {
    let ground = every_kind();
    ground.mirror().done();
    assert_holes_kept(&ground);
    edit::everything(&ground.src(), am_root());
    ground.mirror().done();
    assert_holes_kept(&ground);
}

#[track_caller]
fn assert_holes_kept(ground: &Ground) {
    for name in ["only-hole", "hole-first", "hole-last", "comb", "vast"] {
        let name = format!("sparse/{name}");
        let (src, dst) = (ground.src().join(&name), ground.dst().join(&name));
        assert_eq!(data_map(&dst), data_map(&src), "{name}");
        let (src, dst) = (src.metadata().unwrap(), dst.metadata().unwrap());
        // The map of a file's blocks may itself take one or two more.
        let slack = 2 * dst.blksize() / 512;
        assert!(dst.blocks() <= src.blocks() + slack, "{name}: {} blocks", dst.blocks());
    }
}

#[test]
fn every_durability_and_number_of_jobs_gives_the_same_tree() {
    for options in [
        ["--durability", "none", "--jobs", "1"],
        ["--durability", "batch", "--jobs", "3"],
        ["--durability", "each-file", "--jobs", "2"],
    ] {
        let ground = Ground::new();
        fs::create_dir(ground.path("outside")).unwrap();
        EveryKind::full().build(&ground.src(), &ground.path("outside"));
        ground.mirror().args(options).done();
        assert_level(&ground.src(), &ground.dst());
    }
}

#[test]
fn verifying_finds_nothing_to_say_about_a_good_copy() {
    let ground = every_kind();
    ground.mirror().arg("--verify").done();
    assert_agreed(&ground);
    for level in ["quick", "digest", "independent"] {
        let run = ground.mirror().arg(format!("--verify={level}")).done();
        run.assert_idle();
        assert_eq!(run.problems(), []);
    }
    assert_agreed(&ground);
}

#[test]
fn a_real_tree_is_mirrored_and_followed() {
    let ground = Ground::new();
    let entries = some_real_tree(&ground.src());
    let run = ground.mirror().done();
    assert!(run.count("created") >= entries, "{}", run.shown());
    assert_agreed(&ground);

    edit_real_tree(&ground.src());
    ground.mirror().done();
    assert_agreed(&ground);
    ground.mirror().done().assert_idle();
}

/// Copies a few thousand entries of this system to `to`: their number.
fn some_real_tree(to: &Path) -> u64 {
    const ENTRIES: u64 = 4000;
    const LARGEST: u64 = 100_000;
    fn copy(from: &Path, to: &Path, left: &mut u64) {
        let Ok(entries) = fs::read_dir(from) else {
            return;
        };
        for entry in entries.flatten() {
            let (Ok(meta), to) = (entry.metadata(), to.join(entry.file_name())) else {
                continue;
            };
            if *left == 0 {
                return;
            }
            if meta.is_dir() {
                fs::create_dir(&to).unwrap();
                *left -= 1;
                copy(&entry.path(), &to, left);
            } else if meta.is_symlink() {
                symlink(fs::read_link(entry.path()).unwrap(), &to).unwrap();
                *left -= 1;
            } else if meta.is_file() && meta.len() < LARGEST && fs::copy(entry.path(), &to).is_ok()
            {
                *left -= 1;
                support::every_kind::set_time(&to, meta.mtime(), meta.mtime_nsec());
            }
        }
    }
    let mut left = ENTRIES;
    for from in ["/usr/share/doc", "/usr/share/perl", "/usr/include", "/usr/share", "/usr/lib"] {
        let to = to.join(from.replace('/', "-"));
        fs::create_dir(&to).unwrap();
        copy(Path::new(from), &to, &mut left);
    }
    ENTRIES - left
}

/// Every so many entries something happens to one of them.
fn edit_real_tree(root: &Path) {
    let mut paths = Vec::new();
    support::tree::walk(root, &mut |_, path, meta| paths.push((path.to_owned(), meta.clone())));
    let nth = |every: usize, from: usize| paths.iter().skip(from).step_by(every);
    let files = |every, from| nth(every, from).filter(|(_, meta)| meta.is_file());
    for (path, meta) in files(37, 1) {
        put(path, vec![b'x'; usize::try_from(meta.len() / 2).unwrap()]);
    }
    for (path, _) in files(41, 2) {
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
    for (path, meta) in files(43, 3) {
        support::every_kind::set_time(path, meta.mtime() + 1, 5);
    }
    for (path, _) in files(47, 4) {
        let mut name = path.clone().into_os_string();
        name.push(".renamed");
        fs::rename(path, PathBuf::from(name)).unwrap();
    }
    for (path, _) in files(53, 5) {
        let _ = fs::remove_file(path);
    }
    for (number, (path, _)) in nth(59, 6).filter(|(_, meta)| meta.is_dir()).enumerate() {
        // Its parent may have gone elsewhere in an earlier turn.
        let _ = fs::rename(path, root.join(format!("renamed-{number}")));
    }
}

#[test]
fn a_missing_target_is_made() {
    let ground = every_kind();
    fs::remove_dir(ground.dst()).unwrap();
    ground.mirror().done();
    assert_agreed(&ground);
}

#[test]
fn the_source_may_be_named_in_other_ways() {
    let ground = Ground::new();
    ground.source("folder/file", "content");
    symlink("src", ground.path("alias")).unwrap();
    let ways: [(PathBuf, PathBuf); 5] = [
        (ground.path("src/"), ground.path("with-slashes/")),
        (ground.path("alias"), ground.path("through-a-link")),
        (ground.path("alias/"), ground.path("through-a-link-and-slash")),
        ("src".into(), "relative".into()),
        ("./folder/../src/.".into(), "./dots".into()),
    ];
    fs::create_dir(ground.path("folder")).unwrap();
    for (from, to) in ways {
        ground.mirror().from(from).to(&to).done();
        assert_level(&ground.src(), &ground.path("").join(to));
    }
}

#[test]
fn roots_may_begin_with_a_dash_and_need_not_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let ground = Ground::new();
    ground.source("file", "content");
    fs::rename(ground.src(), ground.path("-src")).unwrap();
    let odd = OsStr::from_bytes(b"-dst \xff\n");
    ground.mirror().from("-src").to(odd).done();
    assert_level(&ground.path("-src"), &ground.path("").join(odd));
}

#[test]
fn nothing_of_the_source_is_touched() {
    let ground = every_kind();
    let before = support::stamps(&ground.src());
    ground.mirror().done();
    support::assert_untouched(&ground.src(), &before);
}

#[test]
fn an_escaping_link_in_the_target_is_replaced_not_followed() {
    let ground = Ground::new();
    let outside = ground.path("outside");
    put(&outside.join("canary"), "outside");
    ground.source("folder/canary", "inside");
    ground.source("file", "inside");
    symlink(&outside, ground.dst().join("folder")).unwrap();
    symlink(outside.join("canary"), ground.dst().join("file")).unwrap();
    ground.mirror().arg("--max-delete").arg("100%").done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "outside");
}

#[test]
fn hosted_fidelity_takes_no_special_rights_along() {
    let ground = every_kind();
    let run = ground.mirror().args(["--fidelity", "hosted"]).run();
    assert!([0, 3].contains(&run.code()), "{}", run.shown());
    let mut checked = 0;
    support::tree::walk(&ground.dst(), &mut |_, path, meta| {
        if meta.is_file() {
            assert_eq!(meta.mode() & 0o6000, 0, "{path:?} has rights of its owner or group");
        }
        let kind = support::tree::kind(meta);
        assert!(!kind.ends_with("device"), "{path:?} is a {kind}");
        checked += 1;
    });
    assert!(checked > 100, "only {checked} entries: {}", run.shown());
    for link in ["links/escaping", "links/absolute"] {
        assert!(!ground.has(link), "{link} leads out of the tree: {}", run.shown());
    }
    assert!(ground.has("links/relative"));
    assert!(run.count("skipped") >= 2 || run.problems().len() >= 2, "{}", run.shown());
}
