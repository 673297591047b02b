//! The web sites of `network.toml`: where their trees are, which way they are mirrored, and what is
//! left out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use dns_failover::{Draft, Name, SiteId};
use mirror_core::{DeleteLimit, Filter, Policy};
use serde::Deserialize;

use super::Reader;
use super::lines::At;
use super::schema;
use crate::dates::Span;
use crate::place::Place;

/// How often sites are mirrored when nothing is said, in seconds.
const DAILY: u64 = 86_400;
/// Within the web folder of a server: who serves which site, one empty file for each failover.
pub const EPOCHS: &str = ".sites";

/// `[mirror]`: how the servers reach one another.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct MirrorTable {
    state: PathBuf,
    identity: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    ssh_command: Option<String>,
    every: Option<String>,
    #[serde(default)]
    after_run: Vec<String>,
}

/// One of `[[sites]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SiteTable {
    name: String,
    primary: Option<schema::Site>,
    folder: Option<PathBuf>,
    #[serde(default)]
    exceptions: Vec<String>,
    #[serde(default)]
    both_ways: bool,
    #[serde(default)]
    fidelity: Fidelity,
    max_delete: Option<String>,
    disk: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Fidelity {
    #[default]
    Archive,
    Hosted,
}

/// What `[servers.*]` says about mirroring.
#[derive(Debug, Default)]
pub(super) struct HostTable {
    pub(super) www: Option<PathBuf>,
    pub(super) ssh: Option<String>,
    pub(super) host_keys: Vec<String>,
    pub(super) agent: Option<String>,
}

/// All web sites, and how they are mirrored.
#[derive(Debug)]
pub struct Sites {
    /// In the order of the file.
    pub sites: Vec<WebSite>,
    /// The UK, and the US.
    pub hosts: BTreeMap<SiteId, Host>,
    /// The folder for what runs remember, on each server.
    pub state: PathBuf,
    /// The private key to log in with.
    pub identity: Option<PathBuf>,
    /// The host keys that are known.
    pub known_hosts: Option<PathBuf>,
    /// The program to log in with, instead of the built-in SSH.
    pub ssh_command: Option<String>,
    /// How often sites are mirrored, in seconds.
    pub every: u64,
    /// The program that is run after each run, and its arguments; or nothing.
    pub after_run: Vec<String>,
}

/// A server, as mirroring sees it.
#[derive(Debug)]
pub struct Host {
    /// The folder that its sites are in.
    pub www: PathBuf,
    /// How it is reached from elsewhere: `ssh://…`; a folder of this machine where that is missing.
    pub ssh: Option<String>,
    /// Which host keys are right.
    pub host_keys: Vec<String>,
    /// What starts the agent there.
    pub agent: Option<String>,
}

/// A web site.
#[derive(Debug)]
pub struct WebSite {
    /// Its name.
    pub name: String,
    /// Who serves it as long as all is well.
    pub primary: SiteId,
    /// Its folder, within those of the servers.
    pub folder: PathBuf,
    /// What is left out.
    pub filter: Filter,
    /// What "equal" means, and whether both sides are written to.
    pub policy: Policy,
    /// How much a run may delete.
    pub max_delete: DeleteLimit,
    /// Sites on one disk are mirrored one after the other.
    pub disk: String,
}

