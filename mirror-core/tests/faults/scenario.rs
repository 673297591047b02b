//! A tree that has been mirrored, and has changed since in every way there is.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::Path;

use mirror_core::testing::Image;
use mirror_core::{OnConflict, Policy};
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::ground::Ground;
use crate::tree::{Tree, snapshot};
use crate::whole::Versions;

/// A ground at the beginning of a run, and what the run is to make of it.
pub(crate) struct Scenario {
    pub(crate) ground: Ground,
    pub(crate) start: Image,
    pub(crate) target: Versions,
    /// What the source is to be; None if it is only read.
    pub(crate) source: Option<Versions>,
}

/// No two contents have the same time: then size and time tell versions apart without a base.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let digest = blake3::hash(content.as_ref());
    fs::write(path, content).unwrap();
    let [first, second, third, ..] = digest.as_bytes();
    date(path, 1_000_000_000 + i64::from(u32::from_be_bytes([0, *first, *second, *third])));
}

/// Sets a time that no clock would give.
fn date(path: &Path, seconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(CWD, path, &times, flags).unwrap();
}

fn node(path: &Path, file_type: FileType) {
    rustix::fs::mknodat(CWD, path, file_type, Mode::from_raw_mode(0o640), 0x0103).unwrap();
}

fn attribute(path: &Path, value: &str) {
    let (name, flags) = ("user.test", XattrFlags::empty());
    rustix::fs::lsetxattr(path, name, value.as_bytes(), flags).unwrap();
}

pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

pub(crate) fn as_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The tree that both sides agree on at first.
fn before(root: &Path) {
    let at = |name: &str| root.join(name);
    for number in 0..6 {
        write(&at(&format!("plain/{number}")), noise(number, 3000));
    }
    write(&at("plain/large"), noise(10, 1_300_000));
    write(&at("plain/same"), "never touched");
    write(&at("moved/file"), noise(11, 5000));
    write(&at("moved/kept"), noise(12, 5000));
    write(&at("moved/one"), noise(13, 4000));
    write(&at("moved/other"), noise(14, 4000));
    write(&at("folder/deep/a"), noise(15, 2000));
    write(&at("folder/deep/b"), noise(16, 2000));
    write(&at("folder/c"), noise(17, 2000));
    write(&at("linked/one"), noise(18, 2000));
    fs::hard_link(at("linked/one"), at("linked/two")).unwrap();
    fs::hard_link(at("linked/one"), at("linked/three")).unwrap();
    write(&at("linked/apart"), noise(19, 2000));
    write(&at("kinds/file-to-folder"), "file");
    write(&at("kinds/folder-to-file/in/it"), "in it");
    write(&at("kinds/folder-to-link/in/it"), "in it");
    write(&at("kinds/folder-to-name/in/it"), "in it");
    write(&at("kinds/file-to-link"), "file");
    write(&at("kinds/file-to-fifo"), "file");
    symlink("somewhere", at("kinds/link-to-file")).unwrap();
    symlink("somewhere", at("kinds/link-to-folder")).unwrap();
    symlink("somewhere", at("kinds/link")).unwrap();
    write(&at("gone/file"), "file");
    write(&at("gone/in/folders/file"), "file");
    node(&at("gone/fifo"), FileType::Fifo);
    write(&at("meta/mode"), "mode");
    write(&at("meta/time"), "time");
    write(&at("meta/attribute"), "attribute");
    write(&at("meta/owner"), "owner");
    attribute(&at("meta/attribute"), "one");
    attribute(&at("meta"), "one");
}

