//! What really is the case, from instant to instant of a year.

use super::faults::{Faults, YEAR};
use super::rng::Rng;

/// The vantage points: the two sites, then eight places elsewhere.
pub(super) const VANTAGES: usize = 10;
pub(super) const UK: usize = 0;
pub(super) const US: usize = 1;
pub(super) const SITES: usize = 2;
/// Name servers stand at the first six vantage points.
pub(super) const SERVERS: usize = 6;

/// What is the case for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moment {
    /// From when, in milliseconds of the year.
    pub(super) from: i64,
    /// How likely a probe fails, by vantage point and site, besides the loss that is always there.
    pub(super) fails: [[f64; SITES]; VANTAGES],
    /// Whether the vantage point is there at all.
    pub(super) alive: [bool; VANTAGES],
    /// Whether it reaches anything outside of itself.
    pub(super) sees: [bool; VANTAGES],
    /// The share of users that get no answer from a site.
    pub(super) users: [f64; SITES],
    /// Name servers that take updates.
    pub(super) takes: [bool; SERVERS],
    /// Controllers, one at each site: whether they run.
    pub(super) runs: [bool; SITES],
    /// How many times each has lost its disk so far.
    pub(super) lost: [u32; SITES],
    /// How far its clock is off, in milliseconds.
    pub(super) clock: [i64; SITES],
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    SiteDown(usize),
    ServiceDown(usize),
    BrownOut(usize, f64),
    UplinkCut(usize),
    /// A bit for each vantage point that is cut off, and the share of users.
    TransitCut(usize, u32, f64),
    Path(usize, usize),
    Blind(usize),
    ControllerStop(usize, bool),
    ClockJump(usize, i64),
    ServerUnreachable(usize),
}

/// A year.
#[derive(Debug)]
pub(super) struct Truth {
    /// In order of time; the first from 0 on.
    pub(super) moments: Vec<Moment>,
}

impl Truth {
    pub(super) fn of_year(faults: &Faults, seed: u64) -> Truth {
        let mut all = draw(faults, seed);
        all.retain(|(from, to, _)| from < to);
        let mut edges: Vec<i64> = all.iter().flat_map(|(from, to, _)| [*from, *to]).collect();
        edges.push(0);
        edges.retain(|edge| *edge < YEAR);
        edges.sort_unstable();
        edges.dedup();
        all.sort_by_key(|(from, ..)| *from);
        let mut active: Vec<(i64, i64, Fault)> = Vec::new();
        let mut next = all.into_iter().peekable();
        let mut lost = [0; SITES];
        let moments = edges.into_iter().map(|edge| {
            active.retain(|(_, to, _)| *to > edge);
            while let Some(fault) = next.next_if(|(from, ..)| *from <= edge) {
                if let Fault::ControllerStop(site, true) = fault.2 {
                    lost[site] += 1;
                }
                active.push(fault);
            }
            moment(edge, &active, lost)
        });
        Truth { moments: moments.collect() }
    }
}

