//! StrictModes as data (sshd_config(5)): facts about the way to an authorized_keys file, what sshd
//! makes of them, and what would set them right.
//!
//! Pure: the facts may come from this machine, over SFTP or out of `stat`, and a fix is a value.

mod account;
mod fix;
mod judge;

use std::collections::BTreeMap;
use std::fmt;

pub use account::{Account, Accounts, Group};
pub use fix::{Chmod, Fix, Reason, Remedy};
pub use judge::{Finding, Problem, Profile, Weight};
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// All that sshd looks at before it reads an authorized_keys file for an account.
///
/// ```
/// use keygen_helper::permissions::{Account, Facts, FileKind, Node, Problem, Profile};
///
/// let node = |path: &str, kind, mode| Node { path: path.into(), kind, owner: 1000, group: 1000, mode, links: 1 };
/// let root = Node { owner: 0, group: 0, ..node("/", FileKind::Directory, 0o755) };
/// let above = vec![
///     node("/home/anna/.ssh", FileKind::Directory, 0o700),
///     Node { mode: 0o775, ..node("/home/anna", FileKind::Directory, 0) },
///     Node { path: "/home".into(), ..root.clone() },
///     root,
/// ];
/// let facts = Facts {
///     account: Account { name: "anna".into(), uid: 1000, gids: vec![1000], home: "/home/anna".into() },
///     real_home: Some("/home/anna".into()),
///     walked: above.iter().rev().cloned().collect(),
///     file: Some(node("/home/anna/.ssh/authorized_keys", FileKind::File, 0o600)),
///     above,
///     groups: Default::default(),
///     names: Default::default(),
/// };
/// // The file and its folder are as they should be; the home that others of the group can write
/// // to is what locks anna out.
/// let findings = facts.judge(Profile::Upstream);
/// assert_eq!(findings.len(), 1);
/// assert_eq!(findings[0].problem, Problem::GroupWrites);
/// assert_eq!(facts.fix().to_string(), "chmod 0755 /home/anna\n");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Who is to log in.
    pub account: Account,
    /// The account's home with every symlink resolved; none when there is no such folder.
    pub real_home: Option<Bytes>,
    /// Every directory and symlink that is passed on the way to the file, from `/` on, in order
    /// and each once.
    pub walked: Vec<Node>,
    /// The file itself, behind all symlinks. None when there is none.
    pub file: Option<Node>,
    /// The directories above the file, behind all symlinks, from the nearest to `/`.
    pub above: Vec<Node>,
    /// The groups of whatever its group may write to, by number. A group that is missing here
    /// does not exist.
    pub groups: BTreeMap<u32, Group>,
    /// The names of the owners of whatever its group may write to, by number.
    pub names: BTreeMap<u32, Bytes>,
}

/// A file, directory or symlink, as `lstat` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where it is, absolute.
    pub path: Bytes,
    /// What it is.
    pub kind: FileKind,
    /// The number of the user who owns it.
    pub owner: u32,
    /// The number of its group.
    pub group: u32,
    /// The lower twelve bits of its mode.
    pub mode: u32,
    /// How many names it has.
    pub links: u64,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
    /// A pipe, a socket or a device.
    Other,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FileKind::File => "a regular file",
            FileKind::Directory => "a directory",
            FileKind::Symlink => "a symlink",
            FileKind::Other => "a pipe, socket or device",
        })
    }
}

impl Facts {
    fn is_home(&self, node: &Node) -> bool {
        self.real_home.as_ref() == Some(&node.path)
    }

    /// The directories that sshd looks at: those above the file up to the home, or to `/` where
    /// the file is not below the home.
    fn checked(&self) -> &[Node] {
        let home = self.above.iter().position(|node| self.is_home(node));
        home.map_or(&self.above[..], |home| &self.above[..=home])
    }

    /// Whether whoever owns this may choose what the account's file says.
    fn trusts(&self, owner: u32) -> bool {
        owner == 0 || owner == self.account.uid
    }

    /// Where in a mode the three bits are that hold for the account: so many from the right.
    fn class_of(&self, node: &Node) -> u32 {
        if node.owner == self.account.uid {
            6
        } else if self.account.gids.contains(&node.group) {
            3
        } else {
            0
        }
    }

    fn bits_of(&self, node: &Node) -> u32 {
        node.mode >> self.class_of(node) & 7
    }

    /// Whether the account can go through a directory. Root can go through all of them.
    fn can_search(&self, node: &Node) -> bool {
        self.account.uid == 0 || self.bits_of(node) & 1 != 0
    }

    fn can_read(&self, node: &Node) -> bool {
        self.account.uid == 0 || self.bits_of(node) & 4 != 0
    }
}
