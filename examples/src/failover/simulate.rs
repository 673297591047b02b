//! `failover simulate`: our rules and others' on the same years of faults.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use clap::Args;
use dns_failover::daemon::now;
use dns_failover::sim::{Contestant, Faults, Tally, table, year};
use mirror_core::write_json_line;
use serde_json::json;

use crate::capped;
use crate::keys::Failure;
use crate::outcome::Outcome;

/// Compares our rules with those of gdnsd, Route 53 and PowerDNS on simulated years of faults.
///
/// Exit code 3: an invariant was broken.
#[derive(Debug, Args)]
pub struct Simulate {
    /// How many years.
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u64).range(1..))]
    years: u64,
    /// The first seed; each year has one.
    #[arg(long, value_name = "N", default_value = "1000000")]
    seed: u64,
    /// Other fault parameters than those that come with the library (JSON).
    #[arg(long, value_name = "FILE")]
    faults: Option<PathBuf>,
    /// How many threads.
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..256))]
    jobs: u16,
}

impl Simulate {
    /// Simulates, and prints the table.
    ///
    /// # Errors
    /// [`Failure`] when the fault parameters cannot be read.
    pub fn run(
        &self,
        quiet: bool,
        as_json: bool,
        out: &mut impl Write,
    ) -> Result<Outcome, Failure> {
        let faults = match &self.faults {
            None => Faults::default(),
            Some(path) => {
                let text = capped::text(path, capped::CONFIGURATION)
                    .map_err(|error| Failure::of(path, error))?;
                Faults::parse(&text).map_err(|error| Failure::of(path, error))?
            }
        };
        let mut rows = Vec::new();
        for contestant in Contestant::ALL {
            let start = now();
            let tally = self.years(&faults, contestant);
            if !quiet && !as_json {
                let took = now().since(start);
                let _ = writeln!(
                    std::io::stderr(),
                    "{}: {} years in {:.1} s",
                    contestant.name(),
                    self.years,
                    took.get() as f64 / 1000.0
                );
            }
            rows.push((contestant, tally));
        }
        let broken: u64 = rows.iter().map(|(_, tally)| tally.violations()).sum();
        let outcome = if broken > 0 { Outcome::DoneWithProblems } else { Outcome::Done };
        if as_json {
            let row = |(contestant, tally): &(Contestant, Tally)| {
                json!({
                    "contestant": contestant.name(),
                    "years": tally.years(),
                    "unavailable_minutes": tally.unavailable_minutes(),
                    "false_moves": tally.false_moves(),
                    "moves": tally.moves(),
                    "missed_share": tally.missed_share(),
                    "recovery_s": [tally.recovery(0.5), tally.recovery(0.95), tally.recovery(0.99)],
                    "violations": tally.violations(),
                })
            };
            let rows: Vec<_> = rows.iter().map(row).collect();
            let object = json!({
                "format": 1, "command": "simulate", "outcome": outcome, "seed": self.seed, "rows": rows,
            });
            write_json_line(out, &object).map_err(Failure::failed)?;
        } else {
            let seeds = format!("seeds {} to {}", self.seed, self.seed + self.years - 1);
            writeln!(out, "{} years of probes, {seeds}\n\n{}", self.years, table(&rows))
                .map_err(Failure::failed)?;
        }
        Ok(outcome)
    }

    fn years(&self, faults: &Faults, contestant: Contestant) -> Tally {
        let next = AtomicU64::new(0);
        thread::scope(|scope| {
            let work = || {
                let mut tally = Tally::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= self.years {
                        return tally;
                    }
                    tally.add(&year(faults, contestant, self.seed.wrapping_add(index)));
                }
            };
            let threads: Vec<_> = (0..self.jobs).map(|_| scope.spawn(work)).collect();
            let mut all = Tally::default();
            for thread in threads {
                match thread.join() {
                    Ok(tally) => all.merge(&tally),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        })
    }
}
