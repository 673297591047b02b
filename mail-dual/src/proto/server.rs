//! A server's session: order, limits, and the hand-over of each message.

mod config;
mod message;

use std::net::IpAddr;

pub use config::{Limits, ServerConfig};
use message::Transaction;

use super::Dialect;
use super::command::{self, Command, Mail};
use super::data::DataReceiver;
use super::outbox::Outbox;
use crate::accept::{Accept, Port, With};
use crate::envelope::Recipient;
use crate::leg::Presence;
use crate::received::plain;
use crate::reply::Reply;

/// What the owner of the connection is to do after sending what is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Wait for more from the client.
    Read,
    /// Do the handshake of TLS, then call [`Server::secured`].
    Handshake,
    /// Close the connection.
    Close,
}

#[derive(Debug)]
enum Mode {
    Command,
    Data(DataReceiver),
    /// A chunk, of which this many bytes are to come.
    Chunk {
        left: u64,
        last: bool,
    },
}

/// A server's session over one connection.
///
/// ```
/// use mail_dual::Port;
/// use mail_dual::proto::{Dialect, Server, ServerConfig};
/// let config = ServerConfig::new(Dialect::Smtp, "uk.example.org", Port::Fanout);
/// let mut server = Server::new(config, None, false);
/// server.greet();
/// assert_eq!(server.outbox().next(), b"220 uk.example.org ESMTP\r\n");
/// ```
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    address: Option<IpAddr>,
    secured: bool,
    greeted: bool,
    mode: Mode,
    then: Then,
    line: Vec<u8>,
    /// The line is too long; its rest is dropped.
    skipping: bool,
    helo: Option<(With, String)>,
    transaction: Option<Transaction>,
    errors: usize,
    idle: usize,
    steps: u64,
    outbox: Outbox,
}

/// So much of a message counts as a step.
const PART: usize = 4096;

impl Server {
    /// A session on a connection that was just taken; `secured` when TLS is on already.
    /// `address` is where the client is, none for a unix socket.
    pub fn new(config: ServerConfig, address: Option<IpAddr>, secured: bool) -> Server {
        let config =
            ServerConfig { hostname: plain(config.hostname.as_bytes()).to_owned(), ..config };
        Server {
            config,
            address,
            secured,
            greeted: false,
            mode: Mode::Command,
            then: Then::Read,
            line: Vec::new(),
            skipping: false,
            helo: None,
            transaction: None,
            errors: 0,
            idle: 0,
            steps: 0,
            outbox: Outbox::default(),
        }
    }

    /// Grows with every command and with every few kilobytes of a message: whether the client
    /// does anything.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Speaks first.
    pub fn greet(&mut self) {
        self.greeted = true;
        let protocol = match self.config.dialect {
            Dialect::Smtp => "ESMTP",
            Dialect::Lmtp => "LMTP",
        };
        self.outbox.push(format!("220 {} {protocol}\r\n", self.config.hostname).as_bytes());
    }

    /// Refuses the client before anything else, as when there are too many.
    pub fn turn_away(&mut self, reply: &Reply) {
        self.say(reply);
        self.then = Then::Close;
    }

    /// Refuses a client that did not wait for the greeting: it does not listen.
    pub fn spoke_early(&mut self) {
        self.turn_away(&Reply::ours(554, "5.5.0 you spoke before the greeting"));
    }

    /// What is to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// What to do after that.
    pub fn then(&self) -> Then {
        self.then
    }

    /// How much memory the message under way takes.
    pub fn held(&self) -> usize {
        let data = match &self.mode {
            Mode::Data(data) => data.held(),
            Mode::Command | Mode::Chunk { .. } => 0,
        };
        let chunks = self.transaction.as_ref().and_then(|transaction| transaction.chunks.as_ref());
        data + chunks.map_or(0, |chunks| chunks.bytes.capacity())
    }

    /// Lets go of the message under way: there is no memory for it. It is read to its end, and its
    /// sender is told to come again.
    pub fn starve(&mut self) {
        if let Mode::Data(data) = &mut self.mode {
            data.forget();
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.starved = true;
            if let Some(chunks) = &mut transaction.chunks {
                chunks.bytes = Vec::new();
            }
        }
    }

    /// Whether a message is being sent to us right now.
    pub fn is_in_data(&self) -> bool {
        !matches!(self.mode, Mode::Command)
    }

