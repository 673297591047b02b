//! The secrets that servers know one another by (TSIG, RFC 8945).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::name::Name;

/// A secret shorter than this is guessed; RFC 8945 section 8 wants the length of the digest.
const MIN_SECRET: usize = 16;

/// More than any tool writes; a longer file is something else.
const MAX_FILE: usize = 4096;

/// How a message is signed. The older digests of RFC 8945 are left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TsigAlgorithm {
    /// The one that everybody must offer.
    HmacSha256,
    /// SHA-384.
    HmacSha384,
    /// SHA-512.
    HmacSha512,
}

impl TsigAlgorithm {
    /// Its name, as configurations and RFC 8945 section 6 spell it.
    pub fn name(self) -> &'static str {
        match self {
            TsigAlgorithm::HmacSha256 => "hmac-sha256",
            TsigAlgorithm::HmacSha384 => "hmac-sha384",
            TsigAlgorithm::HmacSha512 => "hmac-sha512",
        }
    }

    fn named(name: &str) -> Option<TsigAlgorithm> {
        let all = [TsigAlgorithm::HmacSha256, TsigAlgorithm::HmacSha384, TsigAlgorithm::HmacSha512];
        let name = name.strip_suffix('.').unwrap_or(name);
        all.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}

/// Why a key cannot be used. No variant repeats anything of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TsigKeyError {
    /// The text is not what `tsig-keygen` prints.
    #[error(
        "this is not a TSIG key; make one with `tsig-keygen NAME`, which prints key \"NAME\" {{ algorithm hmac-sha256; secret \"…\"; }};"
    )]
    Form,
    /// Its algorithm is none that is safe to use.
    #[error("the key's algorithm is not one of hmac-sha256, hmac-sha384, hmac-sha512")]
    Algorithm,
    /// Its name is no domain name.
    #[error("the key's name is not a domain name")]
    Name,
    /// The secret is not base64.
    #[error("the key's secret is not base64")]
    Base64,
    /// The secret can be guessed.
    #[error("the key's secret has {octets} octets, and at least {MIN_SECRET} are needed")]
    Short {
        /// How many it has.
        octets: usize,
    },
}

/// A secret that two servers share, with its name. It is wiped when dropped and never shown.
///
/// ```
/// use dns_failover::TsigKey;
///
/// let file = "key \"publish\" {\n\talgorithm hmac-sha256;\n\tsecret \"MDEyMzQ1Njc4OTAxMjM0NQ==\";\n};\n";
/// let key = TsigKey::from_file_content(file.as_bytes())?;
/// assert_eq!(format!("{key:?}"), "TsigKey { name: publish., algorithm: HmacSha256, secret: … }");
/// # Ok::<(), dns_failover::TsigKeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TsigKey {
    name: Name,
    algorithm: TsigAlgorithm,
    secret: Zeroizing<Vec<u8>>,
}

impl TsigKey {
    /// A key of these octets, which should come from a good source of randomness: as many as the
    /// digest has (32 for SHA-256).
    ///
    /// # Errors
    /// [`TsigKeyError::Short`].
    pub fn new(
        name: Name,
        algorithm: TsigAlgorithm,
        secret: Vec<u8>,
    ) -> Result<TsigKey, TsigKeyError> {
        let secret = Zeroizing::new(secret);
        if secret.len() < MIN_SECRET {
            return Err(TsigKeyError::Short { octets: secret.len() });
        }
        Ok(TsigKey { name: name.to_lowercase(), algorithm, secret })
    }

