//! An agent over SSH, by libssh2. Everything that names ssh2 is in here.
//!
//! libssh2's session is one lock and its blocking calls hold it, so once the agent's command runs a
//! single thread owns the session and never blocks in it: it waits for the socket and for our end
//! of a socket pair at once, and carries bytes between them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{
    BlockDirections, Channel, ErrorCode, HashType, KeyboardInteractivePrompt, MethodType, Prompt,
    Session,
};

use super::child::keep_end;
use super::deadline::{Watchdog, within};
use super::host::{AGENT_COMMAND, Destination};
use super::host_key::{HostKeys, Secret, fingerprint};
use super::memory::Socket;
use super::{Ending, LastWords, Transport};
use crate::error::explain;
use crate::wire::LinkError;

/// libssh2 would take chacha20-poly1305 first, whose code has been the way into it before and is
/// slower than what the processor does by itself.
pub(crate) const CIPHERS: &str =
    "aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes192-ctr,aes128-ctr";

/// The key types to ask for when nothing is known but fingerprints, one after the other. None of
/// them is a certificate, whose fingerprint nobody pins.
const KEY_TYPES: [&str; 3] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521",
    "rsa-sha2-512,rsa-sha2-256",
];

/// libssh2 reads slowly when much lies received and not read, so that a window is as large as the
/// distance needs and no larger.
const WINDOW: Duration = Duration::from_millis(20);
const WINDOW_MIN: u32 = 2 << 20;
const WINDOW_MAX: u32 = 8 << 20;

/// A larger packet than this breaks the session.
const PACKET: u32 = 32_768;

/// How many bytes lie between the two sides at most.
const PENDING: usize = 256 << 10;

/// What libssh2 calls it when it has waited for too long.
const TIMED_OUT: i32 = -9;

/// How long one address is tried at the least; no time at all is none that a call takes.
const SHARE_MIN: Duration = Duration::from_millis(1);

/// How long an SSH agent may take to list its identities, for which it asks nobody.
const AGENT_ANSWERS: Duration = Duration::from_secs(5);

/// How many identities of an agent are tried: servers allow six attempts in all.
const IDENTITIES: usize = 5;

/// Seconds between signs of life of the SSH session itself.
const KEEPALIVE: u32 = 30;

/// How long closing a channel may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// A way to prove who one is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Login {
    /// A private key, as text in any form that OpenSSH writes, and its passphrase if it has one.
    Key {
        /// The key.
        key: Secret,
        /// What it is encrypted with.
        passphrase: Option<Secret>,
    },
    /// The identities of the running SSH agent.
    Agent,
    /// A password, also where the server asks for it as a question.
    Password(Secret),
}

/// How an agent is reached over SSH.
#[derive(Debug, Clone)]
pub struct SshOptions {
    to: Destination,
    user: String,
    host_keys: HostKeys,
    logins: Vec<Login>,
    agent_command: String,
    timeout: Duration,
}

impl SshOptions {
    /// A server that is known by `host_keys`; `user` is taken where the destination names none.
    pub fn new(to: Destination, user: impl Into<String>, host_keys: HostKeys) -> SshOptions {
        SshOptions {
            user: to.user.clone().unwrap_or_else(|| user.into()),
            to,
            host_keys,
            logins: Vec::new(),
            agent_command: AGENT_COMMAND.to_owned(),
            timeout: Duration::from_secs(30),
        }
    }

    /// One more way to log in, tried after those before it.
    #[must_use]
    pub fn login(mut self, login: Login) -> SshOptions {
        self.logins.push(login);
        self
    }

    /// What is run on the other side.
    #[must_use]
    pub fn agent_command(mut self, command: impl Into<String>) -> SshOptions {
        self.agent_command = command.into();
        self
    }

    /// How long it may take to find the server and make sure that it is the right one, and as long
    /// again to log in and start the agent: 30 s unless something else is asked for.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> SshOptions {
        self.timeout = timeout;
        self
    }

    fn port(&self) -> u16 {
        self.to.port.unwrap_or(22)
    }
}

