//! Where an agent is, and whether a server is the one that is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use crate::path::acts_on_a_terminal;
use crate::wire::LinkError;

/// What runs on the far side unless something else is asked for. Nothing of a tree or a name is
/// ever put into a command line: those travel inside of the protocol.
pub const AGENT_COMMAND: &str = "mirror-agent --root /";

/// A host, an account on it, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Destination {
    /// Takes a host's name or address. Without a user or a port it is for the transport to say
    /// which.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`] for what is no host or user: above all what begins with `-`,
    /// which a program would take for an option.
    pub fn new(
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
    ) -> Result<Destination, LinkError> {
        let unfit = |text: &str| {
            text.is_empty()
                || text.starts_with('-')
                || text.contains(|c: char| c.is_whitespace() || acts_on_a_terminal(c))
        };
        if unfit(host) || host.contains(['/', '@']) {
            return Err(LinkError::Unreachable(format!("{host:?} is no name of a host")));
        }
        if user.is_some_and(unfit) {
            return Err(LinkError::Unreachable("the user's name is none".to_owned()));
        }
        let user = user.map(str::to_owned);
        Ok(Destination { user, host: host.to_owned(), port })
    }

    /// The host's name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if it is not the usual one.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

/// `ssh://user@host:port`, as messages name it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        let v6 = self.host.contains(':');
        let (open, close) = if v6 { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A text that is never shown: a private key, a passphrase, a password. Its memory is wiped.
#[derive(Clone)]
pub struct Secret(pub(super) Zeroizing<String>);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(Zeroizing::new(text.into()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Who says whether a server's host key may be trusted. It is asked before anything else is sent.
pub trait HostKeyCheck: Send + Sync {
    /// The key types that are known for the host, best first, as SSH names them (`ssh-ed25519`);
    /// the server is asked for one of these. None leaves it to the server.
    fn key_types(&self, host: &str, port: u16) -> Vec<String> {
        let _ = (host, port);
        Vec::new()
    }

    /// Whether `key`, the blob that RFC 4253 section 6.6 describes, may be the host's. An error is
    /// what is wrong with it and what to do, to follow on "its host key …".
    ///
    /// # Errors
    /// For a key that is unknown, revoked, or another than the one that is known.
    fn check(&self, host: &str, port: u16, key: &[u8]) -> Result<(), String>;
}

/// A host key that is known to be right: `SHA256:…` as `ssh-keygen -l` shows it, or a public key
/// as it stands in a file.
///
/// ```
/// use mirror_core::Pin;
///
/// let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
/// let pin: Pin = line.parse()?;
/// assert_eq!(pin.key_type(), Some("ssh-ed25519"));
/// assert!("SHA256:too-short".parse::<Pin>().is_err());
/// # Ok::<(), mirror_core::BadPin>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin(Known);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Fingerprint([u8; 32]),
    Key { key_type: String, blob: Vec<u8> },
}

/// A text that is no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a pin is a fingerprint as ssh-keygen -l shows it (SHA256:…) or a public key")]
pub struct BadPin;

impl FromStr for Pin {
    type Err = BadPin;

    fn from_str(text: &str) -> Result<Pin, BadPin> {
        if let Some(digest) = text.trim().strip_prefix("SHA256:") {
            let bytes = STANDARD_NO_PAD.decode(digest.trim_end_matches('=')).map_err(|_| BadPin)?;
            return Ok(Pin(Known::Fingerprint(bytes.try_into().map_err(|_| BadPin)?)));
        }
        let mut words = text.split_ascii_whitespace();
        let (Some(key_type), Some(blob)) = (words.next(), words.next()) else {
            return Err(BadPin);
        };
        let blob = STANDARD.decode(blob).map_err(|_| BadPin)?;
        if key_type_of(&blob) != Some(key_type.as_bytes()) {
            return Err(BadPin);
        }
        Ok(Pin(Known::Key { key_type: key_type.to_owned(), blob }))
    }
}

impl Pin {
    /// The type of the key; a fingerprint does not tell.
    pub fn key_type(&self) -> Option<&str> {
        match &self.0 {
            Known::Key { key_type, .. } => Some(key_type),
            Known::Fingerprint(_) => None,
        }
    }

    pub(super) fn is(&self, key: &[u8], sha256: &[u8; 32]) -> bool {
        match &self.0 {
            Known::Key { blob, .. } => blob == key,
            Known::Fingerprint(digest) => digest == sha256,
        }
    }
}

/// The type that a key's blob begins with.
fn key_type_of(blob: &[u8]) -> Option<&[u8]> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// A digest as `ssh-keygen -l` shows it.
pub(super) fn fingerprint(sha256: &[u8; 32]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(sha256))
}

/// How a server is known.
#[derive(Clone)]
pub enum HostKeys {
    /// It shows one of these keys.
    Pinned(Vec<Pin>),
    /// Whoever is asked says so.
    Checked(Arc<dyn HostKeyCheck>),
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostKeys::Pinned(pins) => f.debug_tuple("Pinned").field(pins).finish(),
            HostKeys::Checked(_) => f.debug_tuple("Checked").finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s27_what_a_program_would_take_for_an_option_is_no_host() {
        for host in ["-oProxyCommand=x", "", "a b", "a\nb", "a/b", "u@h", "\u{202e}x"] {
            assert!(Destination::new(host, None, None).is_err(), "{host:?}");
        }
        assert!(Destination::new("host", Some("-l"), None).is_err());
        let there = Destination::new("::1", Some("u"), Some(22)).unwrap();
        assert_eq!(there.to_string(), "ssh://u@[::1]:22");
    }

    #[test]
    fn s30_a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("canary")), "Secret");
    }

    #[test]
    fn a_key_whose_type_is_not_the_one_inside_is_no_pin() {
        let line = "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        assert_eq!(line.parse::<Pin>(), Err(BadPin));
    }
}
