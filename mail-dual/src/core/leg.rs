//! How far each message is, for each leg and each recipient, and what changes that.
//!
//! What the spool keeps is a sequence of [`Transition`]s; what is in memory is their sum. Both a
//! running engine and a recovery add them up with [`Progress::apply`], so that they cannot differ.
//! Adding one up twice, or one that a later one has overtaken, changes nothing.

use crate::core::leg_name::LegName;
use crate::core::transition::{Share, State, Transition};
use crate::id::SpoolId;
use crate::time::Timestamp;

/// How far a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    shares: Box<[ShareProgress]>,
    /// Whether an operator wants it to stay where it is.
    pub held: bool,
    /// Whether nothing more is to be done.
    pub done: bool,
}

/// How far a message is on one leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareProgress {
    /// The leg, shared by all messages for it.
    pub leg: LegName,
    /// How many attempts there were that concerned this message.
    pub attempts: u16,
    /// Whether one has ended since a worker took it.
    counted: bool,
    /// When the last of them ended, in seconds since 1970.
    last: u32,
    /// Whether a worker has it now.
    pub(crate) taken: bool,
    recipients: Recipients,
}

/// Most messages have one recipient, and need no allocation for it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Recipients {
    One(u32, State),
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in every queued message")]
    Many(Box<Vec<(u32, State)>>),
}

impl ShareProgress {
    fn new(leg: LegName, recipients: &[u32]) -> ShareProgress {
        let recipients = match recipients {
            [one] => Recipients::One(*one, State::Pending),
            many => {
                let all = many.iter().map(|&at| (at, State::Pending)).collect();
                Recipients::Many(Box::new(all))
            }
        };
        ShareProgress { leg, attempts: 0, counted: false, last: 0, taken: false, recipients }
    }

    /// Each recipient's place in the envelope, and where its copy is.
    pub fn recipients(&self) -> impl Iterator<Item = (u32, State)> + '_ {
        let (one, many) = match &self.recipients {
            Recipients::One(at, state) => (Some((*at, *state)), [].as_slice()),
            Recipients::Many(many) => (None, many.as_slice()),
        };
        one.into_iter().chain(many.iter().copied())
    }

    /// Where the copy of the recipient at this place is; none when this leg does not serve it.
    pub fn state(&self, recipient: u32) -> Option<State> {
        self.recipients().find(|&(at, _)| at == recipient).map(|(_, state)| state)
    }

    /// Whether a recipient is in this state.
    pub fn any(&self, wanted: State) -> bool {
        self.recipients().any(|(_, state)| state == wanted)
    }

    pub(crate) fn take(&mut self) {
        self.taken = true;
        self.counted = false;
    }

    /// Whether an attempt that concerned the message has ended since it was taken.
    pub(crate) fn was_tried(&self) -> bool {
        self.counted
    }

    /// When the last attempt that concerned the message ended; 1970 when there was none.
    pub fn last_attempt(&self) -> Timestamp {
        Timestamp::from_millis(u64::from(self.last) * 1000)
    }

    /// Whether nothing more will happen on this leg.
    pub fn is_final(&self) -> bool {
        self.recipients().all(|(_, state)| state.is_final())
    }

    fn set(&mut self, recipient: u32, change: impl Fn(State) -> State) {
        match &mut self.recipients {
            Recipients::One(at, state) if *at == recipient => *state = change(*state),
            Recipients::One(..) => {}
            Recipients::Many(many) => {
                for (at, state) in many.iter_mut() {
                    if *at == recipient {
                        *state = change(*state);
                    }
                }
            }
        }
    }

    fn reset(&mut self) {
        let all: Vec<u32> = self.recipients().map(|(at, _)| at).collect();
        for recipient in all {
            self.set(recipient, |_| State::Pending);
        }
        (self.attempts, self.last) = (0, 0);
    }
}

impl Progress {
    /// At the start: everything is to be delivered.
    pub fn new(plan: &[Share]) -> Progress {
        Progress::with_names(plan, LegName::clone)
    }

    /// The same, with the names that all messages share.
    pub(crate) fn with_names(
        plan: &[Share],
        mut name: impl FnMut(&LegName) -> LegName,
    ) -> Progress {
        let share = |share: &Share| ShareProgress::new(name(&share.leg), &share.recipients);
        Progress { shares: plan.iter().map(share).collect(), held: false, done: false }
    }