/// Connects to a server, makes sure that it is the right one, logs in and starts the agent.
///
/// # Errors
/// [`LinkError::Unreachable`], [`LinkError::HostKey`] or [`LinkError::Login`].
pub fn ssh(options: &SshOptions) -> Result<Transport, LinkError> {
    let (session, socket, distance) = meet(options)?;
    let failed = |error: io::Error| LinkError::Io(explain(&error));
    let watchdog = Watchdog::over(&socket, options.timeout).map_err(failed)?;
    let begun = log_in(&session, options).and_then(|()| begin(&session, options, distance));
    let channel = begun.map_err(|error| {
        // Who waits for a person's SSH agent holds on to the session.
        let _ = socket.shutdown(Shutdown::Both);
        let seconds = options.timeout.as_secs();
        match watchdog.has_bitten() {
            true => LinkError::Unreachable(format!(
                "logging in and starting the agent's command took more than {seconds} s"
            )),
            false => error,
        }
    })?;
    drop(watchdog);
    session.set_blocking(false);
    session.set_keepalive(false, KEEPALIVE);
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    theirs.set_nonblocking(true).map_err(failed)?;
    let last_words = Arc::new(Mutex::new(LastWords::default()));
    let carrier = Carrier {
        session,
        channel,
        socket,
        local: theirs,
        out: Vec::new(),
        written: 0,
        arrived: Vec::new(),
        passed: 0,
        read_waits: false,
        local_ended: false,
        remote_ended: false,
        last_words: last_words.clone(),
    };
    thread::Builder::new().name("ssh".to_owned()).spawn(move || carrier.run()).map_err(failed)?;
    let (reader, writer) = (ours.try_clone().map_err(failed)?, ours.try_clone().map_err(failed)?);
    Ok(Transport::new(reader, writer, Carried { socket: Socket(ours), last_words }))
}

/// Starts the agent's command.
fn begin(
    session: &Session,
    options: &SshOptions,
    distance: Duration,
) -> Result<Channel, LinkError> {
    let in_words = |doing| move |error: ssh2::Error| cannot(doing, &error);
    let window = u32::try_from(distance.as_millis() / WINDOW.as_millis()).unwrap_or(u32::MAX);
    let window = window.saturating_mul(WINDOW_MIN).clamp(WINDOW_MIN, WINDOW_MAX);
    let mut channel = session
        .channel_open("session", window, PACKET, None)
        .map_err(in_words("open a channel"))?;
    channel.exec(&options.agent_command).map_err(in_words("start the agent's command"))?;
    Ok(channel)
}

fn cannot(doing: &str, error: &ssh2::Error) -> LinkError {
    LinkError::Unreachable(format!("cannot {doing}: {}", error.message()))
}

/// Connects and checks the host key. Where only fingerprints are known, the server is met once for
/// each type of key until it shows the right one.
fn meet(options: &SshOptions) -> Result<(Session, TcpStream, Duration), LinkError> {
    let known: Vec<String> = match &options.host_keys {
        HostKeys::Pinned(pins) => {
            pins.iter().filter_map(|pin| pin.key_type()).map(str::to_owned).collect()
        }
        HostKeys::Checked(check) => check.key_types(&options.to.host, options.port()),
    };
    let attempts: Vec<Vec<String>> = match &options.host_keys {
        HostKeys::Checked(_) if known.is_empty() => vec![vec![KEY_TYPES.join(",")]],
        HostKeys::Pinned(pins) if known.len() < pins.len() => {
            KEY_TYPES.iter().map(|types| vec![(*types).to_owned()]).collect()
        }
        _ => vec![known],
    };
    let mut first = None;
    let begun = now();
    for types in attempts {
        let left = options.timeout.saturating_sub(begun.elapsed());
        match meet_as(options, &types, left) {
            Ok(met) => return Ok(met),
            Err(Unmet { error, another }) => {
                let worth_telling = matches!(error, LinkError::HostKey { .. });
                if first.is_none()
                    || (worth_telling && !matches!(first, Some(LinkError::HostKey { .. })))
                {
                    first = Some(error);
                }
                if !another {
                    break;
                }
            }
        }
    }
    Err(first.unwrap_or_else(|| LinkError::Unreachable("no type of host key is known".to_owned())))
}

/// Why a server was not met.
struct Unmet {
    error: LinkError,
    /// Whether it may do with another type of host key: it was there, and has none of this type or
    /// another one.
    another: bool,
}

impl From<LinkError> for Unmet {
    fn from(error: LinkError) -> Unmet {
        Unmet { error, another: false }
    }
}

