//! What the parts of `mail-dual` cost, each on an input that its name tells.
//!
//! Not here: sockets and disks, which are the `compare` program's.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use benches::workload::Rng;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mail_dual::RawMessage;
use mail_dual::proto::{DataReceiver, append_stuffed};

criterion_group!(
    name = mail;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = data, scan
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
