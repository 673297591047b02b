//! Bringing zones to all six servers, and saying how it went on each.
//!
//! A round looks at what every server serves, decides which epoch each zone is to be at, brings
//! servers there in parallel, tells those that transfer, and looks again. Rounds go on until all are
//! level or patience ends. Two controllers may do this at once: every UPDATE is a compare-and-swap
//! on the zone's epoch, the lower epoch yields, and whoever yields helps the higher one to the rest of
//! the servers, so that one state is left even if its controller dies on the way.

mod files;
mod goal;
mod push;
mod report;
mod survey;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

pub use report::{Outcome, Report, ZoneReport};
pub use survey::View;

use super::{Deploy, LocalFiles, Network, Session};
use crate::epoch::{Active, Epoch, EpochRecord, SiteId};
use crate::name::Name;
use crate::plan::{ApprovedPlan, Current, Scope};
use crate::topology::{Feed, NAME_SERVERS, NameServer, Topology};
use crate::wire::{Rcode, Trouble};
use crate::zone::Zone;
use goal::{Decided, Goal};
use survey::{Column, Views};

/// For how long to go on.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How many rounds at most.
    pub rounds: u32,
    /// For how long a round waits for secondaries to transfer.
    pub settle: Duration,
    /// How long to wait before the next round.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { rounds: 5, settle: Duration::from_secs(5), pause: Duration::from_millis(500) }
    }
}

/// Publishes the zones of a topology in the name of one controller.
#[derive(Clone, Copy)]
pub struct Publisher<'a> {
    topology: &'a Topology,
    network: &'a dyn Network,
    controller: SiteId,
    patience: Patience,
    deploy: &'a dyn Deploy,
    /// Whether a run leaves servers alone that are out of reach, for its caller to come back to.
    leaves_unreachable: bool,
}

impl std::fmt::Debug for Publisher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Publisher { controller, patience, .. } = self;
        write!(f, "Publisher {{ controller: {controller}, {patience:?} }}")
    }
}

/// What a leg knows of its own server: by the place of a zone, what was seen there.
type Seen<'a> = dyn Fn(usize) -> Option<&'a Result<View, Trouble>> + 'a;

/// A zone on its way.
struct Job {
    name: Name,
    /// Where the caller wants it to point; none when it only wants to know.
    wish: Option<Active>,
    scope: Scope,
    goal: Option<Goal>,
    /// A higher epoch of somebody else's that we gave way to.
    superseded: Option<EpochRecord>,
    servers: [Option<Progress>; NAME_SERVERS],
}

/// How far a zone is on a server that serves it.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Whether we brought it there.
    pushed: bool,
    outcome: Option<Outcome>,
}

impl Job {
    fn is_level(&self) -> bool {
        let level = |progress: &Progress| {
            matches!(progress.outcome, Some(Outcome::Applied | Outcome::AlreadyThere))
        };
        self.servers.iter().flatten().all(level)
    }

    /// Whether another round could do better.
    fn is_worth_it(&self, leaves_unreachable: bool) -> bool {
        let hopeful = |progress: &Progress| match &progress.outcome {
            Some(Outcome::Unreachable { .. }) if leaves_unreachable => false,
            Some(Outcome::Refused { trouble } | Outcome::Unreachable { trouble }) => {
                trouble.is_transient()
            }
            Some(Outcome::Diverged { .. }) | None => true,
            Some(Outcome::Applied | Outcome::AlreadyThere) => false,
        };
        self.servers.iter().flatten().any(hopeful)
    }
}

