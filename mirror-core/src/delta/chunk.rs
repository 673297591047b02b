//! Cutting content into chunks at places that the content itself decides, so that an insertion
//! moves the later cuts along instead of changing every chunk behind it.

use std::io::{self, Read};

use fastcdc::v2020::{Normalization, cut, select_masks};
use serde::{Deserialize, Serialize};

use crate::entry::Digest;

/// The smallest average, and the one for files up to 2 GiB.
const AVERAGE_MIN: u32 = 8 * 1024;

/// The largest average; the widest mask that the cutting tables have.
const AVERAGE_MAX: u32 = 16 * 1024 * 1024;

/// Chunks that a file has on average at most, as long as the largest average allows.
const CHUNKS_MAX: u64 = 262_144;

/// The least room for content that is read but not yet cut, in bytes. Reading less at a time
/// would cost calls; more would fall out of the processor's cache.
const BUFFER_MIN: usize = 512 * 1024;

/// How long the chunks of a file are: a power of two on average, at least a quarter of it and at
/// most four times as much. The last chunk of a file may be shorter.
///
/// Only content cut with the same size has chunks in common, so both sides must use the one that
/// is remembered with the chunks. It is stored as its average.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ChunkSize {
    average: u32,
}

impl ChunkSize {
    /// The size for a file of `size` bytes: 8 KiB on average, and beyond 2 GiB so much more that
    /// the file has no more than 262,144 chunks.
    ///
    /// Never more than 16 MiB, so that files beyond 4 TiB have more chunks than that.
    pub fn for_file(size: u64) -> ChunkSize {
        let least = size.div_ceil(CHUNKS_MAX).min(AVERAGE_MAX.into());
        let least = u32::try_from(least).expect("it was capped to a u32 above");
        ChunkSize { average: least.next_power_of_two().max(AVERAGE_MIN) }
    }

    /// The size with this average in bytes: a power of two from 8 KiB to 16 MiB. None for any
    /// other.
    pub fn with_average(average: u32) -> Option<ChunkSize> {
        let fits = average.is_power_of_two() && (AVERAGE_MIN..=AVERAGE_MAX).contains(&average);
        fits.then_some(ChunkSize { average })
    }

    /// The least length of a chunk that is not the last, in bytes.
    pub fn minimum(self) -> u32 {
        self.average / 4
    }

    /// What the lengths come to on average, in bytes; measured on random content, about a fifth
    /// more.
    pub fn average(self) -> u32 {
        self.average
    }

    /// The greatest length of a chunk, in bytes.
    pub fn maximum(self) -> u32 {
        self.average * 4
    }
}

impl TryFrom<u32> for ChunkSize {
    type Error = &'static str;

    fn try_from(average: u32) -> Result<ChunkSize, &'static str> {
        ChunkSize::with_average(average)
            .ok_or("the average size of chunks is a power of two from 8 KiB to 16 MiB")
    }
}

impl From<ChunkSize> for u32 {
    fn from(size: ChunkSize) -> u32 {
        size.average
    }
}

/// A piece of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Chunk {
    /// Where it begins, in bytes from the beginning of the file.
    pub offset: u64,
    /// How many bytes it has; never 0.
    pub length: u32,
    /// The digest of these bytes.
    pub digest: Digest,
}

/// Cuts what a reader yields into [`Chunk`]s: FastCDC (the 2020 variant with normalisation
/// level 1), with a BLAKE3 digest each.
///
/// The chunks tile the content without gap or overlap, and depend on nothing but the content and
/// the [`ChunkSize`]. Memory is bounded: eight times the average, at least 512 KiB.
///
/// ```
/// use mirror_core::{ChunkSize, Chunker, Digest};
///
/// let content = vec![7; 100_000];
/// let size = ChunkSize::for_file(content.len() as u64);
/// let chunks = Chunker::new(content.as_slice(), size).collect::<Result<Vec<_>, _>>()?;
/// let total: u64 = chunks.iter().map(|chunk| u64::from(chunk.length)).sum();
/// assert_eq!(total, 100_000);
/// assert_eq!(chunks[0].digest, Digest::of(&content[..32_768]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Chunker<R> {
    reader: R,
    size: ChunkSize,
    masks: (u64, u64),
    buffer: Vec<u8>,
    /// What is read and not yet cut lies from `start` to `end` of the buffer.
    start: usize,
    end: usize,
    offset: u64,
    is_at_end: bool,
}

