//! Delivery into a Maildir: whole or not at all, and once however often it is tried.
//!
//! A message is written in `tmp`, brought to the disk, renamed into `new`, and the folder brought to
//! the disk (<https://cr.yp.to/proto/maildir.html>). Its name is made of our id and the recipient,
//! so that a second attempt replaces the first rather than doubling it, and so that it can be found
//! again when it is not clear whether it arrived.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, CWD, Gid, Mode, OFlags, RawDir, Uid};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::envelope::ForwardPath;
use crate::leg::{Cause, Feed, Job, Leg, Outcome, Presence, Scope, Trouble};
use crate::reply::{Phase, Reply};
use crate::text::to_hex;

/// A folder that cannot be made a Maildir's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMaildir {
    /// Not from the root.
    #[error("{0} is not an absolute path; a Maildir is given from the root on")]
    Relative(PathBuf),
    /// A word in braces that stands for nothing.
    #[error(
        "{0} holds braces that stand for nothing; {{local}} and {{domain}} stand for the two parts of the recipient's address"
    )]
    Braces(PathBuf),
}

/// A leg that stores messages in Maildirs of this machine.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("{domain}/{local}");
/// // As in /var/mail/{domain}/{local}.
/// let leg = mail_dual::MaildirLeg::new(path)?.create(true);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MaildirLeg {
    path: PathBuf,
    create: bool,
}

