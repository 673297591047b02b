//! Carrying out a caller's steps, none of which is trusted.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::asked::Asked;
use super::setback;
use super::tree::Tree;
use crate::endpoint::sealed::Sealed;
use crate::endpoint::{Durability, Endpoint, Job, Opened, Outcomes, Source};
use crate::entry::{Digest, Identity, Problem, Side};
use crate::error::Error;
use crate::fs::{Folder, Opening};
use crate::local::LocalTree;
use crate::path::RelPath;
use crate::plan::{self, Op, Plan};
use crate::policy::{Fidelity, Policy, Projection};
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::wire::LinkError;
use crate::wire::contents::Arrivals;
use crate::wire::link::Stream;
use crate::wire::message::{ApplyOrder, LIST, Part, Progress, Work, decode, encode};
use crate::wire::valid;

/// How many bytes of each stage's steps stay in memory.
const STEPS_IN_MEMORY: usize = 4 << 20;

/// How much is done before it is told.
const TOLD_ENTRIES: u64 = 64;
const TOLD_BYTES: u64 = 1 << 20;

pub(super) fn carry_out(
    stream: &Arc<Stream>,
    tree: &Tree,
    order: &ApplyOrder,
) -> Result<(), LinkError> {
    let say = |message: &Progress| stream.send(&encode(message));
    let refuse = |error: &Error| say(&Progress::Failed(setback(error))).map(drop);
    let durability = match order.durability {
        0 => Durability::None,
        1 => Durability::Batch,
        2 => Durability::EachFile,
        _ => return Err(LinkError::Protocol("a durability that does not exist")),
    };
    if !is_run_name(&order.run) {
        return Err(LinkError::Protocol("a name of a run that no run has"));
    }
    let asked = Policy { fidelity: order.fidelity, ownership: order.ownership, ..Policy::mirror() };
    let policy = match tree.capabilities() {
        Ok(capabilities) => asked.within(&capabilities),
        Err(error) => return refuse(&error),
    };
    let local = match tree.writable() {
        Ok(local) => local,
        Err(error) => return refuse(&error),
    };
    let _one_at_a_time = tree.working.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = local.lock() {
        return refuse(&error);
    }
    let mut problems = Vec::new();
    let plan = match steps(stream, tree, local, &policy, &mut problems)? {
        Ok(plan) => plan,
        Err(error) => return refuse(&error),
    };
    for problem in problems {
        say(&Progress::Problem(problem))?;
    }
    let telling = Telling { stream: stream.clone(), untold: Mutex::default() };
    let cancel = Cancel::default();
    let asked = Arc::new(Asked::new(tree.patience));
    let arrivals = Arc::new(Arrivals::new(stream.clone(), tree.patience, &asked.told));
    let pushed = Pushed { arrivals, asked, stream: stream.clone() };
    let slot = || tree.asked.lock().unwrap_or_else(PoisonError::into_inner);
    *slot() = Some(pushed.asked.clone());
    let job = Job {
        plan: &plan,
        side: Side::B,
        source: &pushed,
        policy: &policy,
        durability,
        threads: thread::available_parallelism().map_or(2, usize::from).clamp(2, 8),
        run: &order.run,
        observer: &telling,
        cancel: &cancel,
    };
    let told = thread::scope(|scope| {
        scope.spawn(|| {
            pushed.arrivals.take_in(content);
            // Nothing can be completed any more, unless all is.
            cancel.cancel();
            pushed.asked.end();
        });
        let done = local.carry_out(&job);
        let told = match done {
            Ok(outcomes) => tell(stream, &telling, &outcomes),
            Err(error) => refuse(&error),
        };
        // Ends the thread that takes in what comes.
        stream.close();
        told
    });
    *slot() = None;
    told
}

/// A content among the caller's work.
fn content(message: &[u8]) -> Result<Part, LinkError> {
    match decode(message)? {
        Work::Content(part) => Ok(part),
        _ => Err(LinkError::Protocol("steps came after the last one")),
    }
}

