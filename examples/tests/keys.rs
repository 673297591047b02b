//! The program `keys` from outside: what it writes, who gets in with it, how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop right there")]

#[path = "../../keygen-helper/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use support::keys::run;
use support::peer::{peer, skipped};
use support::sshd::{Sshd, login, own_name};
use tempfile::TempDir;

const CANARY: &str = "canary-7f3a9d-passphrase";

/// One that no other test hands to ssh-keygen, whose arguments show it.
const HIDDEN: &str = "canary-c04e11-hidden";

fn keys() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keys"));
    command.stdin(Stdio::null());
    command
}

/// How a run of `keys` ended, and the object it printed.
#[derive(Debug)]
struct Told {
    code: Option<i32>,
    json: Value,
    stderr: String,
}

/// Runs `keys --json` with these arguments in a folder.
fn tell(folder: &Path, arguments: &[&str]) -> Told {
    let output = keys().arg("--json").args(arguments).current_dir(folder).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let json: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {stderr}"));
    assert_eq!(json["format"], 1, "{arguments:?}");
    Told { code: output.status.code(), json, stderr }
}

#[track_caller]
fn assert_done(folder: &Path, arguments: &[&str]) -> Value {
    let told = tell(folder, arguments);
    assert_eq!(told.code, Some(0), "{arguments:?}: {told:?}");
    assert_eq!(told.json["outcome"], "done");
    told.json
}

/// A folder in which nobody but us can write.
fn folder() -> TempDir {
    let open = Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("keys-").permissions(open).tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn am_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("root");
    }
    root
}

const TYPES: [&str; 6] = ["ed25519", "rsa:3072", "rsa:4096", "ecdsa:256", "ecdsa:384", "ecdsa:521"];

#[test]
fn keys_of_every_kind_plain_and_encrypted_log_in() {
    let Some(sshd) = Sshd::find() else { return };
    let (folder, me) = (folder(), own_name());
    let at = folder.path();
    fs::write(at.join("passphrase"), format!("{CANARY}\n")).unwrap();
    let askpass = at.join("askpass");
    fs::write(&askpass, format!("#!/bin/sh\necho {CANARY}\n")).unwrap();
    fs::set_permissions(&askpass, Permissions::from_mode(0o700)).unwrap();
    let setting = format!("AuthorizedKeysFile {}", at.join("authorized_keys").display());
    let listener = sshd.listen(&[&setting]);
    for (number, kind) in TYPES.into_iter().enumerate() {
        let (plain, locked) = (format!("plain{number}"), format!("locked{number}"));
        assert_done(at, &["generate", "--type", kind, "--comment", "anna # 1", &plain]);
        let lock = ["--passphrase-file", "passphrase", &locked];
        let made = assert_done(at, &[&["generate", "--type", kind][..], &lock].concat());
        assert_eq!(made["encrypted"], true);
        for name in [&plain, &locked] {
            let public = format!("{name}.pub");
            assert_done(at, &["authorize", "--key", &public, "authorized_keys"]);
        }
        let plain_login = login(&listener, &me, &at.join(&plain), &[]);
        assert!(plain_login.accepted, "{kind}: {}", plain_login.messages);
        // ssh asks for the passphrase where the other helper forbids it to.
        let output = Command::new("ssh")
            .args(["-F", "none", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o"])
            .arg(format!("IdentityFile={}", at.join(&locked).display()))
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "GlobalKnownHostsFile=/dev/null", "-p"])
            .arg(listener.address.port().to_string())
            .args([&format!("{me}@127.0.0.1"), "echo", "in"])
            .env("SSH_ASKPASS", &askpass)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("DISPLAY", "none")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let messages = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"in\n", "{kind}: {messages}");
    }
    // A key that was revoked is out again, and only that one.
    assert_done(at, &["revoke", "--key", "plain0.pub", "authorized_keys"]);
    assert!(!login(&listener, &me, &at.join("plain0"), &[]).accepted);
    assert!(login(&listener, &me, &at.join("plain3"), &[]).accepted);
}

#[test]
fn options_are_what_the_server_holds_a_key_to() {
    let Some(sshd) = Sshd::find() else { return };
    let (folder, me) = (folder(), own_name());
    let at = folder.path();
    let setting = format!("AuthorizedKeysFile {}", at.join("authorized_keys").display());
    let listener = sshd.listen(&[&setting]);
    assert_done(at, &["generate", "id"]);
    let authorize = |options: &[&str]| {
        let given = [&["authorize", "--key", "id.pub", "--replace"][..], options];
        assert_done(at, &[&given.concat()[..], &["authorized_keys"]].concat());
        login(&listener, &me, &at.join("id"), &[])
    };
    let forced = authorize(&["--restrict", "--command", "echo \"forced\" # really"]);
    assert_eq!((forced.accepted, &*forced.stdout), (true, &b"forced\n"[..]));
    assert!(!authorize(&["--from", "192.0.2.0/24"]).accepted);
    assert!(authorize(&["--from", "127.0.0.1"]).accepted);
    assert!(!authorize(&["--expiry", "2020-01-01"]).accepted);
    assert!(authorize(&["--expiry", "2100-01-01"]).accepted);
    // The weaker one would undo the stricter one.
    let weaker = tell(at, &["authorize", "--key", "id.pub", "authorized_keys"]);
    assert_eq!(weaker.code, Some(4), "{weaker:?}");
    assert!(weaker.stderr.contains("undo the stricter"), "{weaker:?}");
}

