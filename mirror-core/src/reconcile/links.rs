//! Names that share an inode: which of the target's already do, which have to be linked, and
//! which share one that they must not.

use std::collections::HashMap;

use super::Rules;
use super::choose::{Choice, Chooser, Contested};
use super::compare::{Content, Diff, Item};
use super::ties::Ties;
use crate::entry::{Entry, Side};
use crate::error::Error;
use crate::listing::Pair;
use crate::path::RelPath;
use crate::plan::Expected;
use crate::spool::Spool;

/// Device and inode number.
pub(crate) type Inode = (u64, u64);

/// What a path with several names, here or there, has to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The name of its inode that gets the content; the others become links to it.
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

impl Role {
    pub(crate) fn group(self) -> usize {
        match self {
            Role::Leader { group, .. } | Role::Member { group, .. } => group,
        }
    }
}

/// Names of one inode on the source.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The name that the others are linked to. None while all of them replace directories.
    pub(crate) leader: Option<RelPath>,
    /// The name that is left of them when everything but directories is through.
    pub(crate) stands: Option<RelPath>,
    /// Whether the leader is an old name that goes when the new ones are linked to it.
    pub(crate) leader_goes: bool,
    /// Names that have to be linked to the leader, and what each is now. A name that replaces a
    /// directory is not among them: it is linked when the directory has become empty.
    pub(crate) to_link: Vec<(RelPath, Expected)>,
    /// Whether one of them has lost a conflict and is to be kept.
    pub(crate) keep_old: bool,
    /// The steps that link them, so many names each; they are done one after the other, and when
    /// the last is done all are.
    pub(crate) links: Vec<u32>,
    /// The step that brings the leader to its content or metadata.
    pub(crate) leader_step: Option<u32>,
    /// What the leader is, where it stays as it is and needs no step.
    pub(crate) leader_expected: Option<Expected>,
}

/// How many names one step links: a saved plan has one line for each step, and a line has an end.
pub(crate) const NAMES_AT_ONCE: usize = 500;

impl Group {
    /// The number of the step after which all names are linked, where any has to be; `reserve`
    /// gives out the numbers.
    pub(crate) fn last_link(&mut self, reserve: impl FnMut() -> u32) -> Option<u32> {
        if self.links.is_empty() {
            let steps = self.to_link.len().div_ceil(NAMES_AT_ONCE);
            self.links = std::iter::repeat_with(reserve).take(steps).collect();
        }
        self.links.last().copied()
    }
}

/// All groups of one side.
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) roles: HashMap<RelPath, Role>,
    pub(crate) groups: Vec<Group>,
}

/// One name of an inode of the source.
struct Member {
    path: RelPath,
    source: Entry,
    target: Option<Entry>,
    same: bool,
    meets: bool,
    loses: bool,
    /// Whether both sides are equal there, so that nothing but links may change.
    agreed: bool,
    /// Whether it stays as it is: others may be linked to it, but it to nothing.
    stays: bool,
}

impl Member {
    /// What the target has there, if it is no directory: those have one name.
    fn file(&self) -> Option<&Entry> {
        self.target.as_ref().filter(|entry| !entry.kind.is_directory())
    }

    fn replaces_directory(&self) -> bool {
        self.target.as_ref().is_some_and(|entry| entry.kind.is_directory())
    }
}

pub(crate) fn inode(entry: &Entry) -> Inode {
    (entry.identity.device, entry.identity.inode)
}

/// Sorts the names that share inodes on either side into groups, for both sides that `rules` let
/// change.
pub(crate) fn find(
    items: &Spool<Item>,
    rules: &Rules<'_>,
    contested: &Contested,
) -> Result<Pair<Links>, Error> {
    let ties = Ties::find(items, rules, contested)?;
    let mut links = Pair::default();
    for &target in rules.targets() {
        *links.on_mut(target) = find_on(items, rules, contested, &ties, target, &links.b)?;
    }
    Ok(links)
}

/// The groups of one side. New names on A can be linked to those that are to stay as they are,
/// where those on B stay too, as `on_b` tells.
fn find_on(
    items: &Spool<Item>,
    rules: &Rules<'_>,
    contested: &Contested,
    ties: &Ties,
    target: Side,
    on_b: &Links,
) -> Result<Links, Error> {
    let mut order: Vec<Inode> = Vec::new();
    let mut members: HashMap<Inode, Vec<Member>> = HashMap::new();
    let mut vanishing = Vanishing::default();
    let mut chooser = Chooser::new(rules, contested);
    for item in items.iter() {
        let Item::Diff(diff) = item.map_err(Error::Spool)? else {
            continue;
        };
        let choice = chooser.choose(&diff);
        if !ties.concern(&diff) {
            continue;
        }
        let here = diff.on(target).filter(|entry| !entry.kind.is_directory());
        let Some(wanted) = diff.on(target.other()) else {
            if choice == Choice::Onto(target) {
                vanishing.add(&diff, target);
            }
            continue;
        };
        let agreed_on = (choice == Choice::Agreed).then(|| ties.target(&diff));
        let followed = choice.changes(target) || agreed_on == Some(target);
        let stays = agreed_on == Some(Side::B) && target == Side::A && on_b.keeps_inode(&diff.path);
        if wanted.kind.is_directory() || !(followed || stays) {
            continue;
        }
        let key = inode(wanted);
        let onto = rules.onto(target);
        let member = Member {
            same: matches!(diff.content, Content::Same(_)),
            meets: here
                .is_some_and(|e| onto.is_met(&wanted.kind, &onto.meta(&wanted.meta), &e.meta)),
            loses: matches!(choice, Choice::Loses(..)),
            agreed: choice == Choice::Agreed,
            stays,
            source: wanted.clone(),
            target: diff.on(target).cloned(),
            path: diff.path,
        };
        let group = members.entry(key).or_insert_with(|| {
            order.push(key);
            Vec::new()
        });
        group.push(member);
    }

    let mut links = Links::default();
    // The inode of the source that keeps an inode of the target; all others that share it get one
    // of their own.
    let mut owners: HashMap<Inode, Inode> = HashMap::new();
    for key in order {
        let Some(members) = members.remove(&key) else {
            continue;
        };
        links.add(key, members, &mut owners, &vanishing, rules, target);
    }
    Ok(links)
}

