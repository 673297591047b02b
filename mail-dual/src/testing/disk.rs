//! A disk in memory that fails, stops, and forgets what was not synced.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::spool::{Vfs, VfsFile};

/// A disk in memory. It keeps what was written apart from what would be there after a power cut.
///
/// ```
/// use mail_dual::testing::MemoryDisk;
/// use mail_dual::{Vfs, VfsFile};
///
/// let disk = MemoryDisk::new();
/// let file = disk.create("a")?;
/// file.write_at(b"kept", 0)?;
/// file.sync()?;
/// disk.sync()?;
/// file.write_at(b"lost", 4)?;
/// let after = disk.after_power_cut(&mut || 0);
/// assert_eq!(after.open("a")?.length()?, 4);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

/// What happens at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and so does everything after it: the machine has stopped.
    Stop,
    /// A write gets as far as half of its bytes before the machine stops.
    Torn,
    /// It fails with this error number, once.
    Error(i32),
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    /// Names as processes see them.
    names: BTreeMap<String, usize>,
    /// Names as they are on the platter.
    synced_names: BTreeMap<String, usize>,
    /// Changes of names since, in order: a journalling file system keeps a prefix of them.
    changes: Vec<(String, Option<usize>)>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    stopped: bool,
    locked: bool,
    room: Option<u64>,
}

#[derive(Debug, Default, Clone)]
struct Content {
    seen: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Change>,
    /// A sync failed: what was written since is on the platter or not, and no later sync tells.
    forgotten: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Truncate(u64),
}

/// The unit that a disk writes as a whole.
const SECTOR: usize = 512;

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Truncate(length) => to.resize(*length as usize, 0),
            Change::Write(offset, bytes) => {
                let (from, end) = (*offset as usize, *offset as usize + bytes.len());
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[from..end].copy_from_slice(bytes);
            }
        }
    }
}

impl MemoryDisk {
    /// An empty one.
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// The call with this number, counted from 0 since the disk was made, meets a fault.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.state().fault = Some((call, fault));
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Leaves room for so many bytes more; none for as many as one likes.
    pub fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// Whether a fault has stopped it.
    pub fn has_stopped(&self) -> bool {
        self.state().stopped
    }

    /// What the next process finds when only this one died.
    pub fn after_kill(&self) -> MemoryDisk {
        let state = self.state();
        let files = state
            .files
            .iter()
            .map(|file| Content { seen: file.seen.clone(), ..file.clone() })
            .collect();
        MemoryDisk(Arc::new(Mutex::new(State {
            files,
            names: state.names.clone(),
            synced_names: state.synced_names.clone(),
            changes: state.changes.clone(),
            ..State::default()
        })))
    }

