//! Freeing what nobody needs: files go oldest first.

use super::{LogSpool, Place, Written, lock, segment_name};
use crate::core::transition::Transition;
use crate::id::SpoolId;
use crate::spool::{Spool, SpoolError};
use crate::time::Timestamp;

impl LogSpool {
    /// Copies what is needed of the oldest file to the newest.
    pub(super) fn move_out(
        &self,
        oldest: u32,
        keep_since: Timestamp,
        restate: &dyn Fn(SpoolId) -> Result<(), SpoolError>,
    ) -> Result<u64, SpoolError> {
        let ids: Vec<SpoolId> = lock(&self.index)
            .places
            .iter()
            .filter(|(_, place)| place.segment == oldest && place.is_needed(keep_since))
            .map(|(&id, _)| id)
            .collect();
        let mut moved = Vec::with_capacity(ids.len());
        let mut last: Option<Written> = None;
        for &id in &ids {
            // One that the disk has lost keeps the file here, for somebody to have a look.
            let stored = self.load(id)?;
            let written = self.write_messages(std::slice::from_ref(&stored))?;
            moved.extend(written.places.iter().copied());
            if !self.repeat_done(id)? {
                restate(id)?;
            }
            // A new file was begun: what went to the one before must not be forgotten.
            if let Some(before) = last.replace(written)
                && last.as_ref().map(Written::number) != Some(before.number())
            {
                self.sync_segment(&before.segment, 0)?;
            }
        }
        if let Some(written) = last {
            self.sync_segment(&written.segment, 0)?;
        }
        lock(&self.writer).dirty = true;
        self.sync_current()?;
        let mut index = lock(&self.index);
        for (id, place) in moved {
            if let Some(known) = index.places.get_mut(&id) {
                *known = Place { done: known.done, ..place };
            }
        }
        Ok(ids.len() as u64)
    }

    /// Records once more, behind its copy, that a message is done; false when it is not.
    ///
    /// It is looked up now, with the writer's lock: what became of it while others were moved
    /// stands before the copy, and would go with the file it stands in.
    fn repeat_done(&self, id: SpoolId) -> Result<bool, SpoolError> {
        let mut writer = lock(&self.writer);
        let done = lock(&self.index).places.get(&id).map_or(0, |place| place.done);
        if done == 0 {
            return Ok(false);
        }
        let at = Timestamp::from_millis(u64::from(done) * 1000);
        self.record_with(&mut writer, &[Transition::Done { id, at }])?;
        Ok(true)
    }

    /// Removes the oldest file, in which nothing is needed any more.
    pub(super) fn remove_segment(&self, number: u32) -> Result<(u64, u64), SpoolError> {
        let name = segment_name(number);
        self.vfs.remove(&name).map_err(SpoolError::disk("remove", &name))?;
        self.vfs.sync().map_err(SpoolError::disk("sync the folder of", &name))?;
        let mut index = lock(&self.index);
        let bytes = index.segments.remove(&number).map_or(0, |segment| segment.end);
        let before = index.places.len();
        index.places.retain(|_, place| place.segment != number);
        Ok(((before - index.places.len()) as u64, bytes))
    }

    /// The oldest file, when it is not the one that is written to, whether something in it is
    /// needed, and whether more than half of all bytes are needed by nobody.
    pub(super) fn oldest(&self, keep_since: Timestamp) -> Option<(u32, bool, bool)> {
        let writing = lock(&self.writer).segment.as_ref().map(|segment| segment.preamble.number);
        let index = lock(&self.index);
        let (&oldest, _) = index.segments.first_key_value()?;
        if Some(oldest) == writing {
            return None;
        }
        let mut needed = 0;
        let mut in_oldest = false;
        for place in index.places.values().filter(|place| place.is_needed(keep_since)) {
            needed += place.total() as u64;
            in_oldest |= place.segment == oldest;
        }
        let closed: u64 = index
            .segments
            .iter()
            .filter(|&(&number, _)| Some(number) != writing)
            .map(|(_, segment)| segment.end)
            .sum();
        Some((oldest, in_oldest, needed * 2 < closed))
    }
}
