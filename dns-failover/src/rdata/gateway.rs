//! IPSECKEY (RFC 4025), AMTRELAY (RFC 8777) and HIP (RFC 8005): fields whose form other fields tell.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::field::WireError;
use super::print::{base64, hex, number};
use crate::name::{uncompressed_len, write_wire};

const BAD_KIND: WireError =
    WireError::Value("a gateway is of kind 0 (none), 1 (IPv4), 2 (IPv6) or 3 (name)");

/// How many octets a gateway of this kind has at the front of `rest`.
fn gateway_len(kind: u8, rest: &[u8]) -> Result<usize, WireError> {
    let len = match kind {
        0 => 0,
        1 => 4,
        2 => 16,
        3 => uncompressed_len(rest)?,
        _ => return Err(BAD_KIND),
    };
    if len > rest.len() { Err(WireError::CutOff) } else { Ok(len) }
}

fn print_gateway(gateway: &[u8], kind: u8, out: &mut Vec<u8>) -> Option<()> {
    match kind {
        0 => out.push(b'.'),
        1 => {
            let octets: [u8; 4] = gateway.try_into().ok()?;
            out.extend_from_slice(Ipv4Addr::from(octets).to_string().as_bytes());
        }
        2 => {
            let octets: [u8; 16] = gateway.try_into().ok()?;
            out.extend_from_slice(Ipv6Addr::from(octets).to_string().as_bytes());
        }
        _ => write_wire(gateway, out),
    }
    Some(())
}

pub(crate) fn check_ipseckey(wire: &[u8]) -> Result<(), WireError> {
    let [_, kind, _, rest @ ..] = wire else { return Err(WireError::CutOff) };
    gateway_len(*kind, rest).map(drop)
}

pub(crate) fn print_ipseckey(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let [precedence, kind, algorithm, rest @ ..] = wire else { return None };
    let (gateway, key) = rest.split_at(gateway_len(*kind, rest).ok()?);
    if key.is_empty() && *algorithm != 0 {
        return None;
    }
    for value in [precedence, kind, algorithm] {
        number((*value).into(), out);
        out.push(b' ');
    }
    print_gateway(gateway, *kind, out)?;
    if !key.is_empty() {
        out.push(b' ');
        base64(key, out);
    }
    Some(())
}

pub(crate) fn check_amtrelay(wire: &[u8]) -> Result<(), WireError> {
    let [_, kind, rest @ ..] = wire else { return Err(WireError::CutOff) };
    match rest.len() - gateway_len(kind & 127, rest)? {
        0 => Ok(()),
        more => Err(WireError::LeftOver(more)),
    }
}

pub(crate) fn print_amtrelay(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let [precedence, kind, relay @ ..] = wire else { return None };
    for value in [*precedence, kind >> 7, kind & 127] {
        number(value.into(), out);
        out.push(b' ');
    }
    print_gateway(relay, kind & 127, out)
}

/// Algorithm, identity tag, public key and servers.
type Hip<'a> = (u8, &'a [u8], &'a [u8], &'a [u8]);

fn split_hip(wire: &[u8]) -> Option<Hip<'_>> {
    let [hit_len, algorithm, high, low, rest @ ..] = wire else { return None };
    let (hit, rest) = rest.split_at_checked((*hit_len).into())?;
    let (key, servers) = rest.split_at_checked(u16::from_be_bytes([*high, *low]).into())?;
    Some((*algorithm, hit, key, servers))
}

pub(crate) fn check_hip(wire: &[u8]) -> Result<(), WireError> {
    let (_, hit, key, mut servers) = split_hip(wire).ok_or(WireError::CutOff)?;
    if hit.is_empty() || key.is_empty() {
        return Err(WireError::Value("HIP wants an identity tag and a public key"));
    }
    while !servers.is_empty() {
        servers = &servers[uncompressed_len(servers)?..];
    }
    Ok(())
}

pub(crate) fn print_hip(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (algorithm, hit, key, mut servers) = split_hip(wire)?;
    number(algorithm.into(), out);
    out.push(b' ');
    hex(hit, out);
    out.push(b' ');
    base64(key, out);
    while !servers.is_empty() {
        let (server, rest) = servers.split_at(uncompressed_len(servers).ok()?);
        out.push(b' ');
        write_wire(server, out);
        servers = rest;
    }
    Some(())
}
