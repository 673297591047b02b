//! What a spool promises, held against a disk that stops, tears, fails and forgets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use mail_dual::testing::{Fault, MemoryDisk};
use mail_dual::{
    BouncePolicy, DirSpool, DiskFolder, Envelope, ForwardPath, Head, LegName, LogOptions, LogSpool,
    MemSpool, Queue, RawMessage, Recovered, RetryPolicy, ReversePath, Share, Spool, SpoolError,
    SpoolId, State, Stored, Timestamp, Transition, Vfs,
};

/// A sequence of numbers that looks random and is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

fn leg(name: &str) -> LegName {
    name.parse().unwrap()
}

fn message(number: u32) -> Stored {
    let id = SpoolId::new(Timestamp::from_millis(1_000_000 + u64::from(number)), 0);
    let envelope = Envelope::new(
        ReversePath::new("ann@example.org").unwrap(),
        [ForwardPath::new(format!("user{number}@example.net")).unwrap()],
    );
    let body = "x".repeat(1 + number as usize * 97 % 1500);
    let plan = ["uk", "us"].map(|name| Share { leg: leg(name), recipients: vec![0] });
    Stored {
        head: Head {
            id,
            accepted: id.time(),
            origin: None,
            envelope: envelope.unwrap(),
            plan: plan.to_vec(),
            reports_on: None,
        },
        message: RawMessage::new(format!("Subject: {number}\r\n\r\n{body}\r\n")).unwrap(),
    }
}

fn delivered(id: SpoolId, name: &str) -> Transition {
    Transition::Outcome {
        id,
        leg: leg(name),
        recipient: 0,
        state: State::Delivered,
        attempt: 0,
        at: id.time(),
        words: "250 2.0.0 ok".to_owned(),
    }
}

/// What a recovery found.
#[derive(Debug, Default)]
struct Found {
    heads: BTreeMap<SpoolId, Head>,
    transitions: Vec<Transition>,
    damaged: usize,
}

impl Found {
    fn is_void(&self, id: SpoolId) -> bool {
        self.transitions.contains(&Transition::Void { id })
    }
}

fn recover(spool: &dyn Spool) -> Result<Found, SpoolError> {
    let mut found = Found::default();
    let report = spool.recover(&mut |item| match item {
        Recovered::Message { head, .. } => {
            found.heads.insert(head.id, head.clone());
        }
        Recovered::Transition(transition) => found.transitions.push(transition.clone()),
        _ => unreachable!(),
    })?;
    found.damaged = report.damaged.len();
    Ok(found)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Log,
    Directory,
}

impl Kind {
    fn open(self, vfs: Arc<dyn Vfs>) -> Result<Box<dyn Spool>, SpoolError> {
        Ok(match self {
            // Small files, so that they are changed and removed often.
            Kind::Log => {
                Box::new(LogSpool::open(vfs, LogOptions { segment_bytes: 3000, salt: 42 })?)
            }
            Kind::Directory => Box::new(DirSpool::open(vfs, 42)?),
        })
    }
}

/// What was promised until the disk failed.
#[derive(Debug, Default)]
struct Promises {
    /// Messages that `append` returned for.
    acknowledged: BTreeMap<SpoolId, Stored>,
    /// Messages that were refused for sure.
    refused: BTreeSet<SpoolId>,
    /// Transitions that `record` returned for, and those of them that a later sync covers.
    recorded: Vec<Transition>,
    durable: usize,
    /// Messages that a compaction was allowed to forget.
    disposable: BTreeSet<SpoolId>,
}

