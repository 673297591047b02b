//! Key pairs: made, read from every container that OpenSSH reads, locked with a passphrase.
//!
//! Secrets live in buffers that are wiped when they are dropped, and no `Debug` shows them.

mod armour;
mod error;
mod kind;
mod legacy;
mod lock;
mod material;
mod numbers;
mod openssh;
mod passphrase;
mod private_file;
#[cfg(feature = "openssl")]
mod rsa;
mod sign;
mod strength;

use std::fmt;

use zeroize::Zeroizing;

use crate::public_key::PublicKey;
use crate::randomness::Randomness;

pub use error::KeyError;
pub use kind::{BadKind, Curve, KeyKind, RsaBits};
pub use lock::{Cipher, Lock, MAX_ROUNDS, Rounds};
pub(crate) use numbers::bit_length;
pub use passphrase::Passphrase;
pub use private_file::{Container, MAX_KEY_FILE, PrivateKeyFile};
pub use strength::Strength;

use material::Material;
pub(crate) use sign::verify;

/// A private key, the public one that belongs to it, and a comment.
///
/// ```
/// use keygen_helper::{KeyKind, KeyPair, PrivateKeyFile, SystemRandomness};
///
/// let mut randomness = SystemRandomness;
/// let key = KeyPair::generate(KeyKind::Ed25519, "backup@uk", &mut randomness)?;
/// assert_eq!(key.public_key().algorithm(), "ssh-ed25519");
///
/// let text = key.to_openssh(None, &mut randomness)?;
/// let again = PrivateKeyFile::parse(&text)?.unlock(None)?;
/// assert_eq!(again.public_key(), key.public_key());
/// # Ok::<(), keygen_helper::KeyError>(())
/// ```
#[derive(Clone)]
pub struct KeyPair {
    material: Material,
    comment: Vec<u8>,
}

impl KeyPair {
    /// Makes a new key. RSA keys come from OpenSSL's own generator, which is seeded by the kernel
    /// (feature `openssl`); everything else from `randomness`.
    ///
    /// # Errors
    /// [`KeyError::Comment`] for a comment of more than one line; [`KeyError::Randomness`];
    /// [`KeyError::NoRsa`] where this crate was built without OpenSSL.
    pub fn generate(
        kind: KeyKind,
        comment: &str,
        randomness: &mut dyn Randomness,
    ) -> Result<KeyPair, KeyError> {
        check_comment(comment.as_bytes())?;
        let material = match kind {
            KeyKind::Ed25519 => Material::new_ed25519(randomness)?,
            KeyKind::Ecdsa(curve) => Material::new_ecdsa(curve, randomness)?,
            #[cfg(feature = "openssl")]
            KeyKind::Rsa(bits) => rsa::generate(bits)?,
            #[cfg(not(feature = "openssl"))]
            KeyKind::Rsa(_) => return Err(KeyError::NoRsa),
        };
        Ok(KeyPair { material, comment: comment.into() })
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        self.material.public_key()
    }

    /// The comment, in no particular encoding.
    pub fn comment(&self) -> &[u8] {
        &self.comment
    }

    /// What kind of key this is; none for an RSA key of a size that is not made here.
    pub fn kind(&self) -> Option<KeyKind> {
        self.material.kind()
    }

    /// The same key with another comment.
    ///
    /// # Errors
    /// [`KeyError::Comment`] for one of more than one line.
    pub fn with_comment(self, comment: &str) -> Result<KeyPair, KeyError> {
        check_comment(comment.as_bytes())?;
        Ok(KeyPair { comment: comment.into(), ..self })
    }

    /// What goes into the private file: OpenSSH's own container (PROTOCOL.key), locked when there
    /// is a `lock`. Takes as long as the lock's rounds ask for, 0.3 s with the default of 24.
    ///
    /// # Errors
    /// [`KeyError::Randomness`].
    pub fn to_openssh(
        &self,
        lock: Option<&Lock>,
        randomness: &mut dyn Randomness,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        openssh::write(&self.material, &self.comment, lock, randomness)
    }

    /// What goes into the `.pub` file: one line, with its end.
    pub fn public_line(&self) -> Vec<u8> {
        let mut line = self.public_key().to_string().into_bytes();
        if !self.comment.is_empty() {
            line.push(b' ');
            line.extend_from_slice(&self.comment);
        }
        line.push(b'\n');
        line
    }

    /// Signs as SSH does (RFC 8332, RFC 5656, RFC 8709), RSA with SHA-512; the result names its
    /// algorithm.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        sign::sign(&self.material, message)
    }
}

/// A comment goes into files that are read line by line.
fn check_comment(comment: &[u8]) -> Result<(), KeyError> {
    match comment.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
        true => Err(KeyError::Comment),
        false => Ok(()),
    }
}

/// Shows the public part only.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public_key", &self.public_key()).finish_non_exhaustive()
    }
}
