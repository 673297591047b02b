//! A leg in memory that does what it is told.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::envelope::ForwardPath;
use crate::id::SpoolId;
use crate::leg::{Feed, Job, Leg, Outcome, Presence, Trouble};
use crate::message::RawMessage;
use crate::reply::{Phase, Reply};

/// What a [`MemoryLeg`] does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes it.
    Take,
    /// Cannot be reached.
    Away,
    /// Greets with a permanent refusal, as a host does whose name is on a list.
    TurnAway,
    /// Fails the connection in this phase, before the end of the message is sent.
    Break(Phase),
    /// Stores it, and the connection fails before the answer.
    TakeSilently,
    /// Does not store it, and the connection fails before the answer.
    LoseSilently,
    /// Refuses each recipient with this code.
    RefuseRecipient(u16),
    /// Refuses the message with this code after its end.
    RefuseMessage(u16),
}

/// A leg that keeps what it takes, for all to see.
#[derive(Debug)]
pub struct MemoryLeg {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    taken: Vec<(SpoolId, ForwardPath, RawMessage)>,
    script: VecDeque<Behaviour>,
    otherwise: Behaviour,
    /// Refuses these recipients, whatever else it does.
    unknown: Vec<ForwardPath>,
    attempts: u64,
    can_tell: bool,
}

impl Default for MemoryLeg {
    fn default() -> MemoryLeg {
        MemoryLeg::new()
    }
}

impl MemoryLeg {
    /// A leg that takes everything.
    pub fn new() -> MemoryLeg {
        MemoryLeg {
            state: Mutex::new(State {
                taken: Vec::new(),
                script: VecDeque::new(),
                otherwise: Behaviour::Take,
                unknown: Vec::new(),
                attempts: 0,
                can_tell: true,
            }),
        }
    }

    /// Does this with each message from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        self.state().otherwise = behaviour;
    }

    /// Does this with the next message that nothing was said about.
    pub fn then(&self, behaviour: Behaviour) {
        self.state().script.push_back(behaviour);
    }

    /// Refuses this recipient.
    pub fn refuse(&self, recipient: ForwardPath) {
        self.state().unknown.push(recipient);
    }

    /// Whether it can tell what it holds.
    pub fn set_can_tell(&self, can_tell: bool) {
        self.state().can_tell = can_tell;
    }

    /// What it has taken: the message's name, the recipient, the octets.
    pub fn taken(&self) -> Vec<(SpoolId, ForwardPath, RawMessage)> {
        self.state().taken.clone()
    }

    /// How many messages it was given, whatever it did with them.
    pub fn attempts(&self) -> u64 {
        self.state().attempts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, job: &Job, recipient: usize) {
        let path = job.envelope.recipients()[recipient].path.clone();
        self.state().taken.push((job.id, path, job.message.clone()));
    }

    fn one(&self, job: &Job, feed: &mut dyn Feed) -> bool {
        let behaviour = {
            let mut state = self.state();
            state.attempts += 1;
            state.script.pop_front().unwrap_or(state.otherwise)
        };
        let all: Vec<usize> = (0..job.envelope.recipients().len()).collect();
        let broken = |phase| Outcome::Deferred(Trouble::io(phase, "the connection failed"));
        let reply = |code, text| Reply::ours(code, text);
        match behaviour {
            Behaviour::Away => return report_all(feed, job, &all, &broken(Phase::Connect)),
            Behaviour::TurnAway => {
                let outcome = Outcome::of_reply(Phase::Greeting, reply(554, "5.7.1 go away"));
                return report_all(feed, job, &all, &outcome);
            }
            Behaviour::Break(phase) => return report_all(feed, job, &all, &broken(phase)),
            _ => {}
        }
        let unknown = self.state().unknown.clone();
        let (refused, accepted): (Vec<usize>, Vec<usize>) = all.into_iter().partition(|&at| {
            matches!(behaviour, Behaviour::RefuseRecipient(_))
                || unknown.contains(&job.envelope.recipients()[at].path)
        });
        for at in refused {
            let code = match behaviour {
                Behaviour::RefuseRecipient(code) => code,
                _ => 550,
            };
            let outcome = Outcome::of_reply(Phase::Rcpt, reply(code, "not here"));
            feed.report(job, at, outcome);
        }
        if accepted.is_empty() {
            return true;
        }
        if !feed.committing(job, &accepted) {
            return report_all(feed, job, &accepted, &broken(Phase::Data));
        }
        match behaviour {
            Behaviour::RefuseMessage(code) => {
                let outcome = Outcome::of_reply(Phase::Dot, reply(code, "not this"));
                report_all(feed, job, &accepted, &outcome);
                true
            }
            Behaviour::TakeSilently | Behaviour::LoseSilently => {
                for &at in &accepted {
                    if behaviour == Behaviour::TakeSilently {
                        self.store(job, at);
                    }
                }
                let outcome = Outcome::InDoubt(Trouble::io(Phase::Dot, "no answer came"));
                report_all(feed, job, &accepted, &outcome)
            }
            _ => {
                for &at in &accepted {
                    self.store(job, at);
                    feed.report(job, at, Outcome::Delivered(reply(250, "2.0.0 stored")));
                }
                true
            }
        }
    }
}

/// Always false: the connection is gone.
fn report_all(feed: &mut dyn Feed, job: &Job, recipients: &[usize], outcome: &Outcome) -> bool {
    for &at in recipients {
        feed.report(job, at, outcome.clone());
    }
    false
}

impl Leg for MemoryLeg {
    fn deliver(&self, feed: &mut dyn Feed) {
        while let Some(job) = feed.next() {
            if !self.one(&job, feed) {
                return;
            }
        }
    }

    fn contains(&self, job: &Job, recipient: usize) -> Presence {
        let state = self.state();
        if !state.can_tell || matches!(state.otherwise, Behaviour::Away | Behaviour::TurnAway) {
            return Presence::Unknown;
        }
        let path = &job.envelope.recipients()[recipient].path;
        let here = state.taken.iter().any(|(id, to, _)| *id == job.id && to == path);
        if here { Presence::Present } else { Presence::Absent }
    }
}
