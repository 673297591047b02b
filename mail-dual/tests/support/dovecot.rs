//! A Dovecot of one's own: LMTP and IMAP over TLS on its own address, ended by its process group.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use mail_dual::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use mail_dual::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustix::process::{Pid, Signal, kill_process_group};

use super::authority::Authority;
use super::peers::program;

/// The password of every account.
pub(crate) const PASSWORD: &str = "secret";
/// Whom mailboxes belong to when the tests run as root.
const ORDINARY: u32 = 65534;

#[derive(Debug)]
pub(crate) struct Dovecot {
    folder: PathBuf,
    program: PathBuf,
    roots: PathBuf,
    pub(crate) name: String,
    pub(crate) lmtp: SocketAddr,
    pub(crate) imaps: SocketAddr,
    /// Words before the program, as to run it where its mailboxes are on a small disk.
    before: Vec<String>,
    process: Option<Child>,
}

/// How one differs from the others.
#[derive(Debug, Default)]
pub(crate) struct Special<'a> {
    /// More lines of configuration.
    pub(crate) lines: &'a str,
    /// The accounts there are, with their quota; every account where none is given.
    pub(crate) accounts: &'a [(&'a str, &'a str)],
    /// The size of a disk of its own for the mailboxes, as `300k`.
    pub(crate) disk: Option<&'a str>,
}

