//! What holds for all zones.

#![allow(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

use dns_failover::{
    Diff, KnownHosts, Name, RRset, Rdata, Record, RecordType, Serial, SerialPolicy, Ttl, Zone,
    ZoneReader, check, check_states,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn example() -> Name {
    "example.".parse().unwrap()
}

fn labels() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let label = prop_oneof![
        3 => "[ab]{1,2}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 1..=63),
        1 => Just(b"*".to_vec()),
    ];
    vec(label, 0..3)
}

fn owner() -> impl Strategy<Value = Name> {
    labels().prop_filter_map("too long a name", |labels| {
        Name::from_labels(labels.into_iter().chain([b"example".to_vec()])).ok()
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..=0),
        vec(any::<u8>(), 1..=1),
        vec(any::<u8>(), 0..40),
        vec(any::<u8>(), 255..=255),
        vec(any::<u8>(), 256..=256),
    ]
}

fn rdata() -> impl Strategy<Value = Rdata> {
    prop_oneof![
        (0..4_u8).prop_map(|last| Rdata::a([192, 0, 2, last].into())),
        any::<[u8; 16]>().prop_map(|octets| Rdata::aaaa(octets.into())),
        text().prop_map(|text| Rdata::txt(text).unwrap()),
        (any::<u16>(), owner()).prop_map(|(preference, name)| Rdata::mx(preference, &name)),
        owner().prop_map(|name| Rdata::ns(&name)),
        owner().prop_map(|name| Rdata::cname(&name)),
        (0..4_u8, text()).prop_map(|(flags, value)| Rdata::caa(flags, "issue", value).unwrap()),
        (60_000..60_003_u16, vec(any::<u8>(), 0..9)).prop_map(|(number, wire)| Rdata::from_wire(
            RecordType::new(number),
            &wire
        )
        .unwrap()),
    ]
}

prop_compose! {
    fn zone()(
        serial: u32,
        records in vec((owner(), 0..3_u32, rdata()), 0..30),
    ) -> Zone {
        let mut zone = Zone::new(example());
        let soa = format!("example. 60 SOA ns.example. h.example. {serial} 14400 3600 604800 300");
        zone.insert(soa.parse().unwrap()).unwrap();
        zone.insert("example. 60 NS ns.example.".parse().unwrap()).unwrap();
        for (owner, ttl, rdata) in records {
            zone.insert(Record::new(owner, Ttl::saturating(ttl), rdata)).unwrap();
        }
        zone
    }
}

fn wire(zone: &Zone) -> Vec<u8> {
    let mut wire = Vec::new();
    zone.records().for_each(|record| record.encode(&mut wire));
    wire
}

