//! What `render`, `plan`, `publish` and `verify` share: a configuration, some of its domains, and how
//! reports are told.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use dns_failover::{Active, Name, Patience, Report, SiteId, Tcp, Topology};
use mirror_core::write_json_line;
use serde_json::json;

use crate::keys::Failure;
use crate::network::Network;
use crate::outcome::Outcome;

/// A configuration, and which of its domains.
#[derive(Debug, Args)]
pub struct Chosen {
    /// The network.toml.
    pub config: PathBuf,
    /// Only this domain, or these [default: all, and the catalog].
    #[arg(long, value_name = "NAME")]
    domain: Vec<Name>,
}

/// Where domains are to point.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum To {
    /// To the UK.
    Uk,
    /// To the US.
    Us,
    /// To both.
    Both,
}

impl From<To> for Active {
    fn from(to: To) -> Active {
        match to {
            To::Uk => Active::One(SiteId::Uk),
            To::Us => Active::One(SiteId::Us),
            To::Both => Active::Both,
        }
    }
}

/// In whose name zones are changed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum By {
    /// The controller in the UK, whose serials are even.
    Uk,
    /// The one in the US, whose serials are odd.
    Us,
}

impl From<By> for SiteId {
    fn from(by: By) -> SiteId {
        match by {
            By::Uk => SiteId::Uk,
            By::Us => SiteId::Us,
        }
    }
}

impl Chosen {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`Failure`] with everything that is wrong with it, or with a domain that it does not have.
    pub fn network(&self) -> Result<Network, Failure> {
        let network = Network::load(&self.config).map_err(Failure::failed)?;
        let known = |name: &&Name| network.topology.domain(name).is_some();
        match self.domain.iter().find(|name| !known(name)) {
            Some(name) => {
                let config = self.config.display();
                Err(Failure::failed(format!("{config} has no domain {name}")))
            }
            None => Ok(network),
        }
    }

    /// Sites, name servers and domains of the configuration.
    ///
    /// # Errors
    /// As [`network`](Chosen::network).
    pub fn topology(&self) -> Result<Topology, Failure> {
        Ok(self.network()?.topology)
    }

    /// The zones that are meant.
    pub fn zones(&self, topology: &Topology) -> Vec<Name> {
        if !self.domain.is_empty() {
            return self.domain.clone();
        }
        let catalog = topology.authority().catalog.clone();
        topology.domains().keys().cloned().chain([catalog]).collect()
    }

    /// The domains that are meant, without the catalog.
    pub fn domains<'a>(&self, topology: &'a Topology) -> Vec<&'a Name> {
        let meant = |name: &&Name| self.domain.is_empty() || self.domain.contains(name);
        topology.domains().keys().filter(meant).collect()
    }
}

/// How servers are asked.
#[derive(Debug, Clone, Copy, Args)]
pub struct Waiting {
    /// How many seconds a server may take to answer.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = clap::value_parser!(u16).range(1..))]
    timeout: u16,
}

impl Waiting {
    /// The network, as patient as asked for.
    pub fn network(self) -> Tcp {
        Tcp { timeout: Duration::from_secs(self.timeout.into()) }
    }
}

/// How long to go on with servers that lag behind.
pub fn patience(wait: u16) -> Patience {
    let standard = Patience::default();
    // A round takes the pause, and up to its time to settle when somebody lags behind.
    let rounds = u32::from(wait) * 2;
    Patience { rounds: rounds.max(standard.rounds), ..standard }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Tells a report, and how it ends a program.
///
/// # Errors
/// [`Failure`] when nobody takes what is printed.
pub fn tell(
    command: &str,
    report: &Report,
    quiet: bool,
    as_json: bool,
    out: &mut impl Write,
) -> Result<Outcome, Failure> {
    let outcome = if report.is_done() { Outcome::Done } else { Outcome::DoneWithProblems };
    if as_json {
        let object =
            json!({"format": 1, "command": command, "outcome": outcome, "zones": report.zones});
        write_json_line(out, &object).map_err(Failure::failed)?;
    } else if !quiet || outcome != Outcome::Done {
        write!(out, "{report}").map_err(Failure::failed)?;
    }
    Ok(outcome)
}
