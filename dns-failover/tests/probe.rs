//! Probes against servers that work, fail, hang, drip, flood and talk nonsense, all on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use dns_failover::Name;
use dns_failover::decision::Millis;
use dns_failover::probe::{Check, Failure, Probe};

/// Serves connections until the test ends.
fn serve(answer: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream);
        }
    });
    address
}

/// Says something at once.
fn says(text: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.write_all(text.as_bytes());
        // A close with unread input would become a reset and take what we said with it.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// Answers each line of the dialogue in turn.
fn dialogue(first: &'static str, second: &'static str) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.write_all(first.as_bytes());
        let mut buffer = [0; 512];
        if second.is_empty() {
            return;
        }
        if stream.read(&mut buffer).is_ok_and(|count| count > 0) {
            let _ = stream.write_all(second.as_bytes());
        }
        let _ = stream.read(&mut buffer);
    })
}

fn run(address: SocketAddr, check: Check) -> Result<(), Failure> {
    Probe { address, check, timeout: Millis::from_secs(20) }.run(0x1234)
}

fn soon(address: SocketAddr, check: Check) -> Result<(), Failure> {
    Probe { address, check, timeout: Millis::new(150) }.run(0x1234)
}

fn page(text: Option<&str>) -> Check {
    Check::http("www.example.com", "/", 200, text).unwrap()
}

fn zone() -> Name {
    "example.com.".parse().unwrap()
}

#[test]
fn http_wants_the_status_and_the_text() {
    let good = "HTTP/1.1 200 OK\r\nServer: x\r\n\r\n<p>all is well</p>";
    assert!(run(says(good), page(None)).is_ok());
    assert!(run(says(good), page(Some("all is well"))).is_ok());
    assert!(matches!(run(says(good), page(Some("Server: x"))), Err(Failure::Text(_))));
    let error = run(says("HTTP/1.1 503 Busy\r\n\r\nall is well"), page(None)).unwrap_err();
    assert_eq!(error.to_string(), "it answered \"HTTP/1.1 503 Busy\" instead of HTTP status 200");
    assert!(
        run(says("HTTP/1.1 503 Busy\r\n\r\n"), Check::http("a", "/", 503, None).unwrap()).is_ok()
    );
    for nonsense in ["", "\n", "HTTP", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1  200", "SSH-2.0-x\r\n"]
    {
        assert!(
            matches!(run(says(nonsense), page(None)), Err(Failure::Answer { .. })),
            "{nonsense:?}"
        );
    }
    let request = serve(|mut stream| {
        let mut got = [0; 512];
        let count = stream.read(&mut got).unwrap();
        let right = got[..count].starts_with(b"GET /a?b HTTP/1.0\r\nHost: www.example.com\r\n");
        let _ = stream.write_all(if right { b"HTTP/1.0 200 \r\n\r\n" } else { b"no" });
    });
    assert!(run(request, Check::http("www.example.com", "/a?b", 200, None).unwrap()).is_ok());
}

/// The text may come in pieces.
#[test]
fn http_finds_a_text_that_was_cut_in_two() {
    let address = serve(|mut stream| {
        for piece in ["HTTP/1.1 200 OK\r\n\r", "\n", &"x".repeat(5000), "all is ", "well"] {
            let _ = stream.write_all(piece.as_bytes());
            let _ = stream.flush();
            thread::sleep(Duration::from_millis(5));
        }
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    assert!(run(address, page(Some("all is well"))).is_ok());
}

#[test]
fn http_checks_that_would_break_a_request_are_refused() {
    for (host, path) in
        [("a\r\nb", "/"), ("", "/"), ("a", "x"), ("a", "/ HTTP/1.0\r\n"), ("a b", "/")]
    {
        assert!(Check::http(host, path, 200, None).is_err(), "{host:?} {path:?}");
    }
    assert!(Check::http("a", "/", 99, None).is_err());
}

#[test]
fn mail_wants_a_greeting_and_an_answer_to_hello() {
    for check in [Check::Smtp, Check::Lmtp] {
        let run = |first, second| run(dialogue(first, second), check.clone());
        assert!(run("220 mail\r\n", "250 hello\r\n").is_ok());
        assert!(run("220-mail\r\n220 here\r\n", "250-a\r\n250-b\r\n250 c\r\n").is_ok());
        assert!(matches!(run("421 busy\r\n", ""), Err(Failure::Answer { .. })));
        assert!(matches!(run("220 mail\r\n", "421 busy\r\n"), Err(Failure::Answer { .. })));
        assert!(matches!(run("220-mail\r\n421 no\r\n", ""), Err(Failure::Answer { .. })));
        assert!(run("220 mail\r\n", "").is_err());
    }
}

#[test]
fn ssh_wants_a_banner_and_lets_lines_come_before_it() {
    assert!(run(says("SSH-2.0-OpenSSH_9.2\r\n"), Check::Ssh).is_ok());
    assert!(run(says("welcome\r\nSSH-2.0-x\r\n"), Check::Ssh).is_ok());
    let error = run(says("HTTP/1.1 400 Bad\r\n\u{1b}[31m\r\n"), Check::Ssh).unwrap_err();
    assert_eq!(error.to_string(), "it answered \"?[31m\" instead of an SSH-2.0 banner");
}

#[test]
fn a_port_where_nobody_listens_is_told_from_one_that_is_silent() {
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for check in [Check::Tcp, page(None), Check::Smtp, Check::Ssh] {
        assert!(matches!(run(closed, check), Err(Failure::Connect(_))));
    }
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    assert!(run(address, Check::Tcp).is_ok());
    for check in [page(None), Check::Smtp, Check::Lmtp, Check::Ssh] {
        assert!(matches!(soon(address, check), Err(Failure::TimedOut(_))));
    }
}

/// A peer that sends an octet now and then never ends a line; one deadline holds for all waits.
#[test]
fn one_that_drips_is_down() {
    let address = serve(|mut stream| {
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    for check in [page(None), Check::Smtp, Check::Ssh] {
        assert!(matches!(soon(address, check), Err(Failure::TimedOut(_))));
    }
}

/// What is read is capped, so that this ends though the peer never does.
#[test]
fn one_that_floods_is_down() {
    let flood = |line: &'static str| {
        serve(move |mut stream| while stream.write_all(line.as_bytes()).is_ok() {})
    };
    assert!(matches!(run(flood("220-more\r\n"), Check::Smtp), Err(Failure::Answer { .. })));
    assert!(matches!(run(flood("hello\r\n"), Check::Ssh), Err(Failure::Answer { .. })));
    assert!(matches!(run(flood("xxxxxxxxxxxxxxx"), page(None)), Err(Failure::Answer { .. })));
    let endless = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1000]).is_ok() {}
    });
    assert!(matches!(run(endless, page(Some("ok"))), Err(Failure::Text(_))));
    // A header without an end, with and without line feeds.
    for more in ["X-More: of it\r\n", "xxxxxxxxxxxxxxxx"] {
        let endless = serve(move |mut stream| {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\nX-First: ");
            while stream.write_all(more.as_bytes()).is_ok() {}
        });
        assert!(matches!(run(endless, page(Some("ok"))), Err(Failure::Text(_))), "{more:?}");
    }
}