fn free_port(ip: &str) -> SocketAddr {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

impl Dovecot {
    /// Starts one at `ip`, whose certificate is for `name`; none where it is not installed.
    pub(crate) fn start(
        folder: &Path,
        authority: &Authority,
        ip: &str,
        name: &str,
    ) -> Option<Dovecot> {
        Dovecot::start_special(folder, authority, ip, name, &Special::default())
    }

    /// [`start`](Self::start) of one that is not like the others.
    pub(crate) fn start_special(
        folder: &Path,
        authority: &Authority,
        ip: &str,
        name: &str,
        special: &Special<'_>,
    ) -> Option<Dovecot> {
        let dovecot = program("dovecot")?;
        program("lmtp")?;
        program("imap")?;
        let folder = folder.join(name);
        for part in ["", "run", "mail"] {
            fs::create_dir(folder.join(part)).unwrap();
            fs::set_permissions(folder.join(part), Permissions::from_mode(0o755)).unwrap();
        }
        let root = rustix::process::geteuid().is_root();
        let (uid, gid, users) = if root {
            lchown(folder.join("mail"), Some(ORDINARY), Some(ORDINARY)).unwrap();
            (ORDINARY, ORDINARY, String::new())
        } else {
            let words = |flag| {
                let output = Command::new("id").arg(flag).output().unwrap().stdout;
                String::from_utf8(output).unwrap().trim().to_owned()
            };
            let (user, group) = (words("-un"), words("-gn"));
            let users = format!(
                "default_internal_user = {user}\ndefault_internal_group = {group}\n\
                 default_login_user = {user}\nservice anvil {{\n chroot =\n}}\n\
                 service imap-login {{\n chroot =\n}}\nservice stats {{\n chroot =\n}}\n"
            );
            (words("-u").parse().unwrap(), words("-g").parse().unwrap(), users)
        };
        let (certificate, key) = authority.issue(name);
        let (lmtp, imaps) = (free_port(ip), free_port(ip));
        let at = folder.display();
        let (mut users_are, mut before) = (String::new(), Vec::new());
        if special.accounts.is_empty() {
            users_are = format!(
                "passdb {{\n driver = static\n args = password={PASSWORD}\n}}\n\
                 userdb {{\n driver = static\n args = uid={uid} gid={gid} home={at}/mail/%u\n}}\n"
            );
        } else {
            let line = |(name, quota): &(&str, &str)| {
                format!("{name}:{{PLAIN}}{PASSWORD}:{uid}:{gid}::{at}/mail/{name}::{quota}\n")
            };
            let accounts: String = special.accounts.iter().map(line).collect();
            fs::write(folder.join("users"), accounts).unwrap();
            for database in ["passdb", "userdb"] {
                users_are +=
                    &format!("{database} {{\n driver = passwd-file\n args = {at}/users\n}}\n");
            }
        }
        if let Some(size) = special.disk {
            let mount =
                format!("mount -t tmpfs -o size={size},mode=777 none {at}/mail && exec \"$@\"");
            before = ["unshare", "-m", "--", "sh", "-c", &mount, "sh"].map(String::from).to_vec();
            let mut try_it = Command::new(&before[0]);
            let tried = try_it.args(&before[1..]).arg("true").stderr(Stdio::null()).status();
            if !tried.is_ok_and(|status| status.success()) {
                println!("skipped: mounting a tmpfs is not possible here");
                return None;
            }
        }
        let lines = special.lines;
        let config = format!(
            "protocols = imap lmtp\nbase_dir = {at}/run\nstate_dir = {at}/run\nlog_path = {at}/log\n\
             ssl = yes\nssl_cert = <{}\nssl_key = <{}\nmail_location = maildir:{at}/mail/%u\n\
             first_valid_uid = 1\nmail_fsync = always\n{users}\
             {users_are}service lmtp {{\n inet_listener lmtp {{\n  address = {ip}\n  port = {}\n  ssl = yes\n }}\n}}\n\
             service imap-login {{\n inet_listener imap {{\n  port = 0\n }}\n\
             \x20inet_listener imaps {{\n  address = {ip}\n  port = {}\n  ssl = yes\n }}\n}}\n\
             protocol lmtp {{\n lmtp_add_received_header = no\n lmtp_hdr_delivery_address = none\n}}\n{lines}",
            certificate.display(),
            key.display(),
            lmtp.port(),
            imaps.port(),
        );
        fs::write(folder.join("config"), config).unwrap();
        let mut dovecot = Dovecot {
            folder,
            program: dovecot,
            roots: authority.roots(),
            name: name.to_owned(),
            lmtp,
            imaps,
            before,
            process: None,
        };
        dovecot.resume();
        Some(dovecot)
    }

    /// Starts it again at the same address.
    pub(crate) fn resume(&mut self) {
        let log = File::create(self.folder.join("errors")).unwrap();
        let words = self.before.iter().map(OsString::from).chain([self.program.clone().into()]);
        let words: Vec<OsString> = words.collect();
        let process = Command::new(&words[0])
            .args(&words[1..])
            .arg("-F")
            .arg("-c")
            .arg(self.folder.join("config"))
            .stdin(Stdio::null())
            .stderr(log)
            // Its children are in its group, so that all of them can be ended at once.
            .process_group(0)
            .spawn()
            .unwrap();
        self.process = Some(process);
        for _ in 0..1000 {
            if TcpStream::connect(self.lmtp).is_ok() && TcpStream::connect(self.imaps).is_ok() {
                return;
            }
            let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(ended.is_none(), "dovecot ended: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
        panic!("dovecot does not listen: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        ["errors", "log"]
            .map(|name| fs::read_to_string(self.folder.join(name)).unwrap_or_default())
            .join("\n")
    }

    /// Gives its own disk another size.
    pub(crate) fn resize(&self, size: &str) {
        let process = self.process.as_ref().unwrap().id().to_string();
        let status = Command::new("nsenter")
            .args(["-t", &process, "-m", "--", "mount", "-o", &format!("remount,size={size}")])
            .arg(self.folder.join("mail"))
            .status();
        assert!(status.unwrap().success());
    }

    /// Ends all of its processes without a word, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }

    /// Stops all of its processes where they are.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process
            && let Some(group) = i32::try_from(process.id()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process_group(group, signal);
        }
    }

    fn reap(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.wait();
        }
        // A dead master leaves what the next one would take for a living one.
        let _ = fs::remove_file(self.folder.join("run/master.pid"));
    }

    /// Everything in a user's INBOX, by IMAP at this server's address.
    pub(crate) fn inbox(&self, user: &str) -> Vec<Vec<u8>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.roots).unwrap()).unwrap();
        let provider = mail_dual::rustls::crypto::ring::default_provider();
        let config = ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.name.clone()).unwrap();
        let tls = ClientConnection::new(config.into(), name).unwrap();
        let socket = TcpStream::connect(self.imaps).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(tls, socket));
        let mut messages = Vec::new();
        let mut command = |tag: &str, text: &str| {
            stream.get_mut().write_all(format!("{tag} {text}\r\n").as_bytes()).unwrap();
            stream.get_mut().flush().unwrap();
            let mut said = String::new();
            loop {
                let mut line = Vec::new();
                assert!(stream.read_until(b'\n', &mut line).unwrap() > 0, "IMAP ended");
                let line = String::from_utf8_lossy(&line).into_owned();
                if let Some(size) =
                    line.trim_end().strip_suffix('}').and_then(|rest| rest.rsplit_once('{'))
                {
                    let mut message = vec![0; size.1.parse().unwrap()];
                    stream.read_exact(&mut message).unwrap();
                    messages.push(message);
                }
                said.push_str(&line);
                if line.starts_with(tag) {
                    assert!(line.starts_with(&format!("{tag} OK")), "{said}");
                    return said;
                }
            }
        };
        command("a", &format!("LOGIN {user} {PASSWORD}"));
        if !command("b", "SELECT INBOX").contains("* 0 EXISTS") {
            command("c", "FETCH 1:* BODY.PEEK[]");
        }
        command("d", "LOGOUT");
        messages
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.reap();
    }
}
