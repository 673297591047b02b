//! Every call that this crate makes on a disk, as one trait.
//!
//! All of them work on held descriptors and single names; the one exception, [`Fs::open_beneath`],
//! takes a whole relative path that the kernel itself resolves below the descriptor. Nothing here
//! follows a symlink. The trait is what the tests fail, stop and race, call by call.

use std::fmt::Debug;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    self as sys, AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RawDir, RenameFlags,
    ResolveFlags, SeekFrom, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::entry::{Identity, Timestamp};

/// What `fstat` says of an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) file_type: FileType,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: Timestamp,
    pub(crate) identity: Identity,
    pub(crate) allocated: u64,
    pub(crate) device_number: u64,
}

/// How a rename treats what already has the new name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renaming {
    /// It is replaced.
    Replace,
    /// The call fails with `EEXIST`.
    KeepExisting,
    /// Both change places.
    Exchange,
}

/// What an open is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// List a directory, or work in it.
    Directory,
    /// Read a regular file. A pipe that took its place is opened without waiting for a writer.
    Read,
    /// Create a regular file that must not exist, with mode 0600.
    Create,
    /// Read and write a regular file, made with mode 0600 where none is.
    Update,
    /// Hold an inode of any kind without reading it.
    Handle,
    /// Read and write a new file without a name; what is opened is the directory it is kept in.
    Unnamed,
}

/// Free and used room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    /// None where the file system has no fixed number of inodes.
    pub(crate) inodes: Option<u64>,
    pub(crate) read_only: bool,
}

/// A held directory, and the calls that it is reached by.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) dir: Arc<OwnedFd>,
}

#[cfg(test)]
impl Folder {
    /// A directory reached by the kernel's own calls.
    pub(crate) fn of(dir: &OwnedFd) -> io::Result<Folder> {
        Ok(Folder { fs: Arc::new(RealFs), dir: Arc::new(dir.try_clone()?) })
    }
}

