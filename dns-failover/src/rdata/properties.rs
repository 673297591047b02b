//! RDATA of every type, made from what its fields allow, goes through text and messages and comes back.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

use super::field::Field;
use super::record_type::{ALL, Shape};
use super::{Rdata, RecordType};
use crate::name::Name;
use crate::record::{Class, Record, Ttl};

type Octets = BoxedStrategy<Vec<u8>>;

fn octets(len: impl Into<proptest::collection::SizeRange>) -> Octets {
    vec(any::<u8>(), len).boxed()
}

fn joined(parts: Vec<Octets>) -> Octets {
    parts.prop_map(|parts| parts.concat()).boxed()
}

fn with_len(len: impl Into<proptest::collection::SizeRange>) -> Octets {
    octets(len).prop_map(|octets| [&[octets.len() as u8][..], &octets].concat()).boxed()
}

fn one_of(values: &'static [u8]) -> Octets {
    proptest::sample::select(values).prop_map(|value| vec![value]).boxed()
}

fn name() -> Octets {
    let label =
        prop_oneof![octets(1..=63), octets(1..4), "[a-zA-Z*-]{1,9}".prop_map(String::into_bytes)];
    vec(label, 0..4)
        .prop_filter_map("too long a name", |labels| {
            Name::from_labels(labels).ok().map(|name| name.as_wire().to_vec())
        })
        .boxed()
}

/// Lengths at the edges of a string's.
fn string() -> Octets {
    prop_oneof![with_len(0..=0), with_len(1..=1), with_len(2..40), with_len(254..=255)].boxed()
}

fn repeated(one: Octets, count: std::ops::RangeInclusive<usize>) -> Octets {
    vec(one, count).prop_map(|all| all.concat()).boxed()
}

fn bitmap() -> Octets {
    let block = (any::<u8>(), vec(any::<u8>(), 0..31), 1..=255_u8);
    vec(block, 0..4)
        .prop_map(|mut blocks| {
            blocks.sort_by_key(|(window, ..)| *window);
            blocks.dedup_by_key(|(window, ..)| *window);
            let block = |(window, bits, last): (u8, Vec<u8>, u8)| {
                [&[window, bits.len() as u8 + 1][..], &bits, &[last]].concat()
            };
            blocks.into_iter().flat_map(block).collect()
        })
        .boxed()
}

fn param() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let of = |key: u16, value: Octets| value.prop_map(move |value| (key, value)).boxed();
    Union::new([
        of(1, repeated(with_len(1..9), 1..=4)),
        of(2, octets(0..=0)),
        of(3, octets(2..=2)),
        of(4, repeated(octets(4..=4), 1..=3)),
        of(5, octets(1..60)),
        of(6, repeated(octets(16..=16), 1..=3)),
        of(7, octets(1..60)),
        (9..65535_u16, octets(0..60)).boxed(),
    ])
}

fn params() -> Octets {
    vec(param(), 0..5)
        .prop_map(|mut params| {
            params.sort();
            params.dedup_by_key(|(key, _)| *key);
            if let Some((first, _)) = params.first() {
                let mandatory = first.to_be_bytes().to_vec();
                params.insert(0, (0, mandatory));
            }
            let wire = |(key, value): (u16, Vec<u8>)| {
                [&key.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), &value].concat()
            };
            params.into_iter().flat_map(wire).collect()
        })
        .boxed()
}

fn location() -> Octets {
    let size = || (0..10_u8, 0..10_u8).prop_map(|(base, power)| vec![base << 4 | power]).boxed();
    let angle = |degrees: i64| {
        let most = degrees * 3_600_000;
        (-most..=most)
            .prop_map(|angle| ((1 << 31) + angle) as u32)
            .prop_map(|angle| angle.to_be_bytes().to_vec())
            .boxed()
    };
    joined(vec![one_of(&[0]), size(), size(), size(), angle(90), angle(180), octets(4..=4)])
}

fn prefix() -> Octets {
    let of = |family: u8, len: usize, bits: u8| {
        (0..=bits, any::<bool>(), vec(any::<u8>(), 0..=len)).prop_map(
            move |(length, negated, mut address)| {
                while address.last() == Some(&0) {
                    address.pop();
                }
                let flags = u8::from(negated) << 7 | address.len() as u8;
                [&[0, family, length, flags][..], &address].concat()
            },
        )
    };
    prop_oneof![of(1, 4, 32), of(2, 16, 128)].boxed()
}

fn gateway(before: usize, flag: u8) -> Octets {
    let of = |kind: u8, gateway: Octets| {
        let flags = if flag == 0 { one_of(&[0]) } else { one_of(&[0, 128]) };
        (octets(1..=1), flags, octets(before), gateway).prop_map(
            move |(first, flags, rest, gateway)| {
                [&first[..], &[kind | flags[0]], &rest, &gateway].concat()
            },
        )
    };
    prop_oneof![of(0, octets(0..=0)), of(1, octets(4..=4)), of(2, octets(16..=16)), of(3, name())]
        .boxed()
}

fn identity() -> Octets {
    (octets(1..40), any::<u8>(), octets(1..300), repeated(name(), 0..=3))
        .prop_map(|(tag, algorithm, key, servers)| {
            let lens =
                [&[tag.len() as u8, algorithm][..], &(key.len() as u16).to_be_bytes()].concat();
            [lens, tag, key, servers].concat()
        })
        .boxed()
}

