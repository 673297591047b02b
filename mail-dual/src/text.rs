//! Text from outside, made fit for one line of a log, a report or a reply.

/// The most bytes of another's words that we repeat.
pub(crate) const MOST_WORDS: usize = 1000;

/// `text` on one line of printable characters, at most [`MOST_WORDS`] bytes: control characters,
/// characters that reorder text, and what is not UTF-8 become `?`.
pub(crate) fn printable(text: &[u8]) -> String {
    printable_within(text, MOST_WORDS)
}

/// [`printable`] with another limit.
pub(crate) fn printable_within(text: &[u8], most: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(most));
    let capped = &text[..text.len().min(most.saturating_mul(4))];
    for character in String::from_utf8_lossy(capped).chars() {
        let character = match character {
            '\t' => ' ',
            c if acts_on_a_terminal(c) || c == char::REPLACEMENT_CHARACTER => '?',
            c => c,
        };
        if shown.len() + character.len_utf8() > most {
            break;
        }
        shown.push(character);
    }
    shown
}

/// Whether a terminal would do something else with this character than show it.
pub(crate) fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inverse of [`to_hex`] for a known length; None for any other length or digit.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_stays_on_one_line_and_is_short() {
        assert_eq!(printable(b"a\r\nb\tc\x1b[31m\xff\xe2\x80\xae"), "a??b c?[31m??");
        assert_eq!(printable(&[b'x'; 5000]).len(), MOST_WORDS);
        assert_eq!(printable_within("äää".as_bytes(), 5), "ää");
    }

    #[test]
    fn hexadecimal_comes_back() {
        assert_eq!(from_hex::<3>(&to_hex(&[0, 171, 255])), Some([0, 171, 255]));
        assert_eq!(from_hex::<2>("0g00"), None);
        assert_eq!(from_hex::<2>("000"), None);
    }
}
