//! Does a service answer as it should? One look at it, from here, within a time that is given.
//!
//! A [`Probe`] connects, says the least that tells a working service from a listening socket, and reads
//! no more than it must. Every wait ends at one deadline, and what is read is capped, so a peer that
//! drips or floods costs no more than a dead one.
//!
//! ```no_run
//! use dns_failover::decision::Millis;
//! use dns_failover::probe::{Check, Probe};
//!
//! let probe = Probe {
//!     address: "192.0.2.1:80".parse()?,
//!     check: Check::http("www.example.com", "/health", 200, Some("ok"))?,
//!     timeout: Millis::from_secs(1),
//! };
//! match probe.run(7) {
//!     Ok(()) => println!("up"),
//!     Err(failure) => println!("down: {failure}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: TLS. Certificates are not what a failover should hang on; probe the port behind it.

mod dialogue;
mod dns;
mod line;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::decision::Millis;

/// What is looked at, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Where.
    pub address: SocketAddr,
    /// What must come back.
    pub check: Check,
    /// Within which time, all in all.
    pub timeout: Millis,
}

/// What must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// A connection.
    Tcp,
    /// An answer to an HTTP/1.0 GET; see [`Check::http`].
    Http(HttpCheck),
    /// A greeting of 220, and 250 to EHLO (RFC 5321 section 3.1).
    Smtp,
    /// The same with LHLO (RFC 2033 section 4.1).
    Lmtp,
    /// An authoritative NOERROR to a question for the SOA record of a zone, over UDP.
    Dns(Name),
    /// `SSH-2.0-` at the beginning of one of the first lines (RFC 4253 section 4.2).
    Ssh,
}

/// What must come back over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    host: String,
    path: String,
    status: u16,
    text: Option<String>,
}

/// Why an HTTP check cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCheck {
    /// Not fit for a request.
    #[error("{what} {text:?} has blanks or control characters in it, or does not begin as it must")]
    Unfit {
        /// Host or path.
        what: &'static str,
        /// What it is.
        text: String,
    },
    /// No status.
    #[error("{status} is no HTTP status; they are 100 to 599")]
    Status {
        /// What was given.
        status: u16,
    },
}

/// Why a service does not count as up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody listens, or a firewall says so.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// The time was over.
    #[error("no answer in time while {0}")]
    TimedOut(&'static str),
    /// The connection broke.
    #[error("the connection broke while {what}: {source}")]
    Broken {
        /// What was going on.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another status or reply than the one that means well.
    #[error("it answered {got} instead of {wanted}")]
    Answer {
        /// What came; cut and with all that is not printable replaced.
        got: String,
        /// What should have come.
        wanted: String,
    },
    /// The right status, and not what should be on the page.
    #[error("the text that should be on the page is not in its first {0} octets")]
    Text(usize),
}

impl Check {
    /// An answer of `status` to a GET for `path` on `host`, with `text` in its body where given.
    ///
    /// # Errors
    /// [`BadCheck`] for what does not fit into a request.
    pub fn http(
        host: &str,
        path: &str,
        status: u16,
        text: Option<&str>,
    ) -> Result<Check, BadCheck> {
        let fit = |text: &str| {
            !text.is_empty()
                && text.len() <= 2048
                && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let unfit = |what, text: &str| Err(BadCheck::Unfit { what, text: text.to_owned() });
        if !fit(host) {
            return unfit("host", host);
        }
        if !fit(path) || !path.starts_with('/') {
            return unfit("path", path);
        }
        if !(100..600).contains(&status) {
            return Err(BadCheck::Status { status });
        }
        let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Check::Http(HttpCheck { host: host.to_owned(), path: path.to_owned(), status, text }))
    }
}

impl Probe {
    /// Looks once. `nonce` makes a DNS question hard to answer for somebody who does not see it; any
    /// number that others cannot guess.
    ///
    /// # Errors
    /// [`Failure`]: it is not up.
    pub fn run(&self, nonce: u16) -> Result<(), Failure> {
        let deadline = Deadline::after(self.timeout);
        match &self.check {
            Check::Tcp => dialogue::connect(self.address, deadline).map(drop),
            Check::Http(check) => dialogue::http(self.address, check, deadline),
            Check::Smtp => dialogue::mail(self.address, "EHLO", deadline),
            Check::Lmtp => dialogue::mail(self.address, "LHLO", deadline),
            Check::Ssh => dialogue::ssh(self.address, deadline),
            Check::Dns(zone) => dns::soa(self.address, zone, nonce, deadline),
        }
    }
}

/// The instant at which every wait of a probe ends.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "this is an edge: what it times are sockets")]
    fn after(timeout: Millis) -> Deadline {
        Deadline(Instant::now() + timeout.to_std())
    }

    /// What is left, or that nothing is.
    #[expect(clippy::disallowed_methods, reason = "this is an edge: what it times are sockets")]
    fn left(self, what: &'static str) -> Result<Duration, Failure> {
        let left = self.0.saturating_duration_since(Instant::now());
        // A timeout of nothing means none at all to the kernel.
        if left < Duration::from_millis(1) { Err(Failure::TimedOut(what)) } else { Ok(left) }
    }
}

fn broken(what: &'static str) -> impl Fn(io::Error) -> Failure {
    move |source| match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Failure::TimedOut(what),
        _ => Failure::Broken { what, source },
    }
}
