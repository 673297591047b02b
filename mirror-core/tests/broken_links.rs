//! The connection is cut or damaged at places all along it, or stalls: a clear error in time, a target of
//! which every path is whole, and a next run that brings everything level.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::broken::{self, Mishap};
use common::disk::{Ground, Standing, assert_level, noise, snapshot};
use common::link::Agent;
use mirror_core::{
    AgentConfig, DeleteLimit, Durability, Error, Guards, LinkError, LocalTree, Mirror, Patience,
    RemoteOptions, RemoteTree, Report,
};

/// Who is behind the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Push,
    Pull,
}

/// Who hears what was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearer {
    Caller,
    Agent,
}

const WAYS: [Way; 2] = [Way::Push, Way::Pull];
const HEARERS: [Hearer; 2] = [Hearer::Caller, Hearer::Agent];

/// A source, and a target that has an older state of it.
struct Scene {
    ground: Ground,
    old: BTreeMap<PathBuf, Standing>,
    new: BTreeMap<PathBuf, Standing>,
}

impl Scene {
    fn new() -> Scene {
        let ground = Ground::new();
        ground.write("src/same", "same");
        ground.write("src/changed", "the new content");
        ground.write("src/new/file", noise(20_000, 3));
        ground.write("src/a/moved", "moved to here");
        ground.write("src/kind", "now a file");
        let scene = Scene { ground, old: BTreeMap::new(), new: BTreeMap::new() };
        scene.lay();
        let (old, new) = (snapshot(&scene.ground.path("dst")), snapshot(&scene.ground.path("src")));
        Scene { old, new, ..scene }
    }

    /// Makes the target what it was.
    fn lay(&self) {
        let _ = fs::remove_dir_all(self.ground.path("dst"));
        self.ground.write("dst/same", "same");
        self.ground.write("dst/changed", "the old content");
        self.ground.write("dst/gone/file", "goes");
        self.ground.write("dst/kind/folder", "was a folder");
    }

    fn run(
        &self,
        way: Way,
        [caller_hears, agent_hears]: [Option<Mishap>; 2],
        patience: Patience,
    ) -> Result<(Report, [u64; 2]), Error> {
        let (ours, theirs) = broken::pair(caller_hears, agent_hears);
        let there = if way == Way::Push { "dst" } else { "src" };
        let config = AgentConfig::new(self.ground.path(there)).patience(patience);
        let agent = Agent::start(theirs, config);
        let ran = (|| {
            let options = RemoteOptions::default().patience(patience);
            let remote = RemoteTree::connect(ours, "host", &options)?;
            let local =
                LocalTree::open(self.ground.path(if way == Way::Push { "src" } else { "dst" }))?;
            let mirror = match way {
                Way::Push => Mirror::new(&local, &remote),
                Way::Pull => Mirror::new(&remote, &local),
            };
            let guards = Guards { max_delete: DeleteLimit::Percent(100), ..Guards::default() };
            let report =
                mirror.durability(Durability::None).threads(2).plan()?.approve(&guards)?.apply()?;
            let traffic = remote.traffic();
            Ok((report, [traffic.received(), traffic.sent()]))
        })();
        // Whatever happened, the agent comes to an end by itself.
        let ended = agent.ended();
        assert!(ran.is_err() || caller_hears.is_some() || ended.is_ok() || agent_hears.is_some());
        ran
    }

    /// Every path is what it was or what it is to be.
    fn assert_whole(&self, what: &str) {
        for (path, standing) in snapshot(&self.ground.path("dst")) {
            let same = |other: Option<&Standing>| {
                other.is_some_and(|other| {
                    (other.kind(), &other.content) == (standing.kind(), &standing.content)
                })
            };
            let ours = path.as_os_str().to_string_lossy().contains(".mirror-tmp-");
            assert!(
                same(self.old.get(&path)) || same(self.new.get(&path)) || ours,
                "{what}: {path:?} is neither old nor new"
            );
        }
        for path in self.old.keys().filter(|path| self.new.contains_key(*path)) {
            assert!(self.ground.path("dst").join(path).exists(), "{what}: {path:?} is missing");
        }
    }