proptest! {
    #[test]
    fn a_printed_zone_is_read_as_it_was(zone in zone()) {
        let text = zone.to_text();
        prop_assert!(text.is_ascii());
        let reading = ZoneReader::new().origin(&example()).read(&text);
        prop_assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
        prop_assert_eq!(wire(&reading.zone), wire(&zone));
        prop_assert_eq!(reading.zone.to_text(), text);
        prop_assert_eq!(reading.zone, zone);
    }

    #[test]
    fn records_in_any_order_make_the_same_zone(zone in zone(), seed: u64) {
        let mut records: Vec<Record> = zone.records().collect();
        // Any shuffle will do.
        records.sort_by_key(|record| {
            let mut text = record.to_string().into_bytes();
            text.push(seed as u8);
            text.iter().fold(seed, |sum, octet| (sum ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3))
        });
        let text: String = records.iter().map(|record| format!("{record}\n")).collect();
        let reading = ZoneReader::new().origin(&example()).read(text.as_bytes());
        prop_assert_eq!(reading.zone.digest(), zone.digest());
        prop_assert_eq!(reading.zone, zone);
    }

    #[test]
    fn a_zone_is_in_canonical_order(zone in zone()) {
        let owners: Vec<&Name> = zone.iter().map(RRset::owner).collect();
        prop_assert!(owners.is_sorted());
        for set in zone.iter() {
            prop_assert!(set.rdatas().windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(zone.get(set.owner(), set.rtype()), Some(set));
            prop_assert!(zone.contains(set.owner()));
        }
    }

    #[test]
    fn differences_lead_there_and_back(a in zone(), b in zone(), c in zone()) {
        let (ab, bc) = (Diff::between(&a, &b).unwrap(), Diff::between(&b, &c).unwrap());
        prop_assert_eq!(ab.apply(&a).unwrap(), b.clone());
        prop_assert_eq!(ab.clone().inverse().apply(&b).unwrap(), a.clone());
        prop_assert_eq!(ab.is_empty(), a == b);
        prop_assert!(Diff::between(&a, &a).unwrap().is_empty());
        let ac = ab.clone().then(bc).unwrap();
        prop_assert_eq!(ac.apply(&a).unwrap(), c.clone());
        prop_assert_eq!(&ac, &Diff::between(&a, &c).unwrap());
        let undone = ab.clone().then(ab.clone().inverse()).unwrap();
        prop_assert!(undone.is_empty());
        let json = serde_json::to_string(&ab).unwrap();
        prop_assert_eq!(serde_json::from_str::<Diff>(&json).unwrap(), ab);
    }

    /// As IXFR has it: all that goes is there, all that comes is not, and what is left is the new zone.
    #[test]
    fn removed_and_added_records_are_the_difference(a in zone(), b in zone()) {
        let diff = Diff::between(&a, &b).unwrap();
        let (removed, added) = (diff.removed(), diff.added());
        let mut records: Vec<Record> = a.records().collect();
        for record in &removed {
            let at = records.iter().position(|one| one == record);
            prop_assert!(at.is_some(), "{record} is not there");
            records.swap_remove(at.unwrap());
        }
        for record in added {
            prop_assert!(!records.contains(&record), "{record} is there");
            records.push(record);
        }
        let mut expected: Vec<Record> = b.records().collect();
        records.sort();
        expected.sort();
        prop_assert_eq!(records, expected);
    }

    /// Change by change: an RRset that is there before and after is there all the time, and so are
    /// the name servers.
    #[test]
    fn no_set_passes_through_empty(a in zone(), b in zone()) {
        let diff = Diff::between(&a, &b).unwrap();
        prop_assert!(!diff.removes_all_name_servers());
        let stays: Vec<&RRset> = a.iter().filter(|set| b.get(set.owner(), set.rtype()).is_some()).collect();
        let mut zone = a.clone();
        for change in diff.changes() {
            match &change.after {
                Some(after) => drop(zone.put(after.clone()).unwrap()),
                None => {
                    let before = change.before.as_ref().unwrap();
                    zone.remove(before.owner(), before.rtype()).unwrap();
                }
            }
            for set in &stays {
                let now = zone.get(set.owner(), set.rtype());
                prop_assert!(now.is_some_and(|set| !set.rdatas().is_empty()));
            }
            prop_assert!(zone.get(&example(), RecordType::NS).is_some());
        }
        prop_assert_eq!(zone, b);
    }

    #[test]
    fn serials_only_grow(start: u32, hints in vec(any::<u32>(), 1..20), odd: bool) {
        let policies = [
            SerialPolicy::Increment,
            SerialPolicy::UnixTime,
            SerialPolicy::Date,
            SerialPolicy::Modulo { remainder: u8::from(odd), modulus: 2 },
        ];
        let mut zone = Zone::parse(&example(), "@ 60 SOA ns h 0 14400 3600 604800 300\n").unwrap();
        zone.set_serial(Serial::new(start));
        for (hint, policy) in hints.into_iter().zip(policies.into_iter().cycle()) {
            let mut next = zone.clone();
            let before = zone.serial().unwrap();
            next.set_serial(policy.next(before, Serial::new(hint)));
            prop_assert!(next.serial().unwrap() > before);
            prop_assert!(Diff::between(&zone, &next).unwrap().is_newer());
            prop_assert!(!Diff::between(&next, &zone).unwrap().is_newer());
            zone = next;
        }
    }

    #[test]
    fn one_changed_record_changes_the_digest(zone in zone(), record in (owner(), rdata())) {
        let mut other = zone.clone();
        let (owner, rdata) = record;
        let is_new = other.insert(Record::new(owner, Ttl::HOUR, rdata)).unwrap();
        prop_assert_eq!(other.digest() == zone.digest(), other == zone, "{:?}", is_new);
        prop_assert!(other.seal(Ttl::HOUR));
        prop_assert_eq!(other.verify_digest(), Some(true));
    }

    #[test]
    fn checking_takes_any_zone(zone in zone(), other in zone()) {
        let _ = check(&zone, &KnownHosts::new());
        let same = check_states([("uk", &zone), ("us", &zone)], &KnownHosts::new());
        prop_assert!(!same.iter().any(|finding| finding.rule.id.starts_with("STATE")));
        prop_assert!(same.iter().all(|finding| finding.state.is_none()));
        let _ = check_states([("uk", &zone), ("us", &other)], &KnownHosts::new());
    }

    #[test]
    fn any_octets_are_read_to_their_end(text in vec(any::<u8>(), 0..600)) {
        let _ = ZoneReader::new().origin(&example()).with_places().read(&text);
    }

    /// Octets that mean something come more often than chance has them.
    #[test]
    fn any_zone_like_text_is_read_to_its_end(
        words in vec(
            prop_oneof![
                Just("("), Just(")"), Just("\""), Just("\\"), Just(";"), Just("\n"), Just(" "), Just("@"),
                Just("$TTL"), Just("$ORIGIN"), Just("$INCLUDE"), Just("A"), Just("TXT"), Just("SOA"),
                Just("IN"), Just("60"), Just("192.0.2.1"), Just("\\#"), Just("HTTPS"), Just("alpn="),
                Just("TYPE999"), Just("x"), Just("."), Just("\\255"), Just("LOC"), Just("\t"), Just("\r\n"),
            ],
            0..60,
        ),
        spaced: bool,
    ) {
        let text = words.join(if spaced { " " } else { "" });
        let reading = ZoneReader::new().origin(&example()).with_places().read(text.as_bytes());
        for diagnostic in &reading.diagnostics {
            let place = diagnostic.place.as_ref().unwrap();
            let line = text.split('\n').nth(place.line as usize - 1);
            prop_assert!(line.is_some_and(|line| place.column as usize <= line.len() + 1), "{diagnostic}");
        }
        // What could be read is a zone like any other.
        let again = ZoneReader::new().origin(&example()).read(&reading.zone.to_text());
        prop_assert_eq!(again.zone, reading.zone);
    }
}

/// Texts that would keep a reader or a checker busy for hours that goes back or looks through what it
/// has, again and again; these are done at once.
#[test]
fn reading_takes_time_by_the_length_of_the_text_only() {
    const TIMES: usize = 20_000;
    let texts = [
        "(".repeat(TIMES),
        "a (\n".repeat(TIMES),
        "a \"\n".repeat(TIMES),
        "a TXT \"x\" (\n".repeat(TIMES),
        "\"".repeat(TIMES | 1),
        "\\".repeat(TIMES),
        "a A x\n".repeat(TIMES),
        "a 60 A 192.0.2.1\n".repeat(TIMES),
        (0..TIMES).map(|number| format!("a 60 TXT {}\n", TIMES - number)).collect(),
        (0..TIMES).map(|number| format!("a {number} TXT {number}\n")).collect(),
        (0..TIMES).map(|number| format!("h{} 60 A 192.0.2.1\n", (number * 7919) % TIMES)).collect(),
        format!("a 60 TXT {}\n", "x ".repeat(TIMES)),
        format!("a 60 NSEC b {}\n", "A ".repeat(TIMES)),
        format!(
            "a 60 HTTPS 1 . {}\n",
            (0..TIMES).map(|key| format!("key{} ", key % 60_000)).collect::<String>()
        ),
        format!("a 60 OPENPGPKEY {}\n", "AQID ".repeat(TIMES)),
        format!("{}\n", "a.".repeat(TIMES)),
        (0..TIMES).map(|number| format!("a 60 NS n{number}.b\nb 60 NS n{number}.a\n")).collect(),
        (0..TIMES).map(|number| format!("@ 60 NS n{number}\n")).collect(),
        (0..TIMES).map(|number| format!("a 60 SSHFP {} 1 {number:08}\n", number % 256)).collect(),
        (0..TIMES).map(|number| format!("c{number} 60 CNAME c{}\n", number + 1)).collect(),
        (0..TIMES)
            .map(|number| format!("{} 60 NS x\n", "d.".repeat(number % 100 + 1) + "d"))
            .collect(),
    ];
    for text in texts {
        let reading = ZoneReader::new().origin(&example()).with_places().read(text.as_bytes());
        assert!(reading.diagnostics.len() <= 10_001);
        let _ = check(&reading.zone, &KnownHosts::new());
    }
}

/// Lengths at the edges of a string's.
#[test]
fn text_of_any_length_comes_back() {
    for len in [0, 1, 254, 255, 256, 509, 510, 511, 60_000] {
        let text: Vec<u8> = (0..len).map(|at| (at % 256) as u8).collect();
        let rdata = Rdata::txt(&text).unwrap();
        let again = Rdata::parse(RecordType::TXT, rdata.to_string(), None).unwrap();
        assert_eq!(again.as_wire(), rdata.as_wire());
        assert!(
            matches!(again.data(), dns_failover::Data::Txt(strings) if strings.joined() == text)
        );
    }
    assert!(Rdata::txt(vec![b'x'; 65_536]).is_err());
    assert!(Rdata::txt_strings([[b'x'; 256]]).is_err());
    let long = format!("\"{}\"", "x".repeat(256));
    assert_eq!(Rdata::parse(RecordType::TXT, long, None).unwrap_err().rule.id, "READ24");
}
