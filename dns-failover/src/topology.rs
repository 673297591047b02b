//! What there is: two sites, six name servers, and the domains they serve.
//!
//! A [`Draft`] is what somebody wrote down; [`Topology::new`] checks all of it and tells everything that
//! is wrong at once. What it lets pass, the rest of the crate relies on.

mod domain;
mod fault;
mod name_server;
mod rules;
mod site;

use std::collections::BTreeMap;

pub use domain::{Domain, Mail};
pub use fault::{DraftPlace, DraftRule, DraftSection, Fault};
pub use name_server::{Feed, NameServer, Reload, Software};
pub use site::{Addresses, Dkim, Site, Tlsa};

use crate::epoch::SiteId;
use crate::name::Name;

/// How many name servers serve every domain: what is promised to customers, and as many as fit into
/// a referral of 512 octets whatever the name asked for.
pub const NAME_SERVERS: usize = 6;

/// The longest time to live of a managed address, in seconds: for so long a resolver goes on
/// sending visitors to a dead site.
pub const MAX_MANAGED_TTL: u32 = 300;

/// What all zones have in common: the SOA record's fields and the times to live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The mailbox of who is responsible, as a name: `hostmaster.example.com.`.
    pub hostmaster: Name,
    /// How often secondaries ask when no NOTIFY came, in seconds.
    pub refresh: u32,
    /// How soon they ask again when nobody answered, in seconds.
    pub retry: u32,
    /// For how long they go on serving without an answer, in seconds.
    pub expire: u32,
    /// For how long resolvers remember that something is not there, in seconds (RFC 2308).
    pub minimum: u32,
    /// The time to live of what no failover changes, in seconds.
    pub ttl: u32,
    /// The time to live of NS records and the servers' addresses, in seconds.
    pub ns_ttl: u32,
    /// The time to live of MX records, in seconds.
    pub mx_ttl: u32,
    /// Where secondaries read the list of all zones (RFC 9432).
    pub catalog: Name,
}

impl Authority {
    /// The values that Zonemaster's tests want, with short memories of what is not there.
    pub fn new(hostmaster: Name, catalog: Name) -> Authority {
        Authority {
            hostmaster,
            refresh: 14_400,
            retry: 3_600,
            expire: 1_209_600,
            minimum: 300,
            ttl: 3_600,
            ns_ttl: 86_400,
            mx_ttl: 3_600,
            catalog,
        }
    }
}

/// A topology as somebody wrote it down, not checked yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The sites; there must be both.
    pub sites: Vec<Site>,
    /// What all zones have in common.
    pub authority: Authority,
    /// The name servers; there must be six.
    pub name_servers: Vec<NameServer>,
    /// The customers' domains.
    pub domains: Vec<Domain>,
}

/// Two sites, six name servers and the domains: checked, and so relied on.
#[derive(Debug, Clone)]
pub struct Topology {
    sites: [Site; 2],
    authority: Authority,
    name_servers: [NameServer; NAME_SERVERS],
    domains: BTreeMap<Name, Domain>,
}

impl Topology {
    /// Checks a draft.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order in which it is written.
    pub fn new(draft: Draft) -> Result<Topology, Vec<Fault>> {
        let faults = rules::faults(&draft);
        if !faults.is_empty() {
            return Err(faults);
        }
        let Draft { mut sites, authority, name_servers, domains } = draft;
        sites.sort_by_key(|site| site.id);
        let (Ok(sites), Ok(name_servers)) = (sites.try_into(), name_servers.try_into()) else {
            // The rules count them, so this is never reached.
            return Err(Vec::new());
        };
        let domains = domains.into_iter().map(|domain| (domain.name.clone(), domain)).collect();
        Ok(Topology { sites, authority, name_servers, domains })
    }

    /// A site.
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[usize::from(id == SiteId::Us)]
    }

    /// Both sites, UK first.
    pub fn sites(&self) -> &[Site; 2] {
        &self.sites
    }

    /// What all zones have in common.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The name servers, in the order in which they were given.
    pub fn name_servers(&self) -> &[NameServer; NAME_SERVERS] {
        &self.name_servers
    }

    /// Where the name server that is called so stands among the six.
    pub fn server_index(&self, name: &Name) -> Option<usize> {
        self.name_servers.iter().position(|server| server.name == *name)
    }

    /// The domains by name, in canonical order.
    pub fn domains(&self) -> &BTreeMap<Name, Domain> {
        &self.domains
    }

    /// The domain that is called so.
    pub fn domain(&self, name: &Name) -> Option<&Domain> {
        self.domains.get(name)
    }
}

#[cfg(test)]
pub(crate) mod tests;
