//! Places on earth (RFC 1876).

use super::field::WireError;
use super::print::number;

/// Thousandths of a second of arc in a degree.
const DEGREE: u32 = 3_600_000;

/// What stands for the equator and the prime meridian.
const ZERO: u32 = 1 << 31;

/// Centimetres below the reference spheroid at which altitudes begin.
const DEPTH: u32 = 10_000_000;

const LEN: usize = 16;

pub(crate) fn check(wire: &[u8]) -> Result<(), WireError> {
    if wire.len() < LEN {
        return Err(WireError::CutOff);
    }
    if wire.len() > LEN {
        return Err(WireError::LeftOver(wire.len() - LEN));
    }
    if wire[0] != 0 {
        return Err(WireError::Value("the only version of LOC there is is 0"));
    }
    if wire[1..4].iter().any(|size| size >> 4 > 9 || size & 15 > 9) {
        return Err(WireError::Value("a size in LOC has two digits, each of 0 to 9"));
    }
    if part(wire, 4).abs_diff(ZERO) > 90 * DEGREE || part(wire, 8).abs_diff(ZERO) > 180 * DEGREE {
        return Err(WireError::Value("a latitude is at most 90 degrees, a longitude at most 180"));
    }
    Ok(())
}

fn part(wire: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([wire[at], wire[at + 1], wire[at + 2], wire[at + 3]])
}

pub(crate) fn print(wire: &[u8], out: &mut Vec<u8>) -> Option<()> {
    check(wire).ok()?;
    // Nothing times a power of ten is nothing, and no text tells which power.
    if wire[1..4].iter().any(|size| size >> 4 == 0 && *size != 0) {
        return None;
    }
    angle(part(wire, 4), [b'N', b'S'], out);
    angle(part(wire, 8), [b'E', b'W'], out);
    let altitude = part(wire, 12);
    if altitude < DEPTH {
        out.push(b'-');
    }
    metres(altitude.abs_diff(DEPTH).into(), out);
    for size in &wire[1..4] {
        out.push(b' ');
        metres(u64::from(size >> 4) * 10_u64.pow(u32::from(size & 15)), out);
    }
    Some(())
}

fn angle(value: u32, [positive, negative]: [u8; 2], out: &mut Vec<u8>) {
    let thousandths = value.abs_diff(ZERO);
    number(thousandths / DEGREE, out);
    out.push(b' ');
    number(thousandths / 60_000 % 60, out);
    out.push(b' ');
    number(thousandths / 1000 % 60, out);
    out.push(b'.');
    digits(thousandths % 1000, 3, out);
    out.extend_from_slice(&[b' ', if value >= ZERO { positive } else { negative }, b' ']);
}

fn metres(centimetres: u64, out: &mut Vec<u8>) {
    // At most 9 × 10⁹ centimetres.
    number((centimetres / 100) as u32, out);
    out.push(b'.');
    digits((centimetres % 100) as u32, 2, out);
    out.push(b'm');
}

fn digits(value: u32, count: u32, out: &mut Vec<u8>) {
    for place in (0..count).rev() {
        out.push(b'0' + (value / 10_u32.pow(place) % 10) as u8);
    }
}

/// Puts RDATA together from the words of its text (section 3); None where it is none.
///
/// `51 30 12.748 N 0 7 39.611 W 0.00m 1m 10000m 10m`: minutes, seconds and the last three sizes may
/// be left out.
pub(crate) fn read<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> Option<[u8; LEN]> {
    let mut words = words.into_iter().peekable();
    let latitude = read_angle(&mut words, [b"N", b"S"], 90)?;
    let longitude = read_angle(&mut words, [b"E", b"W"], 180)?;
    let altitude = read_centimetres(words.next()?)?;
    let altitude = u32::try_from(altitude + i64::from(DEPTH)).ok()?;
    let mut wire = [0; LEN];
    wire[1..4].copy_from_slice(&[0x12, 0x16, 0x13]);
    for size in &mut wire[1..4] {
        if let Some(word) = words.next() {
            *size = size_byte(read_centimetres(word)?)?;
        }
    }
    wire[4..8].copy_from_slice(&latitude.to_be_bytes());
    wire[8..12].copy_from_slice(&longitude.to_be_bytes());
    wire[12..].copy_from_slice(&altitude.to_be_bytes());
    words.next().is_none().then_some(wire)
}

fn read_angle<'a>(
    words: &mut impl Iterator<Item = &'a [u8]>,
    [positive, negative]: [&[u8]; 2],
    most: u32,
) -> Option<u32> {
    let degrees = decimal(words.next()?, 0)?;
    let mut thousandths = degrees.checked_mul(u64::from(DEGREE))?;
    let mut word = words.next()?;
    for (unit, places) in [(60_000, 0), (1, 3)] {
        if !word.first()?.is_ascii_digit() {
            break;
        }
        let value = decimal(word, places)?;
        if value * unit >= unit.max(1000) * 60 {
            return None;
        }
        thousandths += value * unit;
        word = words.next()?;
    }
    let thousandths = u32::try_from(thousandths).ok().filter(|value| *value <= most * DEGREE)?;
    match word {
        word if word.eq_ignore_ascii_case(positive) => Some(ZERO + thousandths),
        word if word.eq_ignore_ascii_case(negative) => Some(ZERO - thousandths),
        _ => None,
    }
}

/// A number with up to `places` decimals, multiplied by ten for each of them.
fn decimal(text: &[u8], places: usize) -> Option<u64> {
    let (whole, fraction) = match text.iter().position(|octet| *octet == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let plain = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    if whole.is_empty()
        || whole.len() > 10
        || fraction.len() > places
        || !plain(whole)
        || !plain(fraction)
    {
        return None;
    }
    let padding = std::iter::repeat_n(&b'0', places - fraction.len());
    let digits = whole.iter().chain(fraction).chain(padding);
    Some(digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// A length in metres, `-12.5m`, as centimetres.
fn read_centimetres(text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"m").or(text.strip_suffix(b"M")).unwrap_or(text);
    let (sign, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let value = decimal(digits, 2).filter(|value| *value <= 9_000_000_000)?;
    Some(sign * i64::try_from(value).ok()?)
}

/// One digit and a power of ten. Sizes in between lose their lower digits, as everywhere.
fn size_byte(centimetres: i64) -> Option<u8> {
    let mut value = u64::try_from(centimetres).ok()?;
    let mut power = 0;
    while value > 9 {
        value /= 10;
        power += 1;
    }
    (power <= 9).then_some((value as u8) << 4 | power)
}
