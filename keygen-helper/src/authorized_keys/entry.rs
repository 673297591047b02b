//! What one line of authorized_keys says.

use super::options::{OptionError, Options};
use super::scan::{Scanner, end_of_options};
use crate::lines::{as_c_string, skip_blanks};
use crate::public_key::{PublicKey, PublicKeyError, is_known_name, split_blank};

/// A line as sshd takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "nearly every line is an entry")]
pub enum Content<'a> {
    /// Nothing but white space.
    Blank,
    /// A `#` comes first. Keys behind it are no keys.
    Comment,
    /// A key, and what it may be used for.
    Entry(Entry<'a>),
    /// Anything else. sshd passes over it.
    Unusable(Fault),
}

/// A line that holds a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// What the options come to. When they are bad, sshd passes over the line.
    pub options: Result<Options, OptionError>,
    /// The options as they are written.
    pub written: &'a [u8],
    /// The key, or the key of an authority.
    pub key: PublicKey,
    /// All that follows the key, less white space around it. Any encoding.
    pub comment: &'a [u8],
}

/// Why a line that is neither blank nor a comment holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A quote in the options is never closed.
    #[error("a double quote is never closed, so sshd ignores the whole line")]
    OpenQuote,
    /// There is no key on the line.
    #[error("there is no key on this line, so sshd ignores it")]
    NoKey,
    /// There is something like a key.
    #[error("sshd ignores the line: {0}")]
    Key(PublicKeyError),
}

impl<'a> Content<'a> {
    /// Reads a line without its end (`auth_check_authkey_line`).
    pub(crate) fn of(body: &'a [u8]) -> Content<'a> {
        let line = as_c_string(body);
        match line {
            [b'#', ..] => return Content::Comment,
            _ if line.trim_ascii().is_empty() => return Content::Blank,
            _ => {}
        }
        let first = match PublicKey::read(line) {
            Ok((key, comment)) if is_known_name_of(line) => {
                return Content::Entry(Entry {
                    options: Ok(Options::none()),
                    written: b"",
                    key,
                    comment,
                });
            }
            other => other,
        };
        let Some(end) = end_of_options(line) else { return Content::Unusable(Fault::OpenQuote) };
        let (written, rest) = line.split_at(end);
        let second = PublicKey::read(skip_blanks(rest));
        match (first, second) {
            (_, Ok((key, comment))) => {
                let options = Options::scan(&mut Scanner::new(line));
                Content::Entry(Entry { options, written, key, comment })
            }
            // An algorithm that neither this crate nor, maybe, sshd knows.
            (Ok((key, comment)), Err(_)) => {
                Content::Entry(Entry { options: Ok(Options::none()), written: b"", key, comment })
            }
            (Err(first), Err(second)) => Content::Unusable(fault(line, first, second)),
        }
    }
}

/// The more telling of two reasons: that of the reading that began with a known name.
fn fault(line: &[u8], first: PublicKeyError, second: PublicKeyError) -> Fault {
    if is_known_name_of(line) {
        return Fault::Key(first);
    }
    match second {
        PublicKeyError::NotAKey | PublicKeyError::BadName => Fault::NoKey,
        PublicKeyError::Base64(name) if !is_known_name(&name) => Fault::NoKey,
        second => Fault::Key(second),
    }
}

fn is_known_name_of(line: &[u8]) -> bool {
    str::from_utf8(split_blank(line).0).is_ok_and(is_known_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";

    fn entry(line: &str) -> (Result<Options, OptionError>, String) {
        let line = line.replace("KEY", ED25519);
        match Content::of(line.as_bytes()) {
            Content::Entry(entry) => {
                (entry.options, String::from_utf8_lossy(entry.comment).into_owned())
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn what_follows_the_key_is_the_comment() {
        assert_eq!(entry("KEY"), (Ok(Options::none()), String::new()));
        assert_eq!(
            entry("KEY anna #home, \"x\"\r"),
            (Ok(Options::none()), "anna #home, \"x\"".into())
        );
        assert_eq!(entry("  restrict\t \tKEY\tc"), (Ok(Options::restricted()), "c".into()));
    }

    #[test]
    fn a_comma_before_the_blank_is_let_pass_in_a_line_only() {
        assert_eq!(entry("restrict, KEY").0, Ok(Options::restricted()));
        assert_eq!(entry(",restrict,,no-pty KEY").0, Ok(Options::restricted()));
        assert_eq!(Options::parse(b"restrict,"), Err(OptionError::EndInComma));
    }

    #[test]
    fn an_unknown_option_spoils_the_line_but_not_the_key() {
        assert_eq!(entry("BLAH KEY").0, Err(OptionError::Unknown("BLAH".into())));
        assert_eq!(entry("command=oops KEY").0, Err(OptionError::Unquoted("command")));
        let glued = format!("{ED25519}{ED25519}");
        assert!(matches!(Content::of(glued.as_bytes()), Content::Unusable(Fault::Key(_))));
    }

    #[test]
    fn the_order_of_options_counts() {
        assert!(entry("restrict,pty KEY").0.unwrap().permits_pty());
        assert!(!entry("pty,restrict KEY").0.unwrap().permits_pty());
    }

    #[test]
    fn an_unknown_algorithm_is_a_key_all_the_same() {
        let blob = crate::wire::encode_base64(b"\0\0\0\x07ssh-new\x01");
        let line = format!("restrict ssh-new {blob} c");
        let Content::Entry(entry) = Content::of(line.as_bytes()) else { panic!("{line}") };
        assert_eq!((entry.key.algorithm(), entry.comment), ("ssh-new", &b"c"[..]));
        assert_eq!(entry.options, Ok(Options::restricted()));
        let line = format!("ssh-new {blob}");
        assert!(matches!(Content::of(line.as_bytes()), Content::Entry(_)));
    }
}
