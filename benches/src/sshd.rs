//! An SSH server of one's own on loopback: its own keys, configuration and folder, stopped by its
//! process id.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use wait4::Wait4;

use crate::{
    Error,
    measure::{self, There},
};

/// How long the server may take to come up, and its processes to end after a run.
const PATIENCE: u32 = 1000;
const STEP: Duration = Duration::from_millis(10);

/// A folder with the server's key and that of its only user.
#[derive(Debug)]
pub struct Keys {
    folder: PathBuf,
    host: String,
}

impl Keys {
    /// Makes them in a new folder.
    ///
    /// # Errors
    /// [`Error::Start`] without ssh-keygen, [`Error::Io`] when the folder cannot be made.
    pub fn make(folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir(&folder).map_err(Error::io("create", &folder))?;
        for key in ["host", "user"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-C", key, "-f"]).arg(folder.join(key));
            measure::run("ssh-keygen", &mut command)?;
        }
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(Error::io("read", &path))
        };
        let host = read("host.pub")?.trim().to_owned();
        for (name, content) in
            [("authorized", read("user.pub")?), ("known", format!("bench {host}\n"))]
        {
            let path = folder.join(name);
            fs::write(&path, content).map_err(Error::io("write", &path))?;
        }
        Ok(Self { folder, host })
    }

    /// The file with the user's private key.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.folder.join("user")
    }

    /// The server's public key.
    #[must_use]
    pub fn pin(&self) -> &str {
        &self.host
    }

    /// The command line of `ssh` that reaches the server on `port`, for programs that start it.
    #[must_use]
    pub fn ssh(&self, port: u16) -> String {
        format!(
            "ssh -F none -p {port} -i {} -o IdentitiesOnly=yes -o BatchMode=yes \
             -o HostKeyAlias=bench -o UserKnownHostsFile={}",
            self.identity().display(),
            self.folder.join("known").display()
        )
    }
}

/// Finds a port that nobody has.
///
/// # Errors
/// [`Error::Io`] when there is none.
pub fn free_port() -> Result<u16, Error> {
    let failed = |source| Error::Io { doing: "listen on", path: "127.0.0.1".into(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    process: Child,
    port: u16,
}

impl Sshd {
    /// Starts it on `port` of loopback.
    ///
    /// # Errors
    /// [`Error::Server`] with the end of its log.
    pub fn start(keys: &Keys, port: u16) -> Result<Self, Error> {
        let server = |why: &str| Error::Server { why: why.to_owned() };
        let programs = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
        let program = programs.iter().map(Path::new).find(|path| path.is_file());
        let program = program.ok_or_else(|| server("it is not installed"))?;
        if rustix::process::geteuid().is_root() {
            // Where sshd leaves its unprivileged half.
            fs::create_dir_all("/run/sshd").map_err(Error::io("create", Path::new("/run/sshd")))?;
        }
        let at = |name: &str| keys.folder.join(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nUsePAM no\nPidFile none\n",
            at("host"),
            at("authorized"),
        );
        let path = keys.folder.join("config");
        fs::write(&path, config).map_err(Error::io("write", &path))?;
        let process = Command::new(program)
            .args(["-D", "-f", &at("config"), "-E", &at("log")])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|source| Error::Start { program: program.to_owned(), source })?;
        let mut sshd = Self { process, port };
        for _ in 0..PATIENCE {
            if TcpStream::connect(sshd.address()).is_ok() {
                // That was a connection too, whose process is none of the run's.
                sshd.rest();
                return Ok(sshd);
            }
            if let Ok(Some(_)) = sshd.process.try_wait() {
                break;
            }
            thread::sleep(STEP);
        }
        let log = fs::read_to_string(keys.folder.join("log")).unwrap_or_default();
        Err(server(log.lines().last().unwrap_or("it does not listen")))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Stops it, and says what it and all it started have cost.
    ///
    /// # Errors
    /// [`Error::Server`] when it cannot be stopped.
    pub fn stop(mut self) -> Result<There, Error> {
        self.rest();
        let failed = |error: &dyn std::fmt::Display| Error::Server { why: error.to_string() };
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, rustix::process::Signal::TERM)
            .map_err(|error| failed(&error))?;
        let ended = self.process.wait4().map_err(|error| failed(&error))?.rusage;
        Ok(There { cpu: ended.utime + ended.stime, peak_memory: ended.maxrss, crossed: None })
    }

    /// Waits until the processes of all connections have ended, so that what they cost is known.
    fn rest(&self) {
        let id = self.process.id();
        for _ in 0..PATIENCE {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            if children.is_ok_and(|children| children.trim().is_empty()) {
                return;
            }
            thread::sleep(STEP);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
