//! The end that has the files.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::endpoint::{Opened, Source};
use crate::entry::{Bytes, Digest, Entry, Identity, Kind, Side};
use crate::path::RelPath;
use crate::plan::{Op, Plan, Stage};
use crate::wire::LinkError;
use crate::wire::message::{Head, PIECE, Part};
use crate::wire::valid;

/// The files that carrying out one side of a plan opens, in that order, each with the number of
/// its step.
pub(crate) fn contents_of(
    plan: &Plan,
    side: Side,
) -> impl Iterator<Item = io::Result<(u32, RelPath, Identity, u64)>> {
    let stages = [Stage::Contents, Stage::Deletions];
    let steps = stages.into_iter().flat_map(move |stage| plan.stage(stage, side));
    steps.filter_map(|step| {
        let step = match step {
            Ok(step) => step,
            Err(error) => return Some(Err(error)),
        };
        match step.op {
            Op::Put { path, kind: Kind::File { size }, source, .. }
            | Op::ReplaceDirectory {
                path, kind: Kind::File { size }, source, leader: None, ..
            } => Some(Ok((step.id, path, source, size))),
            _ => None,
        }
    })
}

/// What became of a file that was to be sent.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// All of it was sent.
    Whole,
    /// It could not be read, or changed meanwhile; the other end has been told.
    Not,
    /// The other end wants no more.
    Unwanted,
}

/// Sends one file through `put`, which says whether the other end wants more. `sent` is told what
/// it was just before the last of it goes: the answer may come at once.
pub(crate) fn send_file(
    tree: &dyn Source,
    path: &RelPath,
    identity: &Identity,
    literal: &AtomicU64,
    put: &dyn Fn(Part) -> Result<bool, LinkError>,
    sent: &dyn Fn(Digest, Option<Box<Entry>>),
) -> Result<Delivered, LinkError> {
    let failed = |error: &io::Error| {
        let trouble = valid::telling(error);
        let wanted = put(Part::Failed { path: path.clone(), trouble })?;
        Ok(if wanted { Delivered::Not } else { Delivered::Unwanted })
    };
    let Opened { entry, mut content } = match tree.open(path, identity) {
        Ok(opened) => opened,
        Err(error) => {
            // A source that is itself behind a link which broke is not this file's trouble.
            return failed(&error);
        }
    };
    let (size, allocated) = (entry.kind.size(), entry.allocated);
    let is_planned = entry.identity == *identity;
    let fresh = (!is_planned).then(|| Box::new(Entry { digest: None, ..entry }));
    let head = Head { path: path.clone(), size, allocated, fresh: fresh.clone() };
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; usize::try_from(size).unwrap_or(PIECE).clamp(1, PIECE)];
    let has_holes = allocated < size;
    if size <= PIECE as u64 && !has_holes {
        let mut filled = 0;
        while (filled as u64) < size {
            match content.read_at(&mut buffer[filled..], filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => return failed(&error),
            }
        }
        buffer.truncate(filled);
        let whole = filled as u64 == size && content.is_unchanged().unwrap_or_default();
        literal.fetch_add(filled as u64, Ordering::Relaxed);
        if whole {
            sent(Digest::of(&buffer), fresh);
            let wanted = put(Part::Whole { head, bytes: Bytes(buffer.into()) })?;
            return Ok(if wanted { Delivered::Whole } else { Delivered::Unwanted });
        }
        let wanted = put(Part::Begin(head))? && put(Part::End { unchanged: false })?;
        return Ok(if wanted { Delivered::Not } else { Delivered::Unwanted });
    }
    if !put(Part::Begin(head))? {
        return Ok(Delivered::Unwanted);
    }
    let mut offset = 0;
    while offset < size {
        let (start, end) = match has_holes {
            true => match content.next_data(offset) {
                Ok(data) => data.unwrap_or((size, size)),
                Err(error) => return failed(&error),
            },
            false => (offset, size),
        };
        let (start, end) = (start.clamp(offset, size), end.clamp(offset, size));
        if start > offset {
            hash_zeros(&mut hasher, start - offset);
            if !put(Part::Hole(start - offset))? {
                return Ok(Delivered::Unwanted);
            }
        }
        offset = start;
        while offset < end {
            let most = usize::try_from(end - offset).unwrap_or(PIECE).min(PIECE);
            match content.read_at(&mut buffer[..most], offset) {
                Ok(0) => {
                    let wanted = put(Part::End { unchanged: false })?;
                    return Ok(if wanted { Delivered::Not } else { Delivered::Unwanted });
                }
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    literal.fetch_add(read as u64, Ordering::Relaxed);
                    if !put(Part::Data(Bytes(buffer[..read].into())))? {
                        return Ok(Delivered::Unwanted);
                    }
                    offset += read as u64;
                }
                Err(error) => return failed(&error),
            }
        }
    }
    let unchanged = match content.is_unchanged() {
        Ok(unchanged) => unchanged,
        Err(error) => return failed(&error),
    };
    if unchanged {
        sent(Digest(*hasher.finalize().as_bytes()), fresh);
    }
    Ok(match put(Part::End { unchanged })? {
        false => Delivered::Unwanted,
        true if unchanged => Delivered::Whole,
        true => Delivered::Not,
    })
}

fn hash_zeros(hasher: &mut blake3::Hasher, count: u64) {
    let zeros = io::Read::take(io::repeat(0), count);
    // Neither reading zeros nor hashing fails.
    let _ = hasher.update_reader(zeros);
}
