//! A feed of incidents and maintenance (RFC 4287).

use std::fmt::Write;

use super::escape::escape;
use super::{Page, Phase};
use crate::decision::Timestamp;

/// The feed. Its ids stay the same for as long as the page's address does.
pub fn atom(page: &Page) -> String {
    let url = escape(&page.url);
    let mut entries: Vec<(Timestamp, String)> = Vec::new();
    for of in &page.incidents {
        let updated = of.updates.last().map_or(of.started, |update| update.at);
        let lines = of.updates.iter().map(|update| format!("{} {}", update.at, update.body));
        let text = lines.collect::<Vec<_>>().join(" — ");
        entries.push((updated, entry(&url, &of.id, &of.title, of.started, updated, &text)));
    }
    for of in &page.maintenance {
        let window = &of.window;
        let title = if window.title.is_empty() { "Maintenance" } else { &window.title };
        let updated = match of.phase {
            Phase::Completed => window.ends,
            Phase::InProgress => window.starts,
            // What is only announced is no newer than the page.
            Phase::Scheduled => page.made.min(window.starts),
        };
        let text = format!("{}: {} to {}", window.site, window.starts, window.ends);
        let id = of.id();
        entries.push((updated, entry(&url, &id, title, updated, updated, &text)));
    }
    entries.sort_by(|one, other| other.cmp(one));
    let updated = entries.first().map_or(page.made, |(updated, _)| *updated);
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:lang=\"en\">\n\
         <id>{url}/</id>\n<title>{} status</title>\n<updated>{updated}</updated>\n\
         <link rel=\"self\" href=\"{url}/feed.atom\"/>\n<link rel=\"alternate\" href=\"{url}/\"/>\n\
         <author><name>{}</name></author>\n",
        escape(&page.name),
        escape(&page.name)
    );
    out.extend(entries.into_iter().map(|(_, entry)| entry));
    out + "</feed>\n"
}

fn entry(
    url: &str,
    id: &str,
    title: &str,
    published: Timestamp,
    updated: Timestamp,
    text: &str,
) -> String {
    let (id, title, text) = (escape(id), escape(title), escape(text));
    format!(
        "<entry>\n<id>{url}/#{id}</id>\n<title>{title}</title>\n<published>{published}</published>\n\
         <updated>{updated}</updated>\n<link rel=\"alternate\" href=\"{url}/#{id}\"/>\n\
         <content type=\"text\">{text}</content>\n</entry>\n"
    )
}
