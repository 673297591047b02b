//! StrictModes as data, without a disk.

use std::collections::BTreeMap;

use keygen_helper::permissions::{
    Account, Accounts, Facts, FileKind, Fix, Group, Node, Problem, Profile, Weight,
};
use proptest::prelude::*;

const ANNA: u32 = 1000;
const BEN: u32 = 1001;
const STAFF: u32 = 50;

fn mode() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0o700), Just(0o755), Just(0o600), Just(0o775), 0u32..0o10000]
}

fn node(path: &'static str, kind: FileKind) -> impl Strategy<Value = Node> {
    let owner = prop_oneof![6 => Just(ANNA), 3 => Just(0), 1 => Just(BEN)];
    let group = prop_oneof![Just(ANNA), Just(STAFF), Just(0)];
    (owner, group, mode()).prop_map(move |(owner, group, mode)| Node {
        path: path.into(),
        kind,
        owner,
        group,
        mode,
        links: 1,
    })
}

/// A home with a file in `.ssh`, everything of any mode and of several owners.
fn facts() -> impl Strategy<Value = Facts> {
    let root = Node {
        path: "/".into(),
        kind: FileKind::Directory,
        owner: 0,
        group: 0,
        mode: 0o755,
        links: 1,
    };
    let file = node("/home/anna/.ssh/authorized_keys", FileKind::File);
    let ssh = node("/home/anna/.ssh", FileKind::Directory);
    let home = node("/home/anna", FileKind::Directory);
    (file, ssh, home, 0usize..3).prop_map(move |(file, ssh, home, groups)| {
        let homes = Node { path: "/home".into(), ..root.clone() };
        let above = vec![ssh, home, homes, root.clone()];
        let staff = Group { primary: [ANNA].into(), members: vec!["anna".into(); groups] };
        Facts {
            account: Account {
                name: "anna".into(),
                uid: ANNA,
                gids: vec![ANNA, STAFF],
                home: "/home/anna".into(),
            },
            real_home: Some("/home/anna".into()),
            walked: above.iter().rev().cloned().collect(),
            file: Some(file),
            above,
            groups: BTreeMap::from([(STAFF, staff), (ANNA, Group::default())]),
            names: BTreeMap::from([(ANNA, "anna".into()), (0, "root".into())]),
        }
    })
}

/// The facts after a fix.
fn fixed(facts: &Facts, fix: &Fix) -> Facts {
    let mut fixed = facts.clone();
    let nodes = fixed.walked.iter_mut().chain(&mut fixed.above).chain(&mut fixed.file);
    for node in nodes {
        if let Some(change) = fix.changes.iter().find(|change| change.path == node.path) {
            node.mode = change.to;
        }
    }
    fixed
}

