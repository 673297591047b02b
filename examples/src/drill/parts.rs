//! The parts of the drill that are processes of their own.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use clap::Subcommand;
use mirror_core::AgentConfig;

use super::observer::Observe;
use super::{Trouble, ground, ssh, web};
use crate::agent::serve_standard_streams;
use crate::mail::Config;
use crate::mail::relay::Relay;

/// A part that the drill starts of itself.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Serve web sites.
    #[command(hide = true)]
    HostWeb {
        /// The folder with a folder for each host.
        root: PathBuf,
        /// Where to listen.
        address: SocketAddr,
    },
    /// Relay mail.
    #[command(hide = true)]
    HostRelay(Relay),
    /// Look at all sites.
    #[command(hide = true)]
    HostObserver(Observe),
    /// Serve a folder to a mirror run.
    #[command(hide = true)]
    HostAgent {
        /// The folder.
        root: PathBuf,
    },
    /// Become an sshd that ends with the drill.
    #[command(hide = true)]
    HostSshd {
        /// The program.
        program: PathBuf,
        /// Its configuration.
        config: PathBuf,
    },
    /// Remove a folder when the drill is gone.
    #[command(hide = true)]
    HostJanitor {
        /// The folder.
        folder: PathBuf,
    },
}

impl Part {
    /// Plays the part to its end.
    ///
    /// # Errors
    /// One sentence: why it cannot.
    pub fn play(self) -> Result<(), String> {
        self.serve().map_err(|trouble| trouble.0)
    }

    fn serve(self) -> Result<(), Trouble> {
        match self {
            Part::HostWeb { root, address } => {
                ground::tether();
                let listener = TcpListener::bind(address);
                let failed = |error| Trouble::new(format!("cannot listen at {address}: {error}"));
                let listener = listener.map_err(failed)?;
                ground::say_ready();
                web::serve(&root, &listener);
                Ok(())
            }
            Part::HostRelay(relay) => {
                ground::tether();
                let config = relay.config.clone().unwrap_or_default();
                let config = Config::read(&config);
                let done = config.and_then(|config| relay.run(&config));
                done.map_err(|failure| Trouble::new(failure.sentence))
            }
            Part::HostObserver(observe) => {
                ground::tether();
                observe.run()
            }
            Part::HostAgent { root } => {
                // Its standard input is the connection, and ends with it.
                ground::obey_parent();
                serve_standard_streams(&AgentConfig::new(root)).map_err(Trouble::new)
            }
            Part::HostSshd { program, config } => Err(ssh::become_server(&program, &config)),
            Part::HostJanitor { folder } => {
                ground::keep_house(&folder);
                Ok(())
            }
        }
    }
}
