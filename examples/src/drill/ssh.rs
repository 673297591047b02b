//! A real sshd for each host, where one is installed and asked for.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use mirror_core::Transport;

use super::keys::{Access, generate};
use super::process::Process;
use super::{Trouble, ground};

/// The server of one host.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    /// Its host key's public half, as a file of it has it.
    public: String,
}

fn program() -> Result<PathBuf, Trouble> {
    let usual = ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/usr/bin/sshd"];
    let found = usual.into_iter().map(PathBuf::from).find(|path| path.is_file());
    found.ok_or_else(|| {
        Trouble::new("there is no sshd here; install openssh-server, or leave out --ssh")
    })
}

/// Starts it, for whom the file of this access lets in.
pub(super) fn start(
    name: &str,
    folder: &Path,
    logs: &Path,
    access: &Access,
) -> Result<(Server, Process), Trouble> {
    let [address] = ground::addresses()?;
    let key = folder.join("host_key");
    // After a fire it is a new host, on an old disk the same one.
    let public = folder.join("host_key.pub");
    if !key.exists() {
        generate(&key)?;
    }
    let failed = |error: std::io::Error| Trouble::at("cannot use", &public, &error);
    let public = fs::read_to_string(&public).map_err(failed)?;
    if rustix::process::geteuid().is_root() {
        // Where sshd leaves its unprivileged half; Debian's own unit makes it as well.
        let _ = fs::create_dir_all("/run/sshd");
    }
    let config = folder.join("sshd_config");
    let text = format!(
        "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
         UsePAM no\nPidFile none\n",
        address.port(),
        key.display(),
        access.authorized_keys.display(),
    );
    fs::write(&config, text).map_err(|error| Trouble::at("cannot write", &config, &error))?;
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("host-sshd").arg(program()?).arg(&config);
    let mut process = Process::run(name, logs, &mut command, false)?;
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Ok((Server { address, public }, process));
        }
        process.check()?;
        thread::sleep(Duration::from_millis(20));
    }
    Err(Trouble::new(format!("the {name} does not listen")))
}

/// Turns this process into the server, so that a kill meets it and nobody else. It ends when the drill
/// ends: what was asked of the kernel stays asked over exec (prctl(2)).
pub(super) fn become_server(program: &Path, config: &Path) -> Trouble {
    ground::obey_parent();
    let error = Command::new(program).arg("-D").arg("-e").arg("-f").arg(config).exec();
    Trouble::at("cannot start", program, &error)
}

impl Server {
    /// A connection to the agent behind it, with the key that may do nothing else.
    #[cfg(feature = "ssh")]
    pub(super) fn reach(&self, access: &Access) -> Result<Transport, Trouble> {
        use mirror_core::{Destination, HostKeys, Login, Secret, SshOptions, ssh};
        let failed = |why: &dyn std::fmt::Display| Trouble::new(format!("the sshd: {why}"));
        let port = Some(self.address.port());
        let to = Destination::new("127.0.0.1", None, port).map_err(|error| failed(&error))?;
        let pin = self.public.trim().parse().map_err(|error| failed(&error))?;
        let key = fs::read_to_string(&access.private).map_err(|error| failed(&error))?;
        let login = Login::Key { key: Secret::new(key), passphrase: None };
        let options = SshOptions::new(to, user(), HostKeys::Pinned(vec![pin])).login(login);
        ssh(&options).map_err(|error| failed(&error))
    }

    /// There is no SSH in this build.
    #[cfg(not(feature = "ssh"))]
    pub(super) fn reach(&self, _: &Access) -> Result<Transport, Trouble> {
        let why = "this program was built without SSH; leave out --ssh";
        let _ = (self.address, &self.public);
        Err(Trouble::new(why))
    }
}

/// Whom this process runs as, by the accounts of this machine.
#[cfg(feature = "ssh")]
fn user() -> String {
    let passwd = fs::read("/etc/passwd").unwrap_or_default();
    let accounts = keygen_helper::permissions::Accounts::parse(&passwd, b"");
    let account = accounts.account_of(rustix::process::geteuid().as_raw());
    account.map_or_else(|| "root".to_owned(), |account| account.name.to_string())
}