/// Uses a spool as an engine would, until it is through or the disk has stopped.
fn use_it(kind: Kind, spool: &dyn Spool, disk: &MemoryDisk, promises: &mut Promises) {
    let mut number = 0;
    let rounds = if kind == Kind::Log { 10u32 } else { 5 };
    for round in 0..rounds {
        let batch: Vec<Stored> = (0..round % 3 + 1).map(|at| message(number + at)).collect();
        number += batch.len() as u32;
        let recorded = promises.recorded.len();
        match spool.append(&batch) {
            Ok(()) => {
                promises.durable = recorded;
                let kept = batch.iter().map(|stored| (stored.head.id, stored.clone()));
                promises.acknowledged.extend(kept);
            }
            Err(_) if disk.has_stopped() => return,
            Err(_) => promises.refused.extend(batch.iter().map(|stored| stored.head.id)),
        }
        let known: Vec<SpoolId> = promises.acknowledged.keys().copied().collect();
        for (at, &id) in known.iter().enumerate() {
            // The first is done soon, every third is never.
            if at % 3 == 2 || promises.disposable.contains(&id) {
                continue;
            }
            let step = [
                delivered(id, "uk"),
                delivered(id, "us"),
                Transition::Done { id, at: Timestamp::from_millis(5_000) },
            ];
            for transition in step {
                match spool.record(std::slice::from_ref(&transition)) {
                    Ok(()) => promises.recorded.push(transition),
                    Err(_) if disk.has_stopped() => return,
                    Err(_) => {}
                }
            }
            promises.disposable.insert(id);
        }
        if round == 2 {
            let recorded = promises.recorded.len();
            match spool.sync() {
                Ok(()) => promises.durable = recorded,
                Err(_) if disk.has_stopped() => return,
                Err(_) => {}
            }
        }
        if round % 2 == 1 {
            let restate = |_| Ok(());
            if spool.compact(Timestamp::from_millis(10_000), &restate).is_err()
                && disk.has_stopped()
            {
                return;
            }
        }
    }
}

fn check(kind: Kind, disk: &MemoryDisk, promises: &Promises, killed_only: bool, what: &str) {
    let spool = kind.open(Arc::new(disk.clone())).unwrap();
    let found = recover(&*spool).unwrap_or_else(|error| panic!("{what}: {error}"));
    for (id, stored) in &promises.acknowledged {
        if promises.disposable.contains(id) && !found.heads.contains_key(id) {
            continue;
        }
        assert!(!found.is_void(*id), "{what}: {id} is void");
        assert_eq!(found.heads.get(id), Some(&stored.head), "{what}: {id} is gone");
        assert_eq!(&spool.load(*id).unwrap(), stored, "{what}");
    }
    for id in &promises.refused {
        let back = found.heads.contains_key(id) && !found.is_void(*id);
        assert!(!back || !killed_only, "{what}: {id} was refused and came back");
    }
    let held = if killed_only { promises.recorded.len() } else { promises.durable };
    for transition in &promises.recorded[..held] {
        let id = transition.id();
        assert!(
            found.transitions.contains(transition) || !found.heads.contains_key(&id),
            "{what}: {transition:?} is gone"
        );
    }
    // It can be used again.
    let more = message(5000);
    spool.append(std::slice::from_ref(&more)).unwrap();
    assert_eq!(spool.load(more.head.id).unwrap(), more, "{what}");
    drop(spool);
    let again = kind.open(Arc::new(disk.after_kill())).unwrap();
    let found = recover(&*again).unwrap();
    assert!(found.heads.contains_key(&more.head.id), "{what}");
}

fn every_call(kind: Kind) {
    let calls = {
        let disk = MemoryDisk::new();
        let spool = kind.open(Arc::new(disk.clone())).unwrap();
        recover(&*spool).unwrap();
        let mut promises = Promises::default();
        use_it(kind, &*spool, &disk, &mut promises);
        assert!(promises.refused.is_empty());
        let removed = promises.acknowledged.keys().filter(|id| spool.load(**id).is_err()).count();
        assert!(removed > 1, "{removed}");
        disk.calls()
    };
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    for call in 0..calls {
        let faults = [Fault::Stop, Fault::Torn, Fault::Error(5), Fault::Error(28)];
        for fault in faults {
            let disk = MemoryDisk::new();
            disk.fail_at(call, fault);
            let mut promises = Promises::default();
            let Ok(spool) = kind.open(Arc::new(disk.clone())) else { continue };
            if recover(&*spool).is_err() {
                continue;
            }
            use_it(kind, &*spool, &disk, &mut promises);
            let what = format!("{kind:?}, call {call}, {fault:?}");
            check(kind, &disk.after_kill(), &promises, true, &what);
            for _ in 0..3 {
                let cut = disk.after_power_cut(&mut || numbers.next());
                check(kind, &cut, &promises, false, &what);
            }
            // All that was not synced is gone, and all of it is there.
            check(kind, &disk.after_power_cut(&mut || 0), &promises, false, &what);
            check(kind, &disk.after_power_cut(&mut || 1), &promises, false, &what);
        }
    }
}

