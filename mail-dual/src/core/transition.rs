//! What becomes of a message, one step at a time: what a spool keeps.

use serde::{Deserialize, Serialize};

use crate::core::leg_name::LegName;
use crate::id::SpoolId;
use crate::time::Timestamp;

/// The recipients of a message that a leg has to deliver it to, by their place in the envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The leg.
    pub leg: LegName,
    /// Its recipients, ascending.
    pub recipients: Vec<u32>,
}

/// Where one recipient's copy through one leg is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// To be delivered.
    Pending,
    /// It may have been delivered, and nobody knows.
    InDoubt,
    /// The other end took responsibility.
    Delivered,
    /// The other end will not take it.
    Failed,
    /// It was tried for as long as it is worth.
    Expired,
    /// One of these two, and who had to be told has been.
    Reported,
}

impl State {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, State::Delivered | State::Failed | State::Expired | State::Reported)
    }
}

/// What the spool keeps about a message after it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Transition {
    /// The end of the message is about to be sent. Without an outcome after it: in doubt.
    Intent {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipients, by their place in the envelope.
        recipients: Vec<u32>,
        /// Which attempt it is, counted from 0.
        attempt: u32,
    },
    /// An attempt ended for one recipient.
    Outcome {
        /// The message.
        id: SpoolId,
        /// The leg.
        leg: LegName,
        /// The recipient, by its place in the envelope.
        recipient: u32,
        /// Where its copy is now.
        state: State,
        /// Which attempt it was, counted from 0.
        attempt: u32,
        /// When.
        at: Timestamp,
        /// What the other end said, or what happened.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        words: String,
    },
    /// It is not to be delivered for now.
    Held {
        /// The message.
        id: SpoolId,
    },
    /// It is to be delivered again.
    Released {
        /// The message.
        id: SpoolId,
    },
    /// It is to be delivered once more to everybody of these legs, whatever happened before.
    Resubmitted {
        /// The message.
        id: SpoolId,
        /// The legs; all when there is none.
        legs: Vec<LegName>,
    },
    /// Nothing more is to be done. It is only kept in case that it has to be resubmitted.
    Done {
        /// The message.
        id: SpoolId,
        /// When.
        at: Timestamp,
    },
    /// It was written and not acknowledged: it is nobody's.
    Void {
        /// The message.
        id: SpoolId,
    },
}

impl Transition {
    /// The message that it is about.
    pub const fn id(&self) -> SpoolId {
        match self {
            Transition::Intent { id, .. }
            | Transition::Outcome { id, .. }
            | Transition::Held { id }
            | Transition::Released { id }
            | Transition::Resubmitted { id, .. }
            | Transition::Done { id, .. }
            | Transition::Void { id } => *id,
        }
    }
}
