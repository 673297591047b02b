//! A tree with every kind of entry that a file system can hold.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lsetxattr, makedev, mknodat,
    utimensat,
};

use super::ground::{ORDINARY, am_root};

/// Names that have broken programs: every byte but `/` and NUL may be in one.
pub(crate) const ODD_NAMES: [&[u8]; 31] = [
    b" leading blank",
    b"trailing blank ",
    b"two\nlines",
    b"\n",
    b"tab\tand return\r",
    b"-rf",
    b"--delete",
    b"-",
    b"...",
    b"..almost",
    b".hidden",
    b"~",
    b"back\\slash",
    b"back\\nslash",
    b"single'quote",
    b"double\"quote",
    b"$HOME `id` $(id)",
    b"star*?[a-z]{b,c}",
    b"semi;colon|pipe&and>",
    b"#hash!bang",
    b"percent%n%s%00",
    b"caf\xc3\xa9 composed",
    b"cafe\xcc\x81 decomposed",
    b"caf\xe9 in latin-1",
    b"\xff\xfe",
    b"\xed\xa0\x80 surrogate",
    b"\x1b[31mred\x1b[0m bell\x07",
    b"\x01\x7f",
    b"right\xe2\x80\xae to left",
    b"next line\xc2\x85 and csi\xc2\x9b",
    b"UPPER and upper",
];

/// Builds the tree. Parts that the file system or the user has no right to are left out and told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EveryKind {
    /// Devices, foreign owners, trusted attributes, modes that shut out the owner.
    as_root: bool,
}

/// Everything made so far, in the order of making.
struct Planter {
    root: PathBuf,
    made: Vec<PathBuf>,
    modes: Vec<(PathBuf, u32)>,
    acls: Vec<(PathBuf, &'static str, Vec<u8>)>,
    owners: Vec<(PathBuf, u32, u32)>,
    xattrs: Vec<(PathBuf, &'static str, Vec<u8>)>,
    times: Vec<(PathBuf, i64, i64)>,
}

impl EveryKind {
    /// All that the user who runs the tests can make.
    pub(crate) fn full() -> Self {
        Self { as_root: am_root() }
    }

    /// What an ordinary user can make, belonging to one.
    pub(crate) fn ordinary() -> Self {
        Self { as_root: false }
    }

    /// Fills the folder `root`. `outside` is a folder beyond it, on the same file system.
    pub(crate) fn build(self, root: &Path, outside: &Path) {
        let mut plant = Planter::new(root);
        plant.plain();
        plant.sparse();
        plant.symlinks();
        plant.hard_links(outside);
        plant.special_files();
        plant.odd_names();
        plant.deep();
        plant.modes(self.as_root);
        plant.attributes(self.as_root);
        plant.acls();
        plant.times();
        plant.empty_directories();
        if self.as_root {
            plant.roots_own();
        }
        plant.finish(self);
    }
}

impl Planter {
    fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            made: vec![root.to_owned()],
            modes: Vec::new(),
            acls: Vec::new(),
            owners: Vec::new(),
            xattrs: Vec::new(),
            times: Vec::new(),
        }
    }

    fn at(&mut self, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.root.join(OsStr::from_bytes(name.as_ref()));
        self.made.push(path.clone());
        path
    }

    fn dir(&mut self, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir(&path).unwrap();
        path
    }

