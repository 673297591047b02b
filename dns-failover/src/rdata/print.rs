//! RDATA as text: deterministic, and in forms that named, NSD, Knot and PowerDNS all read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::field::{Field, types_in};
use super::record_type::{RecordType, Shape};
use super::{apl, gateway, loc, svcb, wks};
use crate::name::{uncompressed_len, write_decimal_escape, write_wire};

/// Appends the text of RDATA that was checked.
pub(crate) fn rdata(rtype: RecordType, wire: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let Shape::Fields(shape) = rtype.shape() else { return generic(wire, out) };
    if fields(shape, wire, out).is_none() {
        out.truncate(start);
        generic(wire, out);
    }
}

/// Appends the text of RDATA that was checked, in a form that all servers read.
#[inline]
pub(crate) fn portable(rtype: RecordType, wire: &[u8], out: &mut Vec<u8>) {
    if rtype.is_rare() { generic(wire, out) } else { rdata(rtype, wire, out) }
}

/// The form for RDATA of any type (RFC 3597 section 5).
pub(crate) fn generic(wire: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\# ");
    number(wire.len() as u32, out);
    if !wire.is_empty() {
        out.push(b' ');
        hex(wire, out);
    }
}

/// None where the octets have no text of the type's own.
fn fields(shape: &[Field], wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = wire;
    for (place, field) in shape.iter().enumerate() {
        // The list of parameters is often empty.
        if place > 0 && !(*field == Field::SvcParams && rest.is_empty()) {
            out.push(b' ');
        }
        rest = match field {
            Field::Name | Field::NameAsIs => {
                let (name, rest) = rest.split_at_checked(uncompressed_len(rest).ok()?)?;
                write_wire(name, out);
                rest
            }
            Field::CharString => {
                let (text, rest) = split_string(rest)?;
                string(text, out);
                rest
            }
            Field::Tag => {
                let (tag, rest) = split_string(rest)?;
                out.extend_from_slice(tag);
                rest
            }
            Field::Salt => {
                let (salt, rest) = split_string(rest)?;
                match salt {
                    [] => out.push(b'-'),
                    salt => hex(salt, out),
                }
                rest
            }
            Field::Hash => {
                let (hash, rest) = split_string(rest)?;
                if hash.is_empty() {
                    return None;
                }
                base32(hash, out);
                rest
            }
            field => match field.fixed_len() {
                Some(len) => {
                    let (octets, rest) = rest.split_at_checked(len)?;
                    fixed(*field, octets, out);
                    rest
                }
                None => {
                    to_the_end(*field, rest, out)?;
                    &[]
                }
            },
        };
    }
    rest.is_empty().then_some(())
}

fn fixed(field: Field, octets: &[u8], out: &mut Vec<u8>) {
    match field {
        Field::Ipv4 => {
            for (place, octet) in octets.iter().enumerate() {
                if place > 0 {
                    out.push(b'.');
                }
                number((*octet).into(), out);
            }
        }
        Field::Ipv6 => ipv6(octets, out),
        Field::TypeCode => {
            RecordType::new(u16::from_be_bytes([octets[0], octets[1]])).write_text(out);
        }
        Field::Time => super::time::write(big_endian(octets), out),
        Field::Eui48 | Field::Eui64 => separated(octets.chunks(1), b'-', out),
        Field::Groups => separated(octets.chunks(2), b':', out),
        _ => number(big_endian(octets), out),
    }
}

fn big_endian(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet))
}

fn separated<'a>(groups: impl Iterator<Item = &'a [u8]>, separator: u8, out: &mut Vec<u8>) {
    for (place, group) in groups.enumerate() {
        if place > 0 {
            out.push(separator);
        }
        let start = out.len();
        hex(group, out);
        out[start..].make_ascii_lowercase();
    }
}

