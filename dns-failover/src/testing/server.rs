//! A name server in memory. It does what RFC 2136, 1996, 5936 and 8945 say as far as a publisher can
//! notice, and can be told to be ill.

use std::collections::BTreeMap;
use std::fmt;

use crate::key::TsigKey;
use crate::name::Name;
use crate::rdata::RecordType;
use crate::record::{Class, Record, Ttl};
use crate::rrset::RRset;
use crate::serial::Serial;
use crate::wire::{self, Message, RawRecord, Rcode, Trouble, TsigError};
use crate::zone::Zone;

/// A message beyond this is split, in a transfer.
const FULL: usize = 16_000;

/// How a server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Behaviour {
    /// As it should.
    #[default]
    Well,
    /// There is no connection.
    Down,
    /// It takes questions and never answers.
    Silent,
    /// It answers everything with this code.
    Answers(Rcode),
    /// It says that its replies are truncated.
    SaysTruncated,
    /// Its replies break off in the middle.
    CutShort,
    /// It answers with octets that are no message.
    Rubbish,
    /// It answers without a signature.
    Unsigned,
    /// It does what it is asked to and signs with another secret.
    Forged,
    /// It does not know the key's name.
    BadKey,
    /// It has another secret under the key's name.
    BadSig,
    /// Its clock is so many seconds ahead.
    ClockAhead(i64),
}

/// A name server in memory.
pub struct MemoryServer {
    key: TsigKey,
    zones: BTreeMap<Name, Zone>,
    /// Every serial that a zone has had here, in order.
    history: BTreeMap<Name, Vec<Serial>>,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Zones that it was told have changed.
    pub(super) stale: Vec<Name>,
}

impl fmt::Debug for MemoryServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (zones, behaviour) = (self.zones.len(), self.behaviour);
        write!(f, "MemoryServer {{ {zones} zones, {behaviour:?} }}")
    }
}

impl MemoryServer {
    /// A server without zones.
    pub fn new(key: TsigKey) -> MemoryServer {
        let (zones, history) = (BTreeMap::new(), BTreeMap::new());
        MemoryServer { key, zones, history, behaviour: Behaviour::Well, stale: Vec::new() }
    }

    /// Gives it a zone, in place of the one that it may have.
    pub fn put(&mut self, zone: Zone) {
        if let Some(serial) = zone.serial() {
            self.history.entry(zone.origin().clone()).or_default().push(serial);
        }
        self.zones.insert(zone.origin().clone(), zone);
    }

    /// A zone that it has.
    pub fn zone(&self, name: &Name) -> Option<&Zone> {
        self.zones.get(name)
    }

    /// The names of the zones that it has.
    pub fn names(&self) -> Vec<Name> {
        self.zones.keys().cloned().collect()
    }

    /// Every serial that a zone has had, in order.
    pub fn serials(&self, name: &Name) -> &[Serial] {
        self.history.get(name).map_or(&[], Vec::as_slice)
    }

