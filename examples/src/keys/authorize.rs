//! `keys authorize`: a key may log in.

use std::path::PathBuf;

use clap::Args;
use keygen_helper::{AuthorizedKeys, Grant, OnConflict, Options};

use super::{Answer, Failure, check_strength, edit, read_public, tell_edits};
use crate::dates::Date;
use crate::network::LoginKey;

/// Adds a key to an authorized_keys file. All other lines stay as they are, to the byte.
///
/// A key that is there with other options is refused: sshd lets a key in by any of its lines, so a
/// second line would undo the stricter one.
#[derive(Debug, Args)]
pub struct Authorize {
    /// The public key.
    #[arg(long, value_name = "FILE.pub")]
    key: PathBuf,
    /// Allow no terminal, no forwarding, no ~/.ssh/rc.
    #[arg(long)]
    restrict: bool,
    /// Let the key in only from these addresses and names, as sshd has it: 192.0.2.0/24,!192.0.2.7.
    #[arg(long, value_name = "LIST")]
    from: Option<String>,
    /// Run this command whatever is asked for.
    #[arg(long, value_name = "TEXT")]
    command: Option<String>,
    /// Let the key in no more from then on: YYYYMMDD[HHMM[SS]] or YYYY-MM-DD, in UTC. It is written
    /// with a Z, which sshd reads since OpenSSH 9.1; older ones let the key in at no time.
    #[arg(long, value_name = "DATE")]
    expiry: Option<Date>,
    /// Give a key that is there the new options.
    #[arg(long)]
    replace: bool,
    /// The file; it is made if it does not exist.
    authorized_keys: PathBuf,
}

impl Authorize {
    /// What a `network.toml` says about a key.
    pub(super) fn of(key: &LoginKey, replace: bool) -> Authorize {
        Authorize {
            key: key.public.clone(),
            restrict: key.restrict,
            from: (!key.from.is_empty()).then(|| key.from.join(",")),
            command: key.command.clone(),
            expiry: None,
            replace,
            authorized_keys: key.authorized_keys.clone(),
        }
    }

    /// Adds the key, or says what would be changed.
    ///
    /// # Errors
    /// A refusal for weak keys and for keys that are there with other options.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        let (key, comment) = read_public(&self.key)?;
        let note = check_strength(&key)?;
        let fingerprint = key.fingerprint();
        let grant = Grant::new(key, self.options()?, &comment).map_err(Failure::failed)?;
        let grants = [grant];
        let on_conflict = if self.replace { OnConflict::Replace } else { OnConflict::Refuse };
        let (edits, ()) = edit(&self.authorized_keys, plan, |document| {
            let file = AuthorizedKeys::parse(document.content().to_vec());
            Ok((file.map_err(Failure::failed)?.install(&grants, on_conflict)?, ()))
        })?;
        let answer = Answer::done().field("fingerprint", fingerprint);
        let answer = tell_edits(answer, &self.authorized_keys, &edits, plan);
        Ok(match note {
            Some(note) => answer.field("notes", [&note]).line(note),
            None => answer,
        })
    }

    fn options(&self) -> Result<Options, Failure> {
        let mut options = if self.restrict { Options::restricted() } else { Options::none() };
        if let Some(list) = &self.from {
            options = options.with_from(list.as_bytes()).map_err(Failure::failed)?;
        }
        if let Some(command) = &self.command {
            options = options.with_command(command.as_bytes()).map_err(Failure::failed)?;
        }
        if let Some(Date(time)) = self.expiry {
            options = options.with_expiry(time);
        }
        Ok(options)
    }
}
