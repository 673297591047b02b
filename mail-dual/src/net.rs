//! Connections: a socket with or without TLS, and a deadline on every wait.

mod address;
mod link;
mod tls;

pub use address::{Address, BadAddress};
pub(crate) use link::{Bell, Deadline, Exchanged, Link, LinkError, now};
pub use tls::{BadTls, Encryption, Identity, TlsClient, TlsServer, Trust};
