//! Public keys: an algorithm's name and a blob, whose fields are checked where they are known.
//!
//! A key of an algorithm that this crate has never heard of is kept as it is, so that it survives
//! every edit of a file that holds it.

mod algorithm;
mod fingerprint;

use std::fmt;
use std::str::FromStr;

pub(crate) use algorithm::is_known_name;
use algorithm::{
    CERT_SUFFIX, Field, algorithm_name, check_fields, is_certificate, known, same_type,
};
pub use fingerprint::Fingerprint;

use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::key::bit_length;
use crate::wire::{Reader, decode_base64, encode_base64, put_positive, put_string};

/// The largest blob that is taken, in bytes. An RSA key of 16384 bits has 2 KiB, a certificate with
/// OpenSSH's most principals fits too; what sshd sends or takes in one packet is 256 KiB.
pub const MAX_BLOB: usize = 64 * 1024;

/// Why a public key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// Not of the form `ALGORITHM BASE64 [COMMENT]`.
    #[error("this is no public key; its form is \"ssh-ed25519 AAAA… comment\", as in a .pub file")]
    NotAKey,
    /// What should be base64 is not, or was cut short.
    #[error(
        "the {0} key is not whole: its base64 cannot be decoded; copy the line again from the .pub file"
    )]
    Base64(String),
    /// The name in front of a key and the one inside it differ.
    #[error(
        "the line says {outer}, but the key inside it is of type {inner}; copy the line again from the .pub file"
    )]
    WrongName {
        /// The name in the text.
        outer: String,
        /// The name in the blob.
        inner: String,
    },
    /// The name of the algorithm is missing or is none (RFC 4251 section 6).
    #[error("the key names no algorithm; copy it again from the .pub file")]
    BadName,
    /// The fields of a known algorithm are not as they have to be.
    #[error(
        "the {0} key is damaged: its fields are not what that type of key has; copy it again from the .pub file"
    )]
    Damaged(String),
    /// More bytes than any key has.
    #[error("a key of {0} bytes is longer than any key ({MAX_BLOB} bytes at most)")]
    TooLong(usize),
    /// A fingerprint is not `SHA256:` and 43 characters of base64.
    #[error(
        "this is no fingerprint; its form is \"SHA256:\" and 43 characters, as ssh-keygen -l prints it"
    )]
    NotAFingerprint,
}

/// A public key or certificate: the name of its algorithm and the blob that goes over the wire
/// (RFC 4253 section 6.6).
///
/// Two values are equal when their bytes are. Whether a server would take them for one key, however
/// oddly one of them is written down, is asked of [`same_key`](PublicKey::same_key).
///
/// ```
/// use keygen_helper::PublicKey;
///
/// let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
/// let key: PublicKey = line.parse()?;
/// assert_eq!(key.algorithm(), "ssh-ed25519");
/// assert_eq!(key.bits(), Some(256));
/// assert_eq!(key.to_string(), line);
/// assert!(key.fingerprint().to_string().starts_with("SHA256:"));
/// # Ok::<(), keygen_helper::PublicKeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    blob: Box<[u8]>,
}

impl PublicKey {
    /// Takes the blob of a key, as it goes over the wire. The fields of known algorithms are
    /// checked for their number and size; whether a point lies on its curve is not.
    ///
    /// # Errors
    /// [`PublicKeyError`] says what is wrong with it.
    pub fn from_blob(blob: &[u8]) -> Result<PublicKey, PublicKeyError> {
        if blob.len() > MAX_BLOB {
            return Err(PublicKeyError::TooLong(blob.len()));
        }
        let mut reader = Reader::new(blob);
        let name = reader.string().and_then(algorithm_name).ok_or(PublicKeyError::BadName)?;
        if check_fields(name, reader).is_none() {
            return Err(PublicKeyError::Damaged(name.to_owned()));
        }
        Ok(PublicKey { blob: blob.into() })
    }

