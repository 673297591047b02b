//! One name server of six that lies, on real sockets: what it does is called by its name, the other five
//! are brought level, and nobody waits for it for ever.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dns_failover::testing::{Behaviour, Loopback, MemoryNetwork, draft};
use dns_failover::{
    Active, Network, Outcome, Patience, Plan, PlanGuards, Publisher, Rcode, SiteId, Tcp, Topology,
    Trouble,
};

/// Which of the six it is: one that takes updates.
const LIAR: usize = 1;

/// How long each wait may last here.
const TIMEOUT: Duration = Duration::from_millis(1000);

/// Six servers on free ports.
fn topology() -> Topology {
    let mut draft = draft(1);
    let held: Vec<TcpListener> =
        draft.name_servers.iter().map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    for (server, listener) in draft.name_servers.iter_mut().zip(&held) {
        server.reach = listener.local_addr().unwrap();
        server.listen = vec![server.reach];
    }
    Topology::new(draft).unwrap()
}

/// What a change of site comes to on the liar, with the others level.
#[track_caller]
fn outcome(topology: &Topology, network: &dyn Network) -> Trouble {
    let patience = Patience { rounds: 1, ..Patience::default() };
    let publisher = Publisher::new(topology, network, SiteId::Us, patience);
    let name = topology.domains().keys().next().unwrap();
    let to = Active::One(SiteId::Us);
    let plan = Plan::failover(topology, [(name, None, to)]).approve(&PlanGuards::default());
    let report = publisher.publish(&plan.unwrap());
    let liar = &topology.name_servers()[LIAR].name;
    let zone = report.zones.values().next().unwrap();
    for (server, outcome) in zone.servers.iter().filter(|(server, _)| *server != liar) {
        assert_eq!(*outcome, Outcome::Applied, "{server}: {report}");
    }
    match &zone.servers[liar] {
        Outcome::Refused { trouble } | Outcome::Unreachable { trouble } => trouble.clone(),
        _ => panic!("{report}"),
    }
}

fn serving(topology: &Topology) -> Loopback {
    let now = Tcp::default().unix_time();
    Loopback::serve(MemoryNetwork::serving(topology, now)).unwrap()
}

#[test]
fn bad_answers_over_tcp_are_called_by_their_names() {
    type Expected = fn(&Trouble) -> bool;
    let cases: [(Behaviour, Expected); 10] = [
        (
            Behaviour::Answers(Rcode::REFUSED),
            |t| matches!(t, Trouble::Refused { rcode } if *rcode == Rcode::REFUSED),
        ),
        (
            Behaviour::Answers(Rcode::NOTAUTH),
            |t| matches!(t, Trouble::Refused { rcode } if *rcode == Rcode::NOTAUTH),
        ),
        (Behaviour::SaysTruncated, |t| matches!(t, Trouble::Truncated { .. })),
        (Behaviour::CutShort, |t| matches!(t, Trouble::Truncated { .. })),
        (Behaviour::Rubbish, |t| matches!(t, Trouble::Rubbish { .. })),
        (Behaviour::Unsigned, |t| matches!(t, Trouble::Unsigned { .. })),
        (Behaviour::Forged, |t| matches!(t, Trouble::Forged { .. })),
        (Behaviour::BadKey, |t| matches!(t, Trouble::BadKey { .. })),
        (Behaviour::BadSig, |t| matches!(t, Trouble::BadSig { .. })),
        (
            Behaviour::ClockAhead(4000),
            |t| matches!(t, Trouble::BadTime { theirs, ours } if theirs.abs_diff(*ours).abs_diff(4000) < 60),
        ),
    ];
    for (behaviour, expected) in cases {
        let topology = topology();
        let loopback = serving(&topology);
        loopback.network().server(LIAR).behaviour = behaviour;
        let trouble = outcome(&topology, &Tcp { timeout: TIMEOUT });
        assert!(expected(&trouble), "{behaviour:?} is called {trouble:?}: {trouble}");
    }
}

/// What a liar does with a connection.
type Lie = fn(&mut TcpStream) -> std::io::Result<()>;

