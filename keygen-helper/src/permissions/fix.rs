//! What would set the facts right, and what must not be.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Facts, FileKind, Finding, Node, Problem};
use crate::bytes::Bytes;

/// What has to change so that sshd reads the file, whatever its profile.
///
/// Only modes change, and only those of the file, of directories in the home on the way to it, and
/// of the home. The user's own file becomes 0600 and its folder 0700; the home loses the right to write
/// of its group and of others, and nothing else. What is root's changes only where something is wrong
/// with it: a file that the user cannot read becomes 0644, what others could write to is closed, and
/// a directory that the user cannot pass gets the one bit that lets them: what is in it can then be
/// reached by who knows its name, but not listed.
///
/// Whether there is more in such a file or directory than keys is not among the facts. Whoever
/// carries the fix out has to see to it first, as [`Inspection::apply`](crate::fs::Inspection::apply) does.
///
/// Nothing changes at all where something on the way belongs to another user: with its folder
/// closed, what somebody else has put there would count as the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "a fix changes nothing until it is applied"]
pub struct Fix {
    /// The modes to set, from the home down, so that nobody gets in between.
    pub changes: Vec<Chmod>,
    /// What a change of modes cannot or must not set right. While there is something here, `changes`
    /// is empty.
    pub refused: Vec<Reason>,
}

/// One mode to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chmod {
    /// Of what.
    pub path: Bytes,
    /// The mode it has.
    pub from: u32,
    /// The mode it gets.
    pub to: u32,
}

/// Why nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// Somebody else owns something that decides over the keys.
    Planted {
        /// What.
        path: Bytes,
        /// Who.
        uid: u32,
    },
    /// There is no file to set right.
    Missing,
    /// It is no regular file.
    NotAFile {
        /// What is not.
        path: Bytes,
        /// What it is.
        kind: FileKind,
    },
    /// The file has other names, and its mode would change under them, too.
    MoreNames {
        /// The file.
        path: Bytes,
    },
    /// It lies outside of the home, and others may rely on its mode.
    Outside {
        /// What.
        path: Bytes,
    },
}

/// What to do about one finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy<'a> {
    /// Set this mode; the fix does it.
    Chmod(&'a Chmod),
    /// The fix does not touch it, for this reason, which says what to do instead.
    Refused(&'a Reason),
    /// Something that no change of modes can do.
    ByHand(&'static str),
}

impl Fix {
    /// What to do about a finding of the same facts.
    pub fn remedy(&self, finding: &Finding) -> Option<Remedy<'_>> {
        let about = |reason: &&Reason| match reason.path() {
            Some(path) => *path == finding.path,
            None => finding.problem == Problem::Missing,
        };
        let change = self.changes.iter().find(|change| change.path == finding.path);
        if let Problem::MoreNames { .. } = finding.problem {
            return Some(Remedy::ByHand("put a copy in its place, so that it has one name"));
        }
        // While one thing is refused, all the others wait for it.
        let refused = || self.refused.iter().find(about).or(self.refused.first());
        change.map(Remedy::Chmod).or_else(|| refused().map(Remedy::Refused))
    }
}

impl Reason {
    /// What it is about.
    pub fn path(&self) -> Option<&Bytes> {
        match self {
            Reason::Missing => None,
            Reason::Planted { path, .. }
            | Reason::NotAFile { path, .. }
            | Reason::MoreNames { path }
            | Reason::Outside { path } => Some(path),
        }
    }
}

impl fmt::Display for Remedy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::Chmod(change) => change.fmt(f),
            Remedy::Refused(reason) => reason.fmt(f),
            Remedy::ByHand(what) => f.write_str(what),
        }
    }
}

impl Facts {
    /// What would set things right.
    pub fn fix(&self) -> Fix {
        let refused = self.reasons();
        let mut changes = Vec::new();
        if refused.is_empty() {
            let nodes = self.file.iter().chain(self.above.iter()).chain(self.walked.iter());
            for node in nodes {
                let to = self.right_mode(node);
                let chmod = Chmod { path: node.path.clone(), from: node.mode, to };
                if to != node.mode && !changes.contains(&chmod) {
                    changes.push(chmod);
                }
            }
        }
        // A path is longer than those above it.
        changes.sort_by(|a, b| {
            let key = |chmod: &Chmod| (chmod.path.as_bytes().len(), chmod.path.clone());
            key(a).cmp(&key(b))
        });
        Fix { changes, refused }
    }

