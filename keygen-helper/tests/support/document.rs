//! Documents of lines for properties.

use proptest::prelude::*;

/// A few lines, ended either way; the last may be open.
pub(crate) fn document(line: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let end = prop_oneof![3 => Just("\n"), 1 => Just("\r\n")];
    let lines = prop::collection::vec((line, end), 0..8);
    (lines, any::<bool>()).prop_map(|(lines, open)| {
        let last = lines.len().saturating_sub(1);
        let mut bytes = Vec::new();
        for (index, (line, end)) in lines.into_iter().enumerate() {
            bytes.extend(line);
            if !(open && index == last) {
                bytes.extend(end.as_bytes());
            }
        }
        bytes
    })
}
