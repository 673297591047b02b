//! Datagrams over UDP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::MAX_DATAGRAM;

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
