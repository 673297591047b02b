//! Status pages: what they say in good and bad hours, that nothing in them is dangerous, and that programs
//! can read them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../examples/tests/support/peer.rs"]
#[allow(dead_code, reason = "the programs test more with it")]
mod peer;

use std::collections::BTreeSet;
use std::path::PathBuf;

use dns_failover::decision::{
    Effect, Event, Millis, Policy, PolicyConfig, Report, State, Timestamp, Window,
};
use dns_failover::observe::View;
use dns_failover::status::{Impact, Page, Progress, Source, Update, Written, atom, html, json};

/// A controller in the UK with what happened to it.
struct Past {
    policy: Policy,
    state: State,
    history: Vec<(Timestamp, Effect)>,
    now: Timestamp,
}

impl Past {
    fn new() -> Past {
        let mut config = PolicyConfig::example();
        config.controller = "uk".parse().unwrap();
        let policy = Policy::new(config).unwrap();
        let now = "2026-11-20T06:00:00Z".parse().unwrap();
        Past { state: policy.start(now), policy, history: Vec::new(), now }
    }

    /// Lets time pass in which so much is seen.
    fn pass(mut self, seconds: u64, uk: bool, us: bool) -> Past {
        let end = self.now + Millis::from_secs(seconds);
        while self.now < end {
            for observer in ["london", "newyork", "zurich"] {
                if observer == "london" && !uk {
                    continue;
                }
                let report = Report::new(observer.parse().unwrap(), self.now);
                let report = report.saw("web", "uk", uk).unwrap().saw("web", "us", us).unwrap();
                self.feed(&Event::Observed(report));
            }
            self.now = self.now + Millis::from_secs(2);
        }
        self
    }

    fn feed(&mut self, event: &Event) {
        let (state, effects) = self.policy.step(self.state.clone(), event, self.now);
        self.state = state;
        self.history.extend(effects.into_iter().map(|effect| (self.now, effect)));
    }

    fn source(&self) -> Source<'_> {
        let mut source = Source::new(
            "host.example",
            "https://uk.host.example/status",
            &self.policy,
            &self.state,
        );
        source.history = &self.history;
        source
    }

    fn peer(&self, ago: u64) -> View {
        let mut view = View::of(&self.policy, &self.state);
        view.controller = "us".parse().unwrap();
        view.at = self.now - Millis::from_secs(ago);
        view
    }
}

fn bad_hour() -> Past {
    Past::new().pass(600, true, true).pass(300, false, true)
}

#[test]
fn a_good_hour() {
    let past = Past::new().pass(60, true, true);
    let peers = [past.peer(3)];
    let page = Page::of(&Source { peers: &peers, ..past.source() }, past.now);
    assert_eq!(page.summary(), (Impact::None, "All systems work"));
    let html = html(&page);
    assert!(html.contains("The other site, US, was heard 3 s ago."), "{html}");
    assert!(html.contains("100.000 % uptime over 1 known day;"));
    assert!(!html.contains("What is wrong now"));
}

#[test]
fn a_bad_hour() {
    let past = bad_hour();
    let peers = [past.peer(3)];
    let page = Page::of(&Source { peers: &peers, ..past.source() }, past.now);
    let sentence = "One site is down; the other one serves everything";
    assert_eq!(page.summary(), (Impact::Minor, sentence));
    let [incident] = page.incidents.as_slice() else { panic!("{:?}", page.incidents) };
    assert_eq!((incident.progress, incident.resolved), (Progress::Identified, None));
    assert_eq!(incident.failed_over, Some(incident.started));
    let html = html(&page);
    for words in [
        "What is wrong now",
        "UK is not reachable",
        "web moves from uk to us: uk is down as seen from outside and us (nothing from uk)",
        "Served from US: its best site is not up.",
    ] {
        assert!(html.contains(words), "{words}");
    }
}

#[test]
fn the_worst_hour() {
    let past = Past::new().pass(600, true, true).pass(300, true, false);
    let mut past = past;
    let end = past.now + Millis::from_secs(120);
    while past.now < end {
        for observer in ["london", "newyork", "zurich"] {
            let report = Report::new(observer.parse().unwrap(), past.now);
            let report = report.saw("web", "uk", false).unwrap().saw("web", "us", false).unwrap();
            past.feed(&Event::Observed(report));
        }
        past.now = past.now + Millis::from_secs(2);
    }
    let page = Page::of(&past.source(), past.now);
    assert_eq!(page.summary(), (Impact::Critical, "Some web sites cannot be reached"));
    let impacts: Vec<_> = page.incidents.iter().map(|of| of.impact).collect();
    assert_eq!(impacts, [Impact::Major, Impact::Major]);
    let web = page.components.iter().find(|of| of.id == "service-web").unwrap();
    assert!(web.days.last().unwrap().down >= Millis::from_secs(100));
}

