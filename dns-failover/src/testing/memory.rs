//! Six name servers in one process, and controllers that die on the way.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::server::{Behaviour, MemoryServer};
use crate::epoch::{Active, Epoch, EpochRecord, SiteId};
use crate::name::Name;
use crate::net::{Link, Network};
use crate::topology::{Feed, Topology};

/// The name servers of a topology, in memory. Time stands still but for what pauses add.
#[derive(Debug)]
pub struct MemoryNetwork {
    servers: BTreeMap<SocketAddr, Mutex<MemoryServer>>,
    addresses: Vec<SocketAddr>,
    /// Where each one transfers from.
    primaries: BTreeMap<SocketAddr, Vec<SocketAddr>>,
    /// Milliseconds since 1970.
    clock: AtomicU64,
}

impl MemoryNetwork {
    /// All six servers, each with every domain at its primary site and the catalog, as if rendered at
    /// `unix_seconds`.
    pub fn serving(topology: &Topology, unix_seconds: u64) -> MemoryNetwork {
        let network = MemoryNetwork::empty(topology, unix_seconds);
        let epoch = Epoch::starting(unix_seconds, SiteId::Uk);
        let domain = |active| EpochRecord { epoch, active };
        for server in network.servers.values() {
            let mut server = lock(server);
            server.put(topology.catalog_zone(domain(Active::One(SiteId::Uk))));
            for each in topology.domains().values() {
                server.put(topology.zone(each, domain(Active::One(each.primary))));
            }
        }
        network
    }

    /// All six servers, without a zone.
    pub fn empty(topology: &Topology, unix_seconds: u64) -> MemoryNetwork {
        let reach =
            |name: &Name| topology.server_index(name).map(|i| topology.name_servers()[i].reach);
        let servers = topology.name_servers();
        let primaries = servers.iter().filter_map(|server| match &server.feed {
            Feed::Transfer { from } => {
                Some((server.reach, from.iter().filter_map(reach).collect()))
            }
            _ => None,
        });
        MemoryNetwork {
            addresses: servers.iter().map(|server| server.reach).collect(),
            primaries: primaries.collect(),
            servers: servers
                .iter()
                .map(|server| (server.reach, Mutex::new(MemoryServer::new(server.key.clone()))))
                .collect(),
            clock: AtomicU64::new(unix_seconds.saturating_mul(1000)),
        }
    }

    /// The server at `index` among the six.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn server(&self, index: usize) -> MutexGuard<'_, MemoryServer> {
        lock(&self.servers[&self.addresses[index]])
    }

    /// Where servers are reached, in their order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The same servers as seen by a controller that dies after so many messages. The last one
    /// arrives (and its reply is lost) when `delivers` says so.
    pub fn dying_after(&self, messages: usize, delivers: bool) -> Dying<'_> {
        Dying { network: self, left: AtomicUsize::new(messages), delivers }
    }

    /// What a server answers to a message at this many seconds since 1970.
    pub(super) fn exchange(&self, to: SocketAddr, message: &[u8], now: u64) -> Vec<Vec<u8>> {
        let Some(server) = self.servers.get(&to) else { return Vec::new() };
        let replies = lock(server).answer(message, now);
        self.refresh(to);
        replies
    }

    /// Lets a server that was told of changes transfer them from the first primary that has them.
    fn refresh(&self, at: SocketAddr) {
        let Some(server) = self.servers.get(&at) else { return };
        let stale = std::mem::take(&mut lock(server).stale);
        for name in stale {
            for primary in self.primaries.get(&at).into_iter().flatten() {
                let Some(primary) = self.servers.get(primary) else { continue };
                let zone = {
                    let primary = lock(primary);
                    if primary.behaviour == Behaviour::Down {
                        continue;
                    }
                    primary.zone(&name).cloned()
                };
                let mut server = lock(server);
                let known = server.zone(&name).and_then(|zone| zone.serial());
                if let Some(zone) = zone
                    && (known.is_none() || zone.serial() > known)
                {
                    server.put(zone);
                }
            }
        }
    }

    /// Lets every server that transfers ask all its primaries for everything, as each does from time to
    /// time.
    pub fn refresh_all(&self) {
        for (at, primaries) in &self.primaries {
            let names = primaries.iter().flat_map(|primary| lock(&self.servers[primary]).names());
            let names: Vec<Name> = names.collect();
            if let Some(server) = self.servers.get(at) {
                lock(server).stale.extend(names);
            }
            self.refresh(*at);
        }
    }
}

impl Network for MemoryNetwork {
    fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Link + '_>> {
        let refused = || io::Error::from(ErrorKind::ConnectionRefused);
        let server = self.servers.get(&to).ok_or_else(refused)?;
        if lock(server).behaviour == Behaviour::Down {
            return Err(refused());
        }
        Ok(Box::new(MemoryLink { network: self, to, replies: VecDeque::new() }))
    }

    fn unix_time(&self) -> u64 {
        self.clock.load(Ordering::Relaxed) / 1000
    }

    fn pause(&self, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.clock.fetch_add(milliseconds, Ordering::Relaxed);
        self.refresh_all();
    }
}

struct MemoryLink<'a> {
    network: &'a MemoryNetwork,
    to: SocketAddr,
    replies: VecDeque<Vec<u8>>,
}

impl Link for MemoryLink<'_> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if lock(&self.network.servers[&self.to]).behaviour == Behaviour::Down {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let now = self.network.unix_time();
        self.replies.extend(self.network.exchange(self.to, message, now));
        Ok(())
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let silence = || io::Error::new(ErrorKind::TimedOut, "no reply in time");
        self.replies.pop_front().ok_or_else(silence)
    }
}

/// The network of a controller that dies; see [`MemoryNetwork::dying_after`].
#[derive(Debug)]
pub struct Dying<'a> {
    network: &'a MemoryNetwork,
    left: AtomicUsize,
    delivers: bool,
}

impl Dying<'_> {
    /// Whether it is dead.
    pub fn is_dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    /// Counts a message; says whether the controller lives to see its reply.
    fn lives(&self) -> bool {
        let spend = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_ok_and(|left| left > 1)
    }
}

impl Network for Dying<'_> {
    fn connect(&self, to: SocketAddr) -> io::Result<Box<dyn Link + '_>> {
        if self.is_dead() {
            return Err(dead());
        }
        Ok(Box::new(DyingLink { dying: self, link: self.network.connect(to)? }))
    }

    fn unix_time(&self) -> u64 {
        self.network.unix_time()
    }

    fn pause(&self, time: Duration) {
        self.network.pause(time);
    }
}

struct DyingLink<'a> {
    dying: &'a Dying<'a>,
    link: Box<dyn Link + 'a>,
}

impl Link for DyingLink<'_> {
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let was_dead = self.dying.is_dead();
        let lives = self.dying.lives();
        if lives || (self.dying.delivers && !was_dead) {
            self.link.send(message)?;
        }
        if lives { Ok(()) } else { Err(dead()) }
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        if self.dying.is_dead() { Err(dead()) } else { self.link.receive() }
    }
}

fn dead() -> io::Error {
    io::Error::other("this controller is dead")
}

/// A test that panicked while it held a server has failed already.
fn lock(server: &Mutex<MemoryServer>) -> MutexGuard<'_, MemoryServer> {
    server.lock().unwrap_or_else(PoisonError::into_inner)
}
