//! A client's session from the greeting to the log-in; what comes then is in `transactions`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::Dialect;
use super::capabilities::Capabilities;
use super::client_config::ClientConfig;
use super::outbox::Outbox;
use super::replies::{Lines, ReplyReader};
use super::transactions::Transactions;
use crate::envelope::ForwardPath;
use crate::id::SpoolId;
use crate::leg::{Cause, Feed, Job, Presence, Scope, Trouble};
use crate::received::plain;
use crate::reply::{Phase, Reply};

/// What a session is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send what is to be sent and wait for an answer in this phase.
    Answer(Phase),
    /// Do the handshake of TLS on the connection, then call [`Client::secured`].
    Handshake,
    /// Nothing is under way; a message or question may be handed in.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    Handshake,
    AuthPlain,
    AuthLogin(u8),
    Ready,
    Broken,
}

/// A client's session over one connection.
///
/// Messages come from a [`Feed`] and their outcomes go there. After an error nothing more can be
/// done with the connection, and everything that was handed in has been reported.
///
/// ```
/// use mail_dual::Phase;
/// use mail_dual::proto::{Client, ClientConfig, Dialect, Next};
/// let client = Client::new(ClientConfig::new(Dialect::Lmtp, "uk.example.org"), false);
/// assert_eq!(client.next(), Next::Answer(Phase::Greeting));
/// ```
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    stage: Stage,
    secured: bool,
    capabilities: Capabilities,
    replies: ReplyReader,
    outbox: Outbox,
    transactions: Transactions,
    answers: u64,
}

impl Client {
    /// A session on a connection that was just made; `secured` when TLS is on already.
    pub fn new(config: ClientConfig, secured: bool) -> Client {
        let transactions = Transactions::new(&config);
        let config =
            ClientConfig { hostname: plain(config.hostname.as_bytes()).to_owned(), ..config };
        Client {
            config,
            stage: Stage::Greeting,
            secured,
            capabilities: Capabilities::default(),
            replies: ReplyReader::default(),
            outbox: Outbox::default(),
            transactions,
            answers: 0,
        }
    }

    /// What is to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What the server offers, once it has said so.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// How many whole answers have come: whether the server does anything.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// What to do now.
    pub fn next(&self) -> Next {
        match self.stage {
            Stage::Greeting => Next::Answer(Phase::Greeting),
            Stage::Ehlo | Stage::Helo => Next::Answer(Phase::Ehlo),
            Stage::StartTls => Next::Answer(Phase::StartTls),
            Stage::Handshake => Next::Handshake,
            Stage::AuthPlain | Stage::AuthLogin(_) => Next::Answer(Phase::Auth),
            Stage::Ready => self.transactions.awaited().map_or(Next::Idle, Next::Answer),
            Stage::Broken => Next::Idle,
        }
    }

    /// Whether messages can be handed in.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Takes on a message before the session is ready, or at any time.
    pub fn begin(&mut self, job: Arc<Job>) {
        self.transactions.enqueue(job);
    }

    /// Takes as many messages from `feed` as may be on their way at once.
    pub fn fill(&mut self, feed: &mut dyn Feed) {
        if self.stage == Stage::Ready {
            self.transactions.fill(&self.capabilities, &mut self.outbox, feed);
        }
    }

    /// Asks whether the connection is still good: an idle one may have been closed. RSET changes
    /// nothing.
    pub fn check(&mut self) {
        self.transactions.reset(&mut self.outbox);
    }

    /// Asks a peer relay whether it has a message for a recipient.
    pub fn ask(&mut self, id: SpoolId, recipient: &ForwardPath) {
        self.transactions.ask(id, recipient, &mut self.outbox);
    }

    /// The answer to [`ask`](Self::ask), once it came.
    pub fn answer(&mut self) -> Option<Presence> {
        self.transactions.answer()
    }

    /// Says good-bye. No answer is waited for.
    pub fn quit(&mut self) {
        self.outbox.push(b"QUIT\r\n");
        self.stage = Stage::Broken;
    }

