//! Programs that the tests talk to.

use std::env;
use std::path::PathBuf;

/// Where a program is. A missing one is told and passes, unless `INTEROP=required`.
#[track_caller]
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/usr/lib/postfix/sbin", "/usr/lib/dovecot"].map(PathBuf::from);
    let found = env::split_paths(&folders)
        .chain(usual)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
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
