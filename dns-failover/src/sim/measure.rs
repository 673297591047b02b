//! What a year was like for users: minutes without an answer, moves without a reason, how long it took.

use serde::Serialize;

use super::baseline::{Contestant, Run};
use super::faults::YEAR;
use super::truth::{SERVERS, SITES, Truth, UK, US};

/// How long resolvers keep an answer, in milliseconds.
const TTL: i64 = 30_000;
/// A move away is false when at no time so shortly before it the site failed a tenth of its users.
const JUST_BEFORE: i64 = 15_000;
const NOTICEABLE: f64 = 0.1;
/// Outages that are shorter end before anybody can do anything.
const WORTH: i64 = 60_000;

/// One year of one contestant.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Year {
    /// Minutes without an answer, weighed by the share of users.
    pub unavailable_minutes: f64,
    /// Moves from the UK to the US, averaged over the name servers.
    pub moves: f64,
    /// Those of them that left a site which was serving.
    pub false_moves: f64,
    /// Outages of a minute and more from which nobody moved though the other site was there.
    pub missed: u64,
    /// Outages of a minute and more at the site in use, while the other one was there.
    pub outages: u64,
    /// Seconds from the beginning of each of them until most name servers answered with the other site.
    pub recovery: Vec<f64>,
    /// Minutes in which no controller had a quorum.
    pub below_quorum_minutes: f64,
    /// How often an invariant did not hold.
    pub violations: u64,
}

/// Years together.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    years: u64,
    total: Year,
}

impl Tally {
    /// Adds a year.
    pub fn add(&mut self, year: &Year) {
        self.years += 1;
        let total = &mut self.total;
        total.unavailable_minutes += year.unavailable_minutes;
        total.moves += year.moves;
        total.false_moves += year.false_moves;
        total.missed += year.missed;
        total.outages += year.outages;
        total.recovery.extend(&year.recovery);
        total.below_quorum_minutes += year.below_quorum_minutes;
        total.violations += year.violations;
    }

    /// Adds other years.
    pub fn merge(&mut self, other: &Tally) {
        let years = self.years + other.years;
        self.add(&other.total);
        self.years = years;
    }

    fn per_year(&self, sum: f64) -> f64 {
        sum / self.years.max(1) as f64
    }

    /// How many years.
    pub fn years(&self) -> u64 {
        self.years
    }

    /// Minutes a year without an answer, weighed by the share of users.
    pub fn unavailable_minutes(&self) -> f64 {
        self.per_year(self.total.unavailable_minutes)
    }

    /// Moves a year away from the UK.
    pub fn moves(&self) -> f64 {
        self.per_year(self.total.moves)
    }

    /// Moves a year away from a site that was serving.
    pub fn false_moves(&self) -> f64 {
        self.per_year(self.total.false_moves)
    }

    /// The share of outages of a minute and more that nobody moved from; 0 without any.
    pub fn missed_share(&self) -> f64 {
        self.total.missed as f64 / self.total.outages.max(1) as f64
    }

    /// Minutes a year in which no controller had a quorum.
    pub fn below_quorum_minutes(&self) -> f64 {
        self.per_year(self.total.below_quorum_minutes)
    }

    /// Seconds until most name servers answered with the site that works, for a share of all outages
    /// that were moved from. None when there were none.
    pub fn recovery(&self, share: f64) -> Option<f64> {
        let mut times = self.total.recovery.clone();
        times.sort_by(f64::total_cmp);
        let place = ((times.len() as f64 * share).ceil() as usize).saturating_sub(1);
        times.get(place).copied()
    }

    /// How often an invariant did not hold.
    pub fn violations(&self) -> u64 {
        self.total.violations
    }
}

