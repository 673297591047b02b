//! Controllers that run: real probes, datagrams and name servers in memory, all on loopback; stopped at
//! every step, cut off from one another, and given orders.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use dns_failover::daemon::{
    Controller, Held, Input, MemoryPublish, Orders, Pace, Place, Publish, Told, Watch, ZonePublish,
    now, service_of,
};
use dns_failover::decision::{
    Answer, Command, Effect, Epoch, Event, Millis, Override, Policy, PolicyConfig, Publication,
    Report, ServiceId, Thresholds, Timestamp,
};
use dns_failover::observe::{Body, ExchangeKey, Guard, Message};
use dns_failover::probe::{Check, Probe};
use dns_failover::testing::{MemoryNetwork, draft};
use dns_failover::{Active, EpochRecord, Link, Network, Patience, SiteId, Topology};

fn config(controller: &str, services: &[(&str, [&str; 2])]) -> PolicyConfig {
    let mut config = PolicyConfig::example();
    config.controller = controller.parse().unwrap();
    let service = config.services[0].clone();
    config.services = services
        .iter()
        .map(|(id, sites)| {
            let mut service = service.clone();
            service.id = id.parse().unwrap();
            service.sites = sites.iter().map(|site| site.parse().unwrap()).collect();
            service
        })
        .collect();
    config
}

fn web() -> ServiceId {
    "web".parse().unwrap()
}

fn site(name: &str) -> Answer {
    Answer::Site(name.parse().unwrap())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_374_000_000 + seconds * 1000)
}

/// Two minutes in which the UK goes down.
fn events() -> Vec<(Event, Timestamp)> {
    let mut events = Vec::new();
    for second in (0..44).step_by(2) {
        for observer in ["london", "newyork", "zurich"] {
            let report = Report::new(observer.parse().unwrap(), at(second));
            let report =
                report.saw("web", "uk", second < 30).unwrap().saw("web", "us", true).unwrap();
            events.push((Event::Observed(report), at(second)));
        }
    }
    events
}

/// Stopped after every single event, and between a decision and its publication; the end is the same.
#[test]
fn a_controller_that_dies_at_every_step_comes_to_the_same_end() {
    let policy = || Policy::new(config("us", &[("web", ["uk", "us"])])).unwrap();
    let events = events();
    let whole = tempfile::tempdir().unwrap();
    let (mut controller, _) = Controller::open(policy(), whole.path(), at(0)).unwrap();
    for (event, now) in &events {
        controller.take(event, *now).unwrap();
    }
    let end = controller.state().clone();
    assert_eq!(end.answer(web()), Some(site("us")));
    drop(controller);
    // With the decision itself is where it matters.
    let decided = at(34);
    let near = events.iter().enumerate().filter(|(_, (_, now))| *now == decided);
    for stop in near.map(|(place, _)| place).chain([events.len()]) {
        let folder = tempfile::tempdir().unwrap();
        let mut servers = MemoryPublish::new(6);
        let mut unpublished = false;
        for (place, (event, now)) in events.iter().enumerate() {
            let (mut controller, notes) = Controller::open(policy(), folder.path(), *now).unwrap();
            assert!(notes.is_empty(), "{notes:?}");
            for effect in controller.take(event, *now).unwrap() {
                if let Effect::Publish(publication) = effect {
                    // It dies before it told anybody, in one of the runs.
                    if place == stop {
                        unpublished = true;
                    } else {
                        servers.publish(&publication);
                    }
                }
            }
            if place != stop
                && controller.state().epoch().number > 0
                && !controller.state().is_published()
            {
                let publication = controller.state().publication();
                servers.publish(&publication);
            }
            drop(controller);
        }
        let (controller, _) = Controller::open(policy(), folder.path(), at(43)).unwrap();
        assert_eq!(controller.state().answer(web()), end.answer(web()));
        assert_eq!(controller.state().epoch(), end.epoch());
        let held = servers.holds();
        let same =
            |held: &Option<Held>| held.as_ref().is_some_and(|held| held.epoch == end.epoch());
        assert!(held.iter().all(same), "stopped at {stop}, {unpublished}: {held:?}");
    }
}