#[test]
fn i8_a_log_keeps_its_promises_whatever_call_is_the_last() {
    every_call(Kind::Log);
}

#[test]
fn i8_a_directory_keeps_its_promises_whatever_call_is_the_last() {
    every_call(Kind::Directory);
}

#[test]
fn a_sync_that_failed_is_not_believed_when_asked_again() {
    let disk = MemoryDisk::new();
    let spool = LogSpool::open(Arc::new(disk.clone()), LogOptions::new(1)).unwrap();
    recover(&spool).unwrap();
    let (first, second) = (message(1), message(2));
    spool.append(std::slice::from_ref(&first)).unwrap();
    spool.record(&[delivered(first.head.id, "uk")]).unwrap();
    // Writing, then syncing.
    disk.fail_at(disk.calls() + 1, Fault::Error(5));
    assert!(spool.append(std::slice::from_ref(&second)).is_err());
    let third = message(3);
    spool.append(std::slice::from_ref(&third)).unwrap();
    let after = disk.after_power_cut(&mut || 0);
    let spool = LogSpool::open(Arc::new(after), LogOptions::new(1)).unwrap();
    let found = recover(&spool).unwrap();
    assert!(found.heads.contains_key(&first.head.id));
    assert!(found.heads.contains_key(&third.head.id));
    assert!(found.transitions.contains(&delivered(first.head.id, "uk")));
    assert!(found.is_void(second.head.id));
}

#[test]
fn s5_a_full_disk_is_told_and_nothing_is_half_there() {
    let disk = MemoryDisk::new();
    let spool = LogSpool::open(Arc::new(disk.clone()), LogOptions::new(1)).unwrap();
    recover(&spool).unwrap();
    spool.append(&[message(1)]).unwrap();
    disk.set_room(Some(300));
    let error = spool.append(&[message(11)]).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(
        error.to_string(),
        "cannot write to segment-0000000001 in the spool: no space left on the file system; free some"
    );
    disk.set_room(None);
    spool.append(&[message(3)]).unwrap();
    let spool = LogSpool::open(Arc::new(disk.after_kill()), LogOptions::new(1)).unwrap();
    let found = recover(&spool).unwrap();
    assert_eq!((found.heads.len(), found.damaged), (2, 0));
}

#[test]
fn damage_before_whole_frames_is_kept_aside_and_told() {
    let scratch = tempfile::tempdir().unwrap();
    let open = || {
        let folder = DiskFolder::open_or_create(scratch.path()).unwrap();
        LogSpool::open(Arc::new(folder), LogOptions::new(9)).unwrap()
    };
    let spool = open();
    recover(&spool).unwrap();
    spool.append(&[message(1)]).unwrap();
    spool.append(&[message(2)]).unwrap();
    spool.append(&[message(3)]).unwrap();
    drop(spool);
    let path = scratch.path().join("segment-0000000001");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(10).position(|window| window == b"Subject: 2").unwrap();
    bytes[at] ^= 0x20;
    fs::write(&path, &bytes).unwrap();
    let spool = open();
    let mut seen = Vec::new();
    let report = spool
        .recover(&mut |item| {
            if let Recovered::Message { head, .. } = item {
                seen.push(head.id);
            }
        })
        .unwrap();
    assert_eq!(seen, [message(1).head.id, message(3).head.id]);
    let [damage] = report.damaged.as_slice() else { panic!("{report:?}") };
    let kept = fs::read(scratch.path().join(damage.kept_in.as_ref().unwrap())).unwrap();
    assert!(kept.windows(10).any(|window| window == b"subject: 2"), "{damage}");
    assert_eq!(spool.load(message(3).head.id).unwrap(), message(3));
}

