//! The fields that RDATA consists of, and the ways that their wire form can be walked.

use super::{apl, gateway, loc, svcb, wks};
use crate::name::{MAX_NAME, NameError, copy_from_message, uncompressed_len};

/// One field of RDATA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    U8,
    U16,
    U32,
    /// Seconds; in text also with units, `1h30m`.
    Period,
    /// A point in time as DNSSEC writes it, `20261122183000` (RFC 4034 section 3.2).
    Time,
    /// The type that a signature covers.
    TypeCode,
    /// A DNSSEC algorithm, as a number or mnemonic.
    Algorithm,
    /// A kind of certificate (RFC 4398 section 2.1), as a number or mnemonic.
    CertType,
    Ipv4,
    Ipv6,
    /// A name whose case does not matter in canonical form (RFC 4034 section 6.2).
    Name,
    /// A name of a type that came after RFC 3597, whose case is kept.
    NameAsIs,
    /// One string of at most 255 octets.
    CharString,
    /// One string or more, up to the end.
    Strings,
    OneOrTwoStrings,
    /// The tag of a CAA record: letters and digits.
    Tag,
    /// A string up to the end, without a length.
    RestString,
    /// Octets up to the end, in hexadecimal.
    Hex,
    /// Octets up to the end, in Base64.
    Base64,
    /// A length and octets in hexadecimal; `-` for none.
    Salt,
    /// A length and octets in Base32 with the extended alphabet.
    Hash,
    /// A bitmap of types up to the end (RFC 4034 section 4.1.2).
    Types,
    Eui48,
    Eui64,
    /// Octets up to the end that mean nothing to us.
    Opaque,
    /// Four groups of 16 bits, `2001:db8:0:1` (RFC 6742).
    Groups,
    /// `0x` and hexadecimal digits (RFC 1706).
    Nsap,
    // Whole RDATA with rules of its own.
    Location,
    Prefixes,
    SvcParams,
    IpsecKey,
    AmtRelay,
    HostIdentity,
    Services,
}

/// Why octets are not RDATA of their type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The RDATA ends within a field.
    #[error("the RDATA ends too early")]
    CutOff,
    /// There is something after the last field.
    #[error("{0} octets follow the last field of the RDATA")]
    LeftOver(usize),
    /// A name in it is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A field has a value that its type does not allow.
    #[error("{0}")]
    Value(&'static str),
    /// More than 65,535 octets.
    #[error("{0} octets of RDATA are more than the 65,535 that fit a record")]
    TooLong(usize),
}

/// Where fields are taken from.
pub(crate) struct Source<'a> {
    /// The message that compression pointers refer to; the RDATA alone where there are none.
    message: &'a [u8],
    at: usize,
    end: usize,
    compressed: bool,
}

impl<'a> Source<'a> {
    pub(crate) fn rdata(octets: &'a [u8]) -> Source<'a> {
        Source { message: octets, at: 0, end: octets.len(), compressed: false }
    }

    pub(crate) fn message(message: &'a [u8], at: usize, end: usize) -> Source<'a> {
        Source { message, at, end, compressed: true }
    }

    fn rest(&self) -> &'a [u8] {
        &self.message[self.at..self.end]
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let taken = self.rest().get(..len).ok_or(WireError::CutOff)?;
        self.at += len;
        Ok(taken)
    }

    fn take_string(&mut self) -> Result<&'a [u8], WireError> {
        let len = *self.rest().first().ok_or(WireError::CutOff)?;
        self.take(1 + usize::from(len))
    }

    fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest();
        self.at = self.end;
        rest
    }
}

/// Checks RDATA field by field and copies it, with its names uncompressed.
pub(crate) fn copy(
    fields: &[Field],
    source: &mut Source<'_>,
    out: &mut Vec<u8>,
) -> Result<(), WireError> {
    for field in fields {
        match field {
            Field::Name | Field::NameAsIs => copy_name(source, out)?,
            Field::CharString => out.extend_from_slice(source.take_string()?),
            Field::Tag => {
                let tag = source.take_string()?;
                check_tag(&tag[1..])?;
                out.extend_from_slice(tag);
            }
            Field::Salt | Field::Hash => out.extend_from_slice(source.take_string()?),
            field => match field.fixed_len() {
                Some(len) => out.extend_from_slice(source.take(len)?),
                None => {
                    let rest = source.take_rest();
                    check_rest(*field, rest)?;
                    out.extend_from_slice(rest);
                }
            },
        }
    }
    match source.rest().len() {
        0 => Ok(()),
        more => Err(WireError::LeftOver(more)),
    }
}

