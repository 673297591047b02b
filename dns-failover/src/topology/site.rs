//! A site: one of the two servers, with everything that says so in DNS.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::epoch::SiteId;
use crate::name::Name;
use crate::rdata::Rdata;

/// Addresses of both families, each kind sorted and without repetitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    v4: Vec<Ipv4Addr>,
    v6: Vec<Ipv6Addr>,
}

impl Addresses {
    /// The addresses of version 4.
    pub fn v4(&self) -> &[Ipv4Addr] {
        &self.v4
    }

    /// The addresses of version 6.
    pub fn v6(&self) -> &[Ipv6Addr] {
        &self.v6
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// All of them, version 4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.iter().copied().map(IpAddr::V4);
        v4.chain(self.v6.iter().copied().map(IpAddr::V6))
    }

    /// Those of both.
    #[must_use]
    pub fn union(&self, other: &Addresses) -> Addresses {
        self.iter().chain(other.iter()).collect()
    }
}

impl FromIterator<IpAddr> for Addresses {
    fn from_iter<I: IntoIterator<Item = IpAddr>>(addresses: I) -> Addresses {
        let mut sorted = Addresses::default();
        for address in addresses {
            match address {
                IpAddr::V4(address) => sorted.v4.push(address),
                IpAddr::V6(address) => sorted.v6.push(address),
            }
        }
        sorted.v4.sort_unstable();
        sorted.v4.dedup();
        sorted.v6.sort_unstable();
        sorted.v6.dedup();
        sorted
    }
}

/// A key that outgoing mail is signed with (RFC 6376 section 3.6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dkim {
    /// The label before `_domainkey`, one of each site's own.
    pub selector: Name,
    /// The record's text, as in `v=DKIM1; k=ed25519; p=…`.
    pub text: Vec<u8>,
}

/// A certificate of a service (RFC 6698).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// The labels before the host's name, as in `_443._tcp`, relative to the root.
    pub service: Name,
    /// The record's data.
    pub rdata: Rdata,
}

/// One of the two sites. Its identity (mail host, keys, fingerprints) is in every zone, whichever
/// site is active; only its web addresses come and go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Which one.
    pub id: SiteId,
    /// Where its web server answers, and where `uk.` or `us.` of every domain points.
    pub web: Addresses,
    /// The name of its mail server.
    pub mail_host: Name,
    /// Where it receives mail and sends it from.
    pub mail: Addresses,
    /// What its mail server signs with.
    pub dkim: Vec<Dkim>,
    /// Its SSH host keys, published at `uk.` or `us.` of every domain.
    pub sshfp: Vec<Rdata>,
    /// Its web server's certificates.
    pub tlsa: Vec<Tlsa>,
}
