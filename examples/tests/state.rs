//! State files that must not be believed: found out, explained in one sentence, and done without.
//!
//! Whatever stands in the state folder, a mirror ends equal to its source, or nothing is changed
//! and the error says which file is in the way.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::cell::Cell;
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use support::every_kind::noise;
use support::{
    Ground, Run, am_root, assert_level, assert_untouched, names_in, settle, snapshot, stamps,
};

/// A pair of trees that were level twice, so that there are two generations to remember.
struct Pair {
    ground: Ground,
    /// How often the source was changed.
    turns: Cell<u64>,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { ground: Ground::new(), turns: Cell::new(0) };
        for number in 0..4 {
            pair.ground.source(&format!("a/{number}"), noise(number, 700));
            pair.ground.source(&format!("b/{number}"), noise(10 + number, 700));
        }
        pair.ground.source("gone 0", "to be deleted");
        symlink("a/0", pair.ground.src().join("link")).unwrap();
        fs::hard_link(pair.ground.src().join("a/1"), pair.ground.src().join("b/one")).unwrap();
        pair.level();
        pair.change();
        pair.level();
        pair
    }

    /// The folder of this pair below the state folder.
    fn folder(&self) -> PathBuf {
        let mut entries = fs::read_dir(self.ground.path("state")).unwrap();
        let folder = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none(), "there is one pair");
        folder
    }

    /// The bases, the newest first.
    fn bases(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        let generation =
            |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("base.")?.parse::<u64>().ok();
        let mut bases: Vec<_> = entries.filter(|path| generation(path).is_some()).collect();
        bases.sort_by_key(|path| std::cmp::Reverse(generation(path)));
        bases
    }

    /// Edits, renames, creates and deletes in the source, and writes into the target.
    fn change(&self) {
        let turn = self.turns.replace(self.turns.get() + 1);
        let at = |name: String| self.ground.src().join(name);
        self.ground.source("a/0", format!("turn {turn}"));
        self.ground.source(&format!("gone {}", turn + 1), "to be deleted");
        fs::remove_file(at(format!("gone {turn}"))).unwrap();
        let (from, to) = if turn.is_multiple_of(2) { ("b", "c") } else { ("c", "b") };
        fs::rename(at(from.to_owned()), at(to.to_owned())).unwrap();
        self.ground.target(&format!("extraneous {turn}"), "only here");
        self.ground.target("a/3", format!("edited on the target in turn {turn}"));
    }

    /// One run that makes the target equal to the source.
    #[track_caller]
    fn level(&self) -> Run {
        let run = self.ground.mirror().done();
        assert_level(&self.ground.src(), &self.ground.dst());
        run
    }

    /// After `damage` a run says so in these notes and is level; the one after it has nothing to
    /// say and nothing to do.
    #[track_caller]
    fn notices(&self, expected: &[String]) {
        self.change();
        let run = self.level();
        assert_eq!(notes(&run), expected, "{}", run.shown());
        let run = self.level();
        assert_eq!(notes(&run), Vec::<String>::new(), "{}", run.shown());
        run.assert_idle();
    }

    /// The run changes nothing and says in one sentence what is wrong with `named`.
    #[track_caller]
    fn stops(&self, named: &str) {
        self.change();
        let before = stamps(&self.ground.dst());
        let run = self.ground.mirror().run().ends(1);
        run.assert_one_sentence();
        assert!(run.stderr().contains(named), "{}", run.shown());
        assert_untouched(&self.ground.dst(), &before);
    }
}

