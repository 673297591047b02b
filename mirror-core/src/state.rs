//! What is remembered of one pair of trees between runs: a folder of its own, locked while in use.
//!
//! It holds `base.<generation>`, the [`Manifest`]s of the last two agreements; `journal`, which is
//! there while a run is under way; and `lock`. Everything is reached through the held folder, which
//! nobody but its owner may write to.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::FileType;
use rustix::io::Errno;

use crate::entry::Digest;
use crate::error::Error;
use crate::fs::{Folder, Fs, Opening};
use crate::guard::Refused;
use crate::manifest::{Header, Manifest, ManifestWriter, Record, Rejected, RootId};
use crate::path::TEMPORARY_PREFIX;
use crate::root::Root;
use crate::spool::SPOOL_PREFIX;

const LOCK: &[u8] = b"lock";
const BASE_PREFIX: &str = "base.";

/// The state of one pair of trees, held and locked until this is dropped.
pub(crate) struct State {
    folder: Folder,
    /// For messages only.
    path: PathBuf,
    key: Digest,
    generations: Mutex<Generations>,
    /// The kernel frees the lock with the last descriptor of this file.
    _lock: OwnedFd,
}

/// What is known of the bases without asking again: with the lock held, nobody else changes them.
#[derive(Debug, Clone, Copy, Default)]
struct Generations {
    /// The highest that exists, whether it can be used or not; 0 for none.
    newest: u64,
    /// The one that was last believed or written.
    good: Option<u64>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("path", &self.path)
            .field("generations", &self.generations())
            .finish_non_exhaustive()
    }
}

impl State {
    /// Opens the state of the pair `key` below the user's state folder `folder`, and makes both
    /// where they are missing, for their owner alone.
    pub(crate) fn open(fs: Arc<dyn Fs>, folder: &Path, key: Digest) -> Result<State, Error> {
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::State { path, source }
        };
        let Some(name) = folder.file_name() else {
            let why = io::Error::other("it has no name of its own; give a folder that has");
            return Err(failed(folder)(why));
        };
        let above = folder.parent().unwrap_or(Path::new(""));
        let above = Root::create(fs.clone(), above).map_err(|error| match error {
            Error::OpenRoot { path, source } => Error::State { path, source },
            other => other,
        })?;
        let all =
            private_folder(&*fs, above.descriptor(), name.as_bytes()).map_err(failed(folder))?;

