//! The engine: scan both sides, plan, approve, apply, remember.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::endpoint::{Durability, Endpoint, Job, Outcomes, ScanRequest};
use crate::entry::{Digest, Entry, Problem, Side};
use crate::error::{Error, explain};
use crate::filter::Filter;
use crate::fs::{Folder, Fs, Opening, RealFs};
use crate::guard::{Guards, Refused};
use crate::journal::{self, Journal};
use crate::listing::{Pair, record_of};
use crate::local::LocalTree;
use crate::manifest::{Manifest, Record, RootId};
use crate::plan::{Conflict, Counts, Plan};
use crate::policy::{Compare, Direction, Fidelity, Policy};
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::read::ContentReader;
use crate::reconcile::{Census, Item, Ledger, Rules, compare, decide, relocate::relocate};
use crate::remember::Learned;
use crate::root::Root;
use crate::spool::Spool;
use crate::state::State;
use crate::verify::{Difference, Level};

/// Two trees that are to be made equal, and how.
///
/// A handle is [`Send`], blocks while it works, and starts threads of its own only meanwhile:
/// inside an async runtime, use it in a `spawn_blocking` closure.
///
/// ```
/// use mirror_core::{Guards, LocalTree, Mirror};
///
/// # let folder = tempfile::tempdir()?;
/// # let (site, copy) = (folder.path().join("site"), folder.path().join("copy"));
/// # std::fs::create_dir(&site)?;
/// # std::fs::write(site.join("index.html"), "hello")?;
/// let source = LocalTree::open(&site)?;
/// let target = LocalTree::open_or_create(&copy)?;
/// let planned = Mirror::new(&source, &target).plan()?;
/// assert!(planned.plan().to_string().starts_with("copy index.html\n"));
/// assert!(!copy.exists(), "planning changes nothing");
///
/// let report = planned.approve(&Guards::default())?.apply()?;
/// assert_eq!(report.counts.created, 1);
/// assert_eq!(std::fs::read_to_string(copy.join("index.html"))?, "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Mirror<'a> {
    trees: Pair<&'a dyn Endpoint>,
    policy: Policy,
    filter: Filter,
    state: Option<PathBuf>,
    scratch: Option<PathBuf>,
    /// What the state folder is reached by; each tree has its own.
    fs: Arc<dyn Fs>,
    durability: Durability,
    threads: usize,
    observer: &'a dyn Observer,
    cancel: Cancel,
}

