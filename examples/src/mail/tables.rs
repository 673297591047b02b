//! The tables of `dual-mail.toml`, which are those of `[mail]` in `network.toml`. Every key is
//! described in `examples/dual-mail.toml`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use mail_dual::{AckPolicy, Address, BouncePolicy, LegName, RetryPolicy, Route, RoutingTable};
use serde::Deserialize;

/// A span of time: a number and `s`, `m`, `h`, `d` or `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Span(crate::dates::Span);

impl Span {
    const fn seconds(seconds: u64) -> Span {
        Span(crate::dates::Span(seconds))
    }

    /// The same, as the library takes it.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0.0)
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Span, String> {
        text.parse().map(Span)
    }
}

/// All of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailTables {
    /// Our own name.
    pub hostname: String,
    /// The spool's folder.
    pub spool: PathBuf,
    /// When a message is acknowledged; the peer's copy is waited for where there is a peer.
    pub ack: Option<AckPolicy>,
    /// How long an acknowledgement waits for the peer.
    #[serde(default = "twenty_seconds")]
    pub ack_timeout: Span,
    /// When the sender is told of a failure.
    #[serde(default)]
    pub bounce: BouncePolicy,
    /// The leg for reports to senders elsewhere.
    pub reports: Option<LegName>,
    /// How long messages are kept after everybody has them.
    #[serde(default = "two_days")]
    pub keep_done: Span,
    /// The largest message, in bytes.
    #[serde(default = "largest")]
    pub largest: u64,
    /// With less room on the disk nothing is accepted, in bytes.
    #[serde(default = "reserve")]
    pub reserve: u64,
    /// When to try again.
    #[serde(default)]
    pub retry: RetryTable,
    /// Where to listen.
    #[serde(default)]
    pub listen: Vec<ListenTable>,
    /// The ways to the accounts.
    pub leg: Vec<LegTable>,
    /// Who goes where.
    pub route: Vec<Route>,
}

fn twenty_seconds() -> Span {
    Span::seconds(20)
}

fn two_days() -> Span {
    Span::seconds(2 * 86_400)
}

fn largest() -> u64 {
    64 << 20
}

fn reserve() -> u64 {
    256 << 20
}

/// When to try again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryTable {
    /// The wait after the first attempt.
    pub first: Option<Span>,
    /// The longest wait.
    pub longest: Option<Span>,
    /// The wait before a leg that is away is tried again.
    pub leg_first: Option<Span>,
    /// The longest wait for a leg.
    pub leg_longest: Option<Span>,
    /// How long to wait for an answer about a message in doubt.
    pub doubt: Option<Span>,
    /// How long to try when nobody was reached.
    pub nobody_reached: Option<Span>,
    /// How long to try when another leg has delivered.
    pub other_reached: Option<Span>,
}

impl RetryTable {
    /// The same, as the library takes it.
    pub fn policy(&self) -> RetryPolicy {
        let usual = RetryPolicy::default();
        let or = |span: Option<Span>, usual| span.map_or(usual, Span::duration);
        RetryPolicy {
            first: or(self.first, usual.first),
            longest: or(self.longest, usual.longest),
            leg_first: or(self.leg_first, usual.leg_first),
            leg_longest: or(self.leg_longest, usual.leg_longest),
            doubt: or(self.doubt, usual.doubt),
            nobody_reached: or(self.nobody_reached, usual.nobody_reached),
            other_reached: or(self.other_reached, usual.other_reached),
        }
    }
}

/// What a listener or a leg speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 2033.
    Lmtp,
    /// RFC 5321.
    Smtp,
    /// The other relay.
    Peer,
    /// A folder of this machine; of a leg only.
    Maildir,
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// It is not.
    None,
    /// From the first byte on.
    Implicit,
    /// After STARTTLS.
    Starttls,
}

/// A place to listen at.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenTable {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where.
    pub address: Address,
    /// Whether it is encrypted.
    pub tls: Option<TlsMode>,
    /// The certificate shown, in PEM with its chain.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
    /// The authorities whose clients get in, in PEM.
    pub clients: Option<PathBuf>,
    /// The addresses that may connect.
    #[serde(default)]
    pub allow: Vec<IpAddr>,
    /// How many connections at once.
    pub connections: Option<usize>,
}

