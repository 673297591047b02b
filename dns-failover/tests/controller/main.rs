//! A controller against six real name servers on loopback, with two HTTP sites: one is killed, flaps,
//! hangs, and all six answer with the other.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../servers/fleet.rs"]
#[allow(dead_code, reason = "the publisher's tests use more of it")]
mod fleet;
#[path = "../../../examples/tests/support/peer.rs"]
#[allow(dead_code, reason = "the programs test more with it")]
mod peer;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use dns_failover::daemon::{
    Controller, Heard, Input, Pace, Place, Publish, Watch, ZonePublish, now, service_of,
};
use dns_failover::decision::{
    Answer, Command, Effect, Event, Millis, ObserverId, Policy, PolicyConfig, Publication,
    Timestamp,
};
use dns_failover::probe::{Check, Probe};
use dns_failover::testing::draft;
use dns_failover::{Feed, Link, Name, Network, Patience, SiteId, Tcp, Topology};
use fleet::Fleet;

/// An HTTP server that a number tells how to behave.
#[derive(Clone)]
struct Site {
    address: SocketAddr,
    mode: Arc<AtomicU64>,
}

const UP: u64 = 0;
const DEAD: u64 = 1;
const HALF_OPEN: u64 = 2;
const SLOW: u64 = 3;

impl Site {
    fn start() -> Site {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(AtomicU64::new(UP));
        let kept = Arc::clone(&mode);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mode = kept.load(Ordering::SeqCst);
                thread::spawn(move || {
                    let mut request = [0; 1024];
                    match mode {
                        DEAD => return,
                        HALF_OPEN => thread::sleep(Duration::from_secs(5)),
                        SLOW => thread::sleep(Duration::from_millis(1500)),
                        _ => {}
                    }
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nall is well\n");
                });
            }
        });
        Site { address, mode }
    }

    fn set(&self, mode: u64) {
        self.mode.store(mode, Ordering::SeqCst);
    }
}

