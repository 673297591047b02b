//! `keygen-helper` against ssh-keygen. Here the library works in this process, as it does for those
//! who embed it, and ssh-keygen is a process for each piece of work, as it is for those who call it.

use std::{
    fmt, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use keygen_helper::{
    AuthorizedKeys, Grant, KeyKind, KeyPair, OnConflict, Options, PublicKey, SystemRandomness,
};

use super::{
    Bench, Comparison, Scenario,
    contestant::{Contestant, Work, alternate},
};
use crate::{
    Error,
    measure::{self, Usage},
    table,
    workload::Rng,
};

/// How many keys are made.
const KEYS: u64 = 200;

/// How many lines the file has.
const LINES: u64 = 10_000;

/// How many keys are merged into it; every other one is there already.
const MERGED: u64 = 100;

const SEED: u64 = 70;

/// A piece of work about keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyWork {
    /// [`KeyPair::generate`] and the texts of both files, in this process.
    Generate,
    /// `ssh-keygen -t ed25519`, a process for each key.
    SshKeygen,
    /// Parse, merge and print, in this process.
    Merge,
    /// `ssh-keygen -l`, which reads the same file and prints a line for each key.
    SshKeygenList,
}

impl fmt::Display for KeyWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate => "keygen-helper, in memory",
            Self::SshKeygen => "ssh-keygen -t ed25519, a process and two files each",
            Self::Merge => "keygen-helper: parse, merge 100 keys, print",
            Self::SshKeygenList => "ssh-keygen -l: parse, print fingerprints",
        })
    }
}

/// Makes Ed25519 keys.
pub(super) fn generate(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    compare(bench, Scenario::KeysEd25519, [KeyWork::Generate, KeyWork::SshKeygen], Some(0.01))
}

/// Reads and changes a large authorized_keys file.
pub(super) fn merge(bench: &mut Bench<'_>) -> Result<Comparison, Error> {
    let work = [KeyWork::Merge, KeyWork::SshKeygenList];
    let comparison = compare(bench, Scenario::AuthorizedKeys, work, None)?;
    Ok(Comparison { time_goal: Some(Duration::from_millis(10)), ..comparison })
}

fn compare(
    bench: &mut Bench<'_>,
    scenario: Scenario,
    [ours, theirs]: [KeyWork; 2],
    goal: Option<f64>,
) -> Result<Comparison, Error> {
    let folder = bench.fresh("keys");
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    let file = folder.join("authorized_keys");
    let content = authorized_keys(LINES);
    fs::write(&file, &content).map_err(Error::io("write", &file))?;
    let grants = grants();
    let version = ssh_version();
    let contestant = |work, goal| Contestant { work: Work::Keys(work), goal, runs: Vec::new() };
    let mut contestants = vec![contestant(ours, None)];
    let mut skipped = Vec::new();
    match &version {
        Some(_) => contestants.push(contestant(theirs, goal)),
        None => skipped.push("ssh-keygen"),
    }
    let rounds = bench.settings.rounds;
    alternate(bench, scenario.name(), rounds, &mut contestants, |bench, turn, contestant| {
        let Work::Keys(work) = contestant.work else {
            return Err(contestant.wrong("it is not about keys"));
        };
        match work {
            KeyWork::Generate => measure::run_here(generate_here),
            KeyWork::Merge => {
                let mut printed = None;
                let usage = measure::run_here(|| {
                    printed = merged(&content, &grants);
                    Ok::<(), Error>(())
                })?;
                let feeds = |text: &Vec<u8>| text.iter().filter(|byte| **byte == b'\n').count();
                let lines = printed.as_ref().map(feeds).and_then(|lines| u64::try_from(lines).ok());
                match lines == Some(LINES + MERGED / 2) {
                    true => Ok(usage),
                    false => Err(contestant.wrong("the file has not the lines it should have")),
                }
            }
            KeyWork::SshKeygen => {
                let round = bench.fresh(&format!("round{}", turn.round));
                fs::create_dir_all(&round).map_err(Error::io("create", &round))?;
                generate_by_processes(&round)
            }
            KeyWork::SshKeygenList => {
                let mut command = Command::new("ssh-keygen");
                measure::run(&work.to_string(), command.arg("-lf").arg(&file))
            }
        }
    })?;
    let (keys, lines) = (table::count(KEYS), table::count(LINES));
    let input = match scenario {
        Scenario::KeysEd25519 => format!("{keys} Ed25519 keys"),
        _ => format!("authorized_keys of {lines} lines, {}", table::bytes(content.len() as u64)),
    };
    let version = version.map_or_else(String::new, |version| format!("; ssh-keygen of {version}"));
    Ok(Comparison {
        scenario,
        input: input + &version,
        contestants,
        skipped,
        memory_goal: None,
        time_goal: None,
    })
}

