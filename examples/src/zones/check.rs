//! `zones check`: everything that is wrong with zone files.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use dns_failover::{Diagnostic, KnownHosts, Name, Place, check, locate};
use mirror_core::write_json_line;
use serde_json::json;

use super::{read, tell};
use crate::keys::Failure;
use crate::network::Network;
use crate::outcome::Outcome;

/// Checks zone files, and what they say, by every rule that needs no network.
///
/// Findings are printed as `FILE:LINE:COLUMN: SEVERITY[ID]: message`.
#[derive(Debug, Args)]
pub struct Check {
    /// The zone, and what names in the files are relative to [default: the owner of the SOA record].
    #[arg(long, value_name = "NAME")]
    origin: Option<Name>,
    /// The zone files; a network.toml stands for all its domains, in every state of failover.
    #[arg(required = true, value_name = "FILE|CONFIG")]
    files: Vec<PathBuf>,
}

impl Check {
    /// Prints the findings to `out`.
    ///
    /// # Errors
    /// [`Failure`] when a file cannot be read at all, or nobody takes what is printed.
    pub fn run(
        &self,
        quiet: bool,
        as_json: bool,
        out: &mut impl Write,
    ) -> Result<Outcome, Failure> {
        let mut findings: Vec<Diagnostic> = Vec::new();
        for file in &self.files {
            if file.extension().is_some_and(|extension| extension == "toml") {
                let network = Network::load(file).map_err(Failure::failed)?;
                findings.extend(of_network(&network, file));
                continue;
            }
            let reading = read(file, self.origin.as_ref())?;
            let mut of_zone = check(&reading.zone, &KnownHosts::new());
            locate(&mut of_zone, &reading.zone, &reading.places);
            findings.extend(reading.diagnostics);
            findings.extend(of_zone);
        }
        let bad = findings.iter().any(Diagnostic::is_error);
        let outcome = if bad { Outcome::DoneWithProblems } else { Outcome::Done };
        if quiet {
            findings.retain(Diagnostic::is_error);
        }
        if as_json {
            let object =
                json!({"format": 1, "command": "check", "outcome": outcome, "findings": findings});
            write_json_line(out, &object).map_err(Failure::failed)?;
        } else {
            tell(&findings, out).map_err(Failure::failed)?;
        }
        Ok(outcome)
    }
}

/// What is wrong with the domains of a configuration, each told at the domain's line.
pub(super) fn of_network(network: &Network, file: &Path) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (name, domain) in network.topology.domains() {
        let line = network.domain_lines.get(name).copied().unwrap_or_default();
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        let place = Place::new(file, line, 1);
        let of_domain = network.topology.check(domain).into_iter();
        findings.extend(of_domain.map(|mut finding| {
            finding.place = Some(place.clone());
            finding
        }));
    }
    findings
}
