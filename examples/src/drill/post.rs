//! The mail side: what each relay is told, somebody who sends all the time, and counting by Message-ID.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dns_failover::SiteId;
use dns_failover::decision::Timestamp;
use mail_dual::SpoolId;

use super::{HILL, Trouble, clock};
use crate::mail::control::{Answer, Request, ask};

/// Whose mail it is.
const ACCOUNT: &str = "anna";
/// How long the sender waits for a reply: more than a relay waits for its peer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it rests between two messages.
const REST: Duration = Duration::from_millis(40);

/// Where a host's mail side is.
#[derive(Debug, Clone)]
pub(super) struct Office {
    pub(super) site: SiteId,
    pub(super) smtp: SocketAddr,
    pub(super) peer: SocketAddr,
    /// The folder of the accounts.
    pub(super) accounts: PathBuf,
    pub(super) spool: PathBuf,
}

impl Office {
    /// The configuration of its relay, in the form of `dual-mail.toml`. Without the other leg, mail
    /// reaches one account only.
    pub(super) fn config(&self, other: &Office, with_other: bool) -> String {
        let (here, there) = (self.site, other.site);
        let accounts = self.accounts.join("{domain}/{local}");
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "hostname = \"mail.host.{here}\"\nspool = {:?}\nreserve = 1048576\nack_timeout = \"5s\"\n\
             [retry]\nfirst = \"1s\"\nlongest = \"1s\"\nleg_first = \"1s\"\nleg_longest = \"1s\"\n\
             [[listen]]\nprotocol = \"smtp\"\naddress = \"{}\"\n\
             [[listen]]\nprotocol = \"peer\"\naddress = \"{}\"\n\
             [[leg]]\nname = \"{here}\"\nprotocol = \"maildir\"\nmaildir = {accounts:?}\n\
             [[leg]]\nname = \"{there}\"\nprotocol = \"peer\"\naddress = \"{}\"\ntls = \"none\"\n",
            self.spool, self.smtp, self.peer, other.peer
        );
        let legs =
            if with_other { format!("\"{here}\", \"{there}\"") } else { format!("\"{here}\"") };
        let _ = write!(text, "[[route]]\nrecipients = [\"*@{HILL}\"]\nlegs = [{legs}]\n");
        text
    }

    /// The account's Maildir.
    pub(super) fn maildir(&self) -> PathBuf {
        self.accounts.join(HILL).join(ACCOUNT)
    }

    /// How many messages its relay has still to bring somewhere.
    pub(super) fn queued(&self) -> Result<usize, Trouble> {
        match self.ask(&Request::Status)? {
            Answer::Status { queued, .. } => Ok(queued),
            other => Err(Trouble::new(format!("the relay in the {} says {other:?}", self.site))),
        }
    }

    /// Which those are.
    pub(super) fn queue(&self) -> Result<BTreeSet<SpoolId>, Trouble> {
        let (mut ids, mut after) = (BTreeSet::new(), None);
        loop {
            match self.ask(&Request::List { after })? {
                Answer::Queue { messages } if messages.is_empty() => return Ok(ids),
                Answer::Queue { messages } => {
                    after = messages.last().map(|message| message.id);
                    ids.extend(messages.iter().map(|message| message.id));
                }
                other => {
                    let why = format!("the relay in the {} says {other:?}", self.site);
                    return Err(Trouble::new(why));
                }
            }
        }
    }

    /// Has it try at once what waits.
    pub(super) fn flush(&self) -> Result<(), Trouble> {
        self.ask(&Request::Flush { leg: None }).map(drop)
    }

    fn ask(&self, request: &Request) -> Result<Answer, Trouble> {
        let none = || Trouble::new(format!("no relay answers in the {}", self.site));
        ask(&self.spool.join("control"), request)
            .map_err(|failure| Trouble::new(failure.sentence))?
            .ok_or_else(none)
    }

    /// The files of the account and what our relay called each message, where it named the file.
    pub(super) fn files(&self) -> Result<Vec<(PathBuf, Option<SpoolId>)>, Trouble> {
        let mut files = Vec::new();
        for part in ["new", "cur"] {
            let folder = self.maildir().join(part);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(|error| Trouble::at("cannot read", &folder, &error))?,
            };
            for entry in entries {
                let entry = entry.map_err(|error| Trouble::at("cannot read", &folder, &error))?;
                let name = entry.file_name();
                // TIME.ID_RECIPIENT.dual
                let id = name.to_str().and_then(|name| name.split('.').nth(1));
                let id = id.and_then(|word| word.split('_').next()?.parse().ok());
                files.push((entry.path(), id));
            }
        }
        files.sort();
        Ok(files)
    }

    /// How often each Message-ID is in the account.
    pub(super) fn count(&self) -> Result<BTreeMap<String, u64>, Trouble> {
        let mut counts = BTreeMap::new();
        for (path, _) in self.files()? {
            let failed = |error: &io::Error| Trouble::at("cannot read", &path, error);
            let file = fs::File::open(&path).map_err(|error| failed(&error))?;
            let mut id = None;
            for line in BufReader::new(file.take(64 << 10)).lines() {
                let line = line.map_err(|error| failed(&error))?;
                if line.is_empty() {
                    break;
                }
                let value = line.strip_prefix("Message-ID:").map(str::trim);
                id = id.or(value.map(str::to_owned));
            }
            let unnamed = || path.display().to_string();
            *counts.entry(id.unwrap_or_else(unnamed)).or_default() += 1;
        }
        Ok(counts)
    }
}

