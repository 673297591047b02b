//! The words of an option list, as `auth-options.c` and `misc.c` take them apart.

use std::ops::RangeInclusive;

use super::options::OptionError;

/// Reads options from the front of a line.
#[derive(Debug)]
pub(super) struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Scanner<'a> {
        Scanner(text)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// Whether the options are over: at a blank or the end of the line.
    pub(super) fn at_end(&self) -> bool {
        matches!(self.0, [] | [b' ' | b'\t', ..])
    }

    pub(super) fn skip_comma(&mut self) -> bool {
        self.flag(",")
    }

    /// A name without a value. What follows it is looked at later: a comma, or the line is bad.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let (start, rest) = self.0.split_at_checked(name.len()).unwrap_or_default();
        let found = start.eq_ignore_ascii_case(name.as_bytes()) && !name.is_empty();
        if found {
            self.0 = rest;
        }
        found
    }

    /// A name that `no-` in front turns round.
    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        let before = self.0;
        let negated = self.flag("no-");
        if self.flag(name) {
            return Some(!negated);
        }
        self.0 = before;
        None
    }

    /// A name with `=` and a value in double quotes, in which `\"` is a quote and any other
    /// backslash is itself (`opt_dequote`).
    pub(super) fn value(&mut self, name: &'static str) -> Result<Option<Vec<u8>>, OptionError> {
        let before = self.0;
        if !(self.flag(name) && self.flag("=")) {
            self.0 = before;
            return Ok(None);
        }
        if !self.flag("\"") {
            return Err(OptionError::Unquoted(name));
        }
        let mut value = Vec::new();
        loop {
            match self.0 {
                [] => return Err(OptionError::OpenQuote(name)),
                [b'"', rest @ ..] => {
                    self.0 = rest;
                    return Ok(Some(value));
                }
                [b'\\', b'"', rest @ ..] => {
                    value.push(b'"');
                    self.0 = rest;
                }
                [byte, rest @ ..] => {
                    value.push(*byte);
                    self.0 = rest;
                }
            }
        }
    }
}

/// What stands before the first comma or blank.
pub(super) fn word(text: &[u8]) -> &[u8] {
    let ends = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
    text.split(ends).next().unwrap_or_default()
}

/// Where the options of a line end: at the first blank outside quotes
/// (`sshkey_advance_past_options`). Nothing when a quote stays open.
pub(super) fn end_of_options(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        match byte {
            b' ' | b'\t' if !quoted => break,
            b'\\' if line.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => quoted = !quoted,
            _ => {}
        }
        at += 1;
    }
    (!quoted || at < line.len()).then_some(at)
}

/// The port in a value of `permitopen=` or `permitlisten=`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Port<'a> {
    /// Its name, where it is not given as a number or `*`.
    pub(super) service: Option<&'a [u8]>,
}

/// Takes `HOST:PORT` apart as `hpdelim2` and `a2port` do. Nothing when sshd refuses it.
pub(super) fn permission_port(value: &[u8]) -> Option<Port<'_>> {
    let end = match value.first() {
        Some(b'[') => value.iter().position(|&byte| byte == b']')? + 1,
        _ => value.iter().position(|byte| matches!(byte, b':' | b'/'))?,
    };
    let port = match &value[end..] {
        [b':' | b'/', port @ ..] => port,
        _ => return None,
    };
    if end >= NI_MAXHOST {
        return None;
    }
    if port == b"*" || c_integer(port, 1..=65535).is_some() {
        return Some(Port { service: None });
    }
    // A number that is out of range could still be the name of a service, but none is one.
    let named = port.iter().any(u8::is_ascii_alphabetic);
    named.then_some(Port { service: Some(port) })
}

/// The longest name of a host (`netdb.h`).
const NI_MAXHOST: usize = 1025;

/// A number as `strtonum` takes it: white space and a sign may be in front.
pub(super) fn c_integer(text: &[u8], range: RangeInclusive<i64>) -> Option<i64> {
    let space = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    let text = str::from_utf8(&text[space..]).ok()?;
    text.parse().ok().filter(|number| range.contains(number))
}

/// Letters, digits and underscores (`valid_env_name`).
pub(super) fn is_environment_name(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !name.is_empty() && name.iter().all(plain)
}
