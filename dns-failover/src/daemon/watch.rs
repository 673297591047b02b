//! An observer's round: all places at once, each within its time.

use std::collections::BTreeMap;
use std::thread;

use crate::decision::{ObserverId, Report, Seen, ServiceId, SiteId, Timestamp};
use crate::probe::{Failure, Probe};

/// Something to look at, which several services may hang on.
#[derive(Debug, Clone)]
pub struct Place {
    /// The site.
    pub site: SiteId,
    /// The services that need it there.
    pub services: Vec<ServiceId>,
    /// How to look. A service is up at a site when every probe of it succeeds.
    pub probe: Probe,
}

/// What an observer looks at.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Who looks.
    pub observer: ObserverId,
    /// All places.
    pub places: Vec<Place>,
    /// Places that do not depend on us: when none of them answers, nothing here can be believed.
    pub controls: Vec<Probe>,
}

impl Watch {
    /// Looks once. Takes as long as the slowest probe. Gives the report and what failed.
    ///
    /// `nonce` gives each DNS question its number.
    pub fn round(
        &self,
        at: Timestamp,
        nonce: &mut dyn FnMut() -> u16,
    ) -> (Report, Vec<(SiteId, Failure)>) {
        let mut nonces = Vec::with_capacity(self.places.len() + self.controls.len());
        nonces.resize_with(self.places.len() + self.controls.len(), nonce);
        let probes = self.places.iter().map(|place| &place.probe).chain(&self.controls);
        let mut results = thread::scope(|scope| {
            let threads =
                probes.zip(nonces).map(|(probe, nonce)| scope.spawn(move || probe.run(nonce)));
            let threads: Vec<_> = threads.collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.collect::<Vec<_>>()
        });
        let controls = results.split_off(self.places.len());
        let mut up: BTreeMap<(ServiceId, SiteId), bool> = BTreeMap::new();
        let mut failures = Vec::new();
        for (place, result) in self.places.iter().zip(results) {
            for service in &place.services {
                *up.entry((*service, place.site)).or_insert(true) &= result.is_ok();
            }
            failures.extend(result.err().map(|failure| (place.site, failure)));
        }
        let results = up.into_iter().map(|((service, site), up)| Seen { service, site, up });
        let report = Report {
            observer: self.observer,
            at,
            controls: (!controls.is_empty()).then(|| controls.iter().any(Result::is_ok)),
            results: results.collect(),
        };
        (report, failures)
    }
}
