//! What a run changed, call by call, and every state that a power cut could have left of it.
//!
//! A power cut leaves what was synced, and of the rest any part: syncing a file makes its content
//! and metadata durable but not its name, syncing a directory the names in it. Two things are
//! promised, as every journal does: a call on names takes effect as a whole or not at all, and
//! never without the earlier ones on the same names, inodes and directories. Contents have no such
//! promise; a write may be torn at any sector.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::image::{Body, Id, Identities, Ids, Image, Node, read_node};
use crate::entry::Timestamp;
use crate::fs::{Fs, RealFs, Status};

/// How large a part of a write reaches the disk as a whole.
const SECTOR: usize = 512;

/// A call that succeeded, in terms of descriptors and names.
#[derive(Clone, Copy)]
pub(super) enum Change<'a> {
    /// A name has come to stand for an inode, which may be new.
    Made {
        dir: BorrowedFd<'a>,
        name: &'a [u8],
    },
    Unlinked {
        dir: BorrowedFd<'a>,
        name: &'a [u8],
    },
    Renamed {
        from: (BorrowedFd<'a>, &'a [u8]),
        to: (BorrowedFd<'a>, &'a [u8]),
        exchange: bool,
    },
    Written {
        file: BorrowedFd<'a>,
        bytes: &'a [u8],
        offset: u64,
    },
    Length {
        file: BorrowedFd<'a>,
        length: u64,
    },
    Metadata {
        file: BorrowedFd<'a>,
    },
    Synced {
        file: BorrowedFd<'a>,
    },
    AllSynced {
        file: BorrowedFd<'a>,
    },
}

/// The same in terms of inodes, so that it can be done again on an image.
#[derive(Debug, Clone)]
enum Effect {
    /// `name` in `dir` stands for `id`; with `moved_from` it is the inode's only new place.
    Name {
        dir: Id,
        name: Vec<u8>,
        id: Id,
        moved_from: Option<(Id, Vec<u8>)>,
    },
    NoName {
        dir: Id,
        name: Vec<u8>,
        id: Id,
    },
    Exchange {
        one: (Id, Vec<u8>, Id),
        other: (Id, Vec<u8>, Id),
    },
    Write {
        id: Id,
        bytes: Vec<u8>,
        offset: usize,
    },
    Length {
        id: Id,
        length: usize,
    },
    Metadata {
        id: Id,
        mode: Option<u32>,
        owner: Option<(u32, u32)>,
        xattrs: Option<Xattrs>,
    },
    Mtime {
        id: Id,
        mtime: Timestamp,
    },
}

type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug, Clone)]
struct Operation {
    effect: Effect,
    /// The inodes that it stamped: their ctime afterwards, and their mtime if that is its doing.
    stamps: Vec<(Id, Timestamp, Option<Timestamp>)>,
}

#[derive(Debug, Clone)]
enum Event {
    Operation(Operation),
    Sync(Id),
    SyncAll,
}

/// Follows a run.
pub(super) struct Recorder {
    start: Image,
    /// The tree as every process sees it.
    now: Image,
    ids: Ids,
    /// Inodes as they were when they were made.
    born: BTreeMap<Id, Node>,
    events: Vec<Event>,
}

fn key(file: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let identity = RealFs.status(file)?.identity;
    Ok((identity.device, identity.inode))
}

impl Recorder {
    pub(super) fn start(path: &Path, identities: &Identities) -> io::Result<Recorder> {
        let (start, ids) = Image::take_as(path, identities)?;
        let born = start.nodes.clone();
        Ok(Recorder { now: start.clone(), start, ids, born, events: Vec::new() })
    }

    pub(super) fn finish(self) -> Recording {
        Recording { start: self.start, born: Arc::new(self.born), events: self.events }
    }

