//! Legs and listeners over real sockets: names, keys, deadlines, reuse, and stopping.

#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mail_dual::proto::{ClientConfig, Credentials, Dialect, ServerConfig};
use mail_dual::{
    Address, Cause, Encryption, Job, Leg, ListenError, Listener, ListenerConfig, Offered, Outcome,
    Phase, Port, Presence, RemoteConfig, RemoteLeg, Serving, TlsClient, TlsServer, Trust,
};

use support::authority::Authority;
use support::{Store, Work, job, message};

const BODY: &str = "Subject: a\r\n\r\n.\r\nb\r\n";

fn loopback() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

fn listen(dialect: Dialect, port: Port, tls: Offered, store: &Arc<Store>) -> Serving {
    let session = ServerConfig::new(dialect, "us.example.org", port);
    let mut config = ListenerConfig::new(loopback(), session);
    config.tls = tls;
    Listener::bind(config).unwrap().serve(store.clone()).unwrap()
}

fn leg_to(address: &Address, dialect: Dialect, encryption: Encryption) -> RemoteLeg {
    let session = ClientConfig::new(dialect, "uk.example.org");
    RemoteLeg::new(RemoteConfig::new(address.clone(), encryption, session))
}

fn deliver(leg: &dyn Leg, jobs: impl IntoIterator<Item = Job>) -> Work {
    let mut work = Work::of(jobs);
    leg.deliver(&mut work);
    work
}

/// What kept the first recipient from getting it.
fn trouble(work: &Work) -> (Phase, String, bool) {
    match work.all()[0] {
        Outcome::Deferred(trouble) | Outcome::Failed(trouble) | Outcome::InDoubt(trouble) => {
            (trouble.phase, trouble.to_string(), matches!(trouble.cause, Cause::Tls(_)))
        }
        Outcome::Delivered(reply) => panic!("delivered: {reply}"),
    }
}

#[test]
fn a_server_is_dialled_by_address_and_verified_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let other = tempfile::tempdir().unwrap();
    let stranger = Authority::new(other.path());
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        for implicit in [true, false] {
            let store = Arc::new(Store::default());
            let tls = authority.server("us.example.org");
            let offered = if implicit { Offered::Implicit(tls) } else { Offered::StartTls(tls) };
            let serving = listen(dialect, Port::Fanout, offered, &store);
            let wrap: fn(TlsClient) -> Encryption =
                if implicit { Encryption::Implicit } else { Encryption::StartTls };
            let leg = |tls| leg_to(serving.address(), dialect, wrap(tls));

            let good = leg(authority.client("us.example.org"));
            let work = deliver(&good, (0..3).map(|n| job(n, &["b@y.org"], BODY)));
            assert_eq!(work.words(), "delivered delivered delivered");
            let lines = good.probe().unwrap().join("; ");
            assert!(
                lines.contains("verified as us.example.org") && lines.contains("CHUNKING"),
                "{lines}"
            );
            let with = store.kept()[0].arrival.with;
            assert!(matches!(with, mail_dual::With::Esmtps | mail_dual::With::Lmtps), "{with:?}");

            for bad in [authority.client("uk.example.org"), stranger.client("us.example.org")] {
                let (phase, words, tls) =
                    trouble(&deliver(&leg(bad), [job(9, &["b@y.org"], BODY)]));
                assert!(phase == Phase::StartTls && tls, "{words}");
            }
            assert_eq!(store.count(), 3);
        }
    }
}

#[test]
fn a_pinned_key_is_enough_and_another_is_not() {
    use sha2::{Digest, Sha256};
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let store = Arc::new(Store::default());
    let (certificate, key) = authority.issue("us.example.org");
    let identity = mail_dual::Identity::from_files(&certificate, &key).unwrap();
    let tls = TlsServer::new(identity, None).unwrap();
    let serving = listen(Dialect::Smtp, Port::Fanout, Offered::Implicit(tls), &store);
    let key = rcgen::KeyPair::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    let spki = Sha256::digest(rcgen::PublicKeyData::subject_public_key_info(&key));
    let hex: String = spki.iter().map(|byte| format!("{byte:02X}")).collect();
    let leg = |pin: &str| {
        let tls = TlsClient::new("anything.example.org", Trust::pin(pin).unwrap(), None).unwrap();
        leg_to(serving.address(), Dialect::Smtp, Encryption::Implicit(tls))
    };
    assert_eq!(deliver(&leg(&hex), [job(1, &["b@y.org"], BODY)]).words(), "delivered");
    let (_, words, tls) = trouble(&deliver(&leg(&"0".repeat(64)), [job(1, &["b@y.org"], BODY)]));
    assert!(tls && words.contains("not the pinned one"), "{words}");
    assert!(Trust::pin("abc").is_err());
}

