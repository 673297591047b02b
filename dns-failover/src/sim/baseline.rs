//! What others do, in a few lines each: the rules of gdnsd, of Route 53 and of PowerDNS.

use crate::decision::{Detector, Health, Thresholds, Timestamp};

use super::faults::{Faults, YEAR};
use super::losses::Losses;
use super::truth::{Moment, SERVERS, SITES, Truth, UK, US, VANTAGES};

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Contestant {
    /// Our rules with observers in both sites and in one place outside: 2 of 3 domains.
    ThreeDomains,
    /// Our rules with three places outside: 3 of 5 domains.
    FiveDomains,
    /// gdnsd's simplefo: each name server probes for itself every 10 s; 10 failures make down, 20
    /// successes up; back at once.
    Simplefo,
    /// Route 53: 16 checkers in 8 regions, every 10 s, 3 in a row; healthy when more than 18 % say so.
    Route53,
    /// PowerDNS `ifurlup` with its default `minimumFailures=1`: each name server probes for itself
    /// every 5 s and believes every probe.
    PowerDns,
    /// Nobody: the UK, for ever.
    Never,
    /// One that knows, without delay and without caches. Nothing can be better.
    Oracle,
}

impl Contestant {
    /// All of them, in the order of the table.
    pub const ALL: [Contestant; 7] = [
        Contestant::ThreeDomains,
        Contestant::FiveDomains,
        Contestant::Simplefo,
        Contestant::Route53,
        Contestant::PowerDns,
        Contestant::Never,
        Contestant::Oracle,
    ];

    /// What it is called in the table.
    pub fn name(self) -> &'static str {
        match self {
            Contestant::ThreeDomains => "ours, 3 domains",
            Contestant::FiveDomains => "ours, 5 domains",
            Contestant::Simplefo => "gdnsd simplefo",
            Contestant::Route53 => "Route 53, 10 s × 3",
            Contestant::PowerDns => "PowerDNS ifurlup",
            Contestant::Never => "never switch",
            Contestant::Oracle => "oracle",
        }
    }
}

/// What one or all name servers answered, and when that changed.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// For each name server: from when it answers with which site. Begins with the UK at 0.
    pub(super) answers: Vec<Vec<(i64, usize)>>,
    /// When it was decided to leave the UK, where that is not each name server's own decision.
    pub(super) decisions: Option<Vec<i64>>,
    /// How often an invariant did not hold.
    pub(super) violations: u64,
    /// Seconds in which no controller that ran had a quorum; none for those without one.
    pub(super) below_quorum: f64,
}

struct Rule {
    interval: i64,
    timeout: i64,
    thresholds: Thresholds,
    /// A lost probe is without consequence unless another of the same checker follows within so many.
    window: i64,
}

const fn thresholds(rise: u8, fall: u8, lapses: u8, ok: u8) -> Thresholds {
    Thresholds { rise, fall, lapses, ok }
}

pub(super) fn run(truth: &Truth, faults: &Faults, contestant: Contestant, seed: u64) -> Run {
    let each_for_itself = |rule: &Rule| {
        let answers = (0..SERVERS).map(|server| group(truth, faults, rule, &[server], seed));
        Run { answers: answers.collect(), ..Run::default() }
    };
    match contestant {
        Contestant::Simplefo => each_for_itself(&Rule {
            interval: 10_000,
            timeout: 5000,
            thresholds: thresholds(20, 10, 10, 10),
            window: 11,
        }),
        Contestant::PowerDns => each_for_itself(&Rule {
            interval: 5000,
            timeout: 2000,
            thresholds: thresholds(1, 1, 1, 1),
            window: i64::MAX / 4,
        }),
        Contestant::Route53 => {
            let checkers: Vec<_> = (SITES..VANTAGES).flat_map(|region| [region, region]).collect();
            let rule = Rule {
                interval: 10_000,
                timeout: 4000,
                thresholds: thresholds(3, 3, u8::MAX, 1),
                window: 2,
            };
            let answers = group(truth, faults, &rule, &checkers, seed);
            Run { answers: vec![answers; SERVERS], ..Run::default() }
        }
        _ => Run { answers: vec![vec![(0, UK)]; SERVERS], ..Run::default() },
    }
}

/// Checkers that decide together: a site is healthy when more than 18 % of them say so, which for a
/// single one is what it says. The UK when it is healthy, else the US when it is, else the UK.
fn group(
    truth: &Truth,
    faults: &Faults,
    rule: &Rule,
    checkers: &[usize],
    seed: u64,
) -> Vec<(i64, usize)> {
    let now = Timestamp::default();
    let mut up = Detector::default();
    (0..rule.thresholds.rise.max(rule.thresholds.ok))
        .for_each(|_| up.record(rule.thresholds, true, now));
    let mut views = vec![[up; SITES]; checkers.len()];
    let stream = |checker: usize, site: usize| {
        let purpose = (rule.interval as u64) << 16 | (checkers[0] as u64) << 8;
        Losses::new(seed, purpose + (checker * SITES + site) as u64, faults.probe_loss.share)
    };
    let mut losses: Vec<[Losses; SITES]> =
        (0..checkers.len()).map(|checker| [UK, US].map(|site| stream(checker, site))).collect();
    let mut answers = vec![(0, UK)];
    let (mut round, mut index) = (0, 0);
    let rounds = YEAR / rule.interval;
    while round < rounds {
        let at = round * rule.interval;
        while truth.moments.get(index + 1).is_some_and(|next| next.from <= at) {
            index += 1;
        }
        let moment = &truth.moments[index];
        let edge = truth.moments.get(index + 1).map_or(YEAR, |next| next.from);
        let mut quiet = true;
        let mut failed = false;
        for (checker, vantage) in checkers.iter().enumerate() {
            for site in [UK, US] {
                let up = probe(moment, *vantage, site, &mut losses[checker][site], round);
                let view = &mut views[checker][site];
                let before = *view;
                view.record(rule.thresholds, up, now);
                quiet &= before == *view && matches!(moment.fails[*vantage][site], 0.0 | 1.0);
                failed |= !up;
            }
        }
        let healthy = |site: usize| {
            let up = views.iter().filter(|views| views[site].health() == Health::Up).count();
            up * 100 > 18 * views.len()
        };
        let answer = if !healthy(UK) && healthy(US) { US } else { UK };
        if answers.last().map(|(_, site)| *site) != Some(answer) {
            answers.push((at + if failed { rule.timeout } else { 50 }, answer));
        }
        round += 1;
        if quiet {
            // Nothing comes before the truth changes or enough probes are lost.
            let edge = (edge + rule.interval - 1) / rule.interval;
            let mut until = (edge - rule.window.min(64) - 1).max(round);
            for losses in losses.iter_mut().flatten() {
                until = match rule.window {
                    0..64 => losses.cluster(round, until, rule.window),
                    _ => losses.next(round, until),
                };
            }
            round = until;
        }
    }
    answers
}

pub(super) fn probe(
    moment: &Moment,
    vantage: usize,
    site: usize,
    losses: &mut Losses,
    round: i64,
) -> bool {
    let lost = losses.is_lost(round);
    match moment.fails[vantage][site] {
        fails if fails <= 0.0 => !lost,
        fails if fails >= 1.0 => false,
        fails => !lost && losses.chance() >= fails,
    }
}
