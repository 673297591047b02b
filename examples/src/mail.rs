//! `dual-mail`: the tables of its configuration, and its commands.

pub mod control;
pub mod network;
pub mod probe;
pub mod queue;
pub mod relay;
pub mod send;
mod tables;

use std::fmt;
use std::path::{Path, PathBuf};

use dns_failover::SiteId;
use mail_dual::{AckPolicy, LegSetting, Settings};

use crate::capped;
use crate::network::Network;

pub use self::tables::{LegTable, ListenTable, MailTables, RetryTable};

/// How `dual-mail` ends when something went wrong.
#[derive(Debug)]
pub struct Failure {
    /// The exit code: 1 failed, 2 wrong configuration or usage, 3 some recipients could not be
    /// reached, 75 try again later (`EX_TEMPFAIL` of sysexits.h).
    pub code: u8,
    /// One sentence that says what to do.
    pub sentence: String,
}

impl Failure {
    /// Something failed.
    pub fn failed(sentence: impl fmt::Display) -> Failure {
        Failure { code: 1, sentence: sentence.to_string() }
    }

    /// The configuration or the command line is wrong.
    pub fn usage(sentence: impl fmt::Display) -> Failure {
        Failure { code: 2, sentence: sentence.to_string() }
    }

    /// It may work later.
    pub fn temporary(sentence: impl fmt::Display) -> Failure {
        Failure { code: 75, sentence: sentence.to_string() }
    }
}

/// A configuration that was read and checked, nothing of which has been put to work.
#[derive(Debug)]
pub struct Config {
    tables: MailTables,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// One sentence on what to change, with the line where it is known.
    pub fn read(path: &Path) -> Result<Config, Failure> {
        Config::read_at(path, None)
    }

    /// Reads a file: tables of its own, or those of `here` in a `network.toml`.
    ///
    /// # Errors
    ///
    /// One sentence on what to change, with the line where it is known; all of them of a
    /// `network.toml`.
    pub fn read_at(path: &Path, here: Option<SiteId>) -> Result<Config, Failure> {
        let text = capped::text(path, capped::CONFIGURATION).map_err(|error| {
            let path = path.display();
            Failure::usage(format!("cannot read the configuration {path}: {error}"))
        })?;
        if !is_network(&text) {
            return Config::parse(&text, &path.display().to_string());
        }
        let mut network = Network::parse(&text, path).map_err(Failure::usage)?;
        let which = "it is about both servers: say --here uk or --here us";
        let here = here.ok_or_else(|| Failure::usage(format!("{}: {which}", path.display())))?;
        let none = format!("there is no [mail.{here}]; examples/network.toml shows what is in it");
        let tables = network.mail.remove(&here);
        let tables = tables.ok_or_else(|| Failure::usage(format!("{}: {none}", path.display())))?;
        Ok(Config { tables })
    }

    /// Reads a text that is called `name`.
    ///
    /// # Errors
    ///
    /// One sentence on what to change, with the line where it is known.
    pub fn parse(text: &str, name: &str) -> Result<Config, Failure> {
        let tables: MailTables = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
            let place = line.map_or(String::new(), |line| format!(", line {line}"));
            Failure::usage(format!("{name}{place}: {}", error.message().trim()))
        })?;
        tables.check().map_err(|why| Failure::usage(format!("{name}: {why}")))?;
        Ok(Config { tables })
    }

    /// The tables as they were written.
    pub fn tables(&self) -> &MailTables {
        &self.tables
    }

    /// The folder of the spool.
    pub fn spool(&self) -> &Path {
        &self.tables.spool
    }

    /// Where the relay listens for `queue`.
    pub fn control_socket(&self) -> PathBuf {
        self.tables.spool.join("control")
    }

    /// How the engine is to behave.
    pub fn settings(&self) -> Settings {
        let tables = &self.tables;
        let mut settings = Settings::new(&tables.hostname, tables.routing());
        let has_peer = !settings.routes.peers().is_empty();
        let usual = if has_peer { AckPolicy::SpooledAndPeer } else { AckPolicy::Spooled };
        settings.ack = tables.ack.unwrap_or(usual);
        settings.bounce = tables.bounce;
        settings.reports = tables.reports.clone();
        settings.ack_timeout = tables.ack_timeout.duration();
        settings.keep_done = tables.keep_done.duration();
        settings.largest = tables.largest;
        settings.reserve = tables.reserve;
        settings.retry = tables.retry.policy();
        settings
    }

    /// The ways to the accounts.
    ///
    /// # Errors
    ///
    /// One sentence on what to change, as for a key that cannot be read.
    pub fn legs(&self) -> Result<Vec<LegSetting>, Failure> {
        self.tables.leg.iter().map(|leg| network::leg(leg, &self.tables.hostname)).collect()
    }
}

/// Whether a text is a `network.toml`, right or wrong.
fn is_network(text: &str) -> bool {
    let begins = |line: &str| line.starts_with("[servers") || line.starts_with("[[domains");
    text.lines().any(begins)
}
