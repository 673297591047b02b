//! Frames: a batch of messages, compressed where that pays, with a check that ties it to all
//! frames before it.
//!
//! ```text
//! length   u32, little-endian: bytes of the body as sent, 1 to 1 MiB
//! raw      u32: bytes of the body uncompressed, 1 to 1 MiB
//! form     u8: 0 as it is, 1 one zstd frame
//! number   u64: how many frames came before it, on all connections of a link together
//! check    4 bytes: BLAKE3 over the check before it and the 17 bytes above, so that nobody waits
//!          for a body of a length that was damaged on the way
//! check    16 bytes: BLAKE3 over the check before it, the 21 bytes above and the body as sent
//! body
//! ```
//!
//! The first check follows on the BLAKE3 of the magic that the direction begins with. A frame is
//! valid only at its place, so that nothing can be dropped, repeated or exchanged unseen.

use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::LinkError;

/// The most that a body may take, sent or uncompressed.
pub(crate) const BODY_MAX: usize = 1 << 20;

/// What comes before a body.
pub(crate) const HEADER: usize = CHECKED + 16;

/// What of that comes before the check.
const CHECKED: usize = HEAD + 4;

/// Lengths, form and number.
const HEAD: usize = 4 + 4 + 1 + 8;

/// How hard bodies are compressed at the least and at the most. Above that, levels take several
/// times as long for a few bytes in a hundred.
const LEVELS: RangeInclusive<i32> = 1..=3;

/// Bodies below this are not worth compressing.
const COMPRESS_FROM: usize = 200;

/// The largest window that a body of [`BODY_MAX`] can use; a frame that asks for more is refused.
const WINDOW_LOG_MAX: u32 = 20;

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

type Check = [u8; 16];

fn first_check(magic: &[u8; 16]) -> Check {
    cut(blake3::hash(magic))
}

fn next_check(before: &Check, head: &[u8], body: &[u8]) -> Check {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(head);
    hasher.update(body);
    cut(hasher.finalize())
}

fn cut(hash: blake3::Hash) -> Check {
    let mut check = Check::default();
    check.copy_from_slice(&hash.as_bytes()[..16]);
    check
}

/// Turns bodies into frames.
pub(crate) struct Encoder {
    check: Check,
    compressor: zstd::bulk::Compressor<'static>,
    level: i32,
    #[cfg(any(test, feature = "testing"))]
    next: u64,
    frame: Vec<u8>,
    compressed: Vec<u8>,
}

impl Encoder {
    /// Frames that follow on `magic`, compressed at `level` until told to [`adapt`](Self::adapt)
    /// it.
    pub(crate) fn new(magic: &[u8; 16], level: i32) -> io::Result<Encoder> {
        Ok(Encoder {
            check: first_check(magic),
            compressor: zstd::bulk::Compressor::new(level)?,
            level,
            #[cfg(any(test, feature = "testing"))]
            next: 0,
            frame: Vec::new(),
            compressed: Vec::new(),
        })
    }

    /// Compresses harder while writing takes far longer than compressing, and less hard while it
    /// takes less: a slow link is the better for each byte less, and a fast one for the time.
    pub(crate) fn adapt(&mut self, compressing: Duration, writing: Duration) -> io::Result<()> {
        let step = match () {
            () if writing > compressing * 3 => 1,
            () if writing < compressing => -1,
            () => return Ok(()),
        };
        let level = (self.level + step).clamp(*LEVELS.start(), *LEVELS.end());
        if level != self.level {
            self.compressor.set_compression_level(level)?;
            self.level = level;
        }
        Ok(())
    }

    /// The next frame of a link with one connection.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn encode(&mut self, body: &[u8]) -> &[u8] {
        self.next += 1;
        self.encode_as(self.next - 1, body)
    }

    /// The frame of this number for `body`, which holds 1 to [`BODY_MAX`] bytes.
    pub(crate) fn encode_as(&mut self, number: u64, body: &[u8]) -> &[u8] {
        debug_assert!((1..=BODY_MAX).contains(&body.len()), "the link caps its batches");
        let mut form = PLAIN;
        if body.len() >= COMPRESS_FROM {
            // Room for what is kept only when it is shorter: running out of it is the answer.
            self.compressed.resize(body.len() - body.len() / 16, 0);
            if let Ok(length) = self.compressor.compress_to_buffer(body, &mut self.compressed[..]) {
                self.compressed.truncate(length);
                form = ZSTD;
            }
        }
        let sent = if form == ZSTD { &self.compressed[..] } else { body };
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        self.frame.clear();
        self.frame.extend_from_slice(&length(sent));
        self.frame.extend_from_slice(&length(body));
        self.frame.push(form);
        self.frame.extend_from_slice(&number.to_le_bytes());
        let head_check = next_check(&self.check, &self.frame, &[]);
        self.frame.extend_from_slice(&head_check[..CHECKED - HEAD]);
        self.check = next_check(&self.check, &self.frame, sent);
        self.frame.extend_from_slice(&self.check);
        self.frame.extend_from_slice(sent);
        &self.frame
    }
}

