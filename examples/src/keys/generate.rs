//! `keys generate`: a key pair in two files.

use std::path::PathBuf;

use clap::Args;
use keygen_helper::fs::{Existing, KeyFiles};
use keygen_helper::{Cipher, KeyKind, KeyPair, Lock, Rounds, SystemRandomness};

use super::secret::{PassphraseSource, ask};
use super::{Answer, Failure, bytes, patiently, with_suffix};

/// Makes a key pair: the private key in FILE, the public one in FILE.pub.
///
/// Both are made with mode 0600, and a missing folder with 0700. Files that exist are left alone.
#[derive(Debug, Args)]
pub struct Generate {
    /// ed25519, rsa:3072, rsa:4096, ecdsa:256, ecdsa:384 or ecdsa:521.
    #[arg(long = "type", value_name = "TYPE", default_value = "ed25519")]
    kind: KeyKind,
    /// What tells this key from others, such as a name and a host.
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
    #[command(flatten)]
    passphrase: PassphraseSource,
    /// Ask for a passphrase at the terminal, twice.
    #[arg(long, conflicts_with = "passphrase_file")]
    ask_passphrase: bool,
    /// How much a guess of the passphrase costs, in rounds of bcrypt (1 to 1024).
    #[arg(long, value_name = "N", default_value_t = Rounds::default().get(), value_parser = clap::value_parser!(u32).range(1..=i64::from(keygen_helper::MAX_ROUNDS)))]
    rounds: u32,
    /// What a private key with a passphrase is encrypted with, as `ssh-keygen -Z` has it.
    #[arg(long, value_name = "CIPHER", default_value = "aes256-ctr")]
    cipher: Cipher,
    /// Replace files that exist.
    #[arg(long)]
    replace: bool,
    /// Where the private key goes.
    file: PathBuf,
}

impl Generate {
    /// Makes the pair, or says what would be made.
    ///
    /// # Errors
    /// A refusal where a file exists.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        let existing = if self.replace { Existing::Replace } else { Existing::Refuse };
        let files = KeyFiles::new(&self.file);
        let replaced = files.check(existing)?;
        let public = with_suffix(&self.file, ".pub");
        let mut answer = Answer::done()
            .field("planned", plan)
            .field("type", self.kind)
            .field("private", bytes(&self.file))
            .field("public", bytes(&public))
            .field("replaced", replaced.iter().map(|path| bytes(path)).collect::<Vec<_>>());
        if plan {
            for path in &replaced {
                answer = answer.line(format_args!("replace {}", bytes(path)));
            }
            let line = format!("write {} and {}", bytes(&self.file), bytes(&public));
            return Ok(answer.line(line));
        }
        let lock = self.lock()?;
        let mut randomness = SystemRandomness;
        let key = KeyPair::generate(self.kind, &self.comment, &mut randomness)?;
        let private = key.to_openssh(lock.as_ref(), &mut randomness)?;
        patiently(|| Ok(files.write(&private, &key.public_line(), existing)?))?;
        let fingerprint = key.public_key().fingerprint();
        Ok(answer
            .field("fingerprint", fingerprint)
            .field("encrypted", lock.is_some())
            .line(format_args!("{fingerprint} {} {}", self.kind, bytes(&self.file))))
    }

    fn lock(&self) -> Result<Option<Lock>, Failure> {
        let passphrase = match self.ask_passphrase {
            false => self.passphrase.from_file()?,
            true => {
                let first = ask("Passphrase: ")?;
                if first != ask("The same again: ")? {
                    return Err(Failure::failed("the two passphrases differ; nothing was written"));
                }
                Some(first)
            }
        };
        let rounds = Rounds::new(self.rounds).unwrap_or_default();
        Ok(passphrase.map(|passphrase| Lock::new(passphrase).cipher(self.cipher).rounds(rounds)))
    }
}
