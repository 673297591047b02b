//! `dns-failover`: how long until six real name servers serve a change of site, and how long it takes to
//! make what they read, beside OctoDNS.

#[path = "../../../dns-failover/tests/servers/fleet.rs"]
#[expect(clippy::unwrap_used, reason = "name servers that do not start end the measurement")]
#[allow(dead_code, reason = "the tests do more with it")]
#[allow(unreachable_pub, reason = "it is shared with the tests")]
mod fleet;

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use dns_failover::{
    Active, Epoch, EpochRecord, RecordType, SiteId, Topology, ZoneTexts, render, testing::draft,
};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Work, alternate},
};
use crate::{
    Error,
    measure::{self, Usage},
    table,
};

/// How many domains are many.
const MANY: usize = 1_000;

/// How many name servers there are.
const SERVERS: usize = 6;

/// Programs that the name servers need.
mod peer {
    use std::{env, path::PathBuf};

    /// Where a program is.
    pub(super) fn peer(name: &str) -> Option<PathBuf> {
        let folders = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&folders).chain(["/usr/sbin".into()]);
        folders.map(|folder| folder.join(name)).find(|path| path.is_file())
    }
}

/// A piece of work about zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneWork {
    /// From the decision until all six servers serve it and were asked.
    Publish,
    /// Everything that six servers read, in memory.
    Render,
    /// `octodns-sync` without `--doit`, six targets.
    OctoDns,
}

impl fmt::Display for ZoneWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "dns-failover: change of site, verified on 3 BIND, 2 Knot, 1 NSD",
            Self::Render => "dns-failover: zones and configurations for 6 servers",
            Self::OctoDns => "octodns-sync: plan for 6 targets",
        })
    }
}

/// One domain changes sites.
pub(super) fn one(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    publish(bench, Scenario::ZonesOne, 1, Duration::from_secs(1))
}

/// A thousand do.
pub(super) fn thousand(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    publish(bench, Scenario::ZonesThousand, MANY, Duration::from_secs(10))
}

fn publish(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    domains: usize,
    goal: Duration,
) -> Result<Comparison, Error> {
    let input = format!("{} domains, six name servers on loopback", table::count(domains as u64));
    let mut comparison = Comparison {
        scenario,
        input,
        contestants: Vec::new(),
        skipped: Vec::new(),
        memory_goal: None,
        time_goal: Some(goal),
    };
    let Some(mut fleet) = fleet::Fleet::render(draft(domains)) else {
        comparison.skipped = vec!["named, knotd or nsd"];
        return Ok(comparison);
    };
    (bench.say)(&format!("{}: starting six name servers", scenario.name()));
    fleet.start();
    let work = Work::Zones(ZoneWork::Publish);
    comparison.contestants = vec![Contestant { work, goal: None, runs: Vec::new() }];
    let (rounds, contestants) = (bench.settings.rounds, &mut comparison.contestants);
    let mut to = SiteId::Us;
    // The first one moves only the domains that are not there yet.
    let moved = |to: SiteId| {
        let report = fleet.publish(to, Active::One(to));
        let label = ZoneWork::Publish.to_string();
        if report.is_done() {
            Ok(())
        } else {
            Err(Error::WrongResult { label, how: report.to_string() })
        }
    };
    moved(to)?;
    alternate(bench, scenario.name(), rounds, contestants, |_, _, _| {
        to = to.other();
        measure::run_here(|| moved(to))
    })?;
    Ok(comparison)
}

/// Makes what six servers read, beside OctoDNS working out what to do for six targets.
pub(super) fn rendering(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let folder = bench.fresh("octodns");
    let topology = Topology::new(draft(MANY)).map_err(|faults| {
        let how = faults.into_iter().map(|fault| fault.to_string()).collect::<Vec<_>>().join("; ");
        Error::WrongResult { label: ZoneWork::Render.to_string(), how }
    })?;
    let octodns = octodns();
    let contestant = |work, goal| Contestant { work: Work::Zones(work), goal, runs: Vec::new() };
    let mut contestants = vec![contestant(ZoneWork::Render, None)];
    let mut skipped = Vec::new();
    match &octodns {
        Some(_) => {
            write_octodns(&topology, &folder)?;
            contestants.push(contestant(ZoneWork::OctoDns, Some(0.01)));
        }
        None => skipped.push("octodns-sync"),
    }
    let (name, rounds) = (Scenario::ZonesRender.name(), bench.settings.rounds);
    alternate(bench, name, rounds, &mut contestants, |_, _, contestant| match &contestant.work {
        Work::Zones(ZoneWork::Render) => {
            let mut files = 0;
            let usage = measure::run_here(|| {
                files = render_all(&topology);
                Ok::<(), Error>(())
            })?;
            // A configuration each, and the zones of those who do not transfer them.
            if files > 4 * MANY { Ok(usage) } else { Err(contestant.wrong("files are missing")) }
        }
        _ => run_octodns(octodns.as_deref(), &folder),
    })?;
    let records: usize = topology
        .domains()
        .values()
        .next()
        .map_or(0, |domain| topology.zone(domain, first(SiteId::Uk)).records().count());
    let input = format!("{} domains of {records} records", table::count(MANY as u64));
    Ok(Comparison {
        scenario: Scenario::ZonesRender,
        input,
        contestants,
        skipped,
        memory_goal: None,
        time_goal: None,
    })
}

