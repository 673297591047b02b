//! The catalogue of attacks on local runs: each test bears the number of its property.
//!
//! The attacker is somebody who may write in the source or in the target (a hosted customer), or
//! who made the tree that is being restored; the run is root's where the tests are.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use support::every_kind::{ODD_NAMES, noise, set_xattr};
use support::ground::{ORDINARY, put};
use support::trace::{held_after, traced};
use support::tree::{Stamp, walk};
use support::{
    Ground, Mirror, Mounts, Run, am_root, assert_level, assert_untouched, edit, names_in, settle,
    stamps,
};

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

/// A folder beside both trees, with everything that an attacker would like to be touched.
struct Outside {
    path: PathBuf,
    before: BTreeMap<Vec<u8>, Stamp>,
}

impl Outside {
    /// Holds these names, each with the secret in it, for root's eyes only.
    fn new(ground: &Ground, names: &[&str]) -> Self {
        let path = ground.path("outside");
        for name in names {
            let file = put(&path.join(name), SECRET);
            fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
        }
        let before = stamps(&path);
        Self { path, before }
    }

    /// Nothing was made, changed or removed here, and none of it is in a tree.
    #[track_caller]
    fn assert_unharmed(&self, ground: &Ground) {
        assert_untouched(&self.path, &self.before);
        for root in [ground.src(), ground.dst()] {
            assert_no_secret_in(&root);
        }
    }
}

#[track_caller]
fn assert_no_secret_in(root: &Path) {
    walk(root, &mut |_, path, meta| {
        if meta.is_file() {
            let bytes = fs::read(path).unwrap();
            let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            assert!(!found, "{path:?} holds the secret");
        }
    });
}

