//! A wide-area link on one machine: a TCP proxy that adds delay and a rate limit.
//!
//! Linux has netem for this, but not every kernel does, and it wants privileges. Here every byte
//! arrives half a round trip later in each direction, and no faster than the rate allows. What a
//! proxy cannot delay is the opening of the connection itself, which costs every program alike one
//! round trip less than over a real link; and it loses no packets.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use crate::Error;

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// How many reads may be under way in one direction: more than any window of the programs behind.
const UNDER_WAY: usize = 4096;

/// What a link is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distance {
    /// There and back.
    pub round_trip: Duration,
    /// Bytes a second in each direction; without one, as fast as the machine.
    pub rate: Option<u64>,
}

/// A running proxy; dropping it ends every connection through it.
#[derive(Debug)]
pub struct Wan {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    distance: Distance,
    /// Bytes that crossed the link, in both directions together.
    crossed: AtomicU64,
    stopped: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Wan {
    /// Starts to carry connections on `port` of loopback to `to`; on any port that is free for 0.
    ///
    /// # Errors
    /// [`Error::Io`] when the port cannot be had.
    pub fn start(port: u16, to: SocketAddr, distance: Distance) -> Result<Self, Error> {
        let failed = |source| Error::Io { doing: "listen on", path: "127.0.0.1".into(), source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let shared = Arc::new(Shared {
            to,
            distance,
            crossed: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if serving.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let serving = serving.clone();
                thread::spawn(move || serving.carry(near));
            }
        });
        Ok(Self { port, shared })
    }

    /// Where to connect to on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that crossed the link so far, in both directions together.
    #[must_use]
    pub fn crossed(&self) -> u64 {
        self.shared.crossed.load(Ordering::Relaxed)
    }
}

impl Drop for Wan {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for stream in self.shared.open().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one connection until both directions have ended.
    fn carry(&self, near: TcpStream) {
        thread::sleep(self.distance.round_trip / 2);
        let Ok(far) = TcpStream::connect(self.to) else { return };
        for stream in [&near, &far] {
            let _ = stream.set_nodelay(true);
            self.open().extend(stream.try_clone());
        }
        thread::scope(|scope| {
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (put, take) = mpsc::sync_channel(UNDER_WAY);
                scope.spawn(move || self.take_in(from, &put));
                scope.spawn(move || self.give_out(&take, to));
            }
        });
    }

    fn take_in(&self, mut from: &TcpStream, put: &SyncSender<(Instant, Vec<u8>)>) {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            self.crossed.fetch_add(read as u64, Ordering::Relaxed);
            let due = now() + self.distance.round_trip / 2;
            if put.send((due, buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    }

    fn give_out(&self, take: &Receiver<(Instant, Vec<u8>)>, mut to: &TcpStream) {
        let mut free = now();
        while let Ok((mut due, bytes)) = take.recv() {
            if let Some(rate) = self.distance.rate {
                free = free.max(due) + Duration::from_secs_f64(bytes.len() as f64 / rate as f64);
                due = free;
            }
            thread::sleep(due.saturating_duration_since(now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        thread::sleep(self.distance.round_trip / 2);
        // The end arrives as late as all else; the connection may be gone by then.
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[expect(clippy::disallowed_methods, reason = "a delay is made by looking at the clock")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends back what comes, once.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        address
    }

    fn there_and_back(distance: Distance, bytes: &[u8]) -> (Duration, u64) {
        let wan = Wan::start(0, echo(), distance).unwrap();
        let started = now();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, wan.port())).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == bytes, "what came back is not what was sent");
        (started.elapsed(), wan.crossed())
    }

    // Only lower bounds: a slow machine takes longer.
    #[test]
    fn bytes_arrive_whole_and_no_sooner_than_the_distance_allows() {
        let round_trip = Duration::from_millis(60);
        let (took, crossed) = there_and_back(Distance { round_trip, rate: None }, &[7; 300_000]);
        assert!(took >= round_trip, "{took:?}");
        assert_eq!(crossed, 600_000);
    }

    #[test]
    fn bytes_arrive_no_faster_than_the_rate_allows() {
        let distance = Distance { round_trip: Duration::ZERO, rate: Some(2_000_000) };
        let (took, _) = there_and_back(distance, &[7; 200_000]);
        assert!(took >= Duration::from_millis(200), "{took:?}");
    }
}
