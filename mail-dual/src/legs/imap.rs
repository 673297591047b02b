//! Looks into an account by IMAP: the few commands that a question takes (RFC 9051).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::envelope::ForwardPath;
use crate::leg::{Cause, Job, Presence, Scope, Trouble};
use crate::net::{Address, Deadline, Encryption, Exchanged, Link, LinkError, now};
use crate::proto::{Credentials, Outbox, Timeouts};
use crate::reply::Phase;

/// The longest line of an answer that is read.
const LONGEST_LINE: usize = 64 * 1024;
/// The most lines of one answer.
const MOST_LINES: usize = 10_000;
/// So much may a server put on top of a message.
const MOST_ON_TOP: usize = 64 * 1024;
/// How long a session is kept for the next question. Many come together, when a connection broke
/// with many messages on their way.
const KEEP: Duration = Duration::from_secs(30);
/// The most sessions that are kept.
const MOST_KEPT: usize = 8;

/// Where and how to look.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ImapConfig {
    /// Where the server is.
    pub address: Address,
    /// Passwords are sent without encryption only to this machine itself.
    pub encryption: Encryption,
    /// Whom to log in as; `{recipient}` and `{local}` in the name stand for the address that a
    /// message is for and the part of it before the `@`, as in Dovecot's `{recipient}*master`.
    pub credentials: Credentials,
    /// The folders to look in. A message in none of them counts as absent, so that every folder
    /// that a filter may put new mail into belongs here.
    pub folders: Vec<String>,
    /// How long each step may take.
    pub timeouts: Timeouts,
}

impl ImapConfig {
    /// Looks into INBOX.
    pub fn new(address: Address, encryption: Encryption, credentials: Credentials) -> ImapConfig {
        let timeouts = Timeouts { command: Duration::from_secs(60), ..Timeouts::default() };
        let folders = vec!["INBOX".to_owned()];
        ImapConfig { address, encryption, credentials, folders, timeouts }
    }
}

/// An account that can be asked whether a message is in it. Clones share their sessions.
#[derive(Debug, Clone)]
pub struct ImapMailbox {
    config: Arc<ImapConfig>,
    kept: Arc<Mutex<Vec<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    user: String,
    session: Session,
    used: Instant,
}

/// One connection.
#[derive(Debug)]
struct Session {
    config: Arc<ImapConfig>,
    link: Link,
    outbox: Outbox,
    inbox: Vec<u8>,
    number: u32,
}

impl ImapMailbox {
    /// An account.
    pub fn new(config: ImapConfig) -> ImapMailbox {
        ImapMailbox { config: Arc::new(config), kept: Arc::default() }
    }

    /// Whether the account of that recipient has the message, known by our id in its Received
    /// field.
    pub fn contains(&self, job: &Job, recipient: usize) -> Presence {
        let Some(recipient) = job.envelope.recipients().get(recipient) else {
            return Presence::Unknown;
        };
        let user = self.user(&recipient.path);
        let mut kept = self.take(&user);
        loop {
            let old = kept.is_some();
            let session = kept.take().map_or_else(|| self.log_in(&user), Ok);
            let answer =
                session.and_then(|mut session| Ok((session.look_for(job)?.is_some(), session)));
            match answer {
                Ok((found, session)) => {
                    self.keep(user, session);
                    return if found { Presence::Present } else { Presence::Absent };
                }
                // The server may have closed it in the meantime.
                Err(_) if old => {}
                Err(_) => return Presence::Unknown,
            }
        }
    }

    /// The message as it is in that account; none when it is not there or cannot be read.
    pub fn stored(&self, job: &Job, recipient: usize) -> Option<Vec<u8>> {
        let user = self.user(&job.envelope.recipients().get(recipient)?.path);
        let mut session = self.log_in(&user).ok()?;
        let number = session.look_for(job).ok()??;
        let message = session.fetch(number, job.message.len().saturating_add(MOST_ON_TOP)).ok();
        session.log_out();
        message
    }

