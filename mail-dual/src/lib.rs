//! Mail that reaches an account on both of two servers, each message exactly once.
//!
//! This crate is being built. What it will hold:
//!
//! - messages, envelopes and replies that cannot be injected into;
//! - sans-IO SMTP and LMTP sessions, and a durable spool with group commit;
//! - legs, each addressed by IP with the host name verified, and what a reply means for each;
//! - reconciliation of two mailboxes after an outage.
//!
//! Not here, ever: spam filtering, DKIM signing, MX look-up, a user database, an IMAP server.

mod id;
mod time;

pub use id::{BadSpoolId, SpoolId};
pub use time::Timestamp;
