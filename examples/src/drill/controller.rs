//! The controller in the US, as `dns-failover` has it, with rules for a drill; and what was heard of it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dns_failover::daemon::{self, Heard, Held, Input, Orders, Pace, Publish, Told, ZonePublish};
use dns_failover::decision::{
    Cause, Command, Decision, Effect, FailBack, Millis, Note, Observer, ObserverId, Policy,
    PolicyConfig, Publication, Service, Stay, Thresholds, Timestamp, Verdict,
};
use dns_failover::journal::JournalDir;
use dns_failover::observe::{Exchange, ExchangeKey, Guard};
use dns_failover::{SiteId, Topology};

use super::names::{NETWORK, PATIENCE};
use super::pages::{self, Past};
use super::{SERVICES, Trouble, clock};

/// The observers: where each stands, and what it fails together with.
pub(super) const OBSERVERS: [(&str, &str, Option<SiteId>); 3] = [
    ("london", "uk", Some(SiteId::Uk)),
    ("newyork", "us", Some(SiteId::Us)),
    ("zurich", "outside", None),
];

/// A controller at work, until this is dropped.
#[derive(Debug)]
pub(super) struct Controller {
    known: Arc<Mutex<Known>>,
    ending: Arc<AtomicBool>,
    address: SocketAddr,
    journal: PathBuf,
    policy: Policy,
    threads: Vec<JoinHandle<()>>,
}

/// What was heard of it.
#[derive(Debug, Default)]
struct Known {
    decisions: Vec<Decision>,
    verdicts: BTreeMap<(String, String), Verdict>,
    stays: BTreeMap<String, Stay>,
    /// Whether all name servers have the latest decision.
    everywhere: bool,
    trouble: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The usual rules, for observers that look ten times as often as usual.
fn policy(controller: SiteId) -> Result<Policy, Trouble> {
    let wrong = |why: &dyn std::fmt::Display| Trouble::new(format!("the rules: {why}"));
    let mut config = PolicyConfig::example();
    config.controller = controller.as_str().parse().map_err(|error| wrong(&error))?;
    config.thresholds = Thresholds::default();
    config.fresh = Millis::new(2500);
    config.hold = Millis::from_secs(1);
    config.observers.clear();
    for (name, domain, site) in OBSERVERS {
        config.observers.push(Observer {
            id: name.parse().map_err(|error| wrong(&error))?,
            domain: domain.parse().map_err(|error| wrong(&error))?,
            site: site.map(|site| site.as_str().parse()).transpose().map_err(|e| wrong(&e))?,
        });
    }
    config.services.clear();
    for (service, _, primary) in SERVICES {
        let site = |site: SiteId| site.as_str().parse().map_err(|error| wrong(&error));
        config.services.push(Service {
            id: service.parse().map_err(|error| wrong(&error))?,
            sites: vec![site(primary)?, site(primary.other())?],
            needs: Vec::new(),
            // What was written meanwhile must go back first.
            fail_back: FailBack::Manual,
            all_down: Default::default(),
        });
    }
    Policy::new(config).map_err(|error| wrong(&error))
}

/// Tells no name server anything.
struct Mute;

impl Publish for Mute {
    fn publish(&mut self, _: &Publication) -> Told {
        let of = dns_failover::NAME_SERVERS as u8;
        Told { have: 0, of, held: None, trouble: Some("nobody was told".to_owned()) }
    }

    fn read(&mut self) -> Option<Held> {
        None
    }
}

impl Controller {
    /// Starts it with a journal in `journal`. With `mute` it decides and tells nobody.
    pub(super) fn start(
        topology: &Topology,
        journal: &Path,
        secret: &[u8],
        mute: bool,
    ) -> Result<Controller, Trouble> {
        let failed = |why: &dyn std::fmt::Display| Trouble::new(format!("the controller: {why}"));
        let policy = policy(SiteId::Us)?;
        let opened = daemon::Controller::open(policy.clone(), journal, clock::now());
        let (controller, _) = opened.map_err(|error| failed(&error))?;
        let key = ExchangeKey::new(secret).map_err(|error| failed(&error))?;
        let senders: Vec<ObserverId> = policy.config().observers.iter().map(|of| of.id).collect();
        let guard = Guard::new(key, senders, policy.config().fresh, policy.config().skew);
        let pace =
            Pace { tick: Millis::new(50), retry: Millis::new(500), survey: Millis::from_secs(30) };
        let controller = controller.guarded(guard).pace(pace);
        let exchange = Exchange::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let exchange = exchange.map_err(|error| failed(&error))?;
        let address = exchange.address().map_err(|error| failed(&error))?;
        let known = Arc::new(Mutex::new(Known::default()));
        let ending = Arc::new(AtomicBool::new(false));
        let (feed, inputs) = mpsc::channel();
        let end = ending.clone();
        let listener = thread::spawn(move || listen(&exchange, &feed, &end));
        let (topology, at) = (topology.clone(), known.clone());
        let decider = thread::spawn(move || {
            let mut tell = |_: Timestamp, heard: Heard<'_>| lock(&at).hear(heard);
            let zones = ZonePublish::new(&topology, &NETWORK, SiteId::Us, PATIENCE);
            let ended = match mute {
                true => controller.run(&inputs, Mute, &clock::now, &mut tell, &mut |_| {}),
                false => controller.run(&inputs, zones, &clock::now, &mut tell, &mut |_| {}),
            };
            if let Err(error) = ended {
                lock(&at).trouble = Some(error.to_string());
            }
        });
        let threads = vec![listener, decider];
        Ok(Controller { known, ending, address, journal: journal.to_owned(), policy, threads })
    }

