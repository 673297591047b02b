//! A client's session on its connection.

use std::sync::Arc;
use std::time::Duration;

use super::remote::RemoteConfig;
use crate::leg::{Cause, Feed, Job, Outcome, Presence, Scope, Trouble};
use crate::net::{Deadline, Encryption, Link, LinkError};
use crate::proto::{Client, Next};
use crate::reply::Phase;

/// A connection that has been greeted and, where asked for, secured and logged in.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    pub(super) client: Client,
}

/// Work for a session that only opens, checks or asks.
struct Nothing;

impl Feed for Nothing {
    fn next(&mut self) -> Option<Arc<Job>> {
        None
    }

    fn committing(&mut self, _: &Job, _: &[usize]) -> bool {
        false
    }

    fn report(&mut self, _: &Job, _: usize, _: Outcome) {}
}

fn trouble(phase: Phase, error: &LinkError) -> Trouble {
    let cause = match error {
        LinkError::Tls(words) => Cause::Tls(words.clone()),
        other => Cause::Io(other.to_string()),
    };
    Trouble { phase, scope: Scope::Leg, cause }
}

impl Connection {
    /// Connects and goes as far as the first message may be sent.
    pub(super) fn open(config: &RemoteConfig) -> Result<Connection, Trouble> {
        let at = |phase| move |error: LinkError| trouble(phase, &error);
        let timeouts = &config.timeouts;
        let mut link =
            Link::connect(&config.address, timeouts.connect).map_err(at(Phase::Connect))?;
        let mut session = config.session.clone();
        session.starttls = matches!(config.encryption, Encryption::StartTls(_));
        let implicit = matches!(config.encryption, Encryption::Implicit(_));
        if let Encryption::Implicit(tls) = &config.encryption {
            link.secure(tls, timeouts.tls).map_err(at(Phase::StartTls))?;
        }
        let mut connection = Connection { link, client: Client::new(session, implicit) };
        connection.run(config, &mut Nothing)?;
        Ok(connection)
    }

    /// Delivers until `feed` has no more and all is answered.
    pub(super) fn run(
        &mut self,
        config: &RemoteConfig,
        feed: &mut dyn Feed,
    ) -> Result<(), Trouble> {
        let mut inbox = Vec::new();
        // A server that says a little at a time gains nothing: only whole answers renew this.
        let mut waited: Option<(Phase, u64, Deadline)> = None;
        loop {
            self.client.fill(feed);
            let phase = match self.client.next() {
                Next::Idle => return Ok(()),
                Next::Answer(phase) => phase,
                Next::Handshake => {
                    self.secure(config).inspect_err(|trouble| {
                        self.client.fail(trouble.clone(), feed);
                    })?;
                    continue;
                }
            };
            let answers = self.client.answers();
            let deadline = match waited {
                Some((of, after, deadline)) if (of, after) == (phase, answers) => deadline,
                _ => Deadline::after(config.timeouts.for_answer(phase)),
            };
            waited = Some((phase, answers, deadline));
            let block = config.timeouts.block;
            inbox.clear();
            let result =
                self.link.exchange(self.client.outbox(), &mut inbox, deadline, block, None);
            match result {
                Ok(crate::net::Exchanged::Received) => self.client.receive(&inbox, feed)?,
                // From here on the other end has its time.
                Ok(_) => waited = None,
                Err(error) => {
                    let trouble = trouble(phase, &error);
                    self.client.fail(trouble.clone(), feed);
                    return Err(trouble);
                }
            }
        }
    }

    fn secure(&mut self, config: &RemoteConfig) -> Result<(), Trouble> {
        if let Encryption::StartTls(tls) = &config.encryption {
            self.link
                .secure(tls, config.timeouts.tls)
                .map_err(|error| trouble(Phase::StartTls, &error))?;
        }
        self.client.secured();
        Ok(())
    }

    /// Whether an idle connection is still good. `long` is whether it has been idle so long that
    /// it is worth a round trip to be sure.
    pub(super) fn is_good(&mut self, config: &RemoteConfig, long: bool) -> bool {
        if !self.client.is_reusable() || self.link.is_disturbed() {
            return false;
        }
        if long {
            self.client.check();
            return self.run(config, &mut Nothing).is_ok();
        }
        true
    }

    /// Asks a peer relay for a message.
    pub(super) fn ask(&mut self, config: &RemoteConfig, job: &Job, recipient: usize) -> Presence {
        let Some(recipient) = job.envelope.recipients().get(recipient) else {
            return Presence::Unknown;
        };
        self.client.ask(job.id, &recipient.path);
        match self.run(config, &mut Nothing) {
            Ok(()) => self.client.answer().unwrap_or(Presence::Unknown),
            Err(_) => Presence::Unknown,
        }
    }

    pub(super) fn close(mut self) {
        self.client.quit();
        let Connection { link, mut client } = self;
        link.close(client.outbox(), Duration::from_secs(1));
    }
}
