//! The journal on a disk: two files in a folder of their own, locked while in use.
//!
//! `journal` holds a state and what happened since, and is begun anew when it gets long. `history` keeps
//! what came of it, for the status page; when it gets long, its older half goes. What is damaged in either
//! is put aside under the same name with `.damaged` at its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::decision::{Effect, Event, Policy, State, Timestamp};

use super::{Entry, ReadError, Reading, Record, ReplayError, Writer, read, replay};

/// A journal that is longer is begun anew.
const LONG: usize = 16 * 1024 * 1024;
/// A history that is longer loses its older half. At a few dozen notes a day that is decades; one that an
/// observer on a bad line fills gets there in weeks.
const LONG_HISTORY: usize = 32 * 1024 * 1024;
/// What comes after this in a file is not read.
const LONGEST: u64 = 256 * 1024 * 1024;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A file or the folder.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Another controller runs here.
    #[error("{} is in use by another controller; stop that one first", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// It is something else.
    #[error("cannot use {}: {source}; move it away to start over from what the name servers hold", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// It does not lead where it says.
    #[error("cannot use {}: {source}; move it away to start over from what the name servers hold", path.display())]
    Replay {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReplayError,
    },
}

/// The folder of a journal that is in use.
#[derive(Debug)]
pub struct JournalDir {
    folder: PathBuf,
    _lock: File,
    journal: Appended,
    history: Appended,
    long_history: usize,
}

/// What came of past events, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Effects and when they came.
    pub entries: Vec<(Timestamp, Effect)>,
    /// How many octets at its end could not be read.
    pub lost: usize,
}

/// A file that grows, line by line.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: File,
    writer: Writer,
    length: usize,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> JournalError + 'a {
    move |source| JournalError::File { what, path: path.to_owned(), source }
}

impl JournalDir {
    /// Opens the folder, which is made if need be, and makes every decision in it again. Gives the
    /// state at its end, or none when there is no journal yet, and notes about what was lost.
    ///
    /// # Errors
    /// [`JournalError`]. A line that was cut off by a crash is none.
    pub fn open(
        folder: &Path,
        policy: &Policy,
    ) -> Result<(JournalDir, Option<State>, Vec<String>), JournalError> {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
        let lock = lock(folder)?;
        let mut notes = Vec::new();
        let journal_path = folder.join("journal");
        let journal = read_file(&journal_path)?;
        let state = match journal.entries.as_slice() {
            [] => None,
            // Under rules that were changed since, what was decided then stands as it was told.
            [Entry { what: Record::State(state), .. }] => Some((**state).clone()),
            entries => match replay(policy, entries) {
                Ok(state) => Some(state),
                Err(source @ ReplayError::Diverged { .. }) => {
                    notes.push(format!(
                        "{source}; the rules were changed: what it told last is taken over"
                    ));
                    Some(last_told(policy, entries))
                }
                Err(source) => {
                    return Err(JournalError::Replay { path: journal_path, source });
                }
            },
        };
        let history_path = folder.join("history");
        let history = read_file(&history_path)?;
        for (path, reading) in [(&journal_path, &journal), (&history_path, &history)] {
            if reading.lost > 0 {
                let lost = reading.lost;
                let aside = put_aside(path, reading.whole)?;
                let aside = aside.map(|path| format!("; they are kept in {}", path.display()));
                notes.push(format!(
                    "the last {lost} octets of {} were cut off or damaged and are left out{}",
                    path.display(),
                    aside.unwrap_or_default()
                ));
            }
        }
        let mut dir = JournalDir {
            folder: folder.to_owned(),
            _lock: lock,
            journal: Appended::open(journal_path, &journal)?,
            history: Appended::open(history_path, &history)?,
            long_history: LONG_HISTORY,
        };
        // What a crash kept from the history is in the journal.
        let last = |reading: &Reading| {
            let effects = |entry: &&Entry| matches!(entry.what, Record::Effects(_));
            reading.entries.iter().rev().find(effects).cloned()
        };
        if let Some(told) = last(&journal)
            && last(&history).is_none_or(|kept| kept.at < told.at)
        {
            let line = dir.history.writer.line(&told);
            dir.history.write(&line, true)?;
        }
        dir.shorten()?;
        Ok((dir, state, notes))
    }

