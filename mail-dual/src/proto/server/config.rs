//! What a server's session needs to know, and how much it takes.

use crate::accept::Port;
use crate::proto::Dialect;

/// How much of everything a client may send.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one message.
    pub message: usize,
    /// Recipients of one message (RFC 5321 §4.5.3.1.8: 100 at least).
    pub recipients: usize,
    /// Bytes of one command, with its CRLF. 512 and what the extensions add.
    pub command: usize,
    /// Refused commands until the session is closed; a message that is taken makes up for them.
    pub errors: usize,
    /// RSET, NOOP and others that bring no message on its way, until one is taken.
    pub idle_commands: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: 64 << 20,
            recipients: 1000,
            command: 4096,
            errors: 100,
            idle_commands: 1000,
        }
    }
}

/// What a session needs to know before it begins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// SMTP or LMTP.
    pub dialect: Dialect,
    /// What we call ourselves.
    pub hostname: String,
    /// What becomes of what comes in.
    pub port: Port,
    /// Whether STARTTLS is offered.
    pub starttls: bool,
    /// Whether nothing is taken without TLS.
    pub require_tls: bool,
    /// How much is taken.
    pub limits: Limits,
}

impl ServerConfig {
    /// A session without TLS, with the usual limits.
    pub fn new(dialect: Dialect, hostname: impl Into<String>, port: Port) -> ServerConfig {
        ServerConfig {
            dialect,
            hostname: hostname.into(),
            port,
            starttls: false,
            require_tls: false,
            limits: Limits::default(),
        }
    }
}
