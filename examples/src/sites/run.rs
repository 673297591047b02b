//! `site run`: mirrors all sites, and says what came of it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use clap::Args;
use dns_failover::SiteId;
use dns_failover::decision::Timestamp;
use mirror_core::{Error, Event, Guards, Mirror, Refused, Report, write_json_line};
use serde::Serialize;

use super::{Chosen, Epochs, Pair, Setup, epochs, put};
use crate::keys::Failure;
use crate::network::WebSite;
use crate::outcome::{Outcome, Summary, Wire, sentence};

/// Mirrors every site from the server that serves it to the other one.
///
/// Sites on different disks (`disk`) are mirrored at the same time. Two runs never meet: the second is
/// refused. Run it on one of the servers, by the timer that `site units` prints.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    chosen: Chosen,
}

/// What became of one site.
pub(super) struct Done {
    name: String,
    from: SiteId,
    epoch: u64,
    outcome: Outcome,
    report: Result<Report, String>,
    wire: Wire,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Told<'a> {
    name: &'a str,
    from: &'static str,
    to: &'static str,
    epoch: u64,
    /// When the run ended, in seconds since 1970.
    at: i64,
    #[serde(flatten)]
    summary: Summary<'a>,
}

#[derive(Debug, Serialize)]
struct All<'a> {
    format: u32,
    outcome: Outcome,
    sites: Vec<Told<'a>>,
    /// Of all sites together.
    files: Total,
    wire_sent: u64,
    wire_received: u64,
    seconds: f64,
}

#[derive(Debug, Default, Serialize)]
struct Total {
    created: u64,
    updated: u64,
    moved: u64,
    metadata_only: u64,
    deleted: u64,
    unchanged: u64,
    bytes_copied: u64,
    problems: usize,
}

impl Run {
    /// Does it.
    ///
    /// # Errors
    /// [`Failure`] when it cannot begin; a refusal when another run is at work.
    pub fn run(&self, json: bool, quiet: bool) -> Result<Outcome, Failure> {
        let setup = self.chosen.setup()?;
        let _lock = setup.lock()?;
        #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
        let begun = Instant::now();
        // Whoever was away may not know who serves what; without the other side nothing can be mirrored.
        let known = epochs::share(&setup);
        let served = setup.epochs()?;
        let lanes = lanes(setup.chosen());
        let work = |lane: Vec<&WebSite>| -> Vec<Done> {
            lane.into_iter().map(|site| mirror(&setup, site, &served, &known)).collect()
        };
        let done: Vec<Done> = thread::scope(|scope| {
            let work = &work;
            let lanes = lanes.into_values();
            let working: Vec<_> = lanes.map(|lane| scope.spawn(move || work(lane))).collect();
            // A panic was told when it happened.
            working.into_iter().flat_map(|lane| lane.join().unwrap_or_default()).collect()
        });
        let outcome = together(done.iter().map(|done| done.outcome));
        let seconds = begun.elapsed().as_secs_f64();
        let all = All::of(&done, outcome, seconds);
        for told in &all.sites {
            let path = setup.sites.state.join("last").join(format!("{}.json", told.name));
            let text = serde_json::to_vec(told).map_err(Failure::failed)?;
            put(&path, &text).map_err(|error| Failure::of(&path, error))?;
        }
        let outcome = match hook(&setup, &all) {
            Ok(()) => outcome,
            Err(why) => {
                let _ = writeln!(io::stderr(), "site: after the run: {why}");
                together([outcome, Outcome::DoneWithProblems])
            }
        };
        // Whoever stopped reading still gets the exit code.
        let mut out = io::stdout().lock();
        let _ = match (json, quiet) {
            (true, _) => write_json_line(&mut out, &All { outcome, ..all }),
            (false, false) => tell(&mut out, &done, seconds),
            (false, true) => Ok(()),
        };
        for done in &done {
            if let Err(why) = &done.report {
                let _ = writeln!(io::stderr(), "site: {}: {why}", done.name);
            }
        }
        Ok(outcome)
    }
}

/// Sites by their disks; those of one follow one another.
fn lanes(sites: Vec<&WebSite>) -> BTreeMap<&str, Vec<&WebSite>> {
    let mut lanes: BTreeMap<&str, Vec<&WebSite>> = BTreeMap::new();
    for site in sites {
        lanes.entry(&site.disk).or_default().push(site);
    }
    lanes
}

/// The outcome of several: their common one, or that there were problems.
fn together(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    let mut outcomes = outcomes.into_iter();
    let first = outcomes.next().unwrap_or(Outcome::Done);
    if outcomes.all(|outcome| outcome == first) { first } else { Outcome::DoneWithProblems }
}

