//! The `[failover]` section of `network.toml`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use dns_failover::daemon::{Place, Watch, service_of};
use dns_failover::decision::{
    AllDown, Damping, DomainId, FailBack, Millis, ObserverId, PolicyConfig, Service, SiteId,
    Thresholds, Timestamp, Window, WindowId,
};
use dns_failover::probe::{Check, Probe};
use dns_failover::{Name, Topology};
use serde::{Deserialize, Deserializer, de};

use crate::keys::Failure;

/// Who looks, and how it is decided where domains point.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Failover {
    /// The file with the secret that all observers share, mode 0600.
    pub key: PathBuf,
    /// The folder of the controller's journal.
    pub state: PathBuf,
    /// How often everything is probed.
    #[serde(default = "defaults::interval", deserialize_with = "text")]
    pub interval: Millis,
    /// How long an answer may take.
    #[serde(default = "defaults::timeout", deserialize_with = "text")]
    pub timeout: Millis,
    /// How many probes in a row make a site up.
    #[serde(default = "defaults::rise")]
    pub rise: u8,
    /// How many make it down.
    #[serde(default = "defaults::fall")]
    pub fall: u8,
    /// How many make it down though others between them succeed.
    #[serde(default = "defaults::lapses")]
    pub lapses: u8,
    /// After how many successes in a row those are forgotten.
    #[serde(default = "defaults::ok")]
    pub ok: u8,
    /// How many failure domains must agree.
    pub quorum: Option<u8>,
    /// For how long a site must have been down.
    #[serde(default, deserialize_with = "text")]
    pub confirm: Millis,
    /// For how long there is no second move.
    #[serde(default = "defaults::hold", deserialize_with = "text")]
    pub hold: Millis,
    /// How many moves there may be in an hour.
    #[serde(default = "defaults::moves_per_hour")]
    pub moves_per_hour: u8,
    /// When domains return: "manual", or after so long without a fault.
    #[serde(default, deserialize_with = "stable")]
    pub fail_back: Option<Millis>,
    /// For how long both sites are answered on the way back.
    #[serde(default, deserialize_with = "text")]
    pub fail_back_both: Millis,
    /// What is answered when both are down.
    #[serde(default)]
    pub all_down: WhenAllDown,
    /// How long before maintenance a site is left.
    #[serde(default = "defaults::drain_lead", deserialize_with = "text")]
    pub drain_lead: Millis,
    /// Who looks.
    pub observers: Vec<Observer>,
    /// What is looked at.
    pub probes: Vec<ProbeOf>,
    /// What tells a blind observer from a dead site.
    #[serde(default)]
    pub controls: Vec<Looked>,
    /// Announced maintenance.
    #[serde(default)]
    pub maintenance: Vec<Maintenance>,
}

mod defaults {
    use super::Millis;

    pub(super) fn interval() -> Millis {
        Millis::from_secs(2)
    }
    pub(super) fn timeout() -> Millis {
        Millis::from_secs(1)
    }
    pub(super) fn rise() -> u8 {
        5
    }
    pub(super) fn fall() -> u8 {
        3
    }
    pub(super) fn lapses() -> u8 {
        6
    }
    pub(super) fn ok() -> u8 {
        10
    }
    pub(super) fn hold() -> Millis {
        Millis::from_secs(60)
    }
    pub(super) fn moves_per_hour() -> u8 {
        4
    }
    pub(super) fn drain_lead() -> Millis {
        Millis::from_secs(300)
    }
}

/// One that looks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    /// Its name.
    pub name: ObserverId,
    /// What it fails together with.
    pub domain: DomainId,
    /// The site that it stands in: a controller runs there as well.
    pub site: Option<SiteId>,
    /// Where that controller hears the others, over UDP.
    pub address: Option<SocketAddr>,
}

/// What is answered when both sites are down.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenAllDown {
    /// What was answered before.
    #[default]
    KeepLast,
    /// The primary site.
    Preferred,
    /// Both.
    All,
}

/// A probe of a site.
#[derive(Debug, Clone, Deserialize)]
pub struct ProbeOf {
    /// Which site.
    pub site: SiteId,
    /// How.
    #[serde(flatten)]
    pub look: Looked,
}

/// How something is looked at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase", tag = "check")]
pub enum Looked {
    /// It takes connections.
    Tcp {
        /// Where.
        address: SocketAddr,
    },
    /// It answers a GET with a status, and a text in the page where given.
    Http {
        /// Where.
        address: SocketAddr,
        /// The name that is asked for.
        host: String,
        /// What is asked for.
        path: Option<String>,
        /// The status that is right.
        status: Option<u16>,
        /// What must be on the page.
        text: Option<String>,
    },
    /// It greets as SMTP servers do.
    Smtp {
        /// Where.
        address: SocketAddr,
    },
    /// It greets as LMTP servers do.
    Lmtp {
        /// Where.
        address: SocketAddr,
    },
    /// It answers for a zone.
    Dns {
        /// Where.
        address: SocketAddr,
        /// Which zone.
        #[serde(deserialize_with = "text")]
        zone: Name,
    },
    /// It says that it is an SSH server.
    Ssh {
        /// Where.
        address: SocketAddr,
    },
}

