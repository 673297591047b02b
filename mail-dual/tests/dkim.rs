//! S22: what is signed by its sender stays good on the way.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use mail_auth::dkim::Canonicalization;
use mail_dual::proto::{Client, ClientConfig, Dialect, Server, ServerConfig};
use mail_dual::{Job, Port, RawMessage, Received, SpoolId, Timestamp, With};

use support::dkim::Signer;
use support::{Store, Wire, Work, job};

const BODIES: [&str; 5] = [
    "hello\r\n",
    "",
    ".\r\n..\r\n dots \t and  blanks \r\n\r\n\r\n",
    "no line end",
    "\u{e4}\u{f6}\u{fc} in UTF-8\r\n",
];

/// In over LMTP, one field on top, out over SMTP, by BDAT or by DATA.
fn through(message: &str, hidden: &[&str]) -> Vec<u8> {
    let store = Store::default();
    let relay = |dialect, job: Job, hidden| {
        let client = Client::new(ClientConfig::new(dialect, "uk.example.org"), false);
        let server = Server::new(ServerConfig::new(dialect, "us", Port::Fanout), None, false);
        let mut wire = Wire::new(client, server, &store);
        wire.hidden = hidden;
        let mut work = Work::of([job]);
        wire.run(&mut work).unwrap();
        assert_eq!(work.words(), "delivered");
        store.kept().pop().unwrap()
    };
    let arrived = relay(Dialect::Lmtp, job(1, &["b@y.org"], message), hidden);
    let at = Timestamp::from_millis(1_795_372_200_000);
    let traced = arrived.message.with_received(&Received {
        helo: Some(b"mx.example.net"),
        peer: None,
        by: "uk.example.org",
        with: With::Lmtp,
        smtputf8: false,
        id: SpoolId::new(at, 1),
        recipient: Some(&arrived.envelope.recipients()[0].path),
        at,
    });
    let mut next = job(2, &["b@y.org"], "");
    next.message = traced;
    relay(Dialect::Smtp, next, hidden).message.as_bytes().to_vec()
}

#[test]
fn s22_signatures_verify_before_and_after() {
    let signer = Signer::new();
    let plain = ["From", "To", "Subject"];
    // Fields that are not there are signed too, so that nobody can add them.
    let over = ["From", "From", "Subject", "Subject", "Date", "Message-ID", "To"];
    for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
        for headers in [&plain[..], &over] {
            for length in [false, true] {
                for body in BODIES {
                    let message = format!(
                        "From:  Ann <ann@example.org>\r\nTo: b@y.org\r\nSubject: odd \t blanks\r\n\
                         \x20 and a folded line\r\nX-Other: 1\r\n\r\n{body}"
                    );
                    let signed = signer.sign(&message, canonicalization, headers, length);
                    assert!(signer.verifies(signed.as_bytes()), "{signed}");
                    for hidden in [&[][..], &["CHUNKING"]] {
                        let after = through(&signed, hidden);
                        let text = String::from_utf8_lossy(&after);
                        assert!(signer.verifies(&after), "{canonicalization:?}: {text}");
                        assert_eq!(text.matches("Received: ").count(), 1);
                        let canonical = RawMessage::new(&signed).unwrap();
                        assert!(after.ends_with(canonical.as_bytes()));
                    }
                }
            }
        }
    }
    // The check is one: a changed byte is found.
    let signed =
        signer.sign("From: a@example.org\r\n\r\nb\r\n", Canonicalization::Simple, &["From"], false);
    assert!(!signer.verifies(signed.replace("\r\nb\r\n", "\r\nc\r\n").as_bytes()));
}
