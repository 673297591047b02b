//! How fast `mail-dual` gets rid of mail: on one connection, and over a link to far away.
//!
//! The library works in this process. smtp-source and smtp-sink are Postfix's own test programs:
//! they store nothing, so that only the protocol is timed.

use std::{
    collections::VecDeque,
    fmt,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use mail_dual::{
    Accept, Encryption, Envelope, Feed, ForwardPath, Job, Leg, Listener, ListenerConfig, Outcome,
    Port, Presence, RawMessage, Receipt, RemoteConfig, RemoteLeg, Reply, ReversePath, Serving,
    SpoolId, Submission, Timestamp,
    proto::{ClientConfig, Dialect, ServerConfig},
};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Work, alternate},
};
use crate::{
    Error,
    measure::{self, Usage},
    slow_link::SlowLink,
    table,
};

/// Messages on one connection.
const ON_ONE: u64 = 20_000;
/// Messages over the slow link.
const FAR: u64 = 1_000;
/// Bytes of each, with a header of its own.
const SIZE: usize = 4096;
/// London to New York and back takes 70 ms at best; to the west coast, 140.
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// 20 Mbit/s.
const BYTES_PER_SECOND: f64 = 2.5e6;
/// How many sessions smtp-source has at once over the slow link.
const SESSIONS: &str = "20";

/// A piece of work about getting rid of mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LegWork {
    /// A leg to smtp-sink on one connection.
    OneConnection,
    /// `smtp-source -d -s 1` to smtp-sink.
    OneSession,
    /// A leg to another relay over the slow link, on one connection.
    Drain,
    /// The same bytes over the link without any protocol.
    BytesAlone,
    /// `smtp-source -d -s 20` over the link.
    ManySessions,
}

impl fmt::Display for LegWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneConnection => "mail-dual leg, one connection, to smtp-sink",
            Self::OneSession => "smtp-source -d -s 1, to smtp-sink",
            Self::Drain => "mail-dual leg, one connection, to a mail-dual listener",
            Self::BytesAlone => "the same bytes over the link, no protocol",
            Self::ManySessions => "smtp-source -d -s 20, to smtp-sink",
        })
    }
}

/// One connection on this machine.
pub(super) fn one_connection(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let input = format!("{} messages of {SIZE} bytes to smtp-sink", table::count(ON_ONE));
    let work = [(LegWork::OneConnection, None), (LegWork::OneSession, Some(1.0))];
    let comparison = compare(bench, Scenario::MailOneConnection, &work, input)?;
    // A thousand a second.
    Ok(Comparison { time_goal: Some(Duration::from_millis(ON_ONE)), ..comparison })
}

/// A backlog over a slow link.
pub(super) fn drain(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let input = format!(
        "{} messages of {SIZE} bytes over a link of {} ms round trip and {:.0} Mbit/s",
        table::count(FAR),
        ROUND_TRIP.as_millis(),
        BYTES_PER_SECOND * 8.0 / 1e6
    );
    let work = [
        (LegWork::Drain, None),
        (LegWork::BytesAlone, Some(1.3)),
        (LegWork::ManySessions, Some(0.5)),
    ];
    compare(bench, Scenario::MailDrain, &work, input)
}

fn compare(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    work: &[(LegWork, Option<f64>)],
    input: String,
) -> Result<Comparison, Error> {
    let has_postfix = program("smtp-sink").is_some() && program("smtp-source").is_some();
    let needs_it = |work: &LegWork| {
        matches!(work, LegWork::OneConnection | LegWork::OneSession | LegWork::ManySessions)
    };
    let mut contestants: Vec<Contestant> = work
        .iter()
        .filter(|(work, _)| has_postfix || !needs_it(work))
        .map(|&(work, goal)| Contestant { work: Work::Legs(work), goal, runs: Vec::new() })
        .collect();
    let skipped = if contestants.len() < work.len() { vec!["smtp-sink"] } else { Vec::new() };
    // Twenty seconds for each round over the slow link, nearly all of them smtp-source's.
    let rounds = match scenario {
        Scenario::MailDrain => bench.settings.rounds.min(2),
        _ => bench.settings.rounds,
    };
    alternate(bench, scenario.name(), rounds, &mut contestants, |_, _, contestant| {
        let Work::Legs(work) = contestant.work else {
            return Err(contestant.wrong("it is not about mail"));
        };
        run(work).map_err(|how| contestant.wrong(&how))
    })?;
    let input = match has_postfix {
        true => format!("{input}; smtp-source and smtp-sink of Postfix {}", postfix_version()),
        false => input,
    };
    Ok(Comparison { scenario, input, contestants, skipped, memory_goal: None, time_goal: None })
}

pub(super) fn program(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from("/usr/sbin").join(name);
    path.is_file().then_some(path)
}

