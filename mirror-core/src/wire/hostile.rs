//! Peers that say what nobody may say. Each test names the property of the security catalogue that
//! it is about.

mod memory;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use proptest::prelude::*;

use super::frame::{Decoder, Encoder};
use super::link::{
    ALIVE, CLOSE, CREDIT, MESSAGE, OPEN, Patience, Role, WINDOW, put_message, take_message,
};
use super::message::*;
use super::{AGENT_MAGIC, CALLER_MAGIC, LinkError, VERSIONS};
use crate::agent::{AgentConfig, Limits, serve};
use crate::endpoint::Endpoint;
use crate::entry::{Bytes, Digest, Entry, Identity, Kind, Meta, Problem, Timestamp, Xattrs};
use crate::error::Error;
use crate::guard::{DeleteLimit, Guards};
use crate::listing::Tree;
use crate::local::LocalTree;
use crate::manifest::RootId;
use crate::mirror::{Mirror, Report};
use crate::path::{Name, RelPath};
use crate::plan::{Counts, Expected, Op};
use crate::policy::{Capabilities, Fidelity, Ownership};
use crate::remote::{RemoteOptions, RemoteTree};
use crate::transport::{Transport, memory_pair};
use crate::whereabouts::Whereabouts;

/// One end of a link that says whatever it likes.
struct Speaker {
    transport: Transport,
    encoder: Encoder,
    decoder: Decoder,
    heard: Vec<(u32, u8, Vec<u8>)>,
}

impl Speaker {
    fn new(mut transport: Transport, role: Role) -> Speaker {
        let (ours, theirs) = match role {
            Role::Caller => (CALLER_MAGIC, AGENT_MAGIC),
            Role::Agent => (AGENT_MAGIC, CALLER_MAGIC),
        };
        let _ = transport.writer.write_all(ours);
        let mut magic = [0; 16];
        let _ = transport.reader.read_exact(&mut magic);
        let (encoder, decoder) = (Encoder::new(ours, 1).unwrap(), Decoder::new(theirs).unwrap());
        Speaker { transport, encoder, decoder, heard: Vec::new() }
    }

    /// Says something. The other end may have gone.
    fn raw(&mut self, stream: u32, kind: u8, body: &[u8]) -> bool {
        let mut frame = Vec::new();
        put_message(&mut frame, stream, kind, body);
        self.transport.writer.write_all(self.encoder.encode(&frame)).is_ok()
    }

    fn say<T: serde::Serialize>(&mut self, stream: u32, message: &T) -> bool {
        self.raw(stream, MESSAGE, &encode(message))
    }

    /// The next thing that is no sign of life and no credit; None when the other end has gone.
    fn hear(&mut self) -> Option<(u32, u8, Vec<u8>)> {
        loop {
            if !self.heard.is_empty() {
                let next = self.heard.remove(0);
                if !matches!(next.1, ALIVE | CREDIT) {
                    return Some(next);
                }
                continue;
            }
            let mut body = Vec::new();
            if !self.decoder.read(&mut *self.transport.reader, &mut body).unwrap_or_default() {
                return None;
            }
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (stream, kind, message) = take_message(&mut rest).unwrap();
                self.heard.push((stream, kind, message.to_vec()));
            }
        }
    }

    /// Greets as an agent does whose tree exists.
    fn welcome(&mut self, capabilities: Capabilities) {
        self.say(0, &Hello { versions: VERSIONS, program: "evil".to_owned() });
        let root = RootId { path: Bytes(b"/x"[..].into()), device: 1, inode: 2 };
        let standing = Standing::default();
        self.say(
            0,
            &Welcome::Entered {
                root,
                capabilities,
                read_only: false,
                standing,
                whereabouts: Whereabouts::default(),
            },
        );
        // Hello and the wish to enter.
        self.hear();
        self.hear();
    }

    /// Hears nothing more until the other end has gone.
    fn drain(&mut self) {
        while self.hear().is_some() {}
    }
}

/// Runs a mirror from an agent that follows `script` into an empty folder; returns how it ended and
/// what is in the folder then.
fn pull(script: impl FnOnce(&mut Speaker) + Send) -> (Result<Report, Error>, Vec<String>) {
    pull_through(crate::Filter::default(), script)
}

