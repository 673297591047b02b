//! What comes in over the network is believed once, soon, and from those we know.

use std::collections::BTreeMap;

use crate::decision::{Millis, ObserverId, Timestamp};

use super::{Body, ExchangeKey, Message};

/// Why a datagram counts for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It does not carry the check that our key makes.
    #[error("it is not signed with our key")]
    Forged,
    /// It is signed and makes no sense.
    #[error("it is signed and cannot be read; is every observer of one version?")]
    Garbled,
    /// It names a sender that is not configured, or speaks for another.
    #[error("its sender is not configured here")]
    Stranger,
    /// It was sent too long ago.
    #[error("it was sent too long ago; check the link and both clocks")]
    Stale,
    /// It was sent in time to come.
    #[error("it is from the future; check both clocks")]
    Future,
    /// This one or a later one was here already.
    #[error("this one or a later one was here already")]
    Replayed,
}

/// Opens datagrams.
#[derive(Debug)]
pub struct Guard {
    key: ExchangeKey,
    /// Who may send, and the highest sequence number of each so far.
    known: BTreeMap<ObserverId, Option<u64>>,
    window: Millis,
    ahead: Millis,
}

impl Guard {
    /// Believes these senders, messages as old as `window`, and clocks that are `ahead`.
    pub fn new(
        key: ExchangeKey,
        known: impl IntoIterator<Item = ObserverId>,
        window: Millis,
        ahead: Millis,
    ) -> Guard {
        let known = known.into_iter().map(|sender| (sender, None)).collect();
        Guard { key, known, window, ahead }
    }

    /// What a datagram says, when it can be believed at `now`.
    ///
    /// # Errors
    /// [`Refused`]; nothing is remembered of it then.
    pub fn open(&mut self, datagram: &[u8], now: Timestamp) -> Result<Message, Refused> {
        let body = self.key.body(datagram).ok_or(Refused::Forged)?;
        let (message, rest) =
            postcard::take_from_bytes::<Message>(body).map_err(|_| Refused::Garbled)?;
        if !rest.is_empty() {
            return Err(Refused::Garbled);
        }
        let last = self.known.get_mut(&message.sender).ok_or(Refused::Stranger)?;
        if let Body::Report(report) = &message.body
            && report.observer != message.sender
        {
            return Err(Refused::Stranger);
        }
        if message.sent > now + self.ahead {
            return Err(Refused::Future);
        }
        if now.since(message.sent).get() > self.window.get() + self.ahead.get() {
            return Err(Refused::Stale);
        }
        if last.is_some_and(|last| message.sequence <= last) {
            return Err(Refused::Replayed);
        }
        *last = Some(message.sequence);
        Ok(message)
    }
}
