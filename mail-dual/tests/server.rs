//! The server's session, told byte by byte what clients have sent to servers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

mod support;

use mail_dual::proto::{Dialect, Limits, Server, ServerConfig, Then};
use mail_dual::{Port, Presence, SpoolId, With};
use proptest::prelude::*;

use support::{Store, path, reply, said};

fn server(dialect: Dialect) -> Server {
    let mut server =
        Server::new(ServerConfig::new(dialect, "uk.example.org", Port::Fanout), None, false);
    server.greet();
    said(&mut server);
    server
}

/// The codes of all answers to `lines`, in order.
fn codes(server: &mut Server, store: &Store, lines: &str) -> String {
    server.receive(lines.as_bytes(), store);
    let said = said(server);
    let last = said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' '));
    last.map(|line| &line[..3]).collect::<Vec<_>>().join(" ")
}

const HELLO: &str = "EHLO client.example.org\r\n";
const ENVELOPE: &str = "MAIL FROM:<a@x.org>\r\nRCPT TO:<b@y.org>\r\n";

#[test]
fn s14_commands_have_an_order() {
    let (mut server, store) = (server(Dialect::Smtp), Store::default());
    let mut ask = |lines: &str| codes(&mut server, &store, lines);
    assert_eq!(ask(ENVELOPE), "503 503");
    assert_eq!(ask("LHLO x\r\nHELO x\r\n"), "500 250");
    assert_eq!(ask("RCPT TO:<b@y.org>\r\nDATA\r\n"), "503 503");
    assert_eq!(ask("MAIL FROM:<a@x.org>\r\nMAIL FROM:<a@x.org>\r\nDATA\r\n"), "250 503 503");
    assert_eq!(ask("RSET\r\nRCPT TO:<b@y.org>\r\n"), "250 503");
    assert_eq!(ask("MAIL FROM:<a@x.org>\r\nEHLO x\r\nRCPT TO:<b@y.org>\r\n"), "250 250 503");
    assert_eq!(ask("VRFY b\r\nNOOP x y\r\nHELP\r\nEXPN l\r\nSTARTTLS\r\n"), "252 250 214 502 502");
    assert_eq!(ask("XDUAL 00000000000000000000000000 <b@y.org>\r\n"), "502");
    assert_eq!(ask("QUIT\r\nNOOP\r\n"), "221");
    assert_eq!(server.then(), Then::Close);
}

#[test]
fn s17_postmaster_needs_no_domain() {
    let (mut server, store) = (server(Dialect::Smtp), Store::default());
    let lines = format!("{HELLO}MAIL FROM:<>\r\nRCPT TO:<PostMaster>\r\nDATA\r\n");
    assert_eq!(codes(&mut server, &store, &lines), "250 250 250 354");
    assert_eq!(codes(&mut server, &store, ".\r\n"), "250");
    let kept = store.kept().remove(0);
    assert_eq!(kept.envelope.recipients()[0].path.as_str(), "PostMaster");
    // S21: the null reverse-path stays what it is.
    assert!(kept.envelope.reverse_path.is_null() && kept.message.is_empty());
}

#[test]
fn s18_every_answer_has_an_enhanced_code_but_those_that_must_not() {
    let (mut server, store) = (server(Dialect::Smtp), Store::default());
    server.receive(
        format!("x\r\n{HELLO}{ENVELOPE}RCPT TO:<nobody@y.org>\r\nBDAT 2 LAST\r\n\r\nQUIT\r\n")
            .as_bytes(),
        &store,
    );
    let said = said(&mut server);
    for line in said.lines().filter(|line| line.as_bytes()[3] == b' ' && !line.contains("SIZE")) {
        let (code, rest) = line.split_once(' ').unwrap();
        let class = format!("{}.", &code[..1]);
        assert!(rest.starts_with(&class), "{line}");
    }
}

#[test]
fn s5_a_full_spool_is_said_before_the_message() {
    let (mut server, store) = (server(Dialect::Smtp), Store::default());
    *store.begin.lock().unwrap() = Some(reply(452, "4.3.1 no room"));
    let lines = format!("{HELLO}{ENVELOPE}DATA\r\n");
    assert_eq!(codes(&mut server, &store, &lines), "250 452 503 503");
}

