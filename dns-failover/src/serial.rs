//! Serial numbers of zones: arithmetic (RFC 1982) and how the next one is chosen.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Half of all serials: the distance at which neither of two is newer.
const HALF: u32 = 1 << 31;

/// The version of a zone (RFC 1982). Serials are compared on a circle: `a < b` when `b` lies less than
/// 2³¹ steps ahead, and two that are exactly 2³¹ apart have no order.
///
/// ```
/// use dns_failover::Serial;
///
/// assert!(Serial::new(u32::MAX) < Serial::new(1));
/// assert_eq!(Serial::new(0).partial_cmp(&Serial::new(1 << 31)), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Serial(u32);

impl Serial {
    /// A serial of this number.
    pub const fn new(number: u32) -> Serial {
        Serial(number)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The serial `steps` further; None from 2³¹ steps on, which would be seen as going back
    /// (RFC 1982 section 3.1).
    pub const fn checked_add(self, steps: u32) -> Option<Serial> {
        if steps < HALF { Some(Serial(self.0.wrapping_add(steps))) } else { None }
    }

    /// The next serial after this one; 0, which some programs take for "none", is passed over.
    #[must_use]
    pub const fn next(self) -> Serial {
        match self.0.wrapping_add(1) {
            0 => Serial(1),
            number => Serial(number),
        }
    }

    /// Through which serials a zone gets from this one to `target` when secondaries must see each
    /// step as newer: one hop, or two where `target` lies behind (RFC 1982 section 3.1, RFC 2182
    /// section 7). No hop where they are the same already.
    pub fn hops_to(self, target: Serial) -> Vec<Serial> {
        match self.partial_cmp(&target) {
            Some(Ordering::Equal) => Vec::new(),
            Some(Ordering::Less) => vec![target],
            _ => vec![Serial(self.0.wrapping_add(HALF - 1)), target],
        }
    }
}

impl PartialOrd for Serial {
    fn partial_cmp(&self, other: &Serial) -> Option<Ordering> {
        match other.0.wrapping_sub(self.0) {
            0 => Some(Ordering::Equal),
            HALF => None,
            ahead if ahead < HALF => Some(Ordering::Less),
            _ => Some(Ordering::Greater),
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the next serial is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SerialPolicy {
    /// One more than before.
    #[default]
    Increment,
    /// The hint, which is seconds since 1970, where that is newer.
    UnixTime,
    /// The hint, which is `YYYYMMDD00`, where that is newer (RFC 1912 section 2.2).
    Date,
    /// The first newer one that leaves `remainder` when divided by `modulus`, so that two primaries
    /// never give out the same serial (Knot's `serial-modulo`).
    Modulo {
        /// Which of the primaries, below `modulus`.
        remainder: u8,
        /// How many primaries.
        modulus: u8,
    },
}

impl SerialPolicy {
    /// The first serial after `previous` that secondaries will accept and the policy allows. `hint`
    /// matters where the policy says so; it wins when it is newer, otherwise the next one is taken.
    /// Never 0, and always newer than `previous`.
    pub fn next(self, previous: Serial, hint: Serial) -> Serial {
        match self {
            SerialPolicy::UnixTime | SerialPolicy::Date if hint > previous && hint.0 != 0 => hint,
            SerialPolicy::Modulo { remainder, modulus } if modulus > 1 => {
                let (remainder, modulus) = (u32::from(remainder % modulus), u32::from(modulus));
                let mut next = previous.next();
                // Wrapping at 2³² shifts the remainders where the modulus is no power of two; then
                // a second turn finds one.
                for _ in 0..2 * modulus {
                    if next.0 % modulus == remainder {
                        break;
                    }
                    next = next.next();
                }
                next
            }
            _ => previous.next(),
        }
    }

    /// `YYYYMMDD00` for a day, the hint of [`SerialPolicy::Date`].
    pub fn date_hint(year: u16, month: u8, day: u8) -> Serial {
        let date = u32::from(year) * 10_000 + u32::from(month) * 100 + u32::from(day);
        Serial(date.wrapping_mul(100))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn serials_wrap_and_pass_over_zero() {
        assert_eq!(Serial::new(u32::MAX).next(), Serial::new(1));
        assert!(Serial::new(u32::MAX) < Serial::new(1));
        assert_eq!(Serial::new(5).checked_add(HALF), None);
    }

    #[test]
    fn two_primaries_never_meet() {
        for previous in [0, 1, 41, u32::MAX - 1, u32::MAX] {
            let of = |remainder| {
                let policy = SerialPolicy::Modulo { remainder, modulus: 2 };
                policy.next(Serial::new(previous), Serial::default())
            };
            assert_eq!(of(0).get() % 2, 0);
            assert_eq!(of(1).get() % 2, 1);
        }
    }

    fn policies() -> impl Strategy<Value = SerialPolicy> {
        prop_oneof![
            Just(SerialPolicy::Increment),
            Just(SerialPolicy::UnixTime),
            Just(SerialPolicy::Date),
            (any::<u8>(), any::<u8>())
                .prop_map(|(remainder, modulus)| SerialPolicy::Modulo { remainder, modulus }),
        ]
    }

    proptest! {
        #[test]
        fn every_policy_only_grows(policy in policies(), previous: u32, hint: u32) {
            let next = policy.next(Serial::new(previous), Serial::new(hint));
            prop_assert!(next > Serial::new(previous));
            prop_assert_ne!(next.get(), 0);
        }

        #[test]
        fn a_reset_takes_steps_that_are_each_newer(from: u32, to: u32) {
            let mut at = Serial::new(from);
            for hop in at.hops_to(Serial::new(to)) {
                prop_assert!(hop > at);
                at = hop;
            }
            prop_assert_eq!(at, Serial::new(to));
        }
    }
}
