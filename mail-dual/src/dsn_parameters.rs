//! The reports that a sender asks for with MAIL and RCPT (RFC 3461 §4).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A parameter of RFC 3461 that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadDsnParameter {
    /// Not xtext: printable ASCII with `+` and two hexadecimal digits for the rest.
    #[error("the value is not in the form of xtext (RFC 3461 section 4)")]
    Xtext,
    /// Longer than the standard lets it be.
    #[error("the value is longer than {0} characters")]
    TooLong(usize),
    /// NOTIFY takes NEVER alone, or any of SUCCESS, FAILURE and DELAY.
    #[error("NOTIFY takes NEVER, or any of SUCCESS, FAILURE and DELAY")]
    Notify,
    /// RET takes FULL or HDRS.
    #[error("RET takes FULL or HDRS")]
    Ret,
    /// ORCPT is a type, a semicolon and an address.
    #[error("ORCPT takes a type, a semicolon and an address")]
    Orcpt,
}

/// Text in the encoding of RFC 3461 §4, kept as it came: what `+0D+0A` stands for never gets
/// loose by passing it on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Xtext(Box<str>);

impl Xtext {
    /// The longest value taken: that of ORCPT (RFC 3461 §4.2).
    const LONGEST: usize = 500;

    /// Checks text that is already encoded.
    ///
    /// # Errors
    /// [`BadDsnParameter`] when it is not, or too long.
    pub fn new(text: &str) -> Result<Xtext, BadDsnParameter> {
        if text.len() > Xtext::LONGEST {
            return Err(BadDsnParameter::TooLong(Xtext::LONGEST));
        }
        let mut rest = text.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = match byte {
                b'+' => {
                    let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
                    match after {
                        [high, low, after @ ..] if digit(high) && digit(low) => after,
                        _ => return Err(BadDsnParameter::Xtext),
                    }
                }
                b'!'..=b'~' if byte != b'=' => after,
                _ => return Err(BadDsnParameter::Xtext),
            };
        }
        Ok(Xtext(text.into()))
    }

    /// Encodes any text.
    ///
    /// # Errors
    /// [`BadDsnParameter::TooLong`] when its encoding would be.
    pub fn encode(text: &str) -> Result<Xtext, BadDsnParameter> {
        let mut encoded = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'!'..=b'~' if byte != b'+' && byte != b'=' => encoded.push(char::from(byte)),
                _ => encoded.push_str(&format!("+{byte:02X}")),
            }
            if encoded.len() > Xtext::LONGEST {
                return Err(BadDsnParameter::TooLong(Xtext::LONGEST));
            }
        }
        Ok(Xtext(encoded.into()))
    }

    /// The encoded text, fit for a command.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it stands for, on one line of printable characters, fit for a report.
    pub fn decoded(&self) -> String {
        let mut bytes = Vec::with_capacity(self.0.len());
        let mut rest = self.0.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, after) {
                (b'+', [high, low, after @ ..]) => {
                    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
                    bytes.push(digit(*high) << 4 | digit(*low));
                    rest = after;
                }
                _ => bytes.push(byte),
            }
        }
        crate::text::printable(&bytes)
    }
}

impl TryFrom<String> for Xtext {
    type Error = BadDsnParameter;
    fn try_from(text: String) -> Result<Xtext, BadDsnParameter> {
        Xtext::new(&text)
    }
}

impl From<Xtext> for String {
    fn from(text: Xtext) -> String {
        text.0.into()
    }
}

/// How much of the message a report of failure should hold (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Ret {
    /// All of it.
    Full,
    /// Its header.
    Hdrs,
}

impl Ret {
    /// Reads the value of the parameter, in any case.
    ///
    /// # Errors
    /// [`BadDsnParameter::Ret`] for any other word.
    pub fn parse(text: &str) -> Result<Ret, BadDsnParameter> {
        match text {
            _ if text.eq_ignore_ascii_case("FULL") => Ok(Ret::Full),
            _ if text.eq_ignore_ascii_case("HDRS") => Ok(Ret::Hdrs),
            _ => Err(BadDsnParameter::Ret),
        }
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ret::Full => "FULL",
            Ret::Hdrs => "HDRS",
        })
    }
}

/// When the sender wants to hear of a recipient (RFC 3461 §4.1). All false is NEVER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it could not be.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}

impl Notify {
    /// Not at all.
    pub const NEVER: Notify = Notify { success: false, failure: false, delay: false };

