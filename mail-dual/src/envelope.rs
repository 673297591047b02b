//! Who sent a message and who is to get it, as SMTP carries it: apart from the message itself.
//!
//! Every part is checked when it is made and keeps its bytes. None of them can hold a character
//! that would end a command, so that printing one between `<` and `>` is always one argument.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dsn_parameters::{DsnParameters, RecipientDsn};
use crate::message::RawMessage;

/// The longest path that is taken, in bytes. RFC 5321 §4.5.3.1.3 asks for 256 at least; what was
/// accepted elsewhere is not refused for its length until it would make a line too long.
const LONGEST_PATH: usize = 1000;

/// Why an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPath {
    /// Nothing where a recipient must be.
    #[error("the address is empty")]
    Empty,
    /// Longer than any that could be passed on.
    #[error("the address has {0} bytes, more than {LONGEST_PATH}")]
    TooLong(usize),
    /// A control character, a blank or a bracket outside a quoted string.
    #[error("the address holds a character that is not allowed there, at byte {0}")]
    Character(usize),
    /// Not UTF-8 (RFC 6531 §3.3).
    #[error("the address is not UTF-8")]
    NotUtf8,
    /// A quoted string without an end, or with more than `@` after it.
    #[error("the quoted string in the address does not end before its @")]
    Quote,
    /// No `@`, and not `postmaster`.
    #[error("the address has no domain")]
    NoDomain,
    /// An `@` with nothing before or after it.
    #[error("the address lacks the part before or after its @")]
    Incomplete,
}

/// Splits a mailbox at the `@` between its two parts and checks every character.
fn check(path: &[u8]) -> Result<&str, BadPath> {
    if path.is_empty() {
        return Err(BadPath::Empty);
    }
    if path.len() > LONGEST_PATH {
        return Err(BadPath::TooLong(path.len()));
    }
    let text = std::str::from_utf8(path).map_err(|_| BadPath::NotUtf8)?;
    let domain_at = if path[0] == b'"' {
        let end = end_of_quoted(path)?;
        if path.get(end).is_some_and(|&byte| byte != b'@') {
            return Err(BadPath::Quote);
        }
        (end < path.len()).then_some(end)
    } else {
        memchr::memrchr(b'@', path)
    };
    let (quoted, rest) = match (path[0] == b'"', domain_at) {
        (true, Some(at)) => (at, &text[at..]),
        (true, None) => (path.len(), ""),
        (false, _) => (0, text),
    };
    for (at, character) in rest.char_indices() {
        if character.is_control() || matches!(character, ' ' | '<' | '>' | '"' | '\\') {
            return Err(BadPath::Character(quoted + at));
        }
    }
    match domain_at {
        None if text.eq_ignore_ascii_case("postmaster") => Ok(text),
        None => Err(BadPath::NoDomain),
        Some(at) if at == 0 || at + 1 == path.len() => Err(BadPath::Incomplete),
        Some(_) => Ok(text),
    }
}

/// Where the quoted string that `path` starts with ends: after its second quote.
fn end_of_quoted(path: &[u8]) -> Result<usize, BadPath> {
    let mut at = 1;
    while let Some(&byte) = path.get(at) {
        match byte {
            b'"' => return Ok(at + 1),
            b'\\' if matches!(path.get(at + 1), Some(b' '..=b'~')) => at += 2,
            // Blanks and brackets may stand here; what ends a line may not, nor C1 controls,
            // whose first byte in UTF-8 is 0xC2.
            0..=0x1f | 0x7f | b'\\' => return Err(BadPath::Character(at)),
            0xc2 if matches!(path.get(at + 1), Some(0x80..=0x9f)) => {
                return Err(BadPath::Character(at));
            }
            _ => at += 1,
        }
    }
    Err(BadPath::Quote)
}

/// One recipient's address, byte for byte: `user@example.org`, `"odd one"@example.org`,
/// `user@[192.0.2.1]`, or `postmaster` alone (RFC 5321 §4.5.1).
///
/// ```
/// use mail_dual::ForwardPath;
/// let path = ForwardPath::new("Ann+lists@Example.org")?;
/// assert_eq!((path.local_part(), path.domain()), ("Ann+lists", Some("Example.org")));
/// assert!(ForwardPath::new("x>\r\nRCPT TO:<y@z.org").is_err());
/// # Ok::<(), mail_dual::BadPath>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ForwardPath(Box<str>);