impl<R: Read> Chunker<R> {
    /// Begins to cut what `reader` yields. Give it no buffer of its own: the chunker has one.
    pub fn new(reader: R, size: ChunkSize) -> Chunker<R> {
        let capacity = (2 * size.maximum() as usize).max(BUFFER_MIN);
        Chunker {
            reader,
            size,
            masks: select_masks(size.average as usize, Normalization::Level1),
            buffer: vec![0; capacity],
            start: 0,
            end: 0,
            offset: 0,
            is_at_end: false,
        }
    }

    /// The next chunk with its bytes; None at the end. The iterator yields the same without the
    /// bytes.
    ///
    /// # Errors
    /// What the reader reported. Nothing is lost by it: the next call goes on reading where this
    /// one failed.
    pub fn next_chunk(&mut self) -> io::Result<Option<(Chunk, &[u8])>> {
        self.fill()?;
        let rest = &self.buffer[self.start..self.end];
        if rest.is_empty() {
            return Ok(None);
        }
        let (strict, relaxed) = self.masks;
        let (_, length) = cut(
            rest,
            self.size.minimum() as usize,
            self.size.average as usize,
            self.size.maximum() as usize,
            strict,
            relaxed,
            strict << 1,
            relaxed << 1,
        );
        let bytes = &rest[..length];
        let chunk = Chunk {
            offset: self.offset,
            length: u32::try_from(length).expect("a cut is within the maximum, which is a u32"),
            digest: Digest::of(bytes),
        };
        self.start += length;
        self.offset += length as u64;
        Ok(Some((chunk, bytes)))
    }

    /// Reads on until the longest possible chunk is there. A cut that was found with less in view
    /// would depend on how the reader splits its reads.
    fn fill(&mut self) -> io::Result<()> {
        let needed = self.size.maximum() as usize;
        if self.is_at_end || self.end - self.start >= needed {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < needed {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.is_at_end = true;
                    break;
                }
                Ok(read) => self.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Chunker<R> {
    type Item = io::Result<Chunk>;

    fn next(&mut self) -> Option<io::Result<Chunk>> {
        self.next_chunk().map(|next| next.map(|(chunk, _)| chunk)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const SMALLEST: ChunkSize = ChunkSize { average: AVERAGE_MIN };

    /// The same bytes for the same seed, and none that repeat.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn chunks(content: &[u8]) -> Vec<Chunk> {
        Chunker::new(content, SMALLEST).map(Result::unwrap).collect()
    }

    /// Yields its bytes in pieces of these lengths, over and over, with interruptions.
    struct Splitting<'a> {
        rest: &'a [u8],
        lengths: std::iter::Cycle<std::slice::Iter<'a, usize>>,
    }

    impl Read for Splitting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = *self.lengths.next().unwrap();
            if length == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = length.min(self.rest.len()).min(buffer.len());
            buffer[..length].copy_from_slice(&self.rest[..length]);
            self.rest = &self.rest[length..];
            Ok(length)
        }
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            (any::<u64>(), 0..120_000_usize).prop_map(|(seed, length)| noise(seed, length)),
            (any::<u8>(), 0..120_000_usize).prop_map(|(byte, length)| vec![byte; length]),
        ];
        prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn chunks_tile_the_content_and_digest_it(content in content()) {
            let mut offset = 0;
            let chunks = chunks(&content);
            for (index, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(chunk.offset, offset as u64);
                let end = offset + chunk.length as usize;
                prop_assert_eq!(chunk.digest, Digest::of(&content[offset..end]));
                prop_assert!((1..=SMALLEST.maximum()).contains(&chunk.length));
                prop_assert!(chunk.length >= SMALLEST.minimum() || index + 1 == chunks.len());
                offset = end;
            }
            prop_assert_eq!(offset, content.len());
        }

        #[test]
        fn how_the_reads_are_split_changes_nothing(
            content in content(),
            mut lengths in prop::collection::vec(0..50_000_usize, 1..8),
        ) {
            lengths.push(1 + lengths[0]);
            let reader = Splitting { rest: &content, lengths: lengths.iter().cycle() };
            let split: Vec<_> = Chunker::new(reader, SMALLEST).map(Result::unwrap).collect();
            prop_assert_eq!(split, chunks(&content));
        }
    }