impl Links {
    /// Whether a path keeps the inode that it has.
    fn keeps_inode(&self, path: &RelPath) -> bool {
        matches!(
            self.roles.get(path),
            Some(Role::Leader { must_put: false, .. } | Role::Member { linked: true, .. })
        )
    }

    fn add(
        &mut self,
        key: Inode,
        members: Vec<Member>,
        owners: &mut HashMap<Inode, Inode>,
        vanishing: &Vanishing,
        rules: &Rules<'_>,
        target: Side,
    ) {
        let index = self.groups.len();
        let mut group = Group::default();
        let kept = leader_to_keep(key, &members, owners);
        let mut kept_inode = None;
        let mut leader = members.iter().position(|member| !member.replaces_directory());
        if let Some(place) = kept {
            leader = kept;
            kept_inode = members[place].file().map(inode);
            kept_inode.map(|inode| owners.insert(inode, key));
            let as_it_is = members[place].meets || members[place].agreed;
            group.leader_expected = members[place].file().filter(|_| as_it_is).map(Expected::of);
        } else if let Some((old, entry)) = vanishing.old_name(&members, rules, target) {
            group.leader = Some(old);
            group.leader_expected = Some(Expected::of(&entry));
            group.leader_goes = true;
            leader = None;
        }
        if let Some(place) = leader {
            group.leader = Some(members[place].path.clone());
        }
        for (place, member) in members.into_iter().enumerate() {
            if member.stays && leader != Some(place) {
                continue;
            }
            let role = if leader == Some(place) {
                Role::Leader { group: index, must_put: kept.is_none() }
            } else {
                let linked = kept_inode.is_some() && member.file().map(inode) == kept_inode;
                if !linked && !member.replaces_directory() {
                    let expected = member.target.as_ref();
                    let expected = expected.map_or(Expected::Absent, Expected::of);
                    group.keep_old |= member.loses && rules.policy.keep_losers;
                    group.to_link.push((member.path.clone(), expected));
                }
                Role::Member { group: index, linked }
            };
            self.roles.insert(member.path, role);
        }
        group.stands = match group.to_link.first() {
            Some((path, _)) if group.leader_goes => Some(path.clone()),
            _ => group.leader.clone(),
        };
        self.groups.push(group);
    }
}

/// The first name whose inode on the target can stay, because it holds the right content and
/// nothing else is to share it.
fn leader_to_keep(key: Inode, members: &[Member], owners: &HashMap<Inode, Inode>) -> Option<usize> {
    let stays = members.iter().position(|member| member.stays);
    let mut names: HashMap<Inode, u32> = HashMap::new();
    for file in members.iter().filter_map(Member::file) {
        *names.entry(inode(file)).or_default() += 1;
    }
    let fits = |member: &Member| {
        let Some(file) = member.file().filter(|_| member.same) else {
            return false;
        };
        let owned = owners.get(&inode(file)).is_some_and(|owner| *owner != key);
        // Setting metadata would change the inode's other names too.
        let ours = file.identity.links <= names[&inode(file)];
        !owned && (member.meets || ours)
    };
    stays.or_else(|| members.iter().position(fits))
}

/// Files that are to be deleted from the target, by the inode that they were on the source.
#[derive(Default)]
struct Vanishing {
    by_source: HashMap<Inode, (RelPath, Entry)>,
    /// How many names of an inode of the target are to be deleted.
    names: HashMap<Inode, u32>,
}

impl Vanishing {
    fn add(&mut self, diff: &Diff, target: Side) {
        let file = diff.on(target).filter(|entry| !entry.kind.is_directory());
        let Some(entry) = file.filter(|entry| entry.identity.links > 1) else {
            return;
        };
        *self.names.entry(inode(entry)).or_default() += 1;
        let was = diff.base.as_ref().and_then(|r| r.identity(target.other()));
        if let Some(was) = was {
            self.by_source
                .entry((was.device, was.inode))
                .or_insert_with(|| (diff.path.clone(), entry.clone()));
        }
    }

    /// The old name of an inode all of whose names on the source are new: they are linked to the
    /// old one before it goes, which copies nothing.
    fn old_name(
        &self,
        members: &[Member],
        rules: &Rules<'_>,
        target: Side,
    ) -> Option<(RelPath, Entry)> {
        let linked_before_it_goes = |member: &&Member| !member.replaces_directory();
        let wanted = &members.iter().find(linked_before_it_goes)?.source;
        let (path, entry) = self.by_source.get(&inode(wanted))?;
        let onto = rules.onto(target);
        let content =
            !wanted.kind.is_file() || (wanted.digest.is_some() && wanted.digest == entry.digest);
        let same = content
            && wanted.kind == entry.kind
            && onto.is_met(&wanted.kind, &onto.meta(&wanted.meta), &entry.meta);
        let all_go = self.names.get(&inode(entry)) == Some(&entry.identity.links);
        (same && all_go && wanted.identity.links > 1).then(|| (path.clone(), entry.clone()))
    }
}
