//! A customer's domain.

use crate::epoch::SiteId;
use crate::name::Name;
use crate::rdata::Rdata;
use crate::rrset::RRset;

/// What a domain does about mail.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mail {
    /// Both sites' mail servers receive for it and send for it.
    Dual {
        /// More senders: words of SPF (RFC 7208), as in `include:_spf.example.net`.
        spf: Vec<String>,
        /// The whole text of its DMARC record (RFC 7489); none of its own means `p=none`.
        dmarc: Option<String>,
    },
    /// It has none, and says so (RFC 7505).
    None,
}

/// A domain, which is a zone on all six name servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// Its name, the zone's apex.
    pub name: Name,
    /// The site that it points to as long as that one is well.
    pub primary: SiteId,
    /// The names whose addresses follow the active site: the apex and `www` for most.
    pub managed: Vec<Name>,
    /// The time to live of those addresses, in seconds, at most 300.
    pub ttl: u32,
    /// What it does about mail.
    pub mail: Mail,
    /// Who may issue certificates for it (RFC 8659), for both sites.
    pub caa: Vec<Rdata>,
    /// Records of the customer's own. They take the place of ours at the same name and of the
    /// same type, and are never managed.
    pub extra: Vec<RRset>,
}

impl Domain {
    /// A domain with managed apex and `www` and mail at both sites.
    ///
    /// # Errors
    /// [`NameError`](crate::NameError) when the name is so long that `www` does not fit before it.
    pub fn new(name: Name, primary: SiteId) -> Result<Domain, crate::NameError> {
        Ok(Domain {
            managed: vec![name.clone(), name.child("www")?],
            name,
            primary,
            ttl: 30,
            mail: Mail::Dual { spf: Vec::new(), dmarc: None },
            caa: Vec::new(),
            extra: Vec::new(),
        })
    }
}
