//! One of the six name servers.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::site::Addresses;
use crate::key::TsigKey;
use crate::name::Name;

/// The program that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Software {
    /// ISC BIND 9.18 or newer.
    Bind,
    /// Knot DNS 3.2 or newer.
    Knot,
    /// NSD 4.6 or newer.
    Nsd,
    /// PowerDNS Authoritative Server 4.7 or newer, with its SQLite backend.
    PowerDns,
}

impl Software {
    /// All of them.
    pub const ALL: [Software; 4] =
        [Software::Bind, Software::Knot, Software::Nsd, Software::PowerDns];

    /// The name that configurations use.
    pub fn as_str(self) -> &'static str {
        match self {
            Software::Bind => "bind",
            Software::Knot => "knot",
            Software::Nsd => "nsd",
            Software::PowerDns => "powerdns",
        }
    }

    /// Whether it takes UPDATE (RFC 2136).
    pub fn takes_updates(self) -> bool {
        self != Software::Nsd
    }

    /// Whether it learns of zones from a catalog zone (RFC 9432). NSD does from 4.9 on, and the one that
    /// is widely installed is older; PowerDNS does, but 4.7 asks for what it has learnt of without a
    /// signature. Both are told their zones by name.
    pub fn reads_catalogs(self) -> bool {
        matches!(self, Software::Bind | Software::Knot)
    }
}

/// How zones get to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feed {
    /// We change them there, by UPDATE.
    Update,
    /// It transfers them from the first of these name servers that answers.
    Transfer {
        /// Where from, all of them servers that take updates.
        from: Vec<Name>,
    },
    /// We write its zone files and have it read them.
    Files {
        /// How.
        reload: Reload,
    },
}

/// How a server is told to read its files anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// The program and its arguments; no shell has a hand in it.
    pub command: Vec<String>,
}

/// A name server.
#[derive(Debug, Clone)]
pub struct NameServer {
    /// What NS records call it.
    pub name: Name,
    /// Where resolvers find it.
    pub addresses: Addresses,
    /// Where it stands: a word of your own, the same for servers that burn together. The sites'
    /// names are `uk` and `us`.
    pub location: String,
    /// The number of the network it is in, where known.
    pub asn: Option<u32>,
    /// Whether the registry publishes its addresses with the delegation of its own zone.
    pub glue: bool,
    /// The program that answers.
    pub software: Software,
    /// How zones get there.
    pub feed: Feed,
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// Where we and its fellows reach it.
    pub reach: SocketAddr,
    /// The folder on its own disk that its configuration, zones and state are in.
    pub folder: PathBuf,
    /// The user that it becomes once it listens, unless it was started as one.
    pub user: Option<String>,
    /// What it and we sign with.
    pub key: TsigKey,
}

impl NameServer {
    /// A server that takes updates at the usual port of its first address.
    pub fn new(name: Name, addresses: Addresses, software: Software, key: TsigKey) -> NameServer {
        let at = |address: IpAddr| SocketAddr::new(address, 53);
        let reach = addresses.iter().next().map_or(SocketAddr::from(([127, 0, 0, 1], 53)), at);
        NameServer {
            name,
            listen: addresses.iter().map(at).collect(),
            addresses,
            location: String::new(),
            asn: None,
            glue: true,
            software,
            feed: Feed::Update,
            reach,
            folder: PathBuf::from(default_folder(software)),
            user: None,
            key,
        }
    }
}

/// Where Debian's package lets the program write.
fn default_folder(software: Software) -> &'static str {
    match software {
        Software::Bind => "/var/lib/bind/failover",
        Software::Knot => "/var/lib/knot/failover",
        Software::Nsd => "/var/lib/nsd/failover",
        Software::PowerDns => "/var/lib/powerdns/failover",
    }
}
