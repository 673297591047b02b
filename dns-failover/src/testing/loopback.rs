//! The name servers in memory, on real sockets.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::memory::MemoryNetwork;
use crate::net::{Network, Tcp};

/// How long a thread waits before it looks whether it is to end.
const TICK: Duration = Duration::from_millis(50);

/// What fits a datagram (DNS Flag Day 2020).
const DATAGRAM: usize = 1232;

/// Six name servers on loopback, at the addresses of their topology, until this is dropped.
#[derive(Debug)]
pub struct Loopback {
    network: Arc<MemoryNetwork>,
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Loopback {
    /// Binds every server's address for TCP and UDP and answers.
    ///
    /// # Errors
    /// When an address is taken.
    pub fn serve(network: MemoryNetwork) -> io::Result<Loopback> {
        let network = Arc::new(network);
        let ending = Arc::new(AtomicBool::new(false));
        let mut loopback = Loopback { network, ending, threads: Vec::new() };
        for &address in loopback.network.addresses().to_vec().iter() {
            let tcp = TcpListener::bind(address)?;
            tcp.set_nonblocking(true)?;
            let udp = UdpSocket::bind(address)?;
            udp.set_read_timeout(Some(TICK))?;
            let (network, ending) = (Arc::clone(&loopback.network), Arc::clone(&loopback.ending));
            loopback.threads.push(thread::spawn(move || accept(&network, address, &tcp, &ending)));
            let (network, ending) = (Arc::clone(&loopback.network), Arc::clone(&loopback.ending));
            loopback
                .threads
                .push(thread::spawn(move || datagrams(&network, address, &udp, &ending)));
        }
        Ok(loopback)
    }

    /// The servers behind the sockets.
    pub fn network(&self) -> &MemoryNetwork {
        &self.network
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            // It has nothing to say but that it panicked, and who panics in a drop aborts.
            let _ = thread.join();
        }
    }
}

fn accept(
    network: &Arc<MemoryNetwork>,
    at: SocketAddr,
    listener: &TcpListener,
    ending: &Arc<AtomicBool>,
) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !ending.load(Ordering::SeqCst) {
        threads.retain(|thread| !thread.is_finished());
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        let (network, ending) = (Arc::clone(network), Arc::clone(ending));
        threads.push(thread::spawn(move || {
            // Whoever broke the connection knows about it.
            let _ = converse(&network, at, stream, &ending);
        }));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn converse(
    network: &MemoryNetwork,
    at: SocketAddr,
    mut stream: TcpStream,
    ending: &AtomicBool,
) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(Duration::from_secs(5)))?;
    stream.set_nodelay(true)?;
    loop {
        let mut len = [0; 2];
        if !fill(&mut stream, &mut len, ending)? {
            return Ok(());
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
        if !fill(&mut stream, &mut message, ending)? {
            return Ok(());
        }
        for reply in network.exchange(at, &message, Tcp::default().unix_time()) {
            let len = u16::try_from(reply.len()).unwrap_or(u16::MAX);
            stream.write_all(&[&len.to_be_bytes(), reply.as_slice()].concat())?;
        }
    }
}

/// Reads until `octets` is full; false when the other side is done or we are.
fn fill(stream: &mut TcpStream, octets: &mut [u8], ending: &AtomicBool) -> io::Result<bool> {
    let mut taken = 0;
    while taken < octets.len() {
        match stream.read(&mut octets[taken..]) {
            Ok(0) => return Ok(false),
            Ok(len) => taken += len,
            Err(error) if waits(&error) && !ending.load(Ordering::SeqCst) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn waits(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn datagrams(network: &MemoryNetwork, at: SocketAddr, socket: &UdpSocket, ending: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !ending.load(Ordering::SeqCst) {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let Some(reply) =
            network.exchange(at, &buffer[..len], Tcp::default().unix_time()).into_iter().next()
        else {
            continue;
        };
        let fits = reply.len() <= DATAGRAM;
        let mut reply = if fits { reply } else { cut(&buffer[..len], &reply) };
        if !fits && reply.len() > 2 {
            reply[2] |= 0x02;
        }
        let _ = socket.send_to(&reply, from);
    }
}

/// A reply without its answers: the header and question of what was asked, flags of the answer.
fn cut(question: &[u8], reply: &[u8]) -> Vec<u8> {
    let mut end = 12;
    while let Some(&len) = question.get(end) {
        end += 1 + usize::from(len);
        if len == 0 {
            break;
        }
    }
    let mut cut = question.get(..end + 4).unwrap_or_default().to_vec();
    if let (Some(out), Some(flags)) = (cut.get_mut(2..4), reply.get(2..4)) {
        out.copy_from_slice(flags);
    }
    if let Some(counts) = cut.get_mut(6..12) {
        counts.fill(0);
    }
    cut
}