fn pull_through(
    filter: crate::Filter,
    script: impl FnOnce(&mut Speaker) + Send,
) -> (Result<Report, Error>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = memory_pair().unwrap();
    let ending = theirs.ending.clone();
    let ran = thread::scope(|scope| {
        scope.spawn(move || {
            let mut speaker = Speaker::new(theirs, Role::Agent);
            speaker.welcome(Capabilities::all());
            script(&mut speaker);
            speaker.drain();
        });
        let ran = RemoteTree::connect(ours, "evil", &RemoteOptions::default()).and_then(|source| {
            let target = LocalTree::open(folder.path())?;
            let mirror = Mirror::new(&source, &target).filter(filter);
            mirror.plan()?.approve(&Guards::default())?.apply()
        });
        ending.close();
        ran
    });
    let names = fs::read_dir(folder.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    (ran, names.collect())
}

#[track_caller]
fn assert_cut_off(ended: (Result<Report, Error>, Vec<String>), what: &str) {
    let (ran, names) = ended;
    match ran {
        Err(Error::Link { source: LinkError::Protocol(_), .. }) => {}
        other => panic!("{what}: {other:?}"),
    }
    assert_eq!(names, Vec::<String>::new(), "{what}: something was made");
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn file(text: &str, size: u64) -> Entry {
    Tree::entry(name(text), Kind::File { size }, 7)
}

fn directory(text: &str) -> Entry {
    Tree::entry(name(text), Kind::Directory, 8)
}

fn root() -> Scanned {
    Scanned::Root(Box::new(Tree::entry(Name::of_root(), Kind::Directory, 2)))
}

fn part(directory: &str, entries: Vec<Entry>) -> Scanned {
    let directory = path(directory);
    Scanned::Directory(DirectoryPart { directory, entries, ..DirectoryPart::default() })
}

/// Answers the scan, which is the first request, with these messages.
fn listing(messages: Vec<Scanned>) -> impl FnOnce(&mut Speaker) + Send {
    move |speaker| {
        let (stream, ..) = speaker.hear().unwrap();
        for message in &messages {
            speaker.say(stream, message);
        }
        speaker.raw(stream, CLOSE, &[]);
    }
}

/// `message` with the text `from` in it replaced by `to`, which is as long.
fn forged<T: serde::Serialize>(message: &T, from: &str, to: &[u8]) -> Vec<u8> {
    let mut bytes = encode(message);
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

#[test]
fn s1_a_name_that_leaves_its_directory_ends_the_session() {
    for bad in [&b"a/.."[..], b"/etc", b"../x", b"a//b", b"ab\0c", b"abc/"] {
        let forged = forged(&part("", vec![file("@@@@", 1)]), "@@@@", bad);
        let ended = pull(move |speaker| {
            let (stream, ..) = speaker.hear().unwrap();
            speaker.say(stream, &root());
            speaker.raw(stream, MESSAGE, &forged);
        });
        assert_cut_off(ended, &String::from_utf8_lossy(bad));
    }
    for bad in ["@", "@@"] {
        let dots = ".".repeat(bad.len());
        let forged = forged(&part("", vec![file(bad, 1)]), bad, dots.as_bytes());
        let ended = pull(move |speaker| {
            let (stream, ..) = speaker.hear().unwrap();
            speaker.say(stream, &root());
            speaker.raw(stream, MESSAGE, &forged);
        });
        assert_cut_off(ended, &dots);
    }
    let unnamed = Entry { name: Name::of_root(), ..file("x", 1) };
    assert_cut_off(pull(listing(vec![root(), part("", vec![unnamed])])), "no name");
}

#[test]
fn s2_an_entry_that_the_filter_excludes_ends_the_session() {
    let filter = crate::Filter::builder().exclude("secret").build().unwrap();
    let listed = listing(vec![root(), part("", vec![file("secret", 1)]), Scanned::End]);
    assert_cut_off(pull_through(filter, listed), "excluded");
}

#[test]
fn s2_a_file_that_nobody_asked_for_ends_the_session() {
    let ended = pull(|speaker| {
        let (stream, ..) = speaker.hear().unwrap();
        for message in [root(), part("", vec![file("a", 3)]), Scanned::End] {
            speaker.say(stream, &message);
        }
        speaker.raw(stream, CLOSE, &[]);
        while let Some((stream, kind, body)) = speaker.hear() {
            if kind == OPEN && decode::<Request>(&body) == Ok(Request::Fetch) {
                let head = Head { path: path("b"), size: 3, allocated: 3, fresh: None };
                speaker.say(stream, &Part::Whole { head, bytes: Bytes(b"bad"[..].into()) });
            }
        }
    });
    assert_cut_off(ended, "unasked");
}

#[test]
fn s3_s4_a_name_that_comes_twice_or_changes_its_kind_ends_the_session() {
    let link = |text: &str| {
        let target = Bytes(b"/etc"[..].into());
        Tree::entry(name(text), Kind::Symlink { target }, 9)
    };
    for (what, messages) in [
        ("twice", vec![part("", vec![file("a", 1), file("a", 1)])]),
        ("out of order", vec![part("", vec![file("b", 1), file("a", 1)])]),
        ("link and directory", vec![part("", vec![link("d"), directory("d")])]),
        ("into a link", vec![part("", vec![link("d")]), part("d", vec![file("x", 1)])]),
        ("into a file", vec![part("", vec![file("d", 1)]), part("d", vec![file("x", 1)])]),
    ] {
        let messages = [vec![root()], messages, vec![Scanned::End]].concat();
        assert_cut_off(pull(listing(messages)), what);
    }
}

#[test]
fn s25_directories_that_are_left_out_or_made_up_end_the_session() {
    let file_as_root = Tree::entry(Name::of_root(), Kind::File { size: 1 }, 2);
    for (what, messages) in [
        ("left out", vec![root(), part("", vec![directory("d")]), Scanned::End]),
        ("made up", vec![root(), part("", vec![]), part("d", vec![]), Scanned::End]),
        ("no listing", vec![root(), Scanned::End]),
        ("twice", vec![root(), part("", vec![]), part("", vec![]), Scanned::End]),
        ("root a file", vec![Scanned::Root(Box::new(file_as_root))]),
        ("no root", vec![part("", vec![])]),
        ("no end", vec![root(), part("", vec![])]),
        (
            "before its parent",
            vec![root(), part("", vec![directory("a"), directory("b")]), part("b", vec![])],
        ),
    ] {
        assert_cut_off(pull(listing(messages)), what);
    }
}

#[test]
fn s14_s22_values_that_cannot_be_end_the_session() {
    let with = |change: fn(&mut Entry)| {
        let mut entry = file("a", 1);
        change(&mut entry);
        vec![root(), part("", vec![entry]), Scanned::End]
    };
    let flags = DirectoryPart { flags: 1 << 6, ..DirectoryPart::default() };
    let empty = DirectoryPart { flags: MORE, ..DirectoryPart::default() };
    let pair = |name: &[u8], value: usize| (Bytes(name.into()), Bytes(vec![0; value].into()));
    let xattrs = move |pairs: Vec<(Bytes, Bytes)>| {
        let mut entry = file("a", 1);
        entry.meta.xattrs = Xattrs::new(pairs);
        vec![root(), part("", vec![entry]), Scanned::End]
    };
    let litter = DirectoryPart { litter: vec![name("precious")], ..DirectoryPart::default() };
    let elsewhere = DirectoryPart {
        directory: RelPath::root(),
        entries: vec![directory("d")],
        ..DirectoryPart::default()
    };
    let problem = Problem { path: path("e"), error: String::new() };
    let of_d =
        DirectoryPart { directory: path("d"), problems: vec![problem], ..DirectoryPart::default() };
    for (what, messages) in [
        ("mode", with(|entry| entry.meta.mode = 0o10_000)),
        ("mtime", with(|entry| entry.meta.mtime.nanos = 1_000_000_000)),
        ("ctime", with(|entry| entry.identity.ctime.nanos = u32::MAX)),
        ("size", with(|entry| entry.kind = Kind::File { size: u64::MAX })),
        ("digest", with(|entry| entry.digest = Some(Digest::of(b"")))),
        ("reserved", with(|entry| entry.name = name(".mirror-tmp-1-1-n1"))),
        ("history", with(|entry| entry.name = name(".mirror-history"))),
        (
            "target",
            with(|entry| entry.kind = Kind::Symlink { target: Bytes(vec![b'a'; 5000].into()) }),
        ),
        ("no target", with(|entry| entry.kind = Kind::Symlink { target: Bytes::default() })),
        ("xattr twice", xattrs(vec![pair(b"user.a", 1), pair(b"user.a", 1)])),
        ("xattr name", xattrs(vec![pair(&[b'a'; 300], 1)])),
        ("xattr value", xattrs(vec![pair(b"user.a", 70_000)])),
        ("flags", vec![root(), Scanned::Directory(flags)]),
        ("nothing and more", vec![root(), Scanned::Directory(empty)]),
        ("litter", vec![root(), Scanned::Directory(litter)]),
        (
            "problem elsewhere",
            vec![root(), Scanned::Directory(elsewhere), Scanned::Directory(of_d)],
        ),
    ] {
        assert_cut_off(pull(listing(messages)), what);
    }
}

#[test]
fn s14_s22_messages_that_say_nothing_known_end_the_session() {
    let huge_count = {
        // A list that claims four thousand million entries.
        let mut bytes = encode(&part("", vec![]));
        let at = bytes.len() - 4;
        bytes.splice(at..=at, [0xff, 0xff, 0xff, 0xff, 0x0f]);
        bytes
    };
    for (what, body) in [
        ("nothing", vec![]),
        ("unknown variant", vec![77]),
        ("bytes left", [encode(&Scanned::End), vec![0]].concat()),
        ("huge count", huge_count),
    ] {
        let ended = pull(move |speaker| {
            let (stream, ..) = speaker.hear().unwrap();
            speaker.say(stream, &root());
            speaker.raw(stream, MESSAGE, &body);
        });
        assert_cut_off(ended, what);
    }
}

#[test]
fn s15_s22_a_link_that_is_misused_is_cut() {
    let misuses: [(&str, Script); 8] = [
        ("unknown kind", |speaker, stream| {
            speaker.raw(stream, 99, &[]);
        }),
        ("stream that nobody opened", |speaker, _| {
            speaker.raw(4000, MESSAGE, b"x");
        }),
        ("stream opened by the agent", |speaker, _| {
            speaker.raw(5, OPEN, b"x");
        }),
        ("more credit than was used", |speaker, stream| {
            speaker.raw(stream, CREDIT, &u32::MAX.to_le_bytes());
        }),
        ("odd credit", |speaker, stream| {
            speaker.raw(stream, CREDIT, &[1]);
        }),
        ("a word after the end", |speaker, stream| {
            speaker.raw(stream, CLOSE, &[]);
            speaker.raw(stream, MESSAGE, b"x");
        }),
        ("the first stream closed", |speaker, _| {
            speaker.raw(0, CLOSE, &[]);
        }),
        ("a word after the farewell", |speaker, stream| {
            speaker.raw(0, super::link::BYE, &[]);
            speaker.raw(stream, MESSAGE, b"x");
        }),
    ];
    for (what, misuse) in misuses {
        let ended = pull(move |speaker| {
            let (stream, ..) = speaker.hear().unwrap();
            misuse(speaker, stream);
        });
        assert_cut_off(ended, what);
    }
}

#[test]
fn s17_a_flood_ends_at_its_credit() {
    // The listing is asked for and not read on, since its beginning is missing.
    let (ours, theirs) = memory_pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut speaker = Speaker::new(theirs, Role::Agent);
            speaker.welcome(Capabilities::all());
            let (stream, ..) = speaker.hear().unwrap();
            speaker.say(stream, &root());
            let body = vec![0; 1000];
            let mut sent = 0;
            while speaker.raw(stream, MESSAGE, &body) {
                sent += 1000;
                assert!(sent < 2 * WINDOW, "a flood goes on for ever");
            }
        });
        let tree = RemoteTree::connect(ours, "evil", &RemoteOptions::default()).unwrap();
        let (policy, filter) = (crate::Policy::mirror(), crate::Filter::default());
        let request = crate::ScanRequest {
            side: crate::Side::A,
            policy: &policy,
            filter: &filter,
            hide_excluded: true,
            other_root: None,
            base: None,
            threads: 1,
            cancel: &crate::Cancel::default(),
        };
        let listings = tree.scan(&request).unwrap();
        while tree.link_failure().is_none() {
            thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(matches!(tree.link_failure(), Some(LinkError::Protocol(_))));
        drop(listings);
    });
}

