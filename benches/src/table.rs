//! Prints a comparison as Markdown.

use std::{fmt::Write, time::Duration};

use crate::{
    environment::Environment,
    measure::{There, median},
    peers::{Peers, Program},
    scenario::{Comparison, Contestant, Work},
};

/// Prints heading, table, and what one must know to read it.
///
/// The first contestant is ours; the ratio of each other row is our median wall
/// time divided by that row's.
#[must_use]
pub fn markdown(comparison: &Comparison, peers: &Peers, environment: &Environment) -> String {
    let Comparison { scenario, input, contestants, skipped, memory_goal, time_goal } = comparison;
    let name = contestants.first().map_or("ours", |ours| ours.work.ours());
    let rounds = contestants.first().map_or(0, |ours| ours.runs.len());
    let ours = contestants.first().and_then(wall);
    let mut out = format!("### {}\n\n{input}.\n\n", scenario.title());
    let far = contestants.iter().any(|it| there(it).is_some());
    let cost = match far {
        false => "CPU | peak memory",
        true => "CPU here | CPU there | peak memory here | there | over the link",
    };
    let _ = writeln!(out, "| | wall | from–to | {cost} | {name} ÷ this | goal |");
    let columns = 4 + cost.split('|').count();
    let _ = writeln!(out, "|---{}|", "|--:".repeat(columns));
    for (number, contestant) in contestants.iter().enumerate() {
        let ratio = if number == 0 { None } else { ratio(ours, wall(contestant)) };
        out.push_str(&row(contestant, ratio, far));
    }
    let programs = Program::ALL.into_iter().filter(|program| {
        contestants.iter().any(
            |it| matches!(&it.work, Work::Tool(tool) | Work::Far(tool) if tool.program == *program),
        )
    });
    let measured = match rounds {
        1 => "One round".to_owned(),
        rounds => format!("Medians of {rounds} alternating rounds"),
    };
    let versions = peers.versions(programs);
    let versions = if versions.is_empty() { versions } else { versions + "; " };
    let _ = writeln!(out, "\n{measured}; {versions}{environment}.");
    if !skipped.is_empty() {
        let _ = writeln!(out, "Skipped, not installed: {}.", skipped.join(", "));
    }
    if let (Some(goal), Some(peak)) = (memory_goal, contestants.first().and_then(peak)) {
        let (goal, met) = (bytes(*goal), if peak <= *goal { "met" } else { "missed" });
        let _ = writeln!(out, "Goal for {name}'s peak memory: at most {goal}, {met}.");
    }
    if let (Some(goal), Some(ours)) = (time_goal, ours) {
        let met = if ours <= *goal { "met" } else { "missed" };
        let _ = writeln!(out, "Goal for {name}'s time: at most {}, {met}.", seconds(*goal));
    }
    if cfg!(debug_assertions) {
        out.push_str("Made by a debug build: the bare walk is slower than it should be.\n");
    }
    out
}

fn row(contestant: &Contestant, ratio: Option<f64>, far: bool) -> String {
    let runs = &contestant.runs;
    let dash = || "–".to_owned();
    let fastest = runs.iter().map(|run| run.wall).min();
    let slowest = runs.iter().map(|run| run.wall).max();
    let here = median(runs.iter().map(|run| run.cpu)).map_or_else(dash, seconds);
    let memory = peak(contestant).map_or_else(dash, bytes);
    let there = there(contestant);
    let crossed = median(runs.iter().filter_map(|run| run.there?.crossed));
    let cost = match far {
        false => vec![here, memory],
        true => vec![
            here,
            there.map_or_else(dash, |there| seconds(there.cpu)),
            memory,
            there.map_or_else(dash, |there| bytes(there.peak_memory)),
            crossed.map_or_else(dash, bytes),
        ],
    };
    let cells = [
        wall(contestant).map_or_else(dash, seconds),
        fastest.zip(slowest).map_or_else(dash, |(a, b)| format!("{}–{}", figure(a), seconds(b))),
        cost.join(" | "),
        ratio.map_or_else(dash, |ratio| format!("{ratio:.3}")),
        contestant.goal.map_or_else(dash, |goal| match ratio {
            Some(ratio) if ratio <= goal => format!("≤ {goal}, met"),
            _ => format!("≤ {goal}, missed"),
        }),
    ];
    format!("| {} | {} |\n", contestant.work, cells.join(" | "))
}

