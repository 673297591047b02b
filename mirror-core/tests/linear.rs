//! Planning costs what the trees hold, whatever they hold: inputs that a careless search takes
//! minutes for. What is quadratic would have to look ten thousand million times here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mirror_core::{Digest, Entry, Filter, Kind, Op, Plan, Policy, RelPath, Tree, reconcile};

const MANY: u64 = 100_000;

/// No plan here takes more than a few seconds; hours are what this is to tell from.
const PATIENCE: Duration = Duration::from_secs(240);

fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

fn file(inode: u64, content: &str) -> Entry {
    let kind = Kind::File { size: content.len() as u64 };
    let mut entry = Tree::entry(path("f").split().unwrap().1, kind, inode);
    entry.digest = Some(Digest::of(content.as_bytes()));
    entry.identity.ctime.seconds = inode as i64;
    entry
}

/// `count` files in directories of a thousand, as `name` and `content` say.
fn many(
    count: u64,
    name: impl Fn(u64) -> String,
    inode: impl Fn(u64) -> u64,
    content: impl Fn(u64) -> String,
) -> Tree {
    let mut tree = Tree::default();
    for number in 0..count {
        let path = path(&format!("d{:03}/{}", number / 1_000, name(number)));
        tree.insert(path, file(inode(number), &content(number)));
    }
    tree
}

fn plan(base: Option<Tree>, a: Tree, b: Tree, policy: Policy) -> Plan {
    let (sender, receiver) = mpsc::channel();
    // A thread that hangs ends with the process.
    thread::spawn(move || {
        let plan = reconcile(base.as_ref(), &a, &b, &policy, &Filter::default());
        let _ = sender.send(plan.unwrap());
    });
    receiver.recv_timeout(PATIENCE).expect("planning takes linear time")
}

fn moves(plan: &Plan) -> u64 {
    let counts = plan.summary().counts;
    counts[0].moved + counts[1].moved
}

#[test]
fn identical_files_that_all_got_other_names() {
    let old = many(MANY, |n| format!("old{n}"), |n| n + 1, |_| "same".into());
    let new = many(MANY, |n| format!("new{n}"), |n| n + 500_000, |_| "same".into());
    let plan = plan(None, new, old, Policy::mirror());
    assert_eq!(moves(&plan), MANY);
    assert_eq!(plan.summary().bytes_to_copy, 0);
}

#[test]
fn identical_sizes_and_times_with_different_contents() {
    let old = many(MANY, |n| format!("old{n}"), |n| n + 1, |n| format!("{n:06}"));
    let new = many(MANY, |n| format!("new{n}"), |n| n + 500_000, |n| format!("{:06}", n + 500_000));
    let plan = plan(None, new, old, Policy::mirror());
    let counts = plan.summary().counts[1];
    assert_eq!((counts.created, counts.deleted), (MANY, MANY));
}

#[test]
fn renames_known_by_inode() {
    let old = many(MANY, |n| format!("old{n}"), |n| n + 1, |n| format!("{n:06}"));
    let new = many(MANY, |n| format!("new{}", n * 7 % 1_000), |n| n + 1, |n| format!("{n:06}"));
    for policy in [Policy::mirror(), Policy::both_ways()] {
        let plan = plan(Some(old.clone()), new.clone(), old.clone(), policy);
        assert_eq!(moves(&plan), MANY);
    }
}

#[test]
fn renames_known_by_name_and_times_alone() {
    let old = many(MANY, |n| format!("f{n}"), |n| n + 1, |n| format!("{n:06}"));
    // Every file goes to the next directory under its name.
    let mut new = Tree::default();
    for number in 0..MANY {
        let place = format!("d{:03}/f{number}", number / 1_000 + 1);
        new.insert(path(&place), file(number + 500_000, &format!("{number:06}")));
    }
    let plan = plan(None, new, old, Policy::mirror());
    assert_eq!(moves(&plan), MANY);
}

#[test]
fn names_of_one_inode_and_of_many() {
    for share in [2, MANY] {
        let links = u32::try_from(share).unwrap();
        let mut old = Tree::default();
        let mut new = Tree::default();
        for number in 0..MANY {
            let place = path(&format!("d{:03}/f{number}", number / 1_000));
            let mut linked = file(number / share + 1, "same");
            linked.identity.links = links;
            new.insert(place.clone(), linked);
            old.insert(place, file(number + 500_000, "same"));
        }
        let first = plan(None, new.clone(), old.clone(), Policy::mirror());
        let linked: u64 = first
            .steps()
            .map(|step| match step.unwrap().op {
                Op::Link { members, .. } => members.len() as u64,
                _ => 0,
            })
            .sum();
        assert_eq!(linked, MANY - MANY / share);
        // And all links broken again.
        let broken = plan(None, old, new, Policy::mirror());
        assert!(!broken.is_empty());
    }
}

#[test]
fn renamed_directories() {
    let (mut base, mut new) = (Tree::default(), Tree::default());
    for number in 0..20_000 {
        let directory = || Tree::entry(path("d").split().unwrap().1, Kind::Directory, number + 1);
        base.insert(path(&format!("old{number}")), directory());
        new.insert(path(&format!("new{number}")), directory());
        for child in 0..2 {
            let content = file(1_000_000 + number * 2 + child, &format!("{number}-{child}"));
            base.insert(path(&format!("old{number}/{child}")), content.clone());
            new.insert(path(&format!("new{number}/{child}")), content);
        }
    }
    for policy in [Policy::mirror(), Policy::both_ways()] {
        let plan = plan(Some(base.clone()), new.clone(), base.clone(), policy);
        assert_eq!(moves(&plan), 20_000);
        assert_eq!(plan.summary().bytes_to_copy, 0);
    }
}

#[test]
fn a_chain_of_directories_and_a_wide_one() {
    let deep: Vec<String> = (0..900).map(|n| format!("{}", n % 10)).collect();
    let mut a = Tree::default();
    a.insert(path(&deep.join("/")), file(1, "deep"));
    for number in 0..MANY {
        a.insert(path(&format!("wide/{number}/x")), file(number + 10, "x"));
    }
    let first = plan(None, a.clone(), Tree::default(), Policy::mirror());
    assert_eq!(first.summary().counts[1].created as usize, a.len());
    let gone = plan(Some(a.clone()), Tree::default(), a.clone(), Policy::both_ways());
    assert_eq!(gone.summary().counts[1].deleted as usize, a.len());
}

#[test]
fn conflicts_everywhere() {
    let mut base = Tree::default();
    let (mut a, mut b) = (Tree::default(), Tree::default());
    for number in 0..MANY / 4 {
        let inside = path(&format!("d{number}/x"));
        base.insert(inside.clone(), file(number + 1, "x"));
        a.insert(path(&format!("d{number}")), file(number + 300_000, "now a file"));
        b.insert(inside, file(number + 600_000, "edited"));
    }
    let plan = plan(Some(base), a, b, Policy::both_ways());
    assert_eq!(plan.conflicts().len() as u64, MANY / 4);
}