/// A symlink of a customer's, not one that root made.
fn planted(to: impl AsRef<Path>, at: &Path) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(to, at).unwrap();
    if am_root() {
        lchown(at, Some(ORDINARY), Some(ORDINARY)).unwrap();
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

// S3: a symlink is never a way to somewhere.

#[test]
fn s03_a_link_that_becomes_a_directory_is_replaced_not_entered() {
    for state in [true, false] {
        let ground = Ground::new();
        let outside = Outside::new(&ground, &["x", "deep/y"]);
        let mirror = ground.mirror().args(["--max-delete", "100%"]);
        let mirror = if state { mirror } else { mirror.no_state() };
        // First the link, then a directory of its name: in two runs.
        planted(&outside.path, &ground.src().join("d"));
        mirror.done();
        assert!(ground.dst().join("d").is_symlink());
        fs::remove_file(ground.src().join("d")).unwrap();
        ground.source("d/x", "inside");
        ground.source("d/deep/y", "inside");
        chmod(&ground.src().join("d"), 0o777);
        chmod(&ground.src().join("d/x"), 0o666);
        mirror.done();
        assert_level(&ground.src(), &ground.dst());
        outside.assert_unharmed(&ground);
        // And back.
        fs::remove_dir_all(ground.src().join("d")).unwrap();
        planted(&outside.path, &ground.src().join("d"));
        mirror.done();
        assert_level(&ground.src(), &ground.dst());
        assert_untouched(&outside.path, &outside.before);
    }
}

#[test]
fn s03_a_link_planted_in_the_target_is_not_followed_by_any_step() {
    for state in [true, false] {
        let ground = Ground::new();
        for name in ["edit/x", "mode/x", "gone/x", "new/keep", "move/x", "stay/x"] {
            ground.source(name, "content");
        }
        let mirror = ground.mirror().args(["--max-delete", "100%"]);
        let mirror = if state { mirror } else { mirror.no_state() };
        settle();
        mirror.done();
        let names = ["x", "keep"];
        let outside = Outside::new(&ground, &names);
        for name in ["edit", "mode", "gone", "new", "move", "stay"] {
            let dir = ground.dst().join(name);
            fs::remove_dir_all(&dir).unwrap();
            planted(&outside.path, &dir);
        }
        ground.source("edit/x", "edited");
        chmod(&ground.src().join("mode/x"), 0o777);
        chmod(&ground.src().join("mode"), 0o777);
        fs::remove_dir_all(ground.src().join("gone")).unwrap();
        ground.source("new/file", "new");
        fs::rename(ground.src().join("move"), ground.src().join("moved")).unwrap();
        mirror.done();
        assert_level(&ground.src(), &ground.dst());
        outside.assert_unharmed(&ground);
    }
}

/// What a source link leads to is no part of the source.
#[test]
fn s03_nothing_is_read_through_a_link_in_the_source() {
    let ground = Ground::new();
    let outside = Outside::new(&ground, &["x", "deep/y"]);
    ground.source("was/x", "inside");
    ground.source("file", "inside");
    settle();
    ground.mirror().done();
    fs::remove_dir_all(ground.src().join("was")).unwrap();
    fs::remove_file(ground.src().join("file")).unwrap();
    planted(&outside.path, &ground.src().join("was"));
    planted(outside.path.join("x"), &ground.src().join("file"));
    planted("/proc/self/root", &ground.src().join("magic"));
    for options in [&[][..], &["--checksum"], &["--verify=digest"], &["--verify=independent"]] {
        ground.mirror().args(["--max-delete", "100%"]).args(options).done();
        assert_level(&ground.src(), &ground.dst());
    }
    assert_untouched(&outside.path, &outside.before);
    assert!(ground.dst().join("was").is_symlink() && ground.dst().join("file").is_symlink());
}

// S4: names that meet, and what is remembered of a directory that is none any more.

#[test]
fn s04_names_that_differ_in_case_or_composition_stay_apart() {
    let ground = Ground::new();
    let names = ["File", "file", "FILE", "caf\u{e9}", "cafe\u{301}", "stra\u{df}e", "strasse"];
    for name in names {
        ground.source(&format!("{name}.d/inside"), name);
        ground.source(name, name);
    }
    ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(names_in(&ground.dst()).len(), names.len() * 3);
}

/// `A` is a directory, `a` a link to outside: who takes them for one writes outside.
#[test]
fn s04_a_link_does_not_stand_in_for_a_directory_of_a_like_name() {
    let ground = Ground::new();
    let outside = Outside::new(&ground, &["hooks/post-checkout", "x"]);
    for (directory, link) in [("A", "a"), ("b", "B"), ("caf\u{e9}", "cafe\u{301}")] {
        ground.source(&format!("{directory}/hooks/post-checkout"), "inside");
        ground.source(&format!("{directory}/x"), "inside");
        planted(&outside.path, &ground.src().join(link));
    }
    for _ in 0..2 {
        ground.mirror().done();
        assert_level(&ground.src(), &ground.dst());
    }
    outside.assert_unharmed(&ground);
}

/// The base remembers a directory, with inodes and all; a link has its name on the target since.
#[test]
fn s04_what_is_remembered_of_a_directory_does_not_make_it_one() {
    let ground = Ground::new();
    ground.source("d/e/x", "inside");
    ground.source("d/e/gone", "inside");
    settle();
    ground.mirror().done();
    let outside = Outside::new(&ground, &["e/x", "e/gone"]);
    fs::rename(ground.dst().join("d"), ground.path("aside")).unwrap();
    planted(&outside.path, &ground.dst().join("d"));
    // The directory that is remembered stands elsewhere in the target, still with its inode.
    fs::rename(ground.path("aside"), ground.dst().join("elsewhere")).unwrap();
    fs::remove_file(ground.src().join("d/e/gone")).unwrap();
    ground.source("d/e/x", "edited");
    ground.mirror().args(["--max-delete", "100%"]).done();
    assert_level(&ground.src(), &ground.dst());
    outside.assert_unharmed(&ground);
}

// S5 to S7: somebody swaps things while the real program is at work. `races.rs` and the core's
// `faults/race.rs` do so at random and at every call; here it is held at some.

/// A source that changed in every way since it was mirrored.
fn changed() -> Ground {
    let ground = Ground::new();
    for name in ["d/edit", "d/mode", "d/gone", "d/move", "d/sub/x", "d/sub/gone"] {
        ground.source(name, "content");
    }
    settle();
    ground.mirror().done();
    let at = |name: &str| ground.src().join(name);
    ground.source("d/edit", "edited");
    ground.source("d/new", "new");
    ground.source("d/made/inside", "new");
    symlink("edit", at("d/link")).unwrap();
    fs::hard_link(at("d/new"), at("d/name")).unwrap();
    chmod(&at("d/mode"), 0o640);
    fs::rename(at("d/move"), at("d/moved")).unwrap();
    fs::remove_file(at("d/gone")).unwrap();
    fs::remove_file(at("d/sub/gone")).unwrap();
    set_xattr(&at("d/sub/x"), "user.x", b"value");
    ground
}

/// All names that the run above asks for, so that each would be found outside.
const ASKED: [&str; 12] = [
    "edit",
    "mode",
    "gone",
    "move",
    "sub/x",
    "sub/gone",
    "new",
    "made/inside",
    "link",
    "name",
    "moved",
    "x",
];

/// Calls at which a run is held; which of them it makes differs.
const CALLS: [&str; 8] =
    ["/^rename", "/^unlink", "/^mkdir", "/^fchmod", "/^utimens", "/^link", "openat2", "getdents64"];

/// Holds runs at many of their calls and swaps `victim` for a link to outside each time.
fn swapped_while_held(victim: impl Fn(&Ground) -> PathBuf) {
    let mut swaps = 0;
    for calls in CALLS {
        for turn in [1, 2, 4] {
            let ground = changed();
            let outside = Outside::new(&ground, &ASKED);
            let (victim, aside) = (victim(&ground), ground.path("aside"));
            let mirror = ground.mirror().args(["--max-delete", "100%"]);
            let held = held_after(&mirror, calls, turn, &ground.path("calls"), || {
                let is_directory = victim.is_dir();
                if fs::rename(&victim, &aside).is_ok() || !victim.exists() {
                    let to = if is_directory { "" } else { "edit" };
                    planted(outside.path.join(to), &victim);
                }
            });
            let Some((run, was_held)) = held else { return };
            swaps += usize::from(was_held);
            assert_untouched(&outside.path, &outside.before);
            // The attacker leaves; one run in peace, which finds both sides as they are.
            let ours = fs::read_link(&victim).is_ok_and(|to| to.starts_with(&outside.path));
            if ours && (victim.starts_with(ground.src()) || victim == ground.dst()) {
                fs::remove_file(&victim).unwrap();
                fs::rename(&aside, &victim).unwrap();
            }
            let told = format!("{calls} {turn}: {}", run.shown());
            mirror.run().ends(0);
            assert_level(&ground.src(), &ground.dst());
            assert_untouched(&outside.path, &outside.before);
            assert_no_secret_in(&ground.dst());
            assert!(run.code() != 2, "{told}");
        }
    }
    assert!(swaps >= 10, "swapped {swaps} times only");
}

#[test]
fn s05_a_parent_in_the_target_is_swapped_while_a_run_is_held() {
    swapped_while_held(|ground| ground.dst().join("d"));
}

#[test]
fn s05_a_parent_in_the_source_is_swapped_while_a_run_is_held() {
    swapped_while_held(|ground| ground.src().join("d"));
}

#[test]
fn s06_a_leaf_in_the_target_is_swapped_while_a_run_is_held() {
    swapped_while_held(|ground| ground.dst().join("d/mode"));
}

#[test]
fn s06_a_leaf_in_the_source_is_swapped_while_a_run_is_held() {
    swapped_while_held(|ground| ground.src().join("d/edit"));
}

#[test]
fn s08_the_root_itself_is_swapped_while_a_run_is_held() {
    swapped_while_held(|ground| ground.dst());
}

#[test]
fn s07_links_planted_where_a_run_keeps_its_own_files_lead_nowhere() {
    let ground = changed();
    let outside = Outside::new(&ground, &ASKED);
    let litter = [".mirror-tmp-1a-2b-n3", "d/.mirror-tmp-1a-2b-m4", "d/sub/.mirror-tmp-1a-2b-n5"];
    for name in litter {
        planted(outside.path.join("sub"), &ground.dst().join(name));
    }
    planted(&outside.path, &ground.dst().join(".mirror-history"));
    let mut folders = fs::read_dir(ground.path("state")).unwrap();
    let folder = folders.next().unwrap().unwrap().path();
    for name in ["journal", "base.2", "base.7", ".mirror-tmp-1-1", ".mirror-spool-1-1"] {
        symlink(outside.path.join("edit"), folder.join(name)).unwrap();
    }
    let run = ground.mirror().args(["--max-delete", "100%"]).run();
    assert!([0, 3].contains(&run.code()), "{}", run.shown());
    assert_untouched(&outside.path, &outside.before);
    for name in litter {
        assert!(!ground.has(name), "{name} is a link that nobody made but us: {}", run.shown());
    }
    fs::remove_file(ground.dst().join(".mirror-history")).unwrap();
    ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
    outside.assert_unharmed(&ground);
}

// S8: who owns a link on the way to a root chooses where the run writes.

#[test]
fn s08_a_strangers_link_on_the_way_to_a_root_is_refused() {
    if !am_root() {
        println!("skipped: only root can give links away");
        return;
    }
    let ground = Ground::new();
    ground.source("a", "a");
    ground.target("b", "b");
    fs::create_dir(ground.path("state")).unwrap();
    chmod(&ground.path("state"), 0o700);
    for (to, name) in [("src", "l-src"), ("dst", "l-dst"), (".", "l-up"), ("state", "l-state")] {
        planted(to, &ground.path(name));
    }
    // Root's own link, which leads through the stranger's.
    symlink("l-dst", ground.path("own")).unwrap();
    let before = stamps(&ground.path("dst"));
    for mirror in [
        ground.mirror().from(ground.path("l-src")),
        ground.mirror().to(ground.path("l-dst")),
        ground.mirror().to(ground.path("l-dst/")),
        ground.mirror().to(ground.path("l-dst/.")),
        ground.mirror().to(ground.path("l-up/dst")),
        ground.mirror().to(ground.path("l-up/new/one")),
        ground.mirror().to(ground.path("own")),
        ground.mirror().to("l-dst"),
        ground.mirror().state(&ground.path("l-state")),
        ground.mirror().state(&ground.path("l-up/state/inner")),
    ] {
        let run = mirror.run().ends(1);
        run.assert_one_sentence();
        assert!(run.stderr().contains("symlink"), "{}", run.shown());
        assert_untouched(&ground.path("dst"), &before);
    }
    assert!(!ground.path("new").exists());
    assert_eq!(names_in(&ground.path("state")), Vec::<String>::new());
}

// S9: hosted fidelity mirrors no link that leads out of the tree.

#[test]
fn s09_links_out_of_the_tree_are_skipped_and_told() {
    let ground = Ground::new();
    ground.source("d/e/file", "content");
    let out = [
        ("absolute", "/etc/passwd"),
        ("up", ".."),
        ("up-and-over", "../outside"),
        ("d/e/three", "../../../x"),
        ("d/e/down-and-up", "../../d/../../x"),
        ("d/e/dots", "./.././.././/../x"),
        ("d/slash", "//etc"),
        ("d/proc", "/proc/self/root/etc"),
    ];
    let inside = [("ok", "d/e/file"), ("d/e/ok", "../../ok"), ("d/nowhere", "e/none")];
    for (at, to) in out.iter().chain(&inside) {
        planted(to, &ground.src().join(at));
    }
    let run = ground.mirror().args(["--fidelity", "hosted"]).run().ends(3);
    for (at, _) in out {
        assert!(run.has_problem_at(at), "{at}: {}", run.shown());
        assert!(!ground.has(at), "{at}: {}", run.shown());
    }
    assert_eq!(run.problems().len(), out.len(), "{}", run.shown());
    for (at, to) in inside {
        assert_eq!(fs::read_link(ground.dst().join(at)).unwrap(), Path::new(to));
    }
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

// S11: an inode that somebody else has a name of is not changed.

#[test]
fn s11_a_hard_link_planted_in_the_target_changes_no_other_inode() {
    for names in [&["x"][..], &["x", "y"]] {
        let ground = Ground::new();
        ground.source("x", SECRET);
        for other in &names[1..] {
            fs::hard_link(ground.src().join("x"), ground.src().join(other)).unwrap();
        }
        ground.mirror().done();
        // As like the source as it can be, but for owner and mode, and not ours to change.
        let victim = put(&ground.path("victim"), SECRET);
        let time = fs::metadata(ground.src().join("x")).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&victim).unwrap().set_modified(time).unwrap();
        chmod(&victim, 0o600);
        chmod(&ground.src().join("x"), 0o666);
        if am_root() {
            lchown(ground.src().join("x"), Some(ORDINARY), Some(ORDINARY)).unwrap();
        }
        for name in names {
            fs::remove_file(ground.dst().join(name)).unwrap();
            fs::hard_link(&victim, ground.dst().join(name)).unwrap();
        }
        let (uid, inode) = (fs::metadata(&victim).unwrap().uid(), ground.inode("x"));
        ground.mirror().done();
        let meta = fs::metadata(&victim).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.nlink()), (0o600, uid, 1));
        assert_ne!(ground.inode("x"), inode);
        assert_level(&ground.src(), &ground.dst());
        // Neither is it written into.
        fs::remove_file(ground.dst().join("x")).unwrap();
        fs::hard_link(&victim, ground.dst().join("x")).unwrap();
        ground.source("x", "other words");
        ground.mirror().done();
        assert_eq!(fs::read_to_string(&victim).unwrap(), SECRET);
    }
}

