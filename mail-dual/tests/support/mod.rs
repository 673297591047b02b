//! Both ends of a session in memory, and work to send through it.

#![allow(dead_code, reason = "every test file uses its own part of this folder")]
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use mail_dual::proto::{Client, Next, Server, Then};
use mail_dual::{
    Accept, Envelope, Feed, ForwardPath, Job, Outcome, Port, Presence, RawMessage, Receipt, Reply,
    ReversePath, SpoolId, Submission, Timestamp, Trouble,
};

#[cfg(feature = "net")]
pub(crate) mod authority;
pub(crate) mod dkim;
#[cfg(feature = "net")]
pub(crate) mod dovecot;
#[path = "../../../examples/tests/support/peer.rs"]
pub(crate) mod peer;
pub(crate) mod peers;
pub(crate) mod postfix;

/// Keeps what it is given. `nobody…` is refused for good, `later…` for now.
#[derive(Debug, Default)]
pub(crate) struct Store {
    kept: Mutex<Vec<Submission>>,
    pub(crate) begin: Mutex<Option<Reply>>,
    pub(crate) accept: Mutex<Option<Reply>>,
}

impl Store {
    pub(crate) fn kept(&self) -> Vec<Submission> {
        self.kept.lock().unwrap().clone()
    }

    pub(crate) fn bodies(&self) -> Vec<Vec<u8>> {
        self.kept().iter().map(|kept| kept.message.as_bytes().to_vec()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
}

pub(crate) fn reply(code: u16, text: &str) -> Reply {
    Reply::new(code, text).unwrap()
}

impl Accept for Store {
    fn begin(&self, _: Port, _: &ReversePath, _: Option<u64>) -> Result<(), Reply> {
        self.begin.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn recipient(&self, _: Port, recipient: &ForwardPath) -> Result<(), Reply> {
        match recipient.as_str() {
            path if path.starts_with("nobody") => Err(reply(550, "5.1.1 no such user")),
            path if path.starts_with("later") => Err(reply(450, "4.2.1 come again")),
            path if path.starts_with("full") => Err(reply(452, "4.2.2 mailbox full")),
            _ => Ok(()),
        }
    }

    fn accept(&self, submission: Submission) -> Result<Receipt, Reply> {
        if let Some(reply) = self.accept.lock().unwrap().clone() {
            return Err(reply);
        }
        let mut kept = self.kept.lock().unwrap();
        let id = SpoolId::new(Timestamp::from_millis(1), kept.len() as u128);
        kept.push(submission);
        Ok(Receipt::new(id, false))
    }

    fn knows(&self, id: SpoolId, recipient: &ForwardPath) -> Presence {
        let kept = self.kept.lock().unwrap();
        let here = kept.iter().any(|kept| {
            kept.arrival.origin == Some(id)
                && kept.envelope.recipients().iter().any(|one| one.path == *recipient)
        });
        if here { Presence::Present } else { Presence::Absent }
    }
}

/// Messages to be sent, and what became of them.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) jobs: VecDeque<Arc<Job>>,
    pub(crate) outcomes: BTreeMap<(SpoolId, usize), Vec<Outcome>>,
    pub(crate) committed: Vec<(SpoolId, Vec<usize>)>,
    pub(crate) call_back: bool,
}

impl Work {
    pub(crate) fn of(jobs: impl IntoIterator<Item = Job>) -> Work {
        Work { jobs: jobs.into_iter().map(Arc::new).collect(), ..Work::default() }
    }

    /// The one outcome of each recipient, in order.
    #[track_caller]
    pub(crate) fn all(&self) -> Vec<&Outcome> {
        self.outcomes
            .iter()
            .map(|(key, outcomes)| {
                assert_eq!(outcomes.len(), 1, "{key:?}: {outcomes:?}");
                &outcomes[0]
            })
            .collect()
    }

    #[track_caller]
    pub(crate) fn words(&self) -> String {
        self.all().iter().map(|outcome| word(outcome)).collect::<Vec<_>>().join(" ")
    }
}

pub(crate) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered(_) => "delivered",
        Outcome::Deferred(_) => "deferred",
        Outcome::Failed(_) => "failed",
        Outcome::InDoubt(_) => "in-doubt",
    }
}

impl Feed for Work {
    fn next(&mut self) -> Option<Arc<Job>> {
        self.jobs.pop_front()
    }

