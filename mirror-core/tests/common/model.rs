//! Two trees in memory on which a plan is carried out step by step, as it would be on disks, with
//! every promise that a plan makes checked at every step.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use mirror_core::{
    Digest, Entry, Expected, Filter, Identity, Kind, Meta, Op, Plan, RelPath, Side, Step,
    Timestamp, Tree, Verdict,
};

/// When the model writes; no tree of a test has such a time.
const NOW: Timestamp = Timestamp { seconds: 1 << 40, nanos: 0 };

type Entries = BTreeMap<RelPath, Entry>;

/// Both trees while a plan is carried out.
#[derive(Debug, Clone)]
pub struct Model {
    before: [Entries; 2],
    now: [Entries; 2],
    /// Paths that nothing of the plan is to touch.
    filter: Filter,
    next_inode: u64,
    /// Inodes that the plan itself has changed, whose times prove nothing any more.
    ours: [HashSet<u64>; 2],
    /// What was kept under `.mirror-history/`.
    pub history: Vec<Entry>,
    /// Whether something with this path at the end was there at the beginning: filled in first.
    lasting: [BTreeSet<RelPath>; 2],
}

fn entries(tree: &Tree) -> Entries {
    let root = RelPath::root();
    let mut entries: Entries = tree.iter().map(|(p, e)| (p.clone(), e.clone())).collect();
    entries.insert(root.clone(), tree.get(&root).unwrap().clone());
    entries
}

impl Model {
    pub fn new(a: &Tree, b: &Tree, filter: &Filter) -> Model {
        let before = [entries(a), entries(b)];
        Model {
            now: before.clone(),
            before,
            filter: filter.clone(),
            next_inode: 1 << 50,
            ours: Default::default(),
            history: Vec::new(),
            lasting: Default::default(),
        }
    }

    /// The tree on one side as a scan would see it now.
    pub fn tree(&self, side: Side) -> Tree {
        let mut names: HashMap<u64, u32> = HashMap::new();
        for entry in self.now[side as usize].values() {
            *names.entry(entry.identity.inode).or_default() += 1;
        }
        // Names outside of the tree stay.
        let mut outside: HashMap<u64, u32> = HashMap::new();
        let mut inside: HashMap<u64, u32> = HashMap::new();
        for entry in self.before[side as usize].values() {
            *inside.entry(entry.identity.inode).or_default() += 1;
            outside.insert(entry.identity.inode, entry.identity.links);
        }
        let mut tree = Tree::default();
        for (path, entry) in &self.now[side as usize] {
            let mut entry = entry.clone();
            let inode = entry.identity.inode;
            if !entry.kind.is_directory() {
                let others =
                    outside.get(&inode).map_or(0, |all| all.saturating_sub(inside[&inode]));
                entry.identity.links = names[&inode] + others;
            }
            tree.insert(path.clone(), entry);
        }
        tree
    }

    /// Carries out all of `plan`. Panics where it breaks a promise.
    pub fn carry_out(&mut self, plan: &Plan) {
        // First without looking at what is missing in between, to know what is there at the end.
        let mut rehearsal = self.clone();
        rehearsal.run(plan);
        for side in [Side::A, Side::B] {
            self.lasting[side as usize] = self.before[side as usize]
                .keys()
                .filter(|path| rehearsal.now[side as usize].contains_key(*path))
                .cloned()
                .collect();
        }
        self.run(plan);
    }

    fn run(&mut self, plan: &Plan) {
        let steps: Vec<Step> = plan.steps().map(Result::unwrap).collect();
        let mut ids = HashSet::new();
        let mut moves_done = [false, false];
        for step in &steps {
            assert!(ids.insert(step.id), "two steps have the number {}", step.id);
            self.check_paths(step);
            if let Op::MoveFile { .. } = step.op {
                // All moves of a side happen at once.
                if !std::mem::replace(&mut moves_done[step.side as usize], true) {
                    let of_side = |other: &&Step| {
                        other.side == step.side && matches!(other.op, Op::MoveFile { .. })
                    };
                    self.move_files(step.side, steps.iter().filter(of_side));
                }
            } else {
                self.step(step);
            }
            for side in [Side::A, Side::B] {
                for path in &self.lasting[side as usize] {
                    let there = self.now[side as usize].contains_key(path);
                    assert!(there, "{path} is missing on {side:?} after {:?}", step.op);
                }
            }
        }
    }

