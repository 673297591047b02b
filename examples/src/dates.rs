//! Dates and spans of time on the command line.

use std::str::FromStr;

use keygen_helper::{Timestamp, WallTime};

/// A date in UTC: `YYYYMMDD[HHMM[SS]][Z]`, or `YYYY-MM-DD`.
///
/// ```
/// use examples::dates::Date;
///
/// let date: Date = "2031-02-03".parse()?;
/// assert_eq!(date.0.to_string(), "20310203000000Z");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(pub Timestamp);

impl FromStr for Date {
    type Err = String;

    fn from_str(text: &str) -> Result<Date, String> {
        let digits = match text.as_bytes() {
            [_, _, _, _, b'-', _, _, b'-', _, _] => text.replace('-', ""),
            _ => text.to_owned(),
        };
        let time = WallTime::parse(digits.as_bytes());
        let time = time
            .map(|time| time.at_offset(0))
            .ok_or_else(|| "a date is YYYY-MM-DD or YYYYMMDD[HHMM[SS]], in UTC".to_owned())?;
        // sshd counts on into the next month, which nobody who types such a date has in mind.
        match digits.get(..8).is_some_and(|day| time.to_string().starts_with(day)) {
            true => Ok(Date(time)),
            false => Err("that month has no such day".to_owned()),
        }
    }
}

/// A span of time: a number and `s`, `m`, `h`, `d` or `w`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub u64);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let seconds = || {
            let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
            let unit = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                "d" => 86_400,
                "w" => 604_800,
                _ => return None,
            };
            number.parse::<u64>().ok()?.checked_mul(unit).filter(|seconds| *seconds > 0)
        };
        let wrong = || "a span is a number and s, m, h, d or w, such as 52w".to_owned();
        seconds().map(Span).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        assert_eq!("52w".parse(), Ok(Span(31_449_600)));
        assert_eq!("1s".parse(), Ok(Span(1)));
        for bad in ["", "w", "1", "-1d", "0d", "1y", "99999999999999999999d", "1ä"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_are_in_utc_with_or_without_saying_so() {
        let date = |text: &str| text.parse::<Date>().map(|Date(time)| time.0).ok();
        assert_eq!(date("20231114221320"), Some(1_700_000_000));
        assert_eq!(date("20231114221320Z"), Some(1_700_000_000));
        assert_eq!(date("2023-11-14"), date("20231114"));
        for bad in ["yesterday", "2031-02-31", "20310229", "203104310000Z", "2031 2 1"] {
            assert_eq!(date(bad), None, "{bad}");
        }
        assert!(date("2032-02-29").is_some());
    }
}
