//! `mirror SRC DST`: makes one tree equal to another.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::error::ErrorKind;
use clap::{ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use examples::outcome::{Outcome, Summary, Wire, bytes, sentence};
use examples::place::{Place, Reach, Tree};
use examples::progress::Bar;
use mirror_core::{
    Compare, DeleteLimit, Difference, Durability, Error, Extraneous, Filter, Guards, Level, Mirror,
    Plan, Policy, Problem, Report, write_json_line,
};

/// Makes DST equal to SRC: what is in SRC is copied into DST, and what only DST has is deleted.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but for some paths, 4 refused by a guard
/// before anything was changed.
#[derive(Debug, Parser)]
#[command(name = "mirror", version, max_term_width = 100)]
struct Arguments {
    /// The tree to copy: a path, or ssh://USER@HOST:PORT/PATH; user and port may be left out.
    src: OsString,
    /// The tree that becomes its copy; it is made if it does not exist.
    dst: OsString,

    /// Show what would be done; write nothing.
    #[arg(long, conflicts_with = "apply_plan")]
    plan: bool,
    /// Carry out a plan that `--plan --json` printed; what changed since is skipped and reported.
    #[arg(long, value_name = "FILE")]
    apply_plan: Option<PathBuf>,
    /// How faithful the copy is: `hosted` leaves out setuid, devices, owners and escaping links.
    #[arg(long, value_enum, default_value = "archive")]
    fidelity: Fidelity,

    #[command(flatten)]
    rules: Rules,
    /// Delete on the target what the rules exclude.
    #[arg(long)]
    delete_excluded: bool,
    /// Keep what only the target has.
    #[arg(long)]
    keep_extraneous: bool,
    /// Refuse to delete more than N entries, or N% of the target's.
    #[arg(long, value_name = "N|N%", default_value = "50%")]
    max_delete: DeleteLimit,
    /// Let an empty source empty the target.
    #[arg(long)]
    allow_empty_source: bool,
    /// Do not cross into other file systems.
    #[arg(long)]
    one_file_system: bool,

    /// Compare contents by reading every file on both sides.
    #[arg(long)]
    checksum: bool,
    /// Compare both trees once more when done.
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "quick")]
    verify: Option<Level>,
    /// Where to remember what both sides agreed on [default: the user's state directory].
    #[arg(long, value_name = "DIR", conflicts_with = "no_state")]
    state: Option<PathBuf>,
    /// Remember nothing.
    #[arg(long)]
    no_state: bool,
    /// How sure to be that what was written survives a power cut.
    #[arg(long, value_enum, default_value = "batch")]
    durability: Sureness,
    /// How many files to copy or read at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,

    #[command(flatten)]
    reach: Reach,

    /// Print one JSON object when done, or with `--plan` the plan as JSON lines.
    #[arg(long)]
    json: bool,
    /// Print nothing but errors and problems.
    #[arg(long)]
    quiet: bool,
}

/// Rules are taken in the order they are given; the last one that matches a path wins.
#[derive(Debug, Args)]
struct Rules {
    /// Leave out paths that match, as in a .gitignore.
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append, allow_hyphen_values = true)]
    exclude: Vec<String>,
    /// Take paths that match after all.
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append, allow_hyphen_values = true)]
    include: Vec<String>,
    /// Never delete paths that match from the target.
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append, allow_hyphen_values = true)]
    protect: Vec<String>,
    /// Read rules from a file in the form of a .gitignore; `protect: PATTERN` lines protect.
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    filter_file: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fidelity {
    Archive,
    Hosted,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sureness {
    None,
    Batch,
    EachFile,
}

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let place = |text: &OsString| match Place::parse(text) {
        Ok(place) => place,
        Err(why) => Arguments::command().error(ErrorKind::ValueValidation, why).exit(),
    };
    let places = [place(&arguments.src), place(&arguments.dst)];
    #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
    let started = Instant::now();
    let bar = Bar::new(arguments.quiet || arguments.json);
    let mut wire = Wire::default();
    let ended = run(&arguments, &places, &matches, &bar, &mut wire);
    bar.finish();
    let seconds = started.elapsed().as_secs_f64();
    let told = match ended {
        Ok(Ended::Planned(outcome, printed)) => printed.map(|()| outcome),
        Ok(Ended::Applied(report)) => {
            let outcome = Outcome::of_report(&report);
            tell(&arguments, outcome, Ok(*report), wire, seconds).map(|()| outcome)
        }
        Err(error) => {
            let outcome = Outcome::of_error(&error);
            eprintln!("mirror: {error}");
            tell(&arguments, outcome, Err(error.to_string()), wire, seconds).map(|()| outcome)
        }
    };
    match told {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // Whoever stopped reading knows. `eprintln!` would panic where there is nobody at all.
            if error.kind() != io::ErrorKind::BrokenPipe {
                let _ = writeln!(io::stderr(), "mirror: cannot print what came of it: {error}");
            }
            Outcome::Failed.into()
        }
    }
}

