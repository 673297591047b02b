//! The commands of `failover`: deciding where domains point, looking, asking and ordering.

pub mod config;
pub mod order;
pub mod run;
pub mod simulate;
pub mod status;

use std::path::{Path, PathBuf};

use clap::Args;
use dns_failover::Topology;
use dns_failover::decision::{ObserverId, Policy};

use crate::keys::Failure;
use crate::network::{Network, StatusPages};
use config::{Failover, Observer};

/// A configuration with a `[failover]` section.
#[derive(Debug, Clone, Args)]
pub struct Chosen {
    /// The network.toml.
    config: PathBuf,
    /// Where the controller keeps its journal [default: what `state` in the configuration says].
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// What was read of it.
#[derive(Debug)]
pub struct Setup {
    /// Sites, name servers and domains.
    pub topology: Topology,
    /// Who looks, and how it is decided.
    pub failover: Failover,
    /// Where the controller keeps its journal.
    pub state: PathBuf,
    /// What visitors are told.
    pub status: Option<StatusPages>,
    folder: PathBuf,
}

impl Chosen {
    /// Reads it.
    ///
    /// # Errors
    /// [`Failure`] with everything that is wrong with it.
    pub fn setup(&self) -> Result<Setup, Failure> {
        let network = Network::load(&self.config).map_err(Failure::failed)?;
        let none = "there is no [failover] section; examples/network.toml shows what is in it";
        let failover = network.failover.ok_or_else(|| Failure::of(&self.config, none))?;
        let folder = self.config.parent().unwrap_or(Path::new("")).to_owned();
        let state = self.state.clone().unwrap_or_else(|| folder.join(&failover.state));
        let (topology, status) = (network.topology, network.status);
        Ok(Setup { topology, failover, state, status, folder })
    }
}

impl Setup {
    /// The rules, for the controller that stands beside an observer.
    ///
    /// # Errors
    /// [`Failure`] when they contradict one another.
    pub fn policy(&self, controller: &str) -> Result<Policy, Failure> {
        Policy::new(self.failover.policy(&self.topology, controller)?).map_err(Failure::failed)
    }

    /// The observer of this name.
    ///
    /// # Errors
    /// [`Failure`] when there is none.
    pub fn observer(&self, name: ObserverId) -> Result<&Observer, Failure> {
        let mut observers = self.failover.observers.iter();
        observers.find(|observer| observer.name == name).ok_or_else(|| {
            let names = self.failover.observers.iter().map(|observer| observer.name.as_str());
            let names: Vec<_> = names.collect();
            Failure::failed(format!("there is no observer {name}; there are {}", names.join(", ")))
        })
    }

    /// The rules as any controller has them; for looking only.
    ///
    /// # Errors
    /// [`Failure`] when they contradict one another.
    pub fn any_policy(&self) -> Result<Policy, Failure> {
        self.policy("uk")
    }
}
