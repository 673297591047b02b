//! A spool with two files for each message: simple, easy to look into with other tools, and fast
//! enough for a few hundred messages a second.
//!
//! `ID.message` holds the message and is made durable before it gets this name; `ID.log` holds
//! what became of it. Both are written as the files of a [`LogSpool`](super::LogSpool) are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::codec::{BadPreamble, Content, PREAMBLE, Preamble};
use super::{
    CompactReport, Damage, Recovered, RecoveryReport, Spool, SpoolError, Stored, Vfs, VfsFile,
};
use crate::core::transition::Transition;
use crate::id::SpoolId;
use crate::time::Timestamp;

/// A spool with a file for each message.
///
/// ```
/// use mail_dual::{DirSpool, DiskFolder, Spool};
/// use std::sync::Arc;
///
/// # let scratch = tempfile::tempdir()?;
/// # let path = scratch.path().join("spool");
/// let spool = DirSpool::open(Arc::new(DiskFolder::open_or_create(&path)?), 7)?;
/// assert_eq!(spool.recover(&mut |_| {})?.messages, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DirSpool {
    vfs: Arc<dyn Vfs>,
    salt: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    messages: BTreeMap<SpoolId, Option<Timestamp>>,
    /// Logs that were written to since the last sync.
    dirty: BTreeMap<SpoolId, Arc<dyn VfsFile>>,
    /// Logs of which a sync has failed.
    unsure: BTreeSet<SpoolId>,
    /// What could not be written.
    owed: Vec<Transition>,
    new_names: bool,
}

fn message_name(id: SpoolId) -> String {
    format!("{id}.message")
}

fn log_name(id: SpoolId) -> String {
    format!("{id}.log")
}

fn new_name(id: SpoolId) -> String {
    format!("{id}.new")
}

fn new_log_name(id: SpoolId) -> String {
    format!("{id}.log.new")
}

