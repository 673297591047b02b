//! Points in time as OpenSSH writes them down: `YYYYMMDD[HHMM[SS]][Z]`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in time: whole seconds since 1970-01-01 00:00 UTC.
///
/// It is shown as OpenSSH's tools take it, always in UTC.
///
/// ```
/// use keygen_helper::Timestamp;
///
/// assert_eq!(Timestamp(1_700_000_000).to_string(), "20231114221320Z");
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.0 / 86400);
        let (hour, minute, second) = (self.0 / 3600 % 24, self.0 / 60 % 60, self.0 % 60);
        write!(f, "{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
    }
}

/// A point in time out of an option's value. Without `Z` or `UTC` it is the server's local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallTime {
    /// Seconds from 1970-01-01 00:00 on the clock that is meant.
    seconds: i64,
    /// Whether that clock shows UTC.
    utc: bool,
}

impl WallTime {
    /// Reads what sshd reads (`parse_absolute_time`, `strptime`): `YYYYMMDD`, `YYYYMMDDHHMM` or
    /// `YYYYMMDDHHMMSS`, then nothing, `Z` or `UTC`, in any case. A day that a month does not have
    /// is counted on into the next month. Times at or before 1970-01-01 00:00 UTC are refused.
    pub fn parse(text: &[u8]) -> Option<WallTime> {
        let (digits, utc) = match text {
            [digits @ .., b'z' | b'Z'] if !digits.is_empty() => (digits, true),
            [digits @ .., b'u' | b'U', b't' | b'T', b'c' | b'C'] if !digits.is_empty() => {
                (digits, true)
            }
            digits => (digits, false),
        };
        if !matches!(digits.len(), 8 | 12 | 14) {
            return None;
        }
        let mut rest = digits;
        let mut field = |len: usize, range: std::ops::RangeInclusive<i64>| {
            if rest.is_empty() {
                return Some(0);
            }
            let (field, after) = rest.split_at(len);
            rest = after;
            number(field).filter(|value| range.contains(value))
        };
        let (year, month, day) = (field(4, 0..=9999)?, field(2, 1..=12)?, field(2, 1..=31)?);
        let (hour, minute, second) = (field(2, 0..=23)?, field(2, 0..=59)?, field(2, 0..=61)?);
        let days = days_from_civil(year, month) + day - 1;
        let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
        // sshd takes no time before 1970 and reads 0 as "none"; for a local time that is so
        // wherever its clock may be.
        (seconds > 0).then_some(WallTime { seconds, utc })
    }

    /// The point in time, where local clocks are `offset` seconds ahead of UTC.
    pub fn at_offset(self, offset: i32) -> Timestamp {
        let ahead = if self.utc { 0 } else { i64::from(offset) };
        Timestamp(u64::try_from(self.seconds - ahead).unwrap_or(0))
    }

    /// Whether this names its time in UTC rather than in the server's own zone.
    pub fn is_utc(self) -> bool {
        self.utc
    }
}

impl From<Timestamp> for WallTime {
    fn from(time: Timestamp) -> WallTime {
        WallTime { seconds: i64::try_from(time.0).unwrap_or(i64::MAX), utc: true }
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = Timestamp(self.seconds.unsigned_abs()).to_string();
        f.write_str(if self.utc { &shown } else { shown.trim_end_matches('Z') })
    }
}

/// A field of fixed width as `strptime` reads it: blanks in front are let pass.
fn number(field: &[u8]) -> Option<i64> {
    let digits = field.trim_ascii_start();
    // Only the blank itself, not the other kinds of white space.
    let blanks = field[..field.len() - digits.len()].iter().all(|&byte| byte == b' ');
    let plain = blanks && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

/// Days from 1970-01-01 to the first of a month of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64) -> i64 {
    // Years that begin in March put the leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse: year, month and day of a number of days after 1970-01-01.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = (year_of_era + era * 400, if month < 10 { month + 3 } else { month - 9 });
    (year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Option<u64> {
        WallTime::parse(text.as_bytes()).map(|time| time.at_offset(0).0)
    }

    #[test]
    fn times_are_read_as_sshd_reads_them() {
        assert_eq!(utc("20231114221320Z"), Some(1_700_000_000));
        assert_eq!(utc("202311142213utc"), Some(1_699_999_980));
        assert_eq!(utc("20240229"), utc("202402290000z"));
        // A month's missing days are the next month's first.
        assert_eq!(utc("20260231"), utc("20260303"));
        assert_eq!(utc("2026 1 2"), utc("20260102"));
        for bad in [
            "",
            "Z",
            "UTC",
            "2026010",
            "20261301",
            "20260100",
            "19700101Z",
            "2026010203 ",
            "202601-1",
        ] {
            assert_eq!(utc(bad), None, "{bad}");
        }
    }

    #[test]
    fn local_time_is_shifted_and_utc_is_not() {
        let local = WallTime::parse(b"202311142213").unwrap();
        assert_eq!(local.at_offset(3600).0 + 3600, local.at_offset(0).0);
        let utc = WallTime::parse(b"202311142213Z").unwrap();
        assert_eq!(utc.at_offset(3600), utc.at_offset(0));
    }

    #[test]
    fn printed_times_are_read_back() {
        for seconds in (1..10_000_000_000).step_by(86_400 * 13 + 7777) {
            let shown = Timestamp(seconds).to_string();
            assert_eq!(utc(&shown), Some(seconds), "{shown}");
        }
    }
}
