//! `drill` from outside: it holds, it notices what does not, and it leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::peer::peer;
use tempfile::TempDir;

/// Whatever hangs is stopped after this.
const LONGEST: Duration = Duration::from_secs(120);

#[expect(clippy::disallowed_methods, reason = "a test of what hangs looks at the clock")]
fn now() -> Instant {
    Instant::now()
}

fn drill(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drill"));
    command.args(arguments).env("TMPDIR", folder).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Output, Value) {
    let folder = TempDir::new().unwrap();
    let output = drill(folder.path(), arguments).arg("--json").output().unwrap();
    assert_nothing_is_left(folder.path());
    let value = serde_json::from_slice(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let value: Value = value.unwrap_or_else(|error| panic!("no JSON ({error}): {errors}"));
    assert_eq!(value["format"], 1);
    (output, value)
}

#[track_caller]
fn held(arguments: &[&str]) -> Value {
    let (output, value) = run(arguments);
    assert!(output.status.success() && value["outcome"] == "held", "{value:#}");
    let messages = &value["messages"];
    let sent = messages["sent"].as_u64().unwrap();
    assert!(sent >= 40, "{value:#}");
    assert_eq!((&messages["uk"], &messages["us"]), (&sent.into(), &sent.into()), "{value:#}");
    assert_eq!((&messages["lost"], &messages["doubled"]), (&0.into(), &0.into()), "{value:#}");
    let files = &value["files"];
    assert_eq!((&files["different"], &files["written_since_last_run"]), (&0.into(), &3.into()));
    let seconds = |field: &str| value["recovery"][field].as_f64().unwrap();
    assert!(seconds("detection_seconds") <= seconds("dns_seconds"), "{value:#}");
    assert!(seconds("dns_seconds") <= seconds("web_seconds"), "{value:#}");
    assert!(seconds("mail_seconds") >= 0.0);
    let phases: Vec<&str> = value["phases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|phase| {
            assert!(phase["seconds"].is_f64());
            phase["name"].as_str().unwrap()
        })
        .collect();
    assert_eq!(phases, PHASES);
    // The journal's time is the time line's.
    let decided = |mark: &&Value| {
        let what = mark["what"].as_str().unwrap();
        what.starts_with("journal: ") && what.contains("moves from uk to us")
    };
    let decided = value["timeline"].as_array().unwrap().iter().find(decided).unwrap();
    let difference = decided["seconds"].as_f64().unwrap() - seconds("detection_seconds");
    assert!(difference.abs() < 0.002, "{value:#}");
    value
}

const PHASES: [&str; 9] =
    ["keys", "mirror", "publish", "mail", "fire", "failover", "life", "return", "fail-back"];

#[test]
fn a_fire_costs_no_mail_and_no_file_that_was_mirrored_three_times_in_a_row() {
    for _ in 0..3 {
        let value = held(&[]);
        assert_eq!(value["files"]["lost"], 3, "{value:#}");
    }
}

#[test]
fn an_outage_costs_nothing_at_all() {
    let value = held(&["--outage"]);
    assert_eq!((&value["files"]["lost"], &value["outage"]), (&0.into(), &true.into()));
}

#[test]
fn a_site_of_ones_own_is_drilled_with_and_only_read() {
    let site = TempDir::new().unwrap();
    for number in 0..2000 {
        let folder = site.path().join((number / 100).to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{number}.html")), format!("page {number}\n")).unwrap();
    }
    let report = TempDir::new().unwrap();
    let path = |folder: &TempDir| folder.path().display().to_string();
    let value = held(&["--site", &path(&site), "--report", &path(&report)]);
    assert!(value["files"]["total"].as_u64().unwrap() > 2000, "{value:#}");
    assert_eq!(fs::read_dir(site.path()).unwrap().count(), 20);
    for file in ["report.txt", "report.json", "journal/journal", "journal/history"] {
        assert!(report.path().join(file).is_file(), "{file}");
    }
    for site in ["uk", "us"] {
        let page = fs::read_to_string(report.path().join(format!("status-{site}/index.html")));
        assert!(page.unwrap().contains("www.hill.example"), "{site}");
    }
}

#[test]
fn it_mirrors_over_a_real_sshd() {
    if peer("sshd").is_none() {
        return;
    }
    held(&["--ssh"]);
    held(&["--ssh", "--outage"]);
}

#[test]
fn a_broken_promise_is_told_in_the_right_words() {
    for (sabotage, words) in [
        ("skip-publish", "failover: ns2.host.us sends visitors of hill.example to 192.0.2.10"),
        ("skip-mirror", "paths differ between the two servers that must not"),
        ("drop-leg", "was acknowledged and is in neither account"),
        ("lose-message", "was acknowledged and is in neither account"),
    ] {
        let (output, value) = run(&["--sabotage", sabotage]);
        assert_eq!((output.status.code(), &value["outcome"]), (Some(1), &"failed".into()));
        let errors = value["errors"].as_array().unwrap();
        let told = errors.iter().any(|error| error.as_str().unwrap().contains(words));
        assert!(told, "{sabotage}: {errors:#?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(words));
        if sabotage == "lose-message" {
            assert_eq!((errors.len(), &value["messages"]["lost"]), (1, &1.into()));
        }
    }
}

#[test]
fn whatever_is_killed_and_whenever_nothing_is_left_behind() {
    // All pairs take a quarter of an hour; each part and each phase comes once.
    let parts =
        ["", "host-web", "", "host-relay", "host-janitor", "", "host-observer", "host-agent", ""];
    let all = std::env::var_os("DRILL_KILL_ALL").is_some();
    for (phase, usual) in PHASES.into_iter().zip(parts) {
        for part in ["", "host-agent", "host-janitor", "host-observer", "host-relay", "host-web"] {
            if all || part == usual {
                kill(phase, part);
            }
        }
    }
}

/// Kills one process of the drill when a phase begins; the drill itself where no part is named.
fn kill(phase: &str, part: &str) {
    let folder = TempDir::new().unwrap();
    let mut child = drill(folder.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let begins = |line: &str| line.contains(phase) && line.contains('…');
    assert!(lines.any(|line| begins(&line.unwrap())), "no phase {phase}");
    let begun = now();
    loop {
        let found = match part {
            "" => Some(child.id()),
            part => processes(folder.path())
                .into_iter()
                .find(|(_, line)| line.contains(part))
                .map(|of| of.0),
        };
        if let Some(id) = found {
            let id = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
            // It may have ended by itself.
            let _ = kill_process(id, Signal::KILL);
            break;
        }
        if begun.elapsed() > Duration::from_millis(500) {
            // There is none of it in this phase.
            break;
        }
    }
    // So that it does not wait for a reader.
    let reader = thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    wait(&mut child);
    let told = reader.join().unwrap().join("\n");
    assert!(!told.contains("panicked"), "{phase} {part}: {told}");
    assert_nothing_is_left(folder.path());
}

fn wait(child: &mut Child) {
    let begun = now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > LONGEST {
            let _ = child.kill();
            panic!("it hangs");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that have something to do with a folder: their ids and command lines.
fn processes(folder: &Path) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if let Some(id) = id
            && line.contains(&folder.display().to_string())
        {
            found.push((id, line));
        }
    }
    found
}

/// Neither a process nor a file; whoever cleans up may take a moment.
#[track_caller]
fn assert_nothing_is_left(folder: &Path) {
    let begun = now();
    loop {
        let files: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|of| of.path()).collect();
        let running = processes(folder);
        if files.is_empty() && running.is_empty() {
            return;
        }
        assert!(begun.elapsed() < LONGEST, "left behind: {files:?} {running:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
