//! Our rules: two controllers, their observers, and six name servers that keep the fence.

use crate::decision::{
    Answer, Cause, Decision, Effect, Epoch, Event, Millis, Observer, Policy, PolicyConfig,
    Publication, Report, Seen, ServiceId, State, Stay, Timestamp, Vote,
};

use super::baseline::{Run, probe};
use super::faults::{Faults, YEAR};
use super::losses::Losses;
use super::rng::Rng;
use super::truth::{Moment, SERVERS, SITES, Truth, UK, US};

const ROUND: i64 = 2000;
const TIMEOUT: i64 = 1000;
/// From a decision until a name server answers with it: a look at all six, which waits half a second for
/// those that are dead, then an UPDATE, a NOTIFY and a transfer.
const PUBLISHING: i64 = 700;
/// How long faults may be over until all must agree.
const SETTLING: i64 = 60_000;
const NAMES: [&str; 6] = ["uk", "us", "c", "d", "e", "f"];

struct Controller {
    policy: Policy,
    /// None while it is stopped for the first time; kept on its disk while it is.
    state: State,
    runs: bool,
    lost: u32,
}

#[derive(Clone)]
struct Server {
    epoch: Epoch,
    site: usize,
}

struct World<'a> {
    truth: &'a Truth,
    index: usize,
    observers: Vec<usize>,
    losses: Vec<[Losses; SITES]>,
    controllers: [Controller; SITES],
    servers: Vec<Server>,
    web: ServiceId,
    rng: Rng,
    run: Run,
    /// Since when nothing has been wrong.
    fine_since: i64,
    /// The latest decision that any name server was told of.
    told: Epoch,
}

pub(super) fn run(truth: &Truth, faults: &Faults, vantages: &[usize], seed: u64) -> Run {
    World::new(truth, faults, vantages, seed).run()
}

/// The rules that the simulation is run with: the defaults, with a web that returns by itself.
fn config(controller: usize, vantages: &[usize]) -> PolicyConfig {
    let id = |index: usize| NAMES[index].parse().expect("a name");
    let mut config = PolicyConfig::example();
    config.controller = NAMES[controller].parse().expect("a name");
    config.observers = vantages
        .iter()
        .map(|vantage| Observer {
            id: id(*vantage),
            domain: NAMES[*vantage].parse().expect("a name"),
            site: (*vantage < SITES).then(|| NAMES[*vantage].parse().expect("a name")),
        })
        .collect();
    config
}

impl<'a> World<'a> {
    fn new(truth: &'a Truth, faults: &Faults, vantages: &[usize], seed: u64) -> World<'a> {
        let controllers = [UK, US].map(|site| {
            let policy = Policy::new(config(site, vantages)).expect("the rules hold together");
            let state = policy.start(Timestamp::default());
            Controller { policy, state, runs: true, lost: 0 }
        });
        let first = Epoch { number: 0, controller: NAMES[UK].parse().expect("a name") };
        let losses = vantages.iter().map(|vantage| {
            [UK, US].map(|site| {
                let stream = (*vantage * SITES + site) as u64;
                Losses::new(seed, stream, faults.probe_loss.share)
            })
        });
        World {
            truth,
            index: 0,
            observers: vantages.to_vec(),
            losses: losses.collect(),
            controllers,
            servers: vec![Server { epoch: first, site: UK }; SERVERS],
            web: "web".parse().expect("a name"),
            rng: Rng::new(seed, 2),
            run: Run {
                answers: vec![vec![(0, UK)]; SERVERS],
                decisions: Some(Vec::new()),
                ..Run::default()
            },
            fine_since: 0,
            told: first,
        }
    }

    fn run(mut self) -> Run {
        let mut round = 0;
        let rounds = YEAR / ROUND;
        while round < rounds {
            let at = round * ROUND;
            while self.truth.moments.get(self.index + 1).is_some_and(|next| next.from <= at) {
                self.index += 1;
                self.restart();
            }
            self.round(round);
            round += 1;
            let to = self.quiet_until(round);
            if to > round {
                self.skip((to - round) * ROUND, to * ROUND - 1);
                round = to;
            }
        }
        self.run
    }

    fn moment(&self) -> &'a Moment {
        &self.truth.moments[self.index]
    }

    fn clock(&self, controller: usize, at: i64) -> Timestamp {
        Timestamp::from_millis(at + self.moment().clock[controller])
    }

