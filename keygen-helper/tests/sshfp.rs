//! SSHFP records are those of ssh-keygen.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use std::process::Command;

use keygen_helper::{PublicKey, Sshfp, SshfpCheck};
use proptest::prelude::*;

const KEYS: &str = include_str!("data/keys.pub");

/// What `ssh-keygen -r` printed for the keys of `data/keys.pub` that have a number.
const RECORDS: &str = include_str!("data/keys.sshfp");

fn keys() -> impl Iterator<Item = PublicKey> {
    KEYS.lines().map(|line| line.parse().unwrap())
}

#[test]
fn the_records_are_those_in_the_file() {
    let ours: String = keys()
        .flat_map(|key| Sshfp::of(&key))
        .map(|record| format!("host.example IN SSHFP {record}\n"))
        .collect();
    assert_eq!(ours, RECORDS);
}

#[test]
fn the_file_is_what_ssh_keygen_prints() {
    let dir = tempfile::tempdir().unwrap();
    let mut theirs = String::new();
    let mut generic = String::new();
    for key in keys().filter(|key| !Sshfp::of(key).is_empty()) {
        let file = dir.path().join("key.pub");
        std::fs::write(&file, key.to_string()).unwrap();
        let print = |more: &[&str]| {
            let mut command = Command::new("ssh-keygen");
            command.args(["-r", "host.example"]).args(more).arg("-f").arg(&file);
            command.output().map(|output| String::from_utf8(output.stdout).unwrap())
        };
        let (Ok(text), Ok(numbers)) = (print(&[]), print(&["-g"])) else {
            println!("skipped: no ssh-keygen");
            return;
        };
        theirs.push_str(&text);
        generic.push_str(&numbers);
    }
    assert_eq!(theirs, RECORDS);
    let read = |text: &str| -> Vec<_> {
        text.lines()
            .map(|line| {
                Sshfp::parse_line(line).map(|(name, record)| (name.to_owned(), record)).unwrap()
            })
            .collect()
    };
    assert_eq!(read(&theirs), read(&generic));
    assert!(read(&theirs).iter().all(|(name, _)| name == "host.example"));
}

#[test]
fn a_key_matches_its_own_records_and_no_others() {
    let all: Vec<Sshfp> = RECORDS.lines().map(|line| line.parse().unwrap()).collect();
    for key in keys() {
        let own = Sshfp::of(&key);
        let expected = if own.is_empty() { SshfpCheck::Missing } else { SshfpCheck::Match };
        assert_eq!(SshfpCheck::of(&key, &all), expected);
        let others: Vec<Sshfp> =
            all.iter().filter(|record| !own.contains(record)).cloned().collect();
        assert_ne!(SshfpCheck::of(&key, &others), SshfpCheck::Match);
        if let [sha1, sha256] = &*own {
            let false_one = Sshfp::from_rdata(&[&[sha1.algorithm(), 2][..], &[7; 32]].concat());
            let false_one = false_one.unwrap();
            assert_eq!(SshfpCheck::of(&key, std::slice::from_ref(sha1)), SshfpCheck::OnlySha1);
            let check = |records: &[&Sshfp]| {
                SshfpCheck::of(
                    &key,
                    &records.iter().map(|record| (*record).clone()).collect::<Vec<_>>(),
                )
            };
            assert_eq!(check(&[sha1, &false_one]), SshfpCheck::Mismatch);
            assert_eq!(check(&[&false_one, sha256]), SshfpCheck::Match);
        }
    }
}

#[test]
fn records_are_read_in_all_their_forms() {
    let hex = "0123456789abcdef".repeat(4);
    let record: Sshfp = format!("4 2 {hex}").parse().unwrap();
    for line in [
        format!("a.b. 3600 IN SSHFP 4 2 {hex}"),
        format!("a.b. IN 3600 sshfp 4 2 {} {}", &hex[..7], hex[7..].to_uppercase()),
        format!(" IN SSHFP 4 2 {hex}"),
        format!("a TYPE44 \\# 34 0402{hex}"),
        format!("\\# 34 0402 {hex}"),
    ] {
        assert_eq!(line.parse(), Ok(record.clone()), "{line}");
    }
    for bad in [
        "",
        "SSHFP",
        "4 2",
        "4 2 00",
        "4 1 xyz",
        "256 2 00",
        "+4 2 00",
        "SSHFP 4 9 0",
        "\\# 35 0402",
        "4 3",
    ] {
        assert!(bad.parse::<Sshfp>().is_err(), "{bad}");
    }
    assert!(format!("4 9 {}", "00".repeat(129)).parse::<Sshfp>().is_err());
}

proptest! {
    #[test]
    fn no_text_and_no_bytes_panic_and_what_is_read_comes_back(
        text in any::<String>(),
        rdata in any::<Vec<u8>>(),
        digits in "[0-9 ]{0,9}[0-9a-fA-F ]{0,80}",
    ) {
        for text in [text, digits] {
            if let Ok(record) = text.parse::<Sshfp>() {
                prop_assert_eq!(record.to_string().parse(), Ok(record));
            }
        }
        if let Ok(record) = Sshfp::from_rdata(&rdata) {
            prop_assert_eq!(&record.to_rdata(), &rdata);
            let json = serde_json::to_string(&record).unwrap();
            prop_assert_eq!(serde_json::from_str::<Sshfp>(&json).unwrap(), record);
        }
    }
}
