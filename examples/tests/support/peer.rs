//! Programs that the tests compare with or look through.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the peer is. A missing one is told and passes, unless `INTEROP=required`.
#[track_caller]
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    // Servers are where ordinary users do not look.
    let folders = env::split_paths(&folders).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = folders.map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skipped(name);
    }
    found
}

/// Says that a peer is missing; fails where peers are required.
#[track_caller]
pub(crate) fn skipped(name: &str) {
    assert!(
        env::var_os("INTEROP").is_none_or(|value| value != "required"),
        "INTEROP=required, and there is no {name}"
    );
    println!("skipped: no {name}");
}

/// rsync's own opinion: the words of `rsync -aHAXni --delete SRC/ DST/` must be none.
///
/// `extra` goes before the paths (filters).
#[track_caller]
pub(crate) fn assert_rsync_agrees(rsync: &Path, src: &Path, dst: &Path, extra: &[&str]) {
    let slash = |path: &Path| {
        let mut bytes = path.as_os_str().as_bytes().to_vec();
        bytes.push(b'/');
        OsStr::from_bytes(&bytes).to_owned()
    };
    let output = Command::new(rsync)
        .args(["-aHAXni", "--delete"])
        .args(extra)
        .args([slash(src), slash(dst)])
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
        "rsync would still change something ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