    /// How far it is on each leg.
    pub fn shares(&self) -> &[ShareProgress] {
        &self.shares
    }

    /// How far it is on that leg.
    pub fn share(&self, leg: &LegName) -> Option<&ShareProgress> {
        self.shares.iter().find(|share| share.leg == *leg)
    }

    pub(crate) fn share_mut(&mut self, leg: &LegName) -> Option<&mut ShareProgress> {
        self.shares.iter_mut().find(|share| share.leg == *leg)
    }

    /// Whether a leg has delivered to the recipient at this place.
    pub fn is_delivered(&self, recipient: u32) -> bool {
        self.shares.iter().any(|share| share.state(recipient) == Some(State::Delivered))
    }

    /// The recipients that no leg will deliver to and none did, and nobody was told so.
    pub fn lost(&self) -> Vec<u32> {
        self.unreported(|progress, recipient| {
            let states = progress.shares.iter().filter_map(|share| share.state(recipient));
            states.into_iter().all(|state| state.is_final() && state != State::Delivered)
        })
    }

    /// The recipients that some leg will not deliver to, and nobody was told so.
    pub fn missed(&self) -> Vec<u32> {
        self.unreported(|_, _| true)
    }

    fn unreported(&self, wanted: impl Fn(&Progress, u32) -> bool) -> Vec<u32> {
        let mut recipients: Vec<u32> = self
            .shares
            .iter()
            .flat_map(ShareProgress::recipients)
            .filter(|(_, state)| matches!(state, State::Failed | State::Expired))
            .map(|(recipient, _)| recipient)
            .filter(|&recipient| wanted(self, recipient))
            .collect();
        recipients.sort_unstable();
        recipients.dedup();
        recipients
    }

    /// Whether nothing more will happen on any leg.
    pub fn is_final(&self) -> bool {
        self.shares.iter().all(ShareProgress::is_final)
    }

    /// Adds one up. What does not fit, as a leg that the message was never for, is passed over.
    pub fn apply(&mut self, transition: &Transition) {
        match transition {
            Transition::Intent { leg, recipients, attempt, .. } => {
                let Some(share) = self.share_mut(leg) else { return };
                // An attempt that ended since has said more.
                if u32::from(share.attempts) > *attempt {
                    return;
                }
                for &recipient in recipients {
                    share.set(recipient, |state| match state {
                        State::Pending => State::InDoubt,
                        other => other,
                    });
                }
            }
            Transition::Outcome { leg, recipient, state: new, attempt, at, .. } => {
                let Some(share) = self.share_mut(leg) else { return };
                let overtaken = u32::from(share.attempts) > attempt.saturating_add(1);
                share.set(*recipient, |state| match state {
                    // Delivered is delivered; the rest may still become that.
                    State::Delivered => State::Delivered,
                    _ if *new == State::Delivered => State::Delivered,
                    State::Reported => State::Reported,
                    State::Failed | State::Expired if *new == State::Reported => *new,
                    State::Failed | State::Expired => state,
                    _ if overtaken => state,
                    _ => *new,
                });
                let attempts = attempt.saturating_add(1).min(u32::from(u16::MAX));
                share.attempts = share.attempts.max(attempts as u16);
                let seconds = u32::try_from(at.as_millis() / 1000).unwrap_or(u32::MAX);
                share.last = share.last.max(seconds);
                share.counted = true;
            }
            Transition::Held { .. } => self.held = true,
            Transition::Released { .. } => self.held = false,
            Transition::Resubmitted { legs, .. } => {
                for share in &mut self.shares {
                    if legs.is_empty() || legs.contains(&share.leg) {
                        share.reset();
                    }
                }
                self.done = false;
            }
            Transition::Done { .. } | Transition::Void { .. } => self.done = true,
        }
    }

    /// Whoever had to be told that these recipients were not reached has been.
    pub fn reported(&mut self, recipients: &[u32]) {
        for share in &mut self.shares {
            for &recipient in recipients {
                share.set(recipient, |state| match state {
                    State::Failed | State::Expired => State::Reported,
                    other => other,
                });
            }
        }
    }

    /// A leg has nothing more to do.
    pub(crate) fn settled(&mut self, leg: &LegName, recipients: &[u32]) {
        if let Some(share) = self.share_mut(leg) {
            for &recipient in recipients {
                share.set(recipient, |_| State::Delivered);
            }
        }
    }