pub(super) fn measure(truth: &Truth, contestant: Contestant, run: &Run) -> Year {
    let mut year = Year {
        violations: run.violations,
        below_quorum_minutes: run.below_quorum / 60.0,
        ..Year::default()
    };
    let ends = truth.moments.iter().skip(1).map(|next| next.from).chain([YEAR]);
    for (moment, end) in truth.moments.iter().zip(ends) {
        if moment.users == [0.0; SITES] {
            continue;
        }
        let failed = if contestant == Contestant::Oracle {
            (end - moment.from) as f64 * moment.users[UK].min(moment.users[US])
        } else {
            failed(run, moment.from, end, moment.users)
        };
        year.unavailable_minutes += failed / 60_000.0;
    }
    let mut left = |at: i64, weight: f64| {
        year.moves += weight;
        year.false_moves += if failed_lately(truth, at) { 0.0 } else { weight };
    };
    match &run.decisions {
        Some(decisions) => decisions.iter().for_each(|at| left(*at, 1.0)),
        None => {
            let changes = run.answers.iter().flat_map(|answers| &answers[1..]);
            let to_us = changes.filter(|(_, site)| *site == US);
            to_us.for_each(|(at, _)| left(*at, 1.0 / SERVERS as f64));
        }
    }
    if contestant != Contestant::Oracle {
        recoveries(truth, run, &mut year);
    }
    year
}

/// User-milliseconds without an answer while sites fail so many of their users.
fn failed(run: &Run, from: i64, to: i64, users: [f64; SITES]) -> f64 {
    let each = run.answers.iter().map(|answers| {
        // Shares move along straight lines between changes and the ends of what was cached.
        let near = answers.partition_point(|(at, _)| *at <= from - TTL).saturating_sub(1);
        let recent = &answers[near..answers.partition_point(|(at, _)| *at < to)];
        let mut points = vec![from, to];
        points.extend(recent.iter().flat_map(|(at, _)| [*at, *at + TTL]));
        points.retain(|at| (from..=to).contains(at));
        points.sort_unstable();
        let spans = points.windows(2).filter(|span| span[0] < span[1]);
        spans
            .map(|span| {
                let share = share_of_us(recent, (span[0] + span[1]) as f64 / 2.0);
                (span[1] - span[0]) as f64 * (share * users[US] + (1.0 - share) * users[UK])
            })
            .sum::<f64>()
    });
    each.sum::<f64>() / SERVERS as f64
}

/// Whoever asks does so again a TTL later, so that the share of users who hold an answer is the share of
/// the last TTL in which it was given.
fn share_of_us(answers: &[(i64, usize)], at: f64) -> f64 {
    let start = at - TTL as f64;
    let mut share = 0.0;
    for (index, (from, site)) in answers.iter().enumerate() {
        let until = answers.get(index + 1).map_or(at, |(next, _)| (*next as f64).min(at));
        if *site == US {
            share += (until - (*from as f64).max(start)).max(0.0);
        }
    }
    share / TTL as f64
}

fn failed_lately(truth: &Truth, at: i64) -> bool {
    let last = truth.moments.partition_point(|moment| moment.from <= at);
    let first = truth.moments.partition_point(|moment| moment.from <= at - JUST_BEFORE);
    truth.moments[first.saturating_sub(1)..last].iter().any(|moment| moment.users[UK] >= NOTICEABLE)
}

/// How long it took to leave the UK when it was down and the US was not.
fn recoveries(truth: &Truth, run: &Run, year: &mut Year) {
    let mut start = None;
    for moment in &truth.moments {
        let down = moment.users[UK] >= 0.99 && moment.users[US] < 0.01;
        match (start, down) {
            (None, true) => start = Some(moment.from),
            (Some(from), false) => {
                outage(run, from, moment.from, year);
                start = None;
            }
            _ => {}
        }
    }
}

fn outage(run: &Run, from: i64, to: i64, year: &mut Year) {
    let at = |answers: &[(i64, usize)], time: i64| {
        answers[answers.partition_point(|(at, _)| *at <= time).saturating_sub(1)].1
    };
    let in_use = run.answers.iter().filter(|answers| at(answers, from) == UK).count();
    if to - from < WORTH || in_use * 2 <= SERVERS {
        return;
    }
    year.outages += 1;
    let mut left: Vec<i64> = run
        .answers
        .iter()
        .filter_map(|answers| {
            if at(answers, from) == US {
                return Some(from);
            }
            let next = answers.iter().find(|(when, site)| *when > from && *site == US)?;
            (next.0 <= to).then_some(next.0)
        })
        .collect();
    left.sort_unstable();
    // Most of them: the fourth of six.
    match left.get(SERVERS / 2) {
        Some(moved) => year.recovery.push((moved - from) as f64 / 1000.0),
        None => year.missed += 1,
    }
}