#[test]
fn s16_a_message_over_the_limit_is_refused_as_early_as_it_is_known() {
    let mut config = ServerConfig::new(Dialect::Smtp, "uk.example.org", Port::Fanout);
    config.limits.message = 10;
    let (mut server, store) = (Server::new(config, None, false), Store::default());
    server.greet();
    let mut ask = |lines: &str| codes(&mut server, &store, lines);
    assert_eq!(ask(HELLO), "220 250");
    assert_eq!(ask("MAIL FROM:<a@x.org> SIZE=11\r\n"), "552");
    assert_eq!(ask(&format!("{ENVELOPE}DATA\r\n")), "250 250 354");
    assert_eq!(ask("12345678901\r\n.\r\nNOOP\r\n"), "552 250");
    assert_eq!(ask(&format!("{ENVELOPE}BDAT 11 LAST\r\n12345678901NOOP\r\n")), "250 250 552 250");
    assert_eq!(
        ask(&format!("{ENVELOPE}BDAT 6\r\n123456BDAT 6\r\n123456BDAT 0 LAST\r\n")),
        "250 250 250 552 503"
    );
    assert_eq!(
        ask(&format!("{ENVELOPE}BDAT 8\r\n123456\r\nBDAT 2 LAST\r\n\r\n")),
        "250 250 250 250"
    );
    assert_eq!(store.bodies(), [b"123456\r\n\r\n"]);
}

/// What was seen to end the data at some server or other.
const SMUGGLED_ENDS: [&[u8]; 14] = [
    b"\n.\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\n.\r\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\r\n.\r\n",
    b"\n.\r\r\n",
];

#[test]
fn fourteen_smuggled_ends_split_everywhere_end_nothing_and_are_refused() {
    for end in SMUGGLED_ENDS {
        let smuggled = b"MAIL FROM:<evil@x.org>\r\nRCPT TO:<c@y.org>\r\nDATA\r\nevil\r\n.\r\n";
        let stream = [b"Subject: a\r\n\r\nb", end, smuggled].concat();
        for split in 0..=stream.len() {
            let (mut server, store) = (server(Dialect::Smtp), Store::default());
            assert_eq!(
                codes(&mut server, &store, &format!("{HELLO}{ENVELOPE}DATA\r\n")),
                "250 250 250 354"
            );
            server.receive(&stream[..split], &store);
            server.receive(&stream[split..], &store);
            server.receive(b"NOOP\r\n", &store);
            let said = said(&mut server);
            assert!(said.starts_with("550 5.5.2 "), "{end:?} at {split}: {said}");
            assert_eq!(said.lines().nth(1), Some("250 2.0.0 OK"), "{end:?} at {split}: {said}");
            assert_eq!((said.lines().count(), store.count()), (2, 0));
        }
    }
}

#[test]
fn the_same_bytes_in_a_chunk_are_refused_too() {
    for end in SMUGGLED_ENDS {
        let (mut server, store) = (server(Dialect::Lmtp), Store::default());
        let body = [b"a", end, b"b"].concat();
        let start =
            format!("LHLO x\r\n{ENVELOPE}RCPT TO:<c@y.org>\r\nBDAT {} LAST\r\n", body.len());
        server.receive(start.as_bytes(), &store);
        server.receive(&body, &store);
        let said = said(&mut server);
        assert_eq!(said.matches("\r\n550 5.5.2 a ").count(), 2, "{end:?}: {said}");
        assert_eq!(store.count(), 0);
    }
}

