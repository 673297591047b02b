//! The page for people: no script, nothing from elsewhere, made to be read on a phone in a bad hour.

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use super::escape::escape;
use super::{
    Component, Condition, DAYS, Day, Impact, Incident, Maintenance, Page, Peer, Phase, Progress,
};
use crate::decision::{Millis, Timestamp};

const STYLE: &str = include_str!("page.css");

/// The page. Everything that people or programs wrote is escaped.
pub fn html(page: &Page) -> String {
    let mut out = String::with_capacity(32 * 1024);
    // Writing to a string cannot fail.
    let _ = page_into(&mut out, page);
    out
}

fn page_into(out: &mut String, page: &Page) -> std::fmt::Result {
    let (impact, sentence) = page.summary();
    let name = escape(&page.name);
    // The hash lets this one style in and nothing else.
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    writeln!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{sentence} – {name} status</title>\n\
         <link rel=\"alternate\" type=\"application/atom+xml\" title=\"{name} status\" href=\"feed.atom\">\n\
         <style>{STYLE}</style>\n</head>\n<body>"
    )?;
    let class = match impact {
        Impact::None => "none",
        Impact::Minor => "minor",
        Impact::Major => "major",
        Impact::Critical => "critical",
    };
    let (sign, tone) = match impact {
        Impact::None => ("✓", "good"),
        Impact::Minor => ("!", "warn"),
        Impact::Major | Impact::Critical => ("✕", "bad"),
    };
    writeln!(
        out,
        "<header>\n<h1>{name} status</h1>\n<div class=\"now {class}\">\n\
         <p class=\"lead\"><span class=\"{tone}\" aria-hidden=\"true\">{sign}</span> {sentence}</p>\n\
         <p class=\"soft\">As seen from {}, {}. <a href=\"./\">Reload</a></p>",
        escape(&page.here.to_string().to_uppercase()),
        when(page.made)
    )?;
    if page.is_stale() {
        writeln!(
            out,
            "<p class=\"warn\">What this page shows is {} old: the controller here says nothing more.</p>",
            span(page.age)
        )?;
    }
    if page.mode != crate::decision::Mode::Automatic {
        writeln!(
            out,
            "<p class=\"warn\">Nothing is moved without a person here. {}.</p>",
            escape(&sentence_case(&page.mode.to_string()))
        )?;
    }
    for peer in &page.peers {
        peer_line(out, peer)?;
    }
    out.push_str("</div>\n</header>\n<main>\n");
    let open: Vec<_> = page.incidents.iter().filter(|of| of.resolved.is_none()).collect();
    if !open.is_empty() {
        out.push_str(
            "<section aria-labelledby=\"open\">\n<h2 id=\"open\">What is wrong now</h2>\n",
        );
        open.iter().try_for_each(|of| incident(out, of))?;
        out.push_str("</section>\n");
    }
    let works: Vec<_> = page.maintenance.iter().filter(|of| of.phase != Phase::Completed).collect();
    if !works.is_empty() {
        out.push_str("<section aria-labelledby=\"work\">\n<h2 id=\"work\">Maintenance</h2>\n");
        works.iter().try_for_each(|of| maintenance(out, of))?;
        out.push_str("</section>\n");
    }
    out.push_str("<section aria-labelledby=\"parts\">\n<h2 id=\"parts\">Services and sites</h2>\n");
    page.components.iter().try_for_each(|of| component(out, of))?;
    out.push_str(
        "</section>\n<section aria-labelledby=\"past\">\n<h2 id=\"past\">Past incidents</h2>\n",
    );
    let mut past = page.incidents.iter().filter(|of| of.resolved.is_some()).peekable();
    if past.peek().is_none() {
        writeln!(out, "<p class=\"soft\">None in the last {DAYS} days.</p>")?;
    }
    past.try_for_each(|of| incident(out, of))?;
    out.push_str("</section>\n<section aria-labelledby=\"who\">\n<h2 id=\"who\">Who looks</h2>\n");
    observers(out, page)?;
    let decision = match page.published {
        true => "all name servers have it",
        false => "not all name servers have it yet",
    };
    writeln!(
        out,
        "</section>\n</main>\n<footer>\n<p>Decision {}: {decision}. Times are in UTC. Days with announced work \
         only do not count against uptime.</p>\n\
         <p><a href=\"feed.atom\">Feed</a> · <a href=\"api/v2/summary.json\">JSON</a></p>\n\
         </footer>\n</body>\n</html>",
        escape(&page.epoch.to_string())
    )
}

