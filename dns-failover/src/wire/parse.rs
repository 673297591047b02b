//! Messages taken apart, record by record, without believing a count or a length.

use super::{Rcode, Trouble};
use crate::name::Name;
use crate::rdata::{Rdata, RecordType};
use crate::record::Class;

/// A record as it stands in a message. In UPDATE messages, class and missing data have meanings of
/// their own (RFC 2136 sections 2.4 and 2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawRecord {
    pub(crate) owner: Name,
    pub(crate) rtype: RecordType,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    /// None where it has no octets, and its class or type says that this stands for something else.
    pub(crate) rdata: Option<Rdata>,
}

/// The signature at the end of a message (RFC 8945 section 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawTsig {
    /// Where its record begins.
    pub(crate) at: usize,
    pub(crate) key: Name,
    pub(crate) algorithm: Name,
    pub(crate) time: u64,
    pub(crate) fudge: u16,
    pub(crate) mac: Vec<u8>,
    pub(crate) original_id: u16,
    pub(crate) error: u16,
    pub(crate) other: Vec<u8>,
}

/// A message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) id: u16,
    flags: u16,
    pub(crate) question: Option<(Name, RecordType)>,
    pub(crate) answers: Vec<RawRecord>,
    pub(crate) authorities: Vec<RawRecord>,
    pub(crate) tsig: Option<RawTsig>,
}

impl Message {
    pub(crate) fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    pub(crate) fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xf) as u8
    }

    pub(crate) fn is_truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    pub(crate) fn is_authoritative(&self) -> bool {
        self.flags & 0x0400 != 0
    }

    pub(crate) fn rcode(&self) -> Rcode {
        Rcode((self.flags & 0xf) as u8)
    }

    /// Takes a message apart.
    pub(crate) fn parse(octets: &[u8]) -> Result<Message, Trouble> {
        let mut at = 0;
        let mut number = || take_u16(octets, &mut at);
        let (id, flags) = (number()?, number()?);
        let [questions, answers, authorities, additionals] =
            [number()?, number()?, number()?, number()?];
        if questions > 1 {
            return Err(rubbish(format!("it has {questions} questions")));
        }
        let mut question = None;
        if questions == 1 {
            let name = take_name(octets, &mut at)?;
            let rtype = take_u16(octets, &mut at)?;
            take_u16(octets, &mut at)?;
            question = Some((name, RecordType::new(rtype)));
        }
        let mut message = Message {
            id,
            flags,
            question,
            answers: Vec::new(),
            authorities: Vec::new(),
            tsig: None,
        };
        for _ in 0..answers {
            let record = take_record(octets, &mut at)?.record(octets)?;
            message.answers.push(record);
        }
        for _ in 0..authorities {
            let record = take_record(octets, &mut at)?.record(octets)?;
            message.authorities.push(record);
        }
        for left in (0..additionals).rev() {
            let start = at;
            let record = take_record(octets, &mut at)?;
            if record.rtype == RecordType::TSIG {
                if left > 0 || at != octets.len() {
                    return Err(rubbish("something follows its signature"));
                }
                message.tsig = Some(take_tsig(octets, start, record)?);
            }
        }
        if at != octets.len() {
            return Err(rubbish(format!("{} octets follow its last record", octets.len() - at)));
        }
        Ok(message)
    }
}

/// A record whose data was not looked at.
struct Place {
    owner: Name,
    rtype: RecordType,
    class: u16,
    ttl: u32,
    data: usize,
    len: usize,
}

impl Place {
    fn record(self, octets: &[u8]) -> Result<RawRecord, Trouble> {
        let Place { owner, rtype, class, ttl, data, len } = self;
        let bare = [Class::ANY, Class::NONE].contains(&Class::new(class));
        let rdata = match len {
            0 if bare => None,
            // Few types may be empty, as APL may (RFC 3123 section 4).
            0 => Rdata::from_message(rtype, octets, data, 0).ok(),
            _ => {
                let rdata = Rdata::from_message(rtype, octets, data, len);
                Some(rdata.map_err(|error| rubbish(format!("{owner} {rtype}: {error}")))?)
            }
        };
        Ok(RawRecord { owner, rtype, class, ttl, rdata })
    }
}

