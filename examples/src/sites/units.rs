//! `site units`: what systemd needs to run it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Chosen, Setup, put};
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Prints a systemd service and its timer, as often as `every` says.
#[derive(Debug, Args)]
pub struct Units {
    #[command(flatten)]
    chosen: Chosen,
    /// Write site.service and site.timer there, as in /etc/systemd/system.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Units {
    /// Prints or writes them.
    ///
    /// # Errors
    /// [`Failure`] when the configuration is bad, or they cannot be written.
    pub fn run(&self, quiet: bool) -> Result<Outcome, Failure> {
        let setup = self.chosen.setup()?;
        let config = fs::canonicalize(&setup.config);
        let config = config.map_err(|error| Failure::of(&setup.config, error))?;
        let program = std::env::current_exe().map_err(Failure::failed)?;
        let units = [
            ("site.service", service(&setup, &config, &program)?),
            ("site.timer", timer(setup.sites.every)),
        ];
        if self.out.is_some() {
            // systemd starts nothing where a folder is missing that it is to open for writing.
            setup.lock()?;
        }
        let mut out = io::stdout().lock();
        for (name, text) in &units {
            match &self.out {
                Some(folder) => {
                    let path = folder.join(name);
                    put(&path, text.as_bytes()).map_err(|error| Failure::of(&path, error))?;
                    if !quiet {
                        writeln!(out, "{}", path.display()).map_err(Failure::failed)?;
                    }
                }
                None => writeln!(out, "# {name}\n{text}").map_err(Failure::failed)?,
            }
        }
        Ok(Outcome::Done)
    }
}

/// A path as systemd reads it (systemd.syntax(7), systemd.unit(5) on specifiers).
fn quoted(path: &Path) -> Result<String, Failure> {
    let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
    let text = text.ok_or_else(|| Failure::of(path, "systemd takes no such path; rename it"))?;
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    Ok(format!("\"{text}\""))
}

fn service(setup: &Setup, config: &Path, program: &Path) -> Result<String, Failure> {
    let mut text = "[Unit]\nDescription=Mirror all web sites to the other server\n\
                    Wants=network-online.target\nAfter=network-online.target\n\n\
                    [Service]\nType=oneshot\n"
        .to_owned();
    // Variables are replaced in commands alone.
    let in_command = |path: &Path| quoted(path).map(|text| text.replace('$', "$$"));
    let (program, config) = (in_command(program)?, in_command(config)?);
    let here = setup.here;
    // Writing to a string cannot fail.
    let _ = write!(text, "ExecStart={program} run --quiet --here {here} {config}");
    for name in &setup.names {
        let _ = write!(text, " {name}");
    }
    // With a user there is a home, and in it the keys and known hosts that are meant unless others are named.
    let _ = writeln!(text, "\nUser=root\nNice=10\nIOSchedulingClass=idle");
    // What it may do to this machine, if it is ever tricked.
    let _ = writeln!(text, "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectSystem=strict");
    let _ = write!(text, "ReadWritePaths={}", quoted(&setup.sites.state)?);
    for (id, host) in &setup.sites.hosts {
        if *id == here || host.ssh.is_none() {
            let _ = write!(text, " {}", quoted(&host.www)?);
        }
    }
    text.push('\n');
    Ok(text)
}

fn timer(every: u64) -> String {
    let when = match every {
        // A run that was missed while the machine was off is made up for.
        86_400 => "OnCalendar=daily\nPersistent=yes\nRandomizedDelaySec=15min".to_owned(),
        60 => "OnCalendar=minutely\nAccuracySec=1s".to_owned(),
        // A run that takes longer than that is waited for.
        every => format!("OnBootSec=1min\nOnUnitActiveSec={every}s\nAccuracySec=1s"),
    };
    format!(
        "[Unit]\nDescription=Mirror all web sites to the other server, again and again\n\n\
         [Timer]\n{when}\n\n[Install]\nWantedBy=timers.target\n"
    )
}
