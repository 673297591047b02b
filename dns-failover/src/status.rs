//! The page that says how things are: made of the journal, of what people wrote, and of what the other
//! site told.
//!
//! A [`Page`] is data. [`html`] makes a page without scripts or outside assets of it, [`json`] the files of
//! Statuspage's API v2 that other programs read, and [`atom`] a feed. Each site makes its own and
//! says how old its view of the other is; that nothing is heard of it does not mean that it is down.
//!
//! ```
//! use dns_failover::decision::{Policy, PolicyConfig, Timestamp};
//! use dns_failover::status::{Page, Source, html};
//!
//! let policy = Policy::new(PolicyConfig::example())?;
//! let now: Timestamp = "2026-11-22T19:00:00Z".parse()?;
//! let state = policy.start(now);
//! let page = Page::of(&Source::new("host.example", "https://status.host.example", &policy, &state), now);
//! assert!(html(&page).starts_with("<!DOCTYPE html>"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atom;
mod escape;
mod html;
mod json;
mod timeline;

use serde::{Deserialize, Serialize};

use crate::decision::{
    ControllerId, Effect, Epoch, Millis, Mode, Policy, ServiceId, SiteId, State, Timestamp,
    Verdict, Window,
};
use crate::observe::View;

pub use atom::atom;
pub use html::html;
pub use json::json;

/// How many days of uptime are shown.
pub const DAYS: i64 = 90;
/// A controller that was not heard for so long is out of reach, or stopped.
pub const UNHEARD: Millis = Millis::from_secs(60);
/// The most incidents that a page keeps; the older ones are left out.
pub const MOST_INCIDENTS: usize = 100;

/// What a page is made of.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// Whose page it is.
    pub name: &'a str,
    /// Where it will be, without a slash at the end.
    pub url: &'a str,
    /// The rules of the controller here.
    pub policy: &'a Policy,
    /// What it knows.
    pub state: &'a State,
    /// What came of past events, the oldest first.
    pub history: &'a [(Timestamp, Effect)],
    /// What people wrote.
    pub written: &'a [Written],
    /// Maintenance, past and to come, besides what the state has.
    pub windows: &'a [Window],
    /// What other controllers told last.
    pub peers: &'a [View],
    /// Where each service is to be named otherwise than by its id.
    pub names: &'a [(ServiceId, String)],
}

impl<'a> Source<'a> {
    /// Without a past, and without others.
    pub fn new(name: &'a str, url: &'a str, policy: &'a Policy, state: &'a State) -> Source<'a> {
        Source {
            name,
            url,
            policy,
            state,
            history: &[],
            written: &[],
            windows: &[],
            peers: &[],
            names: &[],
        }
    }
}

/// An incident that a person wrote down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// A word that stays the same: it is in links.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// How bad it is.
    #[serde(default)]
    pub impact: Impact,
    /// What was told, the first first. The incident began with the first, and is over when one says
    /// resolved.
    pub updates: Vec<Update>,
}

/// Something that was told about an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// When.
    pub at: Timestamp,
    /// How far it is.
    pub status: Progress,
    /// What.
    pub body: String,
}

/// How far an incident is, in Statuspage's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It was noticed.
    Investigating,
    /// The cause is known.
    Identified,
    /// It should be over; somebody watches.
    Monitoring,
    /// It is over.
    Resolved,
    /// What was learned from it.
    Postmortem,
}

/// How bad something is, in Statuspage's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Impact {
    /// Nobody notices.
    None,
    /// Some do.
    #[default]
    Minor,
    /// Many do.
    Major,
    /// Everybody does.
    Critical,
}

/// How a component is, in Statuspage's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It works.
    Operational,
    /// Somebody works on it.
    UnderMaintenance,
    /// It is not known for sure, or not as good as it should be.
    DegradedPerformance,
    /// Some get no answer.
    PartialOutage,
    /// Nobody gets one.
    MajorOutage,
}

/// A day of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Day {
    /// Counted from 1970-01-01.
    pub day: i64,
    /// For how long it was down though it should not have been.
    pub down: Millis,
    /// For how long it was down in announced maintenance.
    pub scheduled: Millis,
    /// Whether anything is known of that day.
    pub known: bool,
}

/// Something that works or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    /// A word that stays the same.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub description: String,
    /// How it is.
    pub condition: Condition,
    /// The same as a sentence.
    pub note: String,
    /// Since when.
    pub since: Timestamp,
    /// The last days, the oldest first.
    pub days: Vec<Day>,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// A word that stays the same.
    pub id: String,
    /// What it is about.
    pub title: String,
    /// How bad it was.
    pub impact: Impact,
    /// How far it is.
    pub progress: Progress,
    /// When it was noticed.
    pub started: Timestamp,
    /// When it was over.
    pub resolved: Option<Timestamp>,
    /// What was told, the first first.
    pub updates: Vec<Update>,
    /// Whether it fell into announced maintenance.
    pub scheduled: bool,
    /// When services were moved away because of it.
    pub failed_over: Option<Timestamp>,
    /// The components it concerns.
    pub components: Vec<String>,
}

/// Announced maintenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Maintenance {
    /// Its window.
    pub window: Window,
    /// How far it is.
    pub phase: Phase,
    /// The components it concerns.
    pub components: Vec<String>,
}

impl Maintenance {
    /// A word that stays the same, and is no other part of the page's.
    pub fn id(&self) -> String {
        format!("window-{}", self.window.id)
    }
}

/// How far maintenance is, in Statuspage's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// It is to come.
    Scheduled,
    /// It is under way.
    InProgress,
    /// It is over.
    Completed,
}

