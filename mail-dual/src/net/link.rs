//! One connection, moved forward in both directions at once.
//!
//! The socket never blocks: a server that stops reading while it waits for us to read its answers
//! would otherwise stop us both. All waiting is in `poll`, and always until some deadline.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};

use super::address::Address;
use super::socket::{Socket, connect_unix};
use super::tls::{TlsClient, TlsServer};
use super::wait::{Bell, Deadline, Wait, now, reading_and, wait_for};
use crate::proto::Outbox;

/// How much must be taken for a slow receiver to count as one that moves.
const STEP: u64 = 1024;
/// How much is read at once.
const READ: usize = 64 * 1024;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("{}", explain(.0))]
    Io(io::Error),
    #[error("{0}")]
    Tls(String),
    #[error("no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    #[error("the other end took nothing for {} seconds", .0.as_secs())]
    Stuck(Duration),
    #[error("the other end closed the connection")]
    Closed,
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused; is the server running?".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            "the other end broke the connection".to_owned()
        }
        io::ErrorKind::TimedOut => "nobody answered at this address".to_owned(),
        io::ErrorKind::NotFound => "there is no such socket; is the server running?".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied for the socket".to_owned(),
        _ => error.to_string(),
    }
}

impl From<rustls::Error> for LinkError {
    fn from(error: rustls::Error) -> LinkError {
        LinkError::Tls(crate::text::printable(error.to_string().as_bytes()))
    }
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> LinkError {
        LinkError::Io(error)
    }
}

