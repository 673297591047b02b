//! Making something new under a temporary name, whole, and giving it its place.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Applier, Failure, check, standing, without_stamp};
use crate::endpoint::{Content, Durability, Opened};
use crate::entry::{Digest, Entry, Identity, Kind, Meta};
use crate::error::explain;
use crate::fs::{Opening, Renaming, Status, write_all_at};
use crate::path::{Name, RelPath};
use crate::plan::Expected;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// How many bytes are read at a time.
const BUFFER: usize = 1 << 20;

/// What was made under a temporary name and waits for its place.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) temporary: Name,
    pub(super) digest: Option<Digest>,
    /// The source's entry, if it was newer than planned.
    pub(super) fresh: Option<Box<Entry>>,
    pub(super) bytes: u64,
    /// What it was when it was whole.
    pub(super) status: Status,
    /// Whether its metadata are what was asked for. The file system may not have room for them,
    /// or somebody else may have been quicker; then it is looked at again in the next run.
    pub(super) as_wanted: bool,
}

/// What is wanted at a place.
pub(super) struct Wanted<'a> {
    pub(super) path: &'a RelPath,
    pub(super) kind: &'a Kind,
    pub(super) meta: &'a Meta,
    pub(super) source: &'a Identity,
    /// Whether it has to be on the disk as soon as it is staged, since nothing will sync it before
    /// it gets its place.
    pub(super) sync: bool,
}

