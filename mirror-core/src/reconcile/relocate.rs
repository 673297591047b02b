//! Directories that were renamed on one side: one rename on the other side instead of deleting
//! and copying all that is in them.
//!
//! A directory is known again by its inode, which the base remembers. Where it stands now and
//! where it stood become one: the entries that are to be deleted at the old place are compared
//! with those to be created at the new one, as if they had been there all along.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use super::Rules;
use super::choose::{Choice, Chooser, Contested};
use super::compare::{Content, Diff, Item, Relocated, content};
use crate::entry::Side;
use crate::error::Error;
use crate::fs::Folder;
use crate::path::RelPath;
use crate::policy::{Direction, Extraneous};
use crate::spool::Spool;

/// A renamed directory, and where it stands on the target until it is moved.
#[derive(Debug)]
struct Relocation {
    target: Side,
    /// The directory itself at its old place.
    old: Diff,
    /// Where in the spool the entries below it begin; None when there are none.
    start: Option<u64>,
}

type Push<'p> = dyn FnMut(Item) -> Result<(), Error> + 'p;

/// Rewrites `items` so that renamed directories are where they go. Returns them as they are where
/// there is none.
pub(crate) fn relocate(
    items: Spool<Item>,
    rules: &Rules<'_>,
    folder: Option<Folder>,
) -> Result<Spool<Item>, Error> {
    let relocations = find(&items, rules)?;
    if relocations.is_empty() {
        return Ok(items);
    }
    let sources: BTreeMap<&RelPath, Side> =
        relocations.values().map(|relocation| (&relocation.old.path, relocation.target)).collect();
    let mut rewritten = Spool::new(folder);
    let mut push = |item: Item| rewritten.push(&item).map(drop).map_err(Error::Spool);
    // Directories whose new place has been passed in their parent's listing, and whose own
    // listing is still to come; it does not when they are empty by now.
    let mut waiting: BTreeMap<&RelPath, &Relocation> = BTreeMap::new();
    let mut merging: Option<Merge<'_>> = None;
    for item in items.iter() {
        let item = item.map_err(Error::Spool)?;
        let listed_in = item.listed_in();
        if let Some(merge) = merging.take_if(|merge| !listed_in.is_within(merge.to)) {
            merge.finish(rules, &mut push)?;
        }
        while let Some((&to, &relocation)) = waiting.first_key_value() {
            if *to > listed_in {
                break;
            }
            waiting.remove(to);
            let merge = Merge::new(&items, to, relocation);
            if listed_in.is_within(to) {
                merging = Some(merge);
            } else {
                merge.finish(rules, &mut push)?;
            }
        }
        if let Some(&target) = ancestor_in(&sources, item.path()) {
            if let Item::Diff(diff) = item {
                let is_top = sources.contains_key(&diff.path);
                push(Item::MovedAway { path: diff.path, target, is_top })?;
            }
            continue;
        }
        match item {
            Item::Diff(diff) => {
                if let Some((to, relocation)) = relocations.get_key_value(&diff.path) {
                    let target = relocation.target;
                    let mut top = combine(to, Some(&diff), Some(&relocation.old), target, rules);
                    if let Item::Diff(diff) = &mut top {
                        diff.relocated.iter_mut().for_each(|relocated| relocated.is_top = true);
                    }
                    push(top)?;
                    waiting.insert(to, relocation);
                } else if let Some(merge) = &mut merging {
                    merge.meet(&diff, rules, &mut push)?;
                } else {
                    push(Item::Diff(diff))?;
                }
            }
            other => push(other)?,
        }
    }
    if let Some(merge) = merging.take() {
        merge.finish(rules, &mut push)?;
    }
    for (to, relocation) in waiting {
        Merge::new(&items, to, relocation).finish(rules, &mut push)?;
    }
    Ok(rewritten)
}

/// The entries at a directory's old place, met with those at its new one.
struct Merge<'a> {
    to: &'a RelPath,
    relocation: &'a Relocation,
    old: Box<dyn Iterator<Item = Result<Diff, Error>> + 'a>,
    next: Option<Diff>,
}