/// A way to an account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegTable {
    /// What it is called.
    pub name: LegName,
    /// What is spoken there.
    pub protocol: Protocol,
    /// Where it is.
    pub address: Option<Address>,
    /// Whether the connection is encrypted.
    pub tls: Option<TlsMode>,
    /// The name that the server must prove to have.
    pub verify_name: Option<String>,
    /// The authorities to believe, in PEM.
    pub trust: Option<PathBuf>,
    /// The SHA-256 of the server's public key, instead of authorities.
    pub pin: Option<String>,
    /// What we show, in PEM with its chain.
    pub certificate: Option<PathBuf>,
    /// Its key, in PEM.
    pub key: Option<PathBuf>,
    /// Whom to log in as.
    pub user: Option<String>,
    /// The file that holds the password.
    pub password_file: Option<PathBuf>,
    /// How many connections at once.
    pub connections: Option<usize>,
    /// The Maildir, of a leg of that protocol.
    pub maildir: Option<PathBuf>,
    /// The account to look in when it is not clear whether a message arrived.
    pub mailbox: Option<MailboxTable>,
}

/// An IMAP account to look in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailboxTable {
    /// Where the server is.
    pub address: Address,
    /// Whether the connection is encrypted.
    pub tls: Option<TlsMode>,
    /// The name that the server must prove to have; the leg's, when there is none.
    pub verify_name: Option<String>,
    /// Whom to log in as.
    pub user: String,
    /// The file that holds the password.
    pub password_file: PathBuf,
    /// The folders to look in.
    pub folders: Option<Vec<String>>,
}

impl MailTables {
    /// Who goes where.
    pub fn routing(&self) -> RoutingTable {
        let peers = self.leg.iter().filter(|leg| leg.protocol == Protocol::Peer);
        RoutingTable::new(self.route.clone(), peers.map(|leg| leg.name.clone()))
    }

    /// Everything that must hold beyond the types.
    ///
    /// # Errors
    /// One sentence on what to change.
    pub(crate) fn check(&self) -> Result<(), String> {
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if self.hostname.is_empty() || !self.hostname.bytes().all(letters) {
            return Err(format!(
                "hostname {:?} is no host name; give this machine's, as uk.example.net",
                self.hostname
            ));
        }
        if !self.spool.is_absolute() {
            return Err("spool must be given from the root on, as /var/spool/dual-mail".to_owned());
        }
        let mut names = BTreeSet::new();
        for leg in &self.leg {
            if !names.insert(&leg.name) {
                return Err(format!("two legs are called {}; give each its own name", leg.name));
            }
            leg.check().map_err(|why| format!("leg {}: {why}", leg.name))?;
        }
        for route in &self.route {
            self.check_route(route)?;
        }
        if self.route.is_empty() {
            return Err("there is no [[route]]; say whose mail goes to which legs".to_owned());
        }
        if let Some(leg) = self.reports.as_ref().filter(|leg| !names.contains(leg)) {
            return Err(format!(
                "reports names leg {leg}, which there is not; add it as a [[leg]]"
            ));
        }
        let has_peer = self.leg.iter().any(|leg| leg.protocol == Protocol::Peer);
        if self.ack == Some(AckPolicy::SpooledAndPeer) && !has_peer {
            return Err("ack = \"spooled-and-peer\" needs a leg with protocol = \"peer\"; add it, or say ack = \"spooled\"".to_owned());
        }
        self.listen.iter().try_for_each(|listen| {
            listen.check().map_err(|why| format!("listen at {}: {why}", listen.address))
        })
    }

