//! How large the answers get that lead to a zone.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{View, rules};
use crate::name::{MAX_NAME, Name};
use crate::rdata::RecordType;

/// The largest answer without EDNS (RFC 1035 section 4.2.1).
const WITHOUT_EDNS: usize = 512;

/// The largest answer that nobody on the way takes apart (RFC 9715 section 3.2).
const WITH_EDNS: usize = 1232;

/// An answer that sends somebody on to the name servers of a zone.
///
/// ```
/// use dns_failover::{Name, Referral};
///
/// let zone: Name = "customer.example.".parse()?;
/// let servers = (1..=6).map(|number| format!("ns{number}.host.example.").parse());
/// let servers: Vec<Name> = servers.collect::<Result<_, _>>()?;
/// let both = |name: &Name| vec![(name.clone(), [192, 0, 2, 1].into()), (name.clone(), [0_u8; 16].into())];
/// let glue = servers.iter().flat_map(both).collect();
/// let referral = Referral::new(zone, servers, glue);
/// assert!(referral.size(30, true) < 512);
/// assert!(referral.size(255, true) < 1232);
/// # Ok::<(), dns_failover::NameError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Referral {
    zone: Name,
    servers: Vec<Name>,
    glue: Vec<(Name, IpAddr)>,
}

impl Referral {
    /// A referral to these servers, with addresses of some of them.
    pub fn new(zone: Name, servers: Vec<Name>, glue: Vec<(Name, IpAddr)>) -> Referral {
        Referral { zone, servers, glue }
    }

    /// The octets of the answer to a question for a name of `asked` octets within the zone: names
    /// compressed as all servers do (RFC 1035 section 4.1.4), with an OPT record or without.
    pub fn size(&self, asked: usize, edns: bool) -> usize {
        let mut message = Compressor::after_header();
        // The question's name ends with the zone's, and what stands before is met nowhere else.
        let zone_len = self.zone.as_wire().len();
        let before = asked.clamp(zone_len, MAX_NAME) - zone_len;
        message.len += before;
        message.name(&self.zone);
        message.len += 4;
        for server in &self.servers {
            message.name(&self.zone);
            message.len += 10;
            message.name(server);
        }
        for (server, address) in &self.glue {
            message.name(server);
            message.len += 10 + if address.is_ipv4() { 4 } else { 16 };
        }
        message.len + if edns { 11 } else { 0 }
    }

    /// The octets of the largest answer without EDNS that must still fit: a question of 255 octets,
    /// and one address of each family (Zonemaster's DELEGATION03).
    pub fn size_without_edns(&self) -> usize {
        let first =
            |is_of: fn(&IpAddr) -> bool| self.glue.iter().find(|(_, address)| is_of(address));
        let glue = [first(IpAddr::is_ipv4), first(IpAddr::is_ipv6)].into_iter().flatten().cloned();
        Referral { glue: glue.collect(), ..self.clone() }.size(MAX_NAME, false)
    }
}

/// Counts octets of a message whose names are compressed.
struct Compressor {
    len: usize,
    /// Names that a pointer can reach.
    known: BTreeSet<Name>,
}

impl Compressor {
    fn after_header() -> Compressor {
        Compressor { len: 12, known: BTreeSet::new() }
    }

    fn name(&mut self, name: &Name) {
        let mut rest = Some(name.clone());
        while let Some(name) = rest.filter(|name| !name.is_root()) {
            if self.known.contains(&name) {
                self.len += 2;
                return;
            }
            let label = name.as_wire()[0];
            // A pointer has 14 bits.
            if self.len < 1 << 14 {
                self.known.insert(name.clone());
            }
            self.len += 1 + usize::from(label);
            rest = name.parent();
        }
        self.len += 1;
    }
}

pub(super) fn check(view: &mut View<'_>) {
    for set in view.zone.iter().filter(|set| set.rtype() == RecordType::NS) {
        let owner = set.owner();
        if owner.is_wildcard() {
            continue;
        }
        let servers: Vec<Name> = set.rdatas().iter().filter_map(|rdata| rdata.target()).collect();
        let mut glue = Vec::new();
        for server in &servers {
            let addresses = view.addresses(server).unwrap_or_default();
            glue.extend(addresses.into_iter().map(|address| (server.clone(), address)));
        }
        let referral = Referral::new(owner.clone(), servers, glue);
        let plain = referral.size_without_edns();
        if plain > WITHOUT_EDNS {
            let message = format!("the referral to {owner} has up to {plain} octets without EDNS");
            view.found(rules::REFERRAL_512, set, message);
        }
        let whole = referral.size(MAX_NAME, true);
        if whole > WITH_EDNS {
            let message = format!("the referral to {owner} has up to {whole} octets");
            view.found(rules::REFERRAL_1232, set, message);
        }
    }
}
