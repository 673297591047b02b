//! What a leg is called.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

// Every queued message names its legs: a thin pointer makes that 8 bytes each.
/// What a leg is called: 1 to 64 letters, digits, dots, dashes and underscores.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LegName(Arc<Box<str>>);

/// A text that cannot name a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a leg's name is 1 to 64 letters, digits, dots, dashes and underscores, as in \"uk\"")]
pub struct BadLegName;

impl LegName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LegName {
    type Err = BadLegName;

    fn from_str(text: &str) -> Result<LegName, BadLegName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(LegName(Arc::new(text.into())))
        } else {
            Err(BadLegName)
        }
    }
}

impl TryFrom<String> for LegName {
    type Error = BadLegName;

    fn try_from(text: String) -> Result<LegName, BadLegName> {
        text.parse()
    }
}

impl From<LegName> for String {
    fn from(name: LegName) -> String {
        name.as_str().to_owned()
    }
}

impl fmt::Display for LegName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for LegName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegName({})", self.0)
    }
}