    fn check_route(&self, route: &Route) -> Result<(), String> {
        let shown = route.recipients.first().map(ToString::to_string).unwrap_or_default();
        if route.recipients.is_empty() || route.legs.is_empty() {
            return Err(
                "a [[route]] needs both recipients and legs; add what is missing".to_owned()
            );
        }
        let mut legs = Vec::new();
        for name in &route.legs {
            let Some(leg) = self.leg.iter().find(|leg| leg.name == *name) else {
                return Err(format!(
                    "the route of {shown} names leg {name}, which there is not; add it as a [[leg]]"
                ));
            };
            legs.push(leg);
        }
        for (at, one) in legs.iter().enumerate() {
            for other in &legs[..at] {
                if let Some(place) = one.same_place(other) {
                    return Err(format!(
                        "legs {} and {} of the route of {shown} both go to {place}, so one failure takes both copies; give each the address of its own server",
                        other.name, one.name
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Certificate and key come together.
fn check_pair(certificate: Option<&PathBuf>, key: Option<&PathBuf>) -> Result<(), String> {
    match (certificate, key) {
        (Some(_), None) => Err("certificate needs key, the file of its private key".to_owned()),
        (None, Some(_)) => Err("key needs certificate, the file that goes with it".to_owned()),
        _ => Ok(()),
    }
}

impl LegTable {
    fn check(&self) -> Result<(), String> {
        if self.protocol == Protocol::Maildir {
            if self.maildir.is_none() {
                return Err(
                    "protocol = \"maildir\" needs maildir, the path of the folder".to_owned()
                );
            }
            let unused = self.address.is_some() || self.tls.is_some() || self.verify_name.is_some();
            return if unused {
                Err("address, tls and verify_name are not for a maildir; leave them out".to_owned())
            } else {
                Ok(())
            };
        }
        if self.maildir.is_some() {
            return Err("maildir is for protocol = \"maildir\" only; leave it out".to_owned());
        }
        let Some(address) = &self.address else {
            return Err("it needs address, as \"192.0.2.7:24\"".to_owned());
        };
        // RFC 2033 §5.
        if self.protocol == Protocol::Lmtp && matches!(address, Address::Tcp(at) if at.port() == 25)
        {
            return Err("LMTP must not be spoken at port 25; use the port of the LMTP service, 24 as a rule".to_owned());
        }
        if self.tls.is_none() && !address.is_local() {
            return Err("say tls = \"implicit\" or \"starttls\" with verify_name, or tls = \"none\" where the way there is safe by itself".to_owned());
        }
        let encrypted = self.tls.is_some_and(|tls| tls != TlsMode::None);
        if encrypted && self.verify_name.is_none() && self.pin.is_none() {
            return Err("with tls it needs verify_name, the name that the server's certificate must have, or pin".to_owned());
        }
        if !encrypted && (self.pin.is_some() || self.trust.is_some()) {
            return Err("trust and pin mean nothing without tls; say tls = \"implicit\"".to_owned());
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Err("user and password_file go together; give both or none".to_owned());
        }
        if self.user.is_some() && !encrypted {
            return Err("a password is sent over tls only; say tls = \"implicit\"".to_owned());
        }
        check_pair(self.certificate.as_ref(), self.key.as_ref())
    }

    /// Where the other relay is, of a leg that leads to it.
    pub(crate) fn peer_address(&self) -> Option<IpAddr> {
        self.address.as_ref().filter(|_| self.protocol == Protocol::Peer)?.ip()
    }

    /// Where both go, when that is one host or folder. Different ports of one machine are
    /// different servers only in a test on loopback.
    fn same_place(&self, other: &LegTable) -> Option<String> {
        match (&self.address, &other.address) {
            (Some(Address::Tcp(one)), Some(Address::Tcp(two)))
                if one == two || (one.ip() == two.ip() && !one.ip().is_loopback()) =>
            {
                Some(one.ip().to_string())
            }
            (Some(one), Some(two)) if one == two => Some(one.to_string()),
            (None, None) if self.maildir == other.maildir => {
                self.maildir.as_ref().map(|path| path.display().to_string())
            }
            _ => None,
        }
    }
}

impl ListenTable {
    fn check(&self) -> Result<(), String> {
        if self.protocol == Protocol::Maildir {
            return Err(
                "nobody listens with a maildir; say \"lmtp\", \"smtp\" or \"peer\"".to_owned()
            );
        }
        if self.protocol == Protocol::Lmtp
            && matches!(&self.address, Address::Tcp(at) if at.port() == 25)
        {
            return Err("LMTP must not be spoken at port 25; choose another".to_owned());
        }
        let encrypted = self.tls.is_some_and(|tls| tls != TlsMode::None);
        if encrypted && self.certificate.is_none() {
            return Err("with tls it needs certificate and key".to_owned());
        }
        if !encrypted && (self.certificate.is_some() || self.clients.is_some()) {
            return Err("certificate and clients mean nothing without tls; say tls = \"implicit\""
                .to_owned());
        }
        let open = !self.address.is_local() && self.allow.is_empty() && self.clients.is_none();
        if self.protocol == Protocol::Peer && open {
            return Err("whoever reaches a peer port hands over mail unseen; say allow, the other relay's address, or clients, the authority of its certificate".to_owned());
        }
        check_pair(self.certificate.as_ref(), self.key.as_ref())
    }
}
