//! `mirror-agent --root DIR`: serves a tree to `mirror` on another machine, over standard input and
//! output.
//!
//! As `command="mirror-agent --root /srv/www",restrict` in authorized_keys it is all that a key
//! can do.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use mirror_core::{AgentConfig, Limits, Transport, serve};

/// Serves the tree in DIR to a `mirror` that speaks to standard input and output.
///
/// Nothing outside of DIR is read or written, whatever the other side asks for. Exit codes: 0 the
/// other side took its leave, 1 it did not, 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "mirror-agent", version, max_term_width = 100)]
struct Arguments {
    /// The folder that is served.
    #[arg(long, value_name = "DIR")]
    root: PathBuf,
    /// Let nothing be changed.
    #[arg(long)]
    read_only: bool,
    /// What others may bring: `hosted` leaves out setuid, devices, owners and escaping links.
    #[arg(long, value_enum, default_value = "archive")]
    fidelity: Fidelity,
    /// Carry out at most so many steps in one run, each of which takes about 100 bytes of memory.
    #[arg(long, value_name = "N", default_value_t = Limits::default().steps)]
    max_steps: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fidelity {
    Archive,
    Hosted,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = AgentConfig::new(arguments.root).read_only(arguments.read_only).fidelity(
        match arguments.fidelity {
            Fidelity::Archive => mirror_core::Fidelity::Archive,
            Fidelity::Hosted => mirror_core::Fidelity::Hosted,
        },
    );
    let config = config.limits(Limits { steps: arguments.max_steps, ..Limits::default() });
    // Without the buffers that standard input and output have.
    let unbuffered = |stream: io::Result<std::os::fd::OwnedFd>| stream.map(File::from);
    let streams = unbuffered(io::stdin().as_fd().try_clone_to_owned())
        .and_then(|input| Ok((input, unbuffered(io::stdout().as_fd().try_clone_to_owned())?)));
    let served = match streams {
        Ok((input, output)) => {
            serve(Transport::new(input, output, ()), &config).map_err(|error| error.to_string())
        }
        Err(error) => Err(format!("cannot use standard input and output: {error}")),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mirror-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
