//! known_hosts: what is not touched keeps every byte, and what is revoked stays so.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use keygen_helper::{
    AddHostError, Certificate, Host, HostCheck, KeyKind, KeyPair, KnownHosts, Objection, PublicKey,
    SystemRandomness, Timestamp, Validity, Warrant,
};
use proptest::prelude::*;

#[path = "support/document.rs"]
mod document;
use document::document;

/// A key that differs from those with another number.
fn key(number: u8) -> PublicKey {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([number; 32]);
    PublicKey::from_blob(&blob).unwrap()
}

fn file(bytes: impl Into<Vec<u8>>) -> KnownHosts {
    KnownHosts::parse(bytes.into()).unwrap()
}

const HOSTS: [&str; 4] = ["uk", "us", "[uk]:2222", "192.0.2.1"];

fn host(number: usize) -> Host {
    HOSTS[number].parse().unwrap()
}

/// Lines of every sort, about few hosts with few keys, so that they meet.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let marker = prop_oneof![6 => Just(""), 1 => Just("@revoked "), 1 => Just("@cert-authority "), 1 => Just("@what ")];
    let names = prop_oneof![
        6 => (0..HOSTS.len()).prop_map(|number| HOSTS[number].to_owned()),
        1 => Just("uk,us".to_owned()),
        1 => Just("*,!us".to_owned()),
        1 => Just("|1|AAAA|AAAA".to_owned()),
        1 => "[a-z,*?!|]{0,8}",
    ];
    let entry =
        (marker, names, 0u8..3, any::<Vec<u8>>()).prop_map(|(marker, names, number, comment)| {
            let mut line = format!("{marker}{names} {} ", key(number)).into_bytes();
            line.extend(comment.iter().filter(|byte| **byte != b'\n'));
            line
        });
    let noise = any::<Vec<u8>>()
        .prop_map(|bytes| bytes.into_iter().filter(|byte| *byte != b'\n').collect());
    prop_oneof![5 => entry, 1 => noise, 1 => Just(b"# comment".to_vec())]
}