    /// Reads `ALGORITHM BASE64 [COMMENT]`, the content of a `.pub` file, and gives the comment
    /// with it: everything that follows, to the end of the line, less the blanks around it.
    /// Comments are in no particular encoding.
    ///
    /// # Errors
    /// [`PublicKeyError`] says what is wrong with the line.
    ///
    /// ```
    /// # use keygen_helper::PublicKey;
    /// # let line = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY anna # home\n";
    /// let (_, comment) = PublicKey::parse_line(line)?;
    /// assert_eq!(comment, b"anna # home");
    /// # Ok::<(), keygen_helper::PublicKeyError>(())
    /// ```
    pub fn parse_line(line: &[u8]) -> Result<(PublicKey, &[u8]), PublicKeyError> {
        let line = line.trim_ascii();
        if line.contains(&b'\n') {
            return Err(PublicKeyError::NotAKey);
        }
        PublicKey::read(line)
    }

    /// Reads the two words of a key at the front of `text` (`sshkey_read`), and gives what follows
    /// them, less the white space around it.
    pub(crate) fn read(text: &[u8]) -> Result<(PublicKey, &[u8]), PublicKeyError> {
        let (outer, rest) = split_blank(text);
        let outer = algorithm_name(outer).ok_or(PublicKeyError::NotAKey)?;
        let (base64, comment) = split_blank(rest);
        if base64.is_empty() {
            return Err(PublicKeyError::NotAKey);
        }
        Ok((PublicKey::from_base64(outer, base64)?, comment.trim_ascii()))
    }

    /// Whether the fields of this algorithm are known here, so that they were checked.
    pub fn is_known(&self) -> bool {
        known(self.algorithm()).is_some()
    }

    fn from_base64(outer: &str, base64: &[u8]) -> Result<PublicKey, PublicKeyError> {
        // A third more than the bytes it stands for.
        if base64.len() / 4 * 3 > MAX_BLOB + 3 {
            return Err(PublicKeyError::TooLong(base64.len() / 4 * 3));
        }
        // Only the name of an algorithm is shown: the first word of what is no key may be a secret.
        let is_name = known(outer).is_some();
        let bad = || match is_name {
            true => PublicKeyError::Base64(outer.to_owned()),
            false => PublicKeyError::NotAKey,
        };
        let key = PublicKey::from_blob(&decode_base64(base64).ok_or_else(bad)?)?;
        let inner = key.algorithm();
        if inner != outer && !(is_known_name(outer) && same_type(outer, inner)) {
            if !is_name {
                return Err(PublicKeyError::NotAKey);
            }
            return Err(PublicKeyError::WrongName { outer: outer.into(), inner: inner.into() });
        }
        Ok(key)
    }

    /// The blob, as it goes over the wire.
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// The name of the algorithm: `ssh-ed25519`. A blob may say it in another way that OpenSSH
    /// understands; this is the name that text files have in front of the blob.
    pub fn algorithm(&self) -> &str {
        let name = Reader::new(&self.blob).string().and_then(algorithm_name);
        let name = name.expect("checked when the key was made");
        known(name).filter(|_| !is_certificate(name)).map_or(name, |known| known.name)
    }

    /// The blob in base64, as in text files.
    pub fn base64(&self) -> String {
        encode_base64(&self.blob)
    }

