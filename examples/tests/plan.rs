//! A plan is only a plan; a saved one is not trusted.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use serde_json::{Value, json};

use support::every_kind::{noise, set_time};
use support::ground::put;
use support::run::path_bytes;
use support::tree::{Stamp, Tree};
use support::{
    EveryKind, Ground, Mirror, Run, am_root, assert_level, assert_untouched, edit, names_in,
    snapshot, stamps,
};

/// A mirrored ground whose source has changed since, in every way a plan can hold.
fn changed() -> Ground {
    let ground = Ground::new();
    put(&ground.path("outside/canary"), "outside");
    for (seed, name) in (1..).zip([
        "edited",
        "edited too",
        "gone",
        "moded",
        "from",
        "becomes a folder",
        "old/a",
        "old/b/c",
        "folder/a",
        "folder/b",
        "linked",
        "swap-1",
        "swap-2",
        "stays/1",
        "stays/2",
        "stays/3",
    ]) {
        ground.source(name, noise(seed, 300));
    }
    let src = ground.src();
    symlink("../outside", src.join("out")).unwrap();
    symlink("old-text", src.join("relinked")).unwrap();
    ground.mirror().done();

    ground.source("edited", "edited");
    ground.source("edited too", "edited too");
    ground.source("new", "new");
    ground.source("new folder/new inside", "new inside");
    fs::remove_file(src.join("gone")).unwrap();
    fs::remove_dir_all(src.join("old")).unwrap();
    fs::set_permissions(src.join("moded"), Permissions::from_mode(0o600)).unwrap();
    fs::rename(src.join("from"), src.join("to")).unwrap();
    fs::rename(src.join("folder"), src.join("renamed folder")).unwrap();
    fs::remove_file(src.join("becomes a folder")).unwrap();
    ground.source("becomes a folder/inside", "inside");
    fs::hard_link(src.join("linked"), src.join("second name")).unwrap();
    fs::rename(src.join("swap-1"), src.join("swap")).unwrap();
    fs::rename(src.join("swap-2"), src.join("swap-1")).unwrap();
    fs::rename(src.join("swap"), src.join("swap-2")).unwrap();
    fs::remove_file(src.join("relinked")).unwrap();
    symlink("new-text", src.join("relinked")).unwrap();
    symlink("some-text", src.join("new link")).unwrap();
    ground
}

/// The paths that a plan for it may speak of.
fn paths_of(ground: &Ground) -> BTreeSet<Vec<u8>> {
    let both = names_in(&ground.src()).into_iter().chain(names_in(&ground.dst()));
    both.map(String::into_bytes).collect()
}

/// The lines of the plan, and each of them parsed.
#[track_caller]
fn planned(ground: &Ground) -> Vec<Value> {
    let run = ground.mirror().arg("--plan").run();
    assert_eq!(run.code(), 0, "{}", run.shown());
    let lines = run.objects();
    assert!(lines.len() > 1, "a header and no more: {}", run.shown());
    lines
}

/// Saves these lines and makes ready to apply them.
fn applying(ground: &Ground, lines: &[Value]) -> Mirror {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    applying_text(ground, text.as_bytes())
}

fn applying_text(ground: &Ground, text: &[u8]) -> Mirror {
    let file = ground.path("plan");
    fs::write(&file, text).unwrap();
    ground.mirror().arg("--apply-plan").arg(file)
}

/// The whole plan is turned down in a sentence.
#[track_caller]
fn assert_refused(run: &Run) {
    assert!([1, 2, 4].contains(&run.code()), "not refused: {}", run.shown());
    run.assert_one_sentence();
}

#[test]
fn planning_writes_nothing() {
    let ground = Ground::new();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::full().build(&ground.src(), &ground.path("outside"));
    let check = |plan: Mirror| {
        let (src, dst) = (stamps(&ground.src()), stamps(&ground.dst()));
        for plan in [plan.clone(), plan.clone().text(), plan.no_state()] {
            let run = plan.arg("--plan").run();
            assert_eq!(run.code(), 0, "{}", run.shown());
            assert!(!run.out.is_empty());
            assert_untouched(&ground.src(), &src);
            assert_untouched(&ground.dst(), &dst);
        }
    };
    check(ground.mirror());
    ground.mirror().done();
    edit::everything(&ground.src(), am_root());
    check(ground.mirror());
}

