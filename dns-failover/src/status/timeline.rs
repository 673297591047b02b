//! What was up and down when, from what the controller noted.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Component, Condition, DAYS, Day, Impact, Incident, MOST_INCIDENTS, Maintenance, Phase,
    Progress, Source, Update, condition,
};
use crate::decision::{
    Answer, Cause, Decision, Effect, Millis, Note, ServiceId, ServiceState, SiteId, Stay,
    Timestamp, Verdict, Window,
};

/// From when to when.
type Span = (Timestamp, Timestamp);

pub(super) struct Timeline {
    /// When sites were down: from, until, and whether that is still so.
    outages: BTreeMap<SiteId, Vec<Outage>>,
    /// When nobody answered for a service though it should have been answered for.
    unserved: BTreeMap<ServiceId, Vec<Span>>,
    windows: Vec<Window>,
    /// Since when anything is known.
    known_since: Timestamp,
}

struct Outage {
    from: Timestamp,
    until: Option<Timestamp>,
    moves: Vec<Decision>,
    seen: String,
}

/// Where a service is, and which places are down, as the history is gone through.
#[derive(Default)]
struct Walk {
    down: BTreeSet<(ServiceId, SiteId)>,
    at: BTreeMap<ServiceId, Answer>,
    unserved: BTreeMap<ServiceId, Timestamp>,
}

impl Timeline {
    pub(super) fn of(source: &Source<'_>, now: Timestamp) -> Timeline {
        let mut windows: Vec<Window> = source.windows.to_vec();
        for window in source.state.windows() {
            windows.retain(|known| known.id != window.id);
            windows.push(window.clone());
        }
        windows.sort_by_key(|window| (window.starts, window.id));
        let state_since = source.state.services().iter().map(|service| service.since).min();
        let first = source.history.first().map(|(at, _)| *at);
        let known_since = first.into_iter().chain(state_since).min().unwrap_or(now);
        let mut timeline =
            Timeline { outages: BTreeMap::new(), unserved: BTreeMap::new(), windows, known_since };
        for target in source.state.targets() {
            timeline.outages.entry(target.site).or_default();
        }
        let mut walk = Walk::default();
        for service in &source.policy.config().services {
            walk.at.insert(service.id, Answer::Site(service.sites[0]));
        }
        for (at, effect) in source.history {
            timeline.take(&mut walk, *at, effect);
        }
        for (service, since) in walk.unserved {
            timeline.unserved.entry(service).or_default().push((since, now));
        }
        timeline
    }

    fn take(&mut self, walk: &mut Walk, at: Timestamp, effect: &Effect) {
        match effect {
            Effect::Noted(Note::Place { service, site, verdict, .. }) => {
                let was_down = walk.down.iter().any(|(_, of)| of == site);
                match verdict {
                    Verdict::Down => walk.down.insert((*service, *site)),
                    Verdict::Up => walk.down.remove(&(*service, *site)),
                    // What is not known any more is as it was.
                    Verdict::Unclear => false,
                };
                let is_down = walk.down.iter().any(|(_, of)| of == site);
                let outages = self.outages.entry(*site).or_default();
                match (was_down, is_down) {
                    (false, true) => outages.push(Outage {
                        from: at,
                        until: None,
                        moves: Vec::new(),
                        seen: match effect {
                            Effect::Noted(note) => note.to_string(),
                            _ => String::new(),
                        },
                    }),
                    (true, false) => {
                        if let Some(outage) = outages.last_mut() {
                            outage.until = Some(at);
                        }
                    }
                    _ => {}
                }
            }
            Effect::Decided(decision) => {
                walk.at.insert(decision.service, decision.to);
                if let (Cause::Failover, Answer::Site(site)) = (decision.cause, decision.from)
                    && let Some(outage) = self.outages.entry(site).or_default().last_mut()
                    && outage.until.is_none()
                {
                    outage.moves.push(decision.clone());
                }
            }
            _ => return,
        }
        for (service, answer) in &walk.at {
            let unserved = match answer {
                Answer::Site(site) => walk.down.contains(&(*service, *site)),
                Answer::All => walk.down.iter().filter(|(of, _)| of == service).count() > 1,
            };
            match (walk.unserved.get(service).copied(), unserved) {
                (None, true) => {
                    walk.unserved.insert(*service, at);
                }
                (Some(since), false) => {
                    walk.unserved.remove(service);
                    self.unserved.entry(*service).or_default().push((since, at));
                }
                _ => {}
            }
        }
    }