    fn reasons(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let mut add = |reason: Reason| {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        };
        let decides = |node: &&Node| {
            node.kind == FileKind::Symlink || self.is_inside(node) || self.is_home(node)
        };
        let nodes =
            self.file.iter().chain(self.checked()).chain(self.walked.iter().filter(decides));
        for node in nodes.filter(|node| !self.trusts(node.owner)) {
            add(Reason::Planted { path: node.path.clone(), uid: node.owner });
        }
        match &self.file {
            None => add(Reason::Missing),
            Some(file) if file.kind != FileKind::File => {
                add(Reason::NotAFile { path: file.path.clone(), kind: file.kind });
            }
            Some(file) if file.links > 1 && self.right_mode(file) != file.mode => {
                add(Reason::MoreNames { path: file.path.clone() });
            }
            Some(_) => {}
        }
        let all = self.file.iter().chain(self.checked());
        for node in all.filter(|node| self.trusts(node.owner) && self.is_outside(node)) {
            let unreadable = node.kind == FileKind::File && !self.can_read(node);
            if node.mode & 0o022 != 0 || unreadable {
                add(Reason::Outside { path: node.path.clone() });
            }
        }
        let directories = self.walked.iter().filter(|node| node.kind == FileKind::Directory);
        for node in directories.filter(|node| self.is_outside(node) && !self.can_search(node)) {
            add(Reason::Outside { path: node.path.clone() });
        }
        reasons
    }

    /// The mode that a node on the way should have: its own where it is none of our business.
    fn right_mode(&self, node: &Node) -> u32 {
        let closed = node.mode & !0o022;
        let passable = match node.kind {
            FileKind::Directory if !self.can_search(node) => closed | 1 << self.class_of(node),
            _ => closed,
        };
        // Others may rely on how root has left it.
        let sound = node.owner == 0 && closed == node.mode;
        match node.kind {
            _ if self.is_home(node) => passable,
            _ if !self.is_inside(node) => node.mode,
            FileKind::File if self.is_the_file(node) => match self.can_read(node) {
                true if sound => node.mode,
                true if self.is_roots(node) => closed,
                false if self.is_roots(node) => 0o644,
                _ => 0o600,
            },
            FileKind::Directory if sound || self.is_roots(node) => passable,
            FileKind::Directory if self.holds_the_file(node) => 0o700,
            FileKind::Directory => passable,
            _ => node.mode,
        }
    }

    /// Root's, while the account is another one.
    fn is_roots(&self, node: &Node) -> bool {
        node.owner == 0 && self.account.uid != 0
    }

    fn is_the_file(&self, node: &Node) -> bool {
        self.file.as_ref().is_some_and(|file| file.path == node.path)
    }

    fn holds_the_file(&self, node: &Node) -> bool {
        self.above.first().is_some_and(|folder| folder.path == node.path)
    }

    /// Below the home.
    fn is_inside(&self, node: &Node) -> bool {
        let Some(home) = &self.real_home else { return false };
        // A home that is `/` has the whole machine in it.
        let rest = node.path.as_bytes().strip_prefix(home.as_bytes());
        home.as_bytes().len() > 1 && rest.is_some_and(|rest| rest.starts_with(b"/"))
    }

    fn is_outside(&self, node: &Node) -> bool {
        !self.is_inside(node) && !self.is_home(node)
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        self.refused.iter().try_for_each(|reason| writeln!(f, "refused: {reason}"))
    }
}

impl fmt::Display for Chmod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chmod {:04o} {}", self.to, self.path)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Planted { path, uid } => write!(
                f,
                "{path} belongs to user {uid}, who may have put keys there; look at it, and remove it or have it replaced by a file of the account's own"
            ),
            Reason::Missing => {
                f.write_str("there is no authorized_keys file; authorize a key first")
            }
            Reason::NotAFile { path, kind } => {
                write!(f, "{path} is {kind}; remove it and authorize a key")
            }
            Reason::MoreNames { path } => write!(
                f,
                "{path} has other names, whose mode would change with it; replace it by a copy of its own"
            ),
            Reason::Outside { path } => write!(
                f,
                "{path} is not in the account's home, and others may rely on its mode; keep the file in the home, or set that mode yourself"
            ),
        }
    }
}
