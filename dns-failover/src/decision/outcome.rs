//! What comes of a step: decisions with their evidence, what to publish, what to tell.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::BadReport;
use super::id::{DomainId, ObserverId, ServiceId, SiteId, WindowId};
use super::quorum::{Tally, Verdict, Vote};
use super::state::{Answer, Epoch};
use super::time::{Millis, Timestamp};

/// What is to be done or told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// A service moves.
    Decided(Decision),
    /// The name servers must be given these answers. At most one in a step, after all decisions.
    Publish(Publication),
    /// Something to tell and to remember.
    Noted(Note),
}

impl Effect {
    /// The decision, when it is one.
    pub fn into_decision(self) -> Option<Decision> {
        match self {
            Effect::Decided(decision) => Some(decision),
            _ => None,
        }
    }
}

/// What all name servers are to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Which decision it comes from.
    pub epoch: Epoch,
    /// Every service's answer, sorted.
    pub answers: Vec<(ServiceId, Answer)>,
}

/// A move of a service, and what it was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// What moves.
    pub service: ServiceId,
    /// Whose addresses were answered.
    pub from: Answer,
    /// Whose are from now on.
    pub to: Answer,
    /// Why.
    pub cause: Cause,
    /// Its number.
    pub epoch: Epoch,
    /// What was known of each site, the best site first.
    pub evidence: Vec<Evidence>,
    /// A person's reason, where a person ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What was known of a service at a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The site.
    pub site: SiteId,
    /// What followed from the votes.
    pub verdict: Verdict,
    /// Since when.
    pub since: Timestamp,
    /// How each failure domain voted.
    pub votes: Vec<(DomainId, Vote)>,
}

/// Why a service came to be where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// It always was.
    Start,
    /// The site it was at is down.
    Failover,
    /// A better site has proved itself.
    FailBack,
    /// It is down everywhere.
    AllDown,
    /// Somewhere it is up again.
    Recovery,
    /// Maintenance drains the site it was at.
    Maintenance,
    /// An override holds it there.
    Override,
    /// A person moved it.
    Ordered,
    /// Another controller's decision is the later one.
    Adopted,
}

/// Why a service stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stay {
    /// It is up at its best site.
    Settled,
    /// An override holds it.
    Overridden {
        /// How long.
        until: Timestamp,
    },
    /// It is to be drained away, and is up nowhere else for sure.
    Undrainable,
    /// Its best site is drained.
    Drained,
    /// It should move, and only a person may order it: there are too few observers.
    NotAutomatic,
    /// Too few failure domains say anything clear.
    BelowQuorum,
    /// Its site is down, and has to be for longer.
    Confirming {
        /// How long.
        until: Timestamp,
    },
    /// Its site is down, and it moved too short a while ago.
    Held {
        /// How long.
        until: Timestamp,
    },
    /// Its site is down, and it moved too often in the last hour.
    Limited {
        /// How long.
        until: Timestamp,
    },
    /// Its site is down, and nothing clear is known of another.
    NowhereToGo,
    /// It is down everywhere.
    AllDown,
    /// A better site is there; a person has to say when to return.
    FailBackIsManual,
    /// A better site is there and has to prove itself.
    Proving {
        /// How long.
        until: Timestamp,
    },
    /// A better site is there and went down too often.
    Damped,
    /// The better site is not up.
    Away,
    /// All sites are answered for a while.
    Sharing {
        /// How long.
        until: Timestamp,
    },
}

