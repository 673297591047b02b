//! What a controller knows and has decided; all of it, so that it can be stored and taken up again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::health::Detector;
use super::id::{ControllerId, ObserverId, ServiceId, SiteId};
use super::outcome::{Cause, Publication, Stay};
use super::penalty::Penalty;
use super::policy::Policy;
use super::quorum::{Tally, Verdict};
use super::time::Timestamp;
use super::window::{Override, Window};

/// What a controller knows and has decided.
///
/// Its JSON carries `"format": 1`. A state that was made under other rules is fitted to the ones it
/// meets: what it knows of observers, places and services that still exist is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub(super) format: u32,
    pub(super) shape: u64,
    pub(super) clock: Timestamp,
    pub(super) epoch: Epoch,
    /// The latest epoch that all name servers have for sure.
    pub(super) everywhere: Option<Epoch>,
    pub(super) observers: Vec<ObserverState>,
    pub(super) targets: Vec<TargetState>,
    pub(super) services: Vec<ServiceState>,
    pub(super) windows: Vec<Window>,
    pub(super) overrides: Vec<Override>,
}

/// Which decision an answer comes from: a number, and who counted it. Totally ordered, so of two
/// controllers that decided at once one yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    /// Counts decisions.
    pub number: u64,
    /// Who made it.
    pub controller: ControllerId,
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.controller)
    }
}

/// Whose addresses are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Those of one site.
    Site(SiteId),
    /// Those of all sites of the service.
    All,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Site(site) => write!(f, "{site}"),
            Answer::All => f.write_str("all sites"),
        }
    }
}

/// What is known of an observer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserverState {
    /// Which.
    pub id: ObserverId,
    /// When its last report came, by our clock.
    pub seen: Option<Timestamp>,
    /// When it made it, by its own clock.
    pub at: Option<Timestamp>,
    /// Whether it sees nothing at all.
    pub blind: bool,
    /// Whether nothing was heard of it lately.
    pub silent: bool,
}

/// What is known of a service at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// The service.
    pub service: ServiceId,
    /// The site.
    pub site: SiteId,
    /// What the domains make of it together.
    pub verdict: Verdict,
    /// Since when.
    pub since: Timestamp,
    /// The votes behind it.
    pub tally: Tally,
    /// Whether it was down when last anything was clear.
    pub was_down: bool,
    /// How often it went down of late.
    pub penalty: Penalty,
    /// What each observer makes of it, in the order of the observers.
    pub views: Vec<Detector>,
}

/// What is decided for a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceState {
    /// Which.
    pub id: ServiceId,
    /// Whose addresses are answered.
    pub answer: Answer,
    /// Since when.
    pub since: Timestamp,
    /// Why it came to be there.
    pub cause: Cause,
    /// Why it stays.
    pub stay: Stay,
    /// Before this there is no automatic move.
    pub held_until: Option<Timestamp>,
    /// The automatic moves of the last hour, the oldest first.
    pub moves: Vec<Timestamp>,
}

impl State {
    /// The version of its JSON.
    pub const FORMAT: u32 = 1;

    /// The time of the last step.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// Which decision is the latest.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Observers, sorted.
    pub fn observers(&self) -> &[ObserverState] {
        &self.observers
    }

    /// Services at their sites, in the order of the policy.
    pub fn targets(&self) -> &[TargetState] {
        &self.targets
    }

    /// Services, sorted.
    pub fn services(&self) -> &[ServiceState] {
        &self.services
    }

    /// Maintenance, by start.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Overrides, the later outranks the earlier.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    /// What is answered for a service.
    pub fn answer(&self, service: ServiceId) -> Option<Answer> {
        self.services.iter().find(|of| of.id == service).map(|of| of.answer)
    }

    /// What all name servers should hold; to be published again after a restart.
    pub fn publication(&self) -> Publication {
        let answers = self.services.iter().map(|service| (service.id, service.answer)).collect();
        Publication { epoch: self.epoch, answers }
    }

    /// Whether all name servers have it for sure.
    pub fn is_published(&self) -> bool {
        self.everywhere == Some(self.epoch)
    }
}

impl Policy {
    /// The first state of all: nothing seen, every service at its best site.
    pub fn start(&self, now: Timestamp) -> State {
        let observers = self.config.observers.iter().map(|observer| ObserverState {
            id: observer.id,
            seen: None,
            at: None,
            blind: false,
            silent: true,
        });
        let targets = self.targets.iter().map(|target| TargetState {
            service: target.service,
            site: target.site,
            verdict: Verdict::Unclear,
            since: now,
            tally: Tally { up: 0, down: 0, of: self.domains.len() as u8, quorum: self.quorum },
            was_down: false,
            penalty: Penalty::default(),
            views: vec![Detector::default(); self.config.observers.len()],
        });
        let services = self.config.services.iter().map(|service| ServiceState {
            id: service.id,
            answer: Answer::Site(service.sites[0]),
            since: now,
            cause: Cause::Start,
            stay: Stay::Settled,
            held_until: None,
            moves: Vec::new(),
        });
        State {
            format: State::FORMAT,
            shape: self.shape,
            clock: now,
            epoch: Epoch { number: 0, controller: self.config.controller },
            everywhere: None,
            observers: observers.collect(),
            targets: targets.collect(),
            services: services.collect(),
            windows: Vec::new(),
            overrides: Vec::new(),
        }
    }

    /// Fits a state that was made under other rules, or came from a file, to these.
    pub(super) fn fit(&self, old: State) -> State {
        let mut state = self.start(old.clock);
        state.epoch = old.epoch;
        state.everywhere = old.everywhere;
        state.windows = old.windows;
        state.overrides = old.overrides;
        let place = |id| old.observers.iter().position(|observer| observer.id == id);
        let places: Vec<_> = state.observers.iter().map(|observer| place(observer.id)).collect();
        for (observer, place) in state.observers.iter_mut().zip(&places) {
            if let Some(place) = place {
                *observer = old.observers[*place].clone();
            }
        }
        for target in &mut state.targets {
            let same = |of: &&TargetState| of.service == target.service && of.site == target.site;
            let Some(known) = old.targets.iter().find(same) else { continue };
            let view = |place: &Option<usize>| {
                place.and_then(|place| known.views.get(place)).copied().unwrap_or_default()
            };
            *target = TargetState { views: places.iter().map(view).collect(), ..known.clone() };
        }
        for (service, rules) in state.services.iter_mut().zip(&self.config.services) {
            let Some(known) = old.services.iter().find(|of| of.id == service.id) else { continue };
            if match known.answer {
                Answer::Site(site) => rules.sites.contains(&site),
                Answer::All => true,
            } {
                *service = known.clone();
            }
        }
        state
    }

    pub(super) fn fits(&self, state: &State) -> bool {
        state.shape == self.shape
            && state.observers.len() == self.places.len()
            && state.targets.len() == self.targets.len()
            && state.services.len() == self.ranges.len()
            && state.targets.iter().all(|target| target.views.len() == self.places.len())
    }
}