    pub(super) fn sites(&self) -> impl Iterator<Item = SiteId> {
        self.outages.keys().copied()
    }

    pub(super) fn service(
        &self,
        source: &Source<'_>,
        of: &ServiceState,
        now: Timestamp,
    ) -> Component {
        let targets = source.state.targets();
        let verdict = |site: SiteId| {
            let here = |target: &&crate::decision::TargetState| {
                target.site == site && target.service == of.id
            };
            targets.iter().find(here).map_or(Verdict::Unclear, |target| target.verdict)
        };
        let condition = match of.answer {
            Answer::Site(site) => condition(verdict(site)),
            Answer::All => Condition::Operational,
        };
        let name = source.names.iter().find(|(id, _)| *id == of.id);
        let name = name.map_or_else(|| of.id.to_string(), |(_, name)| name.clone());
        let served = match of.answer {
            Answer::Site(site) => format!("Served from {}", place(site)),
            Answer::All => "Served from all sites".to_owned(),
        };
        let note = match of.stay {
            Stay::Settled => format!("{served}."),
            stay => format!("{served}: {stay}."),
        };
        let spans = self.unserved.get(&of.id).map(Vec::as_slice).unwrap_or_default();
        Component {
            id: format!("service-{}", of.id),
            name,
            description: "Web sites that move together when a site fails".to_owned(),
            condition,
            note,
            since: of.since,
            days: self.days(spans, None, now),
        }
    }

    pub(super) fn site(&self, source: &Source<'_>, site: SiteId, now: Timestamp) -> Component {
        let targets = source.state.targets().iter().filter(|target| target.site == site);
        let worst = targets.clone().map(|target| condition(target.verdict)).max();
        let since = targets.map(|target| target.since).max().unwrap_or(now);
        let window = self.windows.iter().find(|window| window.site == site && window.is_on(now));
        let (condition, note) = match (worst.unwrap_or(Condition::DegradedPerformance), window) {
            (_, Some(window)) => {
                let title = if window.title.is_empty() { "maintenance" } else { &window.title };
                (Condition::UnderMaintenance, format!("Announced work: {title}."))
            }
            (Condition::Operational, None) => {
                (Condition::Operational, "Reached by most observers.".to_owned())
            }
            (Condition::MajorOutage, None) => {
                (Condition::MajorOutage, "Most observers do not reach it.".to_owned())
            }
            (other, None) => {
                (other, "Too few observers agree on it. That does not mean that it is down.".into())
            }
        };
        let spans = self.outages.get(&site).map(Vec::as_slice).unwrap_or_default();
        let spans: Vec<Span> =
            spans.iter().map(|outage| (outage.from, outage.until.unwrap_or(now))).collect();
        Component {
            id: format!("site-{site}"),
            name: format!("Site: {}", place(site)),
            description: "A server with a copy of all web sites".to_owned(),
            condition,
            note,
            since,
            days: self.days(&spans, Some(site), now),
        }
    }

    /// Day by day, what fell into announced maintenance of `site` apart from the rest.
    fn days(&self, spans: &[Span], site: Option<SiteId>, now: Timestamp) -> Vec<Day> {
        let today = now.day();
        let mut days: Vec<Day> = (today - DAYS + 1..=today)
            .map(|day| Day {
                day,
                known: Timestamp::of_day(day + 1) > self.known_since,
                ..Day::default()
            })
            .collect();
        let Some(first) = days.first().map(|day| day.day) else { return days };
        for (from, until) in spans {
            for day in from.day().max(first)..=until.day().min(today) {
                let within =
                    overlap((*from, *until), (Timestamp::of_day(day), Timestamp::of_day(day + 1)));
                let Some((start, end)) = within else { continue };
                let windows = self.windows.iter().filter(|window| Some(window.site) == site);
                let announced = windows
                    .filter_map(|window| overlap((start, end), (window.starts, window.ends)));
                let announced: u64 = announced.map(|(start, end)| end.since(start).get()).sum();
                let all = end.since(start).get();
                let Ok(place) = usize::try_from(day - first) else { continue };
                let announced = announced.min(all);
                days[place].scheduled = Millis::new(days[place].scheduled.get() + announced);
                days[place].down = Millis::new(days[place].down.get() + all - announced);
            }
        }
        days
    }

