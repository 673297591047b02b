//! The domains, their six name servers, and questions that anybody could ask them.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use dns_failover::hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use dns_failover::hickory_proto::rr::{self, RData};
use dns_failover::testing::{Behaviour, Loopback, MemoryNetwork, MemoryServer, draft};
use dns_failover::{
    Domain, Name, Patience, Plan, PlanGuards, Publisher, RRset, Rdata, Record, SiteId, Tcp,
    Topology, Ttl,
};

use super::{HILL, LAKE, Trouble, ground};

/// How many servers there are.
pub(super) const SERVERS: usize = dns_failover::NAME_SERVERS;

/// How long anybody but a publisher waits for an answer.
const WAIT: Duration = Duration::from_millis(500);

/// A server that is gone does not say so; so long publishers wait for it, each time.
pub(super) const NETWORK: Tcp = Tcp { timeout: Duration::from_millis(150) };
/// The controller tries again by itself.
pub(super) const PATIENCE: Patience =
    Patience { rounds: 1, settle: Duration::from_secs(2), pause: Duration::from_millis(100) };

/// The six servers at work, and what they are to serve.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) topology: Topology,
    servers: Loopback,
}

impl Names {
    /// Starts six servers with the zones as they were when their disks were written: without what is
    /// new in the topology.
    pub(super) fn start(now: u64) -> Result<Names, Trouble> {
        for _ in 0..20 {
            let reach = ground::addresses::<SERVERS>()?;
            let older = topology(reach, false)?;
            // Somebody may have taken a port since it was looked at.
            match Loopback::serve(MemoryNetwork::serving(&older, now)) {
                Ok(servers) => return Ok(Names { topology: topology(reach, true)?, servers }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(Trouble::new(format!("cannot serve names: {error}"))),
            }
        }
        Err(Trouble::new("there are no ports for the name servers"))
    }

    /// Brings to all six what is new.
    pub(super) fn publish_all(&self) -> Result<(), Trouble> {
        let patience = Patience { rounds: 5, ..PATIENCE };
        let publisher = Publisher::new(&self.topology, &NETWORK, SiteId::Us, patience);
        let zones = self.topology.domains().keys().cloned();
        let plan = Plan::everything(&self.topology, &publisher.current(zones), &|_| None);
        let plan = plan.approve(&PlanGuards::default());
        let report = publisher.publish(&plan.map_err(|why| Trouble::new(why.to_string()))?);
        match report.is_done() {
            true => Ok(()),
            false => Err(Trouble::new(format!("publishing: {}", report.to_string().trim_end()))),
        }
    }

    /// What a server is called.
    pub(super) fn name(&self, server: usize) -> String {
        self.topology.name_servers()[server].name.to_string().trim_end_matches('.').to_owned()
    }

    /// Where it is reached.
    pub(super) fn address(&self, server: usize) -> SocketAddr {
        self.topology.name_servers()[server].reach
    }

    /// Where one is reached that stands at no site.
    pub(super) fn elsewhere(&self) -> SocketAddr {
        let at_a_site =
            |server| SiteId::ALL.iter().any(|site| self.at(*site).any(|at| at == server));
        let server = (0..SERVERS).rev().find(|server| !at_a_site(*server));
        self.address(server.unwrap_or_default())
    }

    /// Those that stand at a site.
    pub(super) fn at(&self, site: SiteId) -> impl Iterator<Item = usize> {
        let stands =
            move |server: &usize| self.topology.name_servers()[*server].location == site.as_str();
        (0..SERVERS).filter(stands)
    }

    /// Those that do not.
    pub(super) fn surviving(&self, site: SiteId) -> Vec<usize> {
        let lost: Vec<usize> = self.at(site).collect();
        (0..SERVERS).filter(|server| !lost.contains(server)).collect()
    }

    /// Those at a site fall silent, as machines do that are no more.
    pub(super) fn silence(&self, site: SiteId) {
        for server in self.at(site) {
            self.servers.network().server(server).behaviour = Behaviour::Down;
        }
    }

    /// Those at a site come back: with the zones that they had, or on new disks with what the others
    /// serve, as rendered there.
    pub(super) fn wake(&self, site: SiteId, disks_are_new: bool) {
        let network = self.servers.network();
        let zones = self.surviving(site).first().map(|&server| {
            let server = network.server(server);
            server.names().iter().filter_map(|name| server.zone(name).cloned()).collect::<Vec<_>>()
        });
        for index in self.at(site) {
            let mut server = network.server(index);
            if disks_are_new {
                *server = MemoryServer::new(self.topology.name_servers()[index].key.clone());
                zones.iter().flatten().for_each(|zone| server.put(zone.clone()));
            }
            server.behaviour = Behaviour::Well;
        }
    }

    /// Asks every one of these servers for a domain's serial and addresses over UDP and TCP; what each
    /// answers, or a sentence.
    pub(super) fn survey(
        &self,
        servers: &[usize],
        domain: &str,
    ) -> Result<BTreeMap<(usize, &'static str), Said>, Trouble> {
        let mut all = BTreeMap::new();
        for &server in servers {
            let at = self.address(server);
            for (by, ask) in [("UDP", ask_udp as Ask), ("TCP", ask_tcp as Ask)] {
                let said = say(ask, at, domain).map_err(|why| {
                    let name = self.name(server);
                    Trouble::new(format!("{name} does not answer for {domain} over {by}: {why}"))
                })?;
                all.insert((server, by), said);
            }
        }
        Ok(all)
    }

    /// That these servers all say the same over UDP and TCP, and send visitors of a domain to a site.
    pub(super) fn check(
        &self,
        servers: &[usize],
        domain: &str,
        site: SiteId,
    ) -> Result<(), Trouble> {
        let all = self.survey(servers, domain)?;
        let first = all.values().next().cloned();
        for ((server, by), said) in &all {
            let (name, wanted) = (self.name(*server), self.web(site));
            if said.addresses != [wanted] {
                let found: Vec<String> = said.addresses.iter().map(ToString::to_string).collect();
                let found = found.join(" and ");
                return Err(Trouble::new(format!(
                    "{name} sends visitors of {domain} to {found} over {by}, not to {site} at {wanted}"
                )));
            }
            if Some(said) != first.as_ref() {
                let serial = said.serial;
                return Err(Trouble::new(format!(
                    "{name} serves another {domain} over {by} than the rest: serial {serial}"
                )));
            }
        }
        Ok(())
    }

    /// A site's address in the zones.
    pub(super) fn web(&self, site: SiteId) -> Ipv4Addr {
        let v4 = self.topology.site(site).web.v4().first().copied();
        v4.unwrap_or(Ipv4Addr::UNSPECIFIED)
    }

    /// Where visitors of a name are sent by one server: the site, as one question over UDP tells.
    pub(super) fn resolve(&self, server: usize, host: &str) -> Option<SiteId> {
        let said = ask_udp(self.address(server), host, rr::RecordType::A).ok()?;
        let address = addresses(&said).into_iter().next()?;
        SiteId::ALL.into_iter().find(|site| self.web(*site) == address)
    }
}

fn topology(reach: [SocketAddr; SERVERS], whole: bool) -> Result<Topology, Trouble> {
    let wrong = |why: String| Trouble::new(format!("the drill's own zones are wrong: {why}"));
    let mut draft = draft(0);
    for (server, reach) in draft.name_servers.iter_mut().zip(reach) {
        server.reach = reach;
    }
    for (name, primary) in [(HILL, SiteId::Uk), (LAKE, SiteId::Us)] {
        let name: Name = name.parse().map_err(|error| wrong(format!("{error}")))?;
        let label = name.child("_drill").map_err(|error| wrong(error.to_string()))?;
        let mut domain = Domain::new(name, primary).map_err(|error| wrong(error.to_string()))?;
        if whole {
            let text = Rdata::txt("published by UPDATE, signed with TSIG");
            let text = text.map_err(|error| wrong(error.to_string()))?;
            domain.extra.push(RRset::of(Record::new(label, Ttl::HOUR, text)));
        }
        draft.domains.push(domain);
    }
    Topology::new(draft)
        .map_err(|faults| wrong(faults.first().map_or_else(String::new, ToString::to_string)))
}

/// What a server says of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    serial: u32,
    addresses: Vec<Ipv4Addr>,
}

