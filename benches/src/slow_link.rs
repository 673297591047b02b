//! A link to a place far away: what is sent through it arrives late, and only so fast.
//!
//! The kernel can do this too (netem), but not on every machine, nor for everybody.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::measure::now;

/// How much travels together.
const PIECE: usize = 16 * 1024;
/// How many pieces are on their way at most; more than fit on any link that is measured here.
const PIECES: usize = 1024;

/// Both directions of a link, as slow as each other.
#[derive(Debug, Clone, Copy)]
pub struct SlowLink {
    /// From one end to the other; a round trip takes twice this.
    pub delay: Duration,
    /// In each direction, for all connections together.
    pub bytes_per_second: f64,
}

impl SlowLink {
    /// Leads to `target`; returns where to connect instead. Its threads end with the process.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn to(self, target: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let free = [(); 2].map(|()| Arc::new(Mutex::new(now())));
        thread::spawn(move || {
            for near in listener.incoming() {
                // Who cannot be served sees a closed connection.
                let _ = near.and_then(|near| self.join(near, target, &free));
            }
        });
        Ok(address)
    }

    fn join(
        self,
        near: TcpStream,
        target: SocketAddr,
        free: &[Arc<Mutex<Instant>>; 2],
    ) -> io::Result<()> {
        let far = TcpStream::connect(target)?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let back = (far.try_clone()?, near.try_clone()?);
        self.carry(near, far, free[0].clone());
        self.carry(back.0, back.1, free[1].clone());
        Ok(())
    }

    /// Moves bytes one way.
    fn carry(self, mut from: TcpStream, mut to: TcpStream, free: Arc<Mutex<Instant>>) {
        let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES);
        thread::spawn(move || {
            let mut buffer = vec![0; PIECE];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let takes = Duration::from_secs_f64(count as f64 / self.bytes_per_second);
                let sent = {
                    let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
                    *free = (*free).max(now()) + takes;
                    *free
                };
                if sender.send((sent + self.delay, buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            for (due, bytes) in receiver {
                thread::sleep(due.saturating_duration_since(now()));
                if to.write_all(&bytes).is_err() {
                    return;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_early_and_all_of_it_comes() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let link = SlowLink { delay: Duration::from_millis(30), bytes_per_second: 1e6 };
        let near = link.to(listener.local_addr().unwrap()).unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        let start = now();
        let mut stream = TcpStream::connect(near).unwrap();
        let sent: Vec<u8> = (0..50_000u32).map(|number| number as u8).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        echo.join().unwrap();
        assert_eq!(back, sent);
        // 50 kB there and 50 kB back at 1 MB/s, and a round trip.
        assert!(start.elapsed() >= Duration::from_millis(160), "{:?}", start.elapsed());
    }
}