    /// The newest first.
    pub(super) fn incidents(&self, source: &Source<'_>, now: Timestamp) -> Vec<Incident> {
        let mut incidents: Vec<Incident> = Vec::new();
        for (site, outages) in &self.outages {
            incidents.extend(outages.iter().map(|outage| self.incident(*site, outage, now)));
        }
        incidents.extend(source.written.iter().filter_map(written));
        incidents.sort_by(|one, other| (other.started, &other.id).cmp(&(one.started, &one.id)));
        incidents.truncate(MOST_INCIDENTS);
        incidents
    }

    fn incident(&self, site: SiteId, outage: &Outage, now: Timestamp) -> Incident {
        let here = self.windows.iter().filter(|window| window.site == site);
        let mut covering = here.filter(|window| window.is_on(outage.from));
        let scheduled = covering.next().is_some_and(|window| {
            // Work that goes on for longer than announced is an incident.
            outage.until.is_some_and(|until| until <= window.ends)
        });
        let mut updates = vec![Update {
            at: outage.from,
            status: Progress::Investigating,
            body: format!("Noticed: {}.", outage.seen),
        }];
        for decision in &outage.moves {
            let body = format!("Moved: {decision}.");
            updates.push(Update { at: decision.at, status: Progress::Identified, body });
        }
        if let Some(until) = outage.until {
            let body = format!("{} is reached again by most observers.", place(site));
            updates.push(Update { at: until, status: Progress::Resolved, body });
        }
        let failed_over = outage.moves.first().map(|decision| decision.at);
        let mut components = vec![format!("site-{site}")];
        let moved = outage.moves.iter().map(|decision| format!("service-{}", decision.service));
        components.extend(moved);
        // What visitors noticed of it: a minute without an answer, or less.
        let long = |(from, until): Span| until.since(from) >= Millis::from_secs(60);
        let span = (outage.from, outage.until.unwrap_or(now));
        let unserved = self.unserved.values().flatten().filter_map(|of| overlap(*of, span));
        let impact = match (scheduled, unserved.into_iter().any(long)) {
            (true, _) => Impact::None,
            (false, true) => Impact::Major,
            (false, false) => Impact::Minor,
        };
        let verb = if outage.until.is_some() { "was" } else { "is" };
        Incident {
            id: format!("{site}-{}", outage.from.as_millis()),
            title: format!("{} {verb} not reachable", place(site)),
            impact,
            progress: updates.last().map_or(Progress::Investigating, |last| last.status),
            started: outage.from,
            resolved: outage.until,
            updates,
            scheduled,
            failed_over,
            components,
        }
    }

    /// By start; what has been over for longer than the page looks back is left out.
    pub(super) fn maintenance(&self, now: Timestamp) -> Vec<Maintenance> {
        let first = Timestamp::of_day(now.day() - DAYS);
        let shown = self.windows.iter().filter(|window| window.ends > first);
        let maintenance = |window: &Window| Maintenance {
            window: window.clone(),
            phase: if window.is_on(now) {
                Phase::InProgress
            } else if window.starts > now {
                Phase::Scheduled
            } else {
                Phase::Completed
            },
            components: vec![format!("site-{}", window.site)],
        };
        shown.map(maintenance).collect()
    }
}

fn written(of: &super::Written) -> Option<Incident> {
    let mut updates = of.updates.clone();
    updates.sort_by_key(|update| update.at);
    let over = |status| matches!(status, Progress::Resolved | Progress::Postmortem);
    let id: String =
        of.id.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').collect();
    Some(Incident {
        id: format!("note-{id}"),
        title: of.title.clone(),
        impact: of.impact,
        progress: updates.last()?.status,
        started: updates.first()?.at,
        resolved: updates.iter().find(|update| over(update.status)).map(|update| update.at),
        updates,
        scheduled: false,
        failed_over: None,
        components: Vec::new(),
    })
}

fn overlap(one: Span, other: Span) -> Option<Span> {
    let both = (one.0.max(other.0), one.1.min(other.1));
    (both.0 < both.1).then_some(both)
}

/// A site's name as a place: `uk` is the UK.
fn place(site: SiteId) -> String {
    match site.as_str() {
        short if short.len() == 2 => short.to_uppercase(),
        long => long.to_owned(),
    }
}