impl<'a> Publisher<'a> {
    /// A publisher that speaks for `controller`.
    pub fn new(
        topology: &'a Topology,
        network: &'a dyn Network,
        controller: SiteId,
        patience: Patience,
    ) -> Publisher<'a> {
        let (deploy, leaves_unreachable) = (&LocalFiles, false);
        Publisher { topology, network, controller, patience, deploy, leaves_unreachable }
    }

    /// The same for one who comes back soon to servers that are out of reach: a run does not wait for them.
    pub(crate) fn leaving_unreachable(self) -> Publisher<'a> {
        Publisher { leaves_unreachable: true, ..self }
    }

    /// The same, with another way for files to get to servers that read files. Without it, their folders
    /// are taken to be on this machine.
    #[must_use]
    pub fn with_deploy(self, deploy: &'a dyn Deploy) -> Publisher<'a> {
        Publisher { deploy, ..self }
    }

    /// Carries out a plan on all six servers. Zones that are there already get no new epoch; servers
    /// that lag behind are brought level. A failover changes managed sets and nothing else: where a
    /// zone is not what the configuration would make of it, it stays so.
    ///
    /// ```
    /// use dns_failover::testing::{MemoryNetwork, draft};
    /// use dns_failover::{Active, Patience, Plan, PlanGuards, Publisher, SiteId, Topology};
    ///
    /// let topology = Topology::new(draft(1)).map_err(|faults| faults[0].to_string())?;
    /// let network = MemoryNetwork::serving(&topology, 1_000);
    /// let publisher = Publisher::new(&topology, &network, SiteId::Us, Patience::default());
    ///
    /// // The UK burns.
    /// let (uk, us) = (Active::One(SiteId::Uk), Active::One(SiteId::Us));
    /// let moves = topology.domains().keys().map(|name| (name, Some(uk), us));
    /// let plan = Plan::failover(&topology, moves).approve(&PlanGuards::default())?;
    /// let report = publisher.publish(&plan);
    /// assert!(report.is_level(), "{report}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&self, plan: &ApprovedPlan) -> Report {
        self.publish_if(plan, &mut |_| true).expect("nothing keeps it from going on")
    }

    /// The same, unless `may` says no to what is seen to be decided already. Saves a look of one's own, which
    /// would cost a timeout where a server is dead.
    pub(crate) fn publish_if(
        &self,
        plan: &ApprovedPlan,
        may: &mut dyn FnMut(Vec<(Name, EpochRecord)>) -> bool,
    ) -> Option<Report> {
        let job = |(name, active, scope): (&Name, Active, Scope)| {
            Job::new(self.topology, name.clone(), Some(active), scope)
        };
        self.run(plan.zones().map(job).collect(), may)
    }

    /// What is served of these zones: from the server with the highest epoch, made here where its
    /// digest says that it is the same, else transferred.
    pub fn current(&self, zones: impl IntoIterator<Item = Name>) -> BTreeMap<Name, Current> {
        let jobs = self.questions(zones);
        let views = self.survey(&jobs);
        let current =
            |(job, views): (Job, Views)| (job.name.clone(), self.current_of(&job.name, &views));
        jobs.into_iter().zip(views).map(current).collect()
    }

    fn current_of(&self, name: &Name, views: &Views) -> Current {
        if let Some((record, digest)) = goal::highest(views)
            && let Some(goal) = self.fetched(name, views, record, &digest)
            && let Some(zone) = goal.zone
        {
            return Current::Zone(Box::new(Arc::unwrap_or_clone(zone)));
        }
        let mut whys = Vec::new();
        let mut missing = true;
        for (index, view) in views.iter().enumerate() {
            let server = &self.topology.name_servers()[index];
            match view {
                None => {}
                Some(Ok(_)) => match self.transfer(name, index) {
                    Ok(zone) => return Current::Zone(Box::new(zone)),
                    Err(trouble) => {
                        missing = false;
                        whys.push(format!("{}: {trouble}", server.name));
                    }
                },
                Some(Err(trouble)) => {
                    let none = [Rcode::REFUSED, Rcode::NOTAUTH];
                    missing &=
                        matches!(trouble, Trouble::Refused { rcode } if none.contains(rcode));
                    whys.push(format!("{}: {trouble}", server.name));
                }
            }
        }
        if missing { Current::Missing } else { Current::Unknown { why: whys.join("; ") } }
    }

    /// Looks whether all servers serve the same, and changes nothing.
    pub fn verify(&self, zones: impl IntoIterator<Item = Name>) -> Report {
        let mut jobs = self.questions(zones);
        let views = self.survey(&jobs);
        for (job, views) in jobs.iter_mut().zip(&views) {
            job.goal = goal::highest(views).map(|(record, digest)| Goal::seen(record, digest));
            job.settle(views);
        }
        report::of(self.topology, jobs)
    }

    /// What every server says of these zones: for each zone one view for each of the six, none where a
    /// server does not serve it by design.
    pub fn views(
        &self,
        zones: impl IntoIterator<Item = Name>,
    ) -> BTreeMap<Name, Vec<Option<Result<View, Trouble>>>> {
        let jobs = self.questions(zones);
        let views = self.survey(&jobs);
        jobs.into_iter().zip(views).map(|(job, views)| (job.name, views.into())).collect()
    }

    /// What the name server at `index` says of a zone; none where it does not serve it by design.
    pub fn view(&self, zone: &Name, index: usize) -> Option<Result<View, Trouble>> {
        let server = self.topology.name_servers().get(index)?;
        let job = Job::new(self.topology, zone.clone(), None, Scope::Managed);
        self.column(index, server, &[job]).into_iter().next().flatten()
    }

    /// Transfers a zone from the name server at `index`.
    ///
    /// # Errors
    /// What kept it from us. A zone that cannot be read is never taken for an empty one.
    pub fn transfer(&self, zone: &Name, index: usize) -> Result<Zone, Trouble> {
        let server = self.topology.name_servers().get(index);
        let server =
            server.ok_or_else(|| Trouble::Unreachable { why: "there is no such server".into() })?;
        Session::open(self.network, server)?.transfer(zone)
    }

    fn run(
        &self,
        mut jobs: Vec<Job>,
        may: &mut dyn FnMut(Vec<(Name, EpochRecord)>) -> bool,
    ) -> Option<Report> {
        let mut left: Vec<usize> = (0..jobs.len()).collect();
        for round in 0..self.patience.rounds.max(1) {
            if round > 0 {
                self.network.pause(self.patience.pause);
            }
            let mut round_jobs = Vec::with_capacity(left.len());
            // The rest keeps its place; what is under way is taken out and put back.
            for &place in &left {
                let empty = Job::new(self.topology, Name::root(), None, Scope::Managed);
                round_jobs.push(std::mem::replace(&mut jobs[place], empty));
            }
            let always = &mut |_| true;
            let may: &mut dyn FnMut(_) -> bool = if round == 0 { &mut *may } else { always };
            if !self.round(&mut round_jobs, may) {
                return None;
            }
            for (&place, job) in left.iter().zip(round_jobs) {
                jobs[place] = job;
            }
            left.retain(|&place| {
                !jobs[place].is_level() && jobs[place].is_worth_it(self.leaves_unreachable)
            });
            if left.is_empty() {
                break;
            }
        }
        Some(report::of(self.topology, jobs))
    }

    /// Jobs that only ask; no zone twice.
    fn questions(&self, zones: impl IntoIterator<Item = Name>) -> Vec<Job> {
        let zones: BTreeSet<Name> = zones.into_iter().collect();
        let ask = |name| Job::new(self.topology, name, None, Scope::Managed);
        zones.into_iter().map(ask).collect()
    }

    /// Looks, decides and brings, unless `may` says no to what was seen. The leg of a server that takes its
    /// time with answering begins when it has; the others do not wait for it.
    fn round(
        &self,
        jobs: &mut [Job],
        may: &mut dyn FnMut(Vec<(Name, EpochRecord)>) -> bool,
    ) -> bool {
        thread::scope(|scope| {
            let early = self.survey_early(scope, jobs);
            let records = jobs.iter().zip(&early.views);
            let records = records
                .filter_map(|(job, views)| Some((job.name.clone(), goal::highest(views)?.0)));
            if !may(records.collect()) {
                return false;
            }
            let mut bases = Vec::with_capacity(jobs.len());
            for (job, views) in jobs.iter_mut().zip(&early.views) {
                bases.push(self.decide(job, views));
            }
            self.bring(jobs, &early.views, early.late, &bases);
            true
        })
    }

    /// Chooses the epoch that a zone is to be at, and finds out what servers have now.
    fn decide(&self, job: &mut Job, views: &Views) -> Vec<Arc<Zone>> {
        let kept = match job.scope {
            Scope::Managed => match self.kept(&job.name, views) {
                Some(kept) => kept,
                None => {
                    job.goal = None;
                    return Vec::new();
                }
            },
            Scope::Everything => None,
        };
        let make = |record: EpochRecord| match &kept {
            Some(zone) => self.moved(zone, record),
            None => self.make(&job.name, record),
        };
        let now = Epoch::starting(self.network.unix_time(), self.controller);
        let decided = goal::decide(self.controller, now, views, job.goal.as_ref(), job.wish, &make);
        match decided {
            Decided::Keep(goal) | Decided::Fresh(goal) => job.goal = Some(goal),
            Decided::Yield(record, digest) => {
                job.superseded = Some(record);
                job.goal = self.fetched(&job.name, views, record, &digest);
            }
            Decided::Nothing => job.goal = None,
        }
        goal::bases(views, job.goal.as_ref(), &make)
    }

    /// The zone as it is served, where that is not what the topology would make of it; None when that
    /// cannot be found out, or the zone is none of ours.
    fn kept(&self, name: &Name, views: &Views) -> Option<Option<Zone>> {
        let (record, digest) = goal::highest(views)?;
        let made = self.make(name, record).and_then(|zone| Goal::of(zone, record));
        if made.is_some_and(|made| made.digest.rdatas() == digest.rdatas()) {
            return Some(None);
        }
        let goal = self.fetched(name, views, record, &digest)?;
        Some(goal.zone.map(Arc::unwrap_or_clone))
    }

    /// The same zone, at another epoch and pointing to where that one says.
    fn moved(&self, zone: &Zone, record: EpochRecord) -> Option<Zone> {
        let domain = self.topology.domain(zone.origin())?;
        Some(self.topology.moved_zone(domain, zone, record))
    }

    /// The zone at an epoch that is not ours, from a server that has it.
    fn fetched(
        &self,
        name: &Name,
        views: &Views,
        record: EpochRecord,
        digest: &crate::rrset::RRset,
    ) -> Option<Goal> {
        if let Some(zone) = self.make(name, record)
            && let Some(goal) = Goal::of(zone, record).filter(|goal| goal.digest == *digest)
        {
            return Some(goal);
        }
        let holders = views.iter().enumerate().filter(|(_, view)| {
            view.as_ref()
                .and_then(|view| view.as_ref().ok())
                .is_some_and(|view| view.is_at(record, digest))
        });
        let goals = holders.filter_map(|(index, _)| {
            let zone = self.transfer(name, index).ok()?;
            Goal::of(zone, record).filter(|goal| goal.digest == *digest)
        });
        goals.into_iter().next()
    }

    fn make(&self, name: &Name, record: EpochRecord) -> Option<Zone> {
        if *name == self.topology.authority().catalog {
            return Some(self.topology.catalog_zone(record));
        }
        Some(self.topology.zone(self.topology.domain(name)?, record))
    }

    /// Brings every server to the goals, those that take updates first, and looks at what came of it.
    fn bring(
        &self,
        jobs: &mut [Job],
        views: &[Views],
        mut late: BTreeMap<usize, mpsc::Receiver<Column>>,
        bases: &[Vec<Arc<Zone>>],
    ) {
        let jobs_read: &[Job] = jobs;
        let results = thread::scope(|scope| {
            let mut threads = Vec::with_capacity(NAME_SERVERS);
            let mut tellers: Vec<(&NameServer, mpsc::Sender<usize>)> = Vec::new();
            for (index, server) in self.topology.name_servers().iter().enumerate() {
                if let Feed::Transfer { .. } = server.feed {
                    let (teller, told) = mpsc::channel();
                    tellers.push((server, teller));
                    let late = late.remove(&index);
                    let work = move || {
                        with_seen(index, views, late, &mut |seen| {
                            watch::follow(self, index, jobs_read, seen, &told)
                        })
                    };
                    threads.push((index, scope.spawn(work)));
                }
            }
            for (index, server) in self.topology.name_servers().iter().enumerate() {
                if let Feed::Transfer { .. } = server.feed {
                    continue;
                }
                let late = late.remove(&index);
                if let Feed::Files { .. } = server.feed {
                    let work = move || {
                        with_seen(index, views, late, &mut |seen| {
                            files::write(self, index, jobs_read, seen)
                        })
                    };
                    threads.push((index, scope.spawn(work)));
                    continue;
                }
                let transfers = |other: &NameServer| match &other.feed {
                    Feed::Transfer { from } => from.contains(&server.name),
                    _ => false,
                };
                let tell: Vec<mpsc::Sender<usize>> = tellers
                    .iter()
                    .filter(|(other, _)| transfers(other))
                    .map(|(_, teller)| teller.clone())
                    .collect();
                let work = move || {
                    with_seen(index, views, late, &mut |seen| {
                        push::push(self, index, jobs_read, seen, bases, &tell)
                    })
                };
                threads.push((index, scope.spawn(work)));
            }
            drop(tellers);
            // A thread only ends without a result when it panicked, and then so do we.
            let ended = threads.into_iter().map(|(index, thread)| match thread.join() {
                Ok(result) => (index, result),
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ended.collect::<Vec<_>>()
        });
        for (index, progress) in results {
            for (job, progress) in jobs.iter_mut().zip(progress) {
                if let (Some(kept), Some(progress)) = (&mut job.servers[index], progress) {
                    let pushed = kept.pushed || progress.pushed;
                    let outcome = match progress.outcome {
                        // It was an earlier round of ours that brought it there.
                        Some(Outcome::AlreadyThere) if pushed => Some(Outcome::Applied),
                        outcome => outcome,
                    };
                    *kept = Progress { pushed, outcome };
                }
            }
        }
    }
}

/// Runs the leg of one server on what is seen there, for which it waits where that comes late.
fn with_seen(
    index: usize,
    views: &[Views],
    late: Option<mpsc::Receiver<Column>>,
    leg: &mut dyn FnMut(&Seen<'_>) -> Vec<Option<Progress>>,
) -> Vec<Option<Progress>> {
    match late.and_then(|late| late.recv().ok()) {
        Some(column) => leg(&|place| column.get(place)?.as_ref()),
        None => leg(&|place| views.get(place)?[index].as_ref()),
    }
}

impl Job {
    fn new(topology: &Topology, name: Name, wish: Option<Active>, scope: Scope) -> Job {
        let is_catalog = name == topology.authority().catalog;
        let serves = |server: &NameServer| {
            let transfers = matches!(server.feed, Feed::Transfer { .. });
            let lacks_it = is_catalog && transfers && !server.software.reads_catalogs();
            (!lacks_it).then(Progress::default)
        };
        let servers = topology.name_servers().each_ref().map(serves);
        Job { name, wish, scope, goal: None, superseded: None, servers }
    }

    /// Says of each server whether it is at the goal, by what it was seen to serve.
    fn settle(&mut self, views: &Views) {
        for (progress, view) in self.servers.iter_mut().zip(views) {
            if let (Some(progress), Some(view)) = (progress, view) {
                progress.outcome = Some(match view {
                    Err(trouble) => Outcome::of(trouble.clone()),
                    Ok(view) => match &self.goal {
                        Some(goal) if view.is_at(goal.record, &goal.digest) => {
                            Outcome::AlreadyThere
                        }
                        _ => Outcome::Diverged { found: view.record, serial: view.serial },
                    },
                });
            }
        }
    }
}
