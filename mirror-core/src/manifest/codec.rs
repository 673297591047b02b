//! How a block is written: each record as what differs from the one before it.
//!
//! Entries of one directory have owner, file system, mode and often xattrs in common, and their
//! inode numbers and times lie close together. A byte of flags says what is as before; the rest
//! are differences in LEB128, zigzagged where they can be negative.
//!
//! ```text
//! block    digest of the agreed part, 16 bytes
//!          sides whose place is known, 1 byte: bit 0 for A, bit 1 for B
//!          device, inode for each of them
//!          directory: length, bytes
//!          number of records
//!          records
//! record   flags, 2 bytes (`KIND`, `HAS_…`, `SAME_…`, `ONE_LINK`)
//!          name: length, bytes
//!          size, target or device number, as the kind has it
//!          metadata
//!          metadata on B, digest, identities on A and B, if there
//! ```

use crate::entry::{Bytes, Digest, Identity, Kind, Meta, Timestamp, Xattrs};
use crate::manifest::{Block, Place, Record};
use crate::path::{Name, RelPath};

/// The BLAKE3 of a block's agreed part, cut to as many bytes as tell blocks apart.
pub(super) type BlockDigest = [u8; 16];

/// What is written of a block but is not in [`Block`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prelude {
    pub(super) digest: BlockDigest,
    /// Where the directory itself was on each side.
    pub(super) places: [Option<Place>; 2],
}

// The first byte of flags.
const KIND: u8 = 0b111;
const HAS_DIGEST: u8 = 1 << 3;
const HAS_META_ON_B: u8 = 1 << 4;
const HAS_IDENTITY: [u8; 2] = [1 << 5, 1 << 6];
const HAS_XATTRS: u8 = 1 << 7;
// The second.
const SAME_MODE: u8 = 1;
const SAME_OWNER: u8 = 1 << 1;
const SAME_XATTRS: u8 = 1 << 2;
const SAME_DEVICE: [u8; 2] = [1 << 3, 1 << 4];
const ONE_LINK: [u8; 2] = [1 << 5, 1 << 6];

/// The fewest bytes that a record takes: flags, empty name, time. Caps what a count can allocate.
const LEAST_RECORD: usize = 2 + 1 + 2;

/// The bytes are not what [`encode`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// What the next record is a difference to.
struct Previous {
    meta: Meta,
    identity: [Identity; 2],
}

impl Previous {
    fn none() -> Previous {
        let time = Timestamp::default();
        Previous {
            meta: Meta { mode: 0o644, uid: 0, gid: 0, mtime: time, xattrs: Xattrs::default() },
            identity: [Identity { device: 0, inode: 0, ctime: time, links: 1 }; 2],
        }
    }
}

/// Appends `block` to `out`.
pub(super) fn encode(block: &Block, prelude: &Prelude, out: &mut Vec<u8>) {
    out.extend_from_slice(&prelude.digest);
    let known = |side: usize| u8::from(prelude.places[side].is_some()) << side;
    out.push(known(0) | known(1));
    for (device, inode) in prelude.places.into_iter().flatten() {
        put_number(out, device);
        put_number(out, inode);
    }
    put_bytes(out, block.directory.as_bytes());
    put_number(out, block.records.len() as u64);
    let mut previous = Previous::none();
    for record in &block.records {
        put_record(out, record, &mut previous);
    }
}

fn put_record(out: &mut Vec<u8>, record: &Record, previous: &mut Previous) {
    let flags_at = out.len();
    out.extend_from_slice(&[0, 0]);
    put_bytes(out, record.name.as_bytes());
    let mut first = put_kind(out, &record.kind);
    let mut second = 0;
    put_meta(out, &record.meta, &previous.meta, &mut first, &mut second);
    if let Some(meta) = &record.meta_on_b {
        first |= HAS_META_ON_B;
        let (mut has, mut same) = (0, 0);
        let flags_at = out.len();
        out.extend_from_slice(&[0, 0]);
        put_meta(out, meta, &record.meta, &mut has, &mut same);
        out[flags_at..flags_at + 2].copy_from_slice(&[has, same]);
    }
    if let Some(digest) = &record.digest {
        first |= HAS_DIGEST;
        out.extend_from_slice(&digest.0);
    }
    for side in 0..2 {
        let Some(identity) = &record.identity[side] else {
            continue;
        };
        first |= HAS_IDENTITY[side];
        let before = &mut previous.identity[side];
        if identity.device == before.device {
            second |= SAME_DEVICE[side];
        } else {
            put_number(out, identity.device);
        }
        put_difference(out, identity.inode, before.inode);
        put_time(out, identity.ctime, before.ctime);
        if identity.links == 1 {
            second |= ONE_LINK[side];
        } else {
            put_number(out, identity.links.into());
        }
        *before = *identity;
    }
    previous.meta.clone_from(&record.meta);
    out[flags_at..flags_at + 2].copy_from_slice(&[first, second]);
}

