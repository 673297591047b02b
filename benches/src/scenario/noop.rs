use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Places, Turn, Work, alternate, lineup},
    disk,
};
use crate::{Error, peers::Tool, walk};

/// Source and target are equal and every program has run before: how long until it says so?
pub(super) fn run(scenario: Scenario, bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let mirror = (Work::Tool(Tool::mirror(&[])), None);
    let rsync_all = Work::Tool(Tool::rsync(&["-aHAX", "--delete"]));
    let (input, rounds, work, memory_goal) = match scenario {
        Scenario::MillionNoop => {
            (bench.million()?, 1, vec![mirror, (rsync_all, None)], Some(120_000_000))
        }
        _ => {
            let small = scenario == Scenario::NoopSmall;
            let input = if small { bench.small()? } else { bench.kernel()? };
            let work = vec![
                mirror,
                (Work::BareWalk, Some(1.5)),
                (rsync_all, Some(0.2)),
                (Work::Tool(Tool::rsync(&["-a", "--delete"])), Some(0.45)),
                (Work::Tool(Tool::rclone()), None),
                (Work::Tool(Tool::unison()), None),
            ];
            (input, bench.settings.rounds, work, None)
        }
    };
    let (mut contestants, skipped) = lineup(&bench.peers, work);

    (bench.say)(&format!("{}: preparing an equal target", scenario.name()));
    bench.make_room(&input.path)?;
    // One target for all, so that nobody has the better cached one. That is
    // fair only as long as nobody writes to it, which is checked every time.
    let target = bench.fresh("target");
    disk::copy(&input.path, &target)?;
    let at_rest = walk::stat_tree(&target)?.newest_change;
    let places: Vec<Places<'_>> = contestants
        .iter()
        .map(|_| Places {
            source: &input.path,
            target: target.clone(),
            state: bench.fresh("state"),
        })
        .collect();
    let check = |contestant: &Contestant| {
        if walk::stat_tree(&target)?.newest_change == at_rest {
            Ok(())
        } else {
            Err(contestant.wrong("it changed something in a target that was already equal"))
        }
    };
    for (contestant, places) in contestants.iter().zip(&places) {
        contestant.settle(&bench.peers, places)?;
        check(contestant)?;
    }
    let one = |bench: &mut Bench<'_>, turn: Turn, contestant: &Contestant| {
        let usage = contestant.run(&bench.peers, &places[turn.number])?;
        check(contestant)?;
        Ok(usage)
    };
    alternate(bench, scenario.name(), rounds, &mut contestants, one)?;

    let input = input.describe()?;
    Ok(Comparison { scenario, input, contestants, skipped, memory_goal, time_goal: None })
}
