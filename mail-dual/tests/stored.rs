//! Legs that store on this machine or hand over in this process.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use mail_dual::lettre::address::Envelope;
use mail_dual::lettre::transport::stub::StubTransport;
use mail_dual::{Cause, Job, Leg, LettreLeg, MaildirLeg, Outcome, Presence, RawMessage};

use support::{Work, job, reply};

const BODY: &str = "Received: by x\r\nSubject: a\r\n\r\n.\r\nb\r\n";

fn deliver(leg: &dyn Leg, job: &Job) -> Work {
    let mut work = Work::of([job.clone()]);
    leg.deliver(&mut work);
    work
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_maildir_has_each_message_whole_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let leg = MaildirLeg::new(folder.path().join("{domain}/{local}")).unwrap().create(true);
    let sent = job(1, &["Ann@Y.org", "bob@y.org"], BODY);
    assert_eq!(leg.contains(&sent, 0), Presence::Unknown, "there is no Maildir yet");
    for _ in 0..3 {
        // In doubt or not, another attempt does not double it.
        assert_eq!(deliver(&leg, &sent).words(), "delivered delivered");
    }
    assert_eq!(files(&folder.path().join("y.org")), ["ann", "bob"]);
    let home = folder.path().join("y.org/ann");
    let new = files(&home.join("new"));
    assert_eq!((new.len(), files(&home.join("tmp")).len()), (1, 0));
    let stored = fs::read(home.join("new").join(&new[0])).unwrap();
    let text = String::from_utf8(stored.clone()).unwrap();
    assert!(text.starts_with("Return-Path: <ann@example.org>\nDelivered-To: Ann@Y.org\nReceived"));
    assert_eq!(
        RawMessage::from_local(&stored).unwrap().content_hash(),
        sent.message.content_hash()
    );

    assert_eq!(leg.contains(&sent, 0), Presence::Present);
    let found = leg.stored(&sent, 0).unwrap();
    assert!(found.ends_with(sent.message.as_bytes()) && found.starts_with(b"Return-Path: "));
    assert_eq!(leg.stored(&job(2, &["ann@y.org"], BODY), 0), None);
    assert_eq!(leg.contains(&job(2, &["ann@y.org"], BODY), 0), Presence::Absent);
    // Read, flagged, and moved to a folder.
    fs::rename(home.join("new").join(&new[0]), home.join("cur").join(format!("{}:2,S", new[0])))
        .unwrap();
    assert_eq!(leg.contains(&sent, 0), Presence::Present);
    fs::create_dir_all(home.join(".Archive/cur")).unwrap();
    fs::rename(
        home.join("cur").join(format!("{}:2,S", new[0])),
        home.join(".Archive/cur").join(format!("{}:2,FS", new[0])),
    )
    .unwrap();
    assert_eq!(leg.contains(&sent, 0), Presence::Present);
    assert!(leg.probe().is_ok());
}

#[test]
fn no_address_leads_out_of_its_place_and_no_symlink_into_another() {
    let folder = tempfile::tempdir().unwrap();
    let leg = MaildirLeg::new(folder.path().join("mail/{domain}/{local}")).unwrap().create(true);
    for path in [
        "../x@y.org",
        "..@y.org",
        ".x@y.org",
        "a/b@y.org",
        "\"a/../b\"@y.org",
        "a@..",
        "postmaster",
    ] {
        let work = deliver(&leg, &job(1, &[path], BODY));
        let all = work.all();
        let [Outcome::Failed(trouble)] = all[..] else { panic!("{path}: {all:?}") };
        assert!(matches!(trouble.cause, Cause::Unsuitable(_)));
    }
    assert!(!folder.path().join("mail").exists());

    // A user who makes `new` a symlink gains nothing.
    let outside = folder.path().join("outside");
    let home = folder.path().join("mail/y.org/eve");
    fs::create_dir_all(&outside).unwrap();
    fs::create_dir_all(home.join("tmp")).unwrap();
    symlink(&outside, home.join("new")).unwrap();
    assert_eq!(deliver(&leg, &job(1, &["eve@y.org"], BODY)).words(), "deferred");
    assert!(files(&outside).is_empty());

    for bad in ["relative/{local}", "/x/{user}", "/x/{local"] {
        assert!(MaildirLeg::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_maildir_that_is_missing_waits_and_one_called_back_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let leg = MaildirLeg::new(folder.path().join("Maildir")).unwrap();
    let work = deliver(&leg, &job(1, &["a@y.org"], BODY));
    assert_eq!(work.words(), "deferred");
    assert!(leg.probe().is_err());
    let leg = leg.create(true);
    let mut work = Work::of([job(1, &["a@y.org"], BODY)]);
    work.call_back = true;
    leg.deliver(&mut work);
    assert_eq!(work.words(), "deferred");
    for part in ["tmp", "new", "cur"] {
        assert!(files(&folder.path().join("Maildir").join(part)).is_empty());
    }
}

#[test]
fn any_transport_of_lettres_is_a_leg() {
    let stub = StubTransport::new_ok();
    let leg = LettreLeg::new("archive", stub.clone());
    let work = deliver(&leg, &job(1, &["a@y.org", "\"b c\"@y.org"], BODY));
    assert_eq!(work.words(), "delivered delivered");
    let messages: Vec<(Envelope, String)> = stub.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].1, BODY);
    assert_eq!(messages[0].0.to()[1].to_string(), "\"b c\"@y.org");

    let shorter = LettreLeg::new("smtp", stub.clone()).that_ends_lines();
    deliver(&shorter, &job(2, &["a@y.org"], BODY));
    assert_eq!(format!("{}\r\n", stub.messages()[1].1), BODY);

    // It does not say how far it came: nobody may say that it was not delivered.
    let leg = LettreLeg::new("broken", StubTransport::new_error());
    assert_eq!(deliver(&leg, &job(1, &["a@y.org"], BODY)).words(), "in-doubt");
    let leg = leg.with_verdict(|_| Some(reply(554, "5.7.1 no")));
    assert_eq!(deliver(&leg, &job(1, &["a@y.org"], BODY)).words(), "failed");
    let leg = LettreLeg::new("ok", StubTransport::new_ok());
    assert_eq!(deliver(&leg, &job(1, &["postmaster"], BODY)).words(), "failed");
    let mut work = Work::of([job(1, &["a@y.org"], BODY)]);
    work.call_back = true;
    leg.deliver(&mut work);
    assert_eq!(work.words(), "deferred");
}
