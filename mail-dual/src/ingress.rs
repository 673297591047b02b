//! Listeners: SMTP and LMTP for whoever hands mail over, and the port for the peer relay.
//!
//! A thread for each connection, as many as were allowed; everybody else is told to come again. To
//! stop, a bell is rung that every wait looks at.

mod session;
mod socket;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::accept::Accept;
use crate::net::{Address, Bell, TlsServer};
use crate::proto::ServerConfig;
use socket::Socket;

/// Whether and how a listener encrypts.
#[derive(Debug, Clone, Default)]
pub enum Offered {
    /// Not at all: for what stays on this machine.
    #[default]
    Nothing,
    /// From the first byte on.
    Implicit(TlsServer),
    /// After STARTTLS; nothing is taken before it where [`ServerConfig::require_tls`] is set.
    StartTls(TlsServer),
}

/// What a listener needs to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenerConfig {
    /// Where to listen. Port 0 is any that is free.
    pub address: Address,
    /// How to talk.
    pub session: ServerConfig,
    /// TLS.
    pub tls: Offered,
    /// The addresses that may connect; everybody where there are none.
    pub allow: Vec<IpAddr>,
    /// How many connections there may be at once.
    pub connections: usize,
    /// How many bytes the messages under way may take together. Above that, those that grow are
    /// told to come again (452).
    pub memory: usize,
    /// How long to wait for a command (RFC 5321 §4.5.3.2.7: 5 minutes), or for the next part of
    /// a message.
    pub patience: Duration,
    /// Who may connect to a unix socket, as the mode of its file.
    pub mode: u32,
}

impl ListenerConfig {
    /// Up to 200 connections without TLS and 512 MiB of messages under way, five minutes of patience, and a unix socket that every
    /// user of this machine may hand mail to.
    pub fn new(address: Address, session: ServerConfig) -> ListenerConfig {
        ListenerConfig {
            address,
            session,
            tls: Offered::Nothing,
            allow: Vec::new(),
            connections: 200,
            memory: 512 << 20,
            patience: Duration::from_secs(300),
            mode: 0o666,
        }
    }
}

