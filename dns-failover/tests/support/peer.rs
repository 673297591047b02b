//! Programs that the tests talk to.

use std::env;
use std::path::PathBuf;

/// Where a peer is. A missing one is told and passes, unless `INTEROP=required`.
#[track_caller]
pub(crate) fn peer(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let mut folders = env::split_paths(&folders).chain(sbin);
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    if found.is_none() {
        assert!(
            env::var_os("INTEROP").is_none_or(|value| value != "required"),
            "INTEROP=required, and there is no {name}"
        );
        println!("skipped: no {name}");
    }
    found
}