    /// Makes a call and notes what it changed. What lies outside of the recorded tree is not
    /// noted.
    pub(super) fn around<'c, T>(
        &mut self,
        call: impl FnOnce() -> io::Result<T>,
        changed: impl FnOnce(&T) -> Change<'c>,
    ) -> io::Result<T> {
        let result = call()?;
        self.note(changed(&result))?;
        Ok(result)
    }

    fn note(&mut self, change: Change<'_>) -> io::Result<()> {
        let event = match change {
            Change::Synced { file } => self.ids.get(&key(file)?).map(|&id| Event::Sync(id)),
            Change::AllSynced { file } => self.ids.get(&key(file)?).map(|_| Event::SyncAll),
            change => self.operation(change)?.map(Event::Operation),
        };
        if let Some(Event::Operation(operation)) = &event {
            operation.apply(&mut self.now, &self.born);
        }
        self.events.extend(event);
        Ok(())
    }

    /// What a change comes to; None where it is outside of the recorded tree or changes nothing.
    fn operation(&mut self, change: Change<'_>) -> io::Result<Option<Operation>> {
        let id = |file| -> io::Result<Option<Id>> { Ok(self.ids.get(&key(file)?).copied()) };
        let size = |count: u64| usize::try_from(count).map_err(io::Error::other);
        let effect = match change {
            Change::Made { dir, name } => id(dir)?.map(|dir_id| self.made(dir, dir_id, name)),
            Change::Unlinked { dir, name } => id(dir)?.map(|dir| {
                let id = self.now.entry(dir, name);
                Ok(id.map(|id| Effect::NoName { dir, name: name.to_vec(), id }))
            }),
            Change::Renamed { from, to, exchange } => {
                let dirs = id(from.0)?.zip(id(to.0)?);
                dirs.map(|dirs| Ok(self.renamed((dirs.0, from.1), (dirs.1, to.1), exchange)))
            }
            Change::Written { file, bytes, offset } => {
                let (bytes, offset) = (bytes.to_vec(), size(offset)?);
                id(file)?.map(|id| Ok(Some(Effect::Write { id, bytes, offset })))
            }
            Change::Length { file, length } => {
                let length = size(length)?;
                id(file)?.map(|id| Ok(Some(Effect::Length { id, length })))
            }
            Change::Metadata { file } => id(file)?.map(|id| self.metadata(id, file)),
            Change::Synced { .. } | Change::AllSynced { .. } => None,
        };
        let Some(effect) = effect.transpose()?.flatten() else { return Ok(None) };
        let stamps = self.stamps(change)?;
        Ok(Some(Operation { effect, stamps }))
    }

    fn made(&mut self, dir: BorrowedFd<'_>, dir_id: Id, name: &[u8]) -> io::Result<Option<Effect>> {
        let identity = RealFs.status_at(dir, name)?.identity;
        let fresh = self.born.len() as Id;
        let id = *self.ids.entry((identity.device, identity.inode)).or_insert(fresh);
        if id == fresh {
            let above = format!("/proc/self/fd/{}", dir.as_raw_fd());
            let path = Path::new(&above).join(std::ffi::OsStr::from_bytes(name));
            self.born.insert(id, read_node(&path, &Identities::default())?);
        }
        let there = self.now.entry(dir_id, name) == Some(id);
        let name = name.to_vec();
        Ok((!there).then_some(Effect::Name { dir: dir_id, name, id, moved_from: None }))
    }

    fn renamed(&self, from: (Id, &[u8]), to: (Id, &[u8]), exchange: bool) -> Option<Effect> {
        let id = self.now.entry(from.0, from.1)?;
        let owned = |(dir, name): (Id, &[u8])| (dir, name.to_vec());
        match self.now.entry(to.0, to.1) {
            // Two names of one file stay as they are.
            Some(other) if other == id => None,
            Some(other) if exchange => {
                let (from, to) = (owned(from), owned(to));
                Some(Effect::Exchange { one: (from.0, from.1, id), other: (to.0, to.1, other) })
            }
            _ => {
                let (dir, name) = owned(to);
                Some(Effect::Name { dir, name, id, moved_from: Some(owned(from)) })
            }
        }
    }

    /// The one thing about an inode that a call has changed.
    fn metadata(&self, id: Id, file: BorrowedFd<'_>) -> io::Result<Option<Effect>> {
        let (status, was) = (RealFs.status(file)?, &self.now.nodes[&id]);
        if status.mtime != was.mtime {
            return Ok(Some(Effect::Mtime { id, mtime: status.mtime }));
        }
        let mut xattrs = Xattrs::new();
        for name in RealFs.list_xattrs(file)? {
            let value = RealFs.get_xattr(file, &name)?;
            xattrs.insert(name, value);
        }
        let owner = (status.uid, status.gid);
        Ok(Some(Effect::Metadata {
            id,
            mode: (status.mode != was.mode).then_some(status.mode),
            owner: (owner != was.owner).then_some(owner),
            xattrs: (xattrs != was.xattrs).then_some(xattrs),
        }))
    }

    fn stamps(&self, change: Change<'_>) -> io::Result<Vec<(Id, Timestamp, Option<Timestamp>)>> {
        let mut stamps = Vec::new();
        let mut stamp = |status: Status, content: bool| {
            let key = (status.identity.device, status.identity.inode);
            if let Some(&id) = self.ids.get(&key) {
                stamps.push((id, status.identity.ctime, content.then_some(status.mtime)));
            }
        };
        let named = |dir, name| RealFs.status_at(dir, name);
        match change {
            Change::Made { dir, name } => {
                stamp(RealFs.status(dir)?, true);
                stamp(named(dir, name)?, false);
            }
            Change::Unlinked { dir, .. } => stamp(RealFs.status(dir)?, true),
            Change::Renamed { from, to, exchange } => {
                stamp(RealFs.status(from.0)?, true);
                stamp(RealFs.status(to.0)?, true);
                stamp(named(to.0, to.1)?, false);
                if exchange {
                    stamp(named(from.0, from.1)?, false);
                }
            }
            Change::Written { file, .. } | Change::Length { file, .. } => {
                stamp(RealFs.status(file)?, true);
            }
            Change::Metadata { file } => stamp(RealFs.status(file)?, false),
            Change::Synced { .. } | Change::AllSynced { .. } => {}
        }
        Ok(stamps)
    }
}

