//! A run that is killed leaves whole files, and the next one finishes the work.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use support::every_kind::noise;
use support::{Ground, assert_level, names_in};

#[test]
fn a_killed_run_leaves_whole_files_and_the_next_one_no_litter() {
    let ground = Ground::new();
    let content = |round: u64, number: u64| noise(round * 1000 + number, 3000);
    let names: Vec<_> = (0..300).map(|number| format!("{}/{number}", number % 10)).collect();
    for round in 0..8 {
        for (number, name) in (0..).zip(&names) {
            ground.source(name, content(round, number));
        }
        // A rename and a change of kind are under way as well.
        let (old, new) = (format!("moving-{round}"), format!("moving-{}", round + 1));
        match ground.src().join(&old).exists() {
            true => fs::rename(ground.src().join(&old), ground.src().join(&new)).unwrap(),
            false => _ = ground.source(&format!("{new}/file"), noise(5, 9000)),
        }
        let entry = ground.src().join("entry");
        if round % 2 == 0 {
            let _ = fs::remove_dir_all(&entry);
            fs::write(&entry, "a file").unwrap();
        } else {
            fs::remove_file(&entry).unwrap();
            fs::create_dir(&entry).unwrap();
            fs::write(entry.join("inside"), "inside").unwrap();
        }

        // Killed a little later each time; it is fine if it ended before.
        let run = ground.mirror().args(["--durability", "none"]).spawn();
        thread::sleep(Duration::from_millis(4 * (round + 1)));
        run.kill();
        for (number, name) in (0..).zip(&names) {
            let Ok(bytes) = fs::read(ground.dst().join(name)) else {
                continue;
            };
            let old = round.checked_sub(1).is_some_and(|before| bytes == content(before, number));
            assert!(old || bytes == content(round, number), "{name} is torn");
        }

        ground.mirror().done();
        assert_level(&ground.src(), &ground.dst());
    }
}

#[test]
fn litter_of_an_earlier_run_is_swept_and_never_mirrored() {
    let ground = Ground::new();
    ground.source("folder/file", "content");
    ground.source(".mirror-tmp-1-2", "left in the source by a run in the other direction");
    ground.source("folder/.mirror-tmp-3-4", "the same");
    ground.source(".mirror-history/old", "history of the source");
    ground.mirror().done();
    assert_eq!(names_in(&ground.dst()), ["folder", "folder/file"]);

    ground.target(".mirror-tmp-5-6-n1", "left by a killed run");
    ground.target("folder/.mirror-tmp-7-8-m22", "the same");
    ground.target(".mirror-history/kept", "history");
    ground.source("folder/new", "new");
    ground.mirror().done();
    let names = names_in(&ground.dst());
    let wanted = [".mirror-history", ".mirror-history/kept", "folder", "folder/file", "folder/new"];
    assert_eq!(names, wanted);
    assert!(Path::new(&ground.src().join(".mirror-tmp-1-2")).exists(), "the source is only read");
}
