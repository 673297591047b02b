//! Which epoch a zone is to be at: plain values in, a plain value out.

use std::sync::Arc;

use super::survey::{View, Views};
use crate::epoch::{Active, Epoch, EpochRecord, SiteId};
use crate::rdata::RecordType;
use crate::rrset::RRset;
use crate::zone::Zone;

/// A zone that servers are to be brought to.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    pub(super) record: EpochRecord,
    pub(super) digest: RRset,
    /// None where only its digest is known, which is enough to compare.
    pub(super) zone: Option<Arc<Zone>>,
}

impl Goal {
    /// A sealed zone as a goal; None for one without a digest.
    pub(super) fn of(zone: Zone, record: EpochRecord) -> Option<Goal> {
        let digest = zone.get(zone.origin(), RecordType::ZONEMD)?.clone();
        Some(Goal { record, digest, zone: Some(Arc::new(zone)) })
    }

    pub(super) fn seen(record: EpochRecord, digest: RRset) -> Goal {
        Goal { record, digest, zone: None }
    }
}

/// What a round does about a zone.
#[derive(Debug)]
pub(super) enum Decided {
    /// Goes on towards what was decided before, or what is served already.
    Keep(Goal),
    /// Gives it a new epoch.
    Fresh(Goal),
    /// Gives way to this epoch, with this digest, and helps it.
    Yield(EpochRecord, RRset),
    /// Nothing: nobody could be asked, or the zone is not known here.
    Nothing,
}

/// The highest epoch among what was seen, with its digest. Among equal epochs with unequal digests, which
/// only a controller leaves behind that died and came back, any one is given.
pub(super) fn highest(views: &Views) -> Option<(EpochRecord, RRset)> {
    let seen = known(views).filter_map(|view| Some((view.record?, view.digest.clone()?)));
    seen.max_by_key(|(record, _)| record.epoch)
}

fn known(views: &Views) -> impl Iterator<Item = &View> {
    views.iter().flatten().filter_map(|view| view.as_ref().ok())
}

/// Chooses the epoch for a zone.
///
/// `now` is the epoch for a zone without one. `before` is what an earlier round decided, and `wish` where
/// the zone is to point.
pub(super) fn decide(
    controller: SiteId,
    now: Epoch,
    views: &Views,
    before: Option<&Goal>,
    wish: Option<Active>,
    make: &dyn Fn(EpochRecord) -> Option<Zone>,
) -> Decided {
    let Some(active) = wish else { return Decided::Nothing };
    if known(views).next().is_none() {
        return Decided::Nothing;
    }
    let highest = highest(views);
    if let Some(before) = before {
        match &highest {
            // Somebody was faster, or came later and read what we had written.
            Some((record, digest)) if record.epoch > before.record.epoch => {
                return Decided::Yield(*record, digest.clone());
            }
            _ if !is_split(views, before) => return Decided::Keep(before.clone()),
            _ => {}
        }
    } else if let Some((record, digest)) = &highest
        && record.active == active
        && let Some(goal) = make(*record).and_then(|zone| Goal::of(zone, *record))
        && goal.digest.rdatas() == digest.rdatas()
        && !is_split(views, &goal)
    {
        return Decided::Keep(goal);
    }
    let mut epoch = highest.map_or(now, |(record, _)| record.epoch.next(controller));
    for serial in known(views).filter_map(|view| view.serial) {
        if epoch.serial().partial_cmp(&serial) != Some(std::cmp::Ordering::Greater) {
            epoch = epoch.next_after(serial, controller);
        }
    }
    let record = EpochRecord { epoch, active };
    match make(record).and_then(|zone| Goal::of(zone, record)) {
        Some(goal) => Decided::Fresh(goal),
        None => Decided::Nothing,
    }
}

/// Whether some server has other content under the goal's own epoch. That one cannot be mended without
/// a new epoch, because secondaries would not notice.
fn is_split(views: &Views, goal: &Goal) -> bool {
    known(views).any(|view| {
        let serial = view.serial == Some(goal.record.epoch.serial());
        serial && !view.is_at(goal.record, &goal.digest)
    })
}

/// The zones that servers have now, as far as they can be made rather than transferred.
pub(super) fn bases(
    views: &Views,
    goal: Option<&Goal>,
    make: &dyn Fn(EpochRecord) -> Option<Zone>,
) -> Vec<Arc<Zone>> {
    let Some(goal) = goal else { return Vec::new() };
    let mut bases: Vec<(EpochRecord, RRset, Arc<Zone>)> = Vec::new();
    for view in known(views) {
        let (Some(record), Some(digest)) = (view.record, &view.digest) else { continue };
        let is_new = bases.iter().all(|(seen, with, _)| (*seen, with) != (record, digest));
        if record != goal.record
            && is_new
            && let Some(made) = make(record).and_then(|zone| Goal::of(zone, record))
            && made.digest.rdatas() == digest.rdatas()
            && let Some(zone) = made.zone
        {
            bases.push((record, made.digest, zone));
        }
    }
    bases.into_iter().map(|(_, _, zone)| zone).collect()
}