fn meet_as(
    options: &SshOptions,
    types: &[String],
    patience: Duration,
) -> Result<(Session, TcpStream, Duration), Unmet> {
    let begun = now();
    let (socket, distance) = connect(options, patience)?;
    let failed = |error: io::Error| LinkError::Io(explain(&error));
    let mut session = Session::new().map_err(|error| cannot("set SSH up", &error))?;
    session.set_timeout(u32::try_from(options.timeout.as_millis()).unwrap_or(u32::MAX));
    session.set_tcp_stream(socket.try_clone().map_err(failed)?);
    let prefer = |what, methods: &str| {
        session.method_pref(what, methods).map_err(|error| cannot("choose SSH's methods", &error))
    };
    prefer(MethodType::CryptCs, CIPHERS)?;
    prefer(MethodType::CryptSc, CIPHERS)?;
    // RSA keys are one type with several ways to sign.
    let types: Vec<&str> = types
        .iter()
        .map(|known| if known == "ssh-rsa" { KEY_TYPES[2] } else { known.as_str() })
        .collect();
    prefer(MethodType::HostKey, &types.join(","))?;
    // A server that goes on talking keeps libssh2 from looking at the time.
    let left = patience.saturating_sub(begun.elapsed());
    let watchdog = Watchdog::over(&socket, left).map_err(failed)?;
    let started = now();
    session.handshake().map_err(|error| {
        let late = watchdog.has_bitten() || error.code() == ErrorCode::Session(TIMED_OUT);
        let seconds = options.timeout.as_secs();
        match late {
            true => {
                LinkError::Unreachable(format!("it does not speak SSH within {seconds} s")).into()
            }
            false => Unmet { error: cannot("agree on how to speak SSH", &error), another: true },
        }
    })?;
    // Something in between may have answered the connection; the handshake goes all the way, and
    // takes four round trips.
    let distance = distance.max(started.elapsed() / 4);
    check_host_key(&session, options).map_err(|error| Unmet { error, another: true })?;
    Ok((session, socket, distance))
}

/// Connects to the first of the host's addresses that answers, and sees how far it is.
fn connect(options: &SshOptions, patience: Duration) -> Result<(TcpStream, Duration), LinkError> {
    let begun = now();
    let unreachable = |error: &io::Error| LinkError::Unreachable(explain(error));
    let (host, port) = (options.to.host.clone(), options.port());
    let resolve = move || (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
    let resolved = within(patience, resolve).map_err(|error| unreachable(&error))?;
    let addresses: Vec<SocketAddr> = match resolved {
        Some(Ok(addresses)) => addresses,
        Some(Err(error)) => {
            return Err(LinkError::Unreachable(format!("its name cannot be found: {error}")));
        }
        None => {
            let seconds = options.timeout.as_secs();
            let why = format!("nobody says within {seconds} s which addresses its name has");
            return Err(LinkError::Unreachable(why));
        }
    };
    let mut last = LinkError::Unreachable("its name has no address".to_owned());
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let started = now();
        // An address that does not answer leaves time for those after it.
        let share = patience.saturating_sub(begun.elapsed()) / u32::try_from(left).unwrap_or(1);
        match TcpStream::connect_timeout(address, share.max(SHARE_MIN)) {
            Ok(socket) => {
                let distance = started.elapsed();
                socket.set_nodelay(true).map_err(|error| unreachable(&error))?;
                return Ok((socket, distance));
            }
            Err(error) => last = unreachable(&error),
        }
    }
    Err(last)
}

#[expect(clippy::disallowed_methods, reason = "the edge measures how far the host is")]
fn now() -> Instant {
    Instant::now()
}

fn check_host_key(session: &Session, options: &SshOptions) -> Result<(), LinkError> {
    let refused = |fingerprint: String, why: String| LinkError::HostKey { fingerprint, why };
    let shown = || refused("(none)".to_owned(), "was not shown".to_owned());
    let (key, _) = session.host_key().ok_or_else(shown)?;
    let sha256 = session.host_key_hash(HashType::Sha256).ok_or_else(shown)?;
    let sha256: [u8; 32] = sha256.try_into().map_err(|_| shown())?;
    match &options.host_keys {
        HostKeys::Pinned(pins) if pins.iter().any(|pin| pin.is(key, &sha256)) => Ok(()),
        HostKeys::Pinned(pins) => {
            let why = match pins.is_empty() {
                true => {
                    "is not known; compare it with what the server's own console shows \
                         (ssh-keygen -l) and pin it if it is the same"
                }
                false => {
                    "is not the one that is pinned: either the server has a new one, or \
                          somebody is in between; find out which before you go on"
                }
            };
            Err(refused(fingerprint(&sha256), why.to_owned()))
        }
        HostKeys::Checked(check) => check
            .check(&options.to.host, options.port(), key)
            .map_err(|why| refused(fingerprint(&sha256), why)),
    }
}

