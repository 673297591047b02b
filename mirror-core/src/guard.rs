//! Limits that a plan must keep before anything is carried out.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::capacity::Capacity;
use crate::entry::Side;
use crate::plan::Summary;

/// How many entries a run may delete from one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeleteLimit {
    /// At most so many entries.
    Count(u64),
    /// At most so many of a hundred entries that the tree holds.
    Percent(u8),
}

impl fmt::Display for DeleteLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeleteLimit::Count(count) => write!(f, "{count}"),
            DeleteLimit::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// A limit is `N` entries or `N%`, 0 to 100.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a limit on deletions is a number of entries or a percentage from 0% to 100%")]
pub struct BadDeleteLimit;

impl FromStr for DeleteLimit {
    type Err = BadDeleteLimit;

    fn from_str(text: &str) -> Result<DeleteLimit, BadDeleteLimit> {
        let number = text.strip_suffix('%').unwrap_or(text);
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadDeleteLimit);
        }
        if text.ends_with('%') {
            let percent = number.parse().map_err(|_| BadDeleteLimit)?;
            return if percent <= 100 {
                Ok(DeleteLimit::Percent(percent))
            } else {
                Err(BadDeleteLimit)
            };
        }
        Ok(DeleteLimit::Count(number.parse().map_err(|_| BadDeleteLimit)?))
    }
}

/// What a plan must keep to. The default refuses an empty source and deleting over half a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guards {
    /// How much may be deleted from either tree.
    pub max_delete: DeleteLimit,
    /// Whether an empty source may empty the target.
    pub allow_empty_source: bool,
    /// Whether to check beforehand that new content fits.
    pub check_capacity: bool,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards {
            max_delete: DeleteLimit::Percent(50),
            allow_empty_source: false,
            check_capacity: true,
        }
    }
}

/// Why nothing was carried out. Both trees are as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The source holds nothing, as a disk that is not mounted does, and the target would be emptied.
    #[error(
        "the source is empty and the target is not: is a disk not mounted? Nothing was changed; allow an empty source if it is meant to empty the target"
    )]
    EmptySource,
    /// More would be deleted than the limit allows.
    #[error(
        "{deleted} of {entries} entries would be deleted, more than the limit of {limit}: nothing was changed; look at the plan and raise the limit if it is right"
    )]
    TooManyDeletions {
        /// How many entries would go.
        deleted: u64,
        /// How many the tree has.
        entries: u64,
        /// The limit.
        limit: DeleteLimit,
    },
    /// The new content does not fit.
    #[error("the plan needs {needed} bytes and the target's file system has {available}: nothing was changed; free {} bytes or exclude something", .needed - .available)]
    NoSpace {
        /// Bytes that must be free at once.
        needed: u64,
        /// Bytes that are.
        available: u64,
    },
    /// The new entries do not fit.
    #[error(
        "the plan needs {needed} inodes and the target's file system has {available}: nothing was changed; remove some files there or exclude something"
    )]
    NoInodes {
        /// Inodes that must be free at once.
        needed: u64,
        /// Inodes that are.
        available: u64,
    },
    /// One root lies in the other.
    #[error(
        "the {inner} lies inside the {outer}, so mirroring would mirror itself: nothing was changed; give two trees that do not overlap"
    )]
    Overlap {
        /// "source" or "target".
        inner: &'static str,
        /// The other.
        outer: &'static str,
    },
    /// The state folder lies in one of the trees, where it would be mirrored or deleted.
    #[error("the state folder lies inside the {tree}: nothing was changed; keep it elsewhere")]
    StateInside {
        /// "source" or "target".
        tree: &'static str,
    },
    /// Another run holds the lock.
    #[error("another run is working on {what}: nothing was changed; wait for it to end")]
    Busy {
        /// "the target" or "the state of this pair".
        what: &'static str,
    },
}

impl Guards {
    /// Checks what a plan would do to the tree on `side` against these limits.
    ///
    /// `capacity` is None where it could not be asked; then it is not checked.
    ///
    /// # Errors
    /// [`Refused`] says which limit and by how much.
    pub fn check(
        &self,
        summary: &Summary,
        side: Side,
        capacity: Option<&Capacity>,
    ) -> Result<(), Refused> {
        let deleted = summary.counts(side).deleted;
        if !self.allow_empty_source && deleted > 0 && summary.entries_of(side.other()) == 0 {
            return Err(Refused::EmptySource);
        }
        let entries = summary.entries_of(side);
        let over = match self.max_delete {
            DeleteLimit::Count(limit) => deleted > limit,
            DeleteLimit::Percent(limit) => {
                u128::from(deleted) * 100 > u128::from(entries) * u128::from(limit)
            }
        };
        if over {
            return Err(Refused::TooManyDeletions { deleted, entries, limit: self.max_delete });
        }
        match capacity {
            Some(capacity) if self.check_capacity => capacity.check(summary.need(side)),
            _ => Ok(()),
        }
    }
}
