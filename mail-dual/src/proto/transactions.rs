//! Messages on their way through one session, as many at once as the server's extensions allow.
//!
//! - With PIPELINING and CHUNKING a message is one flight, MAIL, RCPT, BDAT LAST, and the next one
//!   follows without waiting (RFC 2920 §3.1, RFC 3030 §4.2). RSET stands between two, because a
//!   transaction that failed half-way would make the next MAIL fail too.
//! - With PIPELINING alone, the next message's MAIL, RCPT, DATA follow the last one's end of data.
//! - Without it, every command waits for its answer.
//!
//! Behind a message for several recipients over LMTP nothing is sent until all its answers are
//! there: how many come is the server's word, and the answer to another command must not be taken
//! for one of them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Dialect;
use super::capabilities::Capabilities;
use super::client::presence_of;
use super::client_config::ClientConfig;
use super::data::append_stuffed;
use super::outbox::Outbox;
use super::wording::{mail_line, rcpt_line, unsuitable};
use crate::envelope::ForwardPath;
use crate::id::SpoolId;
use crate::leg::{Cause, Feed, Job, Outcome, Presence, Scope, Trouble};
use crate::reply::{Phase, Reply};

/// A message for some of its recipients.
#[derive(Debug)]
struct Transaction {
    job: Arc<Job>,
    /// Indexes into the envelope that no outcome was reported for.
    open: Vec<usize>,
    /// Those that the server took so far. They are in `open` too.
    accepted: Vec<usize>,
    /// Those that the server wants in another transaction.
    overflow: Vec<usize>,
    /// MAIL was refused.
    refused: bool,
    /// From which byte of the whole session on the message may be complete.
    end: Option<u64>,
    /// How many of the answers to the message have come.
    answers: usize,
}

/// A command that is to be sent, or whose answer is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    Reset,
    Ask,
    Mail,
    Rcpt(usize),
    Data,
    /// A message in one chunk, or after 354.
    Message,
}

impl Command {
    fn phase(self) -> Phase {
        match self {
            Command::Reset | Command::Ask | Command::Mail => Phase::Mail,
            Command::Rcpt(_) => Phase::Rcpt,
            Command::Data => Phase::Data,
            Command::Message => Phase::Dot,
        }
    }
}

/// The messages under way in one session.
#[derive(Debug)]
pub(crate) struct Transactions {
    dialect: Dialect,
    peer: bool,
    window: usize,
    window_bytes: usize,
    most_recipients: usize,
    /// Messages, and rests of them, that nothing was sent of.
    waiting: VecDeque<(Arc<Job>, Vec<usize>)>,
    /// In the order they were begun; answers are for the first.
    begun: VecDeque<Transaction>,
    /// Commands of the last one begun that wait for an answer before they may be sent.
    unsent: VecDeque<Command>,
    /// Commands that were sent, in order, and not answered.
    sent: VecDeque<Command>,
    /// Bytes of the messages in `begun`.
    bytes: usize,
    capabilities: Capabilities,
    /// The server may still be in a transaction.
    needs_reset: bool,
    answer: Option<Presence>,
}

impl Transactions {
    pub(crate) fn new(config: &ClientConfig) -> Transactions {
        Transactions {
            dialect: config.dialect,
            peer: config.peer,
            window: config.window.max(1),
            window_bytes: config.window_bytes,
            most_recipients: config.recipients.max(1),
            waiting: VecDeque::new(),
            begun: VecDeque::new(),
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            bytes: 0,
            capabilities: Capabilities::default(),
            needs_reset: false,
            answer: None,
        }
    }

    /// What the next answer is about.
    pub(crate) fn awaited(&self) -> Option<Phase> {
        self.sent.front().map(|command| command.phase())
    }

    pub(crate) fn enqueue(&mut self, job: Arc<Job>) {
        let all = (0..job.envelope.recipients().len()).collect();
        self.waiting.push_back((job, all));
    }

    pub(crate) fn reset(&mut self, outbox: &mut Outbox) {
        outbox.push(b"RSET\r\n");
        self.sent.push_back(Command::Reset);
    }

    pub(crate) fn ask(&mut self, id: SpoolId, recipient: &ForwardPath, outbox: &mut Outbox) {
        outbox.push(format!("XDUAL {id} <{recipient}>\r\n").as_bytes());
        self.sent.push_back(Command::Ask);
    }