/// A message that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) at: Timestamp,
    /// Whether the sender was left without an answer before, and so had to send it again
    /// (RFC 5321 section 4.5.5): then two copies are nobody's fault.
    pub(super) repeated: bool,
}

/// Somebody who sends mail all the time, to whichever server answers.
#[derive(Debug)]
pub(super) struct Sender {
    sent: Arc<Mutex<Vec<Sent>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    /// Begins. Both servers have the same preference, so they take turns.
    pub(super) fn start(servers: [SocketAddr; 2], drill: &str) -> Sender {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let ending = Arc::new(AtomicBool::new(false));
        let (list, end, drill) = (sent.clone(), ending.clone(), drill.to_owned());
        let thread = thread::spawn(move || {
            for number in 0_usize.. {
                let order = [servers[number % 2], servers[(number + 1) % 2]];
                let id = format!("<{number}.{drill}@sender.example>");
                let Some(repeated) = bring(order, &id, number, &end) else { return };
                lock(&list).push(Sent { id, at: clock::now(), repeated });
                thread::sleep(REST);
            }
        });
        Sender { sent, ending, thread: Some(thread) }
    }

    /// What was acknowledged so far.
    pub(super) fn sent(&self) -> Vec<Sent> {
        lock(&self.sent).clone()
    }

    /// How many were acknowledged after an instant.
    pub(super) fn since(&self, instant: Timestamp) -> usize {
        lock(&self.sent).iter().filter(|sent| sent.at > instant).count()
    }

