//! `failover`: the controller and its observers.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use examples::failover::{order, run, simulate, status};
use examples::keys::Failure;
use examples::outcome::Outcome;

/// Decides from several places where domains point, and says why.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done, and something is not as it should be,
/// 4 the order was refused.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Print nothing but errors and what was asked for.
    #[arg(long, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Observe(run::Observe),
    Status(status::Status),
    Drain(order::Drain),
    Force(order::Force),
    Release(order::Release),
    Move(order::Move),
    Simulate(simulate::Simulate),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout();
    let outcome = answer(&arguments, &mut out).unwrap_or_else(|failure| {
        // `eprintln!` would panic where there is nobody to tell.
        let _ = writeln!(io::stderr(), "failover: {failure}");
        failure.outcome
    });
    outcome.into()
}

fn answer(arguments: &Arguments, out: &mut impl Write) -> Result<Outcome, Failure> {
    let (quiet, json) = (arguments.quiet, arguments.json);
    match &arguments.command {
        Command::Run(command) => command.run(quiet, json),
        Command::Observe(command) => command.run(quiet),
        Command::Status(command) => command.run(quiet, json, out),
        Command::Drain(command) => command.run(out),
        Command::Force(command) => command.run(out),
        Command::Release(command) => command.run(out),
        Command::Move(command) => command.run(out),
        Command::Simulate(command) => command.run(quiet, json, out),
    }
}
