//! What goes wrong and how often: read from `faults.json`, which says where each number comes from.

use serde::{Deserialize, Serialize};

use super::rng::Rng;

/// Rates and durations of all faults; see `faults.json` for what each is and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each is described in the file, with its source")]
pub struct Faults {
    pub about: String,
    pub site_down: Rate,
    pub service_down: Rate,
    pub brown_out: Rate,
    pub flapping: Rate,
    pub uplink_cut: Rate,
    pub blip: Rate,
    pub transit_cut: Rate,
    pub path_fault: Rate,
    pub blind: Rate,
    pub controller_stop: Rate,
    pub clock_jump: Rate,
    pub server_unreachable: Rate,
    pub probe_loss: Lasting,
}

/// A kind of fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many a year, for each place it can happen at.
    pub per_year: f64,
    /// Half of them are over after so many seconds.
    pub median_s: f64,
    /// How far durations spread (of the logarithm).
    pub sigma: f64,
    /// The least and the most share of users and observers, where it takes a share.
    #[serde(default)]
    pub least: f64,
    /// See `least`.
    #[serde(default)]
    pub most: f64,
    /// The mean span for which a flapping site is up, in seconds.
    #[serde(default)]
    pub up_s: f64,
    /// And down.
    #[serde(default)]
    pub down_s: f64,
    /// How often the state is lost as well.
    #[serde(default)]
    pub share_amnesia: f64,
    /// The least that a clock is off, in seconds.
    #[serde(default)]
    pub least_s: f64,
    /// And the most.
    #[serde(default)]
    pub most_s: f64,
    /// What it is.
    pub what: String,
    /// Where the numbers come from.
    pub source: String,
}

/// Loss that is always there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lasting {
    /// How many probes of one are lost.
    pub share: f64,
    /// What it is.
    pub what: String,
    /// Where the number comes from.
    pub source: String,
}

/// Why a file of faults cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the fault parameters cannot be read: {0}")]
pub struct FaultsError(#[from] serde_json::Error);

impl Default for Faults {
    fn default() -> Faults {
        Faults::parse(include_str!("faults.json"))
            .expect("the file that ships with the crate parses")
    }
}

impl Faults {
    /// Reads a file like `faults.json`.
    ///
    /// # Errors
    /// [`FaultsError`] with the line and column.
    pub fn parse(text: &str) -> Result<Faults, FaultsError> {
        Ok(serde_json::from_str(text)?)
    }
}

/// A year without leap days, in milliseconds.
pub(super) const YEAR: i64 = 365 * 86_400_000;

impl Rate {
    /// When it begins and ends in a year, in milliseconds from its start.
    pub(super) fn times(&self, rng: &mut Rng) -> Vec<(i64, i64)> {
        let mut times = Vec::new();
        if self.per_year <= 0.0 {
            return times;
        }
        let mut at = 0.0;
        loop {
            at += rng.exponential(YEAR as f64 / self.per_year);
            if at >= YEAR as f64 {
                return times;
            }
            // No fault outlasts a month: somebody would do something.
            let long = rng.lognormal(self.median_s, self.sigma).clamp(1.0, 30.0 * 86_400.0);
            times.push((at as i64, (at + long * 1000.0) as i64));
        }
    }
}
