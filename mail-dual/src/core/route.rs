//! Which legs a recipient's mail takes, and the policies that go with that.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::accept::Port;
use crate::core::leg_name::LegName;
use crate::core::transition::Share;
use crate::envelope::{Envelope, ForwardPath};

/// When 250 is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AckPolicy {
    /// When the message is on this host's disk: it survives any crash.
    #[default]
    Spooled,
    /// When it is also on the peer's disk: it survives the loss of this one. With the peer away
    /// it is said all the same, and so is that.
    SpooledAndPeer,
    /// When all legs have it. With one away it is said all the same, and so is that.
    AllLegs,
}

/// When the sender is told that somebody was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BouncePolicy {
    /// When no leg can deliver. What one leg refuses and another takes is the operator's affair.
    #[default]
    AllLegsFailed,
    /// When any leg cannot.
    AnyLegFailed,
    /// Never; only the operator is.
    Never,
}

/// Which recipients a route is for: `user@domain`, `*@domain`, `*@*.domain` (any domain below
/// it), `user` (without a domain, as `postmaster`), or `*` for everybody.
///
/// Upper and lower case are the same, in the local part as well: no two accounts differ in it
/// alone.
///
/// ```
/// use mail_dual::{ForwardPath, Pattern};
///
/// let pattern: Pattern = "*@*.example.org".parse()?;
/// assert!(pattern.matches(&ForwardPath::new("Ann@mail.EXAMPLE.org")?));
/// assert!(!pattern.matches(&ForwardPath::new("ann@example.org")?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// None for any.
    local: Option<String>,
    domain: DomainPattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum DomainPattern {
    /// With or without one.
    Any,
    /// An address without a domain.
    Missing,
    Is(String),
    Below(String),
}

/// A text that is no pattern of recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of recipients is user@domain, *@domain, *@*.domain, user, or * for everybody")]
pub struct BadPattern;

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Pattern, BadPattern> {
        let text = text.to_lowercase();
        let plain = |part: &str| {
            !part.is_empty()
                && !part.contains('*')
                && !part.chars().any(|c| c.is_whitespace() || c.is_control())
        };
        let Some((local, domain)) = text.rsplit_once('@') else {
            return match text.as_str() {
                "*" => Ok(Pattern { local: None, domain: DomainPattern::Any }),
                local if plain(local) => {
                    let local = Some(local.to_owned());
                    Ok(Pattern { local, domain: DomainPattern::Missing })
                }
                _ => Err(BadPattern),
            };
        };
        let local = match local {
            "*" => None,
            local if plain(local) => Some(local.to_owned()),
            _ => return Err(BadPattern),
        };
        let domain = match domain.strip_prefix("*.") {
            Some(above) if plain(above) => DomainPattern::Below(above.to_owned()),
            None if plain(domain) => DomainPattern::Is(domain.to_owned()),
            _ => return Err(BadPattern),
        };
        Ok(Pattern { local, domain })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.local.as_deref().unwrap_or("*");
        match &self.domain {
            DomainPattern::Any | DomainPattern::Missing => write!(f, "{local}"),
            DomainPattern::Is(domain) => write!(f, "{local}@{domain}"),
            DomainPattern::Below(domain) => write!(f, "{local}@*.{domain}"),
        }
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Pattern, BadPattern> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.to_string()
    }
}

impl Pattern {
    /// Whether this recipient is one of those.
    pub fn matches(&self, recipient: &ForwardPath) -> bool {
        let local = recipient.local_part().to_lowercase();
        if self.local.as_ref().is_some_and(|wanted| *wanted != local) {
            return false;
        }
        let domain = recipient.domain().map(str::to_lowercase);
        match (&self.domain, domain) {
            (DomainPattern::Any, _) | (DomainPattern::Missing, None) => true,
            (DomainPattern::Is(wanted), Some(domain)) => *wanted == domain,
            (DomainPattern::Below(above), Some(domain)) => {
                domain.strip_suffix(above.as_str()).is_some_and(|below| below.ends_with('.'))
            }
            _ => false,
        }
    }
}

/// Some recipients, and the legs that all of them are delivered through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Whom it is for.
    pub recipients: Vec<Pattern>,
    /// Where their mail goes.
    pub legs: Vec<LegName>,
}

