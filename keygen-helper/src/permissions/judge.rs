//! What sshd makes of the facts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Facts, FileKind, Node};
use crate::bytes::Bytes;

/// Whose rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Profile {
    /// OpenSSH as its authors release it: a group never writes (`safe_path_fd`).
    #[default]
    Upstream,
    /// Debian and its descendants: a group may write that has nobody in it but the user
    /// (their patch `user-group-modes`).
    DebianUserPrivateGroup,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// Where.
    pub path: Bytes,
    /// What.
    pub problem: Problem,
    /// How much it matters.
    pub weight: Weight,
}

/// Whether a finding keeps the user out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// sshd does not mind.
    Advice,
    /// sshd refuses every key in the file.
    Refuses,
}

/// What can be wrong on the way to an authorized_keys file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// There is no file.
    Missing,
    /// It is no regular file.
    NotAFile {
        /// What it is instead.
        kind: FileKind,
    },
    /// sshd, as the user, cannot get through this directory.
    NotSearchable,
    /// sshd, as the user, cannot read the file.
    NotReadable,
    /// It belongs to neither the user nor root.
    Owner {
        /// To whom.
        uid: u32,
    },
    /// Its group may write.
    GroupWrites,
    /// Anybody may write.
    OthersWrite,
    /// A symlink that is passed on the way belongs to neither the user nor root, who alone may
    /// choose which file it is.
    Link {
        /// To whom.
        uid: u32,
    },
    /// The file has more names than this one, and changing it changes it under all of them.
    MoreNames {
        /// How many.
        links: u64,
    },
}

impl Facts {
    /// All that is wrong, from the file upwards.
    pub fn judge(&self, profile: Profile) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut find = |node: &Node, problem: Problem, weight: Weight| {
            findings.push(Finding { path: node.path.clone(), problem, weight });
        };
        for node in &self.walked {
            match node.kind {
                FileKind::Symlink if !self.trusts(node.owner) => {
                    find(node, Problem::Link { uid: node.owner }, Weight::Advice);
                }
                FileKind::Directory if !self.can_search(node) => {
                    find(node, Problem::NotSearchable, Weight::Refuses);
                }
                _ => {}
            }
        }
        let Some(file) = &self.file else {
            let path = self.walked.last().map_or_else(Bytes::default, |node| node.path.clone());
            findings.push(Finding { path, problem: Problem::Missing, weight: Weight::Refuses });
            return findings;
        };
        if file.kind != FileKind::File {
            find(file, Problem::NotAFile { kind: file.kind }, Weight::Refuses);
        } else if !self.can_read(file) {
            find(file, Problem::NotReadable, Weight::Refuses);
        }
        if file.links > 1 && file.kind == FileKind::File {
            find(file, Problem::MoreNames { links: file.links }, Weight::Advice);
        }
        for node in std::iter::once(file).chain(self.checked()) {
            if !self.trusts(node.owner) {
                find(node, Problem::Owner { uid: node.owner }, Weight::Refuses);
            }
            if node.mode & 0o002 != 0 {
                find(node, Problem::OthersWrite, Weight::Refuses);
            }
            if node.mode & 0o020 != 0 {
                let private = self.has_private_group(node);
                let minds = profile == Profile::Upstream || !private;
                let weight = if minds { Weight::Refuses } else { Weight::Advice };
                find(node, Problem::GroupWrites, weight);
            }
        }
        findings
    }

    /// Whether sshd reads the file at all. Which keys it then lets in is another question.
    pub fn is_accepted(&self, profile: Profile) -> bool {
        self.judge(profile).iter().all(|finding| finding.weight == Weight::Advice)
    }

    /// Whether the group has the user in it and nobody else (`secure_permissions`). Nobody may
    /// have it as first group but the user, and at most one member may be listed, whose name is the
    /// owner's.
    fn has_private_group(&self, node: &Node) -> bool {
        let Some(group) = self.groups.get(&node.group) else { return false };
        let Some(owner) = self.names.get(&node.owner) else { return false };
        let listed_is_owner = match &*group.members {
            [] => true,
            [one] => one == owner,
            _ => false,
        };
        let members = group.primary.len() + group.members.len();
        group.primary.iter().all(|uid| *uid == self.account.uid) && listed_is_owner && members > 0
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.problem {
            Problem::Missing => write!(f, "there is no authorized_keys file behind {path}"),
            Problem::NotAFile { kind } => write!(f, "{path} is {kind}, not a regular file"),
            Problem::NotSearchable => write!(f, "the user cannot get through {path}"),
            Problem::NotReadable => write!(f, "the user cannot read {path}"),
            Problem::Owner { uid } => {
                write!(f, "{path} belongs to user {uid}, neither to the user nor to root")
            }
            Problem::GroupWrites => write!(f, "the group of {path} may write to it"),
            Problem::OthersWrite => write!(f, "anybody may write to {path}"),
            Problem::Link { uid } => write!(
                f,
                "{path} is a symlink of user {uid}, who chooses by it which keys the account has"
            ),
            Problem::MoreNames { links } => write!(f, "{path} is one of {links} names of its file"),
        }
    }
}