#[test]
fn planning_makes_no_target() {
    let ground = Ground::new();
    ground.source("file", "content");
    fs::remove_dir(ground.dst()).unwrap();
    let run = ground.mirror().arg("--plan").run();
    assert_eq!(run.code(), 0, "{}", run.shown());
    assert!(!ground.dst().exists());
    let lines = run.objects();
    applying(&ground, &lines).done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_plan_is_json_lines_after_a_header() {
    let ground = changed();
    let lines = planned(&ground);
    assert_eq!(lines[0]["format"], 1);
    assert!(lines.iter().all(Value::is_object));
    let text = ground.mirror().text().arg("--plan").run();
    let text = String::from_utf8(text.out).unwrap();
    for name in ["edited", "new inside", "gone", "moded", "renamed folder", "new link"] {
        assert!(text.contains(name), "{name:?} is missing:\n{text}");
    }
}

#[test]
fn a_saved_plan_is_carried_out() {
    let ground = changed();
    let lines = planned(&ground);
    let run = applying(&ground, &lines).done();
    assert_level(&ground.src(), &ground.dst());
    assert_eq!(run.problems(), []);
    assert!(run.count("moved") >= 2, "{}", run.shown());
    ground.mirror().done().assert_idle();
}

#[test]
fn a_saved_plan_for_every_kind_of_entry_is_carried_out() {
    let ground = Ground::new();
    fs::create_dir(ground.path("outside")).unwrap();
    EveryKind::full().build(&ground.src(), &ground.path("outside"));
    applying(&ground, &planned(&ground)).done();
    assert_level(&ground.src(), &ground.dst());
    edit::everything(&ground.src(), am_root());
    applying(&ground, &planned(&ground)).done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_plan_without_work_changes_nothing() {
    let ground = changed();
    ground.mirror().done();
    let run = ground.mirror().arg("--plan").run();
    assert_eq!(run.code(), 0, "{}", run.shown());
    let before = stamps(&ground.dst());
    applying(&ground, &run.objects()).done().assert_idle();
    assert_untouched(&ground.dst(), &before);
}

#[test]
fn what_changed_on_the_target_since_is_skipped_and_reported() {
    let ground = changed();
    let lines = planned(&ground);
    for name in ["edited", "gone", "new", "from", "new folder/new inside", "old/b/added"] {
        ground.target(name, format!("somebody's {name}"));
    }
    fs::remove_file(ground.dst().join("becomes a folder")).unwrap();
    ground.target("becomes a folder/of theirs", "somebody's folder");
    let run = applying(&ground, &lines).run().ends(3);

    for name in ["edited", "gone", "new", "from", "new folder/new inside", "old/b/added"] {
        assert_eq!(ground.read(name), format!("somebody's {name}"), "{}", run.shown());
    }
    assert_eq!(ground.read("becomes a folder/of theirs"), "somebody's folder");
    for name in ["edited", "gone", "new"] {
        assert!(run.has_problem_at(name), "{name:?} is not reported: {}", run.shown());
    }
    assert!(run.has_problem_at("from") || run.has_problem_at("to"), "{}", run.shown());
    assert!(run.count("skipped") >= 4, "{}", run.shown());

    // All the others are done.
    assert_eq!(ground.read("edited too"), "edited too");
    assert!(ground.has("renamed folder/a") && !ground.has("folder"));
    assert!(ground.has("second name") && ground.has("new link"));
    let (src, dst) = (snapshot(&ground.src()), snapshot(&ground.dst()));
    for name in ["moded", "edited too", "second name", "relinked", "swap-1", "swap-2"] {
        assert_eq!(dst.get(name.as_bytes()), src.get(name.as_bytes()), "{name}");
    }

    ground.mirror().args(["--max-delete", "100%"]).done();
    assert_level(&ground.src(), &ground.dst());
}

/// The same size and the same time, but not the file that the plan was made for.
#[test]
fn a_change_behind_the_back_of_a_plan_is_noticed() {
    let ground = changed();
    let lines = planned(&ground);
    for name in ["edited", "gone"] {
        let path = ground.dst().join(name);
        let (seconds, nanoseconds) = support::tree::mtime(&path);
        fs::write(&path, noise(77, 300)).unwrap();
        set_time(&path, seconds, nanoseconds);
    }
    let run = applying(&ground, &lines).run().ends(3);
    for name in ["edited", "gone"] {
        assert!(run.has_problem_at(name), "{}", run.shown());
        assert!(fs::read(ground.dst().join(name)).unwrap() == noise(77, 300), "{name}");
    }
}

/// Whatever a plan links names to has to be what it was made for: its own copy, or what was there.
#[test]
fn nothing_is_linked_to_what_somebody_put_there_since() {
    for leader in ["old", "new"] {
        let ground = Ground::new();
        ground.source("x", "new");
        fs::hard_link(ground.src().join("x"), ground.src().join("y")).unwrap();
        fs::create_dir(ground.dst().join("z")).unwrap();
        fs::hard_link(ground.src().join("x"), ground.src().join("z")).unwrap();
        let x = ground.target("x", leader);
        if leader == "new" {
            let modified = fs::metadata(ground.src().join("x")).unwrap().modified().unwrap();
            fs::File::options().write(true).open(&x).unwrap().set_modified(modified).unwrap();
        }
        ground.target("y", "precious");
        let lines = planned(&ground);
        fs::remove_file(&x).unwrap();
        ground.target("x", "foreign");
        let run = applying(&ground, &lines).run().ends(3);
        assert!(run.has_problem_at("y") && run.has_problem_at("z"), "{}", run.shown());
        assert_eq!(ground.read("x"), "foreign");
        assert_eq!(ground.read("y"), "precious");
        assert!(ground.dst().join("z").is_dir());
        ground.mirror().done();
        assert_level(&ground.src(), &ground.dst());
    }
}

#[test]
fn a_link_that_follows_no_step_before_it_is_refused() {
    let ground = Ground::new();
    ground.source("x", "new");
    fs::hard_link(ground.src().join("x"), ground.src().join("y")).unwrap();
    let lines = planned(&ground);
    let link = lines.iter().position(|line| line["op"]["Link"].is_object()).unwrap();
    assert!(lines[link]["op"]["Link"]["after"].is_u64(), "{}", lines[link]);
    for forged in [json!(999), lines[link]["id"].clone(), Value::Null] {
        let mut lines = lines.clone();
        lines[link]["op"]["Link"]["after"] = forged;
        assert_refused(&applying(&ground, &lines).run());
        assert!(!ground.has("x") && !ground.has("y"));
    }
    applying(&ground, &lines).done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn a_plan_that_was_carried_out_does_no_harm_the_second_time() {
    let ground = changed();
    let lines = planned(&ground);
    applying(&ground, &lines).done();
    let before = snapshot(&ground.dst());
    let run = applying(&ground, &lines).run();
    assert!([0, 3].contains(&run.code()), "{}", run.shown());
    support::tree::assert_same(&before, &snapshot(&ground.dst()));
}

#[test]
fn the_guards_hold_for_a_saved_plan() {
    let ground = Ground::new();
    for number in 0..20 {
        ground.source(&number.to_string(), noise(number, 100));
    }
    ground.mirror().done();
    for number in 0..15 {
        fs::remove_file(ground.src().join(number.to_string())).unwrap();
    }
    let run = ground.mirror().args(["--plan", "--max-delete", "100%"]).run();
    assert_eq!(run.code(), 0, "{}", run.shown());
    let before = stamps(&ground.dst());
    let apply = applying(&ground, &run.objects());
    apply.run().ends(4).assert_one_sentence();
    assert_untouched(&ground.dst(), &before);
    apply.args(["--max-delete", "100%"]).done();
    assert_level(&ground.src(), &ground.dst());
}

#[test]
fn what_is_no_plan_is_refused() {
    let ground = changed();
    let lines = planned(&ground);
    let other_format = |format: Value| {
        let mut lines = lines.clone();
        lines[0]["format"] = format;
        lines.iter().map(|line| format!("{line}\n")).collect::<String>().into_bytes()
    };
    let before = stamps(&ground.dst());
    for text in [
        Vec::new(),
        b"\n".to_vec(),
        b"{}\n".to_vec(),
        b"[]\n".to_vec(),
        b"{\"format\":1}\n".to_vec(),
        noise(1, 4000),
        b"{".repeat(100_000),
        b"[".repeat(100_000),
        b"not a plan\n".to_vec(),
        other_format(json!(2)),
        other_format(json!("1")),
        other_format(Value::Null),
    ] {
        let run = applying_text(&ground, &text).run();
        assert_refused(&run);
        assert_untouched(&ground.dst(), &before);
    }
    let run = ground.mirror().arg("--apply-plan").arg(ground.path("no such file")).run();
    assert_refused(&run);
    assert_untouched(&ground.dst(), &before);
}

#[test]
fn a_cut_plan_is_refused() {
    let ground = changed();
    let lines = planned(&ground);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let ends = text.match_indices('\n').map(|(at, _)| at + 1);
    // After each line, and here and there inside them.
    let inside = (1..30).map(|part| part * text.len() / 31);
    let cuts: BTreeSet<_> = ends.chain(inside).filter(|cut| *cut < text.len()).collect();
    let before = stamps(&ground.dst());
    for cut in cuts {
        let run = applying_text(&ground, &text.as_bytes()[..cut]).run();
        assert!([1, 2, 4].contains(&run.code()), "cut at {cut}: {}", run.shown());
        run.assert_one_sentence();
        assert_untouched(&ground.dst(), &before);
    }
}

#[test]
fn a_plan_in_another_order_does_no_harm() {
    type Shuffle = fn(&mut Vec<Value>);
    let shuffles: [Shuffle; 3] = [
        |lines| lines[1..].reverse(),
        |lines| lines.extend_from_within(1..),
        |lines| lines.rotate_right(1),
    ];
    for shuffle in shuffles {
        let ground = changed();
        let mut lines = planned(&ground);
        shuffle(&mut lines);
        let around = Around::look(&ground);
        applying(&ground, &lines).run();
        around.assert_unharmed(&ground);
        ground.mirror().args(["--max-delete", "100%"]).done();
        assert_level(&ground.src(), &ground.dst());
    }
}

/// A ground that is used until a plan changes its target.
struct Forge {
    ground: Ground,
    lines: Vec<Value>,
    around: Around,
    target: BTreeMap<Vec<u8>, Stamp>,
}

impl Forge {
    fn new() -> Self {
        let ground = changed();
        let lines = planned(&ground);
        let (around, target) = (Around::look(&ground), stamps(&ground.dst()));
        Self { ground, lines, around, target }
    }

    /// Applies the plan with one value forged. Whatever it says, nothing outside may change.
    #[track_caller]
    fn apply(&mut self, line: usize, pointer: &str, forged: &Value) -> (Run, bool) {
        let mut lines = self.lines.clone();
        let place = lines[line].pointer_mut(pointer).expect("every plan of this ground is alike");
        *place = forged.clone();
        let run = applying(&self.ground, &lines).args(["--max-delete", "100%"]).run();
        self.around.assert_unharmed(&self.ground);
        let untouched = stamps(&self.ground.dst()) == self.target;
        if !untouched {
            *self = Self::new();
        }
        (run, untouched)
    }

    /// The places of all values of the operations that satisfy `wanted`: line and pointer.
    fn places(&self, wanted: &dyn Fn(&Value) -> bool) -> Vec<(usize, String)> {
        fn collect(
            value: &Value,
            at: String,
            wanted: &dyn Fn(&Value) -> bool,
            found: &mut Vec<String>,
        ) {
            if wanted(value) {
                return found.push(at);
            }
            match value {
                Value::Array(list) => (0..).zip(list).for_each(|(index, value)| {
                    collect(value, format!("{at}/{index}"), wanted, found);
                }),
                Value::Object(object) => object.iter().for_each(|(key, value)| {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    collect(value, format!("{at}/{key}"), wanted, found);
                }),
                _ => {}
            }
        }
        let mut places = Vec::new();
        for (number, line) in self.lines.iter().enumerate().skip(1) {
            let mut found = Vec::new();
            collect(line, String::new(), wanted, &mut found);
            places.extend(found.into_iter().map(|pointer| (number, pointer)));
        }
        places
    }

    /// Some of them: the same field of some operations stands for that of all.
    fn some_places(&self, wanted: &dyn Fn(&Value) -> bool) -> Vec<(usize, String)> {
        let mut seen = BTreeMap::new();
        let mut places = self.places(wanted);
        places.retain(|(_, pointer)| {
            let times: &mut u32 = seen.entry(pointer.clone()).or_default();
            *times += 1;
            *times <= 4
        });
        places
    }
}

/// What lies around the target, and has to stay as it is.
struct Around {
    names: Vec<PathBuf>,
    outside: Tree,
    source: BTreeMap<Vec<u8>, Stamp>,
}

impl Around {
    fn look(ground: &Ground) -> Self {
        let mut names: Vec<_> = fs::read_dir(ground.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| *path != ground.path("plan"))
            .collect();
        names.sort();
        let (outside, source) = (snapshot(&ground.path("outside")), stamps(&ground.src()));
        Self { names, outside, source }
    }

    #[track_caller]
    fn assert_unharmed(&self, ground: &Ground) {
        let now = Self::look(ground);
        assert_eq!(now.names, self.names, "something was made outside the root");
        support::tree::assert_same(&self.outside, &now.outside);
        assert_untouched(&ground.src(), &self.source);
        assert!(!PathBuf::from("/mirror-forged").exists());
    }
}

#[test]
fn a_forged_path_is_refused() {
    let mut forge = Forge::new();
    let known = paths_of(&forge.ground);
    let places = forge.places(&|value| path_bytes(value).is_some_and(|path| known.contains(&path)));
    // Otherwise nothing below would be a test.
    let lines: BTreeSet<_> = places.iter().map(|(line, _)| line).collect();
    assert!(lines.len() >= 10, "few operations name a path: {:?}", forge.lines);
    let absolute = forge.ground.path("outside/forged");
    let forged = [
        json!("../forged"),
        json!(".."),
        json!(absolute.to_str().unwrap()),
        json!("/mirror-forged"),
        json!("/"),
        json!("stays/../../forged"),
        json!("stays/.."),
        json!("./forged"),
        json!("stays//forged"),
        json!("forged/"),
        json!("forged/."),
        json!("for\u{0}ged"),
        json!({"hex": "2e2e2f666f72676564"}),
        json!({"hex": "2f6d6972726f722d666f72676564"}),
        json!({"hex": "666f7200676564"}),
        json!({"hex": "not hex"}),
        json!({"hex": "2e2"}),
        json!({"hex": 46}),
        json!(["..", "forged"]),
    ];
    for (line, pointer) in places {
        for forged in &forged {
            let (run, untouched) = forge.apply(line, &pointer, forged);
            let place = format!("line {line}, {pointer}, {forged}: {}", run.shown());
            assert!([1, 2, 4].contains(&run.code()), "not refused: {place}");
            assert!(untouched, "refused, but the target changed: {place}");
            run.assert_one_sentence();
        }
    }
}

/// These are paths, but not of what the plan was made for, or they lead through a link.
#[test]
fn a_forged_path_through_a_link_leads_nowhere() {
    let mut forge = Forge::new();
    let known = paths_of(&forge.ground);
    let places = forge.places(&|value| path_bytes(value).is_some_and(|path| known.contains(&path)));
    let long = "x/".repeat(3000) + "x";
    let forged = ["out/canary", "out/forged", "new link/forged", "", ".", &long, &"x".repeat(256)];
    assert!(!places.is_empty());
    for (line, pointer) in places {
        for forged in forged {
            forge.apply(line, &pointer, &json!(forged));
            assert!(forge.ground.dst().is_dir(), "the root itself is gone");
        }
    }
}

#[test]
fn any_other_forged_text_leads_nowhere() {
    let mut forge = Forge::new();
    let known = paths_of(&forge.ground);
    let places = forge.some_places(&|value| {
        value.is_string() && path_bytes(value).is_some_and(|path| !known.contains(&path))
    });
    for (line, pointer) in places {
        for forged in ["../forged", "/mirror-forged", "a/../../forged", "", "\u{0}"] {
            forge.apply(line, &pointer, &json!(forged));
        }
    }
}

#[test]
fn forged_numbers_neither_crash_nor_lead_anywhere() {
    let mut forge = Forge::new();
    let places = forge.some_places(&Value::is_number);
    let forged = [json!(u64::MAX), json!(-1), json!(i64::MIN), json!(1e300), json!("many")];
    // One of them each, in turn.
    for (turn, (line, pointer)) in places.into_iter().enumerate() {
        forge.apply(line, &pointer, &forged[turn % forged.len()]);
    }
}

/// Each step is one line of a saved plan, and a line has an end.
#[test]
fn an_inode_with_thousands_of_names_takes_several_steps() {
    let ground = Ground::new();
    let first = ground.source("f", "same");
    let name = |number: usize| format!("{number:0>200}");
    for number in 0..1200 {
        fs::hard_link(&first, ground.src().join(name(number))).unwrap();
    }
    let lines = planned(&ground);
    let links: Vec<&Value> =
        lines.iter().map(|line| &line["op"]["Link"]).filter(|link| link.is_object()).collect();
    let counts: Vec<_> =
        links.iter().map(|link| link["members"].as_array().unwrap().len()).collect();
    assert_eq!(counts, [500, 500, 200]);
    applying(&ground, &lines).done().assert_counts(&[("created", 1201)]);
    assert_level(&ground.src(), &ground.dst());
    ground.mirror().done();
}
