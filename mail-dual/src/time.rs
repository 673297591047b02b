//! Points in time as data. The core is handed them; only the edges read a clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the start of 1970, UTC.
///
/// ```
/// use mail_dual::Timestamp;
/// assert_eq!(Timestamp::from_millis(0).to_rfc5322(), "Thu, 1 Jan 1970 00:00:00 +0000");
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Timestamp {
        Timestamp(millis)
    }

    /// Milliseconds since 1970.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This time and `duration` more; the end of time when that is too much.
    pub fn saturating_add(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is before, as after a clock was set back.
    pub fn saturating_since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The date-time of a header field, in UTC (RFC 5322 §3.3).
    pub fn to_rfc5322(self) -> String {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day, seconds) = self.civil();
        format!(
            "{}, {day} {} {year:04} {:02}:{:02}:{:02} +0000",
            DAYS[(self.0 / 86_400_000 % 7) as usize],
            MONTHS[month as usize - 1],
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
        )
    }

    /// Year, month, day and the second of the day.
    fn civil(self) -> (u64, u64, u64, u64) {
        // The year starts on 1 March here, so that the leap day is its last; 400 years are
        // 146,097 days, and 719,468 days lie between 1 March of year 0 and 1970.
        let days = self.0 / 86_400_000 + 719_468;
        let era_day = days % 146_097;
        let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
        let year_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
        let shifted = (5 * year_day + 2) / 153;
        let day = year_day - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = days / 146_097 * 400 + era_year + u64::from(month <= 2);
        (year, month, day, self.0 / 1000 % 86_400)
    }
}

/// `2026-11-22T18:30:00Z` (RFC 3339).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, seconds) = self.civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date, stamp) in [
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00Z"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 +0000", "2024-02-29T23:59:59Z"),
            (1_795_372_200, "Sun, 22 Nov 2026 18:30:00 +0000", "2026-11-22T18:30:00Z"),
            (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00Z"),
        ] {
            let time = Timestamp::from_millis(seconds * 1000);
            assert_eq!(time.to_rfc5322(), date);
            assert_eq!(time.to_string(), stamp);
        }
        let end = Timestamp::from_millis(u64::MAX);
        assert!(end.to_rfc5322().ends_with("+0000"));
        assert_eq!(end.saturating_add(Duration::MAX), end);
    }
}
