//! A private key as it stands in a file, maybe locked.

use std::fmt;

use zeroize::Zeroizing;

use super::error::KeyError;
use super::material::Material;
use super::passphrase::Passphrase;
use super::{KeyPair, armour, legacy, openssh};
use crate::public_key::PublicKey;

/// The largest private key file that is taken, in bytes. An RSA key of 16384 bits has 13 KB.
pub const MAX_KEY_FILE: usize = 64 * 1024;

/// What a private key was wrapped in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Container {
    /// OpenSSH's own.
    OpenSsh,
    /// An RSA key as OpenSSL writes it (`BEGIN RSA PRIVATE KEY`).
    Pkcs1,
    /// A key on a curve as OpenSSL writes it (`BEGIN EC PRIVATE KEY`).
    Sec1,
    /// Any key as OpenSSL writes it (`BEGIN PRIVATE KEY`).
    Pkcs8,
}

/// A private key as it stands in a file: read from the outside, and not yet unlocked.
///
/// ```
/// use keygen_helper::{KeyError, KeyKind, KeyPair, Lock, Passphrase, PrivateKeyFile, Rounds};
/// use keygen_helper::SystemRandomness;
///
/// let passphrase = Passphrase::new(b"correct horse".to_vec())?;
/// let lock = Lock::new(passphrase.clone()).rounds(Rounds::new(1).expect("1 is enough here"));
/// let key = KeyPair::generate(KeyKind::Ed25519, "anna", &mut SystemRandomness)?;
/// let text = key.to_openssh(Some(&lock), &mut SystemRandomness)?;
///
/// let file = PrivateKeyFile::parse(&text)?;
/// assert!(matches!(file.unlock(None), Err(KeyError::PassphraseRequired)));
/// assert_eq!(file.public_key(), Some(&key.public_key()));
/// assert_eq!(file.unlock(Some(&passphrase))?.comment(), b"anna");
/// # Ok::<(), KeyError>(())
/// ```
#[derive(Clone)]
pub struct PrivateKeyFile {
    sealed: Sealed,
    container: Container,
}

#[derive(Clone)]
enum Sealed {
    OpenSsh(openssh::Sealed),
    Plain(Material),
    Pkcs8(Zeroizing<Vec<u8>>),
    Traditional { headers: Vec<(String, String)>, content: Zeroizing<Vec<u8>> },
}

impl PrivateKeyFile {
    /// Reads a file's content. Takes no time to speak of, whatever is in it.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong, or how to convert what is not read here.
    pub fn parse(bytes: &[u8]) -> Result<PrivateKeyFile, KeyError> {
        if bytes.len() > MAX_KEY_FILE {
            return Err(KeyError::TooLarge);
        }
        refuse_others(bytes)?;
        let armoured = armour::read(bytes)?;
        let locked = armoured.headers.iter().any(|(name, value)| {
            *name == "Proc-Type" && value.split(',').nth(1).map(str::trim) == Some("ENCRYPTED")
        });
        let content = &armoured.content;
        let container = match armoured.label {
            openssh::LABEL => Container::OpenSsh,
            "RSA PRIVATE KEY" => Container::Pkcs1,
            "EC PRIVATE KEY" => Container::Sec1,
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" => Container::Pkcs8,
            label => return Err(other_label(label)),
        };
        let sealed = match container {
            Container::OpenSsh => Sealed::OpenSsh(openssh::read(content)?),
            Container::Pkcs8 if armoured.label == "ENCRYPTED PRIVATE KEY" => {
                Sealed::Pkcs8(armoured.content)
            }
            _ if locked => {
                let own = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
                let headers = armoured.headers.iter().map(own).collect();
                Sealed::Traditional { headers, content: armoured.content }
            }
            _ => Sealed::Plain(plain(container, content)?),
        };
        Ok(PrivateKeyFile { sealed, container })
    }

    /// What it is wrapped in.
    pub fn container(&self) -> Container {
        self.container
    }

    /// Whether a passphrase is needed.
    pub fn is_locked(&self) -> bool {
        match &self.sealed {
            Sealed::OpenSsh(sealed) => sealed.is_locked(),
            Sealed::Plain(_) => false,
            Sealed::Pkcs8(_) | Sealed::Traditional { .. } => true,
        }
    }

    /// The public key, which OpenSSH's container tells without a passphrase. It is believed only
    /// when the key has been unlocked.
    pub fn public_key(&self) -> Option<&PublicKey> {
        match &self.sealed {
            Sealed::OpenSsh(sealed) => Some(&sealed.public),
            _ => None,
        }
    }

    /// Unlocks the key. A passphrase for one that is not locked is not looked at.
    ///
    /// # Errors
    /// [`KeyError::PassphraseRequired`] and [`KeyError::WrongPassphrase`];
    /// [`KeyError::TooManyRounds`] before any work is done; [`KeyError::Damaged`].
    pub fn unlock(&self, passphrase: Option<&Passphrase>) -> Result<KeyPair, KeyError> {
        let required = || passphrase.ok_or(KeyError::PassphraseRequired);
        let (material, comment) = match &self.sealed {
            Sealed::OpenSsh(sealed) => sealed.unlock(passphrase)?,
            Sealed::Plain(material) => (material.clone(), Vec::new()),
            Sealed::Pkcs8(der) => (legacy::locked_pkcs8(der, required()?)?, Vec::new()),
            Sealed::Traditional { headers, content } => {
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (&**name, &**value)).collect();
                let opened = legacy::unlock_traditional(&headers, content, required()?)?;
                // A wrong passphrase may leave padding that looks right, but no key.
                let material = match plain(self.container, &opened) {
                    Err(KeyError::Damaged(_)) => return Err(KeyError::WrongPassphrase),
                    read => read?,
                };
                (material, Vec::new())
            }
        };
        Ok(KeyPair { material, comment })
    }
}

fn plain(container: Container, der: &[u8]) -> Result<Material, KeyError> {
    match container {
        Container::Pkcs1 => legacy::pkcs1(der),
        Container::Sec1 => legacy::sec1(der, None),
        Container::Pkcs8 | Container::OpenSsh => legacy::pkcs8(der),
    }
}

/// Knows what people take for a private key, and says what it is.
fn refuse_others(bytes: &[u8]) -> Result<(), KeyError> {
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"PuTTY-User-Key-File-") {
        return Err(KeyError::Unsupported {
            what: "PuTTY's format".to_owned(),
            remedy: "convert it: puttygen FILE -O private-openssh-new -o NEW",
        });
    }
    if start.starts_with(b"---- BEGIN SSH2 ") {
        return Err(KeyError::Unsupported {
            what: "the format of SSH Communications Security".to_owned(),
            remedy: "convert it: ssh-keygen -i -f FILE > NEW",
        });
    }
    match str::from_utf8(start).is_ok_and(|text| text.parse::<PublicKey>().is_ok()) {
        true => Err(KeyError::PublicGiven),
        false => Ok(()),
    }
}

fn other_label(label: &str) -> KeyError {
    match label {
        "DSA PRIVATE KEY" => KeyError::Unsupported {
            what: "a DSA key".to_owned(),
            remedy: "OpenSSH takes none any more; make a new one: keys generate --type ed25519 FILE",
        },
        "PUBLIC KEY" | "RSA PUBLIC KEY" => KeyError::PublicGiven,
        _ => KeyError::NotAKey,
    }
}

/// Shows the public part only.
impl fmt::Debug for PrivateKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKeyFile")
            .field("container", &self.container)
            .field("locked", &self.is_locked())
            .field("public_key", &self.public_key())
            .finish_non_exhaustive()
    }
}
