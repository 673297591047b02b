//! Why a file could not be read or written, and in which state it is.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

/// Why a file could not be read or written. Unless the message says otherwise, nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A component of the path cannot be opened.
    #[error("cannot open {path:?}: {}; nothing was changed", explain(.source))]
    Open {
        /// The component.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The path names no file in a folder.
    #[error("{path:?} names no file")]
    NoName {
        /// The path.
        path: PathBuf,
    },
    /// A component is something else than a directory.
    #[error("{path:?} is not a directory; nothing was changed")]
    NotADirectory {
        /// The component.
        path: PathBuf,
    },
    /// The place of a file is taken by something else.
    #[error(
        "{path:?} is not a regular file; look at what it is, and remove it by hand if nobody needs it"
    )]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A link whose owner is somebody who may not choose where we read or write, or that stands
    /// where others could have put it.
    #[error(
        "{path:?} is a symbolic link that somebody else could have put there; it is not followed: give the path it stands for"
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The file itself is a link. What it stands for is not replaced, and whoever made it chooses what
    /// is read.
    #[error(
        "{path:?} is itself a symbolic link, and none is followed there, whoever made it: give the path of the file behind it, or put that file in its place"
    )]
    LinkedFile {
        /// The link.
        path: PathBuf,
    },
    /// Something on the way, or the file itself, belongs to somebody else.
    #[error(
        "{path:?} belongs to user {owner}, who could change or replace it at any time; only content of {trusted} is taken: look at it, and move it out of the way"
    )]
    OtherOwner {
        /// What belongs to somebody else.
        path: PathBuf,
        /// To whom.
        owner: u32,
        /// Whose content is taken there, in words.
        trusted: String,
    },
    /// The file has a second name, maybe in a place where it serves something else.
    #[error(
        "{path:?} is hard-linked: it is also a file somewhere else; make a copy and put it in its place"
    )]
    HardLinked {
        /// The path.
        path: PathBuf,
    },
    /// A file of root's that the user cannot read holds something else than keys.
    #[error(
        "{path:?} belongs to root, is closed to the user and holds more than keys; its mode was left as it is, so that no secret is shown: look at it, and remove it or make it readable yourself"
    )]
    NotKeys {
        /// The path.
        path: PathBuf,
    },
    /// A directory of root's that the user cannot pass has other things in it than keys.
    #[error(
        "{path:?} belongs to root, is closed to the user and shelters more than keys; its mode was left as it is, so that nothing else is shown: give the keys a place of their own, or open it yourself"
    )]
    Shelter {
        /// The path.
        path: PathBuf,
    },
    /// The file is longer than what is read.
    #[error("{path:?} is longer than the {most} bytes that are read; nothing was changed")]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The most that is read.
        most: usize,
    },
    /// The file is there, and was not to be replaced.
    #[error(
        "{path:?} exists and was left as it is; choose another name, or ask for it to be replaced"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another run is writing the same file.
    #[error("another program is writing {path:?} right now; try again when it is done")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else wrote the file since it was read.
    #[error(
        "{path:?} was changed by somebody else since it was read; their version was left as it is: run again"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be read.
    #[error("cannot read {path:?}: {}", explain(.source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A mode could not be looked at again or set.
    #[error("cannot set the mode of {path:?}: {}; what comes before it, from the home down, has its new mode", explain(.source))]
    Mode {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write {path:?}: {}; it is whole, with its old or its new content", explain(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl FileError {
    /// Whether trying again, without any change, may well succeed: somebody else was at work.
    pub fn is_transient(&self) -> bool {
        matches!(self, FileError::Busy { .. } | FileError::Changed { .. })
    }

    /// Whether this is a refusal to touch what cannot be trusted or was not to be replaced.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            FileError::Link { .. }
                | FileError::LinkedFile { .. }
                | FileError::OtherOwner { .. }
                | FileError::HardLinked { .. }
                | FileError::NotKeys { .. }
                | FileError::Shelter { .. }
                | FileError::NotAFile { .. }
                | FileError::Exists { .. }
        )
    }
}

/// What an I/O error means for the one who has to act on it.
fn explain(error: &io::Error) -> String {
    let advice = match Errno::from_io_error(error) {
        Some(Errno::NOENT) => "it does not exist",
        Some(Errno::ACCESS | Errno::PERM) => "permission denied; run as its owner or as root",
        Some(Errno::NOSPC) => "no space or no inodes left on the file system; free some",
        Some(Errno::DQUOT) => "the disk quota is used up; raise it or free some space",
        Some(Errno::ROFS) => "the file system is mounted read-only; remount it writable",
        Some(Errno::IO) => "input/output error; check the disk and the kernel log",
        Some(Errno::LOOP) => "a symbolic link stands where none is followed",
        Some(Errno::NOTDIR) => "a component of the path is not a directory",
        Some(Errno::NAMETOOLONG) => "the name is longer than the file system takes",
        _ => return error.to_string(),
    };
    advice.to_owned()
}