/// The three folders of one Maildir, held.
struct Held {
    root: OwnedFd,
    tmp: OwnedFd,
    new: OwnedFd,
    cur: OwnedFd,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn open_below(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    sys::openat(dir, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
}

impl MaildirLeg {
    /// A leg into the Maildir at `path`, in which `{local}` and `{domain}` stand for the
    /// recipient's, in lower case.
    ///
    /// # Errors
    /// [`BadMaildir`] when it is no absolute path, or has other words in braces.
    pub fn new(path: impl Into<PathBuf>) -> Result<MaildirLeg, BadMaildir> {
        let path = path.into();
        if !path.is_absolute() {
            return Err(BadMaildir::Relative(path));
        }
        let rest = path.to_string_lossy().replace("{local}", "").replace("{domain}", "");
        if rest.contains(['{', '}']) {
            return Err(BadMaildir::Braces(path));
        }
        Ok(MaildirLeg { path, create: false })
    }

    /// Whether a Maildir that is missing is made. Otherwise its mail waits.
    #[must_use]
    pub fn create(mut self, create: bool) -> MaildirLeg {
        self.create = create;
        self
    }

    /// Where a recipient's mail goes.
    fn path_of(&self, recipient: &ForwardPath) -> Option<PathBuf> {
        let pattern = self.path.to_str()?;
        let local = recipient.local_part().to_lowercase();
        let domain = recipient.domain().unwrap_or_default().to_lowercase();
        let usable = |part: &str| {
            !part.is_empty() && !part.starts_with('.') && !part.contains(['/', '\0', '{', '}'])
        };
        if (pattern.contains("{local}") && !usable(&local))
            || (pattern.contains("{domain}") && !usable(&domain))
        {
            return None;
        }
        Some(pattern.replace("{local}", &local).replace("{domain}", &domain).into())
    }

    fn open(&self, path: &Path) -> io::Result<Held> {
        if self.create {
            make_folders(path)?;
        }
        let root = sys::openat(CWD, path, FOLDER, Mode::empty())?;
        let folder = |name: &[u8]| match open_below(root.as_fd(), name) {
            Err(Errno::NOENT) if self.create => {
                match sys::mkdirat(&root, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                let made = open_below(root.as_fd(), name)?;
                give_to_owner_of(root.as_fd(), made.as_fd())?;
                sys::fsync(&root)?;
                Ok(made)
            }
            result => result,
        };
        let (tmp, new, cur) = (folder(b"tmp")?, folder(b"new")?, folder(b"cur")?);
        Ok(Held { root, tmp, new, cur })
    }

    /// The file that holds the message for one recipient.
    fn look_for(&self, job: &Job, recipient: usize) -> io::Result<Option<(OwnedFd, Vec<u8>)>> {
        let Some(recipient) = job.envelope.recipients().get(recipient) else { return Ok(None) };
        let Some(folder) = self.path_of(&recipient.path) else { return Ok(None) };
        let held = MaildirLeg { create: false, ..self.clone() }.open(&folder)?;
        let name = file_name(job, &recipient.path);
        for folder in [held.new, held.cur] {
            if let Some(found) = find(folder, &name)? {
                return Ok(Some(found));
            }
        }
        // Readers and filters move messages to folders, which are Maildirs with a dot.
        let has_dot = |name: &[u8]| name.starts_with(b".") && name != b"." && name != b"..";
        for folder in names(held.root.as_fd(), has_dot)? {
            let Ok(folder) = open_below(held.root.as_fd(), &folder) else { continue };
            for part in [&b"new"[..], b"cur"] {
                if let Ok(part) = open_below(folder.as_fd(), part)
                    && let Some(found) = find(part, &name)?
                {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn deliver_one(&self, job: &Job, recipient: usize, feed: &mut dyn Feed) -> Outcome {
        let path = &job.envelope.recipients()[recipient].path;
        let trouble = |phase, cause| Trouble { phase, scope: Scope::Recipient, cause };
        let Some(folder) = self.path_of(path) else {
            let reply = Reply::ours(553, "5.1.3 this address cannot be the name of a Maildir");
            return Outcome::Failed(trouble(Phase::Rcpt, Cause::Unsuitable(reply)));
        };
        let words = |error: &io::Error| format!("the Maildir {}: {error}", folder.display());
        let held = match self.open(&folder) {
            Ok(held) => held,
            Err(error) => {
                return Outcome::Deferred(trouble(Phase::Rcpt, Cause::Io(words(&error))));
            }
        };
        let name = file_name(job, path);
        if let Err(error) = write(&held, &name, &bytes_of(job, path)) {
            // Nobody looks into tmp; what is left there is replaced at the next attempt.
            let _ = sys::unlinkat(&held.tmp, &name, AtFlags::empty());
            return Outcome::Deferred(trouble(Phase::Data, Cause::Io(words(&error))));
        }
        if !feed.committing(job, &[recipient]) {
            let _ = sys::unlinkat(&held.tmp, &name, AtFlags::empty());
            let words = "the message was called back before it was stored".to_owned();
            return Outcome::Deferred(trouble(Phase::Data, Cause::Io(words)));
        }
        if let Err(errno) = sys::renameat(&held.tmp, &name, &held.new, &name) {
            let _ = sys::unlinkat(&held.tmp, &name, AtFlags::empty());
            return Outcome::Deferred(trouble(Phase::Data, Cause::Io(words(&errno.into()))));
        }
        match sys::fsync(&held.new) {
            Ok(()) => Outcome::Delivered(Reply::ours(250, "2.0.0 stored")),
            Err(errno) => Outcome::InDoubt(trouble(Phase::Dot, Cause::Io(words(&errno.into())))),
        }
    }
}

/// What is stored: the envelope's two addresses, as a last server adds them (RFC 5321 §4.4), and
/// the message with the line ends of this system, which Maildirs are read with.
fn bytes_of(job: &Job, recipient: &ForwardPath) -> Vec<u8> {
    let head = format!("Return-Path: <{}>\nDelivered-To: {recipient}\n", job.envelope.reverse_path);
    let mut bytes = Vec::with_capacity(head.len() + job.message.len());
    bytes.extend_from_slice(head.as_bytes());
    let mut rest = job.message.as_bytes();
    while let Some(end) = memchr::memchr(b'\r', rest) {
        bytes.extend_from_slice(&rest[..end]);
        rest = &rest[end + 1..];
    }
    bytes.extend_from_slice(rest);
    bytes
}

/// The same for every attempt: time of acceptance, our id, and which recipient.
fn file_name(job: &Job, recipient: &ForwardPath) -> String {
    let which = Sha256::digest(recipient.as_str().as_bytes());
    format!("{}.{}_{}.dual", job.id.time().as_millis() / 1000, job.id, to_hex(&which[..4]))
}

fn write(held: &Held, name: &str, bytes: &[u8]) -> io::Result<()> {
    match sys::unlinkat(&held.tmp, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = sys::openat(&held.tmp, name, flags, Mode::RUSR | Mode::WUSR)?;
    give_to_owner_of(held.root.as_fd(), file.as_fd())?;
    let mut file = std::fs::File::from(file);
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()
}

/// Makes a folder and those that it lies in, each the property of the owner of the one above it,
/// and each there after a power cut: a message in a folder that is gone is gone too.
fn make_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(parent) = path.parent() else { return Ok(()) };
    make_folders(parent)?;
    match sys::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let parent = sys::openat(CWD, parent, FOLDER, Mode::empty())?;
    let made = sys::openat(CWD, path, FOLDER, Mode::empty())?;
    give_to_owner_of(parent.as_fd(), made.as_fd())?;
    Ok(sys::fsync(&parent)?)
}

/// Root delivers to others' Maildirs; what it makes there is theirs.
fn give_to_owner_of(root: BorrowedFd<'_>, made: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let (owner, ours) = (sys::fstat(root)?, sys::fstat(made)?);
    if (owner.st_uid, owner.st_gid) == (ours.st_uid, ours.st_gid)
        || !rustix::process::geteuid().is_root()
    {
        return Ok(());
    }
    sys::fchown(made, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))
}

/// The names in a folder for which `wanted` is true.
fn names(
    folder: BorrowedFd<'_>,
    wanted: impl Fn(&[u8]) -> bool,
) -> rustix::io::Result<BTreeSet<Vec<u8>>> {
    let mut found = BTreeSet::new();
    let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(folder, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if wanted(name) {
            found.insert(name.to_vec());
        }
    }
    Ok(found)
}

/// The file of this name in `folder`, whatever flags a reader has added to it.
fn find(folder: OwnedFd, name: &str) -> rustix::io::Result<Option<(OwnedFd, Vec<u8>)>> {
    let ours = |found: &[u8]| {
        found.strip_prefix(name.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b':', ..]))
    };
    let Some(name) = names(folder.as_fd(), ours)?.pop_first() else { return Ok(None) };
    // It may have been put there by a process that was killed before it had done this, and counts
    // as delivered from now on.
    sys::fsync(&folder)?;
    Ok(Some((folder, name)))
}

impl Leg for MaildirLeg {
    fn deliver(&self, feed: &mut dyn Feed) {
        while let Some(job) = feed.next() {
            for recipient in 0..job.envelope.recipients().len() {
                let outcome = self.deliver_one(&job, recipient, feed);
                feed.report(&job, recipient, outcome);
            }
        }
    }

    fn contains(&self, job: &Job, recipient: usize) -> Presence {
        match self.look_for(job, recipient) {
            Ok(Some(_)) => Presence::Present,
            Ok(None) => Presence::Absent,
            Err(_) => Presence::Unknown,
        }
    }

    fn stored(&self, job: &Job, recipient: usize) -> Option<Vec<u8>> {
        let (folder, name) = self.look_for(job, recipient).ok()??;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = sys::openat(folder, &*name, flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        let most = job.message.len() as u64 + 64 * 1024;
        io::Read::read_to_end(&mut io::Read::take(std::fs::File::from(file), most), &mut bytes)
            .ok()?;
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        Some(
            lines
                .flat_map(|line| match line.strip_suffix(b"\n") {
                    Some(line) => [line, b"\r\n"],
                    None => [line, b""],
                })
                .collect::<Vec<_>>()
                .concat(),
        )
    }

    fn probe(&self) -> Result<Vec<String>, Trouble> {
        let pattern = self.path.to_string_lossy();
        // What lies before the first word in braces must be there.
        let base = match pattern.find('{') {
            Some(at) => Path::new(&pattern[..at])
                .ancestors()
                .find(|path| pattern[..at].ends_with('/') || *path != Path::new(&pattern[..at]))
                .unwrap_or(Path::new("/")),
            None => &self.path,
        };
        let words = |error: io::Error| Trouble {
            phase: Phase::Connect,
            scope: Scope::Leg,
            cause: Cause::Io(format!("the Maildir {}: {error}", base.display())),
        };
        if pattern.contains('{') {
            sys::openat(CWD, base, FOLDER, Mode::empty()).map_err(|errno| words(errno.into()))?;
        } else {
            self.open(base).map_err(words)?;
        }
        Ok(vec![format!("{} is there", base.display())])
    }
}
