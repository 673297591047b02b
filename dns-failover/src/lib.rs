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

mod check;
mod diagnostic;
mod diff;
mod digest;
mod master;
mod name;
mod octets;
mod rdata;
mod record;
mod rrset;
mod serial;
mod zone;

pub use check::{KnownHosts, Referral, check, check_states, locate};
pub use diagnostic::{Diagnostic, Place, Rule, Severity, all_rules};
pub use diff::{Change, Diff, DiffError};
pub use master::{IncludeFolder, Includes, NoIncludes, Places, Reading, TextError, ZoneReader};
pub use name::{Labels, Name, NameError};
pub use rdata::{
    BadRecordType, Data, Rdata, RdataError, RecordType, Soa, Strings, SvcParam, SvcParams,
    WireError,
};
pub use record::{BadTtl, Class, Record, Ttl};
pub use rrset::RRset;
pub use serial::{Serial, SerialPolicy};
pub use zone::{Inserted, Zone, ZoneError};
