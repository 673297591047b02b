//! `dual-mail queue`: what waits, and what to do about it. Talks to the relay that runs, or to the
//! spool when none does.

use std::fmt::Write;
use std::sync::Arc;

use clap::Subcommand;
use mail_dual::{LegName, QueuedMessage, Silent, SpoolId, State};
use serde_json::{Value, json};

use super::control::{Answer, Request, answer, ask};
use super::{Config, Failure, relay};
use crate::dates::Span;

/// Look at the queue and change it.
#[derive(Debug, Subcommand)]
pub enum Queue {
    /// List the messages that are not done.
    List {
        /// List those that are done and kept instead.
        #[arg(long)]
        done: bool,
    },
    /// Tell how the legs are and how much was done.
    Status,
    /// Show one message's envelope, header and progress.
    Show {
        /// The message.
        id: SpoolId,
    },
    /// Keep messages from being delivered.
    Hold {
        /// The messages.
        #[arg(required = true)]
        ids: Vec<SpoolId>,
    },
    /// Let messages go on.
    Release {
        /// The messages.
        #[arg(required = true)]
        ids: Vec<SpoolId>,
    },
    /// Try everything now, whatever it waits for.
    Flush {
        /// Only what is for this leg.
        #[arg(long)]
        leg: Option<LegName>,
    },
    /// Deliver messages once more, whatever became of them: for an account that was restored from
    /// an old copy.
    Resubmit {
        /// The messages.
        ids: Vec<SpoolId>,
        /// All that were accepted in this span until now, as 36h.
        #[arg(long, conflicts_with = "ids", required_unless_present = "ids")]
        since: Option<Span>,
        /// Only through these legs.
        #[arg(long = "leg")]
        legs: Vec<LegName>,
    },
}

/// What to print.
#[derive(Debug, Default)]
pub struct Told {
    /// For people.
    pub text: String,
    /// For machines.
    pub json: Value,
}

struct Relay<'a> {
    config: &'a Config,
    resting: Option<mail_dual::Engine>,
}

