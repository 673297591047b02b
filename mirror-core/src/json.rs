//! JSON that is safe to look at: what a terminal would act on is escaped, as in every message.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::path::acts_on_a_terminal;

/// Writes `value` as one line of JSON in which control characters, and characters that reorder or
/// hide text, are `\u` escapes. Any JSON reader gets the same text back.
///
/// # Errors
/// Those of `out`, or of a value that JSON cannot hold.
///
/// ```
/// let mut line = Vec::new();
/// mirror_core::write_json_line(&mut line, &"two\nlines \u{7f} \u{202e}")?;
/// assert_eq!(line, b"\"two\\nlines \\u007f \\u202e\"\n");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_json_line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(&mut *out, Escaping))?;
    out.write_all(b"\n")
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = CompactFormatter;
        let mut rest = fragment;
        while let Some((at, character)) =
            rest.char_indices().find(|(_, character)| acts_on_a_terminal(*character))
        {
            plain.write_string_fragment(writer, &rest[..at])?;
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        plain.write_string_fragment(writer, rest)
    }
}
