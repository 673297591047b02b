//! What an operator does with the queue, and looks at.

use super::{LegState, Queue, Remark, remark_of};
use crate::core::leg::Progress;
use crate::core::leg_name::LegName;
use crate::core::transition::{Share, Transition};
use crate::id::SpoolId;
use crate::spool::Head;
use crate::time::Timestamp;

impl Queue {
    /// Keeps a message where it is; the transition to record, if that is new.
    pub fn hold(&mut self, id: SpoolId) -> Option<Transition> {
        let entry = self.messages.get_mut(&id)?;
        (!std::mem::replace(&mut entry.progress.held, true)).then_some(Transition::Held { id })
    }

    /// Lets a message go on; the transition to record, if it was held.
    pub fn release(&mut self, id: SpoolId) -> Option<Transition> {
        let entry = self.messages.get_mut(&id)?;
        if !std::mem::replace(&mut entry.progress.held, false) {
            return None;
        }
        self.enqueue_open(id);
        Some(Transition::Released { id })
    }

    /// Delivers a message once more, whatever became of it; the transition to record.
    pub fn resubmit(&mut self, head: &Head, size: u64, legs: Vec<LegName>) -> Transition {
        let id = head.id;
        let is_new = !self.messages.contains_key(&id);
        self.insert(head, size);
        let transition = Transition::Resubmitted { id, legs: legs.clone() };
        if is_new && !legs.is_empty() {
            // What the other legs did stands.
            if let Some(entry) = self.messages.get_mut(&id) {
                for Share { leg, recipients } in &head.plan {
                    if !legs.contains(leg) {
                        entry.progress.settled(leg, recipients);
                    }
                }
            }
        }
        self.apply(&transition);
        self.enqueue_open(id);
        transition
    }

    fn enqueue_open(&mut self, id: SpoolId) {
        let Some(entry) = self.messages.get(&id) else { return };
        for share in entry.progress.shares() {
            if !share.is_final() && !share.taken {
                let queue = self.legs.entry(share.leg.clone()).or_default();
                queue.due.remove(&id);
                queue.ready.push_back(id);
            }
        }
    }

    /// Makes everything due, or everything of one leg; how many messages that were not.
    pub fn flush(&mut self, leg: Option<&LegName>, now: Timestamp) -> usize {
        let mut count = 0;
        for (name, queue) in &mut self.legs {
            if leg.is_none_or(|leg| leg == name) {
                count += queue.due.len();
                queue.later.clear();
                queue.ready.extend(std::mem::take(&mut queue.due).into_keys());
                queue.breaker.flush(now);
            }
        }
        count
    }

    /// The messages that are not done, oldest first, after `after`.
    pub fn list(&self, after: Option<SpoolId>) -> impl Iterator<Item = (SpoolId, u32, &Progress)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let entries = self.messages.range((from, Unbounded));
        entries.map(|(&id, entry)| (id, entry.size, &entry.progress))
    }

    /// How far a message is.
    pub fn progress(&self, id: SpoolId) -> Option<&Progress> {
        self.messages.get(&id).map(|entry| &entry.progress)
    }

    /// How many bytes a message has.
    pub fn size(&self, id: SpoolId) -> Option<u32> {
        self.messages.get(&id).map(|entry| entry.size)
    }

    /// What was said about those recipients of a message that were not delivered to.
    pub fn remarks(&self, id: SpoolId) -> &[Remark] {
        let remarks = self.messages.get(&id).and_then(|entry| entry.remarks.as_deref());
        remarks.map(Vec::as_slice).unwrap_or_default()
    }

    /// The legs that messages wait for although there are none of these names, and how many
    /// messages those are.
    pub fn stranded(&self) -> Vec<(LegName, usize)> {
        let legs = self.legs.iter().filter(|(_, queue)| !queue.exists);
        let waiting = legs.map(|(name, _)| (name.clone(), self.waiting_for(name)));
        waiting.filter(|(_, count)| *count > 0).collect()
    }

    fn waiting_for(&self, leg: &LegName) -> usize {
        let shares = self.messages.values().filter_map(|entry| entry.progress.share(leg));
        shares.filter(|share| !share.is_final()).count()
    }

    /// How the legs are.
    pub fn legs(&self) -> Vec<LegState> {
        self.legs
            .iter()
            .map(|(name, queue)| LegState {
                name: name.clone(),
                waiting: self.waiting_for(name),
                away_until: queue.breaker.retry_at(),
                trouble: queue.trouble.as_ref().map(|(at, trouble)| (*at, remark_of(trouble))),
            })
            .collect()
    }
}