    pub(crate) fn answer(&mut self) -> Option<Presence> {
        self.answer.take()
    }

    /// Begins messages while they may be.
    pub(crate) fn fill(
        &mut self,
        capabilities: &Capabilities,
        outbox: &mut Outbox,
        feed: &mut dyn Feed,
    ) {
        if self.capabilities != *capabilities {
            self.capabilities = capabilities.clone();
        }
        while self.may_begin() {
            if self.waiting.is_empty() {
                match feed.next() {
                    Some(job) => self.enqueue(job),
                    None => return,
                }
            }
            if let Some((job, mut recipients)) = self.waiting.pop_front() {
                if recipients.len() > self.most_recipients {
                    let rest = recipients.split_off(self.most_recipients);
                    self.waiting.push_front((job.clone(), rest));
                }
                self.begin(job, recipients, outbox, feed);
            }
        }
    }

    fn may_begin(&self) -> bool {
        let Some(last) = self.begun.back() else { return self.unsent.is_empty() };
        let alone =
            self.dialect == Dialect::Lmtp && (last.open.len() > 1 || last.accepted.len() > 1);
        self.capabilities.pipelining
            && self.unsent.is_empty()
            // Nothing may follow DATA before its answer.
            && self.sent.back() != Some(&Command::Data)
            && last.overflow.is_empty()
            && !alone
            && self.begun.len() < self.window
            && self.bytes < self.window_bytes
    }

    fn begin(
        &mut self,
        job: Arc<Job>,
        recipients: Vec<usize>,
        outbox: &mut Outbox,
        feed: &mut dyn Feed,
    ) {
        if let Some(reply) = unsuitable(&job, &self.capabilities) {
            let trouble = Trouble {
                phase: Phase::Mail,
                scope: Scope::Message,
                cause: Cause::Unsuitable(reply),
            };
            for &recipient in &recipients {
                feed.report(&job, recipient, Outcome::Failed(trouble.clone()));
            }
            return;
        }
        let in_one_flight = self.capabilities.pipelining && self.capabilities.chunking;
        if in_one_flight && !feed.committing(&job, &recipients) {
            return called_back(&job, &recipients, feed);
        }
        if std::mem::take(&mut self.needs_reset) || (in_one_flight && !self.begun.is_empty()) {
            self.unsent.push_back(Command::Reset);
        }
        self.unsent.push_back(Command::Mail);
        self.unsent.extend(recipients.iter().map(|&recipient| Command::Rcpt(recipient)));
        self.unsent.push_back(match self.capabilities.chunking {
            true => Command::Message,
            false => Command::Data,
        });
        self.bytes += job.message.len();
        self.begun.push_back(Transaction {
            job,
            open: recipients,
            accepted: Vec::new(),
            overflow: Vec::new(),
            refused: false,
            end: None,
            answers: 0,
        });
        self.send(outbox, feed);
    }

    /// Sends what may be sent of the commands of the last message begun.
    fn send(&mut self, outbox: &mut Outbox, feed: &mut dyn Feed) {
        while let Some(&command) = self.unsent.front() {
            if !self.capabilities.pipelining {
                if !self.sent.is_empty() {
                    return;
                }
                // Every answer so far is known; what cannot succeed is not tried.
                let hopeless = self.begun.back().is_some_and(|last| match command {
                    Command::Rcpt(_) => last.refused,
                    Command::Data | Command::Message => last.accepted.is_empty(),
                    Command::Reset | Command::Ask | Command::Mail => false,
                });
                if hopeless {
                    self.unsent.pop_front();
                    if matches!(command, Command::Data | Command::Message) {
                        self.needs_reset = true;
                        self.finish();
                    }
                    continue;
                }
            }
            self.unsent.pop_front();
            if command == Command::Message && !self.capabilities.pipelining {
                let last = self.begun.back_mut();
                if let Some(last) = last
                    && !feed.committing(&last.job, &last.accepted)
                {
                    called_back(&last.job, &std::mem::take(&mut last.accepted), feed);
                    self.needs_reset = true;
                    self.finish();
                    continue;
                }
            }
            self.write(command, outbox);
            self.sent.push_back(command);
        }
    }

