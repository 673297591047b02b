//! Names that share an inode: which of the target's already do, which have to be linked, and
//! which share one that they must not.

use std::collections::HashMap;

use super::Rules;
use super::choose::{Choice, choose};
use super::compare::{Content, Diff, Item};
use crate::entry::{Entry, Side};
use crate::error::Error;
use crate::path::RelPath;
use crate::plan::Expected;
use crate::spool::Spool;

type Inode = (u64, u64);

/// What a path with several names, here or there, has to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The first name of its inode: it gets the content, the others become links to it.
    Leader {
        /// Which group, to be looked up in [`Links`].
        group: usize,
        /// Whether it needs an inode of its own even if the content is right.
        must_put: bool,
    },
    /// Another name of the leader's inode.
    Member {
        /// Which group.
        group: usize,
        /// Whether the target has it linked already.
        linked: bool,
    },
}

/// Names of one inode on the source.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// Names that have to be linked to the leader, and what each is now.
    pub(crate) to_link: Vec<(RelPath, Expected)>,
    /// The step that links them.
    pub(crate) link: Option<u32>,
    /// The step that brings the leader to its content or metadata.
    pub(crate) leader_step: Option<u32>,
}

/// All groups of one side.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) roles: HashMap<RelPath, Role>,
    pub(crate) groups: Vec<Group>,
}

struct Member {
    path: RelPath,
    target: Option<Entry>,
    same: bool,
    meets: bool,
}

fn inode(entry: &Entry) -> Inode {
    (entry.identity.device, entry.identity.inode)
}

/// Sorts the names that share inodes on either side into groups.
pub(crate) fn find(items: &Spool<Item>, rules: &Rules<'_>, target: Side) -> Result<Links, Error> {
    let mut order: Vec<Inode> = Vec::new();
    let mut members: HashMap<Inode, Vec<Member>> = HashMap::new();
    // How many of the names that are looked at an inode of the target has.
    let mut seen: HashMap<Inode, u32> = HashMap::new();
    for item in items.iter() {
        let Item::Diff(diff) = item.map_err(Error::Spool)? else {
            continue;
        };
        let here = diff.on(target).filter(|entry| entry.kind.is_file());
        if let Some(entry) = here.filter(|entry| entry.identity.links > 1) {
            *seen.entry(inode(entry)).or_default() += 1;
        }
        let Some(wanted) = diff.on(target.other()).filter(|entry| entry.kind.is_file()) else {
            continue;
        };
        let shared = wanted.identity.links > 1 || here.is_some_and(|e| e.identity.links > 1);
        if !shared || !is_followed(&diff, rules, target) {
            continue;
        }
        let key = inode(wanted);
        let onto = rules.onto(target);
        let member = Member {
            same: matches!(diff.content, Content::Same(_)),
            meets: here
                .is_some_and(|e| onto.is_met(&wanted.kind, &onto.meta(&wanted.meta), &e.meta)),
            target: diff.on(target).cloned(),
            path: diff.path,
        };
        members.entry(key).or_insert_with(|| {
            order.push(key);
            Vec::new()
        });
        if let Some(group) = members.get_mut(&key) {
            group.push(member);
        }
    }

    let mut links = Links::default();
    // The first inode of the source that may keep an inode of the target; all others that share
    // it get one of their own.
    let mut owners: HashMap<Inode, Inode> = HashMap::new();
    for key in order {
        let Some(group_members) = members.remove(&key) else {
            continue;
        };
        let mut group = Group::default();
        let mut leader_inode = None;
        for (place, member) in group_members.into_iter().enumerate() {
            let index = links.groups.len();
            let file = member.target.as_ref().filter(|entry| entry.kind.is_file());
            if place == 0 {
                let must_put = file.is_none_or(|entry| {
                    let foreign = *owners.entry(inode(entry)).or_insert(key) != key;
                    // Names outside of the tree share this inode: its metadata is not ours.
                    let outside = seen
                        .get(&inode(entry))
                        .is_some_and(|&n| entry.identity.links > n);
                    foreign || (!member.meets && outside)
                });
                if member.same && !must_put {
                    leader_inode = file.map(inode);
                }
                links.roles.insert(
                    member.path,
                    Role::Leader {
                        group: index,
                        must_put,
                    },
                );
                continue;
            }
            let linked = leader_inode.is_some() && file.map(inode) == leader_inode;
            if !linked {
                let expected = member
                    .target
                    .as_ref()
                    .map_or(Expected::Absent, Expected::of);
                group.to_link.push((member.path.clone(), expected));
            }
            links.roles.insert(
                member.path,
                Role::Member {
                    group: index,
                    linked,
                },
            );
        }
        links.groups.push(group);
    }
    Ok(links)
}

/// Whether the target follows the source at this path, or both agree already.
fn is_followed(diff: &Diff, rules: &Rules<'_>, target: Side) -> bool {
    let choice = choose(diff, rules);
    let directory = diff
        .on(target)
        .is_some_and(|entry| entry.kind.is_directory());
    !directory
        && (matches!(choice, Choice::Onto(side, _) if side == target)
            || (choice == Choice::Agreed && target == Side::B))
}
