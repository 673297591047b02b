//! Changes to a file of lines as data: to be printed, stored or refused before they are made.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::lines::{Lines, split_end};

/// Changes to one file. They hold for the very bytes they were made for and no others; every line
/// that they do not name stays as it is, to the byte.
///
/// Printed, they are the lines that go and come, with `-` and `+` in front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[must_use = "edits change nothing until they are applied"]
pub struct Edits {
    format: Format,
    /// SHA-256 of the bytes they were made for, in hexadecimal.
    of: String,
    changes: Vec<Change>,
}

/// One changed line. Lines are counted from 1, as they were before any change; texts are without
/// the end of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// A line goes.
    Remove {
        /// Its number.
        line: usize,
        /// What it says.
        text: Bytes,
    },
    /// Other lines take the place of one; the last of them ends as that one did.
    Replace {
        /// Its number.
        line: usize,
        /// What it said.
        before: Bytes,
        /// What is there then.
        after: Vec<Bytes>,
    },
    /// A line comes after all others.
    Append {
        /// What it says.
        text: Bytes,
    },
}

/// Why edits were not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// The file is not the one that the edits were made for.
    #[error("the file has changed since it was read; nothing was written, read it again")]
    Stale,
    /// Stored edits that no document can have made.
    #[error("these edits do not fit the file they name; nothing was written, make them again")]
    Unfit,
}

/// The version of the stored form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Format;

impl From<Format> for u32 {
    fn from(_: Format) -> u32 {
        1
    }
}

impl TryFrom<u32> for Format {
    type Error = String;

    fn try_from(number: u32) -> Result<Format, String> {
        match number {
            1 => Ok(Format),
            _ => Err(format!("edits of format {number} are not known here, only format 1")),
        }
    }
}

impl Edits {
    pub(crate) fn new(of: &Lines, changes: Vec<Change>) -> Edits {
        Edits { format: Format, of: digest(of.as_bytes()), changes }
    }

    /// The changes, in the order of the lines.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The file as it is after the changes. A line that is appended to a file whose last line has
    /// no end gets one before it, and ends as the file's lines do.
    ///
    /// # Errors
    /// [`EditError::Stale`] when `file` is not what the edits were made for, and
    /// [`EditError::Unfit`] when stored edits do not fit it.
    pub fn apply(&self, file: &[u8]) -> Result<Vec<u8>, EditError> {
        if digest(file) != self.of {
            return Err(EditError::Stale);
        }
        let lines = Lines::new(file.to_vec());
        let mut out = Vec::with_capacity(file.len() + 256);
        let mut next = 0;
        let mut appending = false;
        for change in &self.changes {
            let (number, before) = match change {
                Change::Remove { line, text } => (*line, text),
                Change::Replace { line, before, .. } => (*line, before),
                Change::Append { text } => {
                    keep(&lines, next..lines.len(), &mut out);
                    next = lines.len();
                    appending = true;
                    append(text, lines.line_end(), &mut out)?;
                    continue;
                }
            };
            let index = number.checked_sub(1).ok_or(EditError::Unfit)?;
            if appending
                || index < next
                || index >= lines.len()
                || lines.body(index) != before.as_bytes()
            {
                return Err(EditError::Unfit);
            }
            keep(&lines, next..index, &mut out);
            if let Change::Replace { after, .. } = change {
                let (last, first) = after.split_last().ok_or(EditError::Unfit)?;
                for text in first {
                    out.extend_from_slice(one_line(text)?);
                    out.extend_from_slice(lines.line_end());
                }
                out.extend_from_slice(one_line(last)?);
                out.extend_from_slice(split_end(lines.whole(index)).1);
            }
            next = index + 1;
        }
        keep(&lines, next..lines.len(), &mut out);
        Ok(out)
    }
}

fn keep(lines: &Lines, range: std::ops::Range<usize>, out: &mut Vec<u8>) {
    for index in range {
        out.extend_from_slice(lines.whole(index));
    }
}

fn append(text: &Bytes, end: &[u8], out: &mut Vec<u8>) -> Result<(), EditError> {
    if out.last().is_some_and(|&byte| byte != b'\n') {
        out.extend_from_slice(end);
    }
    out.extend_from_slice(one_line(text)?);
    out.extend_from_slice(end);
    Ok(())
}

/// Stored edits could hold anything; a line feed would make two lines of one.
fn one_line(text: &Bytes) -> Result<&[u8], EditError> {
    let text = text.as_bytes();
    if text.contains(&b'\n') { Err(EditError::Unfit) } else { Ok(text) }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            match change {
                Change::Remove { text, .. } => writeln!(f, "-{text}")?,
                Change::Replace { before, after, .. } => {
                    writeln!(f, "-{before}")?;
                    after.iter().try_for_each(|text| writeln!(f, "+{text}"))?;
                }
                Change::Append { text } => writeln!(f, "+{text}")?,
            }
        }
        Ok(())
    }
}