impl std::fmt::Debug for Mirror<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mirror")
            .field("trees", &self.trees)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl<'a> Mirror<'a> {
    /// Tree `b` is to become equal to tree `a`, by [`Policy::mirror`], without filter or state.
    pub fn new(a: &'a dyn Endpoint, b: &'a dyn Endpoint) -> Mirror<'a> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        Mirror {
            trees: Pair { a, b },
            policy: Policy::mirror(),
            filter: Filter::default(),
            state: None,
            scratch: None,
            fs: Arc::new(RealFs),
            durability: Durability::default(),
            threads,
            observer: &(),
            cancel: Cancel::default(),
        }
    }

    /// What "equal" means.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Mirror<'a> {
        self.policy = policy;
        self
    }

    /// Which paths take part.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Mirror<'a> {
        self.filter = filter;
        self
    }

    /// The folder in which to remember what both sides agreed on. It lies outside of both trees;
    /// many pairs of trees can share it. With it, unchanged files are not read again and renames
    /// are recognised.
    #[must_use]
    pub fn state(mut self, folder: impl Into<PathBuf>) -> Mirror<'a> {
        self.state = Some(folder.into());
        self
    }

    /// The folder for what a run without a state folder cannot keep in memory, such as the listing
    /// of a peer that has no end. Its files have no names, and are gone with the run.
    #[must_use]
    pub fn scratch(mut self, folder: impl Into<PathBuf>) -> Mirror<'a> {
        self.scratch = Some(folder.into());
        self
    }

    /// How sure it has to be that what was written survives a power cut.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Mirror<'a> {
        self.durability = durability;
        self
    }

    /// How many threads write contents and read files at once; at least 1.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Mirror<'a> {
        self.threads = threads.max(1);
        self
    }

    #[cfg(feature = "testing")]
    pub(crate) fn reaching_state_by(mut self, fs: Arc<dyn Fs>) -> Mirror<'a> {
        self.fs = fs;
        self
    }

    /// Who is told how it goes.
    #[must_use]
    pub fn observer(mut self, observer: &'a dyn Observer) -> Mirror<'a> {
        self.observer = observer;
        self
    }

    /// What stops it.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Mirror<'a> {
        self.cancel = cancel;
        self
    }

    /// Looks at both trees and plans what makes them equal. Neither is changed.
    ///
    /// # Errors
    /// A root that cannot be walked, trees that overlap, a state folder that cannot be used, or
    /// cancelling. What concerns single paths is in the plan's problems.
    pub fn plan(mut self) -> Result<Planned<'a>, Error> {
        self.refuse_overlap()?;
        let capabilities =
            Pair { a: self.trees.a.capabilities()?, b: self.trees.b.capabilities()? };
        self.policy = self.policy.within(&capabilities.b);
        if self.policy.direction == Direction::Both {
            self.policy = self.policy.within(&capabilities.a);
        }
        let mut remembered = Remembered::default();
        if let Some(folder) = self.state.clone() {
            remembered = self.recall(&folder)?;
        }
        let mut rules = Rules::new(
            &self.policy,
            &self.filter,
            [&capabilities.a, &capabilities.b],
            remembered.state.is_some(),
        );
        rules.interrupted = remembered.interrupted;
        let folder = match (&remembered.state, &self.scratch) {
            (Some(state), _) => Some(state.folder()),
            (None, Some(scratch)) => Some(self.scratch_folder(scratch)?),
            (None, None) => None,
        };
        let (items, tally, roots) = self.compare(&rules, &remembered, folder.clone())?;
        let items = relocate(items, &rules, folder.clone())?;
        let reader = self.reader();
        let census = Census::of(&items)?;
        let items = if census.holds_doubt {
            self.observer.event(&Event::Phase(Phase::Comparing));
            reader.settle(items, folder.clone())?
        } else {
            items
        };
        let mut read = |doubts: &[_]| reader.read(doubts);
        let (plan, ledger) = decide(&items, &census, tally, &rules, &mut read, folder)?;
        let changes = plan.summary().counts.iter().map(Counts::total).sum();
        self.observer
            .event(&Event::Planned { entries: changes, bytes: plan.summary().bytes_to_copy });
        for problem in plan.problems() {
            self.observer.event(&Event::Problem(problem));
        }
        Ok(Planned { mirror: self, plan, ledger: Some(ledger), remembered, roots: Some(roots) })
    }

    /// Takes up a plan that was saved. It is not trusted: both trees are planned anew, and of that
    /// the steps that the saved plan has as well are what is left. What has changed since, or was
    /// never so, is a problem in the report; the guards judge what is left.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan).
    pub fn adopt(self, saved: &Plan) -> Result<Planned<'a>, Error> {
        let observer = self.observer;
        let mut planned = self.plan()?;
        planned.plan.keep_only(saved).map_err(Error::Spool)?;
        for problem in planned.plan.problems() {
            observer.event(&Event::Problem(problem));
        }
        Ok(planned)
    }

    /// Compares both trees without what a run remembers, and lists how they differ.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan). [`Level::Independent`] is [`Level::Digest`] where it cannot be
    /// had: for trees that are not local, and for hosted fidelity.
    pub fn verify(&self, level: Level) -> Result<Vec<Difference>, Error> {
        self.observer.event(&Event::Phase(Phase::Verifying));
        let compare = match level {
            // The independent walk knows nothing of what a policy leaves out.
            Level::Independent if self.policy.fidelity == Fidelity::Archive => {
                if let (Some(a), Some(b)) = (self.trees.a.as_local(), self.trees.b.as_local()) {
                    return self.verify_independently(a, b);
                }
                Compare::Checksum
            }
            Level::Independent | Level::Digest => Compare::Checksum,
            Level::Quick => Compare::Quick,
        };
        let policy = Policy { compare, ..self.policy.clone() };
        let fresh = Mirror { policy, state: None, observer: &(), ..self.clone() };
        let planned = fresh.plan()?;
        let mut differences = Vec::new();
        for step in planned.plan().steps() {
            let step = step.map_err(Error::Spool)?;
            if let Some(what) = step.op.words() {
                differences.push(Difference { path: step.op.path().clone(), what });
            }
        }
        let problems = planned.plan().problems().iter();
        differences
            .extend(problems.map(|p| Difference { path: p.path.clone(), what: p.error.clone() }));
        Ok(differences)
    }

    fn verify_independently(&self, a: &LocalTree, b: &LocalTree) -> Result<Vec<Difference>, Error> {
        let privileged = b.capabilities()?.privileged;
        let options = crate::verify::Independent {
            filter: Some(&self.filter),
            owners: privileged && self.policy.ownership == crate::Ownership::Preserve,
            extraneous: self.policy.extraneous == crate::Extraneous::Delete,
        };
        crate::verify::verify_independently(a.path(), b.path(), &options)
            .map_err(|source| Error::OpenRoot { path: b.path().to_path_buf(), source })
    }

    fn reader(&self) -> ContentReader<'_> {
        ContentReader { trees: self.trees, threads: self.threads, cancel: &self.cancel }
    }

    fn refuse_overlap(&self) -> Result<(), Error> {
        let (a, b) = (self.trees.a.whereabouts()?, self.trees.b.whereabouts()?);
        if a.lies_within(&b) {
            return Err(Refused::Overlap { inner: "source", outer: "target" }.into());
        }
        if b.lies_within(&a) {
            return Err(Refused::Overlap { inner: "target", outer: "source" }.into());
        }
        if let Some(folder) = &self.state {
            let folder = LocalTree::open_or_create_on(self.fs.clone(), folder)?.whereabouts()?;
            for (tree, name) in [(&a, "source"), (&b, "target")] {
                if folder.lies_within(tree) {
                    return Err(Refused::StateInside { tree: name }.into());
                }
            }
        }
        Ok(())
    }

    fn scratch_folder(&self, path: &Path) -> Result<Folder, Error> {
        let held = Root::open(self.fs.clone(), path)?;
        let dir = held.fs.open_at(held.descriptor(), b".", Opening::Directory);
        let dir = dir.map_err(|source| Error::OpenRoot { path: path.to_path_buf(), source })?;
        Ok(Folder { fs: held.fs, dir: Arc::new(dir) })
    }

    /// Opens the state of this pair of trees.
    fn recall(&self, folder: &Path) -> Result<Remembered, Error> {
        let ids = [self.trees.a.id()?, self.trees.b.id()?];
        let mut named = blake3::Hasher::new();
        for id in &ids {
            named.update(&(id.path.0.len() as u64).to_le_bytes());
            named.update(&id.path.0);
        }
        named.update(&self.policy.fingerprint().0);
        named.update(&self.filter.fingerprint().0);
        let state = State::open(self.fs.clone(), folder, Digest(*named.finalize().as_bytes()))?;
        let only_helps = self.policy.direction == Direction::Mirror;
        let (base, mut notes) = state.base(only_helps)?;
        let base = base.filter(|base| {
            let same = |x: &RootId, y: &RootId| (x.device, x.inode) == (y.device, y.inode);
            let roots = &base.header().roots;
            let ours = same(&roots[0], &ids[0]) && same(&roots[1], &ids[1]);
            if !ours && ids[1].inode != 0 {
                notes.push(
                    "another directory stands under the same path than in the last run, so that \
                     both trees are compared in full"
                        .to_owned(),
                );
            }
            ours
        });
        let (interrupted, journal_notes) = Journal::unfinished(&state);
        notes.extend(journal_notes);
        let was_interrupted = interrupted.is_some();
        notes.extend(interrupted.map(|interrupted| interrupted.to_string()));
        for note in &notes {
            self.observer.event(&Event::Note(note));
        }
        let base = base.map(Arc::new);
        Ok(Remembered { state: Some(state), base, interrupted: was_interrupted, notes })
    }

    fn compare(
        &self,
        rules: &Rules<'_>,
        remembered: &Remembered,
        folder: Option<Folder>,
    ) -> Result<(Spool<Item>, crate::reconcile::Tally, [Entry; 2]), Error> {
        self.observer.event(&Event::Phase(Phase::Scanning));
        // One worker beside the caller keeps two cores busy with two trees. A run on one thread
        // makes its calls in one order only.
        let threads = self.threads / 2;
        let request = |side: Side| -> Result<ScanRequest<'_>, Error> {
            let other = self.trees.on(side.other());
            let local = self.trees.on(side).as_local().and(other.as_local());
            let other_root = local.map(|_| other.id()).transpose()?;
            Ok(ScanRequest {
                side,
                policy: &self.policy,
                filter: &self.filter,
                hide_excluded: !(side == Side::B
                    && self.policy.direction == Direction::Mirror
                    && self.filter.deletes_excluded()),
                other_root: other_root.map(|id| (id.device, id.inode)).filter(|id| id.1 != 0),
                base: remembered.base.clone(),
                threads,
                cancel: &self.cancel,
            })
        };
        let mut a = self.trees.a.scan(&request(Side::A)?)?;
        let mut b = self.trees.b.scan(&request(Side::B)?)?;
        let roots = [a.root().clone(), b.root().clone()];
        let base = remembered.base.as_deref();
        let blocks = base.map(Manifest::shared_blocks).into_iter().flatten();
        let mut items = Spool::new(folder);
        let mut sink = |item: Item| items.push(&item).map(drop).map_err(Error::Spool);
        let root = base.map(|base| &base.header().root);
        let tally = compare(blocks, root, &mut *a, &mut *b, rules, &mut sink)?;
        Ok((items, tally, roots))
    }
}

