//! Messages: questions, UPDATE, NOTIFY and transfers (RFC 1035, 2136, 1996, 5936), signed (RFC 8945).
//!
//! Messages are put together with hickory-proto, which also does the arithmetic of signatures. They are
//! taken apart here: a reply's own error must be known before its signature is judged, and a record
//! that hickory finds odd must not make a whole transfer unreadable.

mod build;
mod parse;
mod tsig;

pub use hickory_proto;

pub(crate) use build::{Prerequisite, Request, notify, question, update};
pub(crate) use parse::Message;
use tsig::verify;
#[cfg(feature = "testing")]
pub(crate) use {
    build::reply,
    parse::RawRecord,
    tsig::{TsigError, append, verify as verify_signature},
};

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Name;

/// What a server answers with (RFC 1035 section 4.1.1, RFC 2136 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rcode(pub u8);

impl Rcode {
    /// Done.
    pub const NOERROR: Rcode = Rcode(0);
    /// It could not read the message.
    pub const FORMERR: Rcode = Rcode(1);
    /// Something went wrong there.
    pub const SERVFAIL: Rcode = Rcode(2);
    /// There is no such name.
    pub const NXDOMAIN: Rcode = Rcode(3);
    /// It does not do this at all.
    pub const NOTIMP: Rcode = Rcode(4);
    /// It does not do this for us.
    pub const REFUSED: Rcode = Rcode(5);
    /// A name is there that must not be.
    pub const YXDOMAIN: Rcode = Rcode(6);
    /// An RRset is there that must not be.
    pub const YXRRSET: Rcode = Rcode(7);
    /// An RRset is not there, or not with these values.
    pub const NXRRSET: Rcode = Rcode(8);
    /// It is not responsible for the zone, or does not know our signature.
    pub const NOTAUTH: Rcode = Rcode(9);
    /// A name is outside the zone.
    pub const NOTZONE: Rcode = Rcode(10);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN",
            "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
        ];
        match names.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

/// What came of a request that did not go well. What the request was to change is unchanged on that
/// server, except where a reply got lost or could not be trusted: then it may have been done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "kind")]
#[non_exhaustive]
pub enum Trouble {
    /// There was no connection, or no reply in time.
    #[error("unreachable: {why}")]
    Unreachable {
        /// What the kernel said.
        why: String,
    },
    /// The server answers with an error.
    #[error("{rcode}: {}", explain(*.rcode))]
    Refused {
        /// Which.
        rcode: Rcode,
    },
    /// The server does not know the key's name.
    #[error(
        "BADKEY: the server has no key called {key}; give it the one from its rendered configuration"
    )]
    BadKey {
        /// The name that we signed with.
        key: Name,
    },
    /// The server has another secret under the key's name.
    #[error("BADSIG: the server has another secret for {key}; both sides need the same one")]
    BadSig {
        /// The name that we signed with.
        key: Name,
    },
    /// The clocks differ.
    #[error(
        "BADTIME: the server's clock shows {theirs} and ours {ours} seconds since 1970; set the clocks"
    )]
    BadTime {
        /// The server's time.
        theirs: u64,
        /// Ours.
        ours: u64,
    },
    /// The reply is not signed, so anybody may have sent it.
    #[error("the reply ({rcode}) is not signed, though the question was")]
    Unsigned {
        /// What it said.
        rcode: Rcode,
    },
    /// The reply's signature is wrong, so somebody else sent it, or changed it.
    #[error("the reply is signed wrongly: {why}")]
    Forged {
        /// What is wrong with it.
        why: String,
    },
    /// The reply breaks off.
    #[error("the reply is cut short: {why}")]
    Truncated {
        /// How one can tell.
        why: String,
    },
    /// The reply is no DNS message, or not one to our question.
    #[error("the reply makes no sense: {why}")]
    Rubbish {
        /// What is wrong with it.
        why: String,
    },
    /// Files could not be put in place, or the server could not be told to read them.
    #[error("its files: {why}")]
    Files {
        /// What went wrong.
        why: String,
    },
    /// The change does not fit a message.
    #[error(
        "the change takes up to {octets} octets, and a message has 65535 at most; have this server read files or transfer instead"
    )]
    TooLarge {
        /// How many it would be with every name in full.
        octets: usize,
    },
}

impl Trouble {
    /// Whether trying again in a moment can help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Trouble::Unreachable { .. } | Trouble::Truncated { .. } | Trouble::Rubbish { .. } => {
                true
            }
            Trouble::Refused { rcode } => *rcode == Rcode::SERVFAIL,
            _ => false,
        }
    }
}

fn explain(rcode: Rcode) -> &'static str {
    match rcode {
        Rcode::FORMERR => "the server could not read the message",
        Rcode::SERVFAIL => "the server had a problem of its own; its log says which",
        Rcode::NOTIMP => "the server does not do this at all",
        Rcode::REFUSED => {
            "the server does not let this key do this, or does not serve the zone; render its configuration and reload it"
        }
        Rcode::NXRRSET => "the zone is not what it was taken for; somebody changed it in between",
        Rcode::NOTAUTH => {
            "the server is not responsible for the zone; render its configuration and reload it"
        }
        _ => "the server does not do it",
    }
}
