//! A `dual-mail relay` of one's own: its own folder, ports and configuration, stopped by its
//! process id; and a client that knows exactly what was acknowledged.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// A relay that runs. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Relay {
    process: Child,
    /// Where it listens, in the order of its configuration.
    pub(crate) listening: Vec<String>,
    log: PathBuf,
}

/// A file with this configuration in a folder.
pub(crate) fn configure(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("dual-mail.toml");
    fs::write(&path, text).unwrap();
    path
}

pub(crate) fn dual_mail(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dual-mail"));
    command.arg("--config").arg(config);
    command
}

/// Runs a command of `dual-mail` with this on its standard input.
pub(crate) fn run(config: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = dual_mail(config)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

impl Relay {
    /// Starts one and waits until it is ready.
    pub(crate) fn start(config: &Path) -> Relay {
        Relay::start_with(config, &[])
    }

    /// [`start`](Self::start) with more arguments.
    pub(crate) fn start_with(config: &Path, arguments: &[&str]) -> Relay {
        let log = config.with_extension("log");
        let errors = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut process = dual_mail(config)
            .args(arguments)
            .args(["relay", "--verbose"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut listening = Vec::new();
        let mut ready = false;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening at ") {
                listening.push(address.to_owned());
            }
            ready = line.starts_with("ready");
            if ready {
                break;
            }
        }
        let relay = Relay { process, listening, log };
        assert!(ready, "the relay ended: {}", relay.log());
        relay
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The address of its first listener by TCP.
    pub(crate) fn tcp(&self) -> SocketAddr {
        self.listening.iter().find_map(|address| address.parse().ok()).unwrap()
    }

    /// Kills it as a power cut does, but for the disk.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        let ended = self.process.wait().unwrap();
        assert!(ended.success(), "{ended}: {}", self.log());
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits until a fact holds.
#[track_caller]
pub(crate) fn until(what: &str, mut fact: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if fact() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("in a minute it did not come to pass that {what}");
}

/// A client by hand.
#[derive(Debug)]
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(to: SocketAddr) -> io::Result<Client> {
        let stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        let mut client = Client(BufReader::new(stream));
        client.answer()?;
        client.say("EHLO test.example")?;
        Ok(client)
    }

    /// The code of the next reply.
    fn answer(&mut self) -> io::Result<u16> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return line[..3].parse().map_err(|_| io::ErrorKind::InvalidData.into());
            }
        }
    }

    pub(crate) fn say(&mut self, line: &str) -> io::Result<u16> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        self.answer()
    }

    /// Sends a message with this subject; the code of the answer to it.
    pub(crate) fn send(&mut self, to: &str, subject: &str) -> io::Result<u16> {
        self.say("MAIL FROM:<ann@example.com>")?;
        let code = self.say(&format!("RCPT TO:<{to}>"))?;
        if code != 250 {
            return Ok(code);
        }
        self.say("DATA")?;
        let text = format!("Subject: {subject}\r\n\r\n{}\r\n.", "Some text.\r\n".repeat(20));
        self.say(&text)
    }
}

/// How often each subject is in a Maildir.
pub(crate) fn subjects(maildir: &Path) -> BTreeMap<String, usize> {
    let mut subjects = BTreeMap::new();
    for folder in ["new", "cur"] {
        for file in fs::read_dir(maildir.join(folder)).into_iter().flatten() {
            let mut text = String::new();
            fs::File::open(file.unwrap().path()).unwrap().read_to_string(&mut text).unwrap();
            let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap();
            *subjects.entry(subject.to_owned()).or_insert(0) += 1;
        }
    }
    subjects
}