// S12: what gives rights is dropped unless it is asked for.

#[test]
fn s12_hosted_fidelity_drops_what_gives_rights() {
    if !am_root() {
        println!("skipped: only root can make what is to be dropped");
        return;
    }
    let ground = Ground::new();
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755), ("all", 0o7777)] {
        chmod(&ground.source(name, name), mode);
    }
    fs::create_dir(ground.src().join("dir")).unwrap();
    chmod(&ground.src().join("dir"), 0o7777);
    let file = ground.source("capable", "content");
    set_xattr(&file, "trusted.x", b"x");
    set_xattr(&file, "user.x", b"x");
    let kinds = [("char", FileType::CharacterDevice), ("block", FileType::BlockDevice)];
    for (name, kind) in kinds {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, ground.src().join(name), kind, mode, makedev(1, 3)).unwrap();
    }
    lchown(ground.dst(), Some(3000), Some(3000)).unwrap();
    // What is on the target already is no better.
    chmod(&ground.target("setuid", "setuid"), 0o4755);
    let mirror = ground.mirror().args(["--fidelity", "hosted"]);
    let run = mirror.run().ends(3);
    for (name, _) in kinds {
        assert!(run.has_problem_at(name) && !ground.has(name), "{}", run.shown());
    }
    walk(&ground.dst(), &mut |_, path, meta| {
        assert_eq!((meta.mode() & 0o7000, meta.uid(), meta.gid()), (0, 3000, 3000), "{path:?}");
    });
    let xattrs = support::tree::xattrs(&ground.dst().join("capable"));
    assert_eq!(xattrs.into_keys().collect::<Vec<_>>(), [b"user.x"]);
    // With archive fidelity, which is the permission, they are there.
    ground.mirror().to(ground.path("archive")).done();
    assert_level(&ground.src(), &ground.path("archive"));
}