    fn assert_recovers(&self, what: &str) {
        let (source, target) = (self.ground.tree("src"), self.ground.tree("dst"));
        let guards = Guards { max_delete: DeleteLimit::Percent(100), ..Guards::default() };
        let mirror = Mirror::new(&source, &target).durability(Durability::None);
        let report = mirror.plan().unwrap().approve(&guards).unwrap().apply().unwrap();
        assert!(report.is_clean(), "{what}: {:?}", report.problems);
        assert_level(&self.ground.path("src"), &self.ground.path("dst"));
    }
}

fn mishaps(hearer: Hearer, mishap: Mishap) -> [Option<Mishap>; 2] {
    match hearer {
        Hearer::Caller => [Some(mishap), None],
        Hearer::Agent => [None, Some(mishap)],
    }
}

/// Lets `mishap` happen after as many bytes as a run takes, less each multiple of `step`.
fn everywhere(step: u64, mishap: fn(u64) -> Mishap) {
    thread::scope(|scope| {
        for way in WAYS {
            for hearer in HEARERS {
                scope.spawn(move || {
                    let scene = Scene::new();
                    let (_, bytes) = scene.run(way, [None, None], Patience::default()).unwrap();
                    assert_level(&scene.ground.path("src"), &scene.ground.path("dst"));
                    let bytes = bytes[if hearer == Hearer::Caller { 0 } else { 1 }];
                    // Each way and hearer begins at another byte. That every byte is looked at is for
                    // the recorded conversations to show, which take no run each.
                    static ROUND: AtomicU64 = AtomicU64::new(0);
                    let first = ROUND.fetch_add(1, Ordering::Relaxed) % step;
                    let mut failed = 0;
                    for at in (first..bytes).step_by(usize::try_from(step).unwrap()) {
                        let what = format!("{way:?}, {hearer:?} {:?}", mishap(at));
                        scene.lay();
                        match scene.run(way, mishaps(hearer, mishap(at)), Patience::default()) {
                            Err(Error::Link { source, .. }) => {
                                assert!(!source.to_string().is_empty());
                                failed += 1;
                            }
                            Err(other) => panic!("{what}: {other}"),
                            Ok((report, _)) => {
                                assert!(report.is_clean(), "{what}: {:?}", report.problems);
                                assert_level(&scene.ground.path("src"), &scene.ground.path("dst"));
                            }
                        }
                        scene.assert_whole(&what);
                        scene.assert_recovers(&what);
                    }
                    assert!(failed > 3, "{way:?}, {hearer:?}: only {failed} runs failed");
                });
            }
        }
    });
}

#[test]
fn s16_a_connection_cut_at_places_all_along_it() {
    everywhere(61, Mishap::Cut);
}

#[test]
fn s16_a_flipped_bit_at_places_all_along_it() {
    everywhere(61, |at| Mishap::Flip(at, (at % 8) as u8));
}

#[test]
fn s18_an_end_that_falls_silent_is_given_up_in_time() {
    let patience = Patience { silence: Duration::from_millis(400), stuck: Duration::from_secs(60) };
    for way in WAYS {
        for hearer in HEARERS {
            let scene = Scene::new();
            for after in [0, 10, 40, 200, 300] {
                let what = format!("{way:?}, {hearer:?} stalls after {after}");
                scene.lay();
                let error = scene
                    .run(way, mishaps(hearer, Mishap::Stall(after)), patience)
                    .expect_err(&what);
                let Error::Link { source, .. } = error else { panic!("{what}: {error}") };
                // Whichever end gives up first, the other one hears of it or gives up as well.
                let told = matches!(
                    source,
                    LinkError::Silent(_)
                        | LinkError::Unanswered(_)
                        | LinkError::Exited(_)
                        | LinkError::Ended
                        | LinkError::Io(_)
                );
                assert!(told, "{what}: {source}");
                scene.assert_whole(&what);
                scene.assert_recovers(&what);
            }
        }
    }
}
