//! A file as its lines, every byte kept.

use std::fmt;
use std::ops::Range;

use crate::bytes::shown;

/// The bytes of a file and where its lines end.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// Behind the line feed of each line, and the end of the file.
    ends: Vec<usize>,
}

impl Lines {
    pub(crate) fn new(bytes: Vec<u8>) -> Lines {
        let mut ends: Vec<usize> = memchr::memchr_iter(b'\n', &bytes).map(|at| at + 1).collect();
        if ends.last().copied().unwrap_or(0) < bytes.len() {
            ends.push(bytes.len());
        }
        Lines { bytes, ends }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A line's bytes with its end, counted from 0.
    pub(crate) fn whole(&self, index: usize) -> &[u8] {
        &self.bytes[self.range(index)]
    }

    /// Without its end: a line feed, or a carriage return and a line feed.
    pub(crate) fn body(&self, index: usize) -> &[u8] {
        split_end(self.whole(index)).0
    }

    /// The bodies of all lines.
    pub(crate) fn bodies(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.body(index))
    }

    /// How a new line should end: as the last ended line does.
    pub(crate) fn line_end(&self) -> &'static [u8] {
        let ended =
            (0..self.len()).rev().map(|index| self.whole(index)).find(|line| line.ends_with(b"\n"));
        match ended.is_some_and(|line| line.ends_with(b"\r\n")) {
            true => b"\r\n",
            false => b"\n",
        }
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[index]
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.len()).map(|index| shown(self.whole(index)))).finish()
    }
}

/// A line and its end.
pub(crate) fn split_end(line: &[u8]) -> (&[u8], &[u8]) {
    let end = match line {
        [.., b'\r', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    };
    line.split_at(line.len() - end)
}

/// What OpenSSH sees of a line, which it holds as a C string: all before the first NUL, without the
/// blanks in front.
pub(crate) fn as_c_string(body: &[u8]) -> &[u8] {
    skip_blanks(until_nul(body))
}

pub(crate) fn until_nul(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    &text[..end]
}

pub(crate) fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &text[blanks..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_add_up_to_the_file() {
        for text in ["", "\n", "a", "a\n", "\n\na\r\nb", "a\r", "\r\n", "a\nb\n\n"] {
            let lines = Lines::new(text.as_bytes().to_vec());
            let sum: Vec<u8> =
                (0..lines.len()).flat_map(|index| lines.whole(index).to_vec()).collect();
            assert_eq!(sum, text.as_bytes());
            assert_eq!(lines.len(), text.split_inclusive('\n').count());
        }
    }

    #[test]
    fn a_new_line_ends_as_the_last_one_does() {
        let end = |text: &str| Lines::new(text.as_bytes().to_vec()).line_end();
        assert_eq!(end(""), b"\n");
        assert_eq!(end("a\r\nb"), b"\r\n");
        assert_eq!(end("a\r\nb\nc"), b"\n");
        assert_eq!(end("a\r"), b"\n");
    }
}