/// A clock that runs some thirty times as fast, so that minutes pass in a test.
struct Fast(Timestamp);

impl Fast {
    fn now(&self) -> Timestamp {
        self.0 + Millis::new(now().since(self.0).get() * 30)
    }
}

/// A network of controllers that hear what observers see, unless they are cut off.
struct Running {
    inputs: mpsc::Sender<Input>,
    thread: thread::JoinHandle<dns_failover::decision::State>,
    log: Arc<Mutex<Vec<String>>>,
}

fn start(
    controller: &'static str,
    folder: &Path,
    publish: impl Publish + Send + 'static,
    clock: Arc<Fast>,
    services: &[(&str, [&str; 2])],
) -> Running {
    let policy = Policy::new(config(controller, services)).unwrap();
    let (controller, _) = Controller::open(policy, folder, clock.now()).unwrap();
    let pace =
        Pace { tick: Millis::new(20), retry: Millis::from_secs(3), survey: Millis::from_secs(6) };
    let (inputs, receiver) = mpsc::channel();
    let log = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&log);
    let thread = thread::spawn(move || {
        let tell = &mut |at: Timestamp, heard: dns_failover::daemon::Heard<'_>| {
            kept.lock().unwrap().push(format!("{at} {heard}"));
        };
        controller.pace(pace).run(&receiver, publish, &|| clock.now(), tell, &mut |_| {}).unwrap()
    });
    Running { inputs, thread, log }
}

impl Running {
    fn stop(self) -> dns_failover::decision::State {
        self.inputs.send(Input::Stop).unwrap();
        self.thread.join().unwrap()
    }

    fn report(&self, observer: &str, uk: bool, us: bool, now: Timestamp, services: &[&str]) {
        let mut report = Report::new(observer.parse().unwrap(), now);
        for service in services {
            report = report.saw(service, "uk", uk).unwrap().saw(service, "us", us).unwrap();
        }
        self.inputs.send(Input::Report(report)).unwrap();
    }
}

