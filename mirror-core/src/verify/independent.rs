//! A second opinion: compares two trees by paths, the plain way, and shares no code with the
//! scanner or the writer, so that a mistake of theirs is not made here again.
//!
//! Going by paths it can be led astray by whoever renames directories meanwhile. It only reads,
//! and its answer only ever means "look closer".

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::filter::{Filter, Verdict};
use crate::path::{HISTORY_DIRECTORY, RelPath, TEMPORARY_PREFIX, escape};

/// Bytes of each file that are compared at a time.
const BLOCK: usize = 256 * 1024;

/// The longest value or list of names of extended attributes on Linux, in bytes.
const XATTR_MAX: usize = 64 * 1024;

const ONLY_IN_TARGET: &str = "is only in the target";

/// One thing in which two trees differ. An entry that differs in several ways has several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Where, relative to both roots.
    pub path: RelPath,
    /// What differs, as the rest of a sentence that begins with the path, without a full stop.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path, self.what)
    }
}

/// What [`verify_independently`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Independent<'a> {
    /// Which paths take part; none for all. The trees must have been mirrored with the same one.
    pub filter: Option<&'a Filter>,
    /// Whether the numbers of owner and group are compared. Default: yes.
    pub owners: bool,
    /// Whether an entry that is only in the target is a difference. Default: yes.
    pub extraneous: bool,
}

impl Default for Independent<'_> {
    fn default() -> Self {
        Independent { filter: None, owners: true, extraneous: true }
    }
}

/// Reads both trees whole and returns how `target` differs from `source`, sorted by path.
///
/// Compared are kind, size, content byte for byte, permissions, owners, mtime in nanoseconds,
/// symlink targets, device numbers, which names are hard links of one another, and extended
/// attributes with ACLs: `user.*` and `system.posix_acl_*`, for root also `trusted.*` and
/// `security.*` but not the labels `security.selinux`, `security.ima` and `security.evm`, which
/// belong to the machine. Holes, allocation, ctime, atime and inode numbers are not compared.
///
/// Passed over are names that start with `.mirror-tmp-`, `.mirror-history` in the roots, what the
/// filter excludes, and of what is only in the target also what the filter protects, with the
/// directories that must stay to hold it. What cannot be read is a difference that says so.
///
/// Memory is bounded by the largest directory, the entries with several hard links and the
/// differences found.
///
/// ```
/// use mirror_core::{Independent, verify_independently};
///
/// let (a, b) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// std::fs::write(a.path().join("x"), "new")?;
/// std::fs::write(b.path().join("x"), "old")?;
/// let found = verify_independently(a.path(), b.path(), &Independent::default())?;
/// assert!(found.iter().any(|difference| difference.to_string() == "x differs from byte 0 on"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// When one of the roots is not there, cannot be reached or is not a directory. All else is in
/// the list.
pub fn verify_independently(
    source: &Path,
    target: &Path,
    options: &Independent<'_>,
) -> io::Result<Vec<Difference>> {
    let mut source = Walk::new(source, options.filter, Side::Source)?;
    let mut target = Walk::new(target, options.filter, Side::Target)?;
    let mut comparison = Comparison::new(*options);
    let (mut left, mut right) = (source.step(), target.step());
    loop {
        match (left, right) {
            (Some(Step::PassedOver(_)), other) => (left, right) = (source.step(), other),
            (Some(Step::Unreadable(path, why)), other) => {
                comparison.cannot_read(Side::Source, path, &why);
                (left, right) = (source.step(), other);
            }
            (other, Some(Step::PassedOver(path))) => {
                comparison.must_stay(&path);
                (left, right) = (other, target.step());
            }
            (other, Some(Step::Unreadable(path, why))) => {
                comparison.cannot_read(Side::Target, path, &why);
                (left, right) = (other, target.step());
            }
            (Some(Step::Entry(a)), Some(Step::Entry(b))) if a.path == b.path => {
                comparison.both(&a, &b);
                (left, right) = (source.step(), target.step());
            }
            (Some(Step::Entry(a)), Some(Step::Entry(b))) if a.path > b.path => {
                comparison.only_in_target(&b);
                (left, right) = (Some(Step::Entry(a)), target.step());
            }
            (Some(Step::Entry(a)), other) => {
                comparison.only_in_source(a);
                (left, right) = (source.step(), other);
            }
            (None, Some(Step::Entry(b))) => {
                comparison.only_in_target(&b);
                (left, right) = (None, target.step());
            }
            (None, None) => return Ok(comparison.finish()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Source => "the source",
            Side::Target => "the target",
        })
    }
}

