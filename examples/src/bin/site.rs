//! `site`: all web sites of a `network.toml`, each mirrored in its direction.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use examples::keys::Failure;
use examples::outcome::Outcome;
use examples::sites::{Failover, Fits, Run, Status, Units};

/// Keeps the web sites of both servers level.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done, and not everything is as it should be,
/// 4 refused before anything was changed.
#[derive(Debug, Parser)]
#[command(name = "site", version, max_term_width = 100)]
struct Arguments {
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but errors and what is not as it should be.
    #[arg(long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Run),
    Status(Status),
    Failover(Failover),
    Fits(Fits),
    Units(Units),
}

fn main() -> ExitCode {
    let Arguments { json, quiet, command } = Arguments::parse();
    let ended: Result<Outcome, Failure> = match &command {
        Command::Run(command) => command.run(json, quiet),
        Command::Status(command) => command.run(json, quiet),
        Command::Failover(command) => command.run(json, quiet),
        Command::Fits(command) => command.run(json, quiet),
        Command::Units(command) => command.run(quiet),
    };
    let outcome = ended.unwrap_or_else(|failure| {
        // `eprintln!` would panic where there is nobody to tell.
        let _ = writeln!(io::stderr(), "site: {failure}");
        failure.outcome
    });
    outcome.into()
}