    fn check_paths(&self, step: &Step) {
        let mut paths = vec![step.op.path()];
        match &step.op {
            Op::MoveDirectory { from, .. } | Op::MoveFile { from, .. } => paths.push(from),
            Op::Link { members, .. } => paths.extend(members.iter().map(|(path, _)| path)),
            _ => {}
        }
        for path in paths {
            let mut names = path.as_bytes().split(|byte| *byte == b'/');
            let reserved = names.any(|n| n.starts_with(b".mirror-"));
            assert!(!reserved, "{:?} touches a reserved name", step.op);
            let root = path.is_root() && !matches!(step.op, Op::Settle { .. });
            assert!(!root, "{:?} changes the root", step.op);
        }
    }

    fn fails(&self, side: Side, op: &Op, why: &str) -> ! {
        let shown: Vec<String> = self.now[side as usize].keys().map(ToString::to_string).collect();
        panic!("{why}: on {side:?} {op:?}\nthere is now: {}", shown.join(" "));
    }

    /// What stands at a path, which has to be as expected.
    fn expect(&self, side: Side, path: &RelPath, expected: &Expected, op: &Op) -> Option<Entry> {
        let standing = self.now[side as usize].get(path);
        let matches = match (expected, standing) {
            (Expected::Absent, None) => true,
            (Expected::Directory { device, inode }, Some(entry)) => {
                entry.kind.is_directory()
                    && (*device, *inode) == (entry.identity.device, entry.identity.inode)
            }
            (Expected::Version { identity, size, mtime }, Some(entry)) => {
                let ours = self.ours[side as usize].contains(&identity.inode);
                identity.is_same_inode(&entry.identity)
                    && *size == entry.kind.size()
                    && *mtime == entry.meta.mtime
                    && (ours || identity.ctime == entry.identity.ctime)
            }
            _ => false,
        };
        if !matches {
            self.fails(side, op, &format!("{path} is not as expected but {standing:?}"));
        }
        standing.cloned()
    }

    fn parent_stands(&mut self, side: Side, path: &RelPath, op: &Op) {
        let now = &mut self.now[side as usize];
        match now.get_mut(&path.parent()) {
            Some(parent) if parent.kind.is_directory() => parent.meta.mtime = NOW,
            _ => self.fails(side, op, "there is no directory for it"),
        }
    }

    fn fresh(&mut self) -> Identity {
        self.next_inode += 1;
        Identity { device: 1, inode: self.next_inode, ctime: NOW, links: 1 }
    }

    fn make(
        &mut self,
        side: Side,
        path: &RelPath,
        kind: Kind,
        meta: &Meta,
        digest: Option<Digest>,
    ) {
        let mut entry = Tree::entry(path.split().unwrap().1, kind, 0);
        entry.meta = meta.clone();
        entry.digest = digest;
        entry.identity = self.fresh();
        self.ours[side as usize].insert(entry.identity.inode);
        self.now[side as usize].insert(path.clone(), entry);
    }

    /// The source's entry that a copy reads.
    fn source(&self, side: Side, path: &RelPath, source: &Identity, op: &Op) -> Entry {
        match self.now[side.other() as usize].get(path) {
            Some(entry) if entry.identity.is_same_inode(source) => entry.clone(),
            other => self.fails(side, op, &format!("the source has {other:?} there")),
        }
    }

    fn is_empty(&self, side: Side, path: &RelPath) -> bool {
        let mut within = self.now[side as usize].range(path.clone()..).skip(1);
        !within.next().is_some_and(|(next, _)| next.is_within(path))
    }

    fn keep(&mut self, keep: bool, entry: Option<Entry>) {
        self.history.extend(entry.filter(|_| keep));
    }

