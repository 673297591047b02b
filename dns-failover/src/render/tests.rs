use super::*;
use crate::epoch::{Active, Epoch, EpochRecord, SiteId};
use crate::testing::draft;

fn rendered() -> (Topology, Vec<Rendered>) {
    let topology = Topology::new(draft(2)).unwrap();
    let record = EpochRecord { epoch: Epoch::new(1, SiteId::Uk), active: Active::One(SiteId::Uk) };
    let zones = topology.domains().values().map(|domain| topology.zone(domain, record));
    let zones: Vec<Zone> = zones.chain([topology.catalog_zone(record)]).collect();
    let texts = ZoneTexts::print(&zones);
    let servers = (0..6).map(|index| render(&topology, index, &texts).unwrap());
    let servers = servers.collect();
    (topology, servers)
}

#[test]
fn secrets_are_in_files_marked_so_and_nowhere_else() {
    let (topology, servers) = rendered();
    for (server, rendered) in topology.name_servers().iter().zip(&servers) {
        let secret = server.key.secret_base64();
        let holds = |file: &&RenderedFile| {
            String::from_utf8_lossy(&file.contents).contains(secret.as_str())
        };
        let holders: Vec<_> = rendered.files.iter().filter(holds).collect();
        assert_eq!(holders.len(), 1, "{}", server.name);
        assert!(holders[0].secret, "{:?}", holders[0]);
        assert!(!format!("{rendered:?} {server:?}").contains(secret.as_str()));
    }
}

#[test]
fn a_server_knows_no_key_that_it_needs_not() {
    let (topology, servers) = rendered();
    // The last one transfers from the first two; the fourth has nothing to do with it.
    let key = topology.name_servers()[5].key.secret_base64();
    let knows = |rendered: &Rendered| {
        let text = |file: &RenderedFile| String::from_utf8_lossy(&file.contents).into_owned();
        rendered.files.iter().any(|file| text(file).contains(key.as_str()))
    };
    let known: Vec<bool> = servers.iter().map(knows).collect();
    assert_eq!(known, [true, true, false, false, false, true]);
}

#[test]
fn servers_that_transfer_are_given_no_zones() {
    let (_, servers) = rendered();
    let zones = |rendered: &Rendered| {
        rendered.files.iter().filter(|file| file.keeper == Keeper::Servers).count()
    };
    assert_eq!(servers.iter().map(zones).collect::<Vec<_>>(), [3, 3, 0, 3, 3, 0]);
}

#[test]
fn writing_is_whole_and_leaves_alone_what_servers_keep() {
    use std::os::unix::fs::PermissionsExt;

    let (_, servers) = rendered();
    let folder = tempfile::tempdir().unwrap();
    let first = servers[0].write(folder.path()).unwrap();
    assert_eq!((first.changed, first.kept), (servers[0].files.len(), 0));
    let keys = folder.path().join("keys.conf");
    assert_eq!(keys.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let zone = folder.path().join("zones/customer0.example.zone");
    std::fs::write(&zone, "of the server").unwrap();
    std::fs::write(folder.path().join("named.conf"), "of somebody").unwrap();
    let again = servers[0].write(folder.path()).unwrap();
    // The secret is written anew each time, since its mode may have been changed.
    assert_eq!(again.changed, 2);
    assert_eq!(std::fs::read_to_string(&zone).unwrap(), "of the server");
    assert_ne!(std::fs::read_to_string(folder.path().join("named.conf")).unwrap(), "of somebody");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".new")));
}
