//! `zones`: the DNS side, from zone files to name servers.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use examples::keys::Failure;
use examples::outcome::Outcome;
use examples::zones::{check, print, publish, render};

/// Zone files printed and checked; name servers configured, changed and verified.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done, and something is wrong with a zone
/// or a name server, 4 refused by a guard.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// Print one JSON object.
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
    Print(print::Print),
    Check(check::Check),
    Render(render::Render),
    Plan(publish::PlanZones),
    Publish(publish::Publish),
    Verify(publish::Verify),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let ended = run(&arguments, &mut out).and_then(|outcome| {
        out.flush().map_err(Failure::failed)?;
        Ok(outcome)
    });
    let outcome = ended.unwrap_or_else(|failure| {
        // `eprintln!` would panic where there is nobody to tell.
        let _ = writeln!(io::stderr(), "zones: {failure}");
        failure.outcome
    });
    outcome.into()
}

fn run(arguments: &Arguments, out: &mut impl Write) -> Result<Outcome, Failure> {
    match &arguments.command {
        Command::Print(command) => command.run(arguments.quiet, out),
        Command::Check(command) => command.run(arguments.quiet, arguments.json, out),
        Command::Render(command) => command.run(arguments.quiet, arguments.json, out),
        Command::Plan(command) => command.run(arguments.quiet, arguments.json, out),
        Command::Publish(command) => command.run(arguments.quiet, arguments.json, out),
        Command::Verify(command) => command.run(arguments.quiet, arguments.json, out),
    }
}
