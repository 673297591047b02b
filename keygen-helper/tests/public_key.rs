//! Public keys are judged as ssh-keygen judges them.

mod support;

use std::process::Command;

use keygen_helper::{Fingerprint, PublicKey, PublicKeyError};
use proptest::prelude::*;

const KEYS: &str = include_str!("data/keys.pub");

/// The line of `ssh-keygen -l`.
fn listed(key: &PublicKey, comment: &[u8]) -> String {
    let comment = String::from_utf8_lossy(comment);
    let bits = key.bits().expect("known");
    format!("{bits} {} {comment} ({})", key.fingerprint(), key.short_name())
}

#[test]
fn every_kind_is_listed_as_ssh_keygen_lists_it() {
    let dir = tempfile::tempdir().unwrap();
    for line in KEYS.lines() {
        let (key, comment) = PublicKey::parse_line(line.as_bytes()).unwrap();
        let file = dir.path().join("key.pub");
        std::fs::write(&file, line).unwrap();
        let Ok(output) = Command::new("ssh-keygen").arg("-lf").arg(&file).output() else {
            return support::peer::skipped("ssh-keygen");
        };
        let theirs = String::from_utf8(output.stdout).unwrap();
        assert_eq!(listed(&key, comment), theirs.trim_end(), "{line}");
    }
}

#[test]
fn text_and_json_come_back() {
    for line in KEYS.lines() {
        let key: PublicKey = line.parse().unwrap();
        assert_eq!(key.to_string().parse(), Ok(key.clone()));
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), key);
        let fingerprint = key.fingerprint();
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>(), Ok(fingerprint));
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("short").to_be_bytes(), bytes].concat()
}

#[test]
fn an_algorithm_never_heard_of_is_kept() {
    let blob = [string(b"ssh-mldsa44-ed25519@openssh.com"), vec![1, 2, 3]].concat();
    let key = PublicKey::from_blob(&blob).unwrap();
    assert_eq!((key.blob(), key.bits()), (&*blob, None));
    assert_eq!(key.algorithm(), "ssh-mldsa44-ed25519@openssh.com");
    assert_eq!(key.to_string().parse(), Ok(key));
}

#[test]
fn zeros_in_front_of_a_number_make_no_other_key() {
    let number = [&[0x81][..], &[7; 255]].concat();
    let rsa = |name: &[u8], zeros: usize| {
        let n = [vec![0; zeros], number.clone()].concat();
        PublicKey::from_blob(&[string(name), string(&[1, 0, 1]), string(&n)].concat()).unwrap()
    };
    let key = rsa(b"ssh-rsa", 1);
    assert_eq!(key.bits(), Some(2048));
    for other in [rsa(b"ssh-rsa", 9), rsa(b"rsa-sha2-512", 1)] {
        assert!(key.same_key(&other) && key != other);
        assert_eq!(key.fingerprint(), other.fingerprint());
    }
}

#[test]
fn a_certificate_is_not_the_key_it_is_for() {
    let line = |start: &str| KEYS.lines().find(|line| line.starts_with(start)).unwrap();
    let cert: PublicKey = line("ssh-rsa-cert").parse().unwrap();
    let key: PublicKey = line("ssh-rsa ").parse().unwrap();
    assert!(cert.is_certificate() && !key.is_certificate());
    assert_eq!(cert.plain(), key);
    assert!(!cert.same_key(&key));
    // Nor may a line call it so.
    let lie = format!("ssh-rsa {}", cert.base64());
    assert!(matches!(lie.parse::<PublicKey>(), Err(PublicKeyError::WrongName { .. })));
}

#[test]
fn what_is_cut_short_is_refused() {
    for line in KEYS.lines() {
        let key: PublicKey = line.parse().unwrap();
        // A certificate is read to the end of its key here, and no further.
        let plain = key.plain();
        for len in 0..plain.blob().len() {
            assert!(PublicKey::from_blob(&plain.blob()[..len]).is_err(), "{len} of {plain}");
        }
    }
    for line in ["", "ssh-ed25519", "ssh-ed25519 ", "AAAA", "ssh-ed25519 AAA", "a b\nc", "\0 \0"] {
        assert!(line.parse::<PublicKey>().is_err(), "{line:?}");
    }
    let long = format!("ssh-ed25519 {}", "A".repeat(200_000));
    assert!(matches!(long.parse::<PublicKey>(), Err(PublicKeyError::TooLong(_))));
}

proptest! {
    #[test]
    fn no_bytes_panic_and_what_is_taken_comes_back(
        at in 0usize..KEYS.lines().count(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in any::<Vec<u8>>(),
    ) {
        let line = KEYS.lines().nth(at).expect("counted");
        let key: PublicKey = line.parse().expect("whole");
        let mut blob = key.blob().to_vec();
        let place = place.index(blob.len());
        blob[place] = byte;
        for blob in [&*blob, &noise] {
            let Ok(other) = PublicKey::from_blob(blob) else { continue };
            prop_assert_eq!(other.blob(), blob);
            prop_assert_eq!(other.to_string().parse::<PublicKey>().map(|read| read.blob().to_vec()), Ok(blob.to_vec()));
            prop_assert_eq!(key.same_key(&other), other.same_key(&key));
            // Nothing but zeros in front and other names make two blobs one key.
            if !key.is_certificate() && key.same_key(&other) {
                prop_assert_eq!(key.fingerprint(), other.fingerprint());
            }
            let _ = (other.bits(), other.short_name(), other.plain(), other.is_certificate());
        }
        let mut text = line.as_bytes().to_vec();
        let place = place % text.len();
        text[place] = byte;
        let _ = PublicKey::parse_line(&text);
        let _ = PublicKey::parse_line(&noise);
        let _ = String::from_utf8_lossy(&noise).parse::<Fingerprint>();
    }
}

/// Who gives the wrong file does not find a part of a passphrase in a log.
#[test]
fn nothing_of_what_is_no_key_is_shown() {
    for text in [
        "canary horse battery staple",
        "canary c3RhcGxl battery",
        "canary AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY",
        "canary AAAAB2NhbmFyeTIAAAAA",
    ] {
        let error = PublicKey::parse_line(text.as_bytes()).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}
