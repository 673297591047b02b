//! Who gets in by an authorized_keys file: this crate and a real sshd, asked by logging in, have to
//! agree on every file of a table.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keygen_helper::{
    AuthorizedKeys, Bytes, Credential, Edits, Grant, Login, OnConflict, Options, PublicKey,
    Timestamp,
};
use support::keys::{generate, public, run};
use support::sshd::{Sshd, login, own_name};
use support::table::{in_parallel, rows, unescape};

const TABLE: &str = include_str!("data/authorized_keys.table");

/// 2026-01-01; the table has no time near it.
const NOW: Timestamp = Timestamp(1_767_225_600);

/// The pairs that log in, and what `{…}` in the table stands for.
struct Keys {
    dir: tempfile::TempDir,
    user: String,
    names: BTreeMap<String, String>,
}

impl Keys {
    fn make() -> Keys {
        let dir = tempfile::tempdir().unwrap();
        let user = own_name();
        let mut names = BTreeMap::from([("user".into(), user.clone())]);
        for (name, kind) in [
            ("ed25519", "ed25519"),
            ("other", "ed25519"),
            ("ca", "ed25519"),
            ("cert", "ed25519"),
            ("certnone", "ed25519"),
            ("certelse", "ed25519"),
            ("ecdsa256", "ecdsa -b 256"),
            ("ecdsa384", "ecdsa -b 384"),
            ("ecdsa521", "ecdsa -b 521"),
            ("rsa", "rsa -b 2048"),
        ] {
            let pair = generate(dir.path(), name, kind);
            let text = public(&pair);
            let base64 = text.split_once(' ').unwrap().1.to_owned();
            let (head, tail) = base64.split_at(40);
            names.insert(format!("{name}:head"), head.into());
            names.insert(format!("{name}:tail"), tail.into());
            names.insert(format!("{name}:unpadded"), base64.trim_end_matches('=').into());
            names.insert(format!("{name}:base64"), base64.clone());
            names.insert(name.into(), text);
        }
        let keys = Keys { dir, user, names };
        keys.certify("cert", &["-n", &keys.user]);
        keys.certify("certnone", &[]);
        keys.certify("certelse", &["-n", "uk,us"]);
        keys.with_odd_blobs()
    }

    fn certify(&self, name: &str, principals: &[&str]) {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-I", name, "-s"]).arg(self.pair("ca")).args(principals);
        run(command.arg(self.pair(name).with_extension("pub")));
    }

    /// Other ways to write down the same keys, and a key that is too short for anybody.
    fn with_odd_blobs(mut self) -> Keys {
        let decode = |base64: &String| STANDARD.decode(base64).unwrap();
        let ed25519 = decode(&self.names["ed25519:base64"]);
        let short_name = [string(b"eD25519"), ed25519[15..].to_vec()].concat();
        let rsa = decode(&self.names["rsa:base64"]);
        // The name, e = 65537, and then n of 257 bytes with its leading zero.
        let zeros = [&rsa[..18], &string(&[&[0; 5], &rsa[22..]].concat())].concat();
        let too_short = [string(b"ssh-rsa"), string(&[1, 0, 1]), string(&[0x71; 96])].concat();
        self.names.insert("ed25519:short".into(), STANDARD.encode(short_name));
        self.names.insert("rsa:zeros".into(), STANDARD.encode(zeros));
        self.names.insert("short".into(), format!("ssh-rsa {}", STANDARD.encode(too_short)));
        let certificate = fs::read_to_string(self.pair("cert-cert.pub")).unwrap();
        self.names.insert("cert:certificate".into(), certificate.trim_end().into());
        self
    }

    fn pair(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn meaning(&self, name: &str) -> Option<String> {
        match name.strip_prefix("long:") {
            Some(length) => Some("x".repeat(length.parse().ok()?)),
            None => self.names.get(name).cloned(),
        }
    }

    fn key(&self, name: &str) -> PublicKey {
        self.names[name].parse().unwrap()
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes(), bytes].concat()
}

/// One row of the table.
struct Case<'a> {
    row: usize,
    expected: bool,
    credential: &'a str,
    file: Vec<u8>,
}

fn cases(keys: &Keys) -> Vec<Case<'static>> {
    let parsed = rows(TABLE).map(|(row, text)| {
        let (verdict, rest) = text.split_once(' ').expect("a verdict");
        let (credential, file) = rest.split_once(' ').expect("a credential");
        let expected = match verdict {
            "yes" => true,
            "no" => false,
            other => panic!("row {row}: {other}?"),
        };
        Case { row, expected, credential, file: unescape(file, |name| keys.meaning(name)) }
    });
    parsed.collect()
}

fn our_verdict(keys: &Keys, case: &Case<'_>) -> bool {
    let file = AuthorizedKeys::parse(case.file.clone()).unwrap();
    let authority = keys.key("ca");
    let (key, principals): (_, &[Bytes]) = match case.credential {
        "cert" => (None, &[keys.user.as_str().into()]),
        "certnone" => (None, &[]),
        "certelse" => (None, &["uk".into(), "us".into()]),
        name => (Some(keys.key(name)), &[]),
    };
    let user = keys.user.as_bytes();
    let credential = match &key {
        Some(key) => Credential::Key(key),
        None => Credential::Certificate { authority: &authority, principals, user },
    };
    let login = Login {
        credential,
        address: "127.0.0.1".parse().unwrap(),
        host: "127.0.0.1".into(),
        now: NOW,
        utc_offset: 0,
        services: BTreeSet::from(["ssh".into()]),
    };
    file.accepts(&login).is_some()
}

