//! Ways into everything that reads a peer's bytes, for properties and fuzzers.

use std::io::{Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::frame::{Decoder, Encoder};
use super::link::{MESSAGE_MAX, Patience, put_message, take_message};
use super::message::{
    Answer, Digests, Enter, Hello, Part, Progress, Request, Scanned, Standing, Wanted, Welcome,
    Work, decode, encode,
};
use super::{AGENT_MAGIC, CALLER_MAGIC, VERSIONS, valid};
use crate::agent::{AgentConfig, Limits, serve};
use crate::endpoint::Durability;
use crate::entry::Bytes;
use crate::guard::Guards;
use crate::local::LocalTree;
use crate::manifest::RootId;
use crate::mirror::Mirror;
use crate::plan;
use crate::policy::{Capabilities, Fidelity};
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
    let written = Encoder::new(magic, 1).and_then(|mut encoder| {
        transport.writer.write_all(magic)?;
        let mut write = |stream: u32, kind: u8, message: &[u8]| {
            let mut body = Vec::new();
            put_message(&mut body, stream, kind, &message[..message.len().min(MESSAGE_MAX)]);
            transport.writer.write_all(encoder.encode(&body))
        };
        for message in greeting {
            write(0, super::link::MESSAGE, message)?;
        }
        let mut rest = script;
        while let Some(([stream, kind, low, high], more)) = rest.split_first_chunk() {
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(more.len());
            let (message, more) = more.split_at(length);
            write((*stream).into(), *kind, message)?;
            rest = more;
        }
        write(0, super::link::BYE, &[])
    });
    // The other end may have hung up on it, and is not kept waiting otherwise.
    drop(written);
    thread::sleep(Duration::from_millis(1));
    transport.ending.close();
    let _ = drain.join();
}
