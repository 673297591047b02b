//! Having steps carried out on a tree behind an agent.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::RemoteTree;
use crate::agent::phase_of;
use crate::endpoint::{Durability, Job, Outcome, Outcomes};
use crate::entry::{Digest, Entry, Identity, Problem};
use crate::error::Error;
use crate::path::RelPath;
use crate::plan::{Op, Stage};
use crate::progress::Event;
use crate::wire::LinkError;
use crate::wire::contents::{Delivered, contents_of, send_file};
use crate::wire::link::{Came, Stream};
use crate::wire::message::{ApplyOrder, LIST, Part, Progress, Request, Work, decode, encode};
use crate::wire::valid;

/// How soon a raised cancel token is seen.
const LOOK: Duration = Duration::from_millis(200);

/// How many bytes of problems are kept.
const PROBLEMS_MAX: usize = 64 << 20;

/// How many files an agent may wait for besides what comes by itself: one for each of its threads,
/// of which there are far fewer.
const WANTED_MAX: usize = 64;

/// What was sent for a step.
struct Sent {
    digest: Digest,
    fresh: Option<Box<Entry>>,
}

/// What the sending and the receiving thread share.
#[derive(Default)]
struct Desk {
    /// Files that the agent asks for on its own.
    wanted: VecDeque<(RelPath, Identity)>,
    /// By the steps' numbers on the wire.
    sent: BTreeMap<u32, Sent>,
    over: bool,
}

struct Push<'a> {
    tree: &'a RemoteTree,
    job: &'a Job<'a>,
    stream: Stream,
    /// The steps' own numbers, by those on the wire.
    ids: Vec<u32>,
    /// The numbers on the wire, by the steps' own.
    numbers: Vec<u32>,
    /// Whether a step brings a content, by the numbers on the wire.
    brings: Vec<bool>,
    desk: Mutex<Desk>,
    called: Condvar,
}

/// Why sending ended early, besides a link that failed.
enum Stopped {
    Link(LinkError),
    Other(Error),
}

impl From<LinkError> for Stopped {
    fn from(error: LinkError) -> Stopped {
        Stopped::Link(error)
    }
}

impl RemoteTree {
    pub(super) fn carry_out_there(&self, job: &Job<'_>) -> Result<Outcomes, Error> {
        let (mut ids, mut numbers) = (Vec::new(), vec![u32::MAX; job.plan.numbers()]);
        for stage in Stage::ALL {
            for step in job.plan.stage(stage, job.side) {
                let id = step.map_err(Error::Spool)?.id;
                let number = u32::try_from(ids.len()).unwrap_or(u32::MAX);
                if let Some(slot) = numbers.get_mut(id as usize) {
                    *slot = number;
                }
                ids.push(id);
            }
        }
        let order = ApplyOrder {
            run: job.run.to_owned(),
            durability: match job.durability {
                Durability::None => 0,
                Durability::Batch => 1,
                Durability::EachFile => 2,
            },
            fidelity: job.policy.fidelity,
            ownership: job.policy.ownership,
        };
        let stream =
            self.open_stream(&Request::Apply(order)).map_err(|error| self.failed(error))?;
        let (desk, called) = (Mutex::default(), Condvar::new());
        let mut brings = vec![false; ids.len()];
        for wanted in contents_of(job.plan, job.side) {
            let (id, ..) = wanted.map_err(Error::Spool)?;
            let number = numbers.get(id as usize).map_or(usize::MAX, |number| *number as usize);
            if let Some(slot) = brings.get_mut(number) {
                *slot = true;
            }
        }
        let push = Push { tree: self, job, stream, ids, numbers, brings, desk, called };
        thread::scope(|scope| {
            let sending = scope.spawn(|| push.ending_all(Push::send));
            let supplying = scope.spawn(|| push.ending_all(Push::supply));
            let received = push.receive();
            push.desk().over = true;
            push.called.notify_all();
            push.stream.close();
            let sent = sending.join().unwrap_or(Ok(()));
            let supplied = supplying.join().unwrap_or(Ok(()));
            match (received, sent.and(supplied)) {
                // Why nothing more was sent tells more than that the stream ended.
                (_, Err(Stopped::Other(error))) => Err(error),
                (Err(_), Err(Stopped::Link(error))) => Err(self.failed(error)),
                (Err(error), _) => Err(error),
                (Ok(outcomes), _) => Ok(outcomes),
            }
        })
    }
}

