//! What the parts of `mirror-core` cost, each on an input that its name tells.
//!
//! Inputs are functions of a seed or of nothing, are made when the first benchmark that needs them
//! runs, and are checked once to be what they are called. Trees on a disk are made below the
//! system's temporary folder and removed at the end of their group.
//!
//! Not here: whole runs against other programs, which are the `compare` program's.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::cell::LazyCell;
use std::fs::{self, Permissions};
use std::hint::black_box;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use benches::workload::{self, Made, Rng};
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use mirror_core::{
    ChunkSize, Chunker, Digest, Durability, Entry, Filter, Guards, Kind, LocalTree, Mirror, Name,
    Plan, Planned, Policy, RelPath, Report, Tree, reconcile,
};
use tempfile::TempDir;

const SEED: u64 = 1;
const MIB: usize = 1 << 20;

/// What no benchmark spends much more than, its warm-up and its input aside.
const MEASURED: Duration = Duration::from_secs(3);

criterion_group!(
    name = mirror;
    // Here and not in the groups, so that options on the command line win.
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(MEASURED);
    // Applying comes first: where a file system has just freed many inodes, as at the end of the
    // scans, it creates files many times more slowly.
    targets = apply, scan, reconciliation, plan, hashing, chunking
);
criterion_main!(mirror);

/// Carrying a plan out, without waiting for the disk.
fn apply(criterion: &mut Criterion) {
    const FILES: u64 = 2_000;
    let mut group = criterion.benchmark_group("apply");
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Elements(FILES));
    let pair = LazyCell::new(|| LevelPair::new(|root| workload::small_files(root, SEED, FILES)));

    // A planned run borrows its trees, so that a target which is new each time has to be opened
    // and planned for in the timed part. The copies stay until the end of the group, so that no
    // copy comes after a removal.
    let copies = LazyCell::new(|| tempfile::tempdir().unwrap());
    let mut copied = 0;
    group.bench_function(
        "first copy with its plan, 2,000 files of 1 to 4 KiB, not synced",
        |bencher| {
            let source = &pair.source;
            let folder = copies.path();
            let fresh = || {
                copied += 1;
                folder.join(copied.to_string())
            };
            let copy = |target: PathBuf| {
                let target = LocalTree::open_or_create(target).unwrap();
                let planned = Mirror::new(source, &target).durability(Durability::None).plan();
                let report = applied(planned.unwrap());
                assert_eq!(report.counts.created, pair.made.entries());
                report
            };
            bencher.iter_batched(fresh, copy, BatchSize::PerIteration);
        },
    );

    let files = LazyCell::new(|| files_in(pair.source.path()));
    let mut mode = 0o644;
    group.bench_function("metadata only, 2,000 files get another mode, not synced", |bencher| {
        let (pair, files) = (&*pair, &*files);
        let planned = || {
            mode ^= 0o044;
            for file in files {
                fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
            }
            pair.mirror().plan().unwrap()
        };
        let update = |planned| {
            let report = applied(planned);
            assert_eq!((report.counts.metadata_only, report.bytes_copied), (FILES, 0));
            report
        };
        bencher.iter_batched(planned, update, BatchSize::PerIteration);
    });
    group.finish();
}

/// Looking at both trees, and planning nothing because they are level.
fn scan(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(10_000));
    let small = LazyCell::new(|| LevelPair::new(|root| workload::small_files(root, SEED, 10_000)));
    group.bench_function(
        "no-op with state, 10,000 files of 1 to 4 KiB in 100 directories",
        |bencher| {
            let pair = &*small;
            bencher.iter(|| pair.mirror().state(&pair.state).plan().unwrap());
        },
    );
    group.bench_function(
        "no-op without state, 10,000 files of 1 to 4 KiB in 100 directories",
        |bencher| {
            let pair = &*small;
            bencher.iter(|| pair.mirror().plan().unwrap());
        },
    );
    let kernel = LazyCell::new(|| LevelPair::new(|root| workload::kernel_like(root, SEED, 10_000)));
    group.bench_function("no-op with state, a kernel-like tree of 10,000 files", |bencher| {
        let pair = &*kernel;
        bencher.iter(|| pair.mirror().state(&pair.state).plan().unwrap());
    });
    group.finish();
}

