use super::{
    Bench, Comparison, Scenario,
    contestant::{Places, Work, alternate, lineup},
};
use crate::{Error, digest, peers::Tool};

/// The target does not exist: how long until it is there, with everything?
pub(super) fn run(scenario: Scenario, bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let quick = Work::Tool(Tool::mirror(&["--durability", "none"]));
    let rsync = Work::Tool(Tool::rsync(&["-aHAX", "--whole-file"]));
    let (input, rounds, work, memory_goal) = match scenario {
        Scenario::MillionCopy => {
            (bench.million()?, 1, vec![(quick, None), (rsync, None)], Some(250_000_000))
        }
        Scenario::CopyDurable => {
            let work = vec![
                (Work::Tool(Tool::mirror(&["--durability", "batch"])), None),
                (Work::Tool(Tool::rsync(&["-aHAX", "--whole-file", "--fsync"])), Some(0.5)),
            ];
            (bench.durable()?, bench.settings.durable_rounds, work, None)
        }
        _ => {
            let small = scenario == Scenario::CopySmall;
            let input = if small { bench.small()? } else { bench.kernel()? };
            let work = vec![(quick, None), (rsync, Some(0.8)), (Work::Tool(Tool::cp()), Some(1.1))];
            (input, bench.settings.rounds, work, None)
        }
    };
    let (mut contestants, skipped) = lineup(&bench.peers, work);

    // Reads the source once, so that the first contestant does not pay for filling the cache.
    digest::tree(&input.path)?;
    alternate(bench, scenario.name(), rounds, &mut contestants, |bench, turn, contestant| {
        bench.make_room(&input.path)?;
        let (target, state) = (bench.fresh("target"), bench.fresh("state"));
        let places = Places { source: &input.path, target, state };
        rustix::fs::sync();
        let usage = contestant.run(&bench.peers, &places)?;
        contestant.check(turn, &places)?;
        Ok(usage)
    })?;

    let input = input.describe()?;
    Ok(Comparison { scenario, input, contestants, skipped, memory_goal, time_goal: None })
}