impl Image {
    fn entry(&self, dir: Id, name: &[u8]) -> Option<Id> {
        match &self.nodes.get(&dir)?.body {
            Body::Directory(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    fn set(&mut self, dir: Id, name: &[u8], id: Id) {
        if let Some(Node { body: Body::Directory(entries), .. }) = self.nodes.get_mut(&dir) {
            entries.insert(name.to_vec(), id);
        }
    }

    /// Takes a name away, if it stands for `id`.
    fn clear(&mut self, dir: Id, name: &[u8], id: Id) {
        if self.entry(dir, name) == Some(id)
            && let Some(Node { body: Body::Directory(entries), .. }) = self.nodes.get_mut(&dir)
        {
            entries.remove(name);
        }
    }
}

impl Operation {
    /// The inode whose content or metadata it is about; None for one on names.
    fn of_inode(&self) -> Option<Id> {
        match self.effect {
            Effect::Write { id, .. }
            | Effect::Length { id, .. }
            | Effect::Metadata { id, .. }
            | Effect::Mtime { id, .. } => Some(id),
            _ => None,
        }
    }

    /// The names that it is about, with the inodes they come to stand for or did.
    fn names(&self) -> Vec<(Id, &[u8], Id)> {
        match &self.effect {
            Effect::Name { dir, name, id, moved_from } => {
                let from = moved_from.iter().map(|(dir, name)| (*dir, &**name, *id));
                from.chain([(*dir, &**name, *id)]).collect()
            }
            Effect::NoName { dir, name, id } => vec![(*dir, name, *id)],
            Effect::Exchange { one, other } => {
                vec![(one.0, &one.1, one.2), (other.0, &other.1, other.2)]
            }
            _ => Vec::new(),
        }
    }

    /// Whether a journal keeps it from taking effect without an earlier one.
    fn needs(&self, earlier: &Operation) -> bool {
        self.names().iter().any(|(dir, name, id)| {
            earlier.names().iter().any(|(its_dir, its_name, its_id)| {
                (dir, name) == (its_dir, its_name) || id == its_id || dir == its_id
            })
        })
    }

    fn apply(&self, image: &mut Image, born: &BTreeMap<Id, Node>) {
        let mut ensure = |id: Id| {
            image.nodes.entry(id).or_insert_with(|| born[&id].clone());
        };
        self.of_inode().into_iter().for_each(&mut ensure);
        for (dir, _, id) in self.names() {
            ensure(dir);
            ensure(id);
        }
        match &self.effect {
            Effect::Name { dir, name, id, moved_from } => {
                if let Some((from_dir, from)) = moved_from {
                    image.clear(*from_dir, from, *id);
                }
                image.set(*dir, name, *id);
            }
            Effect::NoName { dir, name, id } => image.clear(*dir, name, *id),
            Effect::Exchange { one, other } => {
                image.set(one.0, &one.1, other.2);
                image.set(other.0, &other.1, one.2);
            }
            Effect::Write { id, bytes, offset } => write(image, *id, bytes, *offset),
            Effect::Length { id, length } => {
                if let Some(Node { body: Body::File(content), .. }) = image.nodes.get_mut(id) {
                    content.resize(*length, 0);
                }
            }
            Effect::Metadata { id, mode, owner, xattrs } => {
                if let Some(node) = image.nodes.get_mut(id) {
                    node.mode = mode.unwrap_or(node.mode);
                    node.owner = owner.unwrap_or(node.owner);
                    if let Some(xattrs) = xattrs {
                        node.xattrs.clone_from(xattrs);
                    }
                }
            }
            Effect::Mtime { id, mtime } => {
                if let Some(node) = image.nodes.get_mut(id) {
                    node.mtime = *mtime;
                }
            }
        }
        for (id, ctime, mtime) in &self.stamps {
            if let Some(node) = image.nodes.get_mut(id) {
                node.ctime = *ctime;
                node.mtime = mtime.unwrap_or(node.mtime);
            }
        }
    }

    /// The part of a write that a cut in the middle of it leaves: its first sectors.
    fn torn(&self, sectors: usize) -> Operation {
        let mut torn = self.clone();
        if let Effect::Write { bytes, offset, .. } = &mut torn.effect {
            // Sectors are those of the file, not of the write.
            let end = (*offset / SECTOR + sectors) * SECTOR;
            bytes.truncate(end.saturating_sub(*offset));
        }
        torn
    }
}

fn write(image: &mut Image, id: Id, bytes: &[u8], offset: usize) {
    if let Some(Node { body: Body::File(content), .. }) = image.nodes.get_mut(&id) {
        let end = offset + bytes.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset..end].copy_from_slice(bytes);
    }
}

/// What a run changed in a tree.
#[derive(Debug, Clone)]
pub struct Recording {
    start: Image,
    born: Arc<BTreeMap<Id, Node>>,
    events: Vec<Event>,
}

impl Recording {
    /// Every moment at which the power could be cut: before the first change and after each change
    /// and each sync.
    pub fn crashes(&self) -> impl Iterator<Item = Crash> + '_ {
        let mut crash =
            Crash { durable: self.start.clone(), pending: Vec::new(), born: self.born.clone() };
        let first = crash.clone();
        let rest = self.events.iter().map(move |event| {
            match event {
                Event::Operation(operation) => crash.pending.push(operation.clone()),
                Event::Sync(id) => crash.sync(|operation| {
                    operation.of_inode() == Some(*id)
                        || operation.names().iter().any(|(dir, ..)| dir == id)
                }),
                Event::SyncAll => crash.sync(|_| true),
            }
            crash.clone()
        });
        std::iter::once(first).chain(rest)
    }
}

/// What becomes of a change that was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// It never was.
    Lost,
    /// Of a write, as many sectors of 512 bytes; anything else is whole.
    Torn(usize),
    /// It reached the disk.
    Whole,
}