/// Deciding alone, over trees in memory.
fn reconciliation(criterion: &mut Criterion) {
    const FILES: u64 = 100_000;
    let named =
        |prefix: &'static str| move |number| format!("{prefix}-{:03}/{number}", number / 1_000);
    let level = move || many(FILES, named("d"), |number| file(number, "old"));

    let mut group = criterion.benchmark_group("reconcile");
    group.sampling_mode(SamplingMode::Flat);
    reconciled(
        &mut group,
        "unchanged, 100,000 files in 100 directories with a base",
        FILES,
        || Trees { base: Some(level()), a: level(), b: level() },
        Plan::is_empty,
    );
    reconciled(
        &mut group,
        "1 % edited, 100,000 files in 100 directories with a base",
        FILES,
        || {
            let edited = many(FILES, named("d"), |number| {
                let mut entry = file(number, if number % 100 == 7 { "new" } else { "old" });
                if number % 100 == 7 {
                    entry.meta.mtime.seconds += 1;
                    entry.identity.ctime.seconds += 1;
                }
                entry
            });
            Trees { base: Some(level()), a: edited, b: level() }
        },
        |plan| plan.summary().counts[1].updated == FILES / 100,
    );
    reconciled(
        &mut group,
        "one directory of 50,000 files renamed, with a base",
        FILES / 2,
        || {
            let under = |directory: &'static str| {
                let mut tree = Tree::default();
                tree.insert(path(directory), entry(Kind::Directory, 1));
                for number in 0..FILES / 2 {
                    let inside = path(&format!("{directory}/{number}"));
                    tree.insert(inside, file(number, &number.to_string()));
                }
                tree
            };
            Trees { base: Some(under("old")), a: under("new"), b: under("old") }
        },
        |plan| {
            let counts = plan.summary().counts[1];
            counts.moved == 1 && counts.created + counts.deleted == 0
        },
    );
    reconciled(
        &mut group,
        "100,000 identical files renamed, without a base",
        FILES,
        || {
            // Other inodes as well: nothing but their content tells what they were.
            let renamed = many(FILES, named("new"), |number| file(number + FILES, "same"));
            let old = many(FILES, named("old"), |number| file(number, "same"));
            Trees { base: None, a: renamed, b: old }
        },
        |plan| plan.summary().counts[1].moved == FILES && plan.summary().bytes_to_copy == 0,
    );
    group.finish();
}

/// A plan as text for programs and for people.
fn plan(criterion: &mut Criterion) {
    const STEPS: u64 = 10_000;
    let mut group = criterion.benchmark_group("plan");
    let plan = LazyCell::new(|| {
        let plan = mixed_steps();
        assert_eq!(plan.len(), STEPS);
        plan
    });
    let json = LazyCell::new(|| written(&plan));
    group.throughput(Throughput::Elements(STEPS));
    group.bench_function("write as JSON, 10,000 steps of five kinds", |bencher| {
        let plan = &*plan;
        bencher.iter_with_large_drop(|| written(plan));
    });
    group.bench_function("read from JSON, 10,000 steps of five kinds", |bencher| {
        let json = &**json;
        assert_eq!(Plan::read_json(json).unwrap().len(), STEPS);
        bencher.iter_with_large_drop(|| Plan::read_json(black_box(json)).unwrap());
    });
    group.bench_function("display, 10,000 steps of five kinds", |bencher| {
        let plan = &*plan;
        bencher.iter_with_large_drop(|| plan.to_string());
    });
    group.finish();
}

/// The digest of a content that lies in memory.
fn hashing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hashing");
    let content = LazyCell::new(|| random(16 * MIB));
    for (name, length) in [
        ("BLAKE3, 4 KiB of random bytes", 4 << 10),
        ("BLAKE3, 64 KiB of random bytes", 64 << 10),
        ("BLAKE3, 16 MiB of random bytes", 16 * MIB),
    ] {
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bencher| {
            let content = &content[..length];
            bencher.iter(|| Digest::of(black_box(content)));
        });
    }
    group.finish();
}

/// Cutting a content that lies in memory; each chunk's digest is part of it.
fn chunking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chunking");
    group.throughput(Throughput::Bytes(16 * MIB as u64));
    type Make = fn(usize) -> Vec<u8>;
    let contents: [(&str, Make); 2] = [
        ("16 MiB of random bytes", random),
        // No cut is ever found in them: all chunks have the greatest length.
        ("16 MiB of zeros", |length| vec![0; length]),
    ];
    for (name, make) in contents {
        let content = LazyCell::new(|| make(16 * MIB));
        group.bench_function(name, |bencher| {
            let content = content.as_slice();
            let size = ChunkSize::for_file(content.len() as u64);
            bencher.iter(|| {
                let chunks = Chunker::new(black_box(content), size);
                chunks.map(|chunk| u64::from(chunk.unwrap().length)).sum::<u64>()
            });
        });
    }
    group.finish();
}

/// Two trees on a disk that are level, and the state that remembers it.
struct LevelPair {
    source: LocalTree,
    target: LocalTree,
    state: PathBuf,
    made: Made,
    /// Holds all of it; removed with this.
    _folder: TempDir,
}

