//! Name servers of a topology as processes on loopback.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use dns_failover::{
    Active, Draft, Epoch, EpochRecord, Feed, Network, Patience, Plan, PlanGuards, Publisher,
    Report, SiteId, Software, Tcp, Topology, Trouble, View, ZoneTexts, render,
};
use tempfile::TempDir;

use super::peer::peer;

/// The programs that a server of this kind needs: itself first, then its checkers.
fn programs(software: Software) -> &'static [&'static str] {
    match software {
        Software::Bind => &["named", "named-checkconf"],
        Software::Knot => &["knotd", "knotc"],
        Software::Nsd => &["nsd", "nsd-checkconf"],
        Software::PowerDns => &["pdns_server", "pdnsutil", "sqlite3"],
        other => panic!("{other:?} is not known here"),
    }
}

/// Six servers, running or not.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) topology: Topology,
    /// Everything is in there.
    _folder: TempDir,
    processes: Vec<Option<Child>>,
}

impl Fleet {
    /// Renders a draft for loopback and starts nothing yet; None where a program is missing.
    #[track_caller]
    pub(crate) fn render(mut draft: Draft) -> Option<Fleet> {
        for server in &draft.name_servers {
            for program in programs(server.software) {
                peer(program)?;
            }
        }
        let folder = tempfile::Builder::new().prefix("fleet-").tempdir().unwrap();
        // All at once, so that no port is given twice.
        let held: Vec<_> = draft.name_servers.iter().map(|_| free_port()).collect();
        for (index, (server, (address, _))) in draft.name_servers.iter_mut().zip(&held).enumerate()
        {
            server.reach = *address;
            server.listen = vec![*address];
            server.folder = folder.path().join(format!("ns{}", index + 1));
        }
        drop(held);
        let topology = Topology::new(draft).unwrap();
        let fleet = Fleet { topology, _folder: folder, processes: (0..6).map(|_| None).collect() };
        fleet.write(&fleet.topology);
        Some(fleet)
    }

    /// Writes what every server reads.
    pub(crate) fn write(&self, topology: &Topology) {
        #[expect(clippy::disallowed_methods, reason = "a test is an edge")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let epoch = Epoch::starting(now.as_secs(), SiteId::Uk);
        let record = |site| EpochRecord { epoch, active: Active::One(site) };
        let zones =
            topology.domains().values().map(|domain| topology.zone(domain, record(domain.primary)));
        let zones: Vec<_> = zones.chain([topology.catalog_zone(record(SiteId::Uk))]).collect();
        let texts = ZoneTexts::print(&zones);
        for index in 0..6 {
            let folder = &topology.name_servers()[index].folder;
            fs::create_dir_all(folder.join("zones")).unwrap();
            render(topology, index, &texts).unwrap().write(folder).unwrap();
        }
    }

    pub(crate) fn folder(&self, index: usize) -> &Path {
        &self.topology.name_servers()[index].folder
    }

    /// Has each server's own checker look at its configuration.
    pub(crate) fn check(&self) {
        for index in 0..6 {
            let folder = self.folder(index);
            let commands: &[&[&str]] = match self.topology.name_servers()[index].software {
                Software::Bind => &[&["named-checkconf", "-z", "named.conf"]],
                Software::Knot => &[
                    &["knotc", "-c", "knot.conf", "conf-check"],
                    &["knotc", "-c", "knot.conf", "zone-check"],
                ],
                Software::Nsd => &[&["nsd-checkconf", "nsd.conf"]],
                // A secondary has nothing to check before its first transfer.
                _ if self.topology.name_servers()[index].feed != Feed::Update => {
                    &[&["sh", "fill.sh"], &["pdns_server", "--config-dir=.", "--config=check"]]
                }
                _ => &[
                    &["sh", "fill.sh"],
                    &["pdns_server", "--config-dir=.", "--config=check"],
                    &["pdnsutil", "--config-dir=.", "check-all-zones"],
                ],
            };
            for words in commands {
                let program = peer(words[0]).unwrap();
                let output =
                    Command::new(program).args(&words[1..]).current_dir(folder).output().unwrap();
                let said = [output.stdout, output.stderr].concat();
                let said = String::from_utf8_lossy(&said);
                assert!(output.status.success(), "{words:?} of {}: {said}", folder.display());
                let bad = said.lines().find(|line| {
                    let line = line.to_ascii_lowercase();
                    (line.contains("error") || line.contains("warning"))
                        && !line.contains("0 errors")
                        && !line.contains("0 had errors")
                });
                assert_eq!(bad, None, "{words:?} of {}", folder.display());
            }
        }
    }

    /// Starts all servers and waits until each answers for all its zones.
    pub(crate) fn start(&mut self) {
        for index in 0..6 {
            self.start_one(index);
        }
        self.wait(|view| matches!(view, Ok(view) if view.record.is_some()));
    }

    pub(crate) fn start_one(&mut self, index: usize) {
        let server = &self.topology.name_servers()[index];
        let folder = self.folder(index).to_owned();
        let words: &[&str] = match server.software {
            Software::Bind => &["named", "-f", "-c"],
            Software::Knot => &["knotd", "-c"],
            Software::Nsd => &["nsd", "-d", "-c"],
            _ => {
                let filled =
                    Command::new("sh").arg("fill.sh").current_dir(&folder).output().unwrap();
                assert!(filled.status.success(), "{}", String::from_utf8_lossy(&filled.stderr));
                &["pdns_server", "--daemon=no", "--config-dir=."]
            }
        };
        let config = match server.software {
            Software::Bind => Some("named.conf"),
            Software::Knot => Some("knot.conf"),
            Software::Nsd => Some("nsd.conf"),
            _ => None,
        };
        let log = File::options().append(true).create(true).open(folder.join("log")).unwrap();
        let mut command = Command::new(peer(words[0]).unwrap());
        command.args(&words[1..]).args(config.map(|name| folder.join(name)));
        command.current_dir(&folder).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.processes[index] = Some(command.spawn().unwrap());
    }

