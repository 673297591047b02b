//! What a peer says is checked here before anything else looks at it: paths and names were when
//! they were decoded, everything else is by these rules.

use std::io;

use super::LinkError;
use super::message::Trouble;
use crate::entry::{Entry, Identity, Kind, Meta, Problem, Timestamp};
use crate::path::{HISTORY_DIRECTORY, RelPath, TEMPORARY_PREFIX, escape};
use crate::plan::{Expected, Op};

/// The longest sentence of a peer that is passed on.
const TEXT_MAX: usize = 1000;
/// What the kernel takes (`xattr(7)`): name, value, and our own limit on all of them together.
const XATTR_NAME_MAX: usize = 255;
const XATTR_VALUE_MAX: usize = 64 << 10;
const XATTRS_MAX: usize = 1 << 20;
/// The kernel's limit on all names of an entry, with a NUL after each (`listxattr(2)`).
const XATTR_NAMES_MAX: usize = 64 << 10;

type Checked = Result<(), LinkError>;

fn protocol(why: &'static str) -> Checked {
    Err(LinkError::Protocol(why))
}

/// A sentence of a peer's, safe to show and of a length that can be read.
pub(crate) fn text(said: &str) -> String {
    let end = said.char_indices().map(|(at, _)| at).nth(TEXT_MAX).unwrap_or(said.len());
    escape(&said.as_bytes()[..end]).into_owned()
}

pub(crate) fn problem(problem: Problem) -> Problem {
    Problem { error: text(&problem.error), ..problem }
}

/// The error that a peer met.
pub(crate) fn trouble(trouble: &Trouble) -> io::Error {
    match trouble.errno {
        1..=133 => io::Error::from_raw_os_error(trouble.errno.into()),
        _ => io::Error::other(text(&trouble.text)),
    }
}

/// An error as it is told to a peer.
pub(crate) fn telling(error: &io::Error) -> Trouble {
    match error.raw_os_error().and_then(|errno| u16::try_from(errno).ok()) {
        Some(errno) => Trouble { errno, text: String::new() },
        None if error.kind() == io::ErrorKind::NotFound => {
            let errno = rustix::io::Errno::NOENT.raw_os_error();
            Trouble { errno: u16::try_from(errno).unwrap_or_default(), text: String::new() }
        }
        None => Trouble { errno: 0, text: error.to_string() },
    }
}

fn time(time: Timestamp) -> Checked {
    if time.nanos < 1_000_000_000 { Ok(()) } else { protocol("a time with too many nanoseconds") }
}

fn identity(identity: &Identity) -> Checked {
    time(identity.ctime)
}

pub(crate) fn meta(meta: &Meta) -> Checked {
    if meta.mode > 0o7777 {
        return protocol("a mode with bits that no mode has");
    }
    time(meta.mtime)?;
    let (mut names, mut total, mut last): (usize, usize, Option<&[u8]>) = (0, 0, None);
    for (name, value) in meta.xattrs.iter() {
        if name.is_empty() || name.len() > XATTR_NAME_MAX || name.contains(&0) {
            return protocol("an extended attribute's name that no file system has");
        }
        if last.is_some_and(|last| last >= name) {
            return protocol("extended attributes that are out of order");
        }
        names += name.len() + 1;
        total += name.len() + value.len();
        let too_many = names > XATTR_NAMES_MAX || total > XATTRS_MAX;
        if value.len() > XATTR_VALUE_MAX || too_many {
            return protocol("more extended attributes than are mirrored");
        }
        last = Some(name);
    }
    if last.is_none() && !meta.xattrs.is_empty() {
        return protocol("a list of extended attributes without any");
    }
    Ok(())
}

pub(crate) fn kind(kind: &Kind) -> Checked {
    match kind {
        Kind::File { size } if i64::try_from(*size).is_err() => {
            protocol("a file larger than files can be")
        }
        Kind::Symlink { target } => {
            let length = target.0.len();
            if !(1..=crate::path::PATH_MAX).contains(&length) || target.0.contains(&0) {
                return protocol("a symlink's target that no symlink has");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// An entry of a listing, or what a file is now.
pub(crate) fn entry(entry: &Entry) -> Checked {
    kind(&entry.kind)?;
    meta(&entry.meta)?;
    identity(&entry.identity)?;
    if entry.digest.is_some() {
        return protocol("a digest in a place where none is told");
    }
    Ok(())
}

/// A root's own entry.
pub(crate) fn root(root: &Entry) -> Checked {
    if !root.name.as_bytes().is_empty() || !root.kind.is_directory() {
        return protocol("a root that is no directory");
    }
    entry(root)
}

/// An entry as it is listed in `directory`.
pub(crate) fn listed(directory: &RelPath, listed: &Entry) -> Checked {
    let name = listed.name.as_bytes();
    if name.is_empty() {
        return protocol("an entry without a name");
    }
    if name.starts_with(TEMPORARY_PREFIX) || (directory.is_root() && name == HISTORY_DIRECTORY) {
        return protocol("a reserved name was listed");
    }
    if directory.join(&listed.name).is_err() {
        return protocol("a path that is longer than the kernel takes");
    }
    entry(listed)
}

fn expected(expected: &Expected) -> Checked {
    match expected {
        Expected::Version { identity: version, mtime, .. } => {
            identity(version)?;
            time(*mtime)
        }
        Expected::Absent | Expected::Directory { .. } => Ok(()),
    }
}

/// What a step holds besides paths; those are [`plan::check`](crate::plan::check)ed.
pub(crate) fn op(op: &Op) -> Checked {
    match op {
        Op::MakeDirectory { meta: new, .. } | Op::Settle { meta: new, .. } => meta(new),
        Op::ReplaceWithDirectory { meta: new, expected: old, .. }
        | Op::SetMeta { meta: new, expected: old, .. } => {
            meta(new)?;
            expected(old)
        }
        Op::MoveDirectory { expected: old, .. } | Op::Remove { expected: old, .. } => expected(old),
        Op::MoveFile { expected: old, replaces, meta: new, .. } => {
            new.as_ref().map_or(Ok(()), meta)?;
            expected(old)?;
            expected(replaces)
        }
        Op::Put { kind: what, meta: new, source, expected: old, .. } => {
            kind(what)?;
            meta(new)?;
            identity(source)?;
            expected(old)
        }
        Op::Link { leader_expected, members, .. } => {
            leader_expected.as_ref().map_or(Ok(()), expected)?;
            members.iter().try_for_each(|(_, old)| expected(old))
        }
        Op::ReplaceDirectory {
            kind: what,
            meta: new,
            source,
            expected: old,
            leader_expected,
            ..
        } => {
            kind(what)?;
            meta(new)?;
            identity(source)?;
            leader_expected.as_ref().map_or(Ok(()), expected)?;
            expected(old)
        }
        Op::Sweep { .. } => Ok(()),
    }
}
