//! Runs one program, or one piece of code, and says what it cost.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use wait4::Wait4;

use crate::Error;

/// What one run cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// From before the process was started until it was gone.
    pub wall: Duration,
    /// User and system time of the process and the children it waited for.
    pub cpu: Duration,
    /// Largest resident set of any one of these processes, in bytes; `None` for code run in here.
    ///
    /// The kernel counts the starting process until the new program is loaded,
    /// so a reading is never below this program's own few MiB.
    pub peak_memory: Option<u64>,
    /// What it cost at the other end of a link, if there is one.
    pub there: Option<There>,
}

/// What one run cost at the other end: the server's processes, and whatever they started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct There {
    /// User and system time.
    pub cpu: Duration,
    /// Largest resident set of any one of these processes, in bytes.
    pub peak_memory: u64,
    /// Bytes that crossed the link in both directions together, where they were counted.
    pub crossed: Option<u64>,
}

/// Runs `command` to its end without input; what it prints is thrown away.
///
/// # Errors
/// [`Error::Start`] when it cannot be started, [`Error::Failed`] with the end
/// of its standard error when it does not end with 0; `label` names it there.
pub fn run(label: &str, command: &mut Command) -> Result<Usage, Error> {
    let program = Path::new(command.get_program()).to_owned();
    let doing = |doing| Error::io(doing, &program);
    let mut said = tempfile::tempfile().map_err(doing("keep the messages of"))?;
    let stderr = said.try_clone().map_err(doing("keep the messages of"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);

    let start = now();
    let mut child =
        command.spawn().map_err(|source| Error::Start { program: program.clone(), source })?;
    let ended = child.wait4().map_err(doing("wait for"))?;
    let wall = start.elapsed();

    if !ended.status.success() {
        let said = last_lines(&mut said).map_err(doing("read the messages of"))?;
        return Err(Error::Failed { label: label.to_owned(), status: ended.status, said });
    }
    Ok(Usage {
        wall,
        cpu: ended.rusage.utime + ended.rusage.stime,
        peak_memory: Some(ended.rusage.maxrss),
        there: None,
    })
}

/// Runs `work` in this process; all its threads count.
///
/// # Errors
/// Those of `work`.
pub fn run_here<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Usage, E> {
    let (start, cpu) = (now(), process_time());
    work()?;
    let cpu = process_time().saturating_sub(cpu);
    Ok(Usage { wall: start.elapsed(), cpu, ..Usage::default() })
}

/// Returns the middle value of an odd number of them, the upper middle of an even one.
///
/// Never the mean of two: a median here is a run that happened.
#[must_use]
pub fn median<T: Ord + Copy>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge: measuring is what it is for")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn last_lines(file: &mut File) -> std::io::Result<String> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(2000)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(if text.trim().is_empty() { "nothing".to_owned() } else { text.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_an_error_with_its_words() {
        let mut command = Command::new("sh");
        let error = run("shell", command.args(["-c", "echo no room >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "shell ended with exit status: 3; it said: no room");
    }

    #[test]
    fn processor_time_of_a_grandchild_counts() {
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        let mut command = Command::new("sh");
        let usage = run("shell", command.args(["-c", &format!("sh -c '{busy}'; true")])).unwrap();
        assert!(usage.cpu > Duration::from_millis(5), "{usage:?}");
        assert!(usage.peak_memory > Some(100_000), "{usage:?}");
    }

    #[test]
    fn the_median_is_one_of_the_values() {
        assert_eq!(median([5, 1, 9]), Some(5));
        assert_eq!(median([4, 1, 9, 5]), Some(5));
        assert_eq!(median([0; 0]), None);
    }
}
