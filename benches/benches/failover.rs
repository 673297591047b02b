//! What deciding and rendering cost for many domains, each on an input that its name tells.
//!
//! Not here: the time until name servers serve it, which is the `compare` program's.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dns_failover::testing::draft;
use dns_failover::{
    Active, Current, Domain, Epoch, EpochRecord, Plan, PlanGuards, SiteId, Topology, ZoneTexts,
    render,
};

criterion_group!(
    name = failover;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = plans, zones
);
criterion_main!(failover);

/// From the decision to an approved plan.
fn plans(criterion: &mut Criterion) {
    let topology = Topology::new(draft(10_000)).unwrap();
    let (uk, us) = (Active::One(SiteId::Uk), Active::One(SiteId::Us));
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("failover of 10,000 zones", |bencher| {
        bencher.iter(|| {
            let moves = topology.domains().keys().map(|name| (name, Some(uk), us));
            let plan = Plan::failover(&topology, moves);
            black_box(plan.approve(&PlanGuards::default()).unwrap())
        });
    });
    let record = EpochRecord { epoch: Epoch::new(1, SiteId::Uk), active: uk };
    let served = |domain: &Domain| Current::Zone(Box::new(topology.zone(domain, record)));
    let domains = topology.domains().values();
    let current: BTreeMap<_, _> =
        domains.map(|domain| (domain.name.clone(), served(domain))).collect();
    group.bench_function("10,000 zones made and compared, nothing changed", |bencher| {
        bencher.iter(|| {
            let plan = Plan::everything(&topology, &current, &|_| None);
            assert!(plan.is_empty());
        });
    });
    group.finish();
}

/// From the topology to zones with their digests, and to everything that six servers read.
fn zones(criterion: &mut Criterion) {
    let topology = Topology::new(draft(1_000)).unwrap();
    let record = EpochRecord { epoch: Epoch::new(1, SiteId::Uk), active: Active::One(SiteId::Uk) };
    let mut group = criterion.benchmark_group("render");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("1,000 zones made and sealed", |bencher| {
        bencher.iter(|| {
            let domains = topology.domains().values();
            black_box(domains.map(|domain| topology.zone(domain, record)).collect::<Vec<_>>())
        });
    });
    group.bench_function("1,000 zones for six servers", |bencher| {
        bencher.iter(|| {
            let domains = topology.domains().values();
            let zones: Vec<_> = domains.map(|domain| topology.zone(domain, record)).collect();
            let texts = ZoneTexts::print(zones.iter().chain([&topology.catalog_zone(record)]));
            black_box((0..6).map(|index| render(&topology, index, &texts)).collect::<Vec<_>>())
        });
    });
    group.finish();
}