/// The address that a name server answers with for `www`; none when it does not answer.
fn www(server: SocketAddr) -> Option<[u8; 4]> {
    let name: Name = "www.customer0.example".parse().unwrap();
    let mut question = vec![0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend_from_slice(name.as_wire());
    question.extend_from_slice(&[0, 1, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    socket.send_to(&question, server).unwrap();
    let mut answer = [0; 1500];
    let count = socket.recv(&mut answer).ok()?;
    // The first answer's owner is a pointer; then type, class, TTL and length come before the address.
    let address = answer[..count].get(question.len() + 12..question.len() + 16)?;
    (answer[7] > 0).then(|| address.try_into().unwrap())
}

struct Running {
    sites: [Site; 2],
    topology: &'static Topology,
    inputs: mpsc::Sender<Input>,
    ending: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
    log: Arc<Mutex<Vec<String>>>,
    _folder: tempfile::TempDir,
}

const INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Millis = Millis::new(400);

impl Running {
    fn start(topology: &Topology) -> Running {
        let topology: &'static Topology = Box::leak(Box::new(topology.clone()));
        let sites = [Site::start(), Site::start()];
        let folder = tempfile::tempdir().unwrap();
        let mut config = PolicyConfig::example();
        let web = config.services[0].clone();
        config.services = vec![web];
        config.services[0].id = service_of(SiteId::Uk);
        let policy = Policy::new(config).unwrap();
        let (inputs, receiver) = mpsc::channel();
        let (ending, log) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (controller, _) = Controller::open(policy, folder.path(), now()).unwrap();
        let kept = Arc::clone(&log);
        let mut threads = vec![thread::spawn(move || {
            let network = Tcp { timeout: Duration::from_secs(2) };
            let patience = Patience {
                rounds: 2,
                settle: Duration::from_secs(2),
                pause: Duration::from_millis(50),
            };
            let publish = ZonePublish::new(topology, &network, SiteId::Us, patience);
            let tell = &mut |at: Timestamp, heard: Heard<'_>| {
                kept.lock().unwrap().push(format!("{at} {heard}"));
            };
            let pace = Pace { tick: Millis::new(50), ..Pace::default() };
            controller.pace(pace).run(&receiver, publish, &now, tell, &mut |_| {}).unwrap();
        })];
        for observer in ["london", "newyork", "zurich"] {
            let watch = Watch {
                observer: observer.parse::<ObserverId>().unwrap(),
                places: ["uk", "us"]
                    .into_iter()
                    .zip(&sites)
                    .map(|(site, server)| Place {
                        site: site.parse().unwrap(),
                        services: vec![service_of(SiteId::Uk)],
                        probe: Probe {
                            address: server.address,
                            check: Check::http("www.customer0.example", "/", 200, Some("well"))
                                .unwrap(),
                            timeout: TIMEOUT,
                        },
                    })
                    .collect(),
                controls: Vec::new(),
            };
            let (inputs, ending) = (inputs.clone(), Arc::clone(&ending));
            threads.push(thread::spawn(move || {
                while !ending.load(Ordering::SeqCst) {
                    let start = now();
                    let (report, _) = watch.round(start, &mut || 7);
                    let _ = inputs.send(Input::Report(report));
                    thread::sleep(INTERVAL.saturating_sub(now().since(start).to_std()));
                }
            }));
        }
        Running { sites, topology, inputs, ending, threads, log, _folder: folder }
    }

    fn told(&self) -> String {
        format!("{:#?}", self.log.lock().unwrap())
    }

    /// Waits until all six answer with this address. Gives how long that took.
    #[track_caller]
    fn wait_for(&self, address: [u8; 4]) -> Millis {
        let start = now();
        let servers = self.topology.name_servers();
        while !servers.iter().all(|server| www(server.reach) == Some(address)) {
            let answers: Vec<_> = servers.iter().map(|server| www(server.reach)).collect();
            let waited = now().since(start);
            assert!(waited < Millis::from_secs(120), "{answers:?}\n{}", self.told());
            thread::sleep(Duration::from_millis(20));
        }
        now().since(start)
    }

    /// Waits until something was told.
    #[track_caller]
    fn wait_until_told(&self, words: &str) {
        for _ in 0..2400 {
            if self.told().contains(words) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("never told {words:?}: {}", self.told());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = self.inputs.send(Input::Stop);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

const UK: [u8; 4] = [192, 0, 2, 10];
const US: [u8; 4] = [198, 51, 100, 10];

#[test]
fn all_six_answer_with_the_other_site_when_one_fails() {
    for mode in [DEAD, HALF_OPEN, SLOW] {
        let Some(mut fleet) = Fleet::render(draft(1)) else { return };
        fleet.start();
        let running = Running::start(&fleet.topology);
        running.wait_until_told("web-uk at us is up");
        running.wait_until_told("web-uk at uk is up");
        running.wait_for(UK);
        running.sites[0].set(mode);
        let took = running.wait_for(US);
        println!(
            "mode {mode}: all six after {took}; 3 probes each {INTERVAL:?}, timeout {TIMEOUT}"
        );
        running.wait_until_told("all name servers hold decision");
    }
}

/// One that answers every other time is left, and not returned to while it goes on like that.
#[test]
fn a_site_that_flaps_is_left_once() {
    let Some(mut fleet) = Fleet::render(draft(1)) else { return };
    fleet.start();
    let running = Running::start(&fleet.topology);
    running.wait_until_told("web-uk at us is up");
    running.wait_until_told("web-uk at uk is up");
    let site = running.sites[0].clone();
    let ending = Arc::clone(&running.ending);
    let flapping = thread::spawn(move || {
        while !ending.load(Ordering::SeqCst) {
            for mode in [DEAD, UP] {
                site.set(mode);
                thread::sleep(INTERVAL * 2);
            }
        }
    });
    running.wait_for(US);
    thread::sleep(INTERVAL * 20);
    let decided = running.told().matches("decided:").count();
    assert_eq!(decided, 1, "{}", running.told());
    running.wait_for(US);
    drop(running);
    flapping.join().unwrap();
}

/// The controller dies right after it decided; the one that is started from its journal tells the rest.
#[test]
fn a_controller_that_dies_before_it_told_anybody_is_made_up_for() {
    let Some(mut fleet) = Fleet::render(draft(1)) else { return };
    fleet.start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = PolicyConfig::example();
    config.services[0].id = service_of(SiteId::Uk);
    let policy = || Policy::new(config.clone()).unwrap();
    let start = now();
    let (mut controller, _) = Controller::open(policy(), folder.path(), start).unwrap();
    // As every controller does first.
    let network = Tcp { timeout: Duration::from_secs(2) };
    let mut publish = ZonePublish::new(&fleet.topology, &network, SiteId::Us, Patience::default());
    let held = publish.read().unwrap();
    let learned = Event::Learned { epoch: held.epoch, answers: held.answers };
    controller.take(&learned, start).unwrap();
    let mut moved = None;
    for round in 0..12 {
        // The past, so that what it decides is decided now.
        let at = start + Millis::from_secs(2 * round);
        for observer in ["london", "newyork", "zurich"] {
            let report = dns_failover::decision::Report::new(observer.parse().unwrap(), at)
                .saw("web-uk", "uk", round < 7)
                .unwrap()
                .saw("web-uk", "us", true)
                .unwrap();
            let event = Event::Observed(report);
            let effects = controller.take(&event, at).unwrap();
            moved = moved.or(effects.into_iter().find_map(|effect| effect.into_decision()));
        }
    }
    assert_eq!(moved.unwrap().to, Answer::Site("us".parse().unwrap()));
    drop(controller);
    assert!(fleet.topology.name_servers().iter().all(|server| www(server.reach) == Some(UK)));
    let (controller, notes) = Controller::open(policy(), folder.path(), now()).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let (inputs, receiver) = mpsc::channel();
    let topology: &'static Topology = Box::leak(Box::new(fleet.topology.clone()));
    let running = thread::spawn(move || {
        let network = Tcp { timeout: Duration::from_secs(2) };
        let publish = ZonePublish::new(topology, &network, SiteId::Us, Patience::default());
        controller.run(&receiver, publish, &now, &mut |_, _| {}, &mut |_| {}).unwrap()
    });
    for _ in 0..1200 {
        if topology.name_servers().iter().all(|server| www(server.reach) == Some(US)) {
            inputs.send(Input::Stop).unwrap();
            running.join().unwrap();
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody told them");
}

/// The network of a controller that is killed when it has sent so many messages.
struct Mortal {
    inner: Tcp,
    left: AtomicUsize,
}

impl Mortal {
    fn new(left: usize) -> Mortal {
        Mortal { inner: tcp(), left: AtomicUsize::new(left) }
    }

    fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

struct MortalLink<'a> {
    mortal: &'a Mortal,
    link: Box<dyn Link + 'a>,
}

fn dead() -> io::Error {
    io::Error::other("this controller is dead")
}

impl Network for Mortal {
    fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Link + '_>> {
        if self.is_dead() {
            return Err(dead());
        }
        Ok(Box::new(MortalLink { mortal: self, link: self.inner.connect(to)? }))
    }

    fn unix_time(&self) -> u64 {
        self.inner.unix_time()
    }

    fn pause(&self, time: Duration) {
        self.inner.pause(time);
    }
}

impl Link for MortalLink<'_> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let spend = |left: usize| left.checked_sub(1);
        self.mortal
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend)
            .map_err(|_| dead())?;
        // The last one arrives, and its reply is never read.
        self.link.send(message)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        if self.mortal.is_dead() { Err(dead()) } else { self.link.receive() }
    }
}

fn tcp() -> Tcp {
    Tcp { timeout: Duration::from_secs(2) }
}

fn quick() -> Patience {
    Patience { rounds: 2, settle: Duration::from_secs(2), pause: Duration::from_millis(50) }
}

/// A person moves the domains to and fro; each time the controller is killed a few messages later than the
/// last time, and the one that is started from its journal brings all six to where they should be.
#[test]
fn a_controller_that_is_killed_at_any_step_is_taken_up_by_the_next() {
    let Some(mut fleet) = Fleet::render(draft(1)) else { return };
    fleet.start();
    let folder = tempfile::tempdir().unwrap();
    let mut config = PolicyConfig::example();
    config.services[0].id = service_of(SiteId::Uk);
    let policy = || Policy::new(config.clone()).unwrap();
    let topology: &'static Topology = Box::leak(Box::new(fleet.topology.clone()));
    let order = |to: &str| {
        let (mut controller, notes) = Controller::open(policy(), folder.path(), now()).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let held = ZonePublish::new(topology, &tcp(), SiteId::Us, quick()).read().unwrap();
        let learned = Event::Learned { epoch: held.epoch, answers: held.answers };
        controller.take(&learned, now()).unwrap();
        let order = Command::Move {
            service: service_of(SiteId::Uk),
            site: to.parse().unwrap(),
            who: "anna".to_owned(),
            why: "a test".to_owned(),
        };
        let effects = controller.take(&Event::Commanded(order), now()).unwrap();
        let publication = effects.into_iter().find_map(|effect| match effect {
            Effect::Publish(publication) => Some(publication),
            _ => None,
        });
        publication.expect("the order moves it")
    };
    let publish = |publication: &Publication, network: &Mortal| {
        ZonePublish::new(topology, network, SiteId::Us, quick()).publish(publication)
    };
    let answers = || {
        let servers = topology.name_servers().iter();
        servers.map(|server| www(server.reach)).collect::<Vec<_>>()
    };
    // How many messages it takes when nobody dies.
    let many = Mortal::new(1_000_000);
    let told = publish(&order("us"), &many);
    assert_eq!(told.have, 6, "{told:?}");
    let all = 1_000_000 - many.left.load(Ordering::SeqCst);
    let mut partly = 0;
    let mut to = [("uk", UK), ("us", US)].into_iter().cycle();
    // After three questions to each of six come the updates, which is where it matters most.
    let kills = (0..=all).filter(|kill| kill % 8 == 0 || (18..30).contains(kill));
    for kill in kills {
        let (site, address) = to.next().unwrap();
        publish(&order(site), &Mortal::new(kill));
        let reached = answers().iter().filter(|answer| **answer == Some(address)).count();
        partly += usize::from((1..6).contains(&reached));
        let (controller, notes) = Controller::open(policy(), folder.path(), now()).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let (inputs, receiver) = mpsc::channel();
        let running = thread::spawn(move || {
            let network = tcp();
            let publish = ZonePublish::new(topology, &network, SiteId::Us, quick());
            let pace = Pace { tick: Millis::new(50), ..Pace::default() };
            controller
                .pace(pace)
                .run(&receiver, publish, &now, &mut |_, _| {}, &mut |_| {})
                .unwrap()
        });
        let level = (0..1200).any(|_| {
            thread::sleep(Duration::from_millis(50));
            answers().iter().all(|answer| *answer == Some(address))
        });
        inputs.send(Input::Stop).unwrap();
        let state = running.join().unwrap();
        assert!(level, "killed after {kill} of {all} messages: {:?}", answers());
        let there = Answer::Site(site.parse().unwrap());
        assert_eq!(state.answer(service_of(SiteId::Uk)), Some(there), "killed after {kill}");
    }
    println!("{all} messages; {partly} times some servers had it and some had not");
}

/// A name server that hangs does not keep the controller from telling the others. Those that transfer by
/// themselves may ask the hanging one first, and then wait as long as they are made to.
#[test]
fn a_name_server_that_hangs_holds_up_none_that_takes_updates() {
    let Some(mut fleet) = Fleet::render(draft(1)) else { return };
    fleet.start();
    let running = Running::start(&fleet.topology);
    running.wait_until_told("web-uk at us is up");
    running.wait_until_told("web-uk at uk is up");
    // From here on the kernel takes connections for it, and nobody answers.
    fleet.signal(0, rustix::process::Signal::STOP);
    running.sites[0].set(DEAD);
    let start = now();
    let servers = fleet.topology.name_servers()[1..].iter();
    let others = || servers.clone().filter(|server| !matches!(server.feed, Feed::Transfer { .. }));
    assert!(others().count() >= 3);
    while !others().all(|server| www(server.reach) == Some(US)) {
        assert!(now().since(start) < Millis::from_secs(60), "{}", running.told());
        thread::sleep(Duration::from_millis(20));
    }
    println!("one of six hangs: those that take updates after {}", now().since(start));
    fleet.signal(0, rustix::process::Signal::CONT);
    running.wait_for(US);
    running.wait_until_told("all name servers hold decision");
}
