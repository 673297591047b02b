//! The whole way with real servers at both ends: Postfix in front, two Dovecots behind.

#![cfg(all(feature = "net", feature = "disk"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mail_auth::dkim::Canonicalization;
use mail_dual::proto::{ClientConfig, Credentials, Dialect, ServerConfig};
use mail_dual::{
    AckPolicy, Address, DiskFolder, Encryption, Engine, Handle, ImapConfig, ImapMailbox, Leg,
    LegSetting, Listener, ListenerConfig, LogOptions, LogSpool, Outcome, Port, Presence,
    RawMessage, RemoteConfig, RemoteLeg, RetryPolicy, Route, RoutingTable, Serving, Settings,
    Silent, SpoolId, SystemClock,
};

use support::authority::Authority;
use support::dkim::Signer;
use support::dovecot::{Dovecot, PASSWORD, Special};
use support::peers::program;
use support::postfix::Postfix;
use support::{Work, job};

const USER: &str = "ann@example.org";

fn ground() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("dual-").tempdir().unwrap();
    // The servers' own users have to get in.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A leg by LMTP over TLS that may look into the account by IMAP.
fn leg(dovecot: &Dovecot, authority: &Authority) -> RemoteLeg {
    let tls = Encryption::Implicit(authority.client(&dovecot.name));
    let session = ClientConfig::new(Dialect::Lmtp, "relay.example.org");
    let mut config = RemoteConfig::new(Address::Tcp(dovecot.lmtp), tls.clone(), session);
    config.timeouts.command = Duration::from_secs(20);
    config.timeouts.dot = Duration::from_secs(20);
    let credentials = Credentials::new("{recipient}", PASSWORD);
    let imap = ImapConfig::new(Address::Tcp(dovecot.imaps), tls, credentials);
    config.mailbox = Some(ImapMailbox::new(imap));
    RemoteLeg::new(config)
}

/// A relay at work.
struct Relay {
    engine: Engine,
    serving: Serving,
}

impl Relay {
    fn start(folder: &Path, address: Address, legs: [(&str, RemoteLeg); 2]) -> Relay {
        let names = legs.iter().map(|(name, _)| name.parse().unwrap()).collect();
        let route = Route { recipients: vec!["*@example.org".parse().unwrap()], legs: names };
        let mut settings = Settings::new("relay.example.org", RoutingTable::new(vec![route], []));
        settings.ack = AckPolicy::Spooled;
        settings.reserve = 0;
        settings.retry = RetryPolicy {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(1),
            leg_first: Duration::from_millis(100),
            leg_longest: Duration::from_secs(1),
            doubt: Duration::from_secs(60),
            ..RetryPolicy::default()
        };
        let disk = DiskFolder::open_or_create(&folder.join("spool")).unwrap();
        let spool = LogSpool::open(Arc::new(disk), LogOptions::new(1)).unwrap();
        let legs = legs.map(|(name, leg)| LegSetting {
            name: name.parse().unwrap(),
            leg: Arc::new(leg),
            connections: 4,
        });
        let (mut engine, _) = Engine::open(
            settings,
            legs.to_vec(),
            Arc::new(spool),
            Arc::new(SystemClock),
            Arc::new(Silent),
        )
        .unwrap();
        engine.start().unwrap();
        let session = ServerConfig::new(Dialect::Lmtp, "relay.example.org", Port::Fanout);
        let listener = Listener::bind(ListenerConfig::new(address, session)).unwrap();
        let serving = listener.serve(Arc::new(engine.handle())).unwrap();
        Relay { engine, serving }
    }

    fn stop(self) {
        self.serving.stop();
        self.engine.shutdown().unwrap();
    }
}

/// Waits for what will come; only a test that fails waits until the end, some minutes.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if done() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("{what} did not come about");
}

fn drained(handle: &Handle) -> bool {
    handle.queue_len() == 0
}

