//! The whole provider on one machine, a fire in it, and what was lost: both servers as processes of
//! their own, six name servers, mail all the time, and checks that share no code with what they check.
//!
//! No root, no network beyond loopback, no installed server. Everything lies in one folder, which goes
//! when the drill goes.

mod clock;
mod controller;
mod ground;
mod host;
mod keys;
mod names;
mod observer;
mod pages;
mod parts;
mod phases;
mod post;
mod process;
mod report;
mod sites;
mod ssh;
mod visitor;
mod web;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use dns_failover::SiteId;
use dns_failover::decision::Timestamp;

pub use parts::Part;
pub use report::{Files, Mark, Messages, Outcome, Phase, Recovery, Report};

/// The site that burns: its primary is the UK.
const HILL: &str = "hill.example";
/// The site that only loses its mirror: its primary is the US.
const LAKE: &str = "lake.example";
/// Services, their domains, and where these have their primary.
const SERVICES: [(&str, &str, SiteId); 2] =
    [("web-uk", HILL, SiteId::Uk), ("web-us", LAKE, SiteId::Us)];

/// How to drill.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Drill with a copy of this site, which itself is only read [default: one that is made up].
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    /// Leave journal, time line, figures and both status pages in this folder.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// Not a fire: the UK is away, and comes back with its disk.
    #[arg(long)]
    pub outage: bool,
    /// Mirror over a real sshd, which must be installed.
    #[arg(long)]
    pub ssh: bool,
    /// Break a promise on purpose; the drill must notice.
    #[arg(long, value_name = "HOW", value_enum, hide = true)]
    pub sabotage: Option<Sabotage>,
    /// Print one JSON object when done.
    #[arg(long)]
    pub json: bool,
    /// Print nothing but what does not hold.
    #[arg(long)]
    pub quiet: bool,
}

/// A promise to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sabotage {
    /// Decide, and tell no name server.
    SkipPublish,
    /// Bring mail to one account only.
    DropLeg,
    /// Do not mirror.
    SkipMirror,
    /// Lose a message that was acknowledged.
    LoseMessage,
}

/// Why the drill cannot go on, or a promise that does not hold: one sentence.
#[derive(Debug, Clone)]
struct Trouble(String);

impl Trouble {
    fn new(sentence: impl Into<String>) -> Trouble {
        Trouble(sentence.into())
    }

    fn at(what: &str, path: &Path, error: &io::Error) -> Trouble {
        Trouble(format!("{what} {}: {error}", path.display()))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Drills.
pub fn run(options: &Options) -> Report {
    let begun = clock::now();
    let mut report = Report::new(options.outage);
    let tale = Tale { quiet: options.quiet || options.json, begun };
    if let Err(trouble) = phases::all(options, &tale, &mut report) {
        report.fail(trouble.0);
    }
    report.seconds = clock::seconds(begun, clock::now());
    if let Some(folder) = &options.report
        && let Err(error) = write(folder, &report)
    {
        report.fail(format!("cannot write to {}: {error}", folder.display()));
    }
    report
}

/// Leaves the report behind, for people and for machines.
fn write(folder: &Path, report: &Report) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("report.txt"), report.to_string().trim_start())?;
    std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(report)?)
}

/// Tells what is going on.
#[derive(Debug)]
struct Tale {
    quiet: bool,
    begun: Timestamp,
}

impl Tale {
    fn say(&self, phase: &str, what: impl fmt::Display) {
        if !self.quiet {
            let seconds = clock::seconds(self.begun, clock::now());
            // Who stopped listening still gets the exit code.
            let _ = writeln!(io::stdout(), "{seconds:>6.2} s  {phase:<9} {what}");
        }
    }
}
