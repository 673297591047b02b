//! The hand-over from whatever receives mail to whoever keeps it.

use std::fmt;
use std::net::IpAddr;

use crate::envelope::{Envelope, ForwardPath, ReversePath};
use crate::id::SpoolId;
use crate::leg::Presence;
use crate::message::RawMessage;
use crate::reply::Reply;

/// Takes responsibility for messages. The engine implements it; listeners call it.
pub trait Accept: fmt::Debug + Send + Sync {
    /// Whether a message of `size` octets, when that was declared, may begin.
    ///
    /// # Errors
    ///
    /// The reply to MAIL: 452 4.3.1 when there is no room, 552 5.3.4 when it is too large.
    fn begin(&self, port: Port, reverse_path: &ReversePath, size: Option<u64>)
    -> Result<(), Reply>;

    /// Whether this recipient is one of ours.
    ///
    /// # Errors
    ///
    /// The reply to RCPT.
    fn recipient(&self, port: Port, recipient: &ForwardPath) -> Result<(), Reply>;

    /// Keeps a message. When this returns `Ok`, 250 may be said: it is as durable as the
    /// acknowledgement policy promises.
    ///
    /// # Errors
    ///
    /// The reply to the end of data; nothing was kept.
    fn accept(&self, submission: Submission) -> Result<Receipt, Reply>;

    /// Whether what the peer sent under `id` for `recipient` has been kept here, lately or still.
    fn knows(&self, id: SpoolId, recipient: &ForwardPath) -> Presence;
}

/// A message that somebody wants to hand over.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who it is from and whom it is for.
    pub envelope: Envelope,
    /// Its octets, as they came.
    pub message: RawMessage,
    /// How it came.
    pub arrival: Arrival,
}

/// How a message came; what its trace field is made of.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Through which kind of port.
    pub port: Port,
    /// By which protocol.
    pub with: With,
    /// What the client called itself, as it said it.
    pub helo: Option<Vec<u8>>,
    /// Where it connected from; none for a unix socket or a call in this process.
    pub address: Option<IpAddr>,
    /// The name that the peer relay gave it; only from a peer port.
    ///
    /// With one, the message already has our trace field and gets no second one, and a
    /// recipient who already has this one here is not delivered to again.
    pub origin: Option<SpoolId>,
}

impl Arrival {
    /// From this process or a local program.
    pub const fn local(port: Port) -> Arrival {
        Arrival { port, with: With::Local, helo: None, address: None, origin: None }
    }
}

/// What becomes of what comes in at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Goes to all legs of its route.
    Fanout,
    /// Comes from the peer relay: is delivered on this host and never goes back.
    Peer,
}

/// The protocol of a trace field's `with` (RFC 3848).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum With {
    /// SMTP with HELO.
    Smtp,
    /// SMTP with EHLO.
    Esmtp,
    /// The same, encrypted.
    Esmtps,
    /// LMTP.
    Lmtp,
    /// The same, encrypted.
    Lmtps,
    /// A call in this process or a local program; no registered name, so none is written.
    Local,
}

/// What was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// What it is called from now on.
    pub id: SpoolId,
    /// Whether the peer has it too. Always false where that was not asked for.
    pub at_peer: bool,
}

impl Receipt {
    /// A receipt for `id`.
    pub const fn new(id: SpoolId, at_peer: bool) -> Receipt {
        Receipt { id, at_peer }
    }
}