    /// TLS is on. All that the server said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self) {
        if self.stage == Stage::Handshake {
            self.secured = true;
            self.capabilities = Capabilities::default();
            self.hello();
        }
    }

    /// Takes bytes that arrived.
    ///
    /// # Errors
    /// What ended the session; everything under way has been reported to `feed` with it.
    pub fn receive(&mut self, mut bytes: &[u8], feed: &mut dyn Feed) -> Result<(), Trouble> {
        while !bytes.is_empty() {
            let phase = self.phase();
            let result = match self.replies.receive(bytes) {
                Ok((taken, None)) => {
                    bytes = &bytes[taken..];
                    continue;
                }
                Ok((taken, Some(lines))) => {
                    bytes = &bytes[taken..];
                    self.answers += 1;
                    self.on_reply(&lines, feed)
                }
                Err(bad) => Err(Trouble::io(phase, bad.to_string())),
            };
            let result = match result {
                // What follows came without the protection that was asked for, and would be
                // read as if it had it.
                Ok(()) if self.stage == Stage::Handshake && !bytes.is_empty() => Err(Trouble {
                    phase: Phase::StartTls,
                    scope: Scope::Leg,
                    cause: Cause::Tls(
                        "the server sent more behind its answer to STARTTLS, as somebody on the \
                         way would"
                            .to_owned(),
                    ),
                }),
                result => result,
            };
            if let Err(trouble) = result {
                self.fail(trouble.clone(), feed);
                return Err(trouble);
            }
        }
        self.fill(feed);
        Ok(())
    }

    /// The connection broke or a time was over: reports everything that is under way.
    pub fn fail(&mut self, trouble: Trouble, feed: &mut dyn Feed) {
        self.stage = Stage::Broken;
        self.transactions.fail(&trouble, &self.outbox, feed);
    }

    /// The phase that an error now belongs to.
    pub fn phase(&self) -> Phase {
        match self.next() {
            Next::Answer(phase) => phase,
            Next::Handshake => Phase::StartTls,
            Next::Idle => Phase::Mail,
        }
    }

    fn hello(&mut self) {
        self.stage = Stage::Ehlo;
        let verb = match self.config.dialect {
            Dialect::Smtp => "EHLO",
            Dialect::Lmtp => "LHLO",
        };
        self.outbox.push(format!("{verb} {}\r\n", self.config.hostname).as_bytes());
    }

    fn on_reply(&mut self, lines: &Lines, feed: &mut dyn Feed) -> Result<(), Trouble> {
        let code = lines.code;
        let phase = self.phase();
        let refused = |reply| Err(Trouble { phase, scope: Scope::Leg, cause: Cause::Reply(reply) });
        match self.stage {
            Stage::Greeting if code == 220 => self.hello(),
            Stage::Ehlo if code / 100 == 2 => {
                self.capabilities = Capabilities::parse(&lines.lines);
                return self.after_hello();
            }
            Stage::Ehlo if self.may_say_helo() && code / 100 == 5 => {
                self.stage = Stage::Helo;
                self.outbox.push(format!("HELO {}\r\n", self.config.hostname).as_bytes());
            }
            Stage::Helo if code / 100 == 2 => self.ready(),
            Stage::StartTls if code == 220 => self.stage = Stage::Handshake,
            Stage::AuthPlain if code == 235 => self.ready(),
            Stage::AuthLogin(step) => return self.on_login_reply(step, lines),
            Stage::Ready => {
                let reply = lines.to_reply();
                return self.transactions.on_reply(reply, &mut self.outbox, feed);
            }
            Stage::Handshake => {
                return Err(Trouble::io(phase, "the server spoke when it was not asked"));
            }
            _ => return refused(lines.to_reply()),
        }
        Ok(())
    }

    /// Whether the old greeting can do: it has no extension that we need.
    fn may_say_helo(&self) -> bool {
        self.config.dialect == Dialect::Smtp
            && !self.config.starttls
            && !self.config.peer
            && self.config.credentials.is_none()
    }

    fn after_hello(&mut self) -> Result<(), Trouble> {
        let lacking = |phase, words: &str| {
            let cause = match phase {
                Phase::StartTls => Cause::Tls(words.to_owned()),
                _ => Cause::Io(words.to_owned()),
            };
            Err(Trouble { phase, scope: Scope::Leg, cause })
        };
        if self.config.starttls && !self.secured {
            if !self.capabilities.starttls {
                return lacking(Phase::StartTls, "the server does not offer STARTTLS");
            }
            self.stage = Stage::StartTls;
            self.outbox.push(b"STARTTLS\r\n");
            return Ok(());
        }
        if self.config.peer && !self.capabilities.xdual {
            return lacking(
                Phase::Ehlo,
                "the server is no peer relay (it does not offer XDUAL); give the address of the \
                 other relay's peer port",
            );
        }
        let Some(credentials) = &self.config.credentials else {
            self.ready();
            return Ok(());
        };
        if !self.secured {
            return lacking(Phase::Auth, "a password is sent over TLS only; configure TLS");
        }
        if self.capabilities.auth_plain {
            let secret =
                Zeroizing::new(format!("\0{}\0{}", credentials.user(), credentials.password()));
            let secret = Zeroizing::new(BASE64.encode(secret.as_bytes()));
            self.outbox.push(Zeroizing::new(format!("AUTH PLAIN {}\r\n", *secret)).as_bytes());
            self.stage = Stage::AuthPlain;
        } else if self.capabilities.auth_login {
            self.outbox.push(b"AUTH LOGIN\r\n");
            self.stage = Stage::AuthLogin(0);
        } else {
            return lacking(Phase::Auth, "the server offers neither AUTH PLAIN nor AUTH LOGIN");
        }
        Ok(())
    }

    fn on_login_reply(&mut self, step: u8, lines: &Lines) -> Result<(), Trouble> {
        let credentials = self.config.credentials.as_ref();
        let part = match (step, lines.code, credentials) {
            (0, 334, Some(credentials)) => credentials.user(),
            (1, 334, Some(credentials)) => credentials.password(),
            (2, 235, _) => {
                self.ready();
                return Ok(());
            }
            _ => {
                let cause = Cause::Reply(lines.to_reply());
                return Err(Trouble { phase: Phase::Auth, scope: Scope::Leg, cause });
            }
        };
        let part = Zeroizing::new(BASE64.encode(part));
        self.outbox.push(part.as_bytes());
        self.outbox.push(b"\r\n");
        self.stage = Stage::AuthLogin(step + 1);
        Ok(())
    }

    fn ready(&mut self) {
        self.stage = Stage::Ready;
    }

    /// Whether all was answered, so that the connection can be kept for later.
    pub fn is_reusable(&self) -> bool {
        self.stage == Stage::Ready
            && self.transactions.awaited().is_none()
            && !self.replies.is_within()
            && self.outbox.is_empty()
    }
}

/// What a server says of an id (see [`Client::ask`]).
pub(crate) fn presence_of(reply: &Reply) -> Presence {
    match reply.code() {
        250 => Presence::Present,
        550 => Presence::Absent,
        _ => Presence::Unknown,
    }
}
