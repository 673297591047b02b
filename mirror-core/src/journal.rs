//! How far a run has come, so that the next one can say what an interrupted one had done.
//!
//! The journal is never what makes a run right: entries are whole at every instant and the base
//! is only replaced by a complete one. So whatever cannot be read here is left out, with a note.
//!
//! ```text
//! magic      16 bytes
//! version    u32, little-endian
//! records    length u32, check 16 bytes, postcard of an `Event`
//! ```
//!
//! The check is a BLAKE3 cut to 16 bytes, over the check before it, the length and the event; that
//! of the first record follows on magic and version. A record is therefore valid only where it
//! was written, after all those that were before it.

use std::io;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use crate::fs::{Folder, Opening, read_full_at};
use crate::spool::Appending;
use crate::staged::{Staged, check_ours};
use crate::state::State;

const NAME: &[u8] = b"journal";
const MAGIC: &[u8; 16] = b"mirror journal \n";
const VERSION: u32 = 1;
const HEADER: usize = 16 + 4;
/// Length and check.
const PREFIX: usize = 4 + 16;
/// No event is near this; a longer one is not read.
const EVENT_LIMIT: usize = 64 * 1024;
/// No run writes near so much; a longer journal is not read.
const LENGTH_LIMIT: u64 = 64 * 1024 * 1024;

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It began. Always the first.
    Started {
        /// Its name, which its temporary files carry.
        run: String,
        /// The generation that it works towards.
        generation: u64,
    },
    /// It came to its next part.
    Phase {
        /// Which.
        name: String,
    },
    /// So many entries more are on the target, as durably as the run was asked for.
    Committed {
        /// How many since the last such event.
        entries: u64,
    },
    /// It ended well. Found only where the journal could not be removed.
    Finished,
}

/// What an earlier run left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interrupted {
    /// Its name, which its temporary files carry.
    pub(crate) run: String,
    /// The generation that it worked towards.
    pub(crate) generation: u64,
    /// The part that it was in; None before the first.
    pub(crate) phase: Option<String>,
    /// How many entries it had done.
    pub(crate) committed: u64,
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the last run was interrupted")?;
        if let Some(phase) = &self.phase {
            write!(f, " while {phase}")?;
        }
        if self.committed > 0 {
            write!(f, ", with {} entries done and on the disk", self.committed)?;
        }
        f.write_str("; this one goes on from what it had done")
    }
}

/// The journal of the run that is under way.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Staged,
    length: u64,
    check: Check,
    /// Whether its name is on the disk.
    durable: bool,
    /// Whether an event could not be written. What is behind the last whole one is unknown then,
    /// and a failed fsync is never tried again.
    failed: bool,
}

type Check = [u8; 16];

impl Journal {
    /// Begins the journal of `run`, in place of any that an earlier run left.
    ///
    /// It is on the disk from the first durable event on.
    pub(crate) fn start(
        state: &State,
        run: impl Into<String>,
        generation: u64,
    ) -> io::Result<Journal> {
        let mut journal = Journal {
            file: Staged::create(state.folder())?,
            length: HEADER as u64,
            check: check(&[&header()]),
            durable: false,
            failed: false,
        };
        journal.file.write_at(&header(), 0)?;
        let run = run.into();
        journal.append(&Event::Started { run, generation }, false)?;
        journal.file.give_name(false, NAME)?;
        Ok(journal)
    }