#[test]
fn s17_a_listing_without_end_is_given_up() {
    let limits = Limits { entries: 1000, ..Limits::default() };
    let (ours, theirs) = memory_pair().unwrap();
    let ending = theirs.ending.clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut speaker = Speaker::new(theirs, Role::Agent);
            speaker.welcome(Capabilities::all());
            let (stream, ..) = speaker.hear().unwrap();
            speaker.say(stream, &root());
            let mut at = RelPath::root();
            for _ in 0..2000 {
                let part = DirectoryPart {
                    directory: at.clone(),
                    entries: vec![directory("d")],
                    ..DirectoryPart::default()
                };
                if !speaker.say(stream, &Scanned::Directory(part)) {
                    break;
                }
                at = at.join(&name("d")).unwrap();
            }
            speaker.drain();
        });
        let options = RemoteOptions::default().limits(limits);
        let tree = RemoteTree::connect(ours, "evil", &options).unwrap();
        let target = tempfile::tempdir().unwrap();
        let target = LocalTree::open(target.path()).unwrap();
        let error = Mirror::new(&tree, &target).plan().unwrap_err();
        assert!(error.to_string().contains("more than 1000 entries"), "{error}");
        ending.close();
    });
}

/// What is said on a stream.
type Script = fn(&mut Speaker, u32);

