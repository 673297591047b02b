//! Ways to log in to a real sshd, and kinds of host keys.
#![cfg(feature = "ssh")]
#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use support::{Ground, Mirror, Mounts, Server, Setup, am_root, assert_rsync_agrees, peer};

/// An account that exists only in a test's own mount namespace.
const NAME: &str = "mirror-test";
const ID: u32 = 54_321;
const PASSWORD: &str = "a canary of a password";

/// A ground with an account in it.
struct Account {
    ground: Ground,
    mounts: Mounts,
    /// A copy of the agent that the account can start.
    agent: String,
}

impl Account {
    /// Makes it, with a way for PAM to ask for its password; None where that cannot be done.
    fn make() -> Option<Account> {
        let ground = Ground::new();
        let hash =
            Command::new(peer("openssl")?).args(["passwd", "-6", PASSWORD]).output().unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        let etc = ground.path("etc");
        let home = ground.path("server");
        fs::create_dir_all(etc.join("pam.d")).unwrap();
        let files = [
            ("passwd", format!("{NAME}:x:{ID}:{ID}::{}:/bin/sh\n", home.display())),
            ("group", format!("{NAME}:x:{ID}:\n")),
            ("shadow", format!("{NAME}:{}:19000:0:99999:7:::\n", hash.trim())),
        ];
        for (name, line) in files {
            let old = fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
            fs::write(etc.join(name), old + &line).unwrap();
        }
        let pam = "auth required pam_unix.so\naccount required pam_unix.so\n\
                   session required pam_permit.so\n";
        fs::write(etc.join("pam.d/sshd"), pam).unwrap();
        let mounts = Mounts::over_etc(&etc, &["passwd", "group", "shadow", "pam.d/sshd"])?;
        let program = ground.path("agent-program");
        fs::copy(env!("CARGO_BIN_EXE_mirror-agent"), &program).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        lchown(ground.dst(), Some(ID), Some(ID)).unwrap();
        ground.source("folder/file", "content");
        let agent = format!("{} --root {}", program.display(), ground.dst().display());
        Some(Account { ground, mounts, agent })
    }

    fn mirror(&self, server: &Server) -> Mirror {
        let to = server.address_of(NAME, &self.ground.dst());
        self.ground.mirror().to(to).args(["--agent-command", &self.agent])
    }

    /// Logs in with a password that is wrong and then with the right one.
    fn log_in_with_password(&self, lines: &str) {
        let within = self.mounts.enter();
        let setup = Setup { lines, within: &within, ..Setup::default() };
        let Some(server) = Server::set_up(&self.ground.path(""), &setup) else { return };
        let pin = server.read("host.pub");
        let file = self.ground.path("password");
        for password in ["another canary", PASSWORD] {
            fs::write(&file, format!("{password}\n")).unwrap();
            let mirror = self.mirror(&server).args(["--pin", pin.trim()]);
            let run = mirror.arg("--password-file").arg(&file).run();
            assert!(!run.shown().contains("canary"), "{}", run.shown());
            if password == PASSWORD {
                run.ends(0);
                assert_eq!(self.ground.read("folder/file"), "content");
            } else {
                let run = run.ends(1);
                assert!(run.stderr().contains("tried a password"), "{}", run.shown());
                assert!(!self.ground.has("folder"));
            }
        }
    }
}

#[test]
fn a_password_lets_in_where_the_server_takes_one() {
    if let Some(account) = Account::make() {
        account.log_in_with_password("PasswordAuthentication yes");
    }
}

#[test]
fn a_password_lets_in_where_the_server_asks_for_it_as_a_question() {
    if let Some(account) = Account::make() {
        account.log_in_with_password("UsePAM yes\nKbdInteractiveAuthentication yes");
    }
}

