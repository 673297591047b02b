//! What a client's session needs to know: how to talk, as whom, and for how long to wait.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::Dialect;
use crate::reply::Phase;

/// What a session needs to know before it begins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientConfig {
    /// SMTP or LMTP.
    pub dialect: Dialect,
    /// What we call ourselves.
    pub hostname: String,
    /// Whether STARTTLS comes first. It never goes on without.
    pub starttls: bool,
    /// Whom to log in as; only over TLS.
    pub credentials: Option<Credentials>,
    /// Whether the server must be a peer relay.
    pub peer: bool,
    /// How many messages may be on their way unanswered. More are faster where the server is far
    /// away; all of them are in doubt when it dies.
    pub window: usize,
    /// How many bytes of messages may be on their way unanswered. One message may always be.
    pub window_bytes: usize,
    /// The most recipients of one transaction (RFC 5321 §4.5.3.1.8 has servers take 100).
    pub recipients: usize,
}

impl ClientConfig {
    /// A session without TLS or log-in, with up to 100 messages or 8 MiB on their way.
    pub fn new(dialect: Dialect, hostname: impl Into<String>) -> ClientConfig {
        ClientConfig {
            dialect,
            hostname: hostname.into(),
            starttls: false,
            credentials: None,
            peer: false,
            window: 100,
            window_bytes: 8 << 20,
            recipients: 100,
        }
    }
}

/// A name and its password, which shows nowhere.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: Arc<Zeroizing<String>>,
}

impl Credentials {
    /// Keeps both.
    pub fn new(user: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials { user: user.into(), password: Arc::new(Zeroizing::new(password.into())) }
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({:?})", self.user)
    }
}

/// How long each step may take (RFC 5321 §4.5.3.2 says these at least).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timeouts {
    /// The connection.
    pub connect: Duration,
    /// The handshake of TLS.
    pub tls: Duration,
    /// The greeting, EHLO, AUTH, MAIL and RCPT, each.
    pub command: Duration,
    /// The answer to DATA.
    pub data: Duration,
    /// Any part of what we send to be taken.
    pub block: Duration,
    /// The answer to a message. Too short a time makes doubles (RFC 1047).
    pub dot: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Timeouts {
            connect: Duration::from_secs(30),
            tls: minutes(1),
            command: minutes(5),
            data: minutes(2),
            block: minutes(3),
            dot: minutes(10),
        }
    }
}

impl Timeouts {
    /// How long to wait for an answer in this phase.
    pub fn for_answer(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Connect => self.connect,
            Phase::StartTls => self.tls,
            Phase::Data => self.data,
            Phase::Dot => self.dot,
            Phase::Greeting | Phase::Ehlo | Phase::Auth | Phase::Mail | Phase::Rcpt => self.command,
        }
    }
}