    /// Controllers that have started since the last moment, with what was on their disks.
    fn restart(&mut self) {
        let moment = self.moment();
        for (site, controller) in self.controllers.iter_mut().enumerate() {
            controller.runs = moment.runs[site];
            if controller.lost < moment.lost[site] {
                controller.lost = moment.lost[site];
                let now = Timestamp::from_millis(moment.from + moment.clock[site]);
                controller.state = controller.policy.start(now);
            }
        }
    }

    fn round(&mut self, round: i64) {
        let (moment, start) = (self.moment(), round * ROUND);
        // Failures are known when the time for an answer is over.
        let mut reports: Vec<(i64, usize, Report)> = Vec::with_capacity(self.observers.len());
        for (place, vantage) in self.observers.iter().enumerate() {
            if !moment.alive[*vantage] {
                continue;
            }
            let at = start + 100 * place as i64;
            let mut failed = false;
            let results = [UK, US].map(|site| {
                let up = probe(moment, *vantage, site, &mut self.losses[place][site], round);
                failed |= !up;
                Seen { service: self.web, site: NAMES[site].parse().expect("a name"), up }
            });
            let report = Report {
                observer: NAMES[*vantage].parse().expect("a name"),
                at: Timestamp::from_millis(at),
                controls: Some(moment.sees[*vantage]),
                results: results.to_vec(),
            };
            reports.push((at + if failed { TIMEOUT } else { 50 }, *vantage, report));
        }
        reports.sort_by_key(|(at, vantage, _)| (*at, *vantage));
        for (at, vantage, report) in reports {
            let event = Event::Observed(report);
            for site in [UK, US] {
                let near = vantage == site;
                if near || moment.sees[vantage] && moment.sees[site] {
                    self.feed(site, &event, at);
                }
            }
        }
        let end = start + ROUND - 1;
        for site in [UK, US] {
            self.feed(site, &Event::Tick, end);
            self.publish(site, end);
        }
        self.judge(end);
    }

    fn feed(&mut self, site: usize, event: &Event, at: i64) {
        let now = self.clock(site, at);
        let controller = &mut self.controllers[site];
        if !controller.runs {
            return;
        }
        let state = std::mem::replace(&mut controller.state, controller.policy.start(now));
        let (state, effects) = controller.policy.step(state, event, now);
        controller.state = state;
        for effect in effects {
            match effect {
                Effect::Decided(decision) => self.check(site, &decision),
                Effect::Publish(_) => self.publish(site, at),
                _ => {}
            }
        }
    }

    /// Whether a name server can be reached by a controller.
    fn reaches(&self, site: usize, server: usize) -> bool {
        let moment = self.moment();
        moment.takes[server]
            && (server == site || moment.sees[site] && (server >= SITES || moment.sees[server]))
    }

    /// Brings every name server in reach to what this controller decided last, unless one of them
    /// knows better.
    fn publish(&mut self, site: usize, at: i64) {
        if !self.controllers[site].runs {
            return;
        }
        let Publication { epoch, answers } = self.controllers[site].state.publication();
        let reached: Vec<_> = (0..SERVERS).filter(|server| self.reaches(site, *server)).collect();
        let later = reached.iter().map(|server| &self.servers[*server]);
        if let Some(later) = later.max_by_key(|server| server.epoch).filter(|of| of.epoch > epoch) {
            let answer = Answer::Site(NAMES[later.site].parse().expect("a name"));
            let event = Event::Learned { epoch: later.epoch, answers: vec![(self.web, answer)] };
            return self.feed(site, &event, at);
        }
        if epoch.number == 0 || self.controllers[site].state.is_published() {
            return;
        }
        let answer = match answers.first() {
            Some((_, Answer::Site(name))) => usize::from(name.as_str() == NAMES[US]),
            _ => UK,
        };
        let mut have = 0;
        let leaves = self.servers.iter().max_by_key(|server| server.epoch).map(|of| of.site);
        if epoch > self.told && !reached.is_empty() {
            self.told = epoch;
            if answer == US && leaves == Some(UK) {
                self.run.decisions.get_or_insert_default().push(at);
            }
        }
        for server in reached {
            // A reply that is lost leaves the update in place; the next round finds it there.
            let told = self.rng.unit() >= 0.01;
            let known = &mut self.servers[server];
            if known.epoch < epoch {
                *known = Server { epoch, site: answer };
                let answers = &mut self.run.answers[server];
                if answers.last().map(|(_, site)| *site) != Some(answer) {
                    let when = (at + PUBLISHING).max(answers.last().map_or(0, |(when, _)| *when));
                    answers.push((when, answer));
                }
            } else if known.epoch > epoch {
                self.run.violations += 1;
            }
            have += u8::from(told);
        }
        self.feed(site, &Event::Published { epoch, have, of: SERVERS as u8 }, at);
    }

