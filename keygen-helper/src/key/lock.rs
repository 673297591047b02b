//! How a private key is locked: passphrase, cipher, and how much work a guess costs.

use std::fmt;
use std::str::FromStr;

use ssh_cipher::Cipher as Known;
use zeroize::Zeroizing;

use super::error::KeyError;
use super::passphrase::Passphrase;

/// The most rounds of bcrypt_pbkdf that are computed to open a file, some fifteen seconds of work.
/// A file may ask for 2³², which would take a year; ssh-keygen's default is 16 or 24.
pub const MAX_ROUNDS: u32 = 1024;

/// How many rounds of bcrypt_pbkdf a guess costs; 24 by default, as in OpenSSH since 9.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rounds(u32);

impl Rounds {
    /// Takes 1 to [`MAX_ROUNDS`].
    pub fn new(rounds: u32) -> Option<Rounds> {
        (1..=MAX_ROUNDS).contains(&rounds).then_some(Rounds(rounds))
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for Rounds {
    fn default() -> Rounds {
        Rounds(24)
    }
}

/// All that `ssh -Q cipher` shows.
const KNOWN: [Known; 10] = [
    Known::Aes256Ctr,
    Known::Aes192Ctr,
    Known::Aes128Ctr,
    Known::Aes256Gcm,
    Known::Aes128Gcm,
    Known::ChaCha20Poly1305,
    Known::Aes256Cbc,
    Known::Aes192Cbc,
    Known::Aes128Cbc,
    Known::TdesCbc,
];

/// A cipher that OpenSSH locks private keys with. The default, AES-256 in counter mode, is also
/// ssh-keygen's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cipher(Known);

impl Cipher {
    /// The cipher of that name, as `ssh-keygen -Z` takes it.
    pub(crate) fn named(name: &[u8]) -> Option<Cipher> {
        let known = KNOWN.into_iter().find(|cipher| cipher.as_str().as_bytes() == name);
        known.map(Cipher)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.as_str()
    }

    pub(crate) fn block_size(self) -> usize {
        self.0.block_size()
    }

    pub(crate) fn tag_length(self) -> usize {
        if self.0.has_tag() { 16 } else { 0 }
    }
}

impl Default for Cipher {
    fn default() -> Cipher {
        Cipher(Known::Aes256Ctr)
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Cipher {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Cipher, KeyError> {
        Cipher::named(name.as_bytes()).ok_or_else(|| KeyError::Unsupported {
            what: format!("the cipher {name:?}"),
            remedy: "take aes256-ctr",
        })
    }
}

/// How to lock a private key.
///
/// ```
/// use keygen_helper::{Lock, Passphrase};
///
/// let lock = Lock::new(Passphrase::new(b"correct horse".to_vec())?);
/// assert_eq!(format!("{lock:?}"), "Lock { cipher: aes256-ctr, rounds: Rounds(24), .. }");
/// # Ok::<(), keygen_helper::KeyError>(())
/// ```
#[derive(Clone)]
pub struct Lock {
    passphrase: Passphrase,
    pub(crate) cipher: Cipher,
    pub(crate) rounds: Rounds,
}

impl Lock {
    /// With aes256-ctr and 24 rounds.
    pub fn new(passphrase: Passphrase) -> Lock {
        Lock { passphrase, cipher: Cipher::default(), rounds: Rounds::default() }
    }

    /// With another cipher.
    #[must_use]
    pub fn cipher(self, cipher: Cipher) -> Lock {
        Lock { cipher, ..self }
    }

    /// With more or fewer rounds.
    #[must_use]
    pub fn rounds(self, rounds: Rounds) -> Lock {
        Lock { rounds, ..self }
    }

    /// Encrypts in place; gives the tag of ciphers that have one.
    pub(crate) fn encrypt(&self, salt: &[u8], secret: &mut [u8]) -> Vec<u8> {
        let derived = derive(self.cipher, &self.passphrase, salt, self.rounds.get());
        let (key, iv) = derived.expect("passphrase, salt and rounds are not empty");
        let tag = self.cipher.0.encrypt(&key, &iv, secret);
        let tag = tag.expect("key, vector and padding are as the cipher wants them");
        tag.map(|tag| tag.to_vec()).unwrap_or_default()
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Lock");
        shown.field("cipher", &self.cipher).field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

/// Decrypts in place what OpenSSH locked. Asks for too many rounds, or for none, are refused
/// before the first.
pub(crate) fn decrypt(
    cipher: Cipher,
    passphrase: &Passphrase,
    salt: &[u8],
    rounds: u32,
    secret: &mut [u8],
    tag: &[u8],
) -> Result<(), KeyError> {
    if rounds > MAX_ROUNDS {
        let (asked, most) = (rounds.into(), MAX_ROUNDS.into());
        return Err(KeyError::TooManyRounds { kdf: "bcrypt", asked, most });
    }
    let derived = derive(cipher, passphrase, salt, rounds);
    let (key, iv) = derived.ok_or(KeyError::Damaged("it was locked without salt or rounds"))?;
    let tag = match tag {
        [] => None,
        tag => Some(tag.try_into().map_err(|_| KeyError::Damaged("its tag is not whole"))?),
    };
    match cipher.0.decrypt(&key, &iv, secret, tag) {
        Ok(()) => Ok(()),
        // Only a tag that does not fit gets here: lengths were checked against the cipher's.
        Err(_) => Err(KeyError::WrongPassphrase),
    }
}

type KeyAndVector = (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>);

/// bcrypt_pbkdf over as many bytes as key and vector have together (PROTOCOL.key).
fn derive(
    cipher: Cipher,
    passphrase: &Passphrase,
    salt: &[u8],
    rounds: u32,
) -> Option<KeyAndVector> {
    let (key_length, iv_length) = cipher.0.key_and_iv_size()?;
    // In packets this cipher takes a second key, for their lengths, and the number of the packet.
    // Of what is derived for a file, the second key is not used and the number is 0.
    let (unused, iv_derived) =
        if cipher.0 == Known::ChaCha20Poly1305 { (key_length, 0) } else { (0, iv_length) };
    let mut derived = Zeroizing::new(vec![0; key_length + unused + iv_derived]);
    bcrypt_pbkdf::bcrypt_pbkdf(passphrase.as_bytes(), salt, rounds, &mut derived).ok()?;
    let mut iv = Zeroizing::new(vec![0; iv_length]);
    iv[..iv_derived].copy_from_slice(&derived[key_length + unused..]);
    Some((Zeroizing::new(derived[..key_length].to_vec()), iv))
}

/// Decrypts in place what OpenSSL locked in its own old way, with a key that was derived already.
pub(crate) fn decrypt_with_key(
    cipher: Known,
    key: &[u8],
    iv: &[u8],
    secret: &mut [u8],
) -> Result<(), KeyError> {
    let damaged = |_| KeyError::Damaged("it is not a whole number of blocks");
    cipher.decrypt(key, iv, secret, None).map_err(damaged)
}
