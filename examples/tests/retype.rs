//! An entry that becomes one of another kind is never absent in between.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use support::{Ground, assert_level};

/// Entries that change at once: a watcher has to see one of them in its gap only.
const ENTRIES: usize = 25;
const CHILDREN: usize = 4;

#[derive(Clone, Copy, Debug)]
enum Kind {
    File,
    Directory,
    EmptyDirectory,
    Link,
    LinkToDirectory,
    Fifo,
}

impl Kind {
    fn make(self, path: &Path, outside: &Path) {
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
            Ok(_) => fs::remove_file(path).unwrap(),
            Err(_) => {}
        }
        match self {
            Self::File => fs::write(path, format!("{path:?}")).unwrap(),
            Self::Directory => {
                fs::create_dir_all(path.join("inner")).unwrap();
                for number in 1..CHILDREN {
                    fs::write(path.join(number.to_string()), "child").unwrap();
                    fs::write(path.join("inner").join(number.to_string()), "grandchild").unwrap();
                }
            }
            Self::EmptyDirectory => fs::create_dir(path).unwrap(),
            Self::Link => symlink("nowhere", path).unwrap(),
            Self::LinkToDirectory => symlink(outside, path).unwrap(),
            Self::Fifo => {
                mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
            }
        }
    }
}

/// Makes the entries these kinds in turn and mirrors each; `watch` looks at every path of
/// the target all the time.
fn become_in_turn(kinds: &[Kind], watch: impl Fn(&Path) + Sync) {
    let ground = Ground::new();
    let outside = ground.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "outside").unwrap();
    let names: Vec<_> = (0..ENTRIES).map(|number| format!("entry-{number}")).collect();
    let make = |kind: Kind| {
        for name in &names {
            kind.make(&ground.src().join(name), &outside);
        }
    };
    let mirror = ground.mirror().args(["--max-delete", "100%"]);
    make(kinds[0]);
    mirror.done();
    let targets: Vec<PathBuf> = names.iter().map(|name| ground.dst().join(name)).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                targets.iter().for_each(|path| watch(path));
            }
        });
        for kind in kinds.iter().cycle().skip(1).take(2 * kinds.len()) {
            make(*kind);
            let run = mirror.run();
            if watcher.is_finished() || run.code() != 0 {
                stop.store(true, Ordering::Relaxed);
            }
            assert!(!watcher.is_finished(), "the watcher saw a gap when it became {kind:?}");
            assert_eq!(run.code(), 0, "{}", run.shown());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "outside");
}

#[track_caller]
fn is_there(path: &Path) {
    path.symlink_metadata().unwrap_or_else(|error| panic!("{path:?} was absent: {error}"));
}

#[test]
fn a_file_and_a_full_directory_replace_each_other() {
    become_in_turn(&[Kind::File, Kind::Directory], is_there);
}

#[test]
fn a_file_and_an_empty_directory_replace_each_other() {
    become_in_turn(&[Kind::File, Kind::EmptyDirectory], is_there);
}

#[test]
fn a_symlink_and_a_directory_replace_each_other() {
    become_in_turn(&[Kind::LinkToDirectory, Kind::Directory], is_there);
}

#[test]
fn everything_becomes_everything() {
    use Kind::{Directory, EmptyDirectory, Fifo, File, Link, LinkToDirectory};
    let kinds = [File, Link, Directory, Fifo, EmptyDirectory, File, LinkToDirectory, Fifo, Link];
    become_in_turn(&kinds, is_there);
}

#[test]
fn a_symlink_changes_its_target_without_a_gap() {
    become_in_turn(&[Kind::Link, Kind::LinkToDirectory], is_there);
}

#[test]
fn a_file_that_is_moved_over_another_leaves_no_gap() {
    let ground = Ground::new();
    for name in ["a", "b", "folder/c", "folder/d"] {
        ground.source(name, name.repeat(1000));
    }
    ground.mirror().done();
    let stop = AtomicBool::new(false);
    let paths = ["a", "b", "folder", "folder/c"].map(|name| ground.dst().join(name));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                paths.iter().for_each(|path| is_there(path));
            }
        });
        for _ in 0..8 {
            // Three rotate, so each is at every instant the old one or the new.
            let path = |name: &str| ground.src().join(name);
            fs::rename(path("a"), path("kept")).unwrap();
            fs::rename(path("b"), path("a")).unwrap();
            fs::rename(path("folder/c"), path("b")).unwrap();
            fs::rename(path("kept"), path("folder/c")).unwrap();
            let run = ground.mirror().run();
            if watcher.is_finished() || run.code() != 0 {
                stop.store(true, Ordering::Relaxed);
            }
            assert!(!watcher.is_finished(), "the watcher saw a gap");
            assert_eq!(run.code(), 0, "{}", run.shown());
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_directory_with_protected_entries_is_not_replaced() {
    let ground = Ground::new();
    ground.source("entry", "now a file");
    ground.source("other", "other");
    ground.target("entry/precious/keep.db", "precious");
    ground.target("entry/plain", "not precious");
    let run = ground.mirror().args(["--protect", "*.db", "--max-delete", "100%"]).run();
    assert!([0, 3].contains(&run.code()), "{}", run.shown());
    assert_eq!(ground.read("entry/precious/keep.db"), "precious");
    assert_eq!(ground.read("other"), "other");
}

#[test]
fn a_directory_with_excluded_entries_is_not_replaced() {
    let ground = Ground::new();
    symlink("elsewhere", ground.src().join("entry")).unwrap();
    ground.source("other", "other");
    ground.target("entry/keep.db", "excluded");
    let run = ground.mirror().args(["--exclude", "*.db", "--max-delete", "100%"]).run();
    assert!([0, 3].contains(&run.code()), "{}", run.shown());
    assert_eq!(ground.read("entry/keep.db"), "excluded");
    assert_eq!(ground.read("other"), "other");
}
