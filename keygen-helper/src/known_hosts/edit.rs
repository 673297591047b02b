//! Changing known_hosts: a host more, a host fewer, names hashed. Only the lines concerned change.

use super::entry::{Hashed, SALT, plain_parts};
use super::{Host, HostCheck, KnownHosts};
use crate::bytes::Bytes;
use crate::edits::{Change, Edits};
use crate::public_key::{Fingerprint, PublicKey, split_blank};

/// Why a host was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddHostError {
    /// The host is known with other keys.
    #[error(
        "{host} is known with another key (line {line}); nothing was changed. If the host has a new key for a reason you know of, remove the host first"
    )]
    Changed {
        /// The host.
        host: Host,
        /// The first such line, counted from 1.
        line: usize,
    },
    /// The key is revoked for this host.
    #[error(
        "the key {key} is revoked for {host} (line {line}): whoever shows it is not that host; nothing was changed"
    )]
    Revoked {
        /// The host.
        host: Host,
        /// The key.
        key: Fingerprint,
        /// The line that revokes it, counted from 1.
        line: usize,
    },
    /// A certificate, which known_hosts does not hold.
    #[error(
        "this is a certificate; known_hosts holds plain keys, and the keys of authorities with @cert-authority in front"
    )]
    Certificate,
}

impl KnownHosts {
    /// What has to change so that the host is known with this key. With a `salt` of 20 random bytes
    /// its name is written as a hash.
    ///
    /// Nothing where it is known already. A further key of a known host is added only when the
    /// key that it has is there as well, or when the others are of other algorithms.
    ///
    /// # Errors
    /// [`AddHostError`] where another key of the same algorithm is there, or this one is revoked.
    pub fn add(
        &self,
        host: &Host,
        key: &PublicKey,
        salt: Option<[u8; SALT]>,
    ) -> Result<Edits, AddHostError> {
        if key.is_certificate() {
            return Err(AddHostError::Certificate);
        }
        let (host, answer) = (host.clone(), self.check(host, key));
        match answer {
            HostCheck::Known { .. } => return Ok(Edits::new(&self.lines, Vec::new())),
            HostCheck::Revoked { line } => {
                return Err(AddHostError::Revoked { host, key: key.fingerprint(), line });
            }
            HostCheck::Changed { expected } => {
                let same = |other: &&super::Expected| other.key.algorithm() == key.algorithm();
                if let Some(other) = expected.iter().find(same) {
                    return Err(AddHostError::Changed { host, line: other.line });
                }
            }
            HostCheck::Unknown | HostCheck::Objected { .. } | HostCheck::Certified { .. } => {}
        }
        let name = match salt {
            Some(salt) => Hashed::new(host.to_string().as_bytes(), salt).to_string(),
            None => host.to_string(),
        };
        let text = Bytes::from(format!("{name} {key}").into_bytes());
        Ok(Edits::new(&self.lines, vec![Change::Append { text }]))
    }

    /// What has to change so that the host is no longer known: each line for it goes, with all
    /// names it has, even if its key is damaged (`ssh-keygen -R`). Lines with a marker stay: what is
    /// revoked remains so.
    pub fn remove(&self, host: &Host) -> Edits {
        let name = host.to_string();
        let bodies = self.lines.bodies().enumerate();
        let found = bodies
            .filter(|(_, body)| plain_parts(body).is_some_and(|(names, _)| names.include(&name)));
        let remove =
            |(index, body): (usize, &[u8])| Change::Remove { line: index + 1, text: body.into() };
        Edits::new(&self.lines, found.map(remove).collect())
    }

    /// What has to change so that names can be recognised but not read (`ssh-keygen -H`). A line
    /// with several names becomes as many lines. Lines with a marker or a pattern stay, since a
    /// hash stands for one name.
    ///
    /// `salt` gives 20 random bytes each time it is asked, for each name others.
    pub fn hash(&self, salt: &mut dyn FnMut() -> [u8; SALT]) -> Edits {
        let mut changes = Vec::new();
        for (index, body) in self.lines.bodies().enumerate() {
            let Some((names, tail)) = plain_parts(body) else { continue };
            // Without a word for the type and one for the key it is no line of a host.
            if names.are_hashed() || names.have_patterns() || split_blank(tail).1.is_empty() {
                continue;
            }
            // Where ssh gives up on a name it sees none of the line's; hashes would bring them back.
            if names.have_too_long() {
                continue;
            }
            let each = names.0.split(|&byte| byte == b',').filter(|name| !name.is_empty());
            let hashed = each.map(|name| {
                let hashed = Hashed::new(&name.to_ascii_lowercase(), salt()).to_string();
                Bytes::from([hashed.as_bytes(), b" ", tail].concat())
            });
            let (after, before) = (hashed.collect::<Vec<_>>(), body.into());
            if after.is_empty() {
                continue;
            }
            changes.push(Change::Replace { line: index + 1, before, after });
        }
        Edits::new(&self.lines, changes)
    }
}
