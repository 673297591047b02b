//! What a provider configures, checked once.

use serde::{Deserialize, Serialize};

use super::health::Thresholds;
use super::id::{ControllerId, DomainId, ObserverId, ServiceId, SiteId};
use super::penalty::Damping;
use super::quorum::MAX_DOMAINS;
use super::time::Millis;

/// The rules, as they are written down. [`Policy::new`] checks them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Who decides here.
    pub controller: ControllerId,
    /// Who probes.
    pub observers: Vec<Observer>,
    /// What may move.
    pub services: Vec<Service>,
    /// When a place counts as up or down for one observer.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// So old may the last word of an observer be: two probe intervals and a timeout.
    #[serde(default = "defaults::fresh")]
    pub fresh: Millis,
    /// So far may an observer's clock be off.
    #[serde(default = "defaults::skew")]
    pub skew: Millis,
    /// So many domains must agree; a majority of those configured when not given, and never less.
    #[serde(default)]
    pub quorum: Option<u8>,
    /// So long must a site have been down before a service leaves it.
    #[serde(default)]
    pub confirm: Millis,
    /// So long after a move there is no other automatic one.
    #[serde(default = "defaults::hold")]
    pub hold: Millis,
    /// So many automatic moves of a service are made in any hour.
    #[serde(default = "defaults::moves_per_hour")]
    pub moves_per_hour: u8,
    /// When a site that keeps going down is not moved back to.
    #[serde(default)]
    pub damping: Damping,
    /// So long before maintenance a site is left: the TTL that its addresses had.
    #[serde(default = "defaults::drain_lead")]
    pub drain_lead: Millis,
}

mod defaults {
    use super::Millis;

    pub(super) fn fresh() -> Millis {
        Millis::from_secs(5)
    }

    pub(super) fn skew() -> Millis {
        Millis::from_secs(2)
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

/// One that probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    /// Its name.
    pub id: ObserverId,
    /// What it fails together with: a site, a provider, an autonomous system.
    pub domain: DomainId,
    /// The site that it stands in, where it stands in one.
    #[serde(default)]
    pub site: Option<SiteId>,
}

/// Something that moves between sites as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name.
    pub id: ServiceId,
    /// Where it can be, the best first.
    pub sites: Vec<SiteId>,
    /// What it cannot do without at the same site.
    #[serde(default)]
    pub needs: Vec<ServiceId>,
    /// How it returns.
    #[serde(default)]
    pub fail_back: FailBack,
    /// What is answered when it is down everywhere.
    #[serde(default)]
    pub all_down: AllDown,
}

/// How a service returns to a better site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum FailBack {
    /// When a person says so. Right where state lives: what was written meanwhile must go back first.
    #[default]
    Manual,
    /// When the better site has been up for so long, and so long after the move.
    After {
        /// How long.
        stable: Millis,
    },
    /// Likewise, and for a while both addresses are answered before only the better one is.
    Gradual {
        /// How long it must have been up.
        stable: Millis,
        /// How long both are answered.
        both: Millis,
    },
}

/// What is answered when a service is down everywhere. Never nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AllDown {
    /// What was answered before.
    #[default]
    KeepLast,
    /// The best site, as gdnsd's simplefo.
    Preferred,
    /// All sites, as gdnsd's multifo and Route 53.
    All,
}

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Nothing to decide.
    #[error("no service is configured; name at least one that may move")]
    NoService,
    /// Two of one name.
    #[error("{what} {name} is configured twice")]
    Twice {
        /// What it is.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A service that is nowhere, or in one place only.
    #[error("service {service} has {count} site(s); it needs two at least to move between")]
    TooFewSites {
        /// The service.
        service: ServiceId,
        /// How many.
        count: usize,
    },
    /// A need that cannot be met.
    #[error("service {service} needs {needs}, which {why}")]
    Needs {
        /// The service.
        service: ServiceId,
        /// What it needs.
        needs: ServiceId,
        /// What is wrong.
        why: &'static str,
    },
    /// A number that cannot work.
    #[error("{key} is {value}; {why}")]
    Number {
        /// Which.
        key: &'static str,
        /// What it is.
        value: u64,
        /// What it must be.
        why: &'static str,
    },
    /// More than can be kept in view.
    #[error("{count} {what} are configured; at most {most} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        most: usize,
    },
}

