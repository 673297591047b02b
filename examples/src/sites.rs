//! The commands of `site`: all web sites of a `network.toml`, each mirrored in its direction.

pub mod epochs;
mod fits;
mod run;
mod status;
mod switch;
mod units;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::Args;
use dns_failover::SiteId;
use mirror_core::{Direction, Error, Mirror, Policy};
use rustix::fs::{FlockOperation, flock};

use crate::keys::Failure;
use crate::network::{Host, Network, Sites, WebSite};
use crate::place::{Place, Reach, Tree};
pub use epochs::Epochs;
pub use fits::Fits;
pub use run::Run;
pub use status::Status;
pub use switch::Failover;
pub use units::Units;

/// A configuration with `[[sites]]`, and which server this is.
#[derive(Debug, Clone, Args)]
pub struct Chosen {
    /// The network.toml.
    config: PathBuf,
    /// Which server this is: uk or us. Its sites are folders of this machine.
    #[arg(long, value_name = "SITE", value_parser = server)]
    here: SiteId,
    /// Only these sites.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// One of the two servers, by its name.
///
/// # Errors
/// A sentence with both names.
pub fn server(text: &str) -> Result<SiteId, String> {
    SiteId::named(text).ok_or_else(|| "there are two servers, uk and us".to_owned())
}

/// What was read of a configuration.
#[derive(Debug)]
pub(crate) struct Setup {
    sites: Sites,
    here: SiteId,
    config: PathBuf,
    names: Vec<String>,
}

impl Chosen {
    fn setup(&self) -> Result<Setup, Failure> {
        // The keys of name servers are no business of whoever mirrors files.
        let network = Network::load_without_keys(&self.config).map_err(Failure::failed)?;
        let none =
            "there are no [mirror] and [[sites]]; examples/network.toml shows what is in them";
        let sites = network.sites.ok_or_else(|| Failure::of(&self.config, none))?;
        sites.chosen(&self.names).map_err(Failure::failed)?;
        let reached = |id| sites.hosts.get(&id).is_some_and(|host: &Host| host.ssh.is_some());
        if reached(self.here) && !reached(self.here.other()) {
            let other = self.here.other();
            let why = format!(
                "nothing says how {other} is reached from here, and its folder would be taken for one of this \
                 machine; add ssh = \"ssh://…\" to [servers.{other}], or say --here {other} if this is {other}"
            );
            return Err(Failure::of(&self.config, why));
        }
        let (config, names) = (self.config.clone(), self.names.clone());
        Ok(Setup { sites, here: self.here, config, names })
    }
}

impl Setup {
    /// The sites that were asked for.
    fn chosen(&self) -> Vec<&WebSite> {
        // The names were looked up when the configuration was read.
        self.sites.chosen(&self.names).unwrap_or_default()
    }

    fn host(&self, id: SiteId) -> Result<&Host, String> {
        self.sites.hosts.get(&id).ok_or_else(|| format!("nothing is known of the server in {id}"))
    }

    /// The folder on this machine in which it is kept who serves what.
    fn epochs(&self) -> Result<Epochs, Failure> {
        let host = self.host(self.here).map_err(Failure::failed)?;
        let folder = host.www.join(crate::network::EPOCHS);
        Epochs::read(&folder).map_err(|error| Failure::of(&folder, error))
    }

