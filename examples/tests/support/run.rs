//! Runs `mirror` and reads what came of it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{Read, Seek};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::ground::{ORDINARY, am_root};

/// A command line of `mirror` that is being put together.
#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    ground: PathBuf,
    src: PathBuf,
    dst: PathBuf,
    wrapper: Vec<OsString>,
    program: PathBuf,
    options: Vec<OsString>,
    state: Vec<OsString>,
    json: bool,
}

impl Mirror {
    pub(crate) fn new(ground: &Path) -> Self {
        Self {
            ground: ground.to_owned(),
            src: ground.join("src"),
            dst: ground.join("dst"),
            wrapper: Vec::new(),
            program: env!("CARGO_BIN_EXE_mirror").into(),
            options: Vec::new(),
            state: vec!["--state".into(), ground.join("state").into()],
            json: true,
        }
    }

    pub(crate) fn arg(mut self, option: impl AsRef<OsStr>) -> Self {
        self.options.push(option.as_ref().to_owned());
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(self, options: impl IntoIterator<Item = S>) -> Self {
        options.into_iter().fold(self, Self::arg)
    }

    /// Gives an option another value than it was given before.
    pub(crate) fn instead(mut self, option: &str, value: impl AsRef<OsStr>) -> Self {
        match self.options.iter().position(|word| word == option) {
            Some(at) => self.options[at + 1] = value.as_ref().to_owned(),
            None => self = self.arg(option).arg(value),
        }
        self
    }

    pub(crate) fn from(mut self, src: impl Into<PathBuf>) -> Self {
        self.src = src.into();
        self
    }

    pub(crate) fn to(mut self, dst: impl Into<PathBuf>) -> Self {
        self.dst = dst.into();
        self
    }

    /// Without `--json`.
    pub(crate) fn text(mut self) -> Self {
        self.json = false;
        self
    }

    pub(crate) fn no_state(mut self) -> Self {
        self.state = vec!["--no-state".into()];
        self
    }

    /// Without a word about the state: the program finds its own place for it.
    pub(crate) fn default_state(mut self) -> Self {
        self.state.clear();
        self
    }

    pub(crate) fn state(mut self, dir: &Path) -> Self {
        self.state = vec!["--state".into(), dir.into()];
        self
    }

    /// Puts a program before it: `setpriv …`, `strace …`, `nsenter …`.
    pub(crate) fn under<S: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.wrapper.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// As a user without privileges, also when the tests run as root.
    pub(crate) fn unprivileged(mut self) -> Self {
        if !am_root() {
            return self;
        }
        // The build folder may lie where that user cannot go.
        let copy = self.ground.join("mirror-program");
        if !copy.exists() {
            fs::copy(&self.program, &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
            lchown(&copy, Some(ORDINARY), Some(ORDINARY)).unwrap();
        }
        self.program = copy;
        let id = ORDINARY.to_string();
        self.under([
            "setpriv",
            &format!("--reuid={id}"),
            &format!("--regid={id}"),
            "--clear-groups",
            "--",
        ])
    }

    /// Starts it and comes back at once.
    pub(crate) fn spawn(&self) -> Running {
        let mut words = self.wrapper.clone();
        words.push(self.program.clone().into());
        words.extend(self.options.iter().cloned());
        if self.json {
            words.push("--json".into());
        }
        words.extend(self.state.iter().cloned());
        words.extend(["--".into(), self.src.clone().into(), self.dst.clone().into()]);
        start(&self.ground, &words)
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self) -> Run {
        self.spawn().wait()
    }

    /// Runs it; it must end well.
    #[track_caller]
    pub(crate) fn done(&self) -> Run {
        self.run().ends(0)
    }
}

/// Runs `mirror` with exactly these words.
#[track_caller]
pub(crate) fn mirror_with<S: AsRef<OsStr>>(ground: &Path, words: &[S]) -> Run {
    let program = OsString::from(env!("CARGO_BIN_EXE_mirror"));
    let rest = words.iter().map(|word| word.as_ref().to_owned());
    start(ground, &[program].into_iter().chain(rest).collect::<Vec<_>>()).wait()
}

fn start(ground: &Path, words: &[OsString]) -> Running {
    // Files, not pipes: nothing has to drain them while the program runs.
    let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let child = Command::new(&words[0])
        .args(&words[1..])
        .current_dir(ground)
        .env("HOME", ground.join("home"))
        .env("XDG_STATE_HOME", ground.join("xdg-state"))
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(err.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
    Running { child: Ended(child), out, err, shown: format!("{words:?}") }
}

/// A process that does not outlive the test, not even a stopped one.
#[derive(Debug)]
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A run that has not ended yet.
#[derive(Debug)]
pub(crate) struct Running {
    child: Ended,
    out: File,
    err: File,
    shown: String,
}

impl Running {
    /// Its process id: that of the program itself when nothing was put before it.
    pub(crate) fn id(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child.0)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.0.try_wait().unwrap().is_some()
    }

    /// Ends it with SIGKILL, wherever it is.
    pub(crate) fn kill(self) {}

    /// Waits for its end. The limit is there for a run that hangs, not to measure one.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Run {
        let limit = Duration::from_secs(300);
        let mut pause = Duration::from_millis(1);
        let mut waited = Duration::ZERO;
        let status = loop {
            if let Some(status) = self.child.0.try_wait().unwrap() {
                break status;
            }
            assert!(waited <= limit, "{} did not end", self.shown);
            thread::sleep(pause);
            waited += pause;
            pause = (pause * 2).min(Duration::from_millis(20));
        };
        let run = Run { status, out: all(self.out), err: all(self.err), shown: self.shown };
        run.assert_orderly();
        run
    }
}

fn all(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
    shown: String,
}

impl Run {
    /// The exit code.
    #[track_caller]
    pub(crate) fn code(&self) -> i32 {
        self.status.code().unwrap()
    }

