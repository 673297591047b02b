//! `site status`: who serves what, and how old the copies are.

use std::fs;
use std::io::{self, Write};

use clap::Args;
use dns_failover::decision::Timestamp;
use mirror_core::write_json_line;
use serde::{Deserialize, Serialize};

use super::Chosen;
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Says of every site who serves it, and when it was last mirrored.
///
/// Exit code 3 when a copy is older than two runs should let it be, or the last run was not well.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    chosen: Chosen,
}

/// Of what a run left behind about a site, that which is told.
#[derive(Debug, Serialize, Deserialize)]
struct Last {
    at: i64,
    /// When the copy was last brought.
    #[serde(default)]
    good: Option<i64>,
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Told {
    name: String,
    served_by: &'static str,
    primary: &'static str,
    epoch: u64,
    /// How old the copy is, in seconds; none where there is none.
    age: Option<i64>,
    last: Option<Last>,
    overdue: bool,
}

#[derive(Debug, Serialize)]
struct All {
    format: u32,
    outcome: Outcome,
    sites: Vec<Told>,
}

impl Status {
    /// Looks.
    ///
    /// # Errors
    /// [`Failure`] when something cannot be read.
    pub fn run(&self, json: bool, quiet: bool) -> Result<Outcome, Failure> {
        let setup = self.chosen.setup()?;
        let epochs = setup.epochs()?;
        let now = dns_failover::daemon::now().since(Timestamp::from_millis(0));
        let now = i64::try_from(now.get() / 1000).unwrap_or_default();
        let most = i64::try_from(setup.sites.every.saturating_mul(2)).unwrap_or(i64::MAX);
        let mut sites = Vec::new();
        for site in setup.chosen() {
            let path = setup.last(site);
            let last: Option<Last> = match fs::read(&path) {
                Ok(text) => {
                    let read = serde_json::from_slice(&text);
                    Some(read.map_err(|error| Failure::of(&path, error))?)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(Failure::of(&path, error)),
            };
            let age = last.as_ref().and_then(|last| Some(now.saturating_sub(last.good?)));
            let (epoch, active) = epochs.active(site);
            sites.push(Told {
                name: site.name.clone(),
                served_by: active.as_str(),
                primary: site.primary.as_str(),
                epoch,
                overdue: age.is_none_or(|age| age > most),
                age,
                last,
            });
        }
        let well = |told: &Told| {
            !told.overdue && told.last.as_ref().is_some_and(|last| last.outcome == "done")
        };
        let all_well = sites.iter().all(well);
        let outcome = if all_well { Outcome::Done } else { Outcome::DoneWithProblems };
        let all = All { format: 1, outcome, sites };
        let mut out = io::stdout().lock();
        if json {
            write_json_line(&mut out, &all).map_err(Failure::failed)?;
            return Ok(outcome);
        }
        for told in all.sites.iter().filter(|told| !quiet || !well(told)) {
            tell(&mut out, told).map_err(Failure::failed)?;
        }
        Ok(outcome)
    }
}

fn tell(out: &mut impl Write, told: &Told) -> io::Result<()> {
    write!(out, "{}  served by {}", told.name, told.served_by)?;
    if told.served_by != told.primary {
        write!(out, " in place of {} (failover {})", told.primary, told.epoch)?;
    }
    match told.age {
        Some(age) => write!(out, "; its copy is {} old", span(age))?,
        None => write!(out, "; never mirrored from this machine")?,
    }
    if let Some(last) = &told.last {
        write!(out, "; last run: {}", last.outcome)?;
        if let Some(error) = &last.error {
            write!(out, ": {error}")?;
        }
    }
    if told.overdue && told.age.is_some() {
        write!(out, "; overdue")?;
    }
    writeln!(out)
}

/// Seconds for people.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
