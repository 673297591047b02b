//! Who wrote a zone last: the fence that keeps two controllers from undoing one another.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rdata::{Data, RecordType};
use crate::rrset::RRset;
use crate::serial::Serial;
use crate::zone::Zone;

/// One of the two sites: its server, and the controller that runs there. The names are those of the
/// provider that this was made for; nothing depends on the geography.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SiteId {
    /// The first one. Its controller writes even serials.
    Uk,
    /// The second one. Its controller writes odd serials.
    Us,
}

impl SiteId {
    /// Both.
    pub const ALL: [SiteId; 2] = [SiteId::Uk, SiteId::Us];

    /// The other one.
    #[must_use]
    pub fn other(self) -> SiteId {
        match self {
            SiteId::Uk => SiteId::Us,
            SiteId::Us => SiteId::Uk,
        }
    }

    /// `uk` or `us`.
    pub fn as_str(self) -> &'static str {
        match self {
            SiteId::Uk => "uk",
            SiteId::Us => "us",
        }
    }

    /// The site that is called so.
    pub fn named(name: &str) -> Option<SiteId> {
        SiteId::ALL.into_iter().find(|site| site.as_str() == name)
    }
}

impl fmt::Display for SiteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a domain's managed names point: the state that a failover changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub enum Active {
    /// To one site.
    One(SiteId),
    /// To both: while a fail-back is tried out, or when both are thought to be down.
    Both,
}

impl Active {
    /// Every state that a domain can be in. Whatever is said of a domain must hold in each.
    pub const REACHABLE: [Active; 3] =
        [Active::One(SiteId::Uk), Active::One(SiteId::Us), Active::Both];

    /// Whether visitors are sent to this site.
    pub fn includes(self, site: SiteId) -> bool {
        match self {
            Active::One(active) => active == site,
            Active::Both => true,
        }
    }

    /// The state that is called so.
    pub fn named(name: &str) -> Option<Active> {
        Active::REACHABLE.into_iter().find(|active| active.as_str() == name)
    }

    /// `uk`, `us` or `both`.
    pub fn as_str(self) -> &'static str {
        match self {
            Active::One(site) => site.as_str(),
            Active::Both => "both",
        }
    }
}

impl From<Active> for &'static str {
    fn from(active: Active) -> &'static str {
        active.as_str()
    }
}

impl TryFrom<String> for Active {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Active, &'static str> {
        Active::named(&name).ok_or("a domain points to uk, us or both")
    }
}

impl fmt::Display for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which change a zone is at, and whose it was. Epochs are totally ordered, first by number and
/// then by controller, and each has a serial of its own: UK's are even and US's odd, so that two
/// controllers never give one serial to two contents, and a higher epoch is a higher serial.
///
/// ```
/// use dns_failover::{Epoch, SiteId};
///
/// let uk = Epoch::new(500, SiteId::Uk);
/// let us = Epoch::new(500, SiteId::Us);
/// assert!(uk < us && us < uk.next(SiteId::Uk));
/// assert_eq!((uk.serial().get(), us.serial().get()), (1000, 1001));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch {
    number: u64,
    controller: SiteId,
}

impl Epoch {
    /// The epoch of this number; the one whose serial would be 0 gives way to the one after it,
    /// because some programs take serial 0 for "none".
    pub fn new(number: u64, controller: SiteId) -> Epoch {
        let epoch = Epoch { number, controller };
        if epoch.serial().get() == 0 {
            Epoch { number: number.saturating_add(1), controller }
        } else {
            epoch
        }
    }

    /// The epoch for a zone that has none yet, at this many seconds since 1970. Its serial is about
    /// that number, as that of many other tools.
    pub fn starting(unix_seconds: u64, controller: SiteId) -> Epoch {
        Epoch::new(unix_seconds / 2, controller)
    }

    /// The first epoch of `controller` after this one.
    #[must_use]
    pub fn next(self, controller: SiteId) -> Epoch {
        Epoch::new(self.number.saturating_add(1), controller)
    }

    /// The first epoch of `controller` whose serial is newer than both this epoch's and `serial`,
    /// which somebody else gave to the zone (RFC 1982).
    #[must_use]
    pub fn next_after(self, serial: Serial, controller: SiteId) -> Epoch {
        let next = self.next(controller);
        if next.serial() > serial {
            return next;
        }
        // As many numbers ahead as bring the serial past the other one: half the distance, since
        // each number stands for two serials.
        let distance = serial.get().wrapping_sub(next.serial().get());
        Epoch::new(next.number.saturating_add(u64::from(distance / 2) + 1), controller)
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.number
    }

