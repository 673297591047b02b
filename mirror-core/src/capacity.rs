//! Whether new content fits before a byte of it is written.

use serde::{Deserialize, Serialize};

use crate::guard::Refused;

/// What carrying out a plan takes on the target's file system at its fullest moment.
///
/// Deletions come last, so what they free does not count; content that replaces other content
/// needs room beside it until the rename.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Need {
    /// Bytes as allocated on the source: holes are free, hard links count once.
    pub bytes: u64,
    /// Inodes.
    pub inodes: u64,
}

/// What a file system has left for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Free bytes.
    pub bytes: u64,
    /// Free inodes; None where their number is not fixed.
    pub inodes: Option<u64>,
}

impl Capacity {
    /// Whether `need` fits.
    ///
    /// # Errors
    /// [`Refused::NoSpace`] or [`Refused::NoInodes`] with both numbers.
    pub fn check(&self, need: &Need) -> Result<(), Refused> {
        if need.bytes > self.bytes {
            return Err(Refused::NoSpace { needed: need.bytes, available: self.bytes });
        }
        match self.inodes {
            Some(available) if need.inodes > available => {
                Err(Refused::NoInodes { needed: need.inodes, available })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_numbers() {
        let disk = Capacity { bytes: 100, inodes: Some(3) };
        assert_eq!(disk.check(&Need { bytes: 100, inodes: 3 }), Ok(()));
        assert_eq!(
            disk.check(&Need { bytes: 101, inodes: 0 }),
            Err(Refused::NoSpace { needed: 101, available: 100 })
        );
        assert_eq!(
            disk.check(&Need { bytes: 0, inodes: 4 }),
            Err(Refused::NoInodes { needed: 4, available: 3 })
        );
        assert_eq!(
            Capacity { inodes: None, ..disk }.check(&Need { bytes: 0, inodes: u64::MAX }),
            Ok(())
        );
    }
}