/// Tries one login after the other, of those that the server takes at all.
fn log_in(session: &Session, options: &SshOptions) -> Result<(), LinkError> {
    let user = options.user.as_str();
    let login = |why: String| LinkError::Login { user: user.to_owned(), why };
    let mut tried = Vec::new();
    let mut logins = options.logins.iter();
    // A key is what nearly every server takes, so that asking comes after the first one.
    let first = match options.logins.first() {
        Some(Login::Key { key, passphrase }) => {
            logins.next();
            Some(by_key(session, user, key, passphrase.as_ref()))
        }
        _ => None,
    };
    if session.authenticated() {
        return Ok(());
    }
    // Asking for the methods is itself an attempt, which a server may grant.
    let methods = match session.auth_methods(user) {
        Ok(methods) => methods.to_owned(),
        Err(_) if session.authenticated() => return Ok(()),
        Err(error) => return Err(login(format!("it does not say how: {}", error.message()))),
    };
    let takes = |method: &str| methods.split(',').any(|taken| taken == method);
    let no_key = || "no key, since it takes none".to_owned();
    tried.extend(first.map(|why| if takes("publickey") { why } else { no_key() }));
    for attempt in logins {
        match attempt {
            Login::Key { key, passphrase } if takes("publickey") => {
                tried.push(by_key(session, user, key, passphrase.as_ref()));
            }
            Login::Agent if takes("publickey") && !agent_answers() => {
                tried.push("an SSH agent that does not answer".to_owned());
            }
            Login::Agent if takes("publickey") => match in_time_by_agent(session, options)? {
                Ok(0) => tried.push("an SSH agent without identities".to_owned()),
                Ok(count) => tried.push(format!("{count} identities of the SSH agent")),
                Err(error) => tried.push(format!("no SSH agent: {}", error.message())),
            },
            Login::Password(password) if takes("password") || takes("keyboard-interactive") => {
                let mut refused =
                    !takes("password") || session.userauth_password(user, &password.0).is_err();
                if refused && takes("keyboard-interactive") {
                    let mut answer = Answer(password);
                    refused = session.userauth_keyboard_interactive(user, &mut answer).is_err();
                }
                if refused {
                    tried.push("a password".to_owned());
                }
            }
            Login::Key { .. } => tried.push(no_key()),
            Login::Agent => tried.push("no SSH agent, since it takes no keys".to_owned()),
            Login::Password(_) => tried.push("no password, since it takes none".to_owned()),
        }
        if session.authenticated() {
            return Ok(());
        }
    }
    if tried.is_empty() {
        return Err(login(format!(
            "no key, SSH agent or password was there to be tried, so name one; it takes {methods}"
        )));
    }
    Err(login(format!("tried {}; it takes {methods}", tried.join("; "))))
}

/// Tries a key; returns what to say of it if it was not enough.
fn by_key(session: &Session, user: &str, key: &Secret, passphrase: Option<&Secret>) -> String {
    let passphrase = passphrase.map(|secret| secret.0.as_str());
    match session.userauth_pubkey_memory(user, None, &key.0, passphrase) {
        Ok(()) => "a key, which was not enough".to_owned(),
        Err(error) if is_unreadable(&error) => {
            "a key that cannot be read without its passphrase".to_owned()
        }
        Err(error) => format!("a key: {}", error.message()),
    }
}

/// libssh2 has two errors for a key that it cannot read, which one depends on the cipher.
fn is_unreadable(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::Session(-16 | -48))
}

/// Whether the running SSH agent says anything at all: one at the other end of a connection that is
/// dead would never end what libssh2 asks it. One that cannot be reached is for libssh2 to tell.
fn agent_answers() -> bool {
    /// SSH_AGENTC_REQUEST_IDENTITIES (draft-miller-ssh-agent, section 4.4), which is of one byte.
    const LIST: [u8; 5] = [0, 0, 0, 1, 11];
    let Some(path) = std::env::var_os("SSH_AUTH_SOCK") else { return true };
    let ask = move || {
        let Ok(mut socket) = UnixStream::connect(path) else { return };
        if socket.write_all(&LIST).is_ok() {
            // It also says something by going away.
            let _ = socket.read(&mut [0; 5]);
        }
    };
    !matches!(within(AGENT_ANSWERS, ask), Ok(None))
}

