//! `[status-page]` of `network.toml`: what both servers tell visitors about themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dns_failover::{Draft, Name, SiteId};
use serde::Deserialize;

use super::Reader;
use super::lines::At;

/// `[status-page]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct StatusTable {
    name: String,
    uk: String,
    us: String,
    incidents: Option<PathBuf>,
}

/// The pages of both servers.
#[derive(Debug)]
pub struct StatusPages {
    /// Whose they are.
    pub name: String,
    /// Where each is.
    pub urls: BTreeMap<SiteId, String>,
    /// The file with what people wrote about incidents.
    pub incidents: Option<PathBuf>,
}

impl Reader<'_> {
    pub(super) fn status(&mut self, table: StatusTable, draft: &Draft) -> StatusPages {
        let at = [At::Key("status-page")];
        if table.name.trim().is_empty() {
            self.problem(&at, "name", "it is empty; say whose page it is");
        }
        if table.uk == table.us {
            self.problem(&at, "us", "both pages have the same address; each server shows its own");
        }
        let mut urls = BTreeMap::new();
        for (id, url) in [(SiteId::Uk, table.uk), (SiteId::Us, table.us)] {
            let rest = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
            let host = rest.map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
            match host.filter(|host| !host.is_empty()) {
                None => {
                    let what = format!("{url:?} is no address of a page; it begins with https://");
                    self.problem(&at, id.as_str(), what);
                }
                Some(host) => {
                    let host: Option<Name> = host.parse().ok();
                    let managed = draft.domains.iter().flat_map(|domain| &domain.managed);
                    if let Some(name) =
                        managed.into_iter().find(|name| Some(*name) == host.as_ref())
                    {
                        let what = format!(
                            "{name} fails over, and the page would go with it; give a name that stays at {id}, such as {id}.{name}"
                        );
                        self.problem(&at, id.as_str(), what);
                    }
                }
            }
            urls.insert(id, url);
        }
        StatusPages {
            name: table.name,
            urls,
            incidents: table.incidents.map(|file| self.folder.join(file)),
        }
    }
}