/// Whether moves are made without a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// They are.
    #[error("automatic")]
    Automatic,
    /// Too few domains to tell a dead site from a broken observer.
    #[error(
        "manual: observers stand in {domains} failure domain(s), and telling a dead site from a broken \
         observer takes three; add an observer elsewhere"
    )]
    TooFewDomains {
        /// How many there are.
        domains: u8,
    },
    /// Nobody looks from outside.
    #[error("manual: every observer stands in a site that it judges; add one outside of all sites")]
    NobodyOutside,
}

/// Rules that hold together.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) config: PolicyConfig,
    pub(super) mode: Mode,
    pub(super) quorum: u8,
    /// All domains, sorted.
    pub(super) domains: Vec<DomainId>,
    /// Observers in the order of the state's.
    pub(super) places: Vec<Place>,
    /// Every site of every service, a service after the other, the best site first.
    pub(super) targets: Vec<Target>,
    /// Where each service's targets are in that list.
    pub(super) ranges: Vec<std::ops::Range<usize>>,
    /// Tells states apart that were made for other rules.
    pub(super) shape: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) domain: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) service: ServiceId,
    pub(super) site: SiteId,
    /// Itself and what it cannot do without, by place in the list of targets.
    pub(super) needs: Vec<usize>,
}

impl PolicyConfig {
    /// One service, two sites and three observers, one of them outside: for tests and to start from.
    ///
    /// # Panics
    /// Never: the names in it are names.
    pub fn example() -> PolicyConfig {
        const TEXT: &str = r#"{
            "controller": "us",
            "observers": [
                {"id": "london", "domain": "uk", "site": "uk"},
                {"id": "newyork", "domain": "us", "site": "us"},
                {"id": "zurich", "domain": "outside"}
            ],
            "services": [
                {"id": "web", "sites": ["uk", "us"], "fail_back": {"after": {"stable": 600000}}}
            ]
        }"#;
        serde_json::from_str(TEXT).expect("the text above is a configuration")
    }
}

impl Policy {
    /// Checks the rules.
    ///
    /// Too few observers are no error: the mode is manual then, and says why.
    ///
    /// # Errors
    /// [`PolicyError`] for what contradicts itself or cannot work.
    pub fn new(mut config: PolicyConfig) -> Result<Policy, PolicyError> {
        config.observers.sort_by_key(|observer| observer.id);
        config.services.sort_by_key(|service| service.id);
        check(&config)?;
        let mut domains: Vec<DomainId> =
            config.observers.iter().map(|observer| observer.domain).collect();
        domains.sort_unstable();
        domains.dedup();
        limit("failure domains", domains.len(), MAX_DOMAINS)?;
        let majority = (domains.len() / 2 + 1) as u8;
        let quorum = config.quorum.unwrap_or(majority).max(majority);
        if usize::from(quorum) > domains.len().max(1) {
            return Err(PolicyError::Number {
                key: "quorum",
                value: quorum.into(),
                why: "there are not so many failure domains",
            });
        }
        let places = config.observers.iter().map(|observer| Place {
            domain: domains.iter().position(|domain| *domain == observer.domain).unwrap_or(0),
        });
        let outside = config.observers.iter().any(|observer| observer.site.is_none());
        let mode = match domains.len() {
            0..3 => Mode::TooFewDomains { domains: domains.len() as u8 },
            _ if !outside => Mode::NobodyOutside,
            _ => Mode::Automatic,
        };
        let places = places.collect();
        let (targets, ranges) = targets(&config)?;
        let shape = shape(&config);
        Ok(Policy { config, mode, quorum, domains, places, targets, ranges, shape })
    }

    /// The rules as they were written down.
    pub fn config(&self) -> &PolicyConfig {
        &self.config
    }

    /// Whether moves are made without a person.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// How many failure domains must agree.
    pub fn quorum(&self) -> u8 {
        self.quorum
    }

    /// All that is to be probed.
    pub fn places(&self) -> impl Iterator<Item = (ServiceId, SiteId)> {
        self.targets.iter().map(|target| (target.service, target.site))
    }