impl Relay<'_> {
    fn ask(&mut self, request: Request) -> Result<Answer, Failure> {
        let reply = match &self.resting {
            Some(engine) => answer(&engine.handle(), request),
            None => match ask(&self.config.control_socket(), &request)? {
                Some(reply) => reply,
                None => {
                    let engine = relay::open(self.config, Arc::new(Silent))?;
                    let reply = answer(&engine.handle(), request);
                    self.resting = Some(engine);
                    reply
                }
            },
        };
        match reply {
            Answer::Sorry { why } => Err(Failure::failed(why)),
            reply => Ok(reply),
        }
    }

    fn all(&mut self) -> Result<Vec<QueuedMessage>, Failure> {
        let mut all: Vec<QueuedMessage> = Vec::new();
        loop {
            let after = all.last().map(|message| message.id);
            match self.ask(Request::List { after })? {
                Answer::Queue { messages } if !messages.is_empty() => all.extend(messages),
                _ => return Ok(all),
            }
        }
    }

    fn kept(&mut self) -> Result<Vec<(SpoolId, mail_dual::Timestamp)>, Failure> {
        match self.ask(Request::Kept)? {
            Answer::Kept { messages } => Ok(messages),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::failed(format!("the relay answered something else: {answer:?}"))
}

impl Queue {
    /// Does it.
    ///
    /// # Errors
    ///
    /// One sentence on what to do.
    pub fn run(&self, config: &Config) -> Result<Told, Failure> {
        let mut relay = Relay { config, resting: None };
        let told = self.tell(&mut relay)?;
        if let Some(engine) = relay.resting {
            engine.shutdown().map_err(Failure::failed)?;
        }
        Ok(told)
    }

    fn tell(&self, relay: &mut Relay<'_>) -> Result<Told, Failure> {
        let mut told = Told::default();
        match self {
            Queue::List { done: false } => {
                let messages = relay.all()?;
                for message in &messages {
                    let _ = writeln!(told.text, "{}", line(message));
                }
                told.json = json!({ "format": 1, "messages": messages });
            }
            Queue::List { done: true } => {
                let kept = relay.kept()?;
                for (id, at) in &kept {
                    let _ = writeln!(told.text, "{id} done {at}");
                }
                told.json = json!({ "format": 1, "done": kept });
            }
            Queue::Status => self.status(relay, &mut told)?,
            Queue::Show { id } => self.show(*id, relay, &mut told)?,
            Queue::Hold { ids } => {
                told.count("held", relay.ask(Request::Hold { ids: ids.clone() })?)?;
            }
            Queue::Release { ids } => {
                told.count("released", relay.ask(Request::Release { ids: ids.clone() })?)?;
            }
            Queue::Flush { leg } => {
                told.count("due now", relay.ask(Request::Flush { leg: leg.clone() })?)?;
            }
            Queue::Resubmit { ids, since, legs } => {
                let ids = match since {
                    Some(since) => chosen(relay, *since)?,
                    None => ids.clone(),
                };
                let request = Request::Resubmit { ids, legs: legs.clone() };
                told.count("resubmitted", relay.ask(request)?)?;
            }
        }
        Ok(told)
    }

    fn status(&self, relay: &mut Relay<'_>, told: &mut Told) -> Result<(), Failure> {
        let reply = relay.ask(Request::Status)?;
        let Answer::Status { queued, legs, stats } = reply else { return Err(unexpected(&reply)) };
        let running = relay.resting.is_none();
        let _ = writeln!(
            told.text,
            "the relay {}; {queued} queued",
            if running { "runs" } else { "does not run" }
        );
        for leg in &legs {
            let state = match leg.away_until {
                Some(until) => format!("away, tried again at {until}"),
                None => "there".to_owned(),
            };
            let _ = writeln!(told.text, "leg {}: {state}; {} waiting", leg.name, leg.waiting);
            if let Some(trouble) = &leg.trouble {
                let _ = writeln!(told.text, "    {trouble}");
            }
        }
        told.json = json!({ "format": 1, "running": running, "queued": queued, "legs": legs, "stats": stats });
        Ok(())
    }

    fn show(&self, id: SpoolId, relay: &mut Relay<'_>, told: &mut Told) -> Result<(), Failure> {
        let reply = relay.ask(Request::Show { id })?;
        let Answer::Message { progress, sender, recipients, header } = reply else {
            return Err(unexpected(&reply));
        };
        let _ = writeln!(told.text, "{id} from <{sender}>");
        for (number, recipient) in recipients.iter().enumerate() {
            let _ = writeln!(told.text, "  {}: <{recipient}>", number + 1);
        }
        match &progress {
            None => told.text.push_str("  done\n"),
            Some(message) => {
                for leg in &message.legs {
                    for recipient in &leg.recipients {
                        let words = recipient.words.as_deref().unwrap_or_default();
                        let (number, state) = (recipient.number + 1, shown(recipient.state));
                        let _ = writeln!(told.text, "  {}: {number} {state} {words}", leg.leg);
                    }
                }
            }
        }
        // A sender must not move our terminal's cursor.
        let safe = header.replace(|c: char| c.is_control() && c != '\n' && c != '\t', "");
        let _ = writeln!(told.text, "\n{safe}");
        told.json = json!({
            "format": 1, "id": id, "sender": sender, "recipients": recipients,
            "progress": progress, "header": header,
        });
        Ok(())
    }
}

impl Told {
    fn count(&mut self, what: &str, answer: Answer) -> Result<(), Failure> {
        let Answer::Count { count } = answer else { return Err(unexpected(&answer)) };
        self.text = format!("{count} {what}\n");
        self.json = json!({ "format": 1, "count": count });
        Ok(())
    }
}

/// Those that were accepted lately, done or not.
#[expect(clippy::disallowed_methods, reason = "a span until now needs to know when that is")]
fn chosen(relay: &mut Relay<'_>, since: Span) -> Result<Vec<SpoolId>, Failure> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let from = now.unwrap_or_default().as_millis().saturating_sub(u128::from(since.0) * 1000);
    let mut ids: Vec<SpoolId> = relay.kept()?.into_iter().map(|(id, _)| id).collect();
    ids.extend(relay.all()?.into_iter().map(|message| message.id));
    ids.retain(|id| u128::from(id.time().as_millis()) >= from);
    Ok(ids)
}

fn shown(state: State) -> &'static str {
    match state {
        State::Pending => "waits",
        State::InDoubt => "is in doubt",
        State::Delivered => "has it",
        State::Failed => "refuses it",
        State::Expired => "was given up",
        State::Reported => "was reported",
    }
}

fn line(message: &QueuedMessage) -> String {
    let mut line = format!("{} {} {:>9}", message.id, message.accepted, message.size);
    for leg in &message.legs {
        let open = leg.recipients.iter().find(|recipient| recipient.state != State::Delivered);
        let state = open.map_or("has it", |recipient| shown(recipient.state));
        let _ = write!(line, "  {} {state}", leg.leg);
        if let Some(words) = open.and_then(|recipient| recipient.words.as_ref()) {
            let _ = write!(line, " ({words})");
        }
    }
    if message.held {
        line.push_str("  held");
    }
    line
}
