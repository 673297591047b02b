//! Lists of address prefixes (RFC 3123).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::field::WireError;
use super::print::number;

const IPV4: u16 = 1;
const IPV6: u16 = 2;

struct Prefix<'a> {
    family: u16,
    length: u8,
    negated: bool,
    address: &'a [u8],
}

fn split(wire: &[u8]) -> Option<(Prefix<'_>, &[u8])> {
    let [a, b, length, rest @ ..] = wire else { return None };
    let (flags, rest) = rest.split_first()?;
    let (address, rest) = rest.split_at_checked(usize::from(flags & 127))?;
    let family = u16::from_be_bytes([*a, *b]);
    Some((Prefix { family, length: *length, negated: flags & 128 != 0, address }, rest))
}

pub(crate) fn check(wire: &[u8]) -> Result<(), WireError> {
    let mut rest = wire;
    while !rest.is_empty() {
        let (prefix, after) = split(rest).ok_or(WireError::CutOff)?;
        let bits = match prefix.family {
            IPV4 => 32,
            IPV6 => 128,
            _ => u8::MAX,
        };
        if prefix.length > bits || prefix.address.len() > usize::from(bits / 8) {
            return Err(WireError::Value("a prefix in APL is longer than its family's addresses"));
        }
        if prefix.address.ends_with(&[0]) {
            return Err(WireError::Value(
                "a prefix in APL must leave out its trailing zero octets",
            ));
        }
        rest = after;
    }
    Ok(())
}

pub(crate) fn print(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = wire;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        if rest.len() < wire.len() {
            out.push(b' ');
        }
        let (prefix, after) = split(rest)?;
        if prefix.negated {
            out.push(b'!');
        }
        let mut octets = [0; 16];
        octets.get_mut(..prefix.address.len())?.copy_from_slice(prefix.address);
        let address = match prefix.family {
            IPV4 => IpAddr::from([octets[0], octets[1], octets[2], octets[3]]),
            IPV6 => IpAddr::from(octets),
            _ => return None,
        };
        number(prefix.family.into(), out);
        out.push(b':');
        out.extend_from_slice(address.to_string().as_bytes());
        out.push(b'/');
        number(prefix.length.into(), out);
        rest = after;
    }
    Some(())
}

/// Appends one `[!]family:address/length`; None where it is none.
pub(crate) fn read(word: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = std::str::from_utf8(word).ok()?;
    let (negated, text) = match text.strip_prefix('!') {
        Some(text) => (128, text),
        None => (0, text),
    };
    let (family, text) = text.split_once(':')?;
    let (address, length) = text.split_once('/')?;
    let (family, octets, bits) = match family {
        "1" => (IPV4, address.parse::<Ipv4Addr>().ok()?.octets().to_vec(), 32),
        "2" => (IPV6, address.parse::<Ipv6Addr>().ok()?.octets().to_vec(), 128),
        _ => return None,
    };
    let length: u8 = length.parse().ok().filter(|length| *length <= bits)?;
    let used = octets.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
    out.extend_from_slice(&family.to_be_bytes());
    out.extend_from_slice(&[length, negated | used as u8]);
    out.extend_from_slice(&octets[..used]);
    Some(())
}
