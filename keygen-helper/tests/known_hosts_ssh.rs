//! Which host is which: this crate, ssh and ssh-keygen have to agree on every file of a table.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keygen_helper::{Certificate, Host, HostCheck, HostLine, KnownHosts, PublicKey, Timestamp};
use support::keys::{generate, public, run};
use support::sshd::{Listener, Sshd, login, own_name};
use support::table::{in_parallel, rows, unescape};

const TABLE: &str = include_str!("data/known_hosts.table");

/// A server with a certificate and one without, and what `{…}` in the table stands for.
struct Ground {
    dir: tempfile::TempDir,
    user: String,
    with_key: Listener,
    with_certificate: Listener,
    names: BTreeMap<String, String>,
    certificate: Certificate,
}

/// Any time will do: the certificate holds for ever.
const NOW: u64 = 1_800_000_000;

impl Ground {
    fn lay(sshd: &Sshd) -> Ground {
        let dir = tempfile::tempdir().unwrap();
        let pair = |name: &str, kind: &str| generate(dir.path(), name, kind);
        let (login, ca) = (pair("login", "ed25519"), pair("ca", "ed25519"));
        let host = sshd.host_key();
        let mut certify = Command::new("ssh-keygen");
        certify.args(["-q", "-h", "-I", "host", "-n", "uk,uk.example,127.0.0.1", "-s"]).arg(&ca);
        run(certify.arg(host.with_extension("pub")));
        let line = fs::read(host.with_file_name("host-cert.pub")).unwrap();
        let certificate = PublicKey::parse_line(&line).unwrap().0;
        let held = Certificate::read(&certificate).unwrap();
        let authorized = format!("AuthorizedKeysFile {}", login.with_extension("pub").display());
        let certificate = format!("HostCertificate {}-cert.pub", host.display());
        let base64 = public(&host).split_once(' ').unwrap().1.to_owned();
        let names = BTreeMap::from([
            ("host".into(), public(&host)),
            ("host:tabs".into(), public(&host).replace(' ', "\t")),
            ("host:base64".into(), base64),
            ("ca".into(), public(&ca)),
            ("other".into(), public(&pair("other", "ed25519"))),
            ("rsa".into(), public(&pair("rsa", "rsa -b 2048"))),
        ]);
        let with_key = sshd.listen(&[&authorized]);
        let with_certificate = sshd.listen(&[&authorized, &certificate]);
        Ground { user: own_name(), with_key, with_certificate, names, certificate: held, dir }
    }

    fn cases(&self) -> Vec<Case<'static>> {
        rows(TABLE).map(|(row, text)| self.case(row, text)).collect()
    }

    fn case(&self, row: usize, text: &'static str) -> Case<'static> {
        let mut words = text.splitn(4, ' ');
        let mut word = || words.next().expect("four words");
        let (verdict, shown, name, text) = (word(), word(), word(), word());
        let with_certificate = shown == "cert";
        let port = self.listener(with_certificate).address.port();
        let host = match name {
            "port" => Host::new("127.0.0.1", port),
            name => name.parse(),
        };
        let host = host.unwrap();
        let meaning = |name: &str| match name.split_once(':') {
            Some(("hash", "port")) => Some(self.hash(row, &host.to_string())),
            Some(("hash", name)) => Some(self.hash(row, name)),
            Some(("long", length)) => Some("x".repeat(length.parse().ok()?)),
            _ if name == "port" => Some(port.to_string()),
            _ => self.names.get(name).cloned(),
        };
        let file = self.dir.path().join(format!("row-{row}"));
        let bytes = unescape(text, meaning);
        fs::write(&file, &bytes).unwrap();
        let known = KnownHosts::parse(bytes).unwrap();
        Case { row, verdict, with_certificate, name, host, file, known }
    }

    /// The name as ssh-keygen hashes it.
    fn hash(&self, row: usize, name: &str) -> String {
        let file = self.dir.path().join(format!("hash-{row}"));
        fs::write(&file, format!("{name} {}\n", self.names["host"])).unwrap();
        run(Command::new("ssh-keygen").arg("-Hf").arg(&file));
        let hashed = fs::read_to_string(&file).unwrap();
        hashed.split(' ').next().unwrap().to_owned()
    }

    fn listener(&self, with_certificate: bool) -> &Listener {
        if with_certificate { &self.with_certificate } else { &self.with_key }
    }

    fn key(&self, name: &str) -> PublicKey {
        self.names[name].parse().unwrap()
    }
}

