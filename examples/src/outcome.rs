//! How a program ends, for people and for machines.

use std::process::ExitCode;

use mirror_core::{Conflict, Counts, Error, Plan, Problem, Report};
use serde::Serialize;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything is level. Exit code 0.
    Done,
    /// The run stopped. Exit code 1.
    Failed,
    /// Some paths could not be dealt with. Exit code 3.
    DoneWithProblems,
    /// A guard refused it before anything was changed. Exit code 4.
    Refused,
}

impl Outcome {
    /// What an error of the library ends a program with.
    pub fn of_error(error: &Error) -> Outcome {
        match error {
            Error::Refused(_) => Outcome::Refused,
            _ => Outcome::Failed,
        }
    }

    /// What a plan that was only to be shown ends a program with.
    pub fn of_plan(plan: &Plan) -> Outcome {
        let open = plan.conflicts().iter().any(|conflict| conflict.winner.is_none());
        if open || !plan.problems().is_empty() { Outcome::DoneWithProblems } else { Outcome::Done }
    }

    /// What a report ends a program with.
    pub fn of_report(report: &Report) -> Outcome {
        if report.is_clean() { Outcome::Done } else { Outcome::DoneWithProblems }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> ExitCode {
        ExitCode::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::DoneWithProblems => 3,
            Outcome::Refused => 4,
        })
    }
}

/// What went over connections to other machines, on all of them together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wire {
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that were received.
    pub received: u64,
    /// Bytes of contents that went as they are, before compression.
    pub literal: u64,
}

/// The one object that `--json` ends with.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    /// The version of this form: 1.
    format: u32,
    /// How it ended.
    outcome: Outcome,
    /// What stopped it, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// What was done, unless it was stopped: nobody has counted then.
    #[serde(flatten)]
    done: Option<Done<'a>>,
    bytes_literal: u64,
    wire_sent: u64,
    wire_received: u64,
    /// How long it took.
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    entries: u64,
    #[serde(flatten)]
    counts: Counts,
    unchanged: u64,
    skipped: u64,
    bytes_copied: u64,
    bytes_matched: u64,
    /// How many paths both sides changed.
    conflicts: usize,
    /// Which ones.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    conflict_paths: &'a [Conflict],
    problems: &'a [Problem],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

impl<'a> Summary<'a> {
    /// Sums up a run, or what stopped it.
    pub fn new(
        outcome: Outcome,
        came_of_it: Result<&'a Report, &'a String>,
        wire: Wire,
        seconds: f64,
    ) -> Summary<'a> {
        Summary {
            format: 1,
            outcome,
            error: came_of_it.err().map(String::as_str),
            done: came_of_it.ok().map(|report| Done {
                entries: report.entries,
                counts: report.counts,
                unchanged: report.unchanged,
                skipped: report.skipped,
                bytes_copied: report.bytes_copied,
                bytes_matched: report.bytes_matched,
                conflicts: report.conflicts.len(),
                conflict_paths: &report.conflicts,
                problems: &report.problems,
                notes: &report.notes,
            }),
            bytes_literal: wire.literal,
            wire_sent: wire.sent,
            wire_received: wire.received,
            seconds,
        }
    }
}

/// A number of bytes for people: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}

/// What was done, or would be, for people.
pub fn sentence(counts: &Counts, copied: u64) -> String {
    if counts.is_zero() {
        return "nothing to do".to_owned();
    }
    let parts = [
        (counts.created, "created"),
        (counts.updated, "updated"),
        (counts.moved, "moved"),
        (counts.metadata_only, "changed in metadata only"),
        (counts.deleted, "deleted"),
    ];
    let parts = parts.into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, done)| format!("{count} {done}")).collect();
    format!("{}, {} copied", parts.join(", "), bytes(copied))
}
