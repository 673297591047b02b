//! What a topology must hold to.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::fault::{DraftPlace, DraftRule, DraftSection, Fault};
use super::{Addresses, Domain, Draft, Feed, MAX_MANAGED_TTL, NAME_SERVERS, NameServer};
use crate::epoch::{EpochRecord, SiteId};
use crate::name::Name;
use crate::rdata::RecordType;

/// Everything that is wrong, in the order in which it is written.
pub(super) fn faults(draft: &Draft) -> Vec<Fault> {
    let mut faults = Faults(Vec::new());
    sites(draft, &mut faults);
    authority(draft, &mut faults);
    name_servers(draft, &mut faults);
    domains(draft, &mut faults);
    faults.0.sort_by_key(|fault| fault.place);
    faults.0
}

struct Faults(Vec<Fault>);

impl Faults {
    fn all(&mut self, section: DraftSection, rule: DraftRule) {
        self.0.push(Fault { place: DraftPlace { section, index: None, field: None }, rule });
    }

    fn one(&mut self, section: DraftSection, index: usize, field: &'static str, rule: DraftRule) {
        let place = DraftPlace { section, index: Some(index), field: Some(field) };
        self.0.push(Fault { place, rule });
    }
}

fn sites(draft: &Draft, faults: &mut Faults) {
    let section = DraftSection::Sites;
    let mut complete = true;
    for id in SiteId::ALL {
        let found = draft.sites.iter().filter(|site| site.id == id).count();
        if found != 1 {
            faults.all(section, DraftRule::SiteCount { id, found });
            complete = false;
        }
    }
    for (index, site) in draft.sites.iter().enumerate() {
        for (field, addresses) in [("web", &site.web), ("mail", &site.mail)] {
            if addresses.is_empty() {
                faults.one(section, index, field, DraftRule::NoAddress);
            }
            useless(addresses, |rule| faults.one(section, index, field, rule));
        }
        if !site.mail_host.is_host_name() {
            faults.one(section, index, "mail-host", DraftRule::HostName(site.mail_host.clone()));
        }
    }
    if !complete {
        return;
    }
    for (index, site) in draft.sites.iter().enumerate() {
        let other = draft.sites.iter().find(|other| other.id != site.id);
        let Some(other) = other.filter(|_| !site.web.is_empty()) else { continue };
        let lacks = [
            (4, site.web.v4().is_empty() && !other.web.v4().is_empty()),
            (6, site.web.v6().is_empty() && !other.web.v6().is_empty()),
        ];
        for (version, _) in lacks.into_iter().filter(|(_, lacks)| *lacks) {
            faults.one(section, index, "web", DraftRule::Family { id: site.id, version });
        }
        let selectors = other.dkim.iter().map(|dkim| &dkim.selector);
        for selector in selectors.filter(|_| site.id == SiteId::Us) {
            if site.dkim.iter().any(|dkim| dkim.selector == *selector) {
                let (value, by) = (selector.to_string(), other.id.to_string());
                faults.one(
                    section,
                    index,
                    "dkim",
                    DraftRule::Repeated { what: "selector", value, by },
                );
            }
        }
    }
}

fn authority(draft: &Draft, faults: &mut Faults) {
    let authority = &draft.authority;
    let mut value = |field, why: &str| {
        let place =
            DraftPlace { section: DraftSection::Authority, index: None, field: Some(field) };
        faults.0.push(Fault { place, rule: DraftRule::Value(why.to_owned()) });
    };
    if authority.retry >= authority.refresh {
        value(
            "retry",
            "secondaries would ask again later than they ask anyway: retry must be shorter than refresh",
        );
    }
    if authority.expire <= authority.refresh.saturating_add(authority.retry) {
        value(
            "expire",
            "secondaries would give up before they have tried again: expire must be longer than refresh and retry",
        );
    }
    let times = [
        ("refresh", authority.refresh),
        ("expire", authority.expire),
        ("minimum", authority.minimum),
        ("ttl", authority.ttl),
        ("ns-ttl", authority.ns_ttl),
        ("mx-ttl", authority.mx_ttl),
    ];
    for (field, seconds) in times {
        if seconds == 0 || seconds > i32::MAX.unsigned_abs() {
            value(field, "a time must be between 1 s and 2147483647 s (RFC 2181 section 8)");
        }
    }
    if authority.catalog.is_root() || !is_plain(&authority.catalog) {
        value("catalog", PLAIN);
    }
    if draft.domains.iter().any(|domain| domain.name == authority.catalog) {
        value("catalog", "the catalog zone cannot be a domain as well");
    }
}