/// HTML Tidy, which is a checker as well, has nothing to say about any of the pages.
#[test]
fn an_html_checker_finds_nothing() {
    let Some(tidy) = peer::peer("tidy") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, past) in [
        ("good", Past::new().pass(60, true, true)),
        ("bad", bad_hour()),
        ("after", bad_hour().pass(900, true, true)),
    ] {
        let (written, windows) = hostile(&past);
        let mut source = past.source();
        (source.written, source.windows) = (&written, &windows);
        let path = folder.path().join(format!("{name}.html"));
        std::fs::write(&path, html(&Page::of(&source, past.now))).unwrap();
        let output = std::process::Command::new(&tidy)
            .args(["-errors", "-quiet", "-utf8"])
            .arg(&path)
            .output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
}

#[test]
fn after_a_bad_hour_it_says_how_long_it_was() {
    let past = bad_hour().pass(1000, true, true);
    let page = Page::of(&past.source(), past.now);
    let [incident] = page.incidents.as_slice() else { panic!("{:?}", page.incidents) };
    let long = incident.resolved.unwrap().since(incident.started);
    assert!((Millis::from_secs(290)..Millis::from_secs(320)).contains(&long), "{long}");
    let site = page.components.iter().find(|of| of.id == "site-uk").unwrap();
    let down: u64 = site.days.iter().map(|day| day.down.get()).sum();
    assert_eq!(down, long.get());
    // The web moved within the same step, so nobody waited for longer than that was noticed.
    let web = page.components.iter().find(|of| of.id == "service-web").unwrap();
    assert_eq!(web.days.iter().map(|day| day.down.get()).sum::<u64>(), 0);
}

#[test]
fn announced_work_is_counted_apart_until_it_overruns() {
    let past = bad_hour().pass(100, true, true);
    let started =
        past.history.iter().find(|(_, effect)| matches!(effect, Effect::Decided(_))).unwrap().0;
    let window = |minutes| Window {
        id: "disks".parse().unwrap(),
        site: "uk".parse().unwrap(),
        starts: started - Millis::from_secs(60),
        ends: started + Millis::from_mins(minutes),
        title: "New disks".into(),
    };
    for (minutes, scheduled) in [(10, true), (2, false)] {
        let windows = [window(minutes)];
        let page = Page::of(&Source { windows: &windows, ..past.source() }, past.now);
        assert_eq!(page.incidents[0].scheduled, scheduled);
        let site = page.components.iter().find(|of| of.id == "site-uk").unwrap();
        let today = site.days.last().unwrap();
        assert_eq!(today.down == Millis::ZERO, scheduled, "{today:?}");
        assert!(today.scheduled >= Millis::from_secs(115), "{today:?}");
    }
}

#[test]
fn a_peer_that_is_not_heard_is_unreachable_and_not_down() {
    let past = Past::new().pass(300, true, true);
    for (peers, words) in [
        (vec![], "nothing was heard of the controller in US so far"),
        (vec![past.peer(120)], "nothing was heard of the controller in US for 2 min"),
    ] {
        let page = Page::of(&Source { peers: &peers, ..past.source() }, past.now);
        assert!(page.peers[0].unreachable);
        let html = html(&page);
        assert!(html.contains("Peer unreachable") && html.contains(words), "{html}");
        assert_eq!(page.summary().0, Impact::None);
        let files = json(&page);
        let (_, summary) = files.iter().find(|(path, _)| path.ends_with("summary.json")).unwrap();
        assert!(summary.contains("\"peer_unreachable\""));
    }
}

#[test]
fn a_page_that_is_old_says_so() {
    let past = Past::new().pass(60, true, true);
    let page = Page::of(&past.source(), past.now + Millis::from_mins(10));
    assert_eq!(page.summary(), (Impact::Minor, "This page is out of date"));
    assert!(html(&page).contains("is 10 min 2 s old"));
}

/// Everything in it that somebody else wrote tries to get out.
fn hostile(past: &Past) -> (Vec<Written>, Vec<Window>) {
    let evil =
        "</title></p><script>alert(1)</script>\" onload='x' \0\u{1b}[31m\u{202e}&amp;".to_owned();
    let update = |status| Update { at: past.now, status, body: evil.clone() };
    let written = Written {
        id: "\"><img src=x>".into(),
        title: evil.clone(),
        impact: Impact::Minor,
        updates: vec![update(Progress::Investigating), update(Progress::Resolved)],
    };
    let window = Window {
        id: "work".parse().unwrap(),
        site: "us".parse().unwrap(),
        starts: past.now + Millis::from_secs(600),
        ends: past.now + Millis::from_secs(1200),
        title: evil,
    };
    (vec![written], vec![window])
}

