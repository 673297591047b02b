//! `[failover]` of `network.toml`, held against the servers: who looks at what, and when nobody should.

use std::net::IpAddr;

use dns_failover::{Draft, SiteId};

use super::Reader;
use super::lines::At;
use crate::failover::config::Failover;

impl Reader<'_> {
    pub(super) fn failover(&mut self, failover: &Failover, draft: &Draft) {
        self.observers(failover);
        self.probes(failover, draft);
        self.maintenance(failover);
    }

    fn observers(&mut self, failover: &Failover) {
        let at = |index| [At::Key("failover"), At::Key("observers"), At::Index(index)];
        for (index, observer) in failover.observers.iter().enumerate() {
            let before = &failover.observers[..index];
            if before.iter().any(|other| other.name == observer.name) {
                let what = format!(
                    "the name {} is used before; give each observer its own",
                    observer.name
                );
                self.problem(&at(index), "name", what);
            }
            if let Some(site) = observer.site {
                if SiteId::named(site.as_str()).is_none() {
                    let what = format!("there is no site {site}; there are uk and us");
                    self.problem(&at(index), "site", what);
                }
                if observer.address.is_none() {
                    let what = "a controller runs in its site and must hear the others; give address, as \"192.0.2.10:5300\"";
                    self.problem(&at(index), "site", what);
                }
                if before.iter().any(|other| other.site == Some(site)) {
                    let what = format!(
                        "another observer stands in {site} already; one controller runs there"
                    );
                    self.problem(&at(index), "site", what);
                }
            }
            if observer.address.is_some()
                && before.iter().any(|other| other.address == observer.address)
            {
                self.problem(
                    &at(index),
                    "address",
                    "another observer has this address; give each its own",
                );
            }
        }
    }

    fn probes(&mut self, failover: &Failover, draft: &Draft) {
        let addresses = |id: &str| -> Vec<IpAddr> {
            let sites = draft.sites.iter().filter(|site| site.id.as_str() == id);
            sites.flat_map(|site| site.web.iter().chain(site.mail.iter())).collect()
        };
        for id in SiteId::ALL {
            if !failover.probes.iter().any(|probe| probe.site.as_str() == id.as_str()) {
                let at = [At::Key("failover"), At::Key("probes")];
                let what =
                    format!("site {id} has no probe, so nothing could be known of it; add one");
                self.problems.push((self.lines.at(&at, None), what));
            }
        }
        for (index, probe) in failover.probes.iter().enumerate() {
            let at = [At::Key("failover"), At::Key("probes"), At::Index(index)];
            let Some(id) = SiteId::named(probe.site.as_str()) else {
                let what = format!("there is no site {}; there are uk and us", probe.site);
                self.problem(&at, "site", what);
                continue;
            };
            let there = probe.look.address().ip();
            if addresses(id.other().as_str()).contains(&there) {
                let what = format!(
                    "{there} is in {}, so {id} would be judged by the wrong server; see [servers.{id}]",
                    id.other()
                );
                self.problem(&at, "address", what);
            }
        }
        for (index, control) in failover.controls.iter().enumerate() {
            let at = [At::Key("failover"), At::Key("controls"), At::Index(index)];
            let there = control.address().ip();
            for id in SiteId::ALL {
                if addresses(id.as_str()).contains(&there) {
                    let what = format!(
                        "{there} is in {id}, so an observer would seem blind when {id} is down; name a place elsewhere"
                    );
                    self.problem(&at, "address", what);
                }
            }
        }
    }

    fn maintenance(&mut self, failover: &Failover) {
        for (index, window) in failover.maintenance.iter().enumerate() {
            let at = [At::Key("failover"), At::Key("maintenance"), At::Index(index)];
            if SiteId::named(window.site.as_str()).is_none() {
                let what = format!("there is no site {}; there are uk and us", window.site);
                self.problem(&at, "site", what);
            }
            if window.ends <= window.starts {
                self.problem(&at, "ends", "it ends before it starts; change one of the two");
            }
            for other in &failover.maintenance[..index] {
                if other.name == window.name {
                    let what = format!(
                        "the name {} is used before; give each window its own",
                        window.name
                    );
                    self.problem(&at, "name", what);
                }
                let overlap = other.starts < window.ends && window.starts < other.ends;
                if overlap && other.site != window.site {
                    let what = format!(
                        "{} is under maintenance at {} meanwhile, and nobody would serve; move one of them",
                        other.name, other.site
                    );
                    self.problem(&at, "starts", what);
                }
            }
        }
    }
}
