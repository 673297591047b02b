//! `site failover`: another server serves.

use std::io::{self, Write};

use clap::Args;
use dns_failover::SiteId;
use mirror_core::write_json_line;
use serde::Serialize;
use serde_json::Value;

use super::{Chosen, Epochs, Setup, epochs, server};
use crate::capped;
use crate::keys::Failure;
use crate::network::WebSite;
use crate::outcome::Outcome;

/// Notes that a server serves the sites from now on, which turns the direction of their runs.
///
/// Domains are moved by `failover`; this is about the files. The other server learns of it as soon as
/// it is reached, and before anything is mirrored; a run that is under way there asks before each site.
/// Whatever was written to the other server after the last run is overwritten by the next, unless the
/// site says both-ways.
///
/// While the other server is reached, a site only goes to where its copy is whole: the last run from
/// here was done, and since the last failover. Exit code 3 when the other server could not be told yet,
/// 4 when a run is at work or a copy is not known to be whole.
#[derive(Debug, Args)]
pub struct Failover {
    #[command(flatten)]
    chosen: Chosen,
    /// Who serves: uk or us.
    #[arg(long, value_name = "SITE", value_parser = server)]
    to: SiteId,
    /// The copy was looked at and is to serve, whatever the last run says.
    #[arg(long)]
    confirm: bool,
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
        let heard = epochs::share(&setup).is_ok();
        let mut epochs = setup.epochs()?;
        let mut sites = Vec::new();
        if heard && !self.confirm {
            setup.chosen().into_iter().try_for_each(|site| self.is_whole(&setup, &epochs, site))?;
        }
        for site in setup.chosen() {
            let (mut epoch, active) = epochs.active(site);
            // What the other one gave out before it was lost may be as high.
            let changed = active != self.to || !heard || epochs.is_torn(site);
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

impl Failover {
    /// Refuses to let a copy serve that no run has brought level since the last failover.
    fn is_whole(&self, setup: &Setup, epochs: &Epochs, site: &WebSite) -> Result<(), Failure> {
        let (epoch, active) = epochs.active(site);
        if active == self.to || epochs.is_torn(site) {
            return Ok(());
        }
        let text = capped::bytes(&setup.last(site), capped::CONFIGURATION).unwrap_or_default();
        let last: Value = serde_json::from_slice(&text).unwrap_or_default();
        let whole =
            last["outcome"] == "done" && last["from"] == active.as_str() && last["epoch"] == epoch;
        match whole {
            true => Ok(()),
            false => Err(Failure::refused(format!(
                "{}: {} is not known to have all that {active} has; nothing was done; run `site run` here first, \
                 or say --confirm if you have looked",
                site.name, self.to
            ))),
        }
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