fn first(site: SiteId) -> EpochRecord {
    EpochRecord { epoch: Epoch::new(1, SiteId::Uk), active: Active::One(site) }
}

/// How many files all servers together read.
fn render_all(topology: &Topology) -> usize {
    let domains = topology.domains().values();
    let zones: Vec<_> =
        domains.map(|domain| topology.zone(domain, first(domain.primary))).collect();
    let texts = ZoneTexts::print(zones.iter().chain([&topology.catalog_zone(first(SiteId::Uk))]));
    let rendered = (0..SERVERS).filter_map(|index| render(topology, index, &texts));
    rendered.map(|server| std::hint::black_box(server).files.len()).sum()
}

/// The program: on the PATH, or where OCTODNS names it.
fn octodns() -> Option<PathBuf> {
    let named = env::var_os("OCTODNS").map(PathBuf::from);
    named.or_else(|| peer::peer("octodns-sync")).filter(|path| path.is_file())
}

fn run_octodns(program: Option<&Path>, folder: &Path) -> Result<Usage, Error> {
    let mut command = Command::new(program.unwrap_or(Path::new("octodns-sync")));
    // Its own limits would stop it before it has planned all.
    command.arg("--config-file").arg(folder.join("config.yaml")).args(["--quiet", "--force"]);
    measure::run(&ZoneWork::OctoDns.to_string(), command.current_dir(folder))
}

/// The same records as OctoDNS wants them, and six empty targets.
fn write_octodns(topology: &Topology, folder: &Path) -> Result<(), Error> {
    let put =
        |path: PathBuf, text: String| fs::write(&path, text).map_err(Error::io("write", &path));
    let mut config = "providers:\n  source:\n    class: octodns.provider.yaml.YamlProvider\n    directory: ./source\n".to_owned();
    let source = folder.join("source");
    fs::create_dir_all(&source).map_err(Error::io("create", &source))?;
    let mut targets = String::new();
    for number in 1..=SERVERS {
        let target = folder.join(format!("target{number}"));
        fs::create_dir_all(&target).map_err(Error::io("create", &target))?;
        config += &format!(
            "  target{number}:\n    class: octodns.provider.yaml.YamlProvider\n    directory: ./target{number}\n"
        );
        targets += &format!("      - target{number}\n");
    }
    config += "zones:\n";
    for domain in topology.domains().values() {
        let name = &domain.name;
        config += &format!("  {name}:\n    sources:\n      - source\n    targets:\n{targets}");
        let zone = topology.zone(domain, first(domain.primary));
        put(source.join(format!("{name}yaml")), yaml(&zone))?;
    }
    put(folder.join("config.yaml"), config)
}

/// A zone's A, AAAA, MX, NS, TXT and CAA records, which are most of it; OctoDNS makes no SOA.
fn yaml(zone: &dns_failover::Zone) -> String {
    let mut owners: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    let apex = zone.origin().to_string();
    for set in zone.iter() {
        let rtype = set.rtype();
        let values: Vec<String> = set
            .rdatas()
            .iter()
            .filter_map(|rdata| {
                let text = rdata.to_string();
                let words: Vec<&str> = text.split(' ').collect();
                Some(match (rtype, words.as_slice()) {
                    (RecordType::A | RecordType::AAAA | RecordType::NS, [value]) => {
                        value.to_string()
                    }
                    (RecordType::MX, [preference, exchange]) => {
                        format!("{{exchange: {exchange}, preference: {preference}}}")
                    }
                    (RecordType::TXT, _) => {
                        format!("'{}'", text.trim_matches('"').replace(';', "\\;"))
                    }
                    (RecordType::CAA, [flags, tag, value]) => {
                        format!("{{flags: {flags}, tag: {tag}, value: {value}}}")
                    }
                    _ => return None,
                })
            })
            .collect();
        if values.is_empty() {
            continue;
        }
        let owner = set.owner().to_string();
        let owner = owner.strip_suffix(&apex).unwrap_or(&owner).trim_end_matches('.').to_owned();
        let text = owners.entry(owner).or_default();
        *text += &format!("  - ttl: {}\n    type: {rtype}\n    values:\n", set.ttl().seconds());
        for value in values {
            *text += &format!("      - {value}\n");
        }
    }
    owners.into_iter().map(|(owner, text)| format!("'{owner}':\n{text}")).collect()
}
