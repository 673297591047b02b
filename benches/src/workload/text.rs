//! Bytes that look like source code or a dump: words in lines.
//!
//! Random bytes would not compress and zeros would compress to nothing; either
//! would make figures that no real tree gives.

use super::rng::Rng;

/// How many words the vocabulary holds; a power of two, so that bits choose one.
const WORDS: usize = 1024;

/// A vocabulary drawn from a seed, and the text made of it.
#[derive(Debug)]
pub(super) struct Text {
    words: Vec<Vec<u8>>,
}

impl Text {
    /// Draws the vocabulary.
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x7465_7874);
        let words = (0..WORDS).map(|_| word(&mut rng)).collect();
        Self { words }
    }

    /// Returns one word, for names.
    pub(super) fn word(&self, rng: &mut Rng) -> &str {
        std::str::from_utf8(&self.words[rng.index(WORDS)]).expect("words are ASCII letters")
    }

    /// Replaces `out` by exactly `len` bytes of text.
    pub(super) fn fill(&self, rng: &mut Rng, len: usize, out: &mut Vec<u8>) {
        out.clear();
        out.reserve(len + 32);
        while out.len() < len {
            // Six words of ten bits each, then a separator from the last four.
            let bits = rng.bits();
            for shift in 0..6 {
                out.extend_from_slice(&self.words[(bits >> (10 * shift)) as usize % WORDS]);
                out.push(b' ');
            }
            let end: &[u8] = match bits >> 60 {
                0..=3 => b"\n",
                4..=6 => b";\n\t",
                7 => b"{\n\t\t",
                _ => b"",
            };
            out.extend_from_slice(end);
        }
        out.truncate(len);
    }
}

/// Makes a word of 2 to 11 letters.
fn word(rng: &mut Rng) -> Vec<u8> {
    let length = 2 + rng.below(4) + rng.below(7);
    (0..length).map(|_| b"etaoinsrhldcumfpgwybvkxjqz"[rng.index(26).min(rng.index(26))]).collect()
}
