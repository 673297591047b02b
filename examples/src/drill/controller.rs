//! The controller in the US: takes reports in, decides by `dns-failover`'s one step, writes the journal,
//! and has the name servers told.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dns_failover::decision::{
    Command, Decision, Effect, Epoch, Event, FailBack, Millis, Observer, ObserverId, Policy,
    PolicyConfig, Publication, Service, State, Thresholds, Timestamp,
};
use dns_failover::journal::JournalDir;
use dns_failover::observe::{Body, Exchange, ExchangeKey, Guard, View};
use dns_failover::{Active, Name, Outcome, SiteId, Topology};

use super::names::{SERVERS, failover_plan, publisher};
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
    shared: Arc<Shared>,
    address: SocketAddr,
    journal: PathBuf,
    policy: Policy,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    orders: Mutex<Vec<Command>>,
    ending: AtomicBool,
}

#[derive(Debug)]
struct Known {
    state: State,
    decisions: Vec<Decision>,
    trouble: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rules for a drill: those of production with a clock that runs ten times as fast.
fn policy() -> Result<Policy, Trouble> {
    let wrong = |why: &dyn std::fmt::Display| Trouble::new(format!("the rules: {why}"));
    let mut config = PolicyConfig::example();
    config.thresholds = Thresholds { rise: 5, fall: 3, lapses: 6, ok: 10 };
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

impl Controller {
    /// Starts it with a journal in `journal`. With `mute` it decides and tells nobody.
    pub(super) fn start(
        topology: &Topology,
        journal: &Path,
        secret: &[u8],
        mute: bool,
    ) -> Result<Controller, Trouble> {
        let policy = policy()?;
        let failed = |why: &dyn std::fmt::Display| Trouble::new(format!("the controller: {why}"));
        let opened = JournalDir::open(journal, &policy);
        let (mut dir, _, _) = opened.map_err(|error| failed(&error))?;
        let now = clock::now();
        let state = policy.start(now);
        dir.begin(&state, now).map_err(|error| failed(&error))?;
        let key = ExchangeKey::new(secret).map_err(|error| failed(&error))?;
        let known: Vec<ObserverId> = policy.config().observers.iter().map(|of| of.id).collect();
        let guard = Guard::new(key, known, policy.config().fresh, policy.config().skew);
        let exchange = Exchange::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let exchange = exchange.map_err(|error| failed(&error))?;
        let address = exchange.address().map_err(|error| failed(&error))?;
        let known = Mutex::new(Known { state, decisions: Vec::new(), trouble: None });
        let shared =
            Arc::new(Shared { known, orders: Mutex::default(), ending: AtomicBool::new(false) });
        let (wish, wishes) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let mut threads = Vec::new();
        let work = Desk { policy: policy.clone(), dir, guard, exchange, wish, told, mute };
        let at = shared.clone();
        threads.push(thread::spawn(move || work.run(&at)));
        let (topology, at) = (topology.clone(), shared.clone());
        threads.push(thread::spawn(move || publish(&topology, &wishes, &tell, &at)));
        Ok(Controller { shared, address, journal: journal.to_owned(), policy, threads })
    }

    /// Where observers send their reports.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it makes of it all.
    pub(super) fn view(&self) -> View {
        View::of(&self.policy, &lock(&self.shared.known).state)
    }

    /// What it decided so far.
    pub(super) fn decisions(&self) -> Vec<Decision> {
        lock(&self.shared.known).decisions.clone()
    }

    /// Why it cannot go on, if it cannot.
    pub(super) fn check(&self) -> Result<(), Trouble> {
        match &lock(&self.shared.known).trouble {
            Some(why) => Err(Trouble::new(format!("the controller: {why}"))),
            None => Ok(()),
        }
    }

    /// A person's order.
    pub(super) fn order(&self, command: Command) {
        lock(&self.shared.orders).push(command);
    }

    /// Stops it, and makes every decision of its journal again: the effects must be the same. Gives
    /// them with their times.
    pub(super) fn finish(mut self) -> Result<Vec<(Timestamp, Effect)>, Trouble> {
        self.stop();
        let failed = |error| Trouble::new(format!("the journal: {error}"));
        let (_, _, notes) = JournalDir::open(&self.journal, &self.policy).map_err(failed)?;
        if let Some(note) = notes.first() {
            return Err(Trouble::new(format!("the journal: {note}")));
        }
        JournalDir::history(&self.journal).map(|history| history.entries).map_err(failed)
    }

    fn stop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
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

/// What the deciding thread has in hand.
struct Desk {
    policy: Policy,
    dir: JournalDir,
    guard: Guard,
    exchange: Exchange,
    wish: mpsc::Sender<Publication>,
    told: mpsc::Receiver<(Epoch, u8)>,
    mute: bool,
}

impl Desk {
    fn run(mut self, shared: &Shared) {
        while !shared.ending.load(Ordering::SeqCst) {
            let mut events = Vec::new();
            match self.exchange.receive(Duration::from_millis(50)) {
                Ok(Some(datagram)) => {
                    if let Ok(message) = self.guard.open(&datagram, clock::now())
                        && let Body::Report(report) = message.body
                    {
                        events.push(Event::Observed(report));
                    }
                }
                Ok(None) => events.push(Event::Tick),
                Err(error) => lock(&shared.known).trouble = Some(error.to_string()),
            }
            events.extend(lock(&shared.orders).drain(..).map(Event::Commanded));
            let of = SERVERS as u8;
            events.extend(self.told.try_iter().map(|(epoch, have)| Event::Published {
                epoch,
                have,
                of,
            }));
            for event in events {
                self.step(&event, shared);
            }
        }
    }

    fn step(&mut self, event: &Event, shared: &Shared) {
        let now = clock::now();
        let mut known = lock(&shared.known);
        let (state, effects) = self.policy.step(known.state.clone(), event, now);
        if let Err(error) = self.dir.append(event, &effects, &state, now) {
            // What is not on the disk is not acted on.
            known.trouble = Some(error.to_string());
            return;
        }
        known.state = state;
        for effect in effects {
            match effect {
                Effect::Decided(decision) => known.decisions.push(decision),
                Effect::Publish(publication) if !self.mute => {
                    // Without the publishing thread the drill is about to end.
                    let _ = self.wish.send(publication);
                }
                _ => {}
            }
        }
    }
}

/// Brings what was decided to the name servers; those that cannot be reached, again and again.
fn publish(
    topology: &Topology,
    wishes: &mpsc::Receiver<Publication>,
    tell: &mpsc::Sender<(Epoch, u8)>,
    shared: &Shared,
) {
    let mut open: Option<Publication> = None;
    let mut wait = Duration::from_millis(50);
    while !shared.ending.load(Ordering::SeqCst) {
        match wishes.recv_timeout(wait) {
            Ok(publication) => open = Some(wishes.try_iter().last().unwrap_or(publication)),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        wait = Duration::from_millis(50);
        let Some(publication) = &open else { continue };
        let have = match bring(topology, publication) {
            Ok(have) => have,
            Err(trouble) => {
                lock(&shared.known).trouble = Some(trouble.to_string());
                return;
            }
        };
        // Who decides may be ending.
        let _ = tell.send((publication.epoch, have));
        if usize::from(have) == SERVERS {
            open = None;
        } else {
            wait = Duration::from_millis(500);
        }
    }
}

/// How many servers have all of it then.
fn bring(topology: &Topology, publication: &Publication) -> Result<u8, Trouble> {
    let mut moves: Vec<(Name, Active)> = Vec::new();
    for (service, answer) in &publication.answers {
        let domain = SERVICES.iter().find(|(id, ..)| *id == service.as_str());
        let Some((_, domain, _)) = domain else { continue };
        let name = domain.parse().map_err(|error| Trouble::new(format!("{domain}: {error}")))?;
        let active = Active::named(&answer.to_string()).unwrap_or(Active::Both);
        moves.push((name, active));
    }
    let report = publisher(topology, SiteId::Us).publish(&failover_plan(topology, &moves)?);
    let has = |server: &Name| {
        report.zones.values().all(|zone| {
            matches!(zone.servers.get(server), Some(Outcome::Applied | Outcome::AlreadyThere))
        })
    };
    let have = topology.name_servers().iter().filter(|server| has(&server.name)).count();
    Ok(u8::try_from(have).unwrap_or(u8::MAX))
}