#[test]
fn a_certificate_logs_in_where_its_authority_is_trusted() {
    let Some(sshd) = Sshd::find() else { return };
    let (folder, me) = (folder(), own_name());
    let at = folder.path();
    fs::write(at.join("passphrase"), CANARY).unwrap();
    assert_done(at, &["generate", "--passphrase-file", "passphrase", "ca"]);
    assert_done(at, &["generate", "id"]);
    let certify = ["certify", "--ca", "ca", "--passphrase-file", "passphrase", "--id", "anna"];
    let named = |more: &[&str]| tell(at, &[&certify, more, &["id.pub"]].concat());
    let issued = named(&["--principal", &me, "--serial", "9"]);
    assert_eq!(issued.code, Some(0), "{issued:?}");
    assert_eq!(issued.json["certificate"]["serial"], 9);
    let setting = format!("TrustedUserCAKeys {}", at.join("ca.pub").display());
    let listener = sshd.listen(&[&setting, "AuthorizedKeysFile none"]);
    assert!(login(&listener, &me, &at.join("id"), &[]).accepted, "{}", listener.log());
    assert_eq!(named(&["--principal", &me]).code, Some(4));
    assert_eq!(named(&["--principal", "somebody-else", "--replace"]).code, Some(0));
    assert!(!login(&listener, &me, &at.join("id"), &[]).accepted);
    // A missing and a wrong passphrase are told apart.
    let missing = tell(at, &["certify", "--ca", "ca", "--id", "x", "--principal", "x", "ca.pub"]);
    assert!(missing.stderr.contains("none was given"), "{missing:?}");
    fs::write(at.join("passphrase"), "wrong").unwrap();
    let wrong = named(&["--principal", &me, "--replace"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("passphrase is wrong"), "{wrong:?}");
}

/// Looks at everything in a folder, again and again, for anything that others could read or enter.
fn watch_while(folder: &Path, work: impl FnOnce()) -> Vec<String> {
    let inotify = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::NONBLOCK).unwrap();
    let over = AtomicBool::new(false);
    let mut wide = Vec::new();
    let events = rustix::fs::inotify::WatchFlags::CREATE
        | rustix::fs::inotify::WatchFlags::ATTRIB
        | rustix::fs::inotify::WatchFlags::MOVED_TO
        | rustix::fs::inotify::WatchFlags::MODIFY;
    rustix::fs::inotify::add_watch(&inotify, folder, events).unwrap();
    thread::scope(|scope| {
        let (over, wide, inotify) = (&over, &mut wide, &inotify);
        let watcher = scope.spawn(move || {
            let mut seen = 0;
            let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
            while !over.load(Ordering::SeqCst) || seen == 0 {
                let mut reader = rustix::fs::inotify::Reader::new(inotify, &mut buffer);
                while reader.next().is_ok() {
                    seen += 1;
                    look(folder, wide);
                }
                look(folder, wide);
                if over.load(Ordering::SeqCst) && seen == 0 {
                    panic!("nothing was seen");
                }
            }
        });
        work();
        over.store(true, Ordering::SeqCst);
        watcher.join().unwrap();
    });
    wide
}

fn look(folder: &Path, wide: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(metadata) = fs::symlink_metadata(entry.path()) else { continue };
        let most = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.mode() & 0o7777;
        if mode & !most != 0 {
            wide.push(format!("{:?} {mode:04o}", entry.path()));
        }
        if metadata.is_dir() {
            look(&entry.path(), wide);
        }
    }
}

#[test]
fn nothing_is_open_to_others_for_an_instant_even_under_umask_000() {
    let folder = folder();
    let at = folder.path();
    let work = || {
        for round in 0..20 {
            let script = format!(
                "umask 000; \"$0\" generate {round}/id && \"$0\" generate --replace {round}/id && \
                 \"$0\" authorize --key {round}/id.pub {round}/authorized_keys && \
                 \"$0\" authorize --restrict --replace --key {round}/id.pub {round}/authorized_keys && \
                 \"$0\" certify --ca {round}/id --id a --principal a {round}/id.pub"
            );
            let mut command = Command::new("sh");
            command.args(["-c", &script, env!("CARGO_BIN_EXE_keys")]).current_dir(at);
            run(&mut command);
        }
    };
    assert_eq!(watch_while(at, work), Vec::<String>::new());
    assert_eq!(mode(&at.join("7")), 0o700);
    let names: Vec<String> = names_in(&at.join("7")).into_iter().collect();
    assert_eq!(names, ["authorized_keys", "id", "id-cert.pub", "id.pub"]);
    for name in names {
        assert_eq!(mode(&at.join("7").join(name)), 0o600);
    }
}