/// Waits until something holds; fails with what is known when it never does.
#[track_caller]
fn wait(mut what: impl FnMut() -> bool, told: impl Fn() -> String) {
    for _ in 0..1500 {
        if what() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it never came to be: {}", told());
}

/// The network between the sites is cut: each controller hears its own observer, and the US one the
/// outside as well. It moves the service; the UK one changes nothing. When they meet again they agree.
#[test]
fn two_controllers_that_are_cut_off_from_one_another_end_with_one_state() {
    let clock = Arc::new(Fast(now()));
    let (uk_folder, us_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let servers = MemoryPublish::new(6);
    // The UK controller's own way to the same name servers, which is cut.
    let uk_way = Cut { inner: servers.clone(), cut: Arc::new(AtomicBool::new(false)) };
    let cut = Arc::clone(&uk_way.cut);
    let services = [("web", ["uk", "us"])];
    let uk = start("uk", uk_folder.path(), uk_way, Arc::clone(&clock), &services);
    let us = start("us", us_folder.path(), servers.clone(), Arc::clone(&clock), &services);
    let told = || format!("{:#?}\n{:#?}", uk.log.lock().unwrap(), us.log.lock().unwrap());
    let round = |is_cut: bool| {
        let now = clock.now();
        for (observer, near) in [("london", "uk"), ("newyork", "us"), ("zurich", "us")] {
            let inside = near == "uk";
            if !is_cut || inside {
                uk.report(observer, true, !is_cut, now, &["web"]);
            }
            if !is_cut || !inside {
                us.report(observer, !is_cut, true, now, &["web"]);
            }
        }
        thread::sleep(Duration::from_millis(50));
    };
    (0..16).for_each(|_| round(false));
    cut.store(true, Ordering::SeqCst);
    let moved = |held: &Option<Held>| {
        held.as_ref().is_some_and(|held| held.answers == [(web(), site("us"))])
    };
    wait(
        || {
            round(true);
            servers.holds().iter().all(moved)
        },
        told,
    );
    // What the UK says now is below its quorum, whatever it sees.
    (0..20).for_each(|_| round(true));
    assert!(uk.log.lock().unwrap().iter().all(|line| !line.contains("decided")), "{}", told());
    assert!(servers.holds().iter().all(moved));
    cut.store(false, Ordering::SeqCst);
    wait(
        || {
            round(false);
            uk.log.lock().unwrap().iter().any(|line| line.contains("the later one"))
        },
        told,
    );
    let (uk, us) = (uk.stop(), us.stop());
    assert_eq!(uk.epoch(), us.epoch());
    assert_eq!(uk.answer(web()), us.answer(web()));
}

/// A way to name servers that can be cut.
struct Cut<P> {
    inner: P,
    cut: Arc<AtomicBool>,
}

impl<P: Publish> Publish for Cut<P> {
    fn publish(&mut self, publication: &Publication) -> Told {
        if self.cut.load(Ordering::SeqCst) {
            let trouble = Some("cut".to_owned());
            return Told { have: 0, of: 6, held: None, trouble };
        }
        self.inner.publish(publication)
    }

    fn read(&mut self) -> Option<Held> {
        if self.cut.load(Ordering::SeqCst) { None } else { self.inner.read() }
    }
}

/// Both decide at the same instant; the fence lets one state win everywhere.
#[test]
fn of_two_that_decide_at_once_one_yields() {
    let clock = Arc::new(Fast(now()));
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let servers = MemoryPublish::new(6);
    let services = [("web", ["uk", "us"])];
    let uk = start("uk", folders[0].path(), servers.clone(), Arc::clone(&clock), &services);
    let us = start("us", folders[1].path(), servers.clone(), Arc::clone(&clock), &services);
    let told = || format!("{:#?}\n{:#?}", uk.log.lock().unwrap(), us.log.lock().unwrap());
    let mut rounds = 0;
    let mut round = || {
        rounds += 1;
        let now = clock.now();
        for observer in ["london", "newyork", "zurich"] {
            for controller in [&uk, &us] {
                controller.report(observer, rounds < 12, true, now, &["web"]);
            }
        }
        thread::sleep(Duration::from_millis(50));
    };
    let published = |running: &Running| {
        running.log.lock().unwrap().iter().any(|line| line.contains("all name servers hold"))
    };
    wait(
        || {
            round();
            published(&uk) && published(&us)
        },
        told,
    );
    (0..10).for_each(|_| round());
    let (uk, us) = (uk.stop(), us.stop());
    assert_eq!(uk.epoch(), us.epoch());
    assert_eq!((uk.answer(web()), us.answer(web())), (Some(site("us")), Some(site("us"))));
    assert!(servers.holds().iter().all(|held| held.as_ref().unwrap().epoch == uk.epoch()));
}

/// An HTTP server that can be switched off, slowed down and made to hang.
struct Site {
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Up,
    /// Accepts and never answers.
    HalfOpen,
    /// Answers 503.
    Broken,
    /// Answers, but too late.
    Slow,
}

impl Site {
    fn start() -> Site {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(Mutex::new(Mode::Up));
        let kept = Arc::clone(&mode);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mode = *kept.lock().unwrap();
                thread::spawn(move || serve(stream, mode));
            }
        });
        Site { address, mode }
    }

    fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }
}