#[test]
fn the_peer_port_can_ask_for_a_certificate_and_answers_for_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let store = Arc::new(Store::default());
    let roots = authority.roots();
    let tls = TlsServer::new(authority.identity("us.example.org"), Some(&roots)).unwrap();
    let serving = listen(Dialect::Lmtp, Port::Peer, Offered::Implicit(tls), &store);
    let leg = |identity| {
        let tls = TlsClient::new("us.example.org", Trust::File(roots.clone()), identity).unwrap();
        let mut session = ClientConfig::new(Dialect::Lmtp, "uk.example.org");
        session.peer = true;
        let mut config =
            RemoteConfig::new(serving.address().clone(), Encryption::Implicit(tls), session);
        config.timeouts.command = Duration::from_secs(10);
        RemoteLeg::new(config)
    };
    let stranger = leg(None);
    let work = deliver(&stranger, [job(1, &["b@y.org"], BODY)]);
    assert_eq!(work.words(), "deferred");
    assert_eq!(stranger.contains(&job(1, &["b@y.org"], BODY), 0), Presence::Unknown);

    let peer = leg(Some(authority.identity("uk.example.org")));
    let sent = job(1, &["b@y.org", "c@y.org"], BODY);
    assert_eq!(peer.contains(&sent, 0), Presence::Absent);
    assert_eq!(deliver(&peer, [sent.clone()]).words(), "delivered delivered");
    assert_eq!(
        (peer.contains(&sent, 0), peer.contains(&sent, 1)),
        (Presence::Present, Presence::Present)
    );
    assert_eq!(store.kept()[0].arrival.origin, Some(sent.id));
}

#[test]
fn a_connection_is_used_again_and_a_closed_one_is_not() {
    let store = Arc::new(Store::default());
    let serving = listen(Dialect::Lmtp, Port::Fanout, Offered::Nothing, &store);
    let address = serving.address().clone();
    let leg = leg_to(&address, Dialect::Lmtp, Encryption::None);
    for n in 0..5 {
        assert_eq!(deliver(&leg, [job(n, &["b@y.org"], BODY)]).words(), "delivered");
        assert_eq!(serving.connections(), 1);
    }
    // The server goes and comes back at the same place; the message is not in doubt for it.
    serving.stop();
    let session = ServerConfig::new(Dialect::Lmtp, "us.example.org", Port::Fanout);
    let config = ListenerConfig::new(address, session);
    let serving = Listener::bind(config).unwrap().serve(store.clone()).unwrap();
    assert_eq!(deliver(&leg, [job(9, &["b@y.org"], BODY)]).words(), "delivered");
    leg.close_idle();
    serving.stop();
    assert_eq!(store.count(), 6);
    let (phase, words, _) = trouble(&deliver(&leg, [job(10, &["b@y.org"], BODY)]));
    assert_eq!(phase, Phase::Connect);
    assert!(words.contains("is the server running?"), "{words}");
}

#[test]
fn large_messages_pass_both_ways_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let store = Arc::new(Store::default());
    let tls = authority.server("us.example.org");
    let serving = listen(Dialect::Smtp, Port::Fanout, Offered::Implicit(tls), &store);
    let leg = leg_to(
        serving.address(),
        Dialect::Smtp,
        Encryption::Implicit(authority.client("us.example.org")),
    );
    let large = format!("Subject: large\r\n\r\n{}", ".x\r\n".repeat(1 << 19));
    let jobs: Vec<Job> =
        (0..12).map(|n| job(n, &["b@y.org"], if n % 3 == 0 { &large } else { BODY })).collect();
    let work = deliver(&leg, jobs.clone());
    assert!(work.all().iter().all(|outcome| matches!(outcome, Outcome::Delivered(_))));
    let kept = store.kept();
    assert!(kept.iter().zip(&jobs).all(|(kept, job)| kept.message == job.message));
    assert_eq!(kept.len(), jobs.len());
}

