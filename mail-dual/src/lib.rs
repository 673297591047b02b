//! Mail that reaches an account on both of two servers, each message exactly once.
//!
//! An [`Engine`] takes messages over from listeners, from a program, or through [`DualTransport`]
//! from whoever uses lettre; keeps them in a [`Spool`]; and brings them through a [`Leg`] to each
//! account, by the IP address of its server. Deciding is pure: a [`RoutingTable`] says who gets
//! it, a [`Queue`] what is due and what follows from what happened, a [`Dsn`] what the sender is
//! told. After [`Accept::accept`] has returned, a message reaches every leg or is reported.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use mail_dual::{
//!     Accept, Arrival, DiskFolder, Engine, Envelope, ForwardPath, LegSetting, LogOptions, LogSpool,
//!     MaildirLeg, Port, RawMessage, ReversePath, Route, RoutingTable, Settings, Silent, Submission,
//!     SystemClock,
//! };
//!
//! # let scratch = tempfile::tempdir()?;
//! # let at = |name: &str| scratch.path().join(name);
//! let leg = |name: &str| -> Result<_, Box<dyn std::error::Error>> {
//!     let leg = Arc::new(MaildirLeg::new(at(name))?.create(true));
//!     Ok(LegSetting { name: name.parse()?, leg, connections: 2 })
//! };
//! let routes = RoutingTable::new(
//!     vec![Route {
//!         recipients: vec!["*@example.org".parse()?],
//!         legs: vec!["uk".parse()?, "us".parse()?],
//!     }],
//!     [],
//! );
//! let disk = DiskFolder::open_or_create(&at("spool"))?;
//! let spool = LogSpool::open(Arc::new(disk), LogOptions::new(0x5eed))?;
//! let settings = Settings { reserve: 0, ..Settings::new("uk.example.net", routes) };
//! let (mut engine, _) = Engine::open(
//!     settings,
//!     vec![leg("uk")?, leg("us")?],
//!     Arc::new(spool),
//!     Arc::new(SystemClock),
//!     Arc::new(Silent),
//! )?;
//! engine.start()?;
//!
//! let receipt = engine.handle().accept(Submission {
//!     envelope: Envelope::new(
//!         ReversePath::new("ann@example.com")?,
//!         [ForwardPath::new("bob@example.org")?],
//!     )?,
//!     message: RawMessage::new("Subject: hello\r\n\r\nHow are you?\r\n")?,
//!     arrival: Arrival::local(Port::Fanout),
//! });
//! let id = receipt.map_err(|reply| reply.to_string())?.id;
//! // It is on the disk now, and soon in both accounts.
//! while engine.handle().progress(id).is_some() {
//!     std::thread::sleep(Duration::from_millis(5));
//! }
//! assert_eq!(engine.handle().stats().delivered, 2);
//! engine.shutdown()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here, ever: spam filtering, DKIM signing, MX look-up, a user database, an IMAP server.

#[cfg(all(doctest, feature = "net", feature = "disk"))]
#[doc = include_str!("../README.md")]
mod readme {}

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
pub use self::core::leg::{Progress, ShareProgress};
pub use self::core::leg_name::{BadLegName, LegName};
pub use self::core::retry::{Breaker, RetryPolicy};
pub use self::core::route::{AckPolicy, BadPattern, BouncePolicy, Pattern, Route, RoutingTable};
pub use self::core::scheduler::{LegState, Queue, Remark, Settled, Work};
pub use self::core::transition::{Share, State, Transition};
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
