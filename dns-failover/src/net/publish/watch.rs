//! Looking at what came of it, and servers that transfer by themselves.

use std::sync::mpsc;
use std::time::Duration;

use super::survey::{answer, look};
use super::{Job, Outcome, Progress, Publisher, Seen, Session};
use crate::name::Name;
use crate::rdata::RecordType;
use crate::wire::{self, Trouble};

/// Asks a server for what was changed, besides what identifies the zone.
pub(super) fn check(
    session: &mut Session<'_>,
    zones: &[(&Job, &[(Name, RecordType)])],
) -> Vec<Outcome> {
    let names: Vec<&Name> = zones.iter().map(|(job, _)| &job.name).collect();
    let views = look(session, &names);
    let questions = zones.iter().flat_map(|(_, changed)| changed.iter());
    let questions = questions.map(|(owner, rtype)| wire::question(owner, *rtype)).collect();
    let mut replies = session.ask(questions).into_iter();
    let mut outcomes = Vec::with_capacity(zones.len());
    for ((job, changed), view) in zones.iter().zip(views) {
        let replies: Vec<_> = changed.iter().map(|_| replies.next()).collect();
        outcomes.push(match (&job.goal, view) {
            (_, Err(trouble)) => Outcome::of(trouble),
            (Some(goal), Ok(view)) if view.is_at(goal.record, &goal.digest) => {
                let served = changed.iter().zip(replies).try_for_each(|((owner, rtype), reply)| {
                    let reply =
                        reply.unwrap_or(Err(Trouble::Unreachable { why: String::new() }))?;
                    let found = answer(owner, *rtype, &reply)?;
                    let wanted = goal.zone.as_ref().and_then(|zone| zone.get(owner, *rtype));
                    let found = found.as_ref().map(|set| set.rdatas());
                    let same = found == wanted.map(|set| set.rdatas());
                    let why = format!("{owner} {rtype} is not what the zone's digest stands for");
                    if same { Ok(()) } else { Err(Trouble::Rubbish { why }) }
                });
                served.map_or_else(Outcome::of, |()| Outcome::Applied)
            }
            (_, Ok(view)) => Outcome::Diverged { found: view.record, serial: view.serial },
        });
    }
    outcomes
}

/// The server at `index` transfers: tells it what its primaries have got, as `told`, and watches it
/// until it has it too.
pub(super) fn follow(
    publisher: &Publisher<'_>,
    index: usize,
    jobs: &[Job],
    seen: &Seen<'_>,
    told: &mpsc::Receiver<usize>,
) -> Vec<Option<Progress>> {
    let server = &publisher.topology.name_servers()[index];
    let mut results: Vec<Option<Progress>> = Vec::with_capacity(jobs.len());
    let mut behind = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        let outcome = match (seen(place), &job.goal) {
            (None, _) => {
                results.push(None);
                continue;
            }
            (Some(Ok(view)), Some(goal)) if view.is_at(goal.record, &goal.digest) => {
                Some(Outcome::AlreadyThere)
            }
            // A moment ago it was out of reach, and finding that out again takes a timeout.
            (Some(Err(trouble @ Trouble::Unreachable { .. })), Some(_)) => {
                Some(Outcome::of(trouble.clone()))
            }
            // It may be one that learns of the zone now, so its word is not the last one yet.
            (Some(view), Some(_)) => {
                behind.push(place);
                view.as_ref().err().cloned().map(Outcome::of)
            }
            (Some(Err(trouble)), None) => Some(Outcome::of(trouble.clone())),
            (Some(Ok(view)), None) => {
                Some(Outcome::Diverged { found: view.record, serial: view.serial })
            }
        };
        results.push(Some(Progress { pushed: false, outcome }));
    }
    let mut session = match Session::open(publisher.network, server) {
        Ok(session) => session,
        Err(trouble) => {
            for place in behind {
                let outcome = Some(Outcome::of(trouble.clone()));
                results[place] = Some(Progress { pushed: false, outcome });
            }
            return results;
        }
    };
    let mut notified = vec![false; jobs.len()];
    while let Ok(first) = told.recv() {
        let mut places = vec![first];
        places.extend(told.try_iter().take(256));
        places.retain(|place| behind.binary_search(place).is_ok());
        places.sort_unstable();
        places.dedup();
        let notify = |place: &usize| {
            let goal = jobs[*place].goal.as_ref().and_then(|goal| goal.zone.as_ref());
            let soa = goal.and_then(|zone| zone.get(zone.origin(), RecordType::SOA));
            wire::notify(&jobs[*place].name, soa)
        };
        // What it says to this matters little: what it serves in the end does.
        session.ask(places.iter().map(notify).collect());
        for place in places {
            notified[place] = true;
        }
    }
    drop(session);
    watch(publisher, index, jobs, behind, &|place| notified[place], &mut results);
    results
}

/// Looks again and again until all is there or patience ends, each time on a connection of its own:
/// NSD goes on answering with what it had when a connection was opened.
pub(super) fn watch(
    publisher: &Publisher<'_>,
    index: usize,
    jobs: &[Job],
    mut behind: Vec<usize>,
    waits: &dyn Fn(usize) -> bool,
    results: &mut [Option<Progress>],
) {
    let server = &publisher.topology.name_servers()[index];
    let mut waited = Duration::ZERO;
    let mut step = Duration::from_millis(5);
    loop {
        let zones: Vec<(&Job, &[(Name, RecordType)])> =
            behind.iter().map(|&place| (&jobs[place], &[][..])).collect();
        let outcomes = match Session::open(publisher.network, server) {
            Ok(mut session) => check(&mut session, &zones),
            Err(trouble) => vec![Outcome::of(trouble); zones.len()],
        };
        let mut hopeful = false;
        let mut still = Vec::with_capacity(behind.len());
        for (place, outcome) in behind.into_iter().zip(outcomes) {
            let done = outcome == Outcome::Applied;
            if !done {
                hopeful |= waits(place);
                still.push(place);
            }
            results[place] = Some(Progress { pushed: done, outcome: Some(outcome) });
        }
        behind = still;
        if behind.is_empty() || !hopeful || waited >= publisher.patience.settle {
            return;
        }
        publisher.network.pause(step);
        waited += step;
        step = (step * 2).min(Duration::from_millis(100));
    }
}
