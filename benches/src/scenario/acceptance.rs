//! How fast mail is accepted for good while it is delivered to two places, and how much memory a
//! queue takes. Ours is the library in this process: a listener, an engine with its spool on the
//! disk, and two legs. Its peer is Postfix with `recipient_bcc_maps`, a private instance.

use std::{
    fmt, fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::{PermissionsExt, lchown},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use mail_dual::{
    Address, DiskFolder, Encryption, Engine, LegSetting, Listener, ListenerConfig, LogOptions,
    LogSpool, Port, RemoteConfig, RemoteLeg, Route, RoutingTable, Serving, Settings, Silent,
    SystemClock,
    proto::{ClientConfig, Dialect, ServerConfig},
};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Work, alternate},
    legs::{Sink, postfix_version, program, words},
};
use crate::{
    Error,
    measure::{self, Usage},
    table,
};

/// Messages that are accepted.
const MESSAGES: u64 = 4_000;
/// Messages that wait for legs that are away.
const QUEUED: u64 = 100_000;
/// Bytes of each that is accepted.
const SIZE: &str = "4096";
/// Bytes of each that waits.
const SMALL: &str = "512";

/// A piece of work about taking mail in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptWork {
    /// Listener, engine, spool and two legs.
    DualMail,
    /// Postfix, which sends a copy of each message elsewhere.
    Postfix,
    /// Everything waits.
    Queue,
}

impl fmt::Display for AcceptWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DualMail => "mail-dual, both legs to smtp-sink",
            Self::Postfix => "Postfix with recipient_bcc_maps, both copies to smtp-sink",
            Self::Queue => "mail-dual, both legs away",
        })
    }
}

/// Mail is accepted while it is delivered.
pub(super) fn accept(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let work = [(AcceptWork::DualMail, None), (AcceptWork::Postfix, Some(0.2))];
    let input = format!(
        "{} messages of {SIZE} bytes from smtp-source -s 20, a connection for each",
        table::count(MESSAGES)
    );
    compare(bench, Scenario::MailAccept, &work, input)
}

/// Mail is accepted and waits.
pub(super) fn queue(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let input = format!("{} messages of {SMALL} bytes for two legs", table::count(QUEUED));
    let work = [(AcceptWork::Queue, None)];
    let comparison = compare(bench, Scenario::MailQueue, &work, input)?;
    Ok(Comparison { memory_goal: Some(64_000_000), ..comparison })
}

fn compare(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    work: &[(AcceptWork, Option<f64>)],
    input: String,
) -> Result<Comparison, Error> {
    let installed = program("smtp-sink").is_some() && program("smtp-source").is_some();
    let usable = |work: &AcceptWork| {
        installed && (*work != AcceptWork::Postfix || rustix::process::geteuid().is_root())
    };
    let mut contestants: Vec<Contestant> = work
        .iter()
        .filter(|(work, _)| usable(work))
        .map(|&(work, goal)| Contestant { work: Work::Accept(work), goal, runs: Vec::new() })
        .collect();
    let skipped = if contestants.len() < work.len() { vec!["postfix"] } else { Vec::new() };
    let rounds = if scenario == Scenario::MailQueue { 1 } else { bench.settings.rounds };
    alternate(bench, scenario.name(), rounds, &mut contestants, |bench, _, contestant| {
        let Work::Accept(work) = contestant.work else {
            return Err(contestant.wrong("it is not about mail"));
        };
        let folder = bench.fresh("mail");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let done = match work {
            AcceptWork::DualMail => dual_mail(&folder),
            AcceptWork::Postfix => postfix(&folder),
            AcceptWork::Queue => queued(&folder),
        };
        // The next run's disk should not be this one's.
        let _ = fs::remove_dir_all(&folder);
        done.map_err(|how| contestant.wrong(&how))
    })?;
    let input = match installed {
        true => format!("{input}; Postfix {}", postfix_version()),
        false => input,
    };
    Ok(Comparison { scenario, input, contestants, skipped, memory_goal: None, time_goal: None })
}

