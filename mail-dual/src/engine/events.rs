//! What the engine tells of what it does.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::core::leg_name::LegName;
use crate::id::SpoolId;
use crate::leg::Presence;
use crate::reply::Reply;
use crate::spool::SpoolError;

/// Something happened. No event holds what is in a message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A message is ours now.
    Accepted {
        /// What it is called.
        id: SpoolId,
        /// Its size in bytes.
        size: usize,
        /// For how many recipients.
        recipients: usize,
    },
    /// A message was not taken.
    Refused {
        /// What its sender was told.
        reply: Reply,
    },
    /// A message was acknowledged although the peer, or a leg, did not have it in time.
    AcknowledgedAlone {
        /// Which.
        id: SpoolId,
        /// What was waited for, and why in vain.
        why: String,
    },
    /// A message came from the peer that was here already.
    AlreadyHere {
        /// What the peer calls it.
        origin: SpoolId,
    },
    /// A leg took a message for one recipient.
    Delivered {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipient, by its place in the envelope.
        recipient: u32,
    },
    /// A leg did not take it now.
    Deferred {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipient, by its place in the envelope.
        recipient: u32,
        /// What was said or what happened.
        words: String,
    },
    /// A leg will not take it.
    Failed {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipient, by its place in the envelope.
        recipient: u32,
        /// What was said or what happened.
        words: String,
    },
    /// A message was sent, and no answer came.
    InDoubt {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipient, by its place in the envelope.
        recipient: u32,
        /// What happened.
        words: String,
    },
    /// A doubt was settled; or, with [`Presence::Unknown`], given up: it is sent once more.
    Resolved {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipient, by its place in the envelope.
        recipient: u32,
        /// Whether it was there.
        presence: Presence,
    },
    /// A leg was tried for as long as it is worth.
    Expired {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipient, by its place in the envelope.
        recipient: u32,
    },
    /// A leg cannot be used. Told once, when that begins.
    LegAway {
        /// The leg.
        leg: LegName,
        /// Why.
        words: String,
    },
    /// Messages wait for a leg that is not configured.
    NoSuchLeg {
        /// Its name.
        leg: LegName,
        /// How many messages.
        waiting: usize,
    },
    /// A leg can be used again.
    LegBack {
        /// The leg.
        leg: LegName,
    },
    /// A sender will be told.
    Reported {
        /// The message.
        id: SpoolId,
        /// What the notification is called.
        by: SpoolId,
    },
    /// Nobody can be told that a message was not delivered; somebody should look after it.
    NotReported {
        /// The message.
        id: SpoolId,
        /// Why.
        why: String,
    },
    /// Nothing more is to be done for a message.
    Done {
        /// Which.
        id: SpoolId,
    },
    /// The disk did not do what it had to.
    SpoolTrouble {
        /// What.
        error: SpoolError,
    },
    /// Something in the spool cannot be read.
    SpoolDamaged {
        /// What, and where it is kept.
        damage: String,
    },
    /// There is too little room, so nothing more is accepted; or there is enough again.
    Room {
        /// Whether there is too little.
        full: bool,
        /// How much there is, in bytes.
        free: u64,
    },
    /// A leg's own code has panicked. Its worker goes on.
    LegPanicked {
        /// The leg.
        leg: LegName,
    },
}

