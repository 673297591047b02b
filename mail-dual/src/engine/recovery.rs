//! From what a spool tells to a queue.

use std::collections::BTreeMap;

use super::seen::Seen;
use crate::core::scheduler::Queue;
use crate::core::transition::Transition;
use crate::id::SpoolId;
use crate::spool::{Recovered, Spool};

/// Adds up what a spool tells.
#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) queue: Queue,
    pub(super) seen: Seen,
    /// Messages that were done, and so are not in the queue, and were resubmitted later: what has
    /// happened to them since.
    resubmitted: BTreeMap<SpoolId, Vec<Transition>>,
}

impl Recovery {
    pub(super) fn new(queue: Queue) -> Recovery {
        Recovery { queue, seen: Seen::default(), resubmitted: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, item: Recovered<'_>) {
        match item {
            Recovered::Message { head, size } => {
                self.queue.insert(head, size);
                self.seen.keep(head);
                for transition in self.resubmitted.remove(&head.id).unwrap_or_default() {
                    self.queue.apply(&transition);
                }
            }
            Recovered::Transition(transition) => self.add(transition),
        }
    }

    fn add(&mut self, transition: &Transition) {
        let id = transition.id();
        if self.queue.progress(id).is_some() {
            return self.queue.apply(transition);
        }
        match transition {
            Transition::Resubmitted { .. } => {
                self.resubmitted.entry(id).or_default().push(transition.clone());
            }
            Transition::Done { .. } | Transition::Void { .. } => {
                self.resubmitted.remove(&id);
            }
            _ => {
                if let Some(since) = self.resubmitted.get_mut(&id) {
                    since.push(transition.clone());
                }
            }
        }
    }

    /// Brings back what was resubmitted.
    pub(super) fn finish(mut self, spool: &dyn Spool) -> (Queue, Seen) {
        for (id, transitions) in std::mem::take(&mut self.resubmitted) {
            // Otherwise it was forgotten since, or its damage has been told.
            let Ok(stored) = spool.load(id) else { continue };
            for transition in &transitions {
                match transition {
                    Transition::Resubmitted { legs, .. } => {
                        let size = stored.message.len() as u64;
                        self.queue.resubmit(&stored.head, size, legs.clone());
                    }
                    other => self.queue.apply(other),
                }
            }
        }
        (self.queue, self.seen)
    }
}
