//! The facts about the way to an authorized_keys file, gathered from this machine; and modes set on
//! the very inodes that were looked at.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FileType;

use super::disk::{Disk, Kernel, Status};
use super::document::read_all;
use super::error::FileError;
use super::folder::{MAX_LINKS, components_reversed};
use crate::authorized_keys::{AuthorizedKeys, Content, MAX_DOCUMENT};
use crate::bytes::Bytes;
use crate::permissions::{Account, Accounts, Facts, FileKind, Fix, Node};

/// How many things may be in a directory of root's for all of them to be looked at.
const MOST_NAMES: usize = 256;

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
pub struct Inspection {
    disk: Arc<dyn Disk>,
    facts: Facts,
    held: BTreeMap<Bytes, Held>,
}

#[derive(Debug)]
struct Held {
    descriptor: OwnedFd,
    status: Status,
}

impl fmt::Debug for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspection").field("facts", &self.facts).finish_non_exhaustive()
    }
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
        Inspection::on(Arc::new(Kernel), path, account, accounts)
    }

    pub(super) fn on(
        disk: Arc<dyn Disk>,
        path: &Path,
        account: &Account,
        accounts: &Accounts,
    ) -> Result<Inspection, FileError> {
        let failed = |source| FileError::Open { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        let home = OsStr::from_bytes(account.home.as_bytes());
        let real_home = Walk::to(&*disk, Path::new(home)).ok().and_then(Walk::into_real_path);
        let walk = Walk::to(&*disk, &path)?;
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
        let held = held.map(|(path, held)| (bytes(&path), held)).collect();
        Ok(Inspection { disk, facts, held })
    }

    /// What was found.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is in the file that was looked at, behind all links, whoever made them. None where there
    /// is no regular file.
    ///
    /// # Errors
    /// [`FileError::Read`], [`FileError::TooLarge`].
    pub fn content(&self) -> Result<Option<Vec<u8>>, FileError> {
        let file = self.facts.file.as_ref().filter(|file| file.kind == FileKind::File);
        let Some(file) = file else { return Ok(None) };
        let path = PathBuf::from(OsStr::from_bytes(file.path.as_bytes()));
        let Some(held) = self.held.get(&file.path) else { return Ok(None) };
        match self.read(held) {
            Ok(Some(content)) => Ok(Some(content)),
            Ok(None) => Err(FileError::TooLarge { path, most: MAX_DOCUMENT }),
            Err(source) => Err(FileError::Read { path, source }),
        }
    }

    /// Nothing when it is too long.
    fn read(&self, held: &Held) -> io::Result<Option<Vec<u8>>> {
        let file = self.disk.open_held(held.descriptor.as_fd())?;
        let read = read_all(&*self.disk, file.as_fd(), held.status.size, MAX_DOCUMENT)?;
        Ok(read.map(|mut content| std::mem::take(&mut *content)))
    }

    /// Sets the modes, on what was looked at and on nothing that has taken its place. Look again
    /// afterwards: while a directory was open to others, it could be swapped.
    ///
    /// A file of root's that the user cannot reach or read yet is opened to them only when all it
    /// holds are keys and comments, and a directory of root's only when whatever else is in it is
    /// closed to everybody but its owner: nobody gets to read a secret of root's by giving it a name.
    ///
    /// # Errors
    /// [`FileError::Changed`] when something is no longer as it was found, [`FileError::NotKeys`]
    /// for a file of root's that is something else, [`FileError::Shelter`] for a directory of root's
    /// that keeps other things from the user, and [`FileError::Mode`].
    /// Nothing has then been set, unless something changed or failed in between: then what comes
    /// before it in the fix has, which is from the home down.
    pub fn apply(&self, fix: &Fix) -> Result<(), FileError> {
        for set in [false, true] {
            self.go_through(fix, set)?;
        }
        Ok(())
    }

    /// Checks all that the fix would change, and sets it if asked to.
    fn go_through(&self, fix: &Fix, set: bool) -> Result<(), FileError> {
        for change in &fix.changes {
            let path = PathBuf::from(OsStr::from_bytes(change.path.as_bytes()));
            let failed = |source| FileError::Mode { path: path.clone(), source };
            let changed = || FileError::Changed { path: path.clone() };
            let held = self.held.get(&change.path).ok_or_else(changed)?;
            let now = self.disk.status(held.descriptor.as_fd()).map_err(failed)?;
            // A directory has another link with each directory in it; a file must have no new name.
            let links = |status: &Status| match status.file_type {
                FileType::Directory => 0,
                _ => status.links,
            };
            let same = |status: &Status| (status.mode, status.uid, status.gid, links(status));
            if same(&now) != same(&held.status) || now.mode != change.from {
                return Err(changed());
            }
            let opened = change.to & !change.from & 0o055;
            if opened != 0 && now.uid == 0 {
                let directory = now.file_type == FileType::Directory;
                if directory && self.shelters(held).map_err(failed)? {
                    return Err(FileError::Shelter { path });
                }
                self.check_file()?;
            }
            if set {
                let set = self.disk.set_held_mode(held.descriptor.as_fd(), change.to);
                set.map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Makes sure that a file of root's holds keys and nothing else.
    fn check_file(&self) -> Result<(), FileError> {
        let file = self.facts.file.as_ref().filter(|file| file.owner == 0);
        let Some((file, held)) = file.and_then(|file| Some((file, self.held.get(&file.path)?)))
        else {
            return Ok(());
        };
        let path = PathBuf::from(OsStr::from_bytes(file.path.as_bytes()));
        match self.holds_keys(held) {
            Ok(true) => Ok(()),
            Ok(false) => Err(FileError::NotKeys { path }),
            Err(source) => Err(FileError::Read { path, source }),
        }
    }

    /// Whether a directory keeps anything from the user but what is on the way to the file: more
    /// than its owner could reach it if it were open.
    fn shelters(&self, held: &Held) -> io::Result<bool> {
        let directory = self.disk.open_directory(held.descriptor.as_fd())?;
        let Some(names) = self.disk.names(directory.as_fd(), MOST_NAMES)? else {
            return Ok(true);
        };
        for name in names {
            let Some(status) = self.disk.status_at(directory.as_fd(), &name)? else { continue };
            let on_the_way = self.held.values().any(|held| held.status.inode == status.inode);
            let closed = status.mode & 0o077 == 0;
            let harmless = match status.file_type {
                FileType::Symlink => true,
                FileType::RegularFile | FileType::Directory => closed,
                _ => false,
            };
            if !on_the_way && !harmless {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holds_keys(&self, held: &Held) -> io::Result<bool> {
        let Some(content) = self.read(held)? else { return Ok(false) };
        let Ok(keys) = AuthorizedKeys::parse(content) else { return Ok(false) };
        let sound = |content: Content<'_>| !matches!(content, Content::Unusable(_));
        Ok(keys.usable() > 0 && keys.contents().all(sound))
    }
}

/// A path gone component by component, links followed.
struct Walk<'a> {
    disk: &'a dyn Disk,
    /// The directories that lead to where we are, from `/` on.
    above: Vec<(PathBuf, Held)>,
    /// Directories that were left again through `..` or a link.
    passed: Vec<(PathBuf, Held)>,
    walked: Vec<Node>,
    file: Option<(PathBuf, Held)>,
    links: usize,
}

impl<'a> Walk<'a> {
    /// To a file or a directory; the last component may be missing, and any before it.
    fn to(disk: &'a dyn Disk, path: &Path) -> Result<Walk<'a>, FileError> {
        let failed = |source| FileError::Open { path: "/".into(), source };
        let descriptor = disk.start(true).map_err(failed)?;
        let status = disk.status(descriptor.as_fd()).map_err(failed)?;
        let root = (PathBuf::from("/"), Held { descriptor, status });
        let walked = vec![node(&root.0, &root.1.status)];
        let (above, passed) = (vec![root], Vec::new());
        let mut walk = Walk { disk, above, passed, walked, file: None, links: 0 };
        let mut pending = components_reversed(path.as_os_str().as_bytes());
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
        let next = match self.disk.hold(held.descriptor.as_fd(), name) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let status = self.disk.status(next.as_fd()).map_err(failed)?;
        let seen = node(&path, &status);
        let passes = matches!(seen.kind, FileKind::Directory | FileKind::Symlink);
        if passes && !self.walked.contains(&seen) {
            self.walked.push(seen);
        }
        match status.file_type {
            FileType::Symlink => {
                self.links += 1;
                if self.links > MAX_LINKS {
                    // Links that go round in circles lead nowhere; sshd finds no file there either.
                    return Ok(false);
                }
                let target = self.disk.read_link(next.as_fd()).map_err(failed)?;
                if target.first() == Some(&b'/') {
                    self.passed.extend(self.above.drain(1..));
                }
                pending.extend(components_reversed(&target));
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
