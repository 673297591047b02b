//! Words, strings and ends of records (RFC 1035 section 5.1), as slices of the file.

use memchr::{memchr, memchr2};

use super::rules;
use crate::diagnostic::Rule;

/// A rule that the text breaks at an offset.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) rule: &'static Rule,
    pub(crate) at: usize,
    pub(crate) message: String,
}

impl Fault {
    #[cold]
    pub(crate) fn new(rule: &'static Rule, at: usize, message: impl Into<String>) -> Fault {
        Fault { rule, at, message: message.into() }
    }
}

/// A piece of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    /// As it stands in the file, escapes and all, without the quotation marks.
    pub(crate) text: &'a [u8],
    /// Where it begins.
    pub(crate) at: usize,
    pub(crate) quoted: bool,
    /// Whether it has a backslash.
    pub(crate) escaped: bool,
}

/// What octets mean outside of strings.
const PLAIN: u8 = 0;
const ENDS: u8 = 1;
const BACKSLASH: u8 = 2;
const KIND: [u8; 256] = {
    let mut kind = [PLAIN; 256];
    let ends = b" \t\r\n;()\"";
    let mut at = 0;
    while at < ends.len() {
        kind[ends[at] as usize] = ENDS;
        at += 1;
    }
    kind[b'\\' as usize] = BACKSLASH;
    kind
};

/// Goes through a file once, from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// How many parentheses are open, and where the first of them is.
    depth: u32,
    opened: usize,
    /// Where the last word or string ends.
    end: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Scanner<'a> {
        Scanner { text, at: 0, depth: 0, opened: 0, end: 0 }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Where the last word ended, and the next one could have stood.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    pub(crate) fn is_done(&self) -> bool {
        self.at >= self.text.len()
    }

    /// The octet that comes next.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Goes over one octet.
    #[inline]
    pub(crate) fn skip(&mut self) {
        self.at += 1;
    }

    /// Goes to where the next word, string or end of the record is.
    #[inline]
    fn skip_space(&mut self) -> Result<(), Fault> {
        while let Some(&octet) = self.text.get(self.at) {
            match octet {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\n' if self.depth > 0 => self.at += 1,
                b';' => {
                    let rest = &self.text[self.at..];
                    self.at += memchr(b'\n', rest).unwrap_or(rest.len());
                }
                b'(' => {
                    if self.depth == 0 {
                        self.opened = self.at;
                    }
                    self.depth = self.depth.saturating_add(1);
                    self.at += 1;
                }
                b')' => {
                    self.at += 1;
                    if self.depth == 0 {
                        let message = "this parenthesis closes nothing";
                        return Err(Fault::new(rules::CLOSES_NOTHING, self.at - 1, message));
                    }
                    self.depth -= 1;
                }
                _ => return Ok(()),
            }
        }
        if self.depth > 0 {
            self.depth = 0;
            return Err(Fault::new(
                rules::NEVER_CLOSED,
                self.opened,
                "this parenthesis is never closed",
            ));
        }
        Ok(())
    }

    /// The next word or string of the record; None at its end.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Token<'a>>, Fault> {
        self.skip_space()?;
        match self.peek() {
            None | Some(b'\n') => Ok(None),
            Some(b'"') => self.string().map(Some),
            Some(_) => self.word().map(Some),
        }
    }

    #[inline]
    fn word(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.at;
        let mut escaped = false;
        let mut at = start;
        while let Some(&octet) = self.text.get(at) {
            match KIND[usize::from(octet)] {
                PLAIN => at += 1,
                ENDS => break,
                _ => {
                    escaped = true;
                    match self.text.get(at + 1) {
                        None | Some(b'\n') => {
                            self.at = at + 1;
                            let message = "nothing follows this backslash";
                            return Err(Fault::new(rules::BAD_ESCAPE, at, message));
                        }
                        Some(_) => at += 2,
                    }
                }
            }
        }
        (self.at, self.end) = (at, at);
        Ok(Token { text: &self.text[start..at], at: start, quoted: false, escaped })
    }

    /// A string in quotation marks, which may go on over lines.
    fn string(&mut self) -> Result<Token<'a>, Fault> {
        let open = self.at;
        let start = open + 1;
        let mut escaped = false;
        let mut at = start;
        loop {
            let Some(found) = self.text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest))
            else {
                self.at = self.text.len();
                self.depth = 0;
                let message = "the string that begins here is never ended";
                return Err(Fault::new(rules::OPEN_QUOTES, open, message));
            };
            at += found;
            if self.text[at] == b'"' {
                (self.at, self.end) = (at + 1, at + 1);
                return Ok(Token { text: &self.text[start..at], at: open, quoted: true, escaped });
            }
            escaped = true;
            at += 2;
        }
    }

    /// The string that follows without a space, as in `alpn="h2,h3"`.
    pub(crate) fn adjoining_string(&mut self) -> Result<Option<Token<'a>>, Fault> {
        match self.peek() {
            Some(b'"') => self.string().map(Some),
            _ => Ok(None),
        }
    }

    /// Whether the next word is `\#`, which is passed over.
    #[inline]
    pub(crate) fn generic(&mut self) -> Result<bool, Fault> {
        self.skip_space()?;
        let is_generic = match self.text.get(self.at..self.at + 3) {
            Some([b'\\', b'#', after]) => KIND[usize::from(*after)] == ENDS,
            _ => false,
        };
        if is_generic {
            self.at += 2;
            self.end = self.at;
        }
        Ok(is_generic)
    }

    /// Goes on at `at`, which lies before: what began there turned out to have no end.
    pub(crate) fn rewind(&mut self, at: usize) {
        let rest = &self.text[at..];
        self.at = at + memchr(b'\n', rest).unwrap_or(rest.len());
        self.depth = 0;
    }

    /// Goes to the end of the record after a fault in it, whatever stands there. Yields the fault of
    /// something that has no end at all, which therefore took the rest of the file.
    pub(crate) fn skip_record(&mut self) -> Option<Fault> {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(fault) if self.is_done() => return Some(fault),
                Err(_) => {}
            }
        }
    }
}