impl<'a> Merge<'a> {
    fn new(items: &'a Spool<Item>, to: &'a RelPath, relocation: &'a Relocation) -> Merge<'a> {
        let from = &relocation.old.path;
        let old = relocation.start.into_iter().flat_map(|start| items.iter_from(start));
        let old = old.map(|item| item.map_err(Error::Spool));
        let old = old
            .take_while(move |item| item.as_ref().map_or(true, |i| i.listed_in().is_within(from)))
            .filter_map(|item| match item {
                Ok(Item::Diff(diff)) => Some(Ok(*diff)),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            });
        Merge { to, relocation, old: Box::new(old), next: None }
    }

    /// The next entry at the old place, with the path it will have.
    fn peek(&mut self) -> Result<Option<(RelPath, &Diff)>, Error> {
        if self.next.is_none() {
            self.next = self.old.next().transpose()?;
        }
        Ok(self.next.as_ref().map(|diff| {
            let path = diff.path.rebase(&self.relocation.old.path, self.to);
            (path.expect("the region holds what lies below the old place"), diff)
        }))
    }

    /// Deals with everything up to `new`, an entry at the new place.
    fn meet(&mut self, new: &Diff, rules: &Rules<'_>, push: &mut Push<'_>) -> Result<(), Error> {
        let target = self.relocation.target;
        while let Some((path, old)) = self.peek()? {
            match listing_order(&path, &new.path) {
                Ordering::Less => push(combine(&path, None, Some(old), target, rules))?,
                Ordering::Equal => {
                    push(combine(&path, Some(new), Some(old), target, rules))?;
                    self.next = None;
                    return Ok(());
                }
                Ordering::Greater => break,
            }
            self.next = None;
        }
        push(combine(&new.path, Some(new), None, target, rules))
    }

    fn finish(mut self, rules: &Rules<'_>, push: &mut Push<'_>) -> Result<(), Error> {
        let target = self.relocation.target;
        while let Some((path, old)) = self.peek()? {
            push(combine(&path, None, Some(old), target, rules))?;
            self.next = None;
        }
        Ok(())
    }
}

/// The order of listings: by directory, then by name.
pub(crate) fn listing_order(a: &RelPath, b: &RelPath) -> Ordering {
    (a.parent(), a.name()).cmp(&(b.parent(), b.name()))
}

/// One path as if the target's entry were at its new place already.
fn combine(
    path: &RelPath,
    new: Option<&Diff>,
    old: Option<&Diff>,
    target: Side,
    rules: &Rules<'_>,
) -> Item {
    let source_entry = new.and_then(|diff| diff.on(target.other())).cloned();
    let target_entry = old.and_then(|diff| diff.on(target)).cloned().map(|mut entry| {
        entry.name = path.name();
        entry
    });
    let base = old.and_then(|diff| diff.base.clone()).map(|mut record| {
        record.name = path.name();
        record
    });
    let (a, b) = match target {
        Side::B => (source_entry, target_entry),
        Side::A => (target_entry, source_entry),
    };
    let content = match (&a, &b) {
        (Some(a), Some(b)) => content(a, b, base.as_ref(), rules.policy.compare),
        _ => Content::Different,
    };
    let protected =
        b.as_ref().is_some_and(|entry| rules.filter.is_protected(path, entry.kind.is_directory()));
    Item::Diff(Box::new(Diff {
        path: path.clone(),
        a,
        b,
        base,
        content,
        protected,
        relocated: old.map(|diff| Relocated { from: diff.path.clone(), target, is_top: false }),
    }))
}

/// The key of `map` that `path` is or lies within.
fn ancestor_in<'m, V>(map: &'m BTreeMap<&RelPath, V>, path: &RelPath) -> Option<&'m V> {
    let mut candidate = path.clone();
    loop {
        if let Some(value) = map.get(&candidate) {
            return Some(value);
        }
        if candidate.is_root() {
            return None;
        }
        candidate = candidate.parent();
    }
}

/// Finds renamed directories by their inodes, and keeps those that can be moved whole.
fn find(items: &Spool<Item>, rules: &Rules<'_>) -> Result<BTreeMap<RelPath, Relocation>, Error> {
    let mut found = BTreeMap::new();
    let contested = Contested::find(items, rules)?;
    // Old and new places: what one side renamed stays clear of what the other did.
    let mut taken: BTreeMap<RelPath, ()> = BTreeMap::new();
    for &target in rules.targets() {
        let mut gone: HashMap<(u64, u64), Diff> = HashMap::new();
        let mut come: Vec<((u64, u64), RelPath)> = Vec::new();
        let mut chooser = Chooser::new(rules, &contested);
        for item in items.iter() {
            let Item::Diff(diff) = item.map_err(Error::Spool)? else {
                continue;
            };
            let choice = chooser.choose(&diff);
            if chooser.is_decided_above(&diff.path) {
                continue;
            }
            if let Some(inode) = renamed_away(&diff, target, rules) {
                gone.insert(inode, *diff);
            } else if let (Some(entry), None) = (diff.on(target.other()), diff.on(target))
                && entry.kind.is_directory()
                && choice == Choice::Onto(target)
            {
                come.push(((entry.identity.device, entry.identity.inode), diff.path));
            }
        }
        let pairs = come.into_iter().filter_map(|(inode, to)| gone.remove(&inode).map(|d| (d, to)));
        let mut pairs: Vec<(Diff, RelPath)> = pairs.collect();
        pairs.sort_by(|x, y| x.0.path.cmp(&y.0.path));
        pairs.retain(|(old, to)| !overlaps(&taken, &old.path) && !overlaps(&taken, to));
        let mut accepted = topmost(pairs);
        examine(items, &mut accepted, target, rules)?;
        for (to, candidate) in accepted {
            if candidate.movable {
                let Candidate { old, start, .. } = candidate;
                taken.extend([(old.path.clone(), ()), (to.clone(), ())]);
                found.insert(to, Relocation { target, old, start });
            }
        }
    }
    Ok(found)
}

