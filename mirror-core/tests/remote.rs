//! Trees behind an agent, over a connection in memory: what comes of a run must not depend on
//! where the trees are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::disk::{Ground, assert_level, noise};
use common::link::{Agent, tree_behind};
use mirror_core::{
    AgentConfig, DeleteLimit, Durability, Ending, Endpoint, Error, Guards, LocalTree, Mirror,
    Refused, RemoteOptions, RemoteTree, Report, Traffic, Transport, memory_pair,
    memory_pair_in_pieces,
};
use proptest::prelude::*;

fn run(source: &dyn Endpoint, target: &dyn Endpoint) -> (String, Report) {
    let planned = Mirror::new(source, target).plan().unwrap();
    let plan = planned.plan().to_string();
    (plan, planned.approve(&Guards::default()).unwrap().apply().unwrap())
}

#[test]
fn push_pull_and_agent_to_agent_do_what_a_local_run_does() {
    let ground = Ground::new();
    ground.fill_source();
    let (local_plan, local) =
        run(&ground.tree("src"), &LocalTree::open_or_create(ground.path("local")).unwrap());
    assert!(local.is_clean());
    for (name, source_there, target_there) in
        [("push", false, true), ("pull", true, false), ("both", true, true)]
    {
        fs::create_dir(ground.path(name)).unwrap();
        let (source, target);
        let a: &dyn Endpoint = if source_there {
            source = tree_behind(AgentConfig::new(ground.path("src")).read_only(true));
            &source.tree
        } else {
            &ground.tree("src")
        };
        let b: &dyn Endpoint = if target_there {
            target = tree_behind(AgentConfig::new(ground.path(name)));
            &target.tree
        } else {
            &ground.tree(name)
        };
        let (plan, report) = run(a, b);
        assert!(report.is_clean(), "{name}: {:?}", report.problems);
        assert_eq!(plan, local_plan, "{name}");
        assert_eq!(report.counts, local.counts, "{name}");
        assert_eq!(report.bytes_copied, local.bytes_copied, "{name}");
        assert_level(&ground.path("src"), &ground.path(name));
        let (again, _) = run(a, b);
        assert_eq!(again, "", "{name}: a second run has nothing to do");
    }
}

#[test]
fn an_unchanged_tree_costs_less_than_a_kibibyte_and_a_change_what_it_is_in() {
    let ground = Ground::new();
    ground.fill_source();
    for number in 0..300 {
        ground.write(&format!("src/deep/{}/{number}/file", number % 17), "some content");
    }
    ground.write("src/cache/1", "hidden by a rule");
    for (name, source_there, target_there) in [("push", false, true), ("pull", true, false)] {
        fs::create_dir(ground.path(name)).unwrap();
        let mut sizes = Vec::new();
        for round in 0..4 {
            if round == 2 {
                ground.write(&format!("src/deep/3/3/{name}"), "new");
            }
            let there =
                tree_behind(AgentConfig::new(ground.path(if source_there { "src" } else { name })));
            let here = ground.tree(if target_there { "src" } else { name });
            let (a, b): (&dyn Endpoint, &dyn Endpoint) =
                if source_there { (&there.tree, &here) } else { (&here, &there.tree) };
            let mut filter = mirror_core::Filter::builder();
            filter.exclude("cache/*");
            let mirror = Mirror::new(a, b).state(ground.path(&format!("state-{name}")));
            let planned = mirror.filter(filter.build().unwrap()).plan().unwrap();
            let listed = there.tree.traffic().received() + there.tree.traffic().sent();
            assert_eq!(planned.plan().is_empty(), round % 2 == 1, "{}", planned.plan());
            let report = planned.approve(&Guards::default()).unwrap().apply().unwrap();
            assert!(report.is_clean(), "{:?}", report.problems);
            there.leave();
            sizes.push(listed);
        }
        let [_, unchanged, changed, after] = sizes[..] else { unreachable!() };
        assert!(unchanged < 1024 && after < 1024, "{name}: {sizes:?}");
        // Sixteen bytes for each directory, and the few that are listed.
        assert!(changed < 1024 + 16 * 360 + 2000, "{name}: {sizes:?}");
    }
}

