//! Contents, on several threads: made under temporary names, brought to the disk a batch at a
//! time, and only then renamed.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use super::place::{Staged, Wanted};
use super::{Applier, Failure, lock};
use crate::endpoint::{Durability, Outcome};
use crate::error::Error;
use crate::path::{Name, RelPath};
use crate::plan::{Counts, Expected, Op, Stage, Step};
use crate::reconcile::BATCH_BYTES;

/// Steps that one thread takes at a time, all in one directory.
const JOB_STEPS: usize = 64;
/// Bytes that one thread takes at a time, if that is less.
const JOB_BYTES: u64 = 8 << 20;
/// Files of one batch.
const BATCH_FILES: usize = 16_384;

/// What was staged and waits for its batch.
struct Waiting {
    id: u32,
    directory: RelPath,
    name: Name,
    expected: Expected,
    keep_old: bool,
    counts: Counts,
    staged: Staged,
}

enum Work {
    Stage(Vec<Step>),
    Place(Vec<Waiting>),
}

/// Jobs that are under way.
#[derive(Default)]
struct UnderWay {
    count: Mutex<usize>,
    none: Condvar,
}

impl UnderWay {
    fn begin(&self) {
        *lock(&self.count) += 1;
    }

    fn end(&self) {
        let mut count = lock(&self.count);
        *count -= 1;
        if *count == 0 {
            self.none.notify_all();
        }
    }

