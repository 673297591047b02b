//! Editing authorized_keys: what is not touched keeps every byte.

#![expect(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use std::net::IpAddr;

use keygen_helper::{
    AuthorizedKeys, Bytes, Change, EditError, Edits, Grant, GrantError, Login, OnConflict,
    OptionError, Options, PublicKey, Timestamp, Verdict,
};
use proptest::prelude::*;

#[path = "support/document.rs"]
mod document;
use document::document;

const NOW: Timestamp = Timestamp(1_767_225_600);

/// A key that differs from those with another number.
fn key(number: u8) -> PublicKey {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([number; 32]);
    PublicKey::from_blob(&blob).unwrap()
}

fn file(bytes: impl Into<Vec<u8>>) -> AuthorizedKeys {
    AuthorizedKeys::parse(bytes.into()).unwrap()
}

fn grant(number: u8, options: Options) -> Grant {
    Grant::new(key(number), options, b"new").unwrap()
}

fn applied(before: &AuthorizedKeys, edits: &Edits) -> AuthorizedKeys {
    file(edits.apply(before.as_bytes()).unwrap())
}

fn lets_in(file: &AuthorizedKeys, key: &PublicKey) -> bool {
    let address: IpAddr = "192.0.2.1".parse().unwrap();
    file.accepts(&Login::with_key(key, address, NOW)).is_some()
}

/// Lines of every sort, with few different keys, so that they meet.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let options = prop_oneof![
        4 => Just(""),
        2 => Just("restrict "),
        1 => Just("from=\"192.0.2.*\",no-pty "),
        1 => Just("command=\"say \\\"x\\\", y\" \t"),
        1 => Just("expiry-time=\"20200101Z\" "),
        1 => Just("cert-authority "),
        1 => Just("BLAH "),
        1 => Just("#"),
        1 => Just("  "),
        1 => Just("\""),
    ];
    let comment = prop_oneof![Just(Vec::new()), any::<Vec<u8>>()];
    let entry = (options, 0u8..4, comment).prop_map(|(options, number, comment)| {
        let mut line = format!("{options}{} ", key(number)).into_bytes();
        line.extend(comment.iter().filter(|byte| **byte != b'\n'));
        line
    });
    let noise = any::<Vec<u8>>()
        .prop_map(|bytes| bytes.into_iter().filter(|byte| *byte != b'\n').collect());
    prop_oneof![4 => entry, 1 => noise, 1 => Just(Vec::new())]
}

fn some_options() -> impl Strategy<Value = Options> {
    prop_oneof![
        Just(Options::none()),
        Just(Options::restricted()),
        Just(Options::restricted().with_from(b"192.0.2.*").unwrap()),
        Just(Options::none().with_cert_authority(None).unwrap()),
        any::<Vec<u8>>().prop_filter_map("unwritable", |command| {
            Options::none().with_command(&command).ok()
        }),
    ]
}

fn grants() -> impl Strategy<Value = Vec<Grant>> {
    let one = (0u8..4, some_options()).prop_map(|(number, options)| grant(number, options));
    prop::collection::vec(one, 0..4)
}

/// What is left of the old lines when those that the edits name are taken away, each whole.
fn untouched(before: &[u8], edits: &Edits) -> Vec<Vec<u8>> {
    let named: Vec<usize> = edits
        .changes()
        .iter()
        .filter_map(|change| match change {
            Change::Remove { line, .. } | Change::Replace { line, .. } => Some(*line),
            _ => None,
        })
        .collect();
    let lines = before.split_inclusive(|byte| *byte == b'\n').enumerate();
    lines.filter(|(at, _)| !named.contains(&(at + 1))).map(|(_, line)| line.to_vec()).collect()
}

/// Whether `part` is what is left of `whole` when some lines go. A line that was open at the end
/// may have got an end.
fn is_left_of(part: &[Vec<u8>], whole: &[u8]) -> bool {
    let mut lines = whole.split_inclusive(|byte| *byte == b'\n');
    part.iter().all(|sought| {
        lines.any(|line| {
            line == sought
                || (!sought.ends_with(b"\n")
                    && line.trim_ascii_end() == sought.trim_ascii_end()
                    && line.starts_with(sought))
        })
    })
}