/// Tries the identities of the running SSH agent as long as there is time: signing may be up to a
/// person, or to the end of a connection that has died. Whoever signs has the session until then.
fn in_time_by_agent(
    session: &Session,
    options: &SshOptions,
) -> Result<Result<usize, ssh2::Error>, LinkError> {
    let (session, user) = (session.clone(), options.user.clone());
    // What it says is to come before the watchdog ends everything.
    let patience = options.timeout - options.timeout / 10;
    let tried = within(patience, move || by_agent(&session, &user));
    tried.map_err(|error| LinkError::Io(explain(&error)))?.ok_or_else(|| LinkError::Login {
        user: options.user.clone(),
        why: format!("the SSH agent did not sign within {} s", patience.as_secs()),
    })
}

/// Tries the identities of the running SSH agent; returns how many it tried.
fn by_agent(session: &Session, user: &str) -> Result<usize, ssh2::Error> {
    let mut agent = session.agent()?;
    agent.connect()?;
    agent.list_identities()?;
    let identities = agent.identities()?;
    let mut tried = 0;
    for identity in identities.iter().take(IDENTITIES) {
        tried += 1;
        if agent.userauth(user, identity).is_ok() {
            break;
        }
    }
    Ok(tried)
}

/// Answers a single question that is not echoed, which is the one for the password. Anything else
/// is for a person.
struct Answer<'a>(&'a Secret);

impl KeyboardInteractivePrompt for Answer<'_> {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[Prompt<'_>]) -> Vec<String> {
        match prompts {
            [prompt] if !prompt.echo => vec![self.0.0.to_string()],
            prompts => vec![String::new(); prompts.len()],
        }
    }
}

/// Our end of what the carrier carries.
struct Carried {
    socket: Socket,
    last_words: Arc<Mutex<LastWords>>,
}

impl Ending for Carried {
    fn close(&self) {
        self.socket.close();
    }

