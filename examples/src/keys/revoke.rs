//! `keys revoke`: a key may no longer log in.

use std::path::{Path, PathBuf};

use clap::Args;
use keygen_helper::fs::Document;
use keygen_helper::{AuthorizedKeys, Fingerprint};

use super::{Answer, Failure, bytes, edit, read_public, tell_edits};

/// Takes every line with a key out of an authorized_keys file, whatever its options.
///
/// The last key with which anybody could log in is refused (exit code 4) without --last.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The public key.
    #[arg(long, value_name = "FILE.pub")]
    key: PathBuf,
    /// Take the key out even where none is left then.
    #[arg(long)]
    last: bool,
    /// The file.
    authorized_keys: PathBuf,
}

impl Revoke {
    /// Takes the key out, or says what would be changed.
    ///
    /// # Errors
    /// When a file is missing, or cannot be read or written; a refusal for the last key.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        let (key, _) = read_public(&self.key)?;
        let fingerprint = key.plain().fingerprint();
        let (edits, (authorities, left)) = edit(&self.authorized_keys, plan, |document| {
            if !document.exists() {
                let why = "there is no such file, so nothing was revoked; look for the one that sshd reads";
                return Err(Failure::of(&self.authorized_keys, why));
            }
            let file = AuthorizedKeys::parse(document.content().to_vec());
            let file = file.map_err(Failure::failed)?;
            let revocation = file.revoke(&fingerprint);
            let after = revocation.edits.apply(document.content()).map_err(Failure::failed)?;
            let left = AuthorizedKeys::parse(after).map_err(Failure::failed)?.usable();
            if left == 0 && file.usable() > 0 && !self.last {
                return Err(Failure::refused(format!(
                    "{fingerprint} is the last key in {} with which anybody could log in; nothing was changed: authorize another one first, or give --last",
                    bytes(&self.authorized_keys)
                )));
            }
            Ok((revocation.edits, (revocation.authorities, left)))
        })?;
        let mut notes = Vec::new();
        let found = !edits.is_empty();
        if !found {
            notes.push(format!("note: the key {fingerprint} is not in this file"));
        }
        notes.extend(beside(&self.authorized_keys, &fingerprint));
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
        let answer = Answer::done()
            .field("fingerprint", fingerprint)
            .field("found", found)
            .field("notes", &notes);
        let answer = tell_edits(answer, &self.authorized_keys, &edits, plan);
        Ok(notes.into_iter().fold(answer, Answer::line))
    }
}

/// A word about the other file that sshd reads unless it is told otherwise (`AuthorizedKeysFile`).
fn beside(path: &Path, key: &Fingerprint) -> Option<String> {
    let other = match path.file_name()?.to_str()? {
        "authorized_keys" => "authorized_keys2",
        "authorized_keys2" => "authorized_keys",
        _ => return None,
    };
    let other = path.with_file_name(other);
    let shown = bytes(&other);
    let document = match Document::read(&other) {
        Ok(document) => document,
        Err(error) => {
            return Some(format!("note: whether {shown} has the key, too, is not known: {error}"));
        }
    };
    let file = AuthorizedKeys::parse(document.content().to_vec()).ok()?;
    let has = !file.revoke(key).edits.is_empty();
    has.then(|| {
        format!(
            "note: {shown} has the key, too, and sshd reads it by default; revoke it there as well"
        )
    })
}
