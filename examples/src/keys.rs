//! What the commands of `keys` share: how they end, what they answer, and how they read keys.

pub mod audit;
pub mod authorize;
pub mod certify;
pub mod generate;
pub mod known_hosts;
pub mod let_in;
pub mod revoke;
pub mod secret;
pub mod sshfp;

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keygen_helper::fs::{Document, FileError};
use keygen_helper::{Bytes, Certificate, CertificateError, Conflict, Edits, KeyError, PublicKey};
use keygen_helper::{Strength, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::outcome::Outcome;

/// What a command has to say when it is done.
#[derive(Debug, Clone)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// For people, each with its line end.
    text: String,
    /// For machines.
    fields: Map<String, Value>,
}

impl Answer {
    /// Nothing yet, and all is well.
    pub fn done() -> Answer {
        Answer { outcome: Outcome::Done, text: String::new(), fields: Map::new() }
    }

    /// Ends in another way.
    pub fn ends(self, outcome: Outcome) -> Answer {
        Answer { outcome, ..self }
    }

    /// Says one thing more to people.
    pub fn line(mut self, line: impl fmt::Display) -> Answer {
        use fmt::Write;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
        self
    }

    /// Says one thing more to machines.
    pub fn field(mut self, name: &str, value: impl Serialize) -> Answer {
        // Everything that is told consists of text, numbers and lists.
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.fields.insert(name.to_owned(), value);
        self
    }

    /// What people are told.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The object that `--json` prints.
    pub fn json(&self, command: &str) -> Value {
        let mut object = Map::new();
        object.insert("format".into(), 1.into());
        object.insert("command".into(), command.into());
        let outcome = serde_json::to_value(self.outcome).unwrap_or(Value::Null);
        object.insert("outcome".into(), outcome);
        object.extend(self.fields.clone());
        Value::Object(object)
    }
}

/// What stopped a command, and how it ends by that.
#[derive(Debug)]
pub struct Failure {
    /// Failed or refused.
    pub outcome: Outcome,
    why: Box<dyn Error + Send + Sync>,
    /// Whether somebody else was at work, so that trying again may well succeed.
    transient: bool,
}

impl Failure {
    /// Something that cannot be done.
    pub fn failed(why: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { outcome: Outcome::Failed, why: why.into(), transient: false }
    }

    /// Something that must not be done.
    pub fn refused(why: impl Into<Box<dyn Error + Send + Sync>>) -> Failure {
        Failure { outcome: Outcome::Refused, why: why.into(), transient: false }
    }

    /// The same, of a file.
    pub fn of(path: &Path, why: impl fmt::Display) -> Failure {
        Failure::failed(format!("{}: {why}", bytes(path)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.why.fmt(f)
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Failure {
        let transient = error.is_transient();
        let refused = error.is_refusal();
        let failure = if refused { Failure::refused(error) } else { Failure::failed(error) };
        Failure { transient, ..failure }
    }
}

impl From<Conflict> for Failure {
    fn from(conflict: Conflict) -> Failure {
        Failure::refused(conflict)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Failure {
        Failure::failed(error)
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Failure {
        match error {
            CertificateError::Weak(_) => Failure::refused(error),
            _ => Failure::failed(error),
        }
    }
}

/// Longer than any public key with its comment, in bytes.
const MAX_PUBLIC_FILE: u64 = 256 << 10;

/// The key in a `.pub` file, and the comment behind it. Who names the file says which key is meant, so
/// it may be behind a link, or come through a pipe.
///
/// # Errors
/// When the file cannot be read or holds no key.
pub fn read_public(path: &Path) -> Result<(PublicKey, Vec<u8>), Failure> {
    let file = fs::File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::of(path, "there is no such file; give a .pub file"),
        _ => Failure::of(path, error),
    })?;
    let mut content = Vec::new();
    let read = file.take(MAX_PUBLIC_FILE + 1).read_to_end(&mut content);
    let read = read.map_err(|error| Failure::of(path, error))?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_PUBLIC_FILE) {
        let why = format!("no public key is longer than {MAX_PUBLIC_FILE} bytes; give a .pub file");
        return Err(Failure::of(path, why));
    }
    let parsed = PublicKey::parse_line(&content);
    let (key, comment) = parsed.map_err(|error| Failure::of(path, error))?;
    Ok((key, comment.to_vec()))
}

/// A note about keys that are no longer good, and a refusal of those that are bad.
///
/// # Errors
/// A refusal for weak keys.
pub fn check_strength(key: &PublicKey) -> Result<Option<String>, Failure> {
    match key.strength() {
        Strength::Weak(why) => Err(Failure::refused(format!(
            "the key {} is too weak to be let in: {why}; make a new one: keys generate FILE",
            key.fingerprint()
        ))),
        Strength::Ageing(why) => Ok(Some(format!("note: {why}"))),
        _ => Ok(None),
    }
}

/// Reads a file, decides on edits, and makes them. Where somebody else writes the file meanwhile,
/// their version is read and it is all decided anew.
///
/// # Errors
/// What `decide` refuses, and what keeps the file from being read or written.
pub fn edit<T>(
    path: &Path,
    plan: bool,
    mut decide: impl FnMut(&Document) -> Result<(Edits, T), Failure>,
) -> Result<(Edits, T), Failure> {
    patiently(|| {
        let document = Document::read(path)?;
        let (edits, more) = decide(&document)?;
        if !plan && !edits.is_empty() {
            let written = edits.apply(document.content()).map_err(Failure::failed)?;
            document.replace(&written)?;
        }
        Ok((edits, more))
    })
}

/// Tries again while somebody else is at work in the same folder.
///
/// # Errors
/// Those of `work`; the last one where patience runs out.
pub fn patiently<T>(mut work: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let mut patience = 100;
    loop {
        match work() {
            Err(failure) if failure.transient && patience > 0 => {
                patience -= 1;
                thread::sleep(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}

/// Tells of edits that were made, or would be.
pub fn tell_edits(answer: Answer, path: &Path, edits: &Edits, plan: bool) -> Answer {
    let answer = answer
        .field("path", bytes(path))
        .field("planned", plan)
        .field("changed", !plan && !edits.is_empty())
        .field("edits", edits.changes());
    match edits.is_empty() {
        true => answer.line(format_args!("{}: nothing to do", bytes(path))),
        false => answer.line(format_args!("{}:", bytes(path))).line(edits.to_string().trim_end()),
    }
}

/// A path as it is told: text, or bytes where it is none.
pub fn bytes(path: &Path) -> Bytes {
    path.as_os_str().as_bytes().into()
}

/// Now, for what has a time in it.
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "a program may look at the clock")]
    let now = SystemTime::now();
    Timestamp(now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// `FILE` with something after its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A certificate in a line.
pub fn described(certificate: &Certificate) -> String {
    let names: Vec<String> = certificate.principals.iter().map(ToString::to_string).collect();
    format!(
        "{} certificate {} for {} (serial {}, id {}), from {} until {}",
        match certificate.kind {
            keygen_helper::CertificateKind::User => "user",
            _ => "host",
        },
        certificate.subject.fingerprint(),
        names.join(", "),
        certificate.serial,
        certificate.key_id,
        certificate.validity.after,
        match certificate.validity.before {
            Timestamp(u64::MAX) => "for ever".to_owned(),
            before => before.to_string(),
        },
    )
}
