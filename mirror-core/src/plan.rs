//! What is to be done, as data: steps in the order they are carried out, and their sums.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::capacity::Need;
use crate::entry::{Digest, Entry, Identity, Kind, Meta, Problem, Side, Timestamp};
use crate::error::Error;
use crate::fs::Folder;
use crate::json::write_json_line;
use crate::path::RelPath;
use crate::spool::Spool;

/// What must stand at a path for a step to touch it; anything else means that somebody changed
/// it since, and the step is skipped and reported.
///
/// It is what the scan saw. Steps of the same plan that link an inode, rename it or set its
/// metadata give it another `ctime`, and perhaps another mtime: whoever carries out a plan makes
/// allowance for what it did itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// Nothing.
    Absent,
    /// This directory, whatever is in it.
    Directory {
        /// Its file system.
        device: u64,
        /// Its inode.
        inode: u64,
    },
    /// This version of this inode.
    Version {
        /// Its inode and version.
        identity: Identity,
        /// Its length in bytes, 0 for all but regular files.
        size: u64,
        /// Its mtime.
        mtime: Timestamp,
    },
}

impl Expected {
    /// What `entry` is now.
    pub(crate) fn of(entry: &Entry) -> Expected {
        let Identity { device, inode, .. } = entry.identity;
        if entry.kind.is_directory() {
            return Expected::Directory { device, inode };
        }
        Expected::Version {
            identity: entry.identity,
            size: entry.kind.size(),
            mtime: entry.meta.mtime,
        }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Op {
    /// Make a directory.
    MakeDirectory {
        /// Where.
        path: RelPath,
        /// Its metadata; mtime and mode are set again when everything in it is done.
        meta: Meta,
    },
    /// Put a new directory in the place of something else.
    ReplaceWithDirectory {
        /// Where.
        path: RelPath,
        /// Its metadata.
        meta: Meta,
        /// What it replaces.
        expected: Expected,
        /// Whether what it replaces is kept under `.mirror-history/` first.
        keep_old: bool,
    },
    /// Rename a directory with all that is in it.
    MoveDirectory {
        /// From where.
        from: RelPath,
        /// To where nothing is.
        to: RelPath,
        /// The directory.
        expected: Expected,
    },
    /// Give a file's inode another name; its content is known to be what is wanted there.
    ///
    /// All such steps of a plan happen at once: every `from` means what has that name before the
    /// first of them. So two files can change places, and names can go round, without a copy.
    MoveFile {
        /// From where.
        from: RelPath,
        /// To where.
        to: RelPath,
        /// The file.
        expected: Expected,
        /// What has the new name now.
        replaces: Expected,
        /// Whether the old name gets other content in this plan, so that it must not be missing
        /// meanwhile: a second name is made of it then, which is later replaced.
        keeps_old_name: bool,
        /// The metadata it has to get, where it is not what the file has.
        meta: Option<Meta>,
    },
    /// Copy a file, symlink, pipe, socket or device.
    Put {
        /// Where, on both sides.
        path: RelPath,
        /// What it is.
        kind: Kind,
        /// Its metadata.
        meta: Meta,
        /// Which version of the source this describes; a newer one is copied with its own metadata.
        source: Identity,
        /// What it replaces.
        expected: Expected,
        /// Whether the replaced version is kept under `.mirror-history/` first.
        keep_old: bool,
    },
    /// Set metadata alone.
    SetMeta {
        /// Where.
        path: RelPath,
        /// To what.
        meta: Meta,
        /// What stands there.
        expected: Expected,
    },
    /// Make several names of one inode.
    Link {
        /// The name that has the right content.
        leader: RelPath,
        /// The step that gives the leader that content; without it nothing is linked.
        after: Option<u32>,
        /// What the leader is, where no step of this plan has to change it first.
        leader_expected: Option<Expected>,
        /// The names that become the same inode, and what each is now.
        members: Vec<(RelPath, Expected)>,
        /// Whether what the members are now is kept under `.mirror-history/` first.
        keep_old: bool,
    },
    /// Delete one entry; a directory only when it has become empty.
    Remove {
        /// Where.
        path: RelPath,
        /// What stands there.
        expected: Expected,
        /// Whether it is kept under `.mirror-history/` first.
        keep_old: bool,
    },
    /// Put something else in the place of a directory that has become empty.
    ReplaceDirectory {
        /// Where, on both sides.
        path: RelPath,
        /// What it becomes.
        kind: Kind,
        /// Its metadata.
        meta: Meta,
        /// Which version of the source this describes.
        source: Identity,
        /// The directory.
        expected: Expected,
        /// The name whose inode it shares, where it becomes another name instead of a copy.
        leader: Option<RelPath>,
        /// The step that gives the leader its content; without it nothing is linked.
        after: Option<u32>,
        /// What the leader is, where no step of this plan has to change it first.
        leader_expected: Option<Expected>,
    },
    /// Delete what an interrupted run left behind.
    Sweep {
        /// Where; always a name that is reserved for such.
        path: RelPath,
    },
    /// Set a directory's metadata when everything in it is done.
    Settle {
        /// Where.
        path: RelPath,
        /// To what.
        meta: Meta,
        /// Whether its metadata differed before; else only the run itself touched it.
        differs: bool,
    },
}

/// The order in which steps are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Sweeping,
    Structure,
    Moves,
    Contents,
    Links,
    Deletions,
    Settling,
}

impl Stage {
    pub(crate) const ALL: [Stage; 7] = [
        Stage::Sweeping,
        Stage::Structure,
        Stage::Moves,
        Stage::Contents,
        Stage::Links,
        Stage::Deletions,
        Stage::Settling,
    ];
}

impl Op {
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Op::Sweep { .. } => Stage::Sweeping,
            Op::MakeDirectory { .. }
            | Op::ReplaceWithDirectory { .. }
            | Op::MoveDirectory { .. } => Stage::Structure,
            Op::MoveFile { .. } => Stage::Moves,
            Op::Put { .. } | Op::SetMeta { .. } => Stage::Contents,
            Op::Link { .. } => Stage::Links,
            Op::Remove { .. } | Op::ReplaceDirectory { .. } => Stage::Deletions,
            Op::Settle { .. } => Stage::Settling,
        }
    }

    /// The path that the step is about: for a move the new one, for links the leader's.
    pub fn path(&self) -> &RelPath {
        match self {
            Op::MakeDirectory { path, .. }
            | Op::ReplaceWithDirectory { path, .. }
            | Op::Put { path, .. }
            | Op::SetMeta { path, .. }
            | Op::Remove { path, .. }
            | Op::ReplaceDirectory { path, .. }
            | Op::Sweep { path }
            | Op::Settle { path, .. } => path,
            Op::MoveDirectory { to, .. } | Op::MoveFile { to, .. } => to,
            Op::Link { leader, .. } => leader,
        }
    }

    /// The step that has to be done before this one, where it links names to a file that another
    /// step brings to its content.
    pub(crate) fn after_mut(&mut self) -> Option<&mut u32> {
        match self {
            Op::Link { after, .. } | Op::ReplaceDirectory { after, .. } => after.as_mut(),
            _ => None,
        }
    }

    /// How many entries it brings to what state.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        match self {
            Op::MakeDirectory { .. } => counts.created = 1,
            Op::ReplaceWithDirectory { .. } | Op::ReplaceDirectory { .. } => counts.updated = 1,
            Op::MoveDirectory { .. } | Op::MoveFile { .. } => counts.moved = 1,
            Op::Put { expected: Expected::Absent, .. } => counts.created = 1,
            Op::Put { .. } => counts.updated = 1,
            Op::SetMeta { .. } | Op::Settle { differs: true, .. } => counts.metadata_only = 1,
            Op::Link { members, .. } => {
                for (_, expected) in members {
                    match expected {
                        Expected::Absent => counts.created += 1,
                        _ => counts.updated += 1,
                    }
                }
            }
            Op::Remove { .. } => counts.deleted = 1,
            Op::Sweep { .. } | Op::Settle { .. } => {}
        }
        counts
    }

    /// Puts in the words of a list for people; None for what only accompanies other steps.
    pub(crate) fn words(&self) -> Option<String> {
        let verb = |expected: &Expected| match expected {
            Expected::Absent => "copy",
            _ => "update",
        };
        Some(match self {
            Op::MakeDirectory { path, .. } => format!("make directory {path}"),
            Op::ReplaceWithDirectory { path, .. } => format!("replace {path} with a directory"),
            Op::MoveDirectory { from, to, .. } => format!("move directory {from} to {to}"),
            Op::MoveFile { from, to, .. } => format!("move {from} to {to}"),
            Op::Put { path, expected, .. } => format!("{} {path}", verb(expected)),
            Op::SetMeta { path, .. } | Op::Settle { path, differs: true, .. } => {
                format!("set metadata of {path}")
            }
            Op::Link { leader, members, .. } => {
                let names: Vec<String> = members.iter().map(|(path, _)| path.to_string()).collect();
                format!("link {} to {leader}", names.join(", "))
            }
            Op::Remove { path, .. } => format!("delete {path}"),
            Op::ReplaceDirectory { path, leader: Some(leader), .. } => {
                format!("replace directory {path} with a link to {leader}")
            }
            Op::ReplaceDirectory { path, .. } => format!("replace directory {path}"),
            Op::Sweep { path } => format!("sweep {path}"),
            Op::Settle { .. } => return None,
        })
    }
}

