//! Three-way cases as a table to be read: `tests/data/reconcile.table`.
//!
//! Each case names a base (or none), trees A and B, perhaps a filter, and what each policy makes
//! of them in the words of a plan. `UPDATE_GOLDEN=1` rewrites what the policies do; the diff is
//! the review. Each plan is also carried out in memory, and planning again has to give nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fmt::Write as _;

use common::model::{Model, differences};
use common::notation::{Trees, trees};
use mirror_core::{Extraneous, Filter, OnConflict, Ownership, Plan, Policy, Side, reconcile};

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/reconcile.table");

/// One case, or lines of comment before it.
#[derive(Debug, Default)]
struct Case {
    /// Lines before it, as they are.
    before: Vec<String>,
    name: String,
    /// What is given: base, A, B and filter rules.
    given: Vec<(String, String)>,
    /// What each policy does, line by line.
    does: Vec<(String, Vec<String>)>,
}

fn read(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = Case::default();
    for line in text.lines() {
        let is_field = line.starts_with("    ");
        if !is_field && !case.name.is_empty() {
            cases.push(std::mem::take(&mut case));
        }
        if line.is_empty() || line.starts_with('#') {
            case.before.push(line.to_owned());
        } else if !is_field {
            case.name = line.to_owned();
        } else {
            let (key, value) = line[4..].split_at(10.min(line.len() - 4));
            let (key, value) = (key.trim(), value.trim().to_owned());
            match key {
                "base" | "A" | "B" | "filter" => case.given.push((key.to_owned(), value)),
                "" => case.does.last_mut().expect("a line goes on").1.push(value),
                _ => case.does.push((key.to_owned(), vec![value])),
            }
        }
    }
    if !case.name.is_empty() {
        cases.push(case);
    }
    cases
}

fn policy(name: &str) -> Policy {
    let preferring = |on_conflict| Policy { on_conflict, ..Policy::both_ways() };
    match name {
        "mirror" => Policy::mirror(),
        "keep" => Policy { extraneous: Extraneous::Keep, ..Policy::mirror() },
        "hosted" => Policy { ownership: Ownership::Preserve, ..Policy::hosted() },
        "both" => Policy::both_ways(),
        "prefer a" => preferring(OnConflict::PreferA),
        "prefer b" => preferring(OnConflict::PreferB),
        "newest" => preferring(OnConflict::Newest),
        other => panic!("no policy is called {other}"),
    }
}

/// Rules as `exclude x, include y, protect z, delete excluded`.
fn filter(text: &str) -> Filter {
    let mut builder = Filter::builder();
    for rule in text.split(", ").filter(|rule| !rule.is_empty()) {
        match rule.split_once(' ') {
            Some(("delete", "excluded")) => builder.delete_excluded(true),
            Some(("exclude", pattern)) => builder.exclude(pattern),
            Some(("include", pattern)) => builder.include(pattern),
            Some(("protect", pattern)) => builder.protect(pattern),
            _ => panic!("what is the rule {rule}?"),
        };
    }
    builder.build().unwrap()
}

impl Case {
    fn given(&self, key: &str) -> &str {
        let found = self.given.iter().find(|(candidate, _)| candidate == key);
        found.map_or("", |(_, value)| value)
    }

    fn tree(&self, key: &str) -> Option<Trees> {
        let text = self.given(key);
        (text != "-").then(|| trees(text))
    }

    fn plan(&self, name: &str) -> Vec<String> {
        let (policy, filter) = (policy(name), filter(self.given("filter")));
        let base = self.tree("base").map(|trees| trees.seen);
        let [a, b] = ["A", "B"].map(|side| self.tree(side).expect("both sides are given"));
        let plan = reconcile(base.as_ref(), &a.seen, &b.seen, &policy, &filter).unwrap();
        let mut lines: Vec<String> = plan.to_string().lines().map(str::to_owned).collect();
        lines.extend(plan.problems().iter().map(|problem| format!("problem at {problem}")));
        if lines.is_empty() {
            lines.push("nothing".to_owned());
        }
        self.carry_out(name, base.as_ref(), [&a, &b], &plan, &filter);
        lines
    }

    fn carry_out(
        &self,
        name: &str,
        base: Option<&mirror_core::Tree>,
        [a, b]: [&Trees; 2],
        plan: &Plan,
        filter: &Filter,
    ) {
        let told = || format!("{} ({name})\n{plan}", self.name);
        let mut model = Model::new(&a.truth, &b.truth, filter);
        let carried_out = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            model.carry_out(plan);
            model
        }));
        let model = carried_out.unwrap_or_else(|_| panic!("cannot carry out {}", told()));
        let (mut new_a, mut new_b) = (model.tree(Side::A), model.tree(Side::B));
        let is_marked = |text: &str| text.contains("!unreadable") || text.contains("!mount");
        let open = plan.conflicts().iter().any(|conflict| conflict.winner.is_none());
        let whole = self.given("filter").is_empty()
            && !is_marked(self.given("A"))
            && !is_marked(self.given("B"))
            && plan.problems().is_empty()
            && !open;
        if whole && !matches!(name, "keep" | "hosted") {
            let differ = differences(&new_a, &new_b);
            assert!(differ.is_empty(), "{differ:#?} after {}", told());
        }
        for (side, tree) in [("A", &mut new_a), ("B", &mut new_b)] {
            for mark in self.given(side).split_whitespace() {
                let directory = |mark: &str| {
                    mirror_core::RelPath::new(mark.trim_end_matches('/').as_bytes()).unwrap()
                };
                if let Some(at) = mark.strip_suffix("!unreadable") {
                    tree.mark_incomplete(directory(at));
                } else if let Some(at) = mark.strip_suffix("!mount") {
                    tree.mark_other_mount(directory(at));
                }
            }
        }
        // Where only reading tells, a plan without reading copies again.
        if ["base", "A", "B"].iter().any(|given| self.given(given).contains('?')) {
            return;
        }
        let again = reconcile(base, &new_a, &new_b, &policy(name), filter).unwrap();
        assert!(again.is_empty(), "again {again}after {}", told());
    }

    fn write(&self, out: &mut String) {
        for line in &self.before {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(&self.name);
        out.push('\n');
        let mut field = |key: &str, value: &str| {
            let line = format!("    {key:<10}{value}");
            writeln!(out, "{}", line.trim_end()).unwrap();
        };
        for (key, value) in &self.given {
            field(key, value);
        }
        for (name, lines) in &self.does {
            for (place, line) in lines.iter().enumerate() {
                field(if place == 0 { name } else { "" }, line);
            }
        }
    }
}

#[test]
fn each_case_is_planned_as_the_table_says() {
    let text = std::fs::read_to_string(TABLE).unwrap();
    let mut cases = read(&text);
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for case in &mut cases {
        if case.does.is_empty() {
            case.does = vec![("mirror".into(), vec![]), ("both".into(), vec![])];
        }
        for place in 0..case.does.len() {
            let planned = case.plan(&case.does[place].0);
            let (name, said) = &mut case.does[place];
            if update {
                *said = planned;
            } else if *said != planned {
                wrong.push(format!("{} ({name}):\n{}", case.name, planned.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "the table says otherwise of\n{}", wrong.join("\n\n"));
    assert!(cases.len() >= 120, "only {} cases", cases.len());
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    if update {
        let mut out = String::new();
        cases.iter().for_each(|case| case.write(&mut out));
        std::fs::write(TABLE, out).unwrap();
    }
}