/// Another controller, as it is seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Which.
    pub controller: ControllerId,
    /// What it told last; none when it never told anything.
    pub view: Option<View>,
    /// How long ago.
    pub age: Option<Millis>,
    /// Whether that is so long ago that it is out of reach. This is no word about its site.
    pub unreachable: bool,
}

/// An observer, as it is seen from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Observer {
    /// Its name.
    pub name: String,
    /// What it fails together with.
    pub domain: String,
    /// How it is, as a word.
    pub state: &'static str,
    /// When it was heard last.
    pub last: Option<Timestamp>,
}

/// All that a page shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Whose.
    pub name: String,
    /// Where.
    pub url: String,
    /// When it was made.
    pub made: Timestamp,
    /// Whose view it is.
    pub here: ControllerId,
    /// How old that view is.
    pub age: Millis,
    /// Whether services are moved without a person.
    pub mode: Mode,
    /// The latest decision, and whether all name servers have it.
    pub epoch: Epoch,
    /// See above.
    pub published: bool,
    /// Services, then sites.
    pub components: Vec<Component>,
    /// The newest first.
    pub incidents: Vec<Incident>,
    /// By start.
    pub maintenance: Vec<Maintenance>,
    /// The other controllers.
    pub peers: Vec<Peer>,
    /// Who looks.
    pub observers: Vec<Observer>,
}

impl Page {
    /// Puts together what there is to say at `now`.
    pub fn of(source: &Source<'_>, now: Timestamp) -> Page {
        let state = source.state;
        let timeline = timeline::Timeline::of(source, now);
        let mut components: Vec<_> =
            state.services().iter().map(|of| timeline.service(source, of, now)).collect();
        components.extend(timeline.sites().map(|site| timeline.site(source, site, now)));
        let here = source.policy.config().controller;
        Page {
            name: source.name.to_owned(),
            url: source.url.trim_end_matches('/').to_owned(),
            made: now,
            here,
            age: now.since(state.clock()),
            mode: source.policy.mode(),
            epoch: state.epoch(),
            published: state.is_published() || state.epoch().number == 0,
            components,
            incidents: timeline.incidents(source, now),
            maintenance: timeline.maintenance(now),
            peers: peers(source, here, now),
            observers: observers(source),
        }
    }

    /// Whether what it shows is so old that the controller here may have stopped.
    pub fn is_stale(&self) -> bool {
        self.age > UNHEARD
    }

    /// The one sentence that a visitor came for, and how bad it is.
    pub fn summary(&self) -> (Impact, &'static str) {
        let services = self.components.iter().filter(|of| of.id.starts_with("service-"));
        let worst = services.map(|of| of.condition).max().unwrap_or(Condition::Operational);
        let sites = self.components.iter().filter(|of| of.id.starts_with("site-"));
        let site = sites.map(|of| of.condition).max().unwrap_or(Condition::Operational);
        let open = self.incidents.iter().filter(|of| of.resolved.is_none() && !of.scheduled);
        let told = open.map(|of| of.impact).max().unwrap_or(Impact::None);
        let seen = match (worst, site) {
            (Condition::MajorOutage, _) => (Impact::Critical, "Some web sites cannot be reached"),
            (Condition::PartialOutage, _) => (Impact::Major, "Some web sites may not be reachable"),
            _ if self.is_stale() => (Impact::Minor, "This page is out of date"),
            (Condition::DegradedPerformance, _) => {
                (Impact::Minor, "Not everything can be seen from here")
            }
            (_, Condition::MajorOutage) => {
                (Impact::Minor, "One site is down; the other one serves everything")
            }
            (_, Condition::DegradedPerformance | Condition::PartialOutage) => {
                (Impact::Minor, "Web sites work; one site cannot be judged from here")
            }
            (_, Condition::UnderMaintenance) => {
                (Impact::None, "Maintenance is under way; web sites work")
            }
            _ => (Impact::None, "All systems work"),
        };
        match told > seen.0 {
            true => (told, "There is an open incident"),
            false => seen,
        }
    }
}

fn peers(source: &Source<'_>, here: ControllerId, now: Timestamp) -> Vec<Peer> {
    let sites = source.policy.config().observers.iter().filter_map(|observer| observer.site);
    let mut names: Vec<ControllerId> =
        sites.filter_map(|site: SiteId| site.as_str().parse().ok()).collect();
    names.extend(source.peers.iter().map(|view| view.controller));
    names.sort_unstable();
    names.dedup();
    let peer = |controller| {
        let views = source.peers.iter().filter(|view| view.controller == controller);
        let view = views.max_by_key(|view| view.at).cloned();
        let age = view.as_ref().map(|view| now.since(view.at));
        let unreachable = age.is_none_or(|age| age > UNHEARD);
        Peer { controller, view, age, unreachable }
    };
    names.into_iter().filter(|name| *name != here).map(peer).collect()
}

fn observers(source: &Source<'_>) -> Vec<Observer> {
    let configured = &source.policy.config().observers;
    let observer = |of: &crate::decision::ObserverState| {
        let domain = configured.iter().find(|known| known.id == of.id);
        Observer {
            name: of.id.to_string(),
            domain: domain.map_or_else(String::new, |known| known.domain.to_string()),
            state: match (of.silent, of.blind) {
                (true, _) => "silent",
                (false, true) => "blind",
                (false, false) => "watching",
            },
            last: of.seen,
        }
    };
    source.state.observers().iter().map(observer).collect()
}

fn condition(verdict: Verdict) -> Condition {
    match verdict {
        Verdict::Up => Condition::Operational,
        Verdict::Down => Condition::MajorOutage,
        Verdict::Unclear => Condition::DegradedPerformance,
    }
}