/// What an earlier run left to know.
#[derive(Debug, Default)]
struct Remembered {
    state: Option<State>,
    base: Option<Arc<Manifest>>,
    /// Whether the last run did not come to its end.
    interrupted: bool,
    notes: Vec<String>,
}

/// A plan and what it takes to carry it out.
#[must_use = "nothing happens before the plan is approved and applied"]
#[derive(Debug)]
pub struct Planned<'a> {
    mirror: Mirror<'a>,
    plan: Plan,
    ledger: Option<Ledger>,
    remembered: Remembered,
    roots: Option<[Entry; 2]>,
}

impl<'a> Planned<'a> {
    /// What is to be done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the user should know besides: a state that could not be used, a run that was
    /// interrupted.
    pub fn notes(&self) -> &[String] {
        &self.remembered.notes
    }

    /// Holds the plan against the guards.
    ///
    /// # Errors
    /// [`Error::Refused`] with what to do about it. Nothing has been changed.
    pub fn approve(self, guards: &Guards) -> Result<Approved<'a>, Error> {
        for side in [Side::B, Side::A] {
            if self.plan.touches(side) {
                // Where it cannot be asked, writing will tell.
                let capacity = self.mirror.trees.on(side).capacity().ok();
                guards.check(self.plan.summary(), side, capacity.as_ref())?;
            }
        }
        Ok(Approved { planned: self })
    }
}

