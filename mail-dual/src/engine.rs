//! Everything at work: messages are accepted, kept, delivered and reported.
//!
//! Whoever has a message calls [`Accept::accept`] on a [`Handle`], from any thread. Those that call
//! at the same time share one sync of the disk: the first becomes the one that writes for all.
//! Each leg has as many workers as it may have connections, and a housekeeper does what is due.

mod accept;
mod commit;
mod control;
mod events;
mod housekeeping;
mod recovery;
mod seen;
mod worker;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::accept::Waiter;
use self::commit::Committer;
pub use self::control::{QueuedLeg, QueuedMessage, QueuedRecipient};
use self::events::Counters;
pub use self::events::{Event, Observer, Silent, Stats};
use self::recovery::Recovery;
use self::seen::Seen;
use crate::core::leg_name::LegName;
use crate::core::retry::RetryPolicy;
use crate::core::route::{AckPolicy, BouncePolicy, RoutingTable};
use crate::core::scheduler::Queue;
use crate::core::transition::Transition;
use crate::id::SpoolId;
use crate::leg::Leg;
use crate::spool::{RecoveryReport, Spool, SpoolError, Stored};
use crate::time::Timestamp;

/// Where the engine's time and randomness come from.
pub trait Clock: fmt::Debug + Send + Sync {
    /// What time it is.
    fn now(&self) -> Timestamp;
    /// Bits that nobody can guess and that never come again.
    fn random(&self) -> u128;
}

/// The clock of this machine, and the kernel's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the edge that clocks belong to")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        // Linux has it since boot; without it, ids could come twice.
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes once it has booted");
        u128::from_be_bytes(bytes)
    }
}

/// How an engine behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our own name, for trace fields and reports.
    pub hostname: String,
    /// Which legs a recipient's mail takes.
    pub routes: RoutingTable,
    /// When a message is acknowledged.
    pub ack: AckPolicy,
    /// How long an acknowledgement waits for the peer or for all legs.
    pub ack_timeout: Duration,
    /// When the sender is told of a failure.
    pub bounce: BouncePolicy,
    /// The leg for reports to senders who are nobody of ours; without one those are only events.
    pub reports: Option<LegName>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How long a message stays in the spool after everybody has it, to be resubmitted.
    pub keep_done: Duration,
    /// The largest message that is accepted, in bytes.
    pub largest: u64,
    /// With less room than this on the disk, nothing more is accepted, in bytes.
    pub reserve: u64,
}

impl Settings {
    /// The usual behaviour of a host with this name.
    pub fn new(hostname: impl Into<String>, routes: RoutingTable) -> Settings {
        Settings {
            hostname: hostname.into(),
            routes,
            ack: AckPolicy::default(),
            ack_timeout: Duration::from_secs(20),
            bounce: BouncePolicy::default(),
            reports: None,
            retry: RetryPolicy::default(),
            keep_done: Duration::from_secs(2 * 86_400),
            largest: 64 << 20,
            reserve: 256 << 20,
        }
    }
}

/// A leg at work.
#[derive(Debug, Clone)]
pub struct LegSetting {
    /// What it is called.
    pub name: LegName,
    /// The way there.
    pub leg: Arc<dyn Leg>,
    /// How many connections it may have at the same time, at least one.
    pub connections: usize,
}

/// An engine: what [`Handle`]s work on, and the threads that do the work.
///
/// ```
/// use std::sync::Arc;
/// use mail_dual::{
///     Accept, Arrival, Engine, Envelope, Feed, ForwardPath, Job, Leg, LegSetting, MemSpool, Outcome,
///     Port, Presence, RawMessage, Reply, ReversePath, Route, RoutingTable, Settings, Silent,
///     Submission, SystemClock,
/// };
///
/// #[derive(Debug)]
/// struct Discard;
///
/// impl Leg for Discard {
///     fn deliver(&self, feed: &mut dyn Feed) {
///         while let Some(job) = feed.next() {
///             for index in 0..job.envelope.recipients().len() {
///                 let reply = Reply::new(250, "2.0.0 gone").expect("250 is a reply code");
///                 feed.report(&job, index, Outcome::Delivered(reply));
///             }
///         }
///     }
///
///     fn contains(&self, _job: &Job, _recipient: usize) -> Presence {
///         Presence::Unknown
///     }
/// }
///
/// let names = ["uk".parse()?, "us".parse()?];
/// let recipients = vec!["*@example.org".parse()?];
/// let routes = RoutingTable::new(vec![Route { recipients, legs: names.to_vec() }], []);
/// let legs = names.map(|name| LegSetting { name, leg: Arc::new(Discard), connections: 1 });
/// let settings = Settings::new("uk.example.net", routes);
/// let spool = Arc::new(MemSpool::new());
/// let (mut engine, _) =
///     Engine::open(settings, legs.to_vec(), spool, Arc::new(SystemClock), Arc::new(Silent))?;
/// engine.start()?;
/// let handle = engine.handle();
/// let bob = ForwardPath::new("bob@example.org")?;
/// let receipt = handle.accept(Submission {
///     envelope: Envelope::new(ReversePath::new("ann@example.com")?, [bob])?,
///     message: RawMessage::new("Subject: hello\r\n\r\nHow are you?\r\n")?,
///     arrival: Arrival::local(Port::Fanout),
/// });
/// assert!(receipt.is_ok());
/// while handle.queue_len() > 0 {
///     std::thread::yield_now();
/// }
/// assert_eq!(handle.stats().delivered, 2);
/// engine.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
}

