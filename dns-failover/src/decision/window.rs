//! What people order: maintenance, and overrides.

use serde::{Deserialize, Serialize};

use super::id::{ServiceId, SiteId, WindowId};
use super::time::{Millis, Timestamp};

/// A time in which a site is not to be relied on. Its probes go on, and it is left in good time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Its name.
    pub id: WindowId,
    /// The site.
    pub site: SiteId,
    /// The first instant.
    pub starts: Timestamp,
    /// The first instant after it.
    pub ends: Timestamp,
    /// What is done, for people. At most 200 characters count.
    #[serde(default)]
    pub title: String,
}

impl Window {
    /// Whether the site is to be empty at `now`: from `lead` before the start on, so that answers
    /// which were given before have gone from the caches when it starts.
    pub fn drains(&self, now: Timestamp, lead: Millis) -> bool {
        now + lead >= self.starts && now < self.ends
    }

    /// Whether it is under way.
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.drains(now, Millis::ZERO)
    }

    /// Whether both take two different sites at one time.
    pub(super) fn collides(&self, other: &Window, lead: Millis) -> bool {
        self.site != other.site
            && self.starts < other.ends + lead
            && other.starts < self.ends + lead
    }
}

/// A person's word, which outranks everything until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// The service; all of them when none is given.
    #[serde(default)]
    pub service: Option<ServiceId>,
    /// Where it is to be.
    pub site: SiteId,
    /// The first instant at which it holds no more.
    pub until: Timestamp,
    /// Who said so.
    pub who: String,
    /// Why.
    pub why: String,
}

impl Override {
    pub(super) fn covers(&self, service: ServiceId) -> bool {
        self.service.is_none_or(|of| of == service)
    }
}
