//! Names as text (RFC 1035 section 5.1).

use std::fmt;
use std::str::FromStr;

use super::{Builder, Name, NameError};

impl Name {
    /// Reads a name as zone files write it. A name that does not end with a dot is relative to
    /// `origin`; `@` alone is the origin itself.
    ///
    /// # Errors
    /// [`NameError`] names what is wrong.
    pub fn from_text(text: &[u8], origin: Option<&Name>) -> Result<Name, NameError> {
        match text {
            b"" => return Err(NameError::Empty),
            b"." => return Ok(Name::root()),
            b"@" => return origin.cloned().ok_or(NameError::NoOrigin),
            _ => {}
        }
        let mut builder = Builder::new();
        let mut at = 0;
        while let Some(&octet) = text.get(at) {
            at += 1;
            match octet {
                b'.' => builder.end_label()?,
                b'\\' => {
                    let (octet, len) = unescape(&text[at..]).ok_or(NameError::BadEscape)?;
                    builder.push(octet)?;
                    at += len;
                }
                plain => builder.push(plain)?,
            }
        }
        if builder.at_label_start() {
            return builder.finish();
        }
        builder.end_label()?;
        builder.finish_with(origin.ok_or(NameError::NoOrigin)?)
    }

    /// Appends the name as zone files write it, with its last dot.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        write_wire(self.as_wire(), out);
    }
}

/// Reads what follows a backslash: three digits or any one character. Yields the octet and how many
/// characters it took.
#[inline]
pub(crate) fn unescape(text: &[u8]) -> Option<(u8, usize)> {
    let &first = text.first()?;
    if !first.is_ascii_digit() {
        return Some((first, 1));
    }
    let digits = text.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    Some((u8::try_from(value).ok()?, 3))
}

/// What an octet needs in a label: 0 nothing, 1 a backslash, 2 its number. Knot reads no other character
/// without an escape, named and NSD read them all either way.
const NEEDS: [u8; 256] = {
    let mut needs = [2; 256];
    let mut octet = 0;
    while octet < 128 {
        if (octet as u8).is_ascii_alphanumeric() {
            needs[octet] = 0;
        }
        octet += 1;
    }
    let (plain, special) = (b"-_*/", b".\\\"();@$");
    let mut at = 0;
    while at < plain.len() {
        needs[plain[at] as usize] = 0;
        at += 1;
    }
    let mut at = 0;
    while at < special.len() {
        needs[special[at] as usize] = 1;
        at += 1;
    }
    needs
};

/// Appends the text of an uncompressed name.
pub(crate) fn write_wire(wire: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    loop {
        let len = usize::from(wire[at]);
        if len == 0 {
            break;
        }
        let label = &wire[at + 1..at + 1 + len];
        if label.iter().all(|&octet| NEEDS[usize::from(octet)] == 0) {
            out.extend_from_slice(label);
        } else {
            for &octet in label {
                match NEEDS[usize::from(octet)] {
                    0 => out.push(octet),
                    1 => out.extend_from_slice(&[b'\\', octet]),
                    _ => write_decimal_escape(octet, out),
                }
            }
        }
        out.push(b'.');
        at += 1 + len;
    }
    if at == 0 {
        out.push(b'.');
    }
}

/// Appends `\DDD`.
pub(crate) fn write_decimal_escape(octet: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[b'\\', b'0' + octet / 100, b'0' + octet / 10 % 10, b'0' + octet % 10]);
}

/// A name as configurations write it: absolute, whether its last dot is there or not.
impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        if text == "@" {
            return Err(NameError::NoOrigin);
        }
        Name::from_text(text.as_bytes(), Some(&Name::root()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(64);
        self.write_text(&mut text);
        // What is written is ASCII.
        f.pad(&String::from_utf8_lossy(&text))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decimal_and_any_octet_is_a_name() {
        let name = Name::from_text(br"a\046b.\000\255\032.\(\@x\\", Some(&Name::root())).unwrap();
        let labels: Vec<&[u8]> = name.labels().collect();
        assert_eq!(labels, [b"a.b".as_slice(), b"\0\xff ", b"(@x\\"]);
        assert_eq!(name.to_string(), r"a\.b.\000\255\032.\(\@x\\.");
    }

    #[test]
    fn what_is_no_name_is_told_apart() {
        let read = |text: &str| Name::from_text(text.as_bytes(), Some(&Name::root())).unwrap_err();
        assert_eq!(read(""), NameError::Empty);
        assert_eq!(read(".a"), NameError::EmptyLabel);
        assert_eq!(read("a..b"), NameError::EmptyLabel);
        assert_eq!(read(r"a\25"), NameError::BadEscape);
        assert_eq!(read(r"a\256"), NameError::BadEscape);
        assert_eq!(read(r"a\"), NameError::BadEscape);
        assert_eq!(read(&"a".repeat(64)), NameError::LongLabel);
        assert_eq!(read(&"a.".repeat(128)), NameError::LongName);
        assert_eq!(Name::from_text(b"a", None).unwrap_err(), NameError::NoOrigin);
    }

    #[test]
    fn the_longest_name_has_255_octets() {
        let origin: Name = "b.".repeat(63).parse().unwrap();
        assert_eq!(origin.as_wire().len(), 127);
        let longest = Name::from_text("a.".repeat(127).as_bytes(), None).unwrap();
        assert_eq!(longest.as_wire().len(), 255);
        assert!(
            Name::from_text("a.".repeat(64).trim_end_matches('.').as_bytes(), Some(&origin))
                .is_ok()
        );
        assert!(
            Name::from_text("a.".repeat(65).trim_end_matches('.').as_bytes(), Some(&origin))
                .is_err()
        );
    }

    pub(crate) fn labels() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let label = prop_oneof![vec(any::<u8>(), 1..=63), vec(any::<u8>(), 1..4)];
        vec(label, 0..8)
    }

    proptest! {
        #[test]
        fn text_and_wire_bring_every_octet_back(labels in labels()) {
            if let Ok(name) = Name::from_labels(&labels) {
                let text = name.to_string();
                let again: Name = text.parse().unwrap();
                prop_assert_eq!(again.as_wire(), name.as_wire());
                prop_assert_eq!(again.labels().collect::<Vec<_>>(), labels);
                let again = Name::from_wire(name.as_wire()).unwrap();
                prop_assert_eq!(again.as_wire(), name.as_wire());
            }
        }

        #[test]
        fn any_octets_are_a_name_or_refused(text in vec(any::<u8>(), 0..300)) {
            let origin: Name = "example.".parse().unwrap();
            let _ = Name::from_text(&text, Some(&origin));
            let _ = Name::from_wire(&text);
            for at in 0..text.len().min(20) {
                let mut at = at;
                if let Ok(name) = Name::from_message(&text, &mut at) {
                    prop_assert!(at <= text.len());
                    prop_assert!(Name::from_wire(name.as_wire()).is_ok());
                }
            }
        }
    }
}
