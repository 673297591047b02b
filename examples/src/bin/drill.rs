//! `drill`: burns a server down on this machine, and shows what is lost.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use examples::drill::{Options, Outcome, Part, run};
use mirror_core::write_json_line;

/// Plays a small provider with two servers on this machine, burns one of them down, and shows what was
/// lost and how long it took. Needs no root, no network and no installed server.
///
/// Exit codes: 0 every promise held, 1 not all, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    part: Option<Part>,
}

fn main() -> ExitCode {
    let Arguments { options, part } = Arguments::parse();
    if let Some(part) = part {
        return match part.play() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let report = run(&options);
    let mut out = io::stdout().lock();
    let told = match (options.json, options.quiet) {
        (true, _) => write_json_line(&mut out, &report),
        (false, false) => write!(out, "{report}").and_then(|()| out.flush()),
        (false, true) => Ok(()),
    };
    for error in report.errors.iter().filter(|_| options.quiet || options.json) {
        eprintln!("drill: {error}");
    }
    match (report.outcome, told) {
        (Outcome::Held, Ok(())) => ExitCode::SUCCESS,
        (Outcome::Failed, _) | (Outcome::Held, Err(_)) => ExitCode::FAILURE,
    }
}
