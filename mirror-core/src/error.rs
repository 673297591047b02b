//! Why a run stopped. What concerns single paths is a [`Problem`](crate::Problem) in the report.

use std::io;
use std::path::PathBuf;

use crate::guard::Refused;
use crate::path::{RelPath, escape};
use crate::wire::LinkError;

/// Why a run stopped. Whatever had been replaced until then stays replaced, whatever had not is
/// as it was; running again goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A root could not be opened.
    #[error("cannot open {}: {}; nothing was changed", shown(.path), explain(.source))]
    OpenRoot {
        /// The root.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A root is there but is no directory.
    #[error("{} is not a directory; give the directory that holds it", shown(.path))]
    NotADirectory {
        /// The root.
        path: PathBuf,
    },
    /// A symlink on the way to a root belongs to somebody who may not choose where we write.
    #[error("{} goes through a symlink that belongs to user {owner}, who could point it elsewhere at any time; give the path it stands for", shown(.path))]
    UntrustedSymlink {
        /// The root.
        path: PathBuf,
        /// Who owns the symlink.
        owner: u32,
    },
    /// A guard stopped the run before anything was changed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Something that every further write would meet as well.
    #[error("cannot go on writing at {path}: {}; entries done so far are whole, and running again goes on from there", explain(.source))]
    Target {
        /// Where it was met.
        path: RelPath,
        /// What the kernel said.
        source: io::Error,
    },
    /// The same on a target behind a link.
    #[error("{peer}: cannot go on writing there at {path}: {}; entries done so far are whole, and running again goes on from there", explain(.source))]
    FarTarget {
        /// The other end, as the caller named it.
        peer: String,
        /// Where it was met.
        path: RelPath,
        /// What the kernel there said.
        source: io::Error,
    },
    /// The target is on a file system that is mounted read-only.
    #[error("the target {} is on a read-only mount; remount it writable and run again", shown(.path))]
    ReadOnlyTarget {
        /// The root of the target.
        path: PathBuf,
    },
    /// The state folder cannot be used. Both trees are as they were.
    #[error("cannot use the state folder {}: {}", shown(.path), explain(.source))]
    State {
        /// The folder or a file in it.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A temporary record of the plan could not be kept.
    #[error("cannot keep or read the plan: {}; entries done so far are whole", explain(.0))]
    Spool(#[source] io::Error),
    /// A saved plan cannot be used.
    #[error("the saved plan cannot be used, line {line}: {why}; nothing was changed")]
    Plan {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong there.
        why: String,
    },
    /// A saved plan cannot be opened.
    #[error("cannot read the plan {}: {}; nothing was changed", shown(.path), explain(.source))]
    OpenPlan {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A filter rule that cannot be understood. Rules fail closed: nothing runs without them.
    #[error("cannot use {}: {why}", filter_place(.file.as_deref(), *.line))]
    Filter {
        /// The file it is from; none for one given directly.
        file: Option<PathBuf>,
        /// Its place among the rules, or its line, counted from 1; 0 for a file as a whole.
        line: usize,
        /// What is wrong with it. The rule's own text is not repeated.
        why: String,
    },
    /// A tree behind a link cannot be reached, or not any more.
    #[error("{peer}: {source}")]
    Link {
        /// The other end, as the caller named it.
        peer: String,
        /// What happened.
        source: LinkError,
    },
    /// The caller's cancel token was raised.
    #[error("cancelled; entries done so far are whole, and the next run goes on from there")]
    Cancelled,
}

impl Error {
    /// Whether trying again later can help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Error::Link { source, .. } => source.is_transient(),
            Error::Refused(Refused::Busy { .. }) => true,
            _ => false,
        }
    }
}

fn filter_place(file: Option<&std::path::Path>, line: usize) -> String {
    match file {
        None => format!("filter rule {line}"),
        Some(file) if line == 0 => format!("the filter file {}", shown(file)),
        Some(file) => format!("line {line} of the filter file {}", shown(file)),
    }
}

fn shown(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    escape(path.as_os_str().as_bytes()).into_owned()
}

/// What an I/O error means for the one who has to act on it.
pub(crate) fn explain(error: &io::Error) -> String {
    use rustix::io::Errno;
    let advice = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => "it does not exist",
        Some(Errno::ACCESS | Errno::PERM) => "permission denied; run as its owner or as root",
        Some(Errno::NOSPC) => "no space or no inodes left on the file system; free some",
        Some(Errno::DQUOT) => "the disk quota is used up; raise it or free some space",
        Some(Errno::ROFS) => "the file system is mounted read-only; remount it writable",
        Some(Errno::MFILE | Errno::NFILE) => "too many open files; raise the limit (ulimit -n)",
        Some(Errno::IO) => "input/output error; check the disk and the kernel log",
        Some(Errno::NOSYS) => "the kernel does not offer it here; is /proc mounted?",
        Some(Errno::LOOP) => "a symlink stands where none is followed",
        Some(Errno::NOTDIR) => "a component of the path is not a directory",
        Some(Errno::NAMETOOLONG) => "the path is longer than the kernel takes",
        Some(Errno::XDEV) => "it is on another file system",
        Some(Errno::BUSY) => "it is in use as a mount point",
        Some(Errno::NOTEMPTY) => "the directory is not empty",
        Some(Errno::OPNOTSUPP) => "the file system does not support it",
        _ => return error.to_string(),
    };
    advice.to_owned()
}