proptest! {
    #[test]
    fn a_fix_lets_the_user_in_and_then_there_is_nothing_more_to_fix(facts in facts()) {
        let fix = facts.fix();
        let after = fixed(&facts, &fix);
        let planted = facts.file.iter().chain(&facts.above).any(|node| node.owner == BEN);
        prop_assert_eq!(planted, !fix.refused.is_empty());
        if planted {
            prop_assert!(fix.changes.is_empty());
            prop_assert!(!facts.is_accepted(Profile::Upstream));
        } else {
            prop_assert!(after.is_accepted(Profile::Upstream), "{:?}", after.judge(Profile::Upstream));
            prop_assert!(after.judge(Profile::Upstream).is_empty());
            prop_assert!(after.fix().changes.is_empty());
        }
    }

    #[test]
    fn every_finding_has_a_remedy(facts in facts()) {
        let fix = facts.fix();
        for finding in facts.judge(Profile::Upstream) {
            prop_assert!(fix.remedy(&finding).is_some(), "{finding}");
        }
    }

    #[test]
    fn a_fix_gives_nobody_but_the_user_the_right_to_write(facts in facts()) {
        for change in facts.fix().changes {
            prop_assert_eq!(change.to & 0o022, 0);
            prop_assert!(change.path.as_bytes().starts_with(b"/home/anna"));
            if change.path.as_bytes() == b"/home/anna" {
                // Nothing goes but the right to write, and nothing comes but that to pass.
                let search = 0o111;
                prop_assert_eq!(change.to | search, change.from & !0o022 | search);
                prop_assert_eq!(change.from & search & !change.to, 0);
            }
        }
    }

    #[test]
    fn a_directory_of_roots_gets_one_bit_to_pass_it_and_nothing_sound_of_roots_is_touched(facts in facts()) {
        for change in facts.fix().changes {
            let mut nodes = facts.above.iter().chain(&facts.file);
            let node = nodes.find(|node| node.path == change.path).expect("one of them");
            if node.owner == 0 {
                let opened = change.to & !change.from != 0;
                if node.kind == FileKind::Directory && opened {
                    let bit = change.to & !change.from;
                    prop_assert!(bit.count_ones() == 1 && bit & 0o011 != 0, "{}", change);
                }
                prop_assert!(opened || change.from & 0o022 != 0, "{}", change);
            }
        }
    }

    #[test]
    fn upstream_is_never_laxer_than_debian(facts in facts()) {
        let upstream = facts.judge(Profile::Upstream);
        let debian = facts.judge(Profile::DebianUserPrivateGroup);
        prop_assert_eq!(upstream.len(), debian.len());
        for (upstream, debian) in upstream.iter().zip(&debian) {
            prop_assert!(upstream.weight >= debian.weight);
            let group = upstream.problem == Problem::GroupWrites;
            prop_assert!(group || upstream.weight == debian.weight);
        }
    }

    #[test]
    fn facts_findings_and_fixes_survive_json(facts in facts()) {
        let json = serde_json::to_string(&facts).unwrap();
        prop_assert_eq!(serde_json::from_str::<Facts>(&json).unwrap(), facts.clone());
        let json = serde_json::to_string(&facts.fix()).unwrap();
        prop_assert_eq!(serde_json::from_str::<Fix>(&json).unwrap(), facts.fix());
    }

    #[test]
    fn no_list_of_accounts_panics(passwd in any::<Vec<u8>>(), group in any::<Vec<u8>>(), text in "[a-c:0-9,\n]{0,60}") {
        for (passwd, group) in [(&*passwd, &*group), (text.as_bytes(), text.as_bytes())] {
            let accounts = Accounts::parse(passwd, group);
            let _ = (accounts.account(b"a"), accounts.group(0), accounts.account_at(b"/a/b"));
        }
    }
}

#[test]
fn the_account_of_a_path_is_the_one_with_the_nearest_home() {
    let passwd = b"root:x:0:0::/root:\nanna:x:1000:1000::/home/anna:\nweb:x:33:33::/home/anna/web:\nnobody:x:65534:65534::/:\n\nbroken\n";
    let accounts = Accounts::parse(passwd, b"");
    let name = |path: &[u8]| accounts.account_at(path).map(|account| account.name.to_string());
    assert_eq!(name(b"/home/anna/.ssh/authorized_keys").as_deref(), Some("anna"));
    assert_eq!(name(b"/home/anna/web/.ssh").as_deref(), Some("web"));
    assert_eq!(name(b"/home/annabel/.ssh"), None);
    assert_eq!(name(b"/root").as_deref(), Some("root"));
}

#[test]
fn every_finding_says_what_is_wrong_in_words() {
    let says = |problem: Problem| {
        let finding = serde_json::json!({"path": "/home/anna", "problem": problem, "weight": Weight::Refuses});
        serde_json::from_value::<keygen_helper::permissions::Finding>(finding).unwrap().to_string()
    };
    for problem in [
        Problem::Missing,
        Problem::NotAFile { kind: FileKind::Other },
        Problem::NotSearchable,
        Problem::NotReadable,
        Problem::Owner { uid: BEN },
        Problem::GroupWrites,
        Problem::OthersWrite,
        Problem::Link { uid: BEN },
        Problem::MoreNames { links: 2 },
    ] {
        let text = says(problem.clone());
        assert!(text.contains("/home/anna") && !text.ends_with('.'), "{text}");
    }
}
