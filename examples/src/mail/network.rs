//! From the tables to legs and listeners.

use std::path::Path;
use std::sync::Arc;

use mail_dual::proto::{ClientConfig, Credentials, Dialect, ServerConfig};
use mail_dual::{
    Encryption, Identity, ImapConfig, ImapMailbox, Leg, LegSetting, ListenError, Listener,
    ListenerConfig, MaildirLeg, Offered, Port, RemoteConfig, RemoteLeg, TlsClient, TlsServer,
    Trust,
};

use super::Failure;
use super::tables::{LegTable, ListenTable, MailboxTable, Protocol, TlsMode};
use crate::capped;

/// How many connections a leg gets when nothing is said.
const CONNECTIONS: usize = 4;

/// A leg as its table says.
///
/// # Errors
///
/// One sentence on what to change.
pub fn leg(table: &LegTable, hostname: &str) -> Result<LegSetting, Failure> {
    let built = build(table, hostname)
        .map_err(|why| Failure::usage(format!("leg {}: {why}", table.name)))?;
    Ok(LegSetting {
        name: table.name.clone(),
        leg: built,
        connections: table.connections.unwrap_or(CONNECTIONS).clamp(1, 256),
    })
}

fn build(table: &LegTable, hostname: &str) -> Result<Arc<dyn Leg>, String> {
    if let Some(path) = &table.maildir {
        let leg = MaildirLeg::new(path).map_err(|error| error.to_string())?;
        return Ok(Arc::new(leg.create(true)));
    }
    Ok(Arc::new(RemoteLeg::new(remote(table, hostname)?)))
}

fn remote(table: &LegTable, hostname: &str) -> Result<RemoteConfig, String> {
    let address = table.address.clone().ok_or("it needs address")?;
    let dialect = match table.protocol {
        Protocol::Smtp => Dialect::Smtp,
        _ => Dialect::Lmtp,
    };
    let mut session = ClientConfig::new(dialect, hostname);
    session.peer = table.protocol == Protocol::Peer;
    session.starttls = table.tls == Some(TlsMode::Starttls);
    if let (Some(user), Some(file)) = (&table.user, &table.password_file) {
        session.credentials = Some(Credentials::new(user, password(file)?));
    }
    let identity = identity(table.certificate.as_deref(), table.key.as_deref())?;
    let tls = table.tls.unwrap_or(TlsMode::None);
    let encryption = encryption(tls, table, table.verify_name.as_deref(), identity)?;
    let mut config = RemoteConfig::new(address, encryption, session);
    if let Some(mailbox) = &table.mailbox {
        config.mailbox = Some(self::mailbox(mailbox, table)?);
    }
    Ok(config)
}

fn mailbox(table: &MailboxTable, leg: &LegTable) -> Result<ImapMailbox, String> {
    let name = table.verify_name.as_deref().or(leg.verify_name.as_deref());
    let tls = match table.tls {
        Some(tls) => tls,
        None if table.address.is_local() => TlsMode::None,
        None => TlsMode::Implicit,
    };
    let encryption = encryption(tls, leg, name, None)?;
    let credentials = Credentials::new(&table.user, password(&table.password_file)?);
    let mut config = ImapConfig::new(table.address.clone(), encryption, credentials);
    if let Some(folders) = &table.folders {
        config.folders.clone_from(folders);
    }
    Ok(ImapMailbox::new(config))
}

fn encryption(
    tls: TlsMode,
    table: &LegTable,
    name: Option<&str>,
    identity: Option<Identity>,
) -> Result<Encryption, String> {
    if tls == TlsMode::None {
        return Ok(Encryption::None);
    }
    let trust = match (&table.pin, &table.trust) {
        (Some(pin), _) => Trust::pin(pin).map_err(|error| error.to_string())?,
        (None, Some(file)) => Trust::File(file.clone()),
        (None, None) => Trust::System,
    };
    // A pin knows the server by its key; whatever name it is asked for will do.
    let name = name.unwrap_or("localhost");
    let client = TlsClient::new(name, trust, identity).map_err(|error| error.to_string())?;
    Ok(match tls {
        TlsMode::Starttls => Encryption::StartTls(client),
        _ => Encryption::Implicit(client),
    })
}

fn identity(certificate: Option<&Path>, key: Option<&Path>) -> Result<Option<Identity>, String> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Identity::from_files(certificate, key).map(Some).map_err(|error| error.to_string())
        }
        _ => Ok(None),
    }
}

/// The first line of a file.
fn password(file: &Path) -> Result<String, String> {
    let text = capped::text(file, capped::CONFIGURATION)
        .map_err(|error| format!("cannot read the password in {}: {error}", file.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("the first line of {} must be the password", file.display())),
    }
}

/// A listener as its table says, bound and not served yet.
///
/// # Errors
///
/// One sentence on what to change.
pub fn listener(table: &ListenTable, hostname: &str, largest: u64) -> Result<Listener, Failure> {
    let place = |why: String| Failure::usage(format!("listen at {}: {why}", table.address));
    let (dialect, port) = match table.protocol {
        Protocol::Smtp => (Dialect::Smtp, Port::Fanout),
        Protocol::Peer => (Dialect::Lmtp, Port::Peer),
        Protocol::Lmtp | Protocol::Maildir => (Dialect::Lmtp, Port::Fanout),
    };
    let mut session = ServerConfig::new(dialect, hostname, port);
    session.limits.message = usize::try_from(largest).unwrap_or(usize::MAX);
    session.require_tls = table.tls == Some(TlsMode::Starttls);
    let mut config = ListenerConfig::new(table.address.clone(), session);
    config.allow.clone_from(&table.allow);
    if let Some(connections) = table.connections {
        config.connections = connections.clamp(1, 10_000);
    }
    let tls = table.tls.unwrap_or(TlsMode::None);
    if tls != TlsMode::None {
        let identity = identity(table.certificate.as_deref(), table.key.as_deref());
        let identity = identity.map_err(place)?;
        let identity = identity.ok_or_else(|| place("it needs certificate and key".to_owned()))?;
        let server = TlsServer::new(identity, table.clients.as_deref())
            .map_err(|error| place(error.to_string()))?;
        config.tls = match tls {
            TlsMode::Starttls => Offered::StartTls(server),
            _ => Offered::Implicit(server),
        };
    }
    Listener::bind(config).map_err(|error: ListenError| Failure::failed(error))
}
