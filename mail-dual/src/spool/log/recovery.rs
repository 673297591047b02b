//! Reading everything back.

use std::sync::Arc;

use super::{Index, LogSpool, Place, Segment, lock, segment_name};
use crate::spool::codec::{BadPreamble, Content, Frame, PREAMBLE, PREFIX, Preamble};
use crate::spool::{Damage, Recovered, RecoveryReport, SpoolError, VfsFile};

/// How much is read at once.
const WINDOW: usize = 1 << 20;

/// A part of a file in memory.
struct Window<'a> {
    file: &'a dyn VfsFile,
    name: &'a str,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// What stands at `offset`: at least `least` bytes, or all there are.
    fn at(&mut self, offset: u64, least: usize) -> Result<&[u8], SpoolError> {
        let end = self.length.min(offset + least as u64);
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let wanted = (self.length - offset).min(least.max(WINDOW) as u64) as usize;
            self.bytes.resize(wanted, 0);
            self.start = offset;
            let read = self.file.read_at(&mut self.bytes, offset);
            let read = read.map_err(SpoolError::disk("read", self.name))?;
            self.bytes.truncate(read);
        }
        Ok(&self.bytes[(offset - self.start) as usize..])
    }
}

impl LogSpool {
    pub(super) fn read_all(
        &self,
        visit: &mut dyn FnMut(Recovered<'_>),
    ) -> Result<RecoveryReport, SpoolError> {
        let names = self.vfs.names().map_err(SpoolError::disk("list", "the files"))?;
        let mut numbers: Vec<u32> = names
            .iter()
            .filter_map(|name| name.strip_prefix("segment-")?.parse().ok())
            .filter(|&number| names.contains(&segment_name(number)))
            .collect();
        numbers.sort_unstable();
        let mut report = RecoveryReport::default();
        let mut index = Index::default();
        let last = numbers.last().copied();
        for number in numbers {
            self.read_segment(number, last == Some(number), &mut index, visit, &mut report)?;
        }
        report.messages = index.places.len() as u64;
        let mut writer = lock(&self.writer);
        writer.next_number = last.unwrap_or(0) + 1;
        *lock(&self.index) = index;
        Ok(report)
    }

    fn read_segment(
        &self,
        number: u32,
        is_last: bool,
        index: &mut Index,
        visit: &mut dyn FnMut(Recovered<'_>),
        report: &mut RecoveryReport,
    ) -> Result<(), SpoolError> {
        let name = &segment_name(number);
        let file = self.vfs.open(name).map_err(SpoolError::disk("open", name))?;
        let length = file.length().map_err(SpoolError::disk("read", name))?;
        let mut window = Window { file: &*file, name, length, start: 0, bytes: Vec::new() };
        let start = window.at(0, PREAMBLE)?;
        let preamble = match Preamble::decode(&start[..start.len().min(PREAMBLE)]) {
            Ok(preamble) => preamble,
            Err(BadPreamble::Version(version)) => {
                return Err(SpoolError::Version { file: name.clone(), version });
            }
            Err(BadPreamble::Damaged) if is_last && length <= PREAMBLE as u64 => {
                // It was being made; its beginning is synced before any message is in it.
                report.torn += length;
                self.vfs.remove(name).map_err(SpoolError::disk("remove", name))?;
                return self.vfs.sync().map_err(SpoolError::disk("sync the folder of", name));
            }
            Err(BadPreamble::Damaged) => {
                let aside = format!("damaged-{number:010}");
                self.vfs.rename(name, &aside).map_err(SpoolError::disk("rename", name))?;
                report.damaged.push(Damage {
                    file: name.clone(),
                    offset: 0,
                    length,
                    kept_in: Some(aside),
                });
                return Ok(());
            }
        };
        let mut at = PREAMBLE as u64;
        while at < length {
            let mut found = read_frame(&mut window, preamble, at, number, index, visit)?;
            if found.is_none() {
                match next_frame(&mut window, preamble, at)? {
                    Some(next) => {
                        report.damaged.push(self.keep_damage(&mut window, number, at, next)?);
                        found = Some(next - at);
                    }
                    // The next file was begun by a process that had read this one to its end, or
                    // had written it.
                    None if !is_last => {
                        report.damaged.push(self.keep_damage(&mut window, number, at, length)?);
                        found = Some(length - at);
                    }
                    None => {
                        report.torn += length - at;
                        file.truncate(at).map_err(SpoolError::disk("cut", name))?;
                        break;
                    }
                }
            }
            at += found.unwrap_or(0);
        }
        if is_last {
            // What a process that was killed had written may not be on the disk yet, and what is
            // decided from here on relies on it.
            file.sync().map_err(SpoolError::disk("sync", name))?;
        }
        index.segments.insert(number, Segment { preamble, file: Arc::clone(&file), end: at });
        Ok(())
    }

    /// Copies what cannot be read to a file of its own.
    fn keep_damage(
        &self,
        window: &mut Window<'_>,
        number: u32,
        from: u64,
        to: u64,
    ) -> Result<Damage, SpoolError> {
        let name = format!("damaged-{number:010}-{from}");
        let length = to - from;
        let bytes = window.at(from, length as usize)?[..length as usize].to_vec();
        let kept = self.vfs.create(&name).and_then(|file| {
            file.write_at(&bytes, 0)?;
            file.sync()
        });
        let there = |error: std::io::Error| error.kind() == std::io::ErrorKind::AlreadyExists;
        let kept_in = (kept.is_ok() || kept.is_err_and(there)).then_some(name);
        Ok(Damage { file: segment_name(number), offset: from, length, kept_in })
    }
}

fn whole_frame<'a>(
    window: &'a mut Window<'_>,
    preamble: Preamble,
    at: u64,
) -> Result<Option<Frame<'a>>, SpoolError> {
    let length = window.length;
    match preamble.frame_len(window.at(at, PREFIX)?) {
        Ok(total) if at + total as u64 <= length => Ok(preamble.read(window.at(at, total)?).ok()),
        _ => Ok(None),
    }
}

