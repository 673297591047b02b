//! DNS records for six name servers, and the decision to move a domain to the other site.
//!
//! Records and zones are plain values: a [`Name`] holds any octets, [`Rdata`] of every type is checked
//! once and kept as it goes over the wire, an [`RRset`] is never empty, a [`Zone`] is sorted.
//!
//! ```
//! use dns_failover::{Record, Zone};
//!
//! let mut zone = Zone::new("example.".parse()?);
//! for line in ["example. 3600 IN NS ns1.example.", "ns1.example. 3600 IN A 192.0.2.1"] {
//!     zone.insert(line.parse()?)?;
//! }
//! assert_eq!(zone.to_text(), b"example. 3600 IN NS ns1.example.\nns1.example. 3600 IN A 192.0.2.1\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here, ever: resolving, serving, DNSSEC signing, registrars and provider APIs.

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
