//! One server that we change: by UPDATE with the epoch as its prerequisite.

use std::sync::{Arc, mpsc};

use super::survey::View;
use super::{Job, Outcome, Progress, Publisher, Seen, Session, watch};
use crate::diff::Diff;
use crate::epoch::EpochRecord;
use crate::name::Name;
use crate::rdata::RecordType;
use crate::rrset::RRset;
use crate::wire::{self, Prerequisite, Rcode, Trouble};
use crate::zone::Zone;

/// Brings the server at `index` to all goals, and tells those who transfer from it as it goes.
pub(super) fn push(
    publisher: &Publisher<'_>,
    index: usize,
    jobs: &[Job],
    seen: &Seen<'_>,
    bases: &[Vec<Arc<Zone>>],
    tell: &[mpsc::Sender<usize>],
) -> Vec<Option<Progress>> {
    let mut results: Vec<Option<Progress>> = Vec::with_capacity(jobs.len());
    let mut updates = Vec::new();
    let mut places = Vec::new();
    let server = &publisher.topology.name_servers()[index];
    let mut session = None;
    for (place, job) in jobs.iter().enumerate() {
        let (Some(view), Some(_)) = (seen(place), &job.servers[index]) else {
            results.push(None);
            continue;
        };
        let outcome = at_once(view, job);
        if let (None, Ok(view), Some(goal)) = (&outcome, view, &job.goal)
            && let Some(zone) = &goal.zone
        {
            let opened = match &mut session {
                Some(session) => Ok(session),
                none => {
                    Session::open(publisher.network, server).map(|session| none.insert(session))
                }
            };
            let diff = opened.and_then(|session| {
                let base = base(session, &job.name, view, &bases[place])?;
                let rubbish =
                    |error: crate::diff::DiffError| Trouble::Rubbish { why: error.to_string() };
                Diff::between(&base, zone).map_err(rubbish)
            });
            match diff {
                Ok(diff) => {
                    let prerequisites = prerequisites(&job.name, view);
                    updates.push(wire::update(&job.name, &prerequisites, &diff));
                    places.push((place, changed(&diff)));
                }
                Err(trouble) => {
                    results.push(Some(Progress {
                        pushed: false,
                        outcome: Some(Outcome::of(trouble)),
                    }));
                    continue;
                }
            }
        }
        if outcome == Some(Outcome::AlreadyThere) {
            for teller in tell {
                // A secondary that has gone on without us needs no telling.
                let _ = teller.send(place);
            }
        }
        results.push(Some(Progress { pushed: false, outcome }));
    }
    let Some(mut session) = session else { return results };
    let mut applied = Vec::new();
    // In portions, so that secondaries begin while we are still at it.
    let mut updates = updates.into_iter().peekable();
    let mut places = places.into_iter();
    while updates.peek().is_some() {
        let portion: Vec<_> = updates.by_ref().take(64).collect();
        for reply in session.ask(portion) {
            let Some((place, changed)) = places.next() else { break };
            let trouble = match reply.map(|reply| reply.rcode()) {
                Ok(Rcode::NOERROR) => {
                    applied.push((place, changed));
                    for teller in tell {
                        let _ = teller.send(place);
                    }
                    continue;
                }
                Ok(rcode) => Trouble::Refused { rcode },
                Err(trouble) => trouble,
            };
            results[place] =
                Some(Progress { pushed: false, outcome: Some(refused(seen(place), trouble)) });
        }
    }
    let zones = applied.iter().map(|(place, changed)| (&jobs[*place], changed.as_slice()));
    let outcomes = watch::check(&mut session, &zones.collect::<Vec<_>>());
    for ((place, _), outcome) in applied.iter().zip(outcomes) {
        results[*place] = Some(Progress { pushed: true, outcome: Some(outcome) });
    }
    results
}

/// What can be said of a zone on a server without doing anything; none where there is something to do.
pub(super) fn at_once(view: &Result<View, Trouble>, job: &Job) -> Option<Outcome> {
    match (view, &job.goal) {
        (Err(trouble), _) => Some(Outcome::of(trouble.clone())),
        (Ok(view), None) => Some(diverged(view)),
        (Ok(view), Some(goal)) if view.is_at(goal.record, &goal.digest) => {
            Some(Outcome::AlreadyThere)
        }
        (Ok(view), Some(goal)) if is_ahead(view, goal.record) => Some(diverged(view)),
        (Ok(_), Some(_)) => None,
    }
}

/// An update whose prerequisite did not hold was overtaken: the next round sees by what.
fn refused(seen: Option<&Result<View, Trouble>>, trouble: Trouble) -> Outcome {
    let overtaken = [Rcode::NXRRSET, Rcode::YXRRSET];
    match (&trouble, seen) {
        (Trouble::Refused { rcode }, Some(Ok(view))) if overtaken.contains(rcode) => diverged(view),
        _ => Outcome::of(trouble),
    }
}

fn diverged(view: &View) -> Outcome {
    Outcome::Diverged { found: view.record, serial: view.serial }
}

fn is_ahead(view: &View, record: EpochRecord) -> bool {
    view.record.is_some_and(|found| found.epoch > record.epoch)
}

/// What the server has now: made here when its digest says that it is the same, else transferred. A
/// serial that is not the epoch's says that somebody else changed the zone and left the digest alone.
fn base(
    session: &mut Session<'_>,
    name: &Name,
    view: &View,
    bases: &[Arc<Zone>],
) -> Result<Arc<Zone>, Trouble> {
    let digest_of =
        |zone: &Zone| zone.get(name, RecordType::ZONEMD).map(|set| set.rdatas().to_vec());
    let untouched = view.record.map(|record| record.epoch.serial()) == view.serial;
    let wanted = view.digest.as_ref().filter(|_| untouched).map(|set| set.rdatas().to_vec());
    match bases.iter().find(|zone| wanted.is_some() && digest_of(zone) == wanted) {
        Some(zone) => Ok(Arc::clone(zone)),
        None => session.transfer(name).map(Arc::new),
    }
}

/// The zone is what we think it is: its epoch and its digest are what we have seen.
fn prerequisites(zone: &Name, view: &View) -> [Prerequisite; 2] {
    let or_absent = |found: &Option<RRset>, owner: Name, rtype| match found {
        Some(rrset) => Prerequisite::Equals(rrset.clone()),
        None => Prerequisite::Absent(owner, rtype),
    };
    let label = zone.child(EpochRecord::LABEL).unwrap_or_else(|_| zone.clone());
    [
        or_absent(&view.epoch, label, RecordType::TXT),
        or_absent(&view.digest, zone.clone(), RecordType::ZONEMD),
    ]
}

/// The RRsets that a check asks for besides what identifies the zone.
fn changed(diff: &Diff) -> Vec<(Name, RecordType)> {
    let is_book = |set: &&RRset| [RecordType::SOA, RecordType::ZONEMD].contains(&set.rtype());
    let sets = diff.changes().iter().filter_map(|change| change.after.as_ref());
    let sets = sets.filter(|set| !is_book(set));
    sets.map(|set| (set.owner().clone(), set.rtype())).take(16).collect()
}