/// What was asked for has been done: the plan printed, or the run carried out.
enum Ended {
    Planned(Outcome, io::Result<()>),
    Applied(Box<Report>),
}

/// Carries out what was asked for.
fn run(
    arguments: &Arguments,
    places: &[Place; 2],
    matches: &ArgMatches,
    bar: &Bar,
    wire: &mut Wire,
) -> Result<Ended, Error> {
    let filter = filter(arguments, matches)?;
    let source = arguments.reach.source(&places[0])?;
    let target = arguments.reach.target(&places[1])?;
    let ended = mirror(arguments, filter, [&source, &target], bar);
    for tree in [&source, &target] {
        if let Some(traffic) = tree.traffic() {
            wire.sent += traffic.sent();
            wire.received += traffic.received();
        }
        wire.literal += tree.bytes_literal();
    }
    ended
}

fn mirror(
    arguments: &Arguments,
    filter: Filter,
    [source, target]: [&Tree; 2],
    bar: &Bar,
) -> Result<Ended, Error> {
    for tree in [source, target] {
        bar.watch(tree.traffic());
    }
    let mut policy = match arguments.fidelity {
        Fidelity::Archive => Policy::mirror(),
        Fidelity::Hosted => Policy::hosted(),
    };
    if arguments.checksum {
        policy.compare = Compare::Checksum;
    }
    if arguments.keep_extraneous {
        policy.extraneous = Extraneous::Keep;
    }
    policy.one_file_system = arguments.one_file_system;
    let mut mirror = Mirror::new(source.endpoint(), target.endpoint())
        .policy(policy)
        .filter(filter)
        .observer(bar);
    mirror = mirror.durability(match arguments.durability {
        Sureness::None => Durability::None,
        Sureness::Batch => Durability::Batch,
        Sureness::EachFile => Durability::EachFile,
    });
    mirror = match state_folder(arguments) {
        Some(folder) => mirror.state(folder),
        None => mirror.scratch(std::env::temp_dir()),
    };
    if let Some(jobs) = arguments.jobs {
        mirror = mirror.threads(jobs.into());
    }
    let planned = match &arguments.apply_plan {
        Some(file) => mirror.clone().adopt(&read_plan(file)?)?,
        None => mirror.clone().plan()?,
    };
    if arguments.plan {
        let printed = print_plan(arguments, planned.plan());
        return Ok(Ended::Planned(Outcome::of_plan(planned.plan()), printed));
    }
    let guards = Guards {
        max_delete: arguments.max_delete,
        allow_empty_source: arguments.allow_empty_source,
        ..Guards::default()
    };
    let mut report = planned.approve(&guards)?.apply()?;
    if let Some(level) = arguments.verify {
        for Difference { path, what } in mirror.verify(level)? {
            let problem = Problem { path, error: format!("verifying: {what}") };
            eprintln!("{problem}");
            report.problems.push(problem);
        }
        let behind_an_agent = [source, target].iter().any(|tree| matches!(tree, Tree::There(_)));
        let hosted = matches!(arguments.fidelity, Fidelity::Hosted);
        if level == Level::Independent && (behind_an_agent || hosted) {
            let note = "--verify=independent can only walk trees on this machine, with archive \
                        fidelity; all contents were read anew, as by --verify=digest";
            report.notes.push(note.to_owned());
        }
    }
    Ok(Ended::Applied(Box::new(report)))
}