proptest! {
    #[test]
    fn installing_keeps_all_else_and_twice_is_once(bytes in document(line()), grants in grants()) {
        let before = file(bytes.clone());
        let Ok(edits) = before.install(&grants, OnConflict::Refuse) else { return Ok(()) };
        // Nothing but appending, and the whole old file is the start of the new one.
        let after = applied(&before, &edits);
        prop_assert!(after.as_bytes().starts_with(&bytes));
        let appends = |change: &Change| matches!(change, Change::Append { .. });
        prop_assert!(edits.changes().iter().all(appends));
        let again = after.install(&grants, OnConflict::Refuse).unwrap();
        prop_assert!(again.is_empty(), "{again}");
        // Every line of before says what it said, and each grant has a line of its own.
        let count = before.contents().count();
        let old: Vec<_> = before.contents().collect();
        let new: Vec<_> = after.contents().take(count).collect();
        prop_assert_eq!(old, new);
        prop_assert_eq!(after.contents().count(), count + edits.changes().len());
    }

    #[test]
    fn replacing_leaves_one_line_of_a_key_and_keeps_all_else(
        bytes in document(line()),
        grants in grants(),
    ) {
        let before = file(bytes.clone());
        let edits = before.install(&grants, OnConflict::Replace).unwrap();
        let after = applied(&before, &edits);
        prop_assert!(is_left_of(&untouched(&bytes, &edits), after.as_bytes()));
        prop_assert!(after.install(&grants[grants.len().saturating_sub(1)..], OnConflict::Refuse).unwrap().is_empty());
    }

    #[test]
    fn the_whole_desired_set_and_nothing_else_gets_in(bytes in document(line()), number in 0u8..4) {
        let before = file(bytes.clone());
        let grants = [grant(number, Options::none())];
        let edits = before.replace_all(&grants);
        let after = applied(&before, &edits);
        for other in 0..4 {
            prop_assert_eq!(lets_in(&after, &key(other)), other == number);
        }
        prop_assert!(is_left_of(&untouched(&bytes, &edits), after.as_bytes()));
        prop_assert!(after.replace_all(&grants).is_empty());
        prop_assert_eq!(after.usable(), 1);
    }

    #[test]
    fn revoking_removes_every_occurrence_and_no_other_byte(bytes in document(line()), number in 0u8..4) {
        let before = file(bytes.clone());
        let revocation = before.revoke(&key(number).fingerprint());
        let after = applied(&before, &revocation.edits);
        prop_assert!(!lets_in(&after, &key(number)));
        prop_assert_eq!(after.as_bytes(), untouched(&bytes, &revocation.edits).concat());
        for other in (0..4).filter(|other| *other != number) {
            prop_assert_eq!(lets_in(&after, &key(other)), lets_in(&before, &key(other)));
        }
        prop_assert!(after.revoke(&key(number).fingerprint()).edits.is_empty());
    }

    #[test]
    fn a_restricted_key_is_never_undone(bytes in document(line()), number in 0u8..4) {
        let before = file(bytes);
        let asked = [grant(number, Options::none())];
        let conflict = before.install(&asked, OnConflict::Refuse).is_err();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let verdicts = before.verdicts(&Login::with_key(&key(number), address, NOW));
        let limits = |verdict: &Verdict| match verdict {
            Verdict::Accepted(options) => *options != Options::none(),
            Verdict::Refused(refusal) => *refusal != keygen_helper::Refusal::Authority,
            _ => false,
        };
        prop_assert_eq!(conflict, verdicts.iter().any(limits));
    }

    #[test]
    fn any_bytes_are_read_judged_and_kept(bytes in any::<Vec<u8>>(), options in any::<Vec<u8>>()) {
        let before = file(bytes.clone());
        prop_assert_eq!(before.as_bytes(), &*bytes);
        let _ = before.verdicts(&Login::with_key(&key(0), "::1".parse().unwrap(), NOW));
        let edits = before.install(&[grant(0, Options::none())], OnConflict::Refuse).unwrap();
        let after = applied(&before, &edits);
        prop_assert!(lets_in(&after, &key(0)));
        if let Ok(read) = Options::parse(&options) {
            prop_assert_eq!(Options::parse(&read.to_bytes()), Ok(read));
        }
    }

    #[test]
    fn any_comment_and_command_make_one_line(comment in any::<Vec<u8>>(), command in any::<Vec<u8>>()) {
        let Ok(options) = Options::restricted().with_command(&command) else { return Ok(()) };
        let Ok(grant) = Grant::new(key(0), options.clone(), &comment) else { return Ok(()) };
        let after = applied(&file(""), &file("").install(&[grant], OnConflict::Refuse).unwrap());
        let key = key(0);
        let login = Login::with_key(&key, "::1".parse().unwrap(), NOW);
        prop_assert_eq!(after.contents().count(), 1);
        prop_assert_eq!(after.accepts(&login), Some((1, options)));
    }

    #[test]
    fn stored_edits_do_the_same_or_nothing(bytes in document(line()), grants in grants(), other in document(line())) {
        let before = file(bytes.clone());
        let edits = before.install(&grants, OnConflict::Replace).unwrap();
        let stored = serde_json::to_string(&edits).unwrap();
        let loaded: Edits = serde_json::from_str(&stored).unwrap();
        prop_assert_eq!(&loaded, &edits);
        prop_assert_eq!(loaded.apply(&bytes), edits.apply(&bytes));
        if other != bytes {
            prop_assert_eq!(loaded.apply(&other), Err(EditError::Stale));
        }
    }
}