    /// Appends `event`; when `durable`, it is on the disk when this returns, with all before it.
    ///
    /// # Errors
    /// What the kernel says. After an error nothing more can be appended.
    pub(crate) fn append(&mut self, event: &Event, durable: bool) -> io::Result<()> {
        let mut record = vec![0; PREFIX];
        postcard::serialize_with_flavor(event, Appending(&mut record)).map_err(io::Error::other)?;
        let length = u32::try_from(record.len() - PREFIX)
            .ok()
            .filter(|_| record.len() - PREFIX <= EVENT_LIMIT)
            .ok_or_else(|| io::Error::other("an event too long for the journal"))?;
        let length = length.to_le_bytes();
        let next = check(&[&self.check, &length, &record[PREFIX..]]);
        record[..4].copy_from_slice(&length);
        record[4..PREFIX].copy_from_slice(&next);
        if std::mem::replace(&mut self.failed, true) {
            return Err(io::Error::other("an earlier event could not be written"));
        }
        self.file.write_at(&record, self.length)?;
        self.length += record.len() as u64;
        self.check = next;
        if durable {
            self.file.sync()?;
            if !self.durable {
                self.file.sync_name()?;
                self.durable = true;
            }
        }
        self.failed = false;
        Ok(())
    }

    /// Ends the journal of a run that ended well: nothing of it is left.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        // A crash may bring the file back. Then it says that there is nothing to go on with,
        // unless even that could not be written.
        let _ = self.append(&Event::Finished, false);
        self.file.unlink(NAME)?;
        if self.durable {
            self.file.sync_name()?;
        }
        Ok(())
    }

    /// Removes the journal that an interrupted run left, if there is one.
    pub(crate) fn discard(state: &State) -> io::Result<()> {
        let Folder { fs, dir } = state.folder();
        match fs.unlink_at(dir.as_fd(), NAME) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// What an earlier run left unfinished, and what the user should know about a journal that
    /// cannot be read. Nothing is removed.
    pub(crate) fn unfinished(state: &State) -> (Option<Interrupted>, Vec<String>) {
        let found = match read(state) {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => parse(&bytes),
            Err(why) => Err(why),
        };
        match found {
            Ok(interrupted) => (interrupted, Vec::new()),
            Err(why) => {
                let note = format!("the journal of an earlier run was not used: {why}");
                (None, vec![note])
            }
        }
    }
}

/// All of the journal, if there is one.
fn read(state: &State) -> Result<Option<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("it cannot be read: {}", crate::error::explain(&error));
    let Folder { fs, dir } = state.folder();
    let file = match fs.open_at(dir.as_fd(), NAME, Opening::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(failed)?,
    };
    let status = fs.status(file.as_fd()).map_err(failed)?;
    check_ours(&status)?;
    let length = usize::try_from(status.size.min(LENGTH_LIMIT + 1)).unwrap_or(0);
    if length as u64 > LENGTH_LIMIT {
        return Err("it is longer than any journal".into());
    }
    let mut bytes = vec![0; length];
    let read = read_full_at(&*fs, file.as_fd(), &mut bytes, 0).map_err(failed)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// What the bytes of a journal say. A last record that is cut short was being written when the
/// run stopped, and is left out.
fn parse(bytes: &[u8]) -> Result<Option<Interrupted>, String> {
    let header = header();
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err("it is something else".into());
    }
    let Some((start, mut rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Ok(None);
    };
    if *start != header {
        let mut found = [0; 4];
        found.copy_from_slice(&start[MAGIC.len()..]);
        return Err(format!(
            "it has format {} and this program knows format {VERSION}",
            u32::from_le_bytes(found)
        ));
    }
    let mut interrupted: Option<Interrupted> = None;
    let mut last = check(&[&header]);
    loop {
        let event = match next(rest, &mut last) {
            Next::Event(event, after) => {
                rest = after;
                event
            }
            Next::Torn => return Ok(interrupted),
            Next::Damaged => return Err("it is damaged".into()),
        };
        match (event, &mut interrupted) {
            (Event::Started { run, generation }, none @ None) => {
                *none = Some(Interrupted { run, generation, phase: None, committed: 0 });
            }
            (Event::Phase { name }, Some(found)) => found.phase = Some(name),
            (Event::Committed { entries }, Some(found)) => {
                found.committed = found.committed.saturating_add(entries);
            }
            (Event::Finished, Some(_)) => return Ok(None),
            _ => return Err("it is damaged".into()),
        }
    }
}

