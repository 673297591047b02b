//! Names and relative paths that cannot leave their root.
//!
//! A [`Name`] is one directory entry, a [`RelPath`] a sequence of them. Both are checked once,
//! when they are made; everything after that trusts the type. Any byte but `/` and NUL may occur
//! in a name, so neither is a `str`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

/// What every temporary name in a target starts with. A scanner never lists such an entry.
pub const TEMPORARY_PREFIX: &[u8] = b".mirror-tmp-";

/// Whether a name is one that a run gives to what it has not finished: the prefix, the run's two
/// numbers in hexadecimal, and a letter and number within the run.
pub(crate) fn is_temporary(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(TEMPORARY_PREFIX) else { return false };
    let mut parts = rest.split(|&byte| byte == b'-');
    let mut number = |digits: fn(&u8) -> bool| {
        parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(digits))
    };
    number(u8::is_ascii_hexdigit)
        && number(u8::is_ascii_hexdigit)
        && parts.next().is_some_and(|part| {
            let (series, number) = part.split_at(part.len().min(1));
            matches!(series, b"n" | b"m")
                && !number.is_empty()
                && number.iter().all(u8::is_ascii_digit)
        })
        && parts.next().is_none()
}

/// The directory at a root that keeps the losing versions of conflicts. It is never mirrored.
pub const HISTORY_DIRECTORY: &[u8] = b".mirror-history";

/// The longest name, in bytes (`NAME_MAX` on Linux).
pub(crate) const NAME_MAX: usize = 255;

/// The longest relative path, in bytes (`PATH_MAX` less the closing NUL).
pub(crate) const PATH_MAX: usize = 4095;

/// Why a name or path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A component is empty, `.` or `..`, or the path starts or ends with `/`.
    #[error("{} is not a plain relative path (empty, \".\" or \"..\" components and leading or closing slashes are refused)", escape(.0))]
    NotPlain(Vec<u8>),
    /// A NUL byte, which no file system stores.
    #[error("{} holds a NUL byte", escape(.0))]
    Nul(Vec<u8>),
    /// Longer than the kernel takes.
    #[error("a path of {0} bytes is longer than the kernel takes")]
    TooLong(usize),
}