/// A moment at which the power is cut.
#[derive(Debug, Clone)]
pub struct Crash {
    durable: Image,
    pending: Vec<Operation>,
    born: Arc<BTreeMap<Id, Node>>,
}

impl Crash {
    /// How many changes have not been synced.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// What the disk holds afterwards, if of each change that was not synced, in order, that much
    /// survives. One on names is lost with those it cannot do without.
    pub fn image(&self, mut survives: impl FnMut(usize) -> Survival) -> Image {
        let mut image = self.durable.clone();
        let mut lost: Vec<&Operation> = Vec::new();
        for (index, operation) in self.pending.iter().enumerate() {
            let survival = survives(index);
            if survival == Survival::Lost || lost.iter().any(|lost| operation.needs(lost)) {
                lost.push(operation);
                continue;
            }
            match survival {
                Survival::Torn(sectors) => operation.torn(sectors).apply(&mut image, &self.born),
                _ => operation.apply(&mut image, &self.born),
            }
        }
        image.prune();
        image
    }

    /// Makes durable what a sync is about, and what that cannot do without.
    fn sync(&mut self, about: impl Fn(&Operation) -> bool) {
        let mut kept = vec![false; self.pending.len()];
        for index in (0..self.pending.len()).rev() {
            let operation = &self.pending[index];
            let is_needed = || {
                (index + 1..self.pending.len())
                    .any(|later| kept[later] && self.pending[later].needs(operation))
            };
            kept[index] = about(operation) || is_needed();
        }
        let mut kept = kept.into_iter();
        let pending = std::mem::take(&mut self.pending);
        for operation in pending {
            match kept.next() {
                Some(true) => operation.apply(&mut self.durable, &self.born),
                _ => self.pending.push(operation),
            }
        }
    }
}
