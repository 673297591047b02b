//! SMTP and LMTP without a socket: bytes in, bytes out.
//!
//! A session is fed what arrived and says what is to be sent and how long it may take; whoever owns
//! the connection moves the bytes. LMTP (RFC 2033) is SMTP with another greeting and an answer for
//! each recipient, so that both are one session with a [`Dialect`], on either side.

mod capabilities;
mod client;
mod client_config;
mod command;
mod data;
mod outbox;
mod replies;
mod server;
mod transactions;
mod wording;

pub use capabilities::Capabilities;
pub use client::{Client, Next};
pub use client_config::{ClientConfig, Credentials, Timeouts};
pub use data::{DataFault, DataReceiver, append_stuffed};
pub use outbox::Outbox;
pub use replies::{BadReply, Lines, ReplyReader};
pub use server::{Limits, Server, ServerConfig, Then};

/// Which of the two protocols a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// RFC 5321.
    Smtp,
    /// RFC 2033: LHLO, and one answer for each recipient.
    Lmtp,
}
