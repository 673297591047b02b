//! Keys made and read here, judged by ssh-keygen; hostile key files.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use keygen_helper::{
    Cipher, Container, Curve, KeyError, KeyKind, KeyPair, Lock, MAX_ROUNDS, Passphrase,
    PrivateKeyFile, Rounds, RsaBits, Strength, SystemRandomness,
};
use proptest::prelude::*;

const KINDS: [KeyKind; 6] = [
    KeyKind::Ed25519,
    KeyKind::Rsa(RsaBits::Bits3072),
    KeyKind::Rsa(RsaBits::Bits4096),
    KeyKind::Ecdsa(Curve::P256),
    KeyKind::Ecdsa(Curve::P384),
    KeyKind::Ecdsa(Curve::P521),
];

const CIPHERS: [&str; 10] = [
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-cbc",
    "aes192-cbc",
    "aes128-cbc",
    "3des-cbc",
];

/// ssh-keygen, or nothing where it is not installed, which only passes without `INTEROP=required`.
fn ssh_keygen(arguments: &[&str]) -> Option<Output> {
    match Command::new("ssh-keygen").args(arguments).output() {
        Ok(output) => Some(output),
        Err(_) => {
            let required = std::env::var_os("INTEROP").is_some_and(|value| value == "required");
            assert!(!required, "INTEROP=required, and there is no ssh-keygen");
            println!("skipped: no ssh-keygen");
            None
        }
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn new_key(kind: KeyKind) -> KeyPair {
    KeyPair::generate(kind, "anna@uk # 1", &mut SystemRandomness).unwrap()
}

#[test]
fn ssh_keygen_reads_every_kind_plain_and_locked_with_every_cipher() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let key = new_key(kind);
        assert_eq!(key.kind(), Some(kind));
        let ciphers = if kind == KeyKind::Ed25519 { &CIPHERS[..] } else { &CIPHERS[..1] };
        let locks = ciphers.iter().map(|name| {
            let lock = Lock::new(passphrase("canary")).rounds(Rounds::new(4).unwrap());
            Some(lock.cipher(name.parse().unwrap()))
        });
        for lock in locks.chain([None]) {
            let path = folder.path().join("key");
            put(&path, &key.to_openssh(lock.as_ref(), &mut SystemRandomness).unwrap());
            let phrase = if lock.is_some() { "canary" } else { "" };
            let Some(shown) = ssh_keygen(&["-y", "-P", phrase, "-f", text(&path)]) else { return };
            let shown = String::from_utf8(shown.stdout).unwrap();
            let ours = String::from_utf8(key.public_line()).unwrap();
            assert_eq!(shown.trim_end(), ours.trim_end(), "{kind} {lock:?}");

            let listed = ssh_keygen(&["-l", "-f", text(&path)]).unwrap();
            let listed = String::from_utf8(listed.stdout).unwrap();
            let bits = key.public_key().bits().unwrap();
            let start = format!("{bits} {} ", key.public_key().fingerprint());
            assert!(listed.starts_with(&start), "{listed}");
        }
    }
}

/// A key that ssh-keygen makes, with these options more; nothing without ssh-keygen.
fn made_by_ssh_keygen(folder: &Path, options: &[&str], phrase: &str) -> Option<PathBuf> {
    let path = folder.join("made");
    let _ = fs::remove_file(&path);
    let mut arguments = vec!["-q", "-N", phrase, "-C", "anna and bert", "-f", text(&path)];
    arguments.extend_from_slice(options);
    let output = ssh_keygen(&arguments)?;
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(path)
}

/// Reads a file of ssh-keygen's and compares with the `.pub` beside it.
fn assert_read(path: &Path, phrase: &str) -> PrivateKeyFile {
    let file = PrivateKeyFile::parse(&fs::read(path).unwrap()).unwrap();
    assert_eq!(file.is_locked(), !phrase.is_empty());
    let right = (!phrase.is_empty()).then(|| passphrase(phrase));
    let key = file.unlock(right.as_ref()).unwrap();
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    assert_eq!(
        key.public_key().to_string(),
        public.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ")
    );
    if file.is_locked() {
        let error = file.unlock(Some(&passphrase("wrong"))).unwrap_err();
        assert!(matches!(error, KeyError::WrongPassphrase), "{error}");
        assert!(error.to_string().contains("passphrase is wrong"));
        assert!(matches!(file.unlock(None), Err(KeyError::PassphraseRequired)));
    }
    file
}