/// The right status, and then one octet after the other: of the header, of the page, of a greeting.
#[test]
fn one_that_drips_after_a_good_beginning_is_down() {
    for (first, check) in [
        ("HTTP/1.0 200 OK\r\nX-First: ", page(Some("ok"))),
        ("HTTP/1.0 200 OK\r\n\r\n", page(Some("ok"))),
        ("220-mail\r\n220", Check::Smtp),
    ] {
        let address = serve(move |mut stream| {
            let _ = stream.write_all(first.as_bytes());
            while stream.write_all(b"-").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        assert!(matches!(soon(address, check), Err(Failure::TimedOut(_))), "{first:?}");
    }
}

/// A name server that changes the question into what it sends.
fn name_server(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            for datagram in answer(&buffer[..count]) {
                let _ = socket.send_to(&datagram, from);
            }
        }
    });
    address
}

#[test]
fn dns_wants_an_answer_with_authority_to_its_own_question() {
    let with = |flags: u8, rcode: u8| {
        name_server(move |question| {
            let mut answer = question.to_vec();
            (answer[2], answer[3]) = (flags, rcode);
            vec![answer]
        })
    };
    let ask = |address| run(address, Check::Dns(zone()));
    assert!(ask(with(0x84, 0)).is_ok());
    assert!(matches!(ask(with(0x80, 0)), Err(Failure::Answer { .. })));
    let error = ask(with(0x84, 5)).unwrap_err();
    assert_eq!(error.to_string(), "it answered RCODE 5 instead of NOERROR");
    // Somebody else's answers are passed over, and the right one is still waited for.
    let confused = name_server(|question| {
        let mut answer = question.to_vec();
        answer[2] = 0x84;
        let (mut other_id, mut other_name) = (answer.clone(), answer.clone());
        other_id[0] ^= 1;
        other_name[13] ^= 1;
        vec![vec![], vec![0; 5], question.to_vec(), other_id, other_name, answer]
    });
    assert!(ask(confused).is_ok());
    let silent = name_server(|_| Vec::new());
    assert!(matches!(soon(silent, Check::Dns(zone())), Err(Failure::TimedOut(_))));
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    assert!(matches!(ask(closed), Err(Failure::Connect(_))));
}