#[test]
fn what_others_wrote_stays_text() {
    let past = bad_hour();
    let (written, windows) = hostile(&past);
    let mut source = past.source();
    (source.written, source.windows) = (&written, &windows);
    source.name = "<b>host</b>";
    let page = Page::of(&source, past.now);
    for text in [html(&page), atom(&page)] {
        for danger in ["<script", "<img", "<b>", "onload='", "\0", "\u{1b}", "\u{202e}"] {
            assert!(!text.contains(danger), "{danger:?} in {text}");
        }
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    }
    for (path, text) in json(&page) {
        assert!(!text.contains(['\0', '\u{1b}']), "{path}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }
}

#[test]
fn the_page_asks_nobody_for_anything() {
    let past = bad_hour();
    let html = html(&Page::of(&past.source(), past.now));
    for outside in
        ["<script", "src=", "@import", "url(", "http://", "https://", "<iframe", "style=\""]
    {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("default-src 'none'; style-src 'sha256-"));
    assert_eq!(html.matches("<h1").count(), 1);
    for landmark in ["<header>", "<main>", "<footer>", "lang=\"en\""] {
        assert!(html.contains(landmark), "{landmark}");
    }
    let mut ids = BTreeSet::new();
    for id in html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.insert(id), "{id} twice");
    }
}

#[test]
fn the_json_has_the_published_fields() {
    let past = bad_hour();
    let (written, windows) = hostile(&past);
    let mut source = past.source();
    (source.written, source.windows) = (&written, &windows);
    let files = json(&Page::of(&source, past.now));
    let parsed = |path: &str| -> serde_json::Value {
        let (_, text) = files.iter().find(|(of, _)| *of == path).unwrap();
        serde_json::from_str(text).unwrap()
    };
    let has = |value: &serde_json::Value, keys: &[&str]| {
        for key in keys {
            assert!(value.get(key).is_some(), "no {key} in {value:#}");
        }
    };
    let summary = parsed("api/v2/summary.json");
    has(&summary, &["page", "status", "components", "incidents", "scheduled_maintenances"]);
    has(&summary["page"], &["id", "name", "url", "time_zone", "updated_at"]);
    has(&summary["status"], &["indicator", "description"]);
    has(
        &summary["components"][0],
        &[
            "id",
            "name",
            "description",
            "status",
            "group_id",
            "position",
            "created_at",
            "updated_at",
        ],
    );
    assert_eq!(summary["components"][1]["status"], "major_outage");
    let incident = &summary["incidents"][0];
    has(
        incident,
        &[
            "id",
            "name",
            "status",
            "impact",
            "started_at",
            "resolved_at",
            "shortlink",
            "incident_updates",
        ],
    );
    let update = &incident["incident_updates"][0];
    has(update, &["status", "body", "created_at", "affected_components"]);
    has(&update["affected_components"][0], &["code", "name", "old_status", "new_status"]);
    let work = &parsed("api/v2/scheduled-maintenances/upcoming.json")["scheduled_maintenances"][0];
    has(work, &["scheduled_for", "scheduled_until", "status", "impact"]);
    assert_eq!((&work["status"], &work["impact"]), (&"scheduled".into(), &"maintenance".into()));
    assert_eq!(
        parsed("api/v2/incidents/unresolved.json")["incidents"].as_array().unwrap().len(),
        1
    );
    assert_eq!(parsed("api/v2/incidents.json")["incidents"].as_array().unwrap().len(), 2);
    assert!(
        parsed("api/v2/scheduled-maintenances/active.json")["scheduled_maintenances"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

/// `PAGES=DIR` keeps the pages, to be looked at in a browser.
#[test]
fn pages_to_look_at() {
    let Some(folder) = std::env::var_os("PAGES").map(PathBuf::from) else { return };
    let good = Past::new().pass(60, true, true);
    let bad = bad_hour();
    let after = bad_hour().pass(900, true, true);
    let both = Past::new().pass(600, true, true).pass(60, false, false);
    for (name, past, ago) in
        [("good", &good, 3), ("bad", &bad, 3), ("after", &after, 200), ("both", &both, 3)]
    {
        let peers = [past.peer(ago)];
        let (written, windows) = hostile(past);
        let mut source = past.source();
        source.peers = &peers;
        if name == "after" {
            (source.written, source.windows) = (&written, &windows);
        }
        let page = Page::of(&source, past.now);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.html")), html(&page)).unwrap();
        std::fs::write(folder.join(format!("{name}.atom")), atom(&page)).unwrap();
    }
}
