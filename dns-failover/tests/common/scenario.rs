//! Runs one block of the table of scenarios.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use dns_failover::decision::{
    Answer, Command, Effect, Epoch, Event, Millis, Note, Observer, Override, Policy, PolicyConfig,
    Report, Seen, Service, State, Stay, Timestamp, Window,
};

/// A block without its results, and the results that came.
pub(crate) struct Outcome {
    pub(crate) lines: Vec<String>,
    pub(crate) result: Vec<String>,
}

pub(crate) fn is_result(line: &str) -> bool {
    ["moves:", "stays:", "notes:"].iter().any(|word| line.starts_with(word))
}

/// What one observer is said to see: by place, and whether its controls answer.
#[derive(Clone, Default)]
struct Sight {
    /// Place to a pattern of ups and downs that is gone through again and again.
    places: BTreeMap<String, Vec<bool>>,
    blind: bool,
    silent: bool,
    /// How far its clock is ahead.
    ahead: i64,
    /// Reports are the same as this one, again and again.
    replays: bool,
}

struct Run {
    policy: Policy,
    state: State,
    /// True time in seconds, and how far the controller's clock is ahead.
    ahead: i64,
    sights: BTreeMap<String, Sight>,
    moves: Vec<String>,
    notes: Vec<String>,
    stays: Vec<String>,
    saved: Option<State>,
}

pub(crate) fn run(block: &str) -> Outcome {
    let lines: Vec<_> = block.trim_end().lines().filter(|line| !is_result(line)).collect();
    let rules = lines.iter().find_map(|line| line.strip_prefix("rules:")).unwrap_or_default();
    let policy = Policy::new(config(rules)).unwrap();
    let names = policy.config().observers.iter().map(|of| (of.id.to_string(), Sight::default()));
    let mut run = Run {
        state: policy.start(Timestamp::default()),
        ahead: 0,
        sights: names.collect(),
        policy,
        moves: Vec::new(),
        notes: Vec::new(),
        stays: Vec::new(),
        saved: None,
    };
    let mut script: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_digit()))
        .map(|line| line.split_once(' ').unwrap())
        .map(|(time, what)| (time.parse::<Millis>().unwrap().get() / 1000, what.trim()))
        .collect();
    script.sort_by_key(|(time, _)| *time);
    let end = script.last().unwrap().0;
    let mut script = script.into_iter().peekable();
    for second in 0..=end {
        while let Some((_, what)) = script.next_if(|(time, _)| *time <= second) {
            run.happen(what, second);
        }
        if second % 2 == 0 {
            run.round(second);
        } else {
            run.feed(&Event::Tick, second);
        }
    }
    let mut result = vec![format!("moves: {}", listed(&run.moves))];
    let stays = run.state.services().iter().map(|service| match service.id.as_str() {
        "web" => stay(service.stay),
        id => format!("{id} {}", stay(service.stay)),
    });
    run.stays.push(format!("end {}", stays.collect::<Vec<_>>().join(", ")));
    result.push(format!("stays: {}", run.stays.join("; ")));
    if !run.notes.is_empty() {
        result.push(format!("notes: {}", run.notes.join("; ")));
    }
    Outcome { lines: lines.into_iter().map(str::to_owned).collect(), result }
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join("; ") }
}

fn stay(stay: Stay) -> String {
    let json = serde_json::to_value(stay).unwrap();
    match json {
        serde_json::Value::String(name) => name,
        serde_json::Value::Object(map) => {
            let (name, inner) = map.into_iter().next().unwrap();
            let until = inner["until"].as_i64().unwrap();
            format!("{name} until {}", Millis::new(until.unsigned_abs()))
        }
        other => panic!("{other}"),
    }
}