#[test]
fn the_table_is_right_about_this_crate() {
    if support::peer::peer("ssh-keygen").is_none() {
        return;
    }
    let keys = Keys::make();
    let cases = cases(&keys);
    assert!(cases.len() >= 80);
    let wrong = cases.iter().filter(|case| our_verdict(&keys, case) != case.expected);
    let wrong: Vec<usize> = wrong.map(|case| case.row).collect();
    assert!(wrong.is_empty(), "rows of the table: {wrong:?}");
}

#[test]
fn the_table_is_right_about_sshd() {
    let Some(sshd) = Sshd::find() else { return };
    let keys = Keys::make();
    let cases = cases(&keys);
    let let_in = in_parallel(&cases, |case| sshd_verdict(&sshd, &keys, case));
    let wrong: Vec<String> = cases
        .iter()
        .zip(let_in)
        .filter(|(case, (accepted, _))| *accepted != case.expected)
        .map(|(case, (_, said))| format!("row {}: {said}", case.row))
        .collect();
    assert!(wrong.is_empty(), "sshd disagrees with the table:\n{}", wrong.join("\n"));
}

fn sshd_verdict(sshd: &Sshd, keys: &Keys, case: &Case<'_>) -> (bool, String) {
    let file = keys.pair(&format!("row-{}", case.row));
    fs::write(&file, &case.file).unwrap();
    let listener = sshd.listen(&[&format!("AuthorizedKeysFile {}", file.display())]);
    let login = login(&listener, &keys.user, &keys.pair(case.credential), &[]);
    (login.accepted, format!("{}\n{}", login.messages, listener.log()))
}

/// Writes the file and asks sshd by logging in.
fn asks(sshd: &Sshd, keys: &Keys, file: &AuthorizedKeys, options: &[&str]) -> support::sshd::Login {
    let path = keys.pair("asked");
    fs::write(&path, file.as_bytes()).unwrap();
    let listener = sshd.listen(&[&format!("AuthorizedKeysFile {}", path.display())]);
    login(&listener, &keys.user, &keys.pair("ed25519"), options)
}

fn applied(file: &AuthorizedKeys, edits: &Edits) -> AuthorizedKeys {
    AuthorizedKeys::parse(edits.apply(file.as_bytes()).unwrap()).unwrap()
}

#[test]
fn what_is_written_here_is_understood_there() {
    let Some(sshd) = Sshd::find() else { return };
    let keys = Keys::make();
    let key = keys.key("ed25519");
    // No final newline, and lines that end in CR LF.
    for start in ["# keys", "{other} c", "# keys\r\n{other}\r\n"] {
        let start = unescape(start, |name| keys.meaning(name));
        let start = AuthorizedKeys::parse(start).unwrap();
        for text in
            [r#"a "b" c"#, r"a\b", r#"\""#, "caf\u{e9} #", "$(x) `y` ; & |", "tab\there", ","]
        {
            let command = format!("printf %s '{text}'");
            let options = Options::restricted().with_command(command.as_bytes()).unwrap();
            let comment = [text.as_bytes(), b" \xff"].concat();
            let grant = Grant::new(key.clone(), options, &comment).unwrap();
            let edits = start.install(std::slice::from_ref(&grant), OnConflict::Refuse).unwrap();
            let file = applied(&start, &edits);
            let login = asks(&sshd, &keys, &file, &[]);
            assert!(login.accepted, "{text}: {}", login.messages);
            assert_eq!(String::from_utf8_lossy(&login.stdout), text);
            // And taken out again.
            let file = applied(&file, &file.revoke(&key.fingerprint()).edits);
            assert!(!asks(&sshd, &keys, &file, &[]).accepted, "{text}");
        }
    }
}

#[test]
fn from_counts_where_the_client_really_is() {
    let Some(sshd) = Sshd::find() else { return };
    let keys = Keys::make();
    let key = keys.key("ed25519");
    let options = Options::none().with_from(b"127.0.0.4/30,!127.0.0.6").unwrap();
    let grant = Grant::new(key.clone(), options, b"").unwrap();
    let empty = AuthorizedKeys::default();
    let file = applied(&empty, &empty.install(&[grant], OnConflict::Refuse).unwrap());
    for (address, expected) in [
        ("127.0.0.3", false),
        ("127.0.0.4", true),
        ("127.0.0.6", false),
        ("127.0.0.7", true),
        ("127.0.0.8", false),
    ] {
        let ours = file.accepts(&Login::with_key(&key, address.parse().unwrap(), NOW)).is_some();
        let theirs = asks(&sshd, &keys, &file, &["-b", address]).accepted;
        assert_eq!((ours, theirs), (expected, expected), "{address}");
    }
}

#[test]
fn local_times_are_those_of_the_server() {
    #[expect(clippy::disallowed_methods, reason = "sshd takes its time from the same clock")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp(now.as_secs());
    for (zone, hours, expected) in [("EAST-14", 14, false), ("WEST+12", -12, true)] {
        let Some(sshd) = Sshd::find() else { return };
        let sshd = sshd.in_zone(zone);
        let keys = Keys::make();
        let key = keys.key("ed25519");
        for (utc, expected) in [("", expected), ("Z", false)] {
            // An hour ago in UTC.
            let time = Timestamp(now.0 - 3600).to_string().replace('Z', utc);
            let file = format!("expiry-time=\"{time}\" {key}\n");
            let file = AuthorizedKeys::parse(file.into()).unwrap();
            let mut login = Login::with_key(&key, "127.0.0.1".parse().unwrap(), now);
            login.utc_offset = hours * 3600;
            let theirs = asks(&sshd, &keys, &file, &[]).accepted;
            assert_eq!(
                (file.accepts(&login).is_some(), theirs),
                (expected, expected),
                "{zone} {time}"
            );
        }
    }
}