/// The calls. Names are single components; flags that keep from following links are implied.
pub(crate) trait Fs: Debug + Send + Sync {
    /// Holds where a path begins: the root of the file system, or the current directory.
    fn open_start(&self, absolute: bool) -> io::Result<OwnedFd>;
    /// Opens a path below `root`; the empty path is the root itself. The kernel refuses every
    /// symlink, and what leaves the root; with `stay_on_mount` also every mount point (`EXDEV`).
    fn open_beneath(
        &self,
        root: BorrowedFd<'_>,
        path: &[u8],
        opening: Opening,
        stay_on_mount: bool,
    ) -> io::Result<OwnedFd>;
    fn open_at(&self, dir: BorrowedFd<'_>, name: &[u8], opening: Opening) -> io::Result<OwnedFd>;
    /// Calls `each` with name, inode number and type of every entry but `.` and `..`.
    fn list(
        &self,
        dir: BorrowedFd<'_>,
        each: &mut dyn FnMut(&[u8], u64, FileType),
    ) -> io::Result<()>;
    fn status_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Status>;
    fn status(&self, file: BorrowedFd<'_>) -> io::Result<Status>;
    /// Where a symlink leads. With an empty name `dir` is the link itself, held.
    fn read_link_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>>;
    /// The names of the extended attributes. A file system without any has none.
    fn list_xattrs(&self, file: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>>;
    fn get_xattr(&self, file: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>>;
    fn set_xattr(&self, file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()>;
    fn remove_xattr(&self, file: BorrowedFd<'_>, name: &[u8]) -> io::Result<()>;
    fn read_at(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    fn write_at(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// The next run of data at or after `offset` as start and end; None when a hole is all that
    /// is left.
    fn next_data(&self, file: BorrowedFd<'_>, offset: u64) -> io::Result<Option<(u64, u64)>>;
    /// Waits for a write to the file that is under way. Looking for a hole takes the lock that
    /// writers hold; file systems where it does not read under that lock anyway.
    fn await_writer(&self, file: BorrowedFd<'_>) -> io::Result<()>;
    fn set_length(&self, file: BorrowedFd<'_>, length: u64) -> io::Result<()>;
    fn make_directory_at(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()>;
    fn make_symlink_at(&self, dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> io::Result<()>;
    fn make_node_at(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        file_type: FileType,
        device_number: u64,
    ) -> io::Result<()>;
    fn link_at(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
    ) -> io::Result<()>;
    fn rename_at(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
        renaming: Renaming,
    ) -> io::Result<()>;
    fn unlink_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()>;
    fn remove_directory_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()>;
    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()>;
    fn set_owner(&self, file: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>)
    -> io::Result<()>;
    fn set_mtime(&self, file: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()>;
    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()>;
    /// Brings all of the file system that holds `file` to the disk.
    fn sync_filesystem(&self, file: BorrowedFd<'_>) -> io::Result<()>;
    fn room(&self, file: BorrowedFd<'_>) -> io::Result<Room>;
    /// Takes the advisory lock on an open file or directory; `WouldBlock` when another has it.
    fn lock(&self, file: BorrowedFd<'_>) -> io::Result<()>;
}

/// Writes all of `bytes` at `offset`, in as many calls as it takes.
pub(crate) fn write_all_at(
    fs: &dyn Fs,
    file: BorrowedFd<'_>,
    mut bytes: &[u8],
    mut offset: u64,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = fs.write_at(file, bytes, offset)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

/// Fills `buffer` from `offset` on as far as the file reaches; returns how many bytes that were.
pub(crate) fn read_full_at(
    fs: &dyn Fs,
    file: BorrowedFd<'_>,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match fs.read_at(file, &mut buffer[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// The kernel.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct RealFs;

impl Opening {
    fn flags(self) -> OFlags {
        let flags = match self {
            Opening::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
            Opening::Read => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY,
            Opening::Create => OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Opening::Update => OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOCTTY,
            Opening::Handle => OFlags::PATH,
            Opening::Unnamed => return OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC,
        };
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC
    }

    fn mode(self) -> Mode {
        if matches!(self, Opening::Create | Opening::Update | Opening::Unnamed) {
            Mode::RUSR | Mode::WUSR
        } else {
            Mode::empty()
        }
    }
}

/// Repeats a call that a signal interrupted.
fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result.map_err(io::Error::from),
        }
    }
}

/// The name by which the kernel reaches a descriptor's inode, for the calls that take no
/// descriptor opened with `O_PATH`.
fn by_descriptor(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// A held inode cannot be missing: when its name under /proc is, /proc is.
fn through_proc<T>(result: rustix::io::Result<T>) -> rustix::io::Result<T> {
    result.map_err(|errno| if errno == Errno::NOENT { Errno::NOSYS } else { errno })
}

impl RealFs {
    /// `openat2` for kernels before 5.6 and sandboxes without it: one component at a time, none
    /// of them a symlink.
    fn open_by_component(
        root: BorrowedFd<'_>,
        path: &[u8],
        opening: Opening,
        stay_on_mount: bool,
    ) -> io::Result<OwnedFd> {
        let device = sys::fstat(root)?.st_dev;
        let walk = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut components = path.split(|&byte| byte == b'/').peekable();
        let mut held: Option<OwnedFd> = None;
        loop {
            let name = components.next().filter(|name| !name.is_empty()).unwrap_or(b".");
            if name == b".." {
                return Err(Errno::XDEV.into());
            }
            let dir = held.as_ref().map_or(root, AsFd::as_fd);
            let last = components.peek().is_none();
            let (flags, mode) =
                if last { (opening.flags(), opening.mode()) } else { (walk, Mode::empty()) };
            let next = retry(|| sys::openat(dir, name, flags, mode))?;
            if stay_on_mount && sys::fstat(&next)?.st_dev != device {
                return Err(Errno::XDEV.into());
            }
            if last {
                return Ok(next);
            }
            held = Some(next);
        }
    }
}

impl Fs for RealFs {
    fn open_start(&self, absolute: bool) -> io::Result<OwnedFd> {
        let start = if absolute { c"/" } else { c"." };
        retry(|| sys::openat(sys::CWD, start, Opening::Handle.flags(), Mode::empty()))
    }

    fn open_beneath(
        &self,
        root: BorrowedFd<'_>,
        path: &[u8],
        opening: Opening,
        stay_on_mount: bool,
    ) -> io::Result<OwnedFd> {
        let mut resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        if stay_on_mount {
            resolve |= ResolveFlags::NO_XDEV;
        }
        let name = if path.is_empty() { b"." } else { path };
        // The kernel answers EAGAIN when a rename elsewhere raced its walk.
        for _ in 0..64 {
            match sys::openat2(root, name, opening.flags(), opening.mode(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                // Some sandboxes answer EPERM to a call that they do not know.
                Err(Errno::NOSYS | Errno::PERM) => {
                    return RealFs::open_by_component(root, path, opening, stay_on_mount);
                }
                result => return result.map_err(io::Error::from),
            }
        }
        Err(Errno::AGAIN.into())
    }

    fn open_at(&self, dir: BorrowedFd<'_>, name: &[u8], opening: Opening) -> io::Result<OwnedFd> {
        retry(|| sys::openat(dir, name, opening.flags(), opening.mode()))
    }

    fn list(
        &self,
        dir: BorrowedFd<'_>,
        each: &mut dyn FnMut(&[u8], u64, FileType),
    ) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        each(name, entry.ino(), entry.file_type());
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn status_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Status> {
        Ok(status_of(&retry(|| sys::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW))?))
    }

    fn status(&self, file: BorrowedFd<'_>) -> io::Result<Status> {
        Ok(status_of(&retry(|| sys::fstat(file))?))
    }

    fn read_link_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
        Ok(retry(|| sys::readlinkat(dir, name, Vec::new()))?.into_bytes())
    }

    fn list_xattrs(&self, file: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
        let mut room = 1024;
        loop {
            let mut names: Vec<u8> = Vec::with_capacity(room);
            let listed = match sys::flistxattr(file, rustix::buffer::spare_capacity(&mut names)) {
                Err(Errno::BADF) => {
                    names.clear();
                    through_proc(sys::listxattr(
                        by_descriptor(file),
                        rustix::buffer::spare_capacity(&mut names),
                    ))
                }
                result => result,
            };
            match listed {
                Ok(_) => {
                    let names = names.split(|&byte| byte == 0).filter(|name| !name.is_empty());
                    return Ok(names.map(<[u8]>::to_vec).collect());
                }
                Err(Errno::INTR) => {}
                // The kernel caps the list at 64 KiB.
                Err(Errno::RANGE) if room < 64 * 1024 => room = 64 * 1024,
                Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn get_xattr(&self, file: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
        let mut room = 1024;
        loop {
            let mut value: Vec<u8> = Vec::with_capacity(room);
            let read = match sys::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value))
            {
                Err(Errno::BADF) => {
                    value.clear();
                    let path = by_descriptor(file);
                    through_proc(sys::getxattr(
                        path,
                        name,
                        rustix::buffer::spare_capacity(&mut value),
                    ))
                }
                result => result,
            };
            match read {
                Ok(_) => return Ok(value),
                Err(Errno::INTR) => {}
                Err(Errno::RANGE) if room < 64 * 1024 => room = 64 * 1024,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn set_xattr(&self, file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
        let flags = XattrFlags::empty();
        retry(|| match sys::fsetxattr(file, name, value, flags) {
            Err(Errno::BADF) => {
                through_proc(sys::setxattr(by_descriptor(file), name, value, flags))
            }
            result => result,
        })
    }

    fn remove_xattr(&self, file: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        retry(|| match sys::fremovexattr(file, name) {
            Err(Errno::BADF) => through_proc(sys::removexattr(by_descriptor(file), name)),
            result => result,
        })
    }

    fn read_at(&self, file: BorrowedFd<'_>, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        retry(|| rustix::io::pread(file, &mut *buffer, offset))
    }

    fn write_at(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> io::Result<usize> {
        retry(|| rustix::io::pwrite(file, bytes, offset))
    }

    fn next_data(&self, file: BorrowedFd<'_>, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let start = match retry(|| sys::seek(file, SeekFrom::Data(offset))) {
            Ok(start) => start,
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let end = retry(|| sys::seek(file, SeekFrom::Hole(start)))?;
        Ok(Some((start, end)))
    }

    fn await_writer(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        match sys::seek(file, SeekFrom::Hole(0)) {
            // An empty file, or a file system without holes.
            Ok(_) | Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_length(&self, file: BorrowedFd<'_>, length: u64) -> io::Result<()> {
        retry(|| sys::ftruncate(file, length))
    }

    fn make_directory_at(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> io::Result<()> {
        retry(|| sys::mkdirat(dir, name, Mode::from_raw_mode(mode)))
    }

    fn make_symlink_at(&self, dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> io::Result<()> {
        retry(|| sys::symlinkat(target, dir, name))
    }

    fn make_node_at(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        file_type: FileType,
        device_number: u64,
    ) -> io::Result<()> {
        let mode = Mode::RUSR | Mode::WUSR;
        retry(|| sys::mknodat(dir, name, file_type, mode, device_number))
    }

    fn link_at(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
    ) -> io::Result<()> {
        retry(|| sys::linkat(from_dir, from, to_dir, to, AtFlags::empty()))
    }

    fn rename_at(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
        renaming: Renaming,
    ) -> io::Result<()> {
        let flags = match renaming {
            Renaming::Replace => return retry(|| sys::renameat(from_dir, from, to_dir, to)),
            Renaming::KeepExisting => RenameFlags::NOREPLACE,
            Renaming::Exchange => RenameFlags::EXCHANGE,
        };
        retry(|| sys::renameat_with(from_dir, from, to_dir, to, flags))
    }

    fn unlink_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        retry(|| sys::unlinkat(dir, name, AtFlags::empty()))
    }

    fn remove_directory_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        retry(|| sys::unlinkat(dir, name, AtFlags::REMOVEDIR))
    }

    fn set_mode(&self, file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        let mode = Mode::from_raw_mode(mode);
        retry(|| match sys::fchmod(file, mode) {
            Err(Errno::BADF) => through_proc(sys::chmod(by_descriptor(file), mode)),
            result => result,
        })
    }

    fn set_owner(
        &self,
        file: BorrowedFd<'_>,
        uid: Option<u32>,
        gid: Option<u32>,
    ) -> io::Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        retry(|| sys::chownat(file, c"", uid, gid, AtFlags::EMPTY_PATH))
    }

    fn set_mtime(&self, file: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
        };
        retry(|| match sys::futimens(file, &times) {
            Err(Errno::BADF) => sys::utimensat(file, c"", &times, AtFlags::EMPTY_PATH),
            result => result,
        })
    }

    fn sync(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        // Not repeated on any error: after a failed fsync the kernel holds lost pages for clean.
        Ok(sys::fsync(file)?)
    }

    fn sync_filesystem(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        Ok(sys::syncfs(file)?)
    }

    fn room(&self, file: BorrowedFd<'_>) -> io::Result<Room> {
        let room = retry(|| sys::fstatvfs(file))?;
        Ok(Room {
            bytes: room.f_bavail.saturating_mul(room.f_frsize),
            inodes: (room.f_files > 0).then_some(room.f_favail),
            read_only: room.f_flag.contains(sys::StatVfsMountFlags::RDONLY),
        })
    }

    fn lock(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        retry(|| sys::flock(file, FlockOperation::NonBlockingLockExclusive))
    }
}

fn status_of(stat: &sys::Stat) -> Status {
    let time = |seconds: i64, nanos: u64| Timestamp {
        seconds,
        nanos: u32::try_from(nanos).unwrap_or_default(),
    };
    Status {
        file_type: FileType::from_raw_mode(stat.st_mode),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        identity: Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            ctime: time(stat.st_ctime, stat.st_ctime_nsec),
            links: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        },
        allocated: u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512),
        device_number: stat.st_rdev,
    }
}
