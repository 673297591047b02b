//! Which servers are known.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use keygen_helper::{Host, HostCheck, KnownHosts, Marker, PublicKey};
use mirror_core::{HostKeyCheck, HostKeys, LinkError, Pin};

use crate::capped;

/// How a server's key is judged: by pins where there are any, else by known_hosts files. Those
/// among `files` that nobody asked for by name may be missing.
///
/// # Errors
/// For a file that cannot be read: it may hold the line that revokes a key.
pub fn host_keys(
    pins: &[Pin],
    files: &[PathBuf],
    may_be_missing: bool,
) -> Result<HostKeys, LinkError> {
    if !pins.is_empty() {
        return Ok(HostKeys::Pinned(pins.to_vec()));
    }
    let mut known = Vec::new();
    for file in files {
        let failed = |why: &dyn std::fmt::Display| {
            LinkError::Unready(format!("cannot use the known hosts in {file:?}: {why}"))
        };
        match capped::bytes(file, capped::CONFIGURATION) {
            Ok(bytes) => known.push(KnownHosts::parse(bytes).map_err(|error| failed(&error))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound && may_be_missing => {}
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(HostKeys::Checked(Arc::new(Files(known))))
}

struct Files(Vec<KnownHosts>);

impl HostKeyCheck for Files {
    fn key_types(&self, host: &str, port: u16) -> Vec<String> {
        let Ok(host) = Host::new(host, port) else { return Vec::new() };
        let entries = self.0.iter().flat_map(|file| file.find(&host));
        let keys = entries.filter(|(_, entry)| entry.marker == Marker::None);
        let mut types: Vec<String> =
            keys.map(|(_, entry)| entry.key.algorithm().to_owned()).collect();
        types.dedup();
        types
    }

    fn check(&self, host: &str, port: u16, key: &[u8]) -> Result<(), String> {
        let host = Host::new(host, port).map_err(|error| format!("is nobody's: {error}"))?;
        let key = PublicKey::from_blob(key).map_err(|error| format!("is none: {error}"))?;
        let judged = self.0.iter().map(|file| file.check(&host, &key)).max();
        Err(match judged {
            Some(HostCheck::Known { .. }) => return Ok(()),
            Some(HostCheck::Revoked { .. }) => {
                "is revoked: whoever has it is not the server; do not connect"
            }
            Some(HostCheck::Changed { .. }) => {
                "is not the one that is known: either the server has a new one, or somebody is in \
                 between; find out which before you go on"
            }
            _ => {
                "is not known; compare it with what the server's own console shows \
                 (ssh-keygen -l), and pin it or add it to known_hosts if it is the same"
            }
        }
        .to_owned())
    }
}
