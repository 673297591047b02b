//! The results as a table in Markdown.

use std::fmt::Write;

use super::baseline::Contestant;
use super::measure::Tally;

/// One row a contestant. Recovery is until most name servers answer with the site that works; caches
/// come on top, half a TTL (15 s) in the mean.
pub fn table(rows: &[(Contestant, Tally)]) -> String {
    let mut text = String::from(
        "| | unavailable min/year | false moves/year | moves/year | outages missed | recovery p50 / p95 / p99 \
         | below quorum min/year | violations |\n|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (contestant, tally) in rows {
        let seconds =
            |share| tally.recovery(share).map_or("–".to_owned(), |time| format!("{time:.1}"));
        let recovery = match contestant {
            Contestant::Never | Contestant::Oracle => "–".to_owned(),
            _ => format!("{} / {} / {} s", seconds(0.5), seconds(0.95), seconds(0.99)),
        };
        let ours = matches!(contestant, Contestant::ThreeDomains | Contestant::FiveDomains);
        let only_ours = |text: String| if ours { text } else { "–".to_owned() };
        let missed = match contestant {
            Contestant::Oracle => "–".to_owned(),
            _ => format!("{:.2} %", tally.missed_share() * 100.0),
        };
        let _ = writeln!(
            text,
            "| {} | {:.1} | {:.3} | {:.1} | {missed} | {recovery} | {} | {} |",
            contestant.name(),
            tally.unavailable_minutes(),
            tally.false_moves(),
            tally.moves(),
            only_ours(format!("{:.1}", tally.below_quorum_minutes())),
            only_ours(tally.violations().to_string()),
        );
    }
    text
}
