//! The facts about the way to an authorized_keys file, gathered from this machine; and modes set on
//! the very inodes that were looked at.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::disk::{Disk, Kernel, Status};
use super::error::FileError;
use crate::authorized_keys::{AuthorizedKeys, Content, MAX_DOCUMENT};
use crate::bytes::Bytes;
use crate::permissions::{Account, Accounts, Facts, FileKind, Fix, Node};

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// What was found on the way to an account's authorized_keys file, every part of it held open.
///
/// Links are followed as sshd follows them, whoever made them; who did is among the facts.
///
/// ```no_run
/// use keygen_helper::fs::Inspection;
/// use keygen_helper::permissions::{Accounts, Profile};
///
/// let accounts = Accounts::parse(&std::fs::read("/etc/passwd")?, &std::fs::read("/etc/group")?);
/// let anna = accounts.account(b"anna").expect("there is an anna");
/// let path = "/home/anna/.ssh/authorized_keys".as_ref();
///
/// let inspection = Inspection::of(path, &anna, &accounts)?;
/// for finding in inspection.facts().judge(Profile::Upstream) {
///     println!("{finding}");
/// }
/// let fix = inspection.facts().fix();
/// print!("{fix}");
/// inspection.apply(&fix)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Inspection {
    facts: Facts,
    held: BTreeMap<Bytes, Held>,
}

#[derive(Debug)]
struct Held {
    descriptor: OwnedFd,
    status: Status,
}

impl Inspection {
    /// Goes the way to `path` that sshd would go for this account.
    ///
    /// # Errors
    /// [`FileError::Open`] when a part of it cannot be looked at. That there is no file is no error
    /// but a fact.
    pub fn of(
        path: &Path,
        account: &Account,
        accounts: &Accounts,
    ) -> Result<Inspection, FileError> {
        let failed = |source| FileError::Open { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        let home = OsStr::from_bytes(account.home.as_bytes());
        let real_home = Walk::to(Path::new(home)).ok().and_then(Walk::into_real_path);
        let walk = Walk::to(&path)?;
        let mut facts = Facts {
            account: account.clone(),
            real_home,
            walked: walk.walked,
            file: walk.file.as_ref().map(|(path, held)| node(path, &held.status)),
            above: walk.above.iter().rev().map(|(path, held)| node(path, &held.status)).collect(),
            groups: BTreeMap::new(),
            names: BTreeMap::new(),
        };
        let writable = facts.file.iter().chain(&facts.above).filter(|node| node.mode & 0o020 != 0);
        for node in writable {
            facts.groups.extend(accounts.group(node.group).map(|group| (node.group, group)));
            facts.names.extend(accounts.name(node.owner).map(|name| (node.owner, name.clone())));
        }
        let held = walk.passed.into_iter().chain(walk.above).chain(walk.file);
        Ok(Inspection { facts, held: held.map(|(path, held)| (bytes(&path), held)).collect() })
    }

    /// What was found.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Sets the modes, on what was looked at and on nothing that has taken its place. Look again
    /// afterwards: while a directory was open to others, it could be swapped.
    ///
    /// A file of root's that the user cannot read yet is opened to them only when all it holds are
    /// keys and comments, so that nobody gets to read a secret of root's by giving it this name.
    ///
    /// # Errors
    /// [`FileError::Changed`] when something is no longer as it was found, [`FileError::NotKeys`]
    /// for a file of root's that is something else, and [`FileError::Mode`].
    /// What comes before in the fix has then been set, which is from the home down.
    pub fn apply(&self, fix: &Fix) -> Result<(), FileError> {
        for change in &fix.changes {
            let path = PathBuf::from(OsStr::from_bytes(change.path.as_bytes()));
            let failed = |source| FileError::Mode { path: path.clone(), source };
            let changed = || FileError::Changed { path: path.clone() };
            let held = self.held.get(&change.path).ok_or_else(changed)?;
            let now = Kernel.status(held.descriptor.as_fd()).map_err(failed)?;
            // A directory has another link with each directory in it; a file must have no new name.
            let links = |status: &Status| match status.file_type {
                FileType::Directory => 0,
                _ => status.links,
            };
            let same = |status: &Status| (status.mode, status.uid, status.gid, links(status));
            if same(&now) != same(&held.status) || now.mode != change.from {
                return Err(changed());
            }
            let opens = change.to & 0o044 & !change.from != 0;
            if opens
                && now.file_type == FileType::RegularFile
                && !holds_keys(held).map_err(failed)?
            {
                return Err(FileError::NotKeys { path });
            }
            set_mode(held.descriptor.as_fd(), change.to).map_err(failed)?;
        }
        Ok(())
    }
}

/// A held inode is reached through /proc, since `fchmod` wants it opened, and it may be closed even
/// to its owner.
fn link_to(held: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", held.as_raw_fd())
}

fn set_mode(held: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    Ok(sys::chmod(link_to(held), Mode::from_raw_mode(mode))?)
}

fn holds_keys(held: &Held) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = sys::open(link_to(held.descriptor.as_fd()), flags, Mode::empty())?;
    let mut content = Vec::new();
    let most = u64::try_from(MAX_DOCUMENT).unwrap_or(u64::MAX);
    std::fs::File::from(file).take(most + 1).read_to_end(&mut content)?;
    let Ok(keys) = AuthorizedKeys::parse(content) else { return Ok(false) };
    let sound = |content: Content<'_>| !matches!(content, Content::Unusable(_));
    Ok(keys.usable() > 0 && keys.contents().all(sound))
}

