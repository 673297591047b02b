//! `network.toml`: what there is, in one file that all programs read. `examples/network.toml` shows
//! every key.
//!
//! Everything that is wrong is told at once, each with the line of the file.

mod keys;
mod lines;
mod mail;
mod observers;
mod schema;
mod sites;
mod status;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use dns_failover::{
    Addresses, Authority, Dkim, Domain, Draft, DraftPlace, DraftSection, Feed, Mail, Name,
    NameServer, RRset, Rdata, Record, Reload, Site, SiteId, Software, Tlsa, Topology, TsigKey, Ttl,
    ZoneReader,
};

use crate::capped;
use crate::failover::config::Failover;
use crate::mail::MailTables;
pub use keys::LoginKey;
use lines::{At, Lines};
pub use sites::{EPOCHS, Host, Sites, WebSite};
pub use status::StatusPages;

/// A configuration beyond this is none.
const MAX_FILE: u64 = 256 << 20;

/// What a `network.toml` says.
#[derive(Debug)]
pub struct Network {
    /// Sites, name servers and domains.
    pub topology: Topology,
    /// Who looks, and how it is decided where domains point; none where that is done by hand.
    pub failover: Option<Failover>,
    /// The web sites; none where nothing is mirrored.
    pub sites: Option<Sites>,
    /// The relays.
    pub mail: BTreeMap<SiteId, MailTables>,
    /// Who may log in where.
    pub keys: Vec<LoginKey>,
    /// What visitors are told.
    pub status: Option<StatusPages>,
    /// On which line each domain begins.
    pub domain_lines: BTreeMap<Name, usize>,
}

/// Everything that is wrong with a `network.toml`.
#[derive(Debug)]
pub struct BadNetwork {
    file: PathBuf,
    /// By line, counted from 1; 0 is the file as a whole.
    problems: Vec<(usize, String)>,
}

impl std::error::Error for BadNetwork {}

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (line, what)) in self.problems.iter().enumerate() {
            let separator = if place == 0 { "" } else { "\n" };
            match line {
                0 => write!(f, "{separator}{}: {what}", self.file.display())?,
                line => write!(f, "{separator}{}:{line}: {what}", self.file.display())?,
            }
        }
        Ok(())
    }
}

impl Network {
    /// Reads a file. Paths in it are relative to its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(file: &Path) -> Result<Network, BadNetwork> {
        Network::parse(&Network::text(file)?, file)
    }

    fn text(file: &Path) -> Result<String, BadNetwork> {
        let whole = |what: String| BadNetwork { file: file.to_owned(), problems: vec![(0, what)] };
        capped::text(file, MAX_FILE).map_err(|error| whole(error.to_string()))
    }

    /// Reads a file as [`load`](Network::load) does, but not the keys that change name servers: for those who
    /// only look, as an observer on somebody else's machine, where such keys have no business. The topology
    /// is not fit for talking to name servers then.
    ///
    /// # Errors
    /// Everything else that is wrong with it.
    pub fn load_without_keys(file: &Path) -> Result<Network, BadNetwork> {
        Network::read(&Network::text(file)?, file, false)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file: &Path) -> Result<Network, BadNetwork> {
        Network::read(text, file, true)
    }

    fn read(text: &str, file: &Path, with_keys: bool) -> Result<Network, BadNetwork> {
        let bad = |problems| BadNetwork { file: file.to_owned(), problems };
        let lines = Lines::new(text);
        let mut schema: schema::Network = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| lines.line(span.start));
            bad(vec![(line, error.message().to_owned())])
        })?;
        let folder = file.parent().unwrap_or(Path::new("."));
        let failover = schema.failover.take();
        let (mirror, tables) = (schema.mirror.take(), std::mem::take(&mut schema.sites));
        let hosts = [
            (SiteId::Uk, schema.servers.uk.as_mut().map(schema::Server::host).unwrap_or_default()),
            (SiteId::Us, schema.servers.us.as_mut().map(schema::Server::host).unwrap_or_default()),
        ];
        let (mail, status) = (std::mem::take(&mut schema.mail), schema.status_page.take());
        let keys = std::mem::take(&mut schema.keys);
        let mut reader = Reader { folder, lines: &lines, problems: Vec::new(), with_keys };
        let draft = reader.draft(schema);
        if let Some(failover) = &failover {
            reader.failover(failover, &draft);
        }
        let sites = reader.sites(mirror, tables, hosts, &draft);
        let mail = reader.mail(mail, &draft);
        let keys = reader.login_keys(keys);
        let status = status.map(|table| reader.status(table, &draft));
        let places = draft.domains.iter().enumerate();
        let line = |index| lines.at(&[At::Key("domains"), At::Index(index)], Some("name"));
        let domain_lines =
            places.map(|(index, domain)| (domain.name.clone(), line(index))).collect();
        let mut problems = reader.problems;
        match Topology::new(draft) {
            Ok(topology) if problems.is_empty() => {
                Ok(Network { topology, failover, sites, mail, keys, status, domain_lines })
            }
            Ok(_) => {
                problems.sort();
                Err(bad(problems))
            }
            Err(faults) => {
                for fault in faults {
                    let line = line_of(&lines, fault.place);
                    // What could not even be read is missing for a reason already told.
                    if !problems.iter().any(|(told, _)| *told == line) {
                        problems.push((line, fault.rule.to_string()));
                    }
                }
                problems.sort();
                Err(bad(problems))
            }
        }
    }
}

