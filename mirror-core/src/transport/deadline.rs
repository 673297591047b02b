//! Deadlines for what waits in somebody else's code: a library's handshake, a look-up of a name, an
//! SSH agent.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Shuts a socket down unless it is dropped in time, so that whoever waits on it goes on.
#[derive(Debug)]
pub(super) struct Watchdog {
    bitten: Arc<AtomicBool>,
    /// Its end tells that there is nothing to watch any more.
    _held: mpsc::Sender<()>,
}

impl Watchdog {
    pub(super) fn over(socket: &TcpStream, patience: Duration) -> io::Result<Watchdog> {
        let socket = socket.try_clone()?;
        let (held, released) = mpsc::channel::<()>();
        let bitten = Arc::new(AtomicBool::new(false));
        let bites = bitten.clone();
        let watch = move || {
            if released.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                bites.store(true, Ordering::SeqCst);
                // It may have ended by itself.
                let _ = socket.shutdown(Shutdown::Both);
            }
        };
        thread::Builder::new().name("deadline".to_owned()).spawn(watch)?;
        Ok(Watchdog { bitten, _held: held })
    }

    /// Whether it was too late.
    pub(super) fn has_bitten(&self) -> bool {
        self.bitten.load(Ordering::SeqCst)
    }
}

/// Does `work` on a thread of its own; None when it is not done in time, and nobody waits for it
/// any more.
///
/// # Errors
/// When there can be no thread.
pub(super) fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (tell, told) = mpsc::channel();
    let work = move || {
        // Whoever waited may have given up.
        let _ = tell.send(work());
    };
    thread::Builder::new().name("in-time".to_owned()).spawn(work)?;
    Ok(told.recv_timeout(patience).ok())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn s18_whoever_waits_on_a_watched_socket_goes_on() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let watchdog = Watchdog::over(&socket, Duration::from_millis(50)).unwrap();
        assert!(matches!(socket.read(&mut [0]), Ok(0) | Err(_)));
        assert!(watchdog.has_bitten());
    }

    #[test]
    fn what_takes_too_long_is_left_to_itself() {
        let (_hold, never) = mpsc::channel::<()>();
        let late = within(Duration::from_millis(50), move || never.recv().is_ok());
        assert_eq!(late.unwrap(), None);
        assert_eq!(within(Duration::from_secs(60), || 7).unwrap(), Some(7));
    }
}
