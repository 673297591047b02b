//! Trees behind an agent, over a connection in memory: what comes of a run must not depend on
//! where the trees are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::disk::{Ground, assert_level};
use common::link::tree_behind;
use mirror_core::{AgentConfig, Endpoint, Guards, LocalTree, Mirror, Report};

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
