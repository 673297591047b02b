use std::{fs, path::Path};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Places, Turn, Work, alternate, lineup},
    disk,
};
use crate::{Error, measure::Usage, peers::Tool, workload};

/// The name of the directory that holds everything, before and after.
const NAMES: [&str; 2] = ["release", "release-renamed"];

/// Every file of the source gave way to that of the next release, under the same path.
///
/// The source folder is exchanged for one unpacked from the new release: other
/// inodes, other mtimes, some other contents.
pub(super) fn releases(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let (old, new) = (bench.kernel()?, bench.next_kernel()?);
    let [source, old_aside, new_aside] =
        ["update-source", "update-old", "update-new"].map(|name| bench.kept(name));
    let rsync = |options| Work::Tool(Tool::rsync(options));
    // With digests it replaces few files, without them all.
    let others = [
        (rsync(&["-aHAX", "--delete", "--checksum"]), None),
        (rsync(&["-aHAX", "--delete"]), Some(0.5)),
    ];
    (bench.say)("update: preparing both releases");
    bench.make_room(&old.path)?;
    disk::copy(&old.path, &source)?;
    disk::copy(&new.path, &new_aside)?;
    let change = || {
        disk::rename(&source, &old_aside)?;
        disk::rename(&new_aside, &source)
    };
    let undo = || {
        disk::rename(&source, &new_aside)?;
        disk::rename(&old_aside, &source)
    };
    let (contestants, skipped) = changed(bench, Scenario::Update, &source, others, change, undo)?;
    for path in [&source, &old_aside, &new_aside] {
        bench.spend(path.clone());
    }
    let input = format!("{} → {}", old.describe()?, new.describe()?);
    Ok(Comparison {
        scenario: Scenario::Update,
        input,
        contestants,
        skipped,
        memory_goal: None,
        time_goal: None,
    })
}

/// One directory at the top of the source got another name; everything is below it.
pub(super) fn renamed_directory(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let input = bench.kernel()?;
    let source = bench.kept("rename-source");
    let others = [(Work::Tool(Tool::rsync(&["-aHAX", "--delete"])), Some(0.05))];
    (bench.say)("rename: preparing the source");
    bench.make_room(&input.path)?;
    fs::create_dir(&source).map_err(Error::io("create", &source))?;
    disk::copy(&input.path, &source.join(NAMES[0]))?;
    let change = || workload::rename_directory(&source, NAMES[0], NAMES[1]);
    let undo = || workload::rename_directory(&source, NAMES[1], NAMES[0]);
    let (contestants, skipped) = changed(bench, Scenario::Rename, &source, others, change, undo)?;
    bench.spend(source);
    let input = input.describe()?;
    Ok(Comparison {
        scenario: Scenario::Rename,
        input,
        contestants,
        skipped,
        memory_goal: None,
        time_goal: None,
    })
}

/// Times how each brings a target level after `change` was done to the source.
///
/// Every run gets a new copy of the source as its target, and a state that
/// knows it. `mirror` runs without durability first, which promises what rsync
/// without `--fsync` does, and then as it is by default. Who frees the most
/// inodes comes last in `others`, and each round begins with a rest, so that
/// nobody pays for what another deleted.
fn changed(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    source: &Path,
    others: impl IntoIterator<Item = (Work, Option<f64>)>,
    change: impl Fn() -> Result<(), Error>,
    undo: impl Fn() -> Result<(), Error>,
) -> Result<(Vec<Contestant>, Vec<&'static str>), Error> {
    let ours: [&[_]; 2] = [&["--durability", "none"], &["--durability", "batch"]];
    let ours = ours.map(|options| (Work::Tool(Tool::mirror(options)), None));
    let (mut contestants, skipped) = lineup(&bench.peers, ours.into_iter().chain(others));
    let one =
        |bench: &mut Bench<'_>, turn: Turn, contestant: &Contestant| -> Result<Usage, Error> {
            bench.make_room(source)?;
            let (target, state) = (bench.fresh("target"), bench.fresh("state"));
            let places = Places { source, target, state };
            disk::copy(source, &places.target)?;
            contestant.settle(&bench.peers, &places)?;
            change()?;
            let usage = contestant.run(&bench.peers, &places)?;
            contestant.check(turn, &places)?;
            undo()?;
            Ok(usage)
        };
    alternate(bench, scenario.name(), bench.settings.rounds, &mut contestants, one)?;
    Ok((contestants, skipped))
}
