//! What a drill showed: figures, phases, the time line, and whether every promise held.

use std::fmt::{self, Write};

use dns_failover::decision::Timestamp;
use serde::Serialize;

use super::clock;

/// Whether every promise held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// All of them.
    Held,
    /// Not all.
    Failed,
}

/// What became of the mail.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Messages {
    /// Acknowledged to the sender.
    pub sent: u64,
    /// Of these in the account in the UK.
    pub uk: u64,
    /// Of these in the account in the US.
    pub us: u64,
    /// Of these in neither.
    pub lost: u64,
    /// In one account more than once.
    pub doubled: u64,
    /// Sent again because the connection broke before there was an answer.
    pub repeated: u64,
}

/// What became of the sites' files.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Files {
    /// In both sites when the fire began.
    pub total: u64,
    /// Different on the other server then, though they were there before the last run; and at the
    /// end.
    pub different: u64,
    /// Written between the last run and the fire.
    pub written_since_last_run: u64,
    /// Of those, how many are gone.
    pub lost: u64,
    /// Written while the US served, all of which are there in the end.
    pub written_in_the_us: u64,
}

/// From the fire to the first good answer, in seconds; none where there was none.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Recovery {
    /// Until the controller had decided, by its journal.
    pub detection_seconds: Option<f64>,
    /// Until a page came for visitors of each surviving name server.
    pub web_seconds: Option<f64>,
    /// Until each surviving name server sent visitors to the other site.
    pub dns_seconds: Option<f64>,
    /// Until a message was acknowledged.
    pub mail_seconds: Option<f64>,
}

/// A part of the drill.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// What it is called.
    pub name: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    /// When, in seconds after the fire.
    pub seconds: f64,
    /// What.
    pub what: String,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of this form: 1.
    pub format: u32,
    /// Whether every promise held.
    pub outcome: Outcome,
    /// What did not hold, or kept the drill from its end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// Whether the disk stayed.
    pub outage: bool,
    /// The mail.
    pub messages: Messages,
    /// The sites.
    pub files: Files,
    /// How long it took.
    pub recovery: Recovery,
    /// Its parts.
    pub phases: Vec<Phase>,
    /// What happened, by the clock of the fire.
    pub timeline: Vec<Mark>,
    /// From beginning to end, in seconds.
    pub seconds: f64,
}

impl Report {
    pub(super) fn new(outage: bool) -> Report {
        Report {
            format: 1,
            outcome: Outcome::Held,
            errors: Vec::new(),
            outage,
            messages: Messages::default(),
            files: Files::default(),
            recovery: Recovery::default(),
            phases: Vec::new(),
            timeline: Vec::new(),
            seconds: 0.0,
        }
    }

    pub(super) fn fail(&mut self, why: impl Into<String>) {
        self.outcome = Outcome::Failed;
        self.errors.push(why.into());
    }

    /// Takes marks over as seconds after `fire`, in the order of time.
    pub(super) fn draw(&mut self, mut marks: Vec<(Timestamp, String)>, fire: Timestamp) {
        marks.sort_by_key(|(at, _)| *at);
        let seconds = |at: Timestamp| clock::seconds(fire, at) - clock::seconds(at, fire);
        let mark = |(at, what)| Mark { seconds: seconds(at), what };
        self.timeline = marks.into_iter().map(mark).collect();
    }
}

/// The time line and the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.timeline.is_empty() {
            writeln!(f, "\nThe time line, in seconds after the fire:\n")?;
            for mark in &self.timeline {
                writeln!(f, "{:>8.2}  {}", mark.seconds, mark.what)?;
            }
            f.write_str(&self.bars())?;
        }
        if self.messages.sent > 0 || self.recovery.web_seconds.is_some() {
            self.table(f)?;
        }
        writeln!(f)?;
        match self.errors.as_slice() {
            [] => writeln!(f, "Every promise held, in {:.1} s.", self.seconds),
            errors => {
                writeln!(f, "The drill failed:")?;
                const SHOWN: usize = 10;
                for error in errors.iter().take(SHOWN) {
                    writeln!(f, "- {error}")?;
                }
                match errors.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => writeln!(f, "- and {more} more"),
                }
            }
        }
    }
}

