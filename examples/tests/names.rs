//! Names that are no text: shown escaped, and recoverable from the JSON.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::every_kind::{ODD_NAMES, noise};
use support::run::path_bytes;
use support::{Ground, Run, assert_level};

fn odd(root: &Path, name: &[u8]) -> PathBuf {
    root.join(OsStr::from_bytes(name))
}

/// A source of files with odd names, in directories with odd names.
fn odd_source() -> Ground {
    let ground = Ground::new();
    for (seed, name) in (1..).zip(ODD_NAMES) {
        fs::create_dir(odd(&ground.src(), name)).unwrap();
        fs::write(odd(&ground.src(), &[name, b"/", name].concat()), noise(seed, 50)).unwrap();
    }
    ground
}

/// What a terminal would take as an order: everything but line ends.
#[track_caller]
fn assert_harmless(run: &Run) {
    for (stream, bytes) in [("stdout", &run.out), ("stderr", &run.err)] {
        let text = std::str::from_utf8(bytes)
            .unwrap_or_else(|error| panic!("{stream} is not UTF-8: {error}: {}", run.shown()));
        let order = text.chars().find(|char| {
            let bidi = matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            (char.is_control() && *char != '\n') || bidi
        });
        assert_eq!(order, None, "{stream}: {:?}", text);
    }
}

/// Every path in a JSON value, as raw bytes.
fn paths_in(value: &Value, found: &mut BTreeSet<Vec<u8>>) {
    found.extend(path_bytes(value));
    match value {
        Value::Array(list) => list.iter().for_each(|value| paths_in(value, found)),
        Value::Object(object) => object.values().for_each(|value| paths_in(value, found)),
        _ => {}
    }
}

#[test]
fn plans_and_summaries_show_no_raw_control_characters() {
    let ground = odd_source();
    let plan = ground.mirror().text().arg("--plan").run().ends(0);
    assert_harmless(&plan);
    // Escaped, not left out.
    let text = String::from_utf8(plan.out.clone()).unwrap();
    for part in ["red", "surrogate", "in latin-1", "right", "lines"] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert_harmless(&ground.mirror().text().run().ends(0));
    assert_level(&ground.src(), &ground.dst());
    assert_harmless(&ground.mirror().text().run().ends(0));
}

#[test]
fn a_name_cannot_pass_for_two_lines_of_a_plan() {
    let ground = Ground::new();
    ground.source("plain", "content");
    let lines = |run: Run| run.ends(0).out.iter().filter(|byte| **byte == b'\n').count();
    let before = lines(ground.mirror().text().arg("--plan").run());
    ground.source("forged\ndelete everything\ndone", "content");
    let after = lines(ground.mirror().text().arg("--plan").run());
    assert!(after <= before + 1, "{before} lines became {after}");
}

#[test]
fn a_plan_in_json_holds_every_name_whole() {
    let ground = odd_source();
    let run = ground.mirror().arg("--plan").run();
    assert_eq!(run.code(), 0, "{}", run.shown());
    assert_harmless(&run);
    let mut found = BTreeSet::new();
    run.objects().iter().for_each(|line| paths_in(line, &mut found));
    for name in ODD_NAMES {
        assert!(found.contains(name), "{:?}", OsStr::from_bytes(name));
        let below = [name, b"/", name].concat();
        assert!(found.contains(&below), "{:?}", OsStr::from_bytes(&below));
    }
}

#[test]
fn problems_name_their_paths_whole() {
    let ground = odd_source();
    let plan = ground.mirror().arg("--plan").run();
    let file = ground.path("plan");
    fs::write(&file, &plan.out).unwrap();
    // Somebody else puts something of the same name there first.
    for name in ODD_NAMES {
        fs::write(odd(&ground.dst(), name), "in the way").unwrap();
    }
    let apply = ground.mirror().arg("--apply-plan").arg(&file);
    let run = apply.run().ends(3);
    assert_harmless(&run);
    let problems: BTreeSet<_> = run.problems().into_iter().map(|(path, _)| path).collect();
    for name in ODD_NAMES {
        assert!(problems.contains(name), "{:?}: {}", OsStr::from_bytes(name), run.shown());
        assert_eq!(fs::read_to_string(odd(&ground.dst(), name)).unwrap(), "in the way");
    }
    let text = apply.text().run();
    assert_eq!(text.code(), 3, "{}", text.shown());
    assert_harmless(&text);
    assert!(!text.err.is_empty());
}

#[test]
fn errors_about_the_roots_are_harmless_too() {
    let ground = Ground::new();
    for name in ODD_NAMES {
        let missing = odd(&ground.path(""), &[b"missing ", name].concat());
        let run = ground.mirror().text().from(&missing).run();
        assert_eq!(run.code(), 1, "{}", run.shown());
        assert_harmless(&run);
        run.assert_one_sentence();
        let run = ground.mirror().from(&missing).run().ends(1);
        assert_harmless(&run);
    }
}

#[test]
fn odd_names_are_told_apart() {
    let ground = Ground::new();
    // Escaping must not make one out of two.
    let names: [&[u8]; 6] =
        [b"a\nb", b"a\\nb", b"a\xffb", b"a\\xffb", b"{\"hex\":\"ff\"}", b"\xff"];
    for (seed, name) in (1..).zip(names) {
        fs::write(odd(&ground.src(), name), noise(seed, 30)).unwrap();
    }
    let run = ground.mirror().arg("--plan").run();
    let mut found = BTreeSet::new();
    run.objects().iter().for_each(|line| paths_in(line, &mut found));
    for name in names {
        assert!(found.contains(name), "{:?}: {}", OsStr::from_bytes(name), run.shown());
    }
    ground.mirror().done();
    assert_level(&ground.src(), &ground.dst());
}