fn to_the_end(field: Field, rest: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match field {
        Field::Strings | Field::OneOrTwoStrings => {
            let mut strings = rest;
            while !strings.is_empty() {
                if strings.len() < rest.len() {
                    out.push(b' ');
                }
                let (text, more) = split_string(strings)?;
                string(text, out);
                strings = more;
            }
        }
        Field::RestString => string(rest, out),
        Field::Hex if !rest.is_empty() => hex(rest, out),
        Field::Base64 if !rest.is_empty() => base64(rest, out),
        Field::Nsap if !rest.is_empty() => {
            out.extend_from_slice(b"0x");
            hex(rest, out);
        }
        Field::Types => {
            // The space before the first one is there already.
            for (place, number) in types_in(rest).enumerate() {
                if place > 0 {
                    out.push(b' ');
                }
                RecordType::new(number).write_text(out);
            }
            if rest.is_empty() {
                out.pop();
            }
        }
        Field::Location => loc::print(rest, out)?,
        Field::Prefixes => apl::print(rest, out)?,
        Field::SvcParams => svcb::print(rest, out)?,
        Field::IpsecKey => gateway::print_ipseckey(rest, out)?,
        Field::AmtRelay => gateway::print_amtrelay(rest, out)?,
        Field::HostIdentity => gateway::print_hip(rest, out)?,
        Field::Services => wks::print(rest, out)?,
        _ => return None,
    }
    Some(())
}

pub(super) fn split_string(wire: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = wire.split_first()?;
    rest.split_at_checked((*len).into())
}

/// A string in quotes: what is printable as it is, anything else by its number.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    string_inside(text, out);
    out.push(b'"');
}

pub(super) fn string_inside(text: &[u8], out: &mut Vec<u8>) {
    let plain = |octet: &u8| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|octet| !plain(octet)) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            octet @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', octet]),
            octet => write_decimal_escape(octet, out),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Appends a number in decimal.
#[inline]
pub(crate) fn number(value: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let (mut value, mut start) = (value, digits.len());
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

pub(crate) fn hex(octets: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for octet in octets {
        let (high, low) = (usize::from(octet >> 4), usize::from(octet & 15));
        out.extend_from_slice(&[DIGITS[high], DIGITS[low]]);
    }
}

pub(super) fn base64(octets: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + octets.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(octets, &mut out[start..]);
    out.truncate(start + written.unwrap_or(0));
}

/// The extended alphabet, without padding (RFC 4648 section 7, RFC 5155 section 3.3).
fn base32(octets: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";
    for group in octets.chunks(5) {
        let mut padded = [0; 8];
        padded[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(padded);
        for place in 0..(group.len() * 8).div_ceil(5) {
            out.push(DIGITS[(bits >> (35 - 5 * place) & 31) as usize]);
        }
    }
}

/// The form of RFC 5952, but with no IPv4 address at its end.
fn ipv6(octets: &[u8], out: &mut Vec<u8>) {
    let mut groups = [0u16; 8];
    for (group, pair) in groups.iter_mut().zip(octets.chunks_exact(2)) {
        *group = u16::from_be_bytes([pair[0], pair[1]]);
    }
    let (mut best, mut run) = ((0, 0), 0);
    for (place, group) in groups.iter().enumerate() {
        run = if *group == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (place + 1 - run, run);
        }
    }
    let (start, len) = if best.1 > 1 { best } else { (8, 0) };
    let mut place = 0;
    while place < 8 {
        if place == start {
            out.extend_from_slice(b"::");
            place += len;
            continue;
        }
        if place > 0 && place != start + len {
            out.push(b':');
        }
        short_hex(groups[place], out);
        place += 1;
    }
}

fn short_hex(value: u16, out: &mut Vec<u8>) {
    let significant = 4 - (value.leading_zeros() / 4).min(3);
    for digit in (0..significant).rev() {
        out.push(b"0123456789abcdef"[usize::from(value >> (4 * digit) & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ipv6_addresses_are_printed_as_the_standard_library_does(mut groups: [u16; 8], mask: u8) {
            for (place, group) in groups.iter_mut().enumerate() {
                if mask & (1 << place) != 0 {
                    *group = 0;
                }
            }
            let address = std::net::Ipv6Addr::from(groups);
            let mut out = Vec::new();
            ipv6(&address.octets(), &mut out);
            if address.to_ipv4_mapped().is_none() && !address.to_string().contains('.') {
                prop_assert_eq!(std::str::from_utf8(&out).unwrap(), address.to_string());
            }
            let again: std::net::Ipv6Addr = std::str::from_utf8(&out).unwrap().parse().unwrap();
            prop_assert_eq!(again, address);
        }

        #[test]
        fn numbers_are_decimal(value: u32) {
            let mut out = Vec::new();
            number(value, &mut out);
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), value.to_string());
        }
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        let cases = [
            ("f", "CO"),
            ("fo", "CPNG"),
            ("foo", "CPNMU"),
            ("foob", "CPNMUOG"),
            ("fooba", "CPNMUOJ1"),
            ("foobar", "CPNMUOJ1E8"),
        ];
        for (octets, text) in cases {
            let mut out = Vec::new();
            base32(octets.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