impl Report {
    /// Detection, names and pages drawn to one scale.
    fn bars(&self) -> String {
        const WIDTH: f64 = 50.0;
        let Recovery { detection_seconds, web_seconds, dns_seconds, mail_seconds } = self.recovery;
        let rows = [
            ("mail", mail_seconds),
            ("decided", detection_seconds),
            ("names", dns_seconds),
            ("pages", web_seconds),
        ];
        let longest = rows.iter().filter_map(|(_, seconds)| *seconds).fold(0.0, f64::max);
        let mut text = String::new();
        if longest <= 0.0 {
            return text;
        }
        text.push_str("\n          fire\n");
        for (name, seconds) in rows {
            let Some(seconds) = seconds else { continue };
            let cells = (seconds / longest * WIDTH).round() as usize;
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:>8}  |{}> {seconds:.2}", "=".repeat(cells));
        }
        text
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { messages, files, recovery, .. } = self;
        let lost_with = match self.outage {
            true => "back with the disk",
            false => "gone with the disk",
        };
        writeln!(f, "\n{:<10}{:<26}{:>8}", "", "what became of it", "")?;
        let repeated = match messages.repeated {
            0 => String::new(),
            count => format!("  ({count} were sent twice by their sender, who got no answer)"),
        };
        for (what, how, count) in [
            ("mail", "acknowledged", messages.sent),
            ("", "in the UK's account", messages.uk),
            ("", "in the US's account", messages.us),
            ("", "lost", messages.lost),
            ("", "doubled", messages.doubled),
            ("sites", "files", files.total),
            ("", "different", files.different),
            ("", "written since last run", files.written_since_last_run),
            ("", "of these lost", files.lost),
            ("", "written in the US", files.written_in_the_us),
        ] {
            let note = match how {
                "doubled" => repeated.as_str(),
                "of these lost" if self.files.written_since_last_run > 0 => lost_with,
                _ => "",
            };
            let note = if note.is_empty() { String::new() } else { format!("  {}", note.trim()) };
            writeln!(f, "{what:<10}{how:<26}{count:>8}{note}")?;
        }
        let seconds = |seconds: Option<f64>| match seconds {
            Some(seconds) => format!("{seconds:.2} s"),
            None => "never".to_owned(),
        };
        writeln!(f, "\n{:<36}{:>8}", "recovery after the fire", "")?;
        for (what, value) in [
            ("mail is acknowledged", recovery.mail_seconds),
            ("the controller has decided", recovery.detection_seconds),
            ("all surviving name servers say so", recovery.dns_seconds),
            ("pages come for all of them", recovery.web_seconds),
            (
                "that is after the decision",
                recovery
                    .web_seconds
                    .zip(recovery.detection_seconds)
                    .map(|(web, decided)| web - decided),
            ),
        ] {
            writeln!(f, "{what:<36}{:>8}", seconds(value))?;
        }
        writeln!(f, "Resolvers may keep the old address for its TTL, 30 s, on top of that.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(report: &Report) -> String {
        report.to_string()
    }

    #[test]
    fn the_time_line_counts_from_the_fire_and_is_in_order() {
        let at = |millis: i64| Timestamp::from_millis(1_795_374_000_000 + millis);
        let mut report = Report::new(false);
        report.draw(vec![(at(840), "pages".into()), (at(-1500), "mirror".into())], at(0));
        let seconds: Vec<f64> = report.timeline.iter().map(|mark| mark.seconds).collect();
        assert_eq!(seconds, [-1.5, 0.84]);
        assert!(told(&report).contains("   -1.50  mirror\n    0.84  pages\n"));
    }

    #[test]
    fn one_promise_that_does_not_hold_fails_the_drill_and_is_told() {
        let mut report = Report::new(true);
        assert!(told(&report).contains("Every promise held"));
        report.fail("a message is lost");
        assert_eq!(report.outcome, Outcome::Failed);
        assert!(told(&report).ends_with("The drill failed:\n- a message is lost\n"));
        for number in 0..20 {
            report.fail(format!("message {number} is lost"));
        }
        assert!(told(&report).ends_with("- and 11 more\n"));
    }

    #[test]
    fn what_never_came_is_called_never() {
        let mut report = Report::new(false);
        report.messages.sent = 1;
        report.recovery.mail_seconds = Some(0.5);
        let text = told(&report);
        assert!(text.contains("mail is acknowledged                  0.50 s"), "{text}");
        assert!(text.contains("pages come for all of them             never"), "{text}");
    }
}