/// Takes in a file that was asked for.
pub(super) fn take_supply(
    stream: &Arc<Stream>,
    tree: &Tree,
    path: &RelPath,
) -> Result<(), LinkError> {
    let asked = tree.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // Whoever asked may have given up meanwhile.
    let Some(asked) = asked else { return Ok(()) };
    let arrivals = Arc::new(Arrivals::asking(stream.clone(), tree.patience, &asked.told));
    arrivals.asked(path);
    if asked.answer(path, &arrivals) {
        arrivals.take_in(decode);
    }
    Ok(())
}

/// Whether temporary names with this in them are known again as such.
fn is_run_name(name: &str) -> bool {
    name.len() <= 40 && crate::path::is_temporary(format!(".mirror-tmp-{name}-n0").as_bytes())
}

/// Reads the steps and makes a plan of those that may be carried out.
fn steps(
    stream: &Stream,
    tree: &Tree,
    local: &LocalTree,
    policy: &Policy,
    problems: &mut Vec<Problem>,
) -> Result<Result<Plan, Error>, LinkError> {
    let capabilities = match local.capabilities() {
        Ok(capabilities) => capabilities,
        Err(error) => return Ok(Err(error)),
    };
    let onto = Projection::new(policy, &capabilities);
    let mut plan = Plan::with_limit(folder(local), STEPS_IN_MEMORY);
    loop {
        let Some(message) = stream.receive()? else { return Ok(Err(Error::Cancelled)) };
        let ops = match decode(&message)? {
            Work::Steps(ops) => ops,
            Work::Go => return Ok(Ok(plan)),
            Work::Content(_) => return Err(LinkError::Protocol("contents came before the steps")),
        };
        for mut op in ops {
            let id = plan.reserve();
            if id >= tree.limits.steps {
                let why = format!(
                    "the plan has more than {} steps, the most that it carries out in one go; start \
                     it with a higher --max-steps, or mirror a part of the tree first",
                    tree.limits.steps
                );
                let source = LinkError::Declined(why);
                return Ok(Err(Error::Link { peer: "the agent".to_owned(), source }));
            }
            plan::check(&op).map_err(LinkError::Protocol)?;
            valid::op(&op)?;
            if op.after_mut().is_some_and(|after| *after >= id) {
                return Err(LinkError::Protocol("a step that follows one that comes later"));
            }
            match allowed(op, policy, &onto) {
                Ok(op) => {
                    if let Err(error) = plan.push(id, Side::B, op) {
                        return Ok(Err(Error::Spool(error)));
                    }
                }
                Err(problem) => problems.push(problem),
            }
            if problems.len() > tree.limits.problems as usize {
                return Err(LinkError::Protocol("more steps that are not allowed than are told"));
            }
        }
    }
}

/// Where steps go that do not fit in memory: a file without a name beside the tree's own.
fn folder(local: &LocalTree) -> Option<Folder> {
    let root = local.root()?;
    let dir = root.fs.open_at(root.descriptor().as_fd(), b".", Opening::Directory).ok()?;
    Some(Folder { fs: root.fs.clone(), dir: Arc::new(dir) })
}

/// A step as this agent carries it out, or why it does not.
fn allowed(mut op: Op, policy: &Policy, onto: &Projection) -> Result<Op, Problem> {
    if policy.fidelity != Fidelity::Hosted {
        return Ok(op);
    }
    match &op {
        Op::Put { path, kind, .. } | Op::ReplaceDirectory { path, kind, .. } => {
            if let Some(why) = onto.refuses(path, kind) {
                return Err(Problem { path: path.clone(), error: why.to_owned() });
            }
        }
        _ => {}
    }
    match &mut op {
        Op::MakeDirectory { meta, .. }
        | Op::ReplaceWithDirectory { meta, .. }
        | Op::Put { meta, .. }
        | Op::SetMeta { meta, .. }
        | Op::ReplaceDirectory { meta, .. }
        | Op::Settle { meta, .. }
        | Op::MoveFile { meta: Some(meta), .. } => *meta = onto.meta(meta),
        _ => {}
    }
    Ok(op)
}