fn name_servers(draft: &Draft, faults: &mut Faults) {
    let section = DraftSection::NameServers;
    let servers = &draft.name_servers;
    if servers.len() != NAME_SERVERS {
        faults.all(section, DraftRule::NameServerCount { found: servers.len() });
    }
    let mut owners: BTreeMap<IpAddr, &Name> = BTreeMap::new();
    let mut names: BTreeMap<&Name, usize> = BTreeMap::new();
    for (index, server) in servers.iter().enumerate() {
        let mut fault = |field, rule| faults.one(section, index, field, rule);
        if !server.name.is_host_name() {
            fault("name", DraftRule::HostName(server.name.clone()));
        }
        if let Some(before) = names.insert(&server.name, index) {
            let by = format!("name server {}", before + 1);
            fault(
                "name",
                DraftRule::Repeated { what: "the name", value: server.name.to_string(), by },
            );
        }
        if server.addresses.is_empty() {
            fault("addresses", DraftRule::NoAddress);
        }
        useless(&server.addresses, |rule| fault("addresses", rule));
        for address in server.addresses.iter() {
            if let Some(before) = owners.insert(address, &server.name) {
                let (value, by) = (address.to_string(), before.to_string());
                fault("addresses", DraftRule::Repeated { what: "the address", value, by });
            }
        }
        if !is_plain(server.key.name()) {
            fault("key", DraftRule::Value(format!("the key's name: {PLAIN}")));
        }
        // They go into configurations, and only what needs no quoting there may.
        let folder = server.folder.to_str().filter(|path| path.starts_with('/'));
        let safe = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        if !folder.is_some_and(|path| path.chars().all(safe)) {
            let why = "the folder must be an absolute path of letters, digits and /._-+";
            fault("folder", DraftRule::Value(why.to_owned()));
        }
        if server.user.as_ref().is_some_and(|user| user.is_empty() || !user.chars().all(safe)) {
            let why = "the user's name may have letters, digits and ._-+";
            fault("user", DraftRule::Value(why.to_owned()));
        }
        if server.listen.is_empty() {
            fault("listen", DraftRule::NoAddress);
        }
        feed(server, servers, &mut fault);
    }
    // What follows is about all of them, and says little about a few.
    if servers.len() < 2 {
        return;
    }
    one_prefix(servers, faults);
    if let Some(location) = one_location(servers.iter()) {
        let consequence = "no domain is found any more";
        faults.all(section, DraftRule::OneLocation { which: "", location, consequence });
    } else if let Some(location) =
        one_location(servers.iter().filter(|server| !matches!(server.feed, Feed::Transfer { .. })))
    {
        let consequence = "nothing can be changed on the others";
        let which = "that can be changed ";
        faults.all(section, DraftRule::OneLocation { which, location, consequence });
    }
    cyclic_glue(draft, faults);
}

fn feed(
    server: &NameServer,
    servers: &[NameServer],
    fault: &mut impl FnMut(&'static str, DraftRule),
) {
    match &server.feed {
        Feed::Update if !server.software.takes_updates() => {
            fault("feed", DraftRule::TakesNoUpdate(server.software.as_str()));
        }
        Feed::Update => {}
        Feed::Transfer { from } if from.is_empty() => fault("from", DraftRule::NoPrimary),
        Feed::Transfer { from } => {
            let is_primary = |name: &&Name| {
                let mut fellows = servers.iter().filter(|other| other.name == **name);
                fellows.any(|other| other.feed == Feed::Update)
            };
            for name in from.iter().filter(|name| !is_primary(name)) {
                fault("from", DraftRule::BadPrimary(name.clone()));
            }
        }
        Feed::Files { reload } if reload.command.is_empty() => fault("reload", DraftRule::NoReload),
        Feed::Files { .. } => {}
    }
}

/// Addresses that no resolver on the Internet could use. Loopback passes: tests and drills live there.
fn useless(addresses: &Addresses, mut fault: impl FnMut(DraftRule)) {
    for address in addresses.iter() {
        let bad = match address {
            IpAddr::V4(v4) => v4.is_multicast() || v4.is_broadcast() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_multicast() || v6.is_unicast_link_local(),
        };
        if bad || address.is_unspecified() {
            fault(DraftRule::UselessAddress(address));
        }
    }
}

fn one_location<'a>(mut servers: impl Iterator<Item = &'a NameServer>) -> Option<String> {
    let first = &servers.next()?.location;
    servers.all(|server| server.location == *first).then(|| first.clone())
}

