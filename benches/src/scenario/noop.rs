use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Places, Work, alternate, clear, copy, lineup},
};
use crate::{Error, peers::Tool, walk};

/// How often each program runs before its time counts.
///
/// The first run makes its state. Entries written less than a clock tick before
/// a run cannot be trusted by it; the second run finds a tree at rest, as a
/// daily run does.
const SETTLING: u32 = 2;

/// Source and target are equal and every program has run before: how long until it says so?
pub(super) fn run(scenario: Scenario, bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let rsync_all = Work::Tool(Tool::rsync(&["-aHAX", "--delete"]));
    let mirror = (Work::Tool(Tool::mirror(&[])), None);
    let (input, rounds, work, memory_goal) = match scenario {
        Scenario::MillionNoop => (
            bench.million()?,
            1,
            vec![mirror, (rsync_all, None)],
            Some(120_000_000),
        ),
        _ => {
            let small = scenario == Scenario::NoopSmall;
            let input = if small {
                bench.small()?
            } else {
                bench.kernel()?
            };
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

    let target = bench.path("noop-target");
    (bench.say)(&format!("{}: preparing an equal target", scenario.name()));
    copy(&input.path, &target)?;
    let (mut contestants, skipped) = lineup(bench, work, |number| Places {
        source: input.path.clone(),
        target: target.clone(),
        state: bench.path(format!("noop-state-{number}")),
    });
    // One target for all, so that nobody has the better cached one. That is
    // fair only as long as nobody writes to it, which is checked every time.
    let at_rest = walk::stat_tree(&target)?.newest_change;
    let one = |bench: &mut Bench<'_>, _, contestant: &Contestant| {
        let usage = contestant.run(&bench.peers)?;
        if walk::stat_tree(&contestant.places.target)?.newest_change == at_rest {
            Ok(usage)
        } else {
            Err(contestant.wrong("it changed something in a target that was already equal"))
        }
    };
    for contestant in contestants.iter().filter(|it| it.work != Work::BareWalk) {
        for _ in 0..SETTLING {
            one(bench, 0, contestant)?;
        }
    }
    alternate(bench, scenario.name(), rounds, &mut contestants, one)?;

    clear(&target)?;
    for contestant in &contestants {
        clear(&contestant.places.state)?;
    }
    let input = input.describe()?;
    Ok(Comparison {
        scenario,
        input,
        contestants,
        skipped,
        memory_goal,
    })
}