fn serve(mut stream: TcpStream, mode: Mode) {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request);
    let answer = match mode {
        Mode::Up => "HTTP/1.0 200 OK\r\n\r\nall is well\n",
        Mode::Broken => "HTTP/1.0 503 Busy\r\n\r\n",
        Mode::HalfOpen => {
            thread::sleep(Duration::from_secs(3));
            return;
        }
        Mode::Slow => {
            thread::sleep(Duration::from_millis(900));
            "HTTP/1.0 200 OK\r\n\r\nall is well\n"
        }
    };
    let _ = stream.write_all(answer.as_bytes());
}

/// The whole way: HTTP sites, observers that probe them and send signed datagrams, a controller, and the
/// six name servers of the topology in memory, in every way in which a site can fail.
#[test]
fn from_a_site_that_fails_to_the_answers_of_six_name_servers() {
    for mode in [Mode::Broken, Mode::HalfOpen, Mode::Slow] {
        whole_way(mode);
    }
}

fn whole_way(mode: Mode) {
    let sites = [Site::start(), Site::start()];
    let topology: &'static Topology = Box::leak(Box::new(Topology::new(draft(2)).unwrap()));
    let network: &'static MemoryNetwork =
        Box::leak(Box::new(MemoryNetwork::serving(topology, 1_000_000)));
    let folder = tempfile::tempdir().unwrap();
    let services = [("web-uk", ["uk", "us"]), ("web-us", ["us", "uk"])];
    let mut config = config("us", &services);
    config.thresholds = Thresholds { rise: 2, fall: 3, lapses: 6, ok: 5 };
    let policy = Policy::new(config).unwrap();
    let (controller, _) = Controller::open(policy, folder.path(), now()).unwrap();
    let key = ExchangeKey::new(&[b'k'; 32]).unwrap();
    let names = ["london", "newyork", "zurich"].map(|name| name.parse().unwrap());
    let guard = Guard::new(key.clone(), names, Millis::from_secs(5), Millis::from_secs(2));
    let (inputs, receiver) = mpsc::channel();
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&log);
    let running = thread::spawn(move || {
        let patience = Patience {
            rounds: 2,
            settle: Duration::from_millis(500),
            pause: Duration::from_millis(10),
        };
        let publish = ZonePublish::new(topology, network, SiteId::Us, patience);
        let tell = &mut |at: Timestamp, heard: dns_failover::daemon::Heard<'_>| {
            kept.lock().unwrap().push(format!("{at} {heard}"));
        };
        let pace = Pace { tick: Millis::new(50), ..Pace::default() };
        controller
            .guarded(guard)
            .pace(pace)
            .run(&receiver, publish, &now, tell, &mut |_| {})
            .unwrap()
    });
    let places = |place: (usize, &str)| Place {
        site: place.1.parse().unwrap(),
        services: vec![service_of(SiteId::Uk), service_of(SiteId::Us)],
        probe: Probe {
            address: sites[place.0].address,
            check: Check::http("www.customer0.example", "/", 200, Some("all is well")).unwrap(),
            timeout: Millis::new(500),
        },
    };
    let watches = names.map(|observer| Watch {
        observer,
        places: vec![places((0, "uk")), places((1, "us"))],
        controls: vec![Probe { check: Check::Tcp, ..places((1, "us")).probe }],
    });
    let mut sequence = 0;
    let mut round = || {
        for watch in &watches {
            sequence += 1;
            let (report, _) = watch.round(now(), &mut || 7);
            let body = Body::Report(report);
            let message = Message { sender: watch.observer, sequence, sent: now(), body };
            inputs.send(Input::Datagram(key.seal(&message).unwrap())).unwrap();
        }
        thread::sleep(Duration::from_millis(30));
    };
    let active = |domain: &str| {
        let publisher =
            dns_failover::Publisher::new(topology, network, SiteId::Us, Patience::default());
        let views = publisher.views([domain.parse().unwrap()]);
        let views = views.into_values().flatten().flatten();
        views.map(|view| view.unwrap().record.unwrap().active).collect::<Vec<_>>()
    };
    let told = || format!("{:#?}", log.lock().unwrap());
    let (uk, us) = (Active::One(SiteId::Uk), Active::One(SiteId::Us));
    (0..10).for_each(|_| round());
    assert_eq!(active("customer0.example"), [uk; 6], "{}", told());
    assert_eq!(active("customer1.example"), [us; 6]);
    sites[0].set(mode);
    wait(
        || {
            round();
            active("customer0.example") == [us; 6]
        },
        told,
    );
    // The other domain is at home there and has not moved.
    assert_eq!(active("customer1.example"), [us; 6]);
    inputs.send(Input::Stop).unwrap();
    let state = running.join().unwrap();
    assert_eq!(state.answer(service_of(SiteId::Uk)), Some(site("us")));
}