/// What a hostile agent does with contents that it is asked for.
fn contents(script: Script) -> (Result<Report, Error>, Vec<String>) {
    pull(move |speaker| {
        let (stream, ..) = speaker.hear().unwrap();
        for message in [root(), part("", vec![file("a", 300_000)]), Scanned::End] {
            speaker.say(stream, &message);
        }
        speaker.raw(stream, CLOSE, &[]);
        while let Some((stream, kind, body)) = speaker.hear() {
            if kind == OPEN && decode::<Request>(&body) == Ok(Request::Fetch) {
                // What is wanted comes before what is sent.
                speaker.hear();
                script(speaker, stream);
            }
        }
    })
}

#[test]
fn s15_contents_that_cannot_be_end_the_session() {
    fn begin(size: u64) -> Part {
        Part::Begin(Head { path: path("a"), size, allocated: size, fresh: None })
    }
    fn data(length: usize) -> Part {
        Part::Data(Bytes(vec![1; length].into()))
    }
    let scripts: [(&str, Script); 9] = [
        ("an end without a beginning", |speaker, stream| {
            speaker.say(stream, &Part::End { unchanged: true });
        }),
        ("data without a beginning", |speaker, stream| {
            speaker.say(stream, &data(1));
        }),
        ("two beginnings", |speaker, stream| {
            speaker.say(stream, &begin(9));
            speaker.say(stream, &begin(9));
        }),
        ("more than it is long", |speaker, stream| {
            speaker.say(stream, &begin(9));
            speaker.say(stream, &data(10));
        }),
        ("a hole that overflows", |speaker, stream| {
            speaker.say(stream, &begin(9));
            speaker.say(stream, &data(1));
            speaker.say(stream, &Part::Hole(u64::MAX));
        }),
        ("a hole of nothing", |speaker, stream| {
            speaker.say(stream, &begin(9));
            speaker.say(stream, &Part::Hole(0));
        }),
        ("an end too early", |speaker, stream| {
            speaker.say(stream, &begin(9));
            speaker.say(stream, &data(1));
            speaker.say(stream, &Part::End { unchanged: true });
        }),
        ("a length that no file has", |speaker, stream| {
            speaker.say(stream, &begin(u64::MAX));
        }),
        ("a whole that is not", |speaker, stream| {
            let head = Head { path: path("a"), size: 9, allocated: 9, fresh: None };
            speaker.say(stream, &Part::Whole { head, bytes: Bytes(b"x"[..].into()) });
        }),
    ];
    for (what, script) in scripts {
        assert_cut_off(contents(script), what);
    }
}

#[test]
fn s16_contents_that_change_again_and_again_are_reported_and_nothing_is_made() {
    let (ran, names) = contents(|speaker, stream| {
        let head = Head { path: path("a"), size: 300_000, allocated: 300_000, fresh: None };
        speaker.say(stream, &Part::Begin(head));
        speaker.say(stream, &Part::End { unchanged: false });
    });
    let report = ran.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    assert_eq!(names, Vec::<String>::new());
}

/// What an agent says to the steps that it is to carry out.
fn pushed(script: impl FnOnce(&mut Speaker, u32) + Send) -> Result<Report, Error> {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("a"), "content").unwrap();
    fs::write(source.path().join("secret"), "secret").unwrap();
    let (ours, theirs) = memory_pair().unwrap();
    let ending = theirs.ending.clone();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut speaker = Speaker::new(theirs, Role::Agent);
            speaker.welcome(Capabilities::all());
            let mut script = Some(script);
            while let Some((stream, kind, body)) = speaker.hear() {
                if kind == MESSAGE && decode::<Work>(&body) == Ok(Work::Go) {
                    if let Some(script) = script.take() {
                        script(&mut speaker, stream);
                    }
                    continue;
                }
                if kind != OPEN {
                    continue;
                }
                let answers: Vec<Vec<u8>> = match decode::<Request>(&body) {
                    Ok(Request::Scan(_)) => {
                        vec![encode(&root()), encode(&part("", vec![])), encode(&Scanned::End)]
                    }
                    Ok(Request::Capacity) => {
                        let capacity = crate::Capacity { bytes: u64::MAX, inodes: None };
                        vec![encode(&Answer::Capacity(capacity))]
                    }
                    Ok(Request::Lock) => {
                        let path = Bytes(b"/x"[..].into());
                        vec![encode(&Answer::Locked(RootId { path, device: 1, inode: 2 }))]
                    }
                    _ => continue,
                };
                for answer in answers {
                    speaker.raw(stream, MESSAGE, &answer);
                }
                speaker.raw(stream, CLOSE, &[]);
            }
        });
        let ran = RemoteTree::connect(ours, "evil", &RemoteOptions::default()).and_then(|target| {
            let source = LocalTree::open(source.path())?;
            let filter = crate::Filter::builder().exclude("secret").build()?;
            Mirror::new(&source, &target)
                .filter(filter)
                .plan()?
                .approve(&Guards::default())?
                .apply()
        });
        ending.close();
        ran
    })
}

