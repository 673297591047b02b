//! What is to change, as a value to look at before anything happens.
//!
//! A failover changes the addresses of managed names, whose possible values are known beforehand, and
//! never waits for anybody: it has no threshold. Everything else is a change that somebody made, and a
//! mistake there is on all six servers within a second: it has thresholds, and a preview.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::diff::{Change, Diff};
use crate::epoch::{Active, Epoch, EpochRecord, SiteId};
use crate::name::Name;
use crate::rdata::RecordType;
use crate::rrset::RRset;
use crate::topology::{Domain, Topology};
use crate::zone::Zone;

/// What is known of a zone as it is served. What could not be read is never taken for empty.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Current {
    /// This is served.
    Zone(Box<Zone>),
    /// Every server says that it has no such zone.
    Missing,
    /// Nobody could say.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Of what sort a change is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ChangeClass {
    /// An address set that follows the active site, from one of its known values to another.
    Managed,
    /// Anything else.
    Other,
}

/// How much of a zone a plan may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Only the managed sets, whatever else the configuration says by now.
    Managed,
    /// Everything: the zone becomes what the configuration makes of it.
    Everything,
}

/// What is to change in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ZonePlan {
    /// Where it points now, as far as known.
    pub from: Option<Active>,
    /// Where it is to point.
    pub to: Active,
    /// How much of it may change.
    pub scope: Scope,
    /// The changes, without the serial, the epoch and the digest that go along.
    pub changes: Vec<(ChangeClass, Change)>,
    /// How many RRsets it has now.
    pub rrsets: usize,
    /// What would be wrong with it, in some state of failover; looked for only where something else
    /// changes than what failover manages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Diagnostic>,
    /// Why nothing can be said of it, and so nothing be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// What is to change in many zones. It can be stored and shown, and is not read back: one that somebody
/// else had in hands would have to be made anew from what is served anyway.
///
/// ```
/// use dns_failover::testing::draft;
/// use dns_failover::{Active, Plan, PlanGuards, SiteId, Topology};
///
/// let topology = Topology::new(draft(1)).map_err(|faults| faults[0].to_string())?;
/// let (uk, us) = (Active::One(SiteId::Uk), Active::One(SiteId::Us));
/// let plan = Plan::failover(&topology, topology.domains().keys().map(|name| (name, Some(uk), us)));
/// assert!(plan.to_string().contains("-www.customer0.example. 30 IN A 192.0.2.10\n"));
/// let approved = plan.approve(&PlanGuards::default())?;
/// # let _ = approved;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[must_use]
pub struct Plan {
    /// The version of this form: 1.
    pub format: u32,
    /// By zone.
    pub zones: BTreeMap<Name, ZonePlan>,
}

/// How much may change at once besides what a failover changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlanGuards {
    /// Of a zone's RRsets, at most so many percent; smaller zones than [`small`](Self::small) have no
    /// limit.
    pub percent_of_zone: u8,
    /// Of all zones, at most so many percent.
    pub percent_of_zones: u8,
    /// What counts as few: RRsets in a zone, or zones.
    pub small: usize,
    /// Somebody has seen the preview and wants all of it.
    pub confirmed: bool,
}

impl Default for PlanGuards {
    fn default() -> PlanGuards {
        PlanGuards { percent_of_zone: 30, percent_of_zones: 50, small: 10, confirmed: false }
    }
}

impl PlanGuards {
    /// The same, when somebody has seen the preview and wants all of it.
    #[must_use]
    pub fn confirmed(self, confirmed: bool) -> PlanGuards {
        PlanGuards { confirmed, ..self }
    }
}

/// Why a plan is not carried out. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanRefused {
    /// A zone could not be read.
    #[error("{zone} could not be read, and what is not known is not changed: {why}")]
    Unknown {
        /// The zone.
        zone: Name,
        /// Why.
        why: String,
    },
    /// A zone would be wrong, and some servers refuse a whole zone for one record.
    #[error(
        "{zone} would be wrong: {error}; correct it, or confirm the plan if it is meant ({found} such findings)"
    )]
    Faulty {
        /// The zone.
        zone: Name,
        /// The first thing that is wrong.
        error: String,
        /// How many there are.
        found: usize,
    },
    /// Too much of one zone.
    #[error(
        "{changed} of the {all} record sets of {zone} would change besides its addresses, more than {limit} %; look at the plan, and confirm it if it is meant"
    )]
    TooMuchOfZone {
        /// The zone.
        zone: Name,
        /// How many sets would change.
        changed: usize,
        /// How many it has.
        all: usize,
        /// The limit.
        limit: u8,
    },
    /// Too many zones.
    #[error(
        "{changed} of {all} zones would change besides their addresses, more than {limit} %; look at the plan, and confirm it if it is meant"
    )]
    TooManyZones {
        /// How many would change.
        changed: usize,
        /// How many there are.
        all: usize,
        /// The limit.
        limit: u8,
    },
    /// The delegation itself.
    #[error(
        "the name servers of {zone} would change; look at the plan, and confirm it if it is meant"
    )]
    NameServers {
        /// The zone.
        zone: Name,
    },
}

