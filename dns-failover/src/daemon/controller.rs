//! The controller's loop.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;

use super::orders::{Orders, Views};
use super::publish::{Held, Publish, Told};
use crate::decision::{Effect, Event, Millis, Policy, Publication, Report, State, Timestamp};
use crate::journal::{JournalDir, JournalError};
use crate::observe::{Body, Guard, Refused, View};

/// What comes to a controller from outside.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// What its own observer saw.
    Report(Report),
    /// A datagram, as it came.
    Datagram(Vec<u8>),
    /// It is to end.
    Stop,
}

/// How often things are done.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time goes by in steps of this.
    pub tick: Millis,
    /// So long after publishing did not reach all name servers, it is tried again.
    pub retry: Millis,
    /// So often it is looked what name servers hold.
    pub survey: Millis,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { tick: Millis::new(500), retry: Millis::from_secs(2), survey: Millis::from_secs(30) }
    }
}

/// Something worth telling.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Heard<'a> {
    /// What came of a step.
    Effect(&'a Effect),
    /// A datagram counted for nothing.
    Refused(Refused),
    /// Something did not work, such as telling all name servers; it is tried again.
    Trouble(&'a str),
}

impl fmt::Display for Heard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Effect(Effect::Decided(decision)) => write!(f, "decided: {decision}"),
            Heard::Effect(Effect::Noted(note)) => write!(f, "{note}"),
            Heard::Effect(Effect::Publish(publication)) => {
                write!(f, "telling the name servers decision {}", publication.epoch)
            }
            Heard::Refused(refused) => write!(f, "a datagram is ignored: {refused}"),
            Heard::Trouble(trouble) => f.write_str(trouble),
        }
    }
}

/// Why a controller cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// What it decides could not be written down, so it is not carried out.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A controller with its journal.
#[derive(Debug)]
pub struct Controller {
    policy: Policy,
    state: State,
    journal: JournalDir,
    folder: PathBuf,
    guard: Option<Guard>,
    pace: Pace,
    /// When it was last told that datagrams are refused, by the reason.
    refused: BTreeMap<Refused, Timestamp>,
}

/// That datagrams are refused is told once in so long for each reason: anybody can send as many as he
/// likes.
const REFUSALS: Millis = Millis::from_mins(1);

/// What the publishing thread is asked for, and answers.
enum Task {
    Publish(Publication),
    Read,
}

enum Answered {
    Told(Publication, Told),
    Read(Option<Held>),
}

impl Controller {
    /// Takes up what the folder holds, or starts with nothing. Gives notes about what was lost.
    ///
    /// # Errors
    /// [`DaemonError::Journal`].
    pub fn open(
        policy: Policy,
        folder: &Path,
        now: Timestamp,
    ) -> Result<(Controller, Vec<String>), DaemonError> {
        let (mut journal, state, notes) = JournalDir::open(folder, &policy)?;
        let state = state.unwrap_or_else(|| policy.start(now));
        journal.begin(&state, now)?;
        let (pace, folder) = (Pace::default(), folder.to_owned());
        let (guard, refused) = (None, BTreeMap::new());
        let mut controller = Controller { policy, state, journal, folder, guard, pace, refused };
        // Whatever rules the state was made under, from here on it is these.
        controller.take(&Event::Tick, now)?;
        Ok((controller, notes))
    }

    /// Believes datagrams that this guard lets through.
    #[must_use]
    pub fn guarded(mut self, guard: Guard) -> Controller {
        self.guard = Some(guard);
        self
    }

    /// Does things as often as this says.
    #[must_use]
    pub fn pace(mut self, pace: Pace) -> Controller {
        self.pace = pace;
        self
    }

    /// What it knows and has decided.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Steps, and writes down what happened. When this returns, effects may be acted on.
    ///
    /// # Errors
    /// [`DaemonError::Journal`]: they must not be.
    pub fn take(&mut self, event: &Event, now: Timestamp) -> Result<Vec<Effect>, DaemonError> {
        // What a step takes a clock that went back a little for, which the journal must say as well:
        // ticks in between are not in it.
        let back = self.state.clock().since(now);
        let now = if back <= self.policy.config().skew { now.max(self.state.clock()) } else { now };
        let state = std::mem::replace(&mut self.state, self.policy.start(now));
        let (state, effects) = self.policy.step(state, event, now);
        self.state = state;
        // A tick without consequences can be left out: time that goes by without an event is the same.
        if *event != Event::Tick || !effects.is_empty() {
            self.journal.append(event, &effects, &self.state, now)?;
        }
        Ok(effects)
    }