/// Routes are announced by /24 and /48, so that is what one mistake takes away.
fn one_prefix(servers: &[NameServer], faults: &mut Faults) {
    let prefix = |address: IpAddr| match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    };
    for v6 in [false, true] {
        let addresses = servers.iter().flat_map(|server| server.addresses.iter());
        let mut prefixes: Vec<String> =
            addresses.filter(|address| address.is_ipv6() == v6).map(prefix).collect();
        let found = prefixes.len();
        prefixes.dedup();
        if let [only] = prefixes.as_slice()
            && found > 1
        {
            faults.all(DraftSection::NameServers, DraftRule::OnePrefix(only.clone()));
        }
    }
}

/// A server can be found when its name lies in a zone that others serve, or when the registry hands
/// out its address together with the delegation of the zone that its name is in. As all six serve
/// every zone of ours, one that can be found is enough.
fn cyclic_glue(draft: &Draft, faults: &mut Faults) {
    let ours = |name: &Name| draft.domains.iter().any(|domain| name.is_within(&domain.name));
    let findable = |server: &NameServer| server.glue || !ours(&server.name);
    if !draft.name_servers.iter().any(findable) {
        faults.all(DraftSection::NameServers, DraftRule::CyclicGlue);
    }
}

fn domains(draft: &Draft, faults: &mut Faults) {
    let section = DraftSection::Domains;
    let mut names: BTreeMap<&Name, usize> = BTreeMap::new();
    for (index, domain) in draft.domains.iter().enumerate() {
        let mut fault = |field, rule| faults.one(section, index, field, rule);
        if let Some(before) = names.insert(&domain.name, index) {
            let by = format!("domain {}", before + 1);
            let value = domain.name.to_string();
            fault("name", DraftRule::Repeated { what: "the name", value, by });
        }
        if domain.name.is_root() || !is_plain(&domain.name) {
            fault("name", DraftRule::Value(PLAIN.to_owned()));
        }
        let below = prefixes(draft).map(|prefix| prefix.as_wire().len()).max().unwrap_or_default();
        let longest = domain.managed.iter().chain([&domain.name]);
        let longest = longest.map(|name| name.as_wire().len()).max().unwrap_or_default();
        if longest + below + LONGEST_LABEL_OF_OURS > 255 {
            let why = "the name is so long that what belongs below it would not fit (255 octets)";
            fault("name", DraftRule::Value(why.to_owned()));
        }
        match domain.ttl {
            0 => fault("ttl", DraftRule::NoTtl),
            found if found > MAX_MANAGED_TTL => fault("ttl", DraftRule::ManagedTtl { found }),
            _ => {}
        }
        if domain.managed.is_empty() {
            fault("managed", DraftRule::NothingManaged(domain.name.clone()));
        }
        let outside = |name: &&Name| !name.is_within(&domain.name);
        for name in domain.managed.iter().filter(outside) {
            let (name, domain) = (name.clone(), domain.name.clone());
            fault("managed", DraftRule::Outside { name, domain });
        }
        extra(domain, &mut fault);
    }
}

/// What a domain's name may consist of, because it goes into file names and configurations.
const PLAIN: &str = "a name of letters, digits, hyphens, underscores and slashes is needed";

/// `_domainkey`, with its length.
const LONGEST_LABEL_OF_OURS: usize = 11;

fn is_plain(name: &Name) -> bool {
    let plain = |octet: &u8| octet.is_ascii_alphanumeric() || b"-_/".contains(octet);
    name.labels().all(|label| label.iter().all(plain))
}

/// What the template puts before a domain's names.
fn prefixes(draft: &Draft) -> impl Iterator<Item = &Name> {
    let selectors = draft.sites.iter().flat_map(|site| site.dkim.iter().map(|dkim| &dkim.selector));
    let services = draft.sites.iter().flat_map(|site| site.tlsa.iter().map(|tlsa| &tlsa.service));
    selectors.chain(services)
}

fn extra(domain: &Domain, fault: &mut impl FnMut(&'static str, DraftRule)) {
    let addresses = [RecordType::A, RecordType::AAAA, RecordType::CNAME];
    for rrset in &domain.extra {
        let (owner, rtype) = (rrset.owner().clone(), rrset.rtype());
        if !owner.is_within(&domain.name) {
            fault("records", DraftRule::Outside { name: owner, domain: domain.name.clone() });
            continue;
        }
        let at_apex = owner == domain.name;
        let is_epoch = domain.name.child(EpochRecord::LABEL).is_ok_and(|epoch| epoch == owner);
        let ours = [RecordType::SOA, RecordType::ZONEMD, RecordType::NS];
        let name = rtype.to_string();
        if (at_apex && ours.contains(&rtype)) || is_epoch {
            fault("records", DraftRule::ExtraReserved { owner, rtype: name });
        } else if domain.managed.contains(&owner) && addresses.contains(&rtype) {
            fault("records", DraftRule::ExtraManaged { owner, rtype: name });
        }
    }
}