    /// The transitions that bring a new message to where this one is.
    pub fn snapshot(&self, id: SpoolId) -> Vec<Transition> {
        let mut transitions = Vec::new();
        for share in &self.shares {
            let attempt = u32::from(share.attempts.saturating_sub(1));
            let at = share.last_attempt();
            for (recipient, state) in share.recipients() {
                let leg = share.leg.clone();
                match state {
                    State::Pending if share.attempts == 0 => {}
                    State::InDoubt if share.attempts == 0 => transitions.push(Transition::Intent {
                        id,
                        leg,
                        recipients: vec![recipient],
                        attempt: 0,
                    }),
                    state => transitions.push(Transition::Outcome {
                        id,
                        leg,
                        recipient,
                        state,
                        attempt,
                        at,
                        words: String::new(),
                    }),
                }
            }
        }
        if self.held {
            transitions.push(Transition::Held { id });
        }
        transitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: SpoolId = SpoolId::from_bytes([7; 16]);

    fn leg(name: &str) -> LegName {
        name.parse().unwrap()
    }

    fn plan() -> Vec<Share> {
        vec![
            Share { leg: leg("uk"), recipients: vec![0, 1] },
            Share { leg: leg("us"), recipients: vec![0] },
        ]
    }

    fn any_state() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Pending),
            Just(State::InDoubt),
            Just(State::Delivered),
            Just(State::Failed),
            Just(State::Expired),
            Just(State::Reported),
        ]
    }

    fn any_transition() -> impl Strategy<Value = Transition> {
        let name = prop_oneof![Just("uk"), Just("us"), Just("elsewhere")].prop_map(leg);
        let intent = (name.clone(), 0u32..3, 0u32..3).prop_map(|(leg, recipient, attempt)| {
            Transition::Intent { id: ID, leg, recipients: vec![recipient], attempt }
        });
        let outcome =
            (name, 0u32..3, any_state(), 0u32..3).prop_map(|(leg, recipient, state, attempt)| {
                let at = Timestamp::default();
                let words = String::new();
                Transition::Outcome { id: ID, leg, recipient, state, attempt, at, words }
            });
        prop_oneof![
            intent,
            outcome,
            Just(Transition::Held { id: ID }),
            Just(Transition::Released { id: ID }),
        ]
    }

    proptest! {
        #[test]
        fn a_snapshot_says_where_a_message_is(
            steps in proptest::collection::vec(any_transition(), 0..20)
        ) {
            let mut progress = Progress::new(&plan());
            for step in &steps {
                progress.apply(step);
            }
            let mut again = Progress::new(&plan());
            for step in progress.snapshot(ID) {
                again.apply(&step);
            }
            prop_assert_eq!(&again, &progress);
            // A copy made while a segment goes, after what the log still has.
            for step in progress.snapshot(ID) {
                progress.apply(&step);
            }
            prop_assert_eq!(again, progress);
        }

        #[test]
        fn what_was_delivered_stays_delivered(
            steps in proptest::collection::vec(any_transition(), 0..20)
        ) {
            let mut progress = Progress::new(&plan());
            let mut delivered = [false; 3];
            for step in &steps {
                progress.apply(step);
                for recipient in 0..3 {
                    let now = progress.is_delivered(recipient);
                    prop_assert!(now || !delivered[recipient as usize]);
                    delivered[recipient as usize] = now;
                }
            }
        }
    }

    #[test]
    fn an_intent_without_an_outcome_is_in_doubt() {
        let mut progress = Progress::new(&plan());
        let intent = Transition::Intent { id: ID, leg: leg("uk"), recipients: vec![1], attempt: 0 };
        progress.apply(&intent);
        let share = progress.share(&leg("uk")).unwrap();
        assert_eq!(share.state(0), Some(State::Pending));
        assert_eq!(share.state(1), Some(State::InDoubt));
        progress.apply(&Transition::Outcome {
            id: ID,
            leg: leg("uk"),
            recipient: 1,
            state: State::Pending,
            attempt: 0,
            at: Timestamp::default(),
            words: String::new(),
        });
        progress.apply(&intent);
        assert_eq!(progress.share(&leg("uk")).unwrap().state(1), Some(State::Pending));
    }

    #[test]
    fn a_message_that_waits_for_two_legs_is_small() {
        assert!(size_of::<Progress>() <= 24);
        assert!(size_of::<ShareProgress>() <= 32, "{}", size_of::<ShareProgress>());
    }
}