    /// TLS is on: all that was said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self) {
        if self.then == Then::Handshake {
            self.secured = true;
            self.then = Then::Read;
            self.helo = None;
            self.transaction = None;
        }
    }

    /// The client takes too long, or we stop: says so and closes. Nothing was kept of a message
    /// that is under way.
    pub fn close(&mut self, words: &str) {
        // In the middle of a message an answer would be read as one to its end.
        if !self.is_in_data() {
            self.say(&Reply::ours(421, &format!("4.4.2 {} {words}", self.config.hostname)));
        }
        self.then = Then::Close;
    }

    /// Takes bytes that arrived, and hands whole messages to `accept`.
    pub fn receive(&mut self, mut bytes: &[u8], accept: &dyn Accept) {
        if !self.greeted && !bytes.is_empty() && self.then == Then::Read {
            return self.spoke_early();
        }
        while !bytes.is_empty() && self.then == Then::Read {
            match &mut self.mode {
                Mode::Command => {
                    let Some(taken) = self.take_line(bytes) else { return };
                    self.steps += 1;
                    bytes = &bytes[taken..];
                    let line = std::mem::take(&mut self.line);
                    if std::mem::take(&mut self.skipping) {
                        self.refuse((500, "5.5.2 the line is too long"));
                    } else if let Some(line) = line.strip_suffix(b"\r") {
                        self.on_line(line, !bytes.is_empty(), accept);
                    } else {
                        self.refuse((500, "5.5.2 bare <LF> received"));
                    }
                    // The buffer is used for the next line.
                    self.line = line;
                    self.line.clear();
                }
                Mode::Data(data) => {
                    let before = data.size() / PART;
                    let end = data.receive(bytes);
                    self.steps += (data.size() / PART - before) as u64;
                    let Some(taken) = end else { return };
                    bytes = &bytes[taken..];
                    if let Mode::Data(data) = std::mem::replace(&mut self.mode, Mode::Command) {
                        self.on_message(data.finish(), accept);
                    }
                }
                Mode::Chunk { left, last } => {
                    let part = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let before = *left / PART as u64;
                    *left -= part as u64;
                    self.steps += before - *left / PART as u64;
                    let whole = (*left == 0).then_some(*last);
                    self.keep_chunk(&bytes[..part]);
                    bytes = &bytes[part..];
                    if let Some(last) = whole {
                        self.mode = Mode::Command;
                        self.on_chunk(last, accept);
                    }
                }
            }
        }
    }

    /// Moves bytes into the line until its LF; how many were taken, once it is there.
    fn take_line(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = memchr::memchr(b'\n', bytes);
        let part = &bytes[..end.unwrap_or(bytes.len())];
        if self.line.len() + part.len() > self.config.limits.command {
            self.skipping = true;
            self.line.clear();
        }
        if !self.skipping {
            self.line.extend_from_slice(part);
        }
        end.map(|end| end + 1)
    }

    fn say(&mut self, reply: &Reply) {
        self.outbox.push(format!("{reply}\r\n").as_bytes());
    }

    fn refuse(&mut self, (code, text): (u16, &str)) {
        self.refuse_with(&Reply::ours(code, text));
    }

    fn refuse_with(&mut self, reply: &Reply) {
        self.say(reply);
        self.errors += 1;
        if self.errors > self.config.limits.errors && self.then == Then::Read {
            self.close("too many errors");
        }
    }

    fn ok(&mut self, text: &str) {
        self.say(&Reply::ours(250, text));
    }

    fn on_line(&mut self, line: &[u8], more_follows: bool, accept: &dyn Accept) {
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(refusal) => return self.refuse(refusal),
        };
        if !matches!(
            command,
            Command::Mail(_)
                | Command::Rcpt(..)
                | Command::Data
                | Command::Bdat { .. }
                | Command::Xdual(..)
                | Command::Quit
        ) {
            self.idle += 1;
            if self.idle > self.config.limits.idle_commands {
                return self.close("too many commands without a message");
            }
        }
        match command {
            Command::Quit => {
                self.say(&Reply::ours(221, &format!("2.0.0 {} bye", self.config.hostname)));
                self.then = Then::Close;
            }
            Command::Helo(name) => self.on_hello(Dialect::Smtp, With::Smtp, name),
            Command::Ehlo(name) => self.on_hello(Dialect::Smtp, With::Esmtp, name),
            Command::Lhlo(name) => self.on_hello(Dialect::Lmtp, With::Lmtp, name),
            Command::Rset => {
                self.transaction = None;
                self.ok("2.0.0 OK");
            }
            Command::Noop => self.ok("2.0.0 OK"),
            Command::Vrfy => self.say(&Reply::ours(252, "2.5.2 send some mail and see")),
            Command::Help => self.say(&Reply::ours(214, "2.0.0 see RFC 5321 and RFC 2033")),
            Command::Expn => self.refuse((502, "5.5.1 not offered")),
            Command::StartTls => self.on_starttls(more_follows),
            _ if self.helo.is_none() => self.refuse((503, "5.5.1 say EHLO or LHLO first")),
            _ if self.config.require_tls && !self.secured => {
                self.refuse((530, "5.7.0 say STARTTLS first"));
            }
            Command::Mail(mail) => self.on_mail(mail, accept),
            Command::Rcpt(path, dsn) => self.on_rcpt(Recipient { path, dsn }, accept),
            Command::Data => self.on_data(more_follows),
            Command::Bdat { size, last } => self.on_bdat(size, last, accept),
            Command::Xdual(id, path) if self.config.port == Port::Peer => {
                let (code, text) = match accept.knows(id, &path) {
                    Presence::Present => (250, "2.0.0 it is here"),
                    Presence::Absent => (550, "5.0.0 it is not here"),
                    Presence::Unknown => (450, "4.0.0 nobody knows"),
                };
                self.say(&Reply::ours(code, text));
            }
            Command::Xdual(..) => self.refuse((502, "5.5.1 not offered on this port")),
        }
    }

    fn on_hello(&mut self, dialect: Dialect, with: With, name: String) {
        if dialect != self.config.dialect {
            return self.refuse(match self.config.dialect {
                Dialect::Smtp => (500, "5.5.1 this is SMTP: say EHLO"),
                // RFC 2033 §4.1.
                Dialect::Lmtp => (500, "5.5.1 this is LMTP: say LHLO"),
            });
        }
        self.transaction = None;
        self.helo = Some((with, name));
        if with == With::Smtp {
            self.outbox.push(format!("250 {}\r\n", self.config.hostname).as_bytes());
            return;
        }
        let mut answer = format!(
            "250-{}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n\
             250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n",
            self.config.hostname
        );
        if self.config.starttls && !self.secured {
            answer.push_str("250-STARTTLS\r\n");
        }
        if self.config.port == Port::Peer {
            answer.push_str("250-XDUAL\r\n");
        }
        answer.push_str(&format!("250 SIZE {}\r\n", self.config.limits.message));
        self.outbox.push(answer.as_bytes());
    }

    fn on_starttls(&mut self, more_follows: bool) {
        if !self.config.starttls || self.secured {
            return self.refuse((502, "5.5.1 not offered"));
        }
        if more_follows {
            // Whoever put these bytes there wants them to be read as if TLS had protected them.
            return self
                .turn_away(&Reply::ours(554, "5.5.1 there must be nothing behind STARTTLS"));
        }
        self.say(&Reply::ours(220, "2.0.0 go on"));
        self.then = Then::Handshake;
    }

    fn on_mail(&mut self, mail: Mail, accept: &dyn Accept) {
        if self.transaction.is_some() {
            return self.refuse((503, "5.5.1 there is a message under way"));
        }
        if mail.origin.is_some() && self.config.port != Port::Peer {
            return self.refuse((555, "5.5.4 parameter not recognized"));
        }
        if mail.size.is_some_and(|size| size > self.config.limits.message as u64) {
            return self.refuse((552, "5.3.4 the message is larger than we take"));
        }
        match accept.begin(self.config.port, &mail.reverse_path, mail.size) {
            Ok(()) => {
                self.transaction = Some(Transaction {
                    mail,
                    recipients: Vec::new(),
                    chunks: None,
                    starved: false,
                });
                self.ok("2.1.0 OK");
            }
            Err(reply) => self.refuse_with(&reply),
        }
    }

    fn on_rcpt(&mut self, recipient: Recipient, accept: &dyn Accept) {
        let most = self.config.limits.recipients;
        let Some(transaction) = &mut self.transaction else {
            return self.refuse((503, "5.5.1 say MAIL first"));
        };
        if transaction.chunks.is_some() {
            return self.refuse((503, "5.5.1 the message has begun"));
        }
        if !recipient.path.is_ascii() && !transaction.mail.smtputf8 {
            return self.refuse((553, "5.6.7 an address that is not ASCII needs SMTPUTF8"));
        }
        if transaction.recipients.len() >= most {
            // Not an error: the client sends the rest in another message.
            return self.say(&Reply::ours(452, "4.5.3 too many recipients"));
        }
        match accept.recipient(self.config.port, &recipient.path) {
            Ok(()) => {
                transaction.recipients.push(recipient);
                self.ok("2.1.5 OK");
            }
            Err(reply) => self.refuse_with(&reply),
        }
    }
}