/// A further connection for `tree`, by an agent of its own; what it carries can be seen, and cut.
fn joined(tree: &RemoteTree, config: AgentConfig) -> (Arc<Traffic>, UnixStream, Agent) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let over = |stream: &UnixStream| {
        Transport::new(
            stream.try_clone().unwrap(),
            stream.try_clone().unwrap(),
            Cut(stream.try_clone().unwrap()),
        )
    };
    let agent = Agent::start(over(&theirs), config);
    let transport = over(&ours);
    let traffic = transport.traffic();
    tree.join(transport).unwrap();
    (traffic, ours, agent)
}

struct Cut(UnixStream);

impl Ending for Cut {
    fn close(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[test]
fn four_connections_carry_what_one_does() {
    let ground = Ground::new();
    ground.fill_source();
    ground.write("src/huge", noise(30_000_000, 9));
    for (name, source_there) in [("push", false), ("pull", true)] {
        fs::create_dir(ground.path(name)).unwrap();
        let config = || AgentConfig::new(ground.path(if source_there { "src" } else { name }));
        let there = tree_behind(config());
        let lanes: Vec<_> = (0..3).map(|_| joined(&there.tree, config())).collect();
        let here = ground.tree(if source_there { name } else { "src" });
        let (a, b): (&dyn Endpoint, &dyn Endpoint) =
            if source_there { (&there.tree, &here) } else { (&here, &there.tree) };
        let (_, report) = run(a, b);
        assert!(report.is_clean(), "{name}: {:?}", report.problems);
        assert_level(&ground.path("src"), &ground.path(name));
        let carried: Vec<u64> =
            lanes.iter().map(|(traffic, ..)| traffic.sent() + traffic.received()).collect();
        assert!(carried.iter().all(|bytes| *bytes > 100_000), "{name}: {carried:?}");
        let all = there.tree.traffic();
        assert!(all.sent() + all.received() > carried.iter().sum(), "the first carries some too");
        let (ours, theirs) = memory_pair().unwrap();
        let fifth = Agent::start(theirs, config());
        let error = there.tree.join(ours).unwrap_err().to_string();
        assert!(error.contains("further connection") || error.contains("ended"), "{error}");
        there.leave();
        assert!(fifth.ended().is_err());
        for (.., agent) in lanes {
            agent.ended().unwrap();
        }
    }
}

#[test]
fn one_of_several_connections_that_breaks_ends_the_run_and_the_next_one_goes_on() {
    let ground = Ground::new();
    ground.write("src/small", "small");
    ground.write("src/huge", noise(60_000_000, 9));
    fs::create_dir(ground.path("dst")).unwrap();
    let config = || AgentConfig::new(ground.path("dst"));
    let there = tree_behind(config());
    let (traffic, lane, _) = joined(&there.tree, config());
    let here = ground.tree("src");
    let cutting = std::thread::spawn(move || {
        while traffic.sent() < 2_000_000 {
            std::thread::yield_now();
        }
        lane.shutdown(Shutdown::Both).unwrap();
    });
    let planned = Mirror::new(&here, &there.tree).plan().unwrap();
    let ended = planned.approve(&Guards::default()).unwrap().apply();
    assert!(matches!(ended, Err(Error::Link { .. })), "{ended:?}");
    cutting.join().unwrap();
    drop(there.tree);
    assert!(there.agent.ended().is_err());
    assert!(!ground.path("dst/huge").exists());
    let again = tree_behind(config());
    assert!(run(&here, &again.tree).1.is_clean());
    again.leave();
    assert_level(&ground.path("src"), &ground.path("dst"));
}

/// Something that somebody did to a tree.
#[derive(Debug, Clone)]
enum Edit {
    Write(String, usize),
    Directory(String),
    Symlink(String),
    HardLink(String, String),
    Remove(String),
    Rename(String, String),
    Mode(String, u32),
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-c]", 1..4).prop_map(|names| names.join("/"))
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        4 => (name(), prop_oneof![0..40_usize, Just(5_000), Just(200_000)])
            .prop_map(|(name, length)| Edit::Write(name, length)),
        2 => name().prop_map(Edit::Directory),
        1 => name().prop_map(Edit::Symlink),
        1 => (name(), name()).prop_map(|(one, two)| Edit::HardLink(one, two)),
        1 => name().prop_map(Edit::Remove),
        1 => (name(), name()).prop_map(|(one, two)| Edit::Rename(one, two)),
        1 => (name(), 0..0o1000_u32).prop_map(|(name, mode)| Edit::Mode(name, mode | 0o700)),
    ];
    prop::collection::vec(edit, 0..20)
}

