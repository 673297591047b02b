//! How decisions get to name servers, and what those hold already.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::decision::{Answer, Epoch, Publication, ServiceId};
use crate::{Active, EpochRecord, Name, Network, Patience, Plan, PlanGuards, Publisher, Topology};

/// What name servers hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The highest epoch among them.
    pub epoch: Epoch,
    /// Whose addresses they answer, by service.
    pub answers: Vec<(ServiceId, Answer)>,
}

/// What became of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How many name servers have all of it for sure.
    pub have: u8,
    /// Of how many.
    pub of: u8,
    /// What they hold now, where that is a later decision than the one that was published, or the same
    /// under a later number.
    pub held: Option<Held>,
    /// What went wrong, for people.
    pub trouble: Option<String>,
}

/// A way to name servers.
pub trait Publish {
    /// Brings all of them to these answers, unless they hold a later decision. Doing it again does no
    /// harm and reaches those that were missed.
    fn publish(&mut self, publication: &Publication) -> Told;

    /// Looks what they hold. None when nobody could say.
    fn read(&mut self) -> Option<Held>;
}

/// The service that all domains with this primary site are.
pub fn service_of(primary: crate::SiteId) -> ServiceId {
    format!("web-{primary}").parse().expect("web- and the name of a site is a name")
}

/// Real name servers, or those of [`testing`](crate::testing): every domain is served from where its
/// service is. A domain's service is `web-uk` or `web-us`, by its primary site.
pub struct ZonePublish<'a> {
    topology: &'a Topology,
    network: &'a dyn Network,
    controller: crate::SiteId,
    patience: Patience,
}

impl std::fmt::Debug for ZonePublish<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZonePublish").field("controller", &self.controller).finish_non_exhaustive()
    }
}

fn ours(epoch: crate::Epoch) -> Epoch {
    let controller = epoch.controller().as_str().parse().expect("a site's name is a name");
    Epoch { number: epoch.number(), controller }
}

fn answer(active: Active) -> Answer {
    match active {
        Active::One(site) => Answer::Site(site.as_str().parse().expect("a site's name is a name")),
        Active::Both => Answer::All,
    }
}

fn active(answer: Answer) -> Option<Active> {
    match answer {
        Answer::Site(site) => crate::SiteId::named(site.as_str()).map(Active::One),
        Answer::All => Some(Active::Both),
    }
}

impl<'a> ZonePublish<'a> {
    /// Publishes the domains of a topology in the name of one controller.
    pub fn new(
        topology: &'a Topology,
        network: &'a dyn Network,
        controller: crate::SiteId,
        patience: Patience,
    ) -> ZonePublish<'a> {
        ZonePublish { topology, network, controller, patience }
    }

    fn publisher(&self) -> Publisher<'a> {
        Publisher::new(self.topology, self.network, self.controller, self.patience)
    }

    fn held(&self, records: impl Iterator<Item = (Name, EpochRecord)>) -> Option<Held> {
        let mut highest: BTreeMap<ServiceId, EpochRecord> = BTreeMap::new();
        for (name, record) in records {
            let Some(domain) = self.topology.domain(&name) else { continue };
            let kept = highest.entry(service_of(domain.primary)).or_insert(record);
            if kept.epoch < record.epoch {
                *kept = record;
            }
        }
        let epoch = highest.values().map(|record| ours(record.epoch)).max()?;
        let answers = highest.into_iter().map(|(service, record)| (service, answer(record.active)));
        Some(Held { epoch, answers: answers.collect() })
    }
}