    /// Takes a message and says what it answers, at this many seconds since 1970.
    pub fn answer(&mut self, octets: &[u8], now: u64) -> Vec<Vec<u8>> {
        match self.behaviour {
            Behaviour::Down | Behaviour::Silent => return Vec::new(),
            Behaviour::Rubbish => return vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()],
            _ => {}
        }
        let Ok(message) = Message::parse(octets) else { return Vec::new() };
        let mut replies = self.replies(octets, &message, now);
        for reply in &mut replies {
            match self.behaviour {
                Behaviour::SaysTruncated => reply[2] |= 0x02,
                Behaviour::CutShort => reply.truncate(reply.len() / 2),
                _ => {}
            }
        }
        replies
    }

    fn replies(&mut self, octets: &[u8], message: &Message, now: u64) -> Vec<Vec<u8>> {
        let now = match self.behaviour {
            Behaviour::ClockAhead(by) => now.saturating_add_signed(by),
            _ => now,
        };
        let error = |rcode| wire::reply(message, rcode, false, []).to_vec().unwrap_or_default();
        let signed = match &message.tsig {
            None => None,
            Some(tsig) => {
                let verified = match self.behaviour {
                    Behaviour::BadKey => Err(TsigError::BADKEY),
                    Behaviour::BadSig => Err(TsigError::BADSIG),
                    _ if tsig.key != *self.key.name() => Err(TsigError::BADKEY),
                    _ => {
                        match wire::verify_signature(octets, message, &self.key, None, true, now) {
                            Ok(signed) => Ok(signed),
                            Err(Trouble::BadTime { .. }) => Err(TsigError::BADTIME),
                            Err(_) => Err(TsigError::BADSIG),
                        }
                    }
                };
                match verified {
                    Ok(signed) => Some(signed),
                    Err(why) => {
                        let mut reply = error(Rcode::NOTAUTH);
                        wire::append(&mut reply, &self.key, Some(&tsig.mac), true, now, why);
                        return vec![reply];
                    }
                }
            }
        };
        let outs = self.act(message, signed.is_some());
        let mut previous = signed.map(|signed| signed.mac);
        let mut first = true;
        let forging = match self.behaviour {
            Behaviour::Forged => {
                let (name, algorithm) = (self.key.name().clone(), self.key.algorithm());
                TsigKey::new(name, algorithm, b"the secret of somebody else".to_vec()).ok()
            }
            _ => None,
        };
        let key = forging.as_ref().unwrap_or(&self.key);
        let mut replies = Vec::with_capacity(outs.len());
        for out in outs {
            let mut reply = out.to_vec().unwrap_or_else(|_| error(Rcode::SERVFAIL));
            if let Some(mac) = previous.as_deref()
                && self.behaviour != Behaviour::Unsigned
            {
                let time = now;
                let made = wire::append(&mut reply, key, Some(mac), first, time, TsigError::NONE);
                previous = made.map(|made| made.mac);
                first = false;
            }
            replies.push(reply);
        }
        replies
    }

    fn act(&mut self, message: &Message, trusted: bool) -> Vec<wire::hickory_proto::op::Message> {
        let code = |rcode, authoritative| vec![wire::reply(message, rcode, authoritative, [])];
        if let Behaviour::Answers(rcode) = self.behaviour {
            return code(rcode, false);
        }
        let Some((name, rtype)) = &message.question else { return code(Rcode::FORMERR, false) };
        match message.opcode() {
            0 if *rtype == RecordType::AXFR => match self.zones.get(name) {
                _ if !trusted => code(Rcode::REFUSED, false),
                None => code(Rcode::NOTAUTH, false),
                Some(zone) => transfer(message, zone),
            },
            0 => {
                let zone = self.zones.values().filter(|zone| name.is_within(zone.origin()));
                let Some(zone) = zone.max_by_key(|zone| zone.origin().labels().count()) else {
                    return code(Rcode::REFUSED, false);
                };
                let rcode = if zone.contains(name) { Rcode::NOERROR } else { Rcode::NXDOMAIN };
                vec![wire::reply(message, rcode, true, zone.get(name, *rtype))]
            }
            4 => {
                self.stale.push(name.clone());
                code(Rcode::NOERROR, true)
            }
            5 if !trusted => code(Rcode::REFUSED, false),
            5 => {
                let Some(zone) = self.zones.get_mut(name) else {
                    return code(Rcode::NOTAUTH, false);
                };
                let before = zone.serial();
                let rcode = update(zone, message);
                if zone.serial() != before
                    && let Some(serial) = zone.serial()
                {
                    self.history.entry(name.clone()).or_default().push(serial);
                }
                code(rcode, false)
            }
            _ => code(Rcode::NOTIMP, false),
        }
    }
}