/// Appends what belongs to the kind and returns its number.
fn put_kind(out: &mut Vec<u8>, kind: &Kind) -> u8 {
    match kind {
        Kind::Directory => 0,
        Kind::File { size } => {
            put_number(out, *size);
            1
        }
        Kind::Symlink { target } => {
            put_bytes(out, &target.0);
            2
        }
        Kind::Fifo => 3,
        Kind::Socket => 4,
        Kind::CharacterDevice { number } => {
            put_number(out, *number);
            5
        }
        Kind::BlockDevice { number } => {
            put_number(out, *number);
            6
        }
    }
}

fn put_meta(out: &mut Vec<u8>, meta: &Meta, before: &Meta, has: &mut u8, same: &mut u8) {
    if meta.mode == before.mode {
        *same |= SAME_MODE;
    } else {
        put_number(out, meta.mode.into());
    }
    if (meta.uid, meta.gid) == (before.uid, before.gid) {
        *same |= SAME_OWNER;
    } else {
        put_number(out, meta.uid.into());
        put_number(out, meta.gid.into());
    }
    put_time(out, meta.mtime, before.mtime);
    if meta.xattrs.is_empty() {
        return;
    }
    *has |= HAS_XATTRS;
    if meta.xattrs == before.xattrs {
        *same |= SAME_XATTRS;
        return;
    }
    put_number(out, meta.xattrs.iter().count() as u64);
    for (name, value) in meta.xattrs.iter() {
        put_bytes(out, name);
        put_bytes(out, value);
    }
}

fn put_time(out: &mut Vec<u8>, time: Timestamp, before: Timestamp) {
    let seconds = time.seconds.wrapping_sub(before.seconds);
    put_number(out, zigzag(seconds));
    put_number(out, time.nanos.into());
}

fn put_difference(out: &mut Vec<u8>, number: u64, before: u64) {
    put_number(out, zigzag(number.wrapping_sub(before).cast_signed()));
}

fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a whole block.
pub(super) fn decode(bytes: &[u8]) -> Result<Block, Malformed> {
    let mut input = Input(bytes);
    input.prelude()?;
    let directory = input.directory()?;
    let count = input.length()?;
    let mut records = Vec::with_capacity(count.min(input.0.len() / LEAST_RECORD));
    let mut previous = Previous::none();
    for _ in 0..count {
        records.push(input.record(&mut previous)?);
    }
    if !input.0.is_empty() {
        return Err(Malformed);
    }
    Ok(Block { directory, records })
}