    /// Runs until it is told to stop, or all that feed it have gone.
    ///
    /// `clock` is asked for the time, `tell` hears of everything worth telling, and `view` is
    /// called about every two seconds with what is to be told to the other controllers. The channel of
    /// `inputs` should have an end: datagrams that come faster than they are looked at are better lost.
    ///
    /// # Errors
    /// [`DaemonError`].
    pub fn run<P: Publish + Send>(
        mut self,
        inputs: &Receiver<Input>,
        mut publish: P,
        clock: &dyn Fn() -> Timestamp,
        tell: &mut dyn FnMut(Timestamp, Heard<'_>),
        view: &mut dyn FnMut(View),
    ) -> Result<State, DaemonError> {
        let (tasks, to_do) = mpsc::channel::<Task>();
        let (answers, answered) = mpsc::channel::<Answered>();
        thread::scope(|scope| {
            scope.spawn(move || work(&mut publish, &to_do, &answers));
            let mut post =
                Post { tasks, busy: false, again: None, next_survey: None, trouble: None };
            let mut looked = Timestamp::from_millis(i64::MIN);
            // What name servers hold outranks what an old disk says, so it is asked for first.
            post.send(Task::Read);
            let mut said = Timestamp::from_millis(i64::MIN);
            loop {
                let input = inputs.recv_timeout(self.pace.tick.to_std());
                let now = clock();
                let event = match input {
                    Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(self.state),
                    Err(RecvTimeoutError::Timeout) => None,
                    Ok(Input::Report(report)) => Some(Event::Observed(report)),
                    Ok(Input::Datagram(datagram)) => {
                        let event = self.open_datagram(&datagram, now, tell);
                        // One that says nothing costs nothing but its check.
                        let is_early = looked <= now && now.since(looked) < self.pace.tick;
                        if event.is_none() && is_early {
                            continue;
                        }
                        event
                    }
                };
                looked = now;
                self.feed(&event.unwrap_or(Event::Tick), now, &mut post, tell)?;
                while let Ok(answer) = answered.try_recv() {
                    post.busy = false;
                    self.hear(answer, now, &mut post, tell)?;
                }
                self.obey(now, &mut post, tell)?;
                self.remind(now, &mut post);
                if now.since(said) >= Millis::from_secs(2) || said > now {
                    said = now;
                    view(View::of(&self.policy, &self.state));
                }
            }
        })
    }

    fn feed(
        &mut self,
        event: &Event,
        now: Timestamp,
        post: &mut Post,
        tell: &mut dyn FnMut(Timestamp, Heard<'_>),
    ) -> Result<Vec<Effect>, DaemonError> {
        let effects = self.take(event, now)?;
        for effect in &effects {
            tell(now, Heard::Effect(effect));
            if let Effect::Publish(publication) = effect {
                post.send(Task::Publish(publication.clone()));
            }
        }
        Ok(effects)
    }

    fn open_datagram(
        &mut self,
        datagram: &[u8],
        now: Timestamp,
        tell: &mut dyn FnMut(Timestamp, Heard<'_>),
    ) -> Option<Event> {
        match self.guard.as_mut()?.open(datagram, now) {
            Ok(message) => match message.body {
                Body::Report(report) => Some(Event::Observed(report)),
                Body::View(view) => {
                    // A page that is less than it could be is no reason to stop deciding.
                    if let Err(error) = Views::of(&self.folder).keep(&view) {
                        tell(now, Heard::Trouble(&error.to_string()));
                    }
                    None
                }
            },
            Err(refused) => {
                let told = self.refused.get(&refused);
                if told.is_none_or(|told| *told > now || now.since(*told) >= REFUSALS) {
                    self.refused.insert(refused, now);
                    tell(now, Heard::Refused(refused));
                }
                None
            }
        }
    }

    fn hear(
        &mut self,
        answer: Answered,
        now: Timestamp,
        post: &mut Post,
        tell: &mut dyn FnMut(Timestamp, Heard<'_>),
    ) -> Result<(), DaemonError> {
        let first = post.next_survey.is_none();
        post.next_survey = Some(now + self.pace.survey);
        let held = match answer {
            Answered::Read(held) => held,
            Answered::Told(publication, told) => {
                // It is tried again every few seconds, for hours where a server is gone.
                if let Some(trouble) = &told.trouble
                    && post.trouble != told.trouble
                {
                    let trouble = format!("not all name servers have it: {trouble}");
                    tell(now, Heard::Trouble(&trouble));
                }
                post.trouble = told.trouble;
                let (epoch, have, of) = (publication.epoch, told.have, told.of);
                match told.held {
                    // Ours, under the number that it got there.
                    Some(held) if have == of => {
                        let epoch = held.epoch;
                        self.learn(held, now, post, tell)?;
                        self.feed(&Event::Published { epoch, have, of }, now, post, tell)?;
                    }
                    held => {
                        let some = held.is_some();
                        if let Some(held) = held {
                            self.learn(held, now, post, tell)?;
                        }
                        if !some || have > 0 {
                            self.feed(&Event::Published { epoch, have, of }, now, post, tell)?;
                        }
                    }
                }
                None
            }
        };
        if let Some(held) = held {
            self.learn(held, now, post, tell)?;
        }
        let pending = self.state.epoch().number > 0 && !self.state.is_published();
        post.again = pending.then(|| if first { now } else { now + self.pace.retry });
        Ok(())
    }

    fn learn(
        &mut self,
        held: Held,
        now: Timestamp,
        post: &mut Post,
        tell: &mut dyn FnMut(Timestamp, Heard<'_>),
    ) -> Result<(), DaemonError> {
        if held.epoch > self.state.epoch() {
            let Held { epoch, answers } = held;
            self.feed(&Event::Learned { epoch, answers }, now, post, tell)?;
        }
        Ok(())
    }

    fn obey(
        &mut self,
        now: Timestamp,
        post: &mut Post,
        tell: &mut dyn FnMut(Timestamp, Heard<'_>),
    ) -> Result<(), DaemonError> {
        for mut order in Orders::of(&self.folder).waiting() {
            let command = std::mem::replace(&mut order.command, Err(String::new()));
            match command {
                Err(why) => order.done(&format!("refused: {why}\n")),
                Ok(command) => {
                    let effects = self.feed(&Event::Commanded(command), now, post, tell)?;
                    let line = |effect: &Effect| match effect {
                        Effect::Decided(decision) => Some(format!("{decision}\n")),
                        Effect::Noted(note) => Some(format!("{note}\n")),
                        _ => None,
                    };
                    let answer: String = effects.iter().filter_map(line).collect();
                    order.done(if answer.is_empty() { "taken; nothing moves\n" } else { &answer });
                }
            }
        }
        Ok(())
    }

    /// Tries again what has not reached all name servers, and looks what they hold now and then.
    fn remind(&self, now: Timestamp, post: &mut Post) {
        if post.busy {
            return;
        }
        if post.again.is_some_and(|time| time <= now) {
            post.again = None;
            post.send(Task::Publish(self.state.publication()));
        } else if post.next_survey.is_none_or(|time| time <= now) {
            post.send(Task::Read);
        }
    }
}

/// The way to the publishing thread.
struct Post {
    tasks: Sender<Task>,
    busy: bool,
    again: Option<Timestamp>,
    next_survey: Option<Timestamp>,
    /// What kept the last publication from some name servers.
    trouble: Option<String>,
}

impl Post {
    fn send(&mut self, task: Task) {
        self.busy = true;
        // The thread ends after this sender only.
        let _ = self.tasks.send(task);
    }
}

/// The publishing thread: of what has piled up while it worked, only the last publication counts.
fn work(publish: &mut impl Publish, to_do: &Receiver<Task>, answers: &Sender<Answered>) {
    while let Ok(mut task) = to_do.recv() {
        while let Ok(later) = to_do.try_recv() {
            if let (Task::Publish(_), Task::Read) = (&task, &later) {
                continue;
            }
            task = later;
        }
        let answer = match task {
            Task::Read => Answered::Read(publish.read()),
            Task::Publish(publication) => {
                let told = publish.publish(&publication);
                Answered::Told(publication, told)
            }
        };
        if answers.send(answer).is_err() {
            return;
        }
    }
}