struct Found {
    path: RelPath,
    location: PathBuf,
    status: Metadata,
}

enum Step {
    Entry(Found),
    /// Excluded, and for that reason kept where it is.
    PassedOver(RelPath),
    /// This path, or what it holds.
    Unreadable(RelPath, String),
}

/// One tree in the order of [`RelPath`].
struct Walk<'a> {
    root: PathBuf,
    entries: walkdir::IntoIter,
    filter: Option<&'a Filter>,
    last: RelPath,
}

impl<'a> Walk<'a> {
    fn new(root: &Path, filter: Option<&'a Filter>, side: Side) -> io::Result<Walk<'a>> {
        let root = fs::canonicalize(root)?;
        if !fs::metadata(&root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // A target that loses what is excluded must be seen with it.
        let unfiltered = side == Side::Target && filter.is_some_and(Filter::deletes_excluded);
        Ok(Walk {
            entries: WalkDir::new(&root).sort_by_file_name().into_iter(),
            root,
            filter: filter.filter(|_| !unfiltered),
            last: RelPath::root(),
        })
    }

    fn step(&mut self) -> Option<Step> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(self.unreadable(&error)),
            };
            let is_directory = entry.file_type().is_dir();
            let skip = |entries: &mut walkdir::IntoIter| {
                if is_directory {
                    entries.skip_current_dir();
                }
            };
            let name = entry.file_name().as_bytes();
            if entry.depth() > 0 && name.starts_with(TEMPORARY_PREFIX)
                || entry.depth() == 1 && name == HISTORY_DIRECTORY
            {
                skip(&mut self.entries);
                continue;
            }
            let path = match relative(&self.root, entry.path()) {
                Ok(path) => path,
                Err(why) => {
                    skip(&mut self.entries);
                    return Some(Step::Unreadable(self.last.clone(), why));
                }
            };
            if let Some(filter) = self.filter
                && filter.verdict(&path, is_directory) == Verdict::Excluded
            {
                skip(&mut self.entries);
                return Some(Step::PassedOver(path));
            }
            self.last = path.clone();
            let location = entry.into_path();
            return Some(match fs::symlink_metadata(&location) {
                Ok(status) => Step::Entry(Found { path, location, status }),
                Err(error) => {
                    skip(&mut self.entries);
                    Step::Unreadable(path, error.to_string())
                }
            });
        }
    }

    /// walkdir puts what went wrong with a directory directly behind it, with or without its
    /// path.
    fn unreadable(&self, error: &walkdir::Error) -> Step {
        let path = error.path().and_then(|path| relative(&self.root, path).ok());
        let why = error.io_error().map_or_else(|| error.to_string(), io::Error::to_string);
        Step::Unreadable(path.unwrap_or_else(|| self.last.clone()), why)
    }
}

fn relative(root: &Path, path: &Path) -> Result<RelPath, String> {
    let rest = path.strip_prefix(root).map_err(|error| error.to_string())?;
    RelPath::new(rest.as_os_str().as_bytes()).map_err(|error| error.to_string())
}

type Inode = (u64, u64);

struct Comparison<'a> {
    options: Independent<'a>,
    is_root: bool,
    differences: Vec<Difference>,
    /// What could not be read in the source and in the target, in order: what the other side has
    /// there cannot be judged.
    blind: [VecDeque<RelPath>; 2],
    /// Directories above the present place that were reported as only in the target, with the
    /// number of the report.
    extraneous: Vec<(RelPath, usize)>,
    /// For what has several hard links on either side: which inode stands for which.
    counterparts: [HashMap<Inode, Inode>; 2],
    blocks: [Vec<u8>; 2],
}