fn after(root: &Path) {
    let at = |name: &str| root.join(name);
    write(&at("plain/0"), noise(20, 3000));
    write(&at("plain/1"), "");
    write(&at("plain/large"), noise(21, 1_200_000));
    write(&at("new/folder/file"), noise(22, 3000));
    attribute(&at("new/folder/file"), "new");
    symlink("file", at("new/folder/link")).unwrap();
    node(&at("new/fifo"), FileType::Fifo);
    let sparse = fs::File::create(at("new/sparse")).unwrap();
    sparse.set_len(300_000).unwrap();
    sparse.write_all_at(&noise(23, 5000), 100_000).unwrap();
    drop(sparse);
    date(&at("new/sparse"), 1_000_000_001);

    fs::create_dir(at("to")).unwrap();
    fs::rename(at("moved/file"), at("to/file")).unwrap();
    fs::rename(at("moved/kept"), at("to/kept")).unwrap();
    write(&at("moved/kept"), noise(24, 6000));
    fs::rename(at("moved/one"), at("moved/aside")).unwrap();
    fs::rename(at("moved/other"), at("moved/one")).unwrap();
    fs::rename(at("moved/aside"), at("moved/other")).unwrap();
    fs::rename(at("plain/4"), at("plain/FOUR")).unwrap();
    fs::set_permissions(at("plain/FOUR"), Permissions::from_mode(0o600)).unwrap();
    fs::rename(at("folder"), at("to/folder")).unwrap();
    write(&at("to/folder/c"), "changed after the move");

    fs::remove_file(at("linked/two")).unwrap();
    write(&at("linked/two"), noise(18, 2000));
    fs::remove_file(at("linked/apart")).unwrap();
    fs::hard_link(at("plain/2"), at("linked/apart")).unwrap();
    fs::hard_link(at("new/folder/file"), at("linked/new")).unwrap();

    fs::remove_file(at("kinds/file-to-folder")).unwrap();
    write(&at("kinds/file-to-folder/in/it"), "in it");
    for name in ["file", "link", "name"] {
        fs::remove_dir_all(at(&format!("kinds/folder-to-{name}"))).unwrap();
    }
    write(&at("kinds/folder-to-file"), "a file now");
    symlink("elsewhere", at("kinds/folder-to-link")).unwrap();
    fs::hard_link(at("plain/3"), at("kinds/folder-to-name")).unwrap();
    fs::remove_file(at("kinds/file-to-link")).unwrap();
    symlink("elsewhere", at("kinds/file-to-link")).unwrap();
    fs::remove_file(at("kinds/file-to-fifo")).unwrap();
    node(&at("kinds/file-to-fifo"), FileType::Fifo);
    fs::remove_file(at("kinds/link-to-file")).unwrap();
    write(&at("kinds/link-to-file"), "a file now");
    fs::remove_file(at("kinds/link-to-folder")).unwrap();
    write(&at("kinds/link-to-folder/in it"), "in it");
    fs::remove_file(at("kinds/link")).unwrap();
    symlink("elsewhere", at("kinds/link")).unwrap();

    fs::remove_dir_all(at("gone")).unwrap();

    fs::set_permissions(at("meta/mode"), Permissions::from_mode(0o4711)).unwrap();
    date(&at("meta/time"), 1_100_000_000);
    attribute(&at("meta/attribute"), "two");
    attribute(&at("meta"), "two");
    if as_root() {
        lchown(at("meta/owner"), Some(4321), Some(4321)).unwrap();
        node(&at("new/device"), FileType::CharacterDevice);
    }
    date(&at("meta"), 1_200_000_000);
    date(root, 1_200_000_000);
}

impl Scenario {
    /// One way, with every kind of step, extraneous entries and litter in the target.
    pub(crate) fn mirrored() -> Scenario {
        let ground = Ground::new();
        before(&ground.src());
        ground.mirror(&ground.plain_disk()).unwrap();
        after(&ground.src());
        write(&ground.dst().join("extraneous/file"), "made in the target");
        write(&ground.dst().join("plain/5"), "changed in the target");
        let old = snapshot(&ground.dst());
        for name in [".mirror-tmp-1a-2b-n3", "plain/.mirror-tmp-1a-2b-m4"] {
            write(&ground.dst().join(name), "left by another run");
        }
        fs::create_dir(ground.dst().join("moved/.mirror-tmp-1a-2b-n5")).unwrap();
        let new = snapshot(&ground.src());
        let start = ground.image();
        Scenario {
            ground,
            start,
            target: Versions { old, new, moved: vec![("folder", "to/folder")] },
            source: None,
        }
    }

    /// A first run into an empty target, without anything remembered.
    pub(crate) fn first_copy() -> Scenario {
        let ground = Ground::new();
        before(&ground.src());
        after(&ground.src());
        let target = Versions {
            old: snapshot(&ground.dst()),
            new: snapshot(&ground.src()),
            moved: Vec::new(),
        };
        let start = ground.image();
        Scenario { ground, start, target, source: None }
    }