    fn move_files<'s>(&mut self, side: Side, steps: impl Iterator<Item = &'s Step>) {
        let mut moving = Vec::new();
        for step in steps {
            let Op::MoveFile { from, to, expected, replaces, .. } = &step.op else {
                continue;
            };
            let entry = self.expect(side, from, expected, &step.op).unwrap();
            if !entry.kind.is_file() {
                self.fails(side, &step.op, "only files move");
            }
            let old = self.expect(side, to, replaces, &step.op);
            if old.is_some_and(|old| old.kind.is_directory()) {
                self.fails(side, &step.op, "a file cannot replace a directory");
            }
            moving.push((step, entry));
        }
        let mut taken = HashSet::new();
        for (step, mut entry) in moving {
            let Op::MoveFile { from, to, keeps_old_name, meta, .. } = &step.op else {
                continue;
            };
            if let Some(meta) = meta {
                assert!(!keeps_old_name, "the old name would change with the new one");
                entry.meta = meta.clone();
            }
            assert!(taken.insert(to.clone()), "two files move to {to}");
            self.parent_stands(side, to, &step.op);
            self.parent_stands(side, from, &step.op);
            entry.name = to.split().unwrap().1;
            entry.identity.ctime = NOW;
            self.ours[side as usize].insert(entry.identity.inode);
            if *keeps_old_name {
                // Unless something else has moved there, it has two names for now.
            } else if taken.contains(from) {
                self.fails(side, &step.op, "the old name is needed");
            } else {
                self.now[side as usize].remove(from);
            }
            self.now[side as usize].insert(to.clone(), entry);
        }
    }

    fn step(&mut self, step: &Step) {
        let (side, op) = (step.side, &step.op);
        match op {
            Op::MakeDirectory { path, meta } => {
                self.parent_stands(side, path, op);
                self.expect(side, path, &Expected::Absent, op);
                self.make(side, path, Kind::Directory, meta, None);
            }
            Op::ReplaceWithDirectory { path, meta, expected, keep_old } => {
                self.parent_stands(side, path, op);
                let old = self.expect(side, path, expected, op);
                if old.as_ref().is_none_or(|old| old.kind.is_directory()) {
                    self.fails(side, op, "it replaces what is no directory");
                }
                self.keep(*keep_old, old);
                self.make(side, path, Kind::Directory, meta, None);
            }
            Op::MoveDirectory { from, to, expected } => {
                let top = self.expect(side, from, expected, op);
                if top.is_none_or(|top| !top.kind.is_directory()) || to.is_within(from) {
                    self.fails(side, op, "it cannot be moved");
                }
                self.expect(side, to, &Expected::Absent, op);
                self.parent_stands(side, to, op);
                self.parent_stands(side, from, op);
                let now = &mut self.now[side as usize];
                let inside: Vec<RelPath> = now
                    .range(from.clone()..)
                    .map(|(path, _)| path)
                    .take_while(|path| path.is_within(from))
                    .cloned()
                    .collect();
                for old in inside {
                    let entry = now.remove(&old).unwrap();
                    let rest = &old.as_bytes()[from.as_bytes().len()..];
                    let new = [to.as_bytes(), rest].concat();
                    let new = RelPath::new(&new).unwrap();
                    let mut entry = entry;
                    entry.name = new.split().unwrap().1;
                    now.insert(new, entry);
                }
            }
            Op::MoveFile { .. } => unreachable!("moves happen at once"),
            Op::Put { path, kind, meta, source, expected, keep_old } => {
                self.parent_stands(side, path, op);
                let old = self.expect(side, path, expected, op);
                if old.as_ref().is_some_and(|old| old.kind.is_directory()) || kind.is_directory() {
                    self.fails(side, op, "directories are not copied");
                }
                let source = self.source(side, path, source, op);
                if source.kind != *kind {
                    self.fails(side, op, "the source is of another kind");
                }
                self.keep(*keep_old, old);
                self.make(side, path, kind.clone(), meta, source.digest);
            }
            Op::SetMeta { path, meta, expected } => {
                let old = self.expect(side, path, expected, op).unwrap();
                self.set_meta(side, &old, meta);
            }
            Op::Settle { path, meta, .. } => match self.now[side as usize].get(path).cloned() {
                Some(entry) if entry.kind.is_directory() => self.set_meta(side, &entry, meta),
                _ => self.fails(side, op, "there is no directory"),
            },
            Op::Link { leader, members, keep_old, .. } => {
                let Some(entry) = self.now[side as usize].get(leader).cloned() else {
                    self.fails(side, op, "there is no leader");
                };
                for (member, expected) in members {
                    self.parent_stands(side, member, op);
                    let old = self.expect(side, member, expected, op);
                    if old.as_ref().is_some_and(|old| old.kind.is_directory()) {
                        self.fails(side, op, "a link cannot replace a directory");
                    }
                    self.keep(*keep_old, old);
                    self.link(side, &entry, member);
                }
            }
            Op::Remove { path, expected, keep_old } => {
                self.parent_stands(side, path, op);
                let old = self.expect(side, path, expected, op);
                if old.as_ref().is_none_or(|old| old.kind.is_directory())
                    && !self.is_empty(side, path)
                {
                    self.fails(side, op, "the directory is not empty");
                }
                self.untouchable(side, path, op);
                self.keep(*keep_old, old);
                self.now[side as usize].remove(path);
            }
            Op::ReplaceDirectory { path, kind, meta, source, expected, leader, .. } => {
                self.parent_stands(side, path, op);
                self.expect(side, path, expected, op);
                if !self.is_empty(side, path) {
                    self.fails(side, op, "the directory is not empty");
                }
                let from = self.source(side, path, source, op);
                match leader {
                    Some(leader) => {
                        let Some(entry) = self.now[side as usize].get(leader).cloned() else {
                            self.fails(side, op, "there is no leader");
                        };
                        self.link(side, &entry, path);
                    }
                    None => self.make(side, path, kind.clone(), meta, from.digest),
                }
            }
            other => panic!("what is {other:?}?"),
        }
    }

    fn link(&mut self, side: Side, entry: &Entry, member: &RelPath) {
        let mut entry = entry.clone();
        entry.name = member.split().unwrap().1;
        self.ours[side as usize].insert(entry.identity.inode);
        self.now[side as usize].insert(member.clone(), entry);
    }

    fn set_meta(&mut self, side: Side, of: &Entry, meta: &Meta) {
        for entry in self.now[side as usize].values_mut() {
            if entry.identity.is_same_inode(&of.identity) {
                entry.meta = meta.clone();
                entry.identity.ctime = NOW;
            }
        }
    }

    /// Nothing that a filter excludes or protects is deleted.
    fn untouchable(&self, side: Side, path: &RelPath, op: &Op) {
        let directory = self.now[side as usize][path].kind.is_directory();
        let mut names = path.clone();
        let mut excluded = self.filter.verdict(path, directory) == Verdict::Excluded;
        while !names.is_root() {
            names = names.parent();
            excluded |= self.filter.verdict(&names, true) == Verdict::Excluded;
        }
        if excluded && !self.filter.deletes_excluded() {
            self.fails(side, op, "it is excluded");
        }
        if side == Side::B && self.filter.is_protected(path, directory) {
            self.fails(side, op, "it is protected");
        }
    }
}