/// A step with its number and the tree it changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number, unique in its plan.
    pub id: u32,
    /// The tree it changes.
    pub side: Side,
    /// What it does there.
    pub op: Op,
}

impl Step {
    /// Equal for steps that do the same, whatever their numbers; and for those that only set the
    /// metadata back of a directory that others touch.
    fn likeness(&self) -> io::Result<Digest> {
        let mut op = self.op.clone();
        if let Op::Settle { differs: false, path, .. } = &op {
            op = Op::Sweep { path: path.clone() };
        }
        if let Some(after) = op.after_mut() {
            *after = 0;
        }
        let bytes = postcard::to_allocvec(&(self.side, op)).map_err(io::Error::other)?;
        Ok(Digest::of(&bytes))
    }
}

/// How many entries were or will be brought to what state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Entries that were not there.
    pub created: u64,
    /// Entries whose content or kind was replaced.
    pub updated: u64,
    /// Files and whole directories that were renamed.
    pub moved: u64,
    /// Entries of which only metadata changed.
    pub metadata_only: u64,
    /// Entries that were removed.
    pub deleted: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Counts) {
        self.created += other.created;
        self.updated += other.updated;
        self.moved += other.moved;
        self.metadata_only += other.metadata_only;
        self.deleted += other.deleted;
    }

    /// How many entries are brought to another state.
    pub fn total(&self) -> u64 {
        self.created + self.updated + self.moved + self.metadata_only + self.deleted
    }

    /// Whether nothing changes.
    pub fn is_zero(&self) -> bool {
        *self == Counts::default()
    }
}