/// Access to an engine, from any thread.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    legs: BTreeMap<LegName, LegSlot>,
    spool: Arc<dyn Spool>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    queue: Mutex<Queue>,
    committer: Committer,
    fresh: Mutex<Fresh>,
    waiters: Mutex<BTreeMap<SpoolId, Arc<Waiter>>>,
    /// What came from the peer.
    seen: Mutex<Seen>,
    /// Messages whose consequences are being drawn, and whether more has happened to them since.
    settling: Mutex<BTreeMap<SpoolId, bool>>,
    counters: Counters,
    stopping: AtomicBool,
    /// Whether the disk has too little room left.
    full: AtomicBool,
    /// Whether something was recorded that is not synced.
    unsynced: AtomicBool,
    housekeeping: (Mutex<()>, Condvar),
    seeds: AtomicU64,
}

#[derive(Debug)]
struct LegSlot {
    setting: LegSetting,
    /// Notified with the queue's lock when there may be work.
    work: Condvar,
}

/// Messages that were accepted just now and are likely still in demand.
#[derive(Debug, Default)]
struct Fresh {
    messages: BTreeMap<SpoolId, Arc<Stored>>,
    bytes: usize,
}

/// How many bytes of fresh messages are kept at hand.
const FRESH: usize = 8 << 20;

impl Fresh {
    fn put(&mut self, stored: &Arc<Stored>) {
        if stored.message.len() > FRESH / 4 {
            return;
        }
        self.bytes += weight(stored);
        self.messages.insert(stored.head.id, Arc::clone(stored));
        while self.bytes > FRESH
            && let Some((_, oldest)) = self.messages.pop_first()
        {
            self.bytes -= weight(&oldest);
        }
    }

    fn remove(&mut self, id: SpoolId) {
        if let Some(stored) = self.messages.remove(&id) {
            self.bytes -= weight(&stored);
        }
    }
}

