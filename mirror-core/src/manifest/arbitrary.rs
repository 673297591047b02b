//! Records, blocks and trees of any content, for properties; and one fixed tree.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::entry::{Bytes, Digest, Identity, Kind, Meta, Timestamp, Xattrs};
use crate::manifest::{Block, Header, Record, RootId};
use crate::path::{Name, RelPath};

fn bytes(longest: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..longest).prop_map(|bytes| Bytes(bytes.into()))
}

pub(crate) fn name() -> impl Strategy<Value = Name> {
    let byte = prop_oneof![3 => Just(b'a'), 1 => 1u8..=255];
    prop::collection::vec(byte, 1..12).prop_filter_map("not a name", |bytes| Name::new(&bytes).ok())
}

fn time() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), any::<u32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

fn meta() -> impl Strategy<Value = Meta> {
    let xattrs = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec((bytes(6), bytes(200)), 0..3),
    ];
    let owner = prop_oneof![Just((0, 0)), any::<(u32, u32)>()];
    let mode = prop_oneof![Just(0o644), any::<u32>()];
    (mode, owner, time(), xattrs).prop_map(|(mode, (uid, gid), mtime, xattrs)| Meta {
        mode,
        uid,
        gid,
        mtime,
        xattrs: Xattrs::new(xattrs),
    })
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Directory),
        any::<u64>().prop_map(|size| Kind::File { size }),
        bytes(40).prop_map(|target| Kind::Symlink { target }),
        Just(Kind::Fifo),
        Just(Kind::Socket),
        any::<u64>().prop_map(|number| Kind::CharacterDevice { number }),
        any::<u64>().prop_map(|number| Kind::BlockDevice { number }),
    ]
}