    fn write(&mut self, command: Command, outbox: &mut Outbox) {
        let Some(last) = self.begun.back_mut() else { return };
        match command {
            Command::Reset => outbox.push(b"RSET\r\n"),
            Command::Ask => {}
            Command::Mail => {
                let line = mail_line(&last.job, &self.capabilities, self.peer);
                outbox.push(line.as_bytes());
            }
            Command::Rcpt(recipient) => {
                let line = rcpt_line(&last.job, recipient, &self.capabilities, self.peer);
                outbox.push(line.as_bytes());
            }
            Command::Data => outbox.push(b"DATA\r\n"),
            Command::Message => {
                outbox.push(format!("BDAT {} LAST\r\n", last.job.message.len()).as_bytes());
                outbox.push_message(&last.job.message);
                // All but its last byte complete nothing.
                last.end = Some(outbox.queued() - 1);
            }
        }
    }

    /// Takes one answer.
    pub(crate) fn on_reply(
        &mut self,
        reply: Reply,
        outbox: &mut Outbox,
        feed: &mut dyn Feed,
    ) -> Result<(), Trouble> {
        let Some(command) = self.sent.pop_front() else {
            let cause = Cause::Reply(reply);
            return Err(Trouble { phase: Phase::Mail, scope: Scope::Leg, cause });
        };
        let phase = command.phase();
        if reply.code() == 421 {
            return Err(self.closing(phase, reply, feed));
        }
        match command {
            Command::Reset if !reply.is_success() => {
                let cause = Cause::Reply(reply);
                return Err(Trouble { phase, scope: Scope::Leg, cause });
            }
            Command::Reset => {}
            Command::Ask => self.answer = Some(presence_of(&reply)),
            Command::Mail => {
                if let Some(first) = self.begun.front_mut()
                    && !reply.is_success()
                {
                    first.refused = true;
                    for recipient in std::mem::take(&mut first.open) {
                        let outcome = Outcome::of_reply(phase, reply.clone());
                        feed.report(&first.job, recipient, outcome);
                    }
                }
            }
            Command::Rcpt(recipient) => self.on_rcpt_reply(recipient, reply, feed),
            Command::Data => self.on_data_reply(reply, outbox, feed)?,
            Command::Message => self.on_message_reply(reply, feed)?,
        }
        self.send(outbox, feed);
        Ok(())
    }

    fn on_rcpt_reply(&mut self, recipient: usize, reply: Reply, feed: &mut dyn Feed) {
        let Some(first) = self.begun.front_mut() else { return };
        if first.refused {
            return;
        }
        if reply.is_success() {
            first.accepted.push(recipient);
        } else if asks_for_another_transaction(&reply) && !first.accepted.is_empty() {
            first.overflow.push(recipient);
            first.open.retain(|&open| open != recipient);
            // The next ones are no longer than this.
            self.most_recipients = self.most_recipients.min(first.accepted.len());
        } else {
            first.open.retain(|&open| open != recipient);
            feed.report(&first.job, recipient, Outcome::of_reply(Phase::Rcpt, reply));
        }
    }

    fn on_data_reply(
        &mut self,
        reply: Reply,
        outbox: &mut Outbox,
        feed: &mut dyn Feed,
    ) -> Result<(), Trouble> {
        let Some(first) = self.begun.front_mut() else { return Ok(()) };
        if reply.code() != 354 {
            for recipient in std::mem::take(&mut first.open) {
                let outcome = Outcome::of_reply(Phase::Data, reply.clone());
                feed.report(&first.job, recipient, outcome);
            }
            self.needs_reset = true;
            self.finish();
            return Ok(());
        }
        if first.accepted.is_empty() {
            // RFC 2920 §3.1: a server that took no recipient but DATA gets an empty message.
            outbox.push(b".\r\n");
            self.sent.push_back(Command::Message);
            return Ok(());
        }
        if !feed.committing(&first.job, &first.accepted) {
            // After 354 only the end of the connection keeps the server from storing something.
            let words = "the message was called back while it was being sent";
            return Err(Trouble {
                phase: Phase::Data,
                scope: Scope::Message,
                cause: Cause::Io(words.to_owned()),
            });
        }
        let end = outbox.write(|buffer| append_stuffed(&first.job.message, buffer));
        first.end = Some(outbox.queued() - end as u64);
        self.sent.push_back(Command::Message);
        Ok(())
    }