/// `OpenSSH_9.2p1`, or nothing when it is not installed. ssh-keygen itself does not tell.
fn ssh_version() -> Option<String> {
    let said = Command::new("ssh").arg("-V").stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    Some(said.split([' ', ',']).next()?.to_owned())
}

fn generate_here() -> Result<(), Error> {
    let failed = |how: String| Error::WrongResult { label: KeyWork::Generate.to_string(), how };
    let mut randomness = SystemRandomness;
    for _ in 0..KEYS {
        let made = KeyPair::generate(KeyKind::Ed25519, "a comment", &mut randomness);
        let key = made.map_err(|error| failed(error.to_string()))?;
        let private = key.to_openssh(None, &mut randomness);
        let private = private.map_err(|error| failed(error.to_string()))?;
        std::hint::black_box((private, key.public_line()));
    }
    Ok(())
}

/// Adds up what each process took, without the time between them.
fn generate_by_processes(folder: &Path) -> Result<Usage, Error> {
    (0..KEYS).try_fold(Usage::default(), |sum, number| {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", "a comment", "-f"]);
        command.arg(folder.join(number.to_string()));
        let one = measure::run("ssh-keygen", &mut command)?;
        Ok(Usage {
            wall: sum.wall + one.wall,
            cpu: sum.cpu + one.cpu,
            peak_memory: sum.peak_memory.max(one.peak_memory),
            there: None,
        })
    })
}

/// A file of `lines` lines: keys, every third with options, every tenth a comment instead.
#[must_use]
pub fn authorized_keys(lines: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for number in 0..lines {
        let line = match number {
            number if number % 10 == 9 => format!("# team {number}\n"),
            number if number % 3 == 0 => format!(
                "restrict,from=\"192.0.2.0/24\",command=\"/usr/bin/backup {number}\" {} user{number}@host\n",
                key(number)
            ),
            number => format!("{} user{number}@host # {number}\n", key(number)),
        };
        out.extend_from_slice(line.as_bytes());
    }
    out
}

/// A public key that nobody has the private one of.
fn key(number: u64) -> PublicKey {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    let mut rng = Rng::new(SEED + number);
    for _ in 0..4 {
        blob.extend_from_slice(&rng.bits().to_be_bytes());
    }
    PublicKey::from_blob(&blob).expect("32 bytes are an Ed25519 key")
}

/// Keys to be merged: half of them are in the file, without options.
#[must_use]
pub fn grants() -> Vec<Grant> {
    let half = (0..LINES).filter(|number| number % 10 != 9 && number % 3 != 0);
    let there = half.take(usize::try_from(MERGED / 2).unwrap_or_default());
    let new = LINES..LINES + MERGED / 2;
    let grant = |number| {
        Grant::new(key(number), Options::none(), b"merged")
            .expect("a plain key and a plain comment")
    };
    there.chain(new).map(grant).collect()
}

/// Parses, merges and prints.
#[must_use]
pub fn merged(content: &[u8], grants: &[Grant]) -> Option<Vec<u8>> {
    let file = AuthorizedKeys::parse(content.to_vec()).ok()?;
    let edits = file.install(grants, OnConflict::Refuse).ok()?;
    edits.apply(file.as_bytes()).ok()
}
