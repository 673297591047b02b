//! A passphrase, wiped when it is dropped.

use std::fmt;

use zeroize::Zeroizing;

use super::error::KeyError;

/// What a private key is locked with. It is never shown and never serialised.
///
/// ```
/// use keygen_helper::Passphrase;
///
/// let passphrase = Passphrase::new(b"correct horse".to_vec())?;
/// assert_eq!(format!("{passphrase:?}"), "Passphrase(…)");
/// # Ok::<(), keygen_helper::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes the bytes as they are. Whoever made the vector in other ways than by one allocation
    /// has left copies behind that nobody wipes.
    ///
    /// # Errors
    /// [`KeyError::EmptyPassphrase`].
    pub fn new(bytes: Vec<u8>) -> Result<Passphrase, KeyError> {
        let bytes = Zeroizing::new(bytes);
        if bytes.is_empty() { Err(KeyError::EmptyPassphrase) } else { Ok(Passphrase(bytes)) }
    }

    /// Takes the content of a passphrase file: its first line, without the line's end.
    ///
    /// # Errors
    /// [`KeyError::EmptyPassphrase`].
    pub fn from_file_content(content: &[u8]) -> Result<Passphrase, KeyError> {
        let line = content.split(|&byte| byte == b'\n').next().unwrap_or_default();
        Passphrase::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}