    /// Whose it is.
    pub fn controller(self) -> SiteId {
        self.controller
    }

    /// The serial of the zone in this epoch.
    pub fn serial(self) -> Serial {
        let odd = u64::from(self.controller == SiteId::Us);
        // The circle of serials is as wide as the mask; the number itself never goes round.
        let low = (self.number.wrapping_mul(2).wrapping_add(odd)) & u64::from(u32::MAX);
        Serial::new(u32::try_from(low).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.number, self.controller)
    }
}

/// What the TXT record at `_epoch` says: the epoch, and where the domain points in it.
///
/// ```
/// use dns_failover::{Active, Epoch, EpochRecord, SiteId};
///
/// let record = EpochRecord { epoch: Epoch::new(501, SiteId::Us), active: Active::One(SiteId::Us) };
/// assert_eq!(record.to_string(), "epoch=501 controller=us active=us");
/// assert_eq!(EpochRecord::parse(record.to_string().as_bytes()), Some(record));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Which change the zone is at.
    pub epoch: Epoch,
    /// Where the managed names point.
    pub active: Active,
}

impl EpochRecord {
    /// The label below the apex that carries it.
    pub const LABEL: &'static str = "_epoch";

    /// The record of a zone, if it is one of ours.
    pub fn of(zone: &Zone) -> Option<EpochRecord> {
        let label = zone.origin().child(EpochRecord::LABEL).ok()?;
        EpochRecord::in_set(zone.get(&label, RecordType::TXT)?)
    }

    pub(crate) fn in_set(set: &RRset) -> Option<EpochRecord> {
        match (set.rdatas(), set.rdatas()[0].data()) {
            ([_], Data::Txt(strings)) => EpochRecord::parse(&strings.joined()),
            _ => None,
        }
    }

    /// Reads the text of the record; None for anything that is not exactly ours.
    pub fn parse(text: &[u8]) -> Option<EpochRecord> {
        let text = std::str::from_utf8(text).ok()?;
        let mut words = text.split(' ');
        let mut value = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
        let number = value("epoch")?.parse().ok()?;
        let controller = SiteId::named(value("controller")?)?;
        let active = Active::named(value("active")?)?;
        let record = EpochRecord { epoch: Epoch::new(number, controller), active };
        // One epoch has one spelling, because prerequisites compare octets.
        (record.to_string() == text).then_some(record)
    }
}

impl fmt::Display for EpochRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Epoch { number, controller } = self.epoch;
        write!(f, "epoch={number} controller={controller} active={}", self.active)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epochs() -> impl Strategy<Value = Epoch> {
        let near_the_turn = (1_u64 << 31) - 3..(1 << 31) + 3;
        (prop_oneof![0..1_u64 << 40, near_the_turn], prop::sample::select(&SiteId::ALL[..]))
            .prop_map(|(number, controller)| Epoch::new(number, controller))
    }

    proptest! {
        #[test]
        fn a_later_epoch_has_a_newer_serial(
            epoch in epochs(),
            controller in prop::sample::select(&SiteId::ALL[..]),
        ) {
            let next = epoch.next(controller);
            prop_assert!(next > epoch && next.serial() > epoch.serial());
            prop_assert_eq!(next.serial().get() % 2 == 1, controller == SiteId::Us);
            prop_assert_ne!(next.serial().get(), 0);
        }

        #[test]
        fn a_foreign_serial_is_passed(
            epoch in epochs(),
            ahead in 0..1_u32 << 31,
            controller in prop::sample::select(&SiteId::ALL[..]),
        ) {
            let foreign = Serial::new(epoch.serial().get().wrapping_add(ahead));
            let next = epoch.next_after(foreign, controller);
            prop_assert!(next > epoch && next.serial() > foreign, "{next} {} {foreign}", next.serial());
        }

        #[test]
        fn a_record_comes_back(
            epoch in epochs(),
            active in prop::sample::select(&Active::REACHABLE[..]),
        ) {
            let record = EpochRecord { epoch, active };
            prop_assert_eq!(EpochRecord::parse(record.to_string().as_bytes()), Some(record));
        }

        #[test]
        fn no_text_makes_it_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = EpochRecord::parse(&text);
        }
    }

    #[test]
    fn only_its_own_spelling_is_a_record() {
        for text in [
            "",
            "epoch=1",
            "epoch=01 controller=uk active=uk",
            "epoch=1 controller=de active=uk",
            "epoch=1 controller=uk active=uk ",
            "epoch=-1 controller=uk active=uk",
            "epoch=99999999999999999999 controller=uk active=uk",
        ] {
            assert_eq!(EpochRecord::parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