fn source(to: SocketAddr, recipient: &str, size: &str, count: u64) -> Result<Usage, String> {
    let program = program("smtp-source").ok_or("there is no smtp-source")?;
    let mut command = Command::new(program);
    command.args(["-s", "20", "-l", size, "-m", &count.to_string()]);
    command.args(["-f", "ann@example.com", "-t", recipient]).arg(to.to_string());
    measure::run("smtp-source", &mut command).map_err(words)
}

/// Waits for what must come within minutes.
fn until(what: &str, mut fact: impl FnMut() -> bool) -> Result<(), String> {
    for _ in 0..12_000 {
        if fact() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("in two minutes it did not come to pass that {what}"))
}

struct Relay {
    serving: Serving,
    engine: Engine,
    address: SocketAddr,
}

fn relay(folder: &Path, legs: [SocketAddr; 2]) -> Result<Relay, String> {
    let names = ["uk", "us"].map(|name| name.parse().expect("a name of two letters"));
    let recipients = vec!["*@example.org".parse().map_err(words)?];
    let routes = RoutingTable::new(vec![Route { recipients, legs: names.to_vec() }], []);
    let legs = names.into_iter().zip(legs).map(|(name, address)| {
        let session = ClientConfig::new(Dialect::Smtp, "uk.example.net");
        let config = RemoteConfig::new(address.into(), Encryption::None, session);
        LegSetting { name, leg: Arc::new(RemoteLeg::new(config)), connections: 4 }
    });
    let disk = DiskFolder::open_or_create(&folder.join("spool")).map_err(words)?;
    let spool = LogSpool::open(Arc::new(disk), LogOptions::new(1)).map_err(words)?;
    let settings = Settings { reserve: 0, ..Settings::new("uk.example.net", routes) };
    let (mut engine, _) = Engine::open(
        settings,
        legs.collect(),
        Arc::new(spool),
        Arc::new(SystemClock),
        Arc::new(Silent),
    )
    .map_err(words)?;
    engine.start().map_err(words)?;
    let session = ServerConfig::new(Dialect::Smtp, "uk.example.net", Port::Fanout);
    let any = "127.0.0.1:0".parse().map_err(words)?;
    let listener = Listener::bind(ListenerConfig::new(any, session)).map_err(words)?;
    let serving = listener.serve(Arc::new(engine.handle())).map_err(words)?;
    let Address::Tcp(address) = *serving.address() else {
        return Err("the listener has no port".into());
    };
    Ok(Relay { serving, engine, address })
}

fn dual_mail(folder: &Path) -> Result<Usage, String> {
    let (uk, us) = (Sink::start()?, Sink::start()?);
    let relay = relay(folder, [uk.address, us.address])?;
    let handle = relay.engine.handle();
    let mut wall = Duration::ZERO;
    let all = measure::run_here(|| {
        wall = source(relay.address, "bob@example.org", SIZE, MESSAGES)?.wall;
        until("everything was delivered", || handle.stats().delivered == 2 * MESSAGES)
    })?;
    relay.serving.stop();
    relay.engine.shutdown().map_err(words)?;
    Ok(Usage { wall, ..all })
}

fn queued(folder: &Path) -> Result<Usage, String> {
    // Nobody listens there.
    let free = || TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr());
    let relay = relay(folder, [free().map_err(words)?, free().map_err(words)?])?;
    let handle = relay.engine.handle();
    let mut wall = Duration::ZERO;
    let all = measure::run_here(|| {
        wall = source(relay.address, "bob@example.org", SMALL, QUEUED)?.wall;
        until("everything was queued", || handle.queue_len() as u64 == QUEUED)
    })?;
    let peak_memory = Some(resident()?);
    relay.serving.stop();
    relay.engine.shutdown().map_err(words)?;
    Ok(Usage { wall, peak_memory, ..all })
}

/// All of this process's memory, `compare` itself included.
fn resident() -> Result<u64, String> {
    let status = fs::read_to_string("/proc/self/status").map_err(words)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| "the kernel does not tell our memory".to_owned())
}

