//! Who serves which site. Each failover leaves one empty file on both servers,
//! `.sites/NAME.NUMBER.SERVER`; files are only ever added, so that two servers which were parted need
//! but take all from one another, and the highest number counts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use dns_failover::SiteId;
use mirror_core::{Guards, Mirror, OnConflict, Policy};

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
    folder: PathBuf,
}

impl<'a> FromIterator<&'a str> for Epochs {
    /// From names of files. Others than ours are passed over.
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Epochs {
        let mut epochs = Epochs::default();
        for name in names {
            let mut parts = name.rsplitn(3, '.');
            let server = parts.next().and_then(SiteId::named);
            let number = parts.next().and_then(|number| number.parse::<u64>().ok());
            if let (Some(server), Some(number), Some(site)) = (server, number, parts.next()) {
                let last = epochs.last.entry(site.to_owned()).or_insert((number, server));
                *last = (*last).max((number, server));
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

    /// Who serves a site: the primary where there was no failover yet.
    pub fn active(&self, site: &WebSite) -> (u64, SiteId) {
        self.of(&site.name).unwrap_or((1, site.primary))
    }

    /// Notes, durably, that a site is served by another server from now on.
    pub(super) fn raise(&mut self, site: &WebSite, to: SiteId) -> io::Result<u64> {
        let number = self.active(site).0 + 1;
        fs::create_dir_all(&self.folder)?;
        let file = self.folder.join(format!("{}.{number}.{to}", site.name));
        File::create(file)?.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        self.last.insert(site.name.clone(), (number, to));
        Ok(number)
    }
}

/// Takes from the other server what it knows, and tells it what is known here.
pub(super) fn share(setup: &Setup) -> Result<(), String> {
    let folder = Path::new(EPOCHS);
    let here = setup.host(setup.here)?.www.join(folder);
    fs::create_dir_all(&here).map_err(|error| format!("{}: {error}", here.display()))?;
    let ours = setup.tree(setup.here, folder, true)?;
    let theirs = setup.tree(setup.here.other(), folder, true)?;
    // Without anything remembered, nothing is ever deleted.
    let policy =
        Policy { on_conflict: OnConflict::Newest, keep_losers: false, ..Policy::both_ways() };
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