#[test]
fn a_file_without_final_newline_is_not_glued() {
    let before = file(format!("{} anna", key(1)));
    let edits = before.install(&[grant(2, Options::none())], OnConflict::Refuse).unwrap();
    let after = applied(&before, &edits);
    assert_eq!(after.as_bytes(), format!("{} anna\n{} new\n", key(1), key(2)).as_bytes());
    assert!(lets_in(&after, &key(1)) && lets_in(&after, &key(2)));
}

#[test]
fn lines_that_end_in_crlf_get_company_of_their_kind() {
    let before = file(format!("{}\r\n# end", key(1)));
    let edits = before.install(&[grant(2, Options::none())], OnConflict::Refuse).unwrap();
    let expected = format!("{}\r\n# end\r\n{} new\r\n", key(1), key(2));
    assert_eq!(applied(&before, &edits).as_bytes(), expected.as_bytes());
}

#[test]
fn replacing_keeps_place_comment_and_line_end() {
    let text = format!("# a\r\nrestrict {} anna\r\n{}\n# b", key(1), key(1));
    let before = file(text);
    let quiet = Grant::new(key(1), Options::none(), b"").unwrap();
    let conflict = before.install(std::slice::from_ref(&quiet), OnConflict::Refuse).unwrap_err();
    assert_eq!((conflict.line, &conflict.existing), (Some(2), &Bytes::from("restrict")));
    let edits = before.install(&[quiet], OnConflict::Replace).unwrap();
    let after = applied(&before, &edits);
    assert_eq!(after.as_bytes(), format!("# a\r\n{} anna\r\n# b", key(1)).as_bytes());
    let shown = edits.to_string();
    let expected = format!("-restrict {0} anna\n+{0} anna\n-{0}\n", key(1));
    assert_eq!(shown, expected);
}

#[test]
fn an_authority_and_a_login_with_the_same_key_are_two_things() {
    let before = file(format!("cert-authority {}\n", key(1)));
    let edits = before.install(&[grant(1, Options::none())], OnConflict::Refuse).unwrap();
    assert_eq!(edits.changes().len(), 1);
    let revocation = before.revoke(&key(2).fingerprint());
    assert_eq!((revocation.edits.is_empty(), revocation.authorities), (true, vec![1]));
    assert_eq!(before.revoke(&key(1).fingerprint()).edits.changes().len(), 1);
}

#[test]
fn two_grants_at_odds_are_a_conflict_as_well() {
    let both = [grant(1, Options::restricted()), grant(1, Options::none())];
    assert_eq!(file("").install(&both, OnConflict::Refuse).unwrap_err().line, None);
}

#[test]
fn what_cannot_be_written_down_is_refused() {
    for comment in [&b"two\nlines"[..], b"nul\0", b"a\rb"] {
        assert_eq!(Grant::new(key(0), Options::none(), comment), Err(GrantError::Comment));
    }
    for command in [&b"a\nb"[..], b"a\\", b"\0"] {
        let error = Options::none().with_command(command).unwrap_err();
        assert_eq!(error, OptionError::Unwritable("command"));
    }
    assert!(Options::parse(b"command=\"a\nb\"").is_err());
    for bad in
        [&b"127.0.0.1/8"[..], b"*,127.0.0.1/8", b"!0.0.0.0,127.0.0.1/8", b"!0.0.0.0/0,,uk", b""]
    {
        assert!(Options::none().with_from(bad).is_err(), "{}", bad.escape_ascii());
    }
}

#[test]
fn made_up_edits_are_refused() {
    let before = file("a\nb\n");
    let edits = before.install(&[grant(1, Options::none())], OnConflict::Refuse).unwrap();
    let stored = serde_json::to_value(&edits).unwrap();
    for changes in [
        r#"[{"remove":{"line":0,"text":"a"}}]"#,
        r#"[{"remove":{"line":3,"text":""}}]"#,
        r#"[{"remove":{"line":1,"text":"b"}}]"#,
        r#"[{"remove":{"line":2,"text":"b"}},{"remove":{"line":1,"text":"a"}}]"#,
        r#"[{"append":{"text":"a\nb"}}]"#,
        r#"[{"append":{"text":"c"}},{"remove":{"line":1,"text":"a"}}]"#,
        r#"[{"replace":{"line":1,"before":"a","after":["\n"]}}]"#,
        r#"[{"replace":{"line":1,"before":"a","after":[]}}]"#,
    ] {
        let mut made_up = stored.clone();
        made_up["changes"] = serde_json::from_str(changes).unwrap();
        let edits: Edits = serde_json::from_value(made_up).unwrap();
        assert_eq!(edits.apply(b"a\nb\n"), Err(EditError::Unfit), "{changes}");
    }
    let mut unknown = stored;
    unknown["format"] = 2.into();
    assert!(serde_json::from_value::<Edits>(unknown).is_err());
}