impl Publish for ZonePublish<'_> {
    fn publish(&mut self, publication: &Publication) -> Told {
        let of = self.topology.name_servers().len() as u8;
        let answers: BTreeMap<_, _> = publication.answers.iter().copied().collect();
        let moves = self.topology.domains().iter().filter_map(|(name, domain)| {
            let answer = answers.get(&service_of(domain.primary))?;
            Some((name, None, active(*answer)?))
        });
        let plan = Plan::failover(self.topology, moves);
        let approved = match plan.approve(&PlanGuards::default()) {
            Ok(approved) => approved,
            Err(refused) => {
                return Told { have: 0, of, held: None, trouble: Some(refused.to_string()) };
            }
        };
        // A controller that slept through somebody else's decision must not undo it.
        let later = |held: &Held| {
            held.epoch > publication.epoch
                && !held.answers.iter().all(|answer| publication.answers.contains(answer))
        };
        let mut overtaken = None;
        let mut may = |records: Vec<(Name, EpochRecord)>| {
            overtaken = self.held(records.into_iter()).filter(later);
            overtaken.is_none()
        };
        // The daemon comes back to what is out of reach, and until then may have something newer to tell.
        let publisher = self.publisher().leaving_unreachable();
        let Some(report) = publisher.publish_if(&approved, &mut may) else {
            return Told { have: 0, of, held: overtaken, trouble: None };
        };
        let level = |server: &Name| {
            report.zones.values().all(|zone| {
                zone.servers.get(server).is_none_or(|outcome| {
                    matches!(outcome, crate::Outcome::Applied | crate::Outcome::AlreadyThere)
                })
            })
        };
        let servers = self.topology.name_servers().iter();
        let have = servers.filter(|server| level(&server.name)).count() as u8;
        let records = report.zones.iter();
        let records = records.filter_map(|(name, zone)| Some((name.clone(), zone.epoch?)));
        let held = self.held(records).filter(|held| held.epoch > publication.epoch);
        let trouble = (have < of).then(|| report.to_string());
        Told { have, of, held, trouble }
    }

    fn read(&mut self) -> Option<Held> {
        let views = self.publisher().views(self.topology.domains().keys().cloned());
        let record = |(name, servers): (Name, Vec<_>)| {
            let views = servers.into_iter().flatten().filter_map(Result::ok);
            let records = views.filter_map(|view: crate::View| view.record);
            Some((name, records.max_by_key(|record: &EpochRecord| record.epoch)?))
        };
        self.held(views.into_iter().filter_map(record))
    }
}

/// Name servers in memory, for embedders' tests: all at once, or as many of them as take updates.
#[derive(Debug, Clone, Default)]
pub struct MemoryPublish {
    servers: Arc<Mutex<Vec<Option<Held>>>>,
    reachable: Arc<Mutex<Vec<bool>>>,
}

impl MemoryPublish {
    /// So many name servers that hold nothing. Clones are other controllers' ways to the same ones.
    pub fn new(count: usize) -> MemoryPublish {
        MemoryPublish {
            servers: Arc::new(Mutex::new(vec![None; count])),
            reachable: Arc::new(Mutex::new(vec![true; count])),
        }
    }

    /// Whether a name server takes updates and answers us.
    pub fn reach(&self, server: usize, reachable: bool) {
        if let Some(kept) =
            self.reachable.lock().unwrap_or_else(PoisonError::into_inner).get_mut(server)
        {
            *kept = reachable;
        }
    }

    /// What each holds.
    pub fn holds(&self) -> Vec<Option<Held>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Publish for MemoryPublish {
    fn publish(&mut self, publication: &Publication) -> Told {
        let reachable = self.reachable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Told { have: 0, of: servers.len() as u8, held: None, trouble: None };
        for (server, _) in servers.iter_mut().zip(&reachable).filter(|(_, reachable)| **reachable) {
            match server {
                Some(held) if held.epoch > publication.epoch => told.held = Some(held.clone()),
                held => {
                    let Publication { epoch, answers } = publication.clone();
                    *held = Some(Held { epoch, answers });
                    told.have += 1;
                }
            }
        }
        told
    }

    fn read(&mut self) -> Option<Held> {
        let reachable = self.reachable.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = servers.iter().zip(reachable).filter(|(_, reachable)| *reachable);
        seen.filter_map(|(held, _)| held.clone()).max_by_key(|held| held.epoch)
    }
}
