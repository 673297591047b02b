//! What the policy says about one path by itself.

use super::Rules;
use super::compare::{Content, Diff, is_known, meets};
use crate::entry::{Entry, Side};
use crate::manifest::Record;
use crate::plan::ConflictKind;
use crate::policy::{Direction, Extraneous, OnConflict};

/// What the policy says about one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Both are equal.
    Agreed,
    /// This side becomes what the other is. If that settles a conflict, which.
    Onto(Side, Option<ConflictKind>),
    /// Both stay as they are.
    Conflict(ConflictKind),
    /// It is not touched.
    Keep,
    /// It is gone on both sides.
    Forget,
}

/// Decides one path by itself.
pub(crate) fn choose(diff: &Diff, rules: &Rules<'_>) -> Choice {
    let agreed = match (&diff.a, &diff.b) {
        (None, None) => return Choice::Forget,
        (Some(a), Some(b)) => {
            matches!(diff.content, Content::Same(_)) && meets(&rules.onto_b, a, b)
        }
        _ => false,
    };
    if agreed {
        return Choice::Agreed;
    }
    match rules.policy.direction {
        Direction::Mirror => match &diff.a {
            None if diff.protected || rules.policy.extraneous == Extraneous::Keep => Choice::Keep,
            _ => Choice::Onto(Side::B, None),
        },
        Direction::Both => choose_both_ways(diff, rules),
    }
}

fn choose_both_ways(diff: &Diff, rules: &Rules<'_>) -> Choice {
    let Some(record) = &diff.base else {
        // Without an ancestor nothing is deleted and nothing is overwritten.
        return match (&diff.a, &diff.b) {
            (Some(_), None) => Choice::Onto(Side::B, None),
            (None, _) => Choice::Onto(Side::A, None),
            (Some(a), Some(b)) if a.kind.is_directory() && b.kind.is_directory() => {
                Choice::Onto(Side::B, None)
            }
            _ => conflict(diff, ConflictKind::NoAncestor, rules),
        };
    };
    let changed = |side: Side| {
        diff.on(side)
            .is_some_and(|e| has_changed(e, record, side, rules))
    };
    match (&diff.a, &diff.b) {
        (Some(_), None) if changed(Side::A) => conflict(diff, ConflictKind::DeletedOnB, rules),
        (None, Some(_)) if changed(Side::B) => conflict(diff, ConflictKind::DeletedOnA, rules),
        (None, Some(_)) if diff.protected => Choice::Keep,
        (Some(_), None) => Choice::Onto(Side::A, None),
        (None, _) => Choice::Onto(Side::B, None),
        (Some(a), Some(b)) => match (changed(Side::A), changed(Side::B)) {
            (true, false) => Choice::Onto(Side::B, None),
            (false, true) => Choice::Onto(Side::A, None),
            // Two directories differ in metadata alone, where the primary may well win.
            _ if a.kind.is_directory() && b.kind.is_directory() => Choice::Onto(Side::B, None),
            _ => conflict(diff, ConflictKind::BothChanged, rules),
        },
    }
}

/// Whether an entry is not what the base remembers of its side. The mtime of a directory changes
/// with what is in it and says nothing of itself.
fn has_changed(entry: &Entry, record: &Record, side: Side, rules: &Rules<'_>) -> bool {
    if is_known(Some(entry), Some(record), side) {
        return false;
    }
    let mut remembered = record.meta(side).clone();
    if entry.kind.is_directory() {
        remembered.mtime = entry.meta.mtime;
    }
    let content = match (entry.digest, record.digest) {
        (Some(now), Some(then)) => now == then,
        _ => entry.kind.size() == 0 || remembered.mtime == entry.meta.mtime,
    };
    entry.kind != record.kind
        || !content
        || !rules
            .onto(side)
            .is_met(&entry.kind, &remembered, &entry.meta)
}

fn conflict(diff: &Diff, kind: ConflictKind, rules: &Rules<'_>) -> Choice {
    let winner = match (rules.policy.on_conflict, &diff.a, &diff.b) {
        (OnConflict::Report, ..) => return Choice::Conflict(kind),
        (OnConflict::PreferA, ..) => Side::A,
        (OnConflict::PreferB, ..) => Side::B,
        (OnConflict::Newest, Some(a), Some(b)) if b.meta.mtime > a.meta.mtime => Side::B,
        (OnConflict::Newest, Some(_), _) => Side::A,
        (OnConflict::Newest, None, _) => Side::B,
    };
    Choice::Onto(winner.other(), Some(kind))
}