    /// Where observers send their reports.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether every service is seen as up at every site.
    pub(super) fn all_up(&self) -> bool {
        let known = lock(&self.known);
        let up = |verdict: &Verdict| *verdict == Verdict::Up;
        known.verdicts.len() == SERVICES.len() * 2 && known.verdicts.values().all(up)
    }

    /// Whether all name servers have the latest decision.
    pub(super) fn is_everywhere(&self) -> bool {
        lock(&self.known).everywhere
    }

    /// Why a service stays where it is.
    pub(super) fn stay(&self, service: &str) -> Option<Stay> {
        lock(&self.known).stays.get(service).copied()
    }

    /// What it decided so far, but for what it only took over.
    pub(super) fn decisions(&self) -> Vec<Decision> {
        lock(&self.known).decisions.clone()
    }

    /// Why it cannot go on, if it cannot.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        match &lock(&self.known).trouble {
            Some(why) => Err(Trouble::new(format!("the controller: {why}"))),
            None => Ok(()),
        }
    }

    /// A person's order.
    pub(super) fn order(&self, command: &Command) -> Result<(), Trouble> {
        let given = Orders::of(&self.journal).give(command, clock::now());
        given.map(drop).map_err(|error| Trouble::new(error.to_string()))
    }

    /// Stops it, and makes every decision of its journal again: the effects must be the same. Gives
    /// them with their times, and writes the status pages to a folder if there is one.
    pub(super) fn finish(
        mut self,
        pages: Option<&Path>,
    ) -> Result<Vec<(Timestamp, Effect)>, Trouble> {
        self.stop();
        let failed = |error| Trouble::new(format!("the journal: {error}"));
        let (_, state, notes) = JournalDir::open(&self.journal, &self.policy).map_err(failed)?;
        if let Some(note) = notes.first() {
            return Err(Trouble::new(format!("the journal: {note}")));
        }
        let history = JournalDir::history(&self.journal).map_err(failed)?.entries;
        if let (Some(folder), Some(state)) = (pages, &state) {
            let uk = policy(SiteId::Uk)?;
            let policies = [&self.policy, &uk];
            let past = Past { policies, state, history: &history, now: clock::now() };
            pages::write(&past, folder)?;
        }
        Ok(history)
    }

    fn stop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // A panic was told when it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Hands datagrams on until it is told to end; the controller ends with it.
fn listen(exchange: &Exchange, feed: &mpsc::Sender<Input>, ending: &AtomicBool) {
    while !ending.load(Ordering::SeqCst) {
        if let Ok(Some(datagram)) = exchange.receive(Duration::from_millis(50))
            && feed.send(Input::Datagram(datagram)).is_err()
        {
            return;
        }
    }
}

/// Whether a decision moves a service, and is not another's that was taken over.
pub(super) fn is_move(decision: &Decision) -> bool {
    decision.cause != Cause::Adopted && decision.from != decision.to
}

impl Known {
    fn hear(&mut self, heard: Heard<'_>) {
        let Heard::Effect(effect) = heard else { return };
        match effect {
            Effect::Decided(decision) if is_move(decision) => self.decisions.push(decision.clone()),
            Effect::Publish(_) => self.everywhere = false,
            Effect::Noted(Note::Everywhere { .. }) => self.everywhere = true,
            Effect::Noted(Note::Place { service, site, verdict, .. }) => {
                self.verdicts.insert((service.to_string(), site.to_string()), *verdict);
            }
            Effect::Noted(Note::Stays { service, stay }) => {
                self.stays.insert(service.to_string(), *stay);
            }
            _ => {}
        }
    }
}
