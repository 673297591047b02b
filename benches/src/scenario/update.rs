use std::{fs, path::Path};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Places, Work, alternate, clear, copy, lineup},
};
use crate::{Error, peers::Tool, workload};

/// The name of the directory that holds everything, before and after.
const NAMES: [&str; 2] = ["release", "release-renamed"];

/// Every file of the source gave way to that of the next release, under the same path.
///
/// Each program has a target of its own and brings it back to the old release
/// before every measured run, so that target and state are what a daily run
/// would have left. Then the source folder is exchanged for one unpacked from
/// the new release: other inodes, other mtimes, some other contents.
pub(super) fn releases(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let scenario = Scenario::Update;
    let (old, new) = (bench.kernel()?, bench.next_kernel()?);
    let source = bench.path("update-source");
    let (old_aside, new_aside) = (bench.path("update-old"), bench.path("update-new"));
    (bench.say)("update: preparing both releases and the targets");
    copy(&old.path, &old_aside)?;
    copy(&new.path, &new_aside)?;

    let rsync = |options| Work::Tool(Tool::rsync(options));
    let work = vec![
        (Work::Tool(Tool::mirror(&["--durability", "none"])), None),
        (Work::Tool(Tool::mirror(&["--durability", "batch"])), None),
        (rsync(&["-aHAX", "--delete"]), Some(0.5)),
        (rsync(&["-a", "--delete"]), None),
        (rsync(&["-aHAX", "--delete", "--checksum"]), None),
    ];
    let (mut contestants, skipped) = with_own_targets(bench, &source, work);
    for contestant in &contestants {
        copy(&old.path, &contestant.places.target)?;
    }
    let rounds = bench.settings.rounds;
    alternate(
        bench,
        scenario.name(),
        rounds,
        &mut contestants,
        |bench, round, contestant| {
            rename(&old_aside, &source)?;
            settle(bench, contestant)?;
            rename(&source, &old_aside)?;
            rename(&new_aside, &source)?;
            let usage = contestant.run(&bench.peers)?;
            contestant.check(round == 0)?;
            rename(&source, &new_aside)?;
            Ok(usage)
        },
    )?;

    for path in [&old_aside, &new_aside] {
        clear(path)?;
    }
    tidy(&contestants)?;
    let input = format!("{} → {}", old.describe()?, new.describe()?);
    Ok(Comparison {
        scenario,
        input,
        contestants,
        skipped,
        memory_goal: None,
    })
}

/// One directory at the top of the source got another name; everything is below it.
///
/// Forth in one round, back in the next.
pub(super) fn renamed_directory(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let scenario = Scenario::Rename;
    let input = bench.kernel()?;
    let source = bench.path("rename-source");
    (bench.say)("rename: preparing the source and the targets");
    fs::create_dir(&source).map_err(Error::io("create", &source))?;
    copy(&input.path, &source.join(NAMES[0]))?;

    let work = vec![
        (Work::Tool(Tool::mirror(&["--durability", "none"])), None),
        (Work::Tool(Tool::mirror(&["--durability", "batch"])), None),
        (Work::Tool(Tool::rsync(&["-aHAX", "--delete"])), Some(0.05)),
    ];
    let (mut contestants, skipped) = with_own_targets(bench, &source, work);
    for contestant in &contestants {
        copy(&source, &contestant.places.target)?;
        settle(bench, contestant)?;
    }
    let rounds = bench.settings.rounds;
    let mut renamed = None;
    alternate(
        bench,
        scenario.name(),
        rounds,
        &mut contestants,
        |bench, round, contestant| {
            if renamed != Some(round) {
                let from = round as usize % 2;
                workload::rename_directory(&source, NAMES[from], NAMES[1 - from])?;
                renamed = Some(round);
            }
            let usage = contestant.run(&bench.peers)?;
            contestant.check(round == 0)?;
            settle(bench, contestant)?;
            Ok(usage)
        },
    )?;

    clear(&source)?;
    tidy(&contestants)?;
    let input = input.describe()?;
    Ok(Comparison {
        scenario,
        input,
        contestants,
        skipped,
        memory_goal: None,
    })
}

/// Gives each a target and a state of its own.
fn with_own_targets(
    bench: &Bench<'_>,
    source: &Path,
    work: Vec<(Work, Option<f64>)>,
) -> (Vec<Contestant>, Vec<&'static str>) {
    lineup(bench, work, |number| Places {
        source: source.to_owned(),
        target: bench.path(format!("change-target-{number}")),
        state: bench.path(format!("change-state-{number}")),
    })
}

/// Brings target and state level with the source, and lets everything reach the disk.
///
/// Twice: the second run sees a tree that nobody wrote to since its state was
/// made, as a daily run does.
fn settle(bench: &Bench<'_>, contestant: &Contestant) -> Result<(), Error> {
    contestant.run(&bench.peers)?;
    contestant.run(&bench.peers)?;
    rustix::fs::sync();
    Ok(())
}

fn tidy(contestants: &[Contestant]) -> Result<(), Error> {
    contestants
        .iter()
        .try_for_each(|it| clear(&it.places.target).and_then(|()| clear(&it.places.state)))
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}