/// One directory entry's name: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// Checks `bytes` and keeps them.
    ///
    /// # Errors
    /// [`PathError`] names what is wrong.
    pub fn new(bytes: &[u8]) -> Result<Name, PathError> {
        check_name(bytes)?;
        Ok(Name(bytes.into()))
    }

    /// The name of a root itself, which has none: zero bytes.
    pub(crate) fn of_root() -> Name {
        Name(Box::default())
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn check_name(bytes: &[u8]) -> Result<(), PathError> {
    // The loop has no early end, so that the compiler does many bytes at once.
    let (mut slash, mut nul) = (false, false);
    for &byte in bytes {
        slash |= byte == b'/';
        nul |= byte == 0;
    }
    if slash || matches!(bytes, b"" | b"." | b"..") {
        return Err(PathError::NotPlain(bytes.into()));
    }
    if nul {
        return Err(PathError::Nul(bytes.into()));
    }
    if bytes.len() > NAME_MAX {
        return Err(PathError::TooLong(bytes.len()));
    }
    Ok(())
}

/// Checks every component of a path in one go; a path is read from a file far more often than it
/// is made.
fn check_components(path: &[u8]) -> Result<(), PathError> {
    if path.is_empty() {
        return Ok(());
    }
    let mut start = 0;
    for end in 0..=path.len() {
        match path.get(end) {
            Some(0) => return Err(PathError::Nul(path.into())),
            Some(b'/') | None => match &path[start..end] {
                b"" | b"." | b".." => return Err(PathError::NotPlain(path.into())),
                name if name.len() > NAME_MAX => return Err(PathError::TooLong(name.len())),
                _ => start = end + 1,
            },
            Some(_) => {}
        }
    }
    Ok(())
}

/// A path below a root: zero or more [`Name`]s joined with `/`. Zero names are the root itself.
///
/// The order is by component, so that a directory comes directly before everything in it:
/// `a`, `a/x`, `a-b`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Box<[u8]>);

impl RelPath {
    /// The root itself.
    pub fn root() -> RelPath {
        RelPath::default()
    }

    /// Checks `bytes` and keeps them. Zero bytes are the root.
    ///
    /// # Errors
    /// [`PathError`] names what is wrong: an absolute path, `..`, `//`, a closing `/`, NUL, or
    /// more than 4095 bytes.
    pub fn new(bytes: &[u8]) -> Result<RelPath, PathError> {
        if bytes.len() > PATH_MAX {
            return Err(PathError::TooLong(bytes.len()));
        }
        check_components(bytes)?;
        Ok(RelPath(bytes.into()))
    }

    /// This path and one name more.
    ///
    /// # Errors
    /// [`PathError::TooLong`] when the result would be longer than the kernel takes.
    pub fn join(&self, name: &Name) -> Result<RelPath, PathError> {
        let path = self.join_unchecked(name);
        if path.0.len() > PATH_MAX { Err(PathError::TooLong(path.0.len())) } else { Ok(path) }
    }

    /// [`join`](Self::join) for names that a checked path was split into before.
    pub(crate) fn join_unchecked(&self, name: &Name) -> RelPath {
        if self.is_root() {
            return RelPath(name.0.clone());
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.0.len());
        bytes.extend_from_slice(&self.0);
        if !name.0.is_empty() {
            bytes.push(b'/');
            bytes.extend_from_slice(&name.0);
        }
        RelPath(bytes.into())
    }

    /// The directory that holds this path, and the name in it. None for the root.
    pub fn split(&self) -> Option<(RelPath, Name)> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (RelPath(self.0[..slash].into()), Name(self.0[slash + 1..].into())),
            None => (RelPath::root(), Name(self.0.clone())),
        })
    }

    /// The directory that holds this path. The root is its own parent.
    pub fn parent(&self) -> RelPath {
        self.split().map_or_else(RelPath::root, |(parent, _)| parent)
    }

    /// The last name; of the root, the empty name.
    pub(crate) fn name(&self) -> Name {
        self.split().map_or_else(Name::of_root, |(_, name)| name)
    }

    /// Whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this path is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &RelPath) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0)
                && (self.0.len() == ancestor.0.len() || self.0[ancestor.0.len()] == b'/'))
    }

    /// This path with its leading `from` replaced by `to`; None when it is not within `from`.
    pub(crate) fn rebase(&self, from: &RelPath, to: &RelPath) -> Option<RelPath> {
        if !self.is_within(from) {
            return None;
        }
        let rest = self.0[from.0.len()..].strip_prefix(b"/").unwrap_or(&self.0[from.0.len()..]);
        Some(to.join_unchecked(&Name(rest.into())))
    }

    /// The bytes of the path, without a leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &RelPath) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &RelPath) -> Ordering {
        // A slash sorts below every byte that a name can hold: then comparing bytes compares
        // components.
        let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
        let common = self.0.iter().zip(&*other.0).position(|(a, b)| a != b);
        match common {
            Some(at) => rank(self.0[at]).cmp(&rank(other.0[at])),
            None => self.0.len().cmp(&other.0.len()),
        }
    }
}

/// Shows `bytes` on one line of printable text, as every message of this crate does.
///
/// A backslash is doubled; control characters, characters that reorder text and bytes that are
/// not UTF-8 become `\n`, `\t`, `\r`, `\x1b` or `\u{202e}`. Two different names never look alike.
pub fn escape(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.chars().any(needs_escape)
    {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(bytes.len() + 8);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => shown.push_str("\\n"),
                '\t' => shown.push_str("\\t"),
                '\r' => shown.push_str("\\r"),
                '\\' => shown.push_str("\\\\"),
                c if c.is_ascii() && needs_escape(c) => {
                    shown.push_str(&format!("\\x{:02x}", u32::from(c)));
                }
                c if needs_escape(c) => shown.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    Cow::Owned(shown)
}

fn needs_escape(character: char) -> bool {
    character == '\\' || acts_on_a_terminal(character)
}

/// Whether a terminal would do something else with this character than show it.
pub(crate) fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

macro_rules! shown_and_stored_as_bytes {
    ($type:ident, $root:expr, $check:expr) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(if self.0.is_empty() { $root.into() } else { escape(&self.0) }.as_ref())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "\"{}\"", escape(&self.0))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serialize_bytes(&self.0, serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let bytes = deserialize_bytes(deserializer)?;
                $check(&bytes).map_err(de::Error::custom)
            }
        }
    };
}

