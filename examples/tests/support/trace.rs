//! Looks at a run through strace.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::peer::{peer, skipped};
use super::run::{Mirror, Run};

/// System calls that change a file system, by the start of their names.
const MUTATING: [&str; 27] = [
    "write",
    "pwrite",
    "truncate",
    "ftruncate",
    "fallocate",
    "copy_file_range",
    "sendfile",
    "splice",
    "rename",
    "unlink",
    "rmdir",
    "mkdir",
    "mknod",
    "link",
    "symlink",
    "creat",
    "chmod",
    "fchmod",
    "chown",
    "fchown",
    "lchown",
    "utime",
    "futimesat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
];

/// What a run asked of the kernel.
#[derive(Debug)]
pub(crate) struct Trace {
    calls: Vec<String>,
}

/// Runs `mirror` under strace. None, and told, where strace does not work.
#[track_caller]
pub(crate) fn traced(mirror: &Mirror, folder: &Path) -> Option<(Run, Trace)> {
    let strace = peer("strace")?;
    let probe = Command::new(&strace).args(["-o", "/dev/null", "true"]).output().unwrap();
    if !probe.status.success() {
        skipped("strace that may trace");
        return None;
    }
    fs::create_dir(folder).unwrap();
    // One file a thread, so that no call is split; paths are always printed whole, and
    // `-y` adds the path of each descriptor. `-s 0` keeps written data out.
    let run = mirror
        .clone()
        .under([strace.as_os_str()])
        .under(["-ff", "-y", "-s0", "-e", "trace=%file,%desc", "-o"])
        .under([folder.join("calls").as_os_str()])
        .run();
    let mut calls = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        calls.extend(String::from_utf8_lossy(&bytes).lines().map(str::to_owned));
    }
    assert!(calls.len() > 10, "strace saw nothing: {calls:?}");
    Some((run, Trace { calls }))
}

impl Trace {
    /// Calls that may have changed something at or below `root`.
    pub(crate) fn changes(&self, root: &Path) -> Vec<&str> {
        let changes = |call: &&str| {
            let name = call.split('(').next().unwrap_or_default();
            let opens = name.starts_with("open")
                && ["O_CREAT", "O_TRUNC", "O_WRONLY", "O_RDWR", "O_TMPFILE"]
                    .iter()
                    .any(|flag| call.contains(flag));
            let mutating = MUTATING.iter().any(|start| name.starts_with(start));
            // What failed changed nothing: to ask for a folder that is there is no change.
            let failed = call.contains(" = -1 E");
            (opens || mutating) && !failed && touches(call, root)
        };
        self.calls.iter().map(String::as_str).filter(changes).collect()
    }

    /// Successful opens of anything but directories below `root`.
    pub(crate) fn opened_files(&self, root: &Path) -> Vec<PathBuf> {
        self.calls
            .iter()
            .filter(|call| call.starts_with("open"))
            .filter_map(|call| {
                let (_, result) = call.rsplit_once(" = ")?;
                let path = result.split_once('<')?.1.strip_suffix('>')?;
                Some(unescaped(path))
            })
            .filter(|path| path.starts_with(root) && !path.is_dir())
            .collect()
    }

    /// Calls that read symlinks or extended attributes strictly below `root`.
    pub(crate) fn reads_of_links_and_xattrs(&self, root: &Path) -> Vec<&str> {
        let reads = |call: &&str| {
            let name = call.split('(').next().unwrap_or_default();
            let asks = name.starts_with("readlink")
                || name.contains("listxattr")
                || name.contains("getxattr");
            asks && subject(call).is_some_and(|path| path.starts_with(root) && path != root)
        };
        self.calls.iter().map(String::as_str).filter(reads).collect()
    }
}

/// A path as strace escapes it: `\\n` and its like, or up to three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let digits = rest.iter().take(3).take_while(|byte| (b'0'..=b'7').contains(*byte)).count();
        if digits > 0 {
            let value =
                rest[..digits].iter().fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
            bytes.push(u8::try_from(value).unwrap());
            rest = &rest[digits..];
            continue;
        }
        let Some((letter, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        bytes.push(match letter {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'v' => 11,
            b'f' => 12,
            other => *other,
        });
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// Whether a call names `root` or something below it, in a path or through a descriptor.
/// A name below /proc hides what it means, so it counts.
fn touches(call: &str, root: &Path) -> bool {
    let root = root.to_str().unwrap();
    let inside = |rest: &str| rest.starts_with(['/', '>', '"', ' ']);
    let named = call.match_indices(root).any(|(at, _)| inside(&call[at + root.len()..]));
    named || call.contains("\"/proc/self/fd")
}

/// The path a call is about: its first descriptor or folder, and the first name below it.
fn subject(call: &str) -> Option<PathBuf> {
    let arguments = call.split_once('(')?.1;
    let folder = arguments
        .split_once('<')
        .filter(|(before, _)| !before.contains('"'))
        .and_then(|(_, rest)| rest.split_once('>'))
        .map(|(path, _)| PathBuf::from(path));
    let name = arguments.split('"').nth(1);
    match (folder, name) {
        // For calls on a descriptor the name is that of the attribute.
        (Some(folder), _) if call.starts_with('f') => Some(folder),
        (Some(folder), Some(name)) => Some(folder.join(name)),
        (Some(folder), None) => Some(folder),
        (None, Some(name)) => Some(PathBuf::from(name)),
        (None, None) => None,
    }
}

/// Runs `mirror` on one thread and holds it right after its `turn`th call of those that `calls`
/// names (as strace does: `/rename`); `meanwhile` happens then. None, and told, where strace does not
/// work. A run that makes fewer such calls ends without `meanwhile`, and the answer says so.
#[track_caller]
pub(crate) fn held_after(
    mirror: &Mirror,
    calls: &str,
    turn: usize,
    log: &Path,
    meanwhile: impl FnOnce(),
) -> Option<(Run, bool)> {
    let strace = peer("strace")?;
    let _ = fs::remove_file(log);
    let mut running = mirror
        .clone()
        .args(["--jobs", "1"])
        .under([strace.as_os_str()])
        .under(["-f", "-e", &format!("trace={calls}")])
        .under(["-e", &format!("inject={calls}:signal=SIGSTOP:when={turn}"), "-o"])
        .under([log.as_os_str()])
        .spawn();
    let mut meanwhile = Some(meanwhile);
    let mut seen = 0;
    while !running.has_ended() {
        let text = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let stopped: Vec<_> =
            text.lines().filter(|line| line.ends_with("--- stopped by SIGSTOP ---")).collect();
        if stopped.len() > seen {
            if let Some(meanwhile) = meanwhile.take() {
                meanwhile();
            }
            // Each thread has a turn of its own, and all of them stop with one.
            seen = stopped.len();
            for line in stopped {
                let id = line.split_whitespace().next().and_then(|id| id.parse().ok());
                if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(id, rustix::process::Signal::CONT);
                }
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    Some((running.wait(), meanwhile.is_none()))
}