impl<'a> Comparison<'a> {
    fn new(options: Independent<'a>) -> Comparison<'a> {
        Comparison {
            options,
            is_root: rustix::process::geteuid().is_root(),
            differences: Vec::new(),
            blind: Default::default(),
            extraneous: Vec::new(),
            counterparts: Default::default(),
            blocks: [vec![0; BLOCK], vec![0; BLOCK]],
        }
    }

    fn finish(self) -> Vec<Difference> {
        let mut differences = self.differences;
        // One side's troubles may have been met before the other side came to the same place.
        differences.sort_by(|a, b| a.path.cmp(&b.path));
        differences
    }

    fn report(&mut self, path: &RelPath, what: impl Into<String>) {
        self.differences.push(Difference { path: path.clone(), what: what.into() });
    }

    fn cannot_read(&mut self, side: Side, path: RelPath, why: &str) {
        self.report(&path, format!("cannot be read in {side}: {why}"));
        self.blind[side as usize].push_back(path);
    }

    /// Whether nothing is known of `path` on `side`. Must be asked in order.
    fn is_blind(&mut self, side: Side, path: &RelPath) -> bool {
        let blind = &mut self.blind[side as usize];
        while let Some(first) = blind.front() {
            if path.is_within(first) {
                return true;
            }
            if first > path {
                return false;
            }
            blind.pop_front();
        }
        false
    }

    fn only_in_source(&mut self, entry: Found) {
        if !self.is_blind(Side::Target, &entry.path) {
            self.report(&entry.path, "is missing in the target");
        }
    }

    fn only_in_target(&mut self, entry: &Found) {
        let is_directory = entry.status.is_dir();
        if !self.options.extraneous || self.is_blind(Side::Source, &entry.path) {
            return;
        }
        let protected = |filter: &Filter| filter.is_protected(&entry.path, is_directory);
        if self.options.filter.is_some_and(protected) {
            return self.must_stay(&entry.path);
        }
        if is_directory {
            self.leave_directories(&entry.path);
            self.extraneous.push((entry.path.clone(), self.differences.len()));
        }
        self.report(&entry.path, ONLY_IN_TARGET);
    }

    fn leave_directories(&mut self, path: &RelPath) {
        while let Some((directory, _)) = self.extraneous.last()
            && !path.is_within(directory)
        {
            self.extraneous.pop();
        }
    }

    /// Takes back that the directories above `path` should be gone.
    fn must_stay(&mut self, path: &RelPath) {
        self.leave_directories(path);
        let Some(&(_, first)) = self.extraneous.first() else {
            return;
        };
        self.extraneous.clear();
        let since = self.differences.split_off(first);
        let stays = |difference: &Difference| {
            difference.what != ONLY_IN_TARGET || !path.is_within(&difference.path)
        };
        self.differences.extend(since.into_iter().filter(stays));
    }

    fn both(&mut self, a: &Found, b: &Found) {
        let path = &a.path;
        let (x, y) = (&a.status, &b.status);
        let kinds = (kind(x.file_type()), kind(y.file_type()));
        if kinds.0 != kinds.1 {
            let (in_source, in_target) = kinds;
            return self
                .report(path, format!("is {in_source} in the source, {in_target} in the target"));
        }
        let known = self.links(a, b);
        if x.is_file() && !known {
            self.contents(a, b);
        } else if x.is_symlink() {
            self.targets(a, b);
        } else if x.file_type().is_block_device() || x.file_type().is_char_device() {
            self.pair(path, "device number", x.rdev(), y.rdev());
        }
        if !x.is_symlink() {
            let mode = |status: &Metadata| format!("{:04o}", status.mode() & 0o7777);
            self.pair(path, "mode", mode(x), mode(y));
        }
        if self.options.owners {
            self.pair(path, "owner", x.uid(), y.uid());
            self.pair(path, "group", x.gid(), y.gid());
        }
        let time = |status: &Metadata| format!("{}.{:09}", status.mtime(), status.mtime_nsec());
        self.pair(path, "mtime", time(x), time(y));
        self.xattrs(a, b);
    }

    fn pair<T: PartialEq + fmt::Display>(&mut self, path: &RelPath, name: &str, x: T, y: T) {
        if x != y {
            self.report(path, format!("has {name} {x} in the source, {y} in the target"));
        }
    }

    /// Compares which names share an inode. True when this very pair of inodes was met before, so
    /// that its content is known.
    fn links(&mut self, a: &Found, b: &Found) -> bool {
        let (x, y) = (&a.status, &b.status);
        if x.is_dir() || (x.nlink() == 1 && y.nlink() == 1) {
            return false;
        }
        let (x, y) = ((x.dev(), x.ino()), (y.dev(), y.ino()));
        let [in_target, in_source] = &mut self.counterparts;
        let expected = *in_target.entry(x).or_insert(y);
        let origin = in_source.insert(y, x);
        if expected != y {
            self.report(
                &a.path,
                "is a hard link of another entry in the source, not in the target",
            );
        }
        if origin.is_some_and(|origin| origin != x) {
            self.report(
                &a.path,
                "is a hard link of another entry in the target, not in the source",
            );
        }
        origin == Some(x)
    }

    fn targets(&mut self, a: &Found, b: &Found) {
        let read = |found: &Found| fs::read_link(&found.location);
        if let Some((x, y)) = self.readable(&a.path, read(a), read(b)) {
            let shown = |target: &Path| escape(target.as_os_str().as_bytes()).into_owned();
            self.pair(&a.path, "symlink target", shown(&x), shown(&y));
        }
    }

    fn contents(&mut self, a: &Found, b: &Found) {
        let (x, y) = (a.status.len(), b.status.len());
        if x != y {
            return self.pair(&a.path, "size", x, y);
        }
        let files = (open(&a.location), open(&b.location));
        let Some((mut x, mut y)) = self.readable(&a.path, files.0, files.1) else {
            return;
        };
        let mut offset = 0;
        loop {
            let [left, right] = &mut self.blocks;
            let lengths = (fill(&mut x, left), fill(&mut y, right));
            let Some((m, n)) = self.readable(&a.path, lengths.0, lengths.1) else {
                return;
            };
            let (left, right) = (&self.blocks[0][..m], &self.blocks[1][..n]);
            if left != right {
                let same = left.iter().zip(right).take_while(|(x, y)| x == y).count();
                let at = offset + same as u64;
                return self.report(&a.path, format!("differs from byte {at} on"));
            }
            if m == 0 {
                return;
            }
            offset += m as u64;
        }
    }

    fn xattrs(&mut self, a: &Found, b: &Found) {
        let read = (xattrs(&a.location, self.is_root), xattrs(&b.location, self.is_root));
        let Some((x, y)) = self.readable(&a.path, read.0, read.1) else {
            return;
        };
        for (name, value) in &x {
            let what = match y.get(name) {
                None => "is missing in the target",
                Some(other) if other != value => "differs",
                Some(_) => continue,
            };
            self.report(&a.path, format!("has attribute {}, which {what}", escape(name)));
        }
        for name in y.keys().filter(|name| !x.contains_key(*name)) {
            let name = escape(name);
            self.report(&a.path, format!("has attribute {name}, which {ONLY_IN_TARGET}"));
        }
    }

    /// What was read on both sides; reports the sides where it was not.
    fn readable<T>(
        &mut self,
        path: &RelPath,
        source: io::Result<T>,
        target: io::Result<T>,
    ) -> Option<(T, T)> {
        let mut report = |side: Side, error: io::Error| {
            self.report(path, format!("cannot be read in {side}: {error}"));
        };
        match (source, target) {
            (Ok(x), Ok(y)) => return Some((x, y)),
            (Err(x), Ok(_)) => report(Side::Source, x),
            (Ok(_), Err(y)) => report(Side::Target, y),
            (Err(x), Err(y)) => {
                report(Side::Source, x);
                report(Side::Target, y);
            }
        }
        None
    }
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_file() {
        "a file"
    } else if file_type.is_symlink() {
        "a symlink"
    } else if file_type.is_fifo() {
        "a fifo"
    } else if file_type.is_socket() {
        "a socket"
    } else if file_type.is_char_device() {
        "a character device"
    } else {
        "a block device"
    }
}

/// Opens a regular file. Should something else have taken its place, neither a symlink is
/// followed nor a writer of a pipe waited for.
fn open(location: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(location)
}

/// Reads until `block` is full or the file ends, and returns how many bytes.
fn fill(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < block.len() {
        match file.read(&mut block[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn xattrs(location: &Path, is_root: bool) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut names = vec![0; XATTR_MAX];
    let length = match rustix::fs::llistxattr(location, names.as_mut_slice()) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut found = BTreeMap::new();
    let mut value = Vec::new();
    for name in names[..length].split(|&byte| byte == 0) {
        if name.is_empty() || !is_compared(name, is_root) {
            continue;
        }
        value.resize(XATTR_MAX, 0);
        match rustix::fs::lgetxattr(location, OsStr::from_bytes(name), value.as_mut_slice()) {
            Ok(length) => drop(found.insert(name.to_vec(), value[..length].to_vec())),
            // It went away since it was listed, which is as if it had not been.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn is_compared(name: &[u8], is_root: bool) -> bool {
    let starts = |prefix: &str| name.starts_with(prefix.as_bytes());
    starts("user.")
        || starts("system.posix_acl_")
        || is_root
            && (starts("trusted.")
                || starts("security.")
                    && !matches!(name, b"security.selinux" | b"security.ima" | b"security.evm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Duration;
    use tempfile::TempDir;

    /// Two trees with the same entries, all with the same times.
    struct Pair {
        trees: [TempDir; 2],
    }

    impl Pair {
        fn new(build: impl Fn(&Path)) -> Pair {
            let trees = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            for tree in &trees {
                build(tree.path());
            }
            let pair = Pair { trees };
            pair.level();
            pair
        }

        /// Sets all times to the same instant, so that only what a test does differs.
        fn level(&self) {
            for tree in &self.trees {
                for entry in WalkDir::new(tree.path()) {
                    let path = entry.unwrap().into_path();
                    set_mtime(&path, Duration::new(1_000_000, 7));
                }
            }
        }

        fn source(&self) -> &Path {
            self.trees[0].path()
        }

        fn target(&self) -> &Path {
            self.trees[1].path()
        }

        fn with(&self, options: &Independent<'_>) -> Vec<String> {
            let found = verify_independently(self.source(), self.target(), options).unwrap();
            assert!(found.is_sorted_by_key(|difference| &difference.path));
            found.iter().map(Difference::to_string).collect()
        }

        /// The differences, after the changes made to the directories' times are undone.
        fn differences(&self) -> Vec<String> {
            self.level();
            self.with(&Independent::default())
        }
    }

    fn set_mtime(path: &Path, since_epoch: Duration) {
        let time = rustix::fs::Timespec {
            tv_sec: since_epoch.as_secs() as i64,
            tv_nsec: since_epoch.subsec_nanos().into(),
        };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
            .unwrap();
    }

    fn fifo(path: &Path) {
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    fn rich(root: &Path) {
        fs::create_dir_all(root.join("d/e")).unwrap();
        fs::create_dir(root.join("d-x")).unwrap();
        fs::write(root.join("d/f"), vec![7; 3 * BLOCK + 5]).unwrap();
        fs::write(root.join("empty"), "").unwrap();
        fs::write(root.join(OsStr::from_bytes(b"\xff\n")), "odd").unwrap();
        symlink("nowhere", root.join("l")).unwrap();
        fs::hard_link(root.join("d/f"), root.join("d/e/g")).unwrap();
        fifo(&root.join("p"));
    }

    #[test]
    fn equal_trees_have_no_difference() {
        let pair = Pair::new(rich);
        assert_eq!(pair.differences(), [""; 0]);
    }

    #[test]
    fn a_changed_byte_is_found_whatever_the_times_say() {
        let pair = Pair::new(rich);
        let mut content = vec![7; 3 * BLOCK + 5];
        content[2 * BLOCK + 1] = 8;
        fs::write(pair.target().join("d/f"), content).unwrap();
        // The other name of the same inode need not be read again.
        assert_eq!(pair.differences(), ["d/e/g differs from byte 524289 on"]);
    }

    #[test]
    fn size_mode_and_time_are_compared() {
        let pair = Pair::new(rich);
        let file = pair.target().join("empty");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o4600)).unwrap();
        fs::set_permissions(pair.source().join("empty"), fs::Permissions::from_mode(0o644))
            .unwrap();
        pair.level();
        set_mtime(&pair.target().join("l"), Duration::from_nanos(6));
        assert_eq!(
            pair.with(&Independent::default()),
            [
                "empty has size 0 in the source, 1 in the target",
                "empty has mode 0644 in the source, 4600 in the target",
                "l has mtime 1000000.000000007 in the source, 0.000000006 in the target",
            ]
        );
    }

    #[test]
    fn kinds_and_symlink_targets_are_compared() {
        let pair = Pair::new(rich);
        for name in ["empty", "l", "p"] {
            fs::remove_file(pair.target().join(name)).unwrap();
        }
        fs::create_dir(pair.target().join("empty")).unwrap();
        symlink("now\nhere", pair.target().join("l")).unwrap();
        symlink("x", pair.target().join("p")).unwrap();
        assert_eq!(
            pair.differences(),
            [
                "empty is a file in the source, a directory in the target",
                "l has symlink target nowhere in the source, now\\nhere in the target",
                "p is a fifo in the source, a symlink in the target",
            ]
        );
    }

    #[test]
    fn what_is_only_on_one_side_is_named_in_the_order_of_paths() {
        let pair = Pair::new(rich);
        fs::write(pair.source().join("d/new"), "").unwrap();
        fs::create_dir(pair.target().join("d-a")).unwrap();
        fs::write(pair.target().join("d-a/old"), "").unwrap();
        assert_eq!(
            pair.differences(),
            [
                "d/new is missing in the target",
                "d-a is only in the target",
                "d-a/old is only in the target",
            ]
        );
        let options = Independent { extraneous: false, ..Independent::default() };
        assert_eq!(pair.with(&options), ["d/new is missing in the target"]);
    }

    #[test]
    fn hard_links_are_compared_as_groups() {
        let pair = Pair::new(|root| {
            for name in ["a", "b", "c", "d"] {
                fs::write(root.join(name), "same").unwrap();
            }
        });
        let link = |root: &Path, from: &str, to: &str| {
            fs::remove_file(root.join(to)).unwrap();
            fs::hard_link(root.join(from), root.join(to)).unwrap();
        };
        link(pair.source(), "a", "b");
        link(pair.target(), "c", "d");
        assert_eq!(
            pair.differences(),
            [
                "b is a hard link of another entry in the source, not in the target",
                "d is a hard link of another entry in the target, not in the source",
            ]
        );
        link(pair.target(), "a", "b");
        link(pair.source(), "c", "d");
        assert_eq!(pair.differences(), [""; 0]);
        // A name outside of both trees is nobody's business.
        let outside = tempfile::tempdir_in(pair.source().parent().unwrap()).unwrap();
        fs::hard_link(pair.source().join("a"), outside.path().join("x")).unwrap();
        assert_eq!(pair.differences(), [""; 0]);
    }

    #[test]
    fn extended_attributes_and_acls_are_compared() {
        let pair = Pair::new(rich);
        let set = |root: &Path, name: &str, value: &[u8]| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(root.join("d"), name, value, flags)
        };
        if set(pair.source(), "user.gone", b"1") == Err(Errno::OPNOTSUPP) {
            println!("skipped: no extended attributes on this file system");
            return;
        }
        set(pair.source(), "user.other", b"1").unwrap();
        set(pair.target(), "user.other", b"2").unwrap();
        set(pair.source(), "user.same", b"").unwrap();
        set(pair.target(), "user.same", b"").unwrap();
        // Version 2, then tag, permissions and number of: owner, group, others.
        let acl = b"\x02\0\0\0\x01\0\x07\0\xff\xff\xff\xff\x04\0\x05\0\xff\xff\xff\xff\x20\0\x05\0\xff\xff\xff\xff";
        set(pair.target(), "system.posix_acl_default", acl).unwrap();
        assert_eq!(
            pair.differences(),
            [
                "d has attribute user.gone, which is missing in the target",
                "d has attribute user.other, which differs",
                "d has attribute system.posix_acl_default, which is only in the target",
            ]
        );
    }

    #[test]
    fn labels_of_the_machine_and_what_only_root_sees_are_left_out() {
        assert!(is_compared(b"user.x", false));
        assert!(is_compared(b"system.posix_acl_access", false));
        assert!(!is_compared(b"security.capability", false));
        assert!(is_compared(b"security.capability", true));
        assert!(is_compared(b"trusted.x", true));
        assert!(!is_compared(b"security.selinux", true));
        assert!(!is_compared(b"system.nfs4_acl", true));
    }

    #[test]
    fn owners_are_compared_on_request() {
        let pair = Pair::new(rich);
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return;
        }
        std::os::unix::fs::lchown(pair.target().join("l"), Some(12), Some(34)).unwrap();
        let found = pair.differences();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].ends_with("12 in the target"), "{found:?}");
        let options = Independent { owners: false, ..Independent::default() };
        assert_eq!(pair.with(&options), [""; 0]);
    }

    #[test]
    fn reserved_names_are_passed_over() {
        let pair = Pair::new(rich);
        fs::create_dir_all(pair.target().join(".mirror-history/x")).unwrap();
        fs::write(pair.target().join("d/.mirror-tmp-1"), "").unwrap();
        fs::create_dir_all(pair.source().join(".mirror-tmp-2/x")).unwrap();
        assert_eq!(pair.differences(), [""; 0]);
        fs::create_dir(pair.target().join("d/.mirror-history")).unwrap();
        assert_eq!(pair.differences(), ["d/.mirror-history is only in the target"]);
    }

    #[test]
    fn what_the_filter_keeps_is_no_difference() {
        let pair = Pair::new(rich);
        fs::create_dir_all(pair.target().join("old/in")).unwrap();
        fs::write(pair.target().join("old/in/x.keep"), "").unwrap();
        fs::write(pair.target().join("old/in/y"), "").unwrap();
        fs::create_dir_all(pair.target().join("up")).unwrap();
        fs::write(pair.target().join("up/x"), "").unwrap();
        fs::write(pair.source().join("z.keep"), "").unwrap();
        pair.level();
        let check = |filter: &Filter| {
            pair.with(&Independent { filter: Some(filter), ..Independent::default() })
        };
        let filter = Filter::builder().exclude("*.keep").protect("/up").build().unwrap();
        assert_eq!(check(&filter), ["old/in/y is only in the target"]);
        let filter = Filter::builder()
            .exclude("*.keep")
            .protect("/up")
            .delete_excluded(true)
            .build()
            .unwrap();
        assert_eq!(
            check(&filter),
            [
                "old is only in the target",
                "old/in is only in the target",
                "old/in/x.keep is only in the target",
                "old/in/y is only in the target",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_a_difference_and_hides_only_itself() {
        let pair = Pair::new(rich);
        fs::write(pair.target().join("d/extra"), "").unwrap();
        fs::write(pair.target().join("extra"), "").unwrap();
        pair.level();
        let locked = pair.source().join("d");
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(pair.target().join("d"), fs::Permissions::from_mode(0o700)).unwrap();
        let readable = fs::read_dir(&locked).is_ok();
        let found = pair.with(&Independent::default());
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
        if readable {
            println!("skipped: root reads everything");
            return;
        }
        assert!(found.contains(&"extra is only in the target".into()), "{found:?}");
        assert!(
            found.iter().any(|line| line.starts_with("d cannot be read in the source: ")),
            "{found:?}"
        );
        assert!(!found.iter().any(|line| line.starts_with("d/")), "{found:?}");
    }

    #[test]
    fn a_root_that_is_missing_or_a_file_is_an_error() {
        let tree = tempfile::tempdir().unwrap();
        let file = tree.path().join("f");
        fs::write(&file, "").unwrap();
        let check = |source: &Path| {
            verify_independently(source, tree.path(), &Independent::default()).unwrap_err().kind()
        };
        assert_eq!(check(&tree.path().join("none")), io::ErrorKind::NotFound);
        assert_eq!(check(&file), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_root_may_be_reached_through_a_symlink() {
        let pair = Pair::new(rich);
        let other = tempfile::tempdir().unwrap();
        let link = other.path().join("link");
        symlink(pair.target(), &link).unwrap();
        let found = verify_independently(pair.source(), &link, &Independent::default()).unwrap();
        assert_eq!(found, []);
    }
}
