//! `dual-mail`: every message to both servers.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use dns_failover::SiteId;
use examples::mail::probe::Probe;
use examples::mail::queue::{Queue, Told};
use examples::mail::relay::Relay;
use examples::mail::send::Send;
use examples::mail::{Config, Failure};
use examples::sites::server;
use mirror_core::write_json_line;

/// Every message to both servers.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done with some recipients
/// refused or some legs out of use, 75 not now.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    /// The configuration; see examples/dual-mail.toml. A network.toml will do, with --here.
    #[arg(long, global = true, default_value = "/etc/dual-mail.toml")]
    config: PathBuf,
    /// Which server this is, for a network.toml: uk or us.
    #[arg(long, global = true, value_name = "SITE", value_parser = server)]
    here: Option<SiteId>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Relay(Relay),
    Send(Send),
    /// Look at the queue and change it.
    #[command(subcommand)]
    Queue(Queue),
    Probe(Probe),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("dual-mail: {}", failure.sentence);
            ExitCode::from(failure.code)
        }
    }
}

fn run(arguments: &Arguments) -> Result<u8, Failure> {
    let path = match &arguments.command {
        Command::Relay(Relay { config: Some(path), .. }) => path,
        _ => &arguments.config,
    };
    let config = Config::read_at(path, arguments.here)?;
    let (told, code) = match &arguments.command {
        Command::Relay(relay) => return relay.run(&config).map(|()| 0),
        Command::Send(send) => return send.run(&config).map(|()| 0),
        Command::Queue(queue) => (queue.run(&config)?, 0),
        Command::Probe(probe) => {
            let (told, all) = probe.run(&config)?;
            (told, if all { 0 } else { 3 })
        }
    };
    // Whoever read our output has gone; there is nobody left to tell.
    tell(arguments.json, &told).map(|()| code).or(Ok(1))
}

fn tell(json: bool, told: &Told) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return write_json_line(&mut out, &told.json);
    }
    out.write_all(told.text.as_bytes())?;
    out.flush()
}
