//! Which servers are known.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mirror_core::{HostKeyCheck, HostKeys, Pin};

/// How a server's key is judged: by pins where there are any, else by the known_hosts files.
pub fn host_keys(pins: &[Pin], files: &[PathBuf]) -> HostKeys {
    if !pins.is_empty() {
        return HostKeys::Pinned(pins.to_vec());
    }
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    HostKeys::Checked(Arc::new(KnownHosts { lines: texts.collect::<Vec<_>>().join("\n") }))
}

/// The lines of known_hosts files that name a host plainly (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
/// Hashed names, patterns and authorities are passed over, so that a host that only they name is
/// unknown; a key that any line revokes is revoked everywhere.
struct KnownHosts {
    lines: String,
}

/// One key for some hosts.
struct Line<'a> {
    revoked: bool,
    hosts: &'a str,
    key_type: &'a str,
    key: Vec<u8>,
}

impl KnownHosts {
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.lines.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let mut first = words.next().filter(|word| !word.starts_with('#'))?;
            let revoked = first == "@revoked";
            if revoked {
                first = words.next()?;
            }
            if first.starts_with('@') {
                return None;
            }
            let (key_type, key) = (words.next()?, words.next()?);
            Some(Line { revoked, hosts: first, key_type, key: STANDARD.decode(key).ok()? })
        })
    }

    fn of(&self, host: &str, port: u16) -> impl Iterator<Item = Line<'_>> {
        let host = host.to_ascii_lowercase();
        let name = if port == 22 { host } else { format!("[{host}]:{port}") };
        self.lines().filter(move |line| {
            !line.revoked && line.hosts.split(',').any(|known| known.eq_ignore_ascii_case(&name))
        })
    }
}

impl HostKeyCheck for KnownHosts {
    fn key_types(&self, host: &str, port: u16) -> Vec<String> {
        let mut types: Vec<String> =
            self.of(host, port).map(|line| line.key_type.to_owned()).collect();
        types.dedup();
        types
    }

    fn check(&self, host: &str, port: u16, key: &[u8]) -> Result<(), String> {
        if self.lines().any(|line| line.revoked && line.key == key) {
            return Err("is revoked: whoever has it is not the server; do not connect".to_owned());
        }
        if self.of(host, port).any(|line| line.key == key) {
            return Ok(());
        }
        Err(match self.of(host, port).next() {
            Some(_) => {
                "is not the one that is known: either the server has a new one, or \
                        somebody is in between; find out which before you go on"
            }
            None => {
                "is not known; compare it with what the server's own console shows \
                     (ssh-keygen -l), and pin it or add it to known_hosts if it is the same"
            }
        }
        .to_owned())
    }
}
