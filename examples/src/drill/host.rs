//! One of the two hosts: a folder for its disk, and its processes.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use dns_failover::SiteId;

use super::post::Office;
use super::process::Process;
use super::{Trouble, ground};

/// A host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) site: SiteId,
    /// Its disk.
    pub(super) folder: PathBuf,
    pub(super) office: Office,
    pub(super) web: SocketAddr,
    logs: PathBuf,
    processes: Vec<Process>,
}

impl Host {
    /// An empty disk, and nothing running.
    pub(super) fn new(site: SiteId, ground: &ground::Ground) -> Result<Host, Trouble> {
        let folder = ground.path(site.as_str());
        let [web, smtp, peer] = ground::addresses()?;
        let office = Office {
            site,
            smtp,
            peer,
            accounts: folder.join("data/mail"),
            spool: folder.join("spool"),
        };
        let logs = ground.path("logs");
        let host = Host { site, folder, office, web, logs, processes: Vec::new() };
        host.format()?;
        Ok(host)
    }

    /// The folders of an empty disk.
    pub(super) fn format(&self) -> Result<(), Trouble> {
        for folder in [&self.logs, &self.sites(), &self.office.accounts] {
            fs::create_dir_all(folder)
                .map_err(|error| Trouble::at("cannot make a folder at", folder, &error))?;
        }
        Ok(())
    }

    /// What an agent serves: sites and accounts.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn sites(&self) -> PathBuf {
        self.folder.join("data/www")
    }

    /// The tree of a domain's site.
    pub(super) fn tree(&self, domain: &str) -> PathBuf {
        self.sites().join(domain)
    }

    /// What its mirror runs remember of a domain.
    pub(super) fn state(&self, domain: &str) -> PathBuf {
        self.folder.join("state").join(domain)
    }

    fn start(&mut self, part: &str, arguments: Vec<OsString>) -> Result<(), Trouble> {
        let name = format!("{part} in the {}", self.site.as_str());
        self.processes.push(Process::start(&name, &self.logs, arguments)?);
        Ok(())
    }

    /// Its web server.
    pub(super) fn start_web(&mut self) -> Result<(), Trouble> {
        let arguments = vec!["host-web".into(), self.sites().into(), self.web.to_string().into()];
        self.start("web server", arguments)
    }

    /// Its relay.
    pub(super) fn start_relay(&mut self, other: &Office, both: bool) -> Result<(), Trouble> {
        let config = self.folder.join("dual-mail.toml");
        fs::write(&config, self.office.config(other, both))
            .map_err(|error| Trouble::at("cannot write", &config, &error))?;
        self.start("relay", vec!["host-relay".into(), config.into()])
    }

    /// An observer that stands here.
    pub(super) fn start_observer(&mut self, arguments: Vec<OsString>) -> Result<(), Trouble> {
        self.start("observer", arguments)
    }

    /// A process that was started elsewhere.
    pub(super) fn add(&mut self, process: Process) {
        self.processes.push(process);
    }

    /// Where processes of it say what is wrong.
    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Whether all of its processes run.
    pub(super) fn check(&mut self) -> Result<(), Trouble> {
        self.processes.iter_mut().try_for_each(Process::check)
    }

    /// SIGKILL to all of its processes at once; how many that were.
    pub(super) fn kill(&mut self) -> usize {
        let count = self.processes.len();
        self.processes.clear();
        count
    }

    /// Its disk is gone: at once for everybody who looks. What is left of it goes meanwhile.
    pub(super) fn burn(&self, ground: &ground::Ground) -> Result<Ashes, Trouble> {
        let ashes = ground.path("ashes");
        fs::rename(&self.folder, &ashes)
            .map_err(|error| Trouble::at("cannot burn", &self.folder, &error))?;
        // What cannot be removed goes with the ground.
        Ok(Ashes(Some(thread::spawn(move || ground::remove(&ashes)))))
    }
}

/// The rest of a disk that burned. Dropping this waits until it is gone.
#[derive(Debug)]
pub(super) struct Ashes(Option<JoinHandle<()>>);

impl Drop for Ashes {
    fn drop(&mut self) {
        if let Some(thread) = self.0.take() {
            // A panic was told when it happened.
            let _ = thread.join();
        }
    }
}
