//! Statuspage's API v2: what Grafana and others read. Our own fields come on top of the published ones.

use serde_json::{Value, json as object};

use super::{Component, Incident, Maintenance, Page, Phase};
use crate::decision::Timestamp;

/// The files, each with its path below the page's own.
pub fn json(page: &Page) -> Vec<(&'static str, String)> {
    let head = head(page);
    let (indicator, description) = page.summary();
    let status = object!({"indicator": indicator, "description": description});
    let components: Vec<_> = page.components.iter().enumerate().map(component(page)).collect();
    let of = |incidents: Vec<&Incident>| -> Vec<Value> {
        incidents.into_iter().map(|of| incident(page, of)).collect()
    };
    let all = of(page.incidents.iter().collect());
    let open = of(page.incidents.iter().filter(|of| of.resolved.is_none()).collect());
    let works = |phases: &[Phase]| -> Vec<Value> {
        let chosen = page.maintenance.iter().filter(|of| phases.contains(&of.phase));
        chosen.map(|of| maintenance(page, of)).collect()
    };
    let (every, upcoming, active) = (
        works(&[Phase::Scheduled, Phase::InProgress, Phase::Completed]),
        works(&[Phase::Scheduled]),
        works(&[Phase::InProgress]),
    );
    let unfinished = works(&[Phase::Scheduled, Phase::InProgress]);
    let files = [
        ("api/v2/status.json", object!({"page": head, "status": status})),
        ("api/v2/components.json", object!({"page": head, "components": components})),
        ("api/v2/incidents.json", object!({"page": head, "incidents": all})),
        ("api/v2/incidents/unresolved.json", object!({"page": head, "incidents": open})),
        (
            "api/v2/scheduled-maintenances.json",
            object!({"page": head, "scheduled_maintenances": every}),
        ),
        (
            "api/v2/scheduled-maintenances/upcoming.json",
            object!({"page": head, "scheduled_maintenances": upcoming}),
        ),
        (
            "api/v2/scheduled-maintenances/active.json",
            object!({"page": head, "scheduled_maintenances": active}),
        ),
        (
            "api/v2/summary.json",
            object!({
                "page": head, "components": components, "incidents": open,
                "scheduled_maintenances": unfinished, "status": status,
                // Ours.
                "observed_by": page.observers, "mode": page.mode, "view_age_ms": page.age.get(),
                "peers": page.peers.iter().map(|peer| object!({
                    "controller": peer.controller,
                    "state": if peer.unreachable { "peer_unreachable" } else { "heard" },
                    "last_peer_contact": peer.view.as_ref().map(|view| time(view.at)),
                })).collect::<Vec<_>>(),
            }),
        ),
    ];
    files.into_iter().map(|(path, value)| (path, format!("{value:#}\n"))).collect()
}

fn time(time: Timestamp) -> String {
    time.to_string()
}

/// Statuspage's ids are short and of letters and digits; ours say what they are.
fn head(page: &Page) -> Value {
    object!({
        "id": format!("{}-{}", slug(&page.name), page.here),
        "name": page.name,
        "url": page.url,
        "time_zone": "Etc/UTC",
        "updated_at": time(page.made),
    })
}

fn slug(name: &str) -> String {
    let plain =
        |char: char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' };
    name.chars().take(40).map(plain).collect()
}

fn component(page: &Page) -> impl Fn((usize, &Component)) -> Value + '_ {
    move |(position, of)| {
        object!({
            "id": of.id, "name": of.name, "description": of.description, "status": of.condition,
            "group_id": null, "group": false, "position": position + 1, "showcase": true,
            "only_show_if_degraded": false, "page_id": head(page)["id"],
            "start_date": null,
            "created_at": time(Timestamp::of_day(of.days.first().map_or(0, |day| day.day))),
            "updated_at": time(of.since),
            "note": of.note,
        })
    }
}

fn affected(page: &Page, ids: &[String], old: &str, new: &str) -> Vec<Value> {
    let known = page.components.iter().filter(|of| ids.contains(&of.id));
    let affected = |of: &Component| object!({"code": of.id, "name": of.name, "old_status": old, "new_status": new});
    known.map(affected).collect()
}

fn incident(page: &Page, of: &Incident) -> Value {
    let link = format!("{}/#{}", page.url, of.id);
    let updates = of.updates.iter().enumerate().rev().map(|(index, update)| {
        let over = of.resolved.is_some_and(|resolved| update.at >= resolved);
        let (old, new) = match over {
            true => ("major_outage", "operational"),
            false => ("operational", "major_outage"),
        };
        object!({
            "id": format!("{}-{index}", of.id), "incident_id": of.id, "status": update.status,
            "body": update.body, "created_at": time(update.at), "updated_at": time(update.at),
            "display_at": time(update.at),
            "affected_components": affected(page, &of.components, old, new),
        })
    });
    let last = of.updates.last().map_or(of.started, |update| update.at);
    object!({
        "id": of.id, "name": of.title, "status": of.progress, "impact": of.impact,
        "created_at": time(of.started), "started_at": time(of.started), "updated_at": time(last),
        "monitoring_at": null, "resolved_at": of.resolved.map(time), "shortlink": link,
        "page_id": head(page)["id"],
        "incident_updates": updates.collect::<Vec<_>>(),
        "components": of.components,
        // Ours.
        "scheduled": of.scheduled, "detected_at": time(of.started),
        "failed_over_at": of.failed_over.map(time), "restored_at": of.resolved.map(time),
    })
}

fn maintenance(page: &Page, of: &Maintenance) -> Value {
    let window = &of.window;
    let title = if window.title.is_empty() { "Maintenance" } else { &window.title };
    let resolved = (of.phase == Phase::Completed).then(|| time(window.ends));
    let update = object!({
        "id": format!("{}-0", of.id()), "incident_id": of.id(), "status": of.phase, "body": title,
        "created_at": time(window.starts), "updated_at": time(window.starts),
        "display_at": time(window.starts),
        "affected_components": affected(page, &of.components, "operational", "under_maintenance"),
    });
    object!({
        "id": of.id(), "name": title, "status": of.phase, "impact": "maintenance",
        "created_at": time(window.starts), "started_at": time(window.starts),
        "updated_at": time(window.starts), "monitoring_at": null, "resolved_at": resolved,
        "scheduled_for": time(window.starts), "scheduled_until": time(window.ends),
        "shortlink": format!("{}/#{}", page.url, of.id()), "page_id": head(page)["id"],
        "incident_updates": [update], "components": of.components,
    })
}