fn mirror(setup: &Setup, site: &WebSite, served: &Epochs, known: &Result<(), String>) -> Done {
    #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
    let begun = Instant::now();
    let (epoch, from) = served.active(site);
    let mut wire = Wire::default();
    let ended = match known {
        Ok(()) => carry_out(setup, site, from, &mut wire),
        Err(why) => Err((Outcome::Failed, why.clone())),
    };
    let (outcome, report) = match ended {
        Ok(report) => (Outcome::of_report(&report), Ok(report)),
        Err((outcome, why)) => (outcome, Err(why)),
    };
    let (name, seconds) = (site.name.clone(), begun.elapsed().as_secs_f64());
    Done { name, from, epoch, outcome, report, wire, seconds }
}

fn carry_out(
    setup: &Setup,
    site: &WebSite,
    from: SiteId,
    wire: &mut Wire,
) -> Result<Report, (Outcome, String)> {
    let told = |error: Error| (Outcome::of_error(&error), error.to_string());
    let pair = Pair::open(setup, site, from).map_err(|why| (Outcome::Failed, why))?;
    let tell = |event: &Event<'_>| {
        if let Event::Problem(problem) = event {
            // `eprintln!` would panic where there is nobody to tell.
            let _ = writeln!(io::stderr(), "{site}: {problem}");
        }
    };
    let guards = Guards { max_delete: site.max_delete, ..Guards::default() };
    let work = |mirror: Mirror<'_>| mirror.plan()?.approve(&guards)?.apply();
    let mut ended = work(pair.mirror(&setup.base()).observer(&tell));
    if matches!(ended, Err(Error::Refused(Refused::EmptySource))) {
        // A disk that burned is no order to delete. From an empty tree that serves this is refused too.
        ended = work(pair.refill().observer(&tell));
    }
    for tree in [&pair.serving, &pair.other] {
        if let Some(traffic) = tree.traffic() {
            wire.sent += traffic.sent();
            wire.received += traffic.received();
        }
        wire.literal += tree.bytes_literal();
    }
    ended.map_err(told)
}

/// Runs what is to be run after a run, with the report on its standard input.
fn hook(setup: &Setup, all: &All<'_>) -> Result<(), String> {
    let Some((program, arguments)) = setup.sites.after_run.split_first() else { return Ok(()) };
    let failed = |error: io::Error| format!("{program}: {error}");
    let outcome = serde_json::to_value(all.outcome).unwrap_or_default();
    let mut child = Command::new(program)
        .args(arguments)
        .env("SITE_OUTCOME", outcome.as_str().unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A program that is not interested in it is right too.
        let _ = write_json_line(&mut input, all);
    }
    match child.wait().map_err(failed)? {
        status if status.success() => Ok(()),
        status => Err(format!("{program} ended with {status}")),
    }
}

fn tell(out: &mut impl Write, all: &[Done], seconds: f64) -> io::Result<()> {
    let width = all.iter().map(|done| done.name.len()).max().unwrap_or(0);
    for done in all {
        let Done { name, from, .. } = done;
        write!(out, "{name:width$}  {from} to {}  ", from.other())?;
        match &done.report {
            Err(_) if done.outcome == Outcome::Refused => writeln!(out, "refused; see below")?,
            Err(_) => writeln!(out, "failed; see below")?,
            Ok(report) => {
                let what = sentence(&report.counts, report.bytes_copied);
                write!(out, "{what}; {} unchanged, {:.2} s", report.unchanged, done.seconds)?;
                if !report.problems.is_empty() {
                    write!(out, "; {} problems", report.problems.len())?;
                }
                writeln!(out)?;
                for conflict in &report.conflicts {
                    writeln!(out, "{:width$}  conflict at {conflict}", "")?;
                }
            }
        }
    }
    writeln!(out, "{} sites, {seconds:.2} s", all.len())?;
    out.flush()
}

impl<'a> All<'a> {
    fn of(done: &'a [Done], outcome: Outcome, seconds: f64) -> All<'a> {
        let at = dns_failover::daemon::now().since(Timestamp::from_millis(0));
        let at = i64::try_from(at.get() / 1000).unwrap_or_default();
        let mut files = Total::default();
        for report in done.iter().filter_map(|done| done.report.as_ref().ok()) {
            files.created += report.counts.created;
            files.updated += report.counts.updated;
            files.moved += report.counts.moved;
            files.metadata_only += report.counts.metadata_only;
            files.deleted += report.counts.deleted;
            files.unchanged += report.unchanged;
            files.bytes_copied += report.bytes_copied;
            files.problems += report.problems.len();
        }
        let told = |done: &'a Done| Told {
            name: &done.name,
            from: done.from.as_str(),
            to: done.from.other().as_str(),
            epoch: done.epoch,
            at,
            summary: Summary::new(done.outcome, done.report.as_ref(), done.wire, done.seconds),
        };
        All {
            format: 1,
            outcome,
            sites: done.iter().map(told).collect(),
            files,
            wire_sent: done.iter().map(|done| done.wire.sent).sum(),
            wire_received: done.iter().map(|done| done.wire.received).sum(),
            seconds,
        }
    }
}
