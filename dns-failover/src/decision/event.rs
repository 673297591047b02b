//! What can happen to a controller.

use serde::{Deserialize, Serialize};

use super::id::{BadId, ObserverId, ServiceId, SiteId, WindowId};
use super::state::{Answer, Epoch};
use super::time::Timestamp;
use super::window::{Override, Window};

/// The most places one report tells of; what comes after them is not looked at.
pub const MAX_RESULTS: usize = 256;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Event {
    /// Time went by. Once a second is enough.
    Tick,
    /// An observer told what it saw.
    Observed(Report),
    /// A person gave an order.
    Commanded(Command),
    /// The name servers were told: so many of them have the answers of this epoch.
    Published {
        /// Which answers.
        epoch: Epoch,
        /// How many name servers have them for sure.
        have: u8,
        /// Of how many.
        of: u8,
    },
    /// Name servers hold answers of this epoch, which may be another controller's.
    Learned {
        /// The epoch they hold.
        epoch: Epoch,
        /// The answers they hold.
        answers: Vec<(ServiceId, Answer)>,
    },
}

/// What an observer saw in one round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Who.
    pub observer: ObserverId,
    /// When, by its own clock.
    pub at: Timestamp,
    /// Whether any of its control probes was answered, which go to places that do not depend on us.
    /// None where it has none.
    // Never left out: the exchange's encoding has no names, so whoever reads it counts on every field.
    #[serde(default)]
    pub controls: Option<bool>,
    /// Place by place.
    pub results: Vec<Seen>,
}

/// How one probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// What was probed.
    pub service: ServiceId,
    /// Where.
    pub site: SiteId,
    /// Whether it answered as it should.
    pub up: bool,
}

impl Report {
    /// A report without results and without control probes.
    pub fn new(observer: ObserverId, at: Timestamp) -> Report {
        Report { observer, at, controls: None, results: Vec::new() }
    }

    /// Adds a result.
    ///
    /// # Errors
    /// [`BadId`] when one of the names is none.
    pub fn saw(mut self, service: &str, site: &str, up: bool) -> Result<Report, BadId> {
        self.results.push(Seen { service: service.parse()?, site: site.parse()?, up });
        Ok(self)
    }

    /// Adds what became of the control probes.
    #[must_use]
    pub fn controls(mut self, answered: bool) -> Report {
        self.controls = Some(answered);
        self
    }

    /// Whether the observer saw nothing at all, which says more about it than about the rest.
    pub fn is_blind(&self) -> bool {
        self.controls == Some(false) && !self.results.iter().any(|seen| seen.up)
    }
}

/// Why a report counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BadReport {
    /// No such observer is configured.
    #[error("no such observer is configured")]
    Stranger,
    /// It tells of a time too long ago.
    #[error("it is too old; check the link and both clocks")]
    Stale,
    /// It tells of a time to come.
    #[error("it is from the future; check both clocks")]
    Future,
    /// A later one was here already.
    #[error("a later one was here before it")]
    Replayed,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Command {
    /// Keep a service at a site, whatever is seen.
    Force(Override),
    /// Take back all overrides of a service; of all services when none is given.
    Release {
        /// The service.
        service: Option<ServiceId>,
    },
    /// Move a service once, and decide as ever from then on. This is the manual fail-back.
    Move {
        /// The service.
        service: ServiceId,
        /// Where to.
        site: SiteId,
        /// Who says so.
        who: String,
        /// Why.
        why: String,
    },
    /// Announce maintenance. One of the same name is replaced.
    Schedule(Window),
    /// Take a maintenance window back.
    Cancel(WindowId),
}
