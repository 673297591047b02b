//! Zone files that cover the grammar, read by us and by real programs, and what we print loaded by real
//! name servers' own checkers.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::peer::peer;
use support::{read, said, zone_files, zones};

/// Files that a program reads otherwise than we do, and why we stay with it.
type Exceptions = &'static [(&'static str, &'static str)];

const NAMED: Exceptions = &[
    ("quoted-over-lines", "named refuses line ends in strings; RFC 1035 section 5.1 does not"),
    ("type-md-and-mf", "named refuses MD and MF as obsolete"),
    ("unequal-ttls", "named takes the first TTL, RFC 2181 section 5.2 the lowest"),
];

const LDNS: Exceptions = &[
    ("blank-owners", "ldns does not take $ORIGIN of a relative name"),
    ("doubles", "ldns keeps doubles"),
    ("generic-rdata", "ldns does not read a parenthesis directly before hexadecimal"),
    ("include", "ldns has no $INCLUDE"),
    ("origin", "ldns does not take $ORIGIN of a relative name, nor $origin"),
    ("parentheses", "ldns wants a space behind a parenthesis"),
    ("quoted-over-lines", "ldns refuses line ends in strings"),
    ("quotes-in-parentheses", "ldns makes TYPE0 of TXT with a parenthesis directly behind it"),
    ("ttl-and-class-in-either-order", "ldns does not read the TTL behind the class"),
    ("ttl-directive", "ldns does not know $ttl in small letters"),
    ("ttl-of-the-soa-minimum", "ldns takes 3600 seconds where nothing says a TTL"),
    ("type-amtrelay", "ldns 1.8 does not know AMTRELAY"),
    ("type-caa", "ldns refuses a CAA record without a value"),
    ("type-ninfo-and-others", "ldns does not know NINFO"),
    ("type-resinfo-and-wallet", "ldns does not know RESINFO"),
    ("type-hinfo-and-friends", "ldns takes the name in NSAP-PTR for a string"),
    ("type-rrsig-and-nsec", "ldns takes the original TTL of a signature for its TTL"),
    ("type-ta-and-dlv", "ldns does not know TA"),
    ("unequal-ttls", "ldns keeps both TTLs"),
];

const NAMED_LOADS: Exceptions = &[
    ("type-md-and-mf", "named refuses MD and MF in any form"),
    ("type-ns-with-glue", "named asks the resolver for a name server that is made up"),
    ("wildcards-within", "named warns of every * within a name"),
];

const NSD_LOADS: Exceptions = &[
    (
        "type-caa",
        "NSD refuses capitals in a CAA tag; RFC 8659 section 4.1 only advises against them",
    ),
    ("type-hinfo-and-friends", "NSD warns that MB is obsolete"),
    ("type-md-and-mf", "NSD warns that MD and MF are obsolete"),
    ("type-ta-and-dlv", "NSD warns that DLV is experimental"),
];

const PDNS_LOADS: Exceptions = &[
    ("generic-types", "PowerDNS prints RFC 3597's \\# 0 with a space behind it, and warns of that"),
    ("type-dohpath", "PowerDNS prints SVCB targets without their last dot, and warns of that"),
    ("type-ds-and-dnskey", "PowerDNS warns of keys in a zone that it does not sign"),
    ("type-hinfo-and-friends", "PowerDNS reads MB only by its name, Knot only by its number"),
    ("type-hip-and-ipseckey", "PowerDNS does not read IPSECKEY without a gateway"),
    ("type-identifiers", "PowerDNS prints LP without its last dot, and warns of that"),
    ("type-loc", "PowerDNS computes altitudes beyond 2^31 cm wrongly"),
    ("type-naptr", "PowerDNS prints NAPTR without its last dot, and warns of that"),
    ("type-ninfo-and-others", "PowerDNS reads RKEY only by its name, Knot only by its number"),
    ("type-ns-with-glue", "PowerDNS wants delegations rectified in its database"),
    ("type-rrsig-and-nsec", "PowerDNS warns of signatures in a zone that it does not sign"),
    (
        "type-svcb-and-https",
        "PowerDNS prints SVCB targets without their last dot, and warns of that",
    ),
    ("type-svcb-escapes", "PowerDNS prints SVCB targets without their last dot, and warns of that"),
    ("type-ta-and-dlv", "PowerDNS reads DLV only by its name, Knot only by its number"),
    ("underscores-and-slashes", "PowerDNS wants delegations rectified in its database"),
];