/// A plan that keeps to the guards: the only thing that can be applied.
#[must_use = "nothing happens before the plan is applied"]
#[derive(Debug)]
pub struct Approved<'a> {
    planned: Planned<'a>,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Entries of the source, its root not counted.
    pub entries: u64,
    /// What was done, on both sides together.
    #[serde(flatten)]
    pub counts: Counts,
    /// Entries that were equal already.
    pub unchanged: u64,
    /// Entries left alone because of a problem, a conflict or the policy.
    pub skipped: u64,
    /// Bytes of file contents that were copied.
    pub bytes_copied: u64,
    /// Bytes of file contents that the target had already: moved, or compared and found equal.
    pub bytes_matched: u64,
    /// Paths that both sides changed.
    pub conflicts: Vec<Conflict>,
    /// Paths that could not be dealt with, and why.
    pub problems: Vec<Problem>,
    /// What else the user should know.
    pub notes: Vec<String>,
}

impl Report {
    /// Whether every path was brought level.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.conflicts.iter().all(|conflict| conflict.winner.is_some())
    }
}

impl Approved<'_> {
    /// Carries the plan out.
    ///
    /// # Errors
    /// What every further step would have met as well: no space, a disk that fails, a target that
    /// another run works on, cancelling. What was done until then is whole, and running again goes
    /// on from there. What concerns single paths is in the report.
    pub fn apply(self) -> Result<Report, Error> {
        let Planned { mirror, plan, ledger, remembered, roots } = self.planned;
        let summary = *plan.summary();
        let mut report = Report {
            entries: summary.entries_of(Side::A),
            unchanged: summary.unchanged,
            skipped: summary.skipped,
            bytes_matched: summary.bytes_matched,
            conflicts: plan.conflicts().to_vec(),
            problems: plan.problems().to_vec(),
            notes: remembered.notes,
            ..Report::default()
        };
        let run = run_name();
        let mut outcomes: Pair<Outcomes> = Pair::default();
        let state = remembered.state.as_ref();
        let mut journal = None;
        // A side that is only read is brought to its disk as well.
        let syncs_both = mirror.policy.direction == Direction::Both
            && state.is_some()
            && ledger.as_ref().is_some_and(|ledger| !ledger.is_empty());
        if !plan.is_empty() {
            for side in [Side::B, Side::A] {
                if plan.touches(side) {
                    mirror.trees.on(side).lock()?;
                }
            }
            if let Some(state) = state {
                journal = Some(Journaling::start(state, &run, mirror.observer)?);
            }
        }
        for side in [Side::B, Side::A] {
            if !plan.touches(side) && !syncs_both {
                continue;
            }
            let observer: &dyn Observer = match &journal {
                Some(journal) => journal,
                None => mirror.observer,
            };
            let job = Job {
                plan: &plan,
                side,
                source: *mirror.trees.on(side.other()),
                policy: &mirror.policy,
                durability: mirror.durability,
                threads: mirror.threads,
                run: &run,
                observer,
                cancel: &mirror.cancel,
            };
            let target = mirror.trees.on(side);
            let source = mirror.trees.on(side.other());
            let mut done = source.serving(&job, &mut || target.carry_out(&job))?;
            report.counts.add(&done.counts);
            report.skipped += done.skipped;
            report.bytes_copied += done.bytes_copied;
            report.problems.append(&mut done.problems);
            *outcomes.on_mut(side) = done;
        }
        if let (Some(state), Some(ledger), Some(roots)) = (state, ledger, roots) {
            let learned = Learned { outcomes: Pair { a: &outcomes.a, b: &outcomes.b } };
            let base = remembered.base.as_deref();
            if let Err(error) = remember(&mirror, state, base, ledger, &roots, &learned) {
                // The trees are what they are; only the next run has more to do.
                report.notes.push(format!("{error}; the next run has more to compare"));
            }
        }
        match (journal, state) {
            (Some(journal), _) => journal.finish(),
            // There was nothing left to do of what an interrupted run had begun.
            (None, Some(state)) => note(mirror.observer, Journal::discard(state)),
            (None, None) => {}
        }
        Ok(report)
    }
}

