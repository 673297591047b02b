//! One server that reads files. There is no prerequisite here: what it serves is looked at just before,
//! and a higher epoch is left alone.

use super::{Job, Outcome, Progress, Publisher, Seen, push, watch};
use crate::wire::Trouble;
use crate::zone::Zone;

/// Writes the zones that the server at `index` lacks, has it read them, and watches until it serves them.
pub(super) fn write(
    publisher: &Publisher<'_>,
    index: usize,
    jobs: &[Job],
    seen: &Seen<'_>,
) -> Vec<Option<Progress>> {
    let server = &publisher.topology.name_servers()[index];
    let mut results = Vec::with_capacity(jobs.len());
    let mut behind = Vec::new();
    let mut zones: Vec<&Zone> = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        let (Some(view), Some(_)) = (seen(place), &job.servers[index]) else {
            results.push(None);
            continue;
        };
        let outcome = push::at_once(view, job);
        if outcome.is_none()
            && let Some(zone) = job.goal.as_ref().and_then(|goal| goal.zone.as_ref())
        {
            zones.push(zone);
            behind.push(place);
        }
        results.push(Some(Progress { pushed: false, outcome }));
    }
    if zones.is_empty() {
        return results;
    }
    if let Err(error) = publisher.deploy.deploy(server, &zones) {
        for place in behind {
            let trouble = Trouble::Files { why: error.to_string() };
            results[place] = Some(Progress { pushed: false, outcome: Some(Outcome::of(trouble)) });
        }
        return results;
    }
    watch::watch(publisher, index, jobs, behind, &|_| true, &mut results);
    results
}
