//! Connections: a socket with or without TLS, and a deadline on every wait.

mod address;
mod link;
mod socket;
mod tls;
mod wait;

pub use address::{Address, BadAddress};
pub(crate) use link::{Exchanged, Link, LinkError};
pub use tls::{BadTls, Encryption, Identity, TlsClient, TlsServer, Trust};
pub(crate) use wait::{Bell, Deadline, now};