fn draw(faults: &Faults, seed: u64) -> Vec<(i64, i64, Fault)> {
    let mut rng = Rng::new(seed, 1);
    let mut all = Vec::new();
    for site in 0..SITES {
        let mut add = |times: Vec<(i64, i64)>, fault: Fault| {
            all.extend(times.into_iter().map(|(from, to)| (from, to, fault)));
        };
        add(faults.site_down.times(&mut rng), Fault::SiteDown(site));
        add(faults.service_down.times(&mut rng), Fault::ServiceDown(site));
        add(faults.uplink_cut.times(&mut rng), Fault::UplinkCut(site));
        add(faults.blip.times(&mut rng), Fault::ServiceDown(site));
        for (from, to) in faults.brown_out.times(&mut rng) {
            let share = rng.between(faults.brown_out.least, faults.brown_out.most);
            all.push((from, to, Fault::BrownOut(site, share)));
        }
        for (from, to) in faults.flapping.times(&mut rng) {
            let mut at = from;
            while at < to {
                let down = 1000.0 + rng.exponential(faults.flapping.down_s * 1000.0);
                let end = (at + down as i64).min(to);
                all.push((at, end, Fault::ServiceDown(site)));
                at = end + 1000 + rng.exponential(faults.flapping.up_s * 1000.0) as i64;
            }
        }
        for (from, to) in faults.transit_cut.times(&mut rng) {
            let share = rng.between(faults.transit_cut.least, faults.transit_cut.most);
            let cut = (0..VANTAGES).filter(|vantage| *vantage != site && rng.unit() < share);
            let cut = cut.fold(0, |cut, vantage| cut | 1 << vantage);
            all.push((from, to, Fault::TransitCut(site, cut, share)));
        }
        for (from, to) in faults.controller_stop.times(&mut rng) {
            let amnesia = rng.unit() < faults.controller_stop.share_amnesia;
            all.push((from, to, Fault::ControllerStop(site, amnesia)));
        }
        for (from, to) in faults.clock_jump.times(&mut rng) {
            let off = rng.between(faults.clock_jump.least_s, faults.clock_jump.most_s) * 1000.0;
            let sign = if rng.unit() < 0.5 { -1 } else { 1 };
            all.push((from, to, Fault::ClockJump(site, sign * off as i64)));
        }
    }
    for vantage in 0..VANTAGES {
        for site in (0..SITES).filter(|site| *site != vantage) {
            for (from, to) in faults.path_fault.times(&mut rng) {
                all.push((from, to, Fault::Path(vantage, site)));
            }
        }
        for (from, to) in faults.blind.times(&mut rng) {
            // A site that sees nothing is cut off, which is drawn above.
            if vantage >= SITES {
                all.push((from, to, Fault::Blind(vantage)));
            }
        }
    }
    for server in 0..SERVERS {
        for (from, to) in faults.server_unreachable.times(&mut rng) {
            all.push((from, to, Fault::ServerUnreachable(server)));
        }
    }
    all
}

fn moment(from: i64, active: &[(i64, i64, Fault)], lost: [u32; SITES]) -> Moment {
    let mut now = Moment {
        from,
        fails: [[0.0; SITES]; VANTAGES],
        alive: [true; VANTAGES],
        sees: [true; VANTAGES],
        users: [0.0; SITES],
        takes: [true; SERVERS],
        runs: [true; SITES],
        lost,
        clock: [0; SITES],
    };
    // Chances that do not depend on one another.
    let also = |chance: &mut f64, other: f64| *chance = 1.0 - (1.0 - *chance) * (1.0 - other);
    for (_, _, fault) in active {
        match *fault {
            Fault::SiteDown(site) => {
                now.alive[site] = false;
                now.runs[site] = false;
                now.takes[site] = false;
                now.users[site] = 1.0;
                now.fails.iter_mut().for_each(|fails| fails[site] = 1.0);
            }
            Fault::ServiceDown(site) => {
                now.users[site] = 1.0;
                now.fails.iter_mut().for_each(|fails| fails[site] = 1.0);
            }
            Fault::BrownOut(site, share) => {
                also(&mut now.users[site], share);
                now.fails.iter_mut().for_each(|fails| also(&mut fails[site], share));
            }
            Fault::UplinkCut(site) => {
                now.users[site] = 1.0;
                now.sees[site] = false;
                for vantage in (0..VANTAGES).filter(|vantage| *vantage != site) {
                    now.fails[vantage][site] = 1.0;
                }
                for other in (0..SITES).filter(|other| *other != site) {
                    now.fails[site][other] = 1.0;
                }
            }
            Fault::TransitCut(site, cut, share) => {
                also(&mut now.users[site], share);
                for vantage in (0..VANTAGES).filter(|vantage| cut & 1 << vantage != 0) {
                    now.fails[vantage][site] = 1.0;
                }
            }
            Fault::Path(vantage, site) => now.fails[vantage][site] = 1.0,
            Fault::Blind(vantage) => {
                now.sees[vantage] = false;
                now.fails[vantage] = [1.0; SITES];
            }
            Fault::ControllerStop(site, _) => now.runs[site] = false,
            Fault::ClockJump(site, off) => now.clock[site] = off,
            Fault::ServerUnreachable(server) => now.takes[server] = false,
        }
    }
    now
}