/// One row of the table.
#[derive(Clone)]
struct Case<'a> {
    row: usize,
    verdict: &'a str,
    with_certificate: bool,
    name: &'a str,
    host: Host,
    file: PathBuf,
    known: KnownHosts,
}

fn our_verdict(ground: &Ground, case: &Case<'_>) -> &'static str {
    let answer = match case.with_certificate {
        true => case.known.check_certificate(&case.host, &ground.certificate, Timestamp(NOW)),
        false => case.known.check(&case.host, &ground.key("host")),
    };
    match answer {
        HostCheck::Unknown => "unknown",
        HostCheck::Changed { .. } => "changed",
        HostCheck::Known { .. } => "known",
        HostCheck::Certified { .. } => "certified",
        HostCheck::Revoked { .. } => "revoked",
        other => panic!("{other:?}"),
    }
}

/// What ssh says; it does not tell a certified host from a known one.
fn ssh_verdict(ground: &Ground, case: &Case<'_>) -> (&'static str, String) {
    let listener = ground.listener(case.with_certificate);
    let file = format!("UserKnownHostsFile={}", case.file.display());
    let algorithms = match case.with_certificate {
        true => "HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com,ssh-ed25519",
        false => "HostKeyAlgorithms=ssh-ed25519",
    };
    let alias = format!("HostKeyAlias={}", case.name);
    let mut options = vec!["-o", &file, "-o", "StrictHostKeyChecking=yes", "-o", algorithms];
    if case.name != "port" {
        options.extend(["-o", &alias]);
    }
    let login = login(listener, &ground.user, &ground.dir.path().join("login"), &options);
    let says = |words: &str| login.messages.contains(words);
    let verdict = if login.accepted {
        "known"
    } else if says("REVOKED HOST KEY DETECTED") || says("is marked as revoked") {
        "revoked"
    } else if says("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        "changed"
    } else if says("host key is known for") {
        "unknown"
    } else {
        "?"
    };
    (verdict, login.messages)
}

#[test]
fn the_table_is_right_about_this_crate_and_about_ssh() {
    let Some(sshd) = Sshd::find() else { return };
    let ground = Ground::lay(&sshd);
    let cases = ground.cases();
    let theirs = in_parallel(&cases, |case| ssh_verdict(&ground, case));
    let mut wrong = Vec::new();
    for (case, (ssh, said)) in cases.iter().zip(theirs) {
        let ours = our_verdict(&ground, case);
        let trusted = if case.verdict == "certified" { "known" } else { case.verdict };
        if ours != case.verdict || ssh != trusted {
            wrong.push(format!("row {}: here {ours}, ssh {ssh}\n{said}", case.row));
        }
    }
    assert!(wrong.is_empty(), "the table is wrong about\n{}", wrong.join("\n"));
}

#[test]
fn the_lines_found_are_those_that_ssh_keygen_finds() {
    let Some(sshd) = Sshd::find() else { return };
    let ground = Ground::lay(&sshd);
    for case in ground.cases() {
        let mut command = Command::new("ssh-keygen");
        command.args(["-F", &case.host.to_string(), "-f"]).arg(&case.file);
        let output = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
        let found = output.lines().filter(|line| line.starts_with("# Host "));
        let numbers = found.filter_map(|line| line.split(" found: line ").nth(1));
        // It does not look at the key, so it finds what has none, too, but no types unknown to it.
        let usable = |line: &usize| {
            let content = case.known.host_lines().nth(line - 1);
            matches!(content, Some(HostLine::Entry(entry)) if entry.key.is_known())
        };
        let theirs: Vec<usize> = numbers
            .map(|words| words.split(' ').next().unwrap().parse().unwrap())
            .filter(usable)
            .collect();
        let ours = case.known.find(&case.host).into_iter().map(|(line, _)| line);
        let ours: Vec<usize> = ours.filter(usable).collect();
        assert_eq!(ours, theirs, "row {}\n{output}", case.row);
    }
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|&byte| byte == b'\n').map(|line| line.trim_ascii().to_vec()).collect()
}

