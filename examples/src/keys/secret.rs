//! Passphrases: from a file, from standard input, or typed at a terminal; never from an argument.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use keygen_helper::fs::read_secret;
use keygen_helper::{KeyPair, MAX_KEY_FILE, Passphrase, PrivateKeyFile};

use super::{Failure, bytes};

/// Longer than any passphrase that somebody types or keeps.
const MAX_PASSPHRASE: usize = 4096;

/// Where a passphrase is.
#[derive(Debug, Clone, Args)]
pub struct PassphraseSource {
    /// Read the passphrase from the first line of a file; `-` is standard input.
    #[arg(long, value_name = "F")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseSource {
    /// The passphrase, if there is a file for it.
    ///
    /// # Errors
    /// When the file cannot be read, or its first line is empty.
    pub fn from_file(&self) -> Result<Option<Passphrase>, Failure> {
        let Some(path) = &self.passphrase_file else { return Ok(None) };
        if path == Path::new("-") {
            // One allocation, which is wiped with the passphrase.
            let mut content = Vec::with_capacity(MAX_PASSPHRASE + 1);
            let limit = u64::try_from(MAX_PASSPHRASE).unwrap_or(u64::MAX);
            io::stdin().lock().take(limit).read_to_end(&mut content).map_err(Failure::failed)?;
            return Ok(Some(first_line(content)?));
        }
        let content = read_secret(path, MAX_PASSPHRASE)?;
        let passphrase = Passphrase::from_file_content(&content);
        passphrase.map(Some).map_err(|error| Failure::of(path, error))
    }

    /// Reads a private key, and asks for its passphrase where it has one, nobody gave a file, and
    /// somebody sits at a terminal.
    ///
    /// # Errors
    /// When the key cannot be read, or its passphrase is missing or wrong.
    pub fn read_private(&self, path: &Path) -> Result<KeyPair, Failure> {
        let content = read_secret(path, MAX_KEY_FILE)?;
        let failed = |error| Failure::of(path, error);
        let file = PrivateKeyFile::parse(&content).map_err(failed)?;
        let passphrase = match self.from_file()? {
            None if file.is_locked() && io::stdin().is_terminal() => {
                Some(ask(&format!("Passphrase for {}: ", bytes(path)))?)
            }
            given => given,
        };
        file.unlock(passphrase.as_ref()).map_err(failed)
    }
}

fn first_line(mut content: Vec<u8>) -> Result<Passphrase, Failure> {
    let end = content.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    content.truncate(end.unwrap_or(content.len()));
    Passphrase::new(content).map_err(Failure::failed)
}

/// Asks at the terminal, which does not show what is typed.
///
/// # Errors
/// When there is no terminal, or nothing was typed.
pub fn ask(prompt: &str) -> Result<Passphrase, Failure> {
    let typed = rpassword::prompt_password(prompt).map_err(|error| {
        Failure::failed(format!("cannot ask for a passphrase: {error}; use --passphrase-file"))
    })?;
    Passphrase::new(typed.into_bytes()).map_err(Failure::failed)
}
