//! Zones that are wrong, each with the rule it breaks and the place where it does.
//!
//! `tests/data/bad-zones.txt` holds them: a line `== ID LINE:COLUMN`, then the zone. `=+` puts a sound
//! beginning of four lines before it. `UPDATE_GOLDEN=1` rewrites the places; the diff is the review.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::path::Path;

use dns_failover::{Diagnostic, KnownHosts, ZoneReader, all_rules, check, locate};
use support::example;

const BEGINNING: &str =
    "$TTL 3600\n@ SOA ns hostmaster 1 14400 3600 604800 300\n NS ns\nns A 192.0.2.1\n";

struct Case {
    mark: &'static str,
    id: String,
    place: String,
    text: String,
}

fn cases(data: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in data.split_inclusive('\n') {
        let mark = ["== ", "=+ "].into_iter().find(|mark| line.starts_with(mark));
        match (mark, cases.last_mut()) {
            (Some(mark), _) => {
                let mut words = line[3..].split_whitespace();
                let mut word = || words.next().unwrap_or_default().to_owned();
                cases.push(Case { mark, id: word(), place: word(), text: String::new() });
            }
            (None, Some(case)) => case.text.push_str(line),
            (None, None) => {}
        }
    }
    cases
}

/// The text as it is read: what stands for octets that no editor shows is put in.
fn octets(case: &Case) -> Vec<u8> {
    let beginning = if case.mark == "=+ " { BEGINNING } else { "" };
    format!("{beginning}{}", case.text).replace("<255>", &"x".repeat(255)).into_bytes()
}

fn errors(case: &Case) -> Vec<Diagnostic> {
    let (origin, text) = (example(), octets(case));
    let named = !case.text.starts_with("; no origin");
    let mut reader = ZoneReader::new().file("bad.zone").with_places();
    if named {
        reader = reader.origin(&origin);
    }
    let reading = reader.read(&text);
    let mut found = check(&reading.zone, &KnownHosts::new());
    locate(&mut found, &reading.zone, &reading.places);
    let all = reading.diagnostics.into_iter().chain(found);
    all.filter(Diagnostic::is_error).collect()
}

#[test]
fn every_bad_zone_is_refused_at_its_place_by_its_rule() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad-zones.txt");
    let data = fs::read_to_string(&path).unwrap();
    let cases = cases(&data);
    assert!(cases.len() >= 120, "{}", cases.len());
    let mut wrong = String::new();
    let mut golden = data
        .lines()
        .take_while(|line| !line.starts_with('='))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    for case in &cases {
        let errors = errors(case);
        let found = errors.iter().find(|error| error.rule.id == case.id);
        let place = found.and_then(|error| error.place.as_ref());
        let place = place.map(|place| format!("{}:{}", place.line, place.column));
        let place = place.unwrap_or_else(|| "-".to_owned());
        golden += &format!("{}{} {place}\n{}", case.mark, case.id, case.text);
        let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
        // A zone that cannot be read is told of in one sentence and not in five.
        let alone = !case.id.starts_with("READ")
            || all.iter().filter(|error| error.contains("[READ")).count() == 1;
        if place != case.place || place == "-" || !alone {
            wrong += &format!(
                "{} {}, found {place}:\n{}\n{}\n",
                case.id,
                case.place,
                case.text,
                all.join("\n")
            );
        }
        if let Some(found) = found {
            let shown = found.to_string();
            assert!(
                shown.starts_with("bad.zone:") && shown.contains(&format!("error[{}]: ", case.id)),
                "{shown}"
            );
            assert!(!found.rule.help.is_empty() && !found.rule.reference.is_empty());
        }
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, golden).unwrap();
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn every_rule_that_refuses_a_zone_has_a_bad_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bad-zones.txt");
    let data = fs::read_to_string(path).unwrap();
    let cases = cases(&data);
    // Of limits that would want gigabytes, and of those that concern several states at once.
    let elsewhere =
        |id: &str| ["READ37", "READ38", "READ39"].contains(&id) || id.starts_with("STATE");
    let missing: Vec<&str> = all_rules()
        .filter(|rule| rule.severity == dns_failover::Severity::Error)
        .map(|rule| rule.id)
        .filter(|id| !elsewhere(id) && !cases.iter().any(|case| case.id == *id))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