// S13: mounts and magic links.

#[test]
fn s13_nothing_below_a_mount_in_the_target_is_deleted() {
    let ground = Ground::new();
    for name in ["a", "b", "c", "d"] {
        ground.source(name, name);
    }
    let mounted = ground.dst().join("d2/mnt");
    fs::create_dir_all(&mounted).unwrap();
    let Some(mounts) = Mounts::tmpfs(&mounted, "size=8m") else {
        return;
    };
    let inside = mounts.inside(&mounted);
    put(&inside.join("folder/precious"), "precious");
    let before = stamps(&inside);
    for options in [&[][..], &["--one-file-system"], &["--no-state"]] {
        let mirror = ground.mirror();
        let mirror =
            if options == ["--no-state"] { mirror.no_state() } else { mirror.args(options) };
        let run = mirror.under(mounts.enter()).args(["--max-delete", "100%"]).run();
        assert!([0, 3].contains(&run.code()), "{}", run.shown());
        assert_eq!(run.count("deleted"), 0, "{}", run.shown());
        assert_untouched(&inside, &before);
    }
}

// S19: work grows with the tree and no faster.

#[test]
fn s19_many_identical_files_with_new_names_are_looked_at_once_each() {
    let mut opened = Vec::new();
    for count in [150, 300] {
        let ground = Ground::new();
        for number in 0..count {
            ground.source(&format!("old/{number}"), "all the same");
        }
        settle();
        ground.mirror().done();
        settle();
        fs::create_dir(ground.src().join("new")).unwrap();
        for number in 0..count {
            let from = ground.src().join(format!("old/{number}"));
            fs::rename(from, ground.src().join(format!("new/{}", count - number))).unwrap();
        }
        let mirror = ground.mirror().args(["--max-delete", "100%"]);
        let Some((run, trace)) = traced(&mirror, &ground.path("trace")) else { return };
        run.ends(0);
        assert_level(&ground.src(), &ground.dst());
        opened.push(
            trace.opened_files(&ground.src()).len() + trace.opened_files(&ground.dst()).len(),
        );
    }
    assert!(opened[1] <= opened[0] * 2 + 50, "opened {opened:?} files for 150 and 300");
    assert!(opened[1] <= 300 * 8, "opened {opened:?} files for 150 and 300");
}