    pub(super) fn target(&self, service: ServiceId, site: SiteId) -> Option<usize> {
        self.targets.iter().position(|target| target.site == site && target.service == service)
    }

    pub(super) fn service(&self, service: ServiceId) -> Option<usize> {
        self.config.services.iter().position(|of| of.id == service)
    }
}

fn check(config: &PolicyConfig) -> Result<(), PolicyError> {
    if config.services.is_empty() {
        return Err(PolicyError::NoService);
    }
    limit("observers", config.observers.len(), 64)?;
    limit("services", config.services.len(), 64)?;
    let observers: Vec<_> = config.observers.iter().map(|of| of.id.as_str()).collect();
    unique("observer", &observers)?;
    let services: Vec<_> = config.services.iter().map(|of| of.id.as_str()).collect();
    unique("service", &services)?;
    for service in &config.services {
        if service.sites.len() < 2 {
            let count = service.sites.len();
            return Err(PolicyError::TooFewSites { service: service.id, count });
        }
        limit("sites of a service", service.sites.len(), 16)?;
        let mut sites: Vec<_> = service.sites.iter().map(|site| site.as_str()).collect();
        sites.sort_unstable();
        unique("site", &sites)?;
    }
    let Thresholds { rise, fall, lapses, ok } = config.thresholds;
    for (key, value, least) in [
        ("rise", rise, 1),
        ("fall", fall, 1),
        ("ok", ok, 1),
        ("lapses", lapses, fall),
        ("moves_per_hour", config.moves_per_hour, 1),
    ] {
        if value < least {
            let why =
                if key == "lapses" { "it must be fall at least" } else { "it must be 1 at least" };
            return Err(PolicyError::Number { key, value: value.into(), why });
        }
    }
    if config.fresh == Millis::ZERO {
        let why = "every observation would be too old at once";
        return Err(PolicyError::Number { key: "fresh", value: 0, why });
    }
    Ok(())
}

fn limit(what: &'static str, count: usize, most: usize) -> Result<(), PolicyError> {
    if count > most { Err(PolicyError::TooMany { what, count, most }) } else { Ok(()) }
}

fn unique(what: &'static str, sorted: &[&str]) -> Result<(), PolicyError> {
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(PolicyError::Twice { what, name: pair[0].to_owned() }),
        None => Ok(()),
    }
}

type Targets = (Vec<Target>, Vec<std::ops::Range<usize>>);

fn targets(config: &PolicyConfig) -> Result<Targets, PolicyError> {
    let mut targets = Vec::new();
    let mut ranges = Vec::new();
    for service in &config.services {
        let start = targets.len();
        targets.extend(service.sites.iter().map(|site| Target {
            service: service.id,
            site: *site,
            needs: Vec::new(),
        }));
        ranges.push(start..targets.len());
    }
    let find = |targets: &[Target], service, site| {
        targets.iter().position(|target| target.service == service && target.site == site)
    };
    for index in 0..targets.len() {
        let (own, site) = (targets[index].service, targets[index].site);
        let mut needs = vec![index];
        let mut next = 0;
        // Breadth first, each once: what is needed by what is needed is needed as well.
        while let Some(at) = needs.get(next).copied() {
            next += 1;
            let of = targets[at].service;
            let wanted = config.services.iter().find(|service| service.id == of);
            for need in wanted.into_iter().flat_map(|service| &service.needs) {
                let refuse = |why| PolicyError::Needs { service: of, needs: *need, why };
                if *need == own {
                    return Err(refuse("needs it in turn; take one of the needs away"));
                }
                let found = find(&targets, *need, site)
                    .ok_or_else(|| refuse("is not at all of its sites; add it there"))?;
                if !needs.contains(&found) {
                    needs.push(found);
                }
            }
        }
        targets[index].needs = needs;
    }
    Ok((targets, ranges))
}

/// FNV-1a over all names: enough to see that a state was made for other rules.
fn shape(config: &PolicyConfig) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    config.observers.iter().for_each(|observer| add(observer.id.as_str()));
    for service in &config.services {
        add("");
        add(service.id.as_str());
        service.sites.iter().for_each(|site| add(site.as_str()));
    }
    // JSON readers that know only doubles keep 53 bits.
    hash >> 11
}