#[test]
fn removing_a_host_is_what_ssh_keygen_does() {
    let Some(sshd) = Sshd::find() else { return };
    let ground = Ground::lay(&sshd);
    let mut compared = 0;
    for case in ground.cases() {
        let edits = case.known.remove(&case.host);
        let ours = edits.apply(case.known.as_bytes()).unwrap();
        let after = KnownHosts::parse(ours.clone()).unwrap();
        assert!(after.remove(&case.host).is_empty(), "row {}", case.row);
        let mut command = Command::new("ssh-keygen");
        command.args(["-R", &case.host.to_string(), "-f"]).arg(&case.file);
        // It refuses files with a bad line, and cuts off what is behind a NUL.
        if command.output().unwrap().status.success() && !case.known.as_bytes().contains(&0) {
            let theirs = fs::read(&case.file).unwrap();
            assert_eq!(lines(&ours), lines(&theirs), "row {}", case.row);
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn hashing_is_what_ssh_keygen_does() {
    let Some(sshd) = Sshd::find() else { return };
    let ground = Ground::lay(&sshd);
    let mut salts = 0u8;
    let mut salt = || {
        salts = salts.wrapping_add(1);
        [salts; 20]
    };
    let mut compared = 0;
    for case in ground.cases() {
        let edits = case.known.hash(&mut salt);
        let ours = edits.apply(case.known.as_bytes()).unwrap();
        let hashed = KnownHosts::parse(ours.clone()).unwrap();
        assert!(hashed.hash(&mut salt).is_empty(), "row {}", case.row);
        let hashed = Case { known: hashed, ..case.clone() };
        assert_eq!(our_verdict(&ground, &hashed), case.verdict, "row {}", case.row);
        assert_found_alike(&hashed, &ours);
        if case.known.as_bytes().starts_with(b",") || case.known.as_bytes().starts_with(b"xxx") {
            // It would drop the whole line, or make names count that ssh does not see.
            continue;
        }
        let mut command = Command::new("ssh-keygen");
        if command.arg("-Hf").arg(&case.file).output().unwrap().status.success()
            && !case.known.as_bytes().contains(&0)
        {
            let theirs = fs::read(&case.file).unwrap();
            let tails = |bytes: &[u8]| {
                lines(bytes).iter().map(|line| without_hash(line)).collect::<Vec<_>>()
            };
            assert_eq!(tails(&ours), tails(&theirs), "row {}", case.row);
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}

/// ssh-keygen recognises the host in what was hashed here.
fn assert_found_alike(case: &Case<'_>, bytes: &[u8]) {
    let file = case.file.with_extension("ours");
    fs::write(&file, bytes).unwrap();
    let found = |file: &Path| {
        let mut command = Command::new("ssh-keygen");
        let command = command.args(["-F", &case.host.to_string(), "-f"]).arg(file);
        let found = command.output().unwrap().stdout;
        String::from_utf8_lossy(&found).matches("# Host ").count()
    };
    assert_eq!(found(&file), found(&case.file), "row {}", case.row);
}

/// Salts differ, so hashes do.
fn without_hash(line: &[u8]) -> Vec<u8> {
    match line.starts_with(b"|1|") {
        true => line[line.iter().position(|&byte| byte == b' ').unwrap_or(0)..].to_vec(),
        false => line.to_vec(),
    }
}
