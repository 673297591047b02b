//! `dual-mail send`: hands one message to the relay, as sendmail(8) does.

use std::io::{self, Read};
use std::sync::Arc;

use mail_dual::proto::{ClientConfig, Dialect};
use mail_dual::{
    Encryption, Envelope, Feed, ForwardPath, Job, Leg, Outcome, RawMessage, RemoteConfig,
    RemoteLeg, ReversePath, SpoolId, Timestamp,
};

use super::tables::{Protocol, TlsMode};
use super::{Config, Failure};

/// Hand one message, from standard input, to the relay.
///
/// Exit codes: 0 the relay has it, 1 it was refused, 3 it was refused for some of the recipients,
/// 75 not now, try again later.
#[derive(Debug, clap::Args)]
pub struct Send {
    /// The sender, to whom a failure is reported; empty for nobody.
    #[arg(short = 'f', long = "from", default_value = "")]
    sender: String,
    /// Whom it is for.
    #[arg(required = true)]
    recipients: Vec<String>,
}

/// One message, and what became of it.
struct One {
    job: Option<Arc<Job>>,
    outcomes: Vec<(usize, Outcome)>,
}

impl Feed for One {
    fn next(&mut self) -> Option<Arc<Job>> {
        self.job.take()
    }

    fn committing(&mut self, _job: &Job, _recipients: &[usize]) -> bool {
        true
    }

    fn report(&mut self, _job: &Job, recipient: usize, outcome: Outcome) {
        self.outcomes.push((recipient, outcome));
    }
}

impl Send {
    /// Does it.
    ///
    /// # Errors
    ///
    /// One sentence on what to do.
    pub fn run(&self, config: &Config) -> Result<(), Failure> {
        let leg = relay(config)?;
        let sender = ReversePath::new(&self.sender).map_err(|error| {
            Failure::usage(format!("the sender {:?} cannot be used: {error}", self.sender))
        })?;
        let mut recipients = Vec::new();
        for text in &self.recipients {
            let path = ForwardPath::new(text);
            recipients.push(path.map_err(|error| {
                Failure::usage(format!("the recipient {text:?} cannot be used: {error}"))
            })?);
        }
        let envelope = Envelope::new(sender, recipients).map_err(Failure::usage)?;
        let message = read(config.tables().largest)?;
        let envelope = envelope.announcing(&message);
        // The relay gives it a name of its own.
        let id = SpoolId::new(Timestamp::default(), 0);
        let job = Some(Arc::new(Job { id, envelope, message, attempt: 0 }));
        let mut one = One { job, outcomes: Vec::new() };
        leg.deliver(&mut one);
        leg.close_idle();
        self.judge(one.outcomes)
    }

    fn judge(&self, outcomes: Vec<(usize, Outcome)>) -> Result<(), Failure> {
        let mut refused = Vec::new();
        let mut later = None;
        let count = outcomes.len();
        for (recipient, outcome) in outcomes {
            let to = &self.recipients[recipient];
            match outcome {
                Outcome::Delivered(_) => {}
                Outcome::Failed(trouble) => refused.push(format!("<{to}>: {trouble}")),
                Outcome::Deferred(trouble) | Outcome::InDoubt(trouble) => {
                    later = Some(format!("<{to}>: {trouble}; try again later"));
                }
            }
        }
        match (later, refused.len()) {
            (Some(later), _) => Err(Failure::temporary(later)),
            (None, 0) => Ok(()),
            (None, some) => {
                let code = if some == count { 1 } else { 3 };
                Err(Failure { code, sentence: format!("refused: {}", refused.join("; ")) })
            }
        }
    }
}

fn read(largest: u64) -> Result<RawMessage, Failure> {
    let mut bytes = Vec::new();
    io::stdin()
        .take(largest + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::temporary(format!("cannot read the message: {error}")))?;
    if bytes.len() as u64 > largest {
        return Err(Failure::failed(format!("the message has more than {largest} bytes")));
    }
    RawMessage::from_local(&bytes)
        .map_err(|error| Failure::failed(format!("the message cannot be sent: {error}")))
}

/// The way to the relay: the first listener that this machine reaches without a certificate.
fn relay(config: &Config) -> Result<RemoteLeg, Failure> {
    let tables = config.tables();
    let usable = tables.listen.iter().find(|listen| {
        let plain = listen.tls.is_none_or(|tls| tls == TlsMode::None);
        plain && listen.protocol != Protocol::Peer && listen.address.is_local()
    });
    let Some(listen) = usable else {
        return Err(Failure::usage(
            "the relay has no listener for this machine; add a [[listen]] without tls at a unix socket or 127.0.0.1",
        ));
    };
    let dialect = match listen.protocol {
        Protocol::Smtp => Dialect::Smtp,
        _ => Dialect::Lmtp,
    };
    let session = ClientConfig::new(dialect, &tables.hostname);
    Ok(RemoteLeg::new(RemoteConfig::new(listen.address.clone(), Encryption::None, session)))
}
