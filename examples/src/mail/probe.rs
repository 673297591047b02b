//! `dual-mail probe`: can each leg be used at all?

use std::fmt::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mail_dual::{
    Clock, Envelope, Feed, ForwardPath, Job, LegSetting, Outcome, Presence, RawMessage, Received,
    ReversePath, SpoolId, SystemClock, With,
};
use serde_json::{Value, json};

use super::queue::Told;
use super::{Config, Failure};

/// Try whether each leg can be used: its address, its name, its greeting, the log-in.
#[derive(Debug, clap::Args)]
pub struct Probe {
    /// Send a test message to this address through each leg, and look for it there where the leg
    /// can be asked.
    #[arg(long, value_name = "ADDRESS")]
    send: Option<String>,
    /// The sender of that message; empty for nobody.
    #[arg(long, default_value = "")]
    from: String,
}

struct One {
    job: Option<Arc<Job>>,
    outcome: Option<Outcome>,
}

impl Feed for One {
    fn next(&mut self) -> Option<Arc<Job>> {
        self.job.take()
    }

    fn committing(&mut self, _job: &Job, _recipients: &[usize]) -> bool {
        true
    }

    fn report(&mut self, _job: &Job, _recipient: usize, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

/// What is stored must end with what was sent; the last server may put fields on top.
fn judge(
    stored: Option<&[u8]>,
    job: &Job,
    mut lines: Vec<String>,
) -> (Vec<String>, Option<String>) {
    match stored {
        Some(bytes) if bytes.ends_with(job.message.as_bytes()) => {
            lines.push("stores it byte for byte".to_owned());
        }
        Some(_) => {
            let words = "it changes what it stores, so that signatures no longer hold there; look for a filter that rewrites messages";
            return (lines, Some(words.to_owned()));
        }
        None => {}
    }
    (lines, None)
}

impl Probe {
    /// Tries all legs; the second is whether all can be used.
    ///
    /// # Errors
    ///
    /// One sentence on what to do, when nothing could be tried.
    pub fn run(&self, config: &Config) -> Result<(Told, bool), Failure> {
        let mut told = Told::default();
        let mut results: Vec<Value> = Vec::new();
        let mut all = true;
        for leg in config.legs()? {
            let (lines, trouble) = match leg.leg.probe() {
                Ok(lines) => self.deliver(&leg, config, lines)?,
                Err(trouble) => (Vec::new(), Some(trouble.to_string())),
            };
            all &= trouble.is_none();
            let state = if trouble.is_none() { "can be used" } else { "cannot be used" };
            let _ = writeln!(told.text, "leg {} {state}", leg.name);
            for line in lines.iter().chain(&trouble) {
                let _ = writeln!(told.text, "    {line}");
            }
            results.push(json!({
                "leg": leg.name, "usable": trouble.is_none(), "steps": lines, "trouble": trouble,
            }));
            leg.leg.close_idle();
        }
        told.json = json!({ "format": 1, "legs": results });
        Ok((told, all))
    }

    /// Sends the test message, when one was asked for.
    fn deliver(
        &self,
        leg: &LegSetting,
        config: &Config,
        mut lines: Vec<String>,
    ) -> Result<(Vec<String>, Option<String>), Failure> {
        let Some(to) = &self.send else { return Ok((lines, None)) };
        let job = Arc::new(self.job(to, &leg.name.to_string(), config)?);
        let mut one = One { job: Some(Arc::clone(&job)), outcome: None };
        leg.leg.deliver(&mut one);
        let trouble = match one.outcome {
            Some(Outcome::Delivered(reply)) => {
                lines.push(format!("takes a message for {to}: {reply}"));
                None
            }
            Some(
                Outcome::Deferred(trouble) | Outcome::Failed(trouble) | Outcome::InDoubt(trouble),
            ) => Some(trouble.to_string()),
            None => Some("it said nothing about the message".to_owned()),
        };
        if trouble.is_some() {
            return Ok((lines, trouble));
        }
        // A mailbox may need a moment to show what was put into it.
        for _ in 0..10 {
            match leg.leg.contains(&job, 0) {
                Presence::Present => {
                    lines.push("holds it, under our name for it".to_owned());
                    return Ok(judge(leg.leg.stored(&job, 0).as_deref(), &job, lines));
                }
                Presence::Unknown => {
                    lines.push(
                        "cannot be asked whether it holds it: a message in doubt is sent again"
                            .to_owned(),
                    );
                    return Ok((lines, None));
                }
                Presence::Absent => thread::sleep(Duration::from_millis(300)),
            }
        }
        Ok((lines, Some("it took a message that is not to be found there; look whether a filter or another account got it".to_owned())))
    }

    fn job(&self, to: &str, leg: &str, config: &Config) -> Result<Job, Failure> {
        let path = ForwardPath::new(to)
            .map_err(|error| Failure::usage(format!("{to:?} cannot be used: {error}")))?;
        let sender = ReversePath::new(&self.from)
            .map_err(|error| Failure::usage(format!("{:?} cannot be used: {error}", self.from)))?;
        let host = &config.tables().hostname;
        let now = SystemClock.now();
        let id = SpoolId::new(now, SystemClock.random());
        let text = format!(
            "From: <postmaster@{host}>\r\nTo: <{path}>\r\nSubject: dual-mail probe of leg {leg}\r\n\
             Date: {}\r\nMessage-ID: <{id}@{host}>\r\nAuto-Submitted: auto-generated\r\n\r\n\
             This message shows that the leg works. It can be deleted.\r\n\
             .\r\n..two dots above and before this\r\n",
            now.to_rfc5322()
        );
        let message = RawMessage::new(text).map_err(Failure::failed)?;
        let message = message.with_received(&Received {
            helo: None,
            peer: None,
            by: host,
            with: With::Local,
            smtputf8: false,
            id,
            recipient: Some(&path),
            at: now,
        });
        let envelope = Envelope::new(sender, [path]).map_err(Failure::failed)?;
        Ok(Job { id, envelope, message, attempt: 0 })
    }
}