impl DirSpool {
    /// Takes a folder. `salt` is something nobody can guess.
    ///
    /// # Errors
    ///
    /// [`SpoolError::Busy`] when another process has it.
    pub fn open(vfs: Arc<dyn Vfs>, salt: u64) -> Result<DirSpool, SpoolError> {
        if !vfs.lock().map_err(SpoolError::disk("lock", "lock"))? {
            return Err(SpoolError::Busy);
        }
        Ok(DirSpool { vfs, salt, state: Mutex::new(State::default()) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn preamble(&self) -> Preamble {
        Preamble { number: 0, salt: self.salt.to_le_bytes() }
    }

    fn read_file(&self, name: &str) -> Result<(Arc<dyn VfsFile>, Vec<u8>), SpoolError> {
        let file = self.vfs.open(name).map_err(SpoolError::disk("open", name))?;
        let length = file.length().map_err(SpoolError::disk("read", name))?;
        let most = u64::from(super::codec::BODY_LIMIT) * 2;
        let mut bytes = vec![0; length.min(most) as usize];
        let read = file.read_at(&mut bytes, 0).map_err(SpoolError::disk("read", name))?;
        bytes.truncate(read);
        Ok((file, bytes))
    }

    fn write_new(&self, stored: &Stored) -> Result<(), SpoolError> {
        let name = &new_name(stored.head.id);
        let mut bytes = self.preamble().encode().to_vec();
        self.preamble().write_message(stored, &mut bytes);
        let file = self.vfs.create(name).map_err(SpoolError::disk("create", name))?;
        file.write_at(&bytes, 0).map_err(SpoolError::disk("write to", name))?;
        file.sync().map_err(SpoolError::disk("sync", name))
    }

    /// Appends to the log of one message.
    fn log(&self, state: &mut State, transition: &Transition) -> Result<(), SpoolError> {
        let id = transition.id();
        let name = &log_name(id);
        let file = match state.dirty.get(&id) {
            Some(file) => Arc::clone(file),
            None => match self.vfs.open(name) {
                Ok(file) => file,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    state.new_names = true;
                    self.vfs.create(name).map_err(SpoolError::disk("create", name))?
                }
                Err(error) => return Err(SpoolError::disk("open", name)(error)),
            },
        };
        let mut end = file.length().map_err(SpoolError::disk("read", name))?;
        let mut start = [0; PREAMBLE];
        file.read_at(&mut start, 0).map_err(SpoolError::disk("read", name))?;
        let preamble = match Preamble::decode(&start) {
            Ok(preamble) => preamble,
            // It is new, or its beginning could not be written.
            Err(_) => {
                let preamble = self.preamble();
                let written = file.write_at(&preamble.encode(), 0);
                written.map_err(SpoolError::disk("write to", name))?;
                end = PREAMBLE as u64;
                preamble
            }
        };
        let mut bytes = Vec::new();
        preamble.write_transition(transition, &mut bytes);
        if let Err(error) = file.write_at(&bytes, end) {
            let _ = file.truncate(end);
            return Err(SpoolError::disk("write to", name)(error));
        }
        state.dirty.insert(id, file);
        Ok(())
    }

    /// Gives a log of which nobody knows what is on the disk a file of its own again.
    fn write_log_anew(&self, id: SpoolId) -> Result<(), SpoolError> {
        let (log, new) = (&log_name(id), &new_log_name(id));
        let (_, bytes) = match self.read_file(log) {
            Err(SpoolError::Disk { kind: std::io::ErrorKind::NotFound, .. }) => return Ok(()),
            read => read?,
        };
        self.remove(new)?;
        let file = self.vfs.create(new).map_err(SpoolError::disk("create", new))?;
        file.write_at(&bytes, 0).map_err(SpoolError::disk("write to", new))?;
        file.sync().map_err(SpoolError::disk("sync", new))?;
        self.vfs.rename(new, log).map_err(SpoolError::disk("rename", new))
    }

    fn remove(&self, name: &str) -> Result<(), SpoolError> {
        match self.vfs.remove(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(SpoolError::disk("remove", name)(error))
            }
            _ => Ok(()),
        }
    }

    /// The transitions of one message, and how many bytes behind them are torn.
    fn transitions(&self, id: SpoolId) -> Result<(Vec<Transition>, u64), SpoolError> {
        let name = &log_name(id);
        let (file, bytes) = match self.read_file(name) {
            Ok(read) => read,
            Err(SpoolError::Disk { kind: std::io::ErrorKind::NotFound, .. }) => {
                return Ok((Vec::new(), 0));
            }
            Err(error) => return Err(error),
        };
        let preamble = match Preamble::decode(&bytes[..bytes.len().min(PREAMBLE)]) {
            Ok(preamble) => preamble,
            Err(BadPreamble::Version(version)) => {
                return Err(SpoolError::Version { file: name.clone(), version });
            }
            Err(BadPreamble::Damaged) => {
                self.remove(name)?;
                return Ok((Vec::new(), bytes.len() as u64));
            }
        };
        let mut transitions = Vec::new();
        let mut at = PREAMBLE;
        while let Ok(frame) = preamble.read(&bytes[at..]) {
            if let Some(Content::Transition(transition)) = frame.content() {
                transitions.push(transition);
            }
            at += frame.total();
        }
        let torn = (bytes.len() - at) as u64;
        if torn > 0 {
            file.truncate(at as u64).map_err(SpoolError::disk("cut", name))?;
        }
        Ok((transitions, torn))
    }
}

impl State {
    fn note(&mut self, transition: &Transition) {
        let id = transition.id();
        match transition {
            Transition::Done { at, .. } => {
                self.messages.entry(id).and_modify(|done| *done = Some(*at));
            }
            Transition::Resubmitted { .. } => {
                self.messages.entry(id).and_modify(|done| *done = None);
            }
            Transition::Void { .. } => {
                self.messages.remove(&id);
            }
            _ => {}
        }
    }
}

impl Spool for DirSpool {
    fn append(&self, messages: &[Stored]) -> Result<(), SpoolError> {
        self.sync()?;
        let mut result = messages.iter().try_for_each(|stored| self.write_new(stored));
        if result.is_ok() {
            result = messages.iter().try_for_each(|stored| {
                let (from, to) = (new_name(stored.head.id), message_name(stored.head.id));
                self.vfs.rename(&from, &to).map_err(SpoolError::disk("rename", &from))
            });
        }
        if result.is_ok() {
            result = self.vfs.sync().map_err(SpoolError::disk("sync", "the folder"));
        }
        if let Err(error) = result {
            for stored in messages {
                let id = stored.head.id;
                // Should this fail too, a recovery removes the new one; and one that has its name
                // already is delivered although nobody was told so.
                let _ = self.remove(&new_name(id)).and_then(|()| self.remove(&message_name(id)));
            }
            return Err(error);
        }
        self.state().messages.extend(messages.iter().map(|stored| (stored.head.id, None)));
        Ok(())
    }

