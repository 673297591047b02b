//! Addresses that the Internet cannot reach.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{View, rules};
use crate::name::Name;
use crate::rdata::{Rdata, RecordType};
use crate::rrset::RRset;

pub(super) fn check(view: &mut View<'_>) {
    let sets = view.zone.iter().filter(|set| set.rtype() == RecordType::NS);
    let servers: BTreeSet<Name> = sets.flat_map(RRset::rdatas).filter_map(Rdata::target).collect();
    for set in
        view.zone.iter().filter(|set| [RecordType::A, RecordType::AAAA].contains(&set.rtype()))
    {
        for address in set.rdatas().iter().filter_map(Rdata::ip_address) {
            if let Some(what) = unreachable(address) {
                let message = format!("{} has the address {address}, which is {what}", set.owner());
                let of_server = servers.contains(set.owner());
                let rule = if of_server { rules::NS_UNREACHABLE } else { rules::PRIVATE_ADDRESS };
                view.found(rule, set, message);
            }
        }
    }
}

/// What the address is for, where it is not for the public (RFC 6890). Addresses of documentation
/// (RFC 5737, RFC 3849) pass: whoever writes them does so on purpose.
fn unreachable(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            Some(match address {
                _ if a == 0 => "of \"this network\"",
                _ if address.is_private() => "private",
                _ if address.is_loopback() => "the host itself",
                _ if address.is_link_local() => "of one link",
                _ if address.is_multicast() => "multicast",
                _ if a == 100 && (64..128).contains(&b) => "shared behind carriers' NAT",
                _ if a >= 240 => "reserved",
                _ => return None,
            })
        }
        IpAddr::V6(address) => Some(match address {
            _ if address.is_unspecified() => "unspecified",
            _ if address.is_loopback() => "the host itself",
            _ if address.is_unicast_link_local() => "of one link",
            _ if address.is_unique_local() => "private",
            _ if address.is_multicast() => "multicast",
            _ => return None,
        }),
    }
}