    /// Stops after the message that is under way.
    pub(super) fn stop(&mut self) -> Vec<Sent> {
        self.ending.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // A panic was told when it happened.
            let _ = thread.join();
        }
        self.sent()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Brings a message to one of two servers, however often that takes; whether it was sent twice. None
/// when told to end before it was taken.
fn bring(servers: [SocketAddr; 2], id: &str, number: usize, ending: &AtomicBool) -> Option<bool> {
    let mut repeated = false;
    while !ending.load(Ordering::SeqCst) {
        for server in servers {
            match submit(server, id, number) {
                Submitted::Taken => return Some(repeated),
                Submitted::Unknown => repeated = true,
                Submitted::NotTaken => {}
            }
        }
        thread::sleep(REST);
    }
    None
}

enum Submitted {
    /// 250 after the final dot.
    Taken,
    /// No final dot was sent, or it was refused.
    NotTaken,
    /// The connection broke after the final dot.
    Unknown,
}

/// One message in one SMTP session (RFC 5321), in lines as plain as can be.
fn submit(server: SocketAddr, id: &str, number: usize) -> Submitted {
    let before = || -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        expect(&mut stream, 220)?;
        let recipient = format!("RCPT TO:<{ACCOUNT}@{HILL}>");
        for (line, code) in [
            ("EHLO sender.example", 250),
            ("MAIL FROM:<ben@sender.example>", 250),
            (&recipient, 250),
            ("DATA", 354),
        ] {
            stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
            expect(&mut stream, code)?;
        }
        let head = format!(
            "From: ben@sender.example\r\nTo: {ACCOUNT}@{HILL}\r\nSubject: {number}\r\n\
             Message-ID: {id}\r\n\r\n"
        );
        let body = "Nothing of this may be lost.\r\n".repeat(number % 50 + 1);
        stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
        Ok(stream)
    };
    let Ok(mut stream) = before() else { return Submitted::NotTaken };
    let dot = stream.get_mut().write_all(b".\r\n").and_then(|()| reply(&mut stream));
    match dot {
        Ok(250) => Submitted::Taken,
        Ok(_) => Submitted::NotTaken,
        Err(_) => Submitted::Unknown,
    }
}

fn expect(stream: &mut BufReader<TcpStream>, code: u16) -> io::Result<()> {
    match reply(stream)? {
        found if found == code => Ok(()),
        found => Err(io::Error::other(format!("{found} instead of {code}"))),
    }
}

/// The code of a reply, which may have several lines.
fn reply(stream: &mut BufReader<TcpStream>) -> io::Result<u16> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let code = line.get(..3).and_then(|digits| digits.parse().ok());
        let code = code.ok_or_else(|| io::Error::other("no reply of a mail server"))?;
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(code);
        }
    }
}

/// What became of the mail.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) uk: u64,
    pub(super) us: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    /// So many the sender had to send again because no answer came.
    pub(super) repeated: u64,
    /// What is wrong, one sentence a message at most.
    pub(super) faults: Vec<String>,
}

/// Holds both accounts against what was acknowledged.
pub(super) fn tally(sent: &[Sent], uk: &Office, us: &Office) -> Result<Tally, Trouble> {
    let accounts = [(uk.site, uk.count()?), (us.site, us.count()?)];
    let mut tally = Tally { sent: sent.len() as u64, ..Tally::default() };
    for Sent { id, repeated, .. } in sent {
        tally.repeated += u64::from(*repeated);
        let found = accounts.each_ref().map(|(_, counts)| counts.get(id).copied().unwrap_or(0));
        tally.uk += u64::from(found[0] > 0);
        tally.us += u64::from(found[1] > 0);
        if found == [0, 0] {
            tally.lost += 1;
            tally.faults.push(format!("message {id} was acknowledged and is in neither account"));
            continue;
        }
        for ((site, _), found) in accounts.iter().zip(found) {
            if found == 0 {
                let what =
                    format!("message {id} was acknowledged and is missing in the {site}'s account");
                tally.faults.push(what);
            }
            if found > 1 && !repeated {
                tally.doubled += 1;
                tally.faults.push(format!("message {id} is {found} times in the {site}'s account"));
            }
        }
    }
    Ok(tally)
}

/// Removes one acknowledged message from every account, for the drill to notice.
pub(super) fn lose_one(sent: &[Sent], offices: [&Office; 2]) -> Result<(), Trouble> {
    let Some(Sent { id, .. }) = sent.first() else { return Ok(()) };
    for office in offices {
        for (path, _) in office.files()? {
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.lines().any(|line| line.ends_with(id.as_str())) {
                remove(&path)?;
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Trouble> {
    fs::remove_file(path).map_err(|error| Trouble::at("cannot remove", path, &error))
}
