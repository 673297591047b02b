//! Ways into everything that reads a peer's bytes, for properties and fuzzers.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::frame::{Decoder, Encoder};
use super::gist::GISTS_MAX;
use super::link::{
    MESSAGE_COST, MESSAGE_MAX, Patience, STREAMS_MAX, WINDOW, put_message, take_message,
};
use super::message::{
    Answer, ApplyOrder, Digests, Enter, Gists, Hello, Part, Progress, Request, SCAN_MAX, ScanOrder,
    Scanned, Standing, Wanted, Welcome, Work, decode, encode,
};
use super::{AGENT_MAGIC, CALLER_MAGIC, VERSIONS, valid};
use crate::agent::{AgentConfig, Limits, serve};
use crate::endpoint::Durability;
use crate::entry::{Bytes, Digest, Identity, Timestamp};
use crate::guard::Guards;
use crate::local::LocalTree;
use crate::manifest::RootId;
use crate::mirror::Mirror;
use crate::path::RelPath;
use crate::plan::{self, Op};
use crate::policy::{Capabilities, Fidelity, Ownership};
use crate::remote::{RemoteOptions, RemoteTree};
use crate::transport::{Transport, memory_pair};

/// Reads `bytes` as everything that they could be, and checks what comes of it. Nothing may panic.
pub fn decode_anything(bytes: &[u8]) {
    for magic in [CALLER_MAGIC, AGENT_MAGIC] {
        let Ok(mut decoder) = Decoder::new(magic) else { return };
        let (mut rest, mut body) = (bytes, Vec::new());
        while decoder.read(&mut rest, &mut body).unwrap_or_default() {}
    }
    let mut rest = bytes;
    while !rest.is_empty() && take_message(&mut rest).is_ok() {}
    let _ = decode::<Hello>(bytes);
    let _ = decode::<Enter>(bytes);
    let _ = decode::<Welcome>(bytes);
    let _ = decode::<Request>(bytes);
    let _ = decode::<Wanted>(bytes);
    let _ = decode::<Gists>(bytes);
    let _ = decode::<Digests>(bytes);
    let _ = decode::<Answer>(bytes);
    match decode::<Scanned>(bytes) {
        Ok(Scanned::Root(entry)) => drop(valid::root(&entry)),
        Ok(Scanned::Directory(part)) => {
            for entry in &part.entries {
                let _ = valid::listed(&part.directory, entry);
            }
            part.problems.into_iter().map(valid::problem).for_each(drop);
        }
        _ => {}
    }
    if let Ok(Work::Steps(ops)) = decode::<Work>(bytes) {
        for op in &ops {
            let _ = plan::check(op);
            let _ = valid::op(op);
        }
    }
    if let Ok(Part::Failed { trouble, .. }) = decode::<Part>(bytes) {
        let _ = valid::trouble(&trouble).to_string();
    }
    if let Ok(Progress::Problem(problem)) = decode::<Progress>(bytes) {
        let _ = valid::problem(problem);
    }
}

/// How long a side that hears a script waits for more of it.
fn patience() -> Patience {
    let silence = Duration::from_secs(5);
    Patience { silence, stuck: silence }
}

fn limits() -> Limits {
    Limits { steps: 1000, directory_entries: 1000, entries: 10_000, problems: 1000 }
}

/// Lets a caller say what `script` holds to an agent that serves `root`: stream, kind and length
/// (two bytes) before each message. The frames around them are whole, so that all of it is heard.
pub fn agent_hears(root: &Path, script: &[u8]) {
    let Ok((mut ours, theirs)) = memory_pair() else { return };
    let config =
        AgentConfig::new(root).fidelity(Fidelity::Hosted).limits(limits()).patience(patience());
    thread::scope(|scope| {
        scope.spawn(|| serve(theirs, &config));
        let hello = Hello { versions: VERSIONS, program: String::new() };
        let standing = Standing::default();
        let enter = Enter { path: Bytes::default(), may_be_missing: true, standing };
        say(&mut ours, CALLER_MAGIC, &[encode(&hello), encode(&enter)], script);
    });
}