    /// Both ways, where the sides changed different things and nothing is to be a conflict: an
    /// interrupted run must not pass for a change of the side that it worked on.
    pub(crate) fn both_ways_apart() -> Scenario {
        let mut ground = Ground::new();
        ground.policy = Policy::both_ways();
        for name in ["a", "b", "c", "d", "meta"] {
            write(&ground.src().join(name), name.repeat(50));
        }
        ground.mirror(&ground.plain_disk()).unwrap();
        let (a, b) = (ground.src(), ground.dst());
        write(&a.join("a"), "changed on one side");
        write(&b.join("b"), "changed on the other");
        fs::remove_file(a.join("c")).unwrap();
        fs::rename(b.join("d"), b.join("e")).unwrap();
        write(&a.join("new/one"), "new on one side");
        fs::set_permissions(a.join("new"), Permissions::from_mode(0o750)).unwrap();
        write(&b.join("newer/other"), "new on the other");
        fs::set_permissions(a.join("meta"), Permissions::from_mode(0o4610)).unwrap();
        attribute(&a.join("meta"), "new");
        date(&a.join("meta"), 1_100_000_000);
        if as_root() {
            lchown(a.join("meta"), Some(4321), Some(4321)).unwrap();
            fs::set_permissions(a.join("meta"), Permissions::from_mode(0o4610)).unwrap();
        }
        Scenario::meeting(ground, Vec::new())
    }

    /// Both ways, with conflicts of every kind, whose losers are kept.
    pub(crate) fn both_ways() -> Scenario {
        let mut ground = Ground::new();
        ground.policy = Policy { on_conflict: OnConflict::PreferA, ..Policy::both_ways() };
        before(&ground.src());
        ground.mirror(&ground.plain_disk()).unwrap();
        let (a, b) = (ground.src(), ground.dst());
        for (side, number) in [(&a, 30), (&b, 40)] {
            write(&side.join("plain/0"), noise(number, 3500));
            write(&side.join("plain/both-new"), noise(number + 1, 100));
            write(&side.join(format!("new-{number}/file")), noise(number + 2, 3000));
        }
        write(&a.join("plain/1"), noise(33, 2000));
        write(&b.join("plain/2"), noise(43, 2000));
        fs::remove_file(a.join("plain/3")).unwrap();
        write(&b.join("plain/3"), "changed where it was not deleted");
        fs::remove_file(b.join("plain/4")).unwrap();
        fs::rename(b.join("moved/file"), b.join("moved/by-b")).unwrap();
        fs::rename(a.join("folder"), a.join("moved-by-a")).unwrap();
        fs::remove_file(b.join("kinds/file-to-link")).unwrap();
        symlink("elsewhere", b.join("kinds/file-to-link")).unwrap();
        fs::remove_file(a.join("kinds/file-to-fifo")).unwrap();
        fs::create_dir(a.join("kinds/file-to-fifo")).unwrap();
        write(&b.join("kinds/file-to-fifo"), "changed where it stayed a file");
        fs::set_permissions(a.join("meta/mode"), Permissions::from_mode(0o600)).unwrap();
        Scenario::meeting(ground, vec![("folder", "moved-by-a")])
    }

    fn meeting(ground: Ground, moved: Vec<(&'static str, &'static str)>) -> Scenario {
        let (a, b) = (ground.src(), ground.dst());
        let old = [snapshot(&a), snapshot(&b)];
        let start = ground.image();
        // What is to come of it is what a run makes of it that nothing disturbs.
        ground.mirror(&ground.plain_disk()).unwrap();
        let new: Tree = snapshot(&a)
            .into_iter()
            .filter(|(path, _)| !path.starts_with(b".mirror-history"))
            .collect();
        let [a, b] = old.map(|old| Versions { old, new: new.clone(), moved: moved.clone() });
        Scenario { ground, start, target: b, source: Some(a) }
    }

    /// Whatever happened, every path is whole on both sides.
    #[track_caller]
    pub(crate) fn assert_whole(&self, what: &str) {
        let mut broken = self.target.broken_in(&snapshot(&self.ground.dst()));
        let source = snapshot(&self.ground.src());
        match &self.source {
            Some(versions) => broken.extend(versions.broken_in(&source)),
            None => assert!(source == self.target.new, "{what}: the source was changed"),
        }
        assert!(broken.is_empty(), "{what}:\n{}", broken.join("\n"));
    }

    /// Every content in the target is whole, wherever it is.
    #[track_caller]
    pub(crate) fn assert_no_content_of_nowhere(&self, what: &str) {
        let broken = self.target.contents_of_nowhere(&snapshot(&self.ground.dst()));
        assert!(broken.is_empty(), "{what}:\n{}", broken.join("\n"));
    }
}