/// Holds what failed against what is known to. What no longer fails is let pass: other versions of these
/// programs read more.
#[track_caller]
fn assert_known(failed: &[(String, String)], known: Exceptions) {
    let unknown = failed.iter().filter(|(name, _)| !known.iter().any(|(one, _)| one == name));
    let unknown: Vec<String> = unknown.map(|(name, how)| format!("{name}: {how}")).collect();
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

/// `named-compilezone` prints the records of a file its own way.
fn compiled(program: &Path, file: &Path, out: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command
        .current_dir(zones())
        .args(["-i", "none", "-k", "ignore", "-n", "ignore", "-m", "ignore"]);
    command.args(["-s", "full", "-o"]).arg(out).arg("example.").arg(file);
    let (good, text, errors) = said(&mut command);
    if good { Ok(fs::read_to_string(out).unwrap()) } else { Err(text + &errors) }
}

#[test]
fn there_are_files_enough() {
    assert!(zone_files().len() >= 60, "{}", zone_files().len());
}

#[test]
fn reading_what_we_print_gives_the_same_zone() {
    for (name, path) in zone_files() {
        let reading = read(&path);
        assert!(reading.is_clean(), "{name}: {:?}", reading.diagnostics);
        let text = reading.zone.to_text();
        let again = dns_failover::ZoneReader::new().read(&text);
        assert!(again.diagnostics.is_empty(), "{name}: {:?}", again.diagnostics);
        assert_eq!(again.zone.to_text(), text, "{name}");
        // Octet by octet, which equality of names and RDATA would not show.
        let wires = |zone: &dns_failover::Zone| {
            let mut wire = Vec::new();
            zone.records().for_each(|record| record.encode(&mut wire));
            wire
        };
        assert!(wires(&again.zone) == wires(&reading.zone), "{name}");
    }
}

#[test]
fn named_reads_the_same_records() {
    let Some(program) = peer("named-compilezone") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ours, out) = (folder.path().join("ours"), folder.path().join("out"));
    let mut failed = Vec::new();
    for (name, path) in zone_files() {
        let zone = read(&path).zone;
        fs::write(&ours, zone.to_text()).unwrap();
        match (compiled(&program, &path, &out), compiled(&program, &ours, &out)) {
            (Ok(theirs), Ok(printed)) if theirs == printed => {
                // And what named prints, we read as what we had read.
                let again = dns_failover::ZoneReader::new().read(theirs.as_bytes());
                if again.zone != zone {
                    failed.push((name, "we read otherwise what named prints".to_owned()));
                }
            }
            (theirs, printed) => failed.push((name, format!("{theirs:?}\n{printed:?}"))),
        }
    }
    assert_known(&failed, NAMED);
}

#[test]
fn ldns_reads_the_same_records() {
    let Some(program) = peer("ldns-read-zone") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    let sorted = |text: &[u8]| {
        fs::write(&file, text).unwrap();
        let (good, text, errors) = said(Command::new(&program).arg("-z").arg(&file));
        if good { Ok(text) } else { Err(errors) }
    };
    let mut failed = Vec::new();
    for (name, path) in zone_files() {
        let original = [b"$ORIGIN example.\n", fs::read(&path).unwrap().as_slice()].concat();
        let (theirs, printed) = (sorted(&original), sorted(&read(&path).zone.to_text()));
        if theirs.is_err() || theirs != printed {
            failed.push((name, format!("{theirs:?}\n{printed:?}")));
        }
    }
    assert_known(&failed, LDNS);
}

/// Prints each zone and lets a checker look at it; `bad` picks out what it complains of.
fn load(
    known: Exceptions,
    file: &Path,
    mut command: impl FnMut() -> Command,
    bad: impl Fn(bool, &str) -> bool,
) {
    let mut failed = Vec::new();
    for (name, path) in zone_files() {
        fs::write(file, read(&path).zone.to_text()).unwrap();
        let (good, text, errors) = said(&mut command());
        let text = text + &errors;
        if bad(good, &text) {
            failed.push((name, text));
        }
    }
    assert_known(&failed, known);
}

#[test]
fn named_loads_what_we_print_without_a_warning() {
    let Some(program) = peer("named-checkzone") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    let command = || {
        let mut command = Command::new(&program);
        command.arg("example.").arg(&file);
        command
    };
    load(NAMED_LOADS, &file, command, |good, text| {
        let expected =
            |line: &str| line == "OK" || line.starts_with("zone example/IN: loaded serial");
        !good || !text.lines().all(expected)
    });
}

#[test]
fn nsd_loads_what_we_print_without_a_warning() {
    let Some(program) = peer("nsd-checkzone") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("zone");
    let command = || {
        let mut command = Command::new(&program);
        command.arg("example.").arg(&file);
        command
    };
    load(NSD_LOADS, &file, command, |good, text| !good || text.trim() != "zone example. is ok");
}

#[test]
fn knot_loads_what_we_print_without_a_warning() {
    // `kzonecheck` where it is packaged; else `knotc zone-check`, which does the same.
    let Some(program) = peer("knotc") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, conf) = (folder.path().join("zone"), folder.path().join("knot.conf"));
    let at = folder.path().display();
    let text = format!(
        "server:\n    rundir: \"{at}\"\ndatabase:\n    storage: \"{at}\"\nzone:\n  - domain: example.\n    file: \"{}\"\n    semantic-checks: on\n",
        file.display()
    );
    fs::write(&conf, text).unwrap();
    let command = || {
        let mut command = Command::new(&program);
        command.arg("-c").arg(&conf).arg("zone-check");
        command
    };
    load(&[], &file, command, |good, text| !good || !text.trim().is_empty());
}

#[test]
fn powerdns_loads_what_we_print_without_a_warning() {
    let Some(program) = peer("pdnsutil") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (file, conf) = (folder.path().join("zone"), folder.path().join("named.conf"));
    let zone = format!("zone \"example\" {{ type master; file \"{}\"; }};\n", file.display());
    fs::write(&conf, zone).unwrap();
    let settings = format!("launch=bind\nbind-config={}\n", conf.display());
    fs::write(folder.path().join("pdns.conf"), settings).unwrap();
    let command = || {
        let mut command = Command::new(&program);
        let mut option = std::ffi::OsString::from("--config-dir=");
        option.push(folder.path());
        command.arg(option).args(["check-zone", "example"]);
        command
    };
    load(PDNS_LOADS, &file, command, |_, text| !text.contains("0 errors, 0 warnings"));
}