proptest! {
    #[test]
    fn adding_keeps_all_else_and_twice_is_once(
        bytes in document(line()),
        at in 0..HOSTS.len(),
        number in 0u8..3,
        salt in prop::option::of(any::<[u8; 20]>()),
    ) {
        let (before, host, key) = (file(bytes.clone()), host(at), key(number));
        match before.add(&host, &key, salt) {
            Ok(edits) => {
                let after = file(edits.apply(&bytes).unwrap());
                prop_assert!(after.as_bytes().starts_with(&bytes));
                prop_assert!(after.check(&host, &key).is_trusted());
                prop_assert!(after.add(&host, &key, salt).unwrap().is_empty());
                let count = before.host_lines().count();
                let old: Vec<_> = before.host_lines().collect();
                let new: Vec<_> = after.host_lines().take(count).collect();
                prop_assert_eq!(old, new);
            }
            Err(AddHostError::Revoked { .. }) => {
                let revoked = matches!(before.check(&host, &key), HostCheck::Revoked { .. });
                prop_assert!(revoked);
            }
            Err(AddHostError::Changed { .. }) => {
                let changed = matches!(before.check(&host, &key), HostCheck::Changed { .. });
                prop_assert!(changed);
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }

    #[test]
    fn a_removed_host_is_unknown_and_what_was_revoked_still_is(bytes in document(line()), at in 0..HOSTS.len()) {
        let (before, host) = (file(bytes.clone()), host(at));
        let edits = before.remove(&host);
        let after = file(edits.apply(&bytes).unwrap());
        prop_assert!(after.remove(&host).is_empty());
        for number in 0..3 {
            let (then, now) = (before.check(&host, &key(number)), after.check(&host, &key(number)));
            let revoked = |answer: &HostCheck| matches!(answer, HostCheck::Revoked { .. });
            prop_assert_eq!(revoked(&then), revoked(&now));
            // Its name without the port is another entry.
            let without_port = host.port() != 22 && after.check(&Host::new(host.name(), 22).unwrap(), &key(number)).is_trusted();
            prop_assert!(revoked(&now) || now == HostCheck::Unknown || without_port, "{now:?}");
        }
        // The lines that are left are left whole, in their order.
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        for line in after.as_bytes().split_inclusive(|byte| *byte == b'\n') {
            prop_assert!(lines.any(|old| old == line));
        }
    }

    #[test]
    fn hashing_changes_no_answer(bytes in document(line()), first in any::<u8>()) {
        let before = file(bytes.clone());
        let mut next = first;
        let mut salt = || {
            next = next.wrapping_add(1);
            [next; 20]
        };
        let edits = before.hash(&mut salt);
        let after = file(edits.apply(&bytes).unwrap());
        prop_assert!(after.hash(&mut salt).is_empty());
        for (at, number) in (0..HOSTS.len()).flat_map(|at| (0..3).map(move |number| (at, number))) {
            let kind = |file: &KnownHosts| std::mem::discriminant(&file.check(&host(at), &key(number)));
            prop_assert_eq!(kind(&before), kind(&after));
        }
    }

    #[test]
    fn a_line_that_revokes_wins_wherever_it_stands(bytes in document(line()), at in 0..HOSTS.len(), first in any::<bool>()) {
        let revokes = format!("@revoked {} {}\n", HOSTS[at], key(0)).into_bytes();
        let bytes = match first {
            true => [revokes, bytes].concat(),
            false => [bytes, b"\n".to_vec(), revokes].concat(),
        };
        let known = file(bytes);
        let revoked = |answer: HostCheck| matches!(answer, HostCheck::Revoked { .. });
        prop_assert!(revoked(known.check(&host(at), &key(0))));
    }

    #[test]
    fn a_certificate_is_revoked_with_its_key_or_its_authority(bytes in document(line()), at in 0..HOSTS.len(), authority in any::<bool>()) {
        let certificate = certificate(Warrant::host("uk", HELD).principal(host(at).name()));
        let key = if authority { &certificate.authority } else { &certificate.subject };
        let revokes = format!("\n@revoked {} {key}\n@cert-authority * {}\n", HOSTS[at], certificate.authority);
        let known = file([bytes, revokes.into_bytes()].concat());
        let answer = known.check_certificate(&host(at), &certificate, NOW);
        prop_assert!(matches!(answer, HostCheck::Revoked { .. }), "{answer:?}");
    }

    #[test]
    fn no_text_is_too_odd_for_a_host(text in any::<String>(), name in "[a-z:.\\[\\]0-9*%-]{0,12}") {
        for text in [text, name] {
            if let Ok(host) = text.parse::<Host>() {
                prop_assert_eq!(host.to_string().parse(), Ok(host));
            }
        }
    }
}

const NOW: Timestamp = Timestamp(1_800_000_000);
const HELD: Validity = Validity { after: NOW, before: Timestamp(NOW.0 + 1) };

fn certificate(warrant: Warrant) -> Certificate {
    let mut randomness = SystemRandomness;
    let mut pair = || KeyPair::generate(KeyKind::Ed25519, "", &mut randomness).unwrap();
    let (subject, authority) = (pair().public_key(), pair());
    warrant.issue(&subject, &authority, &mut randomness).unwrap()
}

#[test]
fn a_certificate_counts_only_while_it_holds_and_else_its_key_does() {
    let uk = || Warrant::host("uk", HELD).principal("uk");
    let flipped = || {
        let mut blob = certificate(uk()).public_key().blob().to_vec();
        *blob.last_mut().unwrap() ^= 1;
        Certificate::read(&PublicKey::from_blob(&blob).unwrap()).unwrap()
    };
    let later = Validity { after: HELD.before, before: Timestamp(u64::MAX) };
    let earlier = Validity { after: Timestamp(0), before: NOW };
    for (certificate, expected) in [
        (certificate(uk()), None),
        (flipped(), Some(Objection::BadSignature)),
        (certificate(Warrant::user("uk", HELD).principal("uk")), Some(Objection::WrongKind)),
        (certificate(Warrant::host("uk", HELD).principal("us")), Some(Objection::WrongName)),
        (
            certificate(Warrant::host("uk", later).principal("uk")),
            Some(Objection::NotYet(later.after)),
        ),
        (certificate(Warrant::host("uk", earlier).principal("uk")), Some(Objection::Expired(NOW))),
    ] {
        let host = host(0);
        let line = format!("@cert-authority uk {}\n", certificate.authority);
        let answer = file(&*line).check_certificate(&host, &certificate, NOW);
        assert_eq!(answer.is_trusted(), expected.is_none());
        assert_eq!(
            answer,
            match expected.clone() {
                None => HostCheck::Certified { line: 1 },
                Some(objection) => HostCheck::Objected { line: 1, objection },
            }
        );
        let json = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<HostCheck>(&json).unwrap(), answer);
        // The key by itself is known, or another one is.
        let known = file(format!("{line}uk {}\n", certificate.subject));
        let answer = known.check_certificate(&host, &certificate, NOW);
        assert_eq!(matches!(answer, HostCheck::Known { line: 2 }), expected.is_some());
        let other = file(format!("{line}uk {}\n", key(0)));
        let answer = other.check_certificate(&host, &certificate, NOW);
        assert_eq!(matches!(answer, HostCheck::Changed { .. }), expected.is_some());
    }
}

#[test]
fn a_key_revoked_for_the_name_is_revoked_on_every_port() {
    let known = file(format!("@revoked uk {0}\n[uk]:2222 {0}\n", key(1)));
    let answer = known.check(&"uk:2222".parse().unwrap(), &key(1));
    assert_eq!(answer, HostCheck::Revoked { line: 1 });
}

#[test]
fn of_several_files_the_one_that_revokes_or_knows_counts() {
    let host = host(0);
    let answers = |files: [String; 3]| {
        files.map(|text| file(text).check(&host, &key(1))).into_iter().max().unwrap()
    };
    let (known, other) = (format!("uk {}\n", key(1)), format!("uk {}\n", key(2)));
    let revoked = format!("@revoked uk {}\n", key(1));
    let none = String::new();
    assert!(answers([none.clone(), other.clone(), known.clone()]).is_trusted());
    assert!(matches!(answers([none.clone(), other, none.clone()]), HostCheck::Changed { .. }));
    assert_eq!(answers([known, revoked, none]), HostCheck::Revoked { line: 1 });
}
