//! Both ways with a state that must not be believed: without its word nothing is deleted on either
//! side, and what differs is a conflict.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use mirror_core::{ConflictKind, Error, Guards, LocalTree, Mirror, Policy, Report};

struct Pair(tempfile::TempDir);

impl Pair {
    /// Two trees that were level twice, and have changed on both sides since.
    fn changed() -> Pair {
        let pair = Pair(tempfile::tempdir().unwrap());
        for name in ["a", "b", "state"] {
            fs::create_dir(pair.path(name)).unwrap();
        }
        for number in 0..10 {
            pair.write(&format!("a/d/{number}"), "agreed");
        }
        pair.run().unwrap();
        pair.write("b/d/later", "agreed");
        pair.run().unwrap();
        // Deleted on one side each, edited on one side each, and on both.
        fs::remove_file(pair.path("a/d/0")).unwrap();
        fs::remove_file(pair.path("b/d/1")).unwrap();
        pair.write("a/d/2", "edited on a");
        pair.write("b/d/3", "edited on the other side");
        pair.write("a/d/4", "edited here");
        pair.write("b/d/4", "and edited there");
        pair
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn run(&self) -> Result<Report, Error> {
        let (a, b) = (LocalTree::open(self.path("a"))?, LocalTree::open(self.path("b"))?);
        let mirror = Mirror::new(&a, &b).policy(Policy::both_ways()).state(self.path("state/kept"));
        mirror.plan()?.approve(&Guards::default())?.apply()
    }

    /// The bases, the newest first.
    fn bases(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.path("state/kept")).unwrap().next().unwrap().unwrap().path();
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut bases: Vec<_> =
            entries.filter(|path| path.to_str().unwrap().contains("/base.")).collect();
        bases.sort();
        bases.reverse();
        bases
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| format!("<{error}>"))
    }

    /// Nothing that was there is gone or overwritten; what differs is a conflict.
    #[track_caller]
    fn assert_nothing_lost(&self, report: &Report) {
        assert_eq!(report.counts.deleted, 0, "{report:?}");
        for side in ["a", "b"] {
            // What one side had deleted comes back: nobody can tell that it was.
            assert_eq!(self.read(&format!("{side}/d/0")), "agreed");
            assert_eq!(self.read(&format!("{side}/d/1")), "agreed");
            assert_eq!(self.read(&format!("{side}/d/later")), "agreed");
        }
        assert_eq!(self.read("a/d/2"), "edited on a");
        assert_eq!(self.read("b/d/2"), "agreed");
        assert_eq!(self.read("a/d/3"), "agreed");
        assert_eq!(self.read("b/d/3"), "edited on the other side");
        assert_eq!(self.read("a/d/4"), "edited here");
        assert_eq!(self.read("b/d/4"), "and edited there");
        let conflicts: Vec<_> =
            report.conflicts.iter().map(|c| (c.path.to_string(), c.kind, c.winner)).collect();
        let expected =
            ["d/2", "d/3", "d/4"].map(|path| (path.to_owned(), ConflictKind::NoAncestor, None));
        assert_eq!(conflicts, expected);
    }
}

/// What the tests below rest on: with its state the same pair does delete and overwrite.
#[test]
fn with_its_state_both_sides_follow() {
    let pair = Pair::changed();
    let report = pair.run().unwrap();
    assert_eq!(report.counts.deleted, 2, "{report:?}");
    assert_eq!(pair.read("b/d/2"), "edited on a");
    assert_eq!(report.conflicts.len(), 1);
}

#[test]
fn a_newest_base_that_cannot_be_believed_deletes_nothing() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 9] = [
        ("emptied", |base| fs::write(base, "").unwrap()),
        ("cut", |base| {
            let bytes = fs::read(base).unwrap();
            fs::write(base, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("cut by a byte", |base| {
            let bytes = fs::read(base).unwrap();
            fs::write(base, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("a flipped bit", |base| {
            let mut bytes = fs::read(base).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(base, bytes).unwrap();
        }),
        ("another format", |base| {
            let mut bytes = fs::read(base).unwrap();
            bytes[16] = 2;
            fs::write(base, bytes).unwrap();
        }),
        ("the generation before", |base| {
            // It would say that `later` was never agreed on.
            fs::copy(base.with_extension("1"), base).unwrap();
        }),
        ("another pair's", |base| {
            let other = Pair::changed();
            fs::copy(&other.bases()[0], base).unwrap();
        }),
        ("a directory", |base| {
            fs::remove_file(base).unwrap();
            fs::create_dir(base).unwrap();
        }),
        ("all holes", |base| {
            let file = fs::File::create(base).unwrap();
            file.set_len(1 << 42).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let pair = Pair::changed();
        let base = pair.bases()[0].clone();
        damage(&base);
        let report = pair.run().unwrap();
        println!("{what}: {:?}", report.notes);
        let name = base.file_name().unwrap().to_str().unwrap();
        let said = format!("the remembered state {name} was not used: ");
        assert!(
            matches!(&report.notes[..], [note] if note.starts_with(&said)),
            "{what}: {report:?}"
        );
        pair.assert_nothing_lost(&report);
    }
}

/// Without the newest base the one before is not the last agreement either.
#[test]
fn a_state_that_is_gone_deletes_nothing() {
    let pair = Pair::changed();
    fs::remove_dir_all(pair.path("state/kept")).unwrap();
    let report = pair.run().unwrap();
    pair.assert_nothing_lost(&report);
}

/// Remembered under the same path, but another directory stands there by now.
#[test]
fn a_tree_that_was_put_in_the_place_of_another_loses_nothing() {
    let pair = Pair::changed();
    fs::rename(pair.path("b"), pair.path("aside")).unwrap();
    fs::create_dir(pair.path("b")).unwrap();
    let before: Vec<_> = fs::read_dir(pair.path("a/d")).unwrap().flatten().collect();
    let report = pair.run().unwrap();
    assert_eq!(report.counts.deleted, 0, "{report:?}");
    assert!(report.notes.iter().any(|note| note.contains("another directory stands")));
    for entry in before {
        assert!(entry.path().exists(), "{entry:?}");
    }
}
