//! Messages put together.

use hickory_proto::op::{Message as Out, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::NULL;
use hickory_proto::rr::{self, DNSClass, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;

use super::tsig::{self, Signed, TsigError};
use super::{Message, Trouble, verify};
use crate::diff::{Change, Diff};
use crate::key::TsigKey;
use crate::name::Name;
use crate::rdata::{Rdata, RecordType};
use crate::rrset::RRset;

/// The longest message there is: its length goes before it in two octets.
const MAX_MESSAGE: usize = 65_535;

/// The flag TC, in the third octet of a message.
const TRUNCATED: u8 = 0x02;

/// What must hold before an update is done (RFC 2136 section 2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prerequisite {
    /// The RRset is there with exactly these values.
    Equals(RRset),
    /// There is no such RRset.
    Absent(Name, RecordType),
}

/// A message that waits for its reply.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) octets: Vec<u8>,
    id: u16,
    opcode: u8,
    signed: Option<Signed>,
}

impl Request {
    /// Gives a message its id and signs it, at `now` seconds since 1970.
    pub(crate) fn new(
        mut message: Out,
        id: u16,
        key: &TsigKey,
        now: u64,
    ) -> Result<Request, Trouble> {
        message.metadata.id = id;
        let unwritable = |why: String| Trouble::Rubbish {
            why: format!("the question cannot be written: {why}"),
        };
        let opcode = u8::from(message.metadata.op_code);
        let mut octets = message.to_vec().map_err(|error| unwritable(error.to_string()))?;
        // hickory leaves out the records that do not fit and says "truncated". A server would do the
        // half of the update that it gets.
        if octets.get(2).is_none_or(|flags| flags & TRUNCATED != 0) {
            return Err(Trouble::TooLarge { octets: length(&message) });
        }
        let signed = tsig::append(&mut octets, key, None, true, now, TsigError::NONE);
        if octets.len() > MAX_MESSAGE {
            return Err(Trouble::TooLarge { octets: octets.len() });
        }
        let signed = signed.ok_or_else(|| unwritable("it cannot be signed".into()))?;
        Ok(Request { octets, id, opcode, signed: Some(signed) })
    }

    /// The id that its reply has.
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Reads the reply: its form first, then who signed it, then what it says.
    pub(crate) fn read(&self, reply: &[u8], key: &TsigKey, now: u64) -> Result<Message, Trouble> {
        let signed = self.signed.as_ref().map(|signed| signed.mac.as_slice());
        let (message, _) = self.read_part(reply, key, signed, true, now)?;
        Ok(message)
    }

    /// Reads one of several messages that make up the reply.
    pub(crate) fn read_part(
        &self,
        reply: &[u8],
        key: &TsigKey,
        previous: Option<&[u8]>,
        first: bool,
        now: u64,
    ) -> Result<(Message, Signed), Trouble> {
        let message = Message::parse(reply)?;
        if !message.is_response() || message.opcode() != self.opcode || message.id != self.id {
            return Err(super::parse::rubbish("it is no reply to this question"));
        }
        if message.is_truncated() {
            return Err(Trouble::Truncated { why: "the server says so itself (TC)".into() });
        }
        let signed = verify(reply, &message, key, previous, first, now)?;
        Ok((message, signed))
    }

    /// What the first message of the reply must build on.
    pub(crate) fn signature(&self) -> Option<&[u8]> {
        self.signed.as_ref().map(|signed| signed.mac.as_slice())
    }
}

/// A question.
pub(crate) fn question(name: &Name, rtype: RecordType) -> Out {
    let mut message = Out::new(0, MessageType::Query, OpCode::Query);
    message.add_query(query(name, rtype));
    message
}

/// "This zone has changed" (RFC 1996), with its new start of authority as a hint.
pub(crate) fn notify(zone: &Name, soa: Option<&RRset>) -> Out {
    let mut message = Out::new(0, MessageType::Query, OpCode::Notify);
    message.metadata.authoritative = true;
    message.add_query(query(zone, RecordType::SOA));
    message.add_answers(soa.into_iter().flat_map(records));
    message
}