#[test]
fn an_sshd_of_an_ordinary_user_that_checks_modes_serves_that_user() {
    let account;
    let (mut within, mut owner, mut name) = (Vec::new(), None, None);
    let plain = Ground::new();
    let (ground, agent) = if am_root() {
        account = Account::make();
        let Some(account) = &account else { return };
        within = account.mounts.enter();
        let id = ID.to_string();
        let become_user = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        within.extend(become_user.map(Into::into));
        owner = Some(ID);
        name = Some(NAME);
        (&account.ground, account.agent.clone())
    } else {
        plain.source("folder/file", "content");
        (&plain, Server::agent(&plain.dst()))
    };
    fs::create_dir_all(ground.path("server")).unwrap();
    let setup = Setup { lines: "StrictModes yes", within: &within, owner, ..Setup::default() };
    let Some(server) = Server::set_up(&ground.path(""), &setup) else { return };
    server.restrict(&agent);
    if let Some(id) = owner {
        lchown(server.path("authorized_keys"), Some(id), Some(id)).unwrap();
        for name in ["", "folder", "folder/file"] {
            lchown(ground.src().join(name), Some(id), Some(id)).unwrap();
        }
    }
    let to = match name {
        Some(name) => server.address_of(name, &ground.dst()),
        None => server.address(&ground.dst()),
    };
    let mirror = server.knock(ground.mirror()).to(to);
    mirror.done();
    mirror.done().assert_idle();
    assert_eq!(ground.read("folder/file"), "content");
    if let Some(rsync) = peer("rsync") {
        assert_rsync_agrees(&rsync, &ground.src(), &ground.dst(), &[]);
    }
}

/// A running ssh-agent, which ends with it.
struct KeyAgent {
    process: Child,
    socket: PathBuf,
}

impl KeyAgent {
    fn start(ground: &Ground) -> Option<KeyAgent> {
        let socket = ground.path("agent-socket");
        let process = Command::new(peer("ssh-agent")?)
            .args(["-D", "-a"])
            .arg(&socket)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let agent = KeyAgent { process, socket };
        while !agent.socket.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        Some(agent)
    }

    fn add(&self, key: &Path) {
        let added =
            Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", &self.socket).status();
        assert!(added.unwrap().success());
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_identities_of_an_ssh_agent_let_in() {
    let ground = Ground::new();
    ground.source("file", "content");
    let Some(server) = Server::start(&ground.path("")) else { return };
    let Some(agent) = KeyAgent::start(&ground) else { return };
    let pin = server.read("host.pub");
    let mirror = ground.mirror().to(server.address(&ground.dst())).args(["--pin", pin.trim()]);
    let mirror = mirror.args(["--agent-command", &Server::agent(Path::new("/"))]);
    let mirror = mirror.under(["env", &format!("SSH_AUTH_SOCK={}", agent.socket.display())]);
    let run = mirror.run().ends(1);
    assert!(run.stderr().contains("an SSH agent without identities"), "{}", run.shown());
    // The right one is not the first.
    agent.add(&server.path("other"));
    let run = mirror.run().ends(1);
    assert!(run.stderr().contains("1 identities of the SSH agent"), "{}", run.shown());
    agent.add(&server.path("user"));
    mirror.done();
    assert_eq!(ground.read("file"), "content");
}

#[test]
fn s18_an_ssh_agent_that_never_answers_is_passed_over() {
    let ground = Ground::new();
    ground.source("file", "content");
    let Some(server) = Server::start(&ground.path("")) else { return };
    let socket = ground.path("dead-socket");
    // The kernel takes connections for it, and nobody ever reads from one.
    let _dead = UnixListener::bind(&socket).unwrap();
    let pin = server.read("host.pub");
    let mirror = ground.mirror().to(server.address(&ground.dst())).args(["--pin", pin.trim()]);
    let mirror = mirror.under(["env", &format!("SSH_AUTH_SOCK={}", socket.display())]);
    let run = mirror.run().ends(1);
    assert!(run.stderr().contains("an SSH agent that does not answer"), "{}", run.shown());
}

#[test]
fn s23_host_keys_of_every_type_are_pinned_by_key_and_by_fingerprint() {
    for host_key in ["rsa", "ecdsa", "ed25519"] {
        let ground = Ground::new();
        ground.source("file", "content");
        let setup = Setup { host_key, ..Setup::default() };
        let Some(server) = Server::set_up(&ground.path(""), &setup) else { return };
        let fingerprint = |key: &str| {
            let shown = Command::new("ssh-keygen").arg("-lf").arg(server.path(key)).output();
            let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
            shown.split(' ').nth(1).unwrap().to_owned()
        };
        let mirror = ground.mirror().to(server.address(&ground.dst()));
        let mirror = mirror.arg("--identity").arg(server.path("user"));
        let mirror = mirror.args(["--agent-command", &Server::agent(Path::new("/"))]);
        for wrong in [server.read("other.pub").trim(), &fingerprint("other.pub")] {
            let run = mirror.clone().args(["--pin", wrong]).run().ends(1);
            assert!(!ground.has("file"), "{host_key}: {}", run.shown());
        }
        for right in [server.read("host.pub").trim(), &fingerprint("host.pub")] {
            mirror.clone().args(["--pin", right]).done();
            assert_eq!(ground.read("file"), "content", "{host_key}");
        }
    }
}
