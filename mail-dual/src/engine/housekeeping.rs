//! What is due from time to time.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Event, Shared, lock};
use crate::accept::Port;
use crate::core::dsn::{Account, Dsn, Fate};
use crate::core::transition::{Share, State, Transition};
use crate::id::SpoolId;
use crate::message::RawMessage;
use crate::received::Received;
use crate::spool::{Head, ReportsOn, SpoolError, Stored};

/// How long outcomes may stay where only a power cut can lose them.
const SYNC: Duration = Duration::from_secs(1);

/// How often the rest is looked at, in rounds of that.
const ROUNDS: u32 = 30;

/// Why a sender is not told.
enum NotTold {
    Because(String),
    Spool(SpoolError),
}

pub(super) fn run(shared: &Shared) {
    let mut round = 0u32;
    loop {
        {
            let held = lock(&shared.housekeeping.0);
            if shared.is_stopping() {
                return;
            }
            let _ = shared
                .housekeeping
                .1
                .wait_timeout(held, SYNC)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if shared.is_stopping() {
            return;
        }
        if shared.unsynced.swap(false, Ordering::AcqRel)
            && let Err(error) = shared.spool.sync()
        {
            shared.unsynced.store(true, Ordering::Release);
            shared.tell(&Event::SpoolTrouble { error });
        }
        round = round.wrapping_add(1);
        if round.is_multiple_of(5) {
            shared.look_at_room();
        }
        if round.is_multiple_of(ROUNDS) {
            shared.give_up();
            if let Err(error) = shared.compact() {
                shared.tell(&Event::SpoolTrouble { error });
            }
        }
    }
}

impl Shared {
    /// Looks how much room the disk has.
    pub(super) fn look_at_room(&self) {
        let Some(free) = self.spool.free() else { return };
        // Some distance, so that it does not change with every message.
        let was_full = self.full.load(Ordering::Relaxed);
        let enough = if was_full { self.settings.reserve / 8 * 9 } else { self.settings.reserve };
        let full = free < enough;
        if self.full.swap(full, Ordering::Relaxed) != full {
            self.tell(&Event::Room { full, free });
        }
    }

    /// Gives up on what was tried for long enough, and draws the consequences of what happened
    /// when nobody could: before a restart, or while the disk was full.
    pub(super) fn give_up(&self) {
        let now = self.now();
        let (transitions, open) = {
            let mut queue = lock(&self.queue);
            let transitions = queue.expire(now);
            self.record_if_any(&transitions);
            let open: Vec<SpoolId> = queue
                .list(None)
                .filter(|(_, _, progress)| progress.is_final() || !progress.missed().is_empty())
                .map(|(id, ..)| id)
                .collect();
            (transitions, open)
        };
        for transition in transitions {
            if let Transition::Outcome { id, leg, recipient, .. } = transition {
                self.tell(&Event::Expired { id, leg, recipient });
            }
        }
        for id in open {
            self.settle(id);
        }
    }

    fn record_if_any(&self, transitions: &[Transition]) {
        if !transitions.is_empty() {
            self.record(transitions);
        }
    }

    /// Frees what nobody needs any more.
    pub(super) fn compact(&self) -> Result<(), SpoolError> {
        let now = self.now();
        let age = u64::try_from(self.settings.keep_done.as_millis()).unwrap_or(u64::MAX);
        let keep_since = crate::time::Timestamp::from_millis(now.as_millis().saturating_sub(age));
        let restate = |id: SpoolId| {
            let queue = lock(&self.queue);
            let Some(progress) = queue.progress(id) else { return Ok(()) };
            self.spool.record(&progress.snapshot(id))
        };
        self.spool.compact(keep_since, &restate)?;
        lock(&self.seen).forget_before(keep_since);
        Ok(())
    }

    /// Tells a sender that recipients were not reached, in one write with the fact that it was.
    pub(super) fn report(&self, id: SpoolId, recipients: &[u32]) {
        let accounts = self.accounts(id, recipients);
        match self.notify(id, &accounts, recipients.to_vec()) {
            // Once it is kept, the queue has marked the recipients as reported.
            Ok(by) => self.tell(&Event::Reported { id, by }),
            // It is tried again when the housekeeper comes by.
            Err(NotTold::Spool(error)) => self.tell(&Event::SpoolTrouble { error }),
            Err(NotTold::Because(why)) => {
                self.tell(&Event::NotReported { id, why });
                let transitions = lock(&self.queue).reported(id, recipients);
                self.record_if_any(&transitions);
            }
        }
    }

    /// Tells a sender who asked for it that recipients were reached.
    pub(super) fn report_success(&self, id: SpoolId, recipients: &[u32]) {
        let account = |&recipient: &u32| Account { recipient, fate: Fate::Relayed, said: None };
        let accounts: Vec<Account> = recipients.iter().map(account).collect();
        match self.notify(id, &accounts, Vec::new()) {
            Ok(by) => self.tell(&Event::Reported { id, by }),
            Err(NotTold::Spool(error)) => return self.tell(&Event::SpoolTrouble { error }),
            // All is well with the message; nobody has to look after it.
            Err(NotTold::Because(_)) => {}
        }
        lock(&self.queue).told_success(id);
    }

    fn notify(
        &self,
        id: SpoolId,
        accounts: &[Account],
        recipients: Vec<u32>,
    ) -> Result<SpoolId, NotTold> {
        let stored = self.load(id).map_err(|error| NotTold::Because(error.to_string()))?;
        let (now, by) = (self.now(), SpoolId::new(self.now(), self.clock.random()));
        let dsn = Dsn {
            head: &stored.head,
            message: &stored.message,
            accounts,
            hostname: &self.settings.hostname,
            id: by,
            now,
        };
        let Some((envelope, message)) = dsn.build() else {
            let why = "the message has no sender, or one who does not want to be told";
            return Err(NotTold::Because(why.to_owned()));
        };
        let plan =
            match (self.settings.routes.plan(Port::Fanout, &envelope), &self.settings.reports) {
                (Ok(plan), _) => plan,
                (Err(_), Some(leg)) => vec![Share { leg: leg.clone(), recipients: vec![0] }],
                (Err(sender), None) => {
                    let why = format!("no leg for reports is set, and {sender} is nobody of ours");
                    return Err(NotTold::Because(why));
                }
            };
        let message = self.traced(&message, by, now);
        let reports_on = Some(ReportsOn { id, recipients });
        let head = Head { id: by, accepted: now, origin: None, envelope, plan, reports_on };
        self.keep(Stored { head, message }).map(|_| by).map_err(NotTold::Spool)
    }

    fn traced(&self, message: &RawMessage, id: SpoolId, at: crate::time::Timestamp) -> RawMessage {
        message.with_received(&Received {
            helo: None,
            peer: None,
            by: &self.settings.hostname,
            with: crate::accept::With::Local,
            smtputf8: false,
            id,
            recipient: None,
            at,
        })
    }

    fn accounts(&self, id: SpoolId, recipients: &[u32]) -> Vec<Account> {
        let queue = lock(&self.queue);
        let remarks = queue.remarks(id);
        let progress = queue.progress(id);
        let account = |&recipient: &u32| {
            let mut about = remarks.iter().rev().filter(|remark| remark.recipient == recipient);
            let refused = progress.is_some_and(|progress| {
                let mut states =
                    progress.shares().iter().filter_map(|share| share.state(recipient));
                states.any(|state| state == State::Failed)
            });
            Account {
                recipient,
                fate: if refused { Fate::Refused } else { Fate::Expired },
                said: about.next().map(|remark| (remark.leg.clone(), remark.words.clone())),
            }
        };
        recipients.iter().map(account).collect()
    }
}