/// Tells what became of the steps.
fn tell(stream: &Stream, telling: &Telling, outcomes: &Outcomes) -> Result<(), LinkError> {
    telling.flush()?;
    let say = |message: &Progress| stream.send(&encode(message));
    let mut contents = blake3::Hasher::new();
    let mut list = Vec::new();
    for (number, outcome) in (0_u32..).zip(&outcomes.steps) {
        let Some(outcome) = outcome else { continue };
        if let Some(digest) = &outcome.digest {
            contents.update(&number.to_le_bytes());
            contents.update(&digest.0);
        }
        list.push((number, outcome.identity));
        if list.len() * 24 > LIST && !say(&Progress::Outcomes(std::mem::take(&mut list)))? {
            return Ok(());
        }
    }
    if !list.is_empty() && !say(&Progress::Outcomes(list))? {
        return Ok(());
    }
    say(&Progress::Finished {
        counts: outcomes.counts,
        skipped: outcomes.skipped,
        bytes_copied: outcomes.bytes_copied,
        contents: Digest(*contents.finalize().as_bytes()),
    })
    .map(drop)
}

/// Passes what happens on to the caller.
#[derive(Debug)]
struct Telling {
    stream: Arc<Stream>,
    /// Entries and bytes that are done and not told.
    untold: Mutex<(u64, u64)>,
}

impl Telling {
    fn flush(&self) -> Result<(), LinkError> {
        let untold = &mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, bytes) = std::mem::take(untold);
        if (entries, bytes) == (0, 0) {
            return Ok(());
        }
        self.stream.send(&encode(&Progress::Advanced { entries, bytes })).map(drop)
    }
}

impl Observer for Telling {
    fn event(&self, event: &Event<'_>) {
        // A link that failed is noticed by whoever waits for something to come over it.
        let _ = match event {
            Event::Phase(phase) => self.flush().and_then(|()| {
                self.stream.send(&encode(&Progress::Phase(number_of(*phase)))).map(drop)
            }),
            Event::Advanced { entries, bytes } => {
                let enough = {
                    let untold = &mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner);
                    untold.0 += entries;
                    untold.1 += bytes;
                    untold.0 >= TOLD_ENTRIES || untold.1 >= TOLD_BYTES
                };
                if enough { self.flush() } else { Ok(()) }
            }
            Event::Synced { entries } => {
                self.stream.send(&encode(&Progress::Synced { entries: *entries })).map(drop)
            }
            Event::Problem(problem) => {
                let problem = Progress::Problem((*problem).clone());
                self.stream.send(&encode(&problem)).map(drop)
            }
            _ => Ok(()),
        };
    }
}

/// The phases by their numbers on the wire.
const PHASES: [Phase; 8] = [
    Phase::Structure,
    Phase::Moving,
    Phase::Copying,
    Phase::Linking,
    Phase::Deleting,
    Phase::Settling,
    Phase::Syncing,
    Phase::Sweeping,
];

fn number_of(phase: Phase) -> u8 {
    let at = PHASES.iter().position(|candidate| *candidate == phase).unwrap_or_default();
    u8::try_from(at).unwrap_or_default()
}

pub(crate) fn phase_of(number: u8) -> Option<Phase> {
    PHASES.get(usize::from(number)).copied()
}

/// The source of what is carried out: what the caller pushes.
#[derive(Debug)]
struct Pushed {
    /// What comes by itself.
    arrivals: Arc<Arrivals>,
    /// What has to be asked for.
    asked: Arc<Asked>,
    stream: Arc<Stream>,
}

impl Sealed for Pushed {}

impl Source for Pushed {
    fn open(&self, path: &RelPath, expected: &Identity) -> io::Result<Opened> {
        if self.arrivals.brings(path, expected) {
            return self.arrivals.open(path, expected);
        }
        let wanted = Progress::Wanted { path: path.clone(), identity: *expected };
        let ask = || self.stream.send(&encode(&wanted));
        let arrivals = self.asked.ask(path, ask).map_err(LinkError::into_io)?;
        arrivals.open(path, expected)
    }

    fn done_with(&self, path: &RelPath) {
        self.arrivals.done_with(path);
    }

    fn lost(&self) -> Option<Error> {
        let source = self.arrivals.lost()?;
        Some(Error::Link { peer: "the caller".to_owned(), source })
    }
}
