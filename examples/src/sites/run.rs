//! `site run`: mirrors all sites, and says what came of it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use clap::Args;
use dns_failover::SiteId;
use dns_failover::decision::Timestamp;
use mirror_core::{
    Approved, Direction, Error, Event, Guards, Mirror, Refused, Report, write_json_line,
};
use serde::Serialize;
use serde_json::Value;

use super::{Chosen, Epochs, Pair, Setup, epochs, put};
use crate::capped;
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
    /// When one last ended that brought the copy, whatever problems single paths had.
    good: Option<i64>,
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
        let lock = setup.lock()?;
        #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
        let begun = Instant::now();
        // Whoever was away may not know who serves what; without the other side nothing can be mirrored.
        let known = begin(&setup);
        let served = setup.epochs()?;
        let lanes = lanes(setup.chosen());
        let asking = Mutex::new(());
        let work = |lane: Vec<&WebSite>| -> Vec<Done> {
            let each = lane.into_iter();
            each.map(|site| mirror(&setup, site, &served, &known, &asking)).collect()
        };
        let (done, whole) = thread::scope(|scope| {
            let work = &work;
            let lanes = lanes.into_values();
            let working: Vec<_> = lanes.map(|lane| scope.spawn(move || work(lane))).collect();
            let ended: Vec<_> = working.into_iter().map(|lane| lane.join()).collect();
            let whole = ended.iter().all(Result::is_ok);
            (ended.into_iter().flatten().flatten().collect::<Vec<Done>>(), whole)
        });
        // A panic was told when it happened; what it was about is missing here.
        let outcome = match whole {
            true => together(done.iter().map(|done| done.outcome)),
            false => Outcome::Failed,
        };
        let seconds = begun.elapsed().as_secs_f64();
        let all = All::of(&setup, &done, outcome, seconds);
        // Whatever cannot be written here, the report goes out: a full disk must not silence the alarm.
        let written = all.sites.iter().map(|told| note(&setup, told));
        let mut trouble: Vec<String> = written.filter_map(Result::err).collect();
        // A hook that hangs keeps nobody from moving a site.
        drop(lock);
        trouble.extend(hook(&setup, &all).err().map(|why| format!("after the run: {why}")));
        for why in &trouble {
            let _ = writeln!(io::stderr(), "site: {why}");
        }
        let outcome = match trouble.is_empty() {
            true => outcome,
            false => together([outcome, Outcome::DoneWithProblems]),
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

/// Makes both servers know who serves what, from the first run on.
fn begin(setup: &Setup) -> Result<(), String> {
    epochs::share(setup)?;
    let mut epochs = setup.epochs().map_err(|failure| failure.to_string())?;
    let before = epochs.clone();
    epochs.begin(&setup.chosen()).map_err(|error| error.to_string())?;
    if epochs == before { Ok(()) } else { epochs::share(setup) }
}

/// Leaves what came of a site for `site status`.
fn note(setup: &Setup, told: &Told<'_>) -> Result<(), String> {
    let path = setup.sites.state.join("last").join(format!("{}.json", told.name));
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let text = serde_json::to_vec(told).map_err(|error| failed(error.into()))?;
    put(&path, &text).map_err(failed)
}

/// When a site was last brought level, for better or worse; from what the last run left.
fn last_good(setup: &Setup, site: &str) -> Option<i64> {
    let path = setup.sites.state.join("last").join(format!("{site}.json"));
    let text = capped::bytes(&path, capped::CONFIGURATION).ok()?;
    serde_json::from_slice::<Value>(&text).ok()?.get("good")?.as_i64()
}

fn mirror(
    setup: &Setup,
    site: &WebSite,
    served: &Epochs,
    known: &Result<(), String>,
    asking: &Mutex<()>,
) -> Done {
    #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
    let begun = Instant::now();
    let (epoch, from) = served.active(site);
    let mut wire = Wire::default();
    // Sites may come late in a long run, and somebody may have moved one meanwhile.
    let still = || {
        let _one_at_a_time = asking.lock();
        epochs::share(setup).map_err(|why| (Outcome::Failed, why))?;
        let now = setup.epochs().map_err(|failure| (Outcome::Failed, failure.to_string()))?;
        match now.certain(site) {
            Ok(found) if found == (epoch, from) => Ok(()),
            Ok((epoch, server)) => {
                let why = format!(
                    "served by {server} since failover {epoch}, which came after this run had begun; nothing was changed; run it again"
                );
                Err((Outcome::Refused, why))
            }
            Err(why) => Err((Outcome::Refused, why)),
        }
    };
    let ended = match (known, served.certain(site)) {
        (Ok(()), Ok(_)) => carry_out(setup, site, from, &still, &mut wire),
        (Ok(()), Err(why)) => Err((Outcome::Refused, why)),
        (Err(why), _) => Err((Outcome::Failed, why.clone())),
    };
    let (outcome, report) = match ended {
        Ok(report) => (Outcome::of_report(&report), Ok(report)),
        Err((outcome, why)) => (outcome, Err(why)),
    };
    let (name, seconds) = (site.name.clone(), begun.elapsed().as_secs_f64());
    Done { name, from, epoch, outcome, report, wire, seconds }
}

fn plan<'a>(mirror: Mirror<'a>, guards: &Guards) -> Result<Approved<'a>, Error> {
    mirror.plan()?.approve(guards)
}

fn carry_out(
    setup: &Setup,
    site: &WebSite,
    from: SiteId,
    still: &dyn Fn() -> Result<(), (Outcome, String)>,
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
    let base = setup.base(site);
    let mut planned = plan(pair.mirror(&base).observer(&tell), &guards);
    let both = site.policy.direction == Direction::Both;
    if both && matches!(planned, Err(Error::Refused(Refused::EmptySource))) {
        // A disk that burned is no order to delete. From an empty tree that serves this is refused too.
        drop(plan(pair.refill(), &guards).map_err(told)?);
        // Both trees start anew, without what they once agreed on, before anything is brought: else the
        // next run would take for deleted what a stopped one had not brought yet.
        let failed = |error| (Outcome::Failed, format!("{}: {error}", base.display()));
        setup.forget(site).map_err(failed)?;
        planned = plan(pair.mirror(&base).observer(&tell), &guards);
    }
    let ended = match planned {
        Ok(planned) => still().map(|()| planned.apply()),
        Err(error) => Ok(Err(error)),
    };
    for tree in [&pair.serving, &pair.other] {
        if let Some(traffic) = tree.traffic() {
            wire.sent += traffic.sent();
            wire.received += traffic.received();
        }
        wire.literal += tree.bytes_literal();
    }
    ended?.map_err(told)
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
    fn of(setup: &Setup, done: &'a [Done], outcome: Outcome, seconds: f64) -> All<'a> {
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
            good: match done.outcome {
                Outcome::Done | Outcome::DoneWithProblems => Some(at),
                Outcome::Failed | Outcome::Refused => last_good(setup, &done.name),
            },
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