// S26: what is not there, or cannot be read, deletes nothing.

#[test]
fn s26_a_source_that_is_empty_missing_or_shut_deletes_nothing() {
    let ground = Ground::ordinary();
    for name in ["d/1", "d/2", "e/3", "e/4", "f"] {
        ground.source(name, name);
    }
    if am_root() {
        edit::give_away(&ground.src(), ORDINARY);
    }
    ground.mirror().unprivileged().done();
    let before = names_in(&ground.dst());
    let aside = ground.path("aside");
    let mirror = ground.mirror().unprivileged().args(["--max-delete", "100%"]);
    fs::rename(ground.src(), &aside).unwrap();
    mirror.run().ends(1);
    fs::create_dir(ground.src()).unwrap();
    mirror.run().ends(4);
    fs::remove_dir(ground.src()).unwrap();
    fs::rename(&aside, ground.src()).unwrap();
    chmod(&ground.src().join("d"), 0);
    mirror.run().ends(3);
    chmod(&ground.dst().join("d"), 0o755);
    assert_eq!(names_in(&ground.dst()), before);
    chmod(&ground.src().join("d"), 0o755);
    // A limit refuses before the first.
    fs::remove_file(ground.src().join("f")).unwrap();
    let limited = ground.mirror().unprivileged().args(["--max-delete", "0"]);
    limited.run().ends(4);
    assert_eq!(names_in(&ground.dst()), before);
}

