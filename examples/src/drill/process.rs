//! A process of one of the two hosts, which a fire really kills.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Trouble;

/// For so long a process may take to begin to serve.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process that serves. Dropping it kills it and waits for its end.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts this program again in another part, and waits until it serves. What it says on standard
    /// error goes to a file of its name in `logs`.
    pub(super) fn start<I, S>(name: &str, logs: &Path, arguments: I) -> Result<Process, Trouble>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let program = std::env::current_exe();
        let program = program.map_err(|error| Trouble::new(format!("who am I? {error}")))?;
        Process::run(name, logs, Command::new(program).args(arguments), true)
    }

    /// Starts any program. One that does not say `ready` is taken to serve at once.
    pub(super) fn run(
        name: &str,
        logs: &Path,
        command: &mut Command,
        says_ready: bool,
    ) -> Result<Process, Trouble> {
        let log = logs.join(name);
        let cannot = |error| Trouble::new(format!("cannot start the {name}: {error}"));
        let errors = File::create(&log).map_err(cannot)?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).spawn();
        let mut process = Process { name: name.to_owned(), child: child.map_err(cannot)?, log };
        let out = process.child.stdout.take();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let lines = out.into_iter().flat_map(|out| BufReader::new(out).lines());
            for line in lines.map_while(Result::ok) {
                if line.starts_with("ready") {
                    // Who waited may have lost patience.
                    let _ = tell.send(());
                }
            }
        });
        if says_ready && told.recv_timeout(PATIENCE).is_err() {
            let name = &process.name;
            return Err(Trouble::new(format!("the {name} does not serve: {}", process.words())));
        }
        Ok(process)
    }

    /// What it said last on standard error.
    fn words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().last().map_or_else(|| "it says nothing".to_owned(), str::to_owned)
    }

    /// Whether it runs still; else a sentence about it.
    pub(super) fn check(&mut self) -> Result<(), Trouble> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                let (name, words) = (&self.name, self.words());
                Err(Trouble::new(format!("the {name} ended on its own ({status}): {words}")))
            }
            Err(error) => Err(Trouble::new(format!("cannot look at the {}: {error}", self.name))),
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        // It fails when the process has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