/// Takes the frame at `at` and gives its length; none when there is none.
fn read_frame(
    window: &mut Window<'_>,
    preamble: Preamble,
    at: u64,
    number: u32,
    index: &mut Index,
    visit: &mut dyn FnMut(Recovered<'_>),
) -> Result<Option<u64>, SpoolError> {
    let Some(frame) = whole_frame(window, preamble, at)? else {
        return Ok(None);
    };
    match frame.content() {
        // A copy from a compaction that did not come to its end. The first one stands: what became
        // of the message is told from there on, and may not have been told again.
        Some(Content::Message(head)) if index.places.contains_key(&head.id) => {}
        Some(Content::Message(head)) => {
            let size = u64::from(frame.body_len());
            let head_len = frame.total() - frame.body_len() as usize - PREFIX;
            let place = Place {
                segment: number,
                offset: at as u32,
                head: head_len as u32,
                body: frame.body_len(),
                done: 0,
            };
            index.places.insert(head.id, place);
            visit(Recovered::Message { head: &head, size });
        }
        Some(Content::Transition(transition)) => {
            index.note(&transition);
            visit(Recovered::Transition(&transition));
        }
        None => return Ok(None),
    }
    Ok(Some(frame.total() as u64))
}

/// Where the next whole frame after `at` is.
fn next_frame(
    window: &mut Window<'_>,
    preamble: Preamble,
    mut at: u64,
) -> Result<Option<u64>, SpoolError> {
    loop {
        let bytes = window.at(at, WINDOW)?;
        let seen = bytes.len() as u64;
        match preamble.next_mark(bytes) {
            Some(next) => {
                at += next as u64;
                if whole_frame(window, preamble, at)?.is_some() {
                    return Ok(Some(at));
                }
            }
            // A mark may lie across the end of what was seen.
            None if at + seen < window.length && seen > 8 => at += seen - 4,
            None => return Ok(None),
        }
    }
}