pub(super) fn postfix_version() -> String {
    let said = Command::new("/usr/sbin/postconf").args(["-d", "-h", "mail_version"]).output();
    said.map_or_else(|_| "?".into(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

pub(super) fn words(error: impl fmt::Display) -> String {
    error.to_string()
}

fn run(work: LegWork) -> Result<Usage, String> {
    let link = SlowLink { delay: ROUND_TRIP / 2, bytes_per_second: BYTES_PER_SECOND };
    match work {
        LegWork::OneConnection => {
            let sink = Sink::start()?;
            deliver(sink.address, ON_ONE)
        }
        LegWork::OneSession => {
            let sink = Sink::start()?;
            source(sink.address, "1", ON_ONE)
        }
        LegWork::Drain => {
            let counter = Arc::new(Counter::default());
            let serving = listen(&counter)?;
            let mail_dual::Address::Tcp(address) = *serving.address() else {
                return Err("the listener has no port".into());
            };
            let usage = deliver(link.to(address).map_err(words)?, FAR)?;
            match counter.0.load(Ordering::Relaxed) {
                FAR => Ok(usage),
                other => Err(format!("{other} messages arrived")),
            }
        }
        LegWork::BytesAlone => bytes_alone(link),
        LegWork::ManySessions => {
            let sink = Sink::start()?;
            source(link.to(sink.address).map_err(words)?, SESSIONS, FAR)
        }
    }
}

/// The messages to be sent; each has its own id and all share one text.
struct Backlog {
    jobs: VecDeque<Arc<Job>>,
    delivered: u64,
}

impl Backlog {
    fn new(count: u64) -> Result<Backlog, String> {
        let mut text = b"Subject: a message of some length\r\n\r\n".to_vec();
        while text.len() < SIZE {
            let line = b"The quick brown fox jumps over the lazy dog, and again.\r\n";
            let left = SIZE - text.len();
            text.extend_from_slice(&line[line.len().saturating_sub(left)..]);
        }
        let message = RawMessage::new(text).map_err(words)?;
        let sender = ReversePath::new("ann@example.org").map_err(words)?;
        let recipient = ForwardPath::new("bob@example.net").map_err(words)?;
        let envelope = Envelope::new(sender, [recipient]).map_err(words)?;
        let job = |number: u64| {
            let id = SpoolId::new(Timestamp::from_millis(1), number.into());
            let (envelope, message) = (envelope.clone(), message.clone());
            Arc::new(Job { id, envelope, message, attempt: 0 })
        };
        Ok(Backlog { jobs: (0..count).map(job).collect(), delivered: 0 })
    }
}

impl Feed for Backlog {
    fn next(&mut self) -> Option<Arc<Job>> {
        self.jobs.pop_front()
    }

    fn committing(&mut self, _: &Job, _: &[usize]) -> bool {
        true
    }

    fn report(&mut self, _: &Job, _: usize, outcome: Outcome) {
        self.delivered += u64::from(matches!(outcome, Outcome::Delivered(_)));
    }
}

fn deliver(address: SocketAddr, count: u64) -> Result<Usage, String> {
    let session = ClientConfig::new(Dialect::Smtp, "uk.example.org");
    let leg = RemoteLeg::new(RemoteConfig::new(address.into(), Encryption::None, session));
    let mut backlog = Backlog::new(count)?;
    let usage = measure::run_here(|| {
        leg.deliver(&mut backlog);
        match backlog.delivered {
            delivered if delivered == count => Ok(()),
            delivered => Err(format!("{delivered} of {count} messages were delivered")),
        }
    })?;
    leg.close_idle();
    Ok(usage)
}

fn source(address: SocketAddr, sessions: &str, count: u64) -> Result<Usage, String> {
    let program = program("smtp-source").ok_or("there is no smtp-source")?;
    let mut command = Command::new(program);
    command
        .args(["-d", "-s", sessions, "-l", &SIZE.to_string(), "-m", &count.to_string()])
        .args(["-f", "ann@example.org", "-t", "bob@example.net"])
        .arg(address.to_string());
    measure::run("smtp-source", &mut command).map_err(words)
}

fn bytes_alone(link: SlowLink) -> Result<Usage, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(words)?;
    let near = link.to(listener.local_addr().map_err(words)?).map_err(words)?;
    let far = thread::spawn(move || -> std::io::Result<u64> {
        let (mut stream, _) = listener.accept()?;
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                count => total += count as u64,
            }
        }
        stream.write_all(b"done")?;
        Ok(total)
    });
    let bytes = vec![b'x'; SIZE];
    let usage = measure::run_here(|| -> std::io::Result<()> {
        let mut stream = TcpStream::connect(near)?;
        for _ in 0..FAR {
            stream.write_all(&bytes)?;
        }
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    })
    .map_err(words)?;
    match far.join() {
        Ok(Ok(total)) if total == FAR * SIZE as u64 => Ok(usage),
        _ => Err("not all bytes arrived".into()),
    }
}

/// Takes everything and keeps nothing but the number.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Accept for Counter {
    fn begin(&self, _: Port, _: &ReversePath, _: Option<u64>) -> Result<(), Reply> {
        Ok(())
    }

    fn recipient(&self, _: Port, _: &ForwardPath) -> Result<(), Reply> {
        Ok(())
    }

    fn accept(&self, _: Submission) -> Result<Receipt, Reply> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Receipt::new(SpoolId::new(Timestamp::from_millis(1), number.into()), false))
    }

    fn knows(&self, _: SpoolId, _: &ForwardPath) -> Presence {
        Presence::Unknown
    }
}

fn listen(counter: &Arc<Counter>) -> Result<Serving, String> {
    let session = ServerConfig::new(Dialect::Smtp, "us.example.org", Port::Fanout);
    let address = "127.0.0.1:0".parse().map_err(words)?;
    let listener = Listener::bind(ListenerConfig::new(address, session)).map_err(words)?;
    listener.serve(counter.clone()).map_err(words)
}

/// An smtp-sink of one's own.
pub(super) struct Sink {
    process: Child,
    pub(super) address: SocketAddr,
}

impl Sink {
    pub(super) fn start() -> Result<Sink, String> {
        let program = program("smtp-sink").ok_or("there is no smtp-sink")?;
        // Nobody else takes the port between now and then, as far as anybody can tell.
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr());
        let address = free.map_err(words)?;
        let mut command = Command::new(program);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        let process = command
            .arg(address.to_string())
            .arg("1000")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(words)?;
        let sink = Sink { process, address };
        for _ in 0..1000 {
            if TcpStream::connect(address).is_ok() {
                return Ok(sink);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err("smtp-sink does not listen".into())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