    /// What the next boot finds after a power cut.
    ///
    /// Of what was not synced, `choose` says for each change whether it made it (an odd number):
    /// a prefix of the changes of names, any sectors of what was written.
    pub fn after_power_cut(&self, choose: &mut dyn FnMut() -> u64) -> MemoryDisk {
        let state = self.state();
        let mut names = state.synced_names.clone();
        for (name, file) in &state.changes {
            if choose().is_multiple_of(2) {
                break;
            }
            match file {
                Some(file) => names.insert(name.clone(), *file),
                None => names.remove(name),
            };
        }
        let files: Vec<Content> = state
            .files
            .iter()
            .map(|file| {
                let mut content = file.synced.clone();
                for change in &file.pending {
                    match change {
                        Change::Truncate(_) if choose() % 2 == 1 => change.apply(&mut content),
                        Change::Truncate(_) => {}
                        Change::Write(offset, bytes) => {
                            let mut at = *offset as usize;
                            let end = at + bytes.len();
                            while at < end {
                                let next = ((at / SECTOR + 1) * SECTOR).min(end);
                                if choose() % 2 == 1 {
                                    let from = at - *offset as usize;
                                    let part = bytes[from..from + next - at].to_vec();
                                    Change::Write(at as u64, part).apply(&mut content);
                                }
                                at = next;
                            }
                        }
                    }
                }
                Content { seen: content.clone(), synced: content, ..Content::default() }
            })
            .collect();
        MemoryDisk(Arc::new(Mutex::new(State {
            files,
            synced_names: names.clone(),
            names,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; the fault that it meets, when that lets it go on.
    fn call(&self) -> io::Result<(MutexGuard<'_, State>, Option<Fault>)> {
        let mut state = self.state();
        if state.stopped {
            return Err(stopped());
        }
        let call = state.calls;
        state.calls += 1;
        match state.fault {
            Some((at, Fault::Stop)) if at == call => {
                state.stopped = true;
                Err(stopped())
            }
            Some((at, Fault::Error(number))) if at == call => {
                Err(io::Error::from_raw_os_error(number))
            }
            Some((at, Fault::Torn)) if at == call => {
                state.stopped = true;
                Ok((state, Some(Fault::Torn)))
            }
            _ => Ok((state, None)),
        }
    }

    fn plain_call(&self) -> io::Result<MutexGuard<'_, State>> {
        let (state, fault) = self.call()?;
        if fault.is_some() { Err(stopped()) } else { Ok(state) }
    }
}

fn stopped() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl State {
    fn name(&mut self, name: &str, file: Option<usize>) {
        match file {
            Some(file) => self.names.insert(name.to_owned(), file),
            None => self.names.remove(name),
        };
        self.changes.push((name.to_owned(), file));
    }
}

impl Vfs for MemoryDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.plain_call()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        let mut state = self.plain_call()?;
        if state.names.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        state.name(name, Some(file));
        drop(state);
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn VfsFile>> {
        let state = self.plain_call()?;
        let file = *state.names.get(name).ok_or_else(missing)?;
        drop(state);
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.plain_call()?;
        let file = *state.names.get(from).ok_or_else(missing)?;
        state.name(to, Some(file));
        state.name(from, None);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.plain_call()?;
        if !state.names.contains_key(name) {
            return Err(missing());
        }
        state.name(name, None);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.plain_call()?;
        state.synced_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn lock(&self) -> io::Result<bool> {
        let mut state = self.plain_call()?;
        Ok(!std::mem::replace(&mut state.locked, true))
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.plain_call()?.room.unwrap_or(u64::MAX))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
}

impl VfsFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.plain_call()?;
        let seen = &state.files[self.file].seen;
        let rest = seen.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, fault) = self.disk.call()?;
        let mut bytes = if fault.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        let mut full = false;
        if let Some(room) = state.room {
            let grows = (offset + bytes.len() as u64)
                .saturating_sub(state.files[self.file].seen.len() as u64);
            full = grows > room;
            if full {
                bytes = &bytes[..bytes.len() - (grows - room).min(bytes.len() as u64) as usize];
            }
            state.room = Some(room.saturating_sub(grows));
        }
        let content = &mut state.files[self.file];
        let change = Change::Write(offset, bytes.to_vec());
        change.apply(&mut content.seen);
        content.pending.push(change);
        match (fault, full) {
            (Some(_), _) => Err(stopped()),
            (None, true) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            (None, false) => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let failed = match self.disk.call() {
            Ok((mut state, None)) if !state.files[self.file].forgotten => {
                let content = &mut state.files[self.file];
                content.synced = content.seen.clone();
                content.pending.clear();
                return Ok(());
            }
            // The kernel takes what it could not write for written.
            Ok((_, None)) => return Ok(()),
            Ok((_, Some(_))) => stopped(),
            Err(error) => error,
        };
        self.disk.state().files[self.file].forgotten = true;
        Err(failed)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.plain_call()?;
        let content = &mut state.files[self.file];
        let change = Change::Truncate(length);
        change.apply(&mut content.seen);
        content.pending.push(change);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.plain_call()?.files[self.file].seen.len() as u64)
    }
}
