use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::testing::draft;

fn faults(change: impl FnOnce(&mut Draft)) -> Vec<String> {
    let mut draft = draft(2);
    change(&mut draft);
    let faults = Topology::new(draft).err().unwrap_or_default();
    faults.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn assert_told(change: impl FnOnce(&mut Draft), wanted: &str) {
    let faults = faults(change);
    assert!(faults.iter().any(|fault| fault.contains(wanted)), "{wanted:?} is not in {faults:#?}");
}

#[test]
fn the_scene_is_right() {
    assert_eq!(faults(|_| {}), [""; 0]);
}

#[test]
fn six_name_servers_are_six() {
    assert_told(|draft| drop(draft.name_servers.pop()), "there are 5");
    assert_told(|draft| draft.name_servers.push(draft.name_servers[0].clone()), "there are 7");
    assert_told(|draft| draft.name_servers.clear(), "there are 0");
}

#[test]
fn name_servers_do_not_stand_or_fall_together() {
    let prefix = |draft: &mut Draft| {
        for (index, server) in draft.name_servers.iter_mut().enumerate() {
            let address: IpAddr = format!("192.0.2.{}", index + 1).parse().unwrap();
            server.addresses = [address].into_iter().collect();
        }
    };
    assert_told(prefix, "all name servers are in 192.0.2.0/24");
    let place = |draft: &mut Draft| {
        draft.name_servers.iter_mut().for_each(|server| server.location = "uk".into());
    };
    assert_told(place, "no domain is found any more");
    let writable = |draft: &mut Draft| {
        for index in [1, 3] {
            draft.name_servers[index].location = "uk".into();
        }
    };
    assert_told(writable, "nothing can be changed on the others");
}

#[test]
fn feeds_must_be_possible() {
    assert_told(|draft| draft.name_servers[5].feed = Feed::Update, "nsd takes no UPDATE");
    let from = |names: &[usize]| {
        let names = names.to_vec();
        move |draft: &mut Draft| {
            let from = names.iter().map(|index| draft.name_servers[*index].name.clone()).collect();
            draft.name_servers[5].feed = Feed::Transfer { from };
        }
    };
    assert_told(from(&[2]), "which is no name server that takes updates");
    assert_told(from(&[5]), "which is no name server that takes updates");
    assert_told(from(&[]), "it transfers from nobody");
}

#[test]
fn what_would_go_into_a_configuration_is_held_to_plain_characters() {
    let folder = |draft: &mut Draft| draft.name_servers[0].folder = "/var/\"; };".into();
    assert_told(folder, "the folder must be");
    let user = |draft: &mut Draft| draft.name_servers[0].user = Some("bind\nroot".into());
    assert_told(user, "the user's name");
    let name = |draft: &mut Draft| {
        let name = Name::from_labels([b"a\";\n".as_slice(), b"example"]).unwrap();
        draft.domains[0] = Domain::new(name, crate::SiteId::Uk).unwrap();
    };
    assert_told(name, "a name of letters");
}

#[test]
fn a_name_must_leave_room_for_what_comes_below_it() {
    let long = |draft: &mut Draft| {
        let name =
            Name::from_labels(["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(50)]);
        draft.domains[0] = Domain::new(name.unwrap(), crate::SiteId::Uk).unwrap();
    };
    assert_told(long, "would not fit");
}

proptest! {
    /// Whatever passes the rules makes zones in every state, and a catalog.
    #[test]
    fn what_passes_makes_zones(
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=63), 1..5),
        managed in prop::collection::vec(any::<u8>(), 1..=63),
        ttl in 0..400_u32,
    ) {
        let mut draft = draft(1);
        let Ok(name) = Name::from_labels(&labels) else { return Ok(()) };
        let Ok(mut domain) = Domain::new(name.clone(), crate::SiteId::Us) else { return Ok(()) };
        if let Ok(child) = name.child(&managed) {
            domain.managed.push(child);
        }
        domain.ttl = ttl;
        draft.domains = vec![domain];
        let Ok(topology) = Topology::new(draft) else { return Ok(()) };
        let epoch = crate::Epoch::new(1, crate::SiteId::Uk);
        for domain in topology.domains().values() {
            for (active, zone) in topology.reachable_zones(domain, epoch) {
                prop_assert_eq!(zone.verify_digest(), Some(true));
                prop_assert!(zone.get(&domain.name, crate::RecordType::NS).is_some());
                for managed in &domain.managed {
                    prop_assert!(zone.get(managed, crate::RecordType::A).is_some(), "{}", active);
                }
            }
        }
        let record = crate::EpochRecord { epoch, active: crate::Active::Both };
        prop_assert_eq!(topology.catalog_zone(record).verify_digest(), Some(true));
    }
}