/// What a watcher may miss, the calls themselves show.
#[test]
fn no_call_ever_asks_for_a_wider_mode() {
    let Some(strace) = peer("strace") else { return };
    let folder = folder();
    let at = folder.path();
    let script = "umask 000; for more in '' --replace; do \"$0\" generate $more new/id; done; \
                  \"$0\" authorize --key new/id.pub new/authorized_keys";
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-o", "trace", "-e", "trace=/open|mkdir|chmod|mknod"]);
    command.args(["sh", "-c", script, env!("CARGO_BIN_EXE_keys")]).current_dir(at);
    run(&mut command);
    let trace = fs::read_to_string(at.join("trace")).unwrap();
    let mut made = 0;
    for line in trace.lines() {
        let asks = line.contains("O_CREAT") || line.contains("mkdir") || line.contains("chmod");
        if !asks || line.contains("ENOENT") {
            continue;
        }
        made += 1;
        let narrow =
            line.contains(", 0600)") || (line.contains("mkdir") && line.contains(", 0700)"));
        assert!(narrow, "{line}");
    }
    assert!(made > 10, "{trace}");
}

#[test]
fn two_programs_that_make_the_same_key_leave_one_pair() {
    if peer("ssh-keygen").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    for round in 0..30 {
        let path = at.join(format!("new{round}/id"));
        let start = || {
            let mut command = keys();
            command.arg("generate").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let mut children: Vec<Child> = (0..4).map(|_| start()).collect();
        let ended = children.iter_mut().map(|child| child.wait().unwrap());
        let won = ended.filter(|status| status.success()).count();
        assert_eq!(won, 1, "round {round}");
        assert_consistent(&path);
        assert_eq!(names_in(path.parent().unwrap()).len(), 2);
    }
    // A pair that is there survives; with --replace one whole pair takes its place.
    let path = at.join("new0/id");
    let before = fs::read(&path).unwrap();
    assert_eq!(tell(at, &["generate", "new0/id"]).code, Some(4));
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_file(at.join("new1/id")).unwrap();
    assert_eq!(tell(at, &["generate", "new1/id"]).code, Some(4));
    assert_done(at, &["generate", "--replace", "new0/id"]);
    assert_ne!(fs::read(&path).unwrap(), before);
    assert_consistent(&path);
}

#[track_caller]
fn assert_consistent(path: &Path) {
    let shown = run(Command::new("ssh-keygen").arg("-y").arg("-f").arg(path));
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    assert_eq!(String::from_utf8(shown).unwrap().trim_end(), public.trim_end());
}

#[test]
fn keys_that_are_authorised_at_the_same_time_are_all_there() {
    let folder = folder();
    let at = folder.path();
    let names: Vec<String> = (0..12).map(|number| format!("id{number}")).collect();
    for name in &names {
        assert_done(at, &["generate", name]);
    }
    let start = |name: &String| {
        let mut command = keys();
        command.args(["authorize", "--key", &format!("{name}.pub"), "new/authorized_keys"]);
        command.stdout(Stdio::null()).current_dir(at).spawn().unwrap()
    };
    let children: Vec<Child> = names.iter().map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let file = fs::read_to_string(at.join("new/authorized_keys")).unwrap();
    assert_eq!(file.lines().count(), names.len());
    for name in &names {
        assert!(file.contains(&fs::read_to_string(at.join(format!("{name}.pub"))).unwrap()));
    }
    assert_eq!(names_in(&at.join("new")).len(), 1);
}

const VICTIM: u32 = 54_321;

/// Root adds keys to somebody's home while that somebody swaps `.ssh` for a link to a folder of
/// root's, as fast as can be, for five seconds.
#[test]
fn nothing_outside_of_a_home_changes_whatever_its_owner_does() {
    if !am_root() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    let (home, outside) = (at.join("home"), at.join("outside"));
    for path in [&home, &outside, &home.join(".ssh")] {
        fs::create_dir(path).unwrap();
    }
    for name in ["authorized_keys", "id", "id.pub", "known_hosts"] {
        fs::write(outside.join(name), "precious").unwrap();
    }
    for path in [&home, &home.join(".ssh")] {
        chown(path, Some(VICTIM), Some(VICTIM)).unwrap();
    }
    symlink(&outside, home.join("link")).unwrap();
    lchown(home.join("link"), Some(VICTIM), Some(VICTIM)).unwrap();
    assert_done(at, &["generate", "admin"]);
    let over = AtomicBool::new(false);
    let (mut done, mut refused) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !over.load(Ordering::SeqCst) {
                // The two names change places: at any moment there is a `.ssh`, and half of the
                // time it is a link.
                let (one, other) = (home.join(".ssh"), home.join("link"));
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        });
        let deadline = scope.spawn(|| {
            thread::sleep(Duration::from_secs(5));
            over.store(true, Ordering::SeqCst);
        });
        while !over.load(Ordering::SeqCst) {
            for arguments in [
                &["authorize", "--key", "admin.pub", "home/.ssh/authorized_keys"][..],
                &["revoke", "--last", "--key", "admin.pub", "home/.ssh/authorized_keys"],
                &["generate", "--replace", "home/.ssh/id"],
                &["audit", "--fix", "home/.ssh/authorized_keys"],
                &[
                    "known-hosts",
                    "add",
                    "--known-hosts",
                    "home/.ssh/known_hosts",
                    "--key",
                    "admin.pub",
                    "h",
                ],
            ] {
                let status = keys()
                    .args(arguments)
                    .current_dir(at)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                match status.unwrap().code() {
                    Some(0) => done += 1,
                    _ => refused += 1,
                }
            }
        }
        deadline.join().unwrap();
    });
    println!("{done} done, {refused} refused");
    assert!(done > 0 && refused > 0, "the race was not run: {done} done, {refused} refused");
    assert_eq!(names_in(&outside).len(), 4);
    for name in ["authorized_keys", "id", "id.pub", "known_hosts"] {
        let metadata = fs::metadata(outside.join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (0, 0o644), "{name}");
        assert_eq!(fs::read(outside.join(name)).unwrap(), b"precious", "{name}");
    }
    assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
}