fn take_record(octets: &[u8], at: &mut usize) -> Result<Place, Trouble> {
    let owner = take_name(octets, at)?;
    let rtype = RecordType::new(take_u16(octets, at)?);
    let class = take_u16(octets, at)?;
    let ttl = u32::from(take_u16(octets, at)?) << 16 | u32::from(take_u16(octets, at)?);
    let len = usize::from(take_u16(octets, at)?);
    let data = *at;
    take(octets, at, len)?;
    Ok(Place { owner, rtype, class, ttl, data, len })
}

fn take_tsig(octets: &[u8], start: usize, place: Place) -> Result<RawTsig, Trouble> {
    let mut at = place.data;
    let algorithm = take_name(octets, &mut at)?;
    let mut number = || take_u16(octets, &mut at);
    let time = u64::from(number()?) << 32 | u64::from(number()?) << 16 | u64::from(number()?);
    let fudge = number()?;
    let mac_len = usize::from(number()?);
    let mac = take(octets, &mut at, mac_len)?.to_vec();
    let mut number = || take_u16(octets, &mut at);
    let (original_id, error, other_len) = (number()?, number()?, usize::from(number()?));
    let other = take(octets, &mut at, other_len)?.to_vec();
    if at != place.data + place.len {
        return Err(rubbish("its signature's fields do not fill its record"));
    }
    let key = place.owner;
    Ok(RawTsig { at: start, key, algorithm, time, fudge, mac, original_id, error, other })
}

fn take<'a>(octets: &'a [u8], at: &mut usize, len: usize) -> Result<&'a [u8], Trouble> {
    let taken = at.checked_add(len).and_then(|end| octets.get(*at..end));
    let taken = taken.ok_or_else(|| Trouble::Truncated {
        why: format!("its {} octets end within a record", octets.len()),
    })?;
    *at += len;
    Ok(taken)
}

fn take_u16(octets: &[u8], at: &mut usize) -> Result<u16, Trouble> {
    let taken = take(octets, at, 2)?;
    Ok(u16::from_be_bytes([taken[0], taken[1]]))
}

fn take_name(octets: &[u8], at: &mut usize) -> Result<Name, Trouble> {
    Name::from_message(octets, at).map_err(|error| match error {
        crate::name::NameError::CutOff => {
            Trouble::Truncated { why: format!("its {} octets end within a name", octets.len()) }
        }
        error => rubbish(format!("a name in it is none: {error}")),
    })
}

pub(super) fn rubbish(why: impl Into<String>) -> Trouble {
    Trouble::Rubbish { why: why.into() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Message::parse(&octets);
        }

        #[test]
        fn no_damage_makes_it_panic(at in 0..90_usize, octet in any::<u8>(), len in 0..90_usize) {
            let zone: Name = "example.org.".parse().unwrap();
            let mut message = super::super::question(&zone, RecordType::SOA).to_vec().unwrap();
            message.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 9, 0, 24, 0xc0, 12, 0xc0, 12]);
            message.extend([0; 20]);
            message[7] = 1;
            prop_assert!(Message::parse(&message).is_ok());
            if let Some(place) = message.get_mut(at) {
                *place = octet;
            }
            let _ = Message::parse(&message);
            let _ = Message::parse(&message[..len.min(message.len())]);
        }
    }

    #[test]
    fn counts_are_not_believed() {
        let mut message = vec![0; 12];
        message[6..8].copy_from_slice(&[0xff, 0xff]);
        assert!(matches!(Message::parse(&message), Err(Trouble::Truncated { .. })));
    }
}