    fn last_words(&self) -> LastWords {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The one owner of a session: carries bytes between the channel and the socket pair.
struct Carrier {
    session: Session,
    channel: Channel,
    socket: TcpStream,
    local: UnixStream,
    /// Bytes on their way out, and how many of them the channel has taken. A write that could not
    /// be finished has to be repeated with the same bytes in the same place.
    out: Vec<u8>,
    written: usize,
    /// Bytes that came, and how many of them were passed on.
    arrived: Vec<u8>,
    passed: usize,
    /// Whether a read could not be finished, and has to be repeated before anything is written.
    read_waits: bool,
    local_ended: bool,
    remote_ended: bool,
    last_words: Arc<Mutex<LastWords>>,
}

impl Carrier {
    fn run(mut self) {
        if self.carry().is_ok() {
            self.ask_for_status();
        }
        // What waits for our end sees its end only now that the status is known.
        let _ = self.local.shutdown(Shutdown::Both);
        // Dropping a session can wait for its server otherwise.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn carry(&mut self) -> io::Result<()> {
        loop {
            let moved = self.take_out()? | self.send()? | self.receive()? | self.pass_in()?;
            if self.remote_ended && self.passed == self.arrived.len() {
                return Ok(());
            }
            if self.local_ended && self.written == self.out.len() {
                let _ = self.channel.send_eof();
                return Ok(());
            }
            if !moved {
                self.wait(KEEPALIVE.into())?;
            }
        }
    }

    /// Takes bytes from our end.
    fn take_out(&mut self) -> io::Result<bool> {
        if self.written < self.out.len() || self.local_ended {
            return Ok(false);
        }
        self.out.resize(PENDING, 0);
        self.written = 0;
        let taken = self.local.read(&mut self.out);
        self.out.truncate(taken.as_ref().map_or(0, |taken| *taken));
        match taken {
            Ok(0) => {
                self.local_ended = true;
                Ok(true)
            }
            Ok(_) => Ok(true),
            Err(error) if waits(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn send(&mut self) -> io::Result<bool> {
        if self.written == self.out.len() || self.remote_ended {
            return Ok(false);
        }
        match self.channel.write(&self.out[self.written..]) {
            Ok(written) => {
                self.written += written;
                Ok(written > 0)
            }
            Err(error) if waits(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn receive(&mut self) -> io::Result<bool> {
        let mut moved = false;
        let mut said = [0; 1024];
        if let Ok(read @ 1..) = self.channel.stderr().read(&mut said) {
            let mut last_words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
            keep_end(&mut last_words.said, &said[..read]);
            moved = true;
        }
        let waiting = self.arrived.len() - self.passed;
        if self.remote_ended || (waiting >= PENDING && !self.read_waits) {
            return Ok(moved);
        }
        if self.passed > 0 {
            self.arrived.drain(..self.passed);
            self.passed = 0;
        }
        let start = self.arrived.len();
        self.arrived.resize(start + PENDING, 0);
        let read = self.channel.read(&mut self.arrived[start..]);
        self.arrived.truncate(start + read.as_ref().map_or(0, |read| *read));
        self.read_waits = read.as_ref().is_err_and(waits);
        match read {
            Ok(0) if self.channel.eof() => {
                self.remote_ended = true;
                Ok(true)
            }
            Ok(read) => Ok(moved || read > 0),
            Err(_) if self.read_waits => Ok(moved),
            Err(error) => Err(error),
        }
    }

    /// Passes bytes on to our end.
    fn pass_in(&mut self) -> io::Result<bool> {
        if self.passed == self.arrived.len() {
            return Ok(false);
        }
        match self.local.write(&self.arrived[self.passed..]) {
            Ok(passed) => {
                self.passed += passed;
                Ok(passed > 0)
            }
            Err(error) if waits(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until one of both sides is ready for what is to be done next.
    fn wait(&mut self, seconds: i64) -> io::Result<()> {
        let mut remote = PollFlags::IN;
        if matches!(
            self.session.block_directions(),
            BlockDirections::Outbound | BlockDirections::Both
        ) {
            remote |= PollFlags::OUT;
        }
        let mut local = PollFlags::empty();
        if self.written == self.out.len() && !self.local_ended {
            local |= PollFlags::IN;
        }
        if self.passed < self.arrived.len() {
            local |= PollFlags::OUT;
        }
        let mut both = [
            PollFd::new(&self.socket, remote),
            PollFd::from_borrowed_fd(self.local.as_fd(), local),
        ];
        let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
        match poll(&mut both, Some(&timeout)) {
            // Only when nothing is half sent: what is begun has to be finished first.
            Ok(0) if self.written == self.out.len() && !remote.contains(PollFlags::OUT) => {
                let _ = self.session.keepalive_send();
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Our end has let go: whatever is left is for nobody.
        if both[1].revents().contains(PollFlags::HUP) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    /// Asks how the agent's command ended, for a while.
    fn ask_for_status(&mut self) {
        let mut waited = Duration::ZERO;
        while waited < FAREWELL {
            let closed = self.channel.close().and_then(|()| self.channel.wait_close());
            match closed {
                Ok(()) => {
                    let signal = self.channel.exit_signal().ok();
                    let signal = signal.and_then(|ended| ended.exit_signal);
                    let mut last_words =
                        self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
                    // Who was ended by a signal has no status, for which libssh2 says 0.
                    last_words.status =
                        if signal.is_some() { None } else { self.channel.exit_status().ok() };
                    last_words.signal = signal;
                    return;
                }
                Err(error) if error.code() == ErrorCode::Session(-37) => {}
                Err(_) => return,
            }
            thread::sleep(Duration::from_millis(10));
            waited += Duration::from_millis(10);
        }
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that does what `serve` says with each connection, and how reaching it ends.
    fn reached(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> LinkError {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            let serve = Arc::new(serve);
            for socket in listener.incoming().map_while(Result::ok) {
                let serve = serve.clone();
                thread::spawn(move || serve(socket));
            }
        });
        let to = Destination::new("127.0.0.1", None, Some(port)).unwrap();
        let pinned = HostKeys::Pinned(vec![FINGERPRINT.parse().unwrap()]);
        let options = SshOptions::new(to, "nobody", pinned).timeout(Duration::from_millis(500));
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || tell.send(ssh(&options).map(drop)));
        // As long as the whole test may take: what has no deadline fails it.
        let ended = told.recv_timeout(Duration::from_secs(60)).expect("it has a deadline");
        ended.unwrap_err()
    }

    const FINGERPRINT: &str = "SHA256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn s18_a_server_that_talks_without_end_before_its_banner_is_left() {
        let error = reached(
            |mut socket| {
                while socket.write_all(&b"be patient\r\n".repeat(1000)).is_ok() {}
            },
        );
        assert!(error.to_string().contains("does not speak SSH"), "{error}");
    }

    #[test]
    fn s18_a_silent_server_is_met_once_whatever_number_of_key_types_there_are() {
        let (tell, met) = std::sync::mpsc::channel();
        let error = reached(move |mut socket| {
            let _ = tell.send(());
            let _ = socket.read_to_end(&mut Vec::new());
        });
        assert!(error.to_string().contains("does not speak SSH"), "{error}");
        assert_eq!(met.try_iter().count(), 1);
    }
}
