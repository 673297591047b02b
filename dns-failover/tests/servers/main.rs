//! Six real name servers on loopback, started from what was rendered and nothing else.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod fleet;
#[path = "../../../examples/tests/support/peer.rs"]
#[allow(dead_code, reason = "the programs test more with it")]
mod peer;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use dns_failover::testing::draft;
use dns_failover::{
    Active, Feed, Link, Network, Outcome, Patience, Publisher, RRset, Rcode, Reload, Serial,
    SiteId, Software, Tcp, Topology, Trouble, TsigKey, View,
};
use fleet::Fleet;
use peer::peer;

const UK: Active = Active::One(SiteId::Uk);
const US: Active = Active::One(SiteId::Us);

/// What a resolver gets to hear.
fn dig(fleet: &Fleet, index: usize, name: &str, rtype: &str) -> String {
    let at = fleet.topology.name_servers()[index].reach;
    let output = Command::new(peer("dig").unwrap())
        .args([format!("@{}", at.ip()), "-p".into(), at.port().to_string()])
        .args(["+short", "+norecurse", name, rtype])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn rendered_configurations_are_accepted_and_keep_their_secrets() {
    let Some(fleet) = Fleet::render(draft(3)) else { return };
    fleet.check();
    for index in 0..6 {
        let mode = fleet.folder(index).join("keys.conf").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "server {index}");
    }
}

#[test]
fn one_domain_changes_sites_on_all_six() {
    let Some(mut fleet) = Fleet::render(draft(1)) else { return };
    if peer("dig").is_none() {
        return;
    }
    fleet.start();
    for (by, active, address) in [
        (SiteId::Us, US, "198.51.100.10"),
        (SiteId::Us, Active::Both, "192.0.2.10\n198.51.100.10"),
        (SiteId::Uk, UK, "192.0.2.10"),
        (SiteId::Us, US, "198.51.100.10"),
    ] {
        let report = fleet.publish(by, active);
        assert!(report.is_done(), "{report}\n{}", fleet.logs());
        for index in 0..6 {
            let mut found: Vec<String> = dig(&fleet, index, "www.customer0.example", "A")
                .lines()
                .map(str::to_owned)
                .collect();
            found.sort();
            assert_eq!(found.join("\n"), address, "server {index}");
        }
    }
}

#[test]
fn a_thousand_domains_change_sites_on_all_six() {
    let Some(mut fleet) = Fleet::render(draft(1000)) else { return };
    fleet.start();
    for (by, active) in [(SiteId::Us, US), (SiteId::Uk, UK)] {
        let report = fleet.publish(by, active);
        assert!(report.is_done(), "{report}\n{}", fleet.logs());
    }
}

/// PowerDNS where others were: once changed by UPDATE, once a secondary.
#[test]
fn powerdns_takes_updates_and_transfers() {
    let mut mixed = draft(2);
    mixed.name_servers[4].software = Software::PowerDns;
    mixed.name_servers[2].software = Software::PowerDns;
    let Some(mut fleet) = Fleet::render(mixed) else { return };
    fleet.check();
    fleet.start();
    for (by, active) in [(SiteId::Us, US), (SiteId::Uk, UK)] {
        let report = fleet.publish(by, active);
        assert!(report.is_done(), "{report}\n{}", fleet.logs());
    }
}

/// NSD once more, with files that we write and have it read.
#[test]
fn files_are_written_and_read() {
    let mut with_files = draft(2);
    let words = ["nsd-control", "-c", "nsd.conf", "reload"];
    let command = words.map(str::to_owned).into();
    with_files.name_servers[5].feed = Feed::Files { reload: Reload { command } };
    let Some(mut fleet) = Fleet::render(with_files) else { return };
    fleet.check();
    fleet.start();
    for (by, active) in [(SiteId::Us, US), (SiteId::Uk, UK)] {
        let report = fleet.publish(by, active);
        assert!(report.is_done(), "{report}\n{}", fleet.logs());
    }
}

#[test]
fn servers_that_are_down_are_named_and_catch_up() {
    let Some(mut fleet) = Fleet::render(draft(2)) else { return };
    fleet.start();
    let names: Vec<_> = fleet.topology.name_servers().iter().map(|s| s.name.clone()).collect();
    // NSD, which transfers, and Knot, which takes updates.
    fleet.kill(5);
    fleet.kill(3);
    let report = fleet.publish(SiteId::Us, US);
    for zone in report.zones.values() {
        for (index, name) in names.iter().enumerate() {
            let down = [3, 5].contains(&index);
            let named = matches!(zone.servers[name], Outcome::Unreachable { .. });
            assert_eq!(named, down, "{report}");
        }
    }
    fleet.start_one(5);
    let is_us = |view: &Result<View, Trouble>| matches!(view, Ok(view) if view.record.is_some_and(|record| record.active == US));
    // The one that transfers needs nobody; the other one still lacks what nobody brought it.
    fleet.wait_for(&[5], is_us);
    fleet.start_one(3);
    fleet.wait_for(&[3], |view| view.is_ok());
    let report = fleet.publish(SiteId::Us, US);
    assert!(report.is_done(), "{report}\n{}", fleet.logs());
}

