//! Further connections of a caller, each of which starts an agent of its own. That one finds the
//! first by a socket whose name only the caller knows, proves by a token that the caller sent it,
//! and from then on passes bytes.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::entry::Bytes;
use crate::error::explain;
use crate::transport::Transport;
use crate::wire::link::{LANES_MAX, Link};
use crate::wire::message::{Answer, Setback};
use crate::wire::{JOINER_MAGIC, LinkError, MEETING};

/// How long a further agent may take to say its token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(10);

/// How much is passed on at a time.
const PIECE: usize = 64 << 10;

/// Where further connections of a link are met, once the caller has asked for that.
pub(super) struct MeetingPoint {
    link: Link,
    meeting: Mutex<Option<Meeting>>,
}

impl MeetingPoint {
    pub(super) fn of(link: &Link) -> MeetingPoint {
        MeetingPoint { link: link.clone(), meeting: Mutex::default() }
    }

    /// Waits for further connections from now on.
    pub(super) fn answer(&self) -> Answer {
        let meeting = &mut *self.meeting.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = match meeting.take() {
            Some(opened) => Ok(opened),
            None => Meeting::open(&self.link),
        };
        match opened {
            Ok(opened) => Answer::Meeting(Bytes(meeting.insert(opened).place[..].into())),
            Err(error) => {
                let why = format!("it takes no further connections: {}", explain(&error));
                Answer::Failed(Setback::Refused(why))
            }
        }
    }
}

/// A socket that further agents of the same caller come to. Dropping it closes it.
#[derive(Debug)]
struct Meeting {
    place: [u8; MEETING],
    closed: Arc<AtomicBool>,
}

/// The socket's address. It has no file: nobody can put another in its place, and it is gone with
/// the process.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    let hex = name.iter().map(|byte| format!("{byte:02x}"));
    SocketAddr::from_abstract_name(format!("mirror-agent-{}", hex.collect::<String>()))
}

impl Meeting {
    /// Waits for connections to add to `link`.
    fn open(link: &Link) -> io::Result<Meeting> {
        let mut place = [0; MEETING];
        let mut filled = 0;
        while filled < MEETING {
            let flags = rustix::rand::GetRandomFlags::empty();
            filled += rustix::rand::getrandom(&mut place[filled..], flags)?;
        }
        let (name, token) = place.split_at(MEETING / 2);
        let listener = UnixListener::bind_addr(&address(name)?)?;
        let closed = Arc::new(AtomicBool::new(false));
        let (link, token, ended) = (link.clone(), token.to_vec(), closed.clone());
        thread::Builder::new().name("meeting".to_owned()).spawn(move || {
            let mut lanes = 1;
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever does not know the token is not answered.
                if let Some(transport) = welcome(stream, &token)
                    && link.add_lane(transport).is_ok()
                {
                    lanes += 1;
                }
                if lanes == LANES_MAX {
                    return;
                }
            }
        })?;
        Ok(Meeting { place, closed })
    }
}

impl Drop for Meeting {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Wakes the thread that waits, if it still does.
        let _ = address(&self.place[..MEETING / 2]).and_then(|at| UnixStream::connect_addr(&at));
    }
}

/// The connection of an agent that has the same user and the token.
fn welcome(stream: UnixStream, token: &[u8]) -> Option<Transport> {
    let there = rustix::net::sockopt::socket_peercred(&stream).ok()?;
    if there.uid != rustix::process::geteuid() {
        return None;
    }
    let transport = Transport::over(stream).ok()?;
    let (said, transport) = transport.first(token.len(), TOKEN_PATIENCE, &|_| true).ok()?;
    // Compared without a hint on how much of it was right.
    let differs = said
        .iter()
        .zip(token)
        .fold(said.len() ^ token.len(), |differs, (a, b)| differs | usize::from(a ^ b));
    (differs == 0).then_some(transport)
}

/// Passes on what a caller says to the agent that it wants to join, and back.
pub(super) fn relay(transport: Transport, patience: Duration) -> Result<(), LinkError> {
    let failed = |error: io::Error| LinkError::Io(explain(&error));
    let (place, transport) = transport.first(MEETING, patience, &|_| true)?;
    let [name, token] = match place.split_at_checked(MEETING / 2) {
        Some((name, token)) if token.len() == MEETING / 2 => [name, token],
        _ => return Err(LinkError::Ended),
    };
    let mut there = address(name).and_then(|at| UnixStream::connect_addr(&at)).map_err(|_| {
        LinkError::Refused("there is no agent that this connection could join".to_owned())
    })?;
    there.write_all(token).map_err(failed)?;
    let mut back = there.try_clone().map_err(failed)?;
    let Transport { mut reader, mut writer, ending, .. } = transport;
    let passing = thread::Builder::new().name("relay".to_owned()).spawn(move || {
        pass(&mut *reader, &mut there);
        // The agent may be gone.
        let _ = there.shutdown(Shutdown::Write);
    });
    passing.map_err(failed)?;
    pass(&mut back, &mut *writer);
    ending.close();
    Ok(())
}

/// Passes bytes until either side has ended, which those who speak to one another notice.
fn pass(from: &mut dyn Read, to: &mut dyn Write) {
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => {
                if to.write_all(&buffer[..read]).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Whether what came first may go on to be that of a caller, or of a connection that joins.
pub(super) fn may_begin(heard: &[u8]) -> bool {
    [crate::wire::CALLER_MAGIC, JOINER_MAGIC].iter().any(|magic| magic.starts_with(heard))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::memory_pair;
    use crate::wire::link::{Patience, Role};

    #[test]
    fn s32_a_connection_without_the_token_is_not_answered() {
        let (ours, _theirs) = memory_pair().unwrap();
        let link = Link::start(ours, Role::Agent, Patience::default()).unwrap();
        let meeting = Meeting::open(&link).unwrap();
        let (name, token) = meeting.place.split_at(MEETING / 2);
        let mut wrong = token.to_vec();
        wrong[15] ^= 1;
        for said in [&wrong[..], &token[..15], b""] {
            let mut stream = UnixStream::connect_addr(&address(name).unwrap()).unwrap();
            stream.write_all(said).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            // Closed with something unread, which can be an error.
            let _ = stream.read_to_end(&mut heard);
            assert_eq!(heard, b"");
        }
        let mut stream = UnixStream::connect_addr(&address(name).unwrap()).unwrap();
        stream.write_all(token).unwrap();
        let mut magic = [0; 16];
        stream.read_exact(&mut magic).unwrap();
        assert_eq!(&magic, crate::wire::AGENT_MAGIC);
    }

    #[test]
    fn s32_a_connection_that_names_no_agent_of_ours_is_refused() {
        let (mut ours, theirs) = memory_pair().unwrap();
        ours.writer.write_all(&[7; MEETING]).unwrap();
        let error = relay(theirs, Duration::from_secs(10)).unwrap_err();
        assert!(matches!(error, LinkError::Refused(_)), "{error}");
    }
}