    /// Begins the journal anew with a state.
    ///
    /// # Errors
    /// [`JournalError::File`]; the old journal is then still there.
    pub fn begin(&mut self, state: &State, now: Timestamp) -> Result<(), JournalError> {
        let entry = Entry { at: now, what: Record::State(Box::new(state.clone())) };
        self.journal = Appended::replace(&self.folder, "journal", &[entry])?;
        Ok(())
    }

    /// Takes the older half of a long history away.
    fn shorten(&mut self) -> Result<(), JournalError> {
        if self.history.length <= self.long_history {
            return Ok(());
        }
        let entries = read_file(&self.history.path)?.entries;
        let mut writer = Writer::default();
        let mut kept = 0;
        let newer = entries.iter().rev().take_while(|entry| {
            kept += writer.line(entry).len();
            kept <= self.long_history / 2
        });
        let newer = newer.count();
        self.history =
            Appended::replace(&self.folder, "history", &entries[entries.len() - newer..])?;
        Ok(())
    }

    /// Writes an event and its effects. When it has any, they are on the disk when this returns, and may be
    /// acted on.
    ///
    /// # Errors
    /// [`JournalError::File`]: then the effects must not be acted on.
    pub fn append(
        &mut self,
        event: &Event,
        effects: &[Effect],
        after: &State,
        now: Timestamp,
    ) -> Result<(), JournalError> {
        let mut text =
            self.journal.writer.line(&Entry { at: now, what: Record::Event(event.clone()) });
        if effects.is_empty() {
            self.journal.write(&text, false)?;
        } else {
            let record = Entry { at: now, what: Record::Effects(effects.to_vec()) };
            text += &self.journal.writer.line(&record);
            self.journal.write(&text, true)?;
            let line = self.history.writer.line(&record);
            self.history.write(&line, true)?;
            self.shorten()?;
        }
        if self.journal.length > LONG {
            self.begin(after, now)?;
        }
        Ok(())
    }

    /// What came of past events, also while a controller runs.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn history(folder: &Path) -> Result<History, JournalError> {
        let reading = read_file(&folder.join("history"))?;
        let effects = reading.entries.into_iter().filter_map(|entry| match entry.what {
            Record::Effects(effects) => Some((entry.at, effects)),
            _ => None,
        });
        let entries = effects.flat_map(|(at, effects)| effects.into_iter().map(move |of| (at, of)));
        Ok(History { entries: entries.collect(), lost: reading.lost })
    }

    /// The state of a controller, also while it runs. None when there is none yet.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn peek(folder: &Path, policy: &Policy) -> Result<Option<State>, JournalError> {
        let path = folder.join("journal");
        let reading = read_file(&path)?;
        match reading.entries.as_slice() {
            [] => Ok(None),
            entries => Ok(Some(last_told(policy, entries))),
        }
    }
}

/// The state at the end, whatever was decided on the way under other rules.
fn last_told(policy: &Policy, entries: &[Entry]) -> State {
    let mut state = None;
    for entry in entries {
        state = match (&entry.what, state) {
            (Record::State(known), _) => Some((**known).clone()),
            (Record::Event(event), Some(state)) => Some(policy.step(state, event, entry.at).0),
            (_, state) => state,
        };
    }
    state.unwrap_or_else(|| policy.start(Timestamp::default()))
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(JournalError::Busy { path: folder.to_owned() }),
        Err(error) => Err(failed("lock", &path)(error.into())),
    }
}

fn read_file(path: &Path) -> Result<Reading, JournalError> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("open", path)(error)),
        Ok(file) => {
            file.take(LONGEST).read_to_end(&mut text).map_err(failed("read", path))?;
        }
    }
    read(&text).map_err(|source| JournalError::Read { path: path.to_owned(), source })
}