/// Does it as far as it can be done; what cannot is left out.
fn edit(root: &Path, edits: &[Edit]) {
    for edit in edits {
        let at = |name: &String| root.join(name);
        let make_room = |name: &String| fs::create_dir_all(at(name).parent().unwrap());
        let _ = match edit {
            Edit::Write(name, length) => {
                make_room(name).and_then(|()| fs::write(at(name), noise(*length, *length)))
            }
            Edit::Directory(name) => fs::create_dir_all(at(name)),
            Edit::Symlink(name) => make_room(name).and_then(|()| symlink("a/b", at(name))),
            Edit::HardLink(one, two) => {
                make_room(two).and_then(|()| fs::hard_link(at(one), at(two)))
            }
            Edit::Remove(name) => {
                fs::remove_file(at(name)).or_else(|_| fs::remove_dir_all(at(name)))
            }
            Edit::Rename(one, two) => make_room(two).and_then(|()| fs::rename(at(one), at(two))),
            // What a symlink leads to is none of this tree's business.
            Edit::Mode(name, mode) if !at(name).is_symlink() => {
                fs::set_permissions(at(name), fs::Permissions::from_mode(*mode))
            }
            Edit::Mode(..) => Ok(()),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_trees_over_any_cut_of_the_byte_stream_become_level(
        before in edits(),
        here in edits(),
        there in edits(),
        pieces in prop::collection::vec(prop_oneof![1..20_usize, Just(1_000), Just(70_000)], 1..6),
        pull in any::<bool>(),
        remembers in any::<bool>(),
        lanes in 0..3,
    ) {
        let ground = Ground::new();
        fs::create_dir(ground.path("dst")).unwrap();
        for tree in ["src", "dst"] {
            edit(&ground.path(tree), &before);
        }
        let (src, dst) = (ground.tree("src"), ground.tree("dst"));
        let (ours, theirs) = memory_pair_in_pieces(&pieces).unwrap();
        let agent = Agent::start(theirs, AgentConfig::new(ground.path(if pull { "src" } else { "dst" })));
        let remote = RemoteTree::connect(ours, "host", &RemoteOptions::default()).unwrap();
        let further: Vec<_> = (0..lanes)
            .map(|_| {
                let (ours, theirs) = memory_pair_in_pieces(&pieces).unwrap();
                let agent = Agent::start(theirs, AgentConfig::new(ground.path("src")));
                remote.join(ours).unwrap();
                agent
            })
            .collect();
        let (a, b): (&dyn Endpoint, &dyn Endpoint) =
            if pull { (&remote, &dst) } else { (&src, &remote) };
        let far = Mirror::new(a, b).durability(Durability::None).state(ground.path("there"));
        let guards = Guards {
            max_delete: DeleteLimit::Percent(100),
            allow_empty_source: true,
            ..Guards::default()
        };
        if remembers {
            // What was changed within a tick of the clock is not remembered.
            std::thread::sleep(std::time::Duration::from_millis(20));
            // What a run did is known by other means than what it saw: both shall have seen it.
            for state in ["here", "here", "there"] {
                // Whoever has written to a tree holds it until it is dropped.
                let (src, dst) = (ground.tree("src"), ground.tree("dst"));
                let local = Mirror::new(&src, &dst).durability(Durability::None);
                let mirror = if state == "here" { local.state(ground.path(state)) } else { far.clone() };
                let planned = mirror.plan().unwrap();
                prop_assert!(planned.approve(&guards).unwrap().apply().unwrap().is_clean());
            }
        }
        for (tree, more) in [("src", &here), ("dst", &there)] {
            edit(&ground.path(tree), more);
        }
        let local = Mirror::new(&src, &dst).durability(Durability::None).state(ground.path("here"));
        let local_plan = local.plan().unwrap().plan().to_string();
        let planned = far.plan().unwrap();
        prop_assert_eq!(planned.plan().to_string(), local_plan);
        let report = planned.approve(&guards).unwrap().apply().unwrap();
        prop_assert!(report.is_clean(), "{:?}", report.problems);
        drop(remote);
        agent.ended().unwrap();
        further.into_iter().for_each(|agent| agent.ended().unwrap());
        assert_level(&ground.path("src"), &ground.path("dst"));
    }
}

#[test]
fn trees_of_one_machine_may_not_lie_in_one_another_however_they_are_reached() {
    let ground = Ground::new();
    ground.write("tree/inner/file", "x");
    let whole = AgentConfig::new(ground.path("tree"));
    let inner = AgentConfig::new(ground.path("tree/inner"));
    let (whole_there, inner_there) = (tree_behind(whole), tree_behind(inner));
    let (whole_here, inner_here) = (ground.tree("tree"), ground.tree("tree/inner"));
    let pairs: [(&dyn Endpoint, &dyn Endpoint); 3] = [
        (&whole_there.tree, &inner_there.tree),
        (&whole_there.tree, &inner_here),
        (&whole_here, &inner_there.tree),
    ];
    for (outer, inner) in pairs {
        for (a, b) in [(outer, inner), (inner, outer), (outer, outer)] {
            let refused = Mirror::new(a, b).plan().unwrap_err();
            assert!(matches!(refused, Error::Refused(Refused::Overlap { .. })), "{refused}");
        }
    }
    // Nor may the state lie in one of them.
    ground.write("other/file", "x");
    let other = ground.tree("other");
    let mirror = Mirror::new(&other, &whole_there.tree);
    let kept_inside = mirror.clone().state(ground.path("tree/inner/state"));
    let refused = kept_inside.plan().unwrap_err();
    assert!(matches!(refused, Error::Refused(Refused::StateInside { .. })), "{refused}");
    assert_eq!(fs::read_dir(ground.path("tree/inner")).unwrap().count(), 1);
}

/// What comes by itself may use up all credit while a file is asked for once more.
#[test]
fn a_file_that_keeps_changing_holds_up_nothing_behind_it() {
    for (source_there, target_there) in [(false, true), (true, false), (true, true)] {
        let ground = Ground::new();
        let growing = ground.path("src/a");
        fs::write(&growing, noise(300_000, 1)).unwrap();
        for number in 0..15 {
            fs::write(ground.path(&format!("src/b{number}")), noise(2_000_000, number)).unwrap();
        }
        fs::create_dir(ground.path("dst")).unwrap();
        let config = |name: &str| AgentConfig::new(ground.path(name));
        let (source, target);
        let a: &dyn Endpoint = match source_there {
            true => {
                source = tree_behind(config("src"));
                &source.tree
            }
            false => &ground.tree("src"),
        };
        let b: &dyn Endpoint = match target_there {
            true => {
                target = tree_behind(config("dst"));
                &target.tree
            }
            false => &ground.tree("dst"),
        };
        let planned = Mirror::new(a, b).durability(Durability::None).plan().unwrap();
        let stop = AtomicBool::new(false);
        let report = thread::scope(|scope| {
            scope.spawn(|| {
                let mut file = fs::OpenOptions::new().append(true).open(&growing).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    file.write_all(b"one more line\n").unwrap();
                    thread::sleep(Duration::from_millis(1));
                }
            });
            let report = planned.approve(&Guards::default()).unwrap().apply();
            stop.store(true, Ordering::Relaxed);
            report.unwrap()
        });
        // It was never quiet for long enough to be read.
        assert!(report.problems.len() <= 1, "{:?}", report.problems);
        assert_eq!(report.counts.created + report.problems.len() as u64, 16);
        assert_eq!(fs::read(ground.path("dst/b14")).unwrap(), noise(2_000_000, 14));
    }
}