    /// Nobody else works here meanwhile.
    fn lock(&self) -> Result<Lock, Failure> {
        let folder = &self.sites.state;
        let failed = |error: io::Error| Failure::of(folder, error);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let file = File::create(folder.join("lock")).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => self.settle(folder).map(|()| Lock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Failure::refused(
                "another run of site is at work here; nothing was done; wait for it to end",
            )),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// A machine is one of the two servers and stays it: a unit that was copied from the other one would
    /// turn every direction.
    fn settle(&self, folder: &Path) -> Result<(), Failure> {
        let (path, here) = (folder.join("here"), self.here.as_str());
        match fs::read_to_string(&path) {
            Ok(said) if said.trim() == here => Ok(()),
            Ok(said) => Err(Failure::refused(format!(
                "{}: this machine has been {} so far, not {here}; nothing was done; say --here {0}, or remove the \
                 file if it has become the other server",
                path.display(),
                said.trim()
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                put(&path, here.as_bytes()).map_err(|error| Failure::of(&path, error))
            }
            Err(error) => Err(Failure::of(&path, error)),
        }
    }

    /// How a server is reached over SSH.
    fn reach(&self, host: &Host) -> Result<Reach, String> {
        let mut reach = Reach::usual();
        reach.ssh_command.clone_from(&self.sites.ssh_command);
        if let Some(agent) = &host.agent {
            reach.agent_command.clone_from(agent);
        }
        #[cfg(feature = "ssh")]
        {
            reach.identity.extend(self.sites.identity.clone());
            reach.known_hosts.extend(self.sites.known_hosts.clone());
            for key in &host.host_keys {
                reach.pin.push(key.parse().map_err(|error| format!("{key:?}: {error}"))?);
            }
        }
        Ok(reach)
    }

    /// A folder within that of a server's sites; that itself for an empty one.
    fn tree(&self, id: SiteId, folder: &Path, may_be_missing: bool) -> Result<Tree, String> {
        let host = self.host(id)?;
        let mut path = host.www.clone();
        if !folder.as_os_str().is_empty() {
            path.push(folder);
        }
        let told = |error: Error| error.to_string();
        let (place, reach) = match host.ssh.as_ref().filter(|_| id != self.here) {
            None => (Place::Here(path), Reach::usual()),
            Some(address) => match Place::parse(address.as_ref())? {
                Place::There(to, _) => (Place::There(to, path), self.reach(host)?),
                Place::Here(_) => return Err(format!("{address} is no ssh:// address")),
            },
        };
        match may_be_missing {
            true => reach.target(&place).map_err(told),
            false => reach.source(&place).map_err(told),
        }
    }

    /// What runs remember of both trees of a site.
    fn base(&self, site: &WebSite) -> PathBuf {
        self.sites.state.join("base").join(&site.name)
    }

    /// Forgets, durably, what both trees of a site once agreed on, so that nothing is deleted on its word.
    fn forget(&self, site: &WebSite) -> io::Result<()> {
        let base = self.base(site);
        match fs::remove_dir_all(&base) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match base.parent().map(File::open) {
            Some(Ok(folder)) => folder.sync_all(),
            _ => Ok(()),
        }
    }

    /// What was written about the last run of a site.
    fn last(&self, site: &WebSite) -> PathBuf {
        self.sites.state.join("last").join(format!("{}.json", site.name))
    }
}

/// A site that is to be mirrored: both trees, and who serves it.
struct Pair<'a> {
    site: &'a WebSite,
    active: SiteId,
    serving: Tree,
    other: Tree,
}

impl<'a> Pair<'a> {
    fn open(setup: &Setup, site: &'a WebSite, active: SiteId) -> Result<Pair<'a>, String> {
        let serving = setup.tree(active, &site.folder, false)?;
        let other = setup.tree(active.other(), &site.folder, true)?;
        Ok(Pair { site, active, serving, other })
    }

    /// From whoever serves it to the other; both ways where that is wanted, always in one order, so
    /// that what is remembered fits.
    fn mirror(&self, base: &Path) -> Mirror<'_> {
        let both = self.site.policy.direction == Direction::Both;
        let mirror = if both && self.active != self.site.primary {
            Mirror::new(self.other.endpoint(), self.serving.endpoint())
        } else {
            Mirror::new(self.serving.endpoint(), self.other.endpoint())
        };
        mirror.policy(self.site.policy.clone()).filter(self.site.filter.clone()).state(base)
    }

    /// To the other one, for a look at whether it is that which is empty, and at what it takes.
    fn refill(&self) -> Mirror<'_> {
        Mirror::new(self.serving.endpoint(), self.other.endpoint())
            .policy(Policy { direction: Direction::Mirror, ..self.site.policy.clone() })
            .filter(self.site.filter.clone())
            .scratch(std::env::temp_dir())
    }
}

/// Held as long as this is. The kernel lets it go with the process.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Writes a small file so that readers see the old one or the new one.
fn put(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, path)
}