    /// What a reader of a failed test wants to see.
    pub(crate) fn shown(&self) -> String {
        format!(
            "{}\nexit {:?}\nstdout: {}\nstderr: {}",
            self.shown,
            self.status.code(),
            String::from_utf8_lossy(&self.out),
            String::from_utf8_lossy(&self.err)
        )
    }

    /// Holds for every run: ended by itself, without panic, with a documented code.
    #[track_caller]
    fn assert_orderly(&self) {
        assert_eq!(self.status.signal(), None, "ended by a signal: {}", self.shown());
        assert!(!self.stderr().contains("panicked at"), "a panic: {}", self.shown());
        assert!((0..=4).contains(&self.code()), "an undocumented exit code: {}", self.shown());
    }

    /// The exit code must be this one, and `outcome` must say the same.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{}", self.shown());
        if self.out.starts_with(b"{\"") && self.objects().len() == 1 {
            let outcome = match code {
                0 => "done",
                1 => "failed",
                3 => "done-with-problems",
                4 => "refused",
                _ => return self,
            };
            assert_eq!(self.json()["outcome"], outcome, "{}", self.shown());
        }
        self
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// Every JSON object on stdout, one a line.
    #[track_caller]
    pub(crate) fn objects(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.out)
            .unwrap_or_else(|error| panic!("JSON is UTF-8: {error}: {}", self.shown()));
        let parse = |line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("not JSON ({error}): {line:?}: {}", self.shown()))
        };
        text.lines().map(parse).collect()
    }

    /// The one final object of `--json`.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_slice(&self.out)
            .unwrap_or_else(|error| panic!("not one JSON object ({error}): {}", self.shown()));
        assert_eq!(value["format"], 1, "{}", self.shown());
        value
    }

    /// One of the counts of the final object.
    #[track_caller]
    pub(crate) fn count(&self, field: &str) -> u64 {
        let value = self.json();
        value[field].as_u64().unwrap_or_else(|| panic!("no count {field:?}: {}", self.shown()))
    }

    /// Several counts at once, so that a failure shows them side by side.
    #[track_caller]
    pub(crate) fn assert_counts(&self, expected: &[(&str, u64)]) {
        let found: Vec<_> = expected.iter().map(|(field, _)| (*field, self.count(field))).collect();
        assert_eq!(found, expected, "{}", self.shown());
    }

    /// Nothing had to be done.
    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        self.assert_counts(&[
            ("created", 0),
            ("updated", 0),
            ("moved", 0),
            ("metadata_only", 0),
            ("deleted", 0),
            ("bytes_copied", 0),
        ]);
    }

    /// The problems: path (raw bytes) and sentence.
    #[track_caller]
    pub(crate) fn problems(&self) -> Vec<(Vec<u8>, String)> {
        let value = self.json();
        let list = value["problems"].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|problem| {
                let path = path_bytes(&problem["path"])
                    .unwrap_or_else(|| panic!("not a path: {problem}: {}", self.shown()));
                let error = problem["error"].as_str().unwrap_or_default().to_owned();
                assert_is_sentence(&error);
                (path, error)
            })
            .collect()
    }

    /// Whether a problem names this path (given whole, or below one of the roots).
    #[track_caller]
    pub(crate) fn has_problem_at(&self, path: impl AsRef<[u8]>) -> bool {
        let path = path.as_ref();
        let below = [b"/", path].concat();
        self.problems().iter().any(|(at, _)| at == path || at.ends_with(&below))
    }

    /// The one sentence on stderr, which `error` of the JSON holds too.
    #[track_caller]
    pub(crate) fn assert_one_sentence(&self) {
        let text = self.stderr();
        let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(lines.len(), 1, "one sentence: {}", self.shown());
        assert_is_sentence(lines[0]);
        if self.out.starts_with(b"{") {
            let value = self.json();
            let error = value["error"].as_str().unwrap_or_default().to_owned();
            assert_is_sentence(&error);
        }
    }
}

/// A line for people: a few words, no control characters, no `Debug` of a value.
#[track_caller]
fn assert_is_sentence(text: &str) {
    assert!(!text.chars().any(char::is_control), "control characters: {text:?}");
    assert!(text.split_whitespace().count() >= 3, "not a sentence: {text:?}");
    for debug in ["Os {", "Error {", "Err(", "Some(", "kind: ", "RUST_BACKTRACE"] {
        assert!(!text.contains(debug), "a value, not a sentence: {text:?}");
    }
}

/// A path as JSON has it: a string, or `{"hex": "…"}` of its raw bytes.
pub(crate) fn path_bytes(value: &Value) -> Option<Vec<u8>> {
    if let Some(text) = value.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let hex = value.as_object().filter(|object| object.len() == 1)?.get("hex")?.as_str()?;
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}
