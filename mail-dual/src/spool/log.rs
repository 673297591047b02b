//! A spool in a few large files that are only ever appended to.
//!
//! One sync makes all messages durable that came together, their transitions included. Files go
//! oldest first, so that no transition ever goes before the message it is about; what is still
//! needed in the oldest is copied to the newest when more than half of everything is waste.

mod compaction;
mod recovery;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::codec::{BODY_LIMIT, PREAMBLE, PREFIX, Preamble};
use super::{CompactReport, Recovered, RecoveryReport, Spool, SpoolError, Stored, Vfs, VfsFile};
use crate::core::transition::Transition;
use crate::id::SpoolId;
use crate::time::Timestamp;

/// How a [`LogSpool`] writes.
#[derive(Debug, Clone, Copy)]
pub struct LogOptions {
    /// A file is closed when it has grown to so many bytes.
    pub segment_bytes: u32,
    /// Something nobody can guess, new for each run: damage in a file is told by it from what
    /// somebody put into a message.
    pub salt: u64,
}

impl LogOptions {
    /// Files of 64 MiB.
    pub const fn new(salt: u64) -> LogOptions {
        LogOptions { segment_bytes: 64 << 20, salt }
    }
}

/// A spool in segments with group commit.
///
/// ```
/// use mail_dual::{DiskFolder, LogOptions, LogSpool, Spool};
/// use std::sync::Arc;
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path().join("spool");
/// let folder = DiskFolder::open_or_create(&path)?;
/// let spool = LogSpool::open(Arc::new(folder), LogOptions::new(7))?;
/// let report = spool.recover(&mut |_| {})?;
/// assert_eq!((report.messages, report.torn), (0, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogSpool {
    vfs: Arc<dyn Vfs>,
    options: LogOptions,
    /// Held by whoever appends, syncs or compacts; never by whoever only records.
    commit: Mutex<()>,
    writer: Mutex<Writer>,
    index: Mutex<Index>,
}

#[derive(Debug)]
struct Writer {
    /// None until recovered, and after a disk error that no new file could mend.
    segment: Option<Segment>,
    next_number: u32,
    /// Transitions since the last sync that went well, to be written again should one fail.
    unsynced: Vec<Transition>,
    /// Whether anything was written since.
    dirty: bool,
}

#[derive(Debug, Clone)]
struct Segment {
    preamble: Preamble,
    file: Arc<dyn VfsFile>,
    end: u64,
}

#[derive(Debug, Default)]
struct Index {
    places: BTreeMap<SpoolId, Place>,
    segments: BTreeMap<u32, Segment>,
}

/// Messages that are written but not durable.
struct Written {
    segment: Segment,
    covered: usize,
    places: Vec<(SpoolId, Place)>,
}

/// Where a message is.
#[derive(Debug, Clone, Copy)]
struct Place {
    segment: u32,
    offset: u32,
    head: u32,
    body: u32,
    /// When it was done, in seconds since 1970; 0 while it is not.
    done: u32,
}

impl Written {
    fn number(&self) -> u32 {
        self.segment.preamble.number
    }
}

impl Place {
    fn total(&self) -> usize {
        PREFIX + self.head as usize + self.body as usize
    }

    fn is_needed(&self, keep_since: Timestamp) -> bool {
        self.done == 0 || u64::from(self.done) >= keep_since.as_millis() / 1000
    }
}