const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

struct Postfix {
    folder: PathBuf,
    address: SocketAddr,
}

impl Postfix {
    fn start(folder: &Path, legs: [SocketAddr; 2]) -> Result<Postfix, String> {
        let mode = fs::Permissions::from_mode(0o755);
        for part in ["", "queue", "data"] {
            let path = folder.join(part);
            fs::create_dir_all(&path).map_err(words)?;
            fs::set_permissions(&path, mode.clone()).map_err(words)?;
        }
        let id = Command::new("id").args(["-u", "postfix"]).output().map_err(words)?.stdout;
        let id = String::from_utf8_lossy(&id).trim().parse().map_err(words)?;
        lchown(folder.join("data"), Some(id), None).map_err(words)?;
        let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr());
        let address = free.map_err(words)?;
        let (at, uk, us) = (folder.display(), legs[0].port(), legs[1].port());
        fs::write(folder.join("copies"), "/^(.*)@uk\\.test$/ ${1}@us.test\n").map_err(words)?;
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = front.example.net\n\
             mydestination =\nalias_maps =\nlocal_recipient_maps =\nmynetworks = 127.0.0.0/8\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\n\
             recipient_bcc_maps = regexp:{at}/copies\n\
             transport_maps = inline:{{uk.test=smtp:[127.0.0.1]:{uk}, us.test=smtp:[127.0.0.1]:{us}}}\n\
             maillog_file = {at}/log\nmaillog_file_prefixes = {at}\n\
             default_destination_concurrency_limit = 20\ninitial_destination_concurrency = 20\n"
        );
        fs::write(folder.join("main.cf"), main).map_err(words)?;
        let services = format!("{address} inet n - n - - smtpd\n{SERVICES}");
        fs::write(folder.join("master.cf"), services).map_err(words)?;
        let postfix = Postfix { folder: folder.to_owned(), address };
        postfix.control("start")?;
        until("Postfix listens", || std::net::TcpStream::connect(address).is_ok())?;
        Ok(postfix)
    }

    fn control(&self, what: &str) -> Result<(), String> {
        let output = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(&self.folder)
            .arg(what)
            .output()
            .map_err(words)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// What its processes have used: the master's own, that of its children who ended, and that
    /// of those who are there.
    fn processor_time(&self) -> Result<Duration, String> {
        let pid = fs::read_to_string(self.folder.join("queue/pid/master.pid")).map_err(words)?;
        let master = pid.trim().to_owned();
        let mut ticks = 0;
        for entry in fs::read_dir("/proc").map_err(words)?.flatten() {
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            // The name stands in brackets and may hold anything.
            let Some((before, after)) = stat.rsplit_once(") ") else { continue };
            let fields: Vec<&str> = after.split(' ').collect();
            let is_master = before.split(' ').next() == Some(&master);
            if is_master || fields.get(1) == Some(&master.as_str()) {
                let own = fields.get(11..15).unwrap_or_default();
                ticks += own.iter().filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
            }
        }
        // USER_HZ is 100 on every machine that this runs on.
        Ok(Duration::from_millis(ticks * 10))
    }

    fn is_empty(&self) -> bool {
        let empty = |name| {
            let folder = self.folder.join("queue").join(name);
            fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
        };
        ["incoming", "active", "deferred"].into_iter().all(empty)
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let _ = self.control("stop");
    }
}

fn postfix(folder: &Path) -> Result<Usage, String> {
    let (uk, us) = (Sink::start()?, Sink::start()?);
    let postfix = Postfix::start(folder, [uk.address, us.address])?;
    let before = postfix.processor_time()?;
    let wall = source(postfix.address, "bob@uk.test", SIZE, MESSAGES)?.wall;
    until("Postfix's queue is empty", || postfix.is_empty())?;
    let cpu = postfix.processor_time()?.saturating_sub(before);
    Ok(Usage { wall, cpu, peak_memory: None, there: None })
}