    /// What every decision must be able to show.
    fn check(&mut self, site: usize, decision: &Decision) {
        let policy = &self.controllers[site].policy;
        let quorum = usize::from(policy.quorum());
        let votes = |answer: Answer, vote: Vote| {
            let of = decision.evidence.iter().find(|of| Answer::Site(of.site) == answer);
            of.map_or(0, |of| of.votes.iter().filter(|(_, of)| *of == vote).count())
        };
        let sound = match decision.cause {
            Cause::Failover => {
                votes(decision.from, Vote::Down) >= quorum && votes(decision.to, Vote::Up) >= quorum
            }
            Cause::FailBack => votes(decision.to, Vote::Up) >= quorum,
            _ => false,
        };
        let moves = &self.controllers[site].state.services()[0].moves;
        let limit = usize::from(policy.config().moves_per_hour);
        self.run.violations += u64::from(!sound || moves.len() > limit);
    }

    /// When nothing has been wrong for a while, all must agree.
    fn judge(&mut self, at: i64) {
        let moment = self.moment();
        let fine = moment.takes == [true; SERVERS]
            && moment.runs == [true; SITES]
            && moment.sees.iter().all(|sees| *sees)
            && moment.clock == [0; SITES];
        if !fine {
            self.fine_since = at;
        }
        let below = |of: &Controller| of.runs && of.state.services()[0].stay == Stay::BelowQuorum;
        if self.controllers.iter().all(|of| !of.runs || below(of)) {
            self.run.below_quorum += ROUND as f64 / 1000.0;
        }
        // What has just been decided takes a round to be everywhere.
        let calm = |of: &Controller| {
            of.state.clock().since(of.state.services()[0].since) > Millis::from_secs(10)
        };
        if at - self.fine_since > SETTLING && self.controllers.iter().all(calm) {
            let epoch = self.servers[0].epoch;
            let agreed = self.servers.iter().all(|server| server.epoch == epoch)
                && self.controllers.iter().all(|of| of.state.epoch().number == epoch.number);
            self.run.violations += u64::from(!agreed);
        }
    }

    /// The round until which nothing can happen.
    fn quiet_until(&mut self, round: i64) -> i64 {
        let at = (round - 1) * ROUND + ROUND - 1;
        let moment = self.moment();
        let lossy = |place: usize, site: usize| {
            !matches!(moment.fails[self.observers[place]][site], 0.0 | 1.0)
        };
        if (0..self.observers.len()).any(|place| lossy(place, UK) || lossy(place, US)) {
            return round;
        }
        let edge = self.truth.moments.get(self.index + 1).map_or(YEAR, |next| next.from);
        let mut until = edge;
        for site in [UK, US] {
            let controller = &self.controllers[site];
            if !controller.runs {
                continue;
            }
            let state = &controller.state;
            let epoch = state.epoch();
            let behind = |server: &usize| {
                self.reaches(site, *server)
                    && epoch.number > 0
                    && self.servers[*server].epoch != epoch
            };
            let told = epoch.number == 0
                || state.is_published()
                || !(0..SERVERS).all(|server| self.reaches(site, server));
            if (0..SERVERS).any(|server| behind(&server)) || !told {
                return round;
            }
            match controller.policy.quiet_until(state, self.clock(site, at)) {
                Some(time) => {
                    let time = time.as_millis().saturating_sub(moment.clock[site]);
                    until = until.min(time);
                }
                None => return round,
            }
        }
        // Lost probes leave no trace after a clean run (a property of the tests), so it is enough to
        // stop early enough before what comes, and before two are lost in one view.
        let window = i64::from(self.controllers[UK].policy.config().thresholds.ok) + 1;
        let mut to = until / ROUND - window - 1;
        for losses in self.losses.iter_mut().flatten() {
            if to <= round {
                return round;
            }
            to = losses.cluster(round, to, window);
        }
        to.max(round)
    }

    fn skip(&mut self, span: i64, at: i64) {
        for site in [UK, US] {
            let now = self.clock(site, at);
            let controller = &mut self.controllers[site];
            if controller.runs {
                let state = std::mem::replace(&mut controller.state, controller.policy.start(now));
                controller.state = controller.policy.skip(state, now);
            }
        }
        let below = |of: &Controller| of.runs && of.state.services()[0].stay == Stay::BelowQuorum;
        if self.controllers.iter().all(|of| !of.runs || below(of)) {
            self.run.below_quorum += span as f64 / 1000.0;
        }
    }
}
