//! The edge: connections to name servers, one trait wide.

mod deploy;
mod session;
mod tcp;

pub(crate) mod publish;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

pub use deploy::{Deploy, LocalFiles};
pub use publish::{Outcome, Patience, Publisher, Report, View, ZoneReport};
pub(crate) use session::Session;
pub use tcp::Tcp;

/// How name servers are reached. [`Tcp`] is the real one; the feature `testing` has one in memory.
/// An embedder may bring a third, over whatever it likes.
pub trait Network: Sync {
    /// Opens a connection that carries messages both ways.
    ///
    /// # Errors
    /// What the operating system says.
    fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Link + '_>>;

    /// The time in seconds since 1970, as signatures carry it.
    fn unix_time(&self) -> u64;

    /// Lets time pass while secondaries transfer.
    fn pause(&self, time: Duration);
}

/// A connection to a name server.
pub trait Link: Send {
    /// Sends a message of 65,535 octets at most.
    ///
    /// # Errors
    /// What the operating system says; the connection is of no more use then.
    fn send(&mut self, message: &[u8]) -> io::Result<()>;

    /// Waits for the next message, but not for ever.
    ///
    /// # Errors
    /// What the operating system says; the connection is of no more use then.
    fn receive(&mut self) -> io::Result<Vec<u8>>;
}
