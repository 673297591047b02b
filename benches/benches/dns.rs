//! What reading, printing and comparing zones cost, each on an input that its name tells.
//!
//! Not here: the same work by named-compilezone and others, which is the `compare` program's.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use benches::workload::zone_text;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dns_failover::{Diff, KnownHosts, Name, Zone, ZoneReader, check};

criterion_group!(
    name = dns;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = large_zone, many_zones
);
criterion_main!(dns);

const SEED: u64 = 53;
const RECORDS: u64 = 300_000;

fn origin() -> Name {
    "example.".parse().unwrap()
}

/// 300,000 records.
fn large_zone(criterion: &mut Criterion) {
    let text = zone_text(SEED, RECORDS);
    let origin = origin();
    let mut group = criterion.benchmark_group("zone of 300,000 records");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter_with_large_drop(|| ZoneReader::new().origin(&origin).read(text.as_bytes()));
    });
    let zone = Zone::parse(&origin, &text).unwrap();
    let mut out = Vec::new();
    zone.write_text(&mut out);
    group.throughput(Throughput::Bytes(out.len() as u64));
    group.bench_function("print", |bencher| {
        bencher.iter(|| {
            out.clear();
            zone.write_text(black_box(&mut out));
        });
    });
    group.throughput(Throughput::Elements(RECORDS));
    group.bench_function("check", |bencher| {
        bencher.iter(|| check(black_box(&zone), &KnownHosts::new()));
    });
    group.bench_function("ZONEMD digest", |bencher| bencher.iter(|| zone.digest()));
    group.finish();
}

/// 100,000 zones of 10 records that did not change.
fn many_zones(criterion: &mut Criterion) {
    const ZONES: u64 = 100_000;
    let zone = |number: u64| {
        let origin: Name = format!("customer{number}.example.").parse().unwrap();
        let text = "@ 3600 SOA ns1.host.example. admin 2 14400 3600 604800 300\n\
            @ 86400 NS ns1.host.example.\n@ 86400 NS ns2.host.example.\n\
            @ 60 A 192.0.2.1\nwww 60 A 192.0.2.1\n@ 3600 MX 10 mail.uk.example.\n\
            @ 3600 MX 20 mail.us.example.\n@ 3600 TXT \"v=spf1 mx -all\"\n\
            uk 3600 A 192.0.2.1\nus 3600 A 198.51.100.1\n";
        Zone::parse(&origin, text).unwrap()
    };
    let old: Vec<Zone> = (0..ZONES).map(zone).collect();
    let new: Vec<Zone> = (0..ZONES).map(zone).collect();
    let mut group = criterion.benchmark_group("100,000 zones of 10 records");
    group.throughput(Throughput::Elements(ZONES));
    group.bench_function("plan, nothing changed", |bencher| {
        bencher.iter(|| {
            let both = old.iter().zip(&new);
            let diffs = both.map(|(old, new)| Diff::between(old, new).unwrap());
            assert_eq!(diffs.filter(|diff| !diff.is_empty()).count(), 0);
        });
    });
    group.finish();
}