/// Why nobody can listen there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Somebody else does.
    #[error("something listens at {address} already; stop it or choose another address")]
    InUse {
        /// Where.
        address: Address,
    },
    /// Ports below 1024 and foreign folders are not for everybody.
    #[error(
        "no right to listen at {address}; run as root, or choose a port above 1023 or a folder of one's own"
    )]
    Denied {
        /// Where.
        address: Address,
    },
    /// The address is not one of this machine.
    #[error("{address} is no address of this machine; give one of its own, or 127.0.0.1")]
    NotOurs {
        /// Where.
        address: Address,
    },
    /// What is there is no socket.
    #[error("{path} is there and is no socket; move it away or choose another path")]
    NoSocket {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot listen at {address}: {source}")]
    Other {
        /// Where.
        address: Address,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A socket that is bound, so that nobody else can be, and not served yet.
///
/// An engine's [`Handle`](crate::Handle) is what usually takes the messages.
///
/// ```
/// use std::sync::Arc;
/// use mail_dual::proto::{ClientConfig, Dialect, ServerConfig};
/// use mail_dual::{
///     Accept, Encryption, ForwardPath, Leg, Listener, ListenerConfig, Port, Presence, Receipt,
///     RemoteConfig, RemoteLeg, Reply, ReversePath, SpoolId, Submission,
/// };
///
/// #[derive(Debug)]
/// struct Closed;
///
/// impl Accept for Closed {
///     fn begin(&self, _: Port, _: &ReversePath, _: Option<u64>) -> Result<(), Reply> {
///         Err(Reply::new(451, "4.3.2 come tomorrow").expect("451 is a reply code"))
///     }
///     fn recipient(&self, _: Port, _: &ForwardPath) -> Result<(), Reply> {
///         Ok(())
///     }
///     fn accept(&self, _: Submission) -> Result<Receipt, Reply> {
///         Err(Reply::new(451, "4.3.2 come tomorrow").expect("451 is a reply code"))
///     }
///     fn knows(&self, _: SpoolId, _: &ForwardPath) -> Presence {
///         Presence::Unknown
///     }
/// }
///
/// let session = ServerConfig::new(Dialect::Lmtp, "uk.example.org", Port::Fanout);
/// let listener = Listener::bind(ListenerConfig::new("127.0.0.1:0".parse()?, session))?;
/// let address = listener.address().clone();
/// let serving = listener.serve(Arc::new(Closed))?;
/// let client = ClientConfig::new(Dialect::Lmtp, "front.example.org");
/// let leg = RemoteLeg::new(RemoteConfig::new(address, Encryption::None, client));
/// assert!(leg.probe()?.join(" ").contains("CHUNKING"));
/// serving.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    config: ListenerConfig,
    socket: Socket,
}

impl Listener {
    /// Binds the socket. A unix socket that nobody listens at any more is replaced.
    ///
    /// # Errors
    /// [`ListenError`] says what is in the way.
    pub fn bind(mut config: ListenerConfig) -> Result<Listener, ListenError> {
        let socket = Socket::bind(&config.address, config.mode)?;
        if let Some(address) = socket.address() {
            config.address = address.into();
        }
        config.session.starttls = matches!(config.tls, Offered::StartTls(_));
        Ok(Listener { config, socket })
    }

    /// Where it listens; with the port that was free.
    pub fn address(&self) -> &Address {
        &self.config.address
    }

    /// Serves until [`Serving::stop`].
    ///
    /// # Errors
    /// The kernel had no thread or descriptor for it.
    pub fn serve(self, accept: Arc<dyn Accept>) -> io::Result<Serving> {
        let bell = Bell::new()?;
        let address = self.config.address.clone();
        let shared = Arc::new(Shared {
            config: self.config,
            accept,
            bell: bell.clone(),
            connections: AtomicUsize::new(0),
            memory: AtomicUsize::new(0),
            threads: Mutex::default(),
        });
        let acceptor = {
            let shared = shared.clone();
            let socket = self.socket;
            thread::Builder::new()
                .name("mail-listener".to_owned())
                .spawn(move || socket.serve(&shared))?
        };
        Ok(Serving { address, bell, shared, acceptor: Some(acceptor) })
    }
}

/// What the threads of one listener share.
struct Shared {
    config: ListenerConfig,
    accept: Arc<dyn Accept>,
    bell: Bell,
    connections: AtomicUsize,
    /// What the messages under way take.
    memory: AtomicUsize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Shared {
    /// Runs `session` on a thread of its own.
    fn spawn(self: &Arc<Shared>, session: impl FnOnce(&Shared) + Send + 'static) {
        /// Counts down however the thread ends.
        struct Seat(Arc<Shared>);
        impl Drop for Seat {
            fn drop(&mut self) {
                self.0.connections.fetch_sub(1, Ordering::AcqRel);
            }
        }
        self.connections.fetch_add(1, Ordering::AcqRel);
        let seat = Seat(self.clone());
        let spawned = thread::Builder::new()
            .name("mail-session".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || session(&seat.0));
        // Without a thread the connection is closed, and the client comes again.
        if let Ok(thread) = spawned {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.retain(|thread| !thread.is_finished());
            threads.push(thread);
        }
    }

    fn is_full(&self) -> bool {
        self.connections.load(Ordering::Acquire) >= self.config.connections
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A listener at work. Dropping it stops it.
#[derive(Debug)]
pub struct Serving {
    address: Address,
    bell: Bell,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Takes no more connections, ends those there are between two commands, and returns when
    /// none is left. A message of which not all has come is given up; its sender has not been
    /// told that we have it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.bell.ring();
        if let Some(acceptor) = self.acceptor.take() {
            // A thread that panicked has been reported by the panic itself.
            let _ = acceptor.join();
        }
        let threads = std::mem::take(
            &mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner),
        );
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}
