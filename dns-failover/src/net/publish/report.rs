//! How it went, zone by zone and server by server.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Job;
use crate::epoch::{Active, EpochRecord};
use crate::name::Name;
use crate::serial::Serial;
use crate::topology::Topology;
use crate::wire::Trouble;

/// What came of a zone on one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
#[non_exhaustive]
pub enum Outcome {
    /// It was brought there, and is served.
    Applied,
    /// It was there already.
    AlreadyThere,
    /// The server answers, and does not do it.
    Refused {
        /// Why.
        trouble: Trouble,
    },
    /// The server could not be asked, or its answers cannot be used.
    Unreachable {
        /// Why.
        trouble: Trouble,
    },
    /// The server serves something else.
    Diverged {
        /// The epoch that it is at, if it is at one.
        found: Option<EpochRecord>,
        /// The serial that it serves.
        serial: Option<Serial>,
    },
}

impl Outcome {
    pub(super) fn of(trouble: Trouble) -> Outcome {
        match trouble {
            Trouble::Unreachable { .. }
            | Trouble::Truncated { .. }
            | Trouble::Rubbish { .. }
            | Trouble::Unsigned { .. }
            | Trouble::Forged { .. } => Outcome::Unreachable { trouble },
            _ => Outcome::Refused { trouble },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Applied => f.write_str("applied"),
            Outcome::AlreadyThere => f.write_str("already there"),
            Outcome::Refused { trouble } | Outcome::Unreachable { trouble } => {
                write!(f, "{trouble}")
            }
            Outcome::Diverged { found: Some(found), .. } => {
                write!(f, "serves another epoch: {found}")
            }
            Outcome::Diverged { serial: Some(serial), .. } => {
                write!(f, "serves something that is not ours, serial {serial}")
            }
            Outcome::Diverged { .. } => f.write_str("does not serve the zone"),
        }
    }
}

/// What came of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneReport {
    /// Where it was to point; none when nothing was to be changed.
    pub wanted: Option<Active>,
    /// The epoch that the servers were brought to.
    pub epoch: Option<EpochRecord>,
    /// The epoch of the other controller that ours gave way to. It is the one above, unless that one
    /// was passed in turn.
    pub superseded: Option<EpochRecord>,
    /// What came of it on each server.
    pub servers: BTreeMap<Name, Outcome>,
}

impl ZoneReport {
    /// Whether all servers serve the same.
    pub fn is_level(&self) -> bool {
        let level = |outcome: &Outcome| matches!(outcome, Outcome::Applied | Outcome::AlreadyThere);
        self.servers.values().all(level)
    }
}

/// What came of publishing or verifying.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use]
pub struct Report {
    /// The version of this form: 1.
    pub format: u32,
    /// By zone.
    pub zones: BTreeMap<Name, ZoneReport>,
}

impl Report {
    /// Whether all servers serve the same of every zone.
    pub fn is_level(&self) -> bool {
        self.zones.values().all(ZoneReport::is_level)
    }

    /// Whether every zone points to where it was to point, on all servers.
    pub fn is_done(&self) -> bool {
        self.is_level() && self.zones.values().all(|zone| zone.superseded.is_none())
    }
}

/// A line for each server with the number of zones it has, and one for each zone that it has not.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut servers: BTreeMap<&Name, Vec<(&Name, &Outcome)>> = BTreeMap::new();
        for (zone, report) in &self.zones {
            for (server, outcome) in &report.servers {
                servers.entry(server).or_default().push((zone, outcome));
            }
        }
        for (server, outcomes) in servers {
            let applied =
                outcomes.iter().filter(|(_, outcome)| **outcome == Outcome::Applied).count();
            let there =
                outcomes.iter().filter(|(_, outcome)| **outcome == Outcome::AlreadyThere).count();
            writeln!(
                f,
                "{server} {applied} applied, {there} already there, of {}",
                outcomes.len()
            )?;
            let mut same: BTreeMap<String, Vec<&Name>> = BTreeMap::new();
            for (zone, outcome) in outcomes {
                if !matches!(outcome, Outcome::Applied | Outcome::AlreadyThere) {
                    same.entry(outcome.to_string()).or_default().push(zone);
                }
            }
            // A server that is down is one trouble, not a thousand.
            for (what, zones) in same {
                match zones.as_slice() {
                    [zone] => writeln!(f, "  {zone} {what}")?,
                    [first, ..] => {
                        writeln!(f, "  {} zones, {first} among them: {what}", zones.len())?
                    }
                    [] => {}
                }
            }
        }
        for (zone, report) in &self.zones {
            if let Some(by) = report.superseded {
                writeln!(f, "{zone} gave way to a higher epoch: {by}")?;
            }
        }
        Ok(())
    }
}

pub(super) fn of(topology: &Topology, jobs: Vec<Job>) -> Report {
    let zone = |job: Job| {
        let servers = topology.name_servers().iter().zip(job.servers);
        let outcome =
            |(server, progress): (&crate::topology::NameServer, Option<super::Progress>)| {
                let never = Trouble::Unreachable { why: "it was never asked".into() };
                let outcome = progress?.outcome.unwrap_or(Outcome::Unreachable { trouble: never });
                Some((server.name.clone(), outcome))
            };
        let report = ZoneReport {
            wanted: job.wish,
            epoch: job.goal.map(|goal| goal.record),
            superseded: job.superseded,
            servers: servers.filter_map(outcome).collect(),
        };
        (job.name, report)
    };
    Report { format: 1, zones: jobs.into_iter().map(zone).collect() }
}
