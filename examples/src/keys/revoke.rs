//! `keys revoke`: a key may no longer log in.

use std::path::PathBuf;

use clap::Args;
use keygen_helper::AuthorizedKeys;

use super::{Answer, Failure, edit, read_public, tell_edits};

/// Takes every line with a key out of an authorized_keys file, whatever its options.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The public key.
    #[arg(long, value_name = "FILE.pub")]
    key: PathBuf,
    /// The file.
    authorized_keys: PathBuf,
}

impl Revoke {
    /// Takes the key out, or says what would be changed.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        let (key, _) = read_public(&self.key)?;
        let fingerprint = key.plain().fingerprint();
        let (edits, (authorities, left)) = edit(&self.authorized_keys, plan, |document| {
            let file = AuthorizedKeys::parse(document.content().to_vec());
            let file = file.map_err(Failure::failed)?;
            let revocation = file.revoke(&fingerprint);
            let after = revocation.edits.apply(document.content()).map_err(Failure::failed)?;
            let left = AuthorizedKeys::parse(after).map_err(Failure::failed)?.usable();
            Ok((revocation.edits, (revocation.authorities, left)))
        })?;
        let mut notes = Vec::new();
        if left == 0 {
            notes.push("note: no key is left in this file with which anybody could log in".into());
        }
        if !authorities.is_empty() {
            let lines: Vec<String> = authorities.iter().map(ToString::to_string).collect();
            notes.push(format!(
                "note: the authorities on line {} stay; whoever has a certificate of theirs for the key still logs in",
                lines.join(", ")
            ));
        }
        let answer = Answer::done().field("fingerprint", fingerprint).field("notes", &notes);
        let answer = tell_edits(answer, &self.authorized_keys, &edits, plan);
        Ok(notes.into_iter().fold(answer, Answer::line))
    }
}
