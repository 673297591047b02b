//! The start of authority and the zone's own name servers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Target, View, rules};
use crate::name::Name;
use crate::rdata::{RecordType, Soa};
use crate::record::Ttl;
use crate::rrset::RRset;

pub(super) fn check(view: &mut View<'_>) {
    soa_records(view);
    name_servers(view);
}

fn soa_records(view: &mut View<'_>) {
    let zone = view.zone;
    let origin = zone.origin();
    let soas = zone.iter().filter(|set| set.rtype() == RecordType::SOA);
    for set in soas.filter(|set| set.owner() != origin) {
        view.found(rules::SOA_ELSEWHERE, set, format!("{} has a SOA record", set.owner()));
    }
    let Some(set) = zone.get(origin, RecordType::SOA) else {
        let message = format!("{origin} has no SOA record");
        return view.found_at(rules::NO_SOA, origin, Some(RecordType::SOA), message);
    };
    let Some(soa) = zone.soa() else {
        let message = format!("{origin} has {} SOA records", set.rdatas().len());
        return view.found(rules::NO_SOA, set, message);
    };
    timers(view, set, &soa);
    primary(view, set, &soa);
    mailbox(view, set, &soa.rname);
}

fn timers(view: &mut View<'_>, set: &RRset, soa: &Soa) {
    let Soa { refresh, retry, expire, minimum, .. } = *soa;
    if soa.serial.get() == 0 {
        view.found(rules::SERIAL_ZERO, set, "the serial is 0");
    }
    if refresh < 14_400 {
        view.found(rules::REFRESH, set, format!("the refresh is {refresh} seconds"));
    }
    if retry >= refresh {
        let message = format!("the retry is {retry} seconds, the refresh {refresh}");
        view.found(rules::RETRY_NOT_BELOW_REFRESH, set, message);
    }
    if retry < 3600 {
        view.found(rules::RETRY, set, format!("the retry is {retry} seconds"));
    }
    if expire < 604_800 || expire < refresh {
        view.found(rules::EXPIRE, set, format!("the expire is {expire} seconds"));
    }
    if !(300..=86_400).contains(&minimum) {
        view.found(rules::MINIMUM, set, format!("the minimum is {minimum} seconds"));
    }
    if set.ttl() < Ttl::saturating(minimum) {
        let message =
            format!("the SOA has a TTL of {} seconds, its minimum is {minimum}", set.ttl());
        view.found(rules::SOA_TTL_BELOW_MINIMUM, set, message);
    }
}

fn primary(view: &mut View<'_>, set: &RRset, soa: &Soa) {
    let mname = &soa.mname;
    if mname.is_root() {
        return view.found(rules::MNAME, set, "the primary in the SOA is the root");
    }
    if !mname.is_host_name() {
        let message = format!("the primary in the SOA, {mname}, is no name of a host");
        view.found(rules::MNAME_HOST_NAME, set, message);
    }
    match view.target(mname) {
        Target::Alias => {
            view.found(
                rules::MNAME_ALIAS,
                set,
                format!("the primary in the SOA, {mname}, is an alias"),
            );
        }
        Target::Missing => {
            let message = format!("the primary in the SOA, {mname}, has no address");
            view.found(rules::MNAME, set, message);
        }
        Target::Addressed | Target::Elsewhere => {}
    }
}

fn mailbox(view: &mut View<'_>, set: &RRset, rname: &Name) {
    if rname.labels().any(|label| label.contains(&b'@')) {
        view.found(rules::RNAME_AT, set, format!("the mailbox {rname} holds an @"));
    } else if rname.labels().count() < 2
        || !rname.parent().is_some_and(|domain| domain.is_host_name())
    {
        view.found(rules::RNAME, set, format!("{rname} is no mailbox"));
    }
}

fn name_servers(view: &mut View<'_>) {
    let zone = view.zone;
    let origin = zone.origin();
    let Some(set) = zone.get(origin, RecordType::NS) else {
        let message = format!("{origin} has no NS record");
        return view.found_at(rules::NO_NS, origin, Some(RecordType::NS), message);
    };
    let servers: Vec<Name> = set.rdatas().iter().filter_map(|rdata| rdata.target()).collect();
    if servers.len() < 2 {
        view.found(rules::FEW_NS, set, format!("{origin} has {} name server", servers.len()));
    }
    let day_or_more = |set: &RRset| set.ttl() >= Ttl::DAY;
    if !day_or_more(set) {
        view.found(rules::NS_TTL, set, format!("{origin} NS has a TTL of {} seconds", set.ttl()));
    }
    let mut owners: BTreeMap<IpAddr, &Name> = BTreeMap::new();
    let mut all = Vec::new();
    for server in &servers {
        let Some(addresses) = view.addresses(server) else { continue };
        for address in &addresses {
            if let Some(other) = owners.insert(*address, server).filter(|other| *other != server) {
                let message = format!("{server} and {other} have the address {address} in common");
                view.found(rules::NS_SHARE_ADDRESS, set, message);
            }
        }
        all.push(addresses);
    }
    // Only where every address is known can one say what all of them lack.
    if all.len() == servers.len() && servers.len() > 1 {
        spread(view, set, &servers, &all);
    }
    let top = |name: &Name| name.labels().last().map(<[u8]>::to_ascii_lowercase);
    if servers.len() > 1 && servers.iter().all(|server| top(server) == top(&servers[0])) {
        let message = format!("all name servers of {origin} have names under one top-level domain");
        view.found(rules::ONE_TLD, set, message);
    }
}

fn spread(view: &mut View<'_>, set: &RRset, servers: &[Name], all: &[Vec<IpAddr>]) {
    for (family, is_of) in
        [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)]
    {
        let of_family = |addresses: &&Vec<IpAddr>| addresses.iter().any(is_of);
        let count = all.iter().filter(of_family).count();
        if count < 2 {
            let message =
                format!("{count} of {} name servers have {family} addresses", servers.len());
            view.found(rules::FEW_NS_OF_FAMILY, set, message);
        }
        let mut networks: Vec<Vec<u8>> =
            all.iter().flatten().filter(|address| is_of(address)).map(network).collect();
        networks.sort();
        networks.dedup();
        if networks.len() == 1 && count > 1 {
            let message = format!("all {family} addresses of the name servers lie in one network");
            view.found(rules::ONE_PREFIX, set, message);
        }
    }
    let number =
        |server: &Name| view.known.hosts.get(server).and_then(|host| host.autonomous_system);
    let numbers: Option<Vec<u32>> = servers.iter().map(number).collect();
    if let Some([first, rest @ ..]) = numbers.as_deref()
        && rest.iter().all(|number| number == first)
    {
        let message = format!("all name servers are in the autonomous system {first}");
        view.found(rules::ONE_AS, set, message);
    }
}

/// The network that an address is taken to be in: /24 or /48 (RFC 2182 leaves the size open).
fn network(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets()[..3].to_vec(),
        IpAddr::V6(address) => address.octets()[..6].to_vec(),
    }
}
