//! Changing authorized_keys: what has to be in it, what has to go. Only the lines concerned change.

use std::collections::BTreeMap;

use serde::Serialize;

use super::AuthorizedKeys;
use super::entry::{Content, Entry};
use super::options::Options;
use crate::bytes::Bytes;
use crate::edits::{Change, Edits};
use crate::public_key::{Fingerprint, PublicKey};

/// A line to have in authorized_keys: a key, what it may be used for, and a comment.
///
/// ```
/// use keygen_helper::{Grant, Options, PublicKey};
///
/// # let text = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
/// let key: PublicKey = text.parse()?;
/// let grant = Grant::new(key, Options::restricted(), b"uk mirror")?;
/// assert_eq!(grant.to_line(), format!("restrict {text} uk mirror").into_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    key: PublicKey,
    options: Options,
    comment: Bytes,
}

/// Why a grant cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// A line end or NUL in the comment, which would make another line of the rest of it.
    #[error("a comment is on one line and holds no NUL")]
    Comment,
    /// sshd finds no key behind a certificate.
    #[error(
        "this is a certificate, and authorized_keys holds keys; give the .pub file that has no \"-cert\" in its name"
    )]
    Certificate,
    /// The options are for a certificate authority, and the key is none.
    #[error("principals= is only for keys with cert-authority; sshd would let nobody in")]
    Principals,
}

impl Grant {
    /// A line for `key`. White space around the comment is dropped.
    ///
    /// # Errors
    /// [`GrantError`] says why sshd could not read the line or would let nobody in by it.
    pub fn new(key: PublicKey, options: Options, comment: &[u8]) -> Result<Grant, GrantError> {
        let comment = comment.trim_ascii();
        if comment.iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0)) {
            return Err(GrantError::Comment);
        }
        if key.is_certificate() {
            return Err(GrantError::Certificate);
        }
        if options.principals().is_some() && !options.is_cert_authority() {
            return Err(GrantError::Principals);
        }
        Ok(Grant { key, options, comment: comment.into() })
    }

    /// The line, without its end.
    pub fn to_line(&self) -> Vec<u8> {
        self.line_with(self.comment.as_bytes())
    }

    fn line_with(&self, comment: &[u8]) -> Vec<u8> {
        let mut line = self.options.to_bytes();
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(self.key.to_string().as_bytes());
        if !comment.is_empty() {
            line.push(b' ');
            line.extend_from_slice(comment);
        }
        line
    }

    /// Whether a line is about the same thing: the same key, to log in with or to sign with.
    /// Where the line's options are bad, nobody can tell which, and it counts.
    fn is_about(&self, entry: &Entry<'_>) -> bool {
        entry.key.same_key(&self.key)
            && match &entry.options {
                Ok(options) => options.is_cert_authority() == self.options.is_cert_authority(),
                Err(_) => true,
            }
    }

    fn is_met_by(&self, entry: &Entry<'_>) -> bool {
        entry.options.as_ref() == Ok(&self.options)
    }
}

/// What to do about a key that is there already, with other options.
///
/// Appending a second line is not among the answers: sshd lets a key in by any of its lines, so
/// the weaker of two would undo the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Change nothing and report it.
    #[default]
    Refuse,
    /// The first of its lines gets the new options, and keeps its comment unless there is a new
    /// one. Its other lines go.
    Replace,
}

/// A key is in the file already, with other options than those asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error(
    "{} has the key {fingerprint} already, {}; sshd lets a key in by any of its lines, so a second one would undo the stricter: nothing was changed, replace that line or revoke the key first", 
    place(*.line), with_options(.existing)
)]
pub struct Conflict {
    /// The line, counted from 1. None when it is another of the lines asked for that is at odds.
    pub line: Option<usize>,
    /// The key.
    pub fingerprint: Fingerprint,
    /// The options of that line as they are written; empty when there are none.
    pub existing: Bytes,
}

fn place(line: Option<usize>) -> String {
    line.map_or("another of the new lines".into(), |line| format!("line {line}"))
}

fn with_options(options: &Bytes) -> String {
    match options.as_bytes() {
        [] => "without options".into(),
        _ => format!("with other options ({options})"),
    }
}

/// What taking a key out comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// The lines that go.
    pub edits: Edits,
    /// Lines of certificate authorities that stay, by their numbers before the change: whoever
    /// has a certificate of theirs for the key still gets in with it.
    pub authorities: Vec<usize>,
}