fn peer_line(out: &mut String, peer: &Peer) -> std::fmt::Result {
    let name = escape(&peer.controller.to_string().to_uppercase());
    match (&peer.view, peer.age, peer.unreachable) {
        (Some(_), Some(age), false) => writeln!(
            out,
            "<p class=\"soft\">The other site, {name}, was heard {} ago.</p>",
            span(age)
        ),
        (Some(view), Some(age), true) => writeln!(
            out,
            "<p class=\"warn\">Peer unreachable: nothing was heard of the controller in {name} for {} \
             (since {}). That does not mean that the site is down.</p>",
            span(age),
            when(view.at)
        ),
        _ => writeln!(
            out,
            "<p class=\"warn\">Peer unreachable: nothing was heard of the controller in {name} so far. \
             That does not mean that the site is down.</p>"
        ),
    }
}

fn component(out: &mut String, of: &Component) -> std::fmt::Result {
    let (sign, word, tone) = match of.condition {
        Condition::Operational => ("✓", "Works", "good"),
        Condition::UnderMaintenance => ("⚙", "Maintenance", "work"),
        Condition::DegradedPerformance => ("?", "Not clear", "warn"),
        Condition::PartialOutage => ("!", "Partly down", "warn"),
        Condition::MajorOutage => ("✕", "Down", "bad"),
    };
    let id = escape(&of.id);
    writeln!(
        out,
        "<article class=\"card\" aria-labelledby=\"{id}\">\n<div class=\"row\"><h3 id=\"{id}\">{}</h3>\
         <span class=\"state {tone}\"><span aria-hidden=\"true\">{sign}</span> {word}</span></div>\n\
         <p class=\"soft\">{} Since {}.</p>",
        escape(&of.name),
        escape(&of.note),
        when(of.since)
    )?;
    bars(out, of)?;
    out.push_str("</article>\n");
    Ok(())
}

fn bars(out: &mut String, of: &Component) -> std::fmt::Result {
    let known = of.days.iter().filter(|day| day.known);
    let (days, down, scheduled) = known.fold((0_u64, 0, 0), |(days, down, scheduled), day| {
        (days + 1, down + day.down.get(), scheduled + day.scheduled.get())
    });
    let all = (days * 86_400_000).max(1);
    let uptime = 100.0 - down as f64 * 100.0 / all as f64;
    // Never rounded up to a hundred.
    let uptime = if down > 0 { (uptime * 1000.0).floor() / 1000.0 } else { uptime };
    let label = format!(
        "{uptime:.3} % uptime over {days} known day{}; {} down, {} in announced maintenance",
        if days == 1 { "" } else { "s" },
        span(Millis::new(down)),
        span(Millis::new(scheduled))
    );
    let width = of.days.len() * 6;
    write!(
        out,
        "<svg class=\"bars\" viewBox=\"0 0 {width} 20\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{label}\">"
    )?;
    for (index, day) in of.days.iter().enumerate() {
        let (class, height) = match day {
            Day { known: false, .. } => ("n", 20),
            Day { down, .. } if down.get() >= 1_800_000 => ("b", 20),
            Day { down, .. } if down.get() > 0 => ("w", 20),
            Day { scheduled, .. } if scheduled.get() > 0 => ("m", 20),
            _ => ("g", 20),
        };
        let date = Timestamp::of_day(day.day).date();
        write!(
            out,
            "<rect class=\"{class}\" x=\"{}\" y=\"0\" width=\"4\" height=\"{height}\" rx=\"1\">\
             <title>{date}: {}</title></rect>",
            index * 6 + 1,
            day_text(day)
        )?;
    }
    writeln!(out, "</svg>\n<p class=\"soft\">{label}.</p>")?;
    let bad: Vec<_> = of
        .days
        .iter()
        .filter(|day| day.down > Millis::ZERO || day.scheduled > Millis::ZERO)
        .collect();
    if !bad.is_empty() {
        writeln!(
            out,
            "<details><summary>Days with an outage: {}</summary>\n<ul>",
            escape(&of.name)
        )?;
        for day in bad.iter().rev() {
            let date = Timestamp::of_day(day.day).date();
            writeln!(out, "<li><time datetime=\"{date}\">{date}</time>: {}</li>", day_text(day))?;
        }
        out.push_str("</ul>\n</details>\n");
    }
    Ok(())
}

