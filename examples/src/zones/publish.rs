//! `zones plan`, `zones publish` and `zones verify`: what is served, and what is to be.

use std::io::Write;

use clap::Args;
use dns_failover::{Active, Plan, PlanGuards, Publisher, SiteId, Topology};
use mirror_core::write_json_line;
use serde_json::json;

use super::fleet::{By, Chosen, To, Waiting, patience, tell};
use crate::keys::Failure;
use crate::outcome::Outcome;

/// What is to change.
#[derive(Debug, Args)]
pub struct Change {
    #[command(flatten)]
    chosen: Chosen,
    /// Where the domains are to point [default: where they point now].
    #[arg(long, value_name = "SITE")]
    to: Option<To>,
    /// Change managed addresses and nothing else, whatever else the configuration says by now.
    #[arg(long, requires = "to")]
    failover: bool,
    #[command(flatten)]
    waiting: Waiting,
}

impl Change {
    /// Looks at what is served and works out what is to change.
    fn plan(&self, topology: &Topology) -> Plan {
        let network = self.waiting.network();
        let publisher = Publisher::new(topology, &network, SiteId::Uk, patience(0));
        let to = self.to.map(Active::from);
        if let (true, Some(to)) = (self.failover, to) {
            // Nothing is asked beforehand: a failover has no time, and the servers hold it against
            // what they have.
            let moves = self.chosen.domains(topology).into_iter().map(|name| (name, None, to));
            return Plan::failover(topology, moves);
        }
        let current = publisher.current(self.chosen.zones(topology));
        Plan::everything(topology, &current, &|name| to.filter(|_| topology.domain(name).is_some()))
    }
}

/// Shows what publishing would change, and changes nothing.
///
/// Exit code 4: a guard would refuse it.
#[derive(Debug, Args)]
pub struct PlanZones {
    #[command(flatten)]
    change: Change,
}

impl PlanZones {
    /// Prints the plan.
    ///
    /// # Errors
    /// [`Failure`] when the configuration is bad.
    pub fn run(
        &self,
        quiet: bool,
        as_json: bool,
        out: &mut impl Write,
    ) -> Result<Outcome, Failure> {
        let topology = self.change.chosen.topology()?;
        let plan = self.change.plan(&topology);
        let refused = plan.clone().approve(&PlanGuards::default()).err();
        let outcome = if refused.is_some() { Outcome::Refused } else { Outcome::Done };
        if as_json {
            let refused = refused.map(|why| why.to_string());
            let object = json!({
                "format": 1, "command": "plan", "outcome": outcome, "refused": refused,
                "zones": plan.zones,
            });
            write_json_line(out, &object).map_err(Failure::failed)?;
        } else if !quiet {
            write!(out, "{plan}").map_err(Failure::failed)?;
            let (zones, classes) = plan.counts();
            let sets: usize = classes.values().sum();
            match refused {
                _ if plan.is_empty() && refused.is_none() => writeln!(out, "nothing to do"),
                None => writeln!(out, "to do: {sets} record sets in {zones} zones"),
                Some(why) => writeln!(out, "publishing would be refused: {why}"),
            }
            .map_err(Failure::failed)?;
        }
        Ok(outcome)
    }
}

/// Brings all six name servers to what the configuration says.
///
/// A plan that would make a zone wrong, or changes much besides addresses, waits for --confirm.
///
/// Exit codes: 0 all six serve it, 3 some do not, or the other controller was faster, 4 refused by a guard.
#[derive(Debug, Args)]
pub struct Publish {
    #[command(flatten)]
    change: Change,
    /// In whose name: each controller has serials of its own.
    #[arg(long, value_name = "SITE", default_value = "uk")]
    controller: By,
    /// The plan was seen and is wanted, however much it changes.
    #[arg(long)]
    confirm: bool,
    /// For how many seconds at least to go on with servers that lag behind.
    #[arg(long, value_name = "SECONDS", default_value = "0")]
    wait: u16,
}

impl Publish {
    /// Publishes, and tells what came of it on each server.
    ///
    /// # Errors
    /// [`Failure`] when the configuration is bad or a guard refuses.
    pub fn run(
        &self,
        quiet: bool,
        as_json: bool,
        out: &mut impl Write,
    ) -> Result<Outcome, Failure> {
        let topology = self.change.chosen.topology()?;
        let plan = self.change.plan(&topology);
        let guards = PlanGuards::default().confirmed(self.confirm);
        let approved = match plan.approve(&guards) {
            Ok(approved) => approved,
            Err(why) => {
                return Err(Failure::refused(why));
            }
        };
        let network = self.change.waiting.network();
        let publisher =
            Publisher::new(&topology, &network, self.controller.into(), patience(self.wait));
        let report = publisher.publish(&approved);
        tell("publish", &report, quiet, as_json, out)
    }
}

/// Looks whether all six name servers serve the same, and changes nothing.
#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    waiting: Waiting,
}

impl Verify {
    /// Verifies, and tells what was found on each server.
    ///
    /// # Errors
    /// [`Failure`] when the configuration is bad.
    pub fn run(
        &self,
        quiet: bool,
        as_json: bool,
        out: &mut impl Write,
    ) -> Result<Outcome, Failure> {
        let topology = self.chosen.topology()?;
        let network = self.waiting.network();
        let publisher = Publisher::new(&topology, &network, SiteId::Uk, patience(0));
        let report = publisher.verify(self.chosen.zones(&topology));
        tell("verify", &report, quiet, as_json, out)
    }
}