    fn record(&self, transitions: &[Transition]) -> Result<(), SpoolError> {
        let mut state = self.state();
        let mut owed = std::mem::take(&mut state.owed);
        owed.extend_from_slice(transitions);
        for transition in transitions {
            state.note(transition);
        }
        for (at, transition) in owed.iter().enumerate() {
            if let Err(error) = self.log(&mut state, transition) {
                state.owed = owed.split_off(at);
                return Err(error);
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), SpoolError> {
        let mut state = self.state();
        let mut failed = None;
        for (id, file) in std::mem::take(&mut state.dirty) {
            if let Err(error) = file.sync() {
                // Asking again would be told a lie.
                state.unsure.insert(id);
                state.new_names = true;
                failed = Some(SpoolError::disk("sync", &log_name(id))(error));
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        while let Some(&id) = state.unsure.first() {
            self.write_log_anew(id)?;
            state.unsure.remove(&id);
        }
        if state.new_names {
            self.vfs.sync().map_err(SpoolError::disk("sync", "the folder"))?;
            state.new_names = false;
        }
        Ok(())
    }

    fn load(&self, id: SpoolId) -> Result<Stored, SpoolError> {
        if !self.state().messages.contains_key(&id) {
            return Err(SpoolError::Unknown(id));
        }
        let name = message_name(id);
        let (_, bytes) = self.read_file(&name)?;
        let preamble = Preamble::decode(&bytes[..bytes.len().min(PREAMBLE)]);
        let stored = preamble
            .ok()
            .and_then(|preamble| preamble.read(&bytes[PREAMBLE..]).ok()?.stored())
            .filter(|stored| stored.head.id == id);
        stored.ok_or(SpoolError::Damaged { id, file: name })
    }

    fn recover(&self, visit: &mut dyn FnMut(Recovered<'_>)) -> Result<RecoveryReport, SpoolError> {
        let mut names = self.vfs.names().map_err(SpoolError::disk("list", "the files"))?;
        names.sort_unstable();
        let mut report = RecoveryReport::default();
        for name in &names {
            if let Some(id) = name.strip_suffix(".new")
                && let id = id.strip_suffix(".log").unwrap_or(id)
                && id.parse::<SpoolId>().is_ok()
            {
                let (_, bytes) = self.read_file(name)?;
                report.torn += bytes.len() as u64;
                self.remove(name)?;
            }
        }
        for name in &names {
            let Some(id) = name.strip_suffix(".message").and_then(|id| id.parse().ok()) else {
                continue;
            };
            let (_, bytes) = self.read_file(name)?;
            let preamble = match Preamble::decode(&bytes[..bytes.len().min(PREAMBLE)]) {
                Err(BadPreamble::Version(version)) => {
                    return Err(SpoolError::Version { file: name.clone(), version });
                }
                other => other.ok(),
            };
            let frame = preamble.and_then(|preamble| preamble.read(&bytes[PREAMBLE..]).ok());
            let content = frame.as_ref().and_then(|frame| frame.content());
            let (Some(frame), Some(Content::Message(head))) = (frame, content) else {
                let aside = format!("damaged-{name}");
                self.vfs.rename(name, &aside).map_err(SpoolError::disk("rename", name))?;
                let length = bytes.len() as u64;
                let file = name.clone();
                report.damaged.push(Damage { file, offset: 0, length, kept_in: Some(aside) });
                continue;
            };
            self.state().messages.insert(id, None);
            visit(Recovered::Message { head: &head, size: u64::from(frame.body_len()) });
            let (transitions, torn) = self.transitions(id)?;
            report.torn += torn;
            for transition in &transitions {
                self.state().note(transition);
                visit(Recovered::Transition(transition));
            }
        }
        report.messages = self.state().messages.len() as u64;
        self.vfs.sync().map_err(SpoolError::disk("sync", "the folder"))?;
        Ok(report)
    }

    fn compact(
        &self,
        keep_since: Timestamp,
        _restate: &dyn Fn(SpoolId) -> Result<(), SpoolError>,
    ) -> Result<CompactReport, SpoolError> {
        let mut report = CompactReport::default();
        let old: Vec<SpoolId> = self
            .kept()
            .into_iter()
            .filter(|&(_, done)| done < keep_since)
            .map(|(id, _)| id)
            .collect();
        for id in old {
            // The message first: a log without one is nothing, a message without one is new.
            self.remove(&message_name(id))?;
            self.vfs.sync().map_err(SpoolError::disk("sync", "the folder"))?;
            self.remove(&log_name(id))?;
            let mut state = self.state();
            state.messages.remove(&id);
            state.dirty.remove(&id);
            report.removed += 1;
        }
        Ok(report)
    }

    fn kept(&self) -> Vec<(SpoolId, Timestamp)> {
        let state = self.state();
        state.messages.iter().filter_map(|(&id, done)| Some((id, (*done)?))).collect()
    }

    fn free(&self) -> Option<u64> {
        self.vfs.free().ok()
    }
}
