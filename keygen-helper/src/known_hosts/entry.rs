//! What one line of known_hosts says (`hostkeys_foreach_file`).

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha1::Sha1;

use crate::lines::{as_c_string, skip_blanks, until_nul};
use crate::pattern::{MAX_PATTERN, Match, match_list};
use crate::public_key::{PublicKey, PublicKeyError};
use crate::wire::{decode_base64, encode_base64};

/// What is done with the key of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marker {
    /// The host has this key.
    None,
    /// `@cert-authority`: the host has certificates signed by this key.
    CertAuthority,
    /// `@revoked`: nobody who has this key, or a certificate signed by it, is the host.
    Revoked,
}

/// A line as ssh takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostLine<'a> {
    /// Nothing but blanks.
    Blank,
    /// A `#` comes first.
    Comment,
    /// A key and whose it is.
    Entry(HostEntry<'a>),
    /// Anything else. ssh passes over it; where it was meant to revoke a key, it does not.
    Unusable(HostFault),
}

/// A line with names and a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostEntry<'a> {
    /// What the key is for.
    pub marker: Marker,
    /// A list of names and patterns, or one name that is hashed.
    pub hosts: &'a [u8],
    /// The key, with the type that stands in front of it.
    pub key: PublicKey,
    /// All that follows the key.
    pub comment: &'a [u8],
}

/// Why ssh passes over a line that is neither blank nor a comment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostFault {
    /// It starts with `@`, and not with exactly one marker and a blank.
    #[error(
        "the line starts with \"@\", but not with @cert-authority or @revoked and a blank, so ssh ignores it"
    )]
    Marker,
    /// The hash of the name is not of the form `|1|SALT|HASH`.
    #[error("the hashed name is damaged, so ssh ignores the line")]
    Hash,
    /// There is no key behind the names.
    #[error("ssh ignores the line: {0}")]
    Key(PublicKeyError),
}

impl<'a> HostLine<'a> {
    /// Reads a line without its end.
    pub(crate) fn of(body: &'a [u8]) -> HostLine<'a> {
        let line = skip_blanks(body);
        match line.first() {
            None | Some(0) => return HostLine::Blank,
            Some(b'#') => return HostLine::Comment,
            _ => {}
        }
        match read(line) {
            Ok(entry) => HostLine::Entry(entry),
            Err(fault) => HostLine::Unusable(fault),
        }
    }
}

fn read(line: &[u8]) -> Result<HostEntry<'_>, HostFault> {
    let (marker, line) = split_marker(line).ok_or(HostFault::Marker)?;
    let (hosts, tail) = split_hosts(line);
    if hosts.starts_with(b"|") && Hashed::read(hosts).is_none() {
        return Err(HostFault::Hash);
    }
    let (key, comment) = PublicKey::read(tail).map_err(HostFault::Key)?;
    Ok(HostEntry { marker, hosts, key, comment })
}

/// The names, and what follows. ssh ends the names at a blank or a NUL and goes on one byte behind
/// it, whichever it was; any other NUL is the end of the line.
fn split_hosts(line: &[u8]) -> (&[u8], &[u8]) {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | 0);
    let end = line.iter().position(ends).unwrap_or(line.len());
    (&line[..end], as_c_string(line.get(end + 1..).unwrap_or_default()))
}

/// One marker at most (`check_markers`). It ends at the first blank of the line, and at a tab only
/// where there is no blank at all.
fn split_marker(line: &[u8]) -> Option<(Marker, &[u8])> {
    if !line.starts_with(b"@") {
        return Some((Marker::None, line));
    }
    let find = |sought| until_nul(line).iter().position(|&byte| byte == sought);
    let (marker, rest) = line.split_at(find(b' ').or_else(|| find(b'\t'))?);
    let marker = match marker {
        b"@cert-authority" => Marker::CertAuthority,
        b"@revoked" => Marker::Revoked,
        _ => return None,
    };
    let rest = skip_blanks(rest);
    (!rest.starts_with(b"@")).then_some((marker, rest))
}

/// The names and the rest of a line without a marker, whatever its key is like.
pub(super) fn plain_parts(body: &[u8]) -> Option<(Names<'_>, &[u8])> {
    let line = skip_blanks(body);
    let plain = !matches!(line.first(), None | Some(b'#' | b'@' | 0));
    plain.then(|| split_hosts(line)).map(|(hosts, tail)| (Names(hosts), tail))
}

/// The names in front of a key: a list of names and patterns, or one name that is hashed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a>(pub(super) &'a [u8]);

impl Names<'_> {
    /// Whether one of them is this name, as [`Host`](super::Host) prints it.
    pub(super) fn include(self, name: &str) -> bool {
        match Hashed::read(self.0) {
            Some(hashed) => hashed.is_of(name),
            None => !self.are_hashed() && match_list(name.as_bytes(), self.0) == Match::Yes,
        }
    }

    pub(super) fn are_hashed(self) -> bool {
        self.0.starts_with(b"|")
    }

    pub(super) fn have_too_long(self) -> bool {
        self.0.split(|&byte| byte == b',').any(|name| name.len() > MAX_PATTERN)
    }

    pub(super) fn have_patterns(self) -> bool {
        self.0.iter().any(|byte| matches!(byte, b'*' | b'?' | b'!'))
    }
}

impl HostEntry<'_> {
    /// Whether the line is about the host of this name, as [`Host`](super::Host) prints it.
    pub(super) fn is_for(&self, name: &str) -> bool {
        Names(self.hosts).include(name)
    }

    /// Whether the name is hashed.
    pub fn is_hashed(&self) -> bool {
        Names(self.hosts).are_hashed()
    }
}

/// How many bytes SHA-1 has, and so a salt.
pub(crate) const SALT: usize = 20;

/// A name that can be recognised but not read: `|1|SALT|HASH`, the hash an HMAC-SHA1 with the
/// salt as its key (`host_hash`).
pub(super) struct Hashed {
    salt: [u8; SALT],
    hash: [u8; SALT],
}

impl Hashed {
    pub(super) fn new(name: &[u8], salt: [u8; SALT]) -> Hashed {
        let mut mac = Hmac::<Sha1>::new_from_slice(&salt).expect("HMAC takes keys of any length");
        mac.update(name);
        Hashed { salt, hash: mac.finalize().into_bytes().into() }
    }

    /// ssh compares what it would have written itself, so other spellings of the same bytes are
    /// no hash.
    fn read(text: &[u8]) -> Option<Hashed> {
        let (salt, hash) = str::from_utf8(text.strip_prefix(b"|1|")?).ok()?.split_once('|')?;
        let decode = |text: &str| decode_base64(text.as_bytes())?.try_into().ok();
        let hashed = Hashed { salt: decode(salt)?, hash: decode(hash)? };
        (hashed.to_string().as_bytes() == text).then_some(hashed)
    }

    fn is_of(&self, name: &str) -> bool {
        Hashed::new(name.as_bytes(), self.salt).hash == self.hash
    }
}

impl std::fmt::Display for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "|1|{}|{}", encode_base64(&self.salt), encode_base64(&self.hash))
    }
}
