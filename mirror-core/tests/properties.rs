//! What holds for every pair of trees, every base and every policy: a plan can be carried out step
//! by step, makes the trees what they shall be, loses nothing, and leaves nothing to do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use common::model::{Model, differences, essence};
use mirror_core::{
    Bytes, Digest, Entry, Extraneous, Filter, Kind, OnConflict, Op, Plan, Policy, RelPath, Side,
    Timestamp, Tree, reconcile,
};
use proptest::prelude::*;

/// Something that a user does to a tree.
#[derive(Debug, Clone)]
enum Edit {
    Write(RelPath, u8),
    MakeDirectory(RelPath),
    Symlink(RelPath, u8),
    Fifo(RelPath),
    Remove(RelPath),
    Rename(RelPath, RelPath),
    Link(RelPath, RelPath),
    Mode(RelPath, u32),
    Touch(RelPath, i64),
}

/// A tree with what it takes to change it as a kernel would: inode numbers and a clock.
#[derive(Debug, Clone)]
struct Disk {
    entries: BTreeMap<RelPath, Entry>,
    root_mtime: i64,
    next: u64,
}

impl Disk {
    fn new() -> Disk {
        Disk { entries: BTreeMap::new(), root_mtime: 0, next: 0 }
    }

    /// A copy whose new inodes and times are not those of any other copy.
    fn fork(&self, offset: u64) -> Disk {
        Disk { next: offset, ..self.clone() }
    }

    fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn is_directory(&self, path: &RelPath) -> bool {
        path.is_root() || self.entries.get(path).is_some_and(|entry| entry.kind.is_directory())
    }

    fn touch_parent(&mut self, path: &RelPath) {
        let now = self.tick() as i64;
        match self.entries.get_mut(&path.parent()) {
            Some(parent) => parent.meta.mtime.seconds = now,
            None => self.root_mtime = now,
        }
    }

    /// Makes room at `path`; false where a parent is no directory.
    fn clear(&mut self, path: &RelPath) -> bool {
        let parent = path.parent();
        if path.is_root() || (!self.is_directory(&parent) && self.entries.contains_key(&parent)) {
            return false;
        }
        if !self.is_directory(&parent) && !self.make(&parent, Kind::Directory, 0) {
            return false;
        }
        self.entries.retain(|candidate, _| !candidate.is_within(path));
        self.touch_parent(path);
        true
    }

    fn make(&mut self, path: &RelPath, kind: Kind, mtime: i64) -> bool {
        if !self.clear(path) {
            return false;
        }
        let inode = self.tick();
        let name = path.split().unwrap().1;
        let mut entry = Tree::entry(name, kind, inode);
        entry.meta.mtime.seconds = mtime;
        entry.identity.ctime.seconds = inode as i64;
        self.entries.insert(path.clone(), entry);
        true
    }

