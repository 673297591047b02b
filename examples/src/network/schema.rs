//! The keys of `network.toml`. An unknown key is refused.

use std::net::SocketAddr;
use std::path::PathBuf;

use dns_failover::SiteId;
use serde::Deserialize;

use super::keys::KeyTable;
use super::mail::MailTable;
use super::sites::{HostTable, MirrorTable, SiteTable};
use super::status::StatusTable;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Network {
    /// The two servers.
    pub(super) servers: Servers,
    /// What all zones have in common.
    pub(super) dns: Dns,
    /// The six name servers.
    pub(super) name_servers: Vec<NameServer>,
    /// The customers' domains.
    #[serde(default)]
    pub(super) domains: Vec<Domain>,
    /// Who looks, and how it is decided.
    pub(super) failover: Option<crate::failover::config::Failover>,
    /// How the servers reach one another.
    pub(super) mirror: Option<MirrorTable>,
    /// The web sites.
    #[serde(default)]
    pub(super) sites: Vec<SiteTable>,
    /// The relays of both servers.
    #[serde(default)]
    pub(super) mail: MailTable,
    /// Who may log in where.
    #[serde(default)]
    pub(super) keys: Vec<KeyTable>,
    /// What visitors are told.
    pub(super) status_page: Option<StatusTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Servers {
    pub(super) uk: Option<Server>,
    pub(super) us: Option<Server>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Server {
    /// Where its web server answers.
    pub(super) web: Vec<String>,
    /// The name of its mail server.
    pub(super) mail_host: String,
    /// Where it receives mail and sends it from.
    pub(super) mail: Vec<String>,
    /// What its mail server signs with.
    #[serde(default)]
    pub(super) dkim: Vec<Dkim>,
    /// Its SSH host keys: ALGORITHM TYPE FINGERPRINT, as `ssh-keygen -r` prints them.
    #[serde(default)]
    pub(super) sshfp: Vec<String>,
    /// Its certificates.
    #[serde(default)]
    pub(super) tlsa: Vec<Tlsa>,
    /// The folder that its sites are in.
    pub(super) www: Option<PathBuf>,
    /// How it is reached over SSH.
    pub(super) ssh: Option<String>,
    /// Which host keys are right.
    #[serde(default)]
    pub(super) host_keys: Vec<String>,
    /// What starts the agent there.
    pub(super) agent: Option<String>,
}

impl Server {
    /// What concerns mirroring.
    pub(super) fn host(&mut self) -> HostTable {
        HostTable {
            www: self.www.take(),
            ssh: self.ssh.take(),
            host_keys: std::mem::take(&mut self.host_keys),
            agent: self.agent.take(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dkim {
    /// The label before `_domainkey`.
    pub(super) selector: String,
    /// The record's text.
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tlsa {
    /// `_443._tcp`.
    pub(super) service: String,
    /// USAGE SELECTOR MATCHING DATA.
    pub(super) record: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Dns {
    /// Who is responsible, as a mailbox.
    pub(super) hostmaster: String,
    /// The name of the catalog zone.
    pub(super) catalog: String,
    pub(super) refresh: Option<u32>,
    pub(super) retry: Option<u32>,
    pub(super) expire: Option<u32>,
    pub(super) minimum: Option<u32>,
    pub(super) ttl: Option<u32>,
    pub(super) ns_ttl: Option<u32>,
    pub(super) mx_ttl: Option<u32>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Software {
    Bind,
    Knot,
    Nsd,
    Powerdns,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Feed {
    #[default]
    Update,
    Transfer,
    Files,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NameServer {
    /// What NS records call it.
    pub(super) name: String,
    /// Where resolvers find it.
    pub(super) addresses: Vec<String>,
    /// A word for where it stands.
    pub(super) location: String,
    /// The number of its network.
    pub(super) asn: Option<u32>,
    /// Whether the registry has its addresses.
    pub(super) glue: Option<bool>,
    pub(super) software: Software,
    /// How zones get there.
    #[serde(default)]
    pub(super) feed: Feed,
    /// For `feed = "transfer"`: from whom.
    #[serde(default)]
    pub(super) from: Vec<String>,
    /// For `feed = "files"`: what has it read them anew.
    #[serde(default)]
    pub(super) reload: Vec<String>,
    /// Where it listens.
    pub(super) listen: Option<Vec<SocketAddr>>,
    /// Where we reach it.
    pub(super) reach: Option<SocketAddr>,
    /// Its folder on its own disk.
    pub(super) folder: Option<PathBuf>,
    /// Who it runs as.
    pub(super) user: Option<String>,
    /// The file with its key.
    pub(super) key: PathBuf,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Site {
    Uk,
    Us,
}

impl Site {
    pub(super) fn id(self) -> SiteId {
        match self {
            Site::Uk => SiteId::Uk,
            Site::Us => SiteId::Us,
        }
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mail {
    #[default]
    Dual,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Domain {
    pub(super) name: String,
    /// Where it points as long as all is well.
    pub(super) primary: Site,
    /// The names whose addresses fail over.
    pub(super) managed: Option<Vec<String>>,
    /// Their time to live.
    pub(super) ttl: Option<u32>,
    #[serde(default)]
    pub(super) mail: Mail,
    /// More words for the SPF record.
    #[serde(default)]
    pub(super) spf: Vec<String>,
    /// The DMARC record.
    pub(super) dmarc: Option<String>,
    /// FLAGS TAG VALUE of each CAA record.
    #[serde(default)]
    pub(super) caa: Vec<String>,
    /// Records of the customer's own, as in a zone file.
    #[serde(default)]
    pub(super) records: String,
}