impl AuthorizedKeys {
    /// What has to change so that every one of `grants` is in the file, and all else as it was. A
    /// key that is there with the same options is left alone, whatever its comment; so a second
    /// time there is nothing to do.
    ///
    /// # Errors
    /// [`Conflict`] when a key is there with other options and `on_conflict` is to refuse.
    ///
    /// ```
    /// use keygen_helper::{AuthorizedKeys, Grant, OnConflict, Options};
    ///
    /// # let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";
    /// let file = AuthorizedKeys::parse("# no final newline".into())?;
    /// let grant = Grant::new(key.parse()?, Options::none(), b"anna")?;
    /// let edits = file.install(&[grant], OnConflict::Refuse)?;
    /// println!("{edits}");
    /// let written = edits.apply(file.as_bytes())?;
    /// assert_eq!(written, format!("# no final newline\n{key} anna\n").into_bytes());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn install(&self, grants: &[Grant], on_conflict: OnConflict) -> Result<Edits, Conflict> {
        let entries = self.entries();
        let entries = marked(&entries);
        let mut plan = Plan::default();
        for grant in distinct(grants, on_conflict)? {
            plan.install(grant, &entries, on_conflict)?;
        }
        Ok(plan.into_edits(self))
    }

    /// What has to change so that `grants` are all that the file lets in: as
    /// [`install`](AuthorizedKeys::install) with [`OnConflict::Replace`], and every other line
    /// with a key goes. Comments, blank lines and lines without a key stay.
    pub fn replace_all(&self, grants: &[Grant]) -> Edits {
        const NO_CONFLICT: &str = "replacing meets no conflict";
        let entries = self.entries();
        let mut plan = Plan::default();
        let grants = distinct(grants, OnConflict::Replace).expect(NO_CONFLICT);
        let by_mark = marked(&entries);
        for grant in &grants {
            plan.install(grant, &by_mark, OnConflict::Replace).expect(NO_CONFLICT);
        }
        let mut met = vec![false; grants.len()];
        for (index, entry) in &entries {
            if plan.lines.contains_key(index) {
                continue;
            }
            let wanted = |grant: &&Grant| grant.is_about(entry) && grant.is_met_by(entry);
            match grants.iter().position(wanted) {
                Some(grant) if !met[grant] => met[grant] = true,
                _ => drop(plan.lines.insert(*index, None)),
            }
        }
        plan.into_edits(self)
    }

    /// What has to change so that nobody gets in with this key: every line that holds it goes,
    /// whatever its options, and whether or not sshd understands them.
    pub fn revoke(&self, key: &Fingerprint) -> Revocation {
        let mut plan = Plan::default();
        let mut authorities = Vec::new();
        for (index, entry) in self.entries() {
            if entry.key.fingerprint() == *key {
                plan.lines.insert(index, None);
            } else if entry.options.is_ok_and(|options| options.is_cert_authority()) {
                authorities.push(index + 1);
            }
        }
        Revocation { edits: plan.into_edits(self), authorities }
    }

    fn entries(&self) -> Vec<(usize, Entry<'_>)> {
        let entries = self.contents().enumerate().filter_map(|(index, content)| match content {
            Content::Entry(entry) => Some((index, entry)),
            _ => None,
        });
        entries.collect()
    }
}

/// Lines by what the same keys have in common, so that each grant is held against a few of them.
type Marked<'a> = BTreeMap<Option<u8>, Vec<&'a (usize, Entry<'a>)>>;

fn marked<'a>(entries: &'a [(usize, Entry<'a>)]) -> Marked<'a> {
    let mut marked = Marked::new();
    for entry in entries {
        marked.entry(entry.1.key.mark()).or_default().push(entry);
    }
    marked
}

/// The grants without those that another one makes superfluous. Two of a call can be at odds as
/// well as a grant and a line; where they may replace one another the last one counts.
fn distinct(grants: &[Grant], on_conflict: OnConflict) -> Result<Vec<&Grant>, Conflict> {
    let mut distinct: Vec<&Grant> = Vec::new();
    for grant in grants {
        let same = |other: &&mut &Grant| {
            other.key.same_key(&grant.key)
                && other.options.is_cert_authority() == grant.options.is_cert_authority()
        };
        match distinct.iter_mut().find(same) {
            None => distinct.push(grant),
            Some(other) if other.options == grant.options => {}
            Some(other) if on_conflict == OnConflict::Replace => *other = grant,
            Some(other) => return Err(conflict(None, &other.key, &other.options.to_bytes())),
        }
    }
    Ok(distinct)
}

/// What becomes of single lines, by their index.
#[derive(Default)]
struct Plan {
    /// The new text of a line, or none when it goes.
    lines: BTreeMap<usize, Option<Vec<u8>>>,
    appended: Vec<Vec<u8>>,
}

impl Plan {
    fn install(
        &mut self,
        grant: &Grant,
        entries: &Marked<'_>,
        on_conflict: OnConflict,
    ) -> Result<(), Conflict> {
        let entries = entries.get(&grant.key.mark()).into_iter().flatten();
        // A line that another grant has taken is that one's.
        let free = |index| !self.lines.contains_key(index);
        let present: Vec<_> =
            entries.filter(|(index, entry)| grant.is_about(entry) && free(index)).collect();
        let Some((kept, first)) = present.first() else {
            self.appended.push(grant.to_line());
            return Ok(());
        };
        let Some((line, other)) = present.iter().find(|(_, entry)| !grant.is_met_by(entry)) else {
            return Ok(());
        };
        if on_conflict == OnConflict::Refuse {
            return Err(conflict(Some(*line + 1), &other.key, other.written));
        }
        for (index, _) in &present[1..] {
            self.lines.insert(*index, None);
        }
        if !grant.is_met_by(first) {
            let new = grant.comment.as_bytes();
            let comment = if new.is_empty() { first.comment } else { new };
            self.lines.insert(*kept, Some(grant.line_with(comment)));
        }
        Ok(())
    }

    fn into_edits(self, file: &AuthorizedKeys) -> Edits {
        let text = |index: usize| Bytes::from(file.lines.body(index));
        let changed = self.lines.into_iter().map(|(index, after)| match after {
            None => Change::Remove { line: index + 1, text: text(index) },
            Some(after) => {
                Change::Replace { line: index + 1, before: text(index), after: vec![after.into()] }
            }
        });
        let appended = self.appended.into_iter().map(|line| Change::Append { text: line.into() });
        Edits::new(&file.lines, changed.chain(appended).collect())
    }
}

fn conflict(line: Option<usize>, key: &PublicKey, options: &[u8]) -> Conflict {
    Conflict { line, fingerprint: key.fingerprint(), existing: options.into() }
}
