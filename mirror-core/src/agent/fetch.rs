//! Reading files for a caller.

use std::sync::atomic::AtomicU64;
use std::thread;

use rustix::io::Errno;

use super::tree::Tree;
use crate::endpoint::Endpoint;
use crate::entry::{Entry, Kind};
use crate::listing;
use crate::path::RelPath;
use crate::progress::Cancel;
use crate::wire::LinkError;
use crate::wire::contents::{Delivered, send_file};
use crate::wire::link::Stream;
use crate::wire::message::{Digests, Part, Wanted, decode, encode};
use crate::wire::valid;

/// How many files are digested before the first digests are told.
const TOGETHER: usize = 64;

/// Sends the files that the caller names, in that order.
pub(super) fn send(stream: &Stream, tree: &Tree) -> Result<(), LinkError> {
    let literal = AtomicU64::new(0);
    let put = |part: Part| stream.send(&encode(&part));
    while let Some(message) = stream.receive()? {
        let Wanted::File { path, identity, .. } = decode(&message)? else { return Ok(()) };
        let delivered = match tree.local() {
            Some(local) => send_file(local, &path, &identity, &literal, &put, &|_, _| ())?,
            None => {
                let trouble = valid::telling(&Errno::NOENT.into());
                match put(Part::Failed { path, trouble })? {
                    true => Delivered::Not,
                    false => Delivered::Unwanted,
                }
            }
        };
        if matches!(delivered, Delivered::Unwanted) {
            return Ok(());
        }
    }
    Ok(())
}

/// Digests the files that the caller names, in that order.
pub(super) fn digest(stream: &Stream, tree: &Tree) -> Result<(), LinkError> {
    let threads = thread::available_parallelism().map_or(2, usize::from).clamp(1, 8);
    let mut more = true;
    while more {
        let mut wanted: Vec<(RelPath, Entry)> = Vec::new();
        while wanted.len() < TOGETHER {
            let Some(message) = stream.receive()? else { return Ok(()) };
            let Wanted::File { path, identity, size } = decode(&message)? else {
                more = false;
                break;
            };
            let mut entry = listing::Tree::entry(path.name(), Kind::File { size }, 0);
            entry.identity = identity;
            wanted.push((path, entry));
        }
        let pairs: Vec<(&RelPath, &Entry)> =
            wanted.iter().map(|(path, entry)| (path, entry)).collect();
        let none = || vec![None; pairs.len()];
        let digests = tree.local().map_or_else(none, |local| {
            local.digests(&pairs, threads, &Cancel::default()).unwrap_or_else(|_| none())
        });
        if !digests.is_empty() && !stream.send(&encode(&Digests(digests)))? {
            return Ok(());
        }
    }
    Ok(())
}
