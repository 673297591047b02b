//! Deciding: base, two trees and a policy become a plan. Nothing here touches a disk.
//!
//! The trees are compared directory by directory ([`compare`]); directories that were renamed are
//! recognised ([`relocate`]); where only reading tells whether two files are equal, the caller
//! reads; then files that moved ([`moves`]) and names of one inode ([`ties`], [`links`]) are found
//! and each path is decided: what the policy makes of it by itself ([`choose`]), in which steps
//! ([`decide`]), and what the base learns from them ([`ledger`]).

pub(crate) mod census;
pub(crate) mod choose;
pub(crate) mod compare;
pub(crate) mod decide;
pub(crate) mod ledger;
pub(crate) mod links;
pub(crate) mod moves;
pub(crate) mod relocate;
pub(crate) mod ties;

use std::sync::Arc;

use crate::entry::{Problem, Side};
use crate::error::Error;
use crate::filter::Filter;
use crate::listing::{Tree, record_of};
use crate::plan::Plan;
use crate::policy::{Capabilities, Direction, Policy, Projection};
use crate::spool::Spool;

pub(crate) use census::Census;
pub(crate) use compare::{Content, Item, Tally, compare};
pub(crate) use decide::{BATCH_BYTES, decide};
pub(crate) use ledger::{Ledger, LedgerItem};

/// All that a decision rests on besides the trees.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) filter: &'a Filter,
    pub(crate) onto_a: Projection,
    pub(crate) onto_b: Projection,
    /// Whether what is equal shall be remembered.
    pub(crate) remember: bool,
    /// Whether the last run was interrupted, and may have left what it was working on half way.
    pub(crate) interrupted: bool,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(
        policy: &'a Policy,
        filter: &'a Filter,
        capabilities: [&Capabilities; 2],
        remember: bool,
    ) -> Rules<'a> {
        Rules {
            policy,
            filter,
            onto_a: Projection::new(policy, capabilities[0]),
            onto_b: Projection::new(policy, capabilities[1]),
            remember,
            interrupted: false,
        }
    }

    pub(crate) fn onto(&self, side: Side) -> &Projection {
        match side {
            Side::A => &self.onto_a,
            Side::B => &self.onto_b,
        }
    }

    /// The sides that this policy changes.
    pub(crate) fn targets(&self) -> &'static [Side] {
        match self.policy.direction {
            Direction::Mirror => &[Side::B],
            Direction::Both => &[Side::B, Side::A],
        }
    }
}

/// Plans what makes two trees equal by `policy`.
///
/// `base` is what both agreed on when they were last brought level; None at first contact. With
/// [`Policy::mirror`] tree B follows A and a base only helps to recognise renames; with
/// [`Policy::both_ways`] the changes of either side since the base go to the other, what both
/// changed is a conflict, and without a base nothing is deleted.
///
/// What `filter` excludes is passed over on both sides, as a scan would. Contents are told apart by size, mtime and the digests in the trees; where these leave a doubt
/// they count as different. Everything is done in time linear in the number of entries.
///
/// ```
/// use mirror_core::{Filter, Policy, Tree, reconcile};
///
/// let source = Tree::from_files([("a.txt", "hello")])?;
/// let plan = reconcile(None, &source, &Tree::default(), &Policy::mirror(), &Filter::default())?;
/// assert_eq!(plan.to_string(), "copy a.txt\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// None that trees in memory can cause; the type is that of the streaming engine.
pub fn reconcile(
    base: Option<&Tree>,
    a: &Tree,
    b: &Tree,
    policy: &Policy,
    filter: &Filter,
) -> Result<Plan, Error> {
    let all = Capabilities::all();
    let rules = Rules::new(policy, filter, [&all, &all], base.is_some());
    let blocks = base.map(Tree::blocks).unwrap_or_default();
    let base_root = base.and_then(|tree| tree.get(&crate::RelPath::root())).map(record_of);
    // What the source hides and the target shows is deleted there.
    let everything = Filter::default();
    let deletes = filter.deletes_excluded() && policy.direction == Direction::Mirror;
    let hidden_on_b = if deletes { &everything } else { filter };
    let mut items = Spool::new(None);
    let mut sink = |item: Item| items.push(&item).map(drop).map_err(Error::Spool);
    let tally = compare(
        blocks.into_iter().map(|block| Ok(Arc::new(block))),
        base_root.as_ref(),
        &mut a.listings_through(filter),
        &mut b.listings_through(hidden_on_b),
        &rules,
        &mut sink,
    )?;
    let items = relocate::relocate(items, &rules, None)?;
    let mut nothing_to_read = |_: &[moves::Doubt]| Ok(Vec::new());
    let census = Census::of(&items)?;
    let (plan, _) = decide(&items, &census, tally, &rules, &mut nothing_to_read, None)?;
    Ok(plan)
}

/// A problem at a path, as data for the report.
pub(crate) fn problem(path: &crate::RelPath, error: impl Into<String>) -> Problem {
    Problem { path: path.clone(), error: error.into() }
}
