//! A spool that lasts as long as the process: for tests, and where losing mail is no loss.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{CompactReport, Recovered, RecoveryReport, Spool, SpoolError, Stored};
use crate::core::transition::Transition;
use crate::id::SpoolId;
use crate::time::Timestamp;

/// A spool in memory.
#[derive(Debug, Default)]
pub struct MemSpool(Mutex<BTreeMap<SpoolId, Kept>>);

#[derive(Debug)]
struct Kept {
    stored: Stored,
    transitions: Vec<Transition>,
    done: Option<Timestamp>,
}

impl MemSpool {
    /// An empty one.
    pub fn new() -> MemSpool {
        MemSpool::default()
    }

    fn kept_messages(&self) -> MutexGuard<'_, BTreeMap<SpoolId, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool for MemSpool {
    fn append(&self, messages: &[Stored]) -> Result<(), SpoolError> {
        let mut kept = self.kept_messages();
        for stored in messages {
            let stored = stored.clone();
            let entry = Kept { stored, transitions: Vec::new(), done: None };
            kept.insert(entry.stored.head.id, entry);
        }
        Ok(())
    }

    fn record(&self, transitions: &[Transition]) -> Result<(), SpoolError> {
        let mut messages = self.kept_messages();
        for transition in transitions {
            let Some(kept) = messages.get_mut(&transition.id()) else { continue };
            match transition {
                Transition::Done { at, .. } => kept.done = Some(*at),
                Transition::Resubmitted { .. } => kept.done = None,
                Transition::Void { id } => {
                    messages.remove(id);
                    continue;
                }
                _ => {}
            }
            kept.transitions.push(transition.clone());
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), SpoolError> {
        Ok(())
    }

    fn load(&self, id: SpoolId) -> Result<Stored, SpoolError> {
        let messages = self.kept_messages();
        messages.get(&id).map(|kept| kept.stored.clone()).ok_or(SpoolError::Unknown(id))
    }

    fn recover(&self, visit: &mut dyn FnMut(Recovered<'_>)) -> Result<RecoveryReport, SpoolError> {
        let messages = self.kept_messages();
        for kept in messages.values() {
            let size = kept.stored.message.len() as u64;
            visit(Recovered::Message { head: &kept.stored.head, size });
            for transition in &kept.transitions {
                visit(Recovered::Transition(transition));
            }
        }
        Ok(RecoveryReport { messages: messages.len() as u64, ..RecoveryReport::default() })
    }

    fn compact(
        &self,
        keep_since: Timestamp,
        _restate: &dyn Fn(SpoolId) -> Result<(), SpoolError>,
    ) -> Result<CompactReport, SpoolError> {
        let mut messages = self.kept_messages();
        let before = messages.len();
        messages.retain(|_, kept| kept.done.is_none_or(|done| done >= keep_since));
        let removed = (before - messages.len()) as u64;
        Ok(CompactReport { removed, ..CompactReport::default() })
    }

    fn kept(&self) -> Vec<(SpoolId, Timestamp)> {
        let messages = self.kept_messages();
        messages.iter().filter_map(|(&id, kept)| Some((id, kept.done?))).collect()
    }

    fn free(&self) -> Option<u64> {
        None
    }
}
