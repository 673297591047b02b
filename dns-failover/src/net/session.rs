//! Questions to one server, several under way at once.

use std::collections::BTreeMap;
use std::io;

use hickory_proto::op::Message as Out;

use super::{Link, Network};
use crate::key::TsigKey;
use crate::name::Name;
use crate::rdata::RecordType;
use crate::record::{Class, Record, Ttl};
use crate::topology::NameServer;
use crate::wire::{self, Message, Request, Trouble};
use crate::zone::Zone;

/// How many questions wait for their replies at a time: enough to hide the way there, few enough for
/// what servers hold for one client.
const WINDOW: usize = 16;

/// A zone beyond this is none that was made here.
const MAX_TRANSFER: usize = 256 << 20;

/// How many seconds a transfer may take.
const MAX_TRANSFER_TIME: u64 = 300;

/// How many seconds questions may take together, besides one for so many of them: the other servers
/// wait for one that answers each in the last moment.
const SLOWEST: (u64, u64) = (15, 20);

/// A connection to a name server, on which everything is signed.
pub(crate) struct Session<'a> {
    link: Box<dyn Link + 'a>,
    network: &'a dyn Network,
    key: &'a TsigKey,
    next_id: u16,
}

impl<'a> Session<'a> {
    pub(crate) fn open(
        network: &'a dyn Network,
        server: &'a NameServer,
    ) -> Result<Session<'a>, Trouble> {
        let link = network.connect(server.reach).map_err(unreachable)?;
        Ok(Session { link, network, key: &server.key, next_id: 1 })
    }

    /// Asks all questions and gives each its reply, in their order. What was not answered when the
    /// connection broke is unreachable.
    pub(crate) fn ask(&mut self, questions: Vec<Out>) -> Vec<Result<Message, Trouble>> {
        let mut replies: Vec<Result<Message, Trouble>> = Vec::with_capacity(questions.len());
        let unanswered = || Trouble::Unreachable { why: "the connection broke before".into() };
        replies.resize_with(questions.len(), || Err(unanswered()));
        let mut waiting: BTreeMap<u16, (usize, Request)> = BTreeMap::new();
        let until = self.network.unix_time() + SLOWEST.0 + questions.len() as u64 / SLOWEST.1;
        let mut questions = questions.into_iter().enumerate();
        loop {
            while waiting.len() < WINDOW
                && let Some((place, question)) = questions.next()
            {
                let request = match self.request(question) {
                    Ok(request) => request,
                    Err(trouble) => {
                        replies[place] = Err(trouble);
                        continue;
                    }
                };
                if let Err(error) = self.link.send(&request.octets) {
                    return failed(replies, waiting, Some(place), &unreachable(error));
                }
                waiting.insert(request.id(), (place, request));
            }
            if waiting.is_empty() {
                return replies;
            }
            if self.network.unix_time() > until {
                return failed(replies, waiting, None, &too_slow());
            }
            let octets = match self.link.receive() {
                Ok(octets) => octets,
                Err(error) => return failed(replies, waiting, None, &unreachable(error)),
            };
            let id = octets.get(..2).map(|id| u16::from_be_bytes([id[0], id[1]]));
            let Some((place, request)) = id.and_then(|id| waiting.remove(&id)) else {
                let why = "it sent a message that is no reply to anything asked".into();
                return failed(replies, waiting, None, &Trouble::Rubbish { why });
            };
            replies[place] = request.read(&octets, self.key, self.network.unix_time());
        }
    }

    /// Transfers a zone (RFC 5936).
    pub(crate) fn transfer(&mut self, name: &Name) -> Result<Zone, Trouble> {
        let request = self.request(wire::question(name, RecordType::AXFR))?;
        self.link.send(&request.octets).map_err(unreachable)?;
        let rubbish =
            |why: &str| Trouble::Rubbish { why: format!("the transfer of {name}: {why}") };
        let mut zone = Zone::new(name.clone());
        let mut previous = request.signature().map(<[u8]>::to_vec);
        let (mut first, mut taken) = (true, 0);
        let mut opening = None;
        let until = self.network.unix_time() + MAX_TRANSFER_TIME;
        loop {
            if self.network.unix_time() > until {
                return Err(too_slow());
            }
            let octets = self.link.receive().map_err(unreachable)?;
            taken += octets.len();
            if taken > MAX_TRANSFER {
                return Err(rubbish("it does not end"));
            }
            let now = self.network.unix_time();
            let (message, signed) =
                request.read_part(&octets, self.key, previous.as_deref(), first, now)?;
            if message.rcode() != wire::Rcode::NOERROR {
                return Err(Trouble::Refused { rcode: message.rcode() });
            }
            if first && message.answers.is_empty() {
                return Err(rubbish("it is empty"));
            }
            (previous, first) = (Some(signed.mac), false);
            for raw in message.answers {
                let rdata = raw.rdata.ok_or_else(|| rubbish("a record has no data"))?;
                let is_soa = raw.rtype == RecordType::SOA;
                match &opening {
                    None if !is_soa => return Err(rubbish("it does not begin with an SOA record")),
                    None => opening = Some(rdata.clone()),
                    Some(soa) if is_soa && *soa == rdata => return Ok(zone),
                    Some(_) if is_soa => {
                        return Err(rubbish("it begins and ends with unequal SOA records"));
                    }
                    Some(_) => {}
                }
                let ttl = Ttl::from_message(raw.ttl);
                let record =
                    Record { class: Class::new(raw.class), ..Record::new(raw.owner, ttl, rdata) };
                zone.insert(record).map_err(|error| rubbish(&error.to_string()))?;
            }
        }
    }

    fn request(&mut self, question: Out) -> Result<Request, Trouble> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        Request::new(question, id, self.key, self.network.unix_time())
    }
}

fn failed(
    mut replies: Vec<Result<Message, Trouble>>,
    waiting: BTreeMap<u16, (usize, Request)>,
    sending: Option<usize>,
    trouble: &Trouble,
) -> Vec<Result<Message, Trouble>> {
    for place in waiting.into_values().map(|(place, _)| place).chain(sending) {
        replies[place] = Err(trouble.clone());
    }
    replies
}

fn too_slow() -> Trouble {
    Trouble::Unreachable { why: "it answers too slowly".to_owned() }
}

fn unreachable(error: io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Trouble::Truncated { why: error.to_string() };
    }
    Trouble::Unreachable { why: error.to_string() }
}
