//! `site fits`: whether the next run has room.

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::Args;
use dns_failover::SiteId;
use mirror_core::{Capacity, Need, Side, write_json_line};
use serde::Serialize;

use super::{Chosen, Pair, epochs};
use crate::keys::Failure;
use crate::outcome::{Outcome, bytes};

/// Says whether what the next run brings fits on the disks, all sites of a disk together.
///
/// Exit code 3 when it does not, or when a site could not be looked at.
#[derive(Debug, Args)]
pub struct Fits {
    #[command(flatten)]
    chosen: Chosen,
}

#[derive(Debug, Serialize)]
struct Disk {
    server: &'static str,
    disk: String,
    sites: Vec<String>,
    need: Need,
    capacity: Capacity,
    fits: bool,
}

#[derive(Debug, Serialize)]
struct All {
    format: u32,
    outcome: Outcome,
    disks: Vec<Disk>,
    problems: Vec<String>,
}

impl Fits {
    /// Plans every site, and changes none.
    ///
    /// # Errors
    /// [`Failure`] when it cannot begin; a refusal when a run is at work.
    pub fn run(&self, json: bool, quiet: bool) -> Result<Outcome, Failure> {
        let setup = self.chosen.setup()?;
        let _lock = setup.lock()?;
        epochs::share(&setup).map_err(Failure::failed)?;
        let served = setup.epochs()?;
        let mut disks: BTreeMap<(SiteId, &str), Disk> = BTreeMap::new();
        let mut problems = Vec::new();
        for site in setup.chosen() {
            let (_, active) = served.active(site);
            let planned = Pair::open(&setup, site, active).and_then(|pair| {
                let told = |error: mirror_core::Error| error.to_string();
                let plan = pair.mirror(&setup.base(site)).plan().map_err(told)?;
                let both = [Side::A, Side::B].map(|side| *plan.plan().summary().need(side));
                let capacity = pair.other.endpoint().capacity().map_err(told)?;
                // Of both ways the one that leads to the other server counts; see `Pair::mirror`.
                let swapped =
                    site.policy.direction == mirror_core::Direction::Both && active != site.primary;
                Ok((if swapped { both[0] } else { both[1] }, capacity))
            });
            let (need, capacity) = match planned {
                Ok(found) => found,
                Err(why) => {
                    problems.push(format!("{site}: {why}"));
                    continue;
                }
            };
            let target = active.other();
            let disk = disks.entry((target, &site.disk)).or_insert_with(|| Disk {
                server: target.as_str(),
                disk: site.disk.clone(),
                sites: Vec::new(),
                need: Need::default(),
                capacity,
                fits: true,
            });
            disk.sites.push(site.name.clone());
            disk.need.bytes = disk.need.bytes.saturating_add(need.bytes);
            disk.need.inodes = disk.need.inodes.saturating_add(need.inodes);
            disk.fits = disk.capacity.check(&disk.need).is_ok();
        }
        let disks: Vec<Disk> = disks.into_values().collect();
        let well = problems.is_empty() && disks.iter().all(|disk| disk.fits);
        let outcome = if well { Outcome::Done } else { Outcome::DoneWithProblems };
        let all = All { format: 1, outcome, disks, problems };
        let mut out = io::stdout().lock();
        let written =
            if json { write_json_line(&mut out, &all) } else { tell(&mut out, &all, quiet) };
        written.map(|()| outcome).map_err(Failure::failed)
    }
}

fn tell(out: &mut impl Write, all: &All, quiet: bool) -> io::Result<()> {
    for disk in all.disks.iter().filter(|disk| !quiet || !disk.fits) {
        let Disk { server, sites, need, capacity, .. } = disk;
        let name = if disk.disk.is_empty() { "its disk" } else { &disk.disk };
        write!(out, "{server}, {name}: {} more for {}", bytes(need.bytes), sites.join(", "))?;
        write!(out, "; {} free", bytes(capacity.bytes))?;
        if let Some(inodes) = capacity.inodes {
            write!(out, ", {} of {inodes} inodes", need.inodes)?;
        }
        writeln!(out, ": {}", if disk.fits { "fits" } else { "does not fit" })?;
    }
    all.problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))?;
    out.flush()
}
