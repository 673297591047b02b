use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use super::acceptance::AcceptWork;
use super::{Bench, keys::KeyWork, legs::LegWork, zone_files::ZoneFileWork, zones::ZoneWork};
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
    /// A program whose target is behind an SSH server.
    Far(Tool),
    /// Something about keys, which runs itself.
    Keys(KeyWork),
    /// Something about zones and name servers, which runs itself.
    Zones(ZoneWork),
    /// Something about zone files, which runs itself.
    ZoneFiles(ZoneFileWork),
    /// Something about getting rid of mail, which runs itself.
    Legs(LegWork),
    /// Something about taking mail in, which runs itself.
    Accept(AcceptWork),
}

impl Work {
    /// The name of ours in a row like this, for the head of the table.
    pub(crate) fn ours(&self) -> &'static str {
        match self {
            Self::Keys(_) => "keygen-helper",
            Self::Zones(_) | Self::ZoneFiles(_) => "dns-failover",
            Self::Legs(_) | Self::Accept(_) => "mail-dual",
            _ => "mirror",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BareWalk => f.write_str("bare stat walk, a thread per side"),
            Self::Tool(tool) | Self::Far(tool) => tool.fmt(f),
            Self::Keys(work) => work.fmt(f),
            Self::Zones(work) => work.fmt(f),
            Self::ZoneFiles(work) => work.fmt(f),
            Self::Legs(work) => work.fmt(f),
            Self::Accept(work) => work.fmt(f),
        }
    }
}

/// One of those who do the same work, with what each run cost.
#[derive(Debug, Clone)]
pub struct Contestant {
    /// What it does.
    pub work: Work,
    /// The largest ratio of `mirror`'s time to this one's that was promised.
    pub goal: Option<f64>,
    /// What the measured runs cost, oldest first.
    pub runs: Vec<Usage>,
}

/// The folders of one run.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) source: &'a Path,
    pub(super) target: PathBuf,
    /// What the program remembers between runs.
    pub(super) state: PathBuf,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// From 0.
    pub(super) round: u32,
    /// Of the contestant, from 0.
    pub(super) number: usize,
}

impl Contestant {
    /// Does the work once.
    pub(super) fn run(&self, peers: &Peers, places: &Places<'_>) -> Result<Usage, Error> {
        let Places { source, target, state } = places;
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
            _ => Err(self.wrong("it does not run here by itself")),
        }
    }

    /// Lets the program find target and source equal, and everything reach the disk.
    ///
    /// Twice: the first run makes its state; entries written less than a clock
    /// tick before cannot be trusted by it, while the second finds a tree at
    /// rest, as a daily run does.
    pub(super) fn settle(&self, peers: &Peers, places: &Places<'_>) -> Result<(), Error> {
        self.run(peers, places)?;
        self.run(peers, places)?;
        rustix::fs::sync();
        Ok(())
    }

    /// Requires the target to hold what the source holds.
    ///
    /// In the first round all of it is read; later the number of entries has to do.
    pub(super) fn check(&self, turn: Turn, places: &Places<'_>) -> Result<(), Error> {
        let Places { source, target, .. } = places;
        if !target.is_dir() {
            return Err(self.wrong("there is no target afterwards"));
        }
        let equal = if turn.round == 0 {
            digest::tree(source)? == digest::tree(target)?
        } else {
            walk::stat_tree(source)?.entries == walk::stat_tree(target)?.entries
        };
        if equal { Ok(()) } else { Err(self.wrong("the target does not equal the source")) }
    }

    pub(super) fn wrong(&self, how: &str) -> Error {
        Error::WrongResult { label: self.work.to_string(), how: how.to_owned() }
    }
}

/// Keeps those whose program is installed, and names the other programs.
pub(super) fn lineup(
    peers: &Peers,
    work: impl IntoIterator<Item = (Work, Option<f64>)>,
) -> (Vec<Contestant>, Vec<&'static str>) {
    let mut contestants = Vec::new();
    let mut skipped = Vec::new();
    for (work, goal) in work {
        match &work {
            Work::Tool(tool) | Work::Far(tool) if !peers.has(tool.program) => {
                skipped.push(tool.program.name())
            }
            _ => contestants.push(Contestant { work, goal, runs: Vec::new() }),
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
    mut one: impl FnMut(&mut Bench<'_>, Turn, &Contestant) -> Result<Usage, Error>,
) -> Result<(), Error> {
    for round in 0..rounds {
        bench.rest();
        for (number, contestant) in contestants.iter_mut().enumerate() {
            let usage = one(bench, Turn { round, number }, contestant)?;
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