/// A server that does what the test says with each connection, in order.
fn scripted(script: impl Fn(usize, TcpStream) + Send + 'static) -> (Address, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            script(number, stream.unwrap());
        }
    });
    (address, count)
}

/// Words that lines start with, and what is said to such a line.
type Answers<'a> = &'a [(&'a str, &'a str)];

/// Answers each line that starts with a word of the list with what stands beside it, until the list
/// is at its end; then waits for the client to go away.
fn answer(stream: TcpStream, answers: Answers<'_>) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    for (word, reply) in answers {
        let mut line = String::new();
        while !word.is_empty() {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.starts_with(word) {
                break;
            }
        }
        if writer.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
    let mut rest = Vec::new();
    let _ = reader.read_to_end(&mut rest);
}

fn impatient(address: &Address, short: Duration) -> RemoteLeg {
    let session = ClientConfig::new(Dialect::Smtp, "uk.example.org");
    let mut config = RemoteConfig::new(address.clone(), Encryption::None, session);
    config.timeouts.command = short;
    config.timeouts.data = short;
    config.timeouts.dot = short;
    config.timeouts.block = short;
    config.timeouts.tls = short;
    RemoteLeg::new(config)
}

#[test]
fn s6_every_wait_has_its_end_and_its_phase() {
    const HELLO: (&str, &str) = ("", "220 hello\r\n");
    const EHLO: (&str, &str) = ("EHLO", "250-us\r\n250 PIPELINING\r\n");
    let cases: [(Answers<'static>, Phase, &str); 6] = [
        (&[], Phase::Greeting, "deferred"),
        (&[HELLO], Phase::Ehlo, "deferred"),
        (&[HELLO, EHLO], Phase::Mail, "deferred"),
        (&[HELLO, EHLO, ("DATA", "250 ok\r\n")], Phase::Rcpt, "deferred"),
        (&[HELLO, EHLO, ("DATA", "250 ok\r\n250 ok\r\n")], Phase::Data, "deferred"),
        (&[HELLO, EHLO, ("DATA", "250 ok\r\n250 ok\r\n354 go\r\n")], Phase::Dot, "in-doubt"),
    ];
    for (answers, phase, word) in cases {
        let (address, _) = scripted(move |_, stream| answer(stream, answers));
        // On a machine that is too busy for the server to answer in time, all get more.
        let mut patience = Duration::from_millis(100);
        loop {
            let work = deliver(&impatient(&address, patience), [job(1, &["b@y"], BODY)]);
            let (reached, words, _) = trouble(&work);
            assert!(words.contains("no answer within"), "{words}");
            if reached == phase {
                assert_eq!(work.words(), word);
                break;
            }
            assert!(reached < phase && patience < Duration::from_secs(60), "{words}");
            patience *= 4;
        }
    }
    // A drop at a time is no answer.
    let (address, _) = scripted(|_, mut stream| {
        for byte in b"220-".iter().chain(b"x".iter().cycle()) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let leg = impatient(&address, Duration::from_millis(200));
    let (phase, words, _) = trouble(&deliver(&leg, [job(1, &["b@y"], BODY)]));
    assert!(phase == Phase::Greeting && words.contains("no answer within"), "{words}");
}

#[test]
fn a_server_that_closes_at_each_phase_loses_nothing_and_doubles_nothing() {
    const HELLO: (&str, &str) = ("", "220 hello\r\n");
    const EHLO: (&str, &str) = ("EHLO", "250-us\r\n250 PIPELINING\r\n");
    let all = [HELLO, EHLO, ("DATA", "250 ok\r\n250 ok\r\n354 go\r\n"), (".", "")];
    for end in 0..=all.len() {
        let (address, _) = scripted(move |_, stream| {
            let answers = &all[..end];
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            for (word, reply) in answers {
                let mut line = String::new();
                while !line.starts_with(word) {
                    line.clear();
                    if reader.read_line(&mut line).unwrap_or(0) == 0 {
                        return;
                    }
                }
                stream.write_all(reply.as_bytes()).unwrap();
            }
            // Closed with everything read, so that the end comes in order.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = reader.read_to_end(&mut Vec::new());
        });
        let leg = leg_to(&address, Dialect::Smtp, Encryption::None);
        let work = deliver(&leg, [job(1, &["b@y"], BODY)]);
        // The message may have left before the client saw that nobody answers.
        let expected: &[&str] = match end {
            0..=2 => &["deferred"],
            3 => &["deferred", "in-doubt"],
            _ => &["in-doubt"],
        };
        assert!(expected.contains(&work.words().as_str()), "{end}: {}", work.words());
    }
}

#[test]
fn what_follows_the_answer_to_starttls_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (address, _) = scripted(|_, stream| {
        answer(
            stream,
            &[
                ("", "220 hello\r\n"),
                ("EHLO", "250-us\r\n250 STARTTLS\r\n"),
                ("STARTTLS", "220 go\r\n250-evil.example.org\r\n250 AUTH PLAIN\r\n"),
            ],
        );
    });
    let tls = Encryption::StartTls(authority.client("us.example.org"));
    let mut session = ClientConfig::new(Dialect::Smtp, "uk.example.org");
    session.credentials = Some(Credentials::new("ann", "secret"));
    let leg = RemoteLeg::new(RemoteConfig::new(address, tls, session));
    let (phase, words, _) = trouble(&deliver(&leg, [job(1, &["b@y"], BODY)]));
    assert!(phase == Phase::StartTls && words.contains("sent more behind"), "{words}");
}

#[test]
fn no_40_ms_stall_because_nothing_waits_for_an_acknowledgement() {
    // Nagle's algorithm holds back what is not the first small packet; the socket says that it is
    // off, and one flight carries commands and message together.
    let (seen, received) = std::sync::mpsc::channel();
    let (address, _) = scripted(move |_, mut stream| {
        stream.write_all(b"220 hello\r\n").unwrap();
        let mut buffer = [0; 4096];
        let mut reads = Vec::new();
        for reply in
            ["250-us\r\n250-PIPELINING\r\n250 CHUNKING\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n"]
        {
            let count = stream.read(&mut buffer).unwrap();
            reads.push(String::from_utf8_lossy(&buffer[..count]).into_owned());
            stream.write_all(reply.as_bytes()).unwrap();
        }
        seen.send(reads).unwrap();
        let _ = stream.read(&mut buffer);
    });
    let work =
        deliver(&leg_to(&address, Dialect::Smtp, Encryption::None), [job(1, &["b@y"], BODY)]);
    assert_eq!(work.words(), "delivered");
    let reads = received.recv().unwrap();
    assert!(reads[1].starts_with("MAIL FROM") && reads[1].ends_with(BODY), "{reads:?}");
}

#[test]
fn only_whom_we_know_and_only_so_many_get_in() {
    let store = Arc::new(Store::default());
    let session = ServerConfig::new(Dialect::Smtp, "us.example.org", Port::Fanout);
    let mut config = ListenerConfig::new(loopback(), session);
    config.connections = 1;
    let serving = Listener::bind(config.clone()).unwrap().serve(store.clone()).unwrap();
    let Address::Tcp(address) = *serving.address() else { panic!() };
    let first_line = || {
        let mut line = String::new();
        let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
        stream.read_line(&mut line).unwrap();
        (line, stream)
    };
    let (greeting, _held) = first_line();
    assert!(greeting.starts_with("220 "), "{greeting}");
    assert!(first_line().0.starts_with("421 4.3.2 "));

    config.allow = vec!["192.0.2.1".parse().unwrap()];
    let serving = Listener::bind(config).unwrap().serve(store).unwrap();
    let Address::Tcp(address) = *serving.address() else { panic!() };
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("554 5.7.1 "), "{line}");
}

#[test]
fn messages_under_way_share_a_limit_and_answers_do_not_pile_up() {
    let store = Arc::new(Store::default());
    let session = ServerConfig::new(Dialect::Smtp, "us.example.org", Port::Fanout);
    let mut config = ListenerConfig::new(loopback(), session);
    config.memory = 100_000;
    let serving = Listener::bind(config).unwrap().serve(store.clone()).unwrap();
    let leg = leg_to(serving.address(), Dialect::Smtp, Encryption::None);
    let large = format!("Subject: a\r\n\r\n{}", "0123456789\r\n".repeat(100_000));
    let jobs =
        [job(1, &["b@y.org"], BODY), job(2, &["b@y.org"], &large), job(3, &["b@y.org"], BODY)];
    assert_eq!(deliver(&leg, jobs).words(), "delivered deferred delivered");

    // Who does not read our answers is not read either.
    let Address::Tcp(address) = *serving.address() else { panic!() };
    let mut stream = TcpStream::connect(address).unwrap();
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    stream.write_all(b"EHLO x\r\nMAIL FROM:<a@x.org>\r\n").unwrap();
    let flood = b"RCPT TO:<b@y.org>\r\n".repeat(1000);
    let written: usize = (0..10_000).map_while(|_| stream.write(&flood).ok()).sum();
    assert!(written < 10_000 * flood.len(), "all of {written} bytes were read");
}

#[test]
fn stopping_ends_sessions_between_commands_and_gives_up_half_messages() {
    let store = Arc::new(Store::default());
    let serving = listen(Dialect::Smtp, Port::Fanout, Offered::Nothing, &store);
    let Address::Tcp(address) = *serving.address() else { panic!() };
    let connect = || {
        let stream = TcpStream::connect(address).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        assert!(line.starts_with("220 "), "{line}");
        (stream, lines)
    };
    let (_idle, mut idle_lines) = connect();
    let (mut busy, mut lines) = connect();
    busy.write_all(b"EHLO x\r\nMAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\nDATA\r\n").unwrap();
    let mut line = String::new();
    while !line.starts_with("354 ") {
        line.clear();
        lines.read_line(&mut line).unwrap();
    }
    busy.write_all(b"half a mess").unwrap();
    serving.stop();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap_or_default();
    assert!(!rest.contains("250"), "{rest}");
    let mut said = String::new();
    idle_lines.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("421 4.4.2 "), "{said}");
    assert_eq!(store.count(), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_unix_socket_is_taken_over_from_the_dead_and_from_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lmtp");
    let address = Address::Unix(path.clone());
    let session = ServerConfig::new(Dialect::Lmtp, "us.example.org", Port::Fanout);
    let config = ListenerConfig::new(address.clone(), session);
    let store = Arc::new(Store::default());

    std::fs::write(&path, "a file").unwrap();
    assert!(matches!(Listener::bind(config.clone()), Err(ListenError::NoSocket { .. })));
    std::fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let serving = Listener::bind(config.clone()).unwrap().serve(store.clone()).unwrap();
    let refused = Listener::bind(config.clone()).unwrap_err();
    assert!(refused.to_string().contains("listens at unix:"), "{refused}");

    let leg = leg_to(&address, Dialect::Lmtp, Encryption::None);
    assert_eq!(deliver(&leg, [job(1, &["b@y.org"], BODY)]).words(), "delivered");
    assert_eq!(store.kept()[0].arrival.address, None);
    serving.stop();
    assert!(!path.exists() && UnixStream::connect(&path).is_err());

    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let session = ServerConfig::new(Dialect::Smtp, "us.example.org", Port::Fanout);
    let config = ListenerConfig::new(tcp.local_addr().unwrap().into(), session);
    assert!(matches!(Listener::bind(config), Err(ListenError::InUse { .. })));
    assert_eq!(store.bodies(), [message(BODY).as_bytes()]);
}

#[test]
fn unusable_certificates_are_told_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let (certificate, key) = authority.issue("us.example.org");
    let missing = folder.path().join("missing");
    for (certificate, key, word) in [
        (&missing, &key, "cannot read"),
        (&certificate, &missing, "cannot read"),
        (&key, &key, "holds no certificate"),
        (&certificate, &certificate, "holds no private key"),
    ] {
        let told = mail_dual::Identity::from_files(certificate, key).unwrap_err().to_string();
        assert!(told.contains(word), "{told}");
    }
    let (_, other) = authority.issue("uk.example.org");
    let mixed = mail_dual::Identity::from_files(&certificate, &other).unwrap();
    assert!(TlsServer::new(mixed.clone(), None).is_err());
    assert_eq!(format!("{mixed:?}"), "Identity(1 certificates and a key)");
    assert!(TlsClient::new("not a name", Trust::File(authority.roots()), None).is_err());
}