#[test]
fn what_was_published_survives_a_power_cut_and_rendering_anew() {
    let Some(mut fleet) = Fleet::render(draft(2)) else { return };
    fleet.start();
    let report = fleet.publish(SiteId::Us, US);
    assert!(report.is_done(), "{report}");
    for index in 0..6 {
        fleet.kill(index);
    }
    fleet.write(&fleet.topology);
    for index in 0..6 {
        fleet.start_one(index);
    }
    fleet.wait(
        |view| matches!(view, Ok(view) if view.record.is_some_and(|record| record.active == US)),
    );
}

#[test]
fn domains_that_come_later_are_served() {
    let Some(mut fleet) = Fleet::render(draft(1)) else { return };
    fleet.start();
    fleet.take(draft(3));
    let before = fleet.publish_everything();
    assert!(before.is_done(), "{before}\n{}", fleet.logs());
    fleet.wait(|view| matches!(view, Ok(view) if view.record.is_some()));
    let report = fleet.publish(SiteId::Us, US);
    assert!(report.is_done(), "{report}\n{}", fleet.logs());
}

/// Customers have names that are no hosts', texts of any octets and types that are rare; for an address at
/// such a name, named would refuse the whole zone by default.
#[test]
fn odd_names_and_data_of_customers_are_served_by_every_program() {
    let mut odd = draft(1);
    // A program of each kind, by UPDATE where it takes that.
    odd.name_servers[4].software = Software::PowerDns;
    let records = [
        "my_host.customer0.example. 60 IN A 192.0.2.99",
        "-a-.customer0.example. 60 IN A 192.0.2.98",
        "a\\.b.customer0.example. 60 IN A 192.0.2.97",
        "*.wild.customer0.example. 60 IN A 192.0.2.96",
        "text.customer0.example. 60 IN TXT \"\\000\\255 \\\"\\\\;\" \"\"",
        "uri.customer0.example. 60 IN URI 1 1 \"https://a.test/?b;c\"",
        "naptr.customer0.example. 60 IN NAPTR 1 2 \"u\" \"E2U+sip\" \"!^(.*)$!sip:\\\\1@a.test!i\" .",
        "svc.customer0.example. 60 IN HTTPS 1 my_host alpn=\"h2,h3\" port=8443",
    ];
    let sets = || records.map(|record| RRset::of(record.parse().unwrap()));
    odd.domains[0].extra = sets()[..4].to_vec();
    let Some(mut fleet) = Fleet::render(odd.clone()) else { return };
    fleet.check();
    fleet.start();
    let ask = |fleet: &Fleet| {
        for index in 0..6 {
            assert_eq!(
                dig(fleet, index, "my_host.customer0.example", "A"),
                "192.0.2.99",
                "{index}"
            );
            assert_eq!(dig(fleet, index, "x.wild.customer0.example", "A"), "192.0.2.96", "{index}");
        }
    };
    ask(&fleet);
    odd.domains[0].extra = sets().to_vec();
    fleet.take(odd);
    let report = fleet.publish_everything();
    assert!(report.is_done(), "{report}\n{}", fleet.logs());
    ask(&fleet);
    for index in 0..6 {
        let text = dig(&fleet, index, "text.customer0.example", "TXT");
        assert_eq!(text, "\"\\000\\255 \\\"\\\\;\" \"\"", "{index}");
    }
}