/// A plan that the guards let pass. Only this can be published.
#[derive(Debug, Clone)]
#[must_use]
pub struct ApprovedPlan {
    zones: BTreeMap<Name, (Active, Scope)>,
}

impl ApprovedPlan {
    /// Its zones: where each is to point, and how much of it may change.
    pub fn zones(&self) -> impl Iterator<Item = (&Name, Active, Scope)> {
        self.zones.iter().map(|(name, (to, scope))| (name, *to, *scope))
    }
}

impl Plan {
    /// A failover: domains go from where they point (if that is known) to another site. Domains that
    /// the topology does not have are left out.
    pub fn failover<'a>(
        topology: &Topology,
        moves: impl IntoIterator<Item = (&'a Name, Option<Active>, Active)>,
    ) -> Plan {
        let zone = |(name, from, to): (&Name, Option<Active>, Active)| {
            let domain = topology.domain(name)?;
            let changes = match from {
                Some(from) if from == to => Vec::new(),
                from => managed_changes(topology, domain, from, to),
            };
            let scope = Scope::Managed;
            let plan =
                ZonePlan { from, to, scope, changes, rrsets: 0, errors: Vec::new(), unknown: None };
            Some((name.clone(), plan))
        };
        Plan { format: 1, zones: moves.into_iter().filter_map(zone).collect() }
    }

    /// Everything: zones become what the topology makes of them, pointing where `to` says, by default
    /// where they point already or to their primary.
    pub fn everything(
        topology: &Topology,
        current: &BTreeMap<Name, Current>,
        to: &dyn Fn(&Name) -> Option<Active>,
    ) -> Plan {
        let zones = current.iter().filter_map(|(name, current)| {
            Some((name.clone(), zone_plan(topology, name, current, to(name))?))
        });
        Plan { format: 1, zones: zones.collect() }
    }

    /// Whether nothing is to change.
    pub fn is_empty(&self) -> bool {
        self.zones.values().all(|zone| zone.changes.is_empty())
    }

    /// How many zones change, and how many sets of each class.
    pub fn counts(&self) -> (usize, BTreeMap<ChangeClass, usize>) {
        let mut classes = BTreeMap::new();
        for (class, _) in self.zones.values().flat_map(|zone| &zone.changes) {
            *classes.entry(*class).or_default() += 1;
        }
        (self.zones.values().filter(|zone| !zone.changes.is_empty()).count(), classes)
    }

    /// Holds the plan against the guards.
    ///
    /// # Errors
    /// [`PlanRefused`] for the first thing that goes too far.
    pub fn approve(self, guards: &PlanGuards) -> Result<ApprovedPlan, PlanRefused> {
        for (name, zone) in &self.zones {
            if let Some(why) = &zone.unknown {
                return Err(PlanRefused::Unknown { zone: name.clone(), why: why.clone() });
            }
        }
        if !guards.confirmed {
            self.hold(guards)?;
        }
        let zones = self.zones.into_iter();
        Ok(ApprovedPlan {
            zones: zones.map(|(name, zone)| (name, (zone.to, zone.scope))).collect(),
        })
    }

