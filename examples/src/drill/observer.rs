//! An observer: looks at every site from where it stands, and tells the controller.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dns_failover::daemon::{Place, Watch};
use dns_failover::decision::Millis;
use dns_failover::observe::{Body, Exchange, ExchangeKey, Message};
use dns_failover::probe::{Check, Probe};

use super::{Trouble, clock, ground, web};

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(200);
/// So long it waits for an answer.
const TIMEOUT: Millis = Millis::from_secs(1);

/// What an observer is told on its command line; the key comes in a file.
#[derive(Debug, clap::Args)]
pub struct Observe {
    /// Its name.
    name: String,
    /// Where the controller listens.
    controller: SocketAddr,
    /// The file with the key that it shares with the controller.
    key: PathBuf,
    /// A place that depends on neither site: when it does not answer, the observer is blind.
    control: SocketAddr,
    /// What to look at: SERVICE=HOST@SITE=ADDRESS.
    targets: Vec<String>,
}

/// How a target is written on the command line.
pub(super) fn target(service: &str, host: &str, site: &str, at: SocketAddr) -> String {
    format!("{service}={host}@{site}={at}")
}

fn parse(text: &str) -> Option<Place> {
    let (what, place) = text.split_once('@')?;
    let (service, host) = what.split_once('=')?;
    let (site, address) = place.split_once('=')?;
    let check = Check::http(host, web::HEALTH, 200, Some("here")).ok()?;
    let probe = Probe { address: address.parse().ok()?, check, timeout: TIMEOUT };
    Some(Place { site: site.parse().ok()?, services: vec![service.parse().ok()?], probe })
}

impl Observe {
    /// Looks and tells until the process ends.
    ///
    /// # Errors
    /// When it cannot begin.
    pub(super) fn run(&self) -> Result<(), Trouble> {
        let wrong = |why: String| Trouble::new(format!("observer {}: {why}", self.name));
        let secret = std::fs::read(&self.key).map_err(|error| wrong(error.to_string()))?;
        let key = ExchangeKey::new(&secret).map_err(|error| wrong(error.to_string()))?;
        let exchange = Exchange::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let exchange = exchange.map_err(|error| wrong(error.to_string()))?;
        let mut places = Vec::new();
        for text in &self.targets {
            places.push(parse(text).ok_or_else(|| wrong(format!("{text:?} is no target")))?);
        }
        let observer = self.name.parse().map_err(|error| wrong(format!("{error}")))?;
        let control = Probe { address: self.control, check: Check::Tcp, timeout: TIMEOUT };
        let watch = Watch { observer, places, controls: vec![control] };
        ground::say_ready();
        let mut sequence = 0;
        loop {
            let begun = clock::now();
            let (report, _) = watch.round(begun, &mut || 0);
            let sent = clock::now();
            sequence = sent.as_millis().unsigned_abs().max(sequence + 1);
            let message = Message { sender: observer, sequence, sent, body: Body::Report(report) };
            // A report that cannot be sent is a report that is missing, and counts as such.
            if let Ok(datagram) = key.seal(&message) {
                let _ = exchange.send(&datagram, self.controller);
            }
            std::thread::sleep(INTERVAL.saturating_sub(clock::now().since(begun).to_std()));
        }
    }
}