impl Push<'_> {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one of the things that end all others when they fail.
    fn ending_all(&self, work: impl FnOnce(&Self) -> Result<(), Stopped>) -> Result<(), Stopped> {
        let done = work(self);
        if done.is_err() {
            self.stream.close();
        }
        done
    }

    /// Sends the steps, then what they copy.
    fn send(&self) -> Result<(), Stopped> {
        if !self.send_steps()? {
            return Ok(());
        }
        let put = |part: Part| self.stream.send(&encode(&Work::Content(part)));
        for wanted in contents_of(self.job.plan, self.job.side) {
            let (id, path, identity, _) =
                wanted.map_err(|error| Stopped::Other(Error::Spool(error)))?;
            if !self.send_content(Some(id), &path, &identity, &put)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends what the agent asks for besides, each file on a stream of its own: the other one is
    /// full of what nobody takes before these have come. The agent may ask for what the plan brings
    /// it, and for nothing else in the source.
    fn supply(&self) -> Result<(), Stopped> {
        let mut known: Option<HashMap<RelPath, Option<u32>>> = None;
        loop {
            let mut desk = self.desk();
            while desk.wanted.is_empty() && !desk.over {
                desk = self.called.wait(desk).unwrap_or_else(PoisonError::into_inner);
            }
            let wanted = if desk.over { None } else { desk.wanted.pop_front() };
            drop(desk);
            let Some((path, identity)) = wanted else { return Ok(()) };
            let known = match &mut known {
                Some(known) => known,
                None => known.insert(self.brought().map_err(Stopped::Other)?),
            };
            let Some(step) = known.get(&path) else {
                let why = "S2: it asked for a file that the plan does not bring it";
                return Err(self.stream.accuse(why).into());
            };
            let stream = self.tree.open_stream(&Request::Supply(path.clone()))?;
            let put = |part: Part| stream.send(&encode(&part));
            // An agent that has given it up closes the stream, and goes on with other things.
            self.send_content(*step, &path, &identity, &put)?;
        }
    }

    fn send_steps(&self) -> Result<bool, Stopped> {
        let mut steps = Vec::new();
        let mut size = 0;
        for stage in Stage::ALL {
            for step in self.job.plan.stage(stage, self.job.side) {
                let mut op = step.map_err(|error| Stopped::Other(Error::Spool(error)))?.op;
                if let Some(after) = op.after_mut() {
                    *after = self.numbers.get(*after as usize).copied().unwrap_or(u32::MAX);
                }
                let more = encode(&op).len();
                if size > 0 && size + more > LIST {
                    let ops = std::mem::take(&mut steps);
                    if !self.stream.send(&encode(&Work::Steps(ops)))? {
                        return Ok(false);
                    }
                    size = 0;
                }
                size += more;
                steps.push(op);
            }
        }
        Ok((steps.is_empty() || self.stream.send(&encode(&Work::Steps(steps)))?)
            && self.stream.send(&encode(&Work::Go))?)
    }

    /// The paths that the plan brings, each with its step where that copies it.
    fn brought(&self) -> Result<HashMap<RelPath, Option<u32>>, Error> {
        let mut brought = HashMap::new();
        for wanted in contents_of(self.job.plan, self.job.side) {
            let (id, path, ..) = wanted.map_err(Error::Spool)?;
            brought.insert(path, Some(id));
        }
        for step in self.job.plan.stage(Stage::Moves, self.job.side) {
            if let Op::MoveFile { to, .. } = step.map_err(Error::Spool)?.op {
                brought.entry(to).or_insert(None);
            }
        }
        Ok(brought)
    }

    fn send_content(
        &self,
        step: Option<u32>,
        path: &RelPath,
        identity: &Identity,
        put: &dyn Fn(Part) -> Result<bool, LinkError>,
    ) -> Result<bool, Stopped> {
        let source = self.job.source;
        let number = step.and_then(|id| self.numbers.get(id as usize)).copied();
        let sent = |digest, fresh| {
            if let Some(number) = number {
                self.desk().sent.insert(number, Sent { digest, fresh });
            }
        };
        let delivered = send_file(source, path, identity, &self.tree.literal, put, &sent)?;
        source.done_with(path);
        match delivered {
            Delivered::Whole => Ok(true),
            Delivered::Not => match source.lost() {
                Some(lost) => Err(Stopped::Other(lost)),
                None => Ok(true),
            },
            Delivered::Unwanted => Ok(false),
        }
    }

    /// Takes in what the agent says until it is done.
    fn receive(&self) -> Result<Outcomes, Error> {
        let mut outcomes =
            Outcomes { steps: vec![None; self.job.plan.numbers()], ..Outcomes::default() };
        let mut contents = blake3::Hasher::new();
        let mut last = None;
        let patience = self.tree.patience.stuck;
        let mut waited = Duration::ZERO;
        // More than an honest agent has to say.
        let mut messages_left = 16 * self.ids.len() as u64 + 10_000;
        let (mut problems_left, mut unlisted) = (PROBLEMS_MAX, 0_u64);
        let failed = |error| self.tree.failed(error);
        let accuse = |why| Err(failed(self.stream.accuse(why)));
        loop {
            self.job.cancel.check()?;
            let message = match self.stream.receive_within(LOOK).map_err(failed)? {
                Came::Message(owed) => {
                    self.stream.pay(owed.cost);
                    waited = Duration::ZERO;
                    owed.body
                }
                Came::Nothing => {
                    waited += LOOK;
                    if waited >= patience {
                        let error = LinkError::Stuck(patience.as_secs());
                        self.tree.link.fail(error.clone());
                        return Err(failed(error));
                    }
                    continue;
                }
                Came::Closed => return accuse("the steps' stream ended without a word"),
            };
            messages_left = match messages_left.checked_sub(1) {
                Some(left) => left,
                None => return accuse("S17: it has more to say than there was to do"),
            };
            let message = decode::<Progress>(&message);
            let message = match message {
                Ok(message) => message,
                Err(_) => return accuse("a word on progress that says nothing known"),
            };
            match message {
                Progress::Phase(number) => match phase_of(number) {
                    Some(phase) => self.job.observer.event(&Event::Phase(phase)),
                    None => return accuse("S22: a phase that does not exist"),
                },
                Progress::Advanced { entries, bytes } => {
                    self.job.observer.event(&Event::Advanced { entries, bytes });
                }
                Progress::Synced { entries } => {
                    self.job.observer.event(&Event::Synced { entries });
                }
                Progress::Problem(problem) => {
                    let problem = valid::problem(problem);
                    self.job.observer.event(&Event::Problem(&problem));
                    let size = problem.path.as_bytes().len() + problem.error.len() + 64;
                    let room = outcomes.problems.len() < self.tree.limits.problems as usize;
                    match problems_left.checked_sub(size).filter(|_| room) {
                        Some(left) => {
                            problems_left = left;
                            outcomes.problems.push(problem);
                        }
                        None => unlisted += 1,
                    }
                }
                Progress::Wanted { path, identity } => {
                    let mut desk = self.desk();
                    if desk.wanted.len() >= WANTED_MAX {
                        drop(desk);
                        return accuse("S17: it asks for more files at once than it can take");
                    }
                    desk.wanted.push_back((path, identity));
                    drop(desk);
                    self.called.notify_all();
                }
                Progress::Outcomes(list) => {
                    for (number, identity) in list {
                        let id = self.ids.get(number as usize);
                        let (Some(&id), true) = (id, last < Some(number)) else {
                            return accuse("S15: an outcome of a step that there is not");
                        };
                        last = Some(number);
                        let sent = self.desk().sent.remove(&number);
                        let (digest, fresh) = match sent {
                            Some(sent) => (Some(sent.digest), sent.fresh),
                            None if self.brings[number as usize] => {
                                return accuse("S16: it wrote what it was not sent");
                            }
                            None => (None, None),
                        };
                        if let Some(digest) = &digest {
                            contents.update(&number.to_le_bytes());
                            contents.update(&digest.0);
                        }
                        if let Some(slot) = outcomes.steps.get_mut(id as usize) {
                            *slot = Some(Outcome { identity, digest, fresh });
                        }
                    }
                }
                Progress::Finished { counts, skipped, bytes_copied, contents: written } => {
                    if written != Digest(*contents.finalize().as_bytes()) {
                        return accuse("S16: it wrote other contents than it was sent");
                    }
                    (outcomes.counts, outcomes.skipped) = (counts, skipped);
                    outcomes.bytes_copied = bytes_copied;
                    if unlisted > 0 {
                        let error = format!("there are {unlisted} more problems than are listed");
                        outcomes.problems.push(Problem { path: RelPath::root(), error });
                    }
                    return Ok(outcomes);
                }
                Progress::Failed(setback) => return Err(self.tree.set_back(setback)),
            }
        }
    }
}