/// A change, all of it or nothing (RFC 2136). An RRset that gets other values is taken away and put
/// back in the same message, so that nobody ever sees it missing.
pub(crate) fn update(zone: &Name, prerequisites: &[Prerequisite], diff: &Diff) -> Out {
    let mut message = Out::new(0, MessageType::Query, OpCode::Update);
    message.add_query(query(zone, RecordType::SOA));
    for prerequisite in prerequisites {
        match prerequisite {
            Prerequisite::Equals(rrset) => {
                message.add_answers(records(rrset).map(|mut record| {
                    record.ttl = 0;
                    record
                }));
            }
            Prerequisite::Absent(name, rtype) => {
                message.add_answer(empty(name, *rtype, DNSClass::NONE));
            }
        }
    }
    // Servers keep the apex's SOA and NS from being deleted as a whole (RFC 2136 section 3.4.2.3).
    let is_kept = |rrset: &RRset| {
        let kept = [RecordType::SOA, RecordType::NS];
        rrset.owner() == zone && kept.contains(&rrset.rtype())
    };
    // All that goes goes first: an address beside an alias that is still there would be passed over
    // without a word (section 3.4.2.2).
    let befores = diff.changes().iter().filter_map(|change| change.before.as_ref());
    for before in befores.filter(|set| !is_kept(set)) {
        message.add_authority(empty(before.owner(), before.rtype(), DNSClass::ANY));
    }
    for Change { before, after, .. } in diff.changes() {
        message.add_authorities(after.iter().flat_map(records));
        // A start of authority takes the place of the last one. Of the name servers, those that are
        // not to stay go one by one, now that the new ones are there.
        let is_ns = |set: &&RRset| is_kept(set) && set.rtype() == RecordType::NS;
        let Some(before) = before.as_ref().filter(is_ns) else {
            continue;
        };
        let stays =
            |rdata: &Rdata| after.as_ref().is_some_and(|after| after.rdatas().contains(rdata));
        for rdata in before.rdatas().iter().filter(|rdata| !stays(rdata)) {
            let mut record = record(before, rdata);
            record.ttl = 0;
            record.dns_class = DNSClass::NONE;
            message.add_authority(record);
        }
    }
    message
}

/// A reply to a message, with these RRsets as its answers.
#[cfg(feature = "testing")]
pub(crate) fn reply<'a>(
    to: &Message,
    rcode: super::Rcode,
    authoritative: bool,
    answers: impl IntoIterator<Item = &'a RRset>,
) -> Out {
    let mut message = Out::new(to.id, MessageType::Response, OpCode::from_u8(to.opcode()));
    if let Some((name, rtype)) = &to.question {
        message.add_query(query(name, *rtype));
    }
    message.metadata.authoritative = authoritative;
    message.metadata.response_code = hickory_proto::op::ResponseCode::from_low(rcode.0);
    message.add_answers(answers.into_iter().flat_map(records));
    message
}

/// How long a message would be with every name in full.
fn length(message: &Out) -> usize {
    let sections = [&message.answers, &message.authorities, &message.additionals];
    let records = sections.into_iter().flatten();
    let lengths = records.map(|record| record.to_bytes().map_or(0, |octets| octets.len()));
    12 + lengths.sum::<usize>()
}

fn query(name: &Name, rtype: RecordType) -> Query {
    Query::query(hickory_name(name), rr::RecordType::from(rtype.get()))
}

fn records(rrset: &RRset) -> impl Iterator<Item = Record> + '_ {
    rrset.rdatas().iter().map(|rdata| record(rrset, rdata))
}

fn record(rrset: &RRset, rdata: &Rdata) -> Record {
    let code = rr::RecordType::from(rrset.rtype().get());
    let octets = match rdata.as_wire() {
        // `with` takes it for a mistake that there are none.
        [] => NULL::new(),
        octets => NULL::with(octets.to_vec()),
    };
    let rdata = RData::Unknown { code, rdata: octets };
    Record::from_rdata(hickory_name(rrset.owner()), rrset.ttl().seconds(), rdata)
}

/// A record without data, as UPDATE uses them.
fn empty(name: &Name, rtype: RecordType, class: DNSClass) -> Record {
    let rtype = rr::RecordType::from(rtype.get());
    let mut record = Record::update0(hickory_name(name), 0, rtype).into_record_of_rdata();
    record.dns_class = class;
    record
}

/// The same name in hickory's form. Whatever is a name to us is one to hickory as well.
fn hickory_name(name: &Name) -> rr::Name {
    let mut converted = rr::Name::from_labels(name.labels()).unwrap_or_else(|_| rr::Name::root());
    converted.set_fqdn(true);
    converted
}