/// Reads what comes before the records: enough to tell whether this is the block that is sought.
pub(super) fn decode_prelude(bytes: &[u8]) -> Result<(Prelude, RelPath), Malformed> {
    let mut input = Input(bytes);
    Ok((input.prelude()?, input.directory()?))
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed)?;
        if first < 0x80 {
            self.0 = rest;
            return Ok(first.into());
        }
        let mut number = 0;
        for (at, &byte) in self.0.iter().enumerate().take(10) {
            // The tenth byte has room for one bit.
            if at == 9 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn small_number(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.number()?).map_err(|_| Malformed)
    }

    fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.number()?).map_err(|_| Malformed)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    fn prelude(&mut self) -> Result<Prelude, Malformed> {
        let digest = self.array()?;
        let [known] = self.array()?;
        if known > 0b11 {
            return Err(Malformed);
        }
        let mut places = [None; 2];
        for (side, place) in places.iter_mut().enumerate() {
            if known & 1 << side != 0 {
                *place = Some((self.number()?, self.number()?));
            }
        }
        Ok(Prelude { digest, places })
    }

    fn directory(&mut self) -> Result<RelPath, Malformed> {
        RelPath::new(self.bytes()?).map_err(|_| Malformed)
    }

    fn record(&mut self, previous: &mut Previous) -> Result<Record, Malformed> {
        let [first, second] = self.array()?;
        let name = match self.bytes()? {
            [] => Name::of_root(),
            name => Name::new(name).map_err(|_| Malformed)?,
        };
        let kind = self.kind(first & KIND)?;
        let meta = self.meta(&previous.meta, first, second)?;
        let meta_on_b = if first & HAS_META_ON_B == 0 {
            None
        } else {
            let [has, same] = self.array()?;
            Some(Box::new(self.meta(&meta, has, same)?))
        };
        let digest = if first & HAS_DIGEST == 0 { None } else { Some(Digest(self.array()?)) };
        let mut identity = [None; 2];
        for side in 0..2 {
            if first & HAS_IDENTITY[side] == 0 {
                continue;
            }
            let before = &mut previous.identity[side];
            if second & SAME_DEVICE[side] == 0 {
                before.device = self.number()?;
            }
            let step = unzigzag(self.number()?);
            before.inode = before.inode.wrapping_add(step.cast_unsigned());
            before.ctime = self.time(before.ctime)?;
            before.links = if second & ONE_LINK[side] == 0 { self.small_number()? } else { 1 };
            identity[side] = Some(*before);
        }
        previous.meta.clone_from(&meta);
        Ok(Record { name, kind, meta, meta_on_b, digest, identity })
    }

    fn kind(&mut self, number: u8) -> Result<Kind, Malformed> {
        Ok(match number {
            0 => Kind::Directory,
            1 => Kind::File { size: self.number()? },
            2 => Kind::Symlink { target: Bytes(self.bytes()?.into()) },
            3 => Kind::Fifo,
            4 => Kind::Socket,
            5 => Kind::CharacterDevice { number: self.number()? },
            6 => Kind::BlockDevice { number: self.number()? },
            _ => return Err(Malformed),
        })
    }

    fn meta(&mut self, before: &Meta, has: u8, same: u8) -> Result<Meta, Malformed> {
        let mode = if same & SAME_MODE == 0 { self.small_number()? } else { before.mode };
        let (uid, gid) = if same & SAME_OWNER == 0 {
            (self.small_number()?, self.small_number()?)
        } else {
            (before.uid, before.gid)
        };
        let mtime = self.time(before.mtime)?;
        let xattrs = if has & HAS_XATTRS == 0 {
            Xattrs::default()
        } else if same & SAME_XATTRS != 0 {
            before.xattrs.clone()
        } else {
            let count = self.length()?;
            let mut pairs = Vec::with_capacity(count.min(self.0.len() / 2));
            for _ in 0..count {
                pairs.push((Bytes(self.bytes()?.into()), Bytes(self.bytes()?.into())));
            }
            Xattrs::new(pairs)
        };
        Ok(Meta { mode, uid, gid, mtime, xattrs })
    }

    fn time(&mut self, before: Timestamp) -> Result<Timestamp, Malformed> {
        Ok(Timestamp {
            seconds: before.seconds.wrapping_add(unzigzag(self.number()?)),
            nanos: self.small_number()?,
        })
    }
}

/// The digest of what both sides agree on in `block`: names, kinds, metadata and content, and
/// never inodes. Two servers that hold the same directory compute the same.
///
/// `scratch` is cleared; it saves an allocation for each block.
pub(super) fn agreed_digest(block: &Block, scratch: &mut Vec<u8>) -> BlockDigest {
    scratch.clear();
    fixed_bytes(scratch, block.directory.as_bytes());
    for record in &block.records {
        agreed_part(record, scratch);
    }
    let mut digest = BlockDigest::default();
    digest.copy_from_slice(&blake3::hash(scratch).as_bytes()[..16]);
    digest
}

/// Appends the agreed part of `record`, every length before what it measures and every choice
/// before what it chose, so that no two records give the same bytes.
pub(super) fn agreed_part(record: &Record, out: &mut Vec<u8>) {
    fixed_bytes(out, record.name.as_bytes());
    let (number, detail) = match &record.kind {
        Kind::Directory => (0, 0),
        Kind::File { size } => (1, *size),
        Kind::Symlink { target } => (2, target.0.len() as u64),
        Kind::Fifo => (3, 0),
        Kind::Socket => (4, 0),
        Kind::CharacterDevice { number } => (5, *number),
        Kind::BlockDevice { number } => (6, *number),
    };
    out.push(number);
    out.extend_from_slice(&detail.to_le_bytes());
    if let Kind::Symlink { target } = &record.kind {
        out.extend_from_slice(&target.0);
    }
    agreed_meta(&record.meta, out);
    out.push(record.meta_on_b.is_some().into());
    if let Some(meta) = &record.meta_on_b {
        agreed_meta(meta, out);
    }
    out.push(record.digest.is_some().into());
    if let Some(digest) = &record.digest {
        out.extend_from_slice(&digest.0);
    }
}

