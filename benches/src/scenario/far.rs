//! The target is behind an SSH server: on this machine, or as if an ocean lay between.

use std::{path::Path, time::Duration};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Places, Turn, Work, alternate, lineup},
    disk,
};
use crate::{
    Error, digest,
    measure::{self, There, Usage},
    peers::Tool,
    sshd::{Keys, Sshd, free_port},
    walk,
    wan::{Distance, Wan},
};

/// An ocean: 100 ms, 200 Mbit/s.
const OCEAN: Distance = Distance { round_trip: Duration::from_millis(100), rate: Some(25_000_000) };

/// The same with five times the rate, which the windows of one connection do not fill.
const WIDE_OCEAN: Distance = Distance { rate: Some(125_000_000), ..OCEAN };

const SEVERAL: &[&str] = &["--durability", "none", "--connections", "4"];

const QUICK: &[&str] = &["--durability", "none"];

/// What it takes to reach the target in every run of a scenario.
struct Far {
    keys: Keys,
    /// Where all runs connect to: what a program remembers belongs to an address.
    port: u16,
    distance: Option<Distance>,
}

impl Far {
    fn new(bench: &mut Bench<'_>, distance: Option<Distance>) -> Result<Self, Error> {
        Ok(Self { keys: Keys::make(bench.kept("server"))?, port: free_port()?, distance })
    }

    /// Does the work once, over a server of its own that is stopped then.
    fn run(
        &self,
        bench: &Bench<'_>,
        contestant: &Contestant,
        places: &Places<'_>,
    ) -> Result<Usage, Error> {
        self.run_at(self.distance, bench, contestant, places)
    }

    fn run_at(
        &self,
        distance: Option<Distance>,
        bench: &Bench<'_>,
        contestant: &Contestant,
        Places { source, target, state }: &Places<'_>,
    ) -> Result<Usage, Error> {
        let Work::Far(tool) = &contestant.work else {
            return Err(contestant.wrong("it does not reach that far"));
        };
        std::fs::create_dir_all(state).map_err(Error::io("create", state))?;
        let (sshd, wan) = match distance {
            None => (Sshd::start(&self.keys, self.port)?, None),
            Some(distance) => {
                let sshd = Sshd::start(&self.keys, free_port()?)?;
                let wan = Wan::start(self.port, sshd.address(), distance)?;
                (sshd, Some(wan))
            }
        };
        let server = (&self.keys, self.port);
        let mut command = bench.peers.far_command(tool, source, server, target, state);
        let usage = measure::run(&contestant.work.to_string(), &mut command)?;
        let crossed = wan.as_ref().map(Wan::crossed);
        let there = There { crossed, ..sshd.stop()? };
        Ok(Usage { there: Some(there), ..usage })
    }

    /// Lets the program find target and source equal, as [`Contestant::settle`] does.
    fn settle(
        &self,
        bench: &Bench<'_>,
        contestant: &Contestant,
        places: &Places<'_>,
    ) -> Result<(), Error> {
        for _ in 0..2 {
            self.run_at(None, bench, contestant, places)?;
        }
        rustix::fs::sync();
        Ok(())
    }
}

fn far(tool: Tool, goal: Option<f64>) -> (Work, Option<f64>) {
    (Work::Far(tool), goal)
}

/// The target does not exist.
pub(super) fn first_copy(scenario: Scenario, bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let ours = far(Tool::mirror(QUICK), None);
    let several = || far(Tool::mirror(SEVERAL), None);
    let (input, distance, work) = match scenario {
        Scenario::WanCopy => {
            let rsync = far(Tool::rsync(&["-az"]), Some(0.7));
            (bench.wan()?, Some(OCEAN), vec![ours, several(), rsync])
        }
        Scenario::WanBulk => {
            let rsync = [&["-a"][..], &["-az"]].map(|options| far(Tool::rsync(options), None));
            (bench.kernel()?, Some(WIDE_OCEAN), [vec![ours, several()], rsync.to_vec()].concat())
        }
        _ => (bench.kernel()?, None, vec![ours, far(Tool::rsync(&["-a"]), Some(1.0))]),
    };
    let (mut contestants, skipped) = lineup(&bench.peers, work);
    let reach = Far::new(bench, distance)?;
    // Reads the source once, so that the first contestant does not pay for filling the cache.
    digest::tree(&input.path)?;
    let rounds = bench.settings.rounds;
    alternate(bench, scenario.name(), rounds, &mut contestants, |bench, turn, contestant| {
        bench.make_room(&input.path)?;
        let (target, state) = (bench.fresh("target"), bench.fresh("state"));
        let places = Places { source: &input.path, target, state };
        rustix::fs::sync();
        let usage = reach.run(bench, contestant, &places)?;
        contestant.check(turn, &places)?;
        Ok(usage)
    })?;
    let input = input.describe()?;
    Ok(Comparison { scenario, input, contestants, skipped, memory_goal: None, time_goal: None })
}