    fn user(&self, path: &ForwardPath) -> String {
        let pattern = self.config.credentials.user();
        pattern.replace("{recipient}", path.as_str()).replace("{local}", path.local_part())
    }

    fn log_in(&self, user: &str) -> Result<Session, Trouble> {
        let mut session = Session::open(&self.config)?;
        session.log_in(user)?;
        Ok(session)
    }

    fn take(&self, user: &str) -> Option<Session> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| now().saturating_duration_since(kept.used) < KEEP);
        let at = kept.iter().position(|kept| kept.user == user)?;
        Some(kept.remove(at).session)
    }

    fn keep(&self, user: String, session: Session) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_KEPT {
            kept.remove(0);
        }
        kept.push(Kept { user, session, used: now() });
    }

    /// Closes the sessions that are kept for later questions.
    pub fn close_idle(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the server can be reached and, where the name does not depend on the recipient,
    /// logged in to.
    ///
    /// # Errors
    /// The step that failed.
    pub fn probe(&self) -> Result<String, Trouble> {
        let (address, user) = (&self.config.address, self.config.credentials.user());
        if user.contains('{') {
            Session::open(&self.config)?.log_out();
            return Ok(format!("reached the IMAP server at {address}"));
        }
        self.log_in(user)?.log_out();
        Ok(format!("logged in to the IMAP server at {address}"))
    }
}

fn trouble(phase: Phase, cause: Cause) -> Trouble {
    Trouble { phase, scope: Scope::Leg, cause }
}

fn lost(phase: Phase) -> impl Fn(LinkError) -> Trouble {
    move |error| match error {
        LinkError::Tls(words) => trouble(phase, Cause::Tls(words)),
        other => trouble(phase, Cause::Io(format!("IMAP: {other}"))),
    }
}