    fn hold(&self, guards: &PlanGuards) -> Result<(), PlanRefused> {
        let goes_too_far = |changed: usize, all: usize, limit: u8| {
            all >= guards.small && changed * 100 > all * usize::from(limit)
        };
        let mut touched = 0;
        for (name, zone) in &self.zones {
            let others = zone.changes.iter().filter(|(class, _)| *class == ChangeClass::Other);
            let (changed, all) = (others.clone().count(), zone.rrsets);
            let is_ns =
                |change: &Change| change.rtype() == Some(RecordType::NS) && change.before.is_some();
            if others.clone().any(|(_, change)| is_ns(change)) {
                return Err(PlanRefused::NameServers { zone: name.clone() });
            }
            let limit = guards.percent_of_zone;
            if goes_too_far(changed, all, limit) {
                return Err(PlanRefused::TooMuchOfZone { zone: name.clone(), changed, all, limit });
            }
            if let Some(error) = zone.errors.first() {
                let (error, found) = (error.to_string(), zone.errors.len());
                return Err(PlanRefused::Faulty { zone: name.clone(), error, found });
            }
            touched += usize::from(changed > 0 && all > 0);
        }
        let (all, limit) = (self.zones.len(), guards.percent_of_zones);
        if goes_too_far(touched, all, limit) {
            return Err(PlanRefused::TooManyZones { changed: touched, all, limit });
        }
        Ok(())
    }
}

/// One paragraph a zone, each line a record that goes or comes.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, zone) in &self.zones {
            if let Some(why) = &zone.unknown {
                writeln!(f, "{name} is not known: {why}")?;
            } else if !zone.changes.is_empty() {
                let from = zone.from.map_or("nowhere known", Active::as_str);
                writeln!(f, "{name} from {from} to {}", zone.to)?;
            }
            for (_, change) in &zone.changes {
                for (sign, set, other) in
                    [('-', &change.before, &change.after), ('+', &change.after, &change.before)]
                {
                    let Some(set) = set else { continue };
                    let stays = |record: &crate::record::Record| {
                        let same = |other: &RRset| {
                            other.ttl() == set.ttl() && other.rdatas().contains(&record.rdata)
                        };
                        other.as_ref().is_some_and(same)
                    };
                    for record in set.records().filter(|record| !stays(record)) {
                        writeln!(f, "{sign}{record}")?;
                    }
                }
            }
            for error in &zone.errors {
                writeln!(f, "! {error}")?;
            }
        }
        Ok(())
    }
}

fn managed_changes(
    topology: &Topology,
    domain: &Domain,
    from: Option<Active>,
    to: Active,
) -> Vec<(ChangeClass, Change)> {
    let mut before = from.map_or_else(Vec::new, |from| topology.managed_rrsets(domain, from));
    let after = topology.managed_rrsets(domain, to);
    let mut changes = Vec::with_capacity(after.len());
    for after in after {
        let same = |set: &RRset| set.rtype() == after.rtype() && set.owner() == after.owner();
        let place = before.iter().position(same);
        let before = place.map(|place| before.swap_remove(place));
        if before.as_ref() != Some(&after) {
            changes.push((ChangeClass::Managed, Change { before, after: Some(after) }));
        }
    }
    let gone = before.into_iter().map(|set| Change { before: Some(set), after: None });
    changes.extend(gone.map(|change| (ChangeClass::Managed, change)));
    changes
}

fn zone_plan(
    topology: &Topology,
    name: &Name,
    current: &Current,
    to: Option<Active>,
) -> Option<ZonePlan> {
    let is_catalog = *name == topology.authority().catalog;
    let domain = topology.domain(name);
    let home = Active::One(domain.map_or(SiteId::Uk, |domain| domain.primary));
    let scope = Scope::Everything;
    let found = match current {
        Current::Zone(zone) => EpochRecord::of(zone),
        _ => None,
    };
    let from = found.map(|record| record.active);
    let to = to.or(from).unwrap_or(home);
    let epoch = found.map_or_else(|| Epoch::new(1, SiteId::Uk), |record| record.epoch);
    let record = EpochRecord { epoch, active: to };
    let wanted = match domain {
        // The digest is looked at no more than the serial.
        Some(domain) => topology.undigested(domain, record),
        None if is_catalog => topology.catalog_zone(record),
        None => return None,
    };
    let empty = Zone::new(name.clone());
    let now = match current {
        Current::Zone(zone) => zone,
        Current::Missing => &empty,
        Current::Unknown { why } => {
            let (changes, unknown) = (Vec::new(), Some(why.clone()));
            return Some(ZonePlan {
                from,
                to,
                scope,
                changes,
                rrsets: 0,
                errors: Vec::new(),
                unknown,
            });
        }
    };
    let values = domain.map_or_else(BTreeMap::new, |domain| managed_values(topology, domain));
    let diff = Diff::between(now, &wanted).ok()?;
    let changes = diff.changes().iter().filter(|change| !is_book(name, change));
    let changes: Vec<_> = changes.map(|change| (class(change, &values), change.clone())).collect();
    let by_hand = changes.iter().any(|(class, _)| *class == ChangeClass::Other);
    let mut errors = domain.filter(|_| by_hand).map_or_else(Vec::new, |it| topology.check(it));
    errors.retain(Diagnostic::is_error);
    Some(ZonePlan { from, to, scope, changes, rrsets: now.len(), errors, unknown: None })
}