/// Turns frames into bodies.
pub(crate) struct Decoder {
    check: Check,
    decompressor: zstd::bulk::Decompressor<'static>,
    sent: Vec<u8>,
    number: u64,
}

impl Decoder {
    /// Frames that follow on `magic`.
    pub(crate) fn new(magic: &[u8; 16]) -> io::Result<Decoder> {
        let decompressor = zstd::bulk::Decompressor::new()?;
        Ok(Decoder { check: first_check(magic), decompressor, sent: Vec::new(), number: 0 })
    }

    /// The number of the frame that was read last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Reads one frame and puts its body into `body`. False at an end between two frames.
    pub(crate) fn read(
        &mut self,
        input: &mut dyn Read,
        body: &mut Vec<u8>,
    ) -> Result<bool, LinkError> {
        let mut header = [0; HEADER];
        match read_full(input, &mut header)? {
            0 => return Ok(false),
            HEADER => {}
            _ => return Err(LinkError::Ended),
        }
        if next_check(&self.check, &header[..HEAD], &[])[..CHECKED - HEAD] != header[HEAD..CHECKED]
        {
            return Err(LinkError::Damaged("a frame whose beginning does not fit"));
        }
        let number = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&header[at..at + 4]);
            usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX)
        };
        let (length, raw, form) = (number(0), number(4), header[8]);
        if !(1..=BODY_MAX).contains(&length) || !(1..=BODY_MAX).contains(&raw) {
            return Err(LinkError::Damaged("a frame of a length that no frame has"));
        }
        if form > ZSTD || (form == PLAIN && raw != length) {
            return Err(LinkError::Damaged("a frame of an unknown form"));
        }
        self.sent.resize(length, 0);
        if read_full(input, &mut self.sent)? < length {
            return Err(LinkError::Ended);
        }
        self.check = next_check(&self.check, &header[..CHECKED], &self.sent);
        if header[CHECKED..] != self.check {
            return Err(LinkError::Damaged("a frame whose check does not fit"));
        }
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&header[9..HEAD]);
        self.number = u64::from_le_bytes(bytes);
        if form == PLAIN {
            std::mem::swap(body, &mut self.sent);
            return Ok(true);
        }
        if !is_one_frame(&self.sent) {
            return Err(LinkError::Damaged(
                "a body that is not one zstd frame with a small window",
            ));
        }
        body.resize(raw, 0);
        // The output is as long as the header says and no longer, whatever the frame would expand to.
        match self.decompressor.decompress_to_buffer(&self.sent, &mut body[..]) {
            Ok(length) if length == raw => Ok(true),
            _ => Err(LinkError::Damaged("a frame that does not unpack to the length it names")),
        }
    }
}

/// Whether a body is a single zstd frame, no skippable one, whose window is at most
/// [`WINDOW_LOG_MAX`] (RFC 8878, sections 3.1.1 and 3.1.2). Unpacked in one go it would do with any
/// number of frames, and whatever windows they name.
fn is_one_frame(sent: &[u8]) -> bool {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    /// The bit of the descriptor that says that the content itself is the window.
    const SINGLE_SEGMENT: u8 = 1 << 5;
    let Some([a, b, c, d, descriptor, window, ..]) = sent.first_chunk::<6>() else { return false };
    // Exponent and eighths of it, from 2^10 on.
    let is_small = descriptor & SINGLE_SEGMENT != 0
        || *window <= u8::try_from((WINDOW_LOG_MAX - 10) << 3).unwrap_or(0);
    [*a, *b, *c, *d] == MAGIC
        && is_small
        && zstd::zstd_safe::find_frame_compressed_size(sent) == Ok(sent.len())
}

