//! `failover run` and `failover observe`.

use std::io::Write;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use dns_failover::daemon::{Controller, Heard, Input, Watch, ZonePublish, now};
use dns_failover::decision::{Command, Event, Millis, ObserverId, Timestamp};
use dns_failover::observe::{Body, Exchange, ExchangeKey, Guard, Speaker};
use dns_failover::{Patience, SiteId, Tcp};
use keygen_helper::fs::read_secret;

use super::{Chosen, Setup};
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Decides where domains point, and has name servers told; probes as well.
///
/// One runs at each site, beside the observer there. It ends when it is killed, and that at any time: what
/// was decided is in its journal.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    chosen: Chosen,
    /// Which observer stands here; it must be one with a site and an address.
    #[arg(long = "as", value_name = "OBSERVER")]
    name: ObserverId,
}

/// Probes, and tells all controllers what it saw.
///
/// One stands outside of both sites at least.
#[derive(Debug, Args)]
pub struct Observe {
    #[command(flatten)]
    chosen: Chosen,
    /// Which observer stands here.
    #[arg(long = "as", value_name = "OBSERVER")]
    name: ObserverId,
}

/// So many datagrams wait at most, each of [`MAX_DATAGRAM`](dns_failover::observe::MAX_DATAGRAM) octets.
const WAITING: usize = 256;

/// What observing takes.
struct Standing {
    watch: Watch,
    speaker: Speaker,
    interval: Millis,
}

fn key(setup: &Setup) -> Result<ExchangeKey, Failure> {
    let path = setup.folder.join(&setup.failover.key);
    let secret = read_secret(&path, 4096)?;
    ExchangeKey::new(&secret).map_err(|error| Failure::of(&path, error))
}

fn standing(setup: &Setup, name: ObserverId, exchange: Exchange) -> Result<Standing, Failure> {
    let watch = setup.failover.watch(&setup.topology, name)?;
    let others = setup.failover.observers.iter().filter(|other| other.name != name);
    let others = others.filter_map(|other| other.address).collect();
    let speaker = Speaker::new(key(setup)?, name, exchange, others, now());
    Ok(Standing { watch, speaker, interval: setup.failover.interval })
}

/// Looks for ever, once an interval; hands each report to `own` as well. Ends when nobody takes it.
fn observe(standing: &Standing, own: Option<&SyncSender<Input>>, say: &dyn Fn(String)) {
    let mut seed = now().as_millis().unsigned_abs();
    let mut failing = false;
    loop {
        let start = now();
        // The number of a DNS question only has to be hard to guess from outside.
        let mut nonce = || {
            let mut bytes = [0; 2];
            if getrandom::fill(&mut bytes).is_err() {
                seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                bytes.copy_from_slice(&seed.to_be_bytes()[..2]);
            }
            u16::from_be_bytes(bytes)
        };
        let (report, failures) = standing.watch.round(start, &mut nonce);
        if !failures.is_empty() && !failing {
            for (site, failure) in &failures {
                say(format!("a probe of {site} failed: {failure}"));
            }
        } else if failures.is_empty() && failing {
            say("all probes succeed again".to_owned());
        }
        failing = !failures.is_empty();
        for trouble in standing.speaker.say(Body::Report(report.clone()), now()) {
            say(trouble);
        }
        if own.is_some_and(|own| own.send(Input::Report(report)).is_err()) {
            return;
        }
        let spent = now().since(start);
        let left = standing.interval.get().saturating_sub(spent.get());
        thread::sleep(Duration::from_millis(left.max(1)));
    }
}

impl Observe {
    /// Probes until it is killed.
    ///
    /// # Errors
    /// [`Failure`] when the configuration is bad.
    pub fn run(&self, quiet: bool) -> Result<Outcome, Failure> {
        let setup = self.chosen.setup()?;
        setup.observer(self.name)?;
        let any = "[::]:0".parse().map_err(Failure::failed)?;
        let exchange = Exchange::bind(any)
            .or_else(|_| Exchange::bind(std::net::SocketAddr::from(([0, 0, 0, 0], 0))))
            .map_err(Failure::failed)?;
        let standing = standing(&setup, self.name, exchange)?;
        observe(&standing, None, &|line| told(quiet, now(), &line));
        Ok(Outcome::Done)
    }
}