#[test]
fn orders_are_taken_once_and_answered() {
    let clock = Arc::new(Fast(now()));
    let folder = tempfile::tempdir().unwrap();
    let servers = MemoryPublish::new(6);
    let services = [("web", ["uk", "us"])];
    let running = start("us", folder.path(), servers.clone(), Arc::clone(&clock), &services);
    let orders = Orders::of(folder.path());
    let force = |site: &str| {
        Command::Force(Override {
            service: None,
            site: site.parse().unwrap(),
            until: clock.now() + Millis::from_mins(600),
            who: "anna".into(),
            why: "a test".into(),
        })
    };
    for (command, words) in [
        (force("us"), "web moves from uk to us: a person ordered it; \"anna: a test\""),
        (force("mars"), "refused: not every service meant has a site mars"),
    ] {
        let order = orders.give(&command, now()).unwrap();
        let mut answer = None;
        wait(
            || {
                answer = orders.answer(&order);
                answer.is_some()
            },
            || "no answer".into(),
        );
        assert!(answer.as_ref().unwrap().starts_with(words), "{answer:?}");
        thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(folder.path().join("orders/1-1.order"), "rubbish").unwrap();
    let rubbish = folder.path().join("orders/1-1.order");
    let mut answer = None;
    wait(
        || {
            answer = orders.answer(&rubbish);
            answer.is_some()
        },
        || "no answer".into(),
    );
    assert!(answer.unwrap().starts_with("refused: it cannot be read"));
    assert!(orders.waiting().is_empty());
    wait(
        || {
            servers
                .holds()
                .iter()
                .all(|held| held.as_ref().is_some_and(|held| held.answers == [(web(), site("us"))]))
        },
        || format!("{:?}", servers.holds()),
    );
    running.stop();
}

/// Its disk is gone, or an old copy was put back: what the name servers hold says where things are.
#[test]
fn what_name_servers_hold_outranks_an_old_disk() {
    let clock = Arc::new(Fast(now()));
    let folder = tempfile::tempdir().unwrap();
    let mut servers = MemoryPublish::new(6);
    let epoch = Epoch { number: 40, controller: "uk".parse().unwrap() };
    servers.publish(&Publication { epoch, answers: vec![(web(), site("us"))] });
    servers.reach(3, false);
    let services = [("web", ["uk", "us"])];
    let running = start("us", folder.path(), servers.clone(), clock, &services);
    let told = || format!("{:#?}", running.log.lock().unwrap());
    wait(
        || {
            running
                .log
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.contains("40 of uk is the later one"))
        },
        told,
    );
    assert!(running.log.lock().unwrap().iter().all(|line| !line.contains("decided")), "{}", told());
    // One of them was out of reach; it is told when it is back.
    servers.reach(3, true);
    wait(
        || running.log.lock().unwrap().iter().any(|line| line.contains("all name servers hold")),
        told,
    );
    let state = running.stop();
    assert_eq!(state.answer(web()), Some(site("us")));
}