/// Writes the next generation of the base, if there is anything new in it.
fn remember(
    mirror: &Mirror<'_>,
    state: &State,
    base: Option<&Manifest>,
    ledger: Ledger,
    roots: &[Entry; 2],
    learned: &Learned<'_>,
) -> Result<(), Error> {
    if ledger.is_empty() && base.is_some() {
        return Ok(());
    }
    mirror.observer.event(&Event::Phase(Phase::Remembering));
    let failed = |source| Error::State { path: state.path().to_path_buf(), source };
    let mut root: Record = match base {
        Some(base) => base.header().root.clone(),
        None => {
            let mut record = record_of(&roots[0]);
            record.identity = [None, None];
            record
        }
    };
    let mut ledger = ledger;
    if let Some(Some(Some(known))) = ledger.root.take().map(|item| learned.resolve(item)) {
        root = known;
    }
    let ids = [mirror.trees.a.id()?, mirror.trees.b.id()?];
    let mut writer = state.writer(ids, root).map_err(failed)?;
    learned.write(base, ledger, &mut writer).map_err(|error| match error {
        Error::Spool(source) => failed(source),
        other => other,
    })?;
    state.commit(writer, mirror.durability != Durability::None).map_err(failed)
}

/// Tells this run's temporary names from those of others: when it began, to the nanosecond, and
/// the process. The number of a process alone is that of many in containers.
fn run_name() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    format!("{:x}{:08x}-{:x}", now.tv_sec, now.tv_nsec, std::process::id())
}

/// Writes the phases of a run to the journal on their way to the observer.
struct Journaling<'a> {
    journal: Mutex<Journal>,
    observer: &'a dyn Observer,
}

impl<'a> Journaling<'a> {
    fn start(
        state: &State,
        run: &str,
        observer: &'a dyn Observer,
    ) -> Result<Journaling<'a>, Error> {
        let journal = Journal::start(state, run, state.next_generation())
            .map_err(|source| Error::State { path: state.path().to_path_buf(), source })?;
        Ok(Journaling { journal: Mutex::new(journal), observer })
    }

    fn finish(self) {
        let journal = self.journal.into_inner().unwrap_or_else(PoisonError::into_inner);
        note(self.observer, journal.finish());
    }
}

/// The journal only tells a later run about this one; a run does not fail for it.
fn note(observer: &dyn Observer, result: io::Result<()>) {
    if let Err(error) = result {
        let note = format!("the journal of this run could not be kept: {}", explain(&error));
        observer.event(&Event::Note(&note));
    }
}

impl Observer for Journaling<'_> {
    fn event(&self, event: &Event<'_>) {
        let event_of_journal = match event {
            Event::Phase(phase) => Some(journal::Event::Phase { name: phase.to_string() }),
            Event::Synced { entries } => Some(journal::Event::Committed { entries: *entries }),
            _ => None,
        };
        if let Some(event) = event_of_journal {
            let appended =
                self.journal.lock().unwrap_or_else(PoisonError::into_inner).append(&event, false);
            note(self.observer, appended);
        }
        self.observer.event(event);
    }
}