#[test]
fn a_passphrase_is_nowhere_to_be_seen() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("passphrase"), format!("{HIDDEN}\n")).unwrap();
    let ps = peer("ps");
    // Long enough to be looked at: forty times the default.
    let mut child = keys()
        .args(["generate", "--json", "--rounds", "400", "--passphrase-file", "passphrase", "id"])
        .current_dir(at)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let proc = PathBuf::from(format!("/proc/{}", child.id()));
    let mut looks = 0;
    while child.try_wait().unwrap().is_none() {
        for name in ["cmdline", "environ"] {
            let shown = fs::read(proc.join(name)).unwrap_or_default();
            assert!(!contains(&shown, HIDDEN), "{name}");
        }
        if let Some(ps) = &ps {
            let list = run(Command::new(ps).arg("axeww"));
            assert!(!contains(&list, HIDDEN));
        }
        looks += 1;
    }
    assert!(looks > 0);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_hidden(&output);
    for arguments in [
        &[
            "certify",
            "--json",
            "--ca",
            "id",
            "--id",
            "a",
            "--principal",
            "a",
            "--passphrase-file",
            "passphrase",
            "id.pub",
        ][..],
        &[
            "certify",
            "--ca",
            "id.pub",
            "--id",
            "a",
            "--principal",
            "a",
            "--passphrase-file",
            "passphrase",
            "id.pub",
        ],
        &["generate", "--passphrase-file", "passphrase", "id"],
        &["generate", "--plan", "--passphrase-file", "passphrase", "other"],
        &["generate", "--passphrase-file", "id", "other"],
    ] {
        assert_hidden(&keys().args(arguments).current_dir(at).output().unwrap());
    }
    // Nor do the files hold it.
    for name in names_in(at).into_iter().filter(|name| name != "passphrase") {
        assert!(!contains(&fs::read(at.join(name)).unwrap(), HIDDEN));
    }
    // And there is no way to give it as an argument.
    let help = keys().args(["generate", "--help"]).output().unwrap();
    assert!(!contains(&help.stdout, "--passphrase "));
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[track_caller]
fn assert_hidden(output: &Output) {
    assert!(!contains(&output.stdout, HIDDEN) && !contains(&output.stderr, HIDDEN), "{output:?}");
}