#[test]
fn a_message_cannot_pretend_to_be_frames_of_ours() {
    let disk = MemoryDisk::new();
    let salt = 77;
    let spool = LogSpool::open(Arc::new(disk.clone()), LogOptions::new(salt)).unwrap();
    recover(&spool).unwrap();
    spool.append(&[message(1)]).unwrap();
    // The frames of another spool, as anybody can make them, sent as a message.
    let other = MemoryDisk::new();
    let forger = LogSpool::open(Arc::new(other.clone()), LogOptions::new(1)).unwrap();
    recover(&forger).unwrap();
    forger.append(&[message(1)]).unwrap();
    let done = Transition::Done { id: message(1).head.id, at: Timestamp::from_millis(1) };
    forger.record(std::slice::from_ref(&done)).unwrap();
    let mut frames = vec![0; 4096];
    let file = other.open("segment-0000000001").unwrap();
    let length = file.read_at(&mut frames, 0).unwrap();
    frames.truncate(length);
    // NUL, CR and LF cannot be in a message; none of them is in what counts here.
    let body: Vec<u8> = frames.into_iter().filter(|byte| !b"\0\r\n".contains(byte)).collect();
    let evil = Stored { message: RawMessage::new(body).unwrap(), ..message(2) };
    spool.append(std::slice::from_ref(&evil)).unwrap();
    spool.append(&[message(3)]).unwrap();
    // The frame that holds it is damaged: what follows is searched for the next whole one.
    let file = disk.open("segment-0000000001").unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let at = bytes.windows(5).position(|window| window == b"user2").unwrap();
    file.write_at(b"U", at as u64).unwrap();
    let spool = LogSpool::open(Arc::new(disk.after_kill()), LogOptions::new(salt)).unwrap();
    let found = recover(&spool).unwrap();
    assert_eq!(found.damaged, 1);
    assert!(!found.transitions.contains(&done));
    assert_eq!(found.heads.len(), 2);
}

#[test]
fn a_second_process_is_kept_out() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = || Arc::new(DiskFolder::open_or_create(scratch.path()).unwrap());
    let _first = LogSpool::open(folder(), LogOptions::new(1)).unwrap();
    let error = LogSpool::open(folder(), LogOptions::new(1)).unwrap_err();
    assert!(matches!(error, SpoolError::Busy));
    assert!(error.to_string().contains("in use by another process"));
}

#[test]
fn a_later_version_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = || Arc::new(DiskFolder::open_or_create(scratch.path()).unwrap());
    let mut bytes = b"mail-dual spool\n".to_vec();
    bytes.extend_from_slice(&9u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    fs::write(scratch.path().join("segment-0000000001"), bytes).unwrap();
    let spool = LogSpool::open(folder(), LogOptions::new(1)).unwrap();
    let error = recover(&spool).unwrap_err();
    assert!(error.to_string().contains("has version 9"), "{error}");
}

