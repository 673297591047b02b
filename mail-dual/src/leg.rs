//! What a way to one of the two accounts must be able to do, and what it says of each recipient.
//!
//! A leg takes messages from a [`Feed`] and reports to it. It may have several under way on one
//! connection, so that a slow link costs its round trip once and not per message; the engine calls
//! [`Leg::deliver`] from as many threads as there may be connections.
//!
//! ```
//! use mail_dual::{Feed, Job, Leg, Outcome, Presence, Reply};
//!
//! /// A leg that takes everything and keeps nothing.
//! #[derive(Debug)]
//! struct Discard;
//!
//! impl Leg for Discard {
//!     fn deliver(&self, feed: &mut dyn Feed) {
//!         while let Some(job) = feed.next() {
//!             for index in 0..job.envelope.recipients().len() {
//!                 let reply = Reply::new(250, "2.0.0 gone").expect("250 is a reply code");
//!                 feed.report(&job, index, Outcome::Delivered(reply));
//!             }
//!         }
//!     }
//!
//!     fn contains(&self, _job: &Job, _recipient: usize) -> Presence {
//!         Presence::Unknown
//!     }
//! }
//! ```

use std::fmt;
use std::sync::Arc;

use crate::envelope::Envelope;
use crate::id::SpoolId;
use crate::message::RawMessage;
use crate::reply::{Phase, Reply};

/// A way to one of the accounts.
pub trait Leg: fmt::Debug + Send + Sync {
    /// Delivers what `feed` yields until it yields no more.
    ///
    /// Every recipient of every job that was taken is reported exactly once before this returns.
    /// Every wait has a deadline. A connection may be kept for the next call. With
    /// [`Scope::Leg`] trouble, no further job is taken.
    fn deliver(&self, feed: &mut dyn Feed);

    /// Whether the account of `job`'s recipient with that index already has the message.
    ///
    /// Asked before something in doubt is sent again; [`Presence::Unknown`] where the leg cannot tell.
    fn contains(&self, job: &Job, recipient: usize) -> Presence;

    /// The message as the account of that recipient has it, with CRLF line ends and whatever the
    /// last server put on top; none where it is not there or the leg cannot look.
    fn stored(&self, _job: &Job, _recipient: usize) -> Option<Vec<u8>> {
        None
    }

    /// Tries how far a delivery would come, without one: address, name, greeting, log-in.
    ///
    /// The lines are for people, one for each step that went well.
    ///
    /// # Errors
    ///
    /// The step that failed.
    fn probe(&self) -> Result<Vec<String>, Trouble> {
        Ok(Vec::new())
    }

    /// Ends connections that were kept. Called after some time without work, and at the end.
    fn close_idle(&self) {}
}

/// Where a leg's work comes from and where its outcomes go.
pub trait Feed {
    /// The next message, or none at present. Does not wait for one to arrive.
    fn next(&mut self) -> Option<Arc<Job>>;

    /// Notes that the next write may complete `job` for these recipients at the other end.
    ///
    /// To be called before the last octet of the end of data (of the last chunk) can leave: if no
    /// outcome follows, they are in doubt. False means that this cannot be noted, or that the job
    /// was called back: the message must not be completed, and its recipients are deferred.
    #[must_use]
    fn committing(&mut self, job: &Job, recipients: &[usize]) -> bool;

    /// Says how it ended for one recipient, by its index in the job's envelope.
    fn report(&mut self, job: &Job, recipient: usize, outcome: Outcome);
}

/// One message for one leg, with the recipients that this leg still owes it to.
#[derive(Debug, Clone)]
pub struct Job {
    /// The message's name in the spool.
    pub id: SpoolId,
    /// The reverse-path and those recipients.
    pub envelope: Envelope,
    /// The octets to store, trace field included.
    pub message: RawMessage,
    /// How often this leg has tried before.
    pub attempt: u32,
}

/// How it ended for one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other end took responsibility.
    Delivered(Reply),
    /// Surely not delivered; a later attempt may succeed.
    Deferred(Trouble),
    /// Surely not delivered, and no attempt will.
    Failed(Trouble),
    /// The end of data may have arrived, and no valid answer to it has.
    InDoubt(Trouble),
}

/// Whether an account holds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Present,
    /// It does not.
    Absent,
    /// Nobody can tell.
    Unknown,
}

/// What kept a message from a recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How far it had come.
    pub phase: Phase,
    /// Whom it concerns.
    pub scope: Scope,
    /// What happened.
    pub cause: Cause,
}

/// Whom a trouble concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The leg as a whole: every message would meet it.
    Leg,
    /// This message, whoever it is for.
    Message,
    /// This recipient.
    Recipient,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The other end said so.
    Reply(Reply),
    /// The connection failed or nobody answered, in words.
    Io(String),
    /// The other end's certificate or name was not what it must be, in words.
    Tls(String),
    /// We did not send it, for the reason given with an enhanced status code (RFC 3463), as 5.6.7.
    Unsuitable(Reply),
}

impl Trouble {
    /// A connection that failed in `phase`.
    pub fn io(phase: Phase, words: impl Into<String>) -> Trouble {
        Trouble { phase, scope: Scope::Leg, cause: Cause::Io(words.into()) }
    }

    /// The reply, when there was one.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.cause {
            Cause::Reply(reply) | Cause::Unsuitable(reply) => Some(reply),
            Cause::Io(_) | Cause::Tls(_) => None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Reply(reply) => write!(f, "{}: {reply}", self.phase),
            Cause::Io(words) | Cause::Tls(words) => write!(f, "{}: {words}", self.phase),
            Cause::Unsuitable(reply) => write!(f, "not sent: {reply}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl Outcome {
    /// What a reply in a phase means.
    ///
    /// Only what is said of a message or of a recipient is final. What is said of the connection,
    /// the session, its encryption or the log-in is the leg's, whatever its first digit. A reply
    /// to the end of data that is neither 2yz, 4yz nor 5yz leaves it in doubt, and so does 421
    /// there: the connection closes, and some servers say so after having stored the message.
    ///
    /// Not for 452 and 552 at RCPT, which ask for a second transaction when others were accepted
    /// (RFC 5321 §4.5.3.1.10).
    pub fn of_reply(phase: Phase, reply: Reply) -> Outcome {
        let class = reply.code() / 100;
        let trouble = |scope| Trouble { phase, scope, cause: Cause::Reply(reply.clone()) };
        match phase {
            Phase::Connect | Phase::Greeting | Phase::Ehlo | Phase::StartTls | Phase::Auth => {
                Outcome::Deferred(trouble(Scope::Leg))
            }
            Phase::Mail | Phase::Rcpt | Phase::Data | Phase::Dot if reply.code() == 421 => {
                match phase {
                    Phase::Dot => Outcome::InDoubt(trouble(Scope::Leg)),
                    _ => Outcome::Deferred(trouble(Scope::Leg)),
                }
            }
            Phase::Mail | Phase::Data => match class {
                5 => Outcome::Failed(trouble(Scope::Message)),
                _ => Outcome::Deferred(trouble(Scope::Message)),
            },
            Phase::Rcpt => match class {
                5 => Outcome::Failed(trouble(Scope::Recipient)),
                _ => Outcome::Deferred(trouble(Scope::Recipient)),
            },
            Phase::Dot => match class {
                2 => Outcome::Delivered(reply),
                4 => Outcome::Deferred(trouble(Scope::Message)),
                5 => Outcome::Failed(trouble(Scope::Message)),
                _ => Outcome::InDoubt(trouble(Scope::Message)),
            },
        }
    }
}