    /// Changes all names of an inode.
    fn change(&mut self, path: &RelPath, change: impl Fn(&mut Entry)) {
        let Some(inode) = self.entries.get(path).map(|entry| entry.identity.inode) else {
            return;
        };
        let now = self.tick();
        for entry in self.entries.values_mut() {
            if entry.identity.inode == inode {
                change(entry);
                entry.identity.ctime.seconds = now as i64;
            }
        }
    }

    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Write(path, content) => {
                let text = vec![b'a' + content % 4; 1 + usize::from(content / 4 % 2)];
                // Some are written within the grain of the clock.
                let mtime = match content / 8 % 2 {
                    0 => i64::from(content % 8),
                    _ => self.tick() as i64,
                };
                let kind = Kind::File { size: text.len() as u64 };
                let is_file = self.entries.get(path).is_some_and(|e| e.kind.is_file());
                if !is_file && !self.make(path, kind.clone(), mtime) {
                    return;
                }
                let digest = Some(Digest::of(&text));
                self.change(path, |entry| {
                    entry.kind = kind.clone();
                    entry.digest = digest;
                    entry.meta.mtime = Timestamp { seconds: mtime, nanos: 0 };
                });
            }
            Edit::MakeDirectory(path) => {
                if !self.is_directory(path) {
                    self.make(path, Kind::Directory, 0);
                }
            }
            Edit::Symlink(path, target) => {
                let target = Bytes([b'a' + target % 3].into());
                self.make(path, Kind::Symlink { target }, 0);
            }
            Edit::Fifo(path) => {
                self.make(path, Kind::Fifo, 0);
            }
            Edit::Remove(path) => {
                if self.entries.contains_key(path) {
                    self.clear(path);
                }
            }
            Edit::Rename(from, to) => {
                if !self.entries.contains_key(from) || to.is_within(from) || from.is_within(to) {
                    return;
                }
                if !self.clear(to) {
                    return;
                }
                let inside: Vec<RelPath> =
                    self.entries.keys().filter(|p| p.is_within(from)).cloned().collect();
                for old in inside {
                    let mut entry = self.entries.remove(&old).unwrap();
                    let rest = &old.as_bytes()[from.as_bytes().len()..];
                    let new = RelPath::new(&[to.as_bytes(), rest].concat()).unwrap();
                    entry.name = new.split().unwrap().1;
                    self.entries.insert(new, entry);
                }
                self.touch_parent(from);
                self.change(to, |_| {});
            }
            Edit::Link(from, to) => {
                let found = self.entries.get(from);
                let Some(entry) = found.filter(|entry| !entry.kind.is_directory()).cloned() else {
                    return;
                };
                if from == to || from.is_within(to) || !self.clear(to) {
                    return;
                }
                let name = to.split().unwrap().1;
                self.entries.insert(to.clone(), Entry { name, ..entry });
                self.change(to, |_| {});
            }
            Edit::Mode(path, mode) => self.change(path, |entry| {
                if !matches!(entry.kind, Kind::Symlink { .. }) {
                    entry.meta.mode = *mode;
                }
            }),
            Edit::Touch(path, mtime) => self.change(path, |entry| {
                entry.meta.mtime.seconds = *mtime;
            }),
        }
    }

    fn tree(&self) -> Tree {
        let mut tree = Tree::default();
        let root = RelPath::root();
        let mut entry = tree.get(&root).unwrap().clone();
        entry.meta.mtime.seconds = self.root_mtime;
        tree.insert(root, entry);
        for (path, entry) in &self.entries {
            let mut entry = entry.clone();
            let inode = entry.identity.inode;
            if !entry.kind.is_directory() {
                let names = self.entries.values().filter(|e| e.identity.inode == inode);
                entry.identity.links = names.count() as u32;
            }
            tree.insert(path.clone(), entry);
        }
        tree
    }
}

fn any_path() -> impl Strategy<Value = RelPath> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 1..4)
        .prop_map(|names| RelPath::new(names.join("/").as_bytes()).unwrap())
}

fn any_edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        6 => (any_path(), any::<u8>()).prop_map(|(p, c)| Edit::Write(p, c)),
        2 => any_path().prop_map(Edit::MakeDirectory),
        1 => (any_path(), any::<u8>()).prop_map(|(p, c)| Edit::Symlink(p, c)),
        1 => any_path().prop_map(Edit::Fifo),
        3 => any_path().prop_map(Edit::Remove),
        6 => (any_path(), any_path()).prop_map(|(p, q)| Edit::Rename(p, q)),
        3 => (any_path(), any_path()).prop_map(|(p, q)| Edit::Link(p, q)),
        1 => (any_path(), prop::sample::select(vec![0o600, 0o755, 0o4755])).prop_map(|(p, m)| Edit::Mode(p, m)),
        1 => (any_path(), 0..4_i64).prop_map(|(p, t)| Edit::Touch(p, t)),
    ]
}

fn any_edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    prop::collection::vec(any_edit(), 0..most)
}

/// A base and what became of it on both sides.
#[derive(Clone)]
struct Case {
    base: Option<Tree>,
    a: Tree,
    b: Tree,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(base) = &self.base {
            writeln!(f, "base {}", show(base))?;
        }
        write!(f, "A    {}\nB    {}", show(&self.a), show(&self.b))
    }
}

fn any_case() -> impl Strategy<Value = Case> {
    let edits = (any_edits(16), any_edits(8), any_edits(8), 0..4_u8);
    edits.prop_map(|(first, on_a, on_b, has_base)| {
        let mut disk = Disk::new();
        first.iter().for_each(|edit| disk.edit(edit));
        let (mut a, mut b) = (disk.fork(10_000), disk.fork(20_000));
        on_a.iter().for_each(|edit| a.edit(edit));
        on_b.iter().for_each(|edit| b.edit(edit));
        Case { base: (has_base > 0).then(|| disk.tree()), a: a.tree(), b: b.tree() }
    })
}

