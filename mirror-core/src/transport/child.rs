//! A child process whose standard input and output are the connection: `ssh` with the user's own
//! configuration, jump hosts and agent, or anything else that ends at a mirror-agent.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::host::Destination;
use super::{Ending, LastWords, Transport};
use crate::error::explain;
use crate::wire::LinkError;

/// How much of a standard error is kept: its end says what went wrong.
pub(super) const SAID_MAX: usize = 4096;

/// How often, and how long apart, a program is asked whether it has ended by itself.
const LOOKS: u32 = 40;
const LOOK: Duration = Duration::from_millis(50);

/// Starts `command` with pipes for its standard input, output and error.
///
/// # Errors
/// Those of starting it.
pub fn child(command: &mut Command) -> io::Result<Transport> {
    // With a group of its own all that it starts can be ended with it. Where there is a terminal it
    // stays in ours: else it could not ask there for a passphrase, and an interrupt would pass by it.
    let leads_group = std::fs::File::open("/dev/tty").is_err();
    if leads_group {
        command.process_group(0);
    }
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let missing = || io::Error::other("a pipe to the program is missing");
    let input = child.stdin.take().ok_or_else(missing)?;
    let output = child.stdout.take().ok_or_else(missing)?;
    let errors = child.stderr.take().ok_or_else(missing)?;
    let said = Arc::new(Mutex::new(Vec::new()));
    let keeps = said.clone();
    thread::Builder::new().name("child-stderr".to_owned()).spawn(move || listen(errors, &keeps))?;
    Ok(Transport::new(output, input, Process { child: Mutex::new(child), leads_group, said }))
}

/// An agent on another machine, reached through a program like `ssh`. `program` is split into words
/// as a shell would, but no shell sees it; port, destination and `agent_command` follow.
///
/// # Errors
/// A program that cannot be split or started.
pub fn ssh_program(
    program: &str,
    to: &Destination,
    agent_command: &str,
) -> Result<Transport, LinkError> {
    let words = shlex::split(program).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| {
        LinkError::Unready(
            "the command that is to reach it has an open quote, or no words".to_owned(),
        )
    })?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    if let Some(port) = to.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(user) = &to.user {
        command.args(["-l", user]);
    }
    command.args(["-T", "--", &to.host, agent_command]);
    child(&mut command).map_err(|error| {
        LinkError::Unready(format!("cannot start {:?}: {}", words[0], explain(&error)))
    })
}

/// Keeps the end of what comes.
pub(super) fn keep_end(said: &mut Vec<u8>, more: &[u8]) {
    said.extend_from_slice(more);
    if said.len() > SAID_MAX {
        said.drain(..said.len() - SAID_MAX);
    }
}

fn listen(mut errors: impl Read, said: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 1024];
    loop {
        match errors.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => keep_end(&mut lock(said), &buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Process {
    child: Mutex<Child>,
    leads_group: bool,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Process {
    /// Waits for its end for a while: it may be about to come.
    fn ended(&self) -> Option<ExitStatus> {
        for _ in 0..LOOKS {
            if let Ok(Some(status)) = lock(&self.child).try_wait() {
                return Some(status);
            }
            thread::sleep(LOOK);
        }
        None
    }
}

impl Ending for Process {
    fn close(&self) {
        if self.ended().is_some() {
            return;
        }
        let mut child = lock(&self.child);
        if self.leads_group {
            // It is still there and so is its group, whatever has left that.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        }
        // It is waited for, so that none is left behind.
        let _ = child.kill();
        let _ = child.wait();
    }

    fn last_words(&self) -> LastWords {
        let ended = self.ended();
        let status = ended.and_then(|ended| ended.code());
        let signal = ended.and_then(|ended| ended.signal()).map(|number| number.to_string());
        LastWords { status, signal, said: lock(&self.said).clone() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_has_started_ends_with_it() {
        if std::fs::File::open("/dev/tty").is_ok() {
            println!("skipped: there is a terminal, which would end it");
            return;
        }
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let Transport { mut reader, ending, .. } = child(&mut command).unwrap();
        let mut told = Vec::new();
        while told.last() != Some(&b'\n') {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            told.push(byte[0]);
        }
        ending.close();
        // All that had its standard output has gone.
        assert_eq!(reader.read_to_end(&mut told).unwrap(), 0);
    }
}
