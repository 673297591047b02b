//! Where a tree is, told so that two trees can be compared wherever each was reached from.

use std::io;

use serde::{Deserialize, Serialize};

use crate::root::Root;

/// Device and inode of a directory.
type Place = (u64, u64);

/// On which machine a tree is, which directory its root is, and which lie above that: told by inode
/// and not by name, so that symlinks, bind mounts and other names of the host hide nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Whereabouts {
    /// A digest of what the running kernel calls itself.
    pub(crate) machine: Option<[u8; 16]>,
    /// None for a tree that does not exist yet.
    pub(crate) root: Option<Place>,
    /// From the nearest upwards.
    pub(crate) above: Vec<Place>,
}

impl Whereabouts {
    /// Those of a tree whose root is `nearest`, or is missing somewhere below it.
    pub(crate) fn of(nearest: &Root, is_missing: bool) -> io::Result<Whereabouts> {
        let mut above = nearest.chain()?;
        let root = (!is_missing && !above.is_empty()).then(|| above.remove(0));
        Ok(Whereabouts { machine: machine(), root, above })
    }

    /// Whether the tree is `outer` or lies inside it. Nothing lies inside a tree that does not
    /// exist.
    pub fn lies_within(&self, outer: &Whereabouts) -> bool {
        let same = |sought: Place| self.root == Some(sought) || self.above.contains(&sought);
        self.machine == outer.machine && outer.root.is_some_and(same)
    }
}

/// What tells this machine, since it was started, from every other (`random(4)`).
fn machine() -> Option<[u8; 16]> {
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").ok()?;
    let digest = blake3::derive_key("mirror-core whereabouts 1", &boot);
    digest[..16].try_into().ok()
}
