//! An sshd of one's own: its own port, keys, configuration and folder, stopped by its process id.

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::ground::am_root;
use super::peer::{peer, skipped};
use super::run::Mirror;

/// A running server, and the key that lets one in.
#[derive(Debug)]
pub(crate) struct Server {
    folder: PathBuf,
    port: u16,
    process: Option<Child>,
}

/// How a server differs from the usual one.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// More lines of configuration.
    pub(crate) lines: &'a str,
    /// The type of its key, as ssh-keygen knows it.
    pub(crate) host_key: &'a str,
    /// The words before the program.
    pub(crate) within: &'a [OsString],
    /// Who owns its folder, where that is not who runs the test.
    pub(crate) owner: Option<u32>,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Setup { lines: "", host_key: "ed25519", within: &[], owner: None }
    }
}

impl Server {
    /// Starts one in `folder`; None where there is no sshd.
    pub(crate) fn start(folder: &Path) -> Option<Server> {
        Server::with(folder, "")
    }

    /// [`start`](Self::start) with more lines of configuration.
    pub(crate) fn with(folder: &Path, lines: &str) -> Option<Server> {
        Server::set_up(folder, &Setup { lines, ..Setup::default() })
    }

    /// [`start`](Self::start) in another way than is usual.
    pub(crate) fn set_up(folder: &Path, setup: &Setup<'_>) -> Option<Server> {
        let keygen = peer("ssh-keygen")?;
        let sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
        let Some(sshd) = sshd.iter().map(Path::new).find(|path| path.is_file()) else {
            skipped("sshd");
            return None;
        };
        let folder = folder.join("server");
        fs::create_dir_all(&folder).unwrap();
        for key in ["host", "user", "other"] {
            let made = Command::new(&keygen)
                .args(["-q", "-t", if key == "host" { setup.host_key } else { "ed25519" }])
                .args(["-N", "", "-C", key, "-f"])
                .arg(folder.join(key))
                .status();
            assert!(made.unwrap().success());
        }
        if am_root() {
            // Where sshd leaves its unprivileged half.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        // Nobody else takes it between now and then, as far as anybody can tell.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| folder.join(name).display().to_string();
        // Of two lines that say the same thing the first one counts.
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
             {}\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n",
            at("host"),
            at("authorized_keys"),
            setup.lines,
        );
        fs::write(folder.join("config"), config).unwrap();
        let server = Server { folder: folder.clone(), port, process: None };
        server.authorize("");
        if let Some(id) = setup.owner {
            for entry in fs::read_dir(&server.folder).unwrap().flatten() {
                lchown(entry.path(), Some(id), Some(id)).unwrap();
            }
            lchown(&server.folder, Some(id), Some(id)).unwrap();
        }
        let mut words: Vec<OsString> = setup.within.to_vec();
        words.push(sshd.into());
        let process = Command::new(&words[0])
            .args(&words[1..])
            .arg("-D")
            .args(["-f", &at("config"), "-E", &at("log")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = server;
        server.process = Some(process);
        for _ in 0..1000 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            let log = || fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            let ended = server.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "sshd ended: {}", log());
            thread::sleep(Duration::from_millis(10));
        }
        panic!("sshd does not listen");
    }

    /// Lets the user's key in, with these options.
    pub(crate) fn authorize(&self, options: &str) {
        let key = self.read("user.pub");
        fs::write(self.folder.join("authorized_keys"), format!("{options} {key}")).unwrap();
    }

    /// Lets the user's key in for one command, by the program that is there for it.
    pub(crate) fn restrict(&self, command: &str) {
        let added = Command::new(env!("CARGO_BIN_EXE_keys"))
            .args([
                "authorize",
                "--quiet",
                "--restrict",
                "--replace",
                "--command",
                command,
                "--key",
            ])
            .args([self.path("user.pub"), self.path("authorized_keys")])
            .status();
        assert!(added.unwrap().success());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// `ssh://127.0.0.1:PORT/PATH`.
    pub(crate) fn address(&self, path: &Path) -> PathBuf {
        format!("ssh://127.0.0.1:{}{}", self.port, path.display()).into()
    }

    /// `ssh://USER@127.0.0.1:PORT/PATH`.
    pub(crate) fn address_of(&self, user: &str, path: &Path) -> PathBuf {
        format!("ssh://{user}@127.0.0.1:{}{}", self.port, path.display()).into()
    }

    /// What starts our agent there.
    pub(crate) fn agent(root: &Path) -> String {
        format!("{} --root {}", env!("CARGO_BIN_EXE_mirror-agent"), root.display())
    }

    /// The built-in SSH with the right key and pin, and an agent that serves everything.
    pub(crate) fn reach(&self, mirror: Mirror) -> Mirror {
        self.knock(mirror).args(["--agent-command", &Server::agent(Path::new("/"))])
    }

    /// [`reach`](Self::reach) without a word about the agent.
    pub(crate) fn knock(&self, mirror: Mirror) -> Mirror {
        let pin = self.read("host.pub");
        mirror.arg("--identity").arg(self.path("user")).args(["--pin", pin.trim()])
    }

    /// The same through the program `ssh`.
    pub(crate) fn reach_by_program(&self, mirror: Mirror) -> Mirror {
        let known = self.path("known_hosts");
        let line = format!("[127.0.0.1]:{} {}", self.port, self.read("host.pub"));
        fs::write(&known, line).unwrap();
        let program = format!(
            "ssh -F none -o IdentitiesOnly=yes -o BatchMode=yes -o 'UserKnownHostsFile={}' -i '{}'",
            known.display(),
            self.path("user").display()
        );
        mirror
            .args(["--ssh-command", &program])
            .args(["--agent-command", &Server::agent(Path::new("/"))])
    }

    /// Ends every connection, as if the machine had gone, and goes on listening.
    pub(crate) fn drop_connections(&self) {
        let listener = self.process.as_ref().unwrap().id().to_string();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // After the name in brackets: state, then the parent's id.
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2));
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if parent == Some(&listener)
                && let Some(child) = id.and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
            }
        }
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