impl Applier<'_> {
    /// Makes `wanted` under a temporary name in `dir`.
    pub(super) fn stage(
        &self,
        dir: BorrowedFd<'_>,
        wanted: &Wanted<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Staged, Failure> {
        let temporary = self.temporary_name();
        let staged = match wanted.kind {
            Kind::File { .. } => self.stage_file(dir, &temporary, wanted, buffer),
            _ => self.stage_special(dir, &temporary, wanted),
        };
        if staged.is_err() {
            self.discard(dir, &temporary);
        }
        staged
    }

    /// Removes a temporary name that did not come to anything. If that fails the next run sweeps
    /// it.
    pub(super) fn discard(&self, dir: BorrowedFd<'_>, temporary: &Name) {
        let unlinked = self.fs().unlink_at(dir, temporary.as_bytes());
        if unlinked.is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::ISDIR)) {
            let _ = self.fs().remove_directory_at(dir, temporary.as_bytes());
        }
    }

    fn stage_file(
        &self,
        dir: BorrowedFd<'_>,
        temporary: &Name,
        wanted: &Wanted<'_>,
        buffer: &mut Vec<u8>,
    ) -> Result<Staged, Failure> {
        let fs = self.fs();
        for _ in 0..ATTEMPTS {
            let opened = self.job.source.open(wanted.path, wanted.source);
            let Opened { entry, mut content } =
                opened.map_err(|error| Failure::Source("read it on the source", error))?;
            let file = fs
                .open_at(dir, temporary.as_bytes(), Opening::Create)
                .map_err(Failure::io("create a file"))?;
            let size = entry.kind.size();
            let has_holes = entry.allocated < size;
            let Some(digest) = self.copy(&mut *content, file.as_fd(), size, has_holes, buffer)?
            else {
                self.discard(dir, temporary);
                continue;
            };
            let is_planned = entry.identity == *wanted.source;
            let fresh = (!is_planned).then(|| Box::new(entry));
            let projected;
            let meta = match &fresh {
                None => wanted.meta,
                Some(entry) => {
                    projected = self.onto.meta(&entry.meta);
                    &projected
                }
            };
            let status = fs.status(file.as_fd()).map_err(Failure::io("look at a new file"))?;
            self.set_meta(file.as_fd(), &Kind::File { size }, meta, &status)?;
            if wanted.sync {
                fs.sync(file.as_fd()).map_err(Failure::io("bring it to the disk"))?;
            }
            let status = fs.status(file.as_fd()).map_err(Failure::io("look at a new file"))?;
            let temporary = temporary.clone();
            let as_wanted = self.has(&status, meta);
            let digest = Some(digest);
            return Ok(Staged { temporary, digest, fresh, bytes: size, status, as_wanted });
        }
        Err(Failure::Changed("it kept changing on the source while it was read"))
    }

    /// Copies a file's content. None if it changed meanwhile.
    fn copy(
        &self,
        content: &mut dyn Content,
        file: BorrowedFd<'_>,
        size: u64,
        has_holes: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Digest>, Failure> {
        let reading = |error| Failure::Source("read it on the source", error);
        let length = usize::try_from(size).unwrap_or(BUFFER).clamp(1, BUFFER);
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset < size {
            let (start, end) = match has_holes {
                true => content.next_data(offset).map_err(reading)?.unwrap_or((size, size)),
                false => (offset, size),
            };
            let (start, end) = (start.min(size), end.min(size));
            hash_zeros(&mut hasher, start - offset);
            offset = start;
            while offset < end {
                if self.job.cancel.is_cancelled() {
                    return Err(Failure::Changed("the run was cancelled"));
                }
                let most = usize::try_from(end - offset).unwrap_or(BUFFER).min(BUFFER);
                let read = content.read_at(&mut buffer[..most], offset).map_err(reading)?;
                if read == 0 {
                    return Ok(None);
                }
                hasher.update(&buffer[..read]);
                write_all_at(self.fs(), file, &buffer[..read], offset)
                    .map_err(Failure::io("write it"))?;
                offset += read as u64;
            }
        }
        if has_holes {
            self.fs().set_length(file, size).map_err(Failure::io("write it"))?;
        }
        let unchanged = content.is_unchanged().map_err(reading)?;
        Ok(unchanged.then(|| Digest(*hasher.finalize().as_bytes())))
    }

    fn stage_special(
        &self,
        dir: BorrowedFd<'_>,
        temporary: &Name,
        wanted: &Wanted<'_>,
    ) -> Result<Staged, Failure> {
        let fs = self.fs();
        let name = temporary.as_bytes();
        let node = |file_type, number| fs.make_node_at(dir, name, file_type, number);
        let made = match wanted.kind {
            Kind::Symlink { target } => fs.make_symlink_at(dir, name, &target.0),
            Kind::Fifo => node(FileType::Fifo, 0),
            Kind::Socket => node(FileType::Socket, 0),
            Kind::CharacterDevice { number } => node(FileType::CharacterDevice, *number),
            Kind::BlockDevice { number } => node(FileType::BlockDevice, *number),
            Kind::Directory => fs.make_directory_at(dir, name, 0o700),
            Kind::File { .. } => Err(Errno::INVAL.into()),
        };
        made.map_err(Failure::io("create it"))?;
        let handle = fs.open_at(dir, name, Opening::Handle).map_err(Failure::io("open it"))?;
        let status = fs.status(handle.as_fd()).map_err(Failure::io("look at it"))?;
        let meta = match wanted.kind {
            // Its owner has to be able to fill it; it is settled when that is done.
            Kind::Directory if !rustix::process::geteuid().is_root() => {
                &Meta { mode: wanted.meta.mode | 0o700, ..wanted.meta.clone() }
            }
            _ => wanted.meta,
        };
        let ours = status.uid == rustix::process::geteuid().as_raw();
        if !ours || !is_of_kind(&status, wanted.kind) {
            return Err(Failure::Changed("somebody put something else under a temporary name"));
        }
        self.set_meta(handle.as_fd(), wanted.kind, meta, &status)?;
        if wanted.sync {
            // Most kinds cannot be opened to be synced.
            fs.sync_filesystem(dir).map_err(Failure::io("bring it to the disk"))?;
        }
        let status = fs.status(handle.as_fd()).map_err(Failure::io("look at it"))?;
        let temporary = temporary.clone();
        let as_wanted = self.has(&status, meta);
        Ok(Staged { temporary, digest: None, fresh: None, bytes: 0, status, as_wanted })
    }

    /// The identity to remember of something that was given `meta`: it stands for no version when
    /// it has other metadata all the same.
    pub(super) fn lasting_identity(&self, status: &Status, meta: &Meta) -> Identity {
        match self.has(status, meta) {
            true => status.identity,
            false => status.identity.without_version(),
        }
    }

    /// Whether an inode has the metadata that it was given, as far as they can be given at all.
    fn has(&self, status: &Status, meta: &Meta) -> bool {
        (status.mode == meta.mode || status.file_type == FileType::Symlink)
            && status.mtime == meta.mtime
            && (status.uid == meta.uid || !self.onto.sets_user())
            && (status.gid == meta.gid || !self.onto.sets_group(meta.gid))
    }

    /// Gives what was staged its place, and makes sure that it is still what was staged: others
    /// may have seen it under its temporary name.
    pub(super) fn place_staged(
        &self,
        dir: BorrowedFd<'_>,
        staged: &Staged,
        name: &Name,
        expected: &Expected,
    ) -> Result<Status, Failure> {
        let touched = Failure::Changed("somebody changed it before it had its place");
        let waiting = standing(self.fs(), dir, &staged.temporary)?;
        if waiting.is_none_or(|now| now.identity != staged.status.identity) {
            self.discard(dir, &staged.temporary);
            return Err(touched);
        }
        self.place(dir, &staged.temporary, name, expected)?;
        // The rename itself stamps it; nothing else may have changed.
        let placed = standing(self.fs(), dir, name)?;
        let as_staged = |now: &Status| {
            let was = &staged.status;
            now.identity.is_same_inode(&was.identity)
                && (now.size, now.mtime) == (was.size, was.mtime)
                && (now.mode, now.uid, now.gid) == (was.mode, was.uid, was.gid)
        };
        placed.filter(as_staged).ok_or(touched)
    }

    /// Gives what has a temporary name its place, if what stands there is what the plan expects.
    pub(super) fn place(
        &self,
        dir: BorrowedFd<'_>,
        temporary: &Name,
        name: &Name,
        expected: &Expected,
    ) -> Result<(), Failure> {
        let placed = self.rename_over(dir, temporary, dir, name, expected);
        if placed.is_err() {
            self.discard(dir, temporary);
        }
        placed
    }

    /// Puts what was staged in the place of something that no rename replaces: a directory, or
    /// anything by a directory. Both change places, and what has the temporary name then goes.
    pub(super) fn exchange(
        &self,
        dir: BorrowedFd<'_>,
        temporary: &Name,
        path: &RelPath,
        expected: &Expected,
    ) -> Result<(), Failure> {
        let (fs, name) = (self.fs(), &path.name());
        let goes = matches!(expected, Expected::Directory { .. });
        let remove = |name: &Name| match goes {
            true => fs.remove_directory_at(dir, name.as_bytes()),
            false => fs.unlink_at(dir, name.as_bytes()),
        };
        let rename =
            |renaming| fs.rename_at(dir, temporary.as_bytes(), dir, name.as_bytes(), renaming);
        let exchanged = standing(fs, dir, name)
            .and_then(|now| check(expected, now.as_ref()))
            .and_then(|()| if goes { self.sync_emptied(dir, name) } else { Ok(()) })
            .and_then(|()| match rename(Renaming::Exchange) {
                // Where nothing can be exchanged the old one goes first.
                Err(error) if is_unsupported(&error) => remove(name)
                    .and_then(|()| rename(Renaming::Replace))
                    .map(|()| false)
                    .map_err(Failure::io("put it in its place")),
                result => result.map(|()| true).map_err(Failure::io("put it in its place")),
            });
        match exchanged {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(failure) => {
                self.discard(dir, temporary);
                return Err(failure);
            }
        }
        // What was exchanged is looked at, not what had the name a moment before. Renaming has
        // stamped it.
        let replaced = standing(fs, dir, temporary)
            .and_then(|old| check(&without_stamp(expected), old.as_ref()));
        let appeared = |error: &io::Error| Errno::from_io_error(error) == Some(Errno::NOTEMPTY);
        let failure = match replaced.map(|()| remove(temporary)) {
            Err(failure) => failure,
            Ok(Err(error)) if appeared(&error) => {
                Failure::Changed("something appeared in the directory that is to be replaced")
            }
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                let why = format!(
                    "it has its new version, but what that replaced could not be removed and is \
                     now called {temporary}: {}; the next run removes it",
                    explain(&error)
                );
                self.problem(path, why);
                return Ok(());
            }
        };
        // It gets its place back, whatever it is. If it does not, it stays: it is not ours.
        if rename(Renaming::Exchange).is_ok() {
            self.discard(dir, temporary);
        }
        Err(failure)
    }

    /// Makes sure that no power cut brings anything back in a directory that has been emptied and
    /// is to get a temporary name: only an empty one is swept.
    fn sync_emptied(&self, dir: BorrowedFd<'_>, name: &Name) -> Result<(), Failure> {
        if self.job.durability == Durability::None {
            return Ok(());
        }
        let fs = self.fs();
        let emptied = fs.open_at(dir, name.as_bytes(), Opening::Directory);
        let synced = emptied.and_then(|emptied| fs.sync(emptied.as_fd()));
        synced.map_err(Failure::io("bring the emptied directory to the disk"))
    }

    /// Renames something to where what is expected stands.
    pub(super) fn rename_over(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &Name,
        to_dir: BorrowedFd<'_>,
        to: &Name,
        expected: &Expected,
    ) -> Result<(), Failure> {
        let fs = self.fs();
        let rename =
            |renaming| fs.rename_at(from_dir, from.as_bytes(), to_dir, to.as_bytes(), renaming);
        if *expected == Expected::Absent {
            match rename(Renaming::KeepExisting) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return check(&Expected::Absent, standing(fs, to_dir, to)?.as_ref());
                }
                // A file system that cannot promise this; then it is looked at first.
                Err(error) if is_unsupported(&error) => {}
                result => return result.map_err(Failure::io("rename it into place")),
            }
        }
        check(expected, standing(fs, to_dir, to)?.as_ref())?;
        rename(Renaming::Replace).map_err(Failure::io("rename it into place"))
    }
}

fn is_of_kind(status: &Status, kind: &Kind) -> bool {
    status.file_type
        == match kind {
            Kind::Directory => FileType::Directory,
            Kind::File { .. } => FileType::RegularFile,
            Kind::Symlink { .. } => FileType::Symlink,
            Kind::Fifo => FileType::Fifo,
            Kind::Socket => FileType::Socket,
            Kind::CharacterDevice { .. } => FileType::CharacterDevice,
            Kind::BlockDevice { .. } => FileType::BlockDevice,
        }
}

/// Whether a file system does not know a kind of rename.
fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP];
    Errno::from_io_error(error).is_some_and(|errno| unsupported.contains(&errno))
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
    while count > 0 {
        let some = count.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..usize::try_from(some).unwrap_or(ZEROS.len())]);
        count -= some;
    }
}