#[test]
fn what_ssh_keygen_makes_is_read_whatever_cipher_and_container() {
    let folder = tempfile::tempdir().unwrap();
    let kinds: [&[&str]; 7] = [
        &["-t", "ed25519"],
        &["-t", "rsa", "-b", "1024"],
        &["-t", "rsa", "-b", "2048"],
        &["-t", "rsa", "-b", "3072"],
        &["-t", "ecdsa", "-b", "256"],
        &["-t", "ecdsa", "-b", "384"],
        &["-t", "ecdsa", "-b", "521"],
    ];
    for kind in kinds {
        for phrase in ["", "pass phrase"] {
            for container in [None, Some("PEM"), Some("PKCS8")] {
                let mut options = kind.to_vec();
                options.extend(["-a", "2"]);
                options.extend(container.iter().flat_map(|name| ["-m", name]));
                let Some(path) = made_by_ssh_keygen(folder.path(), &options, phrase) else {
                    return;
                };
                let file = assert_read(&path, phrase);
                // ssh-keygen knows no other container for Ed25519, and takes its own.
                let expected = match (container, kind[1]) {
                    (None, _) | (_, "ed25519") => Container::OpenSsh,
                    (Some("PKCS8"), _) => Container::Pkcs8,
                    (_, "rsa") => Container::Pkcs1,
                    _ => Container::Sec1,
                };
                assert_eq!(file.container(), expected, "{options:?}");
            }
        }
    }
    for cipher in CIPHERS {
        let options = ["-t", "ed25519", "-a", "1", "-Z", cipher];
        let path = made_by_ssh_keygen(folder.path(), &options, "pass phrase").unwrap();
        let file = assert_read(&path, "pass phrase");
        let key = file.unlock(Some(&passphrase("pass phrase"))).unwrap();
        assert_eq!(key.comment(), b"anna and bert");
    }
}

/// Private numbers that begin with zero bytes are written shorter: half of all keys on P-521.
#[test]
fn short_private_numbers_are_read() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..12 {
        let options = ["-t", "ecdsa", "-b", "521"];
        let Some(path) = made_by_ssh_keygen(folder.path(), &options, "") else { return };
        assert_read(&path, "");
        let key = new_key(KeyKind::Ecdsa(Curve::P521));
        put(&path, &key.to_openssh(None, &mut SystemRandomness).unwrap());
        put(&path.with_extension("pub"), &key.public_line());
        assert_read(&path, "");
    }
}

#[test]
fn two_hundred_rounds_are_computed() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["-t", "ed25519", "-a", "200"];
    let Some(path) = made_by_ssh_keygen(folder.path(), &options, "pass phrase") else { return };
    let file = PrivateKeyFile::parse(&fs::read(&path).unwrap()).unwrap();
    file.unlock(Some(&passphrase("pass phrase"))).unwrap();
}

/// PKCS#8 as the openssl program writes it, with what it offers for locking.
#[test]
fn what_openssl_locks_is_read_or_told_how_to_convert() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output();
    let plain = at("plain");
    let made = match openssl(&["genpkey", "-algorithm", "ed25519", "-out", text(&plain)]) {
        Ok(made) => made,
        Err(_) => return support::peer::skipped("openssl"),
    };
    assert!(made.status.success());
    let read = PrivateKeyFile::parse(&fs::read(&plain).unwrap()).unwrap();
    let key = read.unlock(None).unwrap();
    let locked = at("locked");
    let convert = |options: &[&str]| {
        let mut arguments = vec!["pkcs8", "-topk8", "-in", text(&plain), "-out", text(&locked)];
        arguments.extend(["-passout", "pass:pass phrase"]);
        arguments.extend_from_slice(options);
        let output = openssl(&arguments).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PrivateKeyFile::parse(&fs::read(&locked).unwrap()).unwrap()
    };
    let schemes: [&[&str]; 5] = [
        &["-v2", "aes-256-cbc"],
        &["-v2", "aes-128-cbc", "-iter", "100000"],
        &["-v2", "des3"],
        &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"],
        &["-scrypt"],
    ];
    for options in schemes {
        let file = convert(options);
        let opened = file.unlock(Some(&passphrase("pass phrase"))).unwrap();
        assert_eq!(opened.public_key(), key.public_key(), "{options:?}");
        let error = file.unlock(Some(&passphrase("wrong"))).unwrap_err();
        assert!(matches!(error, KeyError::WrongPassphrase), "{options:?}: {error}");
    }
    // OpenSSL would count that far itself, so the number is put into a file with a smaller one.
    convert(&["-v2", "aes-256-cbc", "-iter", "70000"]);
    let mut der = unarmoured(&fs::read(&locked).unwrap());
    let place = der.windows(5).position(|bytes| bytes == [2, 3, 1, 0x11, 0x70]).unwrap();
    der[place + 2..place + 5].copy_from_slice(&[0x7f, 0xff, 0xff]);
    let file = PrivateKeyFile::parse(&armoured("ENCRYPTED PRIVATE KEY", &der)).unwrap();
    let error = file.unlock(Some(&passphrase("pass phrase"))).unwrap_err();
    assert!(matches!(error, KeyError::TooManyRounds { asked: 0x7f_ffff, .. }), "{error}");
    for options in [&["-v1", "PBE-SHA1-3DES"][..], &["-v2", "aria-256-cbc"]] {
        let error = convert(options).unlock(Some(&passphrase("pass phrase"))).unwrap_err();
        assert!(error.to_string().contains("openssl pkey"), "{options:?}: {error}");
    }
}

