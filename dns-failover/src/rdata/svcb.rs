//! The parameters of SVCB and HTTPS records (RFC 9460 section 2).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::field::WireError;
use super::print::{base64, number, string_inside};

pub(crate) const MANDATORY: u16 = 0;
pub(crate) const ALPN: u16 = 1;
pub(crate) const NO_DEFAULT_ALPN: u16 = 2;
pub(crate) const PORT: u16 = 3;
pub(crate) const IPV4HINT: u16 = 4;
pub(crate) const ECH: u16 = 5;
pub(crate) const IPV6HINT: u16 = 6;
pub(crate) const DOHPATH: u16 = 7;
pub(crate) const OHTTP: u16 = 8;

/// The names of keys in IANA's registry.
const KEYS: [(&str, u16); 9] = [
    ("mandatory", MANDATORY),
    ("alpn", ALPN),
    ("no-default-alpn", NO_DEFAULT_ALPN),
    ("port", PORT),
    ("ipv4hint", IPV4HINT),
    ("ech", ECH),
    ("ipv6hint", IPV6HINT),
    ("dohpath", DOHPATH),
    ("ohttp", OHTTP),
];

/// The number of a key that is written by its name or as `key123`.
pub(crate) fn key_number(text: &[u8]) -> Option<u16> {
    let named = KEYS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text));
    named.map(|(_, number)| *number).or_else(|| {
        let digits = text.get(3..).filter(|_| text[..3].eq_ignore_ascii_case(b"key"))?;
        // A leading zero is not allowed (section 2.1).
        let canonical = digits == b"0" || !digits.starts_with(b"0");
        canonical.then(|| super::record_type::number_after(b"", digits)).flatten()
    })
}

/// The parameters of RDATA that was checked, or as far as they can be told apart.
pub(crate) fn params(wire: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let [a, b, c, d, more @ ..] = rest else { return None };
        let (value, after) = more.split_at_checked(u16::from_be_bytes([*c, *d]).into())?;
        rest = after;
        Some((u16::from_be_bytes([*a, *b]), value))
    })
}

/// Keys ascend, each value has its key's form, and what is mandatory is there.
pub(crate) fn check(wire: &[u8]) -> Result<(), WireError> {
    let mut above = None;
    let mut used = 0;
    for (key, value) in params(wire) {
        used += 4 + value.len();
        if above.is_some_and(|above| key <= above) {
            return Err(WireError::Value("the keys of parameters must ascend, each at most once"));
        }
        above = Some(key);
        check_value(key, value).map_err(WireError::Value)?;
        if key == MANDATORY {
            check_mandatory(wire, value).map_err(WireError::Value)?;
        }
    }
    if used == wire.len() { Ok(()) } else { Err(WireError::CutOff) }
}

pub(crate) fn check_value(key: u16, value: &[u8]) -> Result<(), &'static str> {
    let fits = match key {
        MANDATORY => !value.is_empty() && value.len().is_multiple_of(2),
        ALPN => !value.is_empty() && alpn_ids(value).is_some(),
        NO_DEFAULT_ALPN | OHTTP => value.is_empty(),
        PORT => value.len() == 2,
        IPV4HINT => !value.is_empty() && value.len().is_multiple_of(4),
        IPV6HINT => !value.is_empty() && value.len().is_multiple_of(16),
        ECH | DOHPATH => !value.is_empty(),
        _ => key != u16::MAX,
    };
    if fits {
        return Ok(());
    }
    Err(match key {
        MANDATORY => "mandatory= wants a list of keys",
        ALPN => "alpn= wants a list of protocols of 1 to 255 octets each",
        NO_DEFAULT_ALPN => "no-default-alpn takes no value",
        OHTTP => "ohttp takes no value",
        PORT => "port= wants a number of 0 to 65535",
        IPV4HINT => "ipv4hint= wants a list of IPv4 addresses",
        IPV6HINT => "ipv6hint= wants a list of IPv6 addresses",
        ECH => "ech= wants Base64",
        DOHPATH => "dohpath= wants a path",
        _ => "key65535 is reserved",
    })
}

fn check_mandatory(params_wire: &[u8], list: &[u8]) -> Result<(), &'static str> {
    let mut above = None;
    for pair in list.chunks_exact(2) {
        let key = u16::from_be_bytes([pair[0], pair[1]]);
        if key == MANDATORY {
            return Err("mandatory= must not list itself");
        }
        if above.is_some_and(|above| key <= above) {
            return Err("the keys in mandatory= must ascend, each at most once");
        }
        if !params(params_wire).any(|(present, _)| present == key) {
            return Err("a key in mandatory= is not among the parameters");
        }
        above = Some(key);
    }
    Ok(())
}

/// The protocols in an `alpn` value; None where it is none.
fn alpn_ids(value: &[u8]) -> Option<Vec<&[u8]>> {
    let mut ids = Vec::new();
    let mut rest = value;
    while let Some((len, more)) = rest.split_first() {
        let (id, after) = more.split_at_checked((*len).into())?;
        if id.is_empty() {
            return None;
        }
        ids.push(id);
        rest = after;
    }
    Some(ids)
}

/// Keys that came after RFC 9460 are printed by number: older servers read no other form of them.
pub(crate) fn print(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for (place, (key, value)) in params(wire).enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        print_key(key, out);
        if !value.is_empty() {
            out.push(b'=');
            print_value(key, value, out)?;
        }
    }
    Some(())
}

fn print_key(key: u16, out: &mut Vec<u8>) {
    match KEYS.iter().find(|(_, number)| *number == key && key < DOHPATH) {
        Some((name, _)) => out.extend_from_slice(name.as_bytes()),
        None => {
            out.extend_from_slice(b"key");
            number(key.into(), out);
        }
    }
}

fn print_value(key: u16, value: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match key {
        MANDATORY => list(value.chunks_exact(2), out, |pair, out| {
            print_key(u16::from_be_bytes([pair[0], pair[1]]), out);
        }),
        ALPN => {
            let ids = alpn_ids(value)?;
            // One comma or backslash within a protocol's name is escaped twice: once for the list,
            // once for the string (appendix A.1).
            let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"-./".contains(octet);
            if ids.iter().all(|id| id.iter().all(plain)) {
                list(ids.iter().copied(), out, |id, out| out.extend_from_slice(id));
                return Some(());
            }
            out.push(b'"');
            for (place, id) in ids.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                let mut item = Vec::with_capacity(id.len());
                for octet in *id {
                    if matches!(octet, b',' | b'\\') {
                        item.push(b'\\');
                    }
                    item.push(*octet);
                }
                string_inside(&item, out);
            }
            out.push(b'"');
        }
        PORT => number(u16::from_be_bytes([value[0], value[1]]).into(), out),
        IPV4HINT => list(value.chunks_exact(4), out, |octets, out| {
            let octets: [u8; 4] = octets.try_into().unwrap_or_default();
            out.extend_from_slice(Ipv4Addr::from(octets).to_string().as_bytes());
        }),
        IPV6HINT => list(value.chunks_exact(16), out, |octets, out| {
            let octets: [u8; 16] = octets.try_into().unwrap_or_default();
            out.extend_from_slice(Ipv6Addr::from(octets).to_string().as_bytes());
        }),
        ECH => base64(value, out),
        _ => super::print::string(value, out),
    }
    Some(())
}

fn list<'a>(
    items: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
    mut print: impl FnMut(&'a [u8], &mut Vec<u8>),
) {
    for (place, item) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        print(item, out);
    }
}