/// Something to tell and to remember.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// What is known of a service at a site has changed.
    Place {
        /// The service.
        service: ServiceId,
        /// The site.
        site: SiteId,
        /// What is known now.
        verdict: Verdict,
        /// The votes.
        tally: Tally,
    },
    /// An observer sees nothing, or sees again.
    Sight {
        /// Which.
        observer: ObserverId,
        /// Whether it sees.
        sees: bool,
    },
    /// Nothing is heard of an observer, or something is again.
    Voice {
        /// Which.
        observer: ObserverId,
        /// Whether it is heard.
        heard: bool,
    },
    /// A service stays for another reason than before.
    Stays {
        /// Which.
        service: ServiceId,
        /// The reason.
        stay: Stay,
    },
    /// A report counted for nothing.
    Ignored {
        /// Whose it claims to be.
        observer: ObserverId,
        /// Why.
        why: BadReport,
    },
    /// The clock was set back; all observations are forgotten.
    ClockSetBack {
        /// By how much.
        by: Millis,
    },
    /// An order was not taken.
    Refused {
        /// Why.
        why: String,
    },
    /// An override ended.
    OverrideEnded {
        /// Of which service; of all when none is given.
        service: Option<ServiceId>,
    },
    /// Maintenance is announced.
    Scheduled {
        /// The window's name.
        window: WindowId,
    },
    /// Maintenance is over, or was taken back.
    WindowClosed {
        /// The window's name.
        window: WindowId,
    },
    /// All name servers hold the answers of this epoch.
    Everywhere {
        /// Which.
        epoch: Epoch,
    },
    /// Another controller's answers are the later ones, and ours from now on.
    Adopted {
        /// Which.
        epoch: Epoch,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Start => "it always was there",
            Cause::Failover => "failover",
            Cause::FailBack => "fail-back",
            Cause::AllDown => "it is down everywhere",
            Cause::Recovery => "recovery",
            Cause::Maintenance => "maintenance",
            Cause::Override => "override",
            Cause::Ordered => "ordered",
            Cause::Adopted => "another controller's decision",
        })
    }
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stay::Settled => f.write_str("it is at its best site"),
            Stay::Overridden { until } => write!(f, "an override holds it until {until}"),
            Stay::Undrainable => {
                f.write_str("maintenance wants it elsewhere, and it is up nowhere else for sure")
            }
            Stay::Drained => f.write_str("maintenance drains its best site"),
            Stay::NotAutomatic => {
                f.write_str("it should move; there are too few observers to do it without a person")
            }
            Stay::BelowQuorum => {
                f.write_str("too few failure domains say anything clear, so nothing is changed")
            }
            Stay::Confirming { until } => write!(f, "its site is down; it moves if so at {until}"),
            Stay::Held { until } => {
                write!(f, "its site is down; it moved a short while ago and is held until {until}")
            }
            Stay::Limited { until } => write!(
                f,
                "its site is down; it moved too often in the last hour and stays until {until}"
            ),
            Stay::NowhereToGo => f.write_str("its site is down, and no other is up for sure"),
            Stay::AllDown => f.write_str("it is down everywhere; the last answer is kept"),
            Stay::FailBackIsManual => {
                f.write_str("its best site may be back; a person says when to return")
            }
            Stay::Proving { until } => {
                write!(f, "its best site is back and has until {until} to prove itself")
            }
            Stay::Damped => f.write_str("its best site went down too often of late"),
            Stay::Away => f.write_str("its best site is not up"),
            Stay::Sharing { until } => write!(f, "all sites are answered until {until}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} moves from {} to {}: ", self.service, self.from, self.to)?;
        match self.cause {
            Cause::Failover | Cause::AllDown => {}
            Cause::Override | Cause::Ordered => f.write_str("a person ordered it; ")?,
            cause => write!(f, "{cause}; ")?,
        }
        if let Some(why) = &self.why {
            write!(f, "{:?}; ", why)?;
        }
        for (index, evidence) in self.evidence.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{evidence}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", self.site, self.verdict)?;
        let of = |vote: Vote| {
            let domains = self.votes.iter().filter(move |(_, of)| *of == vote);
            domains.map(|(domain, _)| domain.as_str()).collect::<Vec<_>>()
        };
        let said = match self.verdict {
            Verdict::Up => Vote::Up,
            Verdict::Down => Vote::Down,
            Verdict::Unclear => Vote::Undecided,
        };
        if self.verdict != Verdict::Unclear {
            write!(f, " as seen from {}", list(&of(said)))?;
        }
        let mut others = Vec::new();
        for (vote, words) in [
            (Vote::Up, "up from "),
            (Vote::Down, "down from "),
            (Vote::Undecided, "undecided: "),
            (Vote::Blind, "blind: "),
            (Vote::Silent, "nothing from "),
        ] {
            let domains = of(vote);
            if !domains.is_empty() && (vote != said || self.verdict == Verdict::Unclear) {
                others.push(format!("{words}{}", list(&domains)));
            }
        }
        if !others.is_empty() {
            write!(f, " ({})", others.join(", "))?;
        }
        Ok(())
    }
}

fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} and {last}", names.join(", ")),
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::Place { service, site, verdict, tally } => write!(
                f,
                "{service} at {site} is {verdict}: {} up, {} down of {} domains, {} needed",
                tally.up, tally.down, tally.of, tally.quorum
            ),
            Note::Sight { observer, sees: true } => write!(f, "observer {observer} sees again"),
            Note::Sight { observer, sees: false } => {
                write!(f, "observer {observer} sees nothing at all and has no vote")
            }
            Note::Voice { observer, heard: true } => write!(f, "observer {observer} is heard"),
            Note::Voice { observer, heard: false } => {
                write!(f, "nothing is heard of observer {observer}")
            }
            Note::Stays { service, stay } => write!(f, "{service} stays: {stay}"),
            Note::Ignored { observer, why } => {
                write!(f, "a report of {observer} is ignored: {why}")
            }
            Note::ClockSetBack { by } => {
                write!(f, "the clock was set back by {by}; all observations are forgotten")
            }
            Note::Refused { why } => write!(f, "refused: {why}"),
            Note::OverrideEnded { service: Some(service) } => {
                write!(f, "an override of {service} ended")
            }
            Note::OverrideEnded { service: None } => {
                f.write_str("an override of all services ended")
            }
            Note::Scheduled { window } => write!(f, "maintenance {window} is announced"),
            Note::WindowClosed { window } => write!(f, "maintenance {window} is over"),
            Note::Everywhere { epoch } => write!(f, "all name servers hold decision {epoch}"),
            Note::Adopted { epoch } => write!(f, "decision {epoch} is the later one and holds"),
        }
    }
}
