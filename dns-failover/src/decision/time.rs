//! Instants and spans, in milliseconds, as plain numbers.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An instant in UTC: milliseconds since 1970, negative before it. Printed as RFC 3339.
///
/// ```
/// use dns_failover::decision::Timestamp;
///
/// let time: Timestamp = "2026-11-22T19:00:00Z".parse()?;
/// assert_eq!(time.as_millis(), 1_795_374_000_000);
/// assert_eq!(Timestamp::from_millis(1).to_string(), "1970-01-01T00:00:00.001Z");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// A span of milliseconds. Read and printed as `90s`, `10m`, `2h`, `1d`, `500ms`; a number in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(u64);

/// Why a text is no instant or span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadTime {
    /// Not an instant.
    #[error("an instant is written YYYY-MM-DDTHH:MM[:SS[.mmm]]Z, in UTC (RFC 3339)")]
    Instant,
    /// Not a span.
    #[error("a span of time is a number and ms, s, m, h or d")]
    Span,
}

const DAY: i64 = 86_400_000;

impl Timestamp {
    /// An instant so many milliseconds after 1970.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; nothing when it is before.
    pub const fn since(self, earlier: Timestamp) -> Millis {
        let span = self.0.saturating_sub(earlier.0);
        Millis(if span > 0 { span.unsigned_abs() } else { 0 })
    }

    /// The day it lies in, counted from 1970-01-01.
    pub const fn day(self) -> i64 {
        self.0.div_euclid(DAY)
    }

    /// The first instant of a day counted from 1970-01-01.
    pub const fn of_day(day: i64) -> Timestamp {
        Timestamp(day.saturating_mul(DAY))
    }

    /// The date alone: `2026-11-22`.
    pub fn date(self) -> String {
        let (year, month, day) = civil(self.day());
        format!("{year:04}-{month:02}-{day:02}")
    }
}

impl Add<Millis> for Timestamp {
    type Output = Timestamp;

    fn add(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_add_unsigned(span.0))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Timestamp;

    fn sub(self, span: Millis) -> Timestamp {
        Timestamp(self.0.saturating_sub_unsigned(span.0))
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Gregorian, also before 1582).
fn civil(day: i64) -> (i64, i64, i64) {
    // Years that begin in March have their leap day last, which makes months regular.
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let date = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

fn day_of(year: i64, month: i64, date: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + date - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.rem_euclid(DAY);
        let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}", self.date())?;
        match of_day % 1000 {
            0 => f.write_str("Z"),
            millis => write!(f, ".{millis:03}Z"),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Timestamp, BadTime> {
        instant(text).ok_or(BadTime::Instant)
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    let number = |text: &str, digits: usize| {
        let right = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        right.then(|| text.parse::<i64>().ok()).flatten()
    };
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let (date, time) = text.split_once(['T', ' '])?;
    let mut date = date.split('-');
    let year = number(date.next()?, 4)?;
    let month = number(date.next()?, 2).filter(|month| (1..=12).contains(month))?;
    let day = number(date.next()?, 2)?;
    let days = day_of(year, month, day);
    if date.next().is_some() || civil(days) != (year, month, day) {
        return None;
    }
    let mut time = time.split(':');
    let hour = number(time.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = number(time.next()?, 2).filter(|minute| *minute < 60)?;
    let (second, millis) = match time.next() {
        None => (0, 0),
        Some(second) => match second.split_once('.') {
            None => (number(second, 2)?, 0),
            Some((second, fraction)) => (number(second, 2)?, number(fraction, 3)?),
        },
    };
    if time.next().is_some() || second >= 60 {
        return None;
    }
    Some(Timestamp(days * DAY + ((hour * 60 + minute) * 60 + second) * 1000 + millis))
}

impl Millis {
    /// No time at all.
    pub const ZERO: Millis = Millis(0);

    /// So many milliseconds.
    pub const fn new(millis: u64) -> Millis {
        Millis(millis)
    }

    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Millis {
        Millis(seconds.saturating_mul(1000))
    }

    /// So many minutes.
    pub const fn from_mins(minutes: u64) -> Millis {
        Millis(minutes.saturating_mul(60_000))
    }

    /// As a number of milliseconds.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// As the standard library has it.
    pub const fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0s"),
            span if span % 86_400_000 == 0 => write!(f, "{}d", span / 86_400_000),
            span if span % 3_600_000 == 0 => write!(f, "{}h", span / 3_600_000),
            span if span % 60_000 == 0 => write!(f, "{}m", span / 60_000),
            span if span % 1000 == 0 => write!(f, "{}s", span / 1000),
            span => write!(f, "{span}ms"),
        }
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Millis {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Millis, BadTime> {
        let digits = text.find(|char: char| !char.is_ascii_digit()).ok_or(BadTime::Span)?;
        let (number, unit) = text.split_at(digits);
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(BadTime::Span),
        };
        let number: u64 = number.parse().map_err(|_| BadTime::Span)?;
        number.checked_mul(unit).map(Millis).ok_or(BadTime::Span)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_instant_is_read_as_it_was_printed(millis in -62_135_596_800_000_i64..253_402_300_800_000) {
            let time = Timestamp(millis);
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }

        #[test]
        fn a_span_is_read_as_it_was_printed(span in 0..u64::from(u32::MAX)) {
            prop_assert_eq!(Millis(span).to_string().parse(), Ok(Millis(span)));
        }
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in
            ["2026-02-29T00:00Z", "2026-13-01T00:00Z", "2026-01-01T24:00Z", "2026-01-01", ""]
        {
            assert_eq!(text.parse::<Timestamp>(), Err(BadTime::Instant), "{text}");
        }
        assert_eq!("2024-02-29T12:30Z".parse::<Timestamp>().unwrap().date(), "2024-02-29");
    }
}