/// What version 1 wrote, this one reads. `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_golden_spool_is_read() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let scratch = tempfile::tempdir().unwrap();
    let id = message(1).head.id;
    let transitions = [
        Transition::Intent { id, leg: leg("uk"), recipients: vec![0], attempt: 0 },
        delivered(id, "uk"),
        Transition::Held { id },
        Transition::Released { id },
        Transition::Resubmitted { id, legs: vec![leg("us")] },
        Transition::Done { id, at: Timestamp::from_millis(1_795_392_000_000) },
        Transition::Void { id: message(2).head.id },
    ];
    let spool = {
        let folder = DiskFolder::open_or_create(scratch.path()).unwrap();
        LogSpool::open(Arc::new(folder), LogOptions::new(1)).unwrap()
    };
    recover(&spool).unwrap();
    spool.append(&[message(1), message(2)]).unwrap();
    spool.record(&transitions).unwrap();
    drop(spool);
    let written = fs::read(scratch.path().join("segment-0000000001")).unwrap();
    let golden = data.join("spool-version-1");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(&data).unwrap();
        fs::write(&golden, &written).unwrap();
    }
    assert!(fs::read(&golden).unwrap() == written, "a spool is written in another way than it was");
    let spool = {
        let folder = DiskFolder::open_or_create(scratch.path()).unwrap();
        LogSpool::open(Arc::new(folder), LogOptions::new(1)).unwrap()
    };
    let found = recover(&spool).unwrap();
    assert_eq!(found.transitions, transitions);
    assert_eq!(found.heads[&id], message(1).head);
    assert_eq!(spool.load(id).unwrap(), message(1));
}

#[test]
fn what_is_done_stays_for_as_long_as_it_is_to_be_kept() {
    let disk = MemoryDisk::new();
    let options = LogOptions { segment_bytes: 4000, salt: 3 };
    let log = LogSpool::open(Arc::new(disk), options).unwrap();
    let directory = DirSpool::open(Arc::new(MemoryDisk::new()), 3).unwrap();
    let memory = MemSpool::new();
    for spool in [&log as &dyn Spool, &directory, &memory] {
        recover(spool).unwrap();
        let at = |number: u32| Timestamp::from_millis(10_000_000 + u64::from(number) * 1000);
        for number in 0..40 {
            let stored = message(number);
            let id = stored.head.id;
            spool.append(&[stored]).unwrap();
            if number != 5 {
                spool.record(&[Transition::Done { id, at: at(number) }]).unwrap();
            }
        }
        let recorded = std::cell::RefCell::new(Vec::new());
        let restate = |id| {
            recorded.borrow_mut().push(id);
            Ok(())
        };
        let nothing = spool.compact(at(0), &restate).unwrap();
        assert_eq!(nothing.removed, 0);
        spool.compact(at(30), &restate).unwrap();
        assert!(spool.load(message(0).head.id).is_err());
        for number in [5, 30, 39] {
            assert_eq!(spool.load(message(number).head.id).unwrap(), message(number));
        }
        assert!(recorded.into_inner().iter().all(|&id| id == message(5).head.id));
        let kept = spool.kept();
        assert!(kept.contains(&(message(39).head.id, at(39))) && kept.len() < 25, "{}", kept.len());
    }
}

/// What an engine would still have to do after a restart.
fn queue_of(spool: &dyn Spool) -> Queue {
    let policy = RetryPolicy::default();
    let mut queue = Queue::new(policy, BouncePolicy::default(), [leg("uk"), leg("us")]);
    spool
        .recover(&mut |item| match item {
            Recovered::Message { head, size } => queue.insert(head, size),
            Recovered::Transition(transition) => queue.apply(transition),
            _ => unreachable!(),
        })
        .unwrap();
    queue
}

const LONG_AGO: Timestamp = Timestamp::from_millis(5_000);
const KEPT: Timestamp = Timestamp::from_millis(20_000);
const KEEP_SINCE: Timestamp = Timestamp::from_millis(10_000);

fn half_done(id: SpoolId, queue: &Queue) -> bool {
    queue.progress(id).is_some_and(|progress| {
        let state = |name| progress.share(&leg(name)).unwrap().state(0);
        state("uk") == Some(State::Delivered) && state("us") == Some(State::Pending)
    })
}

/// Of each four messages the first is done and kept, the second delivered by one leg, the others
/// needed by nobody.
fn four_kinds(spool: &dyn Spool) -> Vec<SpoolId> {
    let ids: Vec<SpoolId> = (0..16).map(|number| message(number).head.id).collect();
    for (number, &id) in ids.iter().enumerate() {
        spool.append(&[message(number as u32)]).unwrap();
        let done = |at| [delivered(id, "uk"), delivered(id, "us"), Transition::Done { id, at }];
        match number % 4 {
            0 => spool.record(&done(KEPT)).unwrap(),
            1 => spool.record(&[delivered(id, "uk")]).unwrap(),
            _ => spool.record(&done(LONG_AGO)).unwrap(),
        }
    }
    spool.sync().unwrap();
    ids
}

