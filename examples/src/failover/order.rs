//! `failover drain|force|release|move`: orders to the controller that runs here.

use std::io::Write;
use std::thread;
use std::time::Duration;

use clap::Args;
use dns_failover::daemon::{Orders, now};
use dns_failover::decision::{Command, Millis, Override, ServiceId, SiteId, Window, WindowId};

use super::Chosen;
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Empties a site for a while, as for maintenance that begins now.
#[derive(Debug, Args)]
pub struct Drain {
    #[command(flatten)]
    chosen: Chosen,
    /// Which site.
    #[arg(long, value_name = "SITE")]
    site: SiteId,
    /// For how long: 2h.
    #[arg(long = "for", value_name = "TIME")]
    long: Millis,
    /// What is done, for the status page.
    #[arg(long, value_name = "TEXT", default_value = "maintenance")]
    title: String,
}

/// Keeps domains at a site for a while, whatever is seen.
#[derive(Debug, Args)]
pub struct Force {
    #[command(flatten)]
    chosen: Chosen,
    /// Which site.
    #[arg(long, value_name = "SITE")]
    site: SiteId,
    /// For how long: 2h.
    #[arg(long = "for", value_name = "TIME")]
    long: Millis,
    /// Only the domains of this service: web-uk are those at home in the UK [default: all].
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceId>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who says so.
    #[arg(long, value_name = "NAME")]
    who: String,
}

/// Ends overrides, or the drain of a site, and decides as ever again.
#[derive(Debug, Args)]
pub struct Release {
    #[command(flatten)]
    chosen: Chosen,
    /// Only those of this service [default: all].
    #[arg(long, value_name = "SERVICE")]
    service: Option<ServiceId>,
    /// The drain of this site, before its time is over; overrides stay.
    #[arg(long, value_name = "SITE", conflicts_with = "service")]
    drain: Option<SiteId>,
}

/// Moves domains once, as after a repair: the fail-back by hand. Refused where the site is down.
#[derive(Debug, Args)]
pub struct Move {
    #[command(flatten)]
    chosen: Chosen,
    /// Which domains: web-uk are those at home in the UK.
    #[arg(long, value_name = "SERVICE")]
    service: ServiceId,
    /// Where to.
    #[arg(long, value_name = "SITE")]
    site: SiteId,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who says so.
    #[arg(long, value_name = "NAME")]
    who: String,
}

/// How long the controller may take to answer.
const PATIENCE: Millis = Millis::from_secs(10);

fn give(chosen: &Chosen, command: &Command, out: &mut impl Write) -> Result<Outcome, Failure> {
    let setup = chosen.look()?;
    let orders = Orders::of(&setup.state);
    let order = orders.give(command, now()).map_err(Failure::failed)?;
    let start = now();
    loop {
        if let Some(answer) = orders.answer(&order) {
            let refused = answer.starts_with("refused: ");
            out.write_all(answer.as_bytes()).map_err(Failure::failed)?;
            return Ok(if refused { Outcome::Refused } else { Outcome::Done });
        }
        if now().since(start) > PATIENCE && orders.take_back(&order) {
            let state = setup.state.display();
            return Err(Failure::failed(format!(
                "no controller took the order within {PATIENCE}, and it was taken back; does one run \
                 here with its state in {state}?"
            )));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// The name of the window that a drain is.
fn drain_of(site: SiteId) -> Result<WindowId, Failure> {
    format!("drain-{site}").parse().map_err(Failure::failed)
}

impl Drain {
    /// Gives the order.
    ///
    /// # Errors
    /// [`Failure`] when nobody takes it.
    pub fn run(&self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let id = drain_of(self.site)?;
        let (starts, title) = (now(), self.title.clone());
        let window = Window { id, site: self.site, starts, ends: starts + self.long, title };
        give(&self.chosen, &Command::Schedule(window), out)
    }
}

impl Force {
    /// Gives the order.
    ///
    /// # Errors
    /// [`Failure`] when nobody takes it.
    pub fn run(&self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let order = Override {
            service: self.service,
            site: self.site,
            until: now() + self.long,
            who: self.who.clone(),
            why: self.why.clone(),
        };
        give(&self.chosen, &Command::Force(order), out)
    }
}

impl Release {
    /// Gives the order.
    ///
    /// # Errors
    /// [`Failure`] when nobody takes it.
    pub fn run(&self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let command = match self.drain {
            Some(site) => Command::Cancel(drain_of(site)?),
            None => Command::Release { service: self.service },
        };
        give(&self.chosen, &command, out)
    }
}

impl Move {
    /// Gives the order.
    ///
    /// # Errors
    /// [`Failure`] when nobody takes it.
    pub fn run(&self, out: &mut impl Write) -> Result<Outcome, Failure> {
        let Move { service, site, who, why, .. } = self;
        let command =
            Command::Move { service: *service, site: *site, who: who.clone(), why: why.clone() };
        give(&self.chosen, &command, out)
    }
}
