//! Taking messages over.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::seen::Arriving;
use super::{Event, Handle, Shared, lock};
use crate::accept::{Accept, Port, Receipt, Submission};
use crate::core::leg::Progress;
use crate::core::leg_name::LegName;
use crate::core::route::AckPolicy;
use crate::core::scheduler::Queue;
use crate::core::transition::State;
use crate::envelope::{ForwardPath, ReversePath};
use crate::id::SpoolId;
use crate::leg::Presence;
use crate::message::RawMessage;
use crate::received::Received;
use crate::reply::Reply;
use crate::spool::{Head, SpoolError, Stored};

/// A message that has passed so many servers is in a loop (RFC 5321 §6.3).
const MOST_HOPS: usize = 100;

/// Waits for legs to have a message.
#[derive(Debug)]
pub(super) struct Waiter {
    legs: Vec<LegName>,
    state: Mutex<Option<Result<(), String>>>,
    changed: Condvar,
}

impl Waiter {
    fn new(legs: Vec<LegName>) -> Waiter {
        Waiter { legs, state: Mutex::new(None), changed: Condvar::new() }
    }

    fn end(&self, result: Result<(), String>) {
        let mut state = lock(&self.state);
        if state.is_none() {
            *state = Some(result);
            self.changed.notify_all();
        }
    }

    pub(super) fn give_up(&self) {
        self.end(Err("the relay is stopping".to_owned()));
    }

    /// Looks whether the legs have it, or one cannot take it now.
    pub(super) fn look(&self, queue: &Queue, id: SpoolId) {
        // What is no longer queued is done: everybody has it.
        let Some(progress) = queue.progress(id) else { return self.end(Ok(())) };
        let mut all = true;
        for leg in &self.legs {
            match standing(progress, leg) {
                Standing::Taken => {}
                Standing::Refused => {
                    return self.end(Err(format!("leg {leg} has refused it")));
                }
                Standing::Open if !queue.is_there(leg) => {
                    return self.end(Err(format!("leg {leg} is away")));
                }
                Standing::PutOff => {
                    return self.end(Err(format!("leg {leg} has put it off")));
                }
                Standing::Open => all = false,
            }
        }
        if all {
            self.end(Ok(()));
        }
    }

    fn wait(&self, timeout: Duration) -> Result<(), String> {
        let state = lock(&self.state);
        let (state, _) = self
            .changed
            .wait_timeout_while(state, timeout, |state| state.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        state.clone().unwrap_or_else(|| Err("there was no answer in time".to_owned()))
    }
}

enum Standing {
    Taken,
    Refused,
    PutOff,
    Open,
}

fn standing(progress: &Progress, leg: &LegName) -> Standing {
    let Some(share) = progress.share(leg) else { return Standing::Taken };
    let states: Vec<State> = share.recipients().map(|(_, state)| state).collect();
    if states.iter().all(|state| *state == State::Delivered) {
        Standing::Taken
    } else if states.iter().any(|state| state.is_final() && *state != State::Delivered) {
        Standing::Refused
    } else if share.attempts > 0 && !share.taken {
        Standing::PutOff
    } else {
        Standing::Open
    }
}

impl Handle {
    fn refuse(&self, code: u16, text: &str) -> Reply {
        let reply = Reply::ours(code, text);
        self.0.tell(&Event::Refused { reply: reply.clone() });
        reply
    }

    fn spool_trouble(&self, error: SpoolError) -> Reply {
        let full = error.is_full();
        if full {
            self.0.full.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        self.0.tell(&Event::SpoolTrouble { error });
        if full {
            self.refuse(452, "4.3.1 no room for it at present")
        } else {
            self.refuse(451, "4.3.0 cannot keep it safe at present")
        }
    }

    fn check_loop(&self, message: &RawMessage) -> Result<(), Reply> {
        if message.received_count() >= MOST_HOPS {
            return Err(self.refuse(554, "5.4.6 it has passed too many servers"));
        }
        if message.has_been_at(&self.0.settings.hostname) {
            return Err(self.refuse(554, "5.4.6 it has been here before: a loop"));
        }
        Ok(())
    }

    /// What the policy makes the acknowledgement wait for.
    fn awaited(&self, head: &Head) -> Vec<LegName> {
        let settings = &self.0.settings;
        let legs = head.plan.iter().map(|share| share.leg.clone());
        match settings.ack {
            AckPolicy::Spooled => Vec::new(),
            AckPolicy::SpooledAndPeer => {
                legs.filter(|leg| settings.routes.peers().contains(leg)).collect()
            }
            AckPolicy::AllLegs => legs.collect(),
        }
    }
}

impl Shared {
    /// Keeps a message and lets it be worked on.
    pub(super) fn keep(&self, stored: Stored) -> Result<Arc<Stored>, SpoolError> {
        let stored = self.committer.commit(&*self.spool, stored)?;
        lock(&self.fresh).put(&stored);
        let mut queue = lock(&self.queue);
        queue.insert(&stored.head, stored.message.len() as u64);
        queue.enqueue(stored.head.id);
        self.wake(&queue, stored.head.id);
        drop(queue);
        Ok(stored)
    }
}

impl Accept for Handle {
    fn begin(
        &self,
        _port: Port,
        _reverse_path: &ReversePath,
        size: Option<u64>,
    ) -> Result<(), Reply> {
        if self.0.is_stopping() {
            return Err(Reply::ours(421, "4.3.2 the relay is stopping"));
        }
        if self.0.full.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(self.refuse(452, "4.3.1 no room for it at present"));
        }
        let largest = self.0.settings.largest;
        if size.is_some_and(|size| size > largest) {
            let text = format!("5.3.4 a message may have at most {largest} bytes");
            return Err(self.refuse(552, &text));
        }
        Ok(())
    }