/// What a plan comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Entries of trees A and B, their roots not counted.
    pub entries: [u64; 2],
    /// What changes on A and on B.
    pub counts: [Counts; 2],
    /// What carrying it out takes on A's and on B's file system.
    pub need: [Need; 2],
    /// Entries that are equal already.
    pub unchanged: u64,
    /// Entries left alone because of a problem, a conflict or the policy.
    pub skipped: u64,
    /// Bytes of file contents to copy.
    pub bytes_to_copy: u64,
    /// Bytes of file contents that were moved, or compared and found equal.
    pub bytes_matched: u64,
}

impl Summary {
    /// What changes on both sides together.
    pub fn total(&self) -> Counts {
        let [mut total, on_b] = self.counts;
        total.add(&on_b);
        total
    }

    /// What changes on one side.
    pub fn counts(&self, side: Side) -> &Counts {
        &self.counts[side as usize]
    }

    /// How many entries a side has, its root not counted.
    pub fn entries_of(&self, side: Side) -> u64 {
        self.entries[side as usize]
    }

    /// What one side's file system needs.
    pub fn need(&self, side: Side) -> &Need {
        &self.need[side as usize]
    }
}

/// Why a path was changed on both sides in ways that do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConflictKind {
    /// Both were edited since the base.
    BothChanged,
    /// Deleted on A, edited on B.
    DeletedOnA,
    /// Edited on A, deleted on B.
    DeletedOnB,
    /// Both exist, differ, and no common ancestor is known.
    NoAncestor,
}