fn config(rules: &str) -> PolicyConfig {
    let mut config = PolicyConfig::example();
    config.drain_lead = Millis::from_secs(60);
    let observer = |id: &str, domain: &str| Observer {
        id: id.parse().unwrap(),
        domain: domain.parse().unwrap(),
        site: None,
    };
    for rule in rules.split_whitespace() {
        let (key, value) = rule.split_once('=').unwrap_or((rule, ""));
        let span = || value.parse::<Millis>().unwrap();
        match key {
            "two-observers" => {
                config.observers.pop();
            }
            "all-inside" => config.observers[2].site = Some("us".parse().unwrap()),
            "five-domains" => {
                config.observers.push(observer("tokyo", "asia"));
                config.observers.push(observer("sydney", "oceania"));
            }
            // Three observers more in a domain that has one already.
            "crowd-in-zurich" => {
                for id in ["basel", "bern", "genf"] {
                    config.observers.push(observer(id, "outside"));
                }
            }
            "needs-db" => {
                config.services[0].needs.push("db".parse().unwrap());
                config.services.push(Service {
                    id: "db".parse().unwrap(),
                    needs: Vec::new(),
                    ..config.services[0].clone()
                });
            }
            "three-sites" => config.services[0].sites.push("de".parse().unwrap()),
            "quorum" => config.quorum = Some(value.parse().unwrap()),
            "confirm" => config.confirm = span(),
            "hold" => config.hold = span(),
            "moves-per-hour" => config.moves_per_hour = value.parse().unwrap(),
            "fail-back" | "all-down" => {
                let (first, second) = value.split_once(',').unwrap_or((value, "0s"));
                let [first, second] = [first, second].map(|span| span.parse::<Millis>());
                let json = match (first, second) {
                    (Ok(stable), Ok(both)) if both > Millis::ZERO => {
                        serde_json::json!({"gradual": {"stable": stable, "both": both}})
                    }
                    (Ok(stable), _) => serde_json::json!({"after": {"stable": stable}}),
                    (Err(_), _) => value.into(),
                };
                for service in &mut config.services {
                    if key == "all-down" {
                        service.all_down = serde_json::from_value(json.clone()).unwrap();
                    } else {
                        service.fail_back = serde_json::from_value(json.clone()).unwrap();
                    }
                }
            }
            _ => panic!("no rule {rule}"),
        }
    }
    config
}

impl Run {
    /// The controller's clock.
    fn now(&self, second: u64) -> Timestamp {
        Timestamp::from_millis((i64::try_from(second).unwrap() + self.ahead) * 1000)
    }

    fn feed(&mut self, event: &Event, second: u64) {
        let now = self.now(second);
        let (state, effects) = self.policy.step(self.state.clone(), event, now);
        self.state = state;
        for effect in effects {
            match effect {
                Effect::Decided(decision) => {
                    let cause = serde_json::to_value(decision.cause).unwrap();
                    let service = decision.service.as_str();
                    let service =
                        if service == "web" { String::new() } else { format!("{service} ") };
                    self.moves.push(format!(
                        "{second}s {service}{}>{} {}",
                        decision.from,
                        decision.to,
                        cause.as_str().unwrap()
                    ));
                }
                Effect::Noted(note @ (Note::Refused { .. } | Note::ClockSetBack { .. })) => {
                    self.notes.push(format!("{second}s {note}"));
                }
                Effect::Noted(note @ Note::Ignored { .. }) => {
                    let note = note.to_string();
                    if !self.notes.iter().any(|known| known.ends_with(&note)) {
                        self.notes.push(format!("{second}s {note}"));
                    }
                }
                _ => {}
            }
        }
    }

    fn round(&mut self, second: u64) {
        for (name, sight) in self.sights.clone() {
            if sight.silent || sight.places.is_empty() && !sight.blind {
                continue;
            }
            let at = i64::try_from(second).unwrap() + sight.ahead;
            let at = if sight.replays { 0 } else { at };
            let place = |(place, pattern): (&String, &Vec<bool>)| {
                let (service, site) = place.split_once('@').unwrap_or(("web", place));
                let up = pattern[usize::try_from(second / 2).unwrap() % pattern.len()];
                Seen {
                    service: service.parse().unwrap(),
                    site: site.parse().unwrap(),
                    up: up && !sight.blind,
                }
            };
            let report = Report {
                observer: name.parse().unwrap(),
                at: Timestamp::from_millis(at * 1000),
                controls: Some(!sight.blind),
                results: sight.places.iter().map(place).collect(),
            };
            self.feed(&Event::Observed(report), second);
        }
    }