/// Lets an agent say what `script` holds, as [`agent_hears`] has it, to a caller that mirrors from
/// it into `target`.
pub fn caller_hears(target: &Path, script: &[u8]) {
    let Ok((ours, mut theirs)) = memory_pair() else { return };
    thread::scope(|scope| {
        scope.spawn(|| {
            let options = RemoteOptions::default().limits(limits()).patience(patience());
            let source = RemoteTree::connect(ours, "script", &options)?;
            let target = LocalTree::open(target)?;
            let mirror = Mirror::new(&source, &target).durability(Durability::None);
            mirror.plan()?.approve(&Guards::default())?.apply()
        });
        let hello = Hello { versions: VERSIONS, program: String::new() };
        let welcome = Welcome::Entered {
            root: RootId { path: Bytes(b"/"[..].into()), device: 1, inode: 1 },
            capabilities: Capabilities::all(),
            read_only: false,
            standing: Standing::default(),
            whereabouts: Default::default(),
        };
        say(&mut theirs, AGENT_MAGIC, &[encode(&hello), encode(&welcome)], script);
    });
}

/// Says a greeting and a script, and hears nothing.
fn say(transport: &mut Transport, magic: &[u8; 16], greeting: &[Vec<u8>], script: &[u8]) {
    let mut reader = std::mem::replace(&mut transport.reader, Box::new(std::io::empty()));
    let drain = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
    });
    let written = Script::begin(magic, &mut *transport.writer).and_then(|mut out| {
        for message in greeting {
            out.say(0, super::link::MESSAGE, message)?;
        }
        let mut rest = script;
        while let Some(([stream, kind, low, high], more)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
            let (message, more) = more.split_at(length);
            out.say((*stream).into(), *kind, message)?;
            rest = more;
        }
        out.say(0, super::link::BYE, &[])
    });
    // The other end may have hung up on it, and is not kept waiting otherwise.
    drop(written);
    thread::sleep(Duration::from_millis(1));
    transport.ending.close();
    let _ = drain.join();
}

/// Whole frames of whatever is to be said.
struct Script<'a> {
    encoder: Encoder,
    out: &'a mut dyn Write,
}

impl<'a> Script<'a> {
    fn begin(magic: &[u8; 16], out: &'a mut dyn Write) -> io::Result<Script<'a>> {
        out.write_all(magic)?;
        Ok(Script { encoder: Encoder::new(magic, 1)?, out })
    }

    fn say(&mut self, stream: u32, kind: u8, message: &[u8]) -> io::Result<()> {
        let mut body = Vec::new();
        put_message(&mut body, stream, kind, &message[..message.len().min(MESSAGE_MAX)]);
        self.out.write_all(self.encoder.encode(&body))
    }
}

/// Ways to make an agent keep as much as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// As many streams as there may be, each with as much as its credit lets, and no answer taken.
    Streams,
    /// As many steps as there may be, as small as they can be.
    Steps,
    /// A filter of as many and as intricate rules as there may be.
    Filter,
    /// Frames that expand as far as they can.
    Frames,
    /// A filter, directories that are remembered, steps, and a flood on all other streams.
    Everything,
}

/// Says to an agent what makes it keep as much as can be, within its credit. Returns when all has
/// been said, or the agent has ended it.
///
/// # Errors
/// Those of `out`.
pub fn attack(
    attack: Attack,
    out: &mut dyn Write,
    input: impl Read + Send + 'static,
) -> io::Result<()> {
    let credit = Arc::new((Mutex::new(Some(WINDOW)), Condvar::new()));
    if attack == Attack::Steps {
        let credit = credit.clone();
        thread::spawn(move || count_credit(input, &credit));
    } else {
        // Nothing is taken of what the agent says.
        std::mem::forget(input);
    }
    let mut out = Script::begin(CALLER_MAGIC, out)?;
    let hello = Hello { versions: VERSIONS, program: String::new() };
    let standing = Standing::default();
    let enter = Enter { path: Bytes::default(), may_be_missing: true, standing };
    out.say(0, super::link::MESSAGE, &encode(&hello))?;
    out.say(0, super::link::MESSAGE, &encode(&enter))?;
    match attack {
        Attack::Streams => flood(&mut out, 1)?,
        Attack::Steps => {
            out.say(1, super::link::OPEN, &encode(&apply()))?;
            let steps = encode(&steps());
            let cost = steps.len() as u64 + MESSAGE_COST;
            for _ in 0..Limits::default().steps / 20_000 {
                let left = credit.0.lock().unwrap_or_else(PoisonError::into_inner);
                let short = |left: &mut Option<u64>| left.is_some_and(|left| left < 2 * cost);
                let left = credit.1.wait_while(left, short);
                match &mut *left.unwrap_or_else(PoisonError::into_inner) {
                    Some(left) => *left -= cost,
                    None => return Err(io::ErrorKind::BrokenPipe.into()),
                }
                out.say(1, super::link::MESSAGE, &steps)?;
            }
            out.say(1, super::link::MESSAGE, &encode(&Work::Go))?;
        }
        Attack::Filter => {
            let request = intricate_scan(None)?;
            for stream in 1..=8 {
                out.say(stream, super::link::OPEN, &request)?;
            }
        }
        Attack::Frames => {
            out.say(1, super::link::OPEN, &encode(&Request::Digest))?;
            for _ in 0..11 {
                out.say(1, super::link::MESSAGE, &vec![0; MESSAGE_MAX])?;
            }
        }
        Attack::Everything => {
            let scan = intricate_scan(Some(Digest::of(b"another tree")))?;
            out.say(1, super::link::OPEN, &scan)?;
            // The end of them never comes.
            let gists = encode(&Gists(vec![[1; 16]; GISTS_MAX / 10]));
            for _ in 0..10 {
                out.say(1, super::link::MESSAGE, &gists)?;
            }
            out.say(2, super::link::OPEN, &encode(&apply()))?;
            let steps = encode(&steps());
            for _ in 0..WINDOW / (steps.len() as u64 + MESSAGE_COST) - 1 {
                out.say(2, super::link::MESSAGE, &steps)?;
            }
            flood(&mut out, 3)?;
        }
    }
    Ok(())
}

