//! Seconds, with or without units.

/// Reads `3600`, `1h` or `1w2d3h4m5s`, in any case and order of units, as named and others do; None for
/// anything else and for what does not fit 32 bits.
#[inline]
pub(crate) fn period(text: &[u8]) -> Option<u32> {
    let (mut total, mut number, mut digits) = (0_u64, 0_u64, 0);
    let mut units = 0;
    for &octet in text {
        if octet.is_ascii_digit() {
            digits += 1;
            if digits > 10 {
                return None;
            }
            number = number * 10 + u64::from(octet - b'0');
            continue;
        }
        let unit = match octet | 0x20 {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if digits == 0 {
            return None;
        }
        total += number * unit;
        (number, digits) = (0, 0);
        units += 1;
        // Each adds less than 2⁵⁴.
        if units > 100 {
            return None;
        }
    }
    match (units, digits) {
        (0, 0) => None,
        (0, _) => u32::try_from(number).ok(),
        // A number without a unit behind others has no meaning.
        (_, 0) => u32::try_from(total).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::period;

    #[test]
    fn units_add_up_in_any_order() {
        let cases = [
            ("0", Some(0)),
            ("3600", Some(3600)),
            ("1h30m", Some(5400)),
            ("30M1H", Some(5400)),
            ("1w1d1h1m1s", Some(694_861)),
            ("4294967295", Some(u32::MAX)),
            ("4294967296", None),
            ("99999999999", None),
            ("8000w", None),
            ("1h30", None),
            ("h", None),
            ("", None),
            ("1y", None),
            ("-1", None),
        ];
        for (text, seconds) in cases {
            assert_eq!(period(text.as_bytes()), seconds, "{text}");
        }
    }
}
