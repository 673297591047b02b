//! Which layouts of a home sshd takes, and what sets the others right: judged by a real sshd with
//! users of its own, which only root can give it.

#![cfg(feature = "fs")]
#![expect(
    clippy::unwrap_used,
    reason = "a test whose ground cannot be laid should stop right there"
)]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use keygen_helper::fs::{FileError, Inspection};
use keygen_helper::permissions::{Profile, Reason};
use support::homes::{Homes, user};
use support::keys::{generate, public};
use support::peer::skipped;
use support::sshd::{Listener, Sshd, login};
use support::table::{in_parallel, rows};

const TABLE: &str = include_str!("data/strict_modes.table");

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGxkcJ1wewp7yyMNUtv9Bvsrk2iIyXm7CSpA+iBDx7EY";

struct Case {
    row: usize,
    number: u32,
    debian: bool,
    upstream: bool,
    after: &'static str,
    steps: &'static str,
}

fn cases() -> Vec<Case> {
    let parsed = rows(TABLE).zip(0..).map(|((row, text), number)| {
        let mut rest = text;
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after.trim_start();
            word
        };
        let (debian, upstream, after) = (word() == "yes", word() == "yes", word());
        Case { row, number, debian, upstream, after, steps: rest }
    });
    parsed.collect()
}

struct Ground {
    homes: Homes,
    listener: Listener,
    login: PathBuf,
    _keys: tempfile::TempDir,
    cases: Vec<Case>,
}

fn lay() -> Option<Ground> {
    let sshd = Sshd::find()?;
    if !rustix::process::geteuid().is_root() {
        skipped("right to make users");
        return None;
    }
    let keys = tempfile::tempdir().unwrap();
    let pair = generate(keys.path(), "login", "ed25519");
    let cases = cases();
    let homes = Homes::build(&public(&pair), u32::try_from(cases.len()).unwrap());
    for case in &cases {
        homes.lay(case.number, case.steps);
    }
    let listener = sshd
        .with_accounts(&homes.accounts_folder())
        .listen(&["StrictModes yes", "AuthorizedKeysFile .ssh/authorized_keys"]);
    Some(Ground { homes, listener, login: pair, _keys: keys, cases })
}

impl Ground {
    fn let_in(&self) -> Vec<(bool, String)> {
        in_parallel(&self.cases, |case| {
            let login = login(&self.listener, &user(case.number), &self.login, &[]);
            (login.accepted, login.messages)
        })
    }

    fn inspect(&self, case: &Case) -> Inspection {
        let account = self.homes.account(case.number);
        Inspection::of(&self.homes.file(case.number), &account, &self.homes.accounts()).unwrap()
    }
}

/// Modes and owners of everything below a folder.
fn everything(folder: &Path) -> BTreeMap<PathBuf, (u32, u32, u32)> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = path.symlink_metadata().unwrap();
        found.insert(path.clone(), (meta.mode(), meta.uid(), meta.gid()));
        if meta.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

fn name_of(reason: &Reason) -> &'static str {
    match reason {
        Reason::Planted { .. } => "planted",
        Reason::Missing => "missing",
        Reason::NotAFile { .. } => "not-a-file",
        Reason::MoreNames { .. } => "more-names",
        Reason::Outside { .. } => "outside",
        other => panic!("{other:?}"),
    }
}