fn day_text(day: &Day) -> String {
    match day {
        Day { known: false, .. } => "nothing is known".to_owned(),
        Day { down: Millis::ZERO, scheduled: Millis::ZERO, .. } => "no outage".to_owned(),
        Day { down, scheduled: Millis::ZERO, .. } => format!("{} down", span(*down)),
        Day { down: Millis::ZERO, scheduled, .. } => {
            format!("{} of announced work", span(*scheduled))
        }
        Day { down, scheduled, .. } => {
            format!("{} down, {} of announced work", span(*down), span(*scheduled))
        }
    }
}

fn incident(out: &mut String, of: &Incident) -> std::fmt::Result {
    let (word, tone) = match of.progress {
        Progress::Investigating => ("Investigating", "bad"),
        Progress::Identified => ("Identified", "warn"),
        Progress::Monitoring => ("Monitoring", "warn"),
        Progress::Resolved => ("Resolved", "good"),
        Progress::Postmortem => ("Looked into", "good"),
    };
    let id = escape(&of.id);
    write!(
        out,
        "<article class=\"card\" aria-labelledby=\"{id}\">\n<div class=\"row\"><h3 id=\"{id}\">{}</h3>\
         <span class=\"state {tone}\">{word}</span></div>\n<p class=\"soft\">{}",
        escape(&of.title),
        when(of.started)
    )?;
    if let Some(resolved) = of.resolved {
        write!(out, ", over after {}", span(resolved.since(of.started)))?;
    }
    if let Some(moved) = of.failed_over {
        write!(out, "; web sites moved {} after it was noticed", span(moved.since(of.started)))?;
    }
    out.push_str(if of.scheduled {
        "; in announced maintenance.</p>\n<ol>\n"
    } else {
        ".</p>\n<ol>\n"
    });
    for update in of.updates.iter().rev() {
        writeln!(
            out,
            "<li><p>{}</p><p class=\"soft\">{}</p></li>",
            escape(&update.body),
            when(update.at)
        )?;
    }
    out.push_str("</ol>\n</article>\n");
    Ok(())
}

fn maintenance(out: &mut String, of: &Maintenance) -> std::fmt::Result {
    let (word, tone) = match of.phase {
        Phase::Scheduled => ("Announced", "work"),
        Phase::InProgress => ("Under way", "work"),
        Phase::Completed => ("Over", "good"),
    };
    let title = if of.window.title.is_empty() { "Maintenance" } else { &of.window.title };
    let id = escape(&of.id());
    writeln!(
        out,
        "<article class=\"card\" aria-labelledby=\"{id}\">\n<div class=\"row\"><h3 id=\"{id}\">{}</h3>\
         <span class=\"state {tone}\">{word}</span></div>\n<p class=\"soft\">Site {}, {} to {}. Web sites are \
         served from elsewhere meanwhile.</p>\n</article>",
        escape(title),
        escape(&of.window.site.to_string().to_uppercase()),
        when(of.window.starts),
        when(of.window.ends)
    )
}

fn observers(out: &mut String, page: &Page) -> std::fmt::Result {
    out.push_str(
        "<div class=\"card scroll\" role=\"region\" aria-label=\"Observers\" tabindex=\"0\">\n<table>\n\
         <thead><tr><th scope=\"col\">Observer</th><th scope=\"col\">Fails together with</th>\
         <th scope=\"col\">State</th><th scope=\"col\">Last word</th></tr></thead>\n<tbody>\n",
    );
    for of in &page.observers {
        let last = of.last.map_or_else(
            || "never".to_owned(),
            |last| format!("{} ago", span(page.made.since(last))),
        );
        let tone = if of.state == "watching" { "good" } else { "warn" };
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"{tone}\">{}</td><td>{last}</td></tr>",
            escape(&of.name),
            escape(&of.domain),
            of.state
        )?;
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
    Ok(())
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// A time for people, and for programs in its attribute.
fn when(time: Timestamp) -> String {
    let text = time.to_string();
    let clock = text.get(11..16).unwrap_or_default();
    format!("<time datetime=\"{text}\">{} {clock} UTC</time>", time.date())
}

/// A span for people: the two largest units of it.
fn span(span: Millis) -> String {
    let seconds = span.get() / 1000;
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let mut words = Vec::new();
    let mut rest = seconds;
    for (unit, name) in units {
        if rest >= unit && words.len() < 2 {
            words.push(format!("{} {name}", rest / unit));
            rest %= unit;
        } else if !words.is_empty() {
            break;
        }
    }
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}