#[track_caller]
fn assert_accused(ran: Result<Report, Error>, what: &str) {
    let accused = matches!(&ran, Err(Error::Link { source: LinkError::Protocol(_), .. }));
    assert!(accused, "{what}: {ran:?}");
}

#[test]
fn s2_s10_an_agent_gets_no_file_of_the_source_but_those_it_is_to_have() {
    for wanted in ["secret", "b", "a/b"] {
        let ran = pushed(move |speaker, stream| {
            let identity = Identity { device: 0, inode: 0, ctime: Timestamp::default(), links: 1 };
            speaker.say(stream, &Progress::Wanted { path: path(wanted), identity });
        });
        assert_accused(ran, wanted);
    }
}

#[test]
fn s15_s16_s22_an_agent_that_lies_about_its_work_is_cut_off() {
    let identity = Identity { device: 1, inode: 3, ctime: Timestamp::default(), links: 1 };
    let finished = |contents: Digest| Progress::Finished {
        counts: Counts::default(),
        skipped: 0,
        bytes_copied: 7,
        contents,
    };
    let nothing = finished(Digest::of(b""));
    for (what, words) in [
        ("a step that there is not", vec![Progress::Outcomes(vec![(9, identity)])]),
        ("a step twice", vec![Progress::Outcomes(vec![(0, identity), (0, identity)])]),
        ("a phase that there is not", vec![Progress::Phase(200)]),
        ("other contents", vec![finished(Digest::of(b"other"))]),
        ("contents of nothing", vec![Progress::Outcomes(vec![(0, identity)]), nothing]),
    ] {
        let ran = pushed(move |speaker, stream| {
            // The contents have come by then.
            speaker.hear();
            for word in &words {
                speaker.say(stream, word);
            }
        });
        assert_accused(ran, what);
    }
}

#[test]
fn s17_an_agent_that_talks_without_end_is_cut_off() {
    let ran = pushed(
        |speaker, stream| {
            while speaker.say(stream, &Progress::Advanced { entries: 1, bytes: 0 }) {}
        },
    );
    assert_accused(ran, "endless progress");
}

#[test]
fn s28_what_a_peer_says_is_shown_without_what_acts_on_a_terminal() {
    let ran = pushed(|speaker, stream| {
        let error = format!("\x1b[2J{}", "x".repeat(5000));
        speaker.say(stream, &Progress::Problem(Problem { path: path("a"), error }));
        speaker.say(stream, &Progress::Failed(Setback::Refused("\x1b]0;evil\x07".to_owned())));
    });
    let sentence = ran.unwrap_err().to_string();
    assert!(!sentence.contains('\x1b') && sentence.contains("\\x1b]0;evil"), "{sentence}");
}

/// A caller that follows `script` against a real agent; returns how the agent ended.
fn call(config: AgentConfig, script: impl FnOnce(&mut Speaker)) -> Result<(), Error> {
    let (ours, theirs) = memory_pair().unwrap();
    let ending = ours.ending.clone();
    let agent = thread::spawn(move || serve(theirs, &config));
    let mut speaker = Speaker::new(ours, Role::Caller);
    script(&mut speaker);
    ending.close();
    agent.join().unwrap()
}

fn enter(speaker: &mut Speaker, path: &Path) -> Option<Welcome> {
    use std::os::unix::ffi::OsStrExt;
    speaker.say(0, &Hello { versions: VERSIONS, program: "evil".to_owned() });
    let path = Bytes(path.as_os_str().as_bytes().into());
    speaker.say(0, &Enter { path, may_be_missing: true, standing: Standing::default() });
    speaker.hear();
    decode(&speaker.hear()?.2).ok()
}

/// Sends steps to a real agent and hears how they end.
fn apply(config: AgentConfig, messages: Vec<Vec<u8>>) -> (Result<(), Error>, Vec<Progress>) {
    let mut heard = Vec::new();
    let ended = call(config, |speaker| {
        enter(speaker, Path::new(""));
        let order = ApplyOrder {
            run: "1-1".to_owned(),
            durability: 0,
            fidelity: Fidelity::Archive,
            ownership: Ownership::Preserve,
        };
        speaker.raw(1, OPEN, &encode(&Request::Apply(order)));
        for message in &messages {
            speaker.raw(1, MESSAGE, message);
        }
        while let Some((_, kind, body)) = speaker.hear() {
            match kind {
                MESSAGE => heard.extend(decode::<Progress>(&body).ok()),
                _ => break,
            }
        }
    });
    (ended, heard)
}

