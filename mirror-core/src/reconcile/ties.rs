//! Which names hang together: those that share an inode on one side, and again those that share one
//! with them on the other.
//!
//! Where both sides hold the same under such a name, only its links may differ, and that one side
//! made or broke a link shows in no single name. So all that hang together take one direction.

use std::collections::HashMap;

use super::Rules;
use super::choose::{Choice, Chooser, Contested};
use super::compare::{Diff, Item, is_known};
use super::links::{Inode, inode};
use crate::entry::{Entry, Side};
use crate::error::Error;
use crate::policy::Direction;
use crate::spool::Spool;

/// What is known of names that hang together.
#[derive(Debug, Clone, Copy, Default)]
struct Knot {
    /// Whether any content or metadata goes to sides A and B.
    onto: [bool; 2],
    /// Whether any agreed name is not what the base remembers on sides A and B.
    changed: [bool; 2],
}

/// Names that share inodes, and which way they go.
#[derive(Debug, Default)]
pub(crate) struct Ties {
    /// Inodes of which any name is not as the base remembers it. All others are linked as they
    /// should be, and nothing is kept of them.
    places: HashMap<(Side, Inode), usize>,
    /// Each leads to another that it hangs together with, or to itself.
    leads: Vec<usize>,
    knots: Vec<Knot>,
}

impl Ties {
    pub(crate) fn find(
        items: &Spool<Item>,
        rules: &Rules<'_>,
        contested: &Contested,
    ) -> Result<Ties, Error> {
        let mut ties = Ties::default();
        let mut chooser = Chooser::new(rules, contested);
        for item in items.iter() {
            let Item::Diff(diff) = item.map_err(Error::Spool)? else {
                continue;
            };
            let agreed = chooser.choose(&diff) == Choice::Agreed;
            if !(agreed && diff.is_known() && diff.relocated.is_none()) && is_linked(&diff) {
                for (side, entry) in files(&diff) {
                    ties.place(side, entry);
                }
            }
        }
        if rules.policy.direction == Direction::Both && !ties.places.is_empty() {
            ties.tie(items, rules, contested)?;
        }
        Ok(ties)
    }

    fn place(&mut self, side: Side, entry: &Entry) -> usize {
        let next = self.leads.len();
        let place = *self.places.entry((side, inode(entry))).or_insert(next);
        if place == next {
            self.leads.push(next);
            self.knots.push(Knot::default());
        }
        place
    }

    fn tie(
        &mut self,
        items: &Spool<Item>,
        rules: &Rules<'_>,
        contested: &Contested,
    ) -> Result<(), Error> {
        let mut chooser = Chooser::new(rules, contested);
        for item in items.iter() {
            let Item::Diff(diff) = item.map_err(Error::Spool)? else {
                continue;
            };
            let choice = chooser.choose(&diff);
            if !self.concern(&diff) {
                continue;
            }
            let mut knot = Knot::default();
            for side in [Side::A, Side::B] {
                // What vanishes ties nothing together.
                let comes = diff.on(side.other()).is_some();
                knot.onto[side as usize] = choice.changes(side) && comes;
                knot.changed[side as usize] =
                    choice == Choice::Agreed && !is_known(diff.on(side), diff.base.as_ref(), side);
            }
            let places: Vec<usize> =
                files(&diff).map(|(side, entry)| self.place(side, entry)).collect();
            for &place in &places {
                let (first, second) = (self.end(places[0]), self.end(place));
                self.leads[second] = first;
                let other = std::mem::take(&mut self.knots[second]);
                for added in [other, knot] {
                    for side in 0..2 {
                        self.knots[first].onto[side] |= added.onto[side];
                        self.knots[first].changed[side] |= added.changed[side];
                    }
                }
            }
        }
        Ok(())
    }

    /// The one that stands for all that hang together with `place`.
    fn end(&mut self, mut place: usize) -> usize {
        while self.leads[place] != place {
            // Halving the way each time keeps all ways short.
            self.leads[place] = self.leads[self.leads[place]];
            place = self.leads[place];
        }
        place
    }

    /// Whether a path shares an inode with any that changed.
    pub(crate) fn concern(&self, diff: &Diff) -> bool {
        !self.places.is_empty()
            && files(diff).any(|(side, entry)| self.places.contains_key(&(side, inode(entry))))
    }

    /// The side whose links follow the other's at a path on which both agree: A only where A's
    /// are as they were, B's are not, and nothing else that hangs together with it goes to B.
    pub(crate) fn target(&self, diff: &Diff) -> Side {
        let place = files(diff).find_map(|(side, entry)| self.places.get(&(side, inode(entry))));
        let Some(&place) = place else {
            return Side::B;
        };
        let mut place = place;
        while self.leads[place] != place {
            place = self.leads[place];
        }
        let Knot { onto, changed } = self.knots[place];
        let only_b = changed == [false, true];
        if !onto[Side::B as usize] && (onto[Side::A as usize] || only_b) {
            Side::A
        } else {
            Side::B
        }
    }
}

fn is_linked(diff: &Diff) -> bool {
    files(diff).any(|(_, entry)| entry.identity.links > 1)
}

fn files(diff: &Diff) -> impl Iterator<Item = (Side, &Entry)> {
    let sides = [Side::A, Side::B].into_iter();
    let entries = sides.filter_map(|side| diff.on(side).map(|entry| (side, entry)));
    entries.filter(|(_, entry)| !entry.kind.is_directory())
}
