//! Failover tried on thousands of years of faults, beside what others do.
//!
//! A seed makes a year: faults with shared causes, from the rates in `sim/faults.json`, each with where
//! its numbers come from. Every rule meets the same years. Ours runs as in production, two controllers
//! stepping the real [`Policy`](crate::decision::Policy) and fencing one another at six name servers;
//! only time in which its own properties show that nothing can happen is skipped.
//!
//! ```
//! use dns_failover::sim::{Contestant, Faults, Tally, year};
//!
//! let faults = Faults::default();
//! let mut tally = Tally::default();
//! for seed in 0..3 {
//!     tally.add(&year(&faults, Contestant::ThreeDomains, seed));
//! }
//! assert_eq!(tally.violations(), 0);
//! println!("{:.1} minutes a year", tally.unavailable_minutes());
//! ```
//!
//! Not here: resolvers that ignore a TTL, and people.

mod baseline;
mod faults;
mod losses;
mod measure;
mod ours;
mod rng;
mod table;
mod truth;

pub use baseline::Contestant;
pub use faults::{Faults, FaultsError, Lasting, Rate};
pub use measure::{Tally, Year};
pub use rng::Rng;
pub use table::table;

/// Simulates one year of one contestant. The same seed makes the same faults for all of them.
pub fn year(faults: &Faults, contestant: Contestant, seed: u64) -> Year {
    let truth = truth::Truth::of_year(faults, seed);
    let run = match contestant {
        Contestant::ThreeDomains => ours::run(&truth, faults, &[truth::UK, truth::US, 2], seed),
        Contestant::FiveDomains => {
            ours::run(&truth, faults, &[truth::UK, truth::US, 2, 3, 4], seed)
        }
        other => baseline::run(&truth, faults, other, seed),
    };
    measure::measure(&truth, contestant, &run)
}