// S28: a name is no order to a terminal, and no second line of a log.

#[test]
fn s28_names_are_shown_escaped_and_kept_whole() {
    let ground = Ground::new();
    for name in ODD_NAMES {
        let path = ground.src().join(OsStr::from_bytes(name));
        planted("/etc/passwd", &path);
    }
    let hosted = ["--fidelity", "hosted"];
    let run = ground.mirror().args(hosted).run().ends(3);
    assert_discreet(&run);
    let told: Vec<_> = run.problems().into_iter().map(|(path, _)| path).collect();
    assert_eq!(told.len(), ODD_NAMES.len());
    for name in ODD_NAMES {
        assert!(told.iter().any(|path| path == name), "{name:?}: {}", run.shown());
    }
    for mirror in [ground.mirror().text().args(hosted), ground.mirror().text().arg("--plan")] {
        assert_discreet(&mirror.run());
    }
}

// S30: what files hold is in no message, no result, no journal and no base.

#[test]
fn s30_contents_come_to_light_nowhere() {
    let ground = Ground::new();
    chmod(&ground.source("key", SECRET), 0o600);
    ground.source("d/key", format!("{SECRET} {SECRET}"));
    let secret_attribute = ground.source("attribute", "content");
    // A base and a saved plan hold attributes, which are what they remember and compare; no word
    // for people does.
    set_xattr(&secret_attribute, "user.key", b"the-attribute");
    for mirror in [ground.mirror(), ground.mirror().text(), ground.mirror().text().arg("--plan")] {
        let run = mirror.run();
        assert_discreet(&run);
        assert!(!run.shown().contains("the-attribute"), "{}", run.shown());
    }
    put(&ground.dst().join("key"), "edited");
    ground.source("d/key", format!("{SECRET}, edited"));
    // Held before its end: with a journal, and files under temporary names.
    let log = ground.path("calls");
    held_after(&ground.mirror(), "/^rename", 2, &log, || {
        walk(&ground.path("state"), &mut |_, path, meta| {
            if meta.is_file() {
                let bytes = fs::read(path).unwrap();
                let text = String::from_utf8_lossy(&bytes);
                assert!(!text.contains(SECRET), "{path:?} holds the secret");
            }
            assert_eq!(meta.mode() & 0o077, 0, "{path:?} is open to others");
        });
    });
    // What fails on a secret file does not say what is in it.
    let full = into_a_full_disk(&ground.mirror().arg("--checksum"));
    assert_discreet(&full.run());
    ground.source("d/key", SECRET);
    fs::remove_file(ground.src().join("attribute")).unwrap();
    let plan = ground.mirror().arg("--plan").run().ends(0);
    assert_discreet(&plan);
}

// S31: rules that cannot be understood are not left out.