type Ask = fn(SocketAddr, &str, rr::RecordType) -> io::Result<Message>;

fn say(ask: Ask, at: SocketAddr, domain: &str) -> io::Result<Said> {
    let soa = ask(at, domain, rr::RecordType::SOA)?;
    let serial = soa.answers.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    });
    let serial = serial.ok_or_else(|| io::Error::other("it has no such zone"))?;
    let found = ask(at, &format!("www.{domain}"), rr::RecordType::A)?;
    Ok(Said { serial, addresses: addresses(&found) })
}

fn addresses(message: &Message) -> Vec<Ipv4Addr> {
    let address = |record: &rr::Record| match record.data.ip_addr() {
        Some(IpAddr::V4(address)) => Some(address),
        _ => None,
    };
    message.answers.iter().filter_map(address).collect()
}

/// A question as any resolver asks it: unsigned, and with another's code.
fn question(name: &str, rtype: rr::RecordType) -> io::Result<(u16, Vec<u8>)> {
    let id = getrandom::u32().map_err(io::Error::other)? as u16;
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    let name = rr::Name::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
    message.add_query(Query::query(name, rtype));
    Ok((id, message.to_vec().map_err(io::Error::other)?))
}

fn answer(id: u16, octets: &[u8]) -> io::Result<Message> {
    let message = Message::from_vec(octets).map_err(io::Error::other)?;
    let meta = &message.metadata;
    if meta.id != id || meta.message_type != MessageType::Response {
        return Err(io::Error::other("that is no answer to what was asked"));
    }
    if meta.response_code != ResponseCode::NoError || !meta.authoritative {
        return Err(io::Error::other(format!("it says {}", meta.response_code)));
    }
    Ok(message)
}

fn ask_udp(at: SocketAddr, name: &str, rtype: rr::RecordType) -> io::Result<Message> {
    let (id, question) = question(name, rtype)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(WAIT))?;
    socket.connect(at)?;
    socket.send(&question)?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer)?;
    answer(id, &buffer[..length])
}

fn ask_tcp(at: SocketAddr, name: &str, rtype: rr::RecordType) -> io::Result<Message> {
    let (id, question) = question(name, rtype)?;
    let mut stream = TcpStream::connect_timeout(&at, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    let length = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&length, question.as_slice()].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut octets = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut octets)?;
    answer(id, &octets)
}