// The empty name is the root's; it is stored in manifests and harmless everywhere, because
// joining it to a path gives that path.
shown_and_stored_as_bytes!(Name, "", |bytes: &[u8]| if bytes.is_empty() {
    Ok(Name::of_root())
} else {
    Name::new(bytes)
});
shown_and_stored_as_bytes!(RelPath, ".", RelPath::new);

/// Bytes as text where they are UTF-8, as `{"hex": "…"}` where they are not, and as they are in
/// binary formats.
pub(crate) fn serialize_bytes<S: Serializer>(
    bytes: &[u8],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serializer.serialize_bytes(bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("hex", &to_hex(bytes))?;
            map.end()
        }
    }
}

/// The inverse of [`serialize_bytes`]; borrows from the input where that holds the bytes as they
/// are.
pub(crate) fn deserialize_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'de, [u8]>, D::Error> {
    struct Bytes;
    impl<'de> Visitor<'de> for Bytes {
        type Value = Cow<'de, [u8]>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, or {\"hex\": \"…\"} for bytes that are not UTF-8")
        }
        fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(text.as_bytes()))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(text.as_bytes().to_vec()))
        }
        fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(bytes))
        }
        fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            Ok(Cow::Owned(bytes.to_vec()))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = seq.next_element()? {
                bytes.push(byte);
            }
            Ok(Cow::Owned(bytes))
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let Some((key, hex)) = map.next_entry::<String, String>()? else {
                return Err(de::Error::invalid_length(0, &self));
            };
            if key != "hex" || map.next_entry::<String, String>()?.is_some() {
                return Err(de::Error::custom("expected the one key \"hex\""));
            }
            from_hex(&hex)
                .map(Cow::Owned)
                .ok_or_else(|| de::Error::custom("not an even number of hex digits"))
        }
    }
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Bytes)
    } else {
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inverse of [`to_hex`]; None for an odd number of digits or anything else.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
    let digits = digits?;
    if digits.len() % 2 != 0 {
        return None;
    }
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_could_leave_the_root_is_refused() {
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b"] {
            assert!(RelPath::new(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(RelPath::new(&[b'a'; 256]).is_err());
        assert!(Name::new(b"").is_err());
    }

    #[test]
    fn a_directory_comes_directly_before_what_it_holds() {
        let mut paths = [path("a-b"), path("a/x"), path("a"), path("a/x/y"), RelPath::root()];
        paths.sort();
        assert_eq!(
            paths.map(|p| p.to_string()),
            [".", "a", "a/x", "a/x/y", "a-b"].map(String::from)
        );
    }

    #[test]
    fn rebasing_moves_a_subtree() {
        assert_eq!(path("a/b/c").rebase(&path("a/b"), &path("x")), Some(path("x/c")));
        assert_eq!(path("a/b").rebase(&path("a/b"), &path("x/y")), Some(path("x/y")));
        assert_eq!(path("a/bc").rebase(&path("a/b"), &path("x")), None);
    }

    #[test]
    fn odd_names_are_shown_on_one_printable_line() {
        assert_eq!(escape(b"a\nb\\\x1b\xff\xe2\x80\xae"), "a\\nb\\\\\\x1b\\xff\\u{202e}");
    }

    proptest! {
        #[test]
        fn json_brings_every_byte_back(bytes in proptest::collection::vec(1u8..=255, 1..40)) {
            if let Ok(path) = RelPath::new(&bytes) {
                let json = serde_json::to_string(&path).unwrap();
                prop_assert_eq!(serde_json::from_str::<RelPath>(&json).unwrap(), path);
            }
        }

        #[test]
        fn order_is_that_of_the_components(a in "[a-c/.-]{1,8}", b in "[a-c/.-]{1,8}") {
            if let (Ok(x), Ok(y)) = (RelPath::new(a.as_bytes()), RelPath::new(b.as_bytes())) {
                let by_component = a.split('/').collect::<Vec<_>>().cmp(&b.split('/').collect());
                prop_assert_eq!(x.cmp(&y), by_component);
            }
        }
    }
}