/// Fills all streams from this one on with as much as its credit lets.
fn flood(out: &mut Script<'_>, from: usize) -> io::Result<()> {
    let path = RelPath::default();
    let identity = Identity { device: 0, inode: 0, ctime: Timestamp::default(), links: 0 };
    let wanted = encode(&Wanted::File { path, identity, size: 0 });
    let cost = wanted.len() as u64 + MESSAGE_COST;
    for stream in from..=STREAMS_MAX {
        let stream = u32::try_from(stream).unwrap_or(u32::MAX);
        out.say(stream, super::link::OPEN, &encode(&Request::Fetch))?;
        for _ in 0..(WINDOW / cost - 1) {
            out.say(stream, super::link::MESSAGE, &wanted)?;
        }
    }
    Ok(())
}

fn apply() -> Request {
    Request::Apply(ApplyOrder {
        run: "1-1".to_owned(),
        durability: 0,
        fidelity: Fidelity::Archive,
        ownership: Ownership::Preserve,
    })
}

/// As many steps as a message takes, as small as they can be.
fn steps() -> Work {
    let path = RelPath::new(b".mirror-tmp-1-1-n1").unwrap_or_default();
    Work::Steps(vec![Op::Sweep { path }; 20_000])
}

/// A scan with as many intricate rules as are taken at all.
fn intricate_scan(known: Option<Digest>) -> io::Result<Vec<u8>> {
    let request = |filter| {
        encode(&Request::Scan(ScanOrder {
            fidelity: Fidelity::Archive,
            one_file_system: false,
            filter,
            hide_excluded: true,
            known,
        }))
    };
    let mut requests = (1..=40)
        .rev()
        .filter_map(|rules| intricate_filter(rules * 50).map(request).ok())
        .skip_while(|request| request.len() > SCAN_MAX);
    requests.next().ok_or(io::ErrorKind::InvalidInput.into())
}

fn intricate_filter(rules: u32) -> Result<crate::Filter, crate::Error> {
    let mut filter = crate::Filter::builder();
    for number in 0..rules {
        filter.exclude(&format!("**/a*b?c[!x-z]*/{number}/**/*.[a-z]*{number}"));
    }
    filter.build()
}

/// Counts the credit that the agent gives; None when it has gone.
fn count_credit(mut input: impl Read, credit: &(Mutex<Option<u64>>, Condvar)) {
    let mut magic = [0; 16];
    let Ok(mut decoder) = Decoder::new(AGENT_MAGIC) else { return };
    let mut body = Vec::new();
    let _ = input.read_exact(&mut magic);
    while decoder.read(&mut input, &mut body).unwrap_or_default() {
        let mut rest = &body[..];
        while let Ok((_, kind, message)) = take_message(&mut rest) {
            if let (super::link::CREDIT, Ok(more)) = (kind, <[u8; 4]>::try_from(message)) {
                let mut left = credit.0.lock().unwrap_or_else(PoisonError::into_inner);
                *left = left.map(|left| left + u64::from(u32::from_le_bytes(more)));
                credit.1.notify_all();
            }
        }
    }
    *credit.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    credit.1.notify_all();
}