fn put(at: &str, kind: Kind) -> Op {
    let meta = Meta {
        mode: 0o6755,
        uid: 1234,
        gid: 1234,
        mtime: Timestamp::default(),
        xattrs: Xattrs::default(),
    };
    let source = Identity { device: 1, inode: 5, ctime: Timestamp::default(), links: 1 };
    Op::Put { path: path(at), kind, meta, source, expected: Expected::Absent, keep_old: false }
}

#[test]
fn s1_s32_steps_outside_of_the_root_end_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("root"), folder.path().join("x"));
    fs::create_dir(&root).unwrap();
    for bad in [&b"../x"[..], b"/tmp", b"a/..", b"a//b"] {
        let steps = Work::Steps(vec![put("@@@@", Kind::Fifo)]);
        let forged = forged(&steps, "@@@@", bad);
        let (ended, heard) = apply(AgentConfig::new(&root), vec![forged, encode(&Work::Go)]);
        assert!(matches!(&ended, Err(Error::Link { source: LinkError::Protocol(_), .. })));
        assert_eq!(heard, vec![], "{bad:?}");
    }
    for reserved in [".mirror-tmp-1-1-n0", ".mirror-history/x", ""] {
        let steps = Work::Steps(vec![put(reserved, Kind::Fifo)]);
        let (ended, _) = apply(AgentConfig::new(&root), vec![encode(&steps), encode(&Work::Go)]);
        assert!(ended.is_err(), "{reserved:?}");
    }
    let sweep = Work::Steps(vec![Op::Sweep { path: path("precious") }]);
    assert!(apply(AgentConfig::new(&root), vec![encode(&sweep)]).0.is_err());
    assert!(!outside.exists());
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn s15_steps_that_follow_later_ones_end_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let link = Op::Link {
        leader: path("a"),
        after: Some(0),
        leader_expected: None,
        members: vec![(path("b"), Expected::Absent)],
        keep_old: false,
    };
    let (ended, _) = apply(AgentConfig::new(folder.path()), vec![encode(&Work::Steps(vec![link]))]);
    assert!(ended.is_err());
}