fn copy_name(source: &mut Source<'_>, out: &mut Vec<u8>) -> Result<(), WireError> {
    if source.compressed {
        let mut wire = [0; MAX_NAME];
        let len = copy_from_message(source.message, &mut source.at, &mut wire)?;
        if source.at > source.end {
            return Err(WireError::CutOff);
        }
        out.extend_from_slice(&wire[..len]);
    } else {
        let len = uncompressed_len(source.rest())?;
        out.extend_from_slice(source.take(len)?);
    }
    Ok(())
}

impl Field {
    /// How many octets the field always has.
    pub(crate) fn fixed_len(self) -> Option<usize> {
        Some(match self {
            Field::U8 | Field::Algorithm => 1,
            Field::U16 | Field::TypeCode | Field::CertType => 2,
            Field::U32 | Field::Period | Field::Time | Field::Ipv4 => 4,
            Field::Eui48 => 6,
            Field::Eui64 | Field::Groups => 8,
            Field::Ipv6 => 16,
            _ => return None,
        })
    }
}

/// What a CAA tag consists of (RFC 8659 section 4.1).
pub(crate) fn check_tag(tag: &[u8]) -> Result<(), WireError> {
    if tag.is_empty() || !tag.iter().all(u8::is_ascii_alphanumeric) {
        return Err(WireError::Value("a CAA tag consists of one or more letters and digits"));
    }
    Ok(())
}

/// Checks a field that takes everything up to the end.
fn check_rest(field: Field, rest: &[u8]) -> Result<(), WireError> {
    match field {
        Field::Strings | Field::OneOrTwoStrings => {
            let mut strings = Source::rdata(rest);
            let mut count = 0;
            while !strings.rest().is_empty() {
                strings.take_string()?;
                count += 1;
            }
            match (count, field) {
                (0, _) => Err(WireError::Value("there must be at least one string")),
                (3.., Field::OneOrTwoStrings) => {
                    Err(WireError::Value("there must be one string or two"))
                }
                _ => Ok(()),
            }
        }
        Field::Types => check_bitmap(rest),
        Field::Location => loc::check(rest),
        Field::Prefixes => apl::check(rest),
        Field::SvcParams => svcb::check(rest),
        Field::IpsecKey => gateway::check_ipseckey(rest),
        Field::AmtRelay => gateway::check_amtrelay(rest),
        Field::HostIdentity => gateway::check_hip(rest),
        Field::Services => wks::check(rest),
        // Any octets; an empty hexadecimal or Base64 field has no text, and prints as RFC 3597 has it.
        _ => Ok(()),
    }
}

/// Blocks in ascending order, each of 1 to 32 octets with a last one that is not zero.
fn check_bitmap(bitmap: &[u8]) -> Result<(), WireError> {
    let bad = WireError::Value("the bitmap of types is not as RFC 4034 section 4.1.2 wants it");
    let (mut rest, mut above) = (bitmap, None);
    while let [window, len @ 1..=32, more @ ..] = rest {
        let (bits, after) = more.split_at_checked((*len).into()).ok_or(WireError::CutOff)?;
        if above.is_some_and(|above| *window <= above) || bits.ends_with(&[0]) {
            return Err(bad);
        }
        above = Some(*window);
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(bad) }
}

/// The types in a bitmap that was checked.
pub(crate) fn types_in(bitmap: &[u8]) -> impl Iterator<Item = u16> {
    let mut rest = bitmap;
    let blocks = std::iter::from_fn(move || {
        let [window, len, more @ ..] = rest else { return None };
        let (bits, after) = more.split_at_checked((*len).into())?;
        rest = after;
        Some((*window, bits))
    });
    blocks.flat_map(|(window, bits)| {
        (0..8 * bits.len() as u16).filter_map(move |bit| {
            let set = bits[usize::from(bit / 8)] & (0x80 >> (bit % 8)) != 0;
            set.then_some(u16::from(window) << 8 | bit)
        })
    })
}

/// Whether a type has names whose case does not matter, so that its octets are not its canonical form.
pub(crate) fn has_folded_names(fields: &[Field]) -> bool {
    fields.contains(&Field::Name)
}

/// Folds the names of checked, uncompressed RDATA to lower case (RFC 4034 section 6.2).
pub(crate) fn fold_names(fields: &[Field], wire: &mut [u8]) {
    let mut at = 0;
    for field in fields {
        match field {
            Field::Name => {
                let Ok(len) = uncompressed_len(&wire[at..]) else { return };
                wire[at..at + len].make_ascii_lowercase();
                at += len;
            }
            Field::CharString => at += 1 + usize::from(wire[at]),
            field => match field.fixed_len() {
                Some(len) => at += len,
                // No type has a name to be folded behind a field of any other kind.
                None => return,
            },
        }
    }
}