type Values = BTreeMap<(Name, RecordType), BTreeSet<Vec<u8>>>;

/// Every address that a managed name may have in any state.
fn managed_values(topology: &Topology, domain: &Domain) -> Values {
    let mut values = Values::new();
    for set in topology.managed_rrsets(domain, Active::Both) {
        let octets = set.rdatas().iter().map(|rdata| rdata.as_wire().to_vec()).collect();
        values.insert((set.owner().clone(), set.rtype()), octets);
    }
    values
}

fn class(change: &Change, values: &Values) -> ChangeClass {
    let known = |set: &Option<RRset>| {
        let Some(set) = set else { return false };
        let allowed = values.get(&(set.owner().clone(), set.rtype()));
        allowed.is_some_and(|allowed| {
            set.rdatas().iter().all(|rdata| allowed.contains(rdata.as_wire()))
        })
    };
    if known(&change.before) && known(&change.after) {
        ChangeClass::Managed
    } else {
        ChangeClass::Other
    }
}

/// What changes with every epoch: the epoch's record, the digest, and the serial alone of the start of
/// authority.
fn is_book(apex: &Name, change: &Change) -> bool {
    let (Some(owner), Some(rtype)) = (change.owner(), change.rtype()) else { return false };
    match rtype {
        RecordType::ZONEMD => owner == apex,
        RecordType::TXT => apex.child(EpochRecord::LABEL).is_ok_and(|label| label == *owner),
        RecordType::SOA => {
            let soa = |set: &Option<RRset>| set.as_ref().and_then(|set| set.rdatas()[0].soa());
            let serial = soa(&change.after).map(|soa| soa.serial);
            let same = |set: &RRset, other: &RRset| {
                let moved = serial.and_then(|serial| set.rdatas()[0].with_serial(serial));
                moved.as_ref() == Some(&other.rdatas()[0]) && set.ttl() == other.ttl()
            };
            matches!((&change.before, &change.after), (Some(before), Some(after)) if same(before, after))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::draft;
    use crate::topology::Draft;

    const UK: Active = Active::One(SiteId::Uk);
    const US: Active = Active::One(SiteId::Us);

    fn topology(domains: usize, change: impl FnOnce(&mut Draft)) -> Topology {
        let mut draft = draft(domains);
        change(&mut draft);
        Topology::new(draft).unwrap()
    }

    /// What is served when everything is as the topology says.
    fn served(topology: &Topology, active: Active) -> BTreeMap<Name, Current> {
        let record = EpochRecord { epoch: Epoch::new(5, SiteId::Us), active };
        let zone = |domain: &Domain| Current::Zone(Box::new(topology.zone(domain, record)));
        let domains = topology.domains().values();
        domains.map(|domain| (domain.name.clone(), zone(domain))).collect()
    }

    fn everything(topology: &Topology, current: &BTreeMap<Name, Current>) -> Plan {
        Plan::everything(topology, current, &|_| None)
    }

    #[test]
    fn a_failover_of_every_domain_is_held_back_by_nothing() {
        let topology = topology(50, |_| {});
        let moves = topology.domains().keys().map(|name| (name, Some(UK), US));
        let plan = Plan::failover(&topology, moves);
        let (zones, classes) = plan.counts();
        assert_eq!((zones, classes), (50, BTreeMap::from([(ChangeClass::Managed, 200)])));
        assert_eq!(plan.approve(&PlanGuards::default()).unwrap().zones().count(), 50);
        let current = served(&topology, UK);
        let plan = Plan::everything(&topology, &current, &|_| Some(US));
        assert!(plan.approve(&PlanGuards::default()).is_ok());
    }

    #[test]
    fn what_is_served_already_is_no_change() {
        let topology = topology(3, |_| {});
        for active in Active::REACHABLE {
            let plan = everything(&topology, &served(&topology, active));
            assert!(plan.is_empty(), "{plan}");
        }
    }

    #[test]
    fn a_zone_that_servers_would_refuse_waits_for_somebody_to_look() {
        let before = topology(1, |_| {});
        let records = [
            "shop.customer0.example. 60 IN CNAME elsewhere.test.",
            "shop.customer0.example. 60 IN TXT \"beside it\"",
        ];
        let sets = records.map(|record| RRset::of(record.parse().unwrap()));
        let after = topology(1, |draft| draft.domains[0].extra = sets.into());
        let plan = everything(&after, &served(&before, UK));
        assert!(plan.to_string().contains("! error[CNAME01]: "), "{plan}");
        let refused = plan.clone().approve(&PlanGuards::default()).unwrap_err();
        assert!(
            refused.to_string().contains("error[CNAME01]: shop.customer0.example."),
            "{refused}"
        );
        assert!(plan.approve(&PlanGuards::default().confirmed(true)).is_ok());
        // A failover waits for nobody, whatever customers have written.
        let plan = Plan::everything(&after, &served(&after, UK), &|_| Some(US));
        assert!(plan.approve(&PlanGuards::default()).is_ok());
    }

    #[test]
    fn much_of_a_zone_waits_for_somebody_to_look() {
        let before = topology(1, |_| {});
        let after = topology(1, |draft| draft.authority.ttl = 7200);
        let plan = everything(&after, &served(&before, UK));
        let refused = plan.clone().approve(&PlanGuards::default()).unwrap_err();
        assert!(matches!(refused, PlanRefused::TooMuchOfZone { .. }), "{refused}");
        assert!(plan.approve(&PlanGuards::default().confirmed(true)).is_ok());
    }

    #[test]
    fn a_little_of_many_zones_waits_too() {
        let before = topology(20, |_| {});
        let after = topology(20, |draft| {
            draft.sites[0].dkim[0].text = b"v=DKIM1; k=ed25519; p=".to_vec();
        });
        let plan = everything(&after, &served(&before, UK));
        let refused = plan.approve(&PlanGuards::default()).unwrap_err();
        assert!(
            matches!(refused, PlanRefused::TooManyZones { changed: 20, all: 20, .. }),
            "{refused}"
        );
    }

    #[test]
    fn other_name_servers_wait_for_somebody_to_look() {
        let before = topology(1, |_| {});
        let after = topology(1, |draft| {
            draft.name_servers[4].name = "ns9.host.uk.".parse().unwrap();
        });
        let plan = everything(&after, &served(&before, UK));
        let refused = plan.approve(&PlanGuards::default()).unwrap_err();
        assert!(matches!(refused, PlanRefused::NameServers { .. }), "{refused}");
    }

    #[test]
    fn an_address_that_is_nobodys_is_no_managed_change() {
        let before = topology(1, |draft| {
            draft.sites[0].web = ["203.0.113.1".parse().unwrap()].into_iter().collect();
            draft.sites[1].web = ["203.0.113.2".parse().unwrap()].into_iter().collect();
        });
        let after = topology(1, |_| {});
        let plan = everything(&after, &served(&before, UK));
        let others = plan.counts().1.get(&ChangeClass::Other).copied().unwrap_or_default();
        assert!(others > 0, "{plan}");
    }

    #[test]
    fn what_is_not_known_is_not_changed() {
        let topology = topology(1, |_| {});
        let name = topology.domains().keys().next().unwrap().clone();
        let unknown = Current::Unknown { why: "nobody answers".into() };
        let plan = everything(&topology, &BTreeMap::from([(name, unknown)]));
        let refused = plan.approve(&PlanGuards::default().confirmed(true)).unwrap_err();
        assert!(refused.to_string().contains("nobody answers"), "{refused}");
    }

    #[test]
    fn a_new_zone_is_no_loss() {
        let topology = topology(1, |_| {});
        let name = topology.domains().keys().next().unwrap().clone();
        let plan = everything(&topology, &BTreeMap::from([(name, Current::Missing)]));
        assert!(!plan.is_empty());
        assert!(plan.approve(&PlanGuards::default()).is_ok());
    }

    #[test]
    fn a_plan_is_told_to_machines() {
        let topology = topology(2, |_| {});
        let plan = Plan::everything(&topology, &served(&topology, UK), &|_| Some(US));
        let json = serde_json::to_string(&plan).unwrap();
        assert!(json.starts_with("{\"format\":1,"), "{json}");
        assert!(json.contains("\"managed\""), "{json}");
    }
}