/// Announced maintenance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Its name.
    pub name: WindowId,
    /// The site.
    pub site: SiteId,
    /// When it begins, in UTC.
    #[serde(deserialize_with = "text")]
    pub starts: Timestamp,
    /// When it ends.
    #[serde(deserialize_with = "text")]
    pub ends: Timestamp,
    /// What is done.
    #[serde(default)]
    pub title: String,
}

/// Something written as text: `"2s"`.
fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

fn stable<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Millis>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "manual" => Ok(None),
        span => span.parse().map(Some).map_err(|error| {
            de::Error::custom(format!("\"manual\", or how long a site must have been up: {error}"))
        }),
    }
}

impl Looked {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        match self {
            Looked::Tcp { address }
            | Looked::Http { address, .. }
            | Looked::Smtp { address }
            | Looked::Lmtp { address }
            | Looked::Dns { address, .. }
            | Looked::Ssh { address } => *address,
        }
    }

    fn probe(&self, timeout: Millis) -> Result<Probe, Failure> {
        let (address, check) = match self {
            Looked::Tcp { address } => (*address, Check::Tcp),
            Looked::Http { address, host, path, status, text } => {
                let path = path.as_deref().unwrap_or("/");
                let check = Check::http(host, path, status.unwrap_or(200), text.as_deref());
                (*address, check.map_err(Failure::failed)?)
            }
            Looked::Smtp { address } => (*address, Check::Smtp),
            Looked::Lmtp { address } => (*address, Check::Lmtp),
            Looked::Dns { address, zone } => (*address, Check::Dns(zone.clone())),
            Looked::Ssh { address } => (*address, Check::Ssh),
        };
        Ok(Probe { address, check, timeout })
    }
}

impl Failover {
    /// The rules for one of the controllers.
    ///
    /// # Errors
    /// [`Failure`] for what is not there.
    pub fn policy(&self, topology: &Topology, controller: &str) -> Result<PolicyConfig, Failure> {
        let fail_back = match (self.fail_back, self.fail_back_both) {
            (None, _) => FailBack::Manual,
            (Some(stable), Millis::ZERO) => FailBack::After { stable },
            (Some(stable), both) => FailBack::Gradual { stable, both },
        };
        let all_down = match self.all_down {
            WhenAllDown::KeepLast => AllDown::KeepLast,
            WhenAllDown::Preferred => AllDown::Preferred,
            WhenAllDown::All => AllDown::All,
        };
        let site = |site: dns_failover::SiteId| site.as_str().parse().map_err(Failure::failed);
        let mut services = Vec::new();
        for primary in dns_failover::SiteId::ALL {
            // Domains of one primary move as one.
            if topology.domains().values().any(|domain| domain.primary == primary) {
                services.push(Service {
                    id: service_of(primary),
                    sites: vec![site(primary)?, site(primary.other())?],
                    needs: Vec::new(),
                    fail_back,
                    all_down,
                });
            }
        }
        let observers = self.observers.iter().map(|observer| dns_failover::decision::Observer {
            id: observer.name,
            domain: observer.domain,
            site: observer.site,
        });
        let Failover { rise, fall, lapses, ok, .. } = *self;
        Ok(PolicyConfig {
            controller: controller.parse().map_err(Failure::failed)?,
            observers: observers.collect(),
            services,
            thresholds: Thresholds { rise, fall, lapses, ok },
            // Two rounds and the time for an answer: one report may get lost.
            fresh: Millis::new(self.interval.get() * 2 + self.timeout.get()),
            skew: Millis::from_secs(2),
            quorum: self.quorum,
            confirm: self.confirm,
            hold: self.hold,
            moves_per_hour: self.moves_per_hour,
            damping: Damping::default(),
            drain_lead: self.drain_lead,
        })
    }

    /// What an observer looks at.
    ///
    /// # Errors
    /// [`Failure`] for a probe that cannot be made, or a site without one.
    pub fn watch(&self, topology: &Topology, observer: ObserverId) -> Result<Watch, Failure> {
        let mut services = Vec::new();
        for primary in dns_failover::SiteId::ALL {
            if topology.domains().values().any(|domain| domain.primary == primary) {
                services.push(service_of(primary));
            }
        }
        for site in dns_failover::SiteId::ALL {
            if !self.probes.iter().any(|probe| probe.site.as_str() == site.as_str()) {
                let why = "has no probe in [[failover.probes]]; nothing could be known of it";
                return Err(Failure::failed(format!("site {site} {why}")));
            }
        }
        let place = |probe: &ProbeOf| {
            let looked = probe.look.probe(self.timeout)?;
            Ok(Place { site: probe.site, services: services.clone(), probe: looked })
        };
        let places: Result<Vec<Place>, Failure> = self.probes.iter().map(place).collect();
        let controls: Result<Vec<Probe>, Failure> =
            self.controls.iter().map(|control| control.probe(self.timeout)).collect();
        Ok(Watch { observer, places: places?, controls: controls? })
    }

    /// Announced maintenance that is not over.
    pub fn windows(&self, now: Timestamp) -> Vec<Window> {
        let open = self.maintenance.iter().filter(|of| of.ends > now);
        let window = |of: &Maintenance| Window {
            id: of.name,
            site: of.site,
            starts: of.starts,
            ends: of.ends,
            title: of.title.clone(),
        };
        open.map(window).collect()
    }
}