#[track_caller]
fn notes(run: &Run) -> Vec<String> {
    let list = run.json()["notes"].as_array().cloned().unwrap_or_default();
    list.iter().map(|note| note.as_str().unwrap().to_owned()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn unused(base: &Path, why: &str) -> String {
    format!("the remembered state {} was not used: {why}", name(base))
}

fn journal_unused(why: &str) -> String {
    format!("the journal of an earlier run was not used: {why}")
}

/// Puts something that is no regular file in the place of a path.
type Impostor = fn(&Path);

const IMPOSTORS: [(&str, Impostor); 4] = [
    ("symlink", |path| {
        // To the real one, which would do if it were followed.
        let aside = path.with_file_name("aside");
        fs::rename(path, &aside).unwrap();
        symlink("aside", path).unwrap();
    }),
    ("directory", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("fifo", |path| {
        fs::remove_file(path).unwrap();
        mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    }),
    ("socket", |path| {
        fs::remove_file(path).unwrap();
        UnixListener::bind(path).unwrap();
    }),
];

/// Takes away whatever has this name.
fn clear(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir(path);
}

#[test]
fn a_base_cut_at_any_length_is_not_used() {
    let pair = Pair::new();
    let from_start = (0..64).step_by(7).map(|kept| (kept, 0));
    let parts = (1..16).map(|part| (0, part));
    let from_end = [1, 8, 31, 32, 33, 88].map(|short| (-short, 0));
    for (bytes, sixteenths) in from_start.chain(parts).chain(from_end) {
        let base = &pair.bases()[0];
        let whole = i64::try_from(fs::metadata(base).unwrap().len()).unwrap();
        let from = if bytes < 0 { whole } else { whole * sixteenths / 16 };
        let cut = u64::try_from(from + bytes).unwrap();
        OpenOptions::new().write(true).open(base).unwrap().set_len(cut).unwrap();
        pair.change();
        let run = pair.level();
        assert_eq!(notes(&run), [unused(base, "its end is missing")], "cut at {cut}");
    }
}

#[test]
fn a_byte_flipped_anywhere_is_found_out() {
    let pair = Pair::new();
    let whole = usize::try_from(fs::metadata(&pair.bases()[0]).unwrap().len()).unwrap();
    let offsets = (0..24).step_by(3).chain((24..whole).step_by(whole / 24)).chain([whole - 1]);
    for offset in offsets {
        let base = &pair.bases()[0];
        let mut bytes = fs::read(base).unwrap();
        let Some(byte) = bytes.get_mut(offset) else { continue };
        *byte ^= 0x10;
        fs::write(base, bytes).unwrap();
        pair.change();
        let run = pair.level();
        let expected = match offset {
            0..16 => vec!["it is not a manifest"],
            16..20 => vec!["this program knows format 1"],
            _ => vec!["it is damaged", "its end is missing"],
        };
        let said = notes(&run);
        let told = said.len() == 1 && expected.iter().any(|why| said[0].ends_with(why));
        assert!(told, "byte {offset}: {said:?}");
    }
}

#[test]
fn both_generations_may_be_gone_bad() {
    let pair = Pair::new();
    let bases = pair.bases();
    assert_eq!(bases.len(), 2);
    for base in &bases {
        fs::write(base, "").unwrap();
    }
    let why = "its end is missing";
    pair.notices(&[unused(&bases[0], why), unused(&bases[1], why)]);
}

#[test]
fn another_format_is_named_and_not_read() {
    for format in [0_u32, 2, 7, u32::MAX] {
        let pair = Pair::new();
        let base = &pair.bases()[0];
        let file = OpenOptions::new().write(true).open(base).unwrap();
        file.write_all_at(&format.to_le_bytes(), 16).unwrap();
        let why = format!("it has format {format} and this program knows format 1");
        pair.notices(&[unused(base, &why)]);
    }
}

#[test]
fn the_base_of_another_pair_is_not_used() {
    let pair = Pair::new();
    // The same target from another source, so that it would have everything deleted.
    let other = Pair::new();
    let another_filter = Pair::new();
    another_filter.ground.mirror().args(["--exclude", "c"]).done();
    let base = &pair.bases()[0];
    fs::copy(&other.bases()[0], base).unwrap();
    let why = "it belongs to other trees, or to another filter or policy";
    pair.notices(&[unused(base, why)]);
    // The same trees through another filter.
    let folder = pair.folder();
    pair.ground.mirror().args(["--exclude", "a"]).done();
    let entries = fs::read_dir(pair.ground.path("state")).unwrap();
    let mut folders = entries.map(|entry| entry.unwrap().path());
    let filtered = folders.find(|path| *path != folder).unwrap();
    let newest = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let newest = newest.filter(|path| name(path).starts_with("base.")).max().unwrap();
    fs::copy(filtered.join("base.1"), &newest).unwrap();
    let run = pair.level();
    assert_eq!(notes(&run), [unused(&newest, why)]);
}

#[test]
fn generations_that_changed_places_are_both_not_used() {
    let pair = Pair::new();
    let bases = pair.bases();
    let aside = pair.folder().join("aside");
    fs::rename(&bases[0], &aside).unwrap();
    fs::rename(&bases[1], &bases[0]).unwrap();
    fs::rename(&aside, &bases[1]).unwrap();
    let why = "it is another than its name says";
    pair.notices(&[unused(&bases[0], why), unused(&bases[1], why)]);
}

/// A state folder that was restored from a backup remembers what is no longer so.
#[test]
fn an_older_state_does_no_harm() {
    let pair = Pair::new();
    let kept: Vec<(PathBuf, Vec<u8>)> =
        pair.bases().into_iter().map(|base| (base.clone(), fs::read(base).unwrap())).collect();
    for _ in 0..4 {
        pair.change();
        settle();
        pair.level();
    }
    pair.bases().iter().for_each(|base| fs::remove_file(base).unwrap());
    for (base, bytes) in kept {
        fs::write(base, bytes).unwrap();
    }
    pair.notices(&[]);
}

#[test]
fn what_is_no_regular_file_is_no_base() {
    for (what, put) in IMPOSTORS {
        let pair = Pair::new();
        let base = &pair.bases()[0];
        put(base);
        println!("{what}");
        pair.notices(&[unused(base, "it is not a regular file")]);
    }
}

#[test]
fn what_is_no_regular_file_is_no_journal() {
    for (what, put) in IMPOSTORS {
        let pair = Pair::new();
        let journal = pair.folder().join("journal");
        fs::write(&journal, "").unwrap();
        put(&journal);
        println!("{what}");
        if what == "directory" {
            // No file can be renamed over it; it is not ours to remove.
            pair.stops(&name(&pair.folder()));
            clear(&journal);
            pair.notices(&[]);
            continue;
        }
        pair.notices(&[journal_unused("it is not a regular file")]);
    }
}

#[test]
fn what_belongs_to_another_user_is_not_believed() {
    if !am_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let pair = Pair::new();
    let (base, journal) = (&pair.bases()[0], pair.folder().join("journal"));
    fs::write(&journal, golden_journal()).unwrap();
    for path in [base, &journal] {
        lchown(path, Some(12345), None).unwrap();
    }
    let why = "it belongs to another user";
    pair.notices(&[unused(base, why), journal_unused(why)]);
}

/// As long as a disk could never be, and all holes: nobody waits until it has been read.
#[test]
fn an_endless_file_is_neither_read_nor_held() {
    let pair = Pair::new();
    let base = &pair.bases()[0];
    let endless = |path: &Path| {
        OpenOptions::new().write(true).open(path).unwrap().set_len(1 << 42).unwrap();
    };
    endless(base);
    pair.notices(&[unused(base, "its end is missing")]);
    let base = &pair.bases()[0];
    File::create(base).unwrap();
    endless(base);
    let journal = pair.folder().join("journal");
    fs::write(&journal, golden_journal()).unwrap();
    endless(&journal);
    pair.notices(&[
        unused(base, "it is not a manifest"),
        journal_unused("it is longer than any journal"),
    ]);
}

#[test]
fn a_generation_beyond_all_others_does_not_stop_remembering() {
    let pair = Pair::new();
    let last = pair.folder().join(format!("base.{}", u64::MAX));
    fs::write(&last, "").unwrap();
    pair.notices(&[unused(&last, "its end is missing")]);
    pair.change();
    assert_eq!(notes(&pair.level()), Vec::<String>::new());
}

fn golden_journal() -> Vec<u8> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mirror-core/tests/data");
    fs::read(data.join("journal.v1")).unwrap()
}

#[test]
fn a_journal_cut_or_flipped_anywhere_changes_nothing_but_a_note() {
    let pair = Pair::new();
    let whole = golden_journal();
    let journal = pair.folder().join("journal");
    let cuts = (0..whole.len()).step_by(9).map(|cut| whole[..cut].to_vec());
    let flips = (0..whole.len()).step_by(9).map(|at| {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    let longer = [&whole[..], &noise(3, 500)].concat();
    for bytes in cuts.chain(flips).chain([longer, noise(4, 500)]) {
        fs::write(&journal, &bytes).unwrap();
        pair.change();
        let run = pair.level();
        for note in notes(&run) {
            let known = note.starts_with("the journal of an earlier run was not used: it ")
                || note.starts_with("the last run was interrupted");
            assert!(known, "{note}");
        }
        assert!(!journal.exists(), "a run that ended well leaves no journal");
    }
    assert_eq!(notes(&pair.level()), Vec::<String>::new());
}

#[test]
fn a_journal_of_another_format_is_named() {
    let pair = Pair::new();
    for format in [0_u32, 2] {
        let mut bytes = golden_journal();
        bytes[16..20].copy_from_slice(&format.to_le_bytes());
        fs::write(pair.folder().join("journal"), bytes).unwrap();
        let why = format!("it has format {format} and this program knows format 1");
        pair.notices(&[journal_unused(&why)]);
    }
}

#[test]
fn a_lock_that_is_something_else_stops_the_run_or_does_no_harm() {
    let outside = |ground: &Ground| ground.path("outside");
    for (what, put) in IMPOSTORS {
        let pair = Pair::new();
        let lock = pair.folder().join("lock");
        put(&lock);
        if what == "symlink" {
            fs::remove_file(&lock).unwrap();
            fs::write(outside(&pair.ground), "untouched").unwrap();
            symlink(outside(&pair.ground), &lock).unwrap();
        }
        match what {
            // A pipe can be locked like any other inode.
            "fifo" => pair.notices(&[]),
            _ => pair.stops("lock"),
        }
        clear(&lock);
        pair.level();
        if what == "symlink" {
            assert_eq!(fs::read_to_string(outside(&pair.ground)).unwrap(), "untouched");
        }
    }
    let pair = Pair::new();
    fs::write(pair.folder().join("lock"), noise(1, 10_000)).unwrap();
    pair.notices(&[]);
}

/// What others could have put there, or could change while it is read, is not asked at all.
#[test]
fn a_folder_that_others_can_change_is_refused() {
    let pair = Pair::new();
    let folder = pair.folder();
    let above = pair.ground.path("state");
    for place in [&folder, &above] {
        fs::set_permissions(place, Permissions::from_mode(0o770)).unwrap();
        pair.stops("chmod go-w");
        fs::set_permissions(place, Permissions::from_mode(0o700)).unwrap();
        if am_root() {
            lchown(place, Some(12345), None).unwrap();
            pair.stops("it belongs to user 12345");
            lchown(place, Some(0), None).unwrap();
        }
        let aside = pair.ground.path("aside");
        fs::rename(place, &aside).unwrap();
        symlink(&aside, place).unwrap();
        pair.stops("it is a symlink");
        fs::remove_file(place).unwrap();
        fs::write(place, "a file").unwrap();
        pair.stops(" is not a ");
        fs::remove_file(place).unwrap();
        fs::rename(&aside, place).unwrap();
        pair.level();
    }
}

/// A limit on deletions counts what is compared, whatever a base remembers.
#[test]
fn nothing_is_deleted_because_a_base_remembers_it() {
    let pair = Pair::new();
    let before = names_in(&pair.ground.dst());
    // Remembered on both sides, and gone from the source because it is not mounted.
    let aside = pair.ground.path("aside");
    fs::rename(pair.ground.src(), &aside).unwrap();
    fs::create_dir(pair.ground.src()).unwrap();
    for _ in 0..2 {
        pair.ground.mirror().run().ends(4).assert_one_sentence();
        assert_eq!(names_in(&pair.ground.dst()), before);
        // And no worse when what is remembered cannot be read.
        for base in pair.bases() {
            fs::write(base, "").unwrap();
        }
    }
    fs::remove_dir(pair.ground.src()).unwrap();
    fs::rename(&aside, pair.ground.src()).unwrap();
    pair.level();
    let tree = snapshot(&pair.ground.dst());
    pair.level().assert_idle();
    support::tree::assert_same(&tree, &snapshot(&pair.ground.dst()));
}