    fn happen(&mut self, what: &str, second: u64) {
        let (who, rest) = what.split_once(' ').unwrap_or((what, ""));
        let words: Vec<_> = rest.split_whitespace().collect();
        let site = |text: &str| text.parse().unwrap();
        let later = |text: &str| {
            let span = text.parse::<Millis>().unwrap();
            Timestamp::default() + span
        };
        let person = || ("anna".to_owned(), "a test".to_owned());
        match who {
            "end" => {}
            "look" => {
                let stay = stay(self.state.services()[self.state.services().len() - 1].stay);
                self.stays.push(format!("{second}s {stay}"));
            }
            "force" => {
                let (who, why) = person();
                let order = Override {
                    service: None,
                    site: site(words[0]),
                    until: later(words[2]),
                    who,
                    why,
                };
                self.feed(&Event::Commanded(Command::Force(order)), second);
            }
            "release" => self.feed(&Event::Commanded(Command::Release { service: None }), second),
            "move" => {
                let (who, why) = person();
                let service = "web".parse().unwrap();
                let order = Command::Move { service, site: site(words[0]), who, why };
                self.feed(&Event::Commanded(order), second);
            }
            "window" => {
                let (starts, ends) = words[1].split_once("..").unwrap();
                let window = Window {
                    id: format!("{}-work", words[0]).parse().unwrap(),
                    site: site(words[0]),
                    starts: later(starts),
                    ends: later(ends),
                    title: String::new(),
                };
                self.feed(&Event::Commanded(Command::Schedule(window)), second);
            }
            "cancel" => {
                let id = format!("{}-work", words[0]).parse().unwrap();
                self.feed(&Event::Commanded(Command::Cancel(id)), second);
            }
            // The controller goes and comes back with what was on its disk.
            "restart" => {
                let stored = serde_json::to_string(&self.state).unwrap();
                self.state = serde_json::from_str(&stored).unwrap();
            }
            "save" => self.saved = Some(self.state.clone()),
            // Its disk held an older state; or none.
            "restore" => self.state = self.saved.clone().unwrap(),
            "amnesia" => self.state = self.policy.start(self.now(second)),
            "clock" => self.ahead = words[0].parse().unwrap(),
            "learn" => {
                let epoch = Epoch {
                    number: words[0].parse().unwrap(),
                    controller: words[1].parse().unwrap(),
                };
                let answer = match words[2] {
                    "all" => Answer::All,
                    name => Answer::Site(site(name)),
                };
                let answers = vec![("web".parse().unwrap(), answer)];
                self.feed(&Event::Learned { epoch, answers }, second);
            }
            who => self.see(who, &words),
        }
    }

    fn see(&mut self, who: &str, words: &[&str]) {
        if who == "stranger" {
            self.sights.insert(who.to_owned(), Sight::default());
        }
        let who: Vec<_> = match who {
            "all" => self.sights.keys().cloned().collect(),
            who => who.split(',').map(str::to_owned).collect(),
        };
        for name in who {
            let sight = self.sights.get_mut(&name).unwrap_or_else(|| panic!("no observer {name}"));
            let ahead = sight.ahead;
            (sight.blind, sight.silent, sight.replays) = (false, false, false);
            for word in words {
                match *word {
                    "blind" => sight.blind = true,
                    "silent" => sight.silent = true,
                    "replays" => sight.replays = true,
                    word if word.starts_with("clock") => {
                        sight.ahead = word["clock".len()..].parse().unwrap();
                    }
                    word => {
                        let cut = word.find(['+', '-']).unwrap();
                        let (place, pattern) = word.split_at(cut);
                        let pattern = pattern.chars().map(|result| result == '+').collect();
                        sight.places.insert(place.to_owned(), pattern);
                    }
                }
            }
            debug_assert!(
                ahead == sight.ahead || words.iter().any(|word| word.starts_with("clock"))
            );
        }
    }
}