impl ForwardPath {
    /// Checks an address without its angle brackets.
    ///
    /// # Errors
    /// [`BadPath`] names what is wrong.
    pub fn new(path: impl AsRef<[u8]>) -> Result<ForwardPath, BadPath> {
        check(path.as_ref()).map(|text| ForwardPath(text.into()))
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is before the last `@`, quotes included.
    pub fn local_part(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(local, _)| local)
    }

    /// What follows the last `@`; none for `postmaster` alone.
    pub fn domain(&self) -> Option<&str> {
        self.0.rsplit_once('@').map(|(_, domain)| domain)
    }

    /// Whether a server without SMTPUTF8 can be told of it (RFC 6531 §3.4).
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }
}

/// Where a message came from: an address, or nothing for reports (`MAIL FROM:<>`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReversePath(Box<str>);

impl ReversePath {
    /// The null reverse-path, which no report is ever sent to (RFC 5321 §4.5.5).
    pub fn null() -> ReversePath {
        ReversePath::default()
    }

    /// Checks an address without its angle brackets. Zero bytes are the null reverse-path.
    ///
    /// # Errors
    /// [`BadPath`] names what is wrong.
    pub fn new(path: impl AsRef<[u8]>) -> Result<ReversePath, BadPath> {
        match path.as_ref() {
            b"" => Ok(ReversePath::null()),
            path => check(path).map(|text| ReversePath(text.into())),
        }
    }

    /// Whether this is the null reverse-path.
    pub fn is_null(&self) -> bool {
        self.0.is_empty()
    }

    /// The whole address, empty for the null reverse-path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address as one to send a report to; none for the null reverse-path.
    pub fn to_forward_path(&self) -> Option<ForwardPath> {
        (!self.is_null()).then(|| ForwardPath(self.0.clone()))
    }

    /// Whether a server without SMTPUTF8 can be told of it.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }
}

macro_rules! shown_and_stored_as_text {
    ($type:ident) => {
        /// Without angle brackets.
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "<{}>", self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = BadPath;
            fn try_from(text: String) -> Result<$type, BadPath> {
                $type::new(text)
            }
        }

        impl std::str::FromStr for $type {
            type Err = BadPath;
            fn from_str(text: &str) -> Result<$type, BadPath> {
                $type::new(text)
            }
        }

        impl From<$type> for String {
            fn from(path: $type) -> String {
                path.0.into()
            }
        }
    };
}

shown_and_stored_as_text!(ForwardPath);
shown_and_stored_as_text!(ReversePath);

/// What the sender declared the message to hold (RFC 6152).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum BodyType {
    /// Bytes up to 127 only, or nothing said.
    #[default]
    #[serde(rename = "7BIT")]
    SevenBit,
    /// Bytes above 127 may occur.
    #[serde(rename = "8BITMIME")]
    EightBitMime,
}

/// One recipient, and the reports that the sender wants about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recipient {
    /// The address.
    pub path: ForwardPath,
    /// NOTIFY and ORCPT.
    #[serde(default, skip_serializing_if = "RecipientDsn::is_default")]
    pub dsn: RecipientDsn,
}

impl From<ForwardPath> for Recipient {
    fn from(path: ForwardPath) -> Recipient {
        Recipient { path, dsn: RecipientDsn::default() }
    }
}

/// A transaction without a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the envelope has no recipient")]
pub struct NoRecipient;

/// Why an envelope of lettre's cannot be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEnvelope {
    /// Where the message comes from.
    #[error("the sender's address cannot be used: {0}")]
    Sender(#[source] BadPath),
    /// Where it goes to.
    #[error("the address of recipient {number} cannot be used: {why}")]
    Recipient {
        /// Its place, counted from 1.
        number: usize,
        /// What is wrong with it.
        #[source]
        why: BadPath,
    },
    /// It goes nowhere.
    #[error(transparent)]
    NoRecipient(#[from] NoRecipient),
}

/// Everything that MAIL FROM and RCPT TO say of a message. It has at least one recipient.
///
/// The order of the recipients is the one they were given in, and repeats are kept: LMTP answers
/// for each (RFC 2033 §4.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Envelope {
    /// Where the message comes from.
    pub reverse_path: ReversePath,
    recipients: Vec<Recipient>,
    /// What the message was declared to hold.
    #[serde(default)]
    pub body: BodyType,
    /// Whether the sender asked for SMTPUTF8 (RFC 6531): the message may hold UTF-8 in its header.
    #[serde(default)]
    pub smtputf8: bool,
    /// RET and ENVID.
    #[serde(default, skip_serializing_if = "DsnParameters::is_default")]
    pub dsn: DsnParameters,
}