/// Fills `buffer` as far as the input reaches.
fn read_full(input: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, LinkError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(LinkError::Io(crate::error::explain(&error))),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::AGENT_MAGIC;
    use proptest::prelude::*;

    fn frames(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = Encoder::new(AGENT_MAGIC, 3).unwrap();
        bodies.iter().flat_map(|body| encoder.encode(body).to_vec()).collect()
    }

    fn bodies(mut bytes: &[u8]) -> Result<Vec<Vec<u8>>, LinkError> {
        let mut decoder = Decoder::new(AGENT_MAGIC).unwrap();
        let (mut all, mut body) = (Vec::new(), Vec::new());
        while decoder.read(&mut bytes, &mut body)? {
            all.push(body.clone());
        }
        Ok(all)
    }

    #[test]
    fn long_runs_shrink_and_come_back() {
        let long = vec![vec![7; BODY_MAX], b"short".to_vec()];
        let sent = frames(&long);
        assert!(sent.len() < 1000);
        assert_eq!(bodies(&sent).unwrap(), long);
    }

    #[test]
    fn s14_s20_a_frame_that_claims_more_than_fits_is_refused_before_anything_is_allocated() {
        for (length, raw, form) in
            [(u32::MAX, 1, 0), (1, u32::MAX, 1), (0, 0, 0), (5, 6, 0), (5, 5, 2), (5, 0, 1)]
        {
            let mut header = Vec::new();
            header.extend_from_slice(&u32::to_le_bytes(length));
            header.extend_from_slice(&u32::to_le_bytes(raw));
            header.push(form);
            header.extend_from_slice(&[0; 8]);
            let check = next_check(&first_check(AGENT_MAGIC), &header, &[]);
            header.extend_from_slice(&check[..4]);
            header.extend_from_slice(&[0; 16]);
            assert!(matches!(bodies(&header), Err(LinkError::Damaged(_))), "{length} {raw} {form}");
        }
    }

    #[test]
    fn s20_a_frame_that_expands_beyond_what_it_names_is_refused() {
        let packed = zstd::bulk::compress(&vec![0; 4 * BODY_MAX], 3).unwrap();
        let mut frame = Vec::new();
        frame.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
        frame.extend_from_slice(&u32::try_from(BODY_MAX).unwrap().to_le_bytes());
        frame.push(ZSTD);
        frame.extend_from_slice(&[0; 8]);
        let check = next_check(&first_check(AGENT_MAGIC), &frame, &[]);
        frame.extend_from_slice(&check[..4]);
        let check = next_check(&first_check(AGENT_MAGIC), &frame, &packed);
        frame.extend_from_slice(&check);
        frame.extend_from_slice(&packed);
        assert!(matches!(bodies(&frame), Err(LinkError::Damaged(_))));
    }

    #[test]
    fn s14_s20_a_body_is_one_zstd_frame_with_a_window_of_a_mebibyte_at_most() {
        let packed = zstd::bulk::compress(&[7; 1000], 3).unwrap();
        assert!(is_one_frame(&packed));
        let skippable =
            [&0x184D_2A50_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), b"skip"].concat();
        // Without a content size, and a window of 2^(10 + exponent): one raw block, the last one,
        // of four bytes.
        let windowed = |exponent: u8, eighths: u8| {
            let head = [0x28, 0xB5, 0x2F, 0xFD, 0, exponent << 3 | eighths];
            [&head[..], &[0x21, 0, 0], b"data"].concat()
        };
        assert!(is_one_frame(&windowed(10, 0)));
        for wrong in [
            [&packed[..], &packed].concat(),
            [&skippable[..], &packed].concat(),
            [&packed[..], &skippable].concat(),
            skippable.clone(),
            windowed(10, 1),
            windowed(17, 0),
            packed[..packed.len() - 1].to_vec(),
            b"\x28\xB5".to_vec(),
        ] {
            assert!(!is_one_frame(&wrong), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn every_batch_comes_back(
            batches in prop::collection::vec(prop::collection::vec(0_u8..4, 1..3000), 0..8),
        ) {
            prop_assert_eq!(bodies(&frames(&batches)).unwrap(), batches);
        }

        #[test]
        fn s16_a_flipped_bit_or_a_cut_is_noticed(
            batches in prop::collection::vec(prop::collection::vec(0_u8..4, 1..500), 1..4),
            at in any::<prop::sample::Index>(),
            bit in 0..8,
        ) {
            let sent = frames(&batches);
            let mut flipped = sent.clone();
            flipped[at.index(sent.len())] ^= 1_u8 << bit;
            prop_assert!(bodies(&flipped).is_err());
            // A cut between two frames is for the link to notice, which knows how it has to end.
            let cut = bodies(&sent[..at.index(sent.len())]);
            prop_assert!(cut.is_err() || batches.starts_with(&cut.unwrap()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = bodies(&bytes);
        }
    }
}
