//! Files that change while they are mirrored: reported at worst, never torn.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::every_kind::noise;
use support::{Ground, Run, assert_level, names_in};

/// Words in one record: all are the same number.
const WORDS: usize = 512;
/// Records in a file that is rewritten in place.
const RECORDS: usize = 40;
/// Runs against a source that never rests.
const ROUNDS: usize = 6;

/// One record holding `number` all through.
fn record(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(WORDS)
}

/// The numbers of the records in a file; each record must be whole and of one number.
#[track_caller]
fn records(path: &Path) -> Vec<u64> {
    let bytes = fs::read(path).unwrap();
    let size = WORDS * 8;
    assert_eq!(bytes.len() % size, 0, "{path:?} ends inside a record");
    let numbers = bytes.chunks(size).map(|chunk| {
        let number = u64::from_le_bytes(chunk[..8].try_into().unwrap());
        assert!(chunk == record(number), "{path:?} is torn inside a record");
        number
    });
    numbers.collect()
}

/// A file rewritten in place, record after record, is at every instant the new version up to some
/// record and the one before it from there on. Anything else never was in the source.
#[track_caller]
fn assert_state_of_one_instant(path: &Path) {
    let numbers = records(path);
    assert_eq!(numbers.len(), RECORDS, "{path:?} has a length it never had at rest");
    let steps: Vec<_> = numbers.windows(2).filter(|pair| pair[0] != pair[1]).collect();
    assert!(
        steps.len() <= 1 && steps.iter().all(|pair| pair[0] == pair[1] + 1),
        "{path:?} is torn: {numbers:?}"
    );
}

/// A file that only grows or shrinks holds the first so many of its records.
#[track_caller]
fn assert_counts_up(path: &Path) {
    let numbers = records(path);
    let wanted: Vec<_> = (0..numbers.len() as u64).collect();
    assert_eq!(numbers, wanted, "{path:?} is torn");
}

fn rewrite_in_place(path: &Path, version: u64) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for index in 0..RECORDS as u64 {
        file.write_all_at(&record(version), index * (WORDS * 8) as u64).unwrap();
    }
}

fn whole_version(path: &Path, version: u64) {
    fs::write(path, record(version).repeat(RECORDS)).unwrap();
}

/// A source at rest, mirrored, in which `files` are to be changed and others are not.
fn at_rest(files: &[&str], make: impl Fn(&Path)) -> Ground {
    let ground = Ground::new();
    fs::create_dir(ground.src().join("busy")).unwrap();
    for name in files {
        make(&ground.src().join("busy").join(name));
    }
    for number in 0..20 {
        ground.source(&format!("quiet/{number}"), noise(number, 5000));
    }
    ground.mirror().done();
    ground
}

/// Mirrors again and again while `disturb` runs, checks after each run, then once in peace.
fn disturbed(ground: &Ground, disturb: impl Fn(u64) + Send + Sync, check: impl Fn(&Run)) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetOnDrop(&stop);
        scope.spawn(|| {
            for turn in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                disturb(turn);
            }
        });
        for round in 0..ROUNDS {
            ground.source("quiet/1", format!("round {round}"));
            ground.source(&format!("quiet/new-{round}"), noise(7, 5000));
            let run = ground.mirror().run();
            match run.code() {
                0 => assert_eq!(run.problems(), []),
                3 => assert!(!run.problems().is_empty(), "{}", run.shown()),
                _ => panic!("neither done nor done with problems: {}", run.shown()),
            }
            // What rests is level whatever happens beside it.
            assert_eq!(ground.read("quiet/1"), format!("round {round}"), "{}", run.shown());
            assert_level(&ground.src().join("quiet"), &ground.dst().join("quiet"));
            let names = names_in(&ground.dst());
            assert!(!names.iter().any(|name| name.contains(".mirror-tmp-")), "{names:?}");
            check(&run);
        }
    });
    ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
}

/// Lets the disturbing thread end also when an assertion fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is in a folder of the target, as paths.
fn busy_in_target(ground: &Ground) -> Vec<PathBuf> {
    let entries = fs::read_dir(ground.dst().join("busy"));
    entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn files_rewritten_in_place_are_never_torn() {
    let names = ["a", "b", "c"];
    let ground = at_rest(&names, |path| whole_version(path, 0));
    let busy = ground.src().join("busy");
    disturbed(
        &ground,
        |turn| names.iter().for_each(|name| rewrite_in_place(&busy.join(name), turn)),
        |run| {
            let files = busy_in_target(&ground);
            // They never went away in the source, so they did not in the target.
            assert_eq!(files.len(), names.len(), "{}", run.shown());
            files.iter().for_each(|path| assert_state_of_one_instant(path));
        },
    );
}

/// The same while every run has to look at all contents.
#[test]
fn files_rewritten_in_place_are_not_torn_by_checksums_either() {
    let ground = at_rest(&["a"], |path| whole_version(path, 0));
    let busy = ground.src().join("busy/a");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetOnDrop(&stop);
        scope.spawn(|| {
            for turn in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                rewrite_in_place(&busy, turn);
            }
        });
        for _ in 0..ROUNDS {
            let run = ground.mirror().no_state().arg("--checksum").run();
            assert!([0, 3].contains(&run.code()), "{}", run.shown());
            assert_state_of_one_instant(&ground.dst().join("busy/a"));
        }
    });
    ground.mirror().no_state().arg("--checksum").done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_growing_file_is_some_beginning_of_it() {
    let ground = at_rest(&["log"], |path| fs::write(path, record(0)).unwrap());
    let log = ground.src().join("busy/log");
    disturbed(
        &ground,
        |turn| {
            // It starts anew now and then, so that it does not fill the disk.
            if turn % 2000 == 0 {
                fs::write(&log, "").unwrap();
            }
            let mut file = OpenOptions::new().append(true).open(&log).unwrap();
            file.write_all(&record(turn % 2000)).unwrap();
        },
        |_| busy_in_target(&ground).iter().for_each(|path| assert_counts_up(path)),
    );
}

