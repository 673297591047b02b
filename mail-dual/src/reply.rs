//! What a server said, and when.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// The step of a session that an answer, or its absence, belongs to.
///
/// Only [`Mail`](Phase::Mail), [`Rcpt`](Phase::Rcpt), [`Data`](Phase::Data) and
/// [`Dot`](Phase::Dot) speak of a message; trouble before them is the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// Reaching the address at all.
    Connect,
    /// The server's first line (220).
    Greeting,
    /// EHLO, HELO or LHLO.
    Ehlo,
    /// The handshake of TLS and the check of the name, be it implicit or after STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA until 354, and the message itself up to the last byte before its end. All of a
    /// message but its last chunk, where BDAT is used.
    Data,
    /// The end of the message is, or may be, on its way: from here on silence is
    /// no refusal.
    Dot,
}

impl Phase {
    /// Whether an answer in this phase speaks of the message or a recipient rather than the host.
    pub fn concerns_the_message(self) -> bool {
        self >= Phase::Mail
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Connect => "connecting",
            Phase::Greeting => "waiting for the greeting",
            Phase::Ehlo => "EHLO",
            Phase::StartTls => "TLS",
            Phase::Auth => "AUTH",
            Phase::Mail => "MAIL FROM",
            Phase::Rcpt => "RCPT TO",
            Phase::Data => "sending the message",
            Phase::Dot => "waiting for the answer to the message",
        })
    }
}

/// An enhanced status code: class, subject and detail (RFC 3463).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EnhancedCode(u8, u16, u16);

impl EnhancedCode {
    /// A code with class 2, 4 or 5 and two numbers of up to three digits; None for any other.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Option<EnhancedCode> {
        if matches!(class, 2 | 4 | 5) && subject < 1000 && detail < 1000 {
            Some(EnhancedCode(class, subject, detail))
        } else {
            None
        }
    }

    /// The code that `text` starts with, and what follows it.
    pub fn parse(text: &str) -> Option<(EnhancedCode, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut parts = code.splitn(3, '.').map(|digits| {
            let number = (1..=3).contains(&digits.len())
                && digits.bytes().all(|digit| digit.is_ascii_digit());
            number.then(|| digits.parse::<u16>().ok()).flatten()
        });
        let class = u8::try_from(parts.next()??).ok()?;
        let code = EnhancedCode::new(class, parts.next()??, parts.next()??)?;
        Some((code, rest.trim_start()))
    }

    /// What it is about: 1 addresses, 2 the mailbox, 3 the mail system, 4 the network, 5 the
    /// protocol, 6 the message, 7 security.
    pub fn subject(self) -> u16 {
        self.1
    }

    /// 2 for success, 4 for a transient failure, 5 for a permanent one.
    pub fn class(self) -> u8 {
        self.0
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A reply code that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no reply code of SMTP, which are 200 to 599")]
pub struct BadReplyCode(pub u16);

/// One reply, ours or another's, fit to be logged, put into a report, or written to a socket.
///
/// The text is one line of printable characters and at most 1,000 bytes, whatever was received.
///
/// ```
/// use mail_dual::Reply;
/// let reply = Reply::new(550, "5.1.1 no such user\r\n250 OK")?;
/// assert!(reply.is_permanent());
/// assert_eq!(reply.to_string(), "550 5.1.1 no such user??250 OK");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Reply {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: Box<str>,
}

impl Reply {
    /// A reply with this code. An enhanced code of the same class at the start of the text is
    /// taken for what it is.
    ///
    /// # Errors
    /// [`BadReplyCode`] when the code is not between 200 and 599.
    pub fn new(code: u16, text: impl AsRef<[u8]>) -> Result<Reply, BadReplyCode> {
        if !(200..600).contains(&code) {
            return Err(BadReplyCode(code));
        }
        let text = printable(text.as_ref());
        let (enhanced, text) = match EnhancedCode::parse(&text) {
            Some((enhanced, rest)) if u16::from(enhanced.class()) == code / 100 => {
                (Some(enhanced), rest)
            }
            _ => (None, text.as_str()),
        };
        Ok(Reply { code, enhanced, text: text.into() })
    }

    /// A reply of our own, whose code stands in this crate.
    pub(crate) fn ours(code: u16, text: &str) -> Reply {
        Reply::new(code, text).expect("the codes that this crate writes are between 200 and 599")
    }

    /// The three digits.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, where the server gave one that fits its reply.
    pub fn enhanced(&self) -> Option<EnhancedCode> {
        self.enhanced
    }

    /// The words, without the codes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// 2yz: done.
    pub fn is_success(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: go on.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: not now.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: not at all.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if !self.text.is_empty() {
            write!(f, " {}", self.text)?;
        }
        Ok(())
    }
}

/// A reply as it is kept: the code and the text with the enhanced code in it.
#[derive(Serialize, Deserialize)]
struct Stored {
    code: u16,
    text: String,
}

impl From<Reply> for Stored {
    fn from(reply: Reply) -> Stored {
        let text = match reply.enhanced {
            Some(enhanced) => format!("{enhanced} {}", reply.text),
            None => reply.text.into(),
        };
        Stored { code: reply.code, text }
    }
}

impl TryFrom<Stored> for Reply {
    type Error = BadReplyCode;
    fn try_from(stored: Stored) -> Result<Reply, BadReplyCode> {
        Reply::new(stored.code, stored.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_enhanced_code_of_another_class_is_only_text() {
        let reply = Reply::new(450, "5.1.1 odd").unwrap();
        assert_eq!((reply.enhanced(), reply.text()), (None, "5.1.1 odd"));
        for text in ["", "5", "5.1", "5.1.", "5.1.1000", "3.1.1", "5.1.1x y", "5..1", "+5.1.1"] {
            assert!(EnhancedCode::parse(text).is_none(), "{text}");
        }
        assert_eq!(
            EnhancedCode::parse("5.1.1").map(|(code, _)| code.to_string()),
            Some("5.1.1".into())
        );
    }

    #[test]
    fn what_a_server_said_cannot_leave_its_line() {
        let reply = Reply::new(250, b"ok\r\n\x1b[2J\0\xff").unwrap();
        assert_eq!(reply.to_string(), "250 ok???[2J??");
        assert!(Reply::new(199, "").is_err() && Reply::new(600, "").is_err());
    }

    #[test]
    fn json_brings_it_back() {
        for reply in [Reply::new(550, "5.7.1 no"), Reply::new(220, ""), Reply::new(250, "2.0.0")] {
            let reply = reply.unwrap();
            let json = serde_json::to_string(&reply).unwrap();
            assert_eq!(serde_json::from_str::<Reply>(&json).unwrap(), reply);
        }
        assert!(serde_json::from_str::<Reply>(r#"{"code":42,"text":""}"#).is_err());
    }
}