/// Anybody can send datagrams; that they are refused is told once, and what is signed is heard among them.
#[test]
fn a_flood_of_rubbish_is_told_once_and_drowns_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy::new(config("us", &[("web", ["uk", "us"])])).unwrap();
    let (controller, _) = Controller::open(policy, folder.path(), now()).unwrap();
    let key = ExchangeKey::new(b"a secret of at least thirty-two octets").unwrap();
    let window = Millis::from_mins(1);
    let guard = Guard::new(key.clone(), ["zurich".parse().unwrap()], window, window);
    let (inputs, receiver) = mpsc::channel();
    for number in 0..20_000_u32 {
        let mut rubbish = vec![7; 600];
        rubbish[..4].copy_from_slice(&number.to_be_bytes());
        inputs.send(Input::Datagram(rubbish)).unwrap();
        if number == 10_000 {
            let report = Report::new("zurich".parse().unwrap(), now()).saw("web", "uk", true);
            let body = Body::Report(report.unwrap());
            let sender = "zurich".parse().unwrap();
            let message = Message { sender, sequence: 1, sent: now(), body };
            inputs.send(Input::Datagram(key.seal(&message).unwrap())).unwrap();
        }
    }
    inputs.send(Input::Stop).unwrap();
    let mut log = Vec::new();
    let tell = &mut |_: Timestamp, heard: dns_failover::daemon::Heard<'_>| {
        log.push(heard.to_string());
    };
    let servers = MemoryPublish::new(6);
    let state = controller.guarded(guard).run(&receiver, servers, &now, tell, &mut |_| {}).unwrap();
    let refused = log.iter().filter(|line| line.contains("not signed with our key")).count();
    assert_eq!(refused, 1, "{log:?}");
    let zurich = state.observers().iter().find(|of| of.id.as_str() == "zurich").unwrap();
    assert!(zurich.seen.is_some(), "{log:?}");
}

/// Name servers of which one takes no connection and does not say so either, until all others have the
/// decision.
struct Hanging<'a> {
    inner: &'a MemoryNetwork,
    server: usize,
    released: AtomicBool,
}

impl Hanging<'_> {
    fn others_have_it(&self) -> bool {
        let name = "customer0.example".parse().unwrap();
        let others = (0..6).filter(|index| *index != self.server);
        others.into_iter().all(|index| {
            let server = self.inner.server(index);
            let record = EpochRecord::of(server.zone(&name).unwrap()).unwrap();
            record.active == Active::One(SiteId::Us)
        })
    }
}

impl Network for Hanging<'_> {
    fn connect(&self, to: SocketAddr) -> std::io::Result<Box<dyn Link + '_>> {
        if to != self.inner.addresses()[self.server] {
            return self.inner.connect(to);
        }
        for _ in 0..3000 {
            if self.others_have_it() {
                self.released.store(true, Ordering::SeqCst);
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(std::io::ErrorKind::TimedOut.into())
    }

    fn unix_time(&self) -> u64 {
        self.inner.unix_time()
    }

    fn pause(&self, time: Duration) {
        self.inner.pause(time);
    }
}

/// A fire takes the name server of its site along. Whichever that is, the others are told at once.
#[test]
fn a_dead_name_server_does_not_keep_the_others_from_being_told() {
    let topology = Topology::new(draft(1)).unwrap();
    for server in 0..6 {
        let inner = MemoryNetwork::serving(&topology, 1_790_000_000);
        let network = Hanging { inner: &inner, server, released: AtomicBool::new(false) };
        let patience = Patience { rounds: 2, ..Patience::default() };
        let mut publish = ZonePublish::new(&topology, &network, SiteId::Us, patience);
        let epoch = Epoch { number: 1_790_000_001, controller: "us".parse().unwrap() };
        let answers = vec![(service_of(SiteId::Uk), site("us"))];
        let told = publish.publish(&Publication { epoch, answers });
        assert!(network.released.load(Ordering::SeqCst), "all waited for {server}: {told:?}");
        assert_eq!((told.have, told.of), (5, 6), "{told:?}");
        assert!(told.trouble.is_some_and(|trouble| trouble.contains("unreachable")), "{server}");
    }
}
