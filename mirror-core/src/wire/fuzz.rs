//! One way into everything that reads a peer's bytes, for properties and fuzzers.

use super::frame::Decoder;
use super::link::take_message;
use super::message::{
    Answer, Digests, Enter, Hello, Part, Progress, Request, Scanned, Wanted, Welcome, Work, decode,
};
use super::{AGENT_MAGIC, CALLER_MAGIC, valid};
use crate::plan;

/// Reads `bytes` as everything that they could be, and checks what comes of it.
pub(crate) fn decode_anything(bytes: &[u8]) {
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
