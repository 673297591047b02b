//! A drop-in for lettre's transports: whoever sends with lettre gets dual delivery by changing
//! one line.

use std::fmt;
use std::sync::Arc;

use lettre::Transport;
use lettre::address::Envelope as LettreEnvelope;

use crate::accept::{Accept, Arrival, Port, Receipt, Submission};
use crate::envelope::{BadEnvelope, Envelope};
use crate::message::{BadMessage, RawMessage};
use crate::reply::Reply;

/// Hands messages over to an engine. `Ok` means that a message is kept, as durably as the
/// acknowledgement policy says, and that every leg will get it.
///
/// Nothing is ever reported as sent because somebody stopped waiting: what this has not returned
/// for is either kept or not, and sending it again is what a caller does who was not told.
///
/// ```
/// use std::sync::Arc;
/// use mail_dual::lettre::Transport;
/// use mail_dual::lettre::address::Envelope;
/// use mail_dual::{DualTransport, Engine, MemSpool, Route, RoutingTable, Settings, Silent, SystemClock};
///
/// let routes = RoutingTable::new(
///     vec![Route { recipients: vec!["*@example.org".parse()?], legs: vec!["uk".parse()?] }],
///     [],
/// );
/// let (engine, _) = Engine::open(
///     Settings::new("app.example.net", routes),
///     Vec::new(),
///     Arc::new(MemSpool::new()),
///     Arc::new(SystemClock),
///     Arc::new(Silent),
/// )?;
/// // In place of an SmtpTransport:
/// let mailer = DualTransport::new(Arc::new(engine.handle()));
///
/// let envelope = Envelope::new(Some("app@example.net".parse()?), vec!["bob@example.org".parse()?])?;
/// mailer.send_raw(&envelope, b"Subject: hello\r\n\r\nHow are you?\r\n")?;
/// assert_eq!(engine.handle().queue_len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DualTransport {
    accept: Arc<dyn Accept>,
}

/// Why a message was not taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// An address cannot be used.
    #[error("{0}")]
    Envelope(#[source] BadEnvelope),
    /// The message holds what no mail can.
    #[error("the message cannot be sent: {0}")]
    Message(#[source] BadMessage),
    /// It was not taken; nothing was kept.
    #[error("not taken: {0}")]
    Refused(Reply),
}

impl SendError {
    /// Whether the same message may be taken later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, SendError::Refused(reply) if reply.is_transient())
    }
}

impl DualTransport {
    /// A transport to whatever accepts messages, as an engine's [`Handle`](crate::Handle).
    pub fn new(accept: Arc<dyn Accept>) -> DualTransport {
        DualTransport { accept }
    }

    fn hand_over(&self, envelope: &LettreEnvelope, raw: &[u8]) -> Result<Receipt, SendError> {
        let envelope = Envelope::try_from(envelope).map_err(SendError::Envelope)?;
        let message = RawMessage::new(raw).map_err(SendError::Message)?;
        let envelope = envelope.announcing(&message);
        let arrival = Arrival::local(Port::Fanout);
        for recipient in envelope.recipients() {
            self.accept.recipient(arrival.port, &recipient.path).map_err(SendError::Refused)?;
        }
        let submission = Submission { envelope, message, arrival };
        self.accept.accept(submission).map_err(SendError::Refused)
    }
}

impl fmt::Debug for DualTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DualTransport").finish_non_exhaustive()
    }
}

impl Transport for DualTransport {
    type Ok = Receipt;
    type Error = SendError;

    fn send_raw(&self, envelope: &LettreEnvelope, email: &[u8]) -> Result<Receipt, SendError> {
        self.hand_over(envelope, email)
    }
}

#[cfg(feature = "tokio1")]
mod asynchronous {
    use lettre::AsyncTransport;
    use lettre::address::Envelope as LettreEnvelope;

    use super::{DualTransport, SendError};
    use crate::accept::Receipt;
    use crate::reply::Reply;

    /// On a thread of tokio's for blocking work. Dropping the future does not stop what it began:
    /// the message is kept or not, and nobody is told either.
    #[async_trait::async_trait]
    impl AsyncTransport for DualTransport {
        type Ok = Receipt;
        type Error = SendError;

        async fn send_raw(
            &self,
            envelope: &LettreEnvelope,
            email: &[u8],
        ) -> Result<Receipt, SendError> {
            let (transport, envelope, email) = (self.clone(), envelope.clone(), email.to_vec());
            let sent = tokio::task::spawn_blocking(move || transport.hand_over(&envelope, &email));
            // It fails only while tokio shuts down, or if the engine has panicked.
            sent.await.unwrap_or_else(|_| {
                Err(SendError::Refused(Reply::ours(451, "4.3.0 the program is stopping")))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::envelope::{BodyType, ForwardPath, ReversePath};
    use crate::id::SpoolId;
    use crate::leg::Presence;

    #[derive(Debug, Default)]
    struct Taker(Mutex<Vec<(BodyType, bool)>>);

    impl Accept for Taker {
        fn begin(&self, _: Port, _: &ReversePath, _: Option<u64>) -> Result<(), Reply> {
            Ok(())
        }

        fn recipient(&self, _: Port, _: &ForwardPath) -> Result<(), Reply> {
            Ok(())
        }

        fn accept(&self, submission: Submission) -> Result<Receipt, Reply> {
            let envelope = submission.envelope;
            self.0.lock().unwrap().push((envelope.body, envelope.smtputf8));
            Ok(Receipt::new(SpoolId::from_bytes([1; 16]), false))
        }

        fn knows(&self, _: SpoolId, _: &ForwardPath) -> Presence {
            Presence::Unknown
        }
    }

    #[test]
    fn s24_what_a_message_needs_is_announced() {
        let taker = Arc::new(Taker::default());
        let mailer = DualTransport::new(taker.clone());
        let to = LettreEnvelope::new(None, vec!["bob@example.org".parse().unwrap()]).unwrap();
        for message in ["Subject: a\r\n\r\nb\r\n", "A: b\r\n\r\nä\r\n", "Subject: ä\r\n\r\nb\r\n"]
        {
            mailer.send_raw(&to, message.as_bytes()).unwrap();
        }
        let eight = BodyType::EightBitMime;
        let seven = BodyType::default();
        assert_eq!(*taker.0.lock().unwrap(), [(seven, false), (eight, false), (eight, true)]);
    }
}
