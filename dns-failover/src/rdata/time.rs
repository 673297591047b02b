//! Points in time as signatures write them: `YYYYMMDDHHmmSS` in UTC (RFC 4034 section 3.2).

const DAY: u32 = 86_400;

/// Appends a number of seconds since 1970, below 2³², as fourteen digits.
pub(crate) fn write(seconds: u32, out: &mut Vec<u8>) {
    let (mut days, time) = (seconds / DAY, seconds % DAY);
    let mut year = 1970;
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_in_month(year, month) {
        days -= days_in_month(year, month);
        month += 1;
    }
    let parts = [(year, 4), (month, 2), (days + 1, 2)];
    let clock = [(time / 3600, 2), (time / 60 % 60, 2), (time % 60, 2)];
    for (value, digits) in parts.into_iter().chain(clock) {
        for place in (0..digits).rev() {
            out.push(b'0' + (value / 10_u32.pow(place) % 10) as u8);
        }
    }
}

/// Reads fourteen digits, or the number of seconds itself.
pub(crate) fn read(text: &[u8]) -> Option<u32> {
    let number = |digits: &[u8]| {
        let plain =
            !digits.is_empty() && digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit);
        plain.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    };
    if text.len() != 14 {
        return u32::try_from(number(text)?).ok();
    }
    let part = |from: usize, to: usize| Some(number(&text[from..to])? as u32);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    let fits = (1970..=2106).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !fits {
        return None;
    }
    let years: u32 = (1970..year).map(days_in_year).sum();
    let months: u32 = (1..month).map(|month| days_in_month(year, month)).sum();
    let seconds = u64::from(years + months + day - 1) * u64::from(DAY)
        + u64::from(hour * 3600 + minute * 60 + second);
    u32::try_from(seconds).ok()
}

fn days_in_year(year: u32) -> u32 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        assert_eq!(read(b"19700101000000"), Some(0));
        assert_eq!(read(b"20040509183619"), Some(1_084_127_779));
        assert_eq!(read(b"21060207062815"), Some(u32::MAX));
        for bad in [
            "21060207062816",
            "20230229000000",
            "20231301000000",
            "20230101240000",
            "",
            "2023",
            "x",
        ] {
            assert_eq!(read(bad.as_bytes()), bad.parse().ok(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_second_comes_back(seconds: u32) {
            let mut out = Vec::new();
            write(seconds, &mut out);
            prop_assert_eq!(read(&out), Some(seconds));
        }
    }
}
