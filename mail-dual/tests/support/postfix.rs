//! A Postfix of one's own, in front of us: it takes mail by SMTP and hands it over by LMTP.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers::program;

#[derive(Debug)]
pub(crate) struct Postfix {
    folder: PathBuf,
    program: PathBuf,
    pub(crate) port: u16,
}

const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    /// Starts one in `folder` that hands all mail for `example.org` to `transport`, as
    /// `lmtp:unix:PATH`; none where it is not installed or may not be started.
    pub(crate) fn start(folder: &Path, transport: &str) -> Option<Postfix> {
        let postfix = program("postfix")?;
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can start Postfix");
            return None;
        }
        let folder = folder.join("postfix");
        for part in ["", "queue", "data"] {
            fs::create_dir(folder.join(part)).unwrap();
            fs::set_permissions(folder.join(part), Permissions::from_mode(0o755)).unwrap();
        }
        let id = Command::new("id").args(["-u", "postfix"]).output().unwrap().stdout;
        let id = String::from_utf8(id).unwrap().trim().parse().unwrap();
        lchown(folder.join("data"), Some(id), None).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = folder.display();
        let main = format!(
            "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\n\
             command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n\
             inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmyhostname = front.example.net\n\
             mydestination =\nalias_maps =\nlocal_recipient_maps =\n\
             virtual_mailbox_domains = example.org\nvirtual_mailbox_maps = static:all\n\
             virtual_transport = {transport}\nmynetworks = 127.0.0.0/8\n\
             smtpd_relay_restrictions = permit_mynetworks, reject\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{nobody@example.org=REJECT}}\n\
             maillog_file = {at}/log\nmaillog_file_prefixes = {at}\n\
             minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n\
             default_destination_concurrency_limit = 20\ninitial_destination_concurrency = 20\n"
        );
        fs::write(folder.join("main.cf"), main).unwrap();
        let services = format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}");
        fs::write(folder.join("master.cf"), services).unwrap();
        let postfix = Postfix { folder, program: postfix, port };
        let (started, said) = postfix.run("start");
        if !started {
            println!("skipped: Postfix does not start here: {said}");
            return None;
        }
        Some(postfix)
    }

    fn run(&self, what: &str) -> (bool, String) {
        let output = Command::new(&self.program).arg("-c").arg(&self.folder).arg(what).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.run("stop");
    }
}