/// A server that is none.
struct Liar {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Liar {
    fn at(address: SocketAddr, lie: Lie) -> Liar {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let ending = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&ending);
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        // It ends when we hang up.
                        let _ = lie(&mut stream);
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Liar { ending, thread: Some(thread) }
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A question with its length before it.
fn question(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Says this and no more, and listens to the end: who hangs up with questions unread takes his words back.
fn last_words(stream: &mut TcpStream, words: &[u8]) -> std::io::Result<()> {
    stream.write_all(words)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let len = u16::try_from(message.len()).unwrap();
    [&len.to_be_bytes(), message].concat()
}

#[test]
fn what_is_no_name_server_is_told_from_one() {
    type Expected = fn(&Trouble) -> bool;
    let cases: [(&str, Lie, Expected); 9] = [
        ("it hangs up at once", |_| Ok(()), |t| matches!(t, Trouble::Unreachable { .. })),
        (
            "it speaks HTTP",
            |stream| {
                question(stream)?;
                let words = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
                last_words(stream, words)
            },
            |t| matches!(t, Trouble::Truncated { .. } | Trouble::Rubbish { .. }),
        ),
        (
            "it hangs up within a message",
            |stream| {
                let asked = question(stream)?;
                last_words(stream, &framed(&asked)[..20])
            },
            |t| matches!(t, Trouble::Truncated { .. }),
        ),
        (
            "it hangs up within a length",
            |stream| {
                question(stream)?;
                last_words(stream, &[0])
            },
            |t| matches!(t, Trouble::Truncated { .. }),
        ),
        (
            "it sends empty messages",
            |stream| loop {
                stream.write_all(&framed(&[]))?;
                question(stream)?;
            },
            |t| matches!(t, Trouble::Rubbish { .. }),
        ),
        (
            "it sends back what it gets",
            |stream| loop {
                let asked = question(stream)?;
                stream.write_all(&framed(&asked))?;
            },
            |t| matches!(t, Trouble::Rubbish { .. }),
        ),
        (
            "it answers other questions",
            |stream| loop {
                let mut asked = question(stream)?;
                asked[1] = asked[1].wrapping_add(77);
                asked[2] |= 0x80;
                stream.write_all(&framed(&asked))?;
            },
            |t| matches!(t, Trouble::Rubbish { .. }),
        ),
        (
            "it promises thousands of records",
            |stream| loop {
                let mut asked = question(stream)?;
                asked[2] |= 0x80;
                asked[6..8].fill(0xff);
                stream.write_all(&framed(&asked))?;
            },
            |t| matches!(t, Trouble::Truncated { .. } | Trouble::Rubbish { .. }),
        ),
        (
            "it never answers",
            |stream| loop {
                question(stream)?;
            },
            |t| matches!(t, Trouble::Unreachable { why } if why == "no reply in time"),
        ),
    ];
    for (what, lie, expected) in cases {
        let trouble = beside_five(lie);
        assert!(expected(&trouble), "{what}: {trouble:?}");
    }
}

/// A server that sends an octet now and then, each well within the time: the time is for all of them.
#[test]
fn who_drips_is_not_waited_for() {
    let begun = now();
    let trouble = beside_five(|stream| {
        question(stream)?;
        stream.write_all(&[0xff, 0xff])?;
        loop {
            stream.write_all(&[0])?;
            thread::sleep(TIMEOUT / 10);
        }
    });
    assert!(matches!(&trouble, Trouble::Unreachable { why } if why == "no reply in time"));
    // 65,535 octets would take two hours.
    assert!(now() - begun < Duration::from_secs(60));
}

#[expect(clippy::disallowed_methods, reason = "a test is an edge")]
fn now() -> Instant {
    Instant::now()
}

/// Five good servers and a liar.
fn beside_five(lie: Lie) -> Trouble {
    let mut topology = topology();
    let loopback = serving(&topology);
    let apart = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut with_liar = draft(1);
    for (server, real) in with_liar.name_servers.iter_mut().zip(topology.name_servers()) {
        server.reach = real.reach;
        server.listen = real.listen.clone();
    }
    with_liar.name_servers[LIAR].reach = apart;
    topology = Topology::new(with_liar).unwrap();
    let _liar = Liar::at(apart, lie);
    let trouble = outcome(&topology, &Tcp { timeout: TIMEOUT });
    drop(loopback);
    trouble
}
