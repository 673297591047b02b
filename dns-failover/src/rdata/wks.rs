//! Well-known services (RFC 1035 section 3.4.2): an address, a protocol, and a bit for each port.

use super::field::WireError;
use super::print::number;

/// How many octets the ports of 16 bits fill.
const MOST_OCTETS: usize = 8192;

pub(crate) fn check(wire: &[u8]) -> Result<(), WireError> {
    match wire.len() {
        ..5 => Err(WireError::CutOff),
        len if len > 5 + MOST_OCTETS => Err(WireError::LeftOver(len - 5 - MOST_OCTETS)),
        _ => Ok(()),
    }
}

/// None where the bitmap ends with a zero octet, which no text says.
pub(crate) fn print(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let ([a, b, c, d, protocol], ports) = wire.split_first_chunk()?;
    if ports.ends_with(&[0]) {
        return None;
    }
    for (place, octet) in [a, b, c, d].into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        number((*octet).into(), out);
    }
    out.push(b' ');
    number((*protocol).into(), out);
    for (place, octet) in (0..).zip(ports) {
        for bit in (0..8).filter(|bit| octet & (0x80 >> bit) != 0) {
            out.push(b' ');
            number(8 * place + bit, out);
        }
    }
    Some(())
}

/// The number of a protocol.
pub(crate) fn protocol(text: &[u8]) -> Option<u8> {
    match text {
        text if text.eq_ignore_ascii_case(b"tcp") => Some(6),
        text if text.eq_ignore_ascii_case(b"udp") => Some(17),
        text => std::str::from_utf8(text).ok()?.parse().ok(),
    }
}

/// The bitmap of these ports.
pub(crate) fn bitmap(ports: &[u16]) -> Vec<u8> {
    let last = ports.iter().max().map_or(0, |port| usize::from(port / 8) + 1);
    let mut bits = vec![0; last];
    for port in ports {
        bits[usize::from(port / 8)] |= 0x80 >> (port % 8);
    }
    bits
}