#[test]
fn i2_i8_a_compaction_that_is_cut_short_brings_nothing_back_to_life() {
    let options = LogOptions { segment_bytes: 3000, salt: 42 };
    let open = |disk: &MemoryDisk| LogSpool::open(Arc::new(disk.clone()), options).unwrap();
    let fresh = || {
        let disk = MemoryDisk::new();
        let spool = open(&disk);
        recover(&spool).unwrap();
        let ids = four_kinds(&spool);
        (disk, spool, ids)
    };
    let compact = |spool: &LogSpool, queue: &Queue| {
        let restate =
            |id| queue.progress(id).map_or(Ok(()), |progress| spool.record(&progress.snapshot(id)));
        spool.compact(KEEP_SINCE, &restate)
    };
    let (before, calls) = {
        let (disk, spool, _) = fresh();
        let queue = queue_of(&open(&disk.after_kill()));
        let before = disk.calls();
        let report = compact(&spool, &queue).unwrap();
        assert!(report.moved > 4, "{report:?}");
        (before, disk.calls())
    };
    let mut numbers = Numbers(0x8765_4321_9abc_def1);
    for call in before..calls {
        for fault in [Fault::Stop, Fault::Torn, Fault::Error(28)] {
            let (disk, spool, ids) = fresh();
            let queue = queue_of(&open(&disk.after_kill()));
            disk.fail_at(call, fault);
            let _ = compact(&spool, &queue);
            let found = [
                disk.after_kill(),
                disk.after_power_cut(&mut || numbers.next()),
                disk.after_power_cut(&mut || 0),
            ];
            for mut disk in found {
                // The next start, and those after compactions that go well.
                for round in 0..3 {
                    disk = disk.after_kill();
                    let spool = open(&disk);
                    let queue = queue_of(&spool);
                    for (number, &id) in ids.iter().enumerate() {
                        let what = format!("call {call}, {fault:?}, round {round}: {number}");
                        if number % 4 == 1 {
                            assert!(half_done(id, &queue), "{what}");
                        } else {
                            assert!(queue.progress(id).is_none(), "{what} is to be sent again");
                        }
                        if number % 4 < 2 {
                            let stored = spool.load(id).unwrap();
                            assert_eq!(stored, message(number as u32), "{what}");
                        }
                    }
                    compact(&spool, &queue).unwrap();
                }
            }
        }
    }
}

#[test]
fn i2_what_happens_to_a_message_while_it_is_moved_stands() {
    let disk = MemoryDisk::new();
    let options = LogOptions { segment_bytes: 9000, salt: 42 };
    let spool = LogSpool::open(Arc::new(disk.clone()), options).unwrap();
    recover(&spool).unwrap();
    let ids = four_kinds(&spool);
    let queue = queue_of(&LogSpool::open(Arc::new(disk.after_kill()), options).unwrap());
    let happened = std::cell::Cell::new(false);
    // While the second message is moved, the sixth is done and the fifth is to be sent once more.
    let restate = |id| {
        if id == ids[1] && !happened.replace(true) {
            spool.record(&[Transition::Done { id: ids[5], at: KEPT }])?;
            let legs = vec![leg("us")];
            spool.record(&[Transition::Resubmitted { id: ids[4], legs }])?;
        }
        match queue.progress(id) {
            Some(progress) if id != ids[5] => spool.record(&progress.snapshot(id)),
            _ => Ok(()),
        }
    };
    let report = spool.compact(KEEP_SINCE, &restate).unwrap();
    assert!(happened.get() && report.moved > 4, "{report:?}");
    let spool = LogSpool::open(Arc::new(disk.after_kill()), options).unwrap();
    let mut last = BTreeMap::new();
    let queue = {
        let policy = RetryPolicy::default();
        let mut queue = Queue::new(policy, BouncePolicy::default(), [leg("uk"), leg("us")]);
        spool
            .recover(&mut |item| match item {
                Recovered::Message { head, size } => queue.insert(head, size),
                Recovered::Transition(transition) => {
                    last.insert(transition.id(), transition.clone());
                    queue.apply(transition);
                }
                _ => unreachable!(),
            })
            .unwrap();
        queue
    };
    assert!(queue.progress(ids[5]).is_none(), "what was done would be sent again");
    let resubmitted = &last[&ids[4]];
    assert!(!matches!(resubmitted, Transition::Done { .. }), "what was resubmitted is forgotten");
    assert!(half_done(ids[1], &queue) && half_done(ids[9], &queue));
}

