//! What the parts of `mail-dual` cost, each on an input that its name tells.
//!
//! Not here: sockets, which are the `compare` program's. The spool's benches write to a folder of
//! the system's temporary one, and wait for its disk.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use benches::workload::Rng;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mail_dual::proto::{DataReceiver, append_stuffed};
use mail_dual::{
    BouncePolicy, DiskFolder, Envelope, ForwardPath, Head, LegName, LogOptions, LogSpool, Queue,
    RawMessage, RetryPolicy, ReversePath, Share, Spool, SpoolId, Stored, Timestamp,
};

criterion_group!(
    name = mail;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = data, scan, spool, queue
);
criterion_main!(mail);

const SEED: u64 = 7;

/// Lines of up to 78 bytes; one in `dots` begins with a dot.
fn message(size: usize, dots: u64) -> RawMessage {
    let mut rng = Rng::new(SEED);
    let mut bytes = b"Received: by x\r\nMessage-ID: <1@example.org>\r\nSubject: a\r\n\r\n".to_vec();
    while bytes.len() < size {
        if rng.below(dots) == 0 {
            bytes.push(b'.');
        }
        let length = rng.below(77);
        bytes.extend((0..length).map(|_| b'!' + rng.below(94) as u8));
        bytes.extend_from_slice(b"\r\n");
    }
    RawMessage::new(bytes).unwrap()
}

/// The end of data: dots doubled on the way out, and taken away on the way in.
fn data(criterion: &mut Criterion) {
    for (name, size, dots) in
        [("4 KiB", 4096, 50), ("1 MiB", 1 << 20, 50), ("1 MiB, a dot on every line", 1 << 20, 1)]
    {
        let message = message(size, dots);
        let mut wire = Vec::new();
        append_stuffed(&message, &mut wire);
        let mut group = criterion.benchmark_group(format!("data of {name}"));
        group.throughput(Throughput::Bytes(message.len() as u64));
        group.bench_function("stuff", |bencher| {
            let mut out = Vec::with_capacity(2 * size);
            bencher.iter(|| {
                out.clear();
                append_stuffed(black_box(&message), &mut out)
            });
        });
        group.bench_function("receive and check", |bencher| {
            bencher.iter_batched(
                || DataReceiver::new(1 << 30),
                |mut data| {
                    for piece in black_box(&wire).chunks(64 * 1024) {
                        data.receive(piece);
                    }
                    data.finish().unwrap()
                },
                BatchSize::LargeInput,
            );
        });
        group.finish();
    }
}

/// Checking bytes that came in a chunk, and what two copies are known by.
fn scan(criterion: &mut Criterion) {
    let message = message(1 << 20, 50);
    let mut group = criterion.benchmark_group("message of 1 MiB");
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("check", |bencher| {
        bencher.iter(|| RawMessage::new(black_box(message.as_bytes())).unwrap());
    });
    group.bench_function("key", |bencher| bencher.iter(|| black_box(&message).key()));
    group.finish();
}

fn legs() -> [LegName; 2] {
    ["uk", "us"].map(|name| name.parse().unwrap())
}

fn stored(number: u64, message: &RawMessage) -> Stored {
    let id = SpoolId::new(Timestamp::from_millis(1_795_392_000_000 + number / 4), number.into());
    let sender = ReversePath::new("ann@example.com").unwrap();
    let recipient = ForwardPath::new("bob@example.org").unwrap();
    let envelope = Envelope::new(sender, [recipient]).unwrap();
    let plan = legs().map(|leg| Share { leg, recipients: vec![0] }).to_vec();
    let accepted = id.time();
    let head = Head { id, accepted, origin: None, envelope, plan, reports_on: None };
    Stored { head, message: message.clone() }
}

fn open(folder: &tempfile::TempDir) -> LogSpool {
    let disk = DiskFolder::open_or_create(&folder.path().join("spool")).unwrap();
    LogSpool::open(Arc::new(disk), LogOptions::new(1)).unwrap()
}

/// 4 KiB messages: appended alone and 32 at a time, each with a sync; and 2,000 of them read back
/// by a recovery.
fn spool(c: &mut Criterion) {
    let text = message(4096, 50);
    let mut group = c.benchmark_group("spool");
    for batch in [1, 32] {
        let folder = tempfile::tempdir().unwrap();
        let spool = open(&folder);
        spool.recover(&mut |_| {}).unwrap();
        let mut number = 0;
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("append {batch} of 4 KiB and sync"), |b| {
            b.iter_batched(
                || {
                    number += batch;
                    (number..number + batch).map(|at| stored(at, &text)).collect::<Vec<_>>()
                },
                |batch| spool.append(&batch).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
    let folder = tempfile::tempdir().unwrap();
    let filled = open(&folder);
    filled.recover(&mut |_| {}).unwrap();
    let all: Vec<Stored> = (0..2000).map(|number| stored(number, &text)).collect();
    filled.append(&all).unwrap();
    drop(filled);
    group.throughput(Throughput::Bytes(2000 * text.len() as u64));
    group.bench_function("recover 2,000 of 4 KiB", |b| {
        b.iter(|| {
            let mut found = 0;
            let spool = open(&folder);
            spool.recover(&mut |_| found += 1).unwrap();
            assert_eq!(found, 2000);
        });
    });
    group.finish();
}

/// 10,000 messages into the queue and out of it, for two legs.
fn queue(c: &mut Criterion) {
    let text = message(100, 50);
    let heads: Vec<Head> = (0..10_000).map(|number| stored(number, &text).head).collect();
    let now = Timestamp::from_millis(1_795_392_000_000);
    let mut group = c.benchmark_group("queue");
    group.throughput(Throughput::Elements(heads.len() as u64));
    group.bench_function("10,000 in and out", |b| {
        b.iter(|| {
            let policy = RetryPolicy::default();
            let mut queue = Queue::new(policy, BouncePolicy::default(), legs());
            for head in &heads {
                queue.insert(head, 100);
                queue.enqueue(head.id);
            }
            for leg in legs() {
                while let Some(work) = queue.next(&leg, now) {
                    black_box(work);
                }
            }
        });
    });
    group.finish();
}