enum Next<'a> {
    Event(Event, &'a [u8]),
    /// The bytes end before the record does, or with a record that does not agree.
    Torn,
    /// A record does not agree, and more comes after it.
    Damaged,
}

fn next<'a>(bytes: &'a [u8], last: &mut Check) -> Next<'a> {
    let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Next::Torn;
    };
    let (length, written) = prefix.split_at(4);
    let whole = length
        .first_chunk()
        .and_then(|bytes| usize::try_from(u32::from_le_bytes(*bytes)).ok())
        .and_then(|length| rest.split_at_checked(length));
    let Some((event, after)) = whole else {
        return Next::Torn;
    };
    let expected = check(&[last, length, event]);
    match postcard::take_from_bytes(event) {
        Ok((decoded, [])) if expected == written && event.len() <= EVENT_LIMIT => {
            *last = expected;
            Next::Event(decoded, after)
        }
        _ if after.is_empty() => Next::Torn,
        _ => Next::Damaged,
    }
}

fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..16].copy_from_slice(MAGIC);
    header[16..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

fn check(parts: &[&[u8]]) -> Check {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut check = Check::default();
    check.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Digest;
    use proptest::prelude::*;
    use std::fs;
    use std::path::{Path, PathBuf};

    struct Folder(
        #[expect(dead_code, reason = "removed when it is dropped")] tempfile::TempDir,
        State,
    );

    impl Folder {
        fn new() -> Folder {
            let folder = tempfile::tempdir().unwrap();
            let state = State::open(
                std::sync::Arc::new(crate::fs::RealFs),
                &folder.path().join("state"),
                Digest::of(b"pair"),
            )
            .unwrap();
            Folder(folder, state)
        }

        fn path(&self) -> PathBuf {
            self.1.path().join("journal")
        }

        /// The bytes of a journal with these events.
        fn write(&self, events: &[Event]) -> Vec<u8> {
            let mut journal = Journal::start(&self.1, "run-1", 7).unwrap();
            for event in events {
                journal.append(event, true).unwrap();
            }
            fs::read(self.path()).unwrap()
        }

        fn unfinished(&self) -> (Option<Interrupted>, Vec<String>) {
            Journal::unfinished(&self.1)
        }
    }

    fn phase(name: &str) -> Event {
        let name = name.to_owned();
        Event::Phase { name }
    }

    fn example() -> Vec<Event> {
        vec![
            phase("copy"),
            Event::Committed { entries: 1000 },
            Event::Committed { entries: 500 },
            phase("delete"),
            Event::Committed { entries: 3 },
        ]
    }

    /// What is known after each number of events.
    fn states(events: &[Event]) -> Vec<Option<Interrupted>> {
        let mut states = vec![None];
        let mut now = Interrupted { run: "run-1".into(), generation: 7, phase: None, committed: 0 };
        states.push(Some(now.clone()));
        for event in events {
            match event {
                Event::Phase { name } => now.phase = Some(name.clone()),
                Event::Committed { entries } => {
                    now.committed = now.committed.saturating_add(*entries);
                }
                _ => unreachable!("not in the example"),
            }
            states.push(Some(now.clone()));
        }
        states
    }

    #[test]
    fn a_run_that_ended_well_leaves_nothing() {
        let folder = Folder::new();
        assert_eq!(folder.unfinished(), (None, vec![]));
        let mut journal = Journal::start(&folder.1, "run-1", 7).unwrap();
        assert!(folder.path().exists());
        journal.append(&phase("copy"), true).unwrap();
        journal.finish().unwrap();
        assert!(!folder.path().exists());
        assert_eq!(folder.unfinished(), (None, vec![]));
    }

    #[test]
    fn a_run_that_stopped_is_known_by_its_last_event() {
        let folder = Folder::new();
        folder.write(&example());
        let (interrupted, notes) = folder.unfinished();
        assert_eq!(
            interrupted,
            Some(Interrupted {
                run: "run-1".into(),
                generation: 7,
                phase: Some("delete".into()),
                committed: 1503,
            })
        );
        assert!(notes.is_empty());
        assert!(folder.path().exists());
    }

    #[test]
    fn the_next_run_replaces_it() {
        let folder = Folder::new();
        folder.write(&example());
        let _journal = Journal::start(&folder.1, "run-2", 8).unwrap();
        let (interrupted, _) = folder.unfinished();
        assert_eq!(interrupted.unwrap().run, "run-2");
    }

    #[test]
    fn a_finished_journal_that_could_not_be_removed_says_so() {
        let folder = Folder::new();
        folder.write(&[phase("copy"), Event::Finished]);
        assert_eq!(folder.unfinished(), (None, vec![]));
    }

    #[test]
    fn every_truncation_leaves_the_events_before_it() {
        let folder = Folder::new();
        let whole = folder.write(&example());
        let states = states(&example());
        let mut reached = 0;
        for length in 0..=whole.len() {
            let found = parse(&whole[..length]).unwrap();
            if found != states[reached] {
                reached += 1;
                assert_eq!(found, states[reached], "after {length} bytes");
            }
        }
        assert_eq!(reached, states.len() - 1);
    }

    #[test]
    fn every_changed_byte_is_detected() {
        let folder = Folder::new();
        let whole = folder.write(&example());
        let states = states(&example());
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                if let Ok(found) = parse(&bytes) {
                    let (_, earlier) = states.split_last().unwrap();
                    assert!(earlier.contains(&found), "byte {at}: {found:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_a_journal_is_explained() {
        let folder = Folder::new();
        let whole = folder.write(&example());
        let said = |bytes: &[u8]| {
            fs::write(folder.path(), bytes).unwrap();
            let (interrupted, notes) = folder.unfinished();
            assert_eq!((interrupted, notes.len()), (None, 1));
            notes[0].clone()
        };
        let before = "the journal of an earlier run was not used: ";
        assert_eq!(said(b"#!/bin/sh"), format!("{before}it is something else"));
        assert_eq!(said(&[0; 4096]), format!("{before}it is something else"));
        let newer = [&MAGIC[..], &9u32.to_le_bytes()].concat();
        assert_eq!(
            said(&newer),
            format!("{before}it has format 9 and this program knows format 1")
        );
        let mut bytes = whole;
        bytes[HEADER + PREFIX] ^= 1;
        assert_eq!(said(&bytes), format!("{before}it is damaged"));
        fs::remove_file(folder.path()).unwrap();
        fs::create_dir(folder.path()).unwrap();
        let (_, notes) = folder.unfinished();
        assert_eq!(notes, [format!("{before}it is not a regular file")]);
    }

    #[test]
    fn the_golden_file_is_read_and_written() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal.v1");
        let folder = Folder::new();
        let written = folder.write(&example());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &written).unwrap();
        }
        let kept = fs::read(&golden).unwrap();
        assert!(written == kept, "the format changed: raise VERSION, then UPDATE_GOLDEN=1");
        assert_eq!(parse(&kept).unwrap(), states(&example()).pop().unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_events_come_back(
            events in prop::collection::vec(
                prop_oneof![
                    ".{0,20}".prop_map(|name| Event::Phase { name }),
                    any::<u64>().prop_map(|entries| Event::Committed { entries }),
                ],
                0..12,
            ),
        ) {
            let folder = Folder::new();
            let mut journal = Journal::start(&folder.1, "run-1", 7).unwrap();
            for event in &events {
                journal.append(event, false).unwrap();
            }
            prop_assert_eq!(folder.unfinished(), (states(&events).pop().unwrap(), vec![]));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[&header(), &*bytes].concat());
        }
    }
}