#[test]
fn the_end_of_a_file_that_others_follow_is_not_taken_for_a_torn_write() {
    let scratch = tempfile::tempdir().unwrap();
    let open = || {
        let folder = DiskFolder::open_or_create(scratch.path()).unwrap();
        LogSpool::open(Arc::new(folder), LogOptions { segment_bytes: 1500, salt: 9 }).unwrap()
    };
    let spool = open();
    recover(&spool).unwrap();
    for number in 0..4 {
        spool.append(&[message(number)]).unwrap();
    }
    drop(spool);
    let path = scratch.path().join("segment-0000000001");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 0x20;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        let report = open().recover(&mut |_| {}).unwrap();
        let [damage] = report.damaged.as_slice() else { panic!("{report:?}") };
        assert_eq!((damage.file.as_str(), report.torn), ("segment-0000000001", 0));
        let kept = fs::read(scratch.path().join(damage.kept_in.as_ref().unwrap())).unwrap();
        assert!(bytes.ends_with(&kept), "{damage}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
}

#[test]
fn a_file_whose_beginning_is_damaged_is_not_thrown_away() {
    let scratch = tempfile::tempdir().unwrap();
    let open = || {
        let folder = DiskFolder::open_or_create(scratch.path()).unwrap();
        LogSpool::open(Arc::new(folder), LogOptions::new(9)).unwrap()
    };
    let spool = open();
    recover(&spool).unwrap();
    spool.append(&[message(1)]).unwrap();
    drop(spool);
    let path = scratch.path().join("segment-0000000001");
    let mut bytes = fs::read(&path).unwrap();
    bytes[25] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let spool = open();
    let report = spool.recover(&mut |_| {}).unwrap();
    let [damage] = report.damaged.as_slice() else { panic!("{report:?}") };
    let kept = scratch.path().join(damage.kept_in.as_ref().unwrap());
    assert_eq!(fs::read(kept).unwrap(), bytes);
    spool.append(&[message(2)]).unwrap();
    assert_eq!(spool.load(message(2).head.id).unwrap(), message(2));
}

#[test]
fn s5_a_disk_that_stays_full_gathers_no_files() {
    let disk = MemoryDisk::new();
    let spool = LogSpool::open(Arc::new(disk.clone()), LogOptions::new(1)).unwrap();
    recover(&spool).unwrap();
    let first = message(1);
    spool.append(std::slice::from_ref(&first)).unwrap();
    disk.set_room(Some(0));
    for _ in 0..50 {
        assert!(spool.record(&[delivered(first.head.id, "uk")]).is_err());
        assert!(spool.append(&[message(2)]).is_err());
    }
    assert!(disk.names().unwrap().len() <= 2, "{:?}", disk.names().unwrap());
    disk.set_room(None);
    spool.append(&[message(3)]).unwrap();
    let spool = LogSpool::open(Arc::new(disk.after_kill()), LogOptions::new(1)).unwrap();
    let found = recover(&spool).unwrap();
    assert!(found.transitions.contains(&delivered(first.head.id, "uk")));
    assert_eq!((found.heads.len(), found.damaged), (2, 0));
}