fn plan(case: &Case, policy: &Policy, filter: &Filter) -> Plan {
    reconcile(case.base.as_ref(), &case.a, &case.b, policy, filter).unwrap()
}

fn show(tree: &Tree) -> String {
    let mut text = String::new();
    for (path, entry) in tree.iter() {
        let kind = match &entry.kind {
            Kind::Directory => "/".to_owned(),
            Kind::File { .. } => {
                let digest = entry.digest.map(|d| d.to_string()[..3].to_owned());
                format!("={}", digest.unwrap_or_default())
            }
            Kind::Symlink { target } => format!("->{target}"),
            _ => "|".to_owned(),
        };
        let (inode, mtime) = (entry.identity.inode, entry.meta.mtime.seconds);
        text.push_str(&format!("{path}{kind}#{inode}@{mtime}%{:o} ", entry.meta.mode));
    }
    text
}

/// The case and its plan, for whoever has to find out why.
fn explain(case: &Case, plan: &Plan) -> String {
    format!("{case:?}\n{plan}{:?}", plan.problems())
}

fn digests<'t>(trees: impl IntoIterator<Item = &'t Tree>) -> HashSet<Digest> {
    let trees = trees.into_iter();
    trees
        .flat_map(|tree| tree.iter().filter_map(|(_, entry)| entry.digest).collect::<Vec<_>>())
        .collect()
}

/// Carries the plan out, says what was asked of it where a promise breaks.
fn carried_out(case: &Case, plan: &Plan, filter: &Filter) -> Model {
    let mut model = Model::new(&case.a, &case.b, filter);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        model.carry_out(plan);
        model
    }));
    result.unwrap_or_else(|_| panic!("{}", explain(case, plan)))
}