/// Which legs a recipient's mail takes. The first route that fits counts.
///
/// ```
/// use mail_dual::{Envelope, ForwardPath, Port, ReversePath, Route, RoutingTable};
///
/// let routes = vec![Route {
///     recipients: vec!["*@example.org".parse()?],
///     legs: vec!["uk".parse()?, "us".parse()?],
/// }];
/// // The leg to the other relay is not used for what comes from there.
/// let table = RoutingTable::new(routes, ["us".parse()?]);
/// let envelope = Envelope::new(ReversePath::null(), [ForwardPath::new("ann@example.org")?])?;
/// let names = |port| -> Vec<String> {
///     table.plan(port, &envelope).unwrap().iter().map(|share| share.leg.to_string()).collect()
/// };
/// assert_eq!(names(Port::Fanout), ["uk", "us"]);
/// assert_eq!(names(Port::Peer), ["uk"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoutingTable {
    routes: Vec<Route>,
    peers: Vec<LegName>,
}

impl RoutingTable {
    /// A table of `routes`; `peers` are the legs that lead to another relay.
    pub fn new(routes: Vec<Route>, peers: impl IntoIterator<Item = LegName>) -> RoutingTable {
        RoutingTable { routes, peers: peers.into_iter().collect() }
    }

    /// The legs that lead to another relay.
    pub fn peers(&self) -> &[LegName] {
        &self.peers
    }

    /// The legs for one recipient; none when it is nobody of ours. What came from the peer never
    /// goes to a peer.
    pub fn legs(&self, port: Port, recipient: &ForwardPath) -> Vec<LegName> {
        let fits = |route: &&Route| route.recipients.iter().any(|one| one.matches(recipient));
        let Some(route) = self.routes.iter().find(fits) else {
            return Vec::new();
        };
        let mut legs: Vec<LegName> = Vec::with_capacity(route.legs.len());
        for leg in &route.legs {
            let allowed = port == Port::Fanout || !self.peers.contains(leg);
            if allowed && !legs.contains(leg) {
                legs.push(leg.clone());
            }
        }
        legs
    }

    /// Which leg delivers to which recipients of an envelope.
    ///
    /// # Errors
    ///
    /// The first recipient that no leg serves.
    pub fn plan(&self, port: Port, envelope: &Envelope) -> Result<Vec<Share>, ForwardPath> {
        let mut plan: Vec<Share> = Vec::new();
        for (at, recipient) in envelope.recipients().iter().enumerate() {
            let legs = self.legs(port, &recipient.path);
            if legs.is_empty() {
                return Err(recipient.path.clone());
            }
            for leg in legs {
                match plan.iter_mut().find(|share| share.leg == leg) {
                    Some(share) => share.recipients.push(at as u32),
                    None => plan.push(Share { leg, recipients: vec![at as u32] }),
                }
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::ReversePath;
    use proptest::prelude::*;

    fn path(text: &str) -> ForwardPath {
        ForwardPath::new(text).unwrap()
    }

    #[test]
    fn patterns_are_for_whom_they_say() {
        for (pattern, fits, others) in [
            ("ann@example.org", vec!["ANN@Example.Org"], vec!["bob@example.org", "ann@x.org"]),
            ("*@example.org", vec!["a@example.org"], vec!["a@mail.example.org", "postmaster"]),
            ("*@*.example.org", vec!["a@b.c.example.org"], vec!["a@badexample.org"]),
            ("postmaster", vec!["Postmaster"], vec!["postmaster@example.org"]),
            ("*", vec!["postmaster", "a@b"], vec![]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            assert_eq!(parsed.to_string(), pattern);
            assert!(fits.iter().all(|address| parsed.matches(&path(address))), "{pattern}");
            assert!(!others.iter().any(|address| parsed.matches(&path(address))), "{pattern}");
        }
        for bad in ["", "@", "a@", "@b", "a*@b", "*@*", "*@**.b", "a b@c", "**", "a@*.", "*.b"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        /// No recipient is lost or doubled on its way into a plan.
        #[test]
        fn a_plan_has_each_recipient_once_a_leg(numbers in proptest::collection::vec(0u8..6, 1..20)) {
            let table = RoutingTable::new(
                vec![
                    Route {
                        recipients: vec!["u0@x".parse().unwrap(), "u1@x".parse().unwrap()],
                        legs: vec!["uk".parse().unwrap()],
                    },
                    Route {
                        recipients: vec!["*@x".parse().unwrap()],
                        legs: ["uk", "us", "uk"].map(|leg| leg.parse().unwrap()).to_vec(),
                    },
                ],
                [],
            );
            let paths = numbers.iter().map(|number| path(&format!("u{number}@x")));
            let envelope = Envelope::new(ReversePath::null(), paths).unwrap();
            let plan = table.plan(Port::Fanout, &envelope).unwrap();
            for (at, number) in numbers.iter().enumerate() {
                let legs = plan.iter().filter(|share| share.recipients.contains(&(at as u32)));
                prop_assert_eq!(legs.count(), if *number < 2 { 1 } else { 2 });
            }
            for share in &plan {
                prop_assert!(share.recipients.windows(2).all(|pair| pair[0] < pair[1]));
            }
        }
    }
}
