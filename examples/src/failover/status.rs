//! `failover status`: what the controller here knows and has decided, and why.

use std::io::Write;

use clap::Args;
use dns_failover::daemon::{Views, now};
use dns_failover::decision::Millis;
use dns_failover::journal::JournalDir;
use mirror_core::write_json_line;
use serde_json::json;

use super::Chosen;
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Says where domains point, why, and what is known; exit code 3 when something is not as it should be.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    chosen: Chosen,
}

/// A controller that says nothing for so long does not run.
const STALE: Millis = Millis::from_secs(15);

impl Status {
    /// Prints it.
    ///
    /// # Errors
    /// [`Failure`] when there is no state.
    pub fn run(
        &self,
        quiet: bool,
        as_json: bool,
        out: &mut impl Write,
    ) -> Result<Outcome, Failure> {
        let setup = self.chosen.look()?;
        let policy = setup.any_policy()?;
        let state = JournalDir::peek(&setup.state, &policy).map_err(Failure::failed)?;
        let none = "there is no state yet; failover run makes it";
        let state = state.ok_or_else(|| Failure::of(&setup.state, none))?;
        let age = now().since(state.clock());
        let views = Views::of(&setup.state).all();
        let settled = state
            .services()
            .iter()
            .all(|service| matches!(service.stay, dns_failover::decision::Stay::Settled));
        let well = settled && age < STALE && (state.is_published() || state.epoch().number == 0);
        let outcome = if well { Outcome::Done } else { Outcome::DoneWithProblems };
        if as_json {
            let object = json!({
                "format": 1, "command": "status", "outcome": outcome, "mode": policy.mode(),
                "age_ms": age.get(), "state": state, "peers": views,
            });
            write_json_line(out, &object).map_err(Failure::failed)?;
            return Ok(outcome);
        }
        if quiet && well {
            return Ok(outcome);
        }
        let mut text = format!("mode: {}\n", policy.mode());
        if age >= STALE {
            text += &format!("the controller has written nothing for {age}; does it run?\n");
        }
        for service in state.services() {
            text.extend(policy.explain(&state, service.id).map(|why| why + "\n"));
        }
        let everywhere =
            if state.is_published() { "on all name servers" } else { "not everywhere yet" };
        text += &format!("decision {}: {everywhere}\n", state.epoch());
        for observer in state.observers() {
            let how = match (observer.silent, observer.blind) {
                (true, _) => "nothing is heard of it",
                (false, true) => "it sees nothing at all",
                (false, false) => "it is heard and sees",
            };
            text += &format!("observer {}: {how}\n", observer.id);
        }
        for window in state.windows() {
            let (starts, ends) = (window.starts, window.ends);
            text += &format!("maintenance {} of {}: {starts} to {ends}\n", window.id, window.site);
        }
        for order in state.overrides() {
            text += &format!(
                "override to {} until {} by {:?}: {:?}\n",
                order.site, order.until, order.who, order.why
            );
        }
        for view in views {
            let age = now().since(view.at);
            text += &format!(
                "controller {}: decision {}, told {age} ago\n",
                view.controller, view.epoch
            );
        }
        out.write_all(text.as_bytes()).map_err(Failure::failed)?;
        Ok(outcome)
    }
}
