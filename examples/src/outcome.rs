//! How a program ends, for people and for machines.

use std::process::ExitCode;

use mirror_core::{Error, Report};
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

    /// What a report ends a program with.
    pub fn of_report(report: &Report) -> Outcome {
        if report.is_clean() {
            Outcome::Done
        } else {
            Outcome::DoneWithProblems
        }
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

/// The one object that `--json` ends with.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The version of this form: 1.
    pub format: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What was done.
    #[serde(flatten)]
    pub report: Report,
    /// What stopped it, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

/// A number of bytes for people: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
