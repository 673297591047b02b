//! What the parts of `keygen-helper` cost, each on an input that its name tells.
//!
//! Not here: the same work by ssh-keygen, which is the `compare` program's.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use benches::scenario::keys::{authorized_keys, grants, merged};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keygen_helper::{
    AuthorizedKeys, Curve, KeyKind, KeyPair, Lock, Passphrase, PrivateKeyFile, SystemRandomness,
};

criterion_group!(
    name = keys;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = generate, container, lines
);
criterion_main!(keys);

/// Making a key and the texts of both files. RSA is not here: one takes seconds, and no two take
/// the same time.
fn generate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("generate");
    for kind in [KeyKind::Ed25519, KeyKind::Ecdsa(Curve::P256), KeyKind::Ecdsa(Curve::P521)] {
        group.bench_function(format!("{kind}, both texts"), |bencher| {
            bencher.iter(|| {
                let mut randomness = SystemRandomness;
                let key = KeyPair::generate(kind, "a comment", &mut randomness).unwrap();
                black_box((key.to_openssh(None, &mut randomness).unwrap(), key.public_line()))
            });
        });
    }
    group.finish();
}

/// Reading a private key, and unlocking one with the default number of rounds.
fn container(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("container");
    let mut randomness = SystemRandomness;
    let key = KeyPair::generate(KeyKind::Ed25519, "a comment", &mut randomness).unwrap();
    let plain = key.to_openssh(None, &mut randomness).unwrap();
    group.bench_function("read ed25519", |bencher| {
        bencher.iter(|| PrivateKeyFile::parse(&plain).unwrap().unlock(None).unwrap());
    });
    let passphrase = Passphrase::new(b"correct horse".to_vec()).unwrap();
    let lock = Lock::new(passphrase.clone());
    let locked = key.to_openssh(Some(&lock), &mut randomness).unwrap();
    group.bench_function("unlock ed25519, 24 rounds", |bencher| {
        bencher.iter(|| PrivateKeyFile::parse(&locked).unwrap().unlock(Some(&passphrase)).unwrap());
    });
    group.finish();
}

/// authorized_keys of 10,000 lines.
fn lines(criterion: &mut Criterion) {
    const LINES: u64 = 10_000;
    let content = authorized_keys(LINES);
    let grants = grants();
    let mut group = criterion.benchmark_group("authorized_keys");
    group.throughput(Throughput::Elements(LINES));
    group.bench_function("parse 10,000 lines", |bencher| {
        bencher.iter(|| AuthorizedKeys::parse(content.clone()).unwrap().usable());
    });
    group.bench_function("parse, merge 100 keys, print 10,000 lines", |bencher| {
        bencher.iter(|| merged(&content, &grants).unwrap());
    });
    group.finish();
}