    /// What ssh-keygen -l prints: the digest of the plain key, also where this is a certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.canonical())
    }

    /// The size of the key as ssh-keygen -l prints it, where the algorithm is known.
    pub fn bits(&self) -> Option<u32> {
        let plain = self.canonical();
        let mut reader = Reader::new(&plain);
        match reader.string().and_then(algorithm_name)? {
            "ssh-rsa" => reader.positive().and(reader.positive()).map(bit_length),
            "ssh-dss" => reader.positive().map(bit_length),
            "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => Some(256),
            "ecdsa-sha2-nistp256" | "sk-ecdsa-sha2-nistp256@openssh.com" => Some(256),
            "ecdsa-sha2-nistp384" => Some(384),
            "ecdsa-sha2-nistp521" => Some(521),
            _ => None,
        }
    }

    /// The word in brackets at the end of a line of ssh-keygen -l: `ED25519`, `RSA-CERT`.
    pub fn short_name(&self) -> &str {
        let name = self.algorithm();
        known(name)
            .map_or(name, |known| if is_certificate(name) { known.cert } else { known.short })
    }

    /// Whether this is a certificate of a known algorithm.
    pub fn is_certificate(&self) -> bool {
        is_certificate(self.algorithm())
    }

    /// The algorithm of certificates for this key, where it is known.
    pub(crate) fn certificate_algorithm(&self) -> Option<String> {
        let name = known(self.algorithm())?.name;
        Some(format!("{}{CERT_SUFFIX}", name.strip_suffix("@openssh.com").unwrap_or(name)))
    }

    /// The key that a certificate is for; a plain key itself.
    #[must_use]
    pub fn plain(&self) -> PublicKey {
        match self.is_certificate() {
            true => PublicKey { blob: self.canonical().into() },
            false => self.clone(),
        }
    }

    /// Whether a server takes both for one key. RSA numbers may be written with zeros in front,
    /// and the name inside a blob in other ways; neither makes it another key (`sshkey_equal`).
    ///
    /// A certificate and the key that it is for are not the same, nor are two certificates for
    /// one key.
    pub fn same_key(&self, other: &PublicKey) -> bool {
        // Most keys differ, and this is asked of each line of a file.
        if self.mark() != other.mark() {
            return false;
        }
        if self.blob == other.blob {
            return true;
        }
        let (mut ours, mut theirs) = (Reader::new(&self.blob), Reader::new(&other.blob));
        let known = |reader: &mut Reader<'_>| {
            let name = reader.string().and_then(algorithm_name)?;
            known(name).filter(|_| !is_certificate(name))
        };
        let (Some(a), Some(b)) = (known(&mut ours), known(&mut theirs)) else { return false };
        a.name == b.name
            && a.fields.iter().all(|field| match field {
                Field::Number => ours.positive() == theirs.positive(),
                _ => ours.string() == theirs.string(),
            })
    }

    /// The same for all keys that are the same: their last byte. However a key is written, that is
    /// the last one of its last field, or the 0 of an empty one's length.
    pub(crate) fn mark(&self) -> Option<u8> {
        self.blob.last().copied()
    }

    /// The one way to write down the plain key.
    fn canonical(&self) -> Vec<u8> {
        let mut reader = Reader::new(&self.blob);
        let mut out = Vec::with_capacity(self.blob.len());
        let name = reader.string().and_then(algorithm_name).expect("checked when made");
        let Some(known) = known(name) else { return self.blob.to_vec() };
        put_string(&mut out, known.name.as_bytes());
        if is_certificate(name) {
            reader.string();
        }
        for field in known.fields {
            match field {
                Field::Number => put_positive(&mut out, reader.positive().unwrap_or_default()),
                _ => put_string(&mut out, reader.string().unwrap_or_default()),
            }
        }
        out
    }
}

/// `ALGORITHM BASE64`, without a comment.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm(), self.base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// Reads a line as [`parse_line`](PublicKey::parse_line) does and drops the comment.
impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(line: &str) -> Result<PublicKey, PublicKeyError> {
        PublicKey::parse_line(line.as_bytes()).map(|(key, _)| key)
    }
}

/// As `ALGORITHM BASE64`.
impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What comes before the first blank or tab, and what comes after it and more of them.
pub(crate) fn split_blank(text: &[u8]) -> (&[u8], &[u8]) {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = text.iter().position(blank).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let blanks = rest.iter().take_while(|byte| blank(byte)).count();
    (word, &rest[blanks..])
}