/// Every file of the source gave way to that of the next release, under the same path.
pub(super) fn update(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let scenario = Scenario::SshUpdate;
    let (old, new) = (bench.kernel()?, bench.next_kernel()?);
    let [source, old_aside, new_aside] =
        ["far-source", "far-old", "far-new"].map(|name| bench.kept(name));
    (bench.say)("ssh-update: preparing both releases");
    bench.make_room(&old.path)?;
    disk::copy(&old.path, &source)?;
    disk::copy(&new.path, &new_aside)?;
    let work = [far(Tool::mirror(QUICK), None), far(Tool::rsync(&["-a", "--delete"]), Some(1.0))];
    let (mut contestants, skipped) = lineup(&bench.peers, work);
    let reach = Far::new(bench, None)?;
    let one = |bench: &mut Bench<'_>, turn: Turn, contestant: &Contestant| {
        bench.make_room(&source)?;
        let places =
            Places { source: &source, target: bench.fresh("target"), state: bench.fresh("state") };
        disk::copy(&source, &places.target)?;
        reach.settle(bench, contestant, &places)?;
        disk::rename(&source, &old_aside)?;
        disk::rename(&new_aside, &source)?;
        let usage = reach.run(bench, contestant, &places)?;
        contestant.check(turn, &places)?;
        disk::rename(&source, &new_aside)?;
        disk::rename(&old_aside, &source)?;
        Ok(usage)
    };
    let rounds = bench.settings.rounds;
    alternate(bench, scenario.name(), rounds, &mut contestants, one)?;
    for path in [&source, &old_aside, &new_aside] {
        bench.spend(path.clone());
    }
    let input = format!("{} → {}", old.describe()?, new.describe()?);
    Ok(Comparison { scenario, input, contestants, skipped, memory_goal: None, time_goal: None })
}

/// Source and target are equal and every program has run before.
pub(super) fn noop(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let scenario = Scenario::WanNoop;
    let input = bench.kernel()?;
    let work = [far(Tool::mirror(&[]), None), far(Tool::rsync(&["-az", "--delete"]), Some(0.45))];
    let (mut contestants, skipped) = lineup(&bench.peers, work);
    (bench.say)("wan-noop: preparing an equal target");
    bench.make_room(&input.path)?;
    let target = bench.fresh("target");
    disk::copy(&input.path, &target)?;
    let reach = Far::new(bench, Some(OCEAN))?;
    let places = |state| Places { source: &input.path, target: target.clone(), state };
    let places: Vec<Places<'_>> =
        contestants.iter().map(|_| places(bench.fresh("state"))).collect();
    for (contestant, places) in contestants.iter().zip(&places) {
        reach.settle(bench, contestant, places)?;
    }
    let at_rest = newest(&target)?;
    let one = |bench: &mut Bench<'_>, turn: Turn, contestant: &Contestant| {
        let usage = reach.run(bench, contestant, &places[turn.number])?;
        if newest(&target)? != at_rest {
            return Err(contestant.wrong("it changed something in a target that was equal"));
        }
        Ok(usage)
    };
    let rounds = bench.settings.rounds;
    alternate(bench, scenario.name(), rounds, &mut contestants, one)?;
    let input = input.describe()?;
    Ok(Comparison { scenario, input, contestants, skipped, memory_goal: None, time_goal: None })
}

fn newest(target: &Path) -> Result<impl PartialEq, Error> {
    Ok(walk::stat_tree(target)?.newest_change)
}
