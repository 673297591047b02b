//! Which site answers for a service: decided from what several observers saw, and never by anything
//! else.
//!
//! [`Policy::step`] is all there is: a state, an event and the time go in; a state and effects come
//! out. It reads no clock, draws no lots and starts no thread, so a journal of events replays to the
//! same bytes, and a simulation runs what production runs.
//!
//! In the order data flows:
//!
//! - an observer's [`Report`] feeds one [`Detector`] for each place it probed (rise, fall, lapses);
//!   what a blind observer did not see counts for nothing;
//! - failure domains vote, not probes: a [`Tally`] makes a [`Verdict`] from those heard of lately,
//!   and below the quorum there is none;
//! - the rules of [`PolicyConfig`] make of the verdicts, in this order: an override, maintenance,
//!   failover, fail-back; hold, damping and a limit per hour keep it from moving too often;
//! - a [`Decision`] carries the evidence that it was made on, and reads as a sentence.
//!
//! ```
//! use dns_failover::decision::{Event, Policy, PolicyConfig, Report, Timestamp};
//!
//! let policy = Policy::new(PolicyConfig::example())?;
//! let mut state = policy.start(Timestamp::from_millis(0));
//! let mut moved = None;
//! for second in (0..60).step_by(2) {
//!     let now = Timestamp::from_millis(second * 1000);
//!     for observer in ["london", "newyork", "zurich"] {
//!         // From second 30 on nobody reaches the UK, and nothing is heard of the observer there.
//!         if second >= 30 && observer == "london" {
//!             continue;
//!         }
//!         let report = Report::new(observer.parse()?, now)
//!             .saw("web", "uk", second < 30)?
//!             .saw("web", "us", true)?;
//!         let (next, effects) = policy.step(state, &Event::Observed(report), now);
//!         state = next;
//!         moved = moved.or(effects.into_iter().find_map(|effect| effect.into_decision()));
//!     }
//! }
//! assert_eq!(
//!     moved.expect("two of three domains agree").to_string(),
//!     "web moves from uk to us: uk is down as seen from outside and us (nothing from uk); \
//!      us is up as seen from outside and us (nothing from uk)"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod choose;
mod event;
mod health;
mod id;
mod outcome;
mod penalty;
mod policy;
mod quiet;
mod quorum;
mod state;
mod step;
mod time;
mod window;

pub use event::{BadReport, Command, Event, MAX_RESULTS, Report, Seen};
pub use health::{Detector, Health, Thresholds};
pub use id::{BadId, ControllerId, DomainId, ObserverId, ServiceId, SiteId, WindowId};
pub use outcome::{Cause, Decision, Effect, Evidence, Note, Publication, Stay};
pub use penalty::{Damping, Penalty};
pub use policy::{AllDown, FailBack, Mode, Observer, Policy, PolicyConfig, PolicyError, Service};
pub use quorum::{Tally, Verdict, Vote};
pub use state::{Answer, Epoch, ObserverState, ServiceState, State, TargetState};
pub use time::{BadTime, Millis, Timestamp};
pub use window::{Override, Window};