/// The real servers' words for a wrong key and a wrong clock.
#[test]
fn wrong_keys_and_clocks_are_named_by_every_program() {
    let Some(mut fleet) = Fleet::render(draft(1)) else { return };
    fleet.start();
    let with_keys = |change: fn(&TsigKey) -> TsigKey| {
        let mut wrong = draft(1);
        for (server, real) in wrong.name_servers.iter_mut().zip(fleet.topology.name_servers()) {
            server.reach = real.reach;
            server.key = change(&real.key);
        }
        Topology::new(wrong).unwrap()
    };
    let troubles = |topology: &Topology, network: &dyn Network| {
        let publisher = Publisher::new(topology, network, SiteId::Uk, Patience::default());
        let views = publisher.views(topology.domains().keys().cloned());
        let views = views.into_values().next().unwrap().into_iter();
        views.map(|view| view.unwrap().unwrap_err()).collect::<Vec<_>>()
    };
    let other_secret =
        with_keys(|key| TsigKey::new(key.name().clone(), key.algorithm(), vec![99; 32]).unwrap());
    for (index, trouble) in troubles(&other_secret, &Tcp::default()).iter().enumerate() {
        assert!(matches!(trouble, Trouble::BadSig { .. }), "server {index}: {trouble:?}");
    }
    let other_name = with_keys(|key| {
        TsigKey::new("nobody.example".parse().unwrap(), key.algorithm(), vec![1; 32]).unwrap()
    });
    for (index, trouble) in troubles(&other_name, &Tcp::default()).iter().enumerate() {
        assert!(matches!(trouble, Trouble::BadKey { .. }), "server {index}: {trouble:?}");
    }
    for (index, trouble) in troubles(&fleet.topology, &Late(Tcp::default())).iter().enumerate() {
        assert!(matches!(trouble, Trouble::BadTime { .. }), "server {index}: {trouble:?}");
    }
    let mut more = draft(2);
    for (server, real) in more.name_servers.iter_mut().zip(fleet.topology.name_servers()) {
        server.reach = real.reach;
    }
    let more = Topology::new(more).unwrap();
    let publisher = Publisher::new(&more, &LATE_BY_NOTHING, SiteId::Uk, Patience::default());
    let strange = publisher.views(["customer1.example".parse().unwrap()]);
    for (index, view) in strange.into_values().next().unwrap().into_iter().enumerate() {
        let trouble = view.unwrap().unwrap_err();
        let refused = Trouble::Refused { rcode: Rcode::REFUSED };
        assert_eq!(trouble, refused, "server {index}");
    }
}

const LATE_BY_NOTHING: Tcp = Tcp { timeout: Duration::from_secs(5) };

/// A controller whose clock is an hour behind.
struct Late(Tcp);

impl Network for Late {
    fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Link + '_>> {
        self.0.connect(to)
    }

    fn unix_time(&self) -> u64 {
        self.0.unix_time() - 3600
    }

    fn pause(&self, time: Duration) {
        self.0.pause(time);
    }
}

/// Opposite states at once, one controller dying on the way: whoever goes on, one state is left, and no
/// server's serial went back.
#[test]
fn two_controllers_leave_one_state_on_real_servers() {
    let Some(mut fleet) = Fleet::render(draft(2)) else { return };
    fleet.start();
    let fleet = &fleet;
    let serials = |last: &mut Vec<Option<Serial>>| {
        let network = Tcp::default();
        let publisher = fleet.publisher(&network, SiteId::Uk);
        let views = publisher.views(fleet.topology.domains().keys().cloned());
        let seen = views.into_values().flatten().map(|view| view?.ok()?.serial);
        for (place, serial) in seen.enumerate() {
            if last.len() <= place {
                last.resize(place + 1, None);
            }
            if let (Some(before), Some(now)) = (last[place], serial) {
                assert!(before <= now, "{place}: from {before} to {now}");
            }
            last[place] = serial.or(last[place]);
        }
    };
    let mut last = Vec::new();
    for messages in [1, 7, 13, 15, 17, 19, 21, 25, 31, 40, 60] {
        let (by, other) = match messages % 4 {
            1 => (SiteId::Uk, SiteId::Us),
            _ => (SiteId::Us, SiteId::Uk),
        };
        let dying = Dying { network: Tcp::default(), left: AtomicUsize::new(messages) };
        thread::scope(|scope| {
            scope.spawn(|| fleet.publish_through(&dying, by, Active::One(by)));
            scope.spawn(|| fleet.publish(other, Active::One(other)));
            for _ in 0..5 {
                serials(&mut last);
            }
        });
        for by in [other, by] {
            let report = fleet.publish(by, Active::One(by));
            assert!(report.is_level(), "{messages} messages: {report}\n{}", fleet.logs());
            serials(&mut last);
        }
    }
}

/// A controller that is killed after so many messages.
struct Dying {
    network: Tcp,
    left: AtomicUsize,
}

struct DyingLink<'a> {
    dying: &'a Dying,
    link: Box<dyn Link + 'a>,
}

impl Dying {
    fn lives(&self) -> io::Result<()> {
        match self.left.load(Ordering::SeqCst) {
            0 => Err(io::Error::other("this controller is dead")),
            _ => Ok(()),
        }
    }
}

impl Network for Dying {
    fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Link + '_>> {
        self.lives()?;
        Ok(Box::new(DyingLink { dying: self, link: self.network.connect(to)? }))
    }

    fn unix_time(&self) -> u64 {
        self.network.unix_time()
    }

    fn pause(&self, time: Duration) {
        if self.lives().is_ok() {
            self.network.pause(time);
        }
    }
}

impl Link for DyingLink<'_> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.dying.lives()?;
        let spend = |left: usize| left.checked_sub(1);
        let _ = self.dying.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend);
        self.link.send(message)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        self.dying.lives()?;
        self.link.receive()
    }
}