impl fmt::Display for ConflictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ConflictKind::BothChanged => "changed on both sides",
            ConflictKind::DeletedOnA => "deleted on A and changed on B",
            ConflictKind::DeletedOnB => "changed on A and deleted on B",
            ConflictKind::NoAncestor => "different on both sides without a known ancestor",
        })
    }
}

/// A path that both sides changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// Where.
    pub path: RelPath,
    /// How.
    pub kind: ConflictKind,
    /// Whose version is taken; None when both are left as they are.
    pub winner: Option<Side>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; ", self.path, self.kind)?;
        match self.winner {
            Some(Side::A) => f.write_str("A's version is taken"),
            Some(Side::B) => f.write_str("B's version is taken"),
            None => f.write_str("both are left as they are"),
        }
    }
}

/// What is to be done: compare it, print it, store it, refuse it. Nothing happens before
/// [`approve`](crate::Planned::approve) and [`apply`](crate::Approved::apply).
#[must_use]
#[derive(Debug)]
pub struct Plan {
    stages: [Spool<Step>; Stage::ALL.len()],
    pub(crate) summary: Summary,
    pub(crate) conflicts: Vec<Conflict>,
    pub(crate) problems: Vec<Problem>,
    next_id: u32,
}

/// The lines of a saved plan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case", deny_unknown_fields)]
enum Line {
    Plan { format: u32, summary: Summary },
    Step(Step),
    Conflict(Conflict),
    Problem(Problem),
    End { steps: u64 },
}

/// The longest line of a saved plan that is read, in bytes.
const LINE_MAX: u64 = 4 << 20;

impl Plan {
    /// An empty plan. Long ones go on in an unnamed file in `folder`.
    pub(crate) fn new(folder: Option<Folder>) -> Plan {
        Plan {
            stages: std::array::from_fn(|_| Spool::new(folder.clone())),
            summary: Summary::default(),
            conflicts: Vec::new(),
            problems: Vec::new(),
            next_id: 0,
        }
    }

    /// An empty plan of which every stage keeps at most `limit` bytes in memory.
    pub(crate) fn with_limit(folder: Option<Folder>, limit: usize) -> Plan {
        let stages = std::array::from_fn(|_| Spool::with_limit(folder.clone(), limit));
        Plan { stages, ..Plan::new(None) }
    }

    /// A number for a step that is added later.
    pub(crate) fn reserve(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Adds a step under a reserved number.
    pub(crate) fn push(&mut self, id: u32, side: Side, op: Op) -> io::Result<()> {
        self.summary.counts[side as usize].add(&op.counts());
        self.stages[op.stage() as usize].push(&Step { id, side, op })?;
        Ok(())
    }

    /// Drops every step that `saved` does not have, and notes as problems what only `saved` has.
    ///
    /// The metadata of directories that other steps touch is set in any case: it stays what it is.
    pub(crate) fn keep_only(&mut self, saved: &Plan) -> io::Result<()> {
        let mut wanted: HashMap<Digest, Vec<RelPath>> = HashMap::new();
        for step in saved.steps() {
            let step = step?;
            let paths = match &step.op {
                Op::Link { members, .. } => members.iter().map(|(path, _)| path.clone()).collect(),
                op => vec![op.path().clone()],
            };
            wanted.insert(step.likeness()?, paths);
        }
        let mut kept = Plan::new(None);
        for step in self.steps() {
            let step = step?;
            let follows = matches!(step.op, Op::Settle { differs: false, .. } | Op::Sweep { .. });
            if wanted.remove(&step.likeness()?).is_some() || follows {
                kept.push(step.id, step.side, step.op)?;
            }
        }
        kept.next_id = self.next_id;
        kept.summary = Summary { counts: kept.summary.counts, ..self.summary };
        let mut gone: Vec<RelPath> = wanted.into_values().flatten().collect();
        gone.sort();
        gone.dedup();
        kept.summary.skipped += gone.len() as u64;
        kept.conflicts = std::mem::take(&mut self.conflicts);
        kept.problems = gone
            .into_iter()
            .map(|path| Problem {
                path,
                error: "this step of the saved plan is not what is to be done here now; skipped"
                    .to_owned(),
            })
            .collect();
        *self = kept;
        Ok(())
    }

    /// How many numbers were given out.
    pub(crate) fn numbers(&self) -> usize {
        self.next_id as usize
    }

    /// What it comes to.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Paths that both sides changed.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// What could not be planned, and why.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.stages.iter().all(Spool::is_empty)
    }

