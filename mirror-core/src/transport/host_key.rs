//! Whether a server is the one that is meant, and what is shown to it alone.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

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
    fn s30_a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("canary")), "Secret");
    }

    #[test]
    fn a_key_whose_type_is_not_the_one_inside_is_no_pin() {
        let line = "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        assert_eq!(line.parse::<Pin>(), Err(BadPin));
    }
}