    #[test]
    fn an_insertion_changes_only_the_chunks_around_it() {
        let old = noise(1, 4 << 20);
        let known: HashSet<Digest> = chunks(&old).iter().map(|chunk| chunk.digest).collect();
        assert!((350..=500).contains(&known.len()), "{}", known.len());
        for at in [0, 1_000_003] {
            for seed in 2..18 {
                let mut new = old.clone();
                new.splice(at..at, noise(seed, 1 + 37 * seed as usize));
                let fresh =
                    chunks(&new).iter().filter(|chunk| !known.contains(&chunk.digest)).count();
                assert!((1..=6).contains(&fresh), "{fresh} of {}", known.len());
            }
        }
    }

    #[test]
    fn content_that_never_cuts_itself_is_cut_at_the_maximum() {
        let lengths = |content: &[u8]| -> Vec<u32> {
            chunks(content).iter().map(|chunk| chunk.length).collect()
        };
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[9]), [1]);
        let maximum = SMALLEST.maximum();
        assert_eq!(lengths(&vec![0; 100_000]), [maximum, maximum, maximum, 1_696]);
        assert_eq!(lengths(&vec![0; maximum as usize]), [maximum]);
    }

    #[test]
    fn the_cuts_stay_where_they_are_from_version_to_version() {
        // Remembered chunks are worthless once the same content is cut elsewhere.
        let offsets: Vec<u64> =
            chunks(&noise(0, 60_000)).iter().map(|chunk| chunk.offset).collect();
        assert_eq!(offsets, [0, 3648, 15728, 26023, 37804, 48513, 54477]);
    }

    #[test]
    fn a_failed_read_loses_nothing() {
        struct Failing<'a>(&'a [u8], bool);
        impl Read for Failing<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.1 = !self.1;
                if self.1 {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                let length = buffer.len().min(10_000);
                self.0.read(&mut buffer[..length])
            }
        }
        let content = noise(3, 200_000);
        let mut chunker = Chunker::new(Failing(&content, false), SMALLEST);
        let mut found = Vec::new();
        loop {
            match chunker.next_chunk() {
                Ok(Some((chunk, bytes))) => {
                    assert_eq!(Digest::of(bytes), chunk.digest);
                    found.push(chunk);
                }
                Ok(None) => break,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
            }
        }
        assert_eq!(found, chunks(&content));
    }

    #[test]
    fn the_size_grows_with_the_file() {
        let average = |size| ChunkSize::for_file(size).average();
        assert_eq!(average(0), 8192);
        assert_eq!(average(64 << 20), 8192);
        assert_eq!(average(2 << 30), 8192);
        assert_eq!(average((2 << 30) + 1), 16_384);
        assert_eq!(average(1 << 40), 4 << 20);
        assert_eq!(average(u64::MAX), 16 << 20);
        for shift in 0..=42 {
            let size = 1_u64 << shift;
            assert!(size / u64::from(average(size)) <= CHUNKS_MAX);
        }
    }

    #[test]
    fn every_size_can_be_used_and_no_other_can_be_read() {
        for shift in 13..=24 {
            let size = ChunkSize::with_average(1 << shift).unwrap();
            let json = serde_json::to_string(&size).unwrap();
            assert_eq!(serde_json::from_str::<ChunkSize>(&json).unwrap(), size);
            assert_eq!(Chunker::new(&b"x"[..], size).count(), 1);
        }
        for bad in ["0", "4096", "8193", "33554432", "-1"] {
            assert!(serde_json::from_str::<ChunkSize>(bad).is_err(), "{bad}");
        }
    }
}
