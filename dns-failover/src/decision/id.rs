//! Names of sites, services, observers: short, cheap to copy, and fit for a host name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MOST: usize = 23;

/// Why a text names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name; use 1 to {MOST} of a-z, 0-9 and -, with no - at either end")]
pub struct BadId {
    text: String,
}

/// 1–23 octets. The rest is NUL, which sorts before all of them, so that the order is the text's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Short {
    bytes: [u8; MOST],
    length: u8,
}

impl Short {
    fn new(text: &str) -> Result<Short, BadId> {
        let fit = !text.is_empty()
            && text.len() <= MOST
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !fit {
            return Err(BadId { text: text.chars().take(64).collect() });
        }
        let mut bytes = [0; MOST];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Short { bytes, length: text.len() as u8 })
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 23 of `a-z 0-9 -`, with no `-` at either end.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Short);

        impl $name {
            /// As text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<$name, BadId> {
                Short::new(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A place that can serve: `uk`.
    SiteId
);
id!(
    /// Something that is served, and moves between sites as one: `web`.
    ServiceId
);
id!(
    /// One that probes.
    ObserverId
);
id!(
    /// What fails together: observers of one domain have one vote.
    DomainId
);
id!(
    /// One that decides and publishes.
    ControllerId
);
id!(
    /// A maintenance window.
    WindowId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_as_their_text_and_refuse_what_is_no_name() {
        let sorted = ["a", "a-b", "a0", "ab", "b"].map(|text| text.parse::<SiteId>().unwrap());
        assert!(sorted.is_sorted());
        for text in ["", "-a", "a-", "A", "a.b", "<script>", "aaaaaaaaaaaaaaaaaaaaaaaa", "é"] {
            assert!(text.parse::<SiteId>().is_err(), "{text}");
        }
    }
}
