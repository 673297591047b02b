//! What "equal" means: which differences count, and who wins.

use serde::{Deserialize, Serialize};

use crate::entry::{Digest, Kind, Meta};
use crate::path::RelPath;

/// Which tree follows which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Direction {
    /// B becomes equal to A, whatever was done to B.
    Mirror,
    /// Changes of either side since the base go to the other; without an ancestor nothing is
    /// deleted.
    Both,
}

/// What becomes of entries that only the target of a mirror has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extraneous {
    /// They are deleted, within the guards.
    Delete,
    /// They stay.
    Keep,
}

/// How contents are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// Size and mtime, and the inode's ctime where it is remembered; a file is read when these
    /// leave a doubt.
    Quick,
    /// Every file is read on both sides.
    Checksum,
}

/// What to do where both sides changed the same path since the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnConflict {
    /// Leave both as they are and report it.
    Report,
    /// Take side A's version.
    PreferA,
    /// Take side B's version.
    PreferB,
    /// Take the version with the later mtime; an edit wins over a deletion.
    Newest,
}

/// How faithful the copy is, by how far the trees trust one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fidelity {
    /// Everything as it is: owners, setuid, devices, links that point anywhere.
    Archive,
    /// What a customer may be given: no setuid, setgid or sticky bits, no devices, owners those of
    /// the target's root, only `user.*` attributes and ACLs; links out of the tree are skipped and
    /// reported.
    Hosted,
}

/// Whose the target's entries are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ownership {
    /// The same numbers as on the source. Two local trees share one user database, so that this
    /// is also by name.
    Preserve,
    /// All belong to whom the target's root belongs to.
    TargetRoot,
    /// All belong to this user and group.
    Fixed {
        /// The user's number.
        uid: u32,
        /// The group's number.
        gid: u32,
    },
}

/// What "equal" means, as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which tree follows which.
    pub direction: Direction,
    /// What becomes of entries that only the target has.
    pub extraneous: Extraneous,
    /// How contents are compared.
    pub compare: Compare,
    /// Who wins where both changed.
    pub on_conflict: OnConflict,
    /// Whether a conflict's losing version is kept under `.mirror-history/`.
    pub keep_losers: bool,
    /// How faithful the copy is.
    pub fidelity: Fidelity,
    /// Whose the target's entries are.
    pub ownership: Ownership,
    /// Whether mount points below the roots are passed over.
    pub one_file_system: bool,
}

impl Policy {
    /// B becomes a faithful copy of A: the policy between trees of one trust.
    pub fn mirror() -> Policy {
        Policy {
            direction: Direction::Mirror,
            extraneous: Extraneous::Delete,
            compare: Compare::Quick,
            on_conflict: OnConflict::Report,
            keep_losers: true,
            fidelity: Fidelity::Archive,
            ownership: Ownership::Preserve,
            one_file_system: false,
        }
    }

    /// B becomes a copy of A that holds nothing a customer could harm the server with.
    pub fn hosted() -> Policy {
        Policy { fidelity: Fidelity::Hosted, ownership: Ownership::TargetRoot, ..Policy::mirror() }
    }

    /// Changes of both sides since the base meet.
    pub fn both_ways() -> Policy {
        Policy { direction: Direction::Both, ..Policy::mirror() }
    }

    /// This policy as far as a target lets it.
    #[must_use]
    pub(crate) fn within(&self, target: &Capabilities) -> Policy {
        let mut policy = self.clone();
        if target.hosted {
            policy.fidelity = Fidelity::Hosted;
            policy.ownership = Ownership::TargetRoot;
        }
        policy
    }

    /// Digest of all that makes a remembered base mean something else. How contents are compared
    /// and what is deleted do not.
    pub(crate) fn fingerprint(&self) -> Digest {
        let meaning = (self.direction, self.fidelity, self.ownership, self.one_file_system);
        Digest::of(format!("policy 1 {meaning:?}").as_bytes())
    }
}

/// What a tree's host can do, asked once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Whether entries can be given to any owner, devices made and all attributes set.
    pub privileged: bool,
    /// Groups that entries can be given to without privilege, sorted.
    pub groups: Vec<u32>,
    /// Who owns the root: user and group.
    pub root_owner: (u32, u32),
    /// Whether it takes nothing but hosted fidelity, whatever a policy asks for.
    #[serde(default)]
    pub hosted: bool,
}

impl Capabilities {
    /// A host that can do everything; what trees in memory have.
    pub fn all() -> Capabilities {
        Capabilities { privileged: true, groups: Vec::new(), root_owner: (0, 0), hosted: false }
    }
}

/// A policy as it comes out on one target.
#[derive(Debug, Clone)]
pub(crate) struct Projection {
    fidelity: Fidelity,
    owner: Option<(u32, u32)>,
    capabilities: Capabilities,
}

impl Projection {
    pub(crate) fn new(policy: &Policy, target: &Capabilities) -> Projection {
        let owner = match policy.ownership {
            Ownership::Preserve => None,
            Ownership::TargetRoot => Some(target.root_owner),
            Ownership::Fixed { uid, gid } => Some((uid, gid)),
        };
        Projection { fidelity: policy.fidelity, owner, capabilities: target.clone() }
    }