#[test]
fn other_formats_are_refused_with_the_way_to_convert_them() {
    let key = new_key(KeyKind::Ed25519);
    let cases: [(&[u8], &str); 7] = [
        (b"PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen"),
        (b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", "ssh-keygen -i"),
        (b"-----BEGIN DSA PRIVATE KEY-----\nAAAA\n-----END DSA PRIVATE KEY-----\n", "ed25519"),
        (&key.public_line(), "public key"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no private key"),
        (b"", "no private key"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "damaged"),
    ];
    for (bytes, hint) in cases {
        let error = PrivateKeyFile::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(hint), "{error}");
    }
}

fn unarmoured(file: &[u8]) -> Vec<u8> {
    let lines = str::from_utf8(file).unwrap().lines();
    let base64: String = lines.filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(&base64).unwrap()
}

fn armoured(label: &str, bytes: &[u8]) -> Vec<u8> {
    let base64 = STANDARD.encode(bytes);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n").into_bytes()
}

/// A locked key that asks for another number of rounds.
fn with_rounds(rounds: u32) -> Vec<u8> {
    let lock = Lock::new(passphrase("pass phrase")).rounds(Rounds::new(1).unwrap());
    let key = new_key(KeyKind::Ed25519);
    let file = key.to_openssh(Some(&lock), &mut SystemRandomness).unwrap();
    let mut bytes = unarmoured(&file);
    // magic, "aes256-ctr", "bcrypt", options: length, salt with its length, rounds.
    let place = 15 + 4 + 10 + 4 + 6 + 4 + 4 + 16;
    assert_eq!(bytes[place..place + 4], 1u32.to_be_bytes());
    bytes[place..place + 4].copy_from_slice(&rounds.to_be_bytes());
    armoured("OPENSSH PRIVATE KEY", &bytes)
}

#[test]
fn too_many_rounds_are_refused_before_the_first() {
    for rounds in [MAX_ROUNDS + 1, 1 << 20, u32::MAX] {
        let file = PrivateKeyFile::parse(&with_rounds(rounds)).unwrap();
        let error = file.unlock(Some(&passphrase("pass phrase"))).unwrap_err();
        assert!(matches!(error, KeyError::TooManyRounds { asked, .. } if asked == rounds.into()));
        assert!(error.to_string().contains("ssh-keygen -p"), "{error}");
    }
    let file = PrivateKeyFile::parse(&with_rounds(0)).unwrap();
    assert!(matches!(file.unlock(Some(&passphrase("x"))), Err(KeyError::Damaged(_))));
}

#[test]
fn huge_files_are_refused_unread() {
    let huge = vec![b'A'; 10 << 20];
    assert!(matches!(PrivateKeyFile::parse(&huge), Err(KeyError::TooLarge)));
}

#[test]
fn every_truncation_is_refused() {
    for lock in [None, Some(Lock::new(passphrase("x")).rounds(Rounds::new(1).unwrap()))] {
        let key = new_key(KeyKind::Ecdsa(Curve::P256));
        let whole = key.to_openssh(lock.as_ref(), &mut SystemRandomness).unwrap();
        for length in 0..whole.len() - 1 {
            let Ok(file) = PrivateKeyFile::parse(&whole[..length]) else { continue };
            assert!(file.unlock(Some(&passphrase("x"))).is_err(), "{length}");
        }
    }
}

/// Every byte in turn is changed; the key that comes out, if any, is the one that went in.
#[test]
fn a_changed_byte_never_gives_another_key() {
    let key = new_key(KeyKind::Ed25519);
    let whole = key.to_openssh(None, &mut SystemRandomness).unwrap();
    for place in 0..whole.len() {
        let mut changed = whole.to_vec();
        changed[place] ^= 1;
        let read = PrivateKeyFile::parse(&changed).and_then(|file| file.unlock(None));
        if let Ok(read) = read {
            assert_eq!(read.public_key(), key.public_key());
        }
    }
}

#[test]
fn secrets_are_not_shown() {
    let lock = Lock::new(passphrase("canary")).rounds(Rounds::new(1).unwrap());
    for kind in [KeyKind::Ed25519, KeyKind::Ecdsa(Curve::P256)] {
        let key = new_key(kind);
        let file = key.to_openssh(Some(&lock), &mut SystemRandomness).unwrap();
        let file = PrivateKeyFile::parse(&file).unwrap();
        let error = file.unlock(Some(&passphrase("canary2"))).unwrap_err();
        let shown =
            format!("{key:?} {file:?} {lock:?} {:?} {error} {error:?}", passphrase("canary"));
        let only = format!("{:?}", key.public_key());
        assert!(!shown.contains("canary"), "{shown}");
        assert_eq!(
            shown.matches("ssh-ed25519 ").count() + shown.matches("ecdsa-sha2-nistp256 ").count(),
            2,
            "{shown} {only}"
        );
    }
}

#[test]
fn a_comment_is_one_line() {
    for comment in ["a\nb", "a\rb", "a\0b"] {
        let made = KeyPair::generate(KeyKind::Ed25519, comment, &mut SystemRandomness);
        assert!(matches!(made, Err(KeyError::Comment)));
    }
}

#[test]
fn strength_goes_by_algorithm_and_size() {
    assert_eq!(new_key(KeyKind::Ed25519).public_key().strength(), Strength::Strong);
    assert_eq!(new_key(KeyKind::Rsa(RsaBits::Bits3072)).public_key().strength(), Strength::Strong);
    let folder = tempfile::tempdir().unwrap();
    for (bits, weak) in [("1024", true), ("2048", false)] {
        let options = ["-t", "rsa", "-b", bits];
        let Some(path) = made_by_ssh_keygen(folder.path(), &options, "") else { return };
        let key = PrivateKeyFile::parse(&fs::read(&path).unwrap()).unwrap();
        let strength = key.public_key().unwrap().strength();
        assert_eq!(matches!(strength, Strength::Weak(_)), weak, "{strength:?}");
        assert_eq!(matches!(strength, Strength::Ageing(_)), !weak, "{strength:?}");
    }
}

#[test]
fn ciphers_have_openssh_names() {
    for name in CIPHERS {
        assert_eq!(name.parse::<Cipher>().unwrap().name(), name);
    }
    assert!("rot13".parse::<Cipher>().unwrap_err().to_string().contains("aes256-ctr"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _ = PrivateKeyFile::parse(&bytes);
    }

    /// Random bytes in proper armour, and a proper start for half of them.
    #[test]
    fn arbitrary_contents_never_panic(
        label in prop::sample::select(vec![
            "OPENSSH PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY",
        ]),
        magic: bool,
        content in prop::collection::vec(any::<u8>(), 0..1024),
    ) {
        let mut bytes = if magic { b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01".to_vec() } else { Vec::new() };
        bytes.extend_from_slice(&content);
        if let Ok(file) = PrivateKeyFile::parse(&armoured(label, &bytes)) {
            let _ = file.unlock(Some(&passphrase("x")));
        }
    }

    #[test]
    fn what_is_written_is_read(comment in "[^\n\r\0]{0,40}", locked: bool) {
        let key = KeyPair::generate(KeyKind::Ed25519, &comment, &mut SystemRandomness).unwrap();
        let lock = Lock::new(passphrase("x")).rounds(Rounds::new(1).unwrap());
        let file = key.to_openssh(locked.then_some(&lock), &mut SystemRandomness).unwrap();
        let read = PrivateKeyFile::parse(&file).unwrap().unlock(Some(&passphrase("x"))).unwrap();
        prop_assert_eq!(read.comment(), comment.as_bytes());
        prop_assert_eq!(read.public_key(), key.public_key());
        prop_assert_eq!(read.public_line().iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
