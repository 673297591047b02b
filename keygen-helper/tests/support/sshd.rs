//! A private sshd on loopback.
//!
//! The test itself listens, on a port that the kernel chooses, and gives every connection to an
//! `sshd -i` of its own. So there is nothing to wait for at the start, no limit on connections, no
//! penalties for the many refused ones, and as many configurations at a time as a test likes.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::keys::generate;
use super::peer;

/// What sshd is started with: a host key, and files that take the place of the machine's accounts.
#[derive(Debug)]
pub(crate) struct Sshd {
    program: PathBuf,
    dir: Arc<TempDir>,
    /// `passwd`, `group` and `shadow` in this folder stand for those in /etc.
    accounts: Option<PathBuf>,
    /// What its clocks show, as in `TZ`.
    zone: String,
    listeners: AtomicUsize,
}

impl Sshd {
    /// Nothing, with a word about it, where there is no OpenSSH.
    #[track_caller]
    pub(crate) fn find() -> Option<Sshd> {
        let program = PathBuf::from("/usr/sbin/sshd");
        let program = if program.is_file() { Some(program) } else { peer::peer("sshd") }?;
        let (_, _) = (peer::peer("ssh")?, peer::peer("ssh-keygen")?);
        if rustix::process::geteuid().is_root() {
            // Where sshd locks up its unprivileged half; only packages with systemd make it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let dir = tempfile::Builder::new().prefix("sshd-").tempdir().unwrap();
        generate(dir.path(), "host", "ed25519");
        Some(Sshd {
            program,
            dir: Arc::new(dir),
            accounts: None,
            zone: "UTC".into(),
            listeners: AtomicUsize::new(0),
        })
    }

    /// Lets `passwd`, `group` and `shadow` in `folder` stand for those of the machine, in a mount
    /// namespace of sshd's own. Only root may.
    pub(crate) fn with_accounts(mut self, folder: &Path) -> Sshd {
        self.accounts = Some(folder.to_owned());
        self
    }

    /// Lets its clocks show another time than UTC: `EAST-14` is fourteen hours ahead of it.
    pub(crate) fn in_zone(mut self, zone: &str) -> Sshd {
        self.zone = zone.to_owned();
        self
    }

    /// The host key's pair.
    pub(crate) fn host_key(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    /// Serves this configuration until the listener is dropped. Each setting is a line of
    /// sshd_config and wins over the ones here; `HostKey` adds to them.
    pub(crate) fn listen(&self, settings: &[&str]) -> Listener {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let number = self.listeners.fetch_add(1, Ordering::Relaxed);
        let folder = self.dir.path().join(number.to_string());
        fs::create_dir(&folder).unwrap();
        let config = format!(
            "{}\nHostKey {}\nPidFile none\nUsePAM no\nStrictModes no\nLogLevel VERBOSE\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
             Subsystem sftp internal-sftp\n",
            settings.join("\n"),
            self.host_key().display(),
        );
        fs::write(folder.join("config"), config).unwrap();
        let mut words: Vec<OsString> = Vec::new();
        if let Some(accounts) = &self.accounts {
            words.extend(["unshare", "-m", "sh", "-ec", REPLACE_ACCOUNTS].map(OsString::from));
            words.push(accounts.into());
        }
        words.extend([self.program.clone().into(), "-i".into(), "-f".into()]);
        words.extend([folder.join("config").into(), "-E".into(), folder.join("log").into()]);
        let closing = Arc::new(AtomicBool::new(false));
        let served = Arc::clone(&closing);
        let zone = self.zone.clone();
        let thread = thread::spawn(move || serve(&listener, &words, &zone, &served));
        Listener {
            address,
            log: folder.join("log"),
            closing,
            thread: Some(thread),
            _dir: Arc::clone(&self.dir),
        }
    }
}

/// `$0` is the folder with the accounts, and the rest is the command to run under them.
const REPLACE_ACCOUNTS: &str = "mount --make-rprivate /; \
    for file in passwd group shadow; do mount --bind \"$0/$file\" \"/etc/$file\"; done; exec \"$@\"";

/// One configuration being served.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    log: PathBuf,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Its configuration is in there.
    _dir: Arc<TempDir>,
}

impl Listener {
    /// What sshd has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read(&self.log)
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // Wakes the thread, which then sees that this was the last one.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "serving sshd failed: {}", self.log());
        }
    }
}

fn serve(listener: &TcpListener, words: &[OsString], zone: &str, closing: &AtomicBool) {
    let mut children: Vec<Child> = Vec::new();
    loop {
        let (stream, _) = listener.accept().unwrap();
        if closing.load(Ordering::SeqCst) {
            break;
        }
        children.retain_mut(|child| child.try_wait().unwrap().is_none());
        let output = OwnedFd::from(stream.try_clone().unwrap());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(OwnedFd::from(stream))
            .stdout(output)
            .stderr(Stdio::null())
            // So that expiry times without a zone mean the same everywhere.
            .env("TZ", zone)
            .spawn();
        children.push(child.unwrap());
    }
    for mut child in children {
        drop(child.kill());
        drop(child.wait());
    }
}

/// What came of a login with ssh.
#[derive(Debug)]
pub(crate) struct Login {
    /// Whether the server let the key in, whatever the command then did.
    pub(crate) accepted: bool,
    /// What the command printed.
    pub(crate) stdout: Vec<u8>,
    /// What ssh said about it.
    pub(crate) messages: String,
    /// Whether ssh and the command came to a good end.
    pub(crate) succeeded: bool,
}

/// Logs in as `user` with one key and nothing else, and runs `true`. The options are more words
/// for ssh, and win over the ones here; the host key is not checked unless they say so.
pub(crate) fn login(listener: &Listener, user: &str, key: &Path, options: &[&str]) -> Login {
    let identity = format!("IdentityFile={}", key.display());
    let port = listener.address.port().to_string();
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    command.args(["-o", &identity, "-o", "IdentityAgent=none", "-o", "ConnectTimeout=60"]);
    command.args(options);
    // The default exchange takes twice the time, and is not what is tested.
    command.args(["-o", "KexAlgorithms=curve25519-sha256"]);
    command.args(["-o", "PreferredAuthentications=publickey", "-o", "LogLevel=VERBOSE"]);
    command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    command.args(["-o", "GlobalKnownHostsFile=/dev/null", "-p", &port]);
    command.arg(format!("{user}@127.0.0.1")).arg("true").stdin(Stdio::null());
    let output = command.output().unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    Login {
        accepted: messages.contains("Authenticated to "),
        stdout: output.stdout,
        messages,
        succeeded: output.status.success(),
    }
}

/// The name of the user that runs the tests; sshd without root lets nobody else in.
pub(crate) fn own_name() -> String {
    let output = super::keys::run(Command::new("id").arg("-un"));
    String::from_utf8(output).unwrap().trim_end().to_owned()
}