impl LevelPair {
    fn new(make: impl FnOnce(&Path) -> Result<Made, benches::Error>) -> LevelPair {
        let folder = tempfile::tempdir().unwrap();
        let [source, target, state] =
            ["source", "target", "state"].map(|name| folder.path().join(name));
        let made = make(&source).unwrap();
        let source = LocalTree::open(source).unwrap();
        let target = LocalTree::open_or_create(target).unwrap();
        let pair = LevelPair { source, target, state, made, _folder: folder };
        pair.settle();
        pair
    }

    /// Runs until a run finds nothing to do, to read or to learn, as a daily run would find it:
    /// what was written within a tick of the clock before it was looked at is not trusted.
    fn settle(&self) {
        for _ in 0..5 {
            let planned = self.mirror().state(&self.state).plan().unwrap();
            let is_settled =
                planned.plan().is_empty() && planned.plan().summary().bytes_matched == 0;
            let _ = applied(planned);
            if is_settled {
                return;
            }
        }
        panic!("two trees do not become level");
    }

    fn mirror(&self) -> Mirror<'_> {
        Mirror::new(&self.source, &self.target).durability(Durability::None)
    }
}

fn applied(planned: Planned<'_>) -> Report {
    let report = planned.approve(&Guards::default()).unwrap().apply().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    report
}

/// All regular files below `directory`.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.append(&mut files_in(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

/// What is to be reconciled by [`Policy::mirror`].
struct Trees {
    base: Option<Tree>,
    a: Tree,
    b: Tree,
}

impl Trees {
    fn plan(&self) -> Plan {
        let Trees { base, a, b } = self;
        reconcile(base.as_ref(), a, b, &Policy::mirror(), &Filter::default()).unwrap()
    }
}

/// Times planning for `files` files, and holds the plan to what is `expected` of it.
fn reconciled(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    files: u64,
    make: impl Fn() -> Trees,
    expected: impl Fn(&Plan) -> bool,
) {
    let trees = LazyCell::new(|| {
        let trees = make();
        assert!(expected(&trees.plan()), "{name}: {:?}", trees.plan().summary());
        trees
    });
    group.throughput(Throughput::Elements(files));
    group.bench_function(name, |bencher| {
        let trees = &*trees;
        bencher.iter_with_large_drop(|| trees.plan());
    });
}

/// A plan whose steps copy, update, move, delete and set metadata, as many of each, and settle
/// the hundred directories that these are in.
fn mixed_steps() -> Plan {
    let (mut a, mut b) = (Tree::default(), Tree::default());
    for number in 0..1_980 {
        let at = |name: &str| path(&format!("d{:02}/{name}-{number}", number % 100));
        // Sizes and times of their own: files that have these in common are tried as moves of one
        // another, each but once.
        let unlike = |what: &str| {
            let mut entry = file(number, &format!("{what} {number}"));
            entry.meta.mtime.seconds = number as i64;
            entry
        };
        a.insert(at("copied"), unlike("copied"));
        a.insert(at("updated"), unlike("new"));
        b.insert(at("updated"), unlike("gone"));
        a.insert(at("moved"), unlike("moved"));
        b.insert(at("to-move"), unlike("moved"));
        b.insert(at("deleted"), unlike("deleted for good"));
        let mut private = unlike("private");
        b.insert(at("private"), private.clone());
        private.meta.mode = 0o600;
        a.insert(at("private"), private);
    }
    let plan = Trees { base: None, a, b }.plan();
    let counts = plan.summary().counts[1];
    let all = [counts.created, counts.updated, counts.moved, counts.deleted, counts.metadata_only];
    assert_eq!(all, [1_980; 5]);
    plan
}

fn written(plan: &Plan) -> Vec<u8> {
    let mut json = Vec::new();
    plan.write_json(&mut json).unwrap();
    json
}

/// `count` files where `name` and as `file` says.
fn many(count: u64, name: impl Fn(u64) -> String, file: impl Fn(u64) -> Entry) -> Tree {
    let mut tree = Tree::default();
    for number in 0..count {
        tree.insert(path(&name(number)), file(number));
    }
    tree
}

/// A file with an inode of its own for each `number`.
fn file(number: u64, content: &str) -> Entry {
    let mut entry = entry(Kind::File { size: content.len() as u64 }, 2_000_000 + number);
    entry.digest = Some(Digest::of(content.as_bytes()));
    entry
}

/// An entry whose name comes from where it is put.
fn entry(kind: Kind, inode: u64) -> Entry {
    Tree::entry(Name::new(b"any").unwrap(), kind, inode)
}

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

/// Bytes that do not compress, the same every time.
fn random(length: usize) -> Vec<u8> {
    let mut rng = Rng::new(SEED);
    std::iter::repeat_with(|| rng.bits().to_le_bytes()).flatten().take(length).collect()
}
