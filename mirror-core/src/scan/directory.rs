//! One directory: list, ask for each entry, and look closer at those that are not remembered.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Context, problem, stamping_clock};
use crate::entry::{Bytes, Entry, Identity, Kind, Meta, Timestamp, Xattrs};
use crate::error::{Error, explain};
use crate::filter::Verdict;
use crate::fs::{Fs, Opening, Status};
use crate::listing::Listing;
use crate::manifest::{Block, Record};
use crate::path::{HISTORY_DIRECTORY, Name, RelPath, TEMPORARY_PREFIX, is_temporary};
use crate::policy::manages;
use crate::reconcile::compare::is_known;

/// How many bytes of extended attributes an entry may have: somebody else chose them.
const XATTRS_MAX: usize = 1 << 20;

/// The root directory as an entry.
pub(super) fn root_entry(context: &Context) -> Result<Entry, Error> {
    let failed = |source| Error::OpenRoot { path: context.root.path().to_path_buf(), source };
    let now = stamping_clock();
    let fs = &*context.root.fs;
    let status = fs.status(context.root.descriptor()).map_err(failed)?;
    let mut entry = entry_of(Name::of_root(), &status, now).map_err(failed)?;
    let record = context.base.as_ref().map(|base| &base.header().root);
    if !recall(&mut entry, record, context) {
        let handle = context.root.handle(&RelPath::root()).map_err(failed)?;
        entry.meta.xattrs = xattrs(fs, handle.as_fd(), context.all_xattrs).map_err(failed)?;
    }
    Ok(entry)
}

/// Lists the directory at `path`. What cannot be read is a problem in the listing.
pub(super) fn list(context: &Context, path: RelPath) -> Listing {
    let mut listing = Listing { directory: path, ..Listing::default() };
    let opened = open(context, &mut listing);
    let dir = match opened {
        Ok(Some(dir)) => dir,
        Ok(None) => return listing,
        Err(error) => {
            let why = format!(
                "cannot read the directory: {}; what is in it was left alone",
                explain(&error)
            );
            listing.problems.push(problem(&listing.directory, why));
            listing.incomplete = true;
            return listing;
        }
    };
    if let Err(error) = fill(context, dir.as_fd(), &mut listing) {
        let why = format!(
            "cannot list the directory to its end: {}; what may be missing was left alone",
            explain(&error)
        );
        listing.problems.push(problem(&listing.directory, why));
        listing.incomplete = true;
    }
    listing
}

/// Opens the directory; None when it is a mount point that is passed over.
fn open(context: &Context, listing: &mut Listing) -> io::Result<Option<OwnedFd>> {
    let (fs, root) = (&context.root.fs, context.root.descriptor());
    let path = listing.directory.as_bytes();
    match fs.open_beneath(root, path, Opening::Directory, true) {
        Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => {
            listing.other_mount = true;
            if context.one_file_system {
                listing.incomplete = true;
                return Ok(None);
            }
            fs.open_beneath(root, path, Opening::Directory, false).map(Some)
        }
        result => result.map(Some),
    }
}

