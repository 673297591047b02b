//! `zones print` and `zones check` from outside.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

const SOUND: &str = "$TTL 1h\n@ SOA ns1 admin 7 4h 1h 1w 5m\n NS ns1\n NS ns2\nns1 A 192.0.2.1\nns2 A 198.51.100.1\n";

struct Said {
    code: i32,
    out: String,
    errors: String,
}

fn zones(folder: &Path, arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_zones"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: text(output.stdout),
        errors: text(output.stderr),
    }
}

fn ground(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("db"), text).unwrap();
    folder
}

#[test]
fn a_zone_is_printed_in_its_one_form() {
    let folder = ground(&format!("{SOUND}www 30 IN ( A\n 192.0.2.7 ) ; web\n"));
    let said = zones(folder.path(), &["print", "--origin", "example.", "db"]);
    assert_eq!((said.code, said.errors.as_str()), (0, ""));
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(
        lines[0],
        "example. 3600 IN SOA ns1.example. admin.example. 7 14400 3600 604800 300"
    );
    assert_eq!(lines[1], "example. 3600 IN NS ns1.example.");
    assert_eq!(lines.last(), Some(&"www.example. 30 IN A 192.0.2.7"));
    // What is printed names its zone itself, and prints as it is.
    fs::write(folder.path().join("printed"), &said.out).unwrap();
    assert_eq!(zones(folder.path(), &["print", "printed"]).out, said.out);
}

#[test]
fn records_are_printed_as_they_go_over_the_wire() {
    let folder = ground("example. 60 IN A 192.0.2.1\nexample. 60 IN TYPE999 \\# 2 ABCD\n");
    let said = zones(folder.path(), &["print", "--hex", "--origin", "example", "db"]);
    assert_eq!(said.code, 0);
    assert_eq!(said.out, "076578616D706C6500 1 60 1 C0000201\n076578616D706C6500 1 60 999 ABCD\n");
}

#[test]
fn every_error_is_told_and_what_can_be_read_is_printed() {
    let folder =
        ground(&format!("{SOUND}a A 192.0.2.300\nb A 192.0.2.2\nc AA x\n$INCLUDE ../secret\n"));
    let said = zones(folder.path(), &["print", "--origin", "example.", "db"]);
    assert_eq!(said.code, 3);
    let errors: Vec<&str> = said.errors.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(errors[0], "db:7:5: error[READ20]: \"192.0.2.300\" is no IPv4 address");
    assert_eq!(errors[1], "db:9:3: error[READ11]: \"AA\" is no type");
    assert!(errors[2].starts_with("db:10:10: error[READ07]: \"../secret\" is not included: "));
    assert_eq!(errors.len(), 3);
    assert!(
        said.out.ends_with("ns2.example. 3600 IN A 198.51.100.1\n")
            && said.out.contains("b.example.")
    );
}

#[test]
fn included_files_lie_beside_the_zone_file() {
    let folder = ground(&format!("{SOUND}$INCLUDE parts/hosts sub\n"));
    fs::create_dir(folder.path().join("parts")).unwrap();
    fs::write(folder.path().join("parts/hosts"), "x A 192.0.2.9\ny A bad\n").unwrap();
    let whole = folder.path().join("db");
    let said = zones(Path::new("/"), &["print", "--origin", "example.", whole.to_str().unwrap()]);
    assert_eq!(said.code, 3);
    assert!(said.out.contains("x.sub.example. 3600 IN A 192.0.2.9\n"));
    assert!(said.errors.contains("parts/hosts:2:5: error[READ20]"), "{}", said.errors);
}

#[test]
fn findings_are_told_with_their_places() {
    let folder = ground(&format!("{SOUND}@ MX 10 mail\n@ 1h TXT \"v=spf1 ipv4:192.0.2.1 -all\"\n"));
    let said = zones(folder.path(), &["check", "--origin", "example.", "db"]);
    assert_eq!(said.code, 3);
    let has = |line: &str| assert!(said.out.lines().any(|one| one == line), "{}", said.out);
    has("db:7:1: error[MX01]: the mail server mail.example. of example. has no address");
    has("db:8:1: error[SPF01]: \"ipv4:192.0.2.1\" in the SPF record of example. is no term");
    let quiet = zones(folder.path(), &["check", "--quiet", "--origin", "example.", "db"]);
    assert!(!quiet.out.contains("notice[") && !quiet.out.contains("warning["));
}

#[test]
fn a_sound_zone_has_no_error() {
    let folder = ground(SOUND);
    let said = zones(folder.path(), &["check", "--json", "--origin", "example.", "db"]);
    assert_eq!(said.code, 0, "{}", said.out);
    let object: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((object["format"].as_u64(), object["outcome"].as_str()), (Some(1), Some("done")));
    let findings = object["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["severity"] != "error"));
    assert!(findings.iter().all(|finding| finding["place"]["line"].is_u64()), "{}", said.out);
}

#[test]
fn a_file_that_is_not_there_and_wrong_usage_have_codes_of_their_own() {
    let folder = ground(SOUND);
    let said = zones(folder.path(), &["print", "other"]);
    assert_eq!(said.code, 1);
    assert!(said.errors.starts_with("zones: other: "), "{}", said.errors);
    assert_eq!(zones(folder.path(), &["print"]).code, 2);
    assert_eq!(zones(folder.path(), &["print", "--origin", "a..b", "db"]).code, 2);
}
