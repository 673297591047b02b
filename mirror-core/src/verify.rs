//! Checking that two trees are equal.

mod independent;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use independent::{Difference, Independent, verify_independently};

/// How thoroughly two trees are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Level {
    /// Metadata of both trees, compared anew without what is remembered; files are read where these leave a doubt.
    Quick,
    /// The contents of all files on both sides, read anew.
    Digest,
    /// Both trees, read anew by code that shares nothing with the code that mirrors.
    Independent,
}

/// Why a [`Level`] could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a way to verify; give quick, digest or independent")]
pub struct BadLevel;

impl FromStr for Level {
    type Err = BadLevel;

    fn from_str(text: &str) -> Result<Level, BadLevel> {
        match text {
            "quick" => Ok(Level::Quick),
            "digest" => Ok(Level::Digest),
            "independent" => Ok(Level::Independent),
            _ => Err(BadLevel),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Quick => "quick",
            Level::Digest => "digest",
            Level::Independent => "independent",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_as_it_is_written() {
        for level in [Level::Quick, Level::Digest, Level::Independent] {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert_eq!("Quick".parse::<Level>(), Err(BadLevel));
    }
}
