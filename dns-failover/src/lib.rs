//! DNS records for six name servers, and the decision to move a domain to the other site.
//!
//! Records and zones are plain values: a [`Name`] holds any octets, [`Rdata`] of every type is checked
//! once and kept as it goes over the wire, an [`RRset`] is never empty, a [`Zone`] is sorted.
//! [`ZoneReader`] reads zone files and tells all that is wrong in them, [`check`] and [`check_states`]
//! say what is wrong with what they mean, and a [`Diff`] is what changes between two versions.
//!
//! ```
//! use dns_failover::{Diff, Zone, check};
//!
//! let origin = "example.".parse()?;
//! let old = Zone::parse(&origin, "@ 1d SOA ns.host.test. admin 2 4h 1h 1w 5m\nwww 30 A 192.0.2.1\n").unwrap();
//! let findings = check(&old, &Default::default());
//! assert_eq!(findings[0].to_string(), "error[NS01]: example. has no NS record");
//!
//! let mut new = old.clone();
//! new.remove(&"www.example.".parse()?, dns_failover::RecordType::A);
//! new.insert("www.example. 30 IN A 198.51.100.1".parse()?)?;
//! let diff = Diff::between(&old, &new)?;
//! assert_eq!(diff.to_string(), "-www.example. 30 IN A 192.0.2.1\n+www.example. 30 IN A 198.51.100.1\n");
//! assert_eq!(diff.apply(&old)?, new);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here, ever: resolving, serving, DNSSEC signing, registrars and provider APIs.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod catalog;
mod check;
mod diagnostic;
mod diff;
mod digest;
mod epoch;
mod key;
mod master;
mod name;
#[cfg(feature = "net")]
mod net;
mod octets;
mod plan;
mod rdata;
mod record;
mod render;
mod rrset;
mod serial;
mod template;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod topology;
#[cfg(feature = "net")]
mod wire;
mod zone;

#[cfg(feature = "net")]
pub mod daemon;
pub mod decision;
pub mod journal;
pub mod observe;
#[cfg(feature = "net")]
pub mod probe;
#[cfg(feature = "sim")]
pub mod sim;
pub mod status;

pub use check::{KnownHosts, Referral, check, check_states, locate};
pub use diagnostic::{Diagnostic, Place, Rule, Severity, all_rules};
pub use diff::{Change, Diff, DiffError};
pub use epoch::{Active, Epoch, EpochRecord, SiteId};
pub use key::{TsigAlgorithm, TsigKey, TsigKeyError};
pub use master::{IncludeFolder, Includes, NoIncludes, Places, Reading, TextError, ZoneReader};
pub use name::{Labels, Name, NameError};
#[cfg(feature = "net")]
pub use net::{
    Deploy, Link, LocalFiles, Network, Outcome, Patience, Publisher, Report, Tcp, View, ZoneReport,
};
pub use plan::{
    ApprovedPlan, ChangeClass, Current, Plan, PlanGuards, PlanRefused, Scope, ZonePlan,
};
pub use rdata::{
    BadRecordType, Data, Rdata, RdataError, RecordType, Soa, Strings, SvcParam, SvcParams,
    WireError,
};
pub use record::{BadTtl, Class, Record, Ttl};
pub use render::{Keeper, Rendered, RenderedFile, WriteError, Written, ZoneTexts, render};
pub use rrset::RRset;
pub use serial::{Serial, SerialPolicy};
pub use topology::{
    Addresses, Authority, Dkim, Domain, Draft, DraftPlace, DraftRule, DraftSection, Fault, Feed,
    MAX_MANAGED_TTL, Mail, NAME_SERVERS, NameServer, Reload, Site, Software, Tlsa, Topology,
};
#[cfg(feature = "net")]
pub use wire::{Rcode, Trouble, hickory_proto};
pub use zone::{Inserted, Zone, ZoneError};
