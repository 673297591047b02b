//! What a spooled message is called, on both hosts and in its trace field.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The name of a spooled message: a ULID, which sorts by the time of acceptance.
///
/// It stands in the `id` of the one `Received` field that is prepended, so both copies of a
/// message carry it; a peer relay keeps the id that the first host gave.
///
/// ```
/// use mail_dual::{SpoolId, Timestamp};
///
/// let id = SpoolId::new(Timestamp::from_millis(1_795_392_000_000), 42);
/// assert_eq!(id.to_string(), "01M82V7M00000000000000001A");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert_eq!(id.time(), Timestamp::from_millis(1_795_392_000_000));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpoolId(u128);

/// Crockford's base 32, which has no I, L, O and U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// How many digits 128 bits take.
const LENGTH: usize = 26;

impl SpoolId {
    /// An id of `time`, told from others of the same millisecond by the low 80 bits of `random`.
    pub const fn new(time: Timestamp, random: u128) -> SpoolId {
        let time = (time.as_millis() as u128) << 80;
        SpoolId(time | random & ((1 << 80) - 1))
    }

    /// When it was given.
    pub const fn time(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> 80) as u64)
    }

    /// As 16 octets, most significant first.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From what [`to_bytes`](Self::to_bytes) gave.
    pub const fn from_bytes(bytes: [u8; 16]) -> SpoolId {
        SpoolId(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; LENGTH];
        for (index, digit) in text.iter_mut().enumerate() {
            let shift = 5 * (LENGTH - 1 - index);
            *digit = DIGITS[(self.0 >> shift) as usize & 31];
        }
        f.pad(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for SpoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpoolId({self})")
    }
}

/// A text that names no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message's id is 26 digits and capital letters, as `queue list` shows them")]
pub struct BadSpoolId;

/// Upper and lower case are the same.
impl FromStr for SpoolId {
    type Err = BadSpoolId;

    fn from_str(text: &str) -> Result<SpoolId, BadSpoolId> {
        if text.len() != LENGTH || !matches!(text.as_bytes()[0], b'0'..=b'7') {
            return Err(BadSpoolId);
        }
        let mut value = 0;
        for byte in text.bytes() {
            let byte = byte.to_ascii_uppercase();
            let digit = DIGITS.iter().position(|&digit| digit == byte).ok_or(BadSpoolId)?;
            value = value << 5 | digit as u128;
        }
        Ok(SpoolId(value))
    }
}

impl Serialize for SpoolId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpoolId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<SpoolId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_gives_the_id_again(value: u128) {
            let id = SpoolId(value);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
            prop_assert_eq!(SpoolId::from_bytes(id.to_bytes()), id);
        }

        #[test]
        fn any_text_is_an_id_or_an_error(text: String) {
            let _: Result<SpoolId, BadSpoolId> = text.parse();
        }
    }

    #[test]
    fn what_is_more_than_128_bits_is_refused() {
        assert_eq!("8ZZZZZZZZZZZZZZZZZZZZZZZZZ".parse::<SpoolId>(), Err(BadSpoolId));
    }
}
