//! What one step of the decision costs, on a controller of two services, two sites and five observers.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use dns_failover::decision::{
    Event, Millis, Observer, Policy, PolicyConfig, Report, State, Timestamp,
};

criterion_group!(
    name = decision;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = steps
);
criterion_main!(decision);

const OBSERVERS: [&str; 5] = ["london", "newyork", "sydney", "tokyo", "zurich"];

fn policy() -> Policy {
    let mut config = PolicyConfig::example();
    for (id, domain) in [("tokyo", "asia"), ("sydney", "oceania")] {
        let (id, domain) = (id.parse().unwrap(), domain.parse().unwrap());
        config.observers.push(Observer { id, domain, site: None });
    }
    let mut other = config.services[0].clone();
    other.id = "web-us".parse().unwrap();
    other.sites.reverse();
    config.services.push(other);
    Policy::new(config).unwrap()
}

/// Reports of all observers for a minute; the UK is up or down as `uk` says of the second.
fn reports(from: i64, uk: impl Fn(i64) -> bool) -> Vec<(Event, Timestamp)> {
    let mut reports = Vec::new();
    for second in (from..from + 60).step_by(2) {
        let now = Timestamp::from_millis(second * 1000);
        for observer in OBSERVERS {
            let mut report = Report::new(observer.parse().unwrap(), now).controls(true);
            for service in ["web", "web-us"] {
                report = report.saw(service, "uk", uk(second)).unwrap();
                report = report.saw(service, "us", true).unwrap();
            }
            reports.push((Event::Observed(report), now));
        }
    }
    reports
}

fn run(policy: &Policy, mut state: State, events: &[(Event, Timestamp)]) -> State {
    for (event, now) in events {
        let (next, effects) = policy.step(state, event, *now);
        black_box(effects);
        state = next;
    }
    state
}

fn steps(criterion: &mut Criterion) {
    let policy = policy();
    let settled = run(&policy, policy.start(Timestamp::from_millis(0)), &reports(0, |_| true));
    let mut group = criterion.benchmark_group("decision");
    for (name, events) in [
        ("150 reports of four places, all well", reports(60, |_| true)),
        ("150 reports of four places, a site dies", reports(60, |second| second < 80)),
    ] {
        group.throughput(criterion::Throughput::Elements(events.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || settled.clone(),
                |state| run(&policy, state, &events),
                criterion::BatchSize::SmallInput,
            );
        });
    }
    let now = settled.clock() + Millis::new(500);
    group.throughput(criterion::Throughput::Elements(1));
    group.bench_function("tick", |bencher| {
        bencher.iter_batched(
            || settled.clone(),
            |state| policy.step(state, &Event::Tick, now),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();
}