    fn on_message_reply(&mut self, reply: Reply, feed: &mut dyn Feed) -> Result<(), Trouble> {
        let Some(first) = self.begun.front_mut() else { return Ok(()) };
        if first.accepted.is_empty() {
            // Nobody was to get it; whatever the server says of it.
            self.needs_reset |= self.begun.len() == 1;
            self.finish();
            return Ok(());
        }
        if reply.is_intermediate() {
            let cause = Cause::Reply(reply);
            return Err(Trouble { phase: Phase::Dot, scope: Scope::Leg, cause });
        }
        // About the command rather than a recipient: whether more answers come is not known.
        let at_a_loss = self.dialect == Dialect::Lmtp
            && first.accepted.len() > 1
            && first.answers == 0
            && (500..=504).contains(&reply.code());
        let all_at_once = self.dialect == Dialect::Smtp || at_a_loss;
        let answered = if all_at_once { first.accepted.len() - first.answers } else { 1 };
        for &recipient in &first.accepted[first.answers..first.answers + answered] {
            first.open.retain(|&open| open != recipient);
            feed.report(&first.job, recipient, Outcome::of_reply(Phase::Dot, reply.clone()));
        }
        if at_a_loss {
            // No later answer can be told from one to this message.
            let cause = Cause::Reply(reply);
            return Err(Trouble { phase: Phase::Dot, scope: Scope::Message, cause });
        }
        first.answers += answered;
        if first.answers == first.accepted.len() {
            // Those behind it bring their own RSET.
            self.needs_reset |= !reply.is_success() && self.begun.len() == 1;
            self.finish();
        } else {
            self.sent.push_front(Command::Message);
        }
        Ok(())
    }

    /// The first message is through; what the server wanted later comes next.
    fn finish(&mut self) {
        if let Some(done) = self.begun.pop_front() {
            self.bytes -= done.job.message.len();
            if !done.overflow.is_empty() {
                self.waiting.push_front((done.job, done.overflow));
            }
        }
    }

    /// 421: the server did what it answered before and nothing after.
    fn closing(&mut self, phase: Phase, reply: Reply, feed: &mut dyn Feed) -> Trouble {
        if let Some(first) = self.begun.front_mut()
            && phase == Phase::Dot
        {
            for recipient in std::mem::take(&mut first.open) {
                feed.report(&first.job, recipient, Outcome::of_reply(phase, reply.clone()));
            }
        }
        let trouble = Trouble { phase, scope: Scope::Leg, cause: Cause::Reply(reply) };
        for transaction in &mut self.begun {
            transaction.end = None;
        }
        trouble
    }

    /// The session is over: everything gets its outcome.
    pub(crate) fn fail(&mut self, trouble: &Trouble, outbox: &Outbox, feed: &mut dyn Feed) {
        for mut done in self.begun.drain(..) {
            let complete = done.end.is_some_and(|end| outbox.sent() > end);
            for recipient in std::mem::take(&mut done.open) {
                let outcome = if complete {
                    Outcome::InDoubt(Trouble { phase: Phase::Dot, ..trouble.clone() })
                } else {
                    Outcome::Deferred(surely_not(trouble))
                };
                feed.report(&done.job, recipient, outcome);
            }
            for recipient in done.overflow {
                feed.report(&done.job, recipient, Outcome::Deferred(surely_not(trouble)));
            }
        }
        for (job, recipients) in self.waiting.drain(..) {
            for recipient in recipients {
                feed.report(&job, recipient, Outcome::Deferred(surely_not(trouble)));
            }
        }
        self.unsent.clear();
        self.sent.clear();
        self.bytes = 0;
    }
}

/// The same trouble for a message that cannot have arrived: the phase of another's end of data
/// would say otherwise.
fn surely_not(trouble: &Trouble) -> Trouble {
    let phase = if trouble.phase == Phase::Dot { Phase::Data } else { trouble.phase };
    Trouble { phase, ..trouble.clone() }
}

fn called_back(job: &Job, recipients: &[usize], feed: &mut dyn Feed) {
    let trouble = Trouble {
        phase: Phase::Data,
        scope: Scope::Message,
        cause: Cause::Io("the message was called back before it was sent".to_owned()),
    };
    for &recipient in recipients {
        feed.report(job, recipient, Outcome::Deferred(trouble.clone()));
    }
}

/// 452 and 552 at RCPT mean "too many recipients" (RFC 5321 §4.5.3.1.10), unless the enhanced
/// code speaks of the recipient's mailbox (RFC 3463 §3.3).
fn asks_for_another_transaction(reply: &Reply) -> bool {
    matches!(reply.code(), 452 | 552)
        && reply.enhanced().is_none_or(|enhanced| enhanced.subject() != 2)
}
