//! What came from the peer, so that nothing it sends twice is delivered twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use sha2::{Digest, Sha256};

use super::lock;
use crate::envelope::{ForwardPath, Recipient};
use crate::id::SpoolId;
use crate::leg::Presence;
use crate::spool::Head;
use crate::time::Timestamp;

/// A message for one recipient: its name at the peer, and a digest of the address.
type Fingerprint = (SpoolId, u64, u64);

/// What is remembered of messages from the peer.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Since when it is here. Not since when it is on its way: that may have been days.
    here: BTreeMap<Fingerprint, Timestamp>,
    /// What is being written just now.
    arriving: BTreeSet<Fingerprint>,
}

fn fingerprint(origin: SpoolId, recipient: &ForwardPath) -> Fingerprint {
    let digest = Sha256::digest(recipient.as_str().as_bytes());
    let half = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[at..at + 8]);
        u64::from_be_bytes(bytes)
    };
    (origin, half(0), half(8))
}

impl Seen {
    /// Remembers what is kept, if it came from the peer.
    pub(super) fn keep(&mut self, head: &Head) {
        if let Some(origin) = head.origin {
            for recipient in head.envelope.recipients() {
                self.here.insert(fingerprint(origin, &recipient.path), head.accepted);
            }
        }
    }

    /// Forgets what came before; its message is forgotten too.
    pub(super) fn forget_before(&mut self, time: Timestamp) {
        self.here.retain(|_, since| *since >= time);
    }

    /// Whether a message is here; none when that cannot be told from what is remembered.
    pub(super) fn presence(&self, origin: SpoolId, recipient: &ForwardPath) -> Option<Presence> {
        let wanted = fingerprint(origin, recipient);
        if self.here.contains_key(&wanted) {
            return Some(Presence::Present);
        }
        // It may still fail to be kept.
        self.arriving.contains(&wanted).then_some(Presence::Unknown)
    }
}

/// A message from the peer while it is being kept.
pub(super) struct Arriving<'a> {
    seen: &'a Mutex<Seen>,
    new: Vec<Fingerprint>,
}

impl<'a> Arriving<'a> {
    /// Those of the recipients that the message is not here for; none while it is being taken
    /// over for one of them already.
    pub(super) fn begin(
        seen: &'a Mutex<Seen>,
        origin: SpoolId,
        recipients: &[Recipient],
    ) -> Option<(Vec<Recipient>, Arriving<'a>)> {
        let mut known = lock(seen);
        let mut chosen = Vec::new();
        let mut new = Vec::new();
        for recipient in recipients {
            let fingerprint = fingerprint(origin, &recipient.path);
            if known.arriving.contains(&fingerprint) {
                return None;
            }
            if !known.here.contains_key(&fingerprint) {
                chosen.push(recipient.clone());
                new.push(fingerprint);
            }
        }
        known.arriving.extend(&new);
        drop(known);
        Some((chosen, Arriving { seen, new }))
    }
}

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        let mut known = lock(self.seen);
        for fingerprint in &self.new {
            known.arriving.remove(fingerprint);
        }
    }
}