/// A quoted string; what cannot be in one is refused, so that no word ends a command.
fn quoted(text: &str) -> Result<String, Trouble> {
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        let words = "a name or password for IMAP holds more than printable ASCII";
        return Err(trouble(Phase::Auth, Cause::Io(words.to_owned())));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

impl Session {
    fn open(config: &Arc<ImapConfig>) -> Result<Session, Trouble> {
        let timeouts = &config.timeouts;
        let mut link =
            Link::connect(&config.address, timeouts.connect).map_err(lost(Phase::Connect))?;
        if let Encryption::Implicit(tls) = &config.encryption {
            link.secure(tls, timeouts.tls).map_err(lost(Phase::StartTls))?;
        }
        let mut session = Session {
            config: config.clone(),
            link,
            outbox: Outbox::default(),
            inbox: Vec::new(),
            number: 0,
        };
        let greeting = session.line()?;
        if !greeting.starts_with("* OK") {
            let words = format!("the IMAP server greets with {:?}", shortened(&greeting));
            return Err(trouble(Phase::Greeting, Cause::Io(words)));
        }
        if let Encryption::StartTls(tls) = &config.encryption {
            session.command("STARTTLS")?;
            if !session.inbox.is_empty() {
                let words = "the IMAP server sent more behind its answer to STARTTLS";
                return Err(trouble(Phase::StartTls, Cause::Tls(words.to_owned())));
            }
            session.link.secure(tls, timeouts.tls).map_err(lost(Phase::StartTls))?;
        }
        Ok(session)
    }

    fn log_in(&mut self, user: &str) -> Result<(), Trouble> {
        let config = self.config.clone();
        if matches!(config.encryption, Encryption::None) && !config.address.is_local() {
            let words = "a password is sent over TLS only; configure TLS for IMAP";
            return Err(trouble(Phase::Auth, Cause::Io(words.to_owned())));
        }
        let password = zeroize::Zeroizing::new(quoted(config.credentials.password())?);
        let command = zeroize::Zeroizing::new(format!("LOGIN {} {}", quoted(user)?, *password));
        self.command(&command).map(drop)
    }

    /// The number, in the folder that is then open, of a message with our id.
    fn look_for(&mut self, job: &Job) -> Result<Option<u32>, Trouble> {
        let key = quoted(&format!("id {}", job.id))?;
        for folder in &self.config.clone().folders {
            self.command(&format!("EXAMINE {}", quoted(folder)?))?;
            for line in self.command(&format!("UID SEARCH HEADER Received {key}"))? {
                let mut words = line.split_ascii_whitespace();
                let search = words.next() == Some("*")
                    && words.next().is_some_and(|word| word.eq_ignore_ascii_case("SEARCH"));
                if search && let Some(number) = words.next().and_then(|word| word.parse().ok()) {
                    return Ok(Some(number));
                }
            }
        }
        Ok(None)
    }

    /// A message of the folder that is open, when it has at most so many bytes.
    fn fetch(&mut self, number: u32, most: usize) -> Result<Vec<u8>, Trouble> {
        let tag = self.send(&format!("UID FETCH {number} BODY.PEEK[]"));
        let mut message = None;
        for _ in 0..MOST_LINES {
            let line = self.line()?;
            if line.starts_with(&tag) {
                break;
            }
            // A literal (RFC 9051 §4.3): its length stands at the end of the line before it.
            let length = line.strip_suffix('}').and_then(|line| line.rsplit_once('{'));
            match length.and_then(|(_, length)| length.parse().ok()) {
                Some(length) if length <= most && message.is_none() => {
                    message = Some(self.bytes(length)?);
                }
                Some(_) => break,
                None => {}
            }
        }
        let words = "the IMAP server does not give the message that it has";
        message.ok_or_else(|| trouble(Phase::Auth, Cause::Io(words.to_owned())))
    }

    fn log_out(&mut self) {
        // The answer does not matter any more.
        let _ = self.command("LOGOUT");
    }

    /// Sends a command; what the line that ends its answer begins with.
    fn send(&mut self, command: &str) -> String {
        self.number += 1;
        let tag = format!("a{} ", self.number);
        self.outbox.push(tag.as_bytes());
        self.outbox.push(command.as_bytes());
        self.outbox.push(b"\r\n");
        tag
    }

    /// Sends a command and collects the lines before its OK.
    fn command(&mut self, command: &str) -> Result<Vec<String>, Trouble> {
        let tag = self.send(command);
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if let Some(answer) = line.strip_prefix(&tag) {
                if answer.to_ascii_uppercase().starts_with("OK") {
                    return Ok(lines);
                }
                // The command itself may hold the password.
                let verb = command.split(' ').next().unwrap_or_default();
                let words = format!("IMAP {verb}: {}", shortened(answer));
                return Err(trouble(Phase::Auth, Cause::Io(words)));
            }
            if lines.len() >= MOST_LINES {
                let words = "the IMAP server does not come to an end".to_owned();
                return Err(trouble(Phase::Auth, Cause::Io(words)));
            }
            lines.push(line);
        }
    }

    fn line(&mut self) -> Result<String, Trouble> {
        let deadline = Deadline::after(self.config.timeouts.command);
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.inbox) {
                let line: Vec<u8> = self.inbox.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(line.trim_ascii_end()).into_owned());
            }
            if self.inbox.len() > LONGEST_LINE {
                let words = "the IMAP server's line is too long".to_owned();
                return Err(trouble(Phase::Auth, Cause::Io(words)));
            }
            self.wait(deadline)?;
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Trouble> {
        let deadline = Deadline::after(self.config.timeouts.command);
        while self.inbox.len() < length {
            self.wait(deadline)?;
        }
        Ok(self.inbox.drain(..length).collect())
    }

    /// Sends what is to be sent, or waits for more.
    fn wait(&mut self, deadline: Deadline) -> Result<(), Trouble> {
        let block = self.config.timeouts.block;
        match self.link.exchange(&mut self.outbox, &mut self.inbox, deadline, block, None) {
            Ok(Exchanged::Received | Exchanged::Sent | Exchanged::Rung) => Ok(()),
            Err(error) => Err(lost(Phase::Auth)(error)),
        }
    }
}

fn shortened(text: &str) -> String {
    crate::text::printable_within(text.as_bytes(), 200)
}
