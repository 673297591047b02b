use std::{io, path::Path, path::PathBuf};

/// Why a workload could not be made or a comparison stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a call.
    #[error("cannot {doing} {path:?}")]
    Io {
        /// What was attempted, as a verb: "create", "read".
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A program could not be started at all.
    #[error("cannot start {program:?}; is it installed and executable?")]
    Start {
        /// The program as it was called.
        program: PathBuf,
        /// The refusal.
        source: io::Error,
    },
    /// A program ended with another exit code than 0, so its time means nothing.
    #[error("{label} ended with {status}; it said: {said}")]
    Failed {
        /// The contestant as the table names it.
        label: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of its standard error.
        said: String,
    },
    /// A program ended well but did not do the work that was timed.
    #[error("{label} did not do the work, so its time is not reported: {how}")]
    WrongResult {
        /// The contestant as the table names it.
        label: String,
        /// What was found instead.
        how: String,
    },
    /// The SSH server that a scenario needs did not come up, or could not be asked what it cost.
    #[error("sshd does not work here: {why}")]
    Server {
        /// What it said, or what was missing.
        why: String,
    },
    /// `mirror` could not be built.
    #[error(
        "`cargo build --release -p examples --bin mirror --bin mirror-agent` failed; mend the build, \
         or give a built program with --mirror PATH"
    )]
    Build,
    /// No scenario has that name.
    #[error("no scenario is called {name:?}; choose from: {known}")]
    NoSuchScenario {
        /// The name asked for.
        name: String,
        /// All names, comma separated.
        known: String,
    },
    /// A results file has one of a pair of markers without the other, or in the wrong order.
    #[error(
        "the markers of section {name:?} do not pair up; \
         put `<!-- compare {name} -->` before and `<!-- /compare {name} -->` after it, or remove both"
    )]
    Markers {
        /// The section.
        name: String,
    },
}

impl Error {
    /// Makes the closure that turns an [`io::Error`] into [`Error::Io`].
    pub(crate) fn io<E: Into<io::Error>>(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source: source.into() }
    }
}