#[test]
fn commands_behind_starttls_or_before_354_are_never_run() {
    let mut config = ServerConfig::new(Dialect::Smtp, "uk.example.org", Port::Fanout);
    config.starttls = true;
    let store = Store::default();
    let mut server = Server::new(config.clone(), None, false);
    server.greet();
    assert_eq!(codes(&mut server, &store, &format!("{HELLO}STARTTLS\r\nRSET\r\n")), "220 250 554");
    assert_eq!(server.then(), Then::Close);

    // After a handshake nothing of before is known.
    let mut server = Server::new(config.clone(), None, false);
    server.greet();
    assert_eq!(
        codes(&mut server, &store, &format!("{HELLO}{ENVELOPE}STARTTLS\r\n")),
        "220 250 250 250 220"
    );
    assert_eq!(server.then(), Then::Handshake);
    server.receive(b"NOOP\r\n", &store);
    assert_eq!(said(&mut server), "");
    server.secured();
    assert_eq!(codes(&mut server, &store, "RCPT TO:<b@y.org>\r\n"), "503");
    server.receive(HELLO.as_bytes(), &store);
    assert!(!said(&mut server).contains("STARTTLS"));
    assert_eq!(codes(&mut server, &store, "STARTTLS\r\n"), "502");

    config.require_tls = true;
    let mut server = Server::new(config, None, false);
    server.greet();
    assert_eq!(codes(&mut server, &store, &format!("{HELLO}{ENVELOPE}")), "220 250 530 530");

    let mut server = self::server(Dialect::Smtp);
    let early = format!("{HELLO}{ENVELOPE}DATA\r\nSubject: x\r\n\r\n.\r\n");
    assert_eq!(codes(&mut server, &store, &early), "250 250 250 554");
    assert_eq!((server.then(), store.count()), (Then::Close, 0));

    let config = ServerConfig::new(Dialect::Smtp, "uk.example.org", Port::Fanout);
    let mut server = Server::new(config, None, false);
    assert_eq!(codes(&mut server, &store, HELLO), "554");
    assert_eq!(server.then(), Then::Close);
}

#[test]
fn what_is_hidden_in_arguments_stays_there() {
    let (mut server, store) = (server(Dialect::Smtp), Store::default());
    let helo = "EHLO a) (b;\\\"\r\n";
    assert_eq!(codes(&mut server, &store, helo), "250");
    let envelope =
        "MAIL FROM:<a@x.org> ENVID=a+0D+0ADATA\r\nRCPT TO:<\"b> c\"@y.org> ORCPT=rfc822;b+0Ac\r\n";
    assert_eq!(codes(&mut server, &store, envelope), "250 250");
    assert_eq!(
        codes(&mut server, &store, "MAIL FROM:<a@x.org\rDATA>\r\nRSET\nNOOP\r\nNO\0OP\r\n"),
        "500 500 250 500"
    );
    assert_eq!(codes(&mut server, &store, "BDAT 3 LAST\r\nx\r\n"), "250");
    let kept = store.kept().remove(0);
    assert_eq!(kept.arrival.with, With::Esmtp);
    assert_eq!(kept.envelope.dsn.envid.clone().unwrap().as_str(), "a+0D+0ADATA");
    assert_eq!(kept.envelope.recipients()[0].path.as_str(), "\"b> c\"@y.org");
}

#[test]
fn a_message_there_is_no_memory_for_is_read_to_its_end_and_put_off() {
    let (mut server, store) = (server(Dialect::Lmtp), Store::default());
    let start = format!("LHLO x\r\n{ENVELOPE}RCPT TO:<c@y.org>\r\n");
    assert_eq!(codes(&mut server, &store, &format!("{start}DATA\r\n")), "250 250 250 250 354");
    server.receive(&b"0123456789\r\n".repeat(1000), &store);
    assert!(server.held() >= 12_000);
    server.starve();
    assert_eq!(server.held(), 0);
    assert_eq!(codes(&mut server, &store, "more\r\n.\r\n"), "452 452");
    assert_eq!(codes(&mut server, &store, &format!("{ENVELOPE}BDAT 4\r\n12\r\n")), "250 250 250");
    server.starve();
    assert_eq!(codes(&mut server, &store, "BDAT 4\r\n34\r\nBDAT 0 LAST\r\n"), "250 452");
    assert_eq!(
        codes(&mut server, &store, &format!("{ENVELOPE}BDAT 4 LAST\r\n12\r\n")),
        "250 250 250"
    );
    assert_eq!((store.count(), server.held()), (1, 0));
}

#[test]
fn a_hostname_that_is_none_brings_nothing_along() {
    for dialect in [Dialect::Smtp, Dialect::Lmtp] {
        let config = ServerConfig::new(dialect, "a\r\n250 b", Port::Fanout);
        let mut server = Server::new(config, None, false);
        server.greet();
        server.receive(b"EHLO x\r\nLHLO x\r\nQUIT\r\n", &Store::default());
        assert!(!said(&mut server).contains("250 b"));
    }
}

