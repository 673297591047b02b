//! Any transport that speaks lettre's trait, as a leg.

use std::fmt;

use lettre::{Address, Transport};

use crate::leg::{Cause, Feed, Job, Leg, Outcome, Presence, Scope, Trouble};
use crate::reply::{Phase, Reply};

type Verdict<E> = Box<dyn Fn(&E) -> Option<Reply> + Send + Sync>;

/// A leg through a transport of lettre's.
///
/// It knows less than the others: a transport answers once for all recipients, and does not say
/// how far it came. An error therefore leaves the message in doubt, unless
/// [`with_verdict`](Self::with_verdict) finds the server's reply in it. lettre's own SMTP transport
/// does not make a good leg (it gives up at the first refused recipient, and takes trouble with
/// the host for a refusal of the message): use [`RemoteLeg`](crate::RemoteLeg) for servers.
///
/// ```
/// use mail_dual::lettre::transport::stub::StubTransport;
/// let leg = mail_dual::LettreLeg::new("archive", StubTransport::new_ok());
/// ```
pub struct LettreLeg<T: Transport> {
    name: String,
    transport: T,
    verdict: Verdict<T::Error>,
    ends_lines: bool,
}

impl<T: Transport> LettreLeg<T> {
    /// A leg; its name is for messages to people.
    pub fn new(name: impl Into<String>, transport: T) -> LettreLeg<T> {
        let verdict: Verdict<T::Error> = Box::new(|_| None);
        LettreLeg { name: name.into(), transport, verdict, ends_lines: false }
    }

    /// Finds the server's reply to the message in an error. Only one that surely speaks of the
    /// message may be given: 5yz returns it to its sender.
    #[must_use]
    pub fn with_verdict(
        mut self,
        verdict: impl Fn(&T::Error) -> Option<Reply> + Send + Sync + 'static,
    ) -> LettreLeg<T> {
        self.verdict = Box::new(verdict);
        self
    }

    /// For transports that put a line end of their own behind every message, as lettre's SMTP
    /// does: the last one of the message is left out, so that the server gets what was sent.
    #[must_use]
    pub fn that_ends_lines(mut self) -> LettreLeg<T> {
        self.ends_lines = true;
        self
    }
}

impl<T: Transport> fmt::Debug for LettreLeg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LettreLeg({:?})", self.name)
    }
}

/// Our paths have been checked, by wider rules than lettre's.
fn address(path: &str) -> Option<Address> {
    let (local, domain) = path.rsplit_once('@')?;
    Some(Address::new_dangerous(local, domain))
}

fn envelope(job: &Job) -> Option<lettre::address::Envelope> {
    let sender = job.envelope.reverse_path.as_str();
    let sender = if sender.is_empty() { None } else { Some(address(sender)?) };
    let recipients: Option<Vec<Address>> = job
        .envelope
        .recipients()
        .iter()
        .map(|recipient| address(recipient.path.as_str()))
        .collect();
    lettre::address::Envelope::new(sender, recipients?).ok()
}

impl<T> Leg for LettreLeg<T>
where
    T: Transport + Send + Sync,
    T::Error: fmt::Display,
{
    fn deliver(&self, feed: &mut dyn Feed) {
        while let Some(job) = feed.next() {
            let outcome = self.send(&job, feed);
            for recipient in 0..job.envelope.recipients().len() {
                feed.report(&job, recipient, outcome.clone());
            }
        }
    }

    fn contains(&self, _: &Job, _: usize) -> Presence {
        Presence::Unknown
    }
}

impl<T> LettreLeg<T>
where
    T: Transport,
    T::Error: fmt::Display,
{
    fn send(&self, job: &Job, feed: &mut dyn Feed) -> Outcome {
        let trouble = |phase, cause| Trouble { phase, scope: Scope::Message, cause };
        let Some(envelope) = envelope(job) else {
            let reply = Reply::ours(553, "5.1.3 this transport takes no address without a domain");
            return Outcome::Failed(trouble(Phase::Mail, Cause::Unsuitable(reply)));
        };
        let all: Vec<usize> = (0..job.envelope.recipients().len()).collect();
        if !feed.committing(job, &all) {
            let words = "the message was called back before it was sent".to_owned();
            return Outcome::Deferred(trouble(Phase::Data, Cause::Io(words)));
        }
        let bytes = job.message.as_bytes();
        let bytes = match bytes.strip_suffix(b"\r\n") {
            Some(shorter) if self.ends_lines => shorter,
            _ => bytes,
        };
        match self.transport.send_raw(&envelope, bytes) {
            Ok(_) => Outcome::Delivered(Reply::ours(250, "2.0.0 taken by the transport")),
            Err(error) => match (self.verdict)(&error) {
                Some(reply) => Outcome::of_reply(Phase::Dot, reply),
                None => {
                    let words = crate::text::printable(error.to_string().as_bytes());
                    Outcome::InDoubt(trouble(Phase::Dot, Cause::Io(words)))
                }
            },
        }
    }
}
