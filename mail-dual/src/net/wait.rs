//! Waiting: until something can be read or written, a time is over, or somebody rings.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::link::LinkError;

/// The time for deadlines.
#[expect(clippy::disallowed_methods, reason = "this edge waits, and must know how long")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Wakes every wait that looks at it, once and for all.
#[derive(Debug, Clone)]
pub(crate) struct Bell(Arc<OwnedFd>);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        Ok(Bell(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    pub(crate) fn ring(&self) {
        // Full means that it was rung more often than anybody counts.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        (*self.0).as_fd()
    }
}

/// A time, and how long it was from where it was set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(super) at: Instant,
    pub(super) within: Duration,
}

impl Deadline {
    pub(crate) fn after(within: Duration) -> Deadline {
        // A time too far to be written is none that anybody waits for.
        let year = Duration::from_secs(365 * 86_400);
        Deadline { at: now() + within.min(year), within }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Ready,
    Over,
    Rung,
}

pub(super) fn reading_and(writing: bool) -> PollFlags {
    if writing { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }
}

/// Waits for one of them; false when none was ready in time.
pub(super) fn wait_for(fds: &mut [PollFd<'_>], left: Duration) -> Result<bool, LinkError> {
    // Rounded up, so that nobody turns in a circle for the last part of a millisecond.
    let left = left + Duration::from_millis(1);
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(fds, Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(LinkError::Io(errno.into())),
    }
}