#[test]
fn a_shrinking_file_is_some_beginning_of_it() {
    let long: Vec<u8> = (0..60).flat_map(record).collect();
    let ground = at_rest(&["file"], |path| fs::write(path, &long).unwrap());
    let path = ground.src().join("busy/file");
    disturbed(
        &ground,
        |turn| {
            let left = 59 - turn % 60;
            if left == 59 {
                // The whole file again, in one piece.
                fs::write(path.with_extension("whole"), &long).unwrap();
                fs::rename(path.with_extension("whole"), &path).unwrap();
            }
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(left * (WORDS * 8) as u64).unwrap();
        },
        |_| {
            let file = ground.dst().join("busy/file");
            assert!(file.exists());
            assert_counts_up(&file);
        },
    );
}

#[test]
fn vanishing_files_and_folders_do_not_stop_a_run() {
    let ground = at_rest(&["stays"], |path| whole_version(path, 0));
    let busy = ground.src().join("busy");
    disturbed(
        &ground,
        |turn| {
            let folder = busy.join(format!("folder-{}", turn % 5));
            let _ = fs::create_dir(&folder);
            for number in 0..8 {
                whole_version(&folder.join(number.to_string()), turn);
            }
            if turn % 2 == 0 {
                fs::remove_dir_all(busy.join(format!("folder-{}", (turn / 2) % 5))).unwrap_or(());
            }
        },
        |run| {
            for path in busy_in_target(&ground) {
                if path.is_file() {
                    assert_state_of_one_instant(&path);
                    continue;
                }
                for entry in fs::read_dir(&path).unwrap() {
                    // Truncating to nothing is a version of its own.
                    let numbers = records(&entry.unwrap().path());
                    let same = numbers.iter().all(|number| *number == numbers[0]);
                    assert!(same, "{path:?}: {numbers:?}: {}", run.shown());
                }
            }
        },
    );
}

#[test]
fn files_replaced_by_renaming_are_one_version_or_another() {
    let names = ["a", "b", "c", "d"];
    let ground = at_rest(&names, |path| whole_version(path, 0));
    let (busy, aside) = (ground.src().join("busy"), ground.path("aside"));
    disturbed(
        &ground,
        |turn| {
            for name in names {
                whole_version(&aside, turn);
                fs::rename(&aside, busy.join(name)).unwrap();
            }
        },
        |run| {
            let files = busy_in_target(&ground);
            assert_eq!(files.len(), names.len(), "{}", run.shown());
            files.iter().for_each(|path| assert_state_of_one_instant(path));
        },
    );
}

/// The source says `secret` is somewhere else: a link must not lead the reader there.
#[test]
fn entries_that_change_their_kind_lead_nowhere() {
    let ground = at_rest(&["entry"], |path| whole_version(path, 0));
    let (entry, outside) = (ground.src().join("busy/entry"), ground.path("outside"));
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    disturbed(
        &ground,
        |turn| {
            // One of these says which kind it is.
            let _ = fs::remove_file(&entry);
            let _ = fs::remove_dir_all(&entry);
            match turn % 4 {
                0 => whole_version(&entry, turn),
                1 => fs::create_dir(&entry).and_then(|()| fs::write(entry.join("x"), "x")).unwrap(),
                2 => symlink(&outside, &entry).unwrap(),
                _ => symlink(outside.join("secret"), &entry).unwrap(),
            }
        },
        |run| {
            let entry = ground.dst().join("busy/entry");
            let Ok(meta) = entry.symlink_metadata() else {
                return;
            };
            if meta.is_file() {
                let numbers = records(&entry);
                assert!(numbers.iter().all(|number| *number == numbers[0]), "{}", run.shown());
            } else if meta.is_dir() {
                assert!(!entry.join("secret").exists(), "{}", run.shown());
            }
        },
    );
    assert_eq!(names_in(&outside), ["secret"]);
}

/// Who reads the target while it is brought level sees whole files only.
#[test]
fn readers_of_the_target_see_whole_versions() {
    let ground = at_rest(&["a"], |path| whole_version(path, 0));
    let target = ground.dst().join("busy/a");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = SetOnDrop(&stop);
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !stop.load(Ordering::Relaxed) {
                File::open(&target).unwrap();
                assert_state_of_one_instant(&target);
                reads += 1;
            }
            reads
        });
        for version in 1..12 {
            whole_version(&ground.src().join("busy/a"), version);
            ground.mirror().done();
            assert_eq!(records(&target)[0], version);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(reader.join().unwrap() > 0);
    });
}