/// The whole zone, its start of authority first and last, in messages of some size.
fn transfer(message: &Message, zone: &Zone) -> Vec<wire::hickory_proto::op::Message> {
    let Some(soa) = zone.get(zone.origin(), RecordType::SOA) else {
        return vec![wire::reply(message, Rcode::SERVFAIL, false, [])];
    };
    let rest = zone.iter().filter(|set| set.rtype() != RecordType::SOA);
    let mut portions: Vec<Vec<&RRset>> = vec![Vec::new()];
    let mut taken = 0;
    for set in std::iter::once(soa).chain(rest).chain([soa]) {
        let octets: usize = set.rdatas().iter().map(|rdata| rdata.as_wire().len() + 300).sum();
        if taken + octets > FULL {
            portions.push(Vec::new());
            taken = 0;
        }
        taken += octets;
        if let Some(portion) = portions.last_mut() {
            portion.push(set);
        }
    }
    let reply = |sets: Vec<&RRset>| wire::reply(message, Rcode::NOERROR, true, sets);
    portions.into_iter().map(reply).collect()
}

/// Does an UPDATE, or nothing of it (RFC 2136 section 3).
fn update(zone: &mut Zone, message: &Message) -> Rcode {
    if let Err(rcode) = prerequisites(zone, &message.answers) {
        return rcode;
    }
    let outside = |raw: &RawRecord| !raw.owner.is_within(zone.origin());
    if message.authorities.iter().any(outside) {
        return Rcode::NOTZONE;
    }
    let mut changed = zone.clone();
    for raw in &message.authorities {
        apply(&mut changed, raw);
    }
    if changed != *zone && changed.serial() == zone.serial() {
        let next = changed.serial().map(Serial::next);
        next.map(|next| changed.set_serial(next));
    }
    *zone = changed;
    Rcode::NOERROR
}

fn prerequisites(zone: &Zone, raws: &[RawRecord]) -> Result<(), Rcode> {
    let mut exact: BTreeMap<(Name, RecordType), Vec<_>> = BTreeMap::new();
    for raw in raws {
        let found = zone.get(&raw.owner, raw.rtype);
        match (Class::new(raw.class), &raw.rdata) {
            (Class::ANY, None) if found.is_none() => return Err(Rcode::NXRRSET),
            (Class::NONE, None) if found.is_some() => return Err(Rcode::YXRRSET),
            (Class::ANY | Class::NONE, None) => {}
            (class, Some(rdata)) if class == zone.class() => {
                exact.entry((raw.owner.clone(), raw.rtype)).or_default().push(rdata.clone());
            }
            _ => return Err(Rcode::FORMERR),
        }
    }
    for ((owner, rtype), rdatas) in exact {
        let wanted = RRset::new(owner.clone(), Ttl::HOUR, rdatas);
        let found = zone.get(&owner, rtype).map(RRset::rdatas);
        if found != wanted.as_ref().map(RRset::rdatas) {
            return Err(Rcode::NXRRSET);
        }
    }
    Ok(())
}

fn apply(zone: &mut Zone, raw: &RawRecord) {
    let (owner, rtype) = (&raw.owner, raw.rtype);
    let at_apex = owner == zone.origin();
    let kept = at_apex && [RecordType::SOA, RecordType::NS].contains(&rtype);
    match (Class::new(raw.class), &raw.rdata) {
        (Class::ANY, None) if !kept => {
            zone.remove(owner, rtype);
        }
        (Class::NONE, Some(rdata)) if rtype != RecordType::SOA => {
            let last = zone.get(owner, rtype).is_some_and(|set| set.rdatas().len() == 1);
            if !(kept && last) {
                zone.remove_record(owner, rdata);
            }
        }
        (class, Some(rdata)) if class == zone.class() => {
            let record = Record::new(owner.clone(), Ttl::from_message(raw.ttl), rdata.clone());
            if rtype == RecordType::SOA {
                let newer = rdata.soa().map(|soa| soa.serial) > zone.serial();
                if at_apex && newer {
                    let _ = zone.put(RRset::of(record));
                }
                return;
            }
            let alias = zone.get(owner, RecordType::CNAME).is_some();
            let others = zone.at(owner).any(|set| set.rtype() != RecordType::CNAME);
            // What does not go together is passed over without a word (section 3.4.2.2).
            if (rtype == RecordType::CNAME && others) || (rtype != RecordType::CNAME && alias) {
                return;
            }
            let _ = zone.insert(record);
        }
        _ => {}
    }
}