    fn file(&mut self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn link(&mut self, name: &str, to: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        symlink(OsStr::from_bytes(to.as_ref()), &path).unwrap();
        path
    }

    fn hard(&mut self, from: &str, to: &str) {
        let to = self.at(to);
        fs::hard_link(self.root.join(from), to).unwrap();
    }

    fn plain(&mut self) {
        self.dir("plain");
        self.file("plain/text", "some words\n");
        self.file("plain/other", "other words\n");
        self.file("plain/empty", "");
        self.file("plain/block", noise(1, 4096));
        self.file("plain/large", noise(2, 300_001));
        self.file("plain/zeros", vec![0; 65536]);
        self.dir("plain/folder");
        self.file("plain/folder/one", "1");
        self.file("plain/folder/two", "22");
        self.dir("plain/folder/inner");
        self.file("plain/folder/inner/three", "333");
    }

    fn sparse(&mut self) {
        self.dir("sparse");
        let mut sparse = |name: &str, islands: &[u64], length: u64| {
            let file = File::create(self.at(name)).unwrap();
            file.set_len(length).unwrap();
            for (seed, offset) in (1..).zip(islands) {
                file.write_all_at(&noise(seed, 4096), *offset).unwrap();
            }
            // Data that is only in memory may look different to SEEK_HOLE.
            file.sync_all().unwrap();
        };
        const K: u64 = 1024;
        sparse("sparse/only-hole", &[], 1024 * K);
        sparse("sparse/hole-first", &[960 * K], 964 * K);
        sparse("sparse/hole-last", &[0], 1024 * K + 123);
        let comb: Vec<u64> = (0..16).map(|tooth| tooth * 128 * K).collect();
        sparse("sparse/comb", &comb, 2048 * K);
        sparse("sparse/vast", &[512 * 1024 * K], 1024 * 1024 * K);
    }

    fn symlinks(&mut self) {
        self.dir("links");
        self.link("links/relative", "../plain/text");
        self.link("links/to-folder", "../plain/folder");
        self.link("links/dangling", "nowhere/at/all");
        self.link("links/absolute", "/etc/hostname");
        self.link("links/escaping", "../../../../../../etc/passwd");
        self.link("links/self", "self");
        self.link("links/dots", "..");
        self.link("links/odd", b"\xff two\nlines \x1b[0m");
        self.link("links/long", vec![b'x'; 4000]);
    }

    fn hard_links(&mut self, outside: &Path) {
        for dir in ["hard", "hard/a", "hard/b", "hard/b/c"] {
            self.dir(dir);
        }
        self.file("hard/a/one", noise(3, 5000));
        self.hard("hard/a/one", "hard/b/two");
        self.hard("hard/a/one", "hard/b/c/three");
        self.hard("hard/a/one", "plain/four");
        self.file("hard/twin", noise(3, 5000));
        self.file("hard/empty", "");
        self.hard("hard/empty", "hard/b/empty");
        self.link("hard/link", "a/one");
        self.hard("hard/link", "hard/b/link");
        // A group of which the tree holds one name only.
        let inside = self.file("hard/half", "half a group");
        fs::hard_link(inside, outside.join("other-half")).unwrap();
    }

    fn special_files(&mut self) {
        self.dir("special");
        self.node("special/fifo", FileType::Fifo, 0);
        self.node("special/socket", FileType::Socket, 0);
        self.hard("special/fifo", "special/same-fifo");
    }

    fn node(&mut self, name: &str, kind: FileType, device: u64) {
        let path = self.root.join(name);
        match mknodat(CWD, &path, kind, Mode::from_raw_mode(0o640), device) {
            Ok(()) => self.made.push(path),
            Err(error) => println!("left out: {name}: {error}"),
        }
    }

    fn odd_names(&mut self) {
        self.dir("names");
        self.dir("names/folders");
        for (seed, name) in (10..).zip(ODD_NAMES) {
            self.file([b"names/", name].concat(), noise(seed, 40));
            self.dir([b"names/folders/", name].concat());
            self.file([b"names/folders/", name, b"/", name].concat(), noise(seed + 100, 40));
        }
        self.file("names/upper AND UPPER", "differs in case only");
        self.file("names/UPPER AND upper", "differs in case only too");
        for letter in *b"ab\xe9" {
            self.file([b"names/", &[letter; 255][..]].concat(), [letter; 300]);
        }
        self.dir([b"names/folders/", &[b'c'; 255][..]].concat());
    }

    fn deep(&mut self) {
        let mut name = "deep".to_owned();
        self.dir(&name);
        for level in 1..=60 {
            name += &format!("/level-{level}");
            self.dir(&name);
            if level % 20 == 0 {
                self.file(format!("{name}/file"), format!("at level {level}"));
            }
        }
    }

    fn modes(&mut self, as_root: bool) {
        self.dir("modes");
        let files = [0o444, 0o400, 0o600, 0o666, 0o777, 0o755, 0o4755, 0o2755, 0o6711, 0o1644];
        // What its owner may not read only root can copy.
        let shut = if as_root { &[0o000, 0o111, 0o200, 0o4000][..] } else { &[] };
        for mode in files.iter().chain(shut) {
            let path = self.file(format!("modes/file-{mode:04o}"), format!("{mode:o}"));
            self.modes.push((path, *mode));
        }
        let dirs = [0o700, 0o555, 0o500, 0o1777, 0o2775, 0o3770];
        let shut = if as_root { &[0o000, 0o311, 0o222][..] } else { &[] };
        for mode in dirs.iter().chain(shut) {
            let path = self.dir(format!("modes/dir-{mode:04o}"));
            self.modes.push((path, *mode));
            self.file(format!("modes/dir-{mode:04o}/inside"), "inside");
            let inner = self.dir(format!("modes/dir-{mode:04o}/inner"));
            self.modes.push((inner, *mode));
            self.file(format!("modes/dir-{mode:04o}/inner/leaf"), "leaf");
        }
    }

    fn attributes(&mut self, as_root: bool) {
        let dir = self.dir("xattrs");
        self.xattrs.push((dir, "user.on-a-directory", b"yes".to_vec()));
        let file = self.file("xattrs/file", "with attributes");
        self.xattrs.push((file.clone(), "user.text", b"value".to_vec()));
        self.xattrs.push((file.clone(), "user.empty", Vec::new()));
        self.xattrs.push((file.clone(), "user.bytes", b"\x00\xff\n\x00".to_vec()));
        self.xattrs.push((file, "user.long", noise(7, 2000)));
        let read_only = self.file("xattrs/read-only", "with attributes");
        self.xattrs.push((read_only.clone(), "user.text", b"kept".to_vec()));
        self.modes.push((read_only, 0o444));
        self.file("xattrs/none", "without attributes");
        if as_root {
            let file = self.file("xattrs/trusted", "root sees more");
            self.xattrs.push((file, "trusted.mirror-test", b"1".to_vec()));
            // cap_net_raw+ep: it goes with every change of the owner.
            let file = self.file("xattrs/capability", "as ping has it");
            let mut capability = vec![0; 20];
            capability[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
            capability[5] = 0x20;
            self.xattrs.push((file.clone(), "security.capability", capability));
            self.owners.push((file, 1234, 4321));
            let link = self.link("xattrs/link", "file");
            self.xattrs.push((link, "trusted.mirror-test", b"on a symlink".to_vec()));
        }
    }

    fn acls(&mut self) {
        const ACCESS: &str = "system.posix_acl_access";
        const DEFAULT: &str = "system.posix_acl_default";
        let file = self.file(b"acls-file", "one more user may read");
        self.acls.push((file, ACCESS, acl(6, 12345, 4, 5, 4)));
        let dir = self.dir("acls");
        self.acls.push((dir.clone(), ACCESS, acl(7, 12345, 7, 5, 0)));
        self.acls.push((dir, DEFAULT, acl(7, 12346, 5, 5, 1)));
        // None of these got the default: they were there before it.
        self.file("acls/plain", "no list of its own");
        self.dir("acls/inner");
        self.file("acls/inner/plain", "no list of its own");
        let own = self.file("acls/own", "a list of its own");
        self.acls.push((own, ACCESS, acl(4, 12347, 6, 0, 2)));
    }

    fn times(&mut self) {
        self.dir("times");
        let at = [
            ("before-1970", -86_400 * 400, 987_654_321),
            ("just-before-1970", -1, 999_999_999),
            ("zero", 0, 0),
            ("one-nanosecond", 1, 1),
            ("recent", 1_600_000_000, 123_456_789),
            ("after-2038", 4_000_000_000, 1),
        ];
        for (name, seconds, nanoseconds) in at {
            let file = self.file(format!("times/file-{name}"), name);
            self.times.push((file, seconds, nanoseconds));
            let dir = self.dir(format!("times/dir-{name}"));
            self.file(format!("times/dir-{name}/inside"), name);
            self.times.push((dir, seconds, nanoseconds));
            let link = self.link(&format!("times/link-{name}"), name);
            self.times.push((link, seconds, nanoseconds));
        }
    }

    fn empty_directories(&mut self) {
        for dir in ["empty", "empty/a", "empty/b", "empty/b/c"] {
            self.dir(dir);
        }
    }

    fn roots_own(&mut self) {
        self.node("special/character", FileType::CharacterDevice, makedev(1, 3));
        self.node("special/block", FileType::BlockDevice, makedev(7, 200));
        let dir = self.dir("owners");
        self.owners.push((dir, 12345, 54321));
        let file = self.file("owners/file", "somebody's");
        self.owners.push((file, 12345, 54321));
        let link = self.link("owners/link", "file");
        self.owners.push((link, 12345, 54321));
        let set = self.file("owners/setuid", "somebody's, with all bits");
        self.owners.push((set.clone(), 12345, 54321));
        self.modes.push((set, 0o6755));
        let large = self.file("owners/large-ids", "beyond 16 bits");
        self.owners.push((large, 3_000_000_000, 70_000));
    }

    /// Owners, attributes, times, modes, lists: in the order in which none undoes another.
    fn finish(self, kind: EveryKind) {
        if !kind.as_root && am_root() {
            for path in &self.made {
                lchown(path, Some(ORDINARY), Some(ORDINARY)).unwrap();
            }
        }
        for (path, user, group) in &self.owners {
            // A user namespace may not map such large ids.
            if let Err(error) = lchown(path, Some(*user), Some(*group)) {
                println!("left out: owner {user}:{group}: {error}");
            }
        }
        for (path, name, value) in &self.xattrs {
            set_xattr(path, name, value);
        }
        // Each time is its own, down to the nanosecond.
        for (order, path) in (0..).zip(&self.made) {
            set_time(path, 1_500_000_000 + order * 1_000, 1_000_003 * order % 1_000_000_000);
        }
        for (path, seconds, nanoseconds) in &self.times {
            set_time(path, *seconds, *nanoseconds);
        }
        for (path, mode) in self.modes.iter().rev() {
            fs::set_permissions(path, Permissions::from_mode(*mode)).unwrap();
        }
        for (path, name, value) in &self.acls {
            set_xattr(path, name, value);
        }
    }
}

/// Sets one attribute; where the file system has none of that sort this is told.
pub(crate) fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    if let Err(error) = lsetxattr(path, name, value, XattrFlags::empty()) {
        println!("left out: {name}: {error}");
    }
}

/// Sets the time of an entry itself, never of what a symlink leads to.
pub(crate) fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// An ACL in the form of the attribute: owner, one named user, group, mask, others
/// (acl(5); the kernel's `posix_acl_xattr`).
pub(crate) fn acl(owner: u16, user: u32, named: u16, group: u16, other: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mask = named | group;
    let entries = [
        (0x01, owner, NOBODY),
        (0x02, named, user),
        (0x04, group, NOBODY),
        (0x10, mask, NOBODY),
        (0x20, other, NOBODY),
    ];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Bytes without pattern and without zeros, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::try_from(state >> 56).unwrap_or(1).max(1)
    };
    (0..length).map(|_| next()).collect()
}
