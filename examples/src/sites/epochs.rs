//! Who serves which site. The first run, and each failover, leaves one empty file on both servers,
//! `.sites/NAME.NUMBER.SERVER`; files are only ever added, so that two servers which were parted need
//! but take all from one another, and the highest number counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use dns_failover::SiteId;
use mirror_core::{Fidelity, Guards, Mirror, OnConflict, Ownership, Policy};

use super::Setup;
use crate::network::{EPOCHS, WebSite};

/// The last failover of each site that this server knows of.
///
/// ```
/// use dns_failover::SiteId;
/// use examples::sites::Epochs;
///
/// let epochs: Epochs = ["shop.example.2.us", "shop.example.3.uk", "no epoch"].into_iter().collect();
/// assert_eq!(epochs.of("shop.example"), Some((3, SiteId::Uk)));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Epochs {
    last: BTreeMap<String, (u64, SiteId)>,
    /// Sites whose last number both servers have given out, parted from one another.
    torn: BTreeSet<String>,
    folder: PathBuf,
}

/// Beyond this it is no number that a failover gave out.
const MOST: u64 = 1 << 32;

impl<'a> FromIterator<&'a str> for Epochs {
    /// From names of files. Others than ours are passed over.
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Epochs {
        let mut epochs = Epochs::default();
        for name in names {
            let mut parts = name.rsplitn(3, '.');
            let server = parts.next().and_then(SiteId::named);
            let number = parts.next().and_then(|number| number.parse::<u64>().ok());
            let number = number.filter(|number| *number < MOST);
            if let (Some(server), Some(number), Some(site)) = (server, number, parts.next()) {
                let last = epochs.last.entry(site.to_owned()).or_insert((number, server));
                if number > last.0 {
                    *last = (number, server);
                    epochs.torn.remove(site);
                } else if number == last.0 && server != last.1 {
                    epochs.torn.insert(site.to_owned());
                }
            }
        }
        epochs
    }
}

impl Epochs {
    /// Reads the folder of this server. One that is not there yet holds none.
    pub(super) fn read(folder: &Path) -> io::Result<Epochs> {
        let mut names = Vec::new();
        match fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries {
                    names.extend(entry?.file_name().into_string());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let epochs = names.iter().map(String::as_str).collect();
        Ok(Epochs { folder: folder.to_owned(), ..epochs })
    }

    /// Number and server of a site's last failover.
    pub fn of(&self, site: &str) -> Option<(u64, SiteId)> {
        self.last.get(site).copied()
    }

    /// Who serves a site: the primary where there was no run and no failover yet.
    pub fn active(&self, site: &WebSite) -> (u64, SiteId) {
        self.of(&site.name).unwrap_or((1, site.primary))
    }

    /// Who serves a site, where nothing speaks against it.
    ///
    /// # Errors
    /// A sentence, where both servers were made to serve it while they were parted, and where the
    /// configuration has come to another primary than files have gone from so far.
    pub fn certain(&self, site: &WebSite) -> Result<(u64, SiteId), String> {
        let (number, server) = self.active(site);
        let (name, order) =
            (&site.name, "run `site failover --to uk` or `--to us` to say who serves it");
        if self.torn.contains(name) {
            return Err(format!(
                "both servers were made to serve {name} while they could not reach one another (failover {number}); \
                 nothing was changed; {order}"
            ));
        }
        if number == 1 && server != site.primary {
            return Err(format!(
                "{name} was served by {server} so far, and the configuration says {} by now; nothing was changed; \
                 {order}, or change it back",
                site.primary
            ));
        }
        Ok((number, server))
    }

    /// Whether a number was given out twice.
    pub(super) fn is_torn(&self, site: &WebSite) -> bool {
        self.torn.contains(&site.name)
    }

    /// Notes, durably, who serves the sites of which nothing is known yet.
    pub(super) fn begin(&mut self, sites: &[&WebSite]) -> io::Result<()> {
        for site in sites {
            if self.of(&site.name).is_none() {
                self.note(site, 1, site.primary)?;
            }
        }
        Ok(())
    }

    /// Notes, durably, that a site is served by this server from now on.
    pub(super) fn raise(&mut self, site: &WebSite, to: SiteId) -> io::Result<u64> {
        let number = self.active(site).0 + 1;
        self.note(site, number, to)?;
        self.torn.remove(&site.name);
        Ok(number)
    }

    fn note(&mut self, site: &WebSite, number: u64, server: SiteId) -> io::Result<()> {
        make(&self.folder).map_err(io::Error::other)?;
        let file = self.folder.join(format!("{}.{number}.{server}", site.name));
        File::create(file)?.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        self.last.insert(site.name.clone(), (number, server));
        Ok(())
    }
}

/// Makes the folder in one that must be there: what would be made in its place when its disk is not
/// mounted is no site.
fn make(folder: &Path) -> Result<(), String> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let www = folder.parent().unwrap_or(folder).display();
            Err(format!(
                "{www} is not there: is a disk not mounted? Nothing was changed; make the folder if it is new"
            ))
        }
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(format!("{}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Takes from the other server what it knows, and tells it what is known here.
pub(super) fn share(setup: &Setup) -> Result<(), String> {
    let folder = Path::new(EPOCHS);
    make(&setup.host(setup.here)?.www.join(folder))?;
    let ours = setup.tree(setup.here, folder, true)?;
    // What would be made there in place of a disk that is not mounted would fill the wrong one.
    let other = setup.here.other();
    drop(setup.tree(other, Path::new(""), false)?);
    let theirs = setup.tree(other, folder, true)?;
    // Without anything remembered, nothing is ever deleted; and the other server may be in strange hands.
    let policy = Policy {
        on_conflict: OnConflict::Newest,
        keep_losers: false,
        fidelity: Fidelity::Hosted,
        ownership: Ownership::TargetRoot,
        ..Policy::both_ways()
    };
    let mirror = Mirror::new(ours.endpoint(), theirs.endpoint())
        .policy(policy)
        .scratch(std::env::temp_dir());
    let told = |error: mirror_core::Error| error.to_string();
    let planned = mirror.plan().map_err(told)?;
    let report = planned.approve(&Guards::default()).and_then(|plan| plan.apply()).map_err(told)?;
    match report.problems.first() {
        Some(problem) => Err(problem.to_string()),
        None => Ok(()),
    }
}
