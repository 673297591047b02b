//! RDATA from its text, field by field.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::field::Field;
use super::record_type::{RecordType, Shape};
use super::{apl, field, loc, mnemonic, svcb_text, time, wks};
use crate::diagnostic::Rule;
use crate::master::rules;
use crate::master::scan::{Fault, Scanner, Token};
use crate::name::{Name, unescape};

/// The rest of a record, and what names in it are relative to.
pub(crate) struct Input<'s, 'a> {
    pub(crate) scanner: &'s mut Scanner<'a>,
    pub(crate) origin: Option<&'s Name>,
}

/// Reads RDATA up to the end of the record and appends its wire form.
#[inline]
pub(crate) fn rdata(
    rtype: RecordType,
    input: &mut Input<'_, '_>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let start = out.len();
    if input.scanner.generic()? {
        return generic(rtype, input, out);
    }
    let Shape::Fields(fields) = rtype.shape() else {
        let message = format!("{rtype} has no text of its own; it is written as \\# LENGTH HEX");
        return Err(Fault::new(rules::BAD_GENERIC, input.scanner.at(), message));
    };
    for field in fields {
        input.field(*field, out)?;
    }
    if let Some(token) = input.scanner.next()? {
        let message = format!("{} stands after the end of the {rtype} record", shown(token));
        return Err(Fault::new(rules::TOO_LONG, token.at, message));
    }
    check_len(rtype, out.len() - start, input.scanner.at())
}

fn check_len(rtype: RecordType, len: usize, at: usize) -> Result<(), Fault> {
    if len > usize::from(u16::MAX) {
        let message = format!("the {rtype} record has {len} octets of RDATA");
        return Err(Fault::new(rules::TOO_MUCH_RDATA, at, message));
    }
    Ok(())
}

/// `\# LENGTH HEX` (RFC 3597 section 5).
fn generic(rtype: RecordType, input: &mut Input<'_, '_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let token = input.word("the number of octets")?;
    let len: u16 = number(token).ok_or_else(|| {
        let message = format!("{} is no number of octets", shown(token));
        Fault::new(rules::BAD_GENERIC, token.at, message)
    })?;
    let start = out.len();
    hex_to_end(input, false, out)?;
    let there = out.len() - start;
    if there != usize::from(len) {
        let message = format!("\\# announces {len} octets, and there are {there}");
        return Err(Fault::new(rules::BAD_GENERIC, token.at, message));
    }
    if let Shape::Fields(fields) = rtype.shape() {
        let mut source = field::Source::rdata(&out[start..]);
        field::copy(fields, &mut source, &mut Vec::new()).map_err(|error| {
            let message = format!("the octets are not {rtype} RDATA: {error}");
            Fault::new(rules::NOT_OF_TYPE, token.at, message)
        })?;
    }
    Ok(())
}