    /// Reads the value of the parameter, in any case.
    ///
    /// # Errors
    /// [`BadDsnParameter::Notify`] for any other word, or NEVER beside another.
    pub fn parse(text: &str) -> Result<Notify, BadDsnParameter> {
        if text.eq_ignore_ascii_case("NEVER") {
            return Ok(Notify::NEVER);
        }
        let mut notify = Notify::NEVER;
        for word in text.split(',') {
            match word {
                _ if word.eq_ignore_ascii_case("SUCCESS") => notify.success = true,
                _ if word.eq_ignore_ascii_case("FAILURE") => notify.failure = true,
                _ if word.eq_ignore_ascii_case("DELAY") => notify.delay = true,
                _ => return Err(BadDsnParameter::Notify),
            }
        }
        Ok(notify)
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> =
            [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")]
                .into_iter()
                .filter_map(|(wanted, word)| wanted.then_some(word))
                .collect();
        f.write_str(&if words.is_empty() { "NEVER".to_owned() } else { words.join(",") })
    }
}

/// The address that the message was sent to in the first place (RFC 3461 §4.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Orcpt {
    kind: Box<str>,
    address: Xtext,
}

impl Orcpt {
    /// Reads `rfc822;ann@example.org`, the address in xtext.
    ///
    /// # Errors
    /// [`BadDsnParameter`] names what is wrong.
    pub fn parse(text: &str) -> Result<Orcpt, BadDsnParameter> {
        let (kind, address) = text.split_once(';').ok_or(BadDsnParameter::Orcpt)?;
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if kind.is_empty() || kind.len() > 64 || address.is_empty() || !kind.bytes().all(letter) {
            return Err(BadDsnParameter::Orcpt);
        }
        Ok(Orcpt { kind: kind.into(), address: Xtext::new(address)? })
    }

    /// What kind of address it is, `rfc822` or `utf-8` as a rule.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The address.
    pub fn address(&self) -> &Xtext {
        &self.address
    }
}

impl fmt::Display for Orcpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{}", self.kind, self.address.as_str())
    }
}

impl TryFrom<String> for Orcpt {
    type Error = BadDsnParameter;
    fn try_from(text: String) -> Result<Orcpt, BadDsnParameter> {
        Orcpt::parse(&text)
    }
}

impl From<Orcpt> for String {
    fn from(orcpt: Orcpt) -> String {
        orcpt.to_string()
    }
}

/// What MAIL asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct DsnParameters {
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, to be given back in every report.
    pub envid: Option<Xtext>,
}

impl DsnParameters {
    /// Whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        *self == DsnParameters::default()
    }
}

/// What RCPT asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RecipientDsn {
    /// NOTIFY; none where it was not given, which means failure and, as we choose, delay.
    pub notify: Option<Notify>,
    /// ORCPT.
    pub orcpt: Option<Orcpt>,
}

impl RecipientDsn {
    /// Whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        *self == RecipientDsn::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_ends_hidden_in_xtext_stay_hidden() {
        let envid = Xtext::new("a+0D+0ABcc:+20x").unwrap();
        assert_eq!(envid.as_str(), "a+0D+0ABcc:+20x");
        assert_eq!(envid.decoded(), "a??Bcc: x");
        for bad in ["a b", "a=b", "a+0", "a+0d", "a\r\n", "ä", "+", "a+GG"] {
            assert_eq!(Xtext::new(bad), Err(BadDsnParameter::Xtext), "{bad}");
        }
    }

    #[test]
    fn notify_and_orcpt_are_what_the_standard_allows() {
        assert_eq!(Notify::parse("success,Delay").unwrap().to_string(), "SUCCESS,DELAY");
        assert_eq!(Notify::parse("never").unwrap(), Notify::NEVER);
        for bad in ["", "NEVER,SUCCESS", "SUCCESS,", "x"] {
            assert!(Notify::parse(bad).is_err(), "{bad}");
        }
        let orcpt = Orcpt::parse("rfc822;u+2Bt@z.org").unwrap();
        assert_eq!(
            (orcpt.to_string().as_str(), orcpt.address().decoded().as_str()),
            ("rfc822;u+2Bt@z.org", "u+t@z.org")
        );
        for bad in ["", "rfc822", "rfc822;", ";a", "a b;c", "rfc822;a\r\nb"] {
            assert!(Orcpt::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_xtext(text in "[ -~]{0,60}") {
            let encoded = Xtext::encode(&text).unwrap();
            prop_assert_eq!(Xtext::new(encoded.as_str()).unwrap().decoded(), text);
        }
    }
}