    /// Reads what `tsig-keygen` prints and named includes: `key "NAME" { algorithm A; secret "S"; };`.
    ///
    /// # Errors
    /// What is wrong with it; nothing of the file is repeated.
    pub fn from_file_content(content: &[u8]) -> Result<TsigKey, TsigKeyError> {
        if content.len() > MAX_FILE {
            return Err(TsigKeyError::Form);
        }
        let text = std::str::from_utf8(content).map_err(|_| TsigKeyError::Form)?;
        let mut words = words(text).into_iter();
        let mut next = || words.next().ok_or(TsigKeyError::Form);
        let expect = |word: &str, wanted: &str| match word == wanted {
            true => Ok(()),
            false => Err(TsigKeyError::Form),
        };
        expect(next()?, "key")?;
        let name: Name = next()?.parse().map_err(|_| TsigKeyError::Name)?;
        expect(next()?, "{")?;
        let (mut algorithm, mut secret) = (None, None);
        loop {
            match next()? {
                "algorithm" => {
                    algorithm = Some(TsigAlgorithm::named(next()?).ok_or(TsigKeyError::Algorithm)?);
                }
                "secret" => {
                    let octets = STANDARD.decode(next()?).map_err(|_| TsigKeyError::Base64)?;
                    secret = Some(Zeroizing::new(octets));
                }
                "}" => break,
                _ => return Err(TsigKeyError::Form),
            }
            expect(next()?, ";")?;
        }
        let algorithm = algorithm.ok_or(TsigKeyError::Form)?;
        let mut secret = secret.ok_or(TsigKeyError::Form)?;
        TsigKey::new(name, algorithm, std::mem::take(&mut *secret))
    }

    /// Its name, which goes over the wire.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// How it signs.
    pub fn algorithm(&self) -> TsigAlgorithm {
        self.algorithm
    }

    /// The secret as base64, for a file that only the server reads.
    pub(crate) fn secret_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.secret))
    }

    #[cfg(feature = "net")]
    pub(crate) fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, algorithm) = (&self.name, self.algorithm);
        write!(f, "TsigKey {{ name: {name}, algorithm: {algorithm:?}, secret: … }}")
    }
}

/// The words of a named.conf: quotes are taken off, braces and semicolons stand alone, comments go.
fn words(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let line_end = |rest: &str| rest.find('\n').unwrap_or(rest.len());
        let Some(first) = rest.chars().next() else { return found };
        let len = match first {
            '#' => {
                rest = &rest[line_end(rest)..];
                continue;
            }
            '/' if rest.starts_with("//") => {
                rest = &rest[line_end(rest)..];
                continue;
            }
            '"' => {
                let inner = &rest[1..];
                let end = inner.find('"').unwrap_or(inner.len());
                found.push(&inner[..end]);
                rest = inner.get(end + 1..).unwrap_or_default();
                continue;
            }
            '{' | '}' | ';' => 1,
            _ => {
                rest.find(|c: char| c.is_whitespace() || "{};\"#".contains(c)).unwrap_or(rest.len())
            }
        };
        found.push(&rest[..len]);
        rest = &rest[len..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<TsigKey, TsigKeyError> {
        TsigKey::from_file_content(text.as_bytes())
    }

    #[test]
    fn what_tsig_keygen_prints_is_read() {
        let key = read(
            "# made today\nkey \"Publish.Example\" {\n\talgorithm hmac-sha512;\n\tsecret \
             \"AAECAwQFBgcICQoLDA0ODw==\"; // not so secret\n};\n",
        );
        let key = key.unwrap();
        assert_eq!(key.name().to_string(), "publish.example.");
        assert_eq!(key.algorithm(), TsigAlgorithm::HmacSha512);
        assert_eq!(*key.secret_base64(), "AAECAwQFBgcICQoLDA0ODw==");
    }

    #[test]
    fn bad_keys_are_refused_without_a_word_of_them() {
        let with =
            |algorithm, secret| format!("key k {{ algorithm {algorithm}; secret \"{secret}\"; }};");
        assert_eq!(read(""), Err(TsigKeyError::Form));
        assert_eq!(read("hunter2"), Err(TsigKeyError::Form));
        assert_eq!(read("key k { secret \"AAAA\""), Err(TsigKeyError::Form));
        assert_eq!(read(&with("hmac-md5", "AAAA")), Err(TsigKeyError::Algorithm));
        assert_eq!(read(&with("hmac-sha256", "hunter2!")), Err(TsigKeyError::Base64));
        let short = read(&with("hmac-sha256", "aHVudGVyMg==")).unwrap_err();
        assert_eq!(short, TsigKeyError::Short { octets: 7 });
        assert!(!short.to_string().contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_content_makes_it_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = TsigKey::from_file_content(&content);
        }

        #[test]
        fn no_text_of_its_words_makes_it_panic(
            words in prop::collection::vec("key|\\{|\\}|;|\"|secret|algorithm|#|//|é|hmac-sha256|\n| ", 0..20),
        ) {
            let _ = read(&words.concat());
        }
    }
}
