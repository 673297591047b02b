//! `status-page CONFIG --out DIR`: writes the page of the site that it runs at.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use dns_failover::SiteId;
use dns_failover::daemon::{Views, now, service_of};
use dns_failover::decision::{Effect, Timestamp};
use dns_failover::journal::JournalDir;
use dns_failover::status::{Impact, Page, Progress, Source, Update, Written, atom, html, json};
use examples::capped;
use examples::failover::Chosen;
use examples::keys::Failure;
use examples::outcome::Outcome;
use serde::Deserialize;

/// Writes a page about both sites: HTML without scripts, Statuspage's JSON below api/v2, and an Atom feed.
///
/// Run it every minute or so beside `failover run`, and serve DIR from both sites under names that do not
/// fail over. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 written, and something is wrong.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    /// Where to write it.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Which site this is: the name of its controller.
    #[arg(long, value_name = "SITE", default_value = "uk")]
    here: String,
    /// Whose page it is [default: what [status-page] says].
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The address that it will have [default: what [status-page] says].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// What people wrote about incidents [default: what [status-page] says] (TOML): `[[incident]]` with id, title, impact, and
    /// `[[incident.update]]` with at, status and body.
    #[arg(long, value_name = "FILE")]
    incidents: Option<PathBuf>,
    /// Print nothing but errors.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notes {
    #[serde(default)]
    incident: Vec<Incident>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Incident {
    id: String,
    title: String,
    #[serde(default)]
    impact: Impact,
    update: Vec<Told>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    at: String,
    status: Progress,
    body: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = write_page(&arguments).unwrap_or_else(|failure| {
        // `eprintln!` would panic where there is nobody to tell.
        let _ = writeln!(io::stderr(), "status-page: {failure}");
        failure.outcome
    });
    outcome.into()
}

fn write_page(arguments: &Arguments) -> Result<Outcome, Failure> {
    let setup = arguments.chosen.look()?;
    let policy = setup.policy(&arguments.here)?;
    let at = now();
    let state = JournalDir::peek(&setup.state, &policy).map_err(Failure::failed)?;
    // Without a controller there is still something to say: that nothing is known.
    let state = state.unwrap_or_else(|| policy.start(Timestamp::from_millis(0)));
    let history: Vec<(Timestamp, Effect)> =
        JournalDir::history(&setup.state).map_err(Failure::failed)?.entries;
    let said = setup.status.as_ref();
    let name = arguments.name.clone().or_else(|| Some(said?.name.clone()));
    let name = name.unwrap_or_else(|| "Hosting".to_owned());
    let here = SiteId::named(&arguments.here);
    let url = arguments.url.clone().or_else(|| said?.urls.get(&here?).cloned());
    let url = url.unwrap_or_else(|| "http://localhost".to_owned());
    let notes = said.and_then(|said| said.incidents.as_deref());
    let written = written(arguments.incidents.as_deref().or(notes))?;
    let windows = setup.failover.windows(Timestamp::from_millis(i64::MIN));
    let peers = Views::of(&setup.state).all();
    let names = dns_failover::SiteId::ALL.map(|site| {
        let name = format!("Web sites at home in the {}", site.as_str().to_uppercase());
        (service_of(site), name)
    });
    let mut source = Source::new(&name, &url, &policy, &state);
    source.history = &history;
    source.written = &written;
    source.windows = &windows;
    source.peers = &peers;
    source.names = &names;
    let page = Page::of(&source, at);
    let mut files = BTreeMap::from([("index.html", html(&page)), ("feed.atom", atom(&page))]);
    files.extend(json(&page));
    for (path, text) in &files {
        put(&arguments.out.join(path), text)?;
    }
    let (impact, sentence) = page.summary();
    if !arguments.quiet {
        writeln!(io::stdout(), "{sentence}; {} files in {}", files.len(), arguments.out.display())
            .map_err(Failure::failed)?;
    }
    Ok(if impact == Impact::None { Outcome::Done } else { Outcome::DoneWithProblems })
}

fn written(path: Option<&Path>) -> Result<Vec<Written>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let text =
        capped::text(path, capped::CONFIGURATION).map_err(|error| Failure::of(path, error))?;
    let notes: Notes = toml::from_str(&text).map_err(|error| Failure::of(path, error))?;
    let update = |told: Told| {
        let at =
            told.at.parse().map_err(|error| Failure::of(path, format!("{}: {error}", told.at)))?;
        Ok(Update { at, status: told.status, body: told.body })
    };
    let incident = |of: Incident| {
        let updates: Result<Vec<_>, Failure> = of.update.into_iter().map(update).collect();
        Ok(Written { id: of.id, title: of.title, impact: of.impact, updates: updates? })
    };
    notes.incident.into_iter().map(incident).collect()
}

/// Readers see the old file or the new one, whole.
fn put(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::of(path, error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).map_err(failed)?;
    fs::rename(&fresh, path).map_err(failed)
}
