//! SSHFP: fingerprints of host keys in DNS (RFC 4255, RFC 6594, RFC 7479, RFC 8709).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::bytes::from_hex;
use crate::public_key::PublicKey;

/// The longest digest that is taken; the longest in use has 32 bytes.
const MAX_DIGEST: usize = 128;

/// The RDATA of one SSHFP record. Algorithms and digests that this crate does not know are kept.
///
/// ```
/// use keygen_helper::{PublicKey, Sshfp, SshfpCheck};
///
/// # let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
/// let key: PublicKey = text.parse()?;
/// let records = Sshfp::of(&key);
/// for record in &records {
///     println!("uk.example.net. 3600 IN SSHFP {record}");
/// }
/// assert_eq!(SshfpCheck::of(&key, &records), SshfpCheck::Match);
/// # Ok::<(), keygen_helper::PublicKeyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sshfp {
    algorithm: u8,
    kind: u8,
    digest: Box<[u8]>,
}

/// The numbers of digests (RFC 4255 section 3.1.2, RFC 6594 section 3.1).
const SHA1: u8 = 1;
const SHA256: u8 = 2;

/// This is no SSHFP record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no SSHFP record; its form is \"NAME IN SSHFP 4 2 HEX\", as ssh-keygen -r prints it"
)]
pub struct BadSshfp;

impl Sshfp {
    /// The records for a host key, with SHA-1 and with SHA-256, as `ssh-keygen -r` gives them.
    /// None for certificates and for algorithms that have no number in SSHFP.
    pub fn of(key: &PublicKey) -> Vec<Sshfp> {
        let Some(algorithm) = number(key.algorithm()) else { return Vec::new() };
        // The digest is over the whole key, its name included (RFC 4255 section 3.1.3).
        let record = |kind, digest: &[u8]| Sshfp { algorithm, kind, digest: digest.into() };
        vec![record(SHA1, &Sha1::digest(key.blob())), record(SHA256, &Sha256::digest(key.blob()))]
    }

    /// Takes the RDATA as it goes over the wire.
    ///
    /// # Errors
    /// [`BadSshfp`] when it is too short or too long, or not as long as its digest is.
    pub fn from_rdata(rdata: &[u8]) -> Result<Sshfp, BadSshfp> {
        let [algorithm, kind, digest @ ..] = rdata else { return Err(BadSshfp) };
        let right = match *kind {
            SHA1 => digest.len() == 20,
            SHA256 => digest.len() == 32,
            _ => (1..=MAX_DIGEST).contains(&digest.len()),
        };
        let record = Sshfp { algorithm: *algorithm, kind: *kind, digest: digest.into() };
        right.then_some(record).ok_or(BadSshfp)
    }

    /// The RDATA as it goes over the wire.
    pub fn to_rdata(&self) -> Vec<u8> {
        [&[self.algorithm, self.kind], &*self.digest].concat()
    }

    /// Reads a line of a zone file, of `dig`, or of `ssh-keygen -r` with or without `-g`, and gives
    /// the name in front of it. RDATA alone has an empty name.
    ///
    /// # Errors
    /// [`BadSshfp`].
    pub fn parse_line(line: &str) -> Result<(&str, Sshfp), BadSshfp> {
        // A line longer than any record is not taken apart.
        if line.len() > 4096 {
            return Err(BadSshfp);
        }
        let mut words = line.split_ascii_whitespace();
        let is_type =
            |word: &&str| word.eq_ignore_ascii_case("SSHFP") || word.eq_ignore_ascii_case("TYPE44");
        if line.split_ascii_whitespace().any(|word| is_type(&word)) {
            let name = if line.starts_with([' ', '\t']) { "" } else { words.next().unwrap_or("") };
            let _ = words.by_ref().find(is_type).ok_or(BadSshfp)?;
            return Ok((name, from_words(words)?));
        }
        Ok(("", from_words(words)?))
    }

    /// The number of the key's algorithm.
    pub fn algorithm(&self) -> u8 {
        self.algorithm
    }