fn agreed_meta(meta: &Meta, out: &mut Vec<u8>) {
    out.extend_from_slice(&meta.mode.to_le_bytes());
    out.extend_from_slice(&meta.uid.to_le_bytes());
    out.extend_from_slice(&meta.gid.to_le_bytes());
    out.extend_from_slice(&meta.mtime.seconds.to_le_bytes());
    out.extend_from_slice(&meta.mtime.nanos.to_le_bytes());
    out.extend_from_slice(&(meta.xattrs.iter().count() as u64).to_le_bytes());
    for (name, value) in meta.xattrs.iter() {
        fixed_bytes(out, name);
        fixed_bytes(out, value);
    }
}

fn fixed_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::arbitrary;
    use proptest::prelude::*;

    fn prelude(block: &Block, places: [Option<Place>; 2]) -> Prelude {
        Prelude { digest: agreed_digest(block, &mut Vec::new()), places }
    }

    #[test]
    fn a_file_like_the_one_before_takes_few_bytes() {
        let mut block = arbitrary::example_tree().remove(0);
        let mut out = Vec::new();
        encode(&block, &prelude(&block, [None; 2]), &mut out);
        let before = out.len();
        let last = block.records.last().unwrap().clone();
        block.records.push(Record { name: Name::new(b"zz").unwrap(), ..last });
        out.clear();
        encode(&block, &prelude(&block, [None; 2]), &mut out);
        assert!(out.len() - before < 60, "{} bytes", out.len() - before);
    }

    #[test]
    fn numbers_take_the_bytes_they_need_and_no_more() {
        for (number, length) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            assert_eq!(out.len(), length);
            assert_eq!(Input(&out).number(), Ok(number));
        }
        assert_eq!(Input(&[0xff; 10]).number(), Err(Malformed));
        assert_eq!(Input(&[0x80; 11]).number(), Err(Malformed));
        assert_eq!(Input(&[0x80]).number(), Err(Malformed));
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_allocates_nothing() {
        let block = Block::default();
        let mut out = Vec::new();
        encode(&block, &prelude(&block, [None; 2]), &mut out);
        assert_eq!(out.pop(), Some(0));
        put_number(&mut out, u64::MAX);
        assert_eq!(decode(&out), Err(Malformed));
    }

    proptest! {
        #[test]
        fn blocks_come_back(
            block in arbitrary::block(),
            places in any::<[Option<Place>; 2]>(),
        ) {
            let prelude = prelude(&block, places);
            let mut out = Vec::new();
            encode(&block, &prelude, &mut out);
            prop_assert_eq!(
                decode_prelude(&out),
                Ok((prelude, block.directory.clone()))
            );
            prop_assert_eq!(decode(&out), Ok(block));
        }

        #[test]
        fn no_bytes_make_it_panic(
            block in arbitrary::block(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            keep in any::<prop::sample::Index>(),
        ) {
            let mut out = Vec::new();
            encode(&block, &prelude(&block, [None, Some((1, 2))]), &mut out);
            for (at, value) in damage {
                let at = at.index(out.len());
                out[at] = value;
            }
            let _ = decode(&out);
            let _ = decode(&out[..keep.index(out.len())]);
            let _ = decode_prelude(&out[..keep.index(out.len())]);
        }

        #[test]
        fn the_digest_covers_what_is_agreed_and_nothing_else(
            block in arbitrary::block(),
            other in arbitrary::block(),
        ) {
            let digest = |block: &Block| agreed_digest(block, &mut Vec::new());
            let without_inodes = |mut block: Block| {
                for record in &mut block.records {
                    record.identity = [None; 2];
                }
                block
            };
            prop_assert_eq!(digest(&without_inodes(block.clone())), digest(&block));
            let same = without_inodes(block.clone()) == without_inodes(other.clone());
            prop_assert_eq!(digest(&block) == digest(&other), same);
        }
    }
}