    fn wait(&self) {
        let mut count = lock(&self.count);
        while *count > 0 {
            count = self.none.wait(count).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Applier<'_> {
    /// Carries out all steps that bring contents.
    pub(super) fn contents(&self) -> Result<(), Error> {
        let threads = self.job.threads.max(1);
        let (sender, receiver) = sync_channel::<Work>(threads * 2);
        let receiver = Mutex::new(receiver);
        let waiting = Mutex::new(Vec::new());
        let under_way = UnderWay::default();
        let result = thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| self.work(&receiver, &waiting, &under_way));
            }
            // Dropped at the end of this closure, which ends the threads.
            let sender = sender;
            self.feed(&sender, &waiting, &under_way)
        });
        // What is left after an early end never gets its place.
        for left in waiting.into_inner().unwrap_or_else(PoisonError::into_inner) {
            if let Ok(dir) = self.root.directory(&left.directory) {
                self.discard(dir.as_fd(), &left.staged.temporary);
            }
        }
        result
    }

    fn feed(
        &self,
        sender: &SyncSender<Work>,
        waiting: &Mutex<Vec<Waiting>>,
        under_way: &UnderWay,
    ) -> Result<(), Error> {
        let send = |work: Work| {
            under_way.begin();
            // The receivers live as long as this scope.
            let _ = sender.send(work);
        };
        let mut job: Vec<Step> = Vec::new();
        let mut directory = RelPath::root();
        let (mut bytes, mut batch_bytes, mut batch_files) = (0_u64, 0_u64, 0);
        for step in self.steps(Stage::Contents) {
            let step = step.map_err(Error::Spool)?;
            if let Err(error) = self.job.cancel.check().and_then(|()| self.go_on()) {
                under_way.wait();
                return Err(error);
            }
            let parent = step.op.path().parent();
            if !job.is_empty()
                && (parent != directory || job.len() >= JOB_STEPS || bytes >= JOB_BYTES)
            {
                send(Work::Stage(std::mem::take(&mut job)));
                batch_bytes = bytes.saturating_add(batch_bytes);
                bytes = 0;
                if batch_files >= BATCH_FILES || batch_bytes >= BATCH_BYTES {
                    self.finish_batch(&send, waiting, under_way)?;
                    (batch_bytes, batch_files) = (0, 0);
                }
            }
            if let Op::Put { kind, .. } = &step.op {
                bytes = bytes.saturating_add(kind.size());
                batch_files += 1;
            }
            directory = parent;
            job.push(step);
        }
        if !job.is_empty() {
            send(Work::Stage(job));
        }
        self.finish_batch(&send, waiting, under_way)
    }

    /// Brings what was staged to the disk and gives it its places.
    fn finish_batch(
        &self,
        send: &dyn Fn(Work),
        waiting: &Mutex<Vec<Waiting>>,
        under_way: &UnderWay,
    ) -> Result<(), Error> {
        under_way.wait();
        self.job.cancel.check()?;
        self.go_on()?;
        if lock(waiting).is_empty() {
            return Ok(());
        }
        self.sync()?;
        let mut batch = std::mem::take(&mut *lock(waiting));
        batch.sort_by_key(|waiting| waiting.id);
        let mut batch = batch.into_iter().peekable();
        while let Some(first) = batch.next() {
            let mut job = vec![first];
            while job.len() < JOB_STEPS {
                let same = |next: &Waiting| next.directory == job[0].directory;
                let Some(next) = batch.next_if(same) else {
                    break;
                };
                job.push(next);
            }
            send(Work::Place(job));
        }
        under_way.wait();
        self.go_on()
    }

    fn work(
        &self,
        receiver: &Mutex<Receiver<Work>>,
        waiting: &Mutex<Vec<Waiting>>,
        under_way: &UnderWay,
    ) {
        let mut buffer = Vec::new();
        loop {
            let work = lock(receiver).recv();
            match work {
                Ok(Work::Stage(steps)) => self.stage_all(&steps, waiting, &mut buffer),
                Ok(Work::Place(batch)) => self.place_all(batch),
                Err(_) => return,
            }
            under_way.end();
        }
    }

    fn is_over(&self) -> bool {
        self.job.cancel.is_cancelled() || self.go_on_quietly()
    }

    fn go_on_quietly(&self) -> bool {
        self.stopped.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Carries out steps in one directory as far as their durability lets them.
    fn stage_all(&self, steps: &[Step], waiting: &Mutex<Vec<Waiting>>, buffer: &mut Vec<u8>) {
        let Some(first) = steps.first() else { return };
        let directory = first.op.path().parent();
        let dir = self.within(&directory, |dir| {
            self.wrote_in(dir);
            dir.try_clone_to_owned().map_err(Failure::io("hold the directory"))
        });
        for step in steps {
            if self.is_over() {
                return;
            }
            let Op::Put { path, kind, meta, source, expected, keep_old } = &step.op else {
                self.set_meta_at(step);
                continue;
            };
            let dir = match &dir {
                Ok(dir) => dir.as_fd(),
                Err(failure) => {
                    self.failed(path, failure);
                    self.job.source.done_with(path);
                    continue;
                }
            };
            let sync = self.job.durability == Durability::EachFile;
            let wanted = Wanted { path, kind, meta, source, sync };
            let mut staged = self.stage(dir, &wanted, buffer);
            if let Err(Failure::Io(_, error)) = &staged
                && error.kind() == std::io::ErrorKind::PermissionDenied
                && self.unlock(&directory)
            {
                staged = self.stage(dir, &wanted, buffer);
            }
            self.job.source.done_with(path);
            let staged = match staged {
                Ok(staged) => staged,
                Err(failure) => {
                    match expected {
                        Expected::Absent => self.failed_to_create(path, &failure),
                        _ => self.failed(path, &failure),
                    }
                    continue;
                }
            };
            let next = Waiting {
                id: step.id,
                directory: directory.clone(),
                name: path.name(),
                expected: *expected,
                keep_old: *keep_old,
                counts: step.op.counts(),
                staged,
            };
            match self.job.durability {
                Durability::Batch => lock(waiting).push(next),
                Durability::None | Durability::EachFile => self.place_one(dir, next),
            }
        }
        if let (Durability::EachFile, Ok(dir)) = (self.job.durability, &dir)
            && let Err(error) = self.fs().sync(dir.as_fd())
        {
            self.failed(&directory, &Failure::Io("bring the directory to the disk", error));
        }
    }

    fn place_all(&self, batch: Vec<Waiting>) {
        let Some(first) = batch.first() else { return };
        let directory = first.directory.clone();
        let dir = self.within(&directory, |dir| {
            self.wrote_in(dir);
            dir.try_clone_to_owned().map_err(Failure::io("hold the directory"))
        });
        for waiting in batch {
            match &dir {
                Ok(dir) => self.place_one(dir.as_fd(), waiting),
                Err(failure) => {
                    self.failed(&directory.join_unchecked(&waiting.name), failure);
                }
            }
        }
    }

    fn place_one(&self, dir: BorrowedFd<'_>, waiting: Waiting) {
        let Waiting { id, directory, name, expected, keep_old, counts, staged } = waiting;
        let path = directory.join_unchecked(&name);
        let placed = self
            .keep_if(keep_old, &path)
            .and_then(|()| self.place_staged(dir, &staged, &name, &expected));
        match placed {
            Ok(status) => {
                let (digest, fresh) = (staged.digest, staged.fresh);
                let identity = match staged.as_wanted {
                    true => status.identity,
                    false => status.identity.without_version(),
                };
                let outcome = Outcome { identity, digest, fresh };
                self.done_with(id, &counts, outcome, staged.bytes);
            }
            Err(failure) if expected == Expected::Absent => self.failed_to_create(&path, &failure),
            Err(failure) => self.failed(&path, &failure),
        }
    }
}