    /// The number of the digest: 1 for SHA-1, 2 for SHA-256.
    pub fn digest_type(&self) -> u8 {
        self.kind
    }

    /// The digest.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }
}

fn from_words<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Sshfp, BadSshfp> {
    let hex = |words: &mut dyn Iterator<Item = &str>| {
        // White space may be anywhere in the digits (RFC 4255 section 3.2).
        let digits: Vec<u8> = words.flat_map(str::bytes).collect();
        from_hex(&digits).ok_or(BadSshfp)
    };
    let number = |word: Option<&str>| {
        let digits = word.filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse::<u8>().ok()).ok_or(BadSshfp)
    };
    let first = words.next();
    if first == Some("\\#") {
        // Any RDATA by its length and bytes (RFC 3597 section 5).
        let length = number(words.next())?;
        let rdata = hex(&mut words)?;
        return if rdata.len() == usize::from(length) {
            Sshfp::from_rdata(&rdata)
        } else {
            Err(BadSshfp)
        };
    }
    let mut rdata = vec![number(first)?, number(words.next())?];
    rdata.extend(hex(&mut words)?);
    Sshfp::from_rdata(&rdata)
}

/// RSA and DSA are of RFC 4255, ECDSA of RFC 6594, Ed25519 of RFC 7479, Ed448 of RFC 8709.
fn number(algorithm: &str) -> Option<u8> {
    match algorithm {
        "ssh-rsa" => Some(1),
        "ssh-dss" => Some(2),
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => Some(3),
        "ssh-ed25519" => Some(4),
        "ssh-ed448" => Some(6),
        _ => None,
    }
}

/// The RDATA in its text form: `4 2 HEX`.
impl fmt::Display for Sshfp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.algorithm, self.kind)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Sshfp {
    type Err = BadSshfp;

    fn from_str(text: &str) -> Result<Sshfp, BadSshfp> {
        Sshfp::parse_line(text).map(|(_, record)| record)
    }
}

impl TryFrom<String> for Sshfp {
    type Error = BadSshfp;

    fn try_from(text: String) -> Result<Sshfp, BadSshfp> {
        text.parse()
    }
}

impl From<Sshfp> for String {
    fn from(record: Sshfp) -> String {
        record.to_string()
    }
}

/// What the SSHFP records of a host say about the key that it has shown.
///
/// They are worth no more than the way they came: only records that were validated with DNSSEC
/// speak for a host, and whether they were is for the one to say who looked them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[must_use = "a host whose key differs must not be talked to"]
#[non_exhaustive]
pub enum SshfpCheck {
    /// A record with SHA-256 is of this key.
    Match,
    /// There are records for keys of this algorithm, and all are of other keys.
    Mismatch,
    /// The only record of this key is one with SHA-1, on which nothing should rest any more.
    OnlySha1,
    /// No record says anything about keys of this algorithm.
    Missing,
}

impl SshfpCheck {
    /// Holds a host key against the records of the host. Where there are records with SHA-256, those
    /// with SHA-1 do not count (RFC 6594 section 4.1).
    pub fn of(key: &PublicKey, records: &[Sshfp]) -> SshfpCheck {
        let own = Sshfp::of(key);
        let about = |kind: u8| {
            let same = own.iter().find(|own| own.kind == kind);
            same.map(|own| {
                let mut others = records
                    .iter()
                    .filter(|record| (record.algorithm, record.kind) == (own.algorithm, kind))
                    .peekable();
                (others.peek().is_some(), others.any(|record| record == own))
            })
        };
        match (about(SHA256), about(SHA1)) {
            (Some((true, true)), _) => SshfpCheck::Match,
            (Some((true, false)), _) => SshfpCheck::Mismatch,
            (_, Some((true, true))) => SshfpCheck::OnlySha1,
            (_, Some((true, false))) => SshfpCheck::Mismatch,
            _ => SshfpCheck::Missing,
        }
    }
}
