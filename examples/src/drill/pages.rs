//! The two status pages: the one that the controller in the US makes of its journal, and the one of the
//! UK, which has only heard of it all: its own disk is new, or has slept through it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use dns_failover::decision::{Effect, Event, Policy, ServiceId, State, Timestamp};
use dns_failover::observe::View;
use dns_failover::status::{Page, Source, atom, html, json};

use super::{SERVICES, Trouble};

/// What the pages are made of.
pub(super) struct Past<'a> {
    /// The rules of the controller in the US, and in the UK.
    pub(super) policies: [&'a Policy; 2],
    pub(super) state: &'a State,
    pub(super) history: &'a [(Timestamp, Effect)],
    pub(super) now: Timestamp,
}

/// Writes both pages below a folder.
pub(super) fn write(past: &Past<'_>, folder: &Path) -> Result<(), Trouble> {
    let names: Vec<(ServiceId, String)> = SERVICES
        .iter()
        .filter_map(|(service, domain, _)| Some((service.parse().ok()?, format!("www.{domain}"))))
        .collect();
    let ([us, uk], now) = (past.policies, past.now);
    let mut source =
        Source::new("The drill, seen from the US", "https://status.us.example", us, past.state);
    source.names = &names;
    source.history = past.history;
    save(&Page::of(&source, now), &folder.join("status-us"))?;
    let publication = past.state.publication();
    let learned = Event::Learned { epoch: publication.epoch, answers: publication.answers };
    let (state, _) = uk.step(uk.start(now), &learned, now);
    let peers = [View::of(us, past.state)];
    let mut source =
        Source::new("The drill, seen from the UK", "https://status.uk.example", uk, &state);
    source.names = &names;
    source.peers = &peers;
    save(&Page::of(&source, now), &folder.join("status-uk"))
}

fn save(page: &Page, folder: &Path) -> Result<(), Trouble> {
    let mut files = BTreeMap::from([("index.html", html(page)), ("feed.atom", atom(page))]);
    files.extend(json(page));
    let put = |(path, text): (&str, String)| -> io::Result<()> {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, text)
    };
    let put_all = files.into_iter().try_for_each(put);
    put_all.map_err(|error| Trouble::at("cannot write a status page to", folder, &error))
}