impl Run {
    /// Decides until it is killed.
    ///
    /// # Errors
    /// [`Failure`] when the configuration is bad, another controller runs on the same state, or the
    /// journal cannot be written.
    pub fn run(&self, quiet: bool, as_json: bool) -> Result<Outcome, Failure> {
        let setup = self.chosen.setup()?;
        let observer = setup.observer(self.name)?;
        let incomplete = || {
            let why = "has no site and no address, and so no controller; use failover observe";
            Failure::failed(format!("observer {} {why}", self.name))
        };
        let (site, address) = observer.site.zip(observer.address).ok_or_else(incomplete)?;
        let site = SiteId::named(site.as_str()).ok_or_else(incomplete)?;
        let policy = setup.policy(site.as_str())?;
        let names = setup.failover.observers.iter().map(|observer| observer.name);
        let config = policy.config();
        let guard = Guard::new(key(&setup)?, names, config.fresh, config.skew);
        let taken = |error| Failure::failed(format!("cannot listen at {address}: {error}"));
        let exchange = Exchange::bind(address).map_err(taken)?;
        let ears = exchange.try_clone().map_err(Failure::failed)?;
        let standing = standing(&setup, self.name, exchange)?;
        let (controller, notes) =
            Controller::open(policy, &setup.state, now()).map_err(Failure::failed)?;
        let mut controller = controller.guarded(guard);
        notes.iter().for_each(|note| told(false, now(), note));
        told(quiet, now(), &format!("mode: {}", controller.policy().mode()));
        for window in setup.failover.windows(now()) {
            if !controller.state().windows().contains(&window) {
                let event = Event::Commanded(Command::Schedule(window));
                for effect in controller.take(&event, now()).map_err(Failure::failed)? {
                    told(quiet, now(), &Heard::Effect(&effect).to_string());
                }
            }
        }
        let network = Tcp { timeout: Duration::from_secs(2) };
        let patience = Patience {
            rounds: 2,
            settle: Duration::from_secs(2),
            pause: Duration::from_millis(200),
        };
        let publish = ZonePublish::new(&setup.topology, &network, site, patience);
        let (inputs, receiver) = mpsc::sync_channel(WAITING);
        let out = Mutex::new(());
        let standing = &standing;
        let ended = thread::scope(|scope| {
            let own = inputs.clone();
            let say = |line: String| {
                let _held = out.lock().unwrap_or_else(PoisonError::into_inner);
                told(quiet, now(), &line);
            };
            scope.spawn(move || observe(standing, Some(&own), &say));
            scope.spawn(move || hear(&ears, &inputs));
            let tell = &mut |at: Timestamp, heard: Heard<'_>| match heard {
                Heard::Effect(effect) if as_json => {
                    let object = serde_json::json!({"format": 1, "at": at, "effect": effect});
                    let _ = mirror_core::write_json_line(&mut std::io::stdout().lock(), &object);
                }
                heard => told(quiet, at, &heard.to_string()),
            };
            let view = &mut |view| {
                for trouble in standing.speaker.say(Body::View(view), now()) {
                    told(quiet, now(), &trouble);
                }
            };
            let ended = controller.run(&receiver, publish, &now, tell, view);
            if let Err(error) = &ended {
                // The other threads wait for the network and would never look.
                told(false, now(), &format!("stopped: {error}"));
                std::process::exit(1);
            }
            ended
        });
        ended.map(|_| Outcome::Done).map_err(Failure::failed)
    }
}

/// Takes in datagrams until nobody wants them.
fn hear(ears: &Exchange, inputs: &SyncSender<Input>) {
    loop {
        match ears.receive(Duration::from_secs(1)) {
            Ok(None) => {}
            Ok(Some(datagram)) => {
                // What comes faster than it can be looked at is lost, as it would be in the kernel.
                let sent = inputs.try_send(Input::Datagram(datagram));
                if let Err(TrySendError::Disconnected(_)) = sent {
                    return;
                }
            }
            // Such as no memory; it comes back or it does not.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn told(quiet: bool, at: Timestamp, line: &str) {
    if !quiet {
        // Whoever read our output may have gone; that is no reason to stop.
        let _ = writeln!(std::io::stdout().lock(), "{at} {line}");
    }
}
