//! Looking at the queue, and changing it by hand.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::{Handle, Stats, lock};
use crate::core::leg::Progress;
use crate::core::leg_name::LegName;
use crate::core::scheduler::{LegState, Queue};
use crate::core::transition::State;
use crate::id::SpoolId;
use crate::spool::{SpoolError, Stored};
use crate::time::Timestamp;

/// A message that is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueuedMessage {
    /// What it is called.
    pub id: SpoolId,
    /// When it was accepted.
    pub accepted: Timestamp,
    /// Its size in bytes.
    pub size: u32,
    /// Whether it is held.
    pub held: bool,
    /// How far it is on each leg.
    pub legs: Vec<QueuedLeg>,
}

/// How far a message is on a leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueuedLeg {
    /// The leg.
    pub leg: LegName,
    /// How many attempts there were that concerned this message.
    pub attempts: u16,
    /// How far it is for each recipient.
    pub recipients: Vec<QueuedRecipient>,
}

/// How far a message is for a recipient on a leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct QueuedRecipient {
    /// Its place in the envelope.
    pub number: u32,
    /// How far it is.
    pub state: State,
    /// What was said last about why it is not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
}

fn queued(queue: &Queue, id: SpoolId, size: u32, progress: &Progress) -> QueuedMessage {
    let remarks = queue.remarks(id);
    let leg = |share: &crate::core::leg::ShareProgress| QueuedLeg {
        leg: share.leg.clone(),
        attempts: share.attempts,
        recipients: share
            .recipients()
            .map(|(number, state)| {
                let about = |remark: &&crate::core::scheduler::Remark| {
                    remark.leg == share.leg && remark.recipient == number
                };
                let words = remarks.iter().find(about).map(|remark| remark.words.clone());
                QueuedRecipient { number, state, words }
            })
            .collect(),
    };
    QueuedMessage {
        id,
        accepted: id.time(),
        size,
        held: progress.held,
        legs: progress.shares().iter().map(leg).collect(),
    }
}

impl Handle {
    /// How often things happened since the engine was opened.
    pub fn stats(&self) -> Stats {
        self.0.counters.stats()
    }

    /// How many messages are not done.
    pub fn queue_len(&self) -> usize {
        lock(&self.0.queue).len()
    }

    /// How the legs are.
    pub fn legs(&self) -> Vec<LegState> {
        lock(&self.0.queue).legs()
    }

    /// Messages that are not done, oldest first, at most `most` of them, after `after`.
    pub fn list(&self, after: Option<SpoolId>, most: usize) -> Vec<QueuedMessage> {
        let queue = lock(&self.0.queue);
        queue
            .list(after)
            .take(most)
            .map(|(id, size, progress)| queued(&queue, id, size, progress))
            .collect()
    }

    /// How far one message is; none when it is done or unknown.
    pub fn progress(&self, id: SpoolId) -> Option<QueuedMessage> {
        let queue = lock(&self.0.queue);
        let progress = queue.progress(id)?;
        let size = queue.size(id)?;
        Some(queued(&queue, id, size, progress))
    }

    /// A message, done or not, as long as it is kept.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unknown`] when it is not or no longer kept.
    pub fn message(&self, id: SpoolId) -> Result<Stored, SpoolError> {
        self.0.load(id).map(|stored| Stored::clone(&stored))
    }

    /// The messages that are done and still kept, oldest first, with the time they were done.
    pub fn kept(&self) -> Vec<(SpoolId, Timestamp)> {
        self.0.spool.kept()
    }

    /// Keeps a message from being delivered; false when it is done, unknown or held already.
    pub fn hold(&self, id: SpoolId) -> bool {
        let mut queue = lock(&self.0.queue);
        let transition = queue.hold(id);
        transition.is_some_and(|transition| self.0.record(&[transition]))
    }

    /// Lets a message that was held go on; false when it was not.
    pub fn release(&self, id: SpoolId) -> bool {
        let mut queue = lock(&self.0.queue);
        let transition = queue.release(id);
        self.0.wake(&queue, id);
        transition.is_some_and(|transition| self.0.record(&[transition]))
    }

    /// Tries everything now, or everything of one leg, whatever it waits for; how many messages
    /// that concerns.
    pub fn flush(&self, leg: Option<&LegName>) -> usize {
        let mut queue = lock(&self.0.queue);
        let count = queue.flush(leg, self.0.now());
        for slot in self.0.legs.values() {
            slot.work.notify_all();
        }
        count
    }

    /// Delivers a message once more to all its recipients, through these legs or through all,
    /// whatever became of it. For an account that was restored from an old copy.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Unknown`] when it is not or no longer kept.
    pub fn resubmit(&self, id: SpoolId, legs: &[LegName]) -> Result<(), SpoolError> {
        let stored = self.message(id)?;
        let mut queue = lock(&self.0.queue);
        let size = stored.message.len() as u64;
        let transition = queue.resubmit(&stored.head, size, legs.to_vec());
        self.0.record(&[transition]);
        self.0.wake(&queue, id);
        Ok(())
    }

    /// Whether so little room is left that nothing is accepted.
    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Relaxed)
    }

    /// Does now what is done from time to time: gives up on what is too old, frees what nobody
    /// needs. For embedders with a clock of their own, and for tests.
    ///
    /// # Errors
    ///
    /// What the spool could not do.
    pub fn housekeep(&self) -> Result<(), SpoolError> {
        self.0.give_up();
        self.0.compact()?;
        self.0.spool.sync()
    }
}