/// Keeps what comes after `whole` octets of a file in another, unless it is no more than a line that a
/// crash cut off.
fn put_aside(path: &Path, whole: usize) -> Result<Option<PathBuf>, JournalError> {
    let mut file = File::open(path).map_err(failed("open", path))?;
    file.seek(SeekFrom::Start(whole as u64)).map_err(failed("read", path))?;
    let mut line = Vec::new();
    let part = (&file).take(super::LONGEST as u64).read_to_end(&mut line);
    part.map_err(failed("read", path))?;
    // Nothing comes after the line that a crash cut off.
    if line.len() < super::LONGEST && !line.contains(&b'\n') {
        return Ok(None);
    }
    let mut aside = path.to_owned().into_os_string();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    file.seek(SeekFrom::Start(whole as u64)).map_err(failed("read", path))?;
    let mut copy = File::create(&aside).map_err(failed("create", &aside))?;
    io::copy(&mut file, &mut copy).map_err(failed("write", &aside))?;
    copy.sync_all().map_err(failed("write", &aside))?;
    Ok(Some(aside))
}

fn sync_folder(folder: &Path) -> Result<(), JournalError> {
    let opened = File::open(folder).map_err(failed("open", folder))?;
    opened.sync_all().map_err(failed("sync", folder))
}

impl Appended {
    /// Puts a file with these entries in place of the one there is, which stays should that fail.
    fn replace(folder: &Path, name: &str, entries: &[Entry]) -> Result<Appended, JournalError> {
        let path = folder.join(name);
        let fresh = folder.join(format!("{name}.new"));
        let mut writer = Writer::default();
        let mut text = writer.header().to_owned();
        text.extend(entries.iter().map(|entry| writer.line(entry)));
        let mut file = File::create(&fresh).map_err(failed("create", &fresh))?;
        file.write_all(text.as_bytes()).map_err(failed("write", &fresh))?;
        file.sync_all().map_err(failed("write", &fresh))?;
        fs::rename(&fresh, &path).map_err(failed("replace", &path))?;
        sync_folder(folder)?;
        Ok(Appended { path, file, writer, length: text.len() })
    }

    /// Goes on behind what is whole; what is not is cut off.
    fn open(path: PathBuf, reading: &Reading) -> Result<Appended, JournalError> {
        let options = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = options.map_err(failed("open", &path))?;
        file.set_len(reading.whole as u64).map_err(failed("cut", &path))?;
        let mut length = reading.whole;
        let writer = Writer::after(reading);
        if length == 0 {
            file.write_all(writer.header().as_bytes()).map_err(failed("write", &path))?;
            length = writer.header().len();
        }
        Ok(Appended { path, file, writer, length })
    }

    fn write(&mut self, text: &str, durable: bool) -> Result<(), JournalError> {
        self.file.write_all(text.as_bytes()).map_err(failed("write", &self.path))?;
        self.length += text.len();
        if durable {
            self.file.sync_data().map_err(failed("write", &self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Note, PolicyConfig, ServiceId};

    fn effect(second: i64) -> (Event, Vec<Effect>, Timestamp) {
        let service: ServiceId = "web".parse().unwrap();
        let note = Note::OverrideEnded { service: Some(service) };
        (Event::Tick, vec![Effect::Noted(note)], Timestamp::from_millis(second * 1000))
    }

    #[test]
    fn a_history_that_gets_long_loses_its_older_half_and_is_still_whole() {
        let folder = tempfile::tempdir().unwrap();
        let policy = Policy::new(PolicyConfig::example()).unwrap();
        let state = policy.start(Timestamp::default());
        let (mut dir, _, _) = JournalDir::open(folder.path(), &policy).unwrap();
        dir.long_history = 4096;
        dir.begin(&state, Timestamp::default()).unwrap();
        for second in 0..200 {
            let (event, effects, now) = effect(second);
            dir.append(&event, &effects, &state, now).unwrap();
            let length = fs::metadata(folder.path().join("history")).unwrap().len();
            assert!(length <= 4096 && length == dir.history.length as u64, "{length}");
        }
        let history = JournalDir::history(folder.path()).unwrap();
        assert_eq!(history.lost, 0);
        let seconds: Vec<_> = history.entries.iter().map(|(at, _)| at.as_millis() / 1000).collect();
        let first = seconds[0];
        assert!(first > 100 && seconds.len() > 10, "{seconds:?}");
        assert_eq!(seconds, (first..200).collect::<Vec<_>>(), "the newest, without a gap");
    }
}