/// What makes two entries equal: all but which inode they are.
pub fn essence(entry: &Entry) -> (Kind, Meta, Option<Digest>) {
    (entry.kind.clone(), entry.meta.clone(), entry.digest)
}

/// Which names share inodes, as sets of paths.
fn groups(tree: &Tree) -> BTreeSet<BTreeSet<RelPath>> {
    let mut groups: HashMap<u64, BTreeSet<RelPath>> = HashMap::new();
    for (path, entry) in tree.iter().filter(|(_, entry)| !entry.kind.is_directory()) {
        groups.entry(entry.identity.inode).or_default().insert(path.clone());
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}

/// How two trees differ, one line for each path; empty when they are equal, hard links included.
pub fn differences(a: &Tree, b: &Tree) -> Vec<String> {
    let (a_entries, b_entries) = (entries(a), entries(b));
    let paths: BTreeSet<&RelPath> = a_entries.keys().chain(b_entries.keys()).collect();
    let mut differences = Vec::new();
    for path in paths {
        let (a, b) = (a_entries.get(path), b_entries.get(path));
        if a.map(essence) != b.map(essence) {
            differences.push(format!("{path}: {:?} and {:?}", a.map(essence), b.map(essence)));
        }
    }
    if groups(a) != groups(b) {
        differences.push(format!("links: {:?} and {:?}", groups(a), groups(b)));
    }
    differences
}