/// What [`Link::exchange`] came back with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchanged {
    /// Bytes arrived.
    Received,
    /// All that was to be sent is gone.
    Sent,
    /// The bell rang.
    Rung,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Link {
    socket: Socket,
    tls: Option<Box<rustls::Connection>>,
    buffer: Vec<u8>,
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Link {
    /// Connects.
    pub(crate) fn connect(address: &Address, timeout: Duration) -> Result<Link, LinkError> {
        match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, timeout)?;
                Link::of_tcp(stream).map_err(LinkError::Io)
            }
            Address::Unix(path) => {
                Link::of_unix(connect_unix(path, timeout)?).map_err(LinkError::Io)
            }
        }
    }

    /// A TCP connection that was just made or taken.
    pub(crate) fn of_tcp(stream: TcpStream) -> io::Result<Link> {
        // Without this the kernel keeps the end of a message back until the other end has
        // acknowledged its start, which that one delays by 40 ms.
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Link { socket: Socket::Tcp(stream), tls: None, buffer: vec![0; READ] })
    }

    pub(crate) fn of_unix(stream: UnixStream) -> io::Result<Link> {
        stream.set_nonblocking(true)?;
        Ok(Link { socket: Socket::Unix(stream), tls: None, buffer: vec![0; READ] })
    }

    /// Does a client's handshake and checks the server's name.
    pub(crate) fn secure(&mut self, tls: &TlsClient, timeout: Duration) -> Result<(), LinkError> {
        self.tls = Some(Box::new(tls.connection()?.into()));
        self.handshake(timeout, None)
    }

    /// Does a server's handshake.
    pub(crate) fn secure_as_server(
        &mut self,
        tls: &TlsServer,
        timeout: Duration,
        bell: &Bell,
    ) -> Result<(), LinkError> {
        self.tls = Some(Box::new(tls.connection()?.into()));
        self.handshake(timeout, Some(bell))
    }

    fn handshake(&mut self, timeout: Duration, bell: Option<&Bell>) -> Result<(), LinkError> {
        let deadline = Deadline::after(timeout);
        loop {
            self.flush()?;
            let Some(tls) = &self.tls else { return Ok(()) };
            if !tls.is_handshaking() && !tls.wants_write() {
                return Ok(());
            }
            let wants_write = tls.wants_write();
            if !tls.is_handshaking() || !self.pull()? {
                match self.wait(reading_and(wants_write), deadline, bell)? {
                    Wait::Ready => {}
                    Wait::Over => return Err(LinkError::TimedOut(timeout)),
                    Wait::Rung => return Err(LinkError::Closed),
                }
            }
        }
    }

    /// Reads what the socket has for TLS; false when it has nothing now.
    fn pull(&mut self) -> Result<bool, LinkError> {
        let Some(tls) = &mut self.tls else { return Ok(false) };
        match tls.read_tls(&mut self.socket) {
            Ok(0) => Err(LinkError::Closed),
            Ok(_) => {
                if let Err(error) = tls.process_new_packets() {
                    // The other end should hear why.
                    let _ = tls.write_tls(&mut self.socket);
                    return Err(error.into());
                }
                Ok(true)
            }
            Err(error) if would_block(&error) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what TLS has for the socket, as far as it takes it.
    fn flush(&mut self) -> Result<(), LinkError> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends what it can of `outbox`.
    fn send(&mut self, outbox: &mut Outbox) -> Result<(), LinkError> {
        loop {
            self.flush()?;
            if outbox.is_empty() {
                return Ok(());
            }
            let result = match &mut self.tls {
                Some(tls) if tls.wants_write() => return Ok(()),
                Some(tls) => tls.writer().write(outbox.next()),
                None => self.socket.write(outbox.next()),
            };
            match result {
                Ok(count) => outbox.advance(count),
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends what has arrived to `inbox`; false when nothing has.
    fn receive(&mut self, inbox: &mut Vec<u8>) -> Result<bool, LinkError> {
        loop {
            let result = match &mut self.tls {
                Some(tls) => tls.reader().read(&mut self.buffer),
                None => self.socket.read(&mut self.buffer),
            };
            match result {
                Ok(0) => return Err(LinkError::Closed),
                Ok(count) => {
                    inbox.extend_from_slice(&self.buffer[..count]);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(LinkError::Closed);
                }
                Err(error) if would_block(&error) => {
                    if !self.pull()? {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends and receives until something arrived or all was sent, whichever is first.
    ///
    /// While there is something to send, the other end has `block` for each part of it; when
    /// there is not, it has until `answer`.
    pub(crate) fn exchange(
        &mut self,
        outbox: &mut Outbox,
        inbox: &mut Vec<u8>,
        answer: Deadline,
        block: Duration,
        bell: Option<&Bell>,
    ) -> Result<Exchanged, LinkError> {
        let had_some = !outbox.is_empty() || self.has_unsent();
        let mut moved = outbox.sent();
        let mut taken = Deadline::after(block);
        loop {
            if let Err(error) = self.send(outbox) {
                // Whoever has answered and closed is heard first: what the answer says was done
                // must not be done again.
                return match self.receive(inbox) {
                    Ok(true) => Ok(Exchanged::Received),
                    _ => Err(error),
                };
            }
            if had_some && outbox.is_empty() && !self.has_unsent() {
                // Hardly anybody answers that soon; the caller comes back.
                return Ok(Exchanged::Sent);
            }
            if self.receive(inbox)? {
                return Ok(Exchanged::Received);
            }
            // Reading may have made TLS want to write.
            self.flush()?;
            let unsent = !outbox.is_empty() || self.has_unsent();
            if outbox.sent() >= moved + STEP {
                moved = outbox.sent();
                taken = Deadline::after(block);
            }
            let deadline = if unsent { taken } else { answer };
            match self.wait(reading_and(unsent), deadline, bell)? {
                Wait::Ready => {}
                Wait::Rung => return Ok(Exchanged::Rung),
                Wait::Over if unsent => return Err(LinkError::Stuck(block)),
                Wait::Over => return Err(LinkError::TimedOut(answer.within)),
            }
        }
    }

    /// Sends everything and reads nothing. The other end has `block` for each part of it.
    pub(crate) fn send_all(
        &mut self,
        outbox: &mut Outbox,
        block: Duration,
        bell: Option<&Bell>,
    ) -> Result<Exchanged, LinkError> {
        let mut moved = outbox.sent();
        let mut deadline = Deadline::after(block);
        loop {
            self.send(outbox)?;
            if outbox.is_empty() && !self.has_unsent() {
                return Ok(Exchanged::Sent);
            }
            if outbox.sent() >= moved + STEP {
                moved = outbox.sent();
                deadline = Deadline::after(block);
            }
            match self.wait(PollFlags::OUT, deadline, bell)? {
                Wait::Ready => {}
                Wait::Rung => return Ok(Exchanged::Rung),
                Wait::Over => return Err(LinkError::Stuck(block)),
            }
        }
    }

    fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether the other end has said or closed something while nobody looked.
    pub(crate) fn is_disturbed(&mut self) -> bool {
        let mut inbox = Vec::new();
        !matches!(self.receive(&mut inbox), Ok(false))
    }

    /// Sends what is left, for a short time, and ends TLS in order.
    pub(crate) fn close(mut self, outbox: &mut Outbox, timeout: Duration) {
        let deadline = Deadline::after(timeout);
        let mut told = false;
        loop {
            if outbox.is_empty()
                && !std::mem::replace(&mut told, true)
                && let Some(tls) = &mut self.tls
            {
                tls.send_close_notify();
            }
            if self.send(outbox).is_err() || (outbox.is_empty() && !self.has_unsent()) {
                return;
            }
            if !matches!(self.wait(PollFlags::OUT, deadline, None), Ok(Wait::Ready)) {
                return;
            }
        }
    }

    fn wait(
        &self,
        flags: PollFlags,
        deadline: Deadline,
        bell: Option<&Bell>,
    ) -> Result<Wait, LinkError> {
        let left = deadline.at.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(Wait::Over);
        }
        let socket = self.socket.as_fd();
        let ready = match bell {
            None => wait_for(&mut [PollFd::from_borrowed_fd(socket, flags)], left)?,
            Some(bell) => {
                let mut fds = [
                    PollFd::from_borrowed_fd(socket, flags),
                    PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN),
                ];
                let ready = wait_for(&mut fds, left)?;
                if !fds[1].revents().is_empty() {
                    return Ok(Wait::Rung);
                }
                ready
            }
        };
        // Not ready, or interrupted: the deadline is looked at again.
        Ok(if ready || now() < deadline.at { Wait::Ready } else { Wait::Over })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn nothing_is_held_back_for_an_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let near = Link::connect(&address, Duration::from_secs(10)).unwrap();
        let far = Link::of_tcp(listener.accept().unwrap().0).unwrap();
        for link in [near, far] {
            let Socket::Tcp(stream) = &link.socket else { panic!("not TCP") };
            assert!(stream.nodelay().unwrap());
        }
    }

    #[test]
    fn a_unix_socket_whose_queue_is_full_is_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let address = Address::Unix(path);
        let mut held = Vec::new();
        let refused = loop {
            match Link::connect(&address, Duration::from_millis(50)) {
                Ok(link) => held.push(link),
                Err(error) => break error,
            }
            assert!(held.len() < 10_000, "the queue has no end");
        };
        assert!(matches!(refused, LinkError::TimedOut(_)), "{refused}");
    }

    #[test]
    fn the_last_answer_of_who_has_closed_is_heard() {
        let (near, far) = UnixStream::pair().unwrap();
        let mut link = Link::of_unix(near).unwrap();
        std::io::Write::write_all(&mut &far, b"250 kept\r\n").unwrap();
        drop(far);
        let mut outbox = Outbox::default();
        outbox.push(b"MAIL FROM:<>\r\n");
        let (mut inbox, block) = (Vec::new(), Duration::from_secs(10));
        let mut exchange = |inbox: &mut Vec<u8>| {
            link.exchange(&mut outbox, inbox, Deadline::after(block), block, None)
        };
        assert!(matches!(exchange(&mut inbox), Ok(Exchanged::Received)));
        assert_eq!(inbox, b"250 kept\r\n");
        assert!(exchange(&mut inbox).is_err());
    }

    #[test]
    fn who_takes_nothing_is_given_up() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut link = Link::of_unix(near).unwrap();
        let mut outbox = Outbox::default();
        outbox.push(&vec![b'x'; 8 << 20]);
        let (mut inbox, block) = (Vec::new(), Duration::from_millis(50));
        let answer = Deadline::after(Duration::from_secs(600));
        let error = link.exchange(&mut outbox, &mut inbox, answer, block, None).unwrap_err();
        assert!(matches!(error, LinkError::Stuck(_)), "{error}");
    }
}