#[test]
fn s31_rules_that_cannot_be_understood_refuse_the_run() {
    let ground = Ground::new();
    ground.source("a", "a");
    ground.target("b", "b");
    let before = stamps(&ground.dst());
    let directory = ground.path("directory");
    fs::create_dir(&directory).unwrap();
    let long = put(&ground.path("long"), vec![b'a'; 2 << 20]);
    let files =
        [directory, long, ground.path("missing"), put(&ground.path("bytes"), b"ok\n\xff\n")];
    let mirror = || ground.mirror().args(["--max-delete", "100%"]);
    let mut mirrors: Vec<_> =
        files.iter().map(|file| mirror().arg("--filter-file").arg(file)).collect();
    for option in ["--exclude", "--include", "--protect"] {
        mirrors.extend(["[z", "a\\"].map(|pattern| mirror().args([option, pattern])));
    }
    for mirror in mirrors {
        let run = mirror.run();
        assert!([1, 2].contains(&run.code()), "{}", run.shown());
        run.assert_one_sentence();
        assert_untouched(&ground.dst(), &before);
    }
}

// S36: restoring is a mirror from a source that others made.

#[test]
fn s36_a_hostile_copy_is_restored_without_harm() {
    let ground = Ground::new();
    let outside = Outside::new(&ground, &["cron.d/job", "shadow"]);
    // The live tree, which is to be restored from a copy that its attacker could write to.
    ground.target("etc/shadow", "live");
    ground.target("etc/cron.d/job", "live");
    let at = |name: &str| ground.src().join(name);
    planted(&outside.path, &at("etc"));
    planted("../outside/shadow", &at("climbs"));
    planted(outside.path.join("shadow"), &at("shadow"));
    planted("/proc/self/root", &at("magic"));
    chmod(&ground.source("setuid", "#!/bin/sh"), 0o6755);
    ground.source("d/.mirror-tmp-1a-2b-n3", "in the name of a run");
    ground.source(".mirror-history/x", "in the name of a history");
    ground.source("plain", "restored");
    let mirror = ground.mirror().args(["--fidelity", "hosted", "--max-delete", "100%"]);
    for _ in 0..2 {
        let run = mirror.run().ends(3);
        assert_untouched(&outside.path, &outside.before);
        for name in ["climbs", "shadow", "magic"] {
            assert!(run.has_problem_at(name) && !ground.has(name), "{name}: {}", run.shown());
        }
        assert!(run.has_problem_at("etc"), "{}", run.shown());
        assert!(!ground.dst().join("etc").is_symlink());
        assert_eq!(ground.read("plain"), "restored");
        let mode = fs::metadata(ground.dst().join("setuid")).unwrap().mode();
        assert_eq!(mode & 0o7000, 0);
        assert!(!ground.has("d/.mirror-tmp-1a-2b-n3") && !ground.has(".mirror-history"));
    }
    outside.assert_unharmed(&ground);
}

// S37: a state that cannot be written is told, and the one before it stays good.

#[test]
fn s37_a_full_disk_under_the_state_is_told_and_the_old_state_stays_good() {
    let ground = Ground::new();
    for number in 0..8 {
        ground.source(&format!("d/{number}"), noise(number, 100));
    }
    let state = ground.path("state");
    fs::create_dir(&state).unwrap();
    let Some(mounts) = Mounts::tmpfs(&state, "size=256k,mode=0700") else {
        return;
    };
    let mirror = ground.mirror().state(&state.join("kept")).under(mounts.enter());
    mirror.done();
    let filler = mounts.inside(&state).join("filler");
    ground.source("d/0", "edited");
    let _ = fs::write(&filler, vec![1; 1 << 20]);
    let run = mirror.run();
    let told = run.code() == 1 || run.json()["notes"].to_string().contains("no space");
    assert!(told, "{}", run.shown());
    if run.code() == 1 {
        run.assert_one_sentence();
    }
    // No generation that is not whole, and nothing half-written.
    let mut names = Vec::new();
    walk(&mounts.inside(&state).join("kept"), &mut |name, _, meta| {
        if meta.is_file() {
            names.push(String::from_utf8_lossy(name).rsplit('/').next().unwrap().to_owned());
        }
    });
    assert!(!names.iter().any(|name| name.starts_with(".mirror-")), "{names:?}");
    fs::remove_file(filler).unwrap();
    let run = mirror.done();
    let notes = run.json()["notes"].to_string();
    assert!(!notes.contains("was not used"), "{}", run.shown());
    assert_level(&ground.src(), &ground.dst());
    mirror.done().assert_idle();
}