fn wall(contestant: &Contestant) -> Option<Duration> {
    median(contestant.runs.iter().map(|run| run.wall))
}

/// What runs cost at the other end: the median of the time, the largest of the memory.
fn there(contestant: &Contestant) -> Option<There> {
    let ends = || contestant.runs.iter().filter_map(|run| run.there);
    let cpu = median(ends().map(|there| there.cpu))?;
    let peak_memory = ends().map(|there| there.peak_memory).max()?;
    Some(There { cpu, peak_memory, crossed: None })
}

/// The largest of all runs: a bound on memory has to hold every time.
fn peak(contestant: &Contestant) -> Option<u64> {
    contestant.runs.iter().filter_map(|run| run.peak_memory).max()
}

fn ratio(ours: Option<Duration>, theirs: Option<Duration>) -> Option<f64> {
    Some(ours?.as_secs_f64() / theirs?.as_secs_f64())
}

/// `1.30 s`.
fn seconds(time: Duration) -> String {
    format!("{} s", figure(time))
}

/// Three digits that mean something: 0.00520, 0.153, 1.30, 26.4, 310.
fn figure(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let digits = match seconds {
        s if s < 0.01 => 5,
        s if s < 1.0 => 3,
        s if s < 10.0 => 2,
        s if s < 100.0 => 1,
        _ => 0,
    };
    format!("{seconds:.digits$}")
}

/// Bytes in decimal units: `7.6 MB`, `1.4 GB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.2} GB", value / 1e9),
    }
}

/// A number with commas between thousands: `83,774`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{measure::Usage, peers::Tool, scenario::Scenario};

    fn contestant(work: Work, goal: Option<f64>, walls: &[u64]) -> Contestant {
        let runs = walls.iter().map(|&wall| Usage {
            wall: Duration::from_millis(wall),
            cpu: Duration::from_millis(wall / 2),
            peak_memory: (work != Work::BareWalk).then_some(7_600_000),
            there: None,
        });
        Contestant { runs: runs.collect(), work, goal }
    }

    #[test]
    fn the_table_shows_medians_ratios_and_goals() {
        let comparison = Comparison {
            scenario: Scenario::NoopKernel,
            input: "a tree: 83,774 entries, 1.40 GB".into(),
            contestants: vec![
                contestant(Work::Tool(Tool::mirror(&[])), None, &[260, 240, 900]),
                contestant(Work::BareWalk, Some(1.5), &[200, 190, 210]),
                contestant(Work::Tool(Tool::rsync(&["-a"])), Some(0.45), &[500, 520, 490]),
            ],
            skipped: vec!["unison"],
            memory_goal: Some(120_000_000),
            time_goal: Some(Duration::from_millis(300)),
        };
        let peers = Peers::find("true".as_ref()).unwrap();
        let environment = Environment::of("/".as_ref());
        let text = markdown(&comparison, &peers, &environment);
        let expected = [
            "### No-op with state, kernel tree\n\na tree: 83,774 entries, 1.40 GB.\n",
            "| mirror | 0.260 s | 0.240–0.900 s | 0.130 s | 7.6 MB | – | – |\n",
            "| bare stat walk, a thread per side | 0.200 s | 0.190–0.210 s | 0.100 s | – | 1.300 | ≤ 1.5, met |\n",
            "| rsync -a | 0.500 s | 0.490–0.520 s | 0.250 s | 7.6 MB | 0.520 | ≤ 0.45, missed |\n",
            "\nMedians of 3 alternating rounds; mirror ",
            "\nSkipped, not installed: unison.\n",
            "\nGoal for mirror's peak memory: at most 120.0 MB, met.\n",
            "\nGoal for mirror's time: at most 0.300 s, met.\n",
        ];
        for part in expected {
            assert!(text.contains(part), "{part}\nis not in\n{text}");
        }
    }

    #[test]
    fn figures_have_three_digits() {
        let figures = [5, 153, 1_304, 26_420, 310_200].map(|ms| figure(Duration::from_millis(ms)));
        assert_eq!(figures, ["0.00500", "0.153", "1.30", "26.4", "310"]);
        assert_eq!([0, 999, 83_774, 1_001_000].map(count), ["0", "999", "83,774", "1,001,000"]);
    }
}
