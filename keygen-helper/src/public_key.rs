//! Public keys: an algorithm's name and a blob, whose fields are checked where they are known.
//!
//! A key of an algorithm that this crate has never heard of is kept as it is, so that it survives
//! every edit of a file that holds it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::wire::{Reader, decode_base64, encode_base64, put_positive, put_string};

/// The largest blob that is taken, in bytes. An RSA key of 16384 bits has 2 KiB, a certificate with
/// OpenSSH's most principals fits too; what sshd sends or takes in one packet is 256 KiB.
pub const MAX_BLOB: usize = 64 * 1024;

/// The longest name of an algorithm (RFC 4251 section 6).
const MAX_NAME: usize = 64;

/// The most bytes of one number (OpenSSH's `SSHBUF_MAX_BIGNUM`).
const MAX_NUMBER: usize = 16384 / 8;

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
        let bad = || PublicKeyError::Base64(outer.to_owned());
        let key = PublicKey::from_blob(&decode_base64(base64).ok_or_else(bad)?)?;
        let inner = key.algorithm();
        if inner != outer && !(is_known_name(outer) && same_type(outer, inner)) {
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
        Fingerprint(Sha256::digest(self.canonical()).into())
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
        if self.blob == other.blob {
            return true;
        }
        // Most keys differ, and this is asked of each line of a file for each key.
        let (mut ours, mut theirs) = (Reader::new(&self.blob), Reader::new(&other.blob));
        let known = |reader: &mut Reader<'_>| {
            let name = reader.string().and_then(algorithm_name)?;
            known(name).filter(|_| !is_certificate(name))
        };
        let (Some(a), Some(b)) = (known(&mut ours), known(&mut theirs)) else { return false };
        a.name == b.name
            && a.fields.iter().all(|field| match field {
                Number => ours.positive() == theirs.positive(),
                _ => ours.string() == theirs.string(),
            })
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

/// The SHA-256 digest of a public key's blob, printed as `SHA256:` and base64 without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Fingerprint, PublicKeyError> {
        let digest = text.strip_prefix("SHA256:").filter(|base64| base64.len() == 43);
        let digest = digest.and_then(|base64| STANDARD_NO_PAD.decode(base64).ok());
        let digest = digest.and_then(|bytes| bytes.try_into().ok());
        digest.map(Fingerprint).ok_or(PublicKeyError::NotAFingerprint)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fingerprint, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What one field of a public key is.
#[derive(Debug, Clone, Copy)]
enum Field {
    /// A number that is not negative.
    Number,
    /// A string of exactly so many bytes.
    Exact(usize),
    /// The name of the curve.
    Curve(&'static str),
    /// An uncompressed point of so many bytes: 4, x, y (SEC 1 section 2.3.3).
    Point(usize),
    /// Any string.
    Text,
}

/// An algorithm whose fields are known.
struct Known {
    /// Its name without the suffix of a certificate.
    name: &'static str,
    /// Other names that OpenSSH takes for the type of the same key: those of signatures.
    also: &'static [&'static str],
    short: &'static str,
    cert: &'static str,
    fields: &'static [Field],
}

const fn algorithm(
    name: &'static str,
    short: &'static str,
    cert: &'static str,
    fields: &'static [Field],
) -> Known {
    Known { name, also: &[], short, cert, fields }
}

use Field::{Curve, Exact, Number, Point, Text};

/// RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 section 4, OpenSSH's PROTOCOL.u2f.
static KNOWN: [Known; 8] = [
    algorithm("ssh-ed25519", "ED25519", "ED25519-CERT", &[Exact(32)]),
    Known {
        name: "ssh-rsa",
        also: &["rsa-sha2-256", "rsa-sha2-512"],
        short: "RSA",
        cert: "RSA-CERT",
        fields: &[Number, Number],
    },
    algorithm("ecdsa-sha2-nistp256", "ECDSA", "ECDSA-CERT", &[Curve("nistp256"), Point(65)]),
    algorithm("ecdsa-sha2-nistp384", "ECDSA", "ECDSA-CERT", &[Curve("nistp384"), Point(97)]),
    algorithm("ecdsa-sha2-nistp521", "ECDSA", "ECDSA-CERT", &[Curve("nistp521"), Point(133)]),
    algorithm("sk-ssh-ed25519@openssh.com", "ED25519-SK", "ED25519-SK-CERT", &[Exact(32), Text]),
    Known {
        name: "sk-ecdsa-sha2-nistp256@openssh.com",
        also: &["webauthn-sk-ecdsa-sha2-nistp256@openssh.com"],
        short: "ECDSA-SK",
        cert: "ECDSA-SK-CERT",
        fields: &[Curve("nistp256"), Point(65), Text],
    },
    algorithm("ssh-dss", "DSA", "DSA-CERT", &[Number, Number, Number, Number]),
];

/// Whether OpenSSH takes two names for the same type of key: `rsa-sha2-512` for `ssh-rsa`.
fn same_type(a: &str, b: &str) -> bool {
    let (Some(known_a), Some(known_b)) = (known(a), known(b)) else { return false };
    known_a.name == known_b.name && is_certificate(a) == is_certificate(b)
}

/// Certificates' algorithms are named after the key's: `ssh-ed25519-cert-v01@openssh.com`, and
/// `sk-ssh-ed25519-cert-v01@openssh.com` for `sk-ssh-ed25519@openssh.com`.
const CERT_SUFFIX: &str = "-cert-v01@openssh.com";

fn is_certificate(name: &str) -> bool {
    name.ends_with(CERT_SUFFIX) && known(name).is_some()
}

/// Whether OpenSSH takes this for the name of a type at the front of a text line, where it has to
/// be exact.
pub(crate) fn is_known_name(name: &str) -> bool {
    known(name).is_some_and(|known| !known.short.eq_ignore_ascii_case(name))
}

fn known(name: &str) -> Option<&'static Known> {
    let base = name.strip_suffix(CERT_SUFFIX);
    KNOWN.iter().find(|known| match base {
        // Inside a blob OpenSSH takes the short names too, in any case, where no curve is needed.
        None => {
            known.name == name
                || known.also.contains(&name)
                || (!matches!(known.fields, [Curve(_), ..])
                    && known.short.eq_ignore_ascii_case(name))
        }
        Some(base) => {
            known.name.strip_suffix("@openssh.com").unwrap_or(known.name) == base
                || known.also.contains(&base)
        }
    })
}

/// Nothing when the fields after the name are not those of the algorithm.
fn check_fields(name: &str, mut reader: Reader<'_>) -> Option<()> {
    let Some(known) = known(name) else { return Some(()) };
    if is_certificate(name) {
        let _nonce = reader.string()?;
    }
    for field in known.fields {
        let right = match field {
            Number => reader.positive()?.len() <= MAX_NUMBER,
            Exact(len) => reader.string()?.len() == *len,
            Curve(curve) => reader.string()? == curve.as_bytes(),
            Point(len) => {
                let point = reader.string()?;
                point.len() == *len && point.first() == Some(&4)
            }
            Text => reader.string().is_some(),
        };
        right.then_some(())?;
    }
    // What a certificate says beyond the key is read where certificates are.
    (is_certificate(name) || reader.rest().is_empty()).then_some(())
}

/// A name is 1 to 64 printable characters without comma (RFC 4251 section 6).
fn algorithm_name(name: &[u8]) -> Option<&str> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.iter().all(plain);
    fits.then(|| str::from_utf8(name).ok()).flatten()
}

fn bit_length(digits: &[u8]) -> u32 {
    let Some(first) = digits.first() else { return 0 };
    let whole = u32::try_from(digits.len()).expect("numbers are capped") * 8;
    whole - first.leading_zeros()
}

/// What comes before the first blank or tab, and what comes after it and more of them.
pub(crate) fn split_blank(text: &[u8]) -> (&[u8], &[u8]) {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = text.iter().position(blank).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    let blanks = rest.iter().take_while(|byte| blank(byte)).count();
    (word, &rest[blanks..])
}
