//! Datagrams over UDP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Body, ExchangeKey, MAX_DATAGRAM, Message};
use crate::decision::{ObserverId, Timestamp};

/// A UDP socket. Sending never waits; receiving waits as long as it is told to.
#[derive(Debug)]
pub struct Exchange {
    socket: UdpSocket,
}

impl Exchange {
    /// Listens at an address.
    ///
    /// # Errors
    /// What the kernel says, as when the port is taken.
    pub fn bind(address: SocketAddr) -> io::Result<Exchange> {
        Ok(Exchange { socket: UdpSocket::bind(address)? })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// A second handle on the same socket, for another thread.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn try_clone(&self) -> io::Result<Exchange> {
        Ok(Exchange { socket: self.socket.try_clone()? })
    }

    /// Sends a datagram. That nobody listens there is no error: others do.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn send(&self, datagram: &[u8], to: SocketAddr) -> io::Result<()> {
        match self.socket.send_to(datagram, to) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits for a datagram, and gives up after `patience`. One that is too long is cut, and so is no
    /// longer signed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        self.socket.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        let mut datagram = vec![0; MAX_DATAGRAM + 1];
        match self.socket.recv_from(&mut datagram) {
            Ok((length, _)) => {
                datagram.truncate(length);
                Ok(Some(datagram))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                        | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Says things to all others, each under a number of its own.
#[derive(Debug)]
pub struct Speaker {
    key: ExchangeKey,
    sender: ObserverId,
    exchange: Exchange,
    others: Vec<SocketAddr>,
    /// Held while sending, so that what is said first arrives first.
    sequence: Mutex<u64>,
}

impl Speaker {
    /// Speaks as `sender`. Numbers begin with the time in milliseconds, and are never used up as fast as
    /// that goes by, so that they grow over restarts.
    pub fn new(
        key: ExchangeKey,
        sender: ObserverId,
        exchange: Exchange,
        others: Vec<SocketAddr>,
        now: Timestamp,
    ) -> Speaker {
        let sequence = Mutex::new(now.as_millis().unsigned_abs());
        Speaker { key, sender, exchange, others, sequence }
    }

    /// Says something to all others. Gives what kept it from whom.
    pub fn say(&self, body: Body, now: Timestamp) -> Vec<String> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        *sequence += 1;
        let message = Message { sender: self.sender, sequence: *sequence, sent: now, body };
        let datagram = match self.key.seal(&message) {
            Ok(datagram) => datagram,
            Err(error) => return vec![error.to_string()],
        };
        let send = |to: &SocketAddr| match self.exchange.send(&datagram, *to) {
            Ok(()) => None,
            Err(error) => Some(format!("cannot send to {to}: {error}")),
        };
        self.others.iter().filter_map(send).collect()
    }
}
