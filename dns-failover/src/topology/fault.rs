//! What can be wrong with a topology, and where.

use std::fmt;
use std::net::IpAddr;

use super::{MAX_MANAGED_TTL, NAME_SERVERS};
use crate::epoch::SiteId;
use crate::name::Name;

/// A part of a [`Draft`](super::Draft).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DraftSection {
    /// The sites.
    Sites,
    /// What all zones have in common.
    Authority,
    /// The name servers.
    NameServers,
    /// The domains.
    Domains,
}

/// Where in a draft a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DraftPlace {
    /// In which part.
    pub section: DraftSection,
    /// Which one of them, counted from 0; none when it is about all of them.
    pub index: Option<usize>,
    /// Which field; none when it is about all of them.
    pub field: Option<&'static str>,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftRule {
    /// Five, or seven.
    #[error("{NAME_SERVERS} name servers are promised for every domain, and there are {found}")]
    NameServerCount {
        /// How many there are.
        found: usize,
    },
    /// One is missing, or given twice.
    #[error("both sites, uk and us, are needed once each; {id} is there {found} times")]
    SiteCount {
        /// Which.
        id: SiteId,
        /// How often it is there.
        found: usize,
    },
    /// There is nowhere to point to.
    #[error("there is no address")]
    NoAddress,
    /// Where one site has addresses of a version, so must the other.
    #[error(
        "{id} has no IPv{version} address and the other site has; after a failover, those who have only IPv{version} would find nothing"
    )]
    Family {
        /// The site that has none.
        id: SiteId,
        /// 4 or 6.
        version: u8,
    },
    /// Two that must differ do not.
    #[error("{what} {value} is used before, by {by}")]
    Repeated {
        /// What sort of thing.
        what: &'static str,
        /// The thing.
        value: String,
        /// Who else.
        by: String,
    },
    /// No host can be called so.
    #[error("{0} is not a host name (letters, digits, inner hyphens; RFC 1123)")]
    HostName(Name),
    /// All name servers burn together.
    #[error("all name servers are in {0}; one fault there takes every domain with it (RFC 2182)")]
    OnePrefix(String),
    /// All name servers, or all that take updates, are in one place.
    #[error("all name servers {which}are at {location:?}; when that is gone, {consequence}")]
    OneLocation {
        /// Which servers, with a space behind, or nothing for all.
        which: &'static str,
        /// The place.
        location: String,
        /// What then cannot be done.
        consequence: &'static str,
    },
    /// A resolver would have to know one of them to find any of them.
    #[error(
        "no name server can be found: each one's name is in a zone that only these name servers serve, and none has glue at the registry; set glue for one at least"
    )]
    CyclicGlue,
    /// It does not speak RFC 2136.
    #[error("{0} takes no UPDATE; feed it by transfer or by files")]
    TakesNoUpdate(&'static str),
    /// It is transferred from someone who has nothing.
    #[error("it transfers from {0}, which is no name server that takes updates")]
    BadPrimary(Name),
    /// It is transferred from nobody.
    #[error("it transfers from nobody; name the servers it transfers from")]
    NoPrimary,
    /// Nothing would tell it.
    #[error("there is no command that has it read its files anew")]
    NoReload,
    /// Too long to fail over in time.
    #[error(
        "the time to live of managed addresses is {found} s and may be {MAX_MANAGED_TTL} s at most; for so long visitors are sent to a dead site"
    )]
    ManagedTtl {
        /// What it is.
        found: u32,
    },
    /// Too short to be cached at all.
    #[error("the time to live of managed addresses is 0, so nothing would be cached")]
    NoTtl,
    /// It belongs to somebody else.
    #[error("{name} is not within {domain}")]
    Outside {
        /// The name.
        name: Name,
        /// The domain.
        domain: Name,
    },
    /// It would never fail over.
    #[error("no name is managed, so nothing of {0} would fail over")]
    NothingManaged(Name),
    /// Extra records where the failover puts its own.
    #[error(
        "{owner} {rtype} is managed by the failover; leave it out of the extra records, or {owner} out of the managed names"
    )]
    ExtraManaged {
        /// The name.
        owner: Name,
        /// The type.
        rtype: String,
    },
    /// Extra records of a type that is ours.
    #[error("{rtype} records at {owner} are made from the configuration and cannot be given")]
    ExtraReserved {
        /// The name.
        owner: Name,
        /// The type.
        rtype: String,
    },
    /// An address that nobody can reach from elsewhere.
    #[error("{0} is an address that nothing can be served from")]
    UselessAddress(IpAddr),
    /// A value beyond what can be written down.
    #[error("{0}")]
    Value(String),
}

/// Something wrong with a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: DraftPlace,
    /// What.
    pub rule: DraftRule,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let section = match self.place.section {
            DraftSection::Sites => "site",
            DraftSection::Authority => "authority",
            DraftSection::NameServers => "name server",
            DraftSection::Domains => "domain",
        };
        f.write_str(section)?;
        if let Some(index) = self.place.index {
            write!(f, " {}", index + 1)?;
        }
        if let Some(field) = self.place.field {
            write!(f, ", {field}")?;
        }
        write!(f, ": {}", self.rule)
    }
}

impl std::error::Error for Fault {}