fn field(field: Field) -> Octets {
    match field {
        Field::Name | Field::NameAsIs => name(),
        Field::CharString => string(),
        Field::Strings => repeated(string(), 1..=4),
        Field::OneOrTwoStrings => repeated(string(), 1..=2),
        Field::Tag => "[a-zA-Z0-9]{1,20}"
            .prop_map(|tag| [&[tag.len() as u8][..], tag.as_bytes()].concat())
            .boxed(),
        Field::RestString => prop_oneof![octets(0..40), octets(255..=257)].boxed(),
        Field::Salt => with_len(0..40),
        Field::Hash => with_len(0..40),
        Field::Types => bitmap(),
        Field::Location => location(),
        Field::Prefixes => repeated(prefix(), 0..=4),
        Field::SvcParams => params(),
        Field::IpsecKey => joined(vec![gateway(1, 0), octets(0..60)]),
        Field::AmtRelay => gateway(0, 128),
        Field::HostIdentity => identity(),
        Field::Services => joined(vec![octets(5..=5), octets(0..40)]),
        field => match field.fixed_len() {
            Some(len) => octets(len),
            None => prop_oneof![octets(0..60), octets(255..=256)].boxed(),
        },
    }
}

fn rdata() -> impl Strategy<Value = (RecordType, Vec<u8>)> {
    let of = |rtype: &RecordType| {
        let wire = match rtype.shape() {
            Shape::Fields(fields) => joined(fields.iter().map(|one| field(*one)).collect()),
            _ => octets(0..60),
        };
        let rtype = *rtype;
        wire.prop_map(move |wire| (rtype, wire))
    };
    let known = ALL.iter().filter(|rtype| !rtype.is_meta()).map(of);
    Union::new(known.chain([of(&RecordType::new(65_280))]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn every_type_goes_through_text_and_comes_back((rtype, wire) in rdata()) {
        let rdata = Rdata::from_wire(rtype, &wire).unwrap();
        prop_assert_eq!(rdata.as_wire(), &wire);
        let again = Rdata::parse(rtype, rdata.to_string(), None).unwrap();
        prop_assert_eq!(again.as_wire(), &wire, "{} {}", rtype, rdata);
        let mut generic = Vec::new();
        rdata.write_generic(&mut generic);
        let again = Rdata::parse(rtype, &generic, None).unwrap();
        prop_assert_eq!(again.as_wire(), &wire);
        let record = Record::new("x.example.".parse().unwrap(), Ttl::HOUR, rdata);
        let again: Record = record.to_string().parse().unwrap();
        prop_assert_eq!(again.rdata.as_wire(), &wire, "{}", record);
    }

    #[test]
    fn every_type_goes_through_a_message_and_comes_back((rtype, wire) in rdata(), ttl: u32) {
        let rdata = Rdata::from_wire(rtype, &wire).unwrap();
        let ttl = Ttl::from_message(ttl);
        let record = Record { class: Class::IN, ..Record::new("x.example.".parse().unwrap(), ttl, rdata) };
        let mut message = vec![0; 12];
        record.encode(&mut message);
        let mut at = 12;
        let again = Record::decode(&message, &mut at).unwrap();
        prop_assert_eq!(at, message.len());
        prop_assert_eq!(again.rdata.as_wire(), &wire);
        prop_assert_eq!(again, record);
    }

    #[test]
    fn the_canonical_form_is_a_form_of_the_same((rtype, wire) in rdata()) {
        let rdata = Rdata::from_wire(rtype, &wire).unwrap();
        let canonical = Rdata::from_wire(rtype, &rdata.canonical_wire()).unwrap();
        prop_assert_eq!(canonical.canonical_wire(), rdata.canonical_wire());
        prop_assert_eq!(canonical, rdata);
    }

    #[test]
    fn any_octets_are_rdata_or_refused(which in 0..ALL.len(), wire in vec(any::<u8>(), 0..80), at in 0..20_usize) {
        let rtype = ALL[which];
        if let Ok(rdata) = Rdata::from_wire(rtype, &wire) {
            let again = Rdata::parse(rtype, rdata.to_string(), None);
            prop_assert!(rtype.is_meta() || again.unwrap().as_wire() == wire);
        }
        let _ = Rdata::from_message(rtype, &wire, at, wire.len().saturating_sub(at));
        let _ = Record::decode(&wire, &mut at.min(wire.len()));
    }
}

/// Names in messages are compressed, and those in RDATA point out of it.
#[test]
fn compressed_names_in_rdata_are_taken_apart() {
    let mut message = vec![0; 12];
    message.extend_from_slice(b"\x04mail\x07example\0");
    let start = message.len();
    message.extend_from_slice(b"\0\x0a\xc0\x0c");
    let mx = Rdata::from_message(RecordType::MX, &message, start, 4).unwrap();
    assert_eq!(mx.to_string(), "10 mail.example.");
    assert!(Rdata::from_wire(RecordType::MX, b"\0\x0a\xc0\x0c").is_err());
    // A pointer to itself, and a name that ends behind the RDATA.
    message.extend_from_slice(b"\0\x0a\xc0");
    let at = message.len() - 1;
    message.push(at as u8);
    assert!(Rdata::from_message(RecordType::MX, &message, at - 2, 4).is_err());
    assert!(Rdata::from_message(RecordType::NS, &message, 12, 3).is_err());
}