fn line_of(lines: &Lines<'_>, place: DraftPlace) -> usize {
    let DraftPlace { section, index, field } = place;
    match (section, index) {
        (DraftSection::Sites, Some(index)) => {
            let id = SiteId::ALL.get(index).map_or("uk", |id| id.as_str());
            lines.at(&[At::Key("servers"), At::Key(id)], field)
        }
        (DraftSection::Sites, None) => lines.at(&[At::Key("servers")], None),
        (DraftSection::Authority, _) => lines.at(&[At::Key("dns")], field),
        (DraftSection::NameServers, Some(index)) => {
            lines.at(&[At::Key("name-servers"), At::Index(index)], field)
        }
        (DraftSection::NameServers, None) => lines.at(&[At::Key("name-servers")], None),
        (DraftSection::Domains, Some(index)) => {
            lines.at(&[At::Key("domains"), At::Index(index)], field)
        }
        (DraftSection::Domains, None) => lines.at(&[At::Key("domains")], None),
    }
}

/// Turns what is written into a draft, and notes what cannot be turned.
struct Reader<'a> {
    folder: &'a Path,
    lines: &'a Lines<'a>,
    problems: Vec<(usize, String)>,
    /// Whether the keys of name servers are read.
    with_keys: bool,
}

impl Reader<'_> {
    fn problem(&mut self, at: &[At<'_>], field: &str, what: impl fmt::Display) {
        self.problems.push((self.lines.at(at, Some(field)), what.to_string()));
    }

    fn name(&mut self, at: &[At<'_>], field: &str, text: &str) -> Name {
        self.try_name(at, field, text).unwrap_or_else(Name::root)
    }

    fn try_name(&mut self, at: &[At<'_>], field: &str, text: &str) -> Option<Name> {
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                self.problem(at, field, format_args!("{text:?} is no name: {error}"));
                None
            }
        }
    }

    fn addresses(&mut self, at: &[At<'_>], field: &str, texts: &[String]) -> Addresses {
        let mut addresses = Vec::with_capacity(texts.len());
        for text in texts {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.problem(at, field, format_args!("{text:?} is no IP address")),
            }
        }
        addresses.into_iter().collect()
    }

    fn rdata(&mut self, at: &[At<'_>], field: &str, rtype: &str, text: &str) -> Option<Rdata> {
        // One line of a zone file, and not a second one in disguise.
        let line = format!("x. 3600 IN {rtype} {text}");
        match line.parse::<Record>() {
            Ok(record) if !text.contains('\n') => Some(record.rdata),
            Ok(_) => {
                self.problem(at, field, format_args!("{text:?} goes over more than one line"));
                None
            }
            Err(error) => {
                self.problem(at, field, format_args!("{text:?} is no {rtype} record: {error}"));
                None
            }
        }
    }

    fn draft(&mut self, schema: schema::Network) -> Draft {
        let schema::Network { servers, dns, name_servers, domains, .. } = schema;
        let mut sites = Vec::new();
        for (id, server) in [(SiteId::Uk, servers.uk), (SiteId::Us, servers.us)] {
            sites.extend(server.map(|server| self.site(id, server)));
        }
        let authority = self.authority(dns);
        let name_servers = name_servers.into_iter().enumerate();
        let name_servers = name_servers.map(|(index, server)| self.name_server(index, server));
        let name_servers = name_servers.collect();
        let domains = domains.into_iter().enumerate();
        let domains = domains.map(|(index, domain)| self.domain(index, domain, &authority));
        let domains = domains.flatten().collect();
        Draft { sites, authority, name_servers, domains }
    }

    fn site(&mut self, id: SiteId, server: schema::Server) -> Site {
        let at = [At::Key("servers"), At::Key(id.as_str())];
        let mut dkim = Vec::new();
        for key in server.dkim {
            let selector = self.name(&at, "dkim", &key.selector);
            dkim.push(Dkim { selector, text: key.text.into_bytes() });
        }
        let sshfp = server.sshfp.iter().filter_map(|text| self.rdata(&at, "sshfp", "SSHFP", text));
        let sshfp = sshfp.collect();
        let mut tlsa = Vec::new();
        for record in server.tlsa {
            let service = self.name(&at, "tlsa", &record.service);
            let rdata = self.rdata(&at, "tlsa", "TLSA", &record.record);
            tlsa.extend(rdata.map(|rdata| Tlsa { service, rdata }));
        }
        Site {
            id,
            web: self.addresses(&at, "web", &server.web),
            mail_host: self.name(&at, "mail-host", &server.mail_host),
            mail: self.addresses(&at, "mail", &server.mail),
            dkim,
            sshfp,
            tlsa,
        }
    }

    fn authority(&mut self, dns: schema::Dns) -> Authority {
        let at = [At::Key("dns")];
        // The part before the @ is one label, dots and all (RFC 1035 section 8).
        let hostmaster = match dns.hostmaster.split_once('@') {
            Some((user, host)) => {
                let host = self.name(&at, "hostmaster", host);
                host.child(user).unwrap_or_else(|error| {
                    let text = &dns.hostmaster;
                    self.problem(
                        &at,
                        "hostmaster",
                        format_args!("{text:?} is no mailbox: {error}"),
                    );
                    host
                })
            }
            None => {
                let text = &dns.hostmaster;
                self.problem(
                    &at,
                    "hostmaster",
                    format_args!("{text:?} is no mailbox, it has no @"),
                );
                Name::root()
            }
        };
        let catalog = self.name(&at, "catalog", &dns.catalog);
        let standard = Authority::new(hostmaster, catalog);
        Authority {
            refresh: dns.refresh.unwrap_or(standard.refresh),
            retry: dns.retry.unwrap_or(standard.retry),
            expire: dns.expire.unwrap_or(standard.expire),
            minimum: dns.minimum.unwrap_or(standard.minimum),
            ttl: dns.ttl.unwrap_or(standard.ttl),
            ns_ttl: dns.ns_ttl.unwrap_or(standard.ns_ttl),
            mx_ttl: dns.mx_ttl.unwrap_or(standard.mx_ttl),
            ..standard
        }
    }

    fn name_server(&mut self, index: usize, server: schema::NameServer) -> NameServer {
        let at = [At::Key("name-servers"), At::Index(index)];
        let name = self.name(&at, "name", &server.name);
        let addresses = self.addresses(&at, "addresses", &server.addresses);
        let software = match server.software {
            schema::Software::Bind => Software::Bind,
            schema::Software::Knot => Software::Knot,
            schema::Software::Nsd => Software::Nsd,
            schema::Software::Powerdns => Software::PowerDns,
        };
        let key = self.key(&at, &server.key);
        let from = server.from.iter().map(|from| self.name(&at, "from", from)).collect();
        let feed = match server.feed {
            schema::Feed::Update => Feed::Update,
            schema::Feed::Transfer => Feed::Transfer { from },
            schema::Feed::Files => Feed::Files { reload: Reload { command: server.reload } },
        };
        let standard = NameServer::new(name, addresses, software, key);
        NameServer {
            location: server.location,
            asn: server.asn,
            glue: server.glue.unwrap_or(true),
            feed,
            listen: server.listen.unwrap_or(standard.listen),
            reach: server.reach.unwrap_or(standard.reach),
            folder: server.folder.unwrap_or(standard.folder),
            user: server.user,
            ..standard
        }
    }

    /// The key in a file. What stands in for one that cannot be read is never used, because then the
    /// configuration is not either, or is one to look at.
    fn key(&mut self, at: &[At<'_>], file: &Path) -> TsigKey {
        let none = || {
            let algorithm = dns_failover::TsigAlgorithm::HmacSha256;
            let name = "unread.invalid.".parse().expect("a name");
            TsigKey::new(name, algorithm, vec![0; 32]).expect("32 octets are enough")
        };
        if !self.with_keys {
            return none();
        }
        let path = self.folder.join(file);
        let content = read_secret(&path).and_then(|content| {
            TsigKey::from_file_content(&content).map_err(|error| error.to_string())
        });
        content.unwrap_or_else(|why| {
            self.problem(at, "key", format_args!("{}: {why}", path.display()));
            none()
        })
    }

    fn domain(
        &mut self,
        index: usize,
        domain: schema::Domain,
        authority: &Authority,
    ) -> Option<Domain> {
        let at = [At::Key("domains"), At::Index(index)];
        let name = self.try_name(&at, "name", &domain.name)?;
        let mut built = match Domain::new(name.clone(), domain.primary.id()) {
            Ok(built) => built,
            Err(error) => {
                self.problem(&at, "name", error);
                return None;
            }
        };
        if let Some(managed) = domain.managed {
            built.managed.clear();
            for text in managed {
                match Name::from_text(text.as_bytes(), Some(&name)) {
                    Ok(name) => built.managed.push(name),
                    Err(error) => {
                        self.problem(&at, "managed", format_args!("{text:?} is no name: {error}"));
                    }
                }
            }
        }
        built.ttl = domain.ttl.unwrap_or(built.ttl);
        built.mail = match domain.mail {
            schema::Mail::Dual => Mail::Dual { spf: domain.spf, dmarc: domain.dmarc },
            schema::Mail::None => Mail::None,
        };
        let caa = domain.caa.iter().filter_map(|text| self.rdata(&at, "caa", "CAA", text));
        built.caa = caa.collect();
        built.extra = self.records(&at, &domain.records, &name, authority);
        Some(built)
    }

    /// Records as in a zone file, relative to the domain.
    fn records(
        &mut self,
        at: &[At<'_>],
        text: &str,
        origin: &Name,
        authority: &Authority,
    ) -> Vec<RRset> {
        if text.is_empty() {
            return Vec::new();
        }
        let first = self.lines.first_line_of_value(at, "records");
        let ttl = Ttl::saturating(authority.ttl).seconds();
        let whole = format!("$TTL {ttl}\n{text}\n");
        let reading = ZoneReader::new().origin(origin).read(whole.as_bytes());
        for finding in reading.diagnostics.iter().filter(|finding| finding.is_error()) {
            let within = finding.place.as_ref().map_or(0, |place| place.line as usize);
            self.problems.push((first + within.saturating_sub(2), finding.message.clone()));
        }
        reading.zone.iter().cloned().collect()
    }
}

/// A file that nobody else may read.
fn read_secret(path: &Path) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mode = file.metadata().map_err(|error| error.to_string())?.mode();
    if mode & 0o077 != 0 {
        let mode = mode & 0o7777;
        return Err(format!("others may read this secret (mode {mode:04o}); chmod 600 it"));
    }
    let mut content = Vec::with_capacity(512);
    file.take(1 << 16).read_to_end(&mut content).map_err(|error| error.to_string())?;
    Ok(content)
}