/// About what a message takes, its head and all.
fn weight(stored: &Stored) -> usize {
    stored.message.len() + 1024
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while it held a lock has left whole values: each is changed by calls
    // that cannot panic in between.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Reads the spool back. Nothing is delivered before [`start`](Self::start), but messages can
    /// be accepted and the queue can be looked at and changed.
    ///
    /// # Errors
    ///
    /// Why the spool cannot be used.
    pub fn open(
        settings: Settings,
        legs: Vec<LegSetting>,
        spool: Arc<dyn Spool>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<(Engine, RecoveryReport), SpoolError> {
        let names = legs.iter().map(|leg| leg.name.clone());
        let queue = Queue::new(settings.retry.clone(), settings.bounce, names);
        let mut recovery = Recovery::new(queue);
        let report = spool.recover(&mut |item| recovery.take(item))?;
        let (mut queue, seen) = recovery.finish(&*spool);
        queue.enqueue_all(clock.now());
        for damage in &report.damaged {
            observer.event(&Event::SpoolDamaged { damage: damage.to_string() });
        }
        for (leg, waiting) in queue.stranded() {
            observer.event(&Event::NoSuchLeg { leg, waiting });
        }
        let slot =
            |setting: LegSetting| (setting.name.clone(), LegSlot { setting, work: Condvar::new() });
        let shared = Shared {
            legs: legs.into_iter().map(slot).collect(),
            queue: Mutex::new(queue),
            committer: Committer::default(),
            fresh: Mutex::default(),
            waiters: Mutex::default(),
            seen: Mutex::new(seen),
            settling: Mutex::default(),
            counters: Counters::default(),
            stopping: AtomicBool::new(false),
            full: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            housekeeping: (Mutex::new(()), Condvar::new()),
            seeds: AtomicU64::new(clock.random() as u64),
            settings,
            spool,
            clock,
            observer,
        };
        let handle = Handle(Arc::new(shared));
        handle.0.look_at_room();
        Ok((Engine { handle, threads: Vec::new() }, report))
    }

    /// Begins to deliver.
    ///
    /// # Errors
    ///
    /// The system cannot give the threads that this takes.
    pub fn start(&mut self) -> std::io::Result<()> {
        self.handle.0.give_up();
        for slot in self.handle.0.legs.values() {
            for number in 0..slot.setting.connections.max(1) {
                let shared = Arc::clone(&self.handle.0);
                let name = slot.setting.name.clone();
                let thread = thread::Builder::new()
                    .name(format!("leg-{name}-{number}"))
                    .stack_size(512 * 1024)
                    .spawn(move || worker::run(&shared, &name))?;
                self.threads.push(thread);
            }
        }
        let shared = Arc::clone(&self.handle.0);
        let housekeeper = thread::Builder::new()
            .name("housekeeper".to_owned())
            .stack_size(512 * 1024)
            .spawn(move || housekeeping::run(&shared))?;
        self.threads.push(housekeeper);
        Ok(())
    }

    /// Access for others.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Stops: nothing more is accepted, what is under way is finished, the rest stays in the
    /// spool. A leg that hangs is waited for as long as its own deadlines allow.
    ///
    /// # Errors
    ///
    /// The spool could not be synced: after a power cut, some messages may be sent twice.
    pub fn shutdown(mut self) -> Result<(), SpoolError> {
        self.stop();
        self.handle.0.spool.sync()
    }

    fn stop(&mut self) {
        let shared = &self.handle.0;
        shared.stopping.store(true, Ordering::SeqCst);
        {
            let _queue = lock(&shared.queue);
            for slot in shared.legs.values() {
                slot.work.notify_all();
            }
        }
        {
            let _held = lock(&shared.housekeeping.0);
            shared.housekeeping.1.notify_all();
        }
        for waiter in lock(&shared.waiters).values() {
            waiter.give_up();
        }
        for thread in self.threads.drain(..) {
            // A panic was told when it happened; there is nothing to hand on.
            let _ = thread.join();
        }
        for slot in shared.legs.values() {
            slot.setting.leg.close_idle();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.stop();
        }
    }
}

impl Shared {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A number to spread waits with.
    fn seed(&self) -> u64 {
        let count = self.seeds.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        count ^ (count >> 29)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn tell(&self, event: &Event) {
        self.counters.count(event);
        self.observer.event(event);
    }

    /// Notes transitions; false when the disk does not take them. They are not lost then: the
    /// spool writes them when it can.
    fn record(&self, transitions: &[Transition]) -> bool {
        self.unsynced.store(true, Ordering::Release);
        match self.spool.record(transitions) {
            Ok(()) => true,
            Err(error) => {
                self.tell(&Event::SpoolTrouble { error });
                false
            }
        }
    }

    /// Wakes the workers of all legs that a message is for.
    fn wake(&self, queue: &Queue, id: SpoolId) {
        if let Some(progress) = queue.progress(id) {
            for share in progress.shares() {
                self.wake_leg(&share.leg);
            }
        }
    }

    fn wake_leg(&self, leg: &LegName) {
        if let Some(slot) = self.legs.get(leg) {
            slot.work.notify_one();
        }
    }

    /// A message, from where it is at hand.
    fn load(&self, id: SpoolId) -> Result<Arc<Stored>, SpoolError> {
        if let Some(stored) = lock(&self.fresh).messages.get(&id) {
            return Ok(Arc::clone(stored));
        }
        self.spool.load(id).map(Arc::new)
    }

    /// Draws the consequences of what happened to a message.
    ///
    /// One at a time does so for each message: a report takes a while to be kept, and whoever
    /// looked meanwhile would report again.
    fn settle(&self, id: SpoolId) {
        match lock(&self.settling).entry(id) {
            Entry::Occupied(mut again) => {
                again.insert(true);
                return;
            }
            Entry::Vacant(free) => {
                free.insert(false);
            }
        }
        loop {
            self.settle_once(id);
            let mut settling = lock(&self.settling);
            match settling.get_mut(&id) {
                Some(again) if *again => *again = false,
                _ => {
                    settling.remove(&id);
                    return;
                }
            }
        }
    }

    fn settle_once(&self, id: SpoolId) {
        let settled = lock(&self.queue).settle(id);
        if !settled.report.is_empty() {
            self.report(id, &settled.report);
        }
        if !settled.success.is_empty() {
            self.report_success(id, &settled.success);
        }
        let waiter = lock(&self.waiters).get(&id).cloned();
        let done = {
            let mut queue = lock(&self.queue);
            // What has become of it can be told only while it is there.
            if let Some(waiter) = waiter {
                waiter.look(&queue, id);
            }
            let settled = queue.settle(id);
            let done = settled.done && settled.success.is_empty();
            if done {
                // Under the queue's lock, so that nobody resubmits it in between.
                let transition = queue.finish(id, self.now());
                self.record(&[transition]);
            }
            done
        };
        if done {
            lock(&self.fresh).remove(id);
            self.tell(&Event::Done { id });
        }
    }
}