impl<'a> Input<'_, 'a> {
    /// The next word; `what` says what it should be.
    #[inline]
    pub(super) fn word(&mut self, what: &'static str) -> Result<Token<'a>, Fault> {
        match self.scanner.next()? {
            Some(token) if token.quoted => {
                let message = format!("{what} must not stand in quotation marks");
                Err(Fault::new(rules::QUOTED, token.at, message))
            }
            Some(token) => Ok(token),
            None => Err(self.ends(what)),
        }
    }

    #[cold]
    fn ends(&self, what: &'static str) -> Fault {
        let message = format!("the record ends where {what} should stand");
        Fault::new(rules::TOO_SHORT, self.scanner.end(), message)
    }

    /// The next word or string.
    fn text(&mut self) -> Result<Token<'a>, Fault> {
        self.scanner.next()?.ok_or_else(|| self.ends("a string"))
    }

    pub(super) fn name(&mut self, what: &'static str, out: &mut Vec<u8>) -> Result<(), Fault> {
        let token = self.word(what)?;
        let name = read_name(token, self.origin)?;
        out.extend_from_slice(name.as_wire());
        Ok(())
    }

    /// A number that fits `T`.
    pub(super) fn number<T: TryFrom<u64>>(&mut self, what: &'static str) -> Result<T, Fault> {
        let token = self.word(what)?;
        number(token).ok_or_else(|| {
            let most = u64::MAX >> (64 - 8 * size_of::<T>());
            let message = format!("{} is no number of 0 to {most}", shown(token));
            Fault::new(rules::BAD_NUMBER, token.at, message)
        })
    }

    #[inline]
    fn field(&mut self, field: Field, out: &mut Vec<u8>) -> Result<(), Fault> {
        match field {
            Field::U8 => out.push(self.number::<u8>("a number")?),
            Field::U16 => out.extend_from_slice(&self.number::<u16>("a number")?.to_be_bytes()),
            Field::U32 => out.extend_from_slice(&self.number::<u32>("a number")?.to_be_bytes()),
            Field::Name | Field::NameAsIs => self.name("a name", out)?,
            Field::Ipv4 => {
                let token = self.word("an IPv4 address")?;
                let address = ipv4(token.text).ok_or_else(|| {
                    let message = format!("{} is no IPv4 address", shown(token));
                    Fault::new(rules::BAD_IPV4, token.at, message)
                })?;
                out.extend_from_slice(&address);
            }
            Field::Ipv6 => {
                let token = self.word("an IPv6 address")?;
                let address = ipv6(token.text).ok_or_else(|| {
                    let message = format!("{} is no IPv6 address", shown(token));
                    Fault::new(rules::BAD_IPV6, token.at, message)
                })?;
                out.extend_from_slice(&address);
            }
            Field::CharString => {
                let token = self.text()?;
                string(token, out)?;
            }
            Field::Strings | Field::OneOrTwoStrings => self.strings(field, out)?,
            Field::RestString => {
                let token = self.text()?;
                unescape_all(token, out)?;
            }
            field => self.rare_field(field, out)?,
        }
        Ok(())
    }

    fn rare_field(&mut self, field: Field, out: &mut Vec<u8>) -> Result<(), Fault> {
        match field {
            Field::Period => {
                let token = self.word("a number of seconds")?;
                let seconds = crate::master::period(token.text).ok_or_else(|| {
                    let message = format!("{} is no number of seconds", shown(token));
                    Fault::new(rules::BAD_NUMBER, token.at, message)
                })?;
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            Field::Time => {
                let token = self.word("a time")?;
                let seconds = checked(token, rules::BAD_TIME, "time", time::read)?;
                out.extend_from_slice(&seconds.to_be_bytes());
            }
            Field::TypeCode => {
                let token = self.word("a type")?;
                let rtype = checked(token, rules::UNKNOWN_TYPE, "type", RecordType::from_text)?;
                out.extend_from_slice(&rtype.get().to_be_bytes());
            }
            Field::Algorithm => {
                let token = self.word("an algorithm")?;
                out.push(checked(token, rules::BAD_MNEMONIC, "algorithm", mnemonic::algorithm)?);
            }
            Field::CertType => {
                let token = self.word("a kind of certificate")?;
                let kind = checked(
                    token,
                    rules::BAD_MNEMONIC,
                    "kind of certificate",
                    mnemonic::certificate,
                )?;
                out.extend_from_slice(&kind.to_be_bytes());
            }
            Field::Tag => {
                let token = self.word("a tag")?;
                let fits = field::check_tag(token.text).is_ok() && token.text.len() < 256;
                if !fits {
                    let message = format!("{} is no tag", shown(token));
                    return Err(Fault::new(rules::BAD_TAG, token.at, message));
                }
                out.push(token.text.len() as u8);
                out.extend_from_slice(token.text);
            }
            Field::Hex => hex_to_end(self, true, out)?,
            Field::Base64 => self.base64_to_end(true, out)?,
            Field::Salt => {
                let token = self.word("a salt")?;
                let start = out.len();
                out.push(0);
                if token.text != b"-" {
                    let octets = checked(token, rules::BAD_HEX, "hexadecimal salt", whole_hex)?;
                    out.extend_from_slice(&octets);
                }
                close_string(token, start, out)?;
            }
            Field::Hash => {
                let token = self.word("a hash")?;
                let start = out.len();
                out.push(0);
                let octets = checked(token, rules::BAD_BASE64, "Base32 hash", base32)?;
                out.extend_from_slice(&octets);
                close_string(token, start, out)?;
            }
            Field::Types => self.types(out)?,
            Field::Eui48 | Field::Eui64 => {
                let len = field.fixed_len().unwrap_or_default();
                let token = self.word("an address")?;
                let read = |text: &[u8]| groups(text, b'-', len, 2, 2);
                let octets = checked(token, rules::BAD_ADDRESS_FIELD, "EUI address", read)?;
                out.extend_from_slice(&octets);
            }
            Field::Groups => {
                let token = self.word("four groups of digits")?;
                let read = |text: &[u8]| groups(text, b':', 4, 1, 4);
                let octets = checked(token, rules::BAD_ADDRESS_FIELD, "group of four", read)?;
                out.extend_from_slice(&octets);
            }
            Field::Nsap => {
                let token = self.word("an address")?;
                let octets = checked(token, rules::BAD_ADDRESS_FIELD, "NSAP address", nsap)?;
                out.extend_from_slice(&octets);
            }
            Field::Location => {
                let (words, at) = self.words()?;
                let wire = loc::read(words.iter().map(|token| token.text)).ok_or_else(|| {
                    Fault::new(rules::BAD_LOCATION, at, "this is no place on earth")
                })?;
                out.extend_from_slice(&wire);
            }
            Field::Prefixes => {
                while let Some(token) = self.scanner.next()? {
                    apl::read(token.text, out).ok_or_else(|| {
                        let message = format!("{} is no prefix", shown(token));
                        Fault::new(rules::BAD_PREFIX, token.at, message)
                    })?;
                }
            }
            Field::SvcParams => svcb_text::read(self, out)?,
            Field::IpsecKey => self.ipseckey(out)?,
            Field::AmtRelay => self.amtrelay(out)?,
            Field::HostIdentity => self.hip(out)?,
            Field::Services => self.services(out)?,
            // The others were dealt with by the caller.
            _ => {}
        }
        Ok(())
    }

    fn strings(&mut self, field: Field, out: &mut Vec<u8>) -> Result<(), Fault> {
        string(self.text()?, out)?;
        let mut count = 1;
        while let Some(token) = self.scanner.next()? {
            count += 1;
            if count > 2 && field == Field::OneOrTwoStrings {
                let message = format!("{} is a third string where there are two", shown(token));
                return Err(Fault::new(rules::TOO_LONG, token.at, message));
            }
            string(token, out)?;
        }
        Ok(())
    }

    /// All words up to the end of the record, and where the first of them is.
    fn words(&mut self) -> Result<(Vec<Token<'a>>, usize), Fault> {
        let mut words = Vec::new();
        while let Some(token) = self.scanner.next()? {
            words.push(token);
        }
        let at = words.first().map_or(self.scanner.end(), |token| token.at);
        Ok((words, at))
    }

    fn types(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let mut numbers = Vec::new();
        while let Some(token) = self.scanner.next()? {
            let rtype = checked(token, rules::UNKNOWN_TYPE, "type", RecordType::from_text)?;
            numbers.push(rtype.get());
        }
        numbers.sort_unstable();
        for window in numbers.chunk_by(|a, b| a >> 8 == b >> 8) {
            let mut bits = [0; 32];
            for number in window {
                bits[usize::from(number & 255) / 8] |= 0x80 >> (number % 8);
            }
            let last = usize::from(window[window.len() - 1] & 255) / 8;
            out.extend_from_slice(&[(window[0] >> 8) as u8, last as u8 + 1]);
            out.extend_from_slice(&bits[..=last]);
        }
        Ok(())
    }

    pub(super) fn base64_to_end(&mut self, wanted: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
        let (words, at) = self.words()?;
        if words.is_empty() && wanted {
            return Err(self.ends("Base64"));
        }
        let text: Vec<u8> = words.iter().flat_map(|token| token.text).copied().collect();
        let octets =
            base64(&text).ok_or_else(|| Fault::new(rules::BAD_BASE64, at, "this is no Base64"))?;
        out.extend_from_slice(&octets);
        Ok(())
    }

    /// The gateway of the kind that a number before it told.
    fn gateway(&mut self, kind: u8, out: &mut Vec<u8>) -> Result<(), Fault> {
        let token = self.word("a gateway")?;
        let text = || std::str::from_utf8(token.text).ok();
        let fits = match kind {
            0 => token.text == b".",
            1 => match text().and_then(|text| text.parse::<Ipv4Addr>().ok()) {
                Some(address) => {
                    out.extend_from_slice(&address.octets());
                    true
                }
                None => false,
            },
            2 => match text().and_then(|text| text.parse::<Ipv6Addr>().ok()) {
                Some(address) => {
                    out.extend_from_slice(&address.octets());
                    true
                }
                None => false,
            },
            3 => {
                out.extend_from_slice(read_name(token, self.origin)?.as_wire());
                true
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let message = format!("{} is no gateway of kind {kind}", shown(token));
        Err(Fault::new(rules::BAD_GATEWAY, token.at, message))
    }

    fn ipseckey(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let precedence = self.number("a precedence")?;
        let kind = self.number("a kind of gateway")?;
        let algorithm = self.number("an algorithm")?;
        out.extend_from_slice(&[precedence, kind, algorithm]);
        self.gateway(kind, out)?;
        // Algorithm 0 is "no key" (RFC 4025 section 2.4).
        self.base64_to_end(algorithm != 0, out)
    }

    fn amtrelay(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let precedence = self.number("a precedence")?;
        let token = self.word("a discovery flag")?;
        let discovery: u8 = number(token).filter(|flag| *flag < 2).ok_or_else(|| {
            Fault::new(rules::BAD_NUMBER, token.at, format!("{} is neither 0 nor 1", shown(token)))
        })?;
        let kind: u8 = self.number("a kind of relay")?;
        out.extend_from_slice(&[precedence, discovery << 7 | kind & 127]);
        self.gateway(kind, out)
    }

    fn services(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        self.field(Field::Ipv4, out)?;
        let token = self.word("a protocol")?;
        out.push(checked(token, rules::BAD_MNEMONIC, "protocol", wks::protocol)?);
        let mut ports = Vec::new();
        while let Some(token) = self.scanner.next()? {
            let port = number(token).ok_or_else(|| {
                let message = format!("{} is no number of a port", shown(token));
                Fault::new(rules::BAD_NUMBER, token.at, message)
            })?;
            ports.push(port);
        }
        out.extend_from_slice(&wks::bitmap(&ports));
        Ok(())
    }

    fn hip(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let algorithm: u8 = self.number("an algorithm")?;
        let token = self.word("an identity tag")?;
        let tag = checked(token, rules::BAD_HEX, "hexadecimal identity tag", whole_hex)?;
        let tag_len = u8::try_from(tag.len()).ok().filter(|len| *len > 0);
        let tag_len = tag_len.ok_or_else(|| {
            Fault::new(rules::LONG_STRING, token.at, "an identity tag has 1 to 255 octets")
        })?;
        let token = self.word("a public key")?;
        let key = checked(token, rules::BAD_BASE64, "Base64 key", base64)?;
        let key_len = u16::try_from(key.len()).ok().filter(|len| *len > 0);
        let key_len = key_len.ok_or_else(|| {
            Fault::new(rules::TOO_MUCH_RDATA, token.at, "a public key has 1 to 65535 octets")
        })?;
        out.extend_from_slice(&[tag_len, algorithm]);
        out.extend_from_slice(&key_len.to_be_bytes());
        out.extend_from_slice(&tag);
        out.extend_from_slice(&key);
        while let Some(token) = self.scanner.next()? {
            out.extend_from_slice(read_name(token, self.origin)?.as_wire());
        }
        Ok(())
    }
}

/// What a token says, as a message shows it; not too much of it, and nothing that acts on a terminal.
pub(crate) fn shown(token: Token<'_>) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(&token.text[..token.text.len().min(MOST)]);
    let more = if token.text.len() > MOST { "…" } else { "" };
    format!("{:?}{more}", text)
}

/// Takes a word by a function that knows its form.
fn checked<T>(
    token: Token<'_>,
    rule: &'static Rule,
    what: &str,
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Result<T, Fault> {
    read(token.text)
        .ok_or_else(|| Fault::new(rule, token.at, format!("{} is no {what}", shown(token))))
}

/// A name, with its fault at the place where it stands.
#[inline]
pub(crate) fn read_name(token: Token<'_>, origin: Option<&Name>) -> Result<Name, Fault> {
    Name::from_text(token.text, origin).map_err(|error| {
        let message = format!("{} is no name: {error}", shown(token));
        Fault::new(rules::BAD_NAME, token.at, message)
    })
}

#[inline]
fn number<T: TryFrom<u64>>(token: Token<'_>) -> Option<T> {
    // More digits than this overflow nothing and fit no field.
    if token.text.is_empty() || token.text.len() > 19 {
        return None;
    }
    let mut sum = 0;
    for digit in token.text {
        if !digit.is_ascii_digit() {
            return None;
        }
        sum = sum * 10 + u64::from(digit - b'0');
    }
    T::try_from(sum).ok()
}

#[inline]
fn ipv4(text: &[u8]) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let (mut place, mut value, mut digits) = (0, 0_u32, 0);
    for &octet in text {
        match octet {
            b'0'..=b'9' if digits < 3 => {
                value = value * 10 + u32::from(octet - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && place < 3 => {
                octets[place] = u8::try_from(value).ok()?;
                place += 1;
                (value, digits) = (0, 0);
            }
            _ => return None,
        }
    }
    if place != 3 || digits == 0 {
        return None;
    }
    octets[3] = u8::try_from(value).ok()?;
    Some(octets)
}

fn ipv6(text: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().map(|address: Ipv6Addr| address.octets())
}

/// Appends a string with its length before it.
#[inline]
fn string(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let start = out.len();
    out.push(0);
    unescape_all(token, out)?;
    close_string(token, start, out)
}

/// Puts the length of what follows into `out[start]`.
fn close_string(token: Token<'_>, start: usize, out: &mut [u8]) -> Result<(), Fault> {
    let len = out.len() - start - 1;
    out[start] = u8::try_from(len).map_err(|_| {
        let message = format!("a string of {len} octets is too long");
        Fault::new(rules::LONG_STRING, token.at, message)
    })?;
    Ok(())
}

#[inline]
pub(crate) fn unescape_all(token: Token<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    if !token.escaped {
        out.extend_from_slice(token.text);
        return Ok(());
    }
    let mut at = 0;
    while let Some(&octet) = token.text.get(at) {
        at += 1;
        if octet != b'\\' {
            out.push(octet);
            continue;
        }
        let Some((octet, len)) = unescape(&token.text[at..]) else {
            let column = token.at + usize::from(token.quoted) + at - 1;
            return Err(Fault::new(rules::BAD_ESCAPE, column, "this backslash begins no escape"));
        };
        out.push(octet);
        at += len;
    }
    Ok(())
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet).to_digit(16).map(|value| value as u8)
}

/// Hexadecimal up to the end of the record; spaces may stand anywhere in it.
fn hex_to_end(input: &mut Input<'_, '_>, wanted: bool, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut half = None;
    let mut last = None;
    while let Some(token) = input.scanner.next()? {
        last = Some(token);
        for &octet in token.text {
            let Some(value) = digit(octet) else {
                let message = format!("{} is not hexadecimal", shown(token));
                return Err(Fault::new(rules::BAD_HEX, token.at, message));
            };
            match half.take() {
                None => half = Some(value),
                Some(high) => out.push(high << 4 | value),
            }
        }
    }
    match last {
        None if wanted => Err(input.ends("hexadecimal")),
        Some(token) if half.is_some() => {
            Err(Fault::new(rules::BAD_HEX, token.at, "the number of hexadecimal digits is odd"))
        }
        _ => Ok(()),
    }
}

fn whole_hex(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

pub(super) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// The extended alphabet, in any case, without padding.
fn base32(text: &[u8]) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut octets) = (0_u32, 0, Vec::with_capacity(text.len() * 5 / 8));
    for &octet in text {
        let value = char::from(octet).to_digit(32)?;
        bits = bits << 5 | value;
        count += 5;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // What is left must be shorter than a digit, and zero.
    (!octets.is_empty() && count < 5 && bits == 0).then_some(octets)
}

/// Groups of hexadecimal digits with a separator between them. Groups of two digits are octets, those
/// of up to four are two octets each.
fn groups(text: &[u8], separator: u8, count: usize, least: usize, most: usize) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut there = 0;
    for group in text.split(|octet| *octet == separator) {
        if !(least..=most).contains(&group.len()) {
            return None;
        }
        let value = group
            .iter()
            .try_fold(0, |sum: u16, octet| Some(sum << 4 | u16::from(digit(*octet)?)))?;
        let [high, low] = value.to_be_bytes();
        if most > 2 {
            octets.push(high);
        }
        octets.push(low);
        there += 1;
    }
    (there == count).then_some(octets)
}

/// `0x`, and pairs of hexadecimal digits with dots where somebody likes them (RFC 1706 section 5).
fn nsap(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_prefix(b"0x").or(text.strip_prefix(b"0X"))?;
    let digits: Vec<u8> = digits.iter().copied().filter(|octet| *octet != b'.').collect();
    whole_hex(&digits)
}