fn segment_name(number: u32) -> String {
    format!("segment-{number:010}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whatever is changed under these locks is changed last, when nothing can fail any more.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogSpool {
    /// Takes a folder. Nothing can be appended before [`recover`](Spool::recover).
    ///
    /// # Errors
    ///
    /// [`SpoolError::Busy`] when another process has it.
    pub fn open(vfs: Arc<dyn Vfs>, options: LogOptions) -> Result<LogSpool, SpoolError> {
        if !vfs.lock().map_err(SpoolError::disk("lock", "lock"))? {
            return Err(SpoolError::Busy);
        }
        let writer = Writer { segment: None, next_number: 1, unsynced: Vec::new(), dirty: false };
        Ok(LogSpool {
            vfs,
            options,
            commit: Mutex::new(()),
            writer: Mutex::new(writer),
            index: Mutex::new(Index::default()),
        })
    }

    /// The file that is written to, with room for `length` bytes more; a new one when needed.
    ///
    /// A new one begins with the transitions that are not known to be durable in the old one.
    fn segment<'a>(
        &self,
        writer: &'a mut Writer,
        length: usize,
    ) -> Result<&'a mut Segment, SpoolError> {
        let full = |segment: &Segment| {
            segment.end > PREAMBLE as u64
                && segment.end + length as u64 > u64::from(self.options.segment_bytes)
        };
        if writer.segment.as_ref().is_none_or(full) {
            let number = writer.next_number;
            let name = segment_name(number);
            let salt = mix(self.options.salt ^ u64::from(number)).to_le_bytes();
            let preamble = Preamble { number, salt };
            let mut start = preamble.encode().to_vec();
            for transition in &writer.unsynced {
                preamble.write_transition(transition, &mut start);
            }
            // A number that was tried is not tried again: the file may be there, half made.
            writer.next_number += 1;
            let file = self.vfs.create(&name).map_err(SpoolError::disk("create", &name))?;
            if let Err(error) = self.begin(&*file, &name, &start) {
                // Nothing in it is needed. On a full disk one would be left by every attempt.
                let _ = self.vfs.remove(&name);
                return Err(error);
            }
            let segment = Segment { preamble, file, end: start.len() as u64 };
            lock(&self.index).segments.insert(number, segment.clone());
            // Messages in the old one are synced by whoever wrote them.
            writer.unsynced.clear();
            writer.segment = Some(segment);
        }
        Ok(writer.segment.as_mut().expect("it was made just now where there was none"))
    }

    /// Makes a new file's beginning and name durable.
    fn begin(&self, file: &dyn VfsFile, name: &str, start: &[u8]) -> Result<(), SpoolError> {
        file.write_at(start, 0).map_err(SpoolError::disk("write to", name))?;
        file.sync().map_err(SpoolError::disk("sync", name))?;
        self.vfs.sync().map_err(SpoolError::disk("sync the folder of", name))
    }

    /// Writes at the end of the current file, all or nothing.
    fn write(&self, writer: &mut Writer, bytes: &[u8]) -> Result<(), SpoolError> {
        let segment = writer.segment.as_mut().expect("the caller has chosen it");
        if let Err(error) = segment.file.write_at(bytes, segment.end) {
            let name = segment_name(segment.preamble.number);
            // What was half written is cut off, or left behind in a file that gets nothing more.
            if segment.file.truncate(segment.end).is_err() {
                writer.segment = None;
            }
            return Err(SpoolError::disk("write to", &name)(error));
        }
        segment.end += bytes.len() as u64;
        if let Some(known) = lock(&self.index).segments.get_mut(&segment.preamble.number) {
            known.end = segment.end;
        }
        writer.dirty = true;
        Ok(())
    }

    /// Syncs a file, without keeping others from recording. `covered` is how many of the
    /// transitions that are not known to be durable had been written to it.
    fn sync_segment(&self, segment: &Segment, covered: usize) -> Result<(), SpoolError> {
        let synced = segment.file.sync();
        let number = segment.preamble.number;
        let mut writer = lock(&self.writer);
        let same = writer.segment.as_ref().is_some_and(|now| now.preamble.number == number);
        match synced {
            Ok(()) => {
                // A file that was begun since began with all of them, durably.
                if same {
                    writer.unsynced.drain(..covered);
                }
                Ok(())
            }
            Err(error) => {
                // Nobody knows what of it is on the disk, and asking again would be told a lie.
                // The next write goes to a new file, which begins with what is not durable.
                if same {
                    writer.segment = None;
                }
                Err(SpoolError::disk("sync", &segment_name(number))(error))
            }
        }
    }

    fn sync_current(&self) -> Result<(), SpoolError> {
        let mut writer = lock(&self.writer);
        if writer.segment.is_none() && !writer.unsynced.is_empty() {
            return self.segment(&mut writer, 0).map(|_| ());
        }
        let Some(segment) = writer.segment.clone().filter(|_| writer.dirty) else {
            return Ok(());
        };
        let covered = writer.unsynced.len();
        writer.dirty = false;
        drop(writer);
        self.sync_segment(&segment, covered)
    }

    fn place(&self, id: SpoolId) -> Result<(Place, Segment), SpoolError> {
        let index = lock(&self.index);
        let place = index.places.get(&id).ok_or(SpoolError::Unknown(id))?;
        let segment = index.segments.get(&place.segment).ok_or(SpoolError::Unknown(id))?;
        Ok((*place, segment.clone()))
    }

    fn read(&self, id: SpoolId) -> Result<(Place, Segment, Vec<u8>), SpoolError> {
        let (place, segment) = self.place(id)?;
        let name = segment_name(place.segment);
        let mut bytes = vec![0; place.total()];
        let read = segment
            .file
            .read_at(&mut bytes, u64::from(place.offset))
            .map_err(SpoolError::disk("read", &name))?;
        if read < bytes.len() {
            return Err(SpoolError::Damaged { id, file: name });
        }
        Ok((place, segment, bytes))
    }

    fn record_with(
        &self,
        writer: &mut Writer,
        transitions: &[Transition],
    ) -> Result<(), SpoolError> {
        let chosen = self.segment(writer, 256 * transitions.len());
        let written = chosen.map(|segment| segment.preamble).and_then(|preamble| {
            let mut bytes = Vec::with_capacity(256 * transitions.len());
            for transition in transitions {
                preamble.write_transition(transition, &mut bytes);
            }
            let written = self.write(writer, &bytes);
            if written.is_err() {
                // They go into a new file, which begins with what is not durable.
                writer.segment = None;
            }
            written
        });
        writer.unsynced.extend_from_slice(transitions);
        let mut index = lock(&self.index);
        for transition in transitions {
            index.note(transition);
        }
        written
    }

    /// Writes messages without syncing.
    fn write_messages(&self, messages: &[Stored]) -> Result<Written, SpoolError> {
        let size: usize =
            messages.iter().map(|stored| stored.message.len() + 512).sum::<usize>() + PREFIX;
        let mut writer = lock(&self.writer);
        let (preamble, start) = {
            let segment = self.segment(&mut writer, size)?;
            (segment.preamble, segment.end)
        };
        let mut bytes = Vec::with_capacity(size);
        let mut places = Vec::with_capacity(messages.len());
        for stored in messages {
            let offset = start + bytes.len() as u64;
            let head = preamble.write_message(stored, &mut bytes);
            let offset =
                u32::try_from(offset).map_err(|_| SpoolError::TooLarge(bytes.len() as u64))?;
            let body = stored.message.len() as u32;
            let place = Place { segment: preamble.number, offset, head, body, done: 0 };
            places.push((stored.head.id, place));
        }
        let written = self.write(&mut writer, &bytes);
        if written.is_err() && writer.segment.is_none() {
            // Some of them may be there as a whole.
            let void = |stored: &Stored| Transition::Void { id: stored.head.id };
            writer.unsynced.extend(messages.iter().map(void));
        }
        written?;
        let segment = writer.segment.clone().expect("it was written to just now");
        let covered = writer.unsynced.len();
        writer.dirty = false;
        Ok(Written { segment, covered, places })
    }
}

