//! Programs that the tests talk to.

use std::path::PathBuf;

use super::peer::peer;

/// Where a server's program is: in the search path, or where ordinary users do not look.
#[track_caller]
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/lib/postfix/sbin", "/usr/lib/dovecot"]
        .map(|folder| PathBuf::from(folder).join(name))
        .into_iter()
        .find(|path| path.is_file())
        .or_else(|| peer(name))
}