/// A path gone component by component, links followed.
struct Walk {
    /// The directories that lead to where we are, from `/` on.
    above: Vec<(PathBuf, Held)>,
    /// Directories that were left again through `..` or a link.
    passed: Vec<(PathBuf, Held)>,
    walked: Vec<Node>,
    file: Option<(PathBuf, Held)>,
    links: usize,
}

impl Walk {
    /// To a file or a directory; the last component may be missing, and any before it.
    fn to(path: &Path) -> Result<Walk, FileError> {
        let failed = |source| FileError::Open { path: "/".into(), source };
        let descriptor = Kernel.start(true).map_err(failed)?;
        let status = Kernel.status(descriptor.as_fd()).map_err(failed)?;
        let root = (PathBuf::from("/"), Held { descriptor, status });
        let walked = vec![node(&root.0, &root.1.status)];
        let mut walk = Walk { above: vec![root], passed: Vec::new(), walked, file: None, links: 0 };
        let mut pending = reversed(path.as_os_str().as_bytes());
        while let Some(name) = pending.pop() {
            if !walk.step(&name, &mut pending)? {
                break;
            }
        }
        Ok(walk)
    }

    /// Whether the walk goes on.
    fn step(&mut self, name: &[u8], pending: &mut Vec<Vec<u8>>) -> Result<bool, FileError> {
        if name == b".." {
            if self.above.len() > 1 {
                self.passed.extend(self.above.pop());
            }
            return Ok(true);
        }
        let (here, held) = self.above.last().expect("/ is never left");
        let path = here.join(OsStr::from_bytes(name));
        let failed = |source: io::Error| FileError::Open { path: path.clone(), source };
        let next = match Kernel.hold(held.descriptor.as_fd(), name) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let status = Kernel.status(next.as_fd()).map_err(failed)?;
        let seen = node(&path, &status);
        let passes = matches!(seen.kind, FileKind::Directory | FileKind::Symlink);
        if passes && !self.walked.contains(&seen) {
            self.walked.push(seen);
        }
        match status.file_type {
            FileType::Symlink => {
                self.links += 1;
                if self.links > MAX_LINKS {
                    return Err(failed(Errno::LOOP.into()));
                }
                let target = Kernel.read_link(next.as_fd()).map_err(failed)?;
                if target.first() == Some(&b'/') {
                    self.passed.extend(self.above.drain(1..));
                }
                pending.extend(reversed(&target));
            }
            FileType::Directory if !pending.is_empty() => {
                self.above.push((path, Held { descriptor: next, status }));
            }
            _ if pending.is_empty() => {
                self.file = Some((path, Held { descriptor: next, status }));
            }
            // A file where a directory should be leads nowhere.
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Where the walk has come to.
    fn into_real_path(self) -> Option<Bytes> {
        match self.file {
            Some((path, held)) if held.status.file_type == FileType::Directory => {
                Some(bytes(&path))
            }
            _ => None,
        }
    }
}

fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/').filter(|name| !name.is_empty() && *name != b".");
    names.rev().map(<[u8]>::to_vec).collect()
}

fn bytes(path: &Path) -> Bytes {
    path.as_os_str().as_bytes().into()
}

fn node(path: &Path, status: &Status) -> Node {
    let kind = match status.file_type {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    let (owner, group, mode) = (status.uid, status.gid, status.mode);
    Node { path: bytes(path), kind, owner, group, mode, links: status.links }
}