/// What is there when the plan is carried out. The base moves along with directories, as what is
/// remembered does.
fn after(case: &Case, plan: &Plan, model: &Model) -> Case {
    let mut base = case.base.clone();
    for step in plan.steps().map(Result::unwrap) {
        if let (Op::MoveDirectory { from, to, .. }, Some(base)) = (&step.op, &mut base) {
            let inside = base.iter().filter(|(path, _)| path.is_within(from));
            let inside: Vec<(RelPath, Entry)> =
                inside.map(|(p, e)| (p.clone(), e.clone())).collect();
            base.remove(from);
            for (old, entry) in inside {
                let rest = &old.as_bytes()[from.as_bytes().len()..];
                let new = RelPath::new(&[to.as_bytes(), rest].concat()).unwrap();
                base.insert(new, entry);
            }
        }
    }
    Case { base, a: model.tree(Side::A), b: model.tree(Side::B) }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(1_000),
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_mirror_becomes_its_source_and_then_nothing_is_left_to_do(case in any_case()) {
        let (policy, filter) = (Policy::mirror(), Filter::default());
        let first = plan(&case, &policy, &filter);
        let model = carried_out(&case, &first, &filter);
        let result = after(&case, &first, &model);
        let differ = differences(&result.a, &result.b);
        prop_assert!(differ.is_empty(), "{differ:#?}\n{}", explain(&case, &first));
        prop_assert!(differences(&case.a, &result.a).is_empty());
        prop_assert!(first.conflicts().is_empty() && first.problems().is_empty());
        let second = plan(&result, &policy, &filter);
        prop_assert!(second.is_empty(), "again: {second}\n{}", explain(&case, &first));
    }

    #[test]
    fn a_mirror_that_keeps_what_is_extraneous_deletes_nothing(case in any_case()) {
        let policy = Policy { extraneous: Extraneous::Keep, ..Policy::mirror() };
        let filter = Filter::default();
        let first = plan(&case, &policy, &filter);
        let model = carried_out(&case, &first, &filter);
        let result = after(&case, &first, &model);
        for (path, entry) in case.b.iter() {
            let becomes = result.b.get(path).map(essence);
            let replaced = case.a.get(path).is_some() || entry.kind.is_directory();
            prop_assert!(becomes == Some(essence(entry)) || replaced, "{path}\n{}", explain(&case, &first));
        }
        for (path, entry) in case.a.iter() {
            let stays = first.problems().iter().any(|p| path.is_within(&p.path));
            let there = result.b.get(path);
            prop_assert!(stays || there.is_some_and(|e| e.kind == entry.kind && e.digest == entry.digest && e.meta == entry.meta),
                "{path}\n{}", explain(&case, &first));
        }
        let second = plan(&result, &policy, &filter);
        prop_assert!(second.is_empty(), "again: {second}\n{}", explain(&case, &first));
    }

    #[test]
    fn both_ways_the_trees_meet_and_nothing_is_lost(
        case in any_case(),
        on_conflict in prop::sample::select(vec![
            OnConflict::Report, OnConflict::Report, OnConflict::PreferA, OnConflict::PreferB, OnConflict::Newest,
        ]),
    ) {
        let policy = Policy { on_conflict, ..Policy::both_ways() };
        let filter = Filter::default();
        let first = plan(&case, &policy, &filter);
        let model = carried_out(&case, &first, &filter);
        let result = after(&case, &first, &model);
        let open = first.conflicts().iter().any(|conflict| conflict.winner.is_none());
        if !open {
            let differ = differences(&result.a, &result.b);
            prop_assert!(differ.is_empty(), "{differ:#?}\n{}", explain(&case, &first));
        }
        prop_assert!(open || first.problems().is_empty());
        if case.base.is_none() && on_conflict == OnConflict::Report {
            let deletes = |op: &Op| matches!(op, Op::Remove { .. } | Op::ReplaceDirectory { .. } | Op::MoveDirectory { .. });
            let steps = first.steps().map(Result::unwrap);
            prop_assert!(!steps.into_iter().any(|step| deletes(&step.op)), "{}", explain(&case, &first));
        }
        let mut left = digests([&result.a, &result.b].into_iter().chain(&case.base));
        left.extend(model.history.iter().filter_map(|entry| entry.digest));
        let lost: Vec<_> = digests([&case.a, &case.b]).difference(&left).cloned().collect();
        prop_assert!(lost.is_empty(), "lost {lost:?}\n{}", explain(&case, &first));
        let second = plan(&result, &policy, &filter);
        prop_assert!(second.is_empty(), "again: {second}\n{}", explain(&case, &first));
    }

    #[test]
    fn what_is_filtered_protected_or_unreadable_stays(
        case in any_case(),
        excluded in prop::sample::select(vec!["", "a", "/b", "/c/a", "d/*"]),
        protected in prop::sample::select(vec!["", "b", "/c", "a/d"]),
        unreadable in prop::option::of(any_path()),
        unreadable_on in prop::sample::select(vec![Side::A, Side::B]),
        both in any::<bool>(),
    ) {
        let mut case = case;
        let policy = if both { Policy::both_ways() } else { Policy::mirror() };
        let mut builder = Filter::builder();
        if !excluded.is_empty() {
            builder.exclude(excluded);
        }
        if !protected.is_empty() {
            builder.protect(protected);
        }
        let filter = builder.build().unwrap();
        if let Some(directory) = &unreadable {
            let tree = if unreadable_on == Side::A { &mut case.a } else { &mut case.b };
            if tree.get(directory).is_some_and(|entry| entry.kind.is_directory()) {
                // All in it is hidden, and the other side may well have more.
                let hidden: Vec<RelPath> = tree.iter().map(|(p, _)| p.clone()).filter(|p| p.parent() == *directory).collect();
                hidden.iter().for_each(|path| tree.remove(path));
                tree.mark_incomplete(directory.clone());
            }
        }
        let first = plan(&case, &policy, &filter);
        let model = carried_out(&case, &first, &filter);
        let mut result = after(&case, &first, &model);
        if let Some(directory) = &unreadable {
            let (before, now) = match unreadable_on {
                Side::A => (&case.b, &result.b),
                Side::B => (&case.a, &result.a),
            };
            let marked = match unreadable_on {
                Side::A => case.a.get(directory),
                Side::B => case.b.get(directory),
            };
            if marked.is_some_and(|entry| entry.kind.is_directory()) {
                for (path, entry) in before.iter().filter(|(p, _)| *p != directory && p.is_within(directory)) {
                    let same = now.get(path).is_some_and(|e| e.kind == entry.kind && e.digest == entry.digest);
                    prop_assert!(same, "{path} was concluded from\n{}", explain(&case, &first));
                }
                match unreadable_on {
                    Side::A => result.a.mark_incomplete(directory.clone()),
                    Side::B => result.b.mark_incomplete(directory.clone()),
                }
            }
        }
        let second = plan(&result, &policy, &filter);
        prop_assert!(second.is_empty(), "again: {second}\n{}", explain(&case, &first));
    }
}