/// `count` times the message in the file, by smtp-source over twenty connections.
fn send(count: usize, file: &Path, options: &[&str], target: &str) {
    let source = program("smtp-source").unwrap();
    let sent = Command::new(source)
        .args(options)
        .args(["-s", "20", "-m", &count.to_string(), "-F"])
        .arg(file)
        .args(["-f", "bob@example.com", "-t", USER, target])
        .output()
        .unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// What stands in an account: each message once, whole, with one field of ours on top of `sent`.
/// Returns our ids.
fn read_back(dovecot: &Dovecot, sent: &[u8]) -> BTreeSet<SpoolId> {
    let messages = dovecot.inbox(USER);
    let ids: BTreeSet<SpoolId> = messages
        .iter()
        .map(|message| {
            let text = String::from_utf8_lossy(message).into_owned();
            // smtp-source ends what it sends with an empty line of its own.
            assert!(message.trim_ascii_end().ends_with(sent.trim_ascii_end()), "{text}");
            let message = RawMessage::new(message).unwrap();
            // The last server adds the reverse-path, nothing more.
            let fields: Vec<_> = message.header().map(|field| field.name().to_vec()).collect();
            assert_eq!(fields[..2], [b"Return-Path".to_vec(), b"Received".to_vec()], "{text}");
            assert_eq!(text.matches("\r\n\tby relay.example.org with ").count(), 1, "{text}");
            message.spool_id().unwrap()
        })
        .collect();
    assert_eq!(ids.len(), messages.len(), "a message is there twice");
    ids
}

#[test]
fn a_thousand_messages_through_postfix_reach_both_dovecots_once_and_whole() {
    let folder = ground();
    let authority = Authority::new(folder.path());
    let Some(uk) = Dovecot::start(folder.path(), &authority, "127.0.0.2", "uk.example.org") else {
        return;
    };
    let Some(us) = Dovecot::start(folder.path(), &authority, "127.0.0.3", "us.example.org") else {
        return;
    };
    let socket = folder.path().join("lmtp");
    let relay = Relay::start(
        folder.path(),
        Address::Unix(socket.clone()),
        [("uk", leg(&uk, &authority)), ("us", leg(&us, &authority))],
    );
    if program("smtp-source").is_none() {
        return;
    }
    let ours = format!("unix:{}", socket.display());
    let postfix = Postfix::start(folder.path(), &format!("lmtp:{ours}"));

    let signer = Signer::new();
    let text = "From: bob@example.com\r\nTo: ann@example.org\r\nSubject: odd \t blanks\r\n\
                Message-ID: <1@example.com>\r\nDate: Sun, 22 Nov 2026 18:30:00 +0000\r\n\r\n\
                hello\r\n.\r\n..\r\nFrom the start of a line\r\n\u{e4}\u{f6}\r\n\r\n";
    let over = ["From", "From", "To", "Subject", "Subject", "Date", "Message-ID", "Cc"];
    let signed = signer.sign(text, Canonicalization::Simple, &over, false);
    let file = folder.path().join("message");
    // smtp-source reads lines as this system ends them.
    fs::write(&file, signed.replace("\r\n", "\n")).unwrap();
    match &postfix {
        Some(postfix) => send(1000, &file, &[], &format!("127.0.0.1:{}", postfix.port)),
        // The same hand-over without what Postfix does before.
        None => send(1000, &file, &["-L"], &ours),
    }
    let handle = relay.engine.handle();
    until("delivery to both", || drained(&handle) && handle.stats().delivered == 2000);

    let ids = read_back(&uk, signed.as_bytes());
    let log = postfix.as_ref().map(Postfix::log);
    assert_eq!(ids.len(), 1000, "{log:?}");
    assert_eq!(read_back(&us, signed.as_bytes()), ids);
    for dovecot in [&uk, &us] {
        assert!(dovecot.inbox(USER).iter().all(|message| signer.verifies(message)));
    }
    relay.stop();
}

#[test]
fn a_dovecot_that_is_killed_again_and_again_loses_and_doubles_nothing() {
    let folder = ground();
    let authority = Authority::new(folder.path());
    let Some(uk) = Dovecot::start(folder.path(), &authority, "127.0.0.2", "uk.example.org") else {
        return;
    };
    let Some(mut us) = Dovecot::start(folder.path(), &authority, "127.0.0.3", "us.example.org")
    else {
        return;
    };
    if program("smtp-source").is_none() {
        return;
    }
    let relay = Relay::start(
        folder.path(),
        "127.0.0.1:0".parse().unwrap(),
        [("uk", leg(&uk, &authority)), ("us", leg(&us, &authority))],
    );
    let text = "Subject: a\r\n\r\n.\r\nhello\r\n";
    let file = folder.path().join("message");
    fs::write(&file, text.replace("\r\n", "\n")).unwrap();
    let target = relay.serving.address().to_string();
    let handle = relay.engine.handle();
    let mut total = 0;
    for round in 0..4 {
        let stop = handle.stats().delivered + 120;
        send(100, &file, &["-L"], &target);
        total += 100;
        if round == 3 {
            // Frozen in the middle of an answer, then dead.
            us.freeze();
            thread::sleep(Duration::from_millis(100));
        } else {
            until("half of it", || handle.stats().delivered >= stop);
        }
        us.kill();
        // The other one is not held up.
        until("delivery to the one that is up", || uk.inbox(USER).len() == total);
        us.resume();
    }
    until("delivery to both", || drained(&handle));
    let ids = read_back(&uk, text.as_bytes());
    assert_eq!(ids.len(), total);
    assert_eq!(read_back(&us, text.as_bytes()), ids, "{}", us.log());
    assert_eq!(handle.stats().reported, 0, "nobody is told of what reached somebody");
    relay.stop();
}

#[test]
fn a_full_disk_of_one_dovecot_delays_its_mail_and_nobody_elses() {
    let folder = ground();
    let authority = Authority::new(folder.path());
    let Some(uk) = Dovecot::start(folder.path(), &authority, "127.0.0.2", "uk.example.org") else {
        return;
    };
    let small = Special { disk: Some("400k"), ..Special::default() };
    let us =
        Dovecot::start_special(folder.path(), &authority, "127.0.0.3", "us.example.org", &small);
    let (Some(us), Some(_)) = (us, program("smtp-source")) else { return };
    let relay = Relay::start(
        folder.path(),
        "127.0.0.1:0".parse().unwrap(),
        [("uk", leg(&uk, &authority)), ("us", leg(&us, &authority))],
    );
    let text = format!("Subject: a\r\n\r\n{}", "some words on each line\r\n".repeat(400));
    let file = folder.path().join("message");
    fs::write(&file, text.replace("\r\n", "\n")).unwrap();
    let handle = relay.engine.handle();
    send(100, &file, &["-L"], &relay.serving.address().to_string());
    until("delivery to the one with room", || uk.inbox(USER).len() == 100);
    until("refusal by the other", || handle.stats().deferred > 0);
    assert!(!drained(&handle), "{}", us.log());
    us.resize("20m");
    until("delivery to both", || drained(&handle));
    let ids = read_back(&uk, text.as_bytes());
    assert_eq!((ids.len(), handle.stats().failed, handle.stats().reported), (100, 0, 0));
    assert_eq!(read_back(&us, text.as_bytes()), ids);
    relay.stop();
}

#[test]
fn a_recipient_that_dovecot_refuses_stops_no_other() {
    let folder = ground();
    let authority = Authority::new(folder.path());
    let accounts = Special {
        accounts: &[
            (USER, ""),
            ("carl@example.org", ""),
            ("full@example.org", "userdb_quota_rule=*:bytes=1"),
        ],
        lines: "mail_plugins = $mail_plugins quota\nplugin {\n quota = count:all\n \
                quota_vsizes = yes\n}\nquota_full_tempfail = yes\n",
        ..Special::default()
    };
    let uk =
        Dovecot::start_special(folder.path(), &authority, "127.0.0.2", "uk.example.org", &accounts);
    let Some(uk) = uk else { return };
    let leg = leg(&uk, &authority);
    let recipients = [USER, "nobody@example.org", "full@example.org", "carl@example.org"];
    let mut work = Work::of([
        job(1, &recipients, "Subject: a\r\n\r\nb\r\n"),
        job(2, &["nobody@example.org"], "Subject: b\r\n\r\nb\r\n"),
        job(3, &[USER], "Subject: c\r\n\r\nb\r\n"),
    ]);
    leg.deliver(&mut work);
    assert_eq!(
        work.words(),
        "delivered failed deferred delivered failed delivered",
        "{}",
        uk.log()
    );
    assert_eq!((uk.inbox(USER).len(), uk.inbox("carl@example.org").len()), (2, 1));
}

#[test]
fn postfix_takes_flights_of_messages_with_refusals_among_them() {
    let folder = ground();
    let Some(postfix) = Postfix::start(folder.path(), "discard:") else { return };
    let address = format!("127.0.0.1:{}", postfix.port).parse().unwrap();
    let session = ClientConfig::new(Dialect::Smtp, "relay.example.org");
    let leg = RemoteLeg::new(RemoteConfig::new(address, Encryption::None, session));
    let lines = leg.probe().unwrap().join("; ");
    assert!(lines.contains("PIPELINING, CHUNKING"), "{lines}");
    let mut jobs = Vec::new();
    for number in 0..300 {
        let recipients: &[&str] = match number % 5 {
            0 => &["nobody@example.org"],
            1 => &[USER, "nobody@example.org", "carl@example.org"],
            _ => &[USER],
        };
        let body = "x".repeat(1 + 2000 * (number as usize % 7));
        jobs.push(job(number, recipients, &format!("Subject: {number}\r\n\r\n{body}\r\n.\r\n")));
    }
    let mut work = Work::of(jobs.clone());
    leg.deliver(&mut work);
    for job in &jobs {
        for (index, recipient) in job.envelope.recipients().iter().enumerate() {
            let [outcome] = &work.outcomes[&(job.id, index)][..] else { panic!("twice") };
            let refused = recipient.path.as_str().starts_with("nobody");
            let expected = if refused { "failed" } else { "delivered" };
            assert_eq!(support::word(outcome), expected, "{outcome:?} {}", postfix.log());
        }
    }
    leg.close_idle();
}

#[test]
fn an_account_is_asked_by_imap_and_answers() {
    let folder = ground();
    let authority = Authority::new(folder.path());
    let Some(uk) = Dovecot::start(folder.path(), &authority, "127.0.0.2", "uk.example.org") else {
        return;
    };
    let leg = leg(&uk, &authority);
    let lines = leg.probe().unwrap().join("; ");
    assert!(lines.contains("verified as uk.example.org") && lines.contains("IMAP"), "{lines}");
    let id = job(7, &[USER], "").id;
    let sent = job(7, &[USER], &format!("Received: by x with LMTP id {id}; then\r\n\r\nb\r\n"));
    assert_eq!(leg.contains(&sent, 0), Presence::Absent);
    let mut work = Work::of([sent.clone()]);
    leg.deliver(&mut work);
    assert!(matches!(work.all()[0], Outcome::Delivered(_)), "{}", work.words());
    assert_eq!(leg.contains(&sent, 0), Presence::Present);
    let found = leg.stored(&sent, 0).unwrap();
    assert!(found.ends_with(sent.message.as_bytes()), "{}", String::from_utf8_lossy(&found));
    assert_eq!(leg.stored(&job(8, &[USER], "x"), 0), None);
    assert_eq!(leg.contains(&job(8, &[USER], "x"), 0), Presence::Absent);

    // A wrong password is no answer about the message.
    let tls = Encryption::Implicit(authority.client("uk.example.org"));
    let config = ImapConfig::new(Address::Tcp(uk.imaps), tls, Credentials::new(USER, "wrong"));
    let stranger = ImapMailbox::new(config);
    assert_eq!(stranger.contains(&sent, 0), Presence::Unknown);
    let told = stranger.probe().unwrap_err().to_string();
    assert!(told.contains("LOGIN") && !told.contains("wrong"), "{told}");
}
