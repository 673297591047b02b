//! `keys`: SSH keys made, authorised, checked, revoked and certified.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use examples::keys::{Answer, Failure};
use examples::keys::{audit, authorize, certify, generate, known_hosts, let_in, revoke, sshfp};
use examples::outcome::Outcome;
use mirror_core::write_json_line;

/// SSH keys made, authorised, checked, revoked and certified.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done, and something is not as it should be,
/// 4 refused before anything was changed.
#[derive(Debug, Parser)]
#[command(name = "keys", version, max_term_width = 100)]
struct Arguments {
    /// Show what would be done; change nothing.
    #[arg(long, global = true)]
    plan: bool,
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
    Generate(generate::Generate),
    Authorize(authorize::Authorize),
    LetIn(let_in::LetIn),
    Audit(audit::Audit),
    Revoke(revoke::Revoke),
    KnownHosts(known_hosts::KnownHosts),
    Sshfp(sshfp::PrintSshfp),
    Certify(certify::Certify),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Command::Generate(_) => "generate",
            Command::Authorize(_) => "authorize",
            Command::LetIn(_) => "let-in",
            Command::Audit(_) => "audit",
            Command::Revoke(_) => "revoke",
            Command::KnownHosts(_) => "known-hosts",
            Command::Sshfp(_) => "sshfp",
            Command::Certify(_) => "certify",
        }
    }

    fn run(&self, plan: bool) -> Result<Answer, Failure> {
        match self {
            Command::Generate(command) => command.run(plan),
            Command::Authorize(command) => command.run(plan),
            Command::LetIn(command) => command.run(plan),
            Command::Audit(command) => command.run(plan),
            Command::Revoke(command) => command.run(plan),
            Command::KnownHosts(command) => command.run(plan),
            Command::Sshfp(command) => command.run(plan),
            Command::Certify(command) => command.run(plan),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let answer = arguments.command.run(arguments.plan).unwrap_or_else(|failure| {
        eprintln!("keys: {failure}");
        Answer::done().ends(failure.outcome).field("error", failure.to_string())
    });
    match tell(&arguments, &answer) {
        Ok(()) => answer.outcome.into(),
        // Whoever read our output has gone; there is nobody left to tell.
        Err(_) => Outcome::Failed.into(),
    }
}

fn tell(arguments: &Arguments, answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if arguments.json {
        return write_json_line(&mut out, &answer.json(arguments.command.name()));
    }
    if !arguments.quiet || answer.outcome == Outcome::DoneWithProblems {
        out.write_all(answer.text().as_bytes())?;
    }
    out.flush()
}