/// One line for a log.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Accepted { id, size, recipients } => {
                write!(f, "{id}: accepted, {size} bytes for {recipients}")
            }
            Event::Refused { reply } => write!(f, "refused: {reply}"),
            Event::AcknowledgedAlone { id, why } => {
                write!(f, "{id}: acknowledged on this host alone: {why}")
            }
            Event::AlreadyHere { origin } => write!(f, "{origin}: came again from the peer"),
            Event::Delivered { id, leg, recipient } => {
                write!(f, "{id}: {leg} has it for recipient {}", recipient + 1)
            }
            Event::Deferred { id, leg, recipient, words } => {
                write!(f, "{id}: {leg} put off recipient {}: {words}", recipient + 1)
            }
            Event::Failed { id, leg, recipient, words } => {
                write!(f, "{id}: {leg} refused recipient {}: {words}", recipient + 1)
            }
            Event::InDoubt { id, leg, recipient, words } => {
                write!(f, "{id}: {leg} is in doubt about recipient {}: {words}", recipient + 1)
            }
            Event::Resolved { id, leg, recipient, presence } => {
                let what = match presence {
                    Presence::Present => "has it after all",
                    Presence::Absent => "does not have it",
                    Presence::Unknown => "cannot tell, so it is sent again",
                };
                write!(f, "{id}: {leg} {what} for recipient {}", recipient + 1)
            }
            Event::Expired { id, leg, recipient } => {
                write!(f, "{id}: {leg} is given up for recipient {}", recipient + 1)
            }
            Event::LegAway { leg, words } => write!(f, "leg {leg} is away: {words}"),
            Event::NoSuchLeg { leg, waiting } => write!(
                f,
                "{waiting} messages wait for leg {leg}, which is not configured; configure it again, or they are given up in time"
            ),
            Event::LegBack { leg } => write!(f, "leg {leg} is back"),
            Event::Reported { id, by } => write!(f, "{id}: the sender is told by {by}"),
            Event::NotReported { id, why } => write!(f, "{id}: nobody is told: {why}"),
            Event::Done { id } => write!(f, "{id}: done"),
            Event::SpoolTrouble { error } => write!(f, "{error}"),
            Event::SpoolDamaged { damage } => write!(f, "the spool: {damage}"),
            Event::Room { full: true, free } => {
                write!(f, "only {free} bytes are free for the spool: nothing more is accepted")
            }
            Event::Room { full: false, free } => {
                write!(f, "{free} bytes are free for the spool: mail is accepted again")
            }
            Event::LegPanicked { leg } => write!(f, "the code of leg {leg} has panicked"),
        }
    }
}

/// Is told what happens, from any thread, and must not take long.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event);
}

/// An observer that says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: &Event) {}
}

/// How often things happened since the engine was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were accepted.
    pub accepted: u64,
    /// Messages that were not.
    pub refused: u64,
    /// Recipients that a leg took a message for.
    pub delivered: u64,
    /// Attempts that were put off, counted by recipient.
    pub deferred: u64,
    /// Recipients that a leg refused or was given up for.
    pub failed: u64,
    /// Recipients that came into doubt.
    pub in_doubt: u64,
    /// Recipients that a message was sent to again because nobody could tell.
    pub sent_again: u64,
    /// Messages that were acknowledged without the peer.
    pub acknowledged_alone: u64,
    /// Messages that came again from the peer.
    pub already_here: u64,
    /// Notifications to senders.
    pub reported: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 10]);

impl Counters {
    pub(super) fn count(&self, event: &Event) {
        let counter = match event {
            Event::Accepted { .. } => 0,
            Event::Refused { .. } => 1,
            Event::Delivered { .. } => 2,
            Event::Deferred { .. } => 3,
            Event::Failed { .. } | Event::Expired { .. } => 4,
            Event::InDoubt { .. } => 5,
            Event::Resolved { presence: Presence::Unknown, .. } => 6,
            Event::AcknowledgedAlone { .. } => 7,
            Event::AlreadyHere { .. } => 8,
            Event::Reported { .. } => 9,
            _ => return,
        };
        self.0[counter].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        let count = |at: usize| self.0[at].load(Ordering::Relaxed);
        Stats {
            accepted: count(0),
            refused: count(1),
            delivered: count(2),
            deferred: count(3),
            failed: count(4),
            in_doubt: count(5),
            sent_again: count(6),
            acknowledged_alone: count(7),
            already_here: count(8),
            reported: count(9),
        }
    }
}