    /// How many steps there are.
    pub fn len(&self) -> u64 {
        self.stages.iter().map(Spool::len).sum()
    }

    /// The steps in the order they are carried out.
    ///
    /// # Errors
    /// A plan too long for memory is kept in a file, which can fail to be read.
    pub fn steps(&self) -> impl Iterator<Item = io::Result<Step>> {
        self.stages.iter().flat_map(Spool::iter)
    }

    /// The steps of one stage on one side.
    pub(crate) fn stage(&self, stage: Stage, side: Side) -> impl Iterator<Item = io::Result<Step>> {
        self.stages[stage as usize]
            .iter()
            .filter(move |step| step.as_ref().map_or(true, |step| step.side == side))
    }

    /// Whether anything is done on `side`.
    pub(crate) fn touches(&self, side: Side) -> bool {
        Stage::ALL.iter().any(|&stage| self.stage(stage, side).next().is_some())
    }

    /// Writes the plan as JSON lines: a head with `"format": 1` and the sums, one line for each
    /// step, conflict and problem, and an end that tells a whole plan from a cut one.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut line = |line: &Line| write_json_line(&mut *out, line);
        line(&Line::Plan { format: 1, summary: self.summary })?;
        for step in self.steps() {
            line(&Line::Step(step?))?;
        }
        for conflict in &self.conflicts {
            line(&Line::Conflict(conflict.clone()))?;
        }
        for problem in &self.problems {
            line(&Line::Problem(problem.clone()))?;
        }
        line(&Line::End { steps: self.len() })
    }

    /// Reads what [`write_json`](Self::write_json) wrote. Nothing in it is trusted: paths are
    /// checked here, sums are made anew, guards and expectations when it is carried out.
    ///
    /// # Errors
    /// [`Error::Plan`] names the line and what is wrong with it.
    pub fn read_json(mut input: impl BufRead) -> Result<Plan, Error> {
        let mut plan = Plan::new(None);
        let mut number = 0;
        let mut buffer = Vec::new();
        // Steps are numbered anew; these are the numbers that others may speak of.
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        let fail = |line: u64, why: String| Error::Plan { line, why };
        loop {
            number += 1;
            buffer.clear();
            let read = io::Read::take(&mut input, LINE_MAX)
                .read_until(b'\n', &mut buffer)
                .map_err(|error| fail(number, error.to_string()))?;
            if read == 0 {
                return Err(fail(number, "the plan ends before its last line".to_owned()));
            }
            if buffer.last() != Some(&b'\n') {
                return Err(fail(number, "the line is cut or too long".to_owned()));
            }
            let line: Line =
                serde_json::from_slice(&buffer).map_err(|error| fail(number, unread(&error)))?;
            match line {
                Line::Plan { format: 1, summary } if number == 1 => {
                    plan.summary = Summary { counts: Default::default(), ..summary };
                }
                Line::Plan { format, .. } if number == 1 => {
                    let why = format!("its format is {format}; this program reads format 1");
                    return Err(fail(number, why));
                }
                _ if number == 1 => return Err(fail(1, "it is not a plan".to_owned())),
                Line::Plan { .. } => return Err(fail(number, "a second head".to_owned())),
                Line::Step(mut step) => {
                    check(&step.op).map_err(|why| fail(number, why.to_owned()))?;
                    if let Some(after) = step.op.after_mut() {
                        let known = numbers.get(after).copied();
                        *after = known.ok_or_else(|| {
                            fail(
                                number,
                                "it follows a step that does not come before it".to_owned(),
                            )
                        })?;
                    }
                    let id = plan.reserve();
                    if numbers.insert(step.id, id).is_some() {
                        let why = "another step has the same number".to_owned();
                        return Err(fail(number, why));
                    }
                    plan.push(id, step.side, step.op).map_err(Error::Spool)?;
                }
                Line::Conflict(conflict) => plan.conflicts.push(conflict),
                Line::Problem(problem) => plan.problems.push(problem),
                Line::End { steps } if steps == plan.len() => return Ok(plan),
                Line::End { .. } => return Err(fail(number, "steps are missing".to_owned())),
            }
        }
    }
}