#[test]
fn layouts_are_judged_as_sshd_judges_them_and_set_right_where_that_is_safe() {
    let Some(ground) = lay() else { return };
    assert!(ground.cases.len() >= 60);
    let mut wrong = Vec::new();
    for (case, (accepted, said)) in ground.cases.iter().zip(ground.let_in()) {
        let facts = ground.inspect(case).facts().clone();
        let debian = facts.is_accepted(Profile::DebianUserPrivateGroup);
        let upstream = facts.is_accepted(Profile::Upstream);
        let here =
            format!("row {} ({}): {:?}", case.row, case.steps, facts.judge(Profile::Upstream));
        if accepted != case.debian {
            wrong.push(format!("{here}\nsshd {accepted}: {said}"));
        }
        if (debian, upstream) != (case.debian, case.upstream) {
            wrong.push(format!("{here}\nhere {debian} {upstream}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    for case in &ground.cases {
        let inspection = ground.inspect(case);
        let fix = inspection.facts().fix();
        let home = ground.homes.home(case.number);
        let before = everything(home.parent().unwrap());
        inspection.apply(&fix).unwrap();
        let here = format!("row {} ({}): {fix}", case.row, case.steps);
        if case.after == "in" {
            assert!(fix.refused.is_empty(), "{here}");
            let facts = ground.inspect(case).facts().clone();
            assert!(facts.is_accepted(Profile::Upstream), "{here}");
            assert!(facts.fix().changes.is_empty(), "{here}");
        } else {
            let reasons: Vec<_> = fix.refused.iter().map(name_of).collect();
            assert!(fix.changes.is_empty() && reasons.contains(&case.after), "{here}");
            assert_eq!(everything(home.parent().unwrap()), before, "{here}");
        }
    }

    let wrong: Vec<String> = ground
        .cases
        .iter()
        .zip(ground.let_in())
        .filter(|(case, (accepted, _))| *accepted != (case.after == "in" || case.debian))
        .map(|(case, (_, said))| format!("row {} ({}): {said}", case.row, case.steps))
        .collect();
    assert!(wrong.is_empty(), "after the fix\n{}", wrong.join("\n"));
}

/// One home as it should be.
fn root_only() -> Option<Homes> {
    if !rustix::process::geteuid().is_root() {
        skipped("right to make users");
        return None;
    }
    let homes = Homes::build(KEY, 1);
    homes.lay(0, "");
    Some(homes)
}

#[test]
fn a_secret_of_roots_is_not_opened_for_having_the_name_of_a_list_of_keys() {
    let Some(ground) = root_only() else { return };
    let file = ground.file(0);
    // The user may give any file in the home this name, and cannot read it.
    fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n").unwrap();
    ground.lay_more(0, "file owner root; file mode 0600; ssh mode 0777; home mode 0777");
    let before = everything(&ground.home(0));
    let account = ground.account(0);
    let inspection = Inspection::of(&file, &account, &ground.accounts()).unwrap();
    let error = inspection.apply(&inspection.facts().fix()).unwrap_err();
    assert!(matches!(error, FileError::NotKeys { .. }), "{error}");
    // Nor has anything else been changed by then.
    assert_eq!(everything(&ground.home(0)), before);
}

#[test]
fn a_directory_of_roots_in_a_home_is_opened_only_where_it_shelters_nothing() {
    let Some(ground) = root_only() else { return };
    let (file, account) = (ground.file(0), ground.account(0));
    let folder = ground.home(0).join("roots");
    fs::create_dir(&folder).unwrap();
    let put = |name: &str, content: &str, mode: u32| {
        fs::write(folder.join(name), content).unwrap();
        fs::set_permissions(folder.join(name), Permissions::from_mode(mode)).unwrap();
    };
    // The user leads there by a link, and any name in it may be the link's end.
    fs::remove_file(&file).unwrap();
    symlink("../roots/notes", &file).unwrap();
    let fix = |mode: u32| {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        let before = everything(&ground.home(0));
        let inspection = Inspection::of(&file, &account, &ground.accounts()).unwrap();
        let applied = inspection.apply(&inspection.facts().fix());
        assert!(applied.is_ok() || everything(&ground.home(0)) == before);
        applied
    };
    for (notes, mode) in [(0o644, 0o700), (0o600, 0o700), (0o600, 0o710)] {
        put("notes", "a secret\n", notes);
        assert!(matches!(fix(mode), Err(FileError::NotKeys { .. })));
    }
    put("notes", KEY, 0o644);
    for mode in [0o644, 0o640, 0o4711] {
        put("other", "a secret\n", mode);
        assert!(matches!(fix(0o700), Err(FileError::Shelter { .. })), "{mode:o}");
    }
    put("other", "a secret\n", 0o600);
    fs::create_dir(folder.join("open")).unwrap();
    assert!(matches!(fix(0o700), Err(FileError::Shelter { .. })));
    fs::set_permissions(folder.join("open"), Permissions::from_mode(0o700)).unwrap();
    fix(0o700).unwrap();
    // It can be passed, and not listed.
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o701);
    for name in 0..300 {
        put(&name.to_string(), "", 0o600);
    }
    assert!(matches!(fix(0o700), Err(FileError::Shelter { .. })));
}

#[test]
fn what_has_changed_since_it_was_looked_at_is_left_alone() {
    let Some(ground) = root_only() else { return };
    ground.lay_more(0, "file mode 0666");
    let (file, account) = (ground.file(0), ground.account(0));
    let look = || Inspection::of(&file, &account, &ground.accounts()).unwrap();

    // Another file in its place: the one that was looked at gets the mode, the new one does not.
    let inspection = look();
    fs::rename(&file, file.with_extension("old")).unwrap();
    fs::write(&file, "planted").unwrap();
    let planted = fs::metadata(&file).unwrap().mode();
    inspection.apply(&inspection.facts().fix()).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().mode(), planted);
    assert_eq!(fs::metadata(file.with_extension("old")).unwrap().mode() & 0o777, 0o600);

    // Another owner, another mode, another name.
    for step in ["file owner other", "file mode 0664", "file hard"] {
        fs::rename(file.with_extension("old"), &file).unwrap();
        ground.lay_more(0, "file owner user; file mode 0666");
        let inspection = look();
        ground.lay_more(0, step);
        let mode = fs::metadata(&file).unwrap().mode();
        let error = inspection.apply(&inspection.facts().fix()).unwrap_err();
        assert!(matches!(error, FileError::Changed { .. }), "{step}: {error}");
        assert_eq!(fs::metadata(&file).unwrap().mode(), mode, "{step}");
        fs::rename(&file, file.with_extension("old")).unwrap();
    }
}

#[test]
fn links_that_lead_nowhere_or_round_in_circles_are_no_trouble() {
    let Some(ground) = root_only() else { return };
    let (file, account) = (ground.file(0), ground.account(0));
    fs::remove_file(&file).unwrap();
    symlink("authorized_keys", &file).unwrap();
    let facts = Inspection::of(&file, &account, &ground.accounts()).unwrap().facts().clone();
    assert_eq!(facts.fix().refused, [Reason::Missing]);
    assert!(!facts.is_accepted(Profile::DebianUserPrivateGroup));
    // A file where a directory should be.
    let inside = ground.home(0).join(".ssh/authorized_keys/x");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "").unwrap();
    let facts = Inspection::of(&inside, &account, &ground.accounts()).unwrap().facts().clone();
    assert_eq!(facts.fix().refused, [Reason::Missing]);
}

