//! `keys let-in`: the keys that a `network.toml` names.

use std::path::PathBuf;

use clap::Args;
use dns_failover::SiteId;

use super::authorize::Authorize;
use super::{Answer, Failure};
use crate::network::Network;
use crate::outcome::Outcome;
use crate::sites::server;

/// Lets in the keys that a network.toml names for this server, each as `keys authorize` does.
#[derive(Debug, Args)]
pub struct LetIn {
    /// The network.toml.
    config: PathBuf,
    /// Which server this is: uk or us.
    #[arg(long, value_name = "SITE", value_parser = server)]
    here: SiteId,
    /// Give keys that are there the options that the file says.
    #[arg(long)]
    replace: bool,
}

impl LetIn {
    /// Adds the keys, or says what would be changed.
    ///
    /// # Errors
    /// Those of reading the file. A key that cannot be let in keeps no other one out.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        let network = Network::load_without_keys(&self.config).map_err(Failure::failed)?;
        let mut answer = Answer::done().field("here", self.here.as_str()).field("planned", plan);
        let mut done = Vec::new();
        let mut outcomes = Vec::new();
        for key in network.keys.iter().filter(|key| key.at == self.here) {
            let one = Authorize::of(key, self.replace).run(plan).unwrap_or_else(|failure| {
                let why = failure.to_string();
                Answer::done().ends(failure.outcome).field("error", &why).line(why)
            });
            outcomes.push(one.outcome);
            answer = answer.line(one.text.trim_end());
            done.push(one.fields);
        }
        if done.is_empty() {
            answer = answer.line(format_args!("no [[keys]] are for {}: nothing to do", self.here));
        }
        let outcome = match outcomes.first() {
            None => Outcome::Done,
            Some(first) if outcomes.iter().all(|outcome| outcome == first) => *first,
            Some(_) => Outcome::DoneWithProblems,
        };
        Ok(answer.field("keys", done).ends(outcome))
    }
}