/// Where a line cannot be read. The parser's own words repeat what stands there, and that may be a
/// secret, or an order to a terminal: anybody may have given us any file.
fn unread(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "it does not hold what such a line holds",
        _ => "it is not JSON",
    };
    match error.column() {
        0 => what.to_owned(),
        column => format!("{what}, at column {column}"),
    }
}

/// Refuses what no plan of ours holds: above all, changes to the root itself or to reserved names.
pub(crate) fn check(op: &Op) -> Result<(), &'static str> {
    use crate::path::{HISTORY_DIRECTORY, TEMPORARY_PREFIX};
    let temporary = |path: &RelPath| {
        let mut names = path.as_bytes().split(|&byte| byte == b'/');
        names.any(|name| name.starts_with(TEMPORARY_PREFIX))
    };
    let reserved = |path: &RelPath| {
        temporary(path)
            || path.as_bytes().split(|&byte| byte == b'/').next() == Some(HISTORY_DIRECTORY)
    };
    let mut paths = vec![op.path()];
    match op {
        Op::Sweep { path } => {
            let (_, name) = path.split().ok_or("the root cannot be swept")?;
            return if name.as_bytes().starts_with(TEMPORARY_PREFIX) {
                Ok(())
            } else {
                Err("only reserved names are swept")
            };
        }
        Op::MoveDirectory { from, to, .. } => {
            if from.is_within(to) || to.is_within(from) {
                return Err("a directory cannot move into itself");
            }
            paths.push(from);
        }
        Op::MoveFile { from, .. } => paths.push(from),
        Op::Link { members, after, leader_expected, .. } => {
            if after.is_some() == leader_expected.is_some() {
                return Err("it does not say what its names are linked to");
            }
            paths.extend(members.iter().map(|(path, _)| path));
        }
        Op::Put { kind: Kind::Directory, .. }
        | Op::ReplaceDirectory { kind: Kind::Directory, .. } => {
            return Err("a directory is made, not copied");
        }
        Op::ReplaceDirectory { leader, after, leader_expected, .. } => {
            let said = usize::from(after.is_some()) + usize::from(leader_expected.is_some());
            if said != usize::from(leader.is_some()) {
                return Err("it does not say what its name is linked to");
            }
            paths.extend(leader);
        }
        _ => {}
    }
    if !matches!(op, Op::Settle { .. }) && paths.iter().any(|path| path.is_root()) {
        return Err("the root itself cannot be replaced or removed");
    }
    if paths.into_iter().any(reserved) {
        return Err("the name is reserved");
    }
    Ok(())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps() {
            let step = step.map_err(|_| fmt::Error)?;
            if let Some(words) = step.op.words() {
                let side = if step.side == Side::A { "on A: " } else { "" };
                writeln!(f, "{side}{words}")?;
            }
        }
        for conflict in &self.conflicts {
            writeln!(f, "conflict at {conflict}")?;
        }
        Ok(())
    }
}
