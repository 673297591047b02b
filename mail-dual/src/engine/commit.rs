//! One sync for all messages that come at the same time.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use super::lock;
use crate::spool::{Spool, SpoolError, Stored};

/// Brings together those who want something to be durable.
///
/// There is no thread for it: the first who comes writes for all that are there, and those who
/// come meanwhile wait for the next round, which one of them writes.
#[derive(Debug, Default)]
pub(super) struct Committer {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: Vec<(u64, Stored)>,
    writing: bool,
    results: BTreeMap<u64, Result<Arc<Stored>, SpoolError>>,
}

/// No more bytes are written at once, unless one message has them.
const ROUND: usize = 16 << 20;

impl Committer {
    /// Keeps a message; when this returns, it is durable, or nobody has kept it.
    pub(super) fn commit(
        &self,
        spool: &dyn Spool,
        stored: Stored,
    ) -> Result<Arc<Stored>, SpoolError> {
        let mut state = lock(&self.state);
        let ticket = state.next;
        state.next += 1;
        state.waiting.push((ticket, stored));
        loop {
            if let Some(result) = state.results.remove(&ticket) {
                return result;
            }
            if state.writing {
                state = self.done.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            }
            state.writing = true;
            let round = next_round(&mut state.waiting);
            drop(state);
            let (tickets, messages): (Vec<u64>, Vec<Stored>) = round.into_iter().unzip();
            let result = spool.append(&messages);
            state = lock(&self.state);
            state.writing = false;
            for (ticket, stored) in tickets.into_iter().zip(messages) {
                let result = result.clone().map(|()| Arc::new(stored));
                state.results.insert(ticket, result);
            }
            self.done.notify_all();
        }
    }
}

fn next_round(waiting: &mut Vec<(u64, Stored)>) -> Vec<(u64, Stored)> {
    let mut bytes = 0;
    let fits = waiting
        .iter()
        .take_while(|(_, stored)| {
            bytes += stored.message.len();
            bytes <= ROUND
        })
        .count();
    let rest = waiting.split_off(fits.max(1).min(waiting.len()));
    std::mem::replace(waiting, rest)
}