#[test]
fn a_passphrase_may_come_by_standard_input() {
    use std::io::Write;
    let folder = folder();
    let mut child = keys()
        .args(["generate", "--passphrase-file", "-", "id"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{CANARY}\r\nmore").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    if peer("ssh-keygen").is_some() {
        let path = folder.path().join("id");
        run(Command::new("ssh-keygen").args(["-y", "-P", CANARY, "-f"]).arg(path));
    }
}

#[test]
fn a_plan_changes_nothing() {
    let folder = folder();
    let at = folder.path();
    assert_done(at, &["generate", "id"]);
    fs::create_dir(at.join(".ssh")).unwrap();
    let authorized = at.join(".ssh/authorized_keys");
    fs::write(&authorized, fs::read(at.join("id.pub")).unwrap()).unwrap();
    fs::set_permissions(&authorized, Permissions::from_mode(0o666)).unwrap();
    fs::write(at.join("known"), "h ").unwrap();
    let stamps = || -> Vec<(String, i64, i64, u64)> {
        let all = names_in(at)
            .into_iter()
            .chain(names_in(&at.join(".ssh")).into_iter().map(|name| format!(".ssh/{name}")));
        all.map(|name| {
            let metadata = fs::symlink_metadata(at.join(&name)).unwrap();
            (name, metadata.ctime(), metadata.ctime_nsec(), metadata.ino())
        })
        .collect()
    };
    let before = stamps();
    for (arguments, code) in [
        (&["generate", "new/id"][..], 0),
        (&["generate", "--replace", "id"], 0),
        (&["generate", "id"], 4),
        (&["authorize", "--key", "id.pub", "new/authorized_keys"], 0),
        (&["authorize", "--key", "id.pub", "--restrict", "--replace", ".ssh/authorized_keys"], 0),
        (&["revoke", "--key", "id.pub", ".ssh/authorized_keys"], 4),
        (&["revoke", "--last", "--key", "id.pub", ".ssh/authorized_keys"], 0),
        (&["audit", "--fix", ".ssh"], 3),
        (&["known-hosts", "add", "--known-hosts", "known", "--key", "id.pub", "uk.example.net"], 0),
        (&["known-hosts", "remove", "--known-hosts", "known", "h"], 0),
        (&["known-hosts", "hash", "--known-hosts", "known"], 0),
        (&["certify", "--ca", "id", "--id", "a", "--principal", "a", "id.pub"], 0),
        (&["sshfp", "--host", "uk.example.net", "id.pub"], 0),
    ] {
        let told = tell(at, &[&["--plan"], arguments].concat());
        assert_eq!(told.code, Some(code), "{arguments:?}: {told:?}");
        assert_eq!(stamps(), before, "{arguments:?}");
    }
}

#[test]
fn an_audit_ends_with_3_where_sshd_would_refuse_and_a_fix_mends_it() {
    let Some(sshd) = Sshd::find() else { return };
    if !am_root() {
        return;
    }
    let folder = under_roots_folders();
    let at = folder.path();
    assert_done(at, &["generate", "id"]);
    let home = at.join("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    assert_done(at, &["authorize", "--key", "id.pub", "home/.ssh/authorized_keys"]);
    let accounts = at.join("accounts");
    fs::create_dir(&accounts).unwrap();
    let passwd = format!(
        "root:x:0:0::{}:/bin/sh\nsshd:x:105:65534::/run/sshd:/bin/false\nnobody:x:65534:65534::/:/bin/false\n",
        home.display()
    );
    fs::write(accounts.join("passwd"), passwd).unwrap();
    fs::write(accounts.join("group"), "root:x:0:\nnogroup:x:65534:\n").unwrap();
    fs::write(accounts.join("shadow"), "root:*:1::::::\nsshd:*:1::::::\n").unwrap();
    let listener =
        sshd.with_accounts(&accounts).listen(&["StrictModes yes", "PermitRootLogin yes"]);
    let in_now = || login(&listener, "root", &at.join("id"), &[]).accepted;
    let set = |path: &str, mode: u32| {
        fs::set_permissions(home.join(path), Permissions::from_mode(mode)).unwrap();
    };
    assert!(in_now(), "{}", listener.log());
    for (path, mode) in [(".ssh/authorized_keys", 0o666), (".ssh", 0o777), ("", 0o777)] {
        set(path, mode);
        let told = tell(at, &["audit", "home/.ssh"]);
        assert_eq!(told.code, Some(3), "{told:?}");
        assert_eq!(told.json["accepted"], false);
        assert!(told.json["findings"][0]["remedy"].as_str().unwrap().contains("chmod"), "{told:?}");
        assert!(!in_now(), "{path}");
        assert_eq!(assert_done(at, &["audit", "--fix", "home"])["accepted"], true);
        assert!(in_now(), "{path}: {}", listener.log());
    }
    // What somebody else put there is left alone, and the reason is told.
    chown(home.join(".ssh/authorized_keys"), Some(VICTIM), None).unwrap();
    let told = tell(at, &["audit", "--fix", "home/.ssh/authorized_keys"]);
    assert_eq!(told.code, Some(3), "{told:?}");
    assert!(told.json["fix"]["refused"].to_string().contains("planted"), "{told:?}");
    assert_eq!(fs::metadata(home.join(".ssh/authorized_keys")).unwrap().uid(), VICTIM);
    assert!(!in_now());
}

#[test]
fn known_hosts_are_checked_and_changed() {
    let folder = folder();
    let at = folder.path();
    for name in ["uk", "us"] {
        assert_done(at, &["generate", name]);
    }
    let hosts = |action: &str, more: &[&str]| {
        tell(at, &[&["known-hosts", action, "--known-hosts", "known"][..], more].concat())
    };
    assert_eq!(hosts("check", &["--key", "uk.pub", "uk.example.net"]).code, Some(3));
    assert_eq!(hosts("add", &["--key", "uk.pub", "uk.example.net:2222"]).code, Some(0));
    assert_eq!(hosts("check", &["--key", "uk.pub", "UK.example.net:2222"]).code, Some(0));
    let other = hosts("check", &["--key", "us.pub", "uk.example.net:2222"]);
    assert_eq!(other.code, Some(3), "{other:?}");
    assert_eq!(hosts("add", &["--key", "us.pub", "uk.example.net:2222"]).code, Some(4));
    assert_eq!(hosts("hash", &[]).code, Some(0));
    assert!(fs::read_to_string(at.join("known")).unwrap().starts_with("|1|"));
    assert_eq!(hosts("check", &["--key", "uk.pub", "uk.example.net:2222"]).code, Some(0));
    if peer("ssh-keygen").is_some() {
        let mut find = Command::new("ssh-keygen");
        run(find.args(["-F", "[uk.example.net]:2222", "-f", "known"]).current_dir(at));
    }
    let revoked = format!("@revoked * {}", fs::read_to_string(at.join("uk.pub")).unwrap());
    let file = fs::read_to_string(at.join("known")).unwrap() + &revoked;
    fs::write(at.join("known"), file).unwrap();
    let told = hosts("check", &["--key", "uk.pub", "uk.example.net:2222"]);
    assert_eq!((told.code, told.json["trusted"].as_bool()), (Some(3), Some(false)));
    assert_eq!(hosts("remove", &["uk.example.net:2222"]).code, Some(0));
    assert_eq!(fs::read_to_string(at.join("known")).unwrap(), revoked);
}

#[test]
fn wrong_usage_ends_with_2_and_failures_with_1() {
    let folder = folder();
    let at = folder.path();
    for arguments in [
        &["generate"][..],
        &["generate", "--type", "dsa", "id"],
        &["generate", "--rounds", "0", "id"],
        &["generate", "--passphrase", "secret", "id"],
        &["authorize", "--key", "id.pub", "--expiry", "tomorrow", "file"],
        &["known-hosts"],
    ] {
        let status = keys().args(arguments).current_dir(at).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), Some(2), "{arguments:?}");
    }
    for arguments in [
        &["authorize", "--key", "missing.pub", "file"][..],
        &["generate", "a/b/c/id"],
        &["sshfp", "--host", "a b", "missing.pub"],
    ] {
        assert_eq!(tell(at, arguments).code, Some(1), "{arguments:?}");
    }
    assert!(names_in(at).is_empty());
}