impl Index {
    fn note(&mut self, transition: &Transition) {
        match transition {
            Transition::Done { id, at } => {
                if let Some(place) = self.places.get_mut(id) {
                    let seconds = u32::try_from(at.as_millis() / 1000).unwrap_or(u32::MAX);
                    place.done = seconds.max(1);
                }
            }
            Transition::Resubmitted { id, .. } => {
                if let Some(place) = self.places.get_mut(id) {
                    place.done = 0;
                }
            }
            Transition::Void { id } => {
                self.places.remove(id);
            }
            _ => {}
        }
    }
}

impl Spool for LogSpool {
    fn append(&self, messages: &[Stored]) -> Result<(), SpoolError> {
        if let Some(stored) =
            messages.iter().find(|stored| stored.message.len() > BODY_LIMIT as usize)
        {
            return Err(SpoolError::TooLarge(stored.message.len() as u64));
        }
        let _commit = lock(&self.commit);
        let written = self.write_messages(messages)?;
        if let Err(error) = self.sync_segment(&written.segment, written.covered) {
            // Nobody is told that they were kept, so they must not come back.
            let void = |&(id, _): &(SpoolId, Place)| Transition::Void { id };
            let voids: Vec<Transition> = written.places.iter().map(void).collect();
            // Should this fail too, they are kept in memory for the next file.
            let _ = self.record(&voids);
            return Err(error);
        }
        lock(&self.index).places.extend(written.places);
        Ok(())
    }

    fn record(&self, transitions: &[Transition]) -> Result<(), SpoolError> {
        self.record_with(&mut lock(&self.writer), transitions)
    }

    fn sync(&self) -> Result<(), SpoolError> {
        let _commit = lock(&self.commit);
        self.sync_current()
    }

    fn load(&self, id: SpoolId) -> Result<Stored, SpoolError> {
        // A compaction may have moved it between looking it up and reading; then it is elsewhere.
        for _ in 0..2 {
            let (_, segment, bytes) = self.read(id)?;
            if let Ok(frame) = segment.preamble.read(&bytes)
                && let Some(stored) = frame.stored()
                && stored.head.id == id
            {
                return Ok(stored);
            }
        }
        let (place, _) = self.place(id)?;
        Err(SpoolError::Damaged { id, file: segment_name(place.segment) })
    }

    fn recover(&self, visit: &mut dyn FnMut(Recovered<'_>)) -> Result<RecoveryReport, SpoolError> {
        let _commit = lock(&self.commit);
        self.read_all(visit)
    }

    fn compact(
        &self,
        keep_since: Timestamp,
        restate: &dyn Fn(SpoolId) -> Result<(), SpoolError>,
    ) -> Result<CompactReport, SpoolError> {
        let _commit = lock(&self.commit);
        let mut report = CompactReport::default();
        while let Some((oldest, in_oldest, wasteful)) = self.oldest(keep_since) {
            if in_oldest {
                if !wasteful {
                    break;
                }
                report.moved += self.move_out(oldest, keep_since, restate)?;
            }
            let (removed, freed) = self.remove_segment(oldest)?;
            report.removed += removed;
            report.freed += freed;
        }
        Ok(report)
    }

    fn kept(&self) -> Vec<(SpoolId, Timestamp)> {
        let index = lock(&self.index);
        let done = index.places.iter().filter(|(_, place)| place.done != 0);
        done.map(|(&id, place)| (id, Timestamp::from_millis(u64::from(place.done) * 1000)))
            .collect()
    }

    fn free(&self) -> Option<u64> {
        self.vfs.free().ok()
    }
}

/// One round of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
fn mix(seed: u64) -> u64 {
    let mut value = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