impl Reader<'_> {
    /// All sites, once they contradict neither one another nor the domains.
    pub(super) fn sites(
        &mut self,
        mirror: Option<MirrorTable>,
        tables: Vec<SiteTable>,
        hosts: [(SiteId, HostTable); 2],
        draft: &Draft,
    ) -> Option<Sites> {
        let at = [At::Key("mirror")];
        let Some(mirror) = mirror else {
            if !tables.is_empty() {
                let at = [At::Key("sites"), At::Index(0)];
                let what =
                    "there are [[sites]] and no [mirror]; add it, with state = \"/var/lib/site\"";
                self.problem(&at, "name", what);
            }
            return None;
        };
        let hosts = self.hosts(hosts, &mirror, draft);
        let every = match mirror.every.as_deref().map(str::parse::<Span>) {
            None => DAILY,
            Some(Ok(Span(seconds))) if seconds >= 60 => seconds,
            Some(Ok(_)) => {
                self.problem(
                    &at,
                    "every",
                    "sites are mirrored every minute at most; say every = \"1m\"",
                );
                DAILY
            }
            Some(Err(why)) => {
                self.problem(&at, "every", why);
                DAILY
            }
        };
        if let Some(program) = mirror.after_run.first()
            && !Path::new(program).is_absolute()
        {
            let what = format!("{program:?} is looked for nowhere; give the program's whole path");
            self.problem(&at, "after-run", what);
        }
        if mirror.ssh_command.as_ref().is_some_and(|command| command.trim().is_empty()) {
            self.problem(&at, "ssh-command", "it is empty; leave it out, or say \"ssh\"");
        }
        let sites = self.web_sites(tables, draft);
        let within = |path: Option<PathBuf>| path.map(|path| self.folder.join(path));
        Some(Sites {
            sites,
            hosts,
            identity: within(mirror.identity),
            known_hosts: within(mirror.known_hosts),
            state: mirror.state,
            ssh_command: mirror.ssh_command,
            every,
            after_run: mirror.after_run,
        })
    }

    fn hosts(
        &mut self,
        tables: [(SiteId, HostTable); 2],
        mirror: &MirrorTable,
        draft: &Draft,
    ) -> BTreeMap<SiteId, Host> {
        let mut hosts: BTreeMap<SiteId, Host> = BTreeMap::new();
        if !mirror.state.is_absolute() {
            self.problem(&[At::Key("mirror")], "state", "it must be an absolute path");
        }
        for (id, table) in tables {
            let at = [At::Key("servers"), At::Key(id.as_str())];
            if !draft.sites.iter().any(|site| site.id == id) {
                // A server that is missing is told by itself.
                continue;
            }
            let Some(www) = table.www else {
                let what = format!(
                    "{id} has no www, the folder that its sites are in; add www = \"/srv/www\""
                );
                self.problems.push((self.lines.at(&at, None), what));
                continue;
            };
            if !www.is_absolute() || www.components().any(|part| part == Component::ParentDir) {
                self.problem(&at, "www", "it must be an absolute path without \"..\"");
            }
            if mirror.state.starts_with(&www) {
                let what = format!(
                    "it lies in {}, where it would be mirrored; keep it elsewhere",
                    www.display()
                );
                self.problem(&[At::Key("mirror")], "state", what);
            }
            if let Some(address) = &table.ssh {
                match Place::parse(address.as_ref()) {
                    Ok(Place::There(_, path)) if path.as_os_str().is_empty() => {}
                    Ok(Place::There(..)) => {
                        self.problem(&at, "ssh", "it has a path; the folder goes into www");
                    }
                    Ok(Place::Here(_)) => {
                        self.problem(&at, "ssh", "an address is written ssh://[USER@]HOST[:PORT]");
                    }
                    Err(why) => self.problem(&at, "ssh", why),
                }
            }
            if table.ssh.is_none() && !(table.host_keys.is_empty() && table.agent.is_none()) {
                let field = if table.agent.is_some() { "agent" } else { "host-keys" };
                self.problem(
                    &at,
                    field,
                    "it means nothing without ssh, the server's address; add that, or leave it out",
                );
            }
            for key in &table.host_keys {
                if let Err(why) = is_host_key(key) {
                    self.problem(&at, "host-keys", why);
                }
            }
            if let Some(other) = hosts.values().next() {
                if table.ssh.is_some() && table.ssh == other.ssh {
                    self.problem(
                        &at,
                        "ssh",
                        "both servers have the same address; give each its own",
                    );
                } else if table.ssh.is_none() && other.ssh.is_none() && overlap(&www, &other.www) {
                    let what = format!(
                        "it and {} are one folder of one machine; say how {id} is reached (ssh), or give it a folder of its own",
                        other.www.display()
                    );
                    self.problem(&at, "www", what);
                }
            }
            let HostTable { ssh, host_keys, agent, .. } = table;
            hosts.insert(id, Host { www, ssh, host_keys, agent });
        }
        hosts
    }

    fn web_sites(&mut self, tables: Vec<SiteTable>, draft: &Draft) -> Vec<WebSite> {
        let mut sites: Vec<WebSite> = Vec::with_capacity(tables.len());
        for (index, table) in tables.into_iter().enumerate() {
            let at = [At::Key("sites"), At::Index(index)];
            let Some(site) = self.web_site(&at, table, draft) else { continue };
            for other in &sites {
                if other.name == site.name {
                    let what =
                        format!("the name {} is used before; give each site its own", site.name);
                    self.problem(&at, "name", what);
                } else if overlap(&other.folder, &site.folder) {
                    let what = format!(
                        "the folder {} is in that of {}, so both would be mirrored twice; give each its own",
                        site.folder.display(),
                        other.name
                    );
                    self.problem(&at, "folder", what);
                }
            }
            sites.push(site);
        }
        sites
    }

    fn web_site(&mut self, at: &[At<'_>], table: SiteTable, draft: &Draft) -> Option<WebSite> {
        let SiteTable { name, primary, folder, exceptions, both_ways, fidelity, .. } = table;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        if !outer(bytes.first()) || !outer(bytes.last()) || !name.bytes().all(plain) {
            let what = format!(
                "{name:?} is no name for a site; take letters, digits, dots and hyphens, and a letter or digit at \
                 both ends"
            );
            self.problem(at, "name", what);
            return None;
        }
        let as_name: Option<Name> = name.parse().ok();
        let domain = draft.domains.iter().find(|domain| Some(&domain.name) == as_name.as_ref());
        let said = primary.map(schema::Site::id);
        let primary = match (said, domain) {
            (Some(said), Some(domain)) if said != domain.primary => {
                let what = format!(
                    "the domain {name} has its primary in {}; leave this out, or change one of the two",
                    domain.primary
                );
                self.problem(at, "primary", what);
                said
            }
            (Some(said), _) => said,
            (None, Some(domain)) => domain.primary,
            (None, None) => {
                let what =
                    format!("{name} is none of the [[domains]], so say primary = \"uk\" or \"us\"");
                self.problem(at, "name", what);
                return None;
            }
        };
        let folder = folder.unwrap_or_else(|| PathBuf::from(&name));
        let mut parts = folder.components();
        let good = parts.clone().next().is_some()
            && parts.all(|part| matches!(part, Component::Normal(_)))
            && !folder.starts_with(EPOCHS);
        if !good {
            let what = format!(
                "{} is no folder within www; give a relative path such as {name:?}",
                folder.display()
            );
            self.problem(at, "folder", what);
        }
        let max_delete = match table.max_delete.as_deref().map(str::parse::<DeleteLimit>) {
            None => DeleteLimit::Percent(50),
            Some(Ok(limit)) => limit,
            Some(Err(error)) => {
                self.problem(at, "max-delete", error);
                DeleteLimit::Percent(50)
            }
        };
        let disk = table.disk.unwrap_or_default();
        let mut policy = match (fidelity, both_ways) {
            (Fidelity::Hosted, true) => {
                let what = "what a customer's tree must not bring would then come from both sides; \
                            say fidelity = \"archive\", or leave out both-ways";
                self.problem(at, "fidelity", what);
                Policy::both_ways()
            }
            (Fidelity::Hosted, false) => Policy::hosted(),
            (Fidelity::Archive, true) => Policy::both_ways(),
            (Fidelity::Archive, false) => Policy::mirror(),
        };
        policy.one_file_system = false;
        let filter = self.filter(at, &exceptions);
        Some(WebSite { name, primary, folder, filter, policy, max_delete, disk })
    }

    fn filter(&mut self, at: &[At<'_>], rules: &[String]) -> Filter {
        let mut filter = Filter::builder();
        for rule in rules {
            match rule.strip_prefix("protect:") {
                Some(pattern) => filter.protect(pattern.trim_start()),
                None => filter.exclude(rule),
            };
        }
        filter.build().unwrap_or_else(|error| {
            self.problem(at, "exceptions", error);
            Filter::default()
        })
    }
}

/// Says what is wrong with a host key.
fn is_host_key(text: &str) -> Result<(), String> {
    if !text.starts_with("SHA256:") && !text.contains(' ') {
        return Err(format!("{text:?} is no host key; `ssh-keygen -l -f` shows it as SHA256:…"));
    }
    #[cfg(feature = "ssh")]
    text.parse::<mirror_core::Pin>().map_err(|error| format!("{text:?}: {error}"))?;
    Ok(())
}

/// Whether one is the other or lies in it.
fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

impl Sites {
    /// The sites of these names, or all where there are none.
    ///
    /// # Errors
    /// One sentence: a name that no site has.
    pub fn chosen(&self, names: &[String]) -> Result<Vec<&WebSite>, String> {
        let named = |name: &String| {
            self.sites.iter().find(|site| site.name == *name).ok_or_else(|| {
                let all: Vec<&str> = self.sites.iter().map(|site| site.name.as_str()).collect();
                format!("there is no site {name}; there are {}", all.join(", "))
            })
        };
        match names {
            [] => Ok(self.sites.iter().collect()),
            names => names.iter().map(named).collect(),
        }
    }
}

impl fmt::Display for WebSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