#[test]
fn s12_a_hosted_agent_takes_no_setuid_no_devices_and_no_owners() {
    let folder = tempfile::tempdir().unwrap();
    let escaping = Kind::Symlink { target: Bytes(b"/etc"[..].into()) };
    let steps = Work::Steps(vec![
        put("device", Kind::CharacterDevice { number: 0x103 }),
        put("link", escaping),
        put("pipe", Kind::Fifo),
    ]);
    let config = AgentConfig::new(folder.path()).fidelity(Fidelity::Hosted);
    let (_, heard) = apply(config, vec![encode(&steps), encode(&Work::Go)]);
    let problems = heard.iter().filter(|word| matches!(word, Progress::Problem(_))).count();
    assert_eq!(problems, 2, "{heard:?}");
    assert!(matches!(heard.last(), Some(Progress::Finished { .. })), "{heard:?}");
    let root = fs::metadata(folder.path()).unwrap();
    let pipe = fs::symlink_metadata(folder.path().join("pipe")).unwrap();
    assert_eq!((pipe.mode() & 0o7777, pipe.uid(), pipe.gid()), (0o755, root.uid(), root.gid()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn s9_a_hosted_agent_moves_and_links_no_symlink_to_where_it_leads_out() {
    let folder = tempfile::tempdir().unwrap();
    let config = AgentConfig::new(folder.path()).fidelity(Fidelity::Hosted);
    let at = |place: &str| folder.path().join(place);
    fs::create_dir_all(at("a/b/c/deep")).unwrap();
    fs::create_dir_all(at("a/b/same")).unwrap();
    let link = |target: &[u8]| Kind::Symlink { target: Bytes(target.into()) };
    let climbs = Work::Steps(vec![
        put("a/b/c/deep/link", link(b"../../../../x")),
        put("a/b/one", link(b"../../x")),
        put("a/b/two", link(b"../../x")),
        put("a/b/same/link", link(b"../../x")),
        put("a/b/same/stays", link(b"x")),
    ]);
    let (_, heard) = apply(config.clone(), vec![encode(&climbs), encode(&Work::Go)]);
    let told = |heard: &[Progress]| {
        heard.iter().filter(|word| matches!(word, Progress::Problem(_))).count()
    };
    assert_eq!(told(&heard), 0, "{heard:?}");
    let directory = |place: &str| {
        let status = fs::metadata(at(place)).unwrap();
        Expected::Directory { device: status.dev(), inode: status.ino() }
    };
    let version = |place: &str| {
        let status = fs::symlink_metadata(at(place)).unwrap();
        let time =
            |seconds, nanos: i64| Timestamp { seconds, nanos: u32::try_from(nanos).unwrap() };
        let identity = Identity {
            device: status.dev(),
            inode: status.ino(),
            ctime: time(status.ctime(), status.ctime_nsec()),
            links: u32::try_from(status.nlink()).unwrap(),
        };
        let mtime = time(status.mtime(), status.mtime_nsec());
        Expected::Version { identity, size: 0, mtime }
    };
    let moves = |keeps_old_name, to: &str| Op::MoveFile {
        from: path("a/b/one"),
        to: path(to),
        expected: version("a/b/one"),
        replaces: Expected::Absent,
        keeps_old_name,
        meta: None,
    };
    let steps = Work::Steps(vec![
        Op::MoveDirectory { from: path("a/b/c"), to: path("c"), expected: directory("a/b/c") },
        // As deep as it was, and less deep with a link that climbs no further than it may.
        Op::MoveDirectory {
            from: path("a/b/same"),
            to: path("a/b/other"),
            expected: directory("a/b/same"),
        },
        moves(false, "one"),
        moves(true, "a/one"),
        Op::Link {
            leader: path("a/b/two"),
            after: None,
            leader_expected: Some(version("a/b/two")),
            members: vec![(path("a/two"), Expected::Absent), (path("a/b/again"), Expected::Absent)],
            keep_old: false,
        },
    ]);
    let (_, heard) = apply(config, vec![encode(&steps), encode(&Work::Go)]);
    assert_eq!(told(&heard), 4, "{heard:?}");
    for out in ["c", "one", "a/one", "a/two"] {
        assert!(fs::symlink_metadata(at(out)).is_err(), "{out}");
    }
    for stays in ["a/b/c/deep/link", "a/b/one", "a/b/two", "a/b/again", "a/b/other/link"] {
        assert!(fs::symlink_metadata(at(stays)).is_ok(), "{stays}: {heard:?}");
    }
}

#[test]
fn s32_a_read_only_agent_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = AgentConfig::new(folder.path()).read_only(true);
    let steps = Work::Steps(vec![put("pipe", Kind::Fifo)]);
    let (_, heard) = apply(config.clone(), vec![encode(&steps), encode(&Work::Go)]);
    assert!(matches!(heard[..], [Progress::Failed(Setback::Refused(_))]), "{heard:?}");
    call(config, |speaker| {
        enter(speaker, &folder.path().join("missing"));
        speaker.raw(1, OPEN, &encode(&Request::Lock));
        let (.., body) = speaker.hear().unwrap();
        assert!(matches!(decode(&body), Ok(Answer::Failed(Setback::Refused(_)))));
    })
    .unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn s32_an_agent_is_entered_nowhere_but_in_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("in")).unwrap();
    fs::create_dir(folder.path().join("rootless")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    let entered = |wanted: &Path| {
        let mut welcome = None;
        let _ = call(AgentConfig::new(&root), |speaker| welcome = enter(speaker, wanted));
        matches!(welcome, Some(Welcome::Entered { .. }))
    };
    assert!(entered(Path::new("")) && entered(&root) && entered(&root.join("in")));
    assert!(entered(&root.join("./in/")) && entered(&root.join("new/folder")));
    for outside in [
        folder.path().to_path_buf(),
        root.join(".."),
        root.join("../rootless"),
        root.join("in/../../rootless"),
        folder.path().join("rootless"),
        root.join("up"),
        root.join("up/rootless"),
        "/".into(),
        "/etc".into(),
        "in".into(),
        "..".into(),
    ] {
        assert!(!entered(&outside), "{outside:?}");
    }
}

#[test]
fn s5_s32_files_are_not_read_through_symlinks() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    std::os::unix::fs::symlink("../secret", root.join("link")).unwrap();
    let _ = call(AgentConfig::new(&root), |speaker| {
        enter(speaker, Path::new(""));
        speaker.raw(1, OPEN, &encode(&Request::Fetch));
        let identity = Identity { device: 0, inode: 0, ctime: Timestamp::default(), links: 1 };
        for wanted in ["up/secret", "link"] {
            let wanted = Wanted::File { path: path(wanted), identity, size: 6 };
            speaker.say(1, &wanted);
            let (.., body) = speaker.hear().unwrap();
            assert!(matches!(decode(&body), Ok(Part::Failed { .. })), "{wanted:?}");
        }
    });
}

#[test]
fn s14_s17_a_caller_that_asks_for_too_much_at_once_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let ended = call(AgentConfig::new(folder.path()), |speaker| {
        enter(speaker, Path::new(""));
        // Requests that wait for more and never get it.
        for stream in 1..=9 {
            speaker.raw(stream, OPEN, &encode(&Request::Digest));
        }
        speaker.drain();
    });
    assert!(matches!(ended, Err(Error::Link { source: LinkError::Protocol(_), .. })), "{ended:?}");
    let limits = Limits { steps: 10, ..Limits::default() };
    let steps: Vec<Op> = (0..11).map(|at| put(&format!("p{at}"), Kind::Fifo)).collect();
    let config = AgentConfig::new(folder.path()).limits(limits);
    let (_, heard) = apply(config, vec![encode(&Work::Steps(steps)), encode(&Work::Go)]);
    assert!(matches!(heard[..], [Progress::Failed(Setback::Refused(_))]), "{heard:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn s14_a_request_whose_number_is_spelt_long_gets_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let ended = call(AgentConfig::new(folder.path()), |speaker| {
        enter(speaker, Path::new(""));
        // What `fetch` begins with, in two bytes where one is enough.
        speaker.raw(1, OPEN, &[0x82, 0]);
        speaker.drain();
    });
    assert!(matches!(ended, Err(Error::Link { source: LinkError::Protocol(_), .. })), "{ended:?}");
    // A scan is held to its length however it is spelt.
    let ended = call(AgentConfig::new(folder.path()), |speaker| {
        enter(speaker, Path::new(""));
        speaker.raw(1, OPEN, &[&[0x80, 0][..], &vec![1; SCAN_MAX]].concat());
        let (.., body) = speaker.hear().unwrap();
        assert!(matches!(decode(&body), Ok(Scanned::Failed(Setback::Refused(_)))), "{body:?}");
    });
    // The speaker takes no leave.
    assert!(matches!(ended, Err(Error::Link { source: LinkError::Ended, .. })), "{ended:?}");
}

