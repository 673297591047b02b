use std::{fmt, fs, io, path::Path, path::PathBuf, process::Command};

use super::Bench;
use crate::{
    Error, digest,
    measure::{self, Usage},
    peers::{Peers, Tool},
    walk,
};

/// What a row of the table does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// [`walk::stat_both`], in this process.
    BareWalk,
    /// A program.
    Tool(Tool),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareWalk => f.write_str("bare stat walk, a thread per side"),
            Self::Tool(tool) => tool.fmt(f),
        }
    }
}

/// The folders of a contestant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Where it reads.
    pub source: PathBuf,
    /// Where it writes.
    pub target: PathBuf,
    /// What it remembers between runs.
    pub state: PathBuf,
}

/// One of those who do the same work, with what each run cost.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// What it does.
    pub work: Work,
    /// The largest ratio of `mirror`'s time to this one's that was promised.
    pub goal: Option<f64>,
    /// On which folders.
    pub places: Places,
    /// What the measured runs cost, oldest first.
    pub runs: Vec<Usage>,
}

impl Contestant {
    /// Does the work once.
    pub(super) fn run(&self, peers: &Peers) -> Result<Usage, Error> {
        let Places {
            source,
            target,
            state,
        } = &self.places;
        match &self.work {
            Work::BareWalk => measure::run_here(|| {
                let _ = std::hint::black_box(walk::stat_both(source, target)?);
                Ok(())
            }),
            Work::Tool(tool) => {
                fs::create_dir_all(state).map_err(Error::io("create", state))?;
                let mut command = peers.command(tool, source, target, state);
                measure::run(&self.work.to_string(), &mut command)
            }
        }
    }

    /// Requires the target to hold what the source holds: all of it, or the same number of entries.
    pub(super) fn check(&self, thoroughly: bool) -> Result<(), Error> {
        let Places { source, target, .. } = &self.places;
        let equal = if thoroughly {
            digest::tree(source)? == digest::tree(target)?
        } else {
            walk::stat_tree(source)?.entries == walk::stat_tree(target)?.entries
        };
        if equal {
            Ok(())
        } else {
            Err(self.wrong("the target does not equal the source"))
        }
    }

    pub(super) fn wrong(&self, how: &str) -> Error {
        Error::WrongResult {
            label: self.work.to_string(),
            how: how.to_owned(),
        }
    }
}

/// Gives each piece of work its places; names the programs that are not installed.
pub(super) fn lineup(
    bench: &Bench<'_>,
    work: Vec<(Work, Option<f64>)>,
    places: impl Fn(usize) -> Places,
) -> (Vec<Contestant>, Vec<&'static str>) {
    let mut contestants = Vec::new();
    let mut skipped = Vec::new();
    for (number, (work, goal)) in work.into_iter().enumerate() {
        match &work {
            Work::Tool(tool) if !bench.peers.has(tool.program) => skipped.push(tool.program.name()),
            _ => contestants.push(Contestant {
                work,
                goal,
                places: places(number),
                runs: Vec::new(),
            }),
        }
    }
    skipped.dedup();
    (contestants, skipped)
}

/// Lets every contestant run once a round, in turn, and keeps what each run cost.
///
/// In turn, because a machine's mood (caches, journal, neighbours) drifts over
/// minutes: it then touches all of them alike.
pub(super) fn alternate(
    bench: &mut Bench<'_>,
    name: &str,
    rounds: u32,
    contestants: &mut [Contestant],
    mut one: impl FnMut(&mut Bench<'_>, u32, &Contestant) -> Result<Usage, Error>,
) -> Result<(), Error> {
    for round in 0..rounds {
        for contestant in contestants.iter_mut() {
            let usage = one(bench, round, contestant)?;
            (bench.say)(&format!(
                "{name}: round {} of {rounds}: {:.3} s {}",
                round + 1,
                usage.wall.as_secs_f64(),
                contestant.work
            ));
            contestant.runs.push(usage);
        }
    }
    Ok(())
}

/// Copies a tree with everything that belongs to it, outside the timed part.
pub(super) fn copy(source: &Path, target: &Path) -> Result<(), Error> {
    measure::run(
        "cp",
        Command::new("cp")
            .args(["-a", "-T"])
            .arg(source)
            .arg(target),
    )
    .map(drop)
}

/// Removes a tree if it is there, and lets everything reach the disk.
pub(super) fn clear(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", path)(error));
        }
        _ => {}
    }
    rustix::fs::sync();
    Ok(())
}