    /// How faithful the target's entries are.
    pub(crate) fn fidelity(&self) -> Fidelity {
        self.fidelity
    }

    /// The metadata that `meta` becomes on the target.
    pub(crate) fn meta(&self, meta: &Meta) -> Meta {
        let mut meta = meta.clone();
        if self.fidelity == Fidelity::Hosted {
            meta.mode &= 0o777;
        }
        if let Some((uid, gid)) = self.owner {
            (meta.uid, meta.gid) = (uid, gid);
        }
        meta.xattrs = meta.xattrs.filtered(|name| self.manages(name));
        meta
    }

    /// Why an entry must not be on the target, if so.
    pub(crate) fn forbids(&self, path: &RelPath, kind: &Kind) -> Option<&'static str> {
        if self.fidelity != Fidelity::Hosted {
            return None;
        }
        match kind {
            Kind::CharacterDevice { .. } | Kind::BlockDevice { .. } => {
                Some("a device is not mirrored with hosted fidelity; skipped")
            }
            Kind::Symlink { target } if escapes(path, &target.0) => Some(
                "the symlink leads out of the tree, which hosted fidelity does not mirror; skipped",
            ),
            _ => None,
        }
    }

    /// Why an entry must not or cannot be put on the target, if so.
    pub(crate) fn refuses(&self, path: &RelPath, kind: &Kind) -> Option<&'static str> {
        self.forbids(path, kind).or(match kind {
            Kind::CharacterDevice { .. } | Kind::BlockDevice { .. }
                if !self.capabilities.privileged =>
            {
                Some("only root can make a device; skipped")
            }
            _ => None,
        })
    }

    /// Whether an extended attribute is mirrored. What the host's security policy sets by itself
    /// is not.
    pub(crate) fn manages(&self, name: &[u8]) -> bool {
        manages(name, self.capabilities.privileged && self.fidelity == Fidelity::Archive)
    }

    /// Whether the target's user can be set.
    pub(crate) fn sets_user(&self) -> bool {
        self.capabilities.privileged
    }

    /// Whether the target's group can be set to `gid`.
    pub(crate) fn sets_group(&self, gid: u32) -> bool {
        self.capabilities.privileged || self.capabilities.groups.binary_search(&gid).is_ok()
    }

    /// Whether an entry of `kind` with metadata `actual` is what `wanted` comes to on this target.
    pub(crate) fn is_met(&self, kind: &Kind, wanted: &Meta, actual: &Meta) -> bool {
        (matches!(kind, Kind::Symlink { .. }) || wanted.mode == actual.mode)
            && (wanted.uid == actual.uid || !self.sets_user())
            && (wanted.gid == actual.gid || !self.sets_group(wanted.gid))
            && wanted.mtime == actual.mtime
            && wanted.xattrs == actual.xattrs.filtered(|name| self.manages(name))
    }
}

/// Whether an extended attribute belongs to what is mirrored: `user.*` and ACLs for everybody,
/// with privilege also `security.*` and `trusted.*` less the labels that a host's own security
/// modules keep.
pub(crate) fn manages(name: &[u8], privileged: bool) -> bool {
    const LABELS: [&[u8]; 6] = [
        b"security.selinux",
        b"security.ima",
        b"security.evm",
        b"security.apparmor",
        b"security.SMACK64",
        b"trusted.overlay.",
    ];
    match name.split(|&byte| byte == b'.').next() {
        Some(b"user") => true,
        Some(b"system") => {
            name == b"system.posix_acl_access" || name == b"system.posix_acl_default"
        }
        Some(b"security" | b"trusted") => {
            privileged && !LABELS.iter().any(|label| name.starts_with(label))
        }
        _ => false,
    }
}

/// Whether a symlink at `path` with `target` leads out of its root, judged by its text alone: it
/// is absolute, or climbs above the root at some point.
pub(crate) fn escapes(path: &RelPath, target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return true;
    }
    let mut depth = path.as_bytes().iter().filter(|&&byte| byte == b'/').count();
    let mut has_gone_down = false;
    for component in target.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            // What a name stands for may itself be a link upwards, so that nobody can tell where
            // a climb after it begins.
            b".." if depth == 0 || has_gone_down => return true,
            b".." => depth -= 1,
            _ => has_gone_down = true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_climbs_above_its_root_escapes() {
        let at = |path: &str| RelPath::new(path.as_bytes()).unwrap();
        for (path, target, out) in [
            ("a", "b", false),
            ("a", "../b", true),
            ("a/b", "../c", false),
            ("a/b", "../../c", true),
            ("a/b", "c/../../..", true),
            ("a/b", "../up/../x", true),
            ("a/b/c", "../../x/y", false),
            ("a/b", "/etc/passwd", true),
            ("a/b", "./.././x", false),
        ] {
            assert_eq!(escapes(&at(path), target.as_bytes()), out, "{path} -> {target}");
        }
    }

    #[test]
    fn labels_of_security_modules_stay_the_hosts_own() {
        assert!(manages(b"security.capability", true));
        assert!(!manages(b"security.capability", false));
        assert!(!manages(b"security.selinux", true));
        assert!(manages(b"user.x", false));
        assert!(manages(b"system.posix_acl_access", false));
        assert!(!manages(b"system.nfs4_acl", true));
    }
}