fn fill(context: &Context, dir: BorrowedFd<'_>, listing: &mut Listing) -> io::Result<()> {
    let fs = &*context.root.fs;
    let at_root = listing.directory.is_root();
    let mut names: Vec<(u64, FileType, Name)> = Vec::new();
    let mut unfit = Vec::new();
    let litter = &mut listing.litter;
    let listed = fs.list(dir, &mut |name, inode, file_type| match Name::new(name) {
        Ok(name) if name.as_bytes().starts_with(TEMPORARY_PREFIX) => {
            litter.extend(is_temporary(name.as_bytes()).then_some(name));
        }
        Ok(name) if at_root && name.as_bytes() == HISTORY_DIRECTORY => {}
        Ok(name) => names.push((inode, file_type, name)),
        Err(error) => unfit.push(error.to_string()),
    });
    for error in unfit {
        listing.problems.push(problem(&listing.directory, error));
        listing.incomplete = true;
    }
    // The kernel's inodes lie near each other on the disk when their numbers do.
    names.sort_unstable_by_key(|(inode, ..)| *inode);
    let now = stamping_clock();
    let mut entries = Vec::with_capacity(names.len());
    for (_, file_type, name) in names {
        match look(context, dir, listing, file_type, name, now) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            // Gone between the listing and now: it is not there.
            Err((_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err((name, error)) => {
                let path = listing.directory.join_unchecked(&name);
                let why = format!("cannot look at it: {}; left alone", explain(&error));
                listing.problems.push(problem(&path, why));
                listing.incomplete = true;
            }
        }
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    look_closer(context, dir, listing, &mut entries);
    listing.entries = entries;
    listed
}

/// Asks for one entry, unless a filter hides it.
fn look(
    context: &Context,
    dir: BorrowedFd<'_>,
    listing: &mut Listing,
    file_type: FileType,
    name: Name,
    now: Timestamp,
) -> Result<Option<Entry>, (Name, io::Error)> {
    let filtered = context.hide_excluded && !context.filter.is_empty();
    let status = match context.root.fs.status_at(dir, name.as_bytes()) {
        Ok(status) => status,
        Err(error) if filtered && file_type != FileType::Unknown => {
            let path = listing.directory.join_unchecked(&name);
            if excluded(context, &path, file_type) {
                listing.hides_excluded = true;
                return Ok(None);
            }
            return Err((name, error));
        }
        Err(error) => return Err((name, error)),
    };
    let Identity { device, inode, .. } = status.identity;
    listing.holds_other_root |= context.other_root == Some((device, inode));
    if filtered {
        let path = listing.directory.join_unchecked(&name);
        if excluded(context, &path, status.file_type) {
            listing.hides_excluded = true;
            return Ok(None);
        }
    }
    entry_of(name.clone(), &status, now).map(Some).map_err(|error| (name, error))
}

fn excluded(context: &Context, path: &RelPath, file_type: FileType) -> bool {
    context.filter.verdict(path, file_type == FileType::Directory) == Verdict::Excluded
}

/// Completes the entries: from the base where it remembers this very version, else from the disk.
fn look_closer(
    context: &Context,
    dir: BorrowedFd<'_>,
    listing: &mut Listing,
    entries: &mut Vec<Entry>,
) {
    let block = remembered(context, dir, &listing.directory);
    let records = block.as_ref().map_or(&[][..], |block| &block.records);
    let mut records = records.iter().peekable();
    entries.retain_mut(|entry| {
        while records.next_if(|record| record.name < entry.name).is_some() {}
        let record = records.peek().filter(|record| record.name == entry.name).copied();
        if listing.directory.as_bytes().len() + 1 + entry.name.as_bytes().len()
            > crate::path::PATH_MAX
        {
            let why = "the path is longer than the kernel takes; left alone".to_owned();
            listing.problems.push(problem(&listing.directory, why));
            listing.incomplete = true;
            return false;
        }
        if recall(entry, record, context) {
            return true;
        }
        match details(&*context.root.fs, dir, entry, context.all_xattrs) {
            Ok(()) => true,
            Err(error) if is_gone(&*context.root.fs, dir, &entry.name, &error) => false,
            Err(error) => {
                let path = listing.directory.join_unchecked(&entry.name);
                let why = format!("cannot look at it: {}; left alone", explain(&error));
                listing.problems.push(problem(&path, why));
                listing.incomplete = true;
                false
            }
        }
    });
}

/// Whether an entry that could not be looked at is not there any more. Only that its name is gone
/// says so; a call can fail with the same number for other reasons.
fn is_gone(fs: &dyn Fs, dir: BorrowedFd<'_>, name: &Name, error: &io::Error) -> bool {
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    missing(error) && fs.status_at(dir, name.as_bytes()).is_err_and(|error| missing(&error))
}

/// What the base knows of a directory: under its path, or under its inode if it was renamed. A
/// base that cannot be read is one that knows nothing.
fn remembered(context: &Context, dir: BorrowedFd<'_>, path: &RelPath) -> Option<Arc<Block>> {
    let base = context.base.as_ref()?;
    if let Ok(Some(block)) = base.block(path) {
        return Some(block);
    }
    let identity = context.root.fs.status(dir).ok()?.identity;
    base.block_of_directory(context.side, identity.device, identity.inode).ok()?
}

/// Takes from the base what it knows of this version. Says whether it knows it.
fn recall(entry: &mut Entry, record: Option<&Record>, context: &Context) -> bool {
    let Some(record) = record.filter(|r| is_known(Some(entry), Some(r), context.side)) else {
        return false;
    };
    if let Kind::Symlink { .. } = record.kind {
        entry.kind = record.kind.clone();
    }
    entry.meta.xattrs = record.meta(context.side).xattrs.clone();
    entry.digest = record.digest.filter(|_| context.trust_digests);
    true
}

/// Reads a symlink's target and the attributes of an entry.
pub(crate) fn details(
    fs: &dyn Fs,
    dir: BorrowedFd<'_>,
    entry: &mut Entry,
    all_xattrs: bool,
) -> io::Result<()> {
    if let Kind::Symlink { target } = &mut entry.kind {
        *target = Bytes(fs.read_link_at(dir, entry.name.as_bytes())?.into());
    }
    // A file that can be read is asked directly, which is cheaper than through /proc. Opening
    // neither waits nor does anything, whatever has taken its place meanwhile.
    let name = entry.name.as_bytes();
    let readable = match entry.kind {
        Kind::File { .. } => fs.open_at(dir, name, Opening::Read).ok(),
        _ => None,
    };
    let handle = readable.map_or_else(|| fs.open_at(dir, name, Opening::Handle), Ok)?;
    entry.meta.xattrs = xattrs(fs, handle.as_fd(), all_xattrs)?;
    Ok(())
}

/// The attributes of an inode that are mirrored at all.
pub(crate) fn xattrs(fs: &dyn Fs, file: BorrowedFd<'_>, all: bool) -> io::Result<Xattrs> {
    let mut pairs = Vec::new();
    let mut bytes = 0;
    for name in fs.list_xattrs(file)? {
        if !manages(&name, all) {
            continue;
        }
        match fs.get_xattr(file, &name) {
            Ok(value) => {
                bytes += name.len() + value.len();
                if bytes > XATTRS_MAX {
                    return Err(io::Error::other("it has more than 1 MiB of extended attributes"));
                }
                pairs.push((Bytes(name.into()), Bytes(value.into())));
            }
            // Removed since the list was made.
            Err(error) if error.raw_os_error() == Some(Errno::NODATA.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Xattrs::new(pairs))
}

/// An entry without what needs a closer look.
pub(crate) fn entry_of(name: Name, status: &Status, now: Timestamp) -> io::Result<Entry> {
    let number = status.device_number;
    let kind = match status.file_type {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File { size: status.size },
        FileType::Symlink => Kind::Symlink { target: Bytes::default() },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        FileType::CharacterDevice => Kind::CharacterDevice { number },
        FileType::BlockDevice => Kind::BlockDevice { number },
        _ => return Err(Errno::OPNOTSUPP.into()),
    };
    let mode = if status.file_type == FileType::Symlink { 0o777 } else { status.mode };
    Ok(Entry {
        name,
        kind,
        meta: Meta {
            mode,
            uid: status.uid,
            gid: status.gid,
            mtime: status.mtime,
            xattrs: Xattrs::default(),
        },
        identity: status.identity,
        digest: None,
        allocated: status.allocated,
        racy: status.identity.ctime >= now,
    })
}