/// Whether a key of `map` lies within `path`, or `path` within a key. No key lies within another.
fn overlaps<V>(map: &BTreeMap<RelPath, V>, path: &RelPath) -> bool {
    let below = map.range(path.clone()..).next();
    let above = map.range(..path.clone()).next_back();
    below.is_some_and(|(key, _)| key.is_within(path))
        || above.is_some_and(|(key, _)| path.is_within(key))
}

struct Candidate {
    old: Diff,
    start: Option<u64>,
    movable: bool,
}

/// The inode that a directory to be deleted from `target` had on the other side, if the base
/// remembers one.
fn renamed_away(diff: &Diff, target: Side, rules: &Rules<'_>) -> Option<(u64, u64)> {
    let entry = diff.on(target)?;
    let record = diff.base.as_ref()?;
    if diff.on(target.other()).is_some()
        || !entry.kind.is_directory()
        || !record.kind.is_directory()
    {
        return None;
    }
    let identity = record.identity(target.other())?;
    may_move(diff, rules).then_some((identity.device, identity.inode))
}

/// Whether an entry that only the target has may go elsewhere. What was changed in it since the
/// base goes along, and meets what was changed at the new place.
fn may_move(diff: &Diff, rules: &Rules<'_>) -> bool {
    let stays =
        rules.policy.direction == Direction::Mirror && rules.policy.extraneous == Extraneous::Keep;
    !diff.protected && !stays
}

/// Whether a filter that lists an entry at its old place would hide it at the new one.
fn is_excluded_at(
    to: &RelPath,
    from: &RelPath,
    diff: &Diff,
    target: Side,
    rules: &Rules<'_>,
) -> bool {
    let (Some(entry), false) = (diff.on(target), rules.filter.is_empty()) else {
        return false;
    };
    let path = diff.path.rebase(from, to);
    path.is_some_and(|path| !rules.filter.admits(&path, entry.kind.is_directory()))
}

/// Whether the target may not have an entry at the new place that it has at the old one: a symlink
/// that leads out of the tree from there.
fn is_forbidden_at(
    to: &RelPath,
    from: &RelPath,
    diff: &Diff,
    target: Side,
    rules: &Rules<'_>,
) -> bool {
    let Some(entry) = diff.on(target) else {
        return false;
    };
    let path = diff.path.rebase(from, to);
    path.is_some_and(|path| rules.onto(target).forbids(&path, &entry.kind).is_some())
}

/// Drops pairs that lie within one another: what they hold is found file by file.
fn topmost(pairs: Vec<(Diff, RelPath)>) -> BTreeMap<RelPath, Candidate> {
    let mut sources: BTreeMap<RelPath, ()> = BTreeMap::new();
    let mut accepted: BTreeMap<RelPath, Candidate> = BTreeMap::new();
    for (old, to) in pairs {
        let from = &old.path;
        let nested = to.is_within(from) || from.is_within(&to);
        if !nested && !overlaps(&sources, from) && !overlaps(&accepted, &to) {
            sources.insert(from.clone(), ());
            accepted.insert(to, Candidate { old, start: None, movable: true });
        }
    }
    accepted
}

/// Finds where the entries of each old place begin, and which candidates hold something that
/// must not move: what is protected, excluded, unreadable, or must not be at the new place.
fn examine(
    items: &Spool<Item>,
    accepted: &mut BTreeMap<RelPath, Candidate>,
    target: Side,
    rules: &Rules<'_>,
) -> Result<(), Error> {
    if accepted.is_empty() {
        return Ok(());
    }
    let by_source: BTreeMap<RelPath, RelPath> =
        accepted.iter().map(|(to, candidate)| (candidate.old.path.clone(), to.clone())).collect();
    let sources: BTreeMap<&RelPath, &RelPath> = by_source.iter().collect();
    let places: BTreeMap<RelPath, ()> = accepted.keys().map(|to| (to.clone(), ())).collect();
    let places: BTreeMap<&RelPath, &RelPath> = places.keys().map(|to| (to, to)).collect();
    let mut iter = items.iter();
    loop {
        let position = iter.position();
        let Some(item) = iter.next() else {
            return Ok(());
        };
        let item = item.map_err(Error::Spool)?;
        if let Some(&to) = ancestor_in(&places, item.path())
            && !matches!(item, Item::Diff(_))
        {
            accepted.get_mut(to).expect("places are the keys").movable = false;
        }
        let Some(&to) = ancestor_in(&sources, item.path()) else {
            continue;
        };
        let candidate = accepted.get_mut(to).expect("sources lead to keys");
        match &item {
            Item::Diff(diff) if diff.path == candidate.old.path => {}
            Item::Diff(diff) => {
                candidate.start.get_or_insert(position);
                candidate.movable &= may_move(diff, rules)
                    && diff.on(target.other()).is_none()
                    && !is_excluded_at(to, &candidate.old.path, diff, target, rules)
                    && !is_forbidden_at(to, &candidate.old.path, diff, target, rules);
            }
            _ => candidate.movable = false,
        }
    }
}