enum Rule {
    Exclude(String),
    Include(String),
    Protect(String),
    File(PathBuf),
}

type MakeRule = fn(String) -> Rule;

/// The rules in the order in which they stand on the command line.
fn filter(arguments: &Arguments, matches: &ArgMatches) -> Result<Filter, Error> {
    let mut rules: Vec<(usize, Rule)> = Vec::new();
    let patterns: [(&str, MakeRule); 3] =
        [("exclude", Rule::Exclude), ("include", Rule::Include), ("protect", Rule::Protect)];
    for (id, rule) in patterns {
        let places = matches.indices_of(id).into_iter().flatten();
        let values = matches.get_many::<String>(id).into_iter().flatten();
        rules.extend(places.zip(values.cloned().map(rule)));
    }
    let places = matches.indices_of("filter_file").into_iter().flatten();
    rules.extend(places.zip(arguments.rules.filter_file.iter().cloned().map(Rule::File)));
    rules.sort_by_key(|(place, _)| *place);
    let mut filter = Filter::builder();
    for (_, rule) in rules {
        match rule {
            Rule::Exclude(pattern) => filter.exclude(&pattern),
            Rule::Include(pattern) => filter.include(&pattern),
            Rule::Protect(pattern) => filter.protect(&pattern),
            Rule::File(file) => filter.file(&file),
        };
    }
    filter.delete_excluded(arguments.delete_excluded).build()
}

/// Where to remember: as asked for, else in the user's state directory (XDG Base Directory
/// Specification), else nowhere.
fn state_folder(arguments: &Arguments) -> Option<PathBuf> {
    if arguments.no_state {
        return None;
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    arguments.state.clone().or_else(|| {
        let state = absolute("XDG_STATE_HOME");
        let state = state.or_else(|| absolute("HOME").map(|home| home.join(".local/state")));
        state.map(|state| state.join("mirror"))
    })
}

fn read_plan(file: &PathBuf) -> Result<Plan, Error> {
    let opened =
        File::open(file).map_err(|error| Error::OpenPlan { path: file.clone(), source: error })?;
    Plan::read_json(BufReader::new(opened))
}

fn print_plan(arguments: &Arguments, plan: &Plan) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if arguments.json {
        plan.write_json(&mut out)?;
    } else if !arguments.quiet {
        let summary = plan.summary();
        write!(out, "{plan}")?;
        writeln!(out, "to do: {}", sentence(&summary.total(), summary.bytes_to_copy))?;
    }
    out.flush()
}

fn tell(
    arguments: &Arguments,
    outcome: Outcome,
    came_of_it: Result<Report, String>,
    wire: Wire,
    seconds: f64,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if arguments.json {
        let summary = Summary::new(outcome, came_of_it.as_ref(), wire, seconds);
        return write_json_line(&mut out, &summary);
    }
    let report = match came_of_it {
        Ok(report) if !arguments.quiet => report,
        _ => return Ok(()),
    };
    let what = sentence(&report.counts, report.bytes_copied);
    write!(out, "{what}; {} unchanged, {seconds:.2} s", report.unchanged)?;
    if wire != Wire::default() {
        write!(out, ", {} sent and {} received", bytes(wire.sent), bytes(wire.received))?;
    }
    writeln!(out)?;
    for note in &report.notes {
        writeln!(out, "note: {note}")?;
    }
    for conflict in &report.conflicts {
        writeln!(out, "conflict at {conflict}")?;
    }
    if !report.problems.is_empty() {
        writeln!(out, "{} paths had problems, told above", report.problems.len())?;
    }
    Ok(())
}
