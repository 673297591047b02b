//! Mail that reaches an account on both of two servers, each message exactly once.
//!
//! This crate is being built. What it holds so far: messages, envelopes and replies that cannot be
//! injected into.
//!
//! ```
//! use mail_dual::{Envelope, ForwardPath, RawMessage, ReversePath};
//!
//! let envelope = Envelope::new(
//!     ReversePath::new("ann@example.org")?,
//!     [ForwardPath::new("bob@example.net")?],
//! )?;
//! let message = RawMessage::new("Subject: hello\r\n\r\nHow are you?\r\n")?;
//! assert_eq!((envelope.recipients().len(), message.received_count()), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here, ever: spam filtering, DKIM signing, MX look-up, a user database, an IMAP server.

mod accept;
mod core;
mod dsn_parameters;
mod engine;
mod envelope;
mod id;
#[cfg(feature = "net")]
mod ingress;
mod leg;
#[cfg(feature = "net")]
mod legs;
mod message;
#[cfg(feature = "net")]
mod net;
pub mod proto;
mod received;
mod reply;
mod spool;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
mod time;
mod transport;

pub use self::core::dsn::{Account, Dsn, Fate};
pub use self::core::leg::{BadLegName, LegName, Progress, Share, ShareProgress, State, Transition};
pub use self::core::retry::{Breaker, RetryPolicy};
pub use self::core::route::{AckPolicy, BadPattern, BouncePolicy, Pattern, Route, RoutingTable};
pub use self::core::scheduler::{LegState, Queue, Remark, Settled, Work};
pub use accept::{Accept, Arrival, Port, Receipt, Submission, With};
pub use dsn_parameters::{BadDsnParameter, DsnParameters, Notify, Orcpt, RecipientDsn, Ret, Xtext};
pub use engine::{
    Clock, Engine, Event, Handle, LegSetting, Observer, QueuedLeg, QueuedMessage, QueuedRecipient,
    Settings, Silent, Stats, SystemClock,
};
pub use envelope::{
    BadEnvelope, BadPath, BodyType, Envelope, ForwardPath, NoRecipient, Recipient, ReversePath,
};
pub use id::{BadSpoolId, SpoolId};
#[cfg(feature = "net")]
pub use ingress::{ListenError, Listener, ListenerConfig, Offered, Serving};
pub use leg::{Cause, Feed, Job, Leg, Outcome, Presence, Scope, Trouble};
#[cfg(feature = "net")]
pub use legs::{
    BadMaildir, ImapConfig, ImapMailbox, LettreLeg, MaildirLeg, RemoteConfig, RemoteLeg,
};
pub use lettre;
pub use message::{
    BadHash, BadMessage, ContentHash, Field, Fields, LONGEST_LINE, MessageKey, RawMessage,
};
#[cfg(feature = "net")]
pub use net::{Address, BadAddress, BadTls, Encryption, Identity, TlsClient, TlsServer, Trust};
pub use received::Received;
pub use reply::{BadReplyCode, EnhancedCode, Phase, Reply};
#[cfg(feature = "net")]
pub use rustls;
#[cfg(feature = "disk")]
pub use spool::DiskFolder;
pub use spool::{
    CompactReport, Damage, DirSpool, Head, LogOptions, LogSpool, MemSpool, Recovered,
    RecoveryReport, ReportsOn, Spool, SpoolError, Stored, Vfs, VfsFile,
};
pub use time::Timestamp;
pub use transport::{DualTransport, SendError};
