//! `site failover`: another server serves.

use std::io::{self, Write};

use clap::Args;
use dns_failover::SiteId;
use mirror_core::write_json_line;
use serde::Serialize;

use super::{Chosen, epochs, server};
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Notes that a server serves the sites from now on, which turns the direction of their runs.
///
/// Domains are moved by `failover`; this is about the files. The other server learns of it as soon as
/// it is reached, and before anything is mirrored; a run that was begun there is refused here, or ends
/// first. Whatever was written to the other server after the last run is overwritten by the next,
/// unless the site says both-ways.
///
/// Exit code 3 when the other server could not be told yet.
#[derive(Debug, Args)]
pub struct Failover {
    #[command(flatten)]
    chosen: Chosen,
    /// Who serves: uk or us.
    #[arg(long, value_name = "SITE", value_parser = server)]
    to: SiteId,
}

#[derive(Debug, Serialize)]
struct Moved {
    name: String,
    served_by: &'static str,
    epoch: u64,
    changed: bool,
}

#[derive(Debug, Serialize)]
struct All {
    format: u32,
    outcome: Outcome,
    sites: Vec<Moved>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Failover {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be noted; a refusal when a run is at work.
    pub fn run(&self, json: bool, quiet: bool) -> Result<Outcome, Failure> {
        let setup = self.chosen.setup()?;
        let _lock = setup.lock()?;
        // It may know more. If it burns it cannot be asked, and need not.
        let _ = epochs::share(&setup);
        let mut epochs = setup.epochs()?;
        let mut sites = Vec::new();
        for site in setup.chosen() {
            let (mut epoch, active) = epochs.active(site);
            let changed = active != self.to;
            if changed {
                epoch = epochs.raise(site, self.to).map_err(Failure::failed)?;
            }
            sites.push(Moved {
                name: site.name.clone(),
                served_by: self.to.as_str(),
                epoch,
                changed,
            });
        }
        let told = epochs::share(&setup);
        let outcome = if told.is_ok() { Outcome::Done } else { Outcome::DoneWithProblems };
        let note = told.err().map(|why| {
            let other = setup.here.other();
            format!("{other} learns of it when it is reached again: {why}")
        });
        let all = All { format: 1, outcome, sites, note };
        let mut out = io::stdout().lock();
        let written = if json {
            write_json_line(&mut out, &all)
        } else if quiet {
            Ok(())
        } else {
            tell(&mut out, &all)
        };
        written.map(|()| outcome).map_err(Failure::failed)
    }
}

fn tell(out: &mut impl Write, all: &All) -> io::Result<()> {
    for Moved { name, served_by, epoch, changed } in &all.sites {
        match changed {
            true => {
                writeln!(out, "{name}  is served by {served_by} from now on (failover {epoch})")?
            }
            false => writeln!(out, "{name}  is served by {served_by} already")?,
        }
    }
    all.note.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
    out.flush()
}
