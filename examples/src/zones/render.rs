//! `zones render`: what each name server reads.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use dns_failover::{Active, Diagnostic, Epoch, EpochRecord, Name, SiteId, ZoneTexts, render};
use mirror_core::write_json_line;
use serde_json::json;

use super::check::of_network;
use super::fleet::{Chosen, now};
use super::tell;
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Writes for every name server a folder with its configuration, its keys and the zones that it starts
/// with.
///
/// Each folder goes to its server as it is. Zones that a server keeps itself are written only where there
/// are none, so that rendering again never takes back what was published.
///
/// Exit code 3: it is written, and a zone is wrong, so that servers may refuse it.
#[derive(Debug, Args)]
pub struct Render {
    #[command(flatten)]
    chosen: Chosen,
    /// Where to write: a folder with one folder for each server.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only for this name server, or these.
    #[arg(long, value_name = "NAME")]
    server: Vec<Name>,
    /// The number of the first epoch, from which first serials are made [default: from the clock].
    #[arg(long, value_name = "NUMBER")]
    epoch: Option<u64>,
}

impl Render {
    /// Writes the folders, and says what became of them.
    ///
    /// # Errors
    /// [`Failure`] when the configuration is bad or a file cannot be written.
    pub fn run(
        &self,
        quiet: bool,
        as_json: bool,
        out: &mut impl Write,
    ) -> Result<Outcome, Failure> {
        let network = self.chosen.network()?;
        let mut errors = of_network(&network, &self.chosen.config);
        errors.retain(Diagnostic::is_error);
        // Where nobody listens, the exit code still says it.
        let _ = tell(&errors, &mut io::stderr().lock());
        let outcome = if errors.is_empty() { Outcome::Done } else { Outcome::DoneWithProblems };
        let topology = network.topology;
        if let Some(name) = self.server.iter().find(|name| topology.server_index(name).is_none()) {
            return Err(Failure::failed(format!("there is no name server {name}")));
        }
        let epoch = match self.epoch {
            Some(number) => Epoch::new(number, SiteId::Uk),
            None => Epoch::starting(now(), SiteId::Uk),
        };
        let record = |site| EpochRecord { epoch, active: Active::One(site) };
        let domains = topology.domains().values();
        let zones = domains.map(|domain| topology.zone(domain, record(domain.primary)));
        let zones: Vec<_> = zones.chain([topology.catalog_zone(record(SiteId::Uk))]).collect();
        let texts = ZoneTexts::print(&zones);
        let mut servers = Vec::new();
        for (index, server) in topology.name_servers().iter().enumerate() {
            if !self.server.is_empty() && !self.server.contains(&server.name) {
                continue;
            }
            let Some(rendered) = render(&topology, index, &texts) else { continue };
            let name = server.name.to_string();
            let folder = self.out.join(name.trim_end_matches('.'));
            let written = rendered.write(&folder).map_err(Failure::failed)?;
            if !quiet && !as_json {
                let (changed, kept) = (written.changed, written.kept);
                let software = server.software.as_str();
                let folder = folder.display();
                writeln!(out, "{folder}: {software}, {changed} files written, {kept} kept")
                    .map_err(Failure::failed)?;
            }
            servers.push(json!({
                "server": name, "software": server.software.as_str(), "folder": folder,
                "written": written.changed, "kept": written.kept,
            }));
        }
        if as_json {
            let object = json!({
                "format": 1, "command": "render", "outcome": outcome, "servers": servers,
            });
            write_json_line(out, &object).map_err(Failure::failed)?;
        }
        Ok(outcome)
    }
}