impl Envelope {
    /// An envelope with nothing asked for.
    ///
    /// # Errors
    /// [`NoRecipient`] when there is none.
    pub fn new<R: Into<Recipient>>(
        reverse_path: ReversePath,
        recipients: impl IntoIterator<Item = R>,
    ) -> Result<Envelope, NoRecipient> {
        let recipients: Vec<Recipient> = recipients.into_iter().map(Into::into).collect();
        if recipients.is_empty() {
            return Err(NoRecipient);
        }
        Ok(Envelope {
            reverse_path,
            recipients,
            body: BodyType::default(),
            smtputf8: false,
            dsn: DsnParameters::default(),
        })
    }

    /// The recipients, at least one.
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The same envelope for other recipients.
    ///
    /// # Errors
    /// [`NoRecipient`] when there is none.
    pub fn for_recipients<R: Into<Recipient>>(
        &self,
        recipients: impl IntoIterator<Item = R>,
    ) -> Result<Envelope, NoRecipient> {
        let chosen = Envelope::new(self.reverse_path.clone(), recipients)?;
        Ok(Envelope { recipients: chosen.recipients, ..self.clone() })
    }

    /// Says of a message that was written on this machine, and so was not announced by anybody,
    /// what a server must be able to do for it: 8BITMIME, and SMTPUTF8 also where only the header
    /// holds more than ASCII (RFC 6531 §3.1).
    #[must_use]
    pub fn announcing(mut self, message: &RawMessage) -> Envelope {
        self.smtputf8 = self.needs_smtputf8() || message.has_8bit_header();
        if message.is_8bit() {
            self.body = BodyType::EightBitMime;
        }
        self
    }

    /// Whether an address in it, or the sender's wish, needs a server with SMTPUTF8.
    pub fn needs_smtputf8(&self) -> bool {
        self.smtputf8
            || !self.reverse_path.is_ascii()
            || self.recipients.iter().any(|recipient| !recipient.path.is_ascii())
    }
}

#[derive(Deserialize)]
struct Unchecked {
    reverse_path: ReversePath,
    recipients: Vec<Recipient>,
    #[serde(default)]
    body: BodyType,
    #[serde(default)]
    smtputf8: bool,
    #[serde(default)]
    dsn: DsnParameters,
}

impl TryFrom<Unchecked> for Envelope {
    type Error = NoRecipient;
    fn try_from(unchecked: Unchecked) -> Result<Envelope, NoRecipient> {
        let Unchecked { reverse_path, recipients, body, smtputf8, dsn } = unchecked;
        Ok(Envelope { body, smtputf8, dsn, ..Envelope::new(reverse_path, recipients)? })
    }
}