    fn committing(&mut self, job: &Job, recipients: &[usize]) -> bool {
        self.committed.push((job.id, recipients.to_vec()));
        !self.call_back
    }

    fn report(&mut self, job: &Job, recipient: usize, outcome: Outcome) {
        self.outcomes.entry((job.id, recipient)).or_default().push(outcome);
    }
}

pub(crate) fn path(text: &str) -> ForwardPath {
    ForwardPath::new(text).unwrap()
}

pub(crate) fn message(text: &str) -> RawMessage {
    RawMessage::new(text).unwrap()
}

pub(crate) fn job(number: u128, recipients: &[&str], text: &str) -> Job {
    Job {
        id: SpoolId::new(Timestamp::from_millis(7), number),
        envelope: Envelope::new(
            ReversePath::new("ann@example.org").unwrap(),
            recipients.iter().map(|recipient| path(recipient)),
        )
        .unwrap(),
        message: message(text),
        attempt: 0,
    }
}

/// A connection between a client and a server, both without a socket.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) store: &'a Store,
    /// Lines of the answer to EHLO that the client does not get to see.
    pub(crate) hidden: &'a [&'a str],
    /// How many bytes at most arrive together.
    pub(crate) step: usize,
    /// After so many bytes, in both directions together, the connection breaks.
    pub(crate) cut: usize,
    pub(crate) rounds: usize,
    pub(crate) to_server: Vec<u8>,
    pub(crate) to_client: Vec<u8>,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(client: Client, server: Server, store: &'a Store) -> Wire<'a> {
        Wire {
            client,
            server,
            store,
            hidden: &[],
            step: usize::MAX,
            cut: usize::MAX,
            rounds: 0,
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    /// Moves bytes until all is reported, the client ends it, or the connection breaks.
    pub(crate) fn run(&mut self, work: &mut Work) -> Result<(), Trouble> {
        if self.rounds == 0 {
            self.server.greet();
        }
        loop {
            let mut moved = false;
            let answers = self.drain_server();
            moved |= !answers.is_empty();
            for piece in answers.chunks(self.step.min(answers.len()).max(1)) {
                let (piece, broken) = cut(piece, &mut self.cut);
                self.to_client.extend_from_slice(piece);
                self.client.receive(piece, work)?;
                if broken {
                    return self.broken(work);
                }
            }
            self.client.fill(work);
            loop {
                let piece = self.client.outbox().next();
                if piece.is_empty() {
                    break;
                }
                let count = piece.len().min(self.step);
                let (piece, broken) = cut(&piece[..count], &mut self.cut);
                let piece = piece.to_vec();
                self.client.outbox().advance(piece.len());
                self.to_server.extend_from_slice(&piece);
                self.server.receive(&piece, self.store);
                moved = true;
                if broken {
                    return self.broken(work);
                }
            }
            self.rounds += 1;
            if self.client.next() == Next::Idle {
                return Ok(());
            }
            if !moved || self.server.then() == Then::Close && self.server.outbox().is_empty() {
                return self.broken(work);
            }
        }
    }

    fn drain_server(&mut self) -> Vec<u8> {
        let mut answers = Vec::new();
        while !self.server.outbox().is_empty() {
            let piece = self.server.outbox().next().to_vec();
            self.server.outbox().advance(piece.len());
            answers.extend_from_slice(&piece);
        }
        let mut text = String::from_utf8(answers).unwrap();
        for hidden in self.hidden {
            text = text.replace(&format!("250-{hidden}\r\n"), "");
        }
        text.into_bytes()
    }

    fn broken(&mut self, work: &mut Work) -> Result<(), Trouble> {
        let trouble = Trouble::io(self.client.phase(), "the connection broke");
        self.client.fail(trouble.clone(), work);
        Err(trouble)
    }
}

fn cut<'b>(piece: &'b [u8], left: &mut usize) -> (&'b [u8], bool) {
    let count = piece.len().min(*left);
    *left -= count;
    (&piece[..count], *left == 0)
}

/// Everything a server said, as text.
pub(crate) fn said(server: &mut Server) -> String {
    let mut text = Vec::new();
    while !server.outbox().is_empty() {
        let piece = server.outbox().next().to_vec();
        server.outbox().advance(piece.len());
        text.extend_from_slice(&piece);
    }
    String::from_utf8(text).unwrap()
}
