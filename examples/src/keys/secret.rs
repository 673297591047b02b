//! Passphrases: from a file, from standard input, or typed at a terminal; never from an argument.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use keygen_helper::fs::{read_secret, read_secret_stream};
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
        let content = match path == Path::new("-") {
            true => read_secret_stream(io::stdin().as_fd(), path, MAX_PASSPHRASE)?,
            false => {
                read_secret(path, MAX_PASSPHRASE).map_err(|error| match error.is_refusal() {
                    true => Failure::refused(format!(
                        "{error}; or hand it over by standard input: --passphrase-file -"
                    )),
                    false => Failure::from(error),
                })?
            }
        };
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