    /// Ends a server at once, as a power cut does.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.processes[index].take() {
            let children = children(process.id());
            process.kill().unwrap();
            process.wait().unwrap();
            // NSD answers from children of its main process, which would go on alone.
            for child in children {
                let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
            }
        }
    }

    /// Sends a signal to a server's main process.
    pub(crate) fn signal(&self, index: usize, signal: rustix::process::Signal) {
        let process = rustix::process::Pid::from_child(self.processes[index].as_ref().unwrap());
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// Has a server read its configuration anew.
    pub(crate) fn reload(&self, index: usize) {
        let folder = self.folder(index);
        let words: &[&str] = match self.topology.name_servers()[index].software {
            Software::Nsd => &["nsd-control", "-c", "nsd.conf", "reconfig"],
            Software::Knot => &["knotc", "-c", "knot.conf", "reload"],
            Software::PowerDns => &["sh", "fill.sh"],
            _ => {
                self.signal(index, rustix::process::Signal::HUP);
                return;
            }
        };
        let program = peer(words[0]).unwrap_or_else(|| words[0].into());
        let output = Command::new(program).args(&words[1..]).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Gives every server what another draft says, and has the running ones read it.
    pub(crate) fn take(&mut self, mut draft: Draft) {
        for (server, old) in draft.name_servers.iter_mut().zip(self.topology.name_servers()) {
            server.reach = old.reach;
            server.listen = old.listen.clone();
            server.folder = old.folder.clone();
        }
        self.topology = Topology::new(draft).unwrap();
        self.write(&self.topology);
        for index in 0..6 {
            self.reload(index);
        }
    }

    /// Waits until every server says of every domain what it should.
    pub(crate) fn wait(&self, is_right: impl Fn(&Result<View, Trouble>) -> bool) {
        self.wait_for(&[0, 1, 2, 3, 4, 5], is_right);
    }

    /// Waits until these servers do.
    pub(crate) fn wait_for(
        &self,
        servers: &[usize],
        is_right: impl Fn(&Result<View, Trouble>) -> bool,
    ) {
        let mut last = String::new();
        let mut servers = servers.to_vec();
        let is_wrong = |index: usize| {
            let network = Tcp::default();
            let publisher = self.publisher(&network, SiteId::Uk);
            // One after the other: a thousand questions at a time are enough.
            self.topology.domains().keys().find_map(|name| {
                let view = publisher.view(name, index)?;
                (!is_right(&view)).then(|| format!("{name} on server {index}: {view:?}"))
            })
        };
        for _ in 0..600 {
            servers.retain(|index| match is_wrong(*index) {
                None => false,
                Some(wrong) => {
                    last = wrong;
                    true
                }
            });
            if servers.is_empty() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("they do not come level: {last}\n{}", self.logs());
    }

    pub(crate) fn publisher<'a>(&'a self, network: &'a dyn Network, by: SiteId) -> Publisher<'a> {
        Publisher::new(&self.topology, network, by, Patience::default())
    }

    /// Publishes one state of all domains.
    pub(crate) fn publish(&self, by: SiteId, active: Active) -> Report {
        self.publish_through(&Tcp::default(), by, active)
    }

    pub(crate) fn publish_through(
        &self,
        network: &dyn Network,
        by: SiteId,
        active: Active,
    ) -> Report {
        let moves = self.topology.domains().keys().map(|name| (name, None, active));
        let plan = Plan::failover(&self.topology, moves).approve(&PlanGuards::default()).unwrap();
        self.publisher(network, by).publish(&plan)
    }

    /// Publishes all that the topology says, the catalog included.
    pub(crate) fn publish_everything(&self) -> Report {
        let network = Tcp::default();
        let publisher = self.publisher(&network, SiteId::Uk);
        let catalog = self.topology.authority().catalog.clone();
        let zones = self.topology.domains().keys().cloned().chain([catalog]);
        let plan = Plan::everything(&self.topology, &publisher.current(zones), &|_| None);
        publisher.publish(&plan.approve(&PlanGuards::default().confirmed(true)).unwrap())
    }

    /// The last words of every server.
    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        for index in 0..6 {
            let log = fs::read_to_string(self.folder(index).join("log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(15)..];
            logs += &format!("--- server {index}\n{}\n", last.join("\n"));
        }
        logs
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for index in 0..self.processes.len() {
            self.kill(index);
        }
    }
}

/// An address on loopback that is free for both TCP and UDP, held until dropped.
fn free_port() -> (SocketAddr, (TcpListener, UdpSocket)) {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        if let Ok(udp) = UdpSocket::bind(address) {
            return (address, (tcp, udp));
        }
    }
}

/// The processes below a process.
fn children(process: u32) -> Vec<rustix::process::Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name in brackets: state, then the parent's id.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split(' ').nth(2));
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if parent == Some(&process.to_string())
            && let Some(child) = id.and_then(rustix::process::Pid::from_raw)
        {
            found.push(child);
            found.extend(children(u32::try_from(child.as_raw_nonzero().get()).unwrap()));
        }
    }
    found
}
