//! The parameters of SVCB and HTTPS records from their text (RFC 9460 section 2.1 and appendix A).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::read::{Input, base64, shown, unescape_all};
use super::svcb::{self, ALPN, ECH, IPV4HINT, IPV6HINT, MANDATORY, PORT};
use crate::master::rules;
use crate::master::scan::{Fault, Token};

/// Reads parameters in any order and appends them by ascending key.
pub(crate) fn read(input: &mut Input<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut params: Vec<(u16, Vec<u8>, Token<'_>)> = Vec::new();
    while let Some(token) = input.scanner.next()? {
        let bad = |message: String| Fault::new(rules::BAD_PARAMETER, token.at, message);
        if token.quoted {
            return Err(bad("a parameter begins with its key, outside of quotation marks".into()));
        }
        let (key, value) = match token.text.iter().position(|octet| *octet == b'=') {
            None => (token.text, None),
            Some(equals) => {
                let (key, value) = (&token.text[..equals], &token.text[equals + 1..]);
                let plain = Token { text: value, at: token.at + equals + 1, ..token };
                let string =
                    if value.is_empty() { input.scanner.adjoining_string()? } else { None };
                (key, Some(string.unwrap_or(plain)))
            }
        };
        let shown_key = Token { text: key, ..token };
        let number = svcb::key_number(key)
            .ok_or_else(|| bad(format!("{} is no key of a parameter", shown(shown_key))))?;
        if params.iter().any(|(other, ..)| *other == number) {
            return Err(bad(format!("the key {} stands twice", shown(shown_key))));
        }
        let mut octets = Vec::new();
        if let Some(value) = value {
            unescape_all(value, &mut octets)?;
        }
        let wire = encode(number, &octets)
            .filter(|wire| svcb::check_value(number, wire).is_ok() && wire.len() < 65_536)
            .ok_or_else(|| match svcb::check_value(number, &[]) {
                // Of those that may be empty, what is there is wrong; of the others, the form is.
                Ok(()) => bad(format!("{} has a value that it cannot have", shown(shown_key))),
                Err(why) => bad(why.to_owned()),
            })?;
        params.push((number, wire, token));
    }
    params.sort_by_key(|(key, ..)| *key);
    let start = out.len();
    for (key, value, _) in &params {
        out.extend_from_slice(&key.to_be_bytes());
        // Shorter than 65,536 octets, as was checked above.
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value);
    }
    svcb::check(&out[start..]).map_err(|error| {
        let at = params.first().map_or(input.scanner.at(), |(.., token)| token.at);
        Fault::new(rules::BAD_PARAMETER, at, error.to_string())
    })
}

/// The wire form of a value whose escapes are undone.
fn encode(key: u16, value: &[u8]) -> Option<Vec<u8>> {
    let text = || std::str::from_utf8(value).ok();
    Some(match key {
        MANDATORY => {
            let mut keys = Vec::new();
            for item in value.split(|octet| *octet == b',') {
                keys.push(svcb::key_number(item)?);
            }
            keys.sort_unstable();
            keys.iter().flat_map(|key| key.to_be_bytes()).collect()
        }
        ALPN => {
            let mut wire = Vec::new();
            for id in split_list(value)? {
                wire.push(u8::try_from(id.len()).ok().filter(|len| *len > 0)?);
                wire.extend_from_slice(&id);
            }
            wire
        }
        PORT => text()?.parse::<u16>().ok()?.to_be_bytes().to_vec(),
        IPV4HINT => {
            let addresses = text()?.split(',').map(|item| item.parse::<Ipv4Addr>().ok());
            addresses.collect::<Option<Vec<_>>>()?.iter().flat_map(Ipv4Addr::octets).collect()
        }
        IPV6HINT => {
            let addresses = text()?.split(',').map(|item| item.parse::<Ipv6Addr>().ok());
            addresses.collect::<Option<Vec<_>>>()?.iter().flat_map(Ipv6Addr::octets).collect()
        }
        ECH => base64(value)?,
        _ => value.to_vec(),
    })
}

/// Splits at commas without a backslash before them, and undoes the backslashes (appendix A.1).
fn split_list(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = vec![Vec::new()];
    let mut octets = value.iter();
    while let Some(&octet) = octets.next() {
        let last = items.len() - 1;
        match octet {
            b',' => items.push(Vec::new()),
            b'\\' => items[last].push(*octets.next()?),
            plain => items[last].push(plain),
        }
    }
    Some(items)
}
