//! What observers and controllers tell one another: sealed with a shared key, and taken once.
//!
//! A [`Message`] is one datagram. [`seal`](ExchangeKey::seal) signs it; a [`Guard`] opens what comes in
//! and refuses what was forged, repeated, is too old, from the future or from a stranger. Nobody who
//! lacks the key can make a controller believe anything; somebody who can drop datagrams can make an
//! observer silent, which changes nothing but the votes that are left.
//!
//! ```text
//! magic      4 bytes  "dfo1"
//! length     u16, big-endian, of the body
//! body       postcard of a Message
//! check      32 bytes: BLAKE3, keyed, of all that comes before
//! ```
//!
//! ```
//! use dns_failover::decision::{Millis, Report, Timestamp};
//! use dns_failover::observe::{Body, ExchangeKey, Guard, Message, Refused};
//!
//! let key = ExchangeKey::new(b"a secret of at least thirty-two octets")?;
//! let now = Timestamp::from_millis(1_000_000);
//! let report = Report::new("zurich".parse()?, now).saw("web", "uk", true)?;
//! let message = Message { sender: "zurich".parse()?, sequence: 1, sent: now, body: Body::Report(report) };
//! let datagram = key.seal(&message)?;
//!
//! let mut guard = Guard::new(key, ["zurich".parse()?], Millis::from_secs(5), Millis::from_secs(2));
//! assert_eq!(guard.open(&datagram, now)?, message);
//! assert_eq!(guard.open(&datagram, now), Err(Refused::Replayed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: secrecy. What is told is on the status page anyway.

mod guard;
mod key;
#[cfg(feature = "net")]
mod udp;

use serde::{Deserialize, Serialize};

use crate::decision::{
    Answer, Cause, ControllerId, Epoch, Mode, ObserverId, Policy, Report, ServiceId, SiteId, State,
    Stay, Timestamp, Verdict,
};

pub use guard::{Guard, Refused};
pub use key::{BadExchangeKey, ExchangeKey, SealError};
#[cfg(feature = "net")]
pub use udp::{Exchange, Speaker};

/// The longest datagram that is sent or read, in octets.
pub const MAX_DATAGRAM: usize = 8 * 1024;

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who sent it. A controller sends under the name of the observer that stands beside it.
    pub sender: ObserverId,
    /// Grows with each message of a sender; begins with the time, so that it grows over restarts.
    pub sequence: u64,
    /// When, by the sender's clock.
    pub sent: Timestamp,
    /// What.
    pub body: Body,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Body {
    /// What an observer saw.
    Report(Report),
    /// What a controller makes of it all, for the other site's status page.
    View(View),
}

/// What a controller makes of it all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Whose.
    pub controller: ControllerId,
    /// When it was so.
    pub at: Timestamp,
    /// Whether it moves anything by itself.
    pub mode: Mode,
    /// Its latest decision.
    pub epoch: Epoch,
    /// Whether all name servers have that.
    pub published: bool,
    /// Service by service.
    pub services: Vec<ServiceView>,
    /// Service by service at each site.
    pub places: Vec<PlaceView>,
}

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Which.
    pub service: ServiceId,
    /// Whose addresses are answered.
    pub answer: Answer,
    /// Since when.
    pub since: Timestamp,
    /// Why it came to be there.
    pub cause: Cause,
    /// Why it stays.
    pub stay: Stay,
}

/// How a service is at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceView {
    /// The service.
    pub service: ServiceId,
    /// The site.
    pub site: SiteId,
    /// What is known.
    pub verdict: Verdict,
    /// Since when.
    pub since: Timestamp,
}

impl View {
    /// What a controller with these rules and this state makes of it all.
    pub fn of(policy: &Policy, state: &State) -> View {
        let services = state.services().iter().map(|of| ServiceView {
            service: of.id,
            answer: of.answer,
            since: of.since,
            cause: of.cause,
            stay: of.stay,
        });
        let places = state.targets().iter().map(|of| PlaceView {
            service: of.service,
            site: of.site,
            verdict: of.verdict,
            since: of.since,
        });
        View {
            controller: policy.config().controller,
            at: state.clock(),
            mode: policy.mode(),
            epoch: state.epoch(),
            published: state.is_published(),
            services: services.collect(),
            places: places.collect(),
        }
    }
}