#[test]
fn weak_keys_are_not_let_in() {
    if peer("ssh-keygen").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    let mut make = Command::new("ssh-keygen");
    run(make.args(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f"]).arg(at.join("weak")));
    let told = tell(at, &["authorize", "--key", "weak.pub", "authorized_keys"]);
    assert_eq!(told.code, Some(4), "{told:?}");
    assert!(names_in(at).iter().all(|name| name.starts_with("weak")));
}

#[test]
fn a_host_is_trusted_for_a_certificate_only_while_it_holds() {
    let folder = folder();
    let at = folder.path();
    for name in ["ca", "uk", "other"] {
        assert_done(at, &["generate", name]);
    }
    let authority = fs::read_to_string(at.join("ca.pub")).unwrap();
    fs::write(at.join("known"), format!("@cert-authority *.example.net {authority}")).unwrap();
    let plain = format!("uk.example.net {}", fs::read_to_string(at.join("uk.pub")).unwrap());
    let check = |file: &str| {
        let arguments = ["known-hosts", "check", "--known-hosts", file, "--key", "uk-cert.pub"];
        tell(at, &[&arguments[..], &["uk.example.net"]].concat())
    };
    let certify = |more: &[&str]| {
        let given = ["certify", "--ca", "ca", "--id", "uk", "--replace"];
        assert_done(at, &[&given[..], more, &["uk.pub"]].concat());
    };
    let flip = || {
        let line = fs::read_to_string(at.join("uk-cert.pub")).unwrap();
        let end = line.trim_end().len() - 3;
        let other = if &line[end..=end] == "A" { "B" } else { "A" };
        fs::write(at.join("uk-cert.pub"), [&line[..end], other, &line[end + 1..]].concat())
            .unwrap();
    };
    let host = ["--host", "--principal", "uk.example.net"];
    certify(&host);
    assert_eq!(
        (check("known").code, check("known").json["trusted"].as_bool()),
        (Some(0), Some(true))
    );
    let bad: [(&str, &[&str], bool); 5] = [
        ("ran out", &["--from", "2020-01-01", "--until", "2020-01-02"], false),
        ("only from", &["--from", "2100-01-01", "--until", "2100-01-02"], false),
        ("signature is wrong", &[], true),
        ("not for this name", &["us"], false),
        ("for users where", &["user"], false),
    ];
    for (objection, more, flipped) in bad {
        match more {
            ["us"] => certify(&["--host", "--principal", "us.example.net"]),
            ["user"] => certify(&["--principal", "uk.example.net"]),
            more => certify(&[&host[..], more].concat()),
        }
        if flipped {
            flip();
        }
        let told = check("known");
        assert_eq!((told.code, told.json["trusted"].as_bool()), (Some(3), Some(false)), "{told:?}");
        let known_hosts = ["known-hosts", "check", "--known-hosts", "known", "--key"];
        let mut command = keys();
        command.args(known_hosts).args(["uk-cert.pub", "uk.example.net"]);
        let output = command.current_dir(at).output().unwrap();
        assert!(contains(&output.stdout, objection), "{objection}: {output:?}");
        // Without the certificate the key may be known all the same.
        fs::write(at.join("both"), format!("@cert-authority * {authority}{plain}")).unwrap();
        assert_eq!(check("both").code, Some(0), "{objection}");
    }
}

/// A folder that anybody can pass and nobody but root can write to on the way.
fn under_roots_folders() -> TempDir {
    let open = Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("keys-").permissions(open).tempdir_in("/run").unwrap()
}

#[test]
fn a_file_in_nobodys_home_is_audited_for_whom_it_is_said_to_be() {
    if !am_root() {
        return;
    }
    let folder = under_roots_folders();
    let at = folder.path();
    assert_done(at, &["generate", "id"]);
    fs::create_dir(at.join("central")).unwrap();
    let file = at.join("central/anna");
    fs::copy(at.join("id.pub"), &file).unwrap();
    let set = |path: &Path, mode: u32| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    set(&file, 0o644);
    let told = tell(at, &["audit", "--fix", "central/anna"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stderr.contains("--user"), "{told:?}");
    for user in ["root", "nobody"] {
        let told = assert_done(at, &["audit", "--fix", "--user", user, "central/anna"]);
        assert_eq!(told["user"], user);
    }
    assert_eq!(mode(&file), 0o644);
    // Around a .ssh folder there is a home, and what is sound of root's stays as it is there.
    fs::create_dir(at.join(".ssh")).unwrap();
    fs::copy(&file, at.join(".ssh/authorized_keys")).unwrap();
    for (path, before) in [(".ssh", 0o755), (".ssh/authorized_keys", 0o644)] {
        set(&at.join(path), before);
        assert_done(at, &["audit", "--fix", "."]);
        assert_eq!(mode(&at.join(path)), before, "{path}");
    }
    // The account is that of the place where the path ends, not of one on the way.
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let root = accounts.lines().find(|line| line.starts_with("root:")).unwrap();
    let home = root.split(':').nth(5).unwrap();
    let up = "../".repeat(Path::new(home).components().count() - 1);
    let round = format!("{home}/{up}{}/.ssh", at.display());
    assert_done(at, &["audit", &round]);
    let round = format!("{}/../..{home}/.ssh/authorized_keys", at.display());
    assert_eq!(tell(at, &["audit", &round]).json["user"], "root");
    let odd = format!("{home}/{up}{}/central/anna", at.display());
    assert_eq!(tell(at, &["audit", &odd]).code, Some(1));
}

#[test]
fn an_audit_reads_the_file_that_sshd_reads_and_says_whom_it_lets_in() {
    if !am_root() {
        return;
    }
    let folder = under_roots_folders();
    let at = folder.path();
    assert_done(at, &["generate", "id"]);
    fs::create_dir_all(at.join(".ssh/kept")).unwrap();
    let line = fs::read_to_string(at.join("id.pub")).unwrap();
    fs::write(at.join(".ssh/kept/keys"), format!("nonsense {line}{line}")).unwrap();
    symlink("kept/keys", at.join(".ssh/authorized_keys")).unwrap();
    let told = assert_done(at, &["audit", ".ssh"]);
    assert!(told["notes"][0].as_str().unwrap().contains("line 1"), "{told}");
    assert_eq!(told["usable"], 1);
    // Nobody gets in by what is left.
    fs::write(at.join(".ssh/kept/keys"), format!("# nobody\nnonsense {line}")).unwrap();
    let told = tell(at, &["audit", ".ssh"]);
    assert_eq!((told.code, told.json["accepted"].as_bool()), (Some(3), Some(true)), "{told:?}");
    assert_eq!(told.json["usable"], 0);
    // Links in circles are a finding.
    fs::remove_file(at.join(".ssh/authorized_keys")).unwrap();
    symlink("authorized_keys", at.join(".ssh/authorized_keys")).unwrap();
    let told = tell(at, &["audit", ".ssh/authorized_keys"]);
    assert_eq!(told.code, Some(3), "{told:?}");
    assert!(told.json["findings"][0]["remedy"].is_string(), "{told:?}");
}

#[test]
fn a_revocation_that_would_change_nothing_or_lock_out_says_so() {
    let folder = folder();
    let at = folder.path();
    for name in ["id", "other"] {
        assert_done(at, &["generate", name]);
    }
    let missing = tell(at, &["revoke", "--key", "id.pub", "authorized_keys"]);
    assert_eq!(missing.code, Some(1), "{missing:?}");
    assert!(missing.stderr.contains("nothing was revoked"), "{missing:?}");
    assert_done(at, &["authorize", "--key", "id.pub", "authorized_keys"]);
    let before = fs::read(at.join("authorized_keys")).unwrap();
    let strange = assert_done(at, &["revoke", "--key", "other.pub", "authorized_keys"]);
    assert_eq!(strange["found"], false);
    assert!(strange["notes"].to_string().contains("not in this file"), "{strange}");
    let last = tell(at, &["revoke", "--key", "id.pub", "authorized_keys"]);
    assert_eq!(last.code, Some(4), "{last:?}");
    assert!(last.stderr.contains("--last"), "{last:?}");
    assert_eq!(fs::read(at.join("authorized_keys")).unwrap(), before);
    fs::copy(at.join("authorized_keys"), at.join("authorized_keys2")).unwrap();
    let told = assert_done(at, &["revoke", "--last", "--key", "id.pub", "authorized_keys"]);
    assert_eq!(told["found"], true);
    assert!(told["notes"].to_string().contains("authorized_keys2"), "{told}");
    assert_eq!(fs::read(at.join("authorized_keys")).unwrap(), b"");
}

#[test]
fn a_passphrase_is_the_same_from_standard_input_and_from_a_file() {
    use std::io::Write;
    if peer("ssh-keygen").is_none() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    let generate = |source: &str, name: &str, content: &[u8]| {
        let mut child = keys()
            .args(["generate", "--rounds", "1", "--passphrase-file", source, name])
            .current_dir(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // One that refuses what it is given may not read it all.
        let _ = child.stdin.take().unwrap().write_all(content);
        child.wait().unwrap().success()
    };
    fs::write(at.join("passphrase"), "a\rb\r\nmore").unwrap();
    assert!(generate("passphrase", "one", b""));
    assert!(generate("-", "other", b"a\rb\r\nmore"));
    for name in ["one", "other"] {
        run(Command::new("ssh-keygen").args(["-y", "-P", "a\rb", "-f", name]).current_dir(at));
    }
    symlink("passphrase", at.join("link")).unwrap();
    let told = tell(at, &["generate", "--passphrase-file", "link", "linked"]);
    assert_eq!(told.code, Some(4), "{told:?}");
    assert!(told.stderr.contains("itself a symbolic link"), "{told:?}");
    assert!(told.stderr.contains("--passphrase-file -"), "{told:?}");
    let long = [b'x'; 4097];
    fs::write(at.join("long"), long).unwrap();
    assert!(!generate("long", "long-one", b"") && !generate("-", "long-other", &long));
    assert!(!names_in(at).contains("long-one") && !names_in(at).contains("long-other"));
    assert!(generate("-", "longest", &long[1..]));
}

/// Root's run leaves nothing in a user's home that keeps the user's own out, wherever it is killed.
#[test]
fn a_run_of_roots_that_is_killed_does_not_keep_the_user_out() {
    let Some(setpriv) = peer("setpriv") else { return };
    if !am_root() {
        return;
    }
    let folder = folder();
    let at = folder.path();
    assert_done(at, &["generate", "id"]);
    assert_done(at, &["generate", "other"]);
    for name in ["id.pub", "other.pub"] {
        fs::set_permissions(at.join(name), Permissions::from_mode(0o644)).unwrap();
    }
    let ssh = at.join("home/.ssh");
    fs::create_dir_all(&ssh).unwrap();
    for path in [&at.join("home"), &ssh] {
        chown(path, Some(VICTIM), Some(VICTIM)).unwrap();
    }
    // A copy that the user may run.
    let program = at.join("keys");
    fs::copy(env!("CARGO_BIN_EXE_keys"), &program).unwrap();
    for round in 0..30 {
        let mut child = keys()
            .args(["authorize", "--replace", "--key", "id.pub", "home/.ssh/authorized_keys"])
            .current_dir(at)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(round * 200));
        child.kill().unwrap();
        child.wait().unwrap();
        let user = VICTIM.to_string();
        let mut theirs = Command::new(&setpriv);
        theirs.args(["--reuid", &user, "--regid", &user, "--clear-groups"]).arg(&program);
        theirs.args(["authorize", "--key", "other.pub", "home/.ssh/authorized_keys"]);
        run(theirs.current_dir(at));
        let mut revoke = keys();
        revoke.args(["revoke", "--last", "--key", "other.pub", "home/.ssh/authorized_keys"]);
        run(revoke.current_dir(at));
    }
}

#[test]
fn what_is_no_public_key_is_not_shown_and_a_link_to_one_is_followed() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("passphrase"), format!("{HIDDEN} horse battery\n")).unwrap();
    for arguments in [
        &["authorize", "--key", "passphrase", "authorized_keys"][..],
        &["--json", "authorize", "--key", "passphrase", "authorized_keys"],
        &["sshfp", "--host", "uk", "passphrase"],
    ] {
        let output = keys().args(arguments).current_dir(at).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_hidden(&output);
    }
    assert_done(at, &["generate", "id"]);
    symlink("id.pub", at.join("link.pub")).unwrap();
    assert_done(at, &["authorize", "--key", "link.pub", "authorized_keys"]);
    fs::write(at.join("huge.pub"), vec![b'x'; 1 << 20]).unwrap();
    let told = tell(at, &["authorize", "--key", "huge.pub", "authorized_keys"]);
    assert!(told.code == Some(1) && told.stderr.contains("no public key is longer"), "{told:?}");
}
