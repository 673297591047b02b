//! `dns-failover` against what comes with name servers. Here the library works in this process, as it
//! does for those who embed it; the others are processes that read a file.

use std::{
    env, fmt, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use dns_failover::{Name, Zone, ZoneReader};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Work, alternate},
};
use crate::{
    Error,
    measure::{self, Usage},
    table, workload,
};

/// How many records the zone has.
const RECORDS: u64 = 300_000;

const SEED: u64 = 53;

/// How fast reading is to be at least, in bytes a second.
const PARSE_GOAL: f64 = 150e6;

/// How fast printing is to be at least.
const PRINT_GOAL: f64 = 300e6;

/// A piece of work about zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneFileWork {
    /// [`ZoneReader::read`], in this process.
    Parse,
    /// [`Zone::write_text`], in this process.
    Print,
    /// Both, one after the other.
    ParseAndPrint,
    /// `nsd-checkzone`, which reads the file and looks for the worst faults.
    NsdCheckzone,
    /// `named-checkzone` with its checks off.
    NamedCheckzone,
    /// `named-compilezone` to text, with its checks off.
    NamedCompilezone,
    /// `ldns-read-zone`, which reads and prints.
    LdnsReadZone,
    /// `validns` with no policy, which reads and looks for faults.
    Validns,
}

impl ZoneFileWork {
    /// The program, where it is one.
    fn program(self) -> Option<&'static str> {
        Some(match self {
            Self::Parse | Self::Print | Self::ParseAndPrint => return None,
            Self::NsdCheckzone => "nsd-checkzone",
            Self::NamedCheckzone => "named-checkzone",
            Self::NamedCompilezone => "named-compilezone",
            Self::LdnsReadZone => "ldns-read-zone",
            Self::Validns => "validns",
        })
    }

    fn command(self, file: &Path) -> Option<Command> {
        let mut command = Command::new(self.program()?);
        let unchecked =
            ["-i", "none", "-k", "ignore", "-m", "ignore", "-n", "ignore", "-r", "ignore"];
        match self {
            Self::NsdCheckzone => command.arg("example."),
            Self::NamedCheckzone => command.args(unchecked).arg("example."),
            Self::NamedCompilezone => {
                command.args(unchecked).args(["-s", "full", "-o", "/dev/null", "example."])
            }
            Self::Validns => command.args(["-z", "example."]),
            _ => &mut command,
        };
        command.arg(file);
        Some(command)
    }
}

impl fmt::Display for ZoneFileWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "dns-failover: parse, in memory",
            Self::Print => "dns-failover: print, in memory",
            Self::ParseAndPrint => "dns-failover: parse and print, in memory",
            Self::NsdCheckzone => "nsd-checkzone",
            Self::NamedCheckzone => "named-checkzone, its checks off",
            Self::NamedCompilezone => "named-compilezone, its checks off",
            Self::LdnsReadZone => "ldns-read-zone",
            Self::Validns => "validns",
        })
    }
}

/// Reads a large zone.
pub(super) fn parse(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let work = [
        (ZoneFileWork::Parse, None),
        (ZoneFileWork::NsdCheckzone, Some(0.33)),
        (ZoneFileWork::NamedCheckzone, None),
        (ZoneFileWork::Validns, None),
    ];
    compare(bench, Scenario::ZoneParse, &work, PARSE_GOAL)
}

/// Prints a large zone; the others must read it before.
pub(super) fn print(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let work = [
        (ZoneFileWork::Print, None),
        (ZoneFileWork::ParseAndPrint, None),
        (ZoneFileWork::NamedCompilezone, None),
        (ZoneFileWork::LdnsReadZone, None),
    ];
    compare(bench, Scenario::ZonePrint, &work, PRINT_GOAL)
}

fn compare(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    work: &[(ZoneFileWork, Option<f64>)],
    bytes_a_second: f64,
) -> Result<Comparison, Error> {
    let folder = bench.fresh("zone");
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let file = folder.join("zone");
    let text = workload::zone_text(SEED, RECORDS);
    fs::write(&file, &text).map_err(Error::io("write", &file))?;
    let origin: Name = "example.".parse().expect("one label makes a name");
    let zone = ZoneReader::new().origin(&origin).read(text.as_bytes()).zone;
    let (mut contestants, mut skipped, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    for (work, goal) in work {
        match work.program() {
            Some(program) if !is_installed(program) => skipped.push(program),
            program => {
                versions.extend(program.and_then(version));
                contestants.push(Contestant {
                    work: Work::ZoneFiles(*work),
                    goal: *goal,
                    runs: Vec::new(),
                });
            }
        }
    }
    let rounds = bench.settings.rounds;
    let mut printed = Vec::with_capacity(2 * text.len());
    alternate(bench, scenario.name(), rounds, &mut contestants, |_, _, contestant| {
        let Work::ZoneFiles(work) = contestant.work else {
            return Err(contestant.wrong("it is not about zones"));
        };
        match work.command(&file) {
            Some(mut command) => measure::run(&work.to_string(), &mut command),
            None => run_here(work, contestant, &origin, &text, &zone, &mut printed),
        }
    })?;
    let length = match scenario {
        Scenario::ZonePrint => zone.to_text().len(),
        _ => text.len(),
    };
    let seconds = length as f64 / bytes_a_second;
    let mut input =
        format!("A zone of {} records, {}", table::count(RECORDS), table::bytes(text.len() as u64));
    if !versions.is_empty() {
        input += &format!("; {}", versions.join(", "));
    }
    Ok(Comparison {
        scenario,
        input,
        contestants,
        skipped,
        memory_goal: None,
        time_goal: Some(Duration::from_secs_f64(seconds)),
    })
}

fn run_here(
    work: ZoneFileWork,
    contestant: &Contestant,
    origin: &Name,
    text: &str,
    zone: &Zone,
    printed: &mut Vec<u8>,
) -> Result<Usage, Error> {
    printed.clear();
    let mut read = None;
    let usage = measure::run_here(|| {
        if work != ZoneFileWork::Print {
            read = Some(ZoneReader::new().origin(origin).read(text.as_bytes()));
        }
        if work != ZoneFileWork::Parse {
            read.as_ref().map_or(zone, |reading| &reading.zone).write_text(printed);
        }
        Ok::<(), Error>(())
    })?;
    let whole = read.is_none_or(|reading| reading.diagnostics.is_empty() && reading.zone == *zone);
    let lines = printed.iter().filter(|octet| **octet == b'\n').count() as u64;
    match whole && (work == ZoneFileWork::Parse || lines == RECORDS) {
        true => Ok(usage),
        false => Err(contestant.wrong("the zone is not what it should be")),
    }
}

fn is_installed(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

/// `nsd-checkzone 4.6.1`, where the program, or the one it comes with, says it.
fn version(program: &str) -> Option<String> {
    let asked = if program == "nsd-checkzone" { "nsd" } else { program };
    let said = Command::new(asked).arg("-v").stdin(Stdio::null()).output().ok()?;
    let said = [said.stdout, said.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let mut words = said.split(|letter: char| letter.is_whitespace() || letter == ',');
    let version = words.find(|word| {
        word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit())
    })?;
    Some(format!("{program} {}", version.trim_end_matches('.')))
}