/// lettre's addresses are not always checked (`Address::new_dangerous` takes even line ends), so
/// that this can fail.
impl TryFrom<&lettre::address::Envelope> for Envelope {
    type Error = BadEnvelope;
    fn try_from(theirs: &lettre::address::Envelope) -> Result<Envelope, BadEnvelope> {
        let reverse_path = match theirs.from() {
            Some(address) => {
                // What is no null path there must not become one here.
                let checked: &str = address.as_ref();
                if checked.is_empty() {
                    return Err(BadEnvelope::Sender(BadPath::Empty));
                }
                ReversePath::new(checked).map_err(BadEnvelope::Sender)?
            }
            None => ReversePath::null(),
        };
        let recipient = |(at, address): (usize, &lettre::Address)| {
            let address: &str = address.as_ref();
            ForwardPath::new(address).map_err(|why| BadEnvelope::Recipient { number: at + 1, why })
        };
        let recipients: Result<Vec<ForwardPath>, BadEnvelope> =
            theirs.to().iter().enumerate().map(recipient).collect();
        let mut envelope = Envelope::new(reverse_path, recipients?)?;
        envelope.smtputf8 = envelope.needs_smtputf8();
        Ok(envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn s13_addresses_that_lettre_refuses_or_the_world_uses_are_kept_byte_for_byte() {
        let long = format!("SRS0={}@example.org", "x".repeat(200));
        for good in [
            "postmaster",
            "POSTMASTER",
            "a..b@x",
            ".a@x.org",
            "a@-x",
            "a@[127.0.0.1]",
            "a@[IPv6:::1]",
            "x_y@x_y.org",
            "a@localhost",
            "\"a b\"@x.org",
            "\"a@b>c\"@x.org",
            "\"a\\\"b\"@x.org",
            "ä@ö.example",
            "a/b=c%d@x.org",
            "a@b@c.org",
            &long,
        ] {
            assert_eq!(ForwardPath::new(good).map(String::from), Ok(good.to_owned()));
        }
        assert_eq!(ForwardPath::new("\"a@b\"@x.org").unwrap().domain(), Some("x.org"));
    }

    #[test]
    fn what_could_end_a_command_is_no_address() {
        for bad in [
            "",
            "a",
            "a@",
            "@x.org",
            "a b@x.org",
            "a@x.org ",
            "a@x.org>",
            "<a@x.org",
            "a@x.org\r\nDATA",
            "a@x.org\n",
            "a@x.org\0",
            "\"a\r\n\"@x.org",
            "\"a@x.org",
            "\"a\"b@x.org",
            "\"a\"",
            "\"a\\",
            "a@x\u{85}.org",
            "\"a\u{85}\"@x.org",
            "a\"b\"@x.org",
            "\"\"@x.org> SIZE=1",
        ] {
            assert!(ForwardPath::new(bad).is_err(), "{bad:?}");
            assert!(bad.is_empty() || ReversePath::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(ForwardPath::new(b"\xff@x.org"), Err(BadPath::NotUtf8));
        assert!(ForwardPath::new(format!("{}@x.org", "x".repeat(1000))).is_err());
    }

    #[test]
    fn lettres_unchecked_addresses_are_checked_here() {
        let evil = lettre::Address::new_dangerous("x>\r\nRCPT TO:<y", "z.org");
        let envelope = lettre::address::Envelope::new(None, vec![evil.clone()]).unwrap();
        assert_eq!(
            Envelope::try_from(&envelope),
            Err(BadEnvelope::Recipient { number: 1, why: BadPath::Character(1) })
        );
        let good: lettre::Address = "ann@example.org".parse().unwrap();
        let envelope = lettre::address::Envelope::new(Some(evil), vec![good.clone()]).unwrap();
        assert!(matches!(Envelope::try_from(&envelope), Err(BadEnvelope::Sender(_))));
        let envelope = lettre::address::Envelope::new(None, vec![good]).unwrap();
        let ours = Envelope::try_from(&envelope).unwrap();
        assert!(ours.reverse_path.is_null() && ours.recipients().len() == 1);
    }

    #[test]
    fn json_checks_what_it_brings_back() {
        let envelope = Envelope::new(
            ReversePath::new("a@b.org").unwrap(),
            [ForwardPath::new("\"x y\"@z.org").unwrap()],
        );
        let json = serde_json::to_string(&envelope.clone().unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<Envelope>(&json).unwrap(), envelope.unwrap());
        let evil = json.replace("z.org", "z.org\\r\\n");
        assert!(serde_json::from_str::<Envelope>(&evil).is_err());
        assert!(
            serde_json::from_str::<Envelope>(r#"{"reverse_path":"","recipients":[]}"#).is_err()
        );
    }

    proptest! {
        #[test]
        fn an_accepted_path_has_nothing_that_ends_its_argument(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = ForwardPath::new(&bytes) {
                prop_assert_eq!(path.as_str().as_bytes(), &bytes[..]);
                let mut quoted = false;
                let mut escaped = false;
                for &byte in &bytes {
                    prop_assert!(byte >= b' ' && byte != 0x7f);
                    if escaped {
                        escaped = false;
                    } else if quoted && byte == b'\\' {
                        escaped = true;
                    } else if byte == b'"' {
                        quoted = !quoted;
                    } else if !quoted {
                        prop_assert!(!b" <>".contains(&byte));
                    }
                }
            }
        }
    }
}