        let name = &key.to_string()[..32];
        let path = folder.join(name);
        let dir = private_folder(&*fs, all.as_fd(), name.as_bytes()).map_err(failed(&path))?;
        let lock =
            fs.open_at(dir.as_fd(), LOCK, Opening::Update).map_err(failed(&path.join("lock")))?;
        match fs.lock(lock.as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let what = "the state of this pair";
                return Err(Refused::Busy { what }.into());
            }
            result => result.map_err(failed(&path.join("lock")))?,
        }
        let folder = Folder { fs, dir: Arc::new(dir) };
        let state = State { folder, path, key, generations: Mutex::default(), _lock: lock };
        let (bases, litter) = state.list().map_err(failed(&state.path))?;
        state.update(|known| known.newest = bases.last().copied().unwrap_or(0));
        state.remove(&litter);
        Ok(state)
    }

    /// The folder of this pair, for the temporary files of a run.
    pub(crate) fn folder(&self) -> Folder {
        self.folder.clone()
    }

    /// Where the folder of this pair is; for messages only.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The last agreement, if it can be believed, and what the user should know if it cannot.
    /// With `or_earlier` the one before it does as well: one that only helps, and on whose word
    /// nothing is deleted. Nothing is removed.
    ///
    /// # Errors
    /// What keeps it from being read. It may well be good, and is neither used nor passed over.
    pub(crate) fn base(&self, or_earlier: bool) -> Result<(Option<Manifest>, Vec<String>), Error> {
        let mut notes = Vec::new();
        let failed = |path: PathBuf| move |source| Error::State { path, source };
        let (bases, _) = self.list().map_err(failed(self.path.clone()))?;
        // Still older ones are what a crash kept from being removed.
        for &generation in bases.iter().rev().take(if or_earlier { 2 } else { 1 }) {
            match self.open_base(generation) {
                Ok(manifest) => {
                    self.update(|known| known.good = Some(generation));
                    return Ok((Some(manifest), notes));
                }
                Err(Rejected::Io(source)) => {
                    return Err(failed(self.path.join(base_name(generation)))(source));
                }
                Err(rejected) => notes.push(format!(
                    "the remembered state {BASE_PREFIX}{generation} was not used: {rejected}"
                )),
            }
        }
        Ok((None, notes))
    }

    fn open_base(&self, generation: u64) -> Result<Manifest, Rejected> {
        let manifest = Manifest::open_in(&self.folder, &base_name(generation))?;
        if manifest.header().key != self.key {
            return Err(Rejected::NotOurs(
                "it belongs to other trees, or to another filter or policy",
            ));
        }
        if manifest.header().generation != generation {
            return Err(Rejected::NotOurs("it is another than its name says"));
        }
        Ok(manifest)
    }

    /// The generation that the next agreement gets: 1 for the first.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generations().newest.saturating_add(1)
    }

    /// Starts the manifest of the next agreement, of the trees at `roots` whose own entry is
    /// `root`.
    pub(crate) fn writer(&self, roots: [RootId; 2], root: Record) -> io::Result<ManifestWriter> {
        let header = Header { key: self.key, generation: self.next_generation(), roots, root };
        ManifestWriter::create_in(self.folder(), &header)
    }

    /// Makes what `writer` holds the base of the next run.
    ///
    /// The last base that could be believed is kept beside it; all others, and what earlier runs
    /// left half-written, are removed. Other writers of this state must be gone.
    pub(crate) fn commit(&self, writer: ManifestWriter, durable: bool) -> io::Result<()> {
        let generation = writer.generation();
        writer.finish(durable, &base_name(generation))?;
        let before = self.generations();
        self.update(|known| {
            known.newest = known.newest.max(generation);
            known.good = Some(generation);
        });
        // The agreement stands. What cannot be removed now is removed by the next one.
        if let Ok((bases, mut litter)) = self.list() {
            let older = bases.iter().copied().filter(|&base| base != generation);
            let kept = before.good.filter(|&good| good != generation).or(older.clone().next_back());
            let obsolete = older.filter(|&base| Some(base) != kept);
            litter.extend(obsolete.map(|base| base_name(base).into_bytes()));
            self.remove(&litter);
        }
        Ok(())
    }

    /// The generations of all bases, sorted, and the names of temporary files.
    fn list(&self) -> io::Result<(Vec<u64>, Vec<Vec<u8>>)> {
        let (mut bases, mut litter) = (Vec::new(), Vec::new());
        // Opened anew, since the position in a directory belongs to the descriptor.
        let fs = &*self.folder.fs;
        let dir = fs.open_at(self.folder.dir.as_fd(), b".", Opening::Directory)?;
        fs.list(dir.as_fd(), &mut |name, _, _| {
            if name.starts_with(TEMPORARY_PREFIX) || name.starts_with(SPOOL_PREFIX) {
                litter.push(name.to_vec());
            } else if let Some(generation) = generation_of(name) {
                bases.push(generation);
            }
        })?;
        bases.sort_unstable();
        Ok((bases, litter))
    }

    fn remove(&self, names: &[Vec<u8>]) {
        for name in names {
            let _ = self.folder.fs.unlink_at(self.folder.dir.as_fd(), name);
        }
    }

    fn generations(&self) -> Generations {
        *self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, change: impl FnOnce(&mut Generations)) {
        change(&mut self.generations.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn base_name(generation: u64) -> String {
    format!("{BASE_PREFIX}{generation}")
}

/// The inverse of [`base_name`]; None for any other name.
fn generation_of(name: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(name).ok()?.strip_prefix(BASE_PREFIX)?;
    let generation = digits.parse().ok()?;
    (base_name(generation).as_bytes() == name).then_some(generation)
}

/// Opens the folder `name`, made with mode 0700 if it is missing. One that somebody else could
/// change what is in is refused.
fn private_folder(fs: &dyn Fs, above: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    match fs.make_directory_at(above, name, 0o700) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => {
            result?;
            // Whatever the umask made of it.
            let handle = fs.open_at(above, name, Opening::Handle)?;
            fs.set_mode(handle.as_fd(), 0o700)?;
        }
    }
    let folder = fs.open_at(above, name, Opening::Directory).map_err(|error| {
        if Errno::from_io_error(&error) != Some(Errno::NOTDIR) {
            return error;
        }
        match fs.status_at(above, name).map(|status| status.file_type) {
            Ok(FileType::Symlink) => io::Error::other("it is a symlink; give what it stands for"),
            _ => io::Error::other("it is not a folder; remove it or give another"),
        }
    })?;
    let status = fs.status(folder.as_fd())?;
    let us = rustix::process::geteuid().as_raw();
    if status.uid != us {
        return Err(io::Error::other(format!(
            "it belongs to user {} and this is user {us}; give a folder of your own",
            status.uid
        )));
    }
    if status.mode & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "its mode {:04o} lets others write to it; take that away (chmod go-w)",
            status.mode
        )));
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Block, arbitrary};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Folder {
            Folder(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("state/mirror")
        }

        fn open(&self) -> State {
            self.try_open().unwrap()
        }

        fn try_open(&self) -> Result<State, Error> {
            State::open(Arc::new(crate::fs::RealFs), &self.path(), key())
        }
    }

    fn key() -> Digest {
        Digest::of(b"this pair")
    }

    /// Remembers a tree; returns the generation.
    fn agree(state: &State, blocks: &[Block]) -> u64 {
        let header = arbitrary::example_header();
        let mut writer = state.writer(header.roots, header.root).unwrap();
        for block in blocks {
            writer.push(block).unwrap();
        }
        let generation = writer.generation();
        state.commit(writer, true).unwrap();
        generation
    }

    fn names(state: &State) -> Vec<String> {
        let entries = fs::read_dir(state.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn damage(state: &State, generation: u64) {
        let path = state.path().join(base_name(generation));
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn folders_are_made_for_their_owner_alone() {
        let folder = Folder::new();
        let state = folder.open();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&folder.path()), 0o700);
        assert_eq!(mode(state.path()), 0o700);
        assert_eq!(state.path(), folder.path().join(&key().to_string()[..32]));
    }

    #[test]
    fn a_new_pair_remembers_nothing_and_has_nothing_to_say() {
        let folder = Folder::new();
        let state = folder.open();
        assert!(matches!(state.base(true), Ok((None, notes)) if notes.is_empty()));
        assert_eq!(state.next_generation(), 1);
    }

    #[test]
    fn an_agreement_is_there_in_the_next_run() {
        let folder = Folder::new();
        let tree = arbitrary::example_tree();
        assert_eq!(agree(&folder.open(), &tree), 1);
        let state = folder.open();
        let (base, notes) = state.base(true).unwrap();
        let blocks: Vec<Block> = base.unwrap().blocks().map(Result::unwrap).collect();
        assert_eq!((blocks, notes), (tree, vec![]));
        assert_eq!(state.next_generation(), 2);
    }

    #[test]
    fn two_generations_remain_and_no_litter() {
        let folder = Folder::new();
        let state = folder.open();
        fs::write(state.path().join(".mirror-tmp-1-1"), "half").unwrap();
        fs::write(state.path().join(".mirror-spool-1-1"), "half").unwrap();
        fs::write(state.path().join("base.01"), "not one of ours").unwrap();
        for _ in 0..4 {
            agree(&state, &[]);
        }
        assert_eq!(names(&state), ["base.01", "base.3", "base.4", "lock"]);
    }

    #[test]
    fn opening_sweeps_what_a_crash_left() {
        let folder = Folder::new();
        let path = folder.open().path().join(".mirror-tmp-1-1");
        fs::write(path, "half").unwrap();
        assert_eq!(names(&folder.open()), ["lock"]);
    }

    #[test]
    fn a_damaged_base_falls_back_to_the_one_before() {
        let folder = Folder::new();
        let state = folder.open();
        let tree = arbitrary::example_tree();
        agree(&state, &tree);
        agree(&state, &[]);
        damage(&state, 2);
        let (base, notes) = state.base(true).unwrap();
        assert_eq!(base.unwrap().header().generation, 1);
        assert_eq!(notes, ["the remembered state base.2 was not used: it is damaged"]);
        assert_eq!(names(&state), ["base.1", "base.2", "lock"]);

        // The next agreement keeps the one that was good, and never takes a number twice.
        assert_eq!(agree(&state, &tree), 3);
        assert_eq!(names(&state), ["base.1", "base.3", "lock"]);

        damage(&state, 1);
        damage(&state, 3);
        let (base, notes) = state.base(true).unwrap();
        assert!(base.is_none());
        assert_eq!(notes.len(), 2);
        assert_eq!(names(&state), ["base.1", "base.3", "lock"]);
    }

    #[test]
    fn a_base_of_another_pair_or_generation_is_rejected() {
        let folder = Folder::new();
        let state = folder.open();
        agree(&state, &[]);
        let other =
            State::open(Arc::new(crate::fs::RealFs), &folder.path(), Digest::of(b"another pair"))
                .unwrap();
        fs::copy(state.path().join("base.1"), other.path().join("base.1")).unwrap();
        fs::copy(state.path().join("base.1"), state.path().join("base.2")).unwrap();
        let (base, notes) = other.base(true).unwrap();
        assert!(base.is_none());
        assert_eq!(
            notes,
            [
                "the remembered state base.1 was not used: it belongs to other trees, or to another filter or policy"
            ]
        );
        let (base, notes) = state.base(true).unwrap();
        assert_eq!(base.unwrap().header().generation, 1);
        assert_eq!(
            notes,
            ["the remembered state base.2 was not used: it is another than its name says"]
        );
    }

    #[test]
    fn a_second_run_is_refused_while_the_first_one_lasts() {
        let folder = Folder::new();
        let first = folder.open();
        let second = folder.try_open().unwrap_err();
        let busy = Refused::Busy { what: "the state of this pair" };
        assert!(matches!(second, Error::Refused(refused) if refused == busy));
        State::open(Arc::new(crate::fs::RealFs), &folder.path(), Digest::of(b"another pair"))
            .unwrap();
        drop(first);
        folder.open();
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = Folder::new();
        let pair = folder.open().path().to_path_buf();
        for (path, mode) in [(folder.path(), 0o770), (pair, 0o702)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = folder.try_open().unwrap_err();
            assert!(matches!(&error, Error::State { path: at, .. } if *at == path));
            assert!(error.to_string().contains("lets others write to it"), "{error}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        folder.open();
    }

    #[test]
    fn another_users_folder_is_refused() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give folders away");
            return;
        }
        let folder = Folder::new();
        folder.open();
        std::os::unix::fs::chown(folder.path(), Some(12345), None).unwrap();
        let error = folder.try_open().unwrap_err();
        assert!(error.to_string().contains("it belongs to user 12345"), "{error}");
    }

    #[test]
    fn what_is_no_folder_is_explained() {
        let folder = Folder::new();
        let said = |folder: &Folder| folder.try_open().unwrap_err().to_string();
        fs::create_dir(folder.0.path().join("state")).unwrap();
        fs::write(folder.path(), "").unwrap();
        assert!(said(&folder).ends_with("it is not a folder; remove it or give another"));
        fs::remove_file(folder.path()).unwrap();
        symlink("/tmp", folder.path()).unwrap();
        assert!(said(&folder).ends_with("it is a symlink; give what it stands for"));
        let nameless = State::open(Arc::new(crate::fs::RealFs), Path::new("/"), key()).unwrap_err();
        assert!(matches!(nameless, Error::State { .. }));
    }
}