    fn recipient(&self, port: Port, recipient: &ForwardPath) -> Result<(), Reply> {
        if self.0.settings.routes.legs(port, recipient).is_empty() {
            return Err(self.refuse(550, "5.1.1 nobody here has this address"));
        }
        Ok(())
    }

    fn accept(&self, submission: Submission) -> Result<Receipt, Reply> {
        let Submission { mut envelope, message, arrival } = submission;
        let size = message.len() as u64;
        self.begin(arrival.port, &envelope.reverse_path, Some(size))?;
        let now = self.0.now();
        let id = SpoolId::new(now, self.0.clock.random());
        // Until this goes, nobody else takes over the same.
        let mut _arriving = None;
        let message = match arrival.origin {
            Some(origin) => {
                // What came again is not delivered again; what is new in it is.
                let recipients = envelope.recipients();
                let Some((new, arriving)) = Arriving::begin(&self.0.seen, origin, recipients)
                else {
                    return Err(self.refuse(451, "4.3.0 it is being taken over; come again"));
                };
                _arriving = Some(arriving);
                if new.len() < recipients.len() {
                    self.0.tell(&Event::AlreadyHere { origin });
                }
                match envelope.for_recipients(new) {
                    Ok(rest) => envelope = rest,
                    Err(_) => return Ok(Receipt::new(origin, false)),
                }
                if message.received_count() >= MOST_HOPS {
                    return Err(self.refuse(554, "5.4.6 it has passed too many servers"));
                }
                message
            }
            None => {
                self.check_loop(&message)?;
                let recipients = envelope.recipients();
                message.with_received(&Received {
                    helo: arrival.helo.as_deref(),
                    peer: arrival.address,
                    by: &self.0.settings.hostname,
                    with: arrival.with,
                    smtputf8: envelope.smtputf8,
                    id,
                    recipient: (recipients.len() == 1).then(|| &recipients[0].path),
                    at: now,
                })
            }
        };
        let Ok(plan) = self.0.settings.routes.plan(arrival.port, &envelope) else {
            return Err(self.refuse(550, "5.1.1 nobody here has one of these addresses"));
        };
        let origin = arrival.origin;
        let head = Head { id, accepted: now, origin, envelope, plan, reports_on: None };
        let awaited = if arrival.port == Port::Fanout { self.awaited(&head) } else { Vec::new() };
        let waiter = (!awaited.is_empty()).then(|| Arc::new(Waiter::new(awaited)));
        if let Some(waiter) = &waiter {
            lock(&self.0.waiters).insert(id, Arc::clone(waiter));
        }
        let kept = self.0.keep(Stored { head, message });
        let result = kept.map(|stored| {
            lock(&self.0.seen).keep(&stored.head);
            self.0.tell(&Event::Accepted {
                id,
                size: stored.message.len(),
                recipients: stored.head.envelope.recipients().len(),
            });
            let Some(waiter) = &waiter else { return false };
            // A leg may have been away from the start.
            waiter.look(&lock(&self.0.queue), id);
            match waiter.wait(self.0.settings.ack_timeout) {
                Ok(()) => true,
                Err(why) => {
                    self.0.tell(&Event::AcknowledgedAlone { id, why });
                    false
                }
            }
        });
        if waiter.is_some() {
            lock(&self.0.waiters).remove(&id);
        }
        match result {
            Ok(at_peer) => Ok(Receipt::new(id, at_peer)),
            Err(error) => Err(self.spool_trouble(error)),
        }
    }

    fn knows(&self, id: SpoolId, recipient: &ForwardPath) -> Presence {
        if let Some(presence) = lock(&self.0.seen).presence(id, recipient) {
            return presence;
        }
        // What was done longer ago may have been forgotten.
        let age = self.0.now().saturating_since(id.time());
        if age < self.0.settings.keep_done { Presence::Absent } else { Presence::Unknown }
    }
}
