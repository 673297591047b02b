//! Six real name servers on loopback, started from what was rendered and nothing else.

mod fleet;
#[path = "../../../examples/tests/support/peer.rs"]
#[allow(dead_code, reason = "the programs test more with it")]
mod peer;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use dns_failover::testing::draft;
use dns_failover::{Active, Outcome, SiteId};
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
    let t = std::time::Instant::now();
    fleet.start();
    println!("started {:?}", t.elapsed());
    for (by, active) in [(SiteId::Us, US), (SiteId::Uk, UK)] {
        let t = std::time::Instant::now();
        let report = fleet.publish(by, active);
        println!("{:?} {report}", t.elapsed());
        assert!(report.is_done(), "{report}\n{}", fleet.logs());
    }
}