#[test]
fn s18_a_caller_that_says_nothing_is_left_alone_soon() {
    let folder = tempfile::tempdir().unwrap();
    let patience =
        Patience { silence: std::time::Duration::from_millis(200), ..Patience::default() };
    let (ours, theirs) = memory_pair().unwrap();
    let ended = serve(theirs, &AgentConfig::new(folder.path()).patience(patience));
    assert!(matches!(ended, Err(Error::Link { source: LinkError::Silent(_), .. })), "{ended:?}");
    drop(ours);
}

#[test]
fn another_version_is_told_to_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let ended = call(AgentConfig::new(folder.path()), |speaker| {
        speaker.say(0, &Hello { versions: (7, 9), program: "new".to_owned() });
        speaker.drain();
    });
    let sentence = ended.unwrap_err().to_string();
    assert!(sentence.contains("versions 7 to 9") && sentence.contains("update"), "{sentence}");
    let (ours, theirs) = memory_pair().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut speaker = Speaker::new(theirs, Role::Agent);
            speaker.say(0, &Hello { versions: (7, 9), program: "new".to_owned() });
            speaker.drain();
        });
        let error = RemoteTree::connect(ours, "new", &RemoteOptions::default()).unwrap_err();
        assert!(error.to_string().contains("versions 7 to 9"), "{error}");
    });
}

#[test]
fn s26_a_tree_that_is_missing_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("dst")).unwrap();
    fs::write(folder.path().join("dst/precious"), "x").unwrap();
    let (ours, theirs) = memory_pair().unwrap();
    let config = AgentConfig::new(folder.path());
    let agent = thread::spawn(move || serve(theirs, &config));
    let options = RemoteOptions::default().path(folder.path().join("src"));
    let error = RemoteTree::connect(ours, "host", &options).unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    agent.join().unwrap().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic_in_any_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        feed(&bytes);
    }

    #[test]
    fn damaged_messages_never_panic_in_any_decoder(
        which in 0..8_usize,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = samples()[which].clone();
        let place = at.index(bytes.len());
        bytes[place] = byte;
        feed(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        feed(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whole_frames_of_anything_never_panic_and_make_nothing(
        script in prop::collection::vec(
            (0..4_u8, 0..8_u8, prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                (0..8_usize, any::<prop::sample::Index>(), any::<u8>()).prop_map(|(which, at, byte)| {
                    let mut bytes = samples()[which].clone();
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                    bytes
                }),
            ]),
            0..12,
        ),
    ) {
        let mut bytes = Vec::new();
        for (stream, kind, message) in &script {
            let [low, high] = u16::try_from(message.len()).unwrap().to_le_bytes();
            bytes.extend([*stream, *kind, low, high]);
            bytes.extend_from_slice(message);
        }
        let folder = tempfile::tempdir().unwrap();
        let served = folder.path().join("served");
        fs::create_dir(&served).unwrap();
        super::fuzz::agent_hears(&served, &bytes);
        super::fuzz::caller_hears(&served, &bytes);
        prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

fn samples() -> [Vec<u8>; 8] {
    let mut entry = file("name", 12);
    let pair = |name: &[u8]| (Bytes(name.into()), Bytes(b"value"[..].into()));
    entry.meta.xattrs = Xattrs::new(vec![pair(b"user.a"), pair(b"user.b")]);
    let head =
        Head { path: path("a/b"), size: 12, allocated: 12, fresh: Some(Box::new(entry.clone())) };
    [
        encode(&part("a/b", vec![entry.clone(), directory("z")])),
        encode(&Scanned::Root(Box::new(entry))),
        encode(&Work::Steps(vec![put("a", Kind::Fifo), put("b", Kind::File { size: 3 })])),
        encode(&Part::Whole { head: head.clone(), bytes: Bytes(b"123456789012"[..].into()) }),
        encode(&Work::Content(Part::Begin(head))),
        encode(&Progress::Outcomes(vec![(
            1,
            Identity { device: 1, inode: 2, ctime: Timestamp::default(), links: 1 },
        )])),
        encode(&Enter {
            path: Bytes(b"/srv"[..].into()),
            may_be_missing: false,
            standing: Standing::default(),
        }),
        encode(&Request::Scan(ScanOrder {
            fidelity: Fidelity::Archive,
            one_file_system: false,
            filter: crate::Filter::builder().exclude("*.log").build().unwrap(),
            hide_excluded: true,
            known: None,
        })),
    ]
}

/// Gives bytes to everything that reads what a peer sent.
fn feed(bytes: &[u8]) {
    super::fuzz::decode_anything(bytes);
}

#[test]
fn deleting_limits_hold_for_what_a_peer_lists() {
    // An honest agent whose tree has become nearly empty: the guard refuses, nothing goes.
    let folder = tempfile::tempdir().unwrap();
    let (src, dst) = (folder.path().join("src"), folder.path().join("dst"));
    fs::create_dir(&src).unwrap();
    fs::create_dir(&dst).unwrap();
    for number in 0..10 {
        fs::write(dst.join(number.to_string()), "x").unwrap();
    }
    fs::write(src.join("0"), "x").unwrap();
    let (ours, theirs) = memory_pair().unwrap();
    let config = AgentConfig::new(&src);
    let agent = thread::spawn(move || serve(theirs, &config));
    let source = RemoteTree::connect(ours, "host", &RemoteOptions::default()).unwrap();
    let target = LocalTree::open(&dst).unwrap();
    let guards = Guards { max_delete: DeleteLimit::Percent(50), ..Guards::default() };
    let planned = Mirror::new(&source, &target).plan().unwrap();
    assert!(matches!(planned.approve(&guards), Err(Error::Refused(_))));
    assert_eq!(fs::read_dir(&dst).unwrap().count(), 10);
    drop(source);
    agent.join().unwrap().unwrap();
}