/// The owner of the home swaps `.ssh` for links to a folder of root's and one of somebody else's
/// while root looks and fixes.
#[test]
fn whoever_swaps_the_folder_changes_nothing_outside_of_the_home() {
    let Some(ground) = root_only() else { return };
    ground.lay_more(0, "home mode 0777; ssh mode 0777; file mode 0666");
    let outside = ground.home(0).with_file_name("outside");
    fs::create_dir_all(outside.join("roots")).unwrap();
    fs::create_dir(outside.join("others")).unwrap();
    for (folder, uid) in [("roots", 0), ("others", 23_000)] {
        let file = outside.join(folder).join("authorized_keys");
        fs::write(&file, KEY).unwrap();
        for path in [outside.join(folder), file] {
            fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
            chown(&path, Some(uid), None).unwrap();
        }
    }
    let before = everything(&outside);
    let (home, account, accounts) = (ground.home(0), ground.account(0), ground.accounts());
    let done = AtomicBool::new(false);
    let (mut fixed, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (ssh, aside) = (home.join(".ssh"), home.join("aside"));
            for target in ["roots", "others"].iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                fs::rename(&ssh, &aside).unwrap();
                symlink(outside.join(target), &ssh).unwrap();
                fs::remove_file(&ssh).unwrap();
                fs::rename(&aside, &ssh).unwrap();
                fs::set_permissions(&ssh, Permissions::from_mode(0o777)).unwrap();
            }
        });
        // As many as it takes for both to happen, and many in any case.
        while fixed + refused < 3000 || (fixed == 0 || refused == 0) && fixed + refused < 1_000_000
        {
            let looked = Inspection::of(&ground.file(0), &account, &accounts);
            let Ok(inspection) = looked else { continue };
            let fix = inspection.facts().fix();
            if fix.refused.is_empty() {
                fixed += 1
            } else {
                refused += 1
            }
            // Modes that changed under it are no failure of the test.
            drop(inspection.apply(&fix));
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(everything(&outside), before, "fixed {fixed}, refused {refused}");
}
