//! A folder that goes when the drill goes, however it goes, and ports that nobody else uses.

use std::fs::{self, DirBuilder, DirEntry};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::Trouble;

/// Ports for servers: below those that the kernel gives to outgoing connections (ip(7),
/// `ip_local_port_range`), so that nobody takes one while its server is down.
const PORTS: std::ops::Range<u16> = 10_000..32_000;
/// So many ports are a drill's own: drills at the same time keep out of each other's way, also while
/// their servers are down.
const OWN: u32 = 100;
/// How many threads remove what a drill leaves.
const HANDS: usize = 16;
/// How many ports were looked at so far.
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// A folder for the drill alone, with a janitor that removes it when the drill was killed.
#[derive(Debug)]
pub(super) struct Ground {
    folder: PathBuf,
    janitor: Child,
}

impl Ground {
    /// Makes the folder below the one for temporary files.
    pub(super) fn new() -> Result<Ground, Trouble> {
        let folder = std::env::temp_dir().join(format!("drill-{:08x}", random()? as u32));
        let failed = |error: io::Error| Trouble::at("cannot make a folder at", &folder, &error);
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
        match janitor(&folder) {
            Ok(janitor) => Ok(Ground { folder, janitor }),
            Err(error) => {
                let _ = fs::remove_dir(&folder);
                Err(Trouble::new(format!("cannot start a process: {error}")))
            }
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        remove(&self.folder);
        // Its input ends, and so does it.
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}

fn janitor(folder: &Path) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg("host-janitor")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C in a terminal is for the drill, not for whoever cleans up behind it.
        .process_group(0)
        .spawn()
}

/// The janitor's whole work: waits until the drill is gone and removes its folder.
pub(super) fn keep_house(folder: &Path) {
    // Ends, with or without an error, when nobody holds the other end any more.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    for _ in 0..5 {
        if !folder.exists() {
            // The drill has cleaned up itself.
            return;
        }
        remove(folder);
        // The other processes end at the same time, and one may just be making a folder.
        thread::sleep(Duration::from_millis(100));
    }
}

/// Removes a folder that processes which are about to end may still be writing to.
pub(super) fn remove(folder: &Path) {
    sweep(folder);
    for _ in 0..100 {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                thread::sleep(Duration::from_millis(20));
            }
            // Somebody may have made it anew just before it ended.
            _ if folder.exists() => {}
            _ => return,
        }
    }
}

/// Removes the files in a tree, with many hands: on a disk that is told of every block that becomes free
/// (ext4 with `discard`), each removal waits, and a site of 20,000 files takes one hand a minute. What
/// this leaves is removed afterwards.
fn sweep(folder: &Path) {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let mut folders = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(folder) = folders.get(seen) {
        let inner: Vec<PathBuf> =
            entries(folder).filter(is_folder).map(|entry| entry.path()).collect();
        folders.extend(inner);
        seen += 1;
    }
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(folder) = folders.get(next.fetch_add(1, Ordering::Relaxed)) {
            for entry in entries(folder).filter(|entry| !is_folder(entry)) {
                // It may be gone already.
                let _ = fs::remove_file(entry.path());
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..HANDS {
            // Where the system gives no thread, there are fewer hands.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
    });
}

/// Ends this process when whoever started it is gone: when standard input ends, and by the kernel's
/// hand as well (prctl(2), `PR_SET_PDEATHSIG`).
pub(super) fn tether() {
    obey_parent();
    thread::spawn(|| {
        let mut input = io::stdin().lock();
        let mut buffer = [0; 64];
        while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
        // No destructor is waited for: whoever started us is gone, or wants us gone.
        std::process::exit(0);
    });
}

/// The kernel's half alone, for a process whose standard input is in use.
pub(super) fn obey_parent() {
    let kill = rustix::process::Signal::KILL;
    let _ = rustix::process::set_parent_process_death_signal(Some(kill));
}

/// Says to whoever waits for it that this process serves now.
pub(super) fn say_ready() {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "ready").and_then(|()| out.flush());
}

pub(super) fn random() -> Result<u64, Trouble> {
    getrandom::u64()
        .map_err(|error| Trouble::new(format!("the kernel gives no random bytes: {error}")))
}

/// So many addresses on loopback whose ports are free for UDP and TCP.
pub(super) fn addresses<const N: usize>() -> Result<[SocketAddr; N], Trouble> {
    let mut held = Vec::with_capacity(N);
    let span = u32::from(PORTS.end - PORTS.start);
    let begin = std::process::id() % (span / OWN) * OWN;
    for _ in 0..span {
        if held.len() == N {
            break;
        }
        // One after the other, so that none is given twice.
        let next = (begin + GIVEN.fetch_add(1, Ordering::Relaxed)) % span;
        let port = PORTS.start + u16::try_from(next).unwrap_or_default();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let (Ok(tcp), Ok(udp)) = (TcpListener::bind(address), UdpSocket::bind(address)) {
            held.push((address, tcp, udp));
        }
    }
    let addresses: Vec<SocketAddr> = held.iter().map(|(address, ..)| *address).collect();
    addresses.try_into().map_err(|_| Trouble::new("there are not enough free ports on 127.0.0.1"))
}
