//! A recorded conversation: what version 1 is, byte for byte. `UPDATE_GOLDEN=1` records it anew.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::frame::{Decoder, Encoder};
use super::link::{ALIVE, BYE, CLOSE, CREDIT, MESSAGE, OPEN, put_message, take_message};
use super::message::*;
use super::{AGENT_MAGIC, CALLER_MAGIC};
use crate::Filter;
use crate::capacity::Capacity;
use crate::entry::{Bytes, Digest, Entry, Identity, Kind, Meta, Problem, Timestamp, Xattrs};
use crate::listing::Tree;
use crate::manifest::RootId;
use crate::path::{Name, RelPath};
use crate::plan::{Counts, Expected, Op};
use crate::policy::{Capabilities, Fidelity, Ownership};
use crate::whereabouts::Whereabouts;

/// One message, and what it says in words.
struct Said {
    stream: u32,
    kind: u8,
    body: Vec<u8>,
    words: String,
}

fn said<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    stream: u32,
    kind: u8,
    message: &T,
) -> Said {
    let body = encode(message);
    assert_eq!(decode::<T>(&body).as_ref(), Ok(message), "what is said can be understood");
    Said { stream, kind, body, words: format!("{message:?}") }
}

fn plain(stream: u32, kind: u8, body: &[u8], words: &str) -> Said {
    Said { stream, kind, body: body.to_vec(), words: words.to_owned() }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn identity(inode: u64) -> Identity {
    let ctime = Timestamp { seconds: 1_600_000_000, nanos: 500 };
    Identity { device: 64_769, inode, ctime, links: 1 }
}

fn entry(name: &str, kind: Kind, inode: u64) -> Entry {
    let name = if name.is_empty() { Name::of_root() } else { Name::new(name.as_bytes()).unwrap() };
    let mut entry = Tree::entry(name, kind, inode);
    entry.identity = identity(inode);
    entry.meta.mtime = Timestamp { seconds: -1, nanos: 999_999_999 };
    entry
}

fn meta() -> Meta {
    let pair = (Bytes(b"user.note"[..].into()), Bytes(b"\x00\xff"[..].into()));
    Meta {
        mode: 0o644,
        uid: 1000,
        gid: 100,
        mtime: Timestamp { seconds: 1_500_000_000, nanos: 1 },
        xattrs: Xattrs::new(vec![pair]),
    }
}

fn standing() -> Standing {
    Standing {
        site: "example.org".to_owned(),
        epoch: Some((3, "uk".to_owned())),
        base: Some((17, Digest::of(b"base"))),
    }
}

fn scan() -> Request {
    let mut filter = Filter::builder();
    filter.exclude("*.log").include("/keep.log").protect("/uploads").delete_excluded(true);
    Request::Scan(ScanOrder {
        fidelity: Fidelity::Hosted,
        one_file_system: true,
        filter: filter.build().unwrap(),
        hide_excluded: true,
        known: Some(Digest::of(b"what is remembered")),
    })
}

/// One of each kind of step.
fn steps() -> Vec<Op> {
    let version = Expected::Version {
        identity: identity(9),
        size: 5,
        mtime: Timestamp { seconds: 7, nanos: 8 },
    };
    let directory = Expected::Directory { device: 64_769, inode: 10 };
    let file = Kind::File { size: 5 };
    vec![
        Op::MakeDirectory { path: path("new"), meta: meta() },
        Op::ReplaceWithDirectory {
            path: path("kind"),
            meta: meta(),
            expected: version,
            keep_old: true,
        },
        Op::MoveDirectory { from: path("old"), to: path("new/old"), expected: directory },
        Op::MoveFile {
            from: path("a"),
            to: path("b"),
            expected: version,
            replaces: Expected::Absent,
            keeps_old_name: false,
            meta: Some(meta()),
        },
        Op::Put {
            path: path("new/file"),
            kind: file.clone(),
            meta: meta(),
            source: identity(11),
            expected: Expected::Absent,
            keep_old: false,
        },
        Op::SetMeta { path: path("c"), meta: meta(), expected: version },
        Op::Link {
            leader: path("new/file"),
            after: Some(4),
            leader_expected: None,
            members: vec![(path("d"), Expected::Absent)],
            keep_old: false,
        },
        Op::Remove { path: path("e"), expected: version, keep_old: false },
        Op::ReplaceDirectory {
            path: path("f"),
            kind: file,
            meta: meta(),
            source: identity(12),
            expected: directory,
            leader: None,
            after: None,
            leader_expected: None,
        },
        Op::Sweep { path: path(".mirror-tmp-1-2-n3") },
        Op::Settle { path: path("new"), meta: meta(), differs: true },
    ]
}

fn head(name: &str, size: u64) -> Head {
    Head { path: path(name), size, allocated: size, fresh: None }
}

fn caller() -> Vec<Said> {
    let versions = (1, 1);
    let wanted = |name: &str| Wanted::File { path: path(name), identity: identity(3), size: 5 };
    let fresh = entry("f", Kind::File { size: 9 }, 13);
    let fresh = Head { fresh: Some(Box::new(fresh)), allocated: 3, ..head("f", 9) };
    vec![
        said(0, MESSAGE, &Hello { versions, program: "mirror 0.1.0".to_owned() }),
        said(
            0,
            MESSAGE,
            &Enter {
                path: Bytes(b"/srv/www"[..].into()),
                may_be_missing: true,
                standing: standing(),
            },
        ),
        said(1, OPEN, &scan()),
        said(1, MESSAGE, &Gists(vec![[7; 16], [8; 16]])),
        said(1, MESSAGE, &Gists(Vec::new())),
        said(2, OPEN, &Request::Digest),
        said(2, MESSAGE, &wanted("a")),
        said(2, MESSAGE, &Wanted::NoMore),
        said(3, OPEN, &Request::Fetch),
        said(3, MESSAGE, &wanted("a")),
        said(3, MESSAGE, &wanted("gone")),
        plain(3, CREDIT, &1_572_864_u32.to_le_bytes(), "credit for 1572864"),
        plain(3, CLOSE, &[], "close"),
        said(4, OPEN, &Request::Capacity),
        said(5, OPEN, &Request::Lock),
        said(
            6,
            OPEN,
            &Request::Apply(ApplyOrder {
                run: "5f5e1000000001f4-2a".to_owned(),
                durability: 1,
                fidelity: Fidelity::Archive,
                ownership: Ownership::Fixed { uid: 33, gid: 33 },
            }),
        ),
        said(6, MESSAGE, &Work::Steps(steps())),
        said(6, MESSAGE, &Work::Go),
        said(
            6,
            MESSAGE,
            &Work::Content(Part::Whole {
                head: head("new/file", 5),
                bytes: Bytes(b"hello"[..].into()),
            }),
        ),
        said(6, MESSAGE, &Work::Content(Part::Begin(fresh))),
        said(6, MESSAGE, &Work::Content(Part::Hole(6))),
        said(6, MESSAGE, &Work::Content(Part::Data(Bytes(b"end"[..].into())))),
        said(6, MESSAGE, &Work::Content(Part::End { unchanged: true })),
        said(7, OPEN, &Request::Meet),
        said(8, OPEN, &Request::Supply(path("new/file"))),
        said(
            8,
            MESSAGE,
            &Part::Failed {
                path: path("new/file"),
                trouble: Trouble { errno: 2, text: String::new() },
            },
        ),
        plain(8, CLOSE, &[], "close"),
        plain(0, ALIVE, &[], "alive"),
        plain(0, BYE, &[], "bye"),
    ]
}

fn agent() -> Vec<Said> {
    let root = || RootId { path: Bytes(b"/srv/www"[..].into()), device: 64_769, inode: 2 };
    let gone = Trouble { errno: 2, text: String::new() };
    let odd = Trouble { errno: 0, text: "it is written to all the time".to_owned() };
    let long = "a rather long name that says the same again and again ".repeat(5);
    let problem = Problem { path: path("sub/x"), error: "permission denied".to_owned() };
    vec![
        said(0, MESSAGE, &Hello { versions: (1, 1), program: "mirror-agent 0.1.0".to_owned() }),
        said(
            0,
            MESSAGE,
            &Welcome::Entered {
                root: root(),
                capabilities: Capabilities {
                    privileged: false,
                    groups: vec![33, 1000],
                    root_owner: (33, 33),
                    hosted: true,
                },
                read_only: false,
                standing: Standing::default(),
                whereabouts: Whereabouts {
                    machine: Some([7; 16]),
                    root: Some((64_769, 2)),
                    above: vec![(64_769, 3), (64_768, 2)],
                },
            },
        ),
        said(1, MESSAGE, &Scanned::Root(Box::new(entry("", Kind::Directory, 2)))),
        said(1, MESSAGE, &Scanned::Differs),
        said(
            1,
            MESSAGE,
            &Scanned::Directory(DirectoryPart {
                entries: vec![entry("a", Kind::File { size: 5 }, 3)],
                flags: MORE,
                ..DirectoryPart::default()
            }),
        ),
        said(
            1,
            MESSAGE,
            &Scanned::Directory(DirectoryPart {
                entries: vec![
                    entry("fifo", Kind::Fifo, 4),
                    entry("link", Kind::Symlink { target: Bytes(b"a"[..].into()) }, 5),
                    entry("null", Kind::CharacterDevice { number: 0x103 }, 6),
                    entry("sub", Kind::Directory, 7),
                ],
                litter: vec![Name::new(b".mirror-tmp-1-2-n3").unwrap()],
                flags: HIDES_EXCLUDED,
                ..DirectoryPart::default()
            }),
        ),
        said(
            1,
            MESSAGE,
            &Scanned::Directory(DirectoryPart {
                directory: path("sub"),
                problems: vec![problem.clone()],
                flags: INCOMPLETE | OTHER_MOUNT,
                ..DirectoryPart::default()
            }),
        ),
        said(
            1,
            MESSAGE,
            &Scanned::Known(Known { directories: 300, flags: HIDES_EXCLUDED, holes: Vec::new() }),
        ),
        said(
            1,
            MESSAGE,
            &Scanned::Known(Known {
                directories: 1,
                holes: vec![(Name::new(b"image").unwrap(), 4096)],
                ..Known::default()
            }),
        ),
        said(1, MESSAGE, &Scanned::End),
        plain(1, CLOSE, &[], "close"),
        said(2, MESSAGE, &Digests(vec![Some(Digest::of(b"hello")), None])),
        plain(2, CLOSE, &[], "close"),
        said(3, MESSAGE, &Part::Begin(head("a", long.len() as u64))),
        said(3, MESSAGE, &Part::Data(Bytes(long.as_bytes().into()))),
        said(3, MESSAGE, &Part::End { unchanged: false }),
        said(3, MESSAGE, &Part::Failed { path: path("gone"), trouble: gone }),
        plain(3, CLOSE, &[], "close"),
        said(4, MESSAGE, &Answer::Capacity(Capacity { bytes: 1 << 40, inodes: Some(1_000_000) })),
        plain(4, CLOSE, &[], "close"),
        said(5, MESSAGE, &Answer::Locked(root())),
        plain(5, CLOSE, &[], "close"),
        said(6, MESSAGE, &Progress::Phase(2)),
        said(6, MESSAGE, &Progress::Wanted { path: path("new/file"), identity: identity(11) }),
        said(6, MESSAGE, &Progress::Advanced { entries: 2, bytes: 14 }),
        said(6, MESSAGE, &Progress::Synced { entries: 2 }),
        said(6, MESSAGE, &Progress::Problem(problem)),
        said(6, MESSAGE, &Progress::Outcomes(vec![(4, identity(20)), (8, identity(21))])),
        said(
            6,
            MESSAGE,
            &Progress::Finished {
                counts: Counts { created: 1, updated: 2, moved: 3, metadata_only: 4, deleted: 5 },
                skipped: 6,
                bytes_copied: 14,
                contents: Digest::of(b"contents"),
            },
        ),
        said(6, MESSAGE, &Progress::Failed(Setback::Target { path: path("b"), trouble: odd })),
        said(6, MESSAGE, &Progress::Failed(Setback::Busy)),
        said(6, MESSAGE, &Progress::Failed(Setback::Refused("it is for reading only".to_owned()))),
        plain(6, CLOSE, &[], "close"),
        said(7, MESSAGE, &Answer::Meeting(Bytes([9; 32][..].into()))),
        plain(7, CLOSE, &[], "close"),
        plain(0, BYE, &[], "bye"),
    ]
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn record(magic: &[u8; 16], all: &[Said]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    let mut encoder = Encoder::new(magic, 3).unwrap();
    // Two messages a frame, so that there are frames with several.
    for some in all.chunks(2) {
        let mut body = Vec::new();
        for said in some {
            put_message(&mut body, said.stream, said.kind, &said.body);
        }
        bytes.extend_from_slice(encoder.encode(&body));
    }
    bytes
}

#[test]
fn the_recorded_conversation_is_still_what_is_said() {
    let mut words = String::new();
    for (name, magic, all) in [("caller", CALLER_MAGIC, caller()), ("agent", AGENT_MAGIC, agent())]
    {
        let file = data(&format!("conversation.{name}"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, record(magic, &all)).unwrap();
        }
        let bytes = fs::read(&file).unwrap();
        let mut rest = bytes.strip_prefix(&magic[..]).expect("it begins with the magic");
        let mut decoder = Decoder::new(magic).unwrap();
        let (mut expected, mut body) = (all.iter(), Vec::new());
        writeln!(words, "{name}").unwrap();
        while decoder.read(&mut rest, &mut body).unwrap() {
            let mut messages = &body[..];
            while !messages.is_empty() {
                let (stream, kind, message) = take_message(&mut messages).unwrap();
                let said = expected.next().expect("no more than is said now");
                assert_eq!(
                    (stream, kind, message),
                    (said.stream, said.kind, &said.body[..]),
                    "{}",
                    said.words
                );
                writeln!(words, "  {stream} {kind} {}", said.words).unwrap();
            }
        }
        assert!(expected.next().is_none(), "all that is said now");
    }
    let file = data("conversation.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &words).unwrap();
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), words);
}

#[test]
fn s16_every_flipped_bit_and_every_cut_of_the_recorded_conversation_is_noticed() {
    for (name, magic) in [("caller", CALLER_MAGIC), ("agent", AGENT_MAGIC)] {
        let bytes = fs::read(data(&format!("conversation.{name}"))).unwrap();
        let whole = |bytes: &[u8]| {
            let Some(mut rest) = bytes.strip_prefix(&magic[..]) else { return false };
            let mut decoder = Decoder::new(magic).unwrap();
            let mut body = Vec::new();
            loop {
                match decoder.read(&mut rest, &mut body) {
                    Ok(true) => {}
                    // What is whole ends with a farewell.
                    Ok(false) => {
                        let mut farewell = Vec::new();
                        put_message(&mut farewell, 0, BYE, &[]);
                        return body.ends_with(&farewell);
                    }
                    Err(_) => return false,
                }
            }
        };
        assert!(whole(&bytes));
        for at in 0..bytes.len() {
            assert!(!whole(&bytes[..at]), "{name} is cut after {at}");
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(!whole(&flipped), "{name}: bit {bit} of byte {at}");
            }
        }
    }
}
