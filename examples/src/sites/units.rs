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
    Ok(format!("\"{}\"", text.replace('$', "$$")))
}

fn service(setup: &Setup, config: &Path, program: &Path) -> Result<String, Failure> {
    let www = setup.host(setup.here).map_err(Failure::failed)?.www.clone();
    let mut text = "[Unit]\nDescription=Mirror all web sites to the other server\n\
                    Wants=network-online.target\nAfter=network-online.target\n\n\
                    [Service]\nType=oneshot\n"
        .to_owned();
    let (program, config) = (quoted(program)?, quoted(config)?);
    let here = setup.here;
    // Writing to a string cannot fail.
    let _ = write!(text, "ExecStart={program} run --quiet --here {here} {config}");
    for name in &setup.names {
        let _ = write!(text, " {name}");
    }
    let _ = writeln!(text, "\nNice=10\nIOSchedulingClass=idle");
    // What it may do to this machine, if it is ever tricked.
    let _ = writeln!(text, "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectSystem=strict");
    let (www, state) = (quoted(&www)?, quoted(&setup.sites.state)?);
    let _ = writeln!(text, "ReadWritePaths={www} {state}");
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