fn identity() -> impl Strategy<Value = Identity> {
    let device = prop_oneof![Just(7), any::<u64>()];
    let links = prop_oneof![Just(1), any::<u32>()];
    (device, any::<u64>(), time(), links).prop_map(|(device, inode, ctime, links)| Identity {
        device,
        inode,
        ctime,
        links,
    })
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    (
        name(),
        kind(),
        meta(),
        prop::option::weighted(0.2, meta()),
        any::<Option<[u8; 32]>>(),
        prop::option::of(identity()),
        prop::option::of(identity()),
    )
        .prop_map(|(name, kind, meta, on_b, digest, a, b)| Record {
            name,
            kind,
            meta,
            meta_on_b: on_b.map(Box::new),
            digest: digest.map(Digest),
            identity: [a, b],
        })
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    // Runs of equal metadata, as directories have them, so that differences to the record before
    // are none about as often as not.
    prop::collection::vec((record(), any::<bool>()), 0..8).prop_map(|drawn| {
        let mut records: Vec<Record> = Vec::new();
        for (mut record, alike) in drawn {
            if let (true, Some(last)) = (alike, records.last()) {
                record.meta = last.meta.clone();
            }
            records.push(record);
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        records.dedup_by(|a, b| a.name == b.name);
        records
    })
}

pub(crate) fn block() -> impl Strategy<Value = Block> {
    let directory = prop::collection::vec(name(), 0..4).prop_map(|names| {
        let below = |path: RelPath, name: &Name| path.join(name).unwrap();
        names.iter().fold(RelPath::root(), below)
    });
    (directory, records()).prop_map(|(directory, records)| Block { directory, records })
}

/// The blocks of a whole tree in order: each but the root's belongs to a directory in another.
pub(crate) fn tree() -> impl Strategy<Value = Vec<Block>> {
    let places = prop::collection::vec((any::<prop::sample::Index>(), name(), records()), 0..12);
    (records(), places).prop_map(|(top, places)| {
        let mut blocks = BTreeMap::from([(RelPath::root(), top)]);
        for (above, name, records) in places {
            let parents: Vec<RelPath> = blocks.keys().cloned().collect();
            let parent = &parents[above.index(parents.len())];
            blocks.entry(parent.join(&name).unwrap()).or_insert(records);
        }
        // Each directory has its record and each record of a directory its block.
        let directories: Vec<RelPath> = blocks.keys().cloned().collect();
        for records in blocks.values_mut() {
            records.retain(|record| !record.kind.is_directory());
        }
        for directory in directories {
            let Some((parent, name)) = directory.split() else {
                continue;
            };
            let records = blocks.get_mut(&parent).unwrap();
            records.retain(|record| record.name != name);
            // Its inode is its own in the tree, as it is on a disk.
            let number = number_of(&directory);
            let record = example_record(name.as_bytes(), Kind::Directory, number);
            records.push(record);
            records.sort_by(|a, b| a.name.cmp(&b.name));
        }
        blocks.into_iter().map(|(directory, records)| Block { directory, records }).collect()
    })
}

/// A number that differs between the paths of one small tree.
fn number_of(path: &RelPath) -> u64 {
    let mut number = [0; 8];
    number[..5].copy_from_slice(&blake3::hash(path.as_bytes()).as_bytes()[..5]);
    u64::from_le_bytes(number)
}

pub(crate) fn example_record(name: &[u8], kind: Kind, number: u64) -> Record {
    let time = |nanos| Timestamp { seconds: 1_700_000_000 + number.cast_signed(), nanos };
    let identity = |device, inode| Identity { device, inode, ctime: time(250_000_000), links: 1 };
    Record {
        name: if name.is_empty() { Name::of_root() } else { Name::new(name).unwrap() },
        digest: kind.is_file().then(|| Digest::of(name)),
        meta: Meta {
            mode: if kind.is_directory() { 0o755 } else { 0o644 },
            uid: 1000,
            gid: 1000,
            mtime: time(0),
            xattrs: Xattrs::default(),
        },
        kind,
        meta_on_b: None,
        identity: [Some(identity(64769, 1000 + number)), Some(identity(64770, 5000 + number))],
    }
}

/// Two directories with one of every kind, xattrs, other metadata on B and what is not known.
pub(crate) fn example_tree() -> Vec<Block> {
    let target = Bytes(Box::from(*b"../\xff"));
    let mut top = vec![
        example_record(b"\xff\n", Kind::File { size: 0 }, 9),
        example_record(b"a-b", Kind::Fifo, 4),
        example_record(b"a", Kind::Directory, 2),
        example_record(b"block", Kind::BlockDevice { number: 0x801 }, 5),
        example_record(b"link", Kind::Symlink { target }, 6),
        example_record(b"null", Kind::CharacterDevice { number: 0x103 }, 7),
        example_record(b"socket", Kind::Socket, 8),
    ];
    top.sort_by(|a, b| a.name.cmp(&b.name));
    top[1].meta_on_b = Some(Box::new(Meta { uid: 33, gid: 33, ..top[1].meta.clone() }));
    top[2].identity = [None; 2];
    let mut below = vec![
        example_record(b"x", Kind::File { size: 5 }, 3),
        example_record(b"y", Kind::File { size: 1 << 40 }, 4),
    ];
    for record in &mut below {
        record.meta.xattrs =
            Xattrs::new(vec![(Bytes(Box::from(*b"user.colour")), Bytes(Box::from(*b"blue\0")))]);
    }
    below[1].identity[1] = None;
    below[1].digest = None;
    vec![
        Block { directory: RelPath::root(), records: top },
        Block { directory: RelPath::new(b"a").unwrap(), records: below },
    ]
}

pub(crate) fn example_header() -> Header {
    let root = |path: &[u8], inode| RootId { path: Bytes(path.into()), device: 64769, inode };
    Header {
        key: Digest::of(b"example"),
        generation: 7,
        roots: [root(b"/srv/a", 2), root(b"/srv/b\xff", 3)],
        root: example_record(b"", Kind::Directory, 1),
    }
}
