//! A leg to a server that speaks SMTP or LMTP, dialled by its address.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::imap::ImapMailbox;
use crate::leg::{Feed, Job, Leg, Outcome, Presence, Trouble};
use crate::net::{Address, Encryption, now};
use crate::proto::{ClientConfig, Timeouts};

/// After so long without use a connection is checked before a message is put on it.
const FRESH: Duration = Duration::from_secs(1);
/// The most connections that are kept for later.
const MOST_KEPT: usize = 16;

/// What a leg to a server needs to know.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoteConfig {
    /// Where the server is.
    pub address: Address,
    /// Whether the connection is encrypted, and whom the server must prove to be.
    pub encryption: Encryption,
    /// How to talk to it.
    pub session: ClientConfig,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// How long a connection is kept without use. Servers close idle ones after minutes.
    pub keep: Duration,
    /// The account to look in when it is not clear whether a message arrived.
    pub mailbox: Option<ImapMailbox>,
}

impl RemoteConfig {
    /// A leg with the usual times, that keeps connections for a minute.
    pub fn new(address: Address, encryption: Encryption, session: ClientConfig) -> RemoteConfig {
        RemoteConfig {
            address,
            encryption,
            session,
            timeouts: Timeouts::default(),
            keep: Duration::from_secs(60),
            mailbox: None,
        }
    }
}

/// A leg to a server by SMTP or LMTP.
///
/// ```no_run
/// use mail_dual::proto::{ClientConfig, Dialect};
/// use mail_dual::{Encryption, Leg, RemoteConfig, RemoteLeg, TlsClient, Trust};
///
/// let tls = TlsClient::new("us.example.org", Trust::System, None)?;
/// let session = ClientConfig::new(Dialect::Lmtp, "uk.example.org");
/// let leg = RemoteLeg::new(RemoteConfig::new(
///     "192.0.2.7:24".parse()?,
///     Encryption::Implicit(tls),
///     session,
/// ));
/// for line in leg.probe()? {
///     println!("{line}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RemoteLeg {
    config: RemoteConfig,
    /// The one used last is at the end, and is used first.
    kept: Mutex<Vec<(Connection, Instant)>>,
}

impl RemoteLeg {
    /// A leg without a connection.
    pub fn new(config: RemoteConfig) -> RemoteLeg {
        RemoteLeg { config, kept: Mutex::default() }
    }

    /// What it was made of.
    pub fn config(&self) -> &RemoteConfig {
        &self.config
    }

    fn connection(&self) -> Result<Connection, Trouble> {
        while let Some((mut connection, used)) = self.pop() {
            let idle = now().saturating_duration_since(used);
            if idle > self.config.keep {
                connection.close();
            } else if connection.is_good(&self.config, idle > FRESH) {
                return Ok(connection);
            }
        }
        Connection::open(&self.config)
    }

    fn pop(&self) -> Option<(Connection, Instant)> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: Connection) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((connection, now()));
        let oldest = (kept.len() > MOST_KEPT).then(|| kept.remove(0));
        drop(kept);
        if let Some((connection, _)) = oldest {
            connection.close();
        }
    }
}

impl Leg for RemoteLeg {
    fn deliver(&self, feed: &mut dyn Feed) {
        let Some(first) = feed.next() else { return };
        match self.connection() {
            Ok(mut connection) => {
                connection.client.begin(first);
                // Whatever broke it has been reported for every message that it concerns.
                if connection.run(&self.config, feed).is_ok() {
                    self.keep(connection);
                }
            }
            Err(trouble) => {
                for recipient in 0..first.envelope.recipients().len() {
                    feed.report(&first, recipient, Outcome::Deferred(trouble.clone()));
                }
            }
        }
    }

    fn contains(&self, job: &Job, recipient: usize) -> Presence {
        if self.config.session.peer {
            let Ok(mut connection) = self.connection() else { return Presence::Unknown };
            let presence = connection.ask(&self.config, job, recipient);
            if connection.client.is_reusable() {
                self.keep(connection);
            }
            return presence;
        }
        match &self.config.mailbox {
            Some(mailbox) => mailbox.contains(job, recipient),
            None => Presence::Unknown,
        }
    }

    fn stored(&self, job: &Job, recipient: usize) -> Option<Vec<u8>> {
        self.config.mailbox.as_ref()?.stored(job, recipient)
    }

    fn probe(&self) -> Result<Vec<String>, Trouble> {
        let config = &self.config;
        let mut lines = Vec::new();
        let connection = Connection::open(config)?;
        lines.push(format!("reached {}", config.address));
        match &config.encryption {
            Encryption::None => lines.push("not encrypted".to_owned()),
            Encryption::Implicit(tls) | Encryption::StartTls(tls) => {
                lines.push(format!("encrypted, and verified as {}", tls.shown()));
            }
        }
        if let Some(credentials) = &config.session.credentials {
            lines.push(format!("logged in as {}", credentials.user()));
        }
        let offered = connection.client.capabilities();
        let words: Vec<&str> = [
            (offered.pipelining, "PIPELINING"),
            (offered.chunking, "CHUNKING"),
            (offered.eight_bit_mime, "8BITMIME"),
            (offered.smtputf8, "SMTPUTF8"),
            (offered.dsn, "DSN"),
            (offered.xdual, "XDUAL"),
        ]
        .into_iter()
        .filter_map(|(offered, word)| offered.then_some(word))
        .collect();
        lines.push(match words.is_empty() {
            true => "offers no extension".to_owned(),
            false => format!("offers {}", words.join(", ")),
        });
        connection.close();
        if let Some(mailbox) = &config.mailbox {
            lines.push(mailbox.probe()?);
        }
        Ok(lines)
    }

    fn close_idle(&self) {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        for (connection, _) in kept {
            connection.close();
        }
        if let Some(mailbox) = &self.config.mailbox {
            mailbox.close_idle();
        }
    }
}
