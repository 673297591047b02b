//! `keys known-hosts`: which hosts are the ones they should be.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keygen_helper::{
    Host, HostCheck, KnownHosts as File, PublicKey, Randomness, RandomnessError, SystemRandomness,
};

use super::{Answer, Failure, edit, now, read_public, tell_edits};
use crate::outcome::Outcome;

/// Checks and edits a known_hosts file.
#[derive(Debug, Args)]
pub struct KnownHosts {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether a host's key is the one it should have; exit code 3 when it is not.
    Check {
        /// The key that the host has shown.
        #[arg(long, value_name = "FILE.pub")]
        key: PathBuf,
        #[command(flatten)]
        at: At,
        /// HOST, HOST:PORT or [HOST]:PORT.
        host: Host,
    },
    /// Add a host with its key; a host that is known with another key is refused.
    Add {
        /// The host's key.
        #[arg(long, value_name = "FILE.pub")]
        key: PathBuf,
        /// Write the host's name as a hash.
        #[arg(long)]
        hash: bool,
        #[command(flatten)]
        at: At,
        /// HOST, HOST:PORT or [HOST]:PORT.
        host: Host,
    },
    /// Remove every line for a host but those with a marker, as ssh-keygen -R does.
    Remove {
        #[command(flatten)]
        at: At,
        /// HOST, HOST:PORT or [HOST]:PORT.
        host: Host,
    },
    /// Turn all names into hashes, as ssh-keygen -H does.
    Hash {
        #[command(flatten)]
        at: At,
    },
}

/// Which file.
#[derive(Debug, Args)]
struct At {
    /// The file [default: ~/.ssh/known_hosts].
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
}

impl At {
    fn path(&self) -> Result<PathBuf, Failure> {
        let of_user = || {
            let home = std::env::var_os("HOME").map(PathBuf::from);
            home.filter(|home| home.is_absolute()).map(|home| home.join(".ssh/known_hosts"))
        };
        let none = || Failure::failed("HOME is not set; give --known-hosts FILE");
        self.known_hosts.clone().or_else(of_user).ok_or_else(none)
    }
}

impl KnownHosts {
    /// Does what was asked for.
    ///
    /// # Errors
    /// A refusal for a host that is known with another key.
    pub fn run(&self, plan: bool) -> Result<Answer, Failure> {
        match &self.action {
            Action::Check { key, at, host } => check(&at.path()?, host, &read_public(key)?.0),
            Action::Add { key, hash, at, host } => {
                let (key, _) = read_public(key)?;
                edit_hosts(&at.path()?, plan, |file| {
                    let salt = if *hash { Some(salt()?) } else { None };
                    file.add(host, &key, salt).map_err(Failure::refused)
                })
            }
            Action::Remove { at, host } => {
                edit_hosts(&at.path()?, plan, |file| Ok(file.remove(host)))
            }
            Action::Hash { at } => edit_hosts(&at.path()?, plan, |file| {
                let mut failed = None;
                let edits = file.hash(&mut || {
                    salt().unwrap_or_else(|error| {
                        failed = Some(error);
                        [0; 20]
                    })
                });
                failed.map_or(Ok(edits), |error| Err(error.into()))
            }),
        }
    }
}

fn salt() -> Result<[u8; 20], RandomnessError> {
    let mut salt = [0; 20];
    SystemRandomness.fill(&mut salt)?;
    Ok(salt)
}

impl From<RandomnessError> for Failure {
    fn from(error: RandomnessError) -> Failure {
        Failure::failed(error)
    }
}

fn edit_hosts(
    path: &std::path::Path,
    plan: bool,
    mut decide: impl FnMut(&File) -> Result<keygen_helper::Edits, Failure>,
) -> Result<Answer, Failure> {
    let (edits, ()) = edit(path, plan, |document| {
        let file = File::parse(document.content().to_vec()).map_err(Failure::failed)?;
        Ok((decide(&file)?, ()))
    })?;
    Ok(tell_edits(Answer::done(), path, &edits, plan))
}

fn check(path: &std::path::Path, host: &Host, key: &PublicKey) -> Result<Answer, Failure> {
    let document = keygen_helper::fs::Document::read(path)?;
    let file = File::parse(document.content().to_vec()).map_err(Failure::failed)?;
    let verdict = match keygen_helper::Certificate::read(key) {
        Err(_) => file.check(host, key),
        Ok(certificate) => file.check_certificate(host, &certificate, now()),
    };
    let fingerprint = key.fingerprint();
    let sentence = match &verdict {
        HostCheck::Known { line } => format!("{host} is known with {fingerprint} (line {line})"),
        HostCheck::Certified { line } => {
            format!("{host} is certified by the authority on line {line}")
        }
        HostCheck::Objected { line, objection } => format!(
            "{host} shows a certificate by the authority on line {line} that does not hold: {objection}; ask its owner for a new one"
        ),
        HostCheck::Unknown => {
            format!(
                "{host} is not known; compare {fingerprint} with what its owner says, and then: keys known-hosts add"
            )
        }
        HostCheck::Revoked { line } => {
            format!("the key {fingerprint} is revoked for {host} (line {line}); do not log in")
        }
        HostCheck::Changed { expected } => {
            let expected: Vec<String> = expected
                .iter()
                .map(|other| format!("{} (line {})", other.key.fingerprint(), other.line))
                .collect();
            format!(
                "{host} shows {fingerprint} instead of {}; somebody may be in between: ask its owner before anything else",
                expected.join(", ")
            )
        }
        _ => format!("{host}: nothing is known about {fingerprint}"),
    };
    let outcome = if verdict.is_trusted() { Outcome::Done } else { Outcome::DoneWithProblems };
    Ok(Answer::done()
        .ends(outcome)
        .field("host", host)
        .field("fingerprint", fingerprint)
        .field("trusted", verdict.is_trusted())
        .field("verdict", &verdict)
        .line(sentence))
}