#[test]
fn everything_has_its_limit() {
    let store = Store::default();
    let mut server = server(Dialect::Smtp);
    let long = format!("{HELLO}NOOP {}\r\nNOOP\r\n", "x".repeat(100_000));
    assert_eq!(codes(&mut server, &store, &long), "250 500 250");

    let mut config = ServerConfig::new(Dialect::Smtp, "uk.example.org", Port::Fanout);
    config.limits.recipients = 2;
    config.limits.errors = 2;
    config.limits.idle_commands = 5;
    let mut server = Server::new(config.clone(), None, false);
    server.greet();
    let many = format!("{HELLO}{ENVELOPE}{}", "RCPT TO:<c@y.org>\r\n".repeat(2));
    assert_eq!(codes(&mut server, &store, &many), "220 250 250 250 250 452");
    assert_eq!(codes(&mut server, &store, "x\r\nx\r\nx\r\nNOOP\r\n"), "500 500 500 421");
    assert_eq!(server.then(), Then::Close);

    let mut server = Server::new(config, None, false);
    server.greet();
    let idle = format!("{HELLO}{}", "NOOP\r\n".repeat(9));
    assert_eq!(codes(&mut server, &store, &idle), "220 250 250 250 250 250 421");
    assert!(Limits::default().recipients >= 100);
}

#[test]
fn the_peer_port_keeps_the_name_and_tells_of_it() {
    let config = ServerConfig::new(Dialect::Lmtp, "us.example.org", Port::Peer);
    let (mut server, store) = (Server::new(config, None, false), Store::default());
    server.greet();
    let id = "01M82V7M00000000000000001A";
    let send = format!(
        "LHLO uk\r\nMAIL FROM:<a@x.org> XDUAL={id}\r\nRCPT TO:<b@y.org>\r\nRCPT TO:<nobody@y.org>\r\n\
         RCPT TO:<b@y.org>\r\nBDAT 3 LAST\r\nx\r\n"
    );
    // One answer for each recipient that was taken, repeats included (RFC 2033 §4.2).
    assert_eq!(codes(&mut server, &store, &send), "220 250 250 250 550 250 250 250");
    let ask = format!("XDUAL {id} <b@y.org>\r\nXDUAL {id} <c@y.org>\r\nXDUAL x <b@y.org>\r\n");
    assert_eq!(codes(&mut server, &store, &ask), "250 550 501");
    assert_eq!(store.kept()[0].arrival.origin, Some(id.parse::<SpoolId>().unwrap()));
    use mail_dual::Accept;
    assert_eq!(store.knows(id.parse().unwrap(), &path("b@y.org")), Presence::Present);
}

#[test]
fn what_we_stop_in_the_middle_of_is_not_answered() {
    let (mut server, store) = (server(Dialect::Smtp), Store::default());
    codes(&mut server, &store, &format!("{HELLO}{ENVELOPE}DATA\r\n"));
    server.receive(b"half a mess", &store);
    server.close("closing down");
    assert_eq!((said(&mut server).as_str(), server.then(), store.count()), ("", Then::Close, 0));
}

proptest! {
    #[test]
    fn any_bytes_leave_the_server_standing(
        pieces in proptest::collection::vec(prop_oneof![
            "(EHLO x|LHLO x|MAIL FROM:<a@x>|RCPT TO:<b@y>|DATA|BDAT [0-9]{1,2}( LAST)?|RSET|STARTTLS|XDUAL [0-9]{26} <a@b>|[.]?)\r\n".prop_map(String::into_bytes),
            proptest::collection::vec(any::<u8>(), 0..20),
        ], 0..20),
        lmtp: bool,
    ) {
        let dialect = if lmtp { Dialect::Lmtp } else { Dialect::Smtp };
        let (mut whole, mut split) = (server(dialect), server(dialect));
        let (store, other) = (Store::default(), Store::default());
        for piece in &pieces {
            whole.receive(piece, &store);
            // One more look at each byte must change nothing, but for what may not be pipelined.
            for byte in piece {
                split.receive(&[*byte], &other);
            }
        }
        let text = said(&mut whole);
        for line in text.lines() {
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            prop_assert!(code.is_some_and(|code| (200..600).contains(&code)), "{}", line);
        }
        if whole.then() == Then::Read && split.then() == Then::Read {
            prop_assert_eq!(store.bodies(), other.bodies());
        }
    }
}
